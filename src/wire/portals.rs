//! Prepared statements and portals, with what their proofs left behind.
//!
//! A name means what the server has confirmed it to mean. Within one series of messages it may already mean
//! what was just sent: if that fails, the server skips everything that relied on it. So a Parse of a name that
//! exists already (which fails, while the old SQL stays behind the name) never lends its judgement to the old
//! SQL.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::gate::{Denial, Outcome, Prepared, Receipt, Running};
use crate::mask::{Field, Release, Released, Stop};
use crate::protocol::run::Run;
use crate::sql::Facts;
use crate::sql::facts::Class;

/// The names of a session, and the portals behind them.
#[derive(Debug, Default)]
pub(super) struct Portals {
    statements: Names<Arc<Prepared>>,
    portals: Names<PortalId>,
    flows: HashMap<PortalId, Flow>,
    newest: u64,
}

/// A portal, whatever its name means by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct PortalId(u64);

/// An admitted statement on its way: what its rows pass through, and the receipt that is owed.
#[derive(Debug)]
pub(super) struct Flow {
    release: Release,
    receipt: Option<Receipt>,
    facts: Arc<Facts>,
    limited: bool,
    asked: bool,
    executed: bool,
    stopped: Option<String>,
    warning: Option<Box<Denial>>,
}

/// What names mean: as confirmed, and what was sent since.
#[derive(Debug)]
struct Names<T> {
    confirmed: HashMap<String, T>,
    sent: VecDeque<(String, Option<T>)>,
}

impl Portals {
    /// What the statement `name` means for a message that is sent now.
    pub(super) fn statement(&self, name: &str) -> Option<&Arc<Prepared>> {
        self.statements.meaning(name)
    }

    /// The portal that `name` means for a message that is sent now.
    pub(super) fn portal_mut(&mut self, name: &str) -> Option<(PortalId, &mut Flow)> {
        let id = *self.portals.meaning(name)?;
        self.flows.get_mut(&id).map(|flow| (id, flow))
    }

    /// Whether no further statement or portal fits.
    pub(super) fn is_full(&self) -> bool {
        self.statements.len() >= MOST_STATEMENTS || self.flows.len() >= MOST_PORTALS
    }

    /// A Parse was sent.
    pub(super) fn parse_sent(&mut self, name: String, prepared: Arc<Prepared>) {
        self.statements.send(name, Some(prepared));
    }

    /// The server confirmed the oldest Parse or Close of a statement.
    pub(super) fn statement_confirmed(&mut self) {
        self.statements.confirm();
    }

    /// A Close of a statement was sent.
    pub(super) fn statement_close_sent(&mut self, name: String) {
        self.statements.send(name, None);
    }

    /// The server dropped the unnamed statement: by a simple Query, or by a Parse that failed.
    pub(super) fn drop_unnamed_statement(&mut self) {
        self.statements.confirmed.remove("");
    }

    /// SQL may have changed what any statement's name means.
    pub(super) fn forget_statements(&mut self) {
        self.statements.confirmed.clear();
    }

    /// A Bind was sent.
    pub(super) fn bind_sent(&mut self, name: String, running: Running) -> PortalId {
        self.newest = self.newest.wrapping_add(1);
        let id = PortalId(self.newest);
        self.flows.insert(id, Flow::new(running));
        self.portals.send(name, Some(id));
        id
    }

    /// The server confirmed the oldest Bind or Close of a portal.
    pub(super) fn portal_confirmed(&mut self) {
        if let Some(replaced) = self.portals.confirm() {
            self.end(replaced);
        }
    }

    /// A Close of a portal was sent.
    pub(super) fn portal_close_sent(&mut self, name: String) {
        self.portals.send(name, None);
    }

    /// The portal with this id, unless it is gone.
    pub(super) fn flow_mut(&mut self, id: PortalId) -> Option<&mut Flow> {
        self.flows.get_mut(&id)
    }

    /// An error came: what was sent and not confirmed never happened.
    pub(super) fn roll_back(&mut self) {
        self.statements.sent.clear();
        for (_, id) in std::mem::take(&mut self.portals.sent) {
            if let Some(id) = id {
                self.end(id);
            }
        }
    }

    /// The transaction ended, and all portals with it.
    pub(super) fn drop_portals(&mut self) {
        self.portals.confirmed.clear();
        self.portals.sent.clear();
        for id in self.flows.keys().copied().collect::<Vec<_>>() {
            self.end(id);
        }
    }

    fn end(&mut self, id: PortalId) {
        if let Some(mut flow) = self.flows.remove(&id) {
            let outcome = match flow.executed {
                // It gave the rows that were asked for, and nobody asked for more.
                true => Outcome::Completed { tag: String::new() },
                false => Outcome::Skipped,
            };
            flow.settle(&outcome);
        }
    }
}

impl Flow {
    /// The way of a statement that was sent.
    pub(super) fn new(running: Running) -> Self {
        let limited = running.limits.rows.is_some() || running.limits.bytes.is_some();
        Self {
            release: running.release,
            receipt: Some(running.receipt),
            facts: running.facts,
            limited,
            asked: false,
            executed: false,
            stopped: None,
            warning: running.warning,
        }
    }

    /// Notes that the server is asked for the result's description. True if nobody has asked before.
    pub(super) fn ask_description(&mut self) -> bool {
        !std::mem::replace(&mut self.asked, true)
    }

    /// Notes that the server skipped what it was asked.
    pub(super) fn skip(&mut self) {
        self.asked = self.release.is_described();
    }

    /// Checks the result's description.
    pub(super) fn describe(&mut self, fields: &[Field]) -> Result<(), Stop> {
        let checked = self.release.describe(fields);
        self.note(checked)
    }

