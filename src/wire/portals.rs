//! Prepared statements and portals, with what their proofs left behind.
//!
//! A name means what the server has confirmed it to mean. Within one series of messages it may already mean
//! what was just sent: if that fails, the server skips everything that relied on it. So a Parse of a name that
//! exists already (which fails, while the old SQL stays behind the name) never lends its judgement to the old
//! SQL.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::gate::{
    self, Course, Denial, InForce, NameChange, Outcome, Prepared, Receipt, Running, Shown, Step,
};
use crate::mask::{Detectors, Field, Release, Released, Stop};
use crate::protocol::results::Format;
use crate::protocol::run::Run;
use crate::sql::Facts;
use crate::sql::facts::Class;

use super::session::Limits;

/// The names of a session, and the portals behind them.
#[derive(Debug, Default)]
pub(super) struct Portals {
    /// What a name stands for, whether SQL or a message has made it so. The unnamed ones can't be named in SQL.
    names: gate::Names,
    unnamed: Names<Arc<Prepared>>,
    /// Portals that a message has made.
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
    stopped: Option<Stop>,
    warning: Option<Box<Denial>>,
    change: Option<NameChange>,
    /// What the server said of the newest part, where it stands for several statements.
    tag: Option<String>,
    is_named: bool,
    is_once: bool,
    /// How many characters of our own stood before its text.
    ahead: usize,
    /// How long the server may work on it, in milliseconds.
    time_ms: Option<u64>,
    /// How long it has.
    spent: Duration,
    ends_session: bool,
    /// What its result goes on by.
    course: Option<Course>,
    /// The names of its columns.
    columns: Vec<String>,
}

