//! Proofs. An [`Authorized`] has private fields, no `Clone` and no public constructor: whoever holds one got it
//! from [`super::Gate::admit`], and can spend it once.

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

use jiff::Timestamp;
use smol_str::SmolStr;

use crate::approval::ApprovalId;
use crate::audit::{Event, Ledger, Record};
use crate::clock::{Clock, elapsed_ms};
use crate::mask::detect::Findings;
use crate::mask::{Guard, Plan, Release, Stop};
use crate::policy::Limits;
use crate::policy::input::Spent;
use crate::sql::{Analysis, Facts, Statement};

use super::budget::Budgets;
use super::definitions::Watch;
use super::memory::Reading;
use super::{Act, Bind, Connect, Context, Course, Denial, NameChange, Query, Run};

/// Proof that an act passed the gate. Spent by value: one proof, one send.
#[derive(Debug)]
#[must_use = "an act that was admitted must be sent or dropped; dropping it is recorded as not run"]
pub struct Authorized<A: Act> {
    act: A,
    grant: A::Grant,
}

impl<A: Act> Authorized<A> {
    pub(super) fn mint(act: A, grant: A::Grant) -> Self {
        Self { act, grant }
    }

    /// What was admitted.
    #[must_use]
    pub fn act(&self) -> &A {
        &self.act
    }

    /// What the gate granted.
    pub(super) fn grant(&self) -> &A::Grant {
        &self.grant
    }

    /// Takes the proof apart to send it. `tests/house.rs` holds that only `upstream` and `gate` call this.
    pub(crate) fn spend(self) -> (A, A::Grant) {
        (self.act, self.grant)
    }
}

impl Authorized<Connect> {
    /// Where statements of the session will be judged: known before a connection is opened.
    #[must_use]
    pub fn context(&self) -> &Arc<Context> {
        self.grant()
    }
}

impl Authorized<Query> {
    /// What must run before it, for definitions to be those that its statements were judged by.
    pub(crate) fn guards(&self) -> Vec<Guard> {
        self.grant().running.iter().filter_map(Running::guard).cloned().collect()
    }
}

impl<A: Act<Grant = Clearance>> Authorized<A> {
    /// Whether its time is limited.
    #[must_use]
    pub fn is_timed(&self) -> bool {
        self.grant().running.limits.time_ms.is_some()
    }
}

impl Authorized<Bind> {
    /// What must run before it, for definitions to be those that it was judged by.
    pub(crate) fn guards(&self) -> Vec<Guard> {
        self.grant().running.guard().cloned().into_iter().collect()
    }
}

impl Authorized<Run> {
    /// Whether the session ends once it is answered.
    #[must_use]
    pub fn ends_session(&self) -> bool {
        self.grant().steps.iter().any(|step| step.cleared.running.ends_session)
    }

    /// The decision that admitted it: for an answer about a statement that failed later on.
    #[must_use]
    pub fn decision_id(&self) -> &str {
        self.grant().steps.first().map_or("", |step| step.cleared.running.receipt.decision_id())
    }

    /// The approval that it has spent.
    #[must_use]
    pub fn approval(&self) -> Option<&ApprovalId> {
        self.grant().approval.as_ref()
    }

    /// The statements, to be sent one by one; at least one.
    pub(crate) fn into_steps(self) -> Vec<RunStep> {
        let (_, clearance) = self.spend();
        clearance.steps
    }
}

/// What the gate grants for a [`Run`]: a step for each statement in it.
#[derive(Debug)]
pub struct RunClearance {
    pub(super) steps: Vec<RunStep>,
    pub(super) approval: Option<ApprovalId>,
}

/// One statement of an admitted [`Run`]. Spent by value; dropped, it is recorded as not run.
#[derive(Debug)]
#[must_use = "a step that was admitted must be sent or dropped; dropping it is recorded as not run"]
pub struct RunStep {
    pub(super) cleared: Clearance,
    pub(super) parameters: Vec<Option<String>>,
}

