//! The wire door's speed and memory, beside a bare relay and a direct connection: `make bench`.
//!
//! One run starts PostgreSQL, the relay and a gateway for each way of setting it up, and sends the same work through
//! each of them in short slices, in rounds, each round in another order. A ratio is only ever taken between two
//! slices of the same round: what else runs on the machine hits both. `docs/bench.md` says how to read the tables.

mod load;
mod machine;
mod plan;
mod process;
mod relay;
mod report;
mod stand;
mod statistics;
mod tools;

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Parser, Subcommand};

use load::{Load, Slice};
use plan::Workload;
use portcullis::clock::{Clock as _, SystemClock};
use report::{Figure, Measured};
use stand::{Stand, Way};
use statistics::Quartiles;
use tools::Era;

/// Measures the wire door's speed and memory
#[derive(Debug, Parser)]
struct Arguments {
    /// Slices of each workload on each way
    #[arg(long, default_value_t = 10)]
    rounds: usize,

    /// Only what has this in its name
    #[arg(long, default_value = "")]
    only: String,

    /// Puts the tables into this file, in place of what stands below its marker
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,

    /// Given by `cargo bench`; means nothing
    #[arg(long, hide = true, global = true)]
    bench: bool,

    #[command(subcommand)]
    part: Option<Part>,
}

#[derive(Debug, Subcommand)]
enum Part {
    Relay(relay::Relay),
}

/// One thread: the machine's others are for what is measured.
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    match arguments.part {
        Some(Part::Relay(relay)) => relay.run().await,
        None => {
            let tables = bench(arguments.rounds, &arguments.only).await?;
            io::stdout().write_all(tables.as_bytes())?;
            arguments.record.map_or(Ok(()), |file| record(&file, &tables))
        }
    }
}

/// Everything, measured; the tables.
async fn bench(rounds: usize, only: &str) -> anyhow::Result<String> {
    remark("starting PostgreSQL, the relay and the gateways ...")?;
    let stand = Stand::set().await?;
    let mut figures = memory(&stand, only).await?;
    let mut all: Vec<Measured> = plan::workloads()
        .into_iter()
        .filter(|workload| workload.name.contains(only))
        .map(|workload| Measured { workload, rounds: Vec::new(), failures: Vec::new() })
        .collect();
    let mut syncs_us = Vec::new();
    for round in 0..rounds {
        remark(&format!("round {} of {rounds} ...", round + 1))?;
        for measured in &mut all {
            slice_each(&stand, measured, round).await?;
        }
        syncs_us.push(load::fdatasync_us(stand.folder.path())?);
    }
    figures.extend(durability(&all, &syncs_us));
    figures.extend(beyond_wire(&all));
    if "agents".contains(only) {
        figures.extend(tools::crowd(stand.endpoint(Way::Unmasked)?).await?);
    }
    let date = SystemClock.now().strftime("%Y-%m-%d").to_string();
    Ok(format!(
        "{date}, {rounds} rounds. {machine}; PostgreSQL {version}.\n\n{rates}\n{figures}",
        machine = machine::describe()?,
        version = stand.version,
        rates = report::rates(&all),
        figures = report::figures(&figures),
    ))
}

/// One slice on each way, each round beginning with another one.
async fn slice_each(stand: &Stand, measured: &mut Measured, round: usize) -> anyhow::Result<()> {
    let Workload { load, ways, .. } = measured.workload.clone();
    let mut slices = Vec::new();
    for at in 0..ways.len() {
        let Some(&way) = ways.get((at + round) % ways.len()) else { continue };
        if measured.failures.iter().any(|(failed, _)| *failed == way) {
            continue;
        }
        match load.run(stand, stand.endpoint(way)?).await {
            Ok(slice) => slices.push((way, slice)),
            Err(error) => {
                remark(&format!("{}, {}: {error:#}", measured.workload.name, way.name()))?;
                measured.failures.push((way, format!("{error:#}")));
            }
        }
    }
    measured.rounds.push(slices);
    Ok(())
}