/// A session that ends in the middle of a result still had it.
impl Drop for Flow {
    fn drop(&mut self) {
        if let Some(receipt) = self.receipt.take() {
            receipt.abandon(self.release.rows(), self.release.bytes());
        }
    }
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
        if name.is_empty() { self.unnamed.meaning(name) } else { self.names.statement(name) }
    }

    /// What all names mean for a message that is sent now.
    pub(super) fn names(&self) -> gate::Names {
        self.names.clone()
    }

    /// Whether `name` is a cursor, for a message that is sent now.
    pub(super) fn is_cursor(&self, name: &str) -> bool {
        self.names.cursor(name).is_some()
    }

    /// The portal that `name` means for a message that is sent now.
    pub(super) fn portal_mut(&mut self, name: &str) -> Option<(PortalId, &mut Flow)> {
        let id = *self.portals.meaning(name)?;
        self.flows.get_mut(&id).map(|flow| (id, flow))
    }

    /// Whether no further statement or portal fits.
    pub(super) fn is_full(&self, limits: Limits) -> bool {
        self.names.len() >= limits.statements || self.flows.len() >= limits.portals
    }

    /// A Parse was sent.
    pub(super) fn parse_sent(&mut self, name: String, prepared: Arc<Prepared>) {
        match name.as_str() {
            "" => self.unnamed.send(name, Some(prepared)),
            _ => self.names.send(NameChange::Prepared { name, prepared }),
        }
    }

    /// The server confirmed the oldest Parse or Close of a statement, which was of an unnamed one or not.
    pub(super) fn statement_confirmed(&mut self, unnamed: bool) {
        match unnamed {
            true => drop(self.unnamed.confirm()),
            false => self.names.confirm(),
        }
    }

    /// A Close of a statement was sent.
    pub(super) fn statement_close_sent(&mut self, name: String) {
        match name.as_str() {
            "" => self.unnamed.send(name, None),
            _ => self.names.send(NameChange::Deallocated { name }),
        }
    }

    /// The server dropped the unnamed statement: by a simple Query, or by a Parse that failed.
    pub(super) fn drop_unnamed_statement(&mut self) {
        self.unnamed.confirmed.clear();
    }

    /// The server confirmed what SQL has changed about names.
    pub(super) fn change(&mut self, change: NameChange) {
        match &change {
            NameChange::Opened { name, .. } | NameChange::Closed { name } => self.forget_portal(name),
            NameChange::AllClosed | NameChange::Discarded => self.end_portals(),
            NameChange::Prepared { .. }
            | NameChange::Deallocated { .. }
            | NameChange::AllDeallocated
            | NameChange::Listening { .. } => {}
        }
        self.names.change(change);
    }

    /// A Bind of `prepared` was sent.
    pub(super) fn bind_sent(&mut self, name: String, prepared: Arc<Prepared>, running: Running) -> PortalId {
        let mut flow = Flow::new(running);
        flow.is_named = !name.is_empty();
        let id = self.add(flow);
        if !name.is_empty() {
            let name = name.clone();
            self.names.send(NameChange::Opened { name, opened_as: prepared, holds: false });
        }
        self.portals.send(name, Some(id));
        id
    }

    /// An Execute of a cursor was sent, which is good for this once.
    pub(super) fn fetch_sent(&mut self, running: Running) -> PortalId {
        let mut flow = Flow::new(running);
        flow.is_once = true;
        self.add(flow)
    }

    /// The server confirmed the oldest Bind or Close of a portal, which was of an unnamed one or not.
    pub(super) fn portal_confirmed(&mut self, unnamed: bool) {
        if !unnamed {
            self.names.confirm();
        }
        if let Some(replaced) = self.portals.confirm() {
            self.end(replaced);
        }
    }

    /// A Close of a portal was sent.
    pub(super) fn portal_close_sent(&mut self, name: String) {
        if !name.is_empty() {
            self.names.send(NameChange::Closed { name: name.clone() });
        }
        self.portals.send(name, None);
    }

    fn add(&mut self, flow: Flow) -> PortalId {
        self.newest = self.newest.wrapping_add(1);
        let id = PortalId(self.newest);
        self.flows.insert(id, flow);
        id
    }

    fn forget_portal(&mut self, name: &str) {
        if let Some(id) = self.portals.confirmed.remove(name) {
            self.end(id);
        }
    }

    /// The portal with this id, unless it is gone.
    pub(super) fn flow_mut(&mut self, id: PortalId) -> Option<&mut Flow> {
        self.flows.get_mut(&id)
    }

    /// An error came: what was sent and not confirmed never happened.
    pub(super) fn roll_back(&mut self) {
        self.unnamed.sent.clear();
        self.names.roll_back();
        for (_, id) in std::mem::take(&mut self.portals.sent) {
            if let Some(id) = id {
                self.end(id);
            }
        }
    }

    /// The transaction ended, and with it all portals but cursors that outlive it.
    pub(super) fn end_transaction(&mut self) {
        self.names.end_transaction();
        self.end_portals();
    }

    fn end_portals(&mut self) {
        self.portals.confirmed.clear();
        self.portals.sent.clear();
        for id in self.flows.keys().copied().collect::<Vec<_>>() {
            self.end(id);
        }
    }

    /// Ends the portal with this id.
    pub(super) fn end(&mut self, id: PortalId) {
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
    /// The way of a statement that was sent with this many characters of our own before its text.
    pub(super) fn behind(running: Running, ahead: usize) -> Self {
        let mut flow = Self::new(running);
        flow.ahead = ahead;
        flow
    }

    /// The way of a statement that was sent.
    pub(super) fn new(running: Running) -> Self {
        let limited = running.limits.rows.is_some() || running.limits.bytes.is_some();
        Self {
            asked: running.release.is_described(),
            release: running.release,
            receipt: Some(running.receipt),
            facts: running.facts,
            limited,
            executed: false,
            stopped: None,
            warning: running.warning,
            change: running.change,
            tag: None,
            is_named: false,
            is_once: false,
            ahead: 0,
            time_ms: running.limits.time_ms,
            spent: Duration::ZERO,
            ends_session: running.ends_session,
            course: running.course,
            columns: Vec::new(),
        }
    }

    /// What its result goes on by.
    pub(super) fn course(&self) -> Option<&Course> {
        self.course.as_ref()
    }

    /// Whether it was judged by other rules than those in force.
    pub(super) fn is_of_other_rules(&self, in_force: &InForce) -> bool {
        self.course.as_ref().is_some_and(|course| !course.is_by(in_force))
    }

    /// Whether the gate is to be asked before anything leaves.
    pub(super) fn is_asked_about(&self, in_force: &InForce) -> bool {
        self.course.is_some() && (in_force.asks_result || self.is_of_other_rules(in_force))
    }

    /// How many of the rows that begin in `run` may leave before the gate is asked; `None` where it need not be.
    pub(super) fn before_step(&self, run: &Run, in_force: &InForce) -> Option<u64> {
        match (self.is_of_other_rules(in_force), self.is_asked_about(in_force)) {
            (true, _) => Some(0),
            (false, true) => Some(self.release.before_step(run)),
            (false, false) => None,
        }
    }

    /// Counts for the identity's budget what the client has got so far.
    pub(super) fn charge(&mut self) {
        let (rows, bytes) = (self.release.rows(), self.release.bytes());
        if let Some(receipt) = &mut self.receipt {
            receipt.charge(rows, bytes);
        }
    }

    /// Takes in that the gate lets it go on, and by what.
    pub(super) fn goes_on(&mut self, course: Course) {
        self.charge();
        self.course = Some(course);
        self.release.stepped();
    }

    /// The step that it has come to, if anybody can be asked.
    pub(super) fn step(&self) -> Option<Step> {
        let columns = self.columns.clone();
        let shown = Shown { columns, rows: self.release.rows(), bytes: self.release.bytes() };
        Some(Step { course: self.course.clone()?, shown: Some(shown) })
    }

    /// How long the server may work on it, in milliseconds.
    pub(super) fn time_ms(&self) -> Option<u64> {
        self.time_ms
    }

    /// Lets the server work on it for `ms` at most.
    pub(super) fn limit_time(&mut self, ms: u64) {
        self.time_ms = Some(self.time_ms.map_or(ms, |limit| limit.min(ms)));
    }

    /// How long the server has worked on it.
    pub(super) fn spent(&self) -> Duration {
        self.spent
    }

    /// Notes that the server has worked on it.
    pub(super) fn spend(&mut self, time: Duration) {
        self.spent = self.spent.saturating_add(time);
    }

    /// Notes why it is stopped.
    pub(super) fn stopped_by(&mut self, stop: Stop) {
        self.stopped = Some(stop);
    }

    /// What it changes about names, once the server has confirmed it.
    pub(super) fn change(&self) -> Option<&NameChange> {
        self.change.as_ref()
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
        self.columns = fields.iter().map(|field| field.name.clone()).collect();
        let checked = self.release.describe(fields);
        self.note(checked)
    }

    /// Checks that a result without columns was planned.
    pub(super) fn describe_nothing(&mut self) -> Result<(), Stop> {
        if self.release.plan().arity.is_some() { self.describe(&[]) } else { Ok(()) }
    }

    /// COPY data follows.
    pub(super) fn copy_out(&mut self, format: Format) {
        self.release.copy_out(format);
    }

    /// Lets rows go, as far as they have arrived and may leave.
    pub(super) fn run(&mut self, run: Run) -> (Released, Option<Stop>) {
        let (released, stop) = self.release.run(run);
        if let Some(stop) = &stop {
            self.stopped = Some(stop.clone());
        }
        (released, stop)
    }

    /// Notes that the portal runs.
    pub(super) fn execute(&mut self) {
        self.executed = true;
    }

    /// Whether whoever runs it must wait for its end: because it decides what names and transactions mean, or
    /// because it must be possible to undo it when its result breaks a ceiling, or because COPY data may follow, or
    /// because nothing may stand behind it that a cancel could hit, or that must not run.
    pub(super) fn holds_client(&self) -> bool {
        let writes = self.facts.class >= Class::Write;
        let kind = self.facts.kind.as_str();
        let unknown = !self.facts.unresolved.is_empty();
        let is_alone = self.time_ms.is_some() || self.ends_session;
        is_alone
            || unknown
            || (self.limited && writes)
            || HOLDING.contains(&kind)
            || kind.starts_with(DISCARD)
    }

    /// Whether it stands for a string that nobody could read, of any number of statements.
    pub(super) fn is_unread(&self) -> bool {
        !self.facts.parse_ok
    }

    /// Notes the end of one statement of an unread string.
    pub(super) fn note_tag(&mut self, tag: String) {
        self.tag = Some(tag);
    }

    /// Settles an unread string, all of which has ended well.
    pub(super) fn settle_unread(&mut self) {
        if let Some(tag) = self.tag.take() {
            self.settle(&Outcome::Completed { tag });
        }
    }

    /// Whether it is a portal with a name.
    pub(super) fn is_named(&self) -> bool {
        self.is_named
    }

    /// Whether it is over once it has been executed.
    pub(super) fn is_once(&self) -> bool {
        self.is_once
    }

    /// What it has changed about names, now that the server has confirmed it.
    pub(super) fn take_change(&mut self) -> Option<NameChange> {
        self.change.take()
    }

    /// Whether it ends its transaction.
    pub(super) fn ends_transaction(&self) -> bool {
        matches!(self.facts.kind.as_str(), "commit" | "rollback" | "prepare_transaction")
    }

    /// What is looked for in its result.
    pub(super) fn detectors(&self) -> Detectors {
        self.release.detectors()
    }

    /// Lets the value go that a FunctionCall gives.
    pub(super) fn value(&mut self, body: Bytes) -> Bytes {
        self.release.value(body)
    }

    /// What it does.
    pub(super) fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Whether it touches a governed relation.
    pub(super) fn is_governed(&self) -> bool {
        self.release.plan().governed
    }

    /// How many characters of our own stood before its text.
    pub(super) fn ahead(&self) -> usize {
        self.ahead
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
        let receipt = receipt.with_findings(self.release.findings());
        match self.stopped.take() {
            Some(stop) => receipt.settle(
                &Outcome::Stopped { stop: Some(stop) },
                self.release.rows(),
                self.release.bytes(),
            ),
            None => receipt.settle(outcome, self.release.rows(), self.release.bytes()),
        }
    }

    fn note<T>(&mut self, checked: Result<T, Stop>) -> Result<T, Stop> {
        if let Err(stop) = &checked {
            self.stopped = Some(stop.clone());
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