impl RunStep {
    /// What must run before it, for definitions to be those that it was judged by.
    pub(crate) fn guard(&self) -> Option<&Guard> {
        self.cleared.running.guard()
    }

    /// What it may take.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.cleared.running.limits
    }

    /// The SQL to send, its values, and the statement's running state.
    pub(crate) fn split(self) -> (String, Vec<Option<String>>, Running) {
        let (sql, running) = self.cleared.split();
        (sql, self.parameters, running)
    }

    /// Records that it was not sent, because of what came before it.
    pub(crate) fn skip(self, outcome: &Outcome) {
        let (_, running) = self.cleared.split();
        running.receipt.settle(outcome, 0, 0);
    }
}

/// What the gate grants for one statement that will run.
#[derive(Debug)]
pub struct Clearance {
    pub(super) sql: String,
    pub(super) running: Running,
}

impl Clearance {
    /// The SQL to send and the statement's running state.
    pub(crate) fn split(mut self) -> (String, Running) {
        self.running.receipt.is_sent = true;
        (self.sql, self.running)
    }
}

/// What the gate grants for a [`super::Query`]: one string, and one running state a statement in it.
#[derive(Debug)]
pub struct QueryClearance {
    pub(super) sql: String,
    pub(super) running: Vec<Running>,
}

impl QueryClearance {
    /// The SQL to send and the statements' running states, in order.
    pub(crate) fn split(mut self) -> (String, Vec<Running>) {
        self.running.iter_mut().for_each(|running| running.receipt.is_sent = true);
        (self.sql, self.running)
    }
}

/// What the gate grants for a [`super::Prepare`].
#[derive(Debug)]
pub struct PrepareClearance {
    pub(super) prepared: Arc<Prepared>,
    pub(super) receipt: Receipt,
}

impl PrepareClearance {
    /// The statement as it will be sent, and its receipt.
    pub(crate) fn split(mut self) -> (Arc<Prepared>, Receipt) {
        self.receipt.is_sent = true;
        (self.prepared, self.receipt)
    }
}

/// A prepared statement as it was judged. Every Bind of it is judged again.
#[derive(Debug)]
pub struct Prepared {
    pub(super) statement: Statement,
    pub(super) analysis: Arc<Reading>,
    pub(super) sql: String,
    pub(super) plan: Plan,
    pub(super) catalog_version: u64,
    pub(super) decision_id: SmolStr,
    /// OIDs of the parameters' types as the client gave them; 0 leaves one to the server.
    pub(super) parameter_types: Vec<u32>,
    /// The same as the server has described them.
    pub(super) described_types: OnceLock<Vec<u32>>,
}

impl Prepared {
    /// A statement that the server may know by `name`, and that no message has defined which was seen. Only an
    /// unjudged session gets anywhere with it.
    #[must_use]
    pub fn unseen(name: &str) -> Self {
        let text = format!("EXECUTE \"{}\"", name.replace('"', "\"\""));
        let statement = Statement::unread(text.into());
        let unseen = "was defined where the gateway did not see it";
        Self {
            analysis: Arc::new(Reading::new(Analysis::unknown(&statement, unseen))),
            sql: statement.as_str().to_owned(),
            statement,
            plan: Plan { verbatim: true, ..Plan::default() },
            catalog_version: u64::MAX,
            decision_id: SmolStr::default(),
            parameter_types: Vec::new(),
            described_types: OnceLock::new(),
        }
    }

    /// OIDs of the parameters' types; 0, or nothing, where one is not known.
    #[must_use]
    pub fn parameter_types(&self) -> &[u32] {
        self.described_types.get().unwrap_or(&self.parameter_types)
    }

    /// Notes the types as the server describes them.
    pub fn described(&self, types: Vec<u32>) {
        // Whoever is first is right: a statement's types do not change.
        drop(self.described_types.set(types));
    }

    /// The text as the client wrote it.
    #[must_use]
    pub fn statement(&self) -> &Statement {
        &self.statement
    }

