//! What is measured, and the goals.

use crate::load::Load;
use crate::stand::Way;
use crate::tools::Era;

/// Something that is done by several ways, in rounds.
#[derive(Debug, Clone)]
pub(crate) struct Workload {
    pub(crate) name: String,
    pub(crate) load: Load,
    pub(crate) ways: Vec<Way>,
    pub(crate) goals: Vec<Goal>,
}

/// What must hold of one way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Goal {
    pub(crate) way: Way,
    pub(crate) bound: Bound,
}

/// A bound on the median of a ratio.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bound {
    /// CPU time for each unit is at most so many times the relay's.
    Cpu(f64),
    /// The rate is at least this part of the relay's.
    RateOfRelay(f64),
    /// The rate is at least this part of a direct connection's.
    RateOfDirect(f64),
}

/// All workloads, in the order of the table.
pub(crate) fn workloads() -> Vec<Workload> {
    let mut all = Vec::new();
    for (clients, transactions) in [(1, 2000), (8, 1200), (32, 400)] {
        all.extend(MODES.map(|mode| select(mode, clients, transactions)));
    }
    all.extend([(1, 150), (8, 40)].map(|(clients, transactions)| churn(clients, transactions)));
    for (era, words) in [(Era::Stateless, "stateless"), (Era::Session, "in a session")] {
        all.extend([(1, 800), (8, 200)].map(|(clients, calls)| tool(era, words, clients, calls)));
    }
    all.push(Workload {
        name: "stream: COPY TO STDOUT of 98 MB".to_owned(),
        load: Load::Copy,
        ways: vec![Way::Direct, Way::Relay, Way::Unmasked],
        goals: vec![Goal { way: Way::Unmasked, bound: Bound::Cpu(1.15) }],
    });
    all.push(Workload {
        name: "stream: SELECT of 300,000 rows, 4 columns".to_owned(),
        load: Load::Rows { rows: 300_000 },
        ways: vec![Way::Direct, Way::Relay, Way::Unmasked, Way::Masked],
        goals: vec![
            Goal { way: Way::Unmasked, bound: Bound::Cpu(1.15) },
            Goal { way: Way::Masked, bound: Bound::Cpu(1.6) },
        ],
    });
    all
}

fn select(mode: &'static str, clients: u32, transactions: u32) -> Workload {
    let mut ways = vec![Way::Direct, Way::Relay, Way::Unmasked, Way::Masked];
    if clients == 1 && mode == PREPARED {
        ways.push(Way::Fsync);
    }
    let rate = Bound::RateOfRelay(if clients == 32 { 0.90 } else { 0.85 });
    let mut goals = vec![Goal { way: Way::Unmasked, bound: rate }];
    if clients == 8 {
        let (unmasked, masked) = if mode == SIMPLE { (2.0, 2.0) } else { (1.4, 1.5) };
        goals.push(Goal { way: Way::Unmasked, bound: Bound::Cpu(unmasked) });
        goals.push(Goal { way: Way::Masked, bound: Bound::Cpu(masked) });
    }
    let name = format!("select, {mode}, c={clients}");
    Workload { name, load: Load::Select { mode, clients, transactions }, ways, goals }
}

fn tool(era: Era, words: &str, clients: u32, calls: u32) -> Workload {
    Workload {
        name: format!("query by MCP, {words}, c={clients}"),
        load: Load::Tool { era, clients, calls },
        ways: vec![Way::Unmasked, Way::Masked],
        goals: Vec::new(),
    }
}

fn churn(clients: u32, transactions: u32) -> Workload {
    Workload {
        name: format!("connection a transaction, c={clients}"),
        load: Load::Churn { clients, transactions },
        ways: vec![Way::Direct, Way::Relay, Way::Unmasked],
        goals: vec![Goal { way: Way::Unmasked, bound: Bound::RateOfDirect(0.75) }],
    }
}

/// Resident memory of an idle session, in kB, at most.
pub(crate) const IDLE_KB: f64 = 24.0;
/// How far resident memory may rise while a row of 256 MB passes, in kB.
pub(crate) const LARGE_ROW_KB: f64 = 1024.0;

/// What a call of `query` may take beyond the same statement by the wire door, in milliseconds, with one client.
pub(crate) const TOOL_MS: f64 = 2.0;
/// How far resident memory may rise while 200 agents work, in MB.
pub(crate) const CROWD_MB: f64 = 200.0;
/// Resident memory of an idle session of the MCP door, in kB, at most.
pub(crate) const IDLE_TOOL_KB: f64 = 100.0;

const SIMPLE: &str = "simple";
const PREPARED: &str = "prepared";
const MODES: [&str; 3] = [PREPARED, "extended", SIMPLE];