/// What sessions and large rows take. Comes first: a process that has worked has memory to give to sessions.
async fn memory(stand: &Stand, only: &str) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    let gateway = |way: Way, goal: f64| (way > Way::Relay).then_some(goal);
    for way in [Way::Relay, Way::Unmasked, Way::Masked] {
        let what = "memory of one of 500 idle sessions";
        if what.contains(only) {
            let value = load::idle(stand.endpoint(way)?).await.map_err(|error| format!("{error:#}"));
            figures.push(Figure { what, way, value, goal: gateway(way, plan::IDLE_KB), unit: "kB" });
        }
    }
    for way in [Way::Relay, Way::Unmasked, Way::Masked] {
        let what = "growth of memory by one row of 256 MB";
        if what.contains(only) {
            let value = load::large_row(stand.endpoint(way)?).await.map_err(|error| format!("{error:#}"));
            figures.push(Figure { what, way, value, goal: gateway(way, plan::LARGE_ROW_KB), unit: "kB" });
        }
    }
    let what = "memory of one of 500 idle sessions of the MCP door";
    if what.contains(only) {
        let value = tools::idle(stand.endpoint(Way::Unmasked)?).await.map_err(|error| format!("{error:#}"));
        let goal = Some(plan::IDLE_TOOL_KB);
        figures.push(Figure { what, way: Way::Unmasked, value, goal, unit: "kB" });
    }
    Ok(figures)
}

/// What a call of a tool takes beyond the same statement by the wire door, in the same rounds.
fn beyond_wire(all: &[Measured]) -> Vec<Figure> {
    let slices = |is_it: &dyn Fn(Load) -> bool| -> Vec<Slice> {
        let found = all.iter().find(|measured| is_it(measured.workload.load));
        found.into_iter().flat_map(|measured| measured.slices(Way::Unmasked)).collect()
    };
    let wire = slices(&|load| matches!(load, Load::Select { mode: "extended", clients: 1, .. }));
    let eras = [Era::Stateless, Era::Session].into_iter().filter(|_| !wire.is_empty());
    let of = |era| slices(&move |load| matches!(load, Load::Tool { era: own, clients: 1, .. } if own == era));
    eras.map(|era| tools::figure(era, tools::beyond(&of(era), &wire))).collect()
}

/// What it costs a statement that its decision is on disk first, beside what the disk takes for that alone.
fn durability(all: &[Measured], syncs_us: &[f64]) -> Vec<Figure> {
    let Some(measured) = all.iter().find(|measured| measured.workload.ways.contains(&Way::Fsync)) else {
        return Vec::new();
    };
    let absent = || "no round was whole".to_owned();
    let added = measured.added_latency_us(Way::Fsync, Way::Unmasked).ok_or_else(absent);
    let sync = Quartiles::of(syncs_us.iter().copied()).map(|sync| sync.median).ok_or_else(absent);
    let figure = |what, way, value| Figure { what, way, value, goal: None, unit: "us" };
    vec![
        figure("latency that fsync adds to a transaction, c=1", Way::Fsync, added),
        figure("one fdatasync of the same disk", Way::Direct, sync),
    ]
}

/// Keeps `tables` in `file`, below the marker that it must have.
fn record(file: &Path, tables: &str) -> anyhow::Result<()> {
    let text = fs::read_to_string(file).with_context(|| format!("`{}` can't be read", file.display()))?;
    let (above, _) =
        text.split_once(MARKER).with_context(|| format!("`{}` has no `{MARKER}`", file.display()))?;
    fs::write(file, format!("{above}{MARKER}\n\n{tables}"))
        .with_context(|| format!("`{}` can't be written", file.display()))
}

fn remark(text: &str) -> io::Result<()> {
    writeln!(io::stderr(), "{text}")
}

const MARKER: &str = "<!-- the last run -->";