    /// The text as it is sent upstream.
    pub(crate) fn sql(&self) -> &str {
        &self.sql
    }

    /// What results of it are held against: for the answer to Describe.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What it would do; `None` for an empty string.
    #[must_use]
    pub fn facts(&self) -> Option<&Facts> {
        self.analysis.items().first().map(|item| item.facts.as_ref())
    }

    /// The decision that admitted it.
    #[must_use]
    pub fn decision_id(&self) -> &str {
        &self.decision_id
    }
}

/// A statement on its way: what its rows are held against, and the receipt to settle.
#[derive(Debug)]
pub struct Running {
    /// The state of its result.
    pub release: Release,
    /// To be settled with what became of it.
    pub receipt: Receipt,
    /// What it does.
    pub facts: Arc<Facts>,
    /// Its ceilings.
    pub limits: Limits,
    /// Whether the session ends once it is answered.
    pub ends_session: bool,
    /// What it goes on by; `None` where nothing can come of it.
    pub course: Option<Course>,
    /// What it changes about names, once the server has confirmed it.
    pub change: Option<NameChange>,
    /// What keeps it from running as it was written, so that something weaker runs in its place: the requester
    /// must be told.
    pub warning: Option<Box<Denial>>,
}

impl Running {
    /// Whether the result must be described upstream before a row of it may pass.
    #[must_use]
    pub fn forbidden(&self) -> &HashSet<(u32, i16)> {
        &self.release.plan().forbidden
    }

    fn guard(&self) -> Option<&Guard> {
        self.release.plan().guard.as_ref()
    }
}

/// What became of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It ran to its end.
    Completed {
        /// The server's command tag; empty for a Parse.
        tag: String,
    },
    /// The server refused it.
    Failed {
        /// The SQLSTATE.
        sqlstate: String,
    },
    /// The server skipped it, because something before it failed.
    Skipped,
    /// It ran, and was undone with its transaction, because of something else in there.
    RolledBack,
    /// We stopped its result: ceiling or mismatch.
    Stopped {
        /// Why, where it was the result itself.
        stop: Option<Stop>,
    },
    /// Its session ended first: it may or may not have run.
    Unknown,
}

impl Outcome {
    /// The server's command tag; empty where there is none.
    #[must_use]
    pub fn tag(&self) -> &str {
        match self {
            Self::Completed { tag } => tag,
            Self::Failed { .. } | Self::Skipped | Self::RolledBack | Self::Stopped { .. } | Self::Unknown => {
                ""
            }
        }
    }

    /// Why the gateway stopped it, as far as it was its result; empty where it did not.
    #[must_use]
    pub fn why(&self) -> String {
        match self {
            Self::Stopped { stop: Some(Stop::Refused { rule, message, .. }) } => format!("{rule}: {message}"),
            Self::Stopped { stop: Some(stop) } => stop.to_string(),
            Self::Completed { .. }
            | Self::Failed { .. }
            | Self::Skipped
            | Self::RolledBack
            | Self::Stopped { stop: None }
            | Self::Unknown => String::new(),
        }
    }

    /// The word in the ledger.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Completed { .. } => "ok",
            Self::Failed { .. } => "error",
            Self::Skipped => "skipped",
            Self::RolledBack => "rolled_back",
            Self::Stopped { .. } => "stopped",
            Self::Unknown => "unknown",
        }
    }
}

/// Owed to the ledger: what became of an admitted statement. Dropped unsettled, it records `unknown`, or
/// `skipped` if its proof was never spent.
#[derive(Debug)]
pub struct Receipt {
    ledger: Ledger,
    clock: Arc<dyn Clock>,
    record: Option<Record>,
    watch: Option<Watch>,
    account: Option<Account>,
    admitted_at: Timestamp,
    decision_id: SmolStr,
    is_sent: bool,
    found: Findings,
}

