//! `portcullis policy bench`: what a decision costs by this rulebook, on this machine.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::Args;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::clock::{Clock as _, SystemClock};
use crate::identity::Kind;
use crate::policy::input::{IdentityInput, StatementInput};
use crate::policy::{Digested, Snapshot, Source};
use crate::sql::Facts;

use super::super::exit::Exit;
use super::super::output::{Output, Table};
use super::{Rulebook, usable};

/// Measures what a decision costs by this rulebook
///
/// With identities and labels that are made up: each identity may read some of the tables, and every tenth table has a
/// masked column. A hit is a decision that is known already; it is what most statements cost.
#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 worked, 3 the rulebook can't be used")]
pub(in crate::cli) struct Bench {
    #[command(flatten)]
    rulebook: Rulebook,

    /// Identities
    #[arg(long, default_value_t = 200)]
    agents: usize,

    /// Tables
    #[arg(long, default_value_t = 500)]
    tables: usize,

    /// Tables that each identity may read
    #[arg(long, default_value_t = 5)]
    grants: usize,

    /// Decisions that are measured of each sort
    #[arg(long, default_value_t = 1000)]
    count: usize,

    /// Answers in JSON
    #[arg(long)]
    json: bool,
}

/// One line of the result.
#[derive(Debug, Serialize)]
struct Measured {
    /// `miss`, or `hit`: known already.
    what: &'static str,
    /// Tables that each identity may read.
    grants: usize,
    /// Half of them took no longer, in microseconds.
    median_us: f64,
    /// 99 of 100 took no longer.
    p99_us: f64,
}

impl Bench {
    pub(super) fn run(self, output: &mut Output) -> anyhow::Result<Exit> {
        if [self.agents, self.tables, self.grants, self.count].contains(&0) {
            bail!("agents, tables, grants and count are at least 1");
        }
        if cfg!(debug_assertions) {
            output.remark("this program was built without optimisation: the figures mean little")?;
        }
        let mut measured = Vec::new();
        for grants in [self.grants, self.grants.saturating_mul(MANY)] {
            let made = self.rulebook.sources().and_then(|sources| self.snapshot(sources, grants));
            let snapshot = match usable(made, output) {
                Ok(snapshot) => snapshot,
                Err(exit) => return Ok(exit),
            };
            measured.extend(self.measure(&snapshot, grants)?);
        }
        if self.json {
            output.json(&json!({
                "agents": self.agents, "tables": self.tables, "count": self.count, "measured": measured,
            }))?;
            return Ok(Exit::Ok);
        }
        let Self { agents, tables, count, .. } = &self;
        output.line(format_args!("{agents} identities, {tables} tables, {count} decisions each, µs\n"))?;
        let mut table = Table::new(&["decision", "grants", "median", "p99"]);
        for Measured { what, grants, median_us, p99_us } in &measured {
            table.row([
                (*what).to_owned(),
                grants.to_string(),
                format!("{median_us:.1}"),
                format!("{p99_us:.1}"),
            ]);
        }
        output.line(table)?;
        Ok(Exit::Ok)
    }

    /// The rulebook with made-up identities and labels.
    fn snapshot(&self, mut sources: Vec<Source>, grants: usize) -> anyhow::Result<Snapshot> {
        if let Some(labels) = sources.iter_mut().find(|source| source.path == "data/labels.json") {
            let masked = (0..self.tables).step_by(10).map(|at| (table(at), json!({ "c1": "email" })));
            labels.text = json!({ DATABASE: masked.collect::<Map<_, _>>() }).to_string();
        }
        let agents = (0..self.agents).map(|at| (agent(at), self.file(at, grants)));
        Ok(Snapshot::build(&sources, &Value::Object(agents.collect()))?)
    }

    /// The file of an identity, as rules find it at `data.agents`.
    fn file(&self, at: usize, grants: usize) -> Value {
        let columns: Vec<String> = (0..14).map(|at| format!("c{at}")).collect();
        // Beyond the tables that there are, grants are for others.
        let read = (0..grants).map(|grant| (table(at.wrapping_add(grant)), json!(columns)));
        json!({
            "kind": "agent", "disabled": false, "owner": "", "groups": ["readers"], "claims": {},
            "scope": { DATABASE: { "read": read.collect::<Map<_, _>>(), "write": {} } },
            "limits": { "rows": 500, "bytes": 0, "statement_timeout_ms": 5000 },
            "approval": { "groups": ["approvers"] },
        })
    }