    /// Checks that a result without columns was planned.
    pub(super) fn describe_nothing(&mut self) -> Result<(), Stop> {
        if self.release.plan().arity.is_some() { self.describe(&[]) } else { Ok(()) }
    }

    /// COPY data follows.
    pub(super) fn copy_out(&mut self) {
        self.release.copy_out();
    }

    /// Lets rows go, as far as they have arrived and may leave.
    pub(super) fn run(&mut self, run: Run) -> (Released, Option<Stop>) {
        let (released, stop) = self.release.run(run);
        if let Some(stop) = &stop {
            self.stopped = Some(stop.to_string());
        }
        (released, stop)
    }

    /// Notes that the portal runs.
    pub(super) fn execute(&mut self) {
        self.executed = true;
    }

    /// Whether whoever runs it must wait for its end: because it decides what names and transactions mean, or
    /// because it must be possible to undo it when its result breaks a ceiling, or because COPY data may follow.
    pub(super) fn holds_client(&self) -> bool {
        let writes = self.facts.class >= Class::Write;
        let kind = self.facts.kind.as_str();
        (self.limited && writes) || HOLDING.contains(&kind) || kind.starts_with(DISCARD)
    }

    /// Whether SQL of this kind may change what the names of statements mean.
    pub(super) fn redefines_statements(&self) -> bool {
        let kind = self.facts.kind.as_str();
        kind == "prepare" || kind.starts_with(DISCARD)
    }

    /// Whether portals don't outlive it.
    pub(super) fn ends_portals(&self) -> bool {
        let kind = self.facts.kind.as_str();
        matches!(kind, "commit" | "rollback" | "prepare_transaction" | "declare_cursor")
            || kind.starts_with(DISCARD)
    }

    /// Whether it touches a governed relation.
    pub(super) fn is_governed(&self) -> bool {
        self.release.plan().governed
    }

    /// Whether its text went up as it came in.
    pub(super) fn is_verbatim(&self) -> bool {
        self.release.plan().verbatim
    }

    /// Why something weaker ran in its place, once.
    pub(super) fn take_warning(&mut self) -> Option<Box<Denial>> {
        self.warning.take()
    }

    /// Settles its receipt, once.
    pub(super) fn settle(&mut self, outcome: &Outcome) {
        let Some(receipt) = self.receipt.take() else { return };
        match self.stopped.take() {
            Some(why) => receipt.settle(&Outcome::Stopped { why }, self.release.rows()),
            None => receipt.settle(outcome, self.release.rows()),
        }
    }

    fn note<T>(&mut self, checked: Result<T, Stop>) -> Result<T, Stop> {
        if let Err(stop) = &checked {
            self.stopped = Some(stop.to_string());
        }
        checked
    }
}

impl<T> Default for Names<T> {
    fn default() -> Self {
        Self { confirmed: HashMap::new(), sent: VecDeque::new() }
    }
}

impl<T> Names<T> {
    fn meaning(&self, name: &str) -> Option<&T> {
        match self.sent.iter().rev().find(|(sent, _)| sent == name) {
            Some((_, meaning)) => meaning.as_ref(),
            None => self.confirmed.get(name),
        }
    }

    fn send(&mut self, name: String, meaning: Option<T>) {
        self.sent.push_back((name, meaning));
    }

    /// Confirms what was sent first; returns what its name meant before.
    fn confirm(&mut self) -> Option<T> {
        match self.sent.pop_front()? {
            (name, Some(meaning)) => self.confirmed.insert(name, meaning),
            (name, None) => self.confirmed.remove(&name),
        }
    }

    fn len(&self) -> usize {
        self.confirmed.len().saturating_add(self.sent.len())
    }
}

/// Kinds behind which the client waits: they decide what names mean, or turn the stream into COPY data.
const HOLDING: [&str; 9] = [
    "commit",
    "rollback",
    "rollback_to",
    "prepare_transaction",
    "copy",
    "prepare",
    "deallocate",
    "declare_cursor",
    "close_cursor",
];
/// What the kinds of DISCARD ALL, PLANS, SEQUENCES and TEMP begin with.
const DISCARD: &str = "discard_";
/// More than any driver's statement cache; a bound on what one session can make the gateway keep.
const MOST_STATEMENTS: usize = 10_000;
/// Likewise for portals, of which one series may make many.
const MOST_PORTALS: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn names(confirmed: &[(&str, u32)]) -> Names<u32> {
        let confirmed = confirmed.iter().map(|(name, meaning)| ((*name).to_owned(), *meaning)).collect();
        Names { confirmed, sent: VecDeque::new() }
    }

    #[test]
    fn a_name_means_what_was_sent_last_and_then_what_was_confirmed() {
        let mut names = names(&[("a", 1)]);
        names.send("a".into(), None);
        assert_eq!(names.meaning("a"), None);
        names.send("a".into(), Some(2));
        assert_eq!(names.meaning("a"), Some(&2));
        assert_eq!(names.confirm(), Some(1));
        assert_eq!(names.confirm(), None);
        assert_eq!(names.meaning("a"), Some(&2));
    }

    #[test]
    fn a_name_whose_second_definition_failed_keeps_its_first_meaning() {
        let mut names = names(&[("a", 1)]);
        names.send("a".into(), Some(2));
        names.sent.clear();
        assert_eq!(names.meaning("a"), Some(&1));
    }

    #[test]
    fn a_close_that_was_skipped_leaves_the_name_alone() {
        let mut names = names(&[("a", 1)]);
        names.send("a".into(), None);
        names.sent.clear();
        assert_eq!(names.meaning("a"), Some(&1));
    }
}