impl Receipt {
    /// `template` names the decision, identity and session; its event is replaced when it is settled.
    pub(super) fn new(ledger: Ledger, clock: Arc<dyn Clock>, template: Record) -> Self {
        let admitted_at = template.at;
        let decision_id = template.decision_id.clone();
        let (record, found) = (Some(template), Findings::default());
        let (watch, account) = (None, None);
        Self { ledger, clock, record, watch, account, admitted_at, decision_id, is_sent: false, found }
    }

    /// Counts the rows for `identity`, once it is known how many there are.
    pub(super) fn charged_to(mut self, budgets: Budgets, identity: SmolStr) -> Self {
        self.account = Some(Account { budgets, identity, charged: Spent::default() });
        self
    }

    /// Counts what the client has got so far, while there may be more: a portal that is never closed is no way around a
    /// budget.
    pub fn charge(&mut self, rows: u64, bytes: u64) {
        let now = self.clock.now();
        if let Some(account) = &mut self.account {
            account.charge(rows, bytes, now);
        }
    }

    /// Lets go of it with what the client has got: its session has ended.
    pub fn abandon(mut self, rows: u64, bytes: u64) {
        let outcome = if self.is_sent { Outcome::Unknown } else { Outcome::Skipped };
        self.write(&outcome, rows, bytes);
    }

    /// Lets `watch` hear of the outcome too.
    pub(super) fn watched(mut self, watch: Watch) -> Self {
        self.watch = Some(watch);
        self
    }

    /// The decision that it belongs to.
    #[must_use]
    pub fn decision_id(&self) -> &str {
        &self.decision_id
    }

    /// Notes what was found in the values of its result, for when it is settled.
    #[must_use]
    pub fn with_findings(mut self, found: Option<&Findings>) -> Self {
        self.found = found.cloned().unwrap_or_default();
        self
    }

    /// Records what became of the statement, and how many rows the client got, of how many bytes.
    pub fn settle(mut self, outcome: &Outcome, rows: u64, bytes: u64) {
        self.write(outcome, rows, bytes);
    }

    fn write(&mut self, outcome: &Outcome, rows: u64, bytes: u64) {
        let Some(mut record) = self.record.take() else { return };
        self.charge(rows.max(affected(outcome.tag())), bytes);
        if let Some(watch) = self.watch.take() {
            watch.settled(outcome);
        }
        let now = self.clock.now();
        let (tag, sqlstate) = match outcome {
            Outcome::Completed { tag } => (tag.clone(), String::new()),
            Outcome::Failed { sqlstate } => (String::new(), sqlstate.clone()),
            Outcome::Skipped | Outcome::RolledBack | Outcome::Stopped { .. } | Outcome::Unknown => {
                (String::new(), String::new())
            }
        };
        record.at = now;
        record.event = Event::Settled {
            outcome: outcome.as_str().to_owned(),
            tag,
            sqlstate,
            rows,
            duration_ms: elapsed_ms(self.admitted_at, now),
            why: outcome.why(),
            found: self.found.by_name().map(|(name, count)| (SmolStr::new_static(name), count)).collect(),
        };
        self.ledger.note(record);
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        let outcome = if self.is_sent { Outcome::Unknown } else { Outcome::Skipped };
        self.write(&outcome, 0, 0);
    }
}

/// Whose budget a statement's result is charged to, and what of it was.
#[derive(Debug)]
struct Account {
    budgets: Budgets,
    identity: SmolStr,
    charged: Spent,
}

impl Account {
    fn charge(&mut self, rows: u64, bytes: u64, now: Timestamp) {
        let more = Spent {
            rows: rows.saturating_sub(self.charged.rows),
            bytes: bytes.saturating_sub(self.charged.bytes),
            ..Spent::default()
        };
        if more != Spent::default() {
            self.budgets.add(&self.identity, more, now);
            self.charged = Spent { rows, bytes, ..Spent::default() };
        }
    }
}

/// The rows that a command tag counts: `UPDATE 3`, `INSERT 0 3`.
fn affected(tag: &str) -> u64 {
    tag.rsplit(' ').next().and_then(|count| count.parse().ok()).unwrap_or(0)
}