    fn measure(&self, snapshot: &Snapshot, grants: usize) -> anyhow::Result<[Measured; 2]> {
        let groups = ["readers".to_owned()];
        let now = SystemClock.now();
        let asked: Vec<(String, Digested)> = (0..self.agents.min(MOST_ASKED))
            .map(|at| Ok((agent(at), Digested::new(Arc::new(facts(&table(at))?)))))
            .collect::<anyhow::Result<_>>()?;
        let timed = |decide: &dyn Fn(&StatementInput<'_>, &Digested), times: u32| -> Vec<f64> {
            let each = asked.iter().cycle().take(self.count);
            each.map(|(name, digested)| {
                let who = IdentityInput { groups: &groups, ..IdentityInput::named(name, Kind::Agent) };
                let time = snapshot.time(now);
                let input = StatementInput::plain(who, DATABASE, "wire", digested.facts(), time);
                let start = SystemClock.now();
                (0..times).for_each(|_| decide(&input, digested));
                micros(start, SystemClock.now()) / f64::from(times)
            })
            .collect()
        };
        if let Some((name, digested)) = asked.first() {
            let who = IdentityInput { groups: &groups, ..IdentityInput::named(name, Kind::Agent) };
            let input = StatementInput::plain(who, DATABASE, "wire", digested.facts(), snapshot.time(now));
            let failed =
                snapshot.decide(&input).reasons.into_iter().find(|reason| reason.rule == "policy_error");
            if let Some(reason) = failed {
                bail!("a decision fails, so there is nothing to measure: {}", reason.message);
            }
        }
        let miss = |input: &StatementInput<'_>, _: &Digested| drop(snapshot.decide(input));
        let hit =
            |input: &StatementInput<'_>, facts: &Digested| drop(snapshot.recall_or_decide(input, facts));
        timed(&miss, 1);
        let misses = timed(&miss, 1);
        timed(&hit, 1);
        let hits = timed(&hit, HITS);
        Ok([Measured::of("miss", grants, misses), Measured::of("hit", grants, hits)])
    }
}

impl Measured {
    fn of(what: &'static str, grants: usize, mut micros: Vec<f64>) -> Self {
        micros.sort_by(f64::total_cmp);
        let at = |percent: usize| {
            let place = micros.len().saturating_mul(percent).checked_div(100).unwrap_or(0);
            micros.get(place).or(micros.last()).copied().unwrap_or(0.0)
        };
        Self { what, grants, median_us: at(50), p99_us: at(99) }
    }
}

/// A SELECT of four columns of one table.
fn facts(table: &str) -> anyhow::Result<Facts> {
    let (schema, name) = table.split_once('.').context("a table has a schema")?;
    let mut facts = serde_json::to_value(Facts::empty())?;
    let tables = json!([{
        "key": table, "schema": schema, "name": name, "kind": "table", "access": "read", "system": false,
        "via_view": "", "columns_read": ["c0", "c1", "c2", "c3"], "columns_filtered": ["c0"],
        "columns_written": [], "tags": [], "tags_read": [], "tags_written": [], "row_estimate": 1000,
        "has_triggers": false, "has_rules": false,
    }]);
    if let Some(fields) = facts.as_object_mut() {
        fields.insert("kind".to_owned(), json!("select"));
        fields.insert("class".to_owned(), json!("read"));
        fields.insert("tables".to_owned(), tables);
    }
    Ok(serde_json::from_value(facts)?)
}

fn agent(at: usize) -> String {
    format!("agent-{at}")
}

fn table(at: usize) -> String {
    format!("app.t{at}")
}

fn micros(start: Timestamp, end: Timestamp) -> f64 {
    end.duration_since(start).as_secs_f64() * 1e6
}

const DATABASE: &str = "shop";

/// How many times more grants the second measurement has.
const MANY: usize = 100;

/// Identities that ask: with more, known decisions would push each other out.
const MOST_ASKED: usize = 200;

/// Hits between two looks at the clock, which is too coarse for one.
const HITS: u32 = 100;
