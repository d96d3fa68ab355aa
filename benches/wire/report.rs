//! The tables, in Markdown.

use std::fmt::Write as _;

use crate::load::Slice;
use crate::plan::{Bound, Workload};
use crate::stand::Way;
use crate::statistics::Quartiles;

/// All slices of one workload.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) workload: Workload,
    /// For each round, what came of each way; a way that failed has no slice from then on.
    pub(crate) rounds: Vec<Vec<(Way, Slice)>>,
    /// What went wrong.
    pub(crate) failures: Vec<(Way, String)>,
}

/// One number against its goal.
#[derive(Debug)]
pub(crate) struct Figure {
    pub(crate) what: &'static str,
    pub(crate) way: Way,
    /// What came of it, or why nothing did.
    pub(crate) value: Result<f64, String>,
    /// At most this; `None` where there is no goal.
    pub(crate) goal: Option<f64>,
    pub(crate) unit: &'static str,
}

/// The figures that are no rates.
pub(crate) fn figures(figures: &[Figure]) -> String {
    let mut text = String::from("| what | by | value | goal | |\n|---|---|---:|---|---|\n");
    for Figure { what, way, value, goal, unit } in figures {
        let (shown, met) = match value {
            Ok(value) => (format!("{value:.1} {unit}"), goal.map(|goal| *value <= goal)),
            Err(reason) => (format!("failed: {reason}"), goal.map(|_| false)),
        };
        let goal = goal.map(|goal| format!("<= {goal} {unit}")).unwrap_or_default();
        line(&mut text, &[what, way.name(), &shown, &goal, verdict(met)]);
    }
    text
}

/// The rates: a row for each workload and way.
pub(crate) fn rates(all: &[Measured]) -> String {
    let mut text = String::from(
        "| workload | by | a second | of relay | of direct | CPU us | CPU of relay | goal | |\n\
         |---|---|---:|---|---|---:|---|---|---|\n",
    );
    for measured in all {
        for &way in &measured.workload.ways {
            measured.row(way, &mut text);
        }
    }
    text
}

impl Measured {
    fn row(&self, way: Way, text: &mut String) {
        let name = &self.workload.name;
        if let Some((_, reason)) = self.failures.iter().find(|(failed, _)| *failed == way) {
            let met = self.workload.goals.iter().any(|goal| goal.way == way).then_some(false);
            line(text, &[name, way.name(), &format!("failed: {reason}"), "", "", "", "", "", verdict(met)]);
            return;
        }
        let of_relay = self.ratios(way, Way::Relay, |slice| slice.rate);
        let of_direct = self.ratios(way, Way::Direct, |slice| slice.rate);
        let cpu = Quartiles::of(self.slices(way).map(|slice| slice.cpu_us));
        let cpu_of_relay = self.ratios(way, Way::Relay, |slice| slice.cpu_us);
        let median = |quartiles: Option<Quartiles>| quartiles.map_or(f64::NAN, |quartiles| quartiles.median);
        let (mut goals, mut met) = (Vec::new(), None);
        for goal in self.workload.goals.iter().filter(|goal| goal.way == way) {
            let (words, holds) = match goal.bound {
                Bound::Cpu(most) => (format!("CPU <= {most}"), median(cpu_of_relay) <= most),
                Bound::RateOfRelay(least) => (format!("of relay >= {least}"), median(of_relay) >= least),
                Bound::RateOfDirect(least) => (format!("of direct >= {least}"), median(of_direct) >= least),
            };
            goals.push(words);
            met = Some(met.unwrap_or(true) && holds);
        }
        let rate = median(Quartiles::of(self.slices(way).map(|slice| slice.rate)));
        line(
            text,
            &[
                name,
                way.name(),
                &format!("{rate:.0} {}", self.workload.load.unit()),
                &ratio(of_relay.filter(|_| way > Way::Relay)),
                &ratio(of_direct.filter(|_| way > Way::Direct)),
                &cpu.filter(|_| way > Way::Direct).map_or_else(String::new, |cpu| significant(cpu.median)),
                &ratio(cpu_of_relay.filter(|_| way > Way::Relay)),
                &goals.join(", "),
                verdict(met),
            ],
        );
    }

    /// Medians of the latencies of `way`, less those of `other` in the same rounds.
    pub(crate) fn added_latency_us(&self, way: Way, other: Way) -> Option<f64> {
        let added = self.pairs(way, other).map(|(slice, other)| slice.latency_us - other.latency_us);
        Some(Quartiles::of(added)?.median)
    }

    /// Of `way` to `other`, taken within each round.
    fn ratios(&self, way: Way, other: Way, number: impl Fn(Slice) -> f64) -> Option<Quartiles> {
        Quartiles::of(self.pairs(way, other).map(|(slice, other)| number(slice) / number(other)))
    }

    fn pairs(&self, way: Way, other: Way) -> impl Iterator<Item = (Slice, Slice)> {
        self.rounds.iter().filter_map(move |round| Some((of(round, way)?, of(round, other)?)))
    }

    /// The slices of `way`, in the order of the rounds.
    pub(crate) fn slices(&self, way: Way) -> impl Iterator<Item = Slice> {
        self.rounds.iter().filter_map(move |round| of(round, way))
    }
}

fn of(round: &[(Way, Slice)], way: Way) -> Option<Slice> {
    round.iter().find(|(of, _)| *of == way).map(|(_, slice)| *slice)
}

fn line(text: &mut String, cells: &[&str]) {
    for cell in cells {
        text.push_str("| ");
        text.push_str(&cell.replace('|', "/"));
        text.push(' ');
    }
    text.push_str("|\n");
}

fn ratio(quartiles: Option<Quartiles>) -> String {
    let mut text = String::new();
    if let Some(Quartiles { lower, median, upper }) = quartiles
        && write!(text, "{median:.2} ({lower:.2} - {upper:.2})").is_err()
    {
        text.clear();
    }
    text
}

/// Three digits or so.
fn significant(number: f64) -> String {
    if number < 10.0 { format!("{number:.2}") } else { format!("{number:.0}") }
}

fn verdict(met: Option<bool>) -> &'static str {
    match met {
        Some(true) => "ok",
        Some(false) => "**not**",
        None => "",
    }
}
