//! The desk itself. All but waiting is synchronous: the store is a local file, and these calls are rare.
//!
//! Every call first ends what has lapsed, in the same transaction, so nobody ever reads, spends or decides on
//! a request whose time is over.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rusqlite::Transaction;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::policy::{Progress, Reason};
use crate::store::{Store, StoreError};

use super::table;
use super::{Approval, ApprovalId, Ballot, Digest, NewRequest, Request, State, Vote};

/// Takes requests, lets requesters wait, and keeps what people said. Cheap to clone; clones share waiters.
#[derive(Debug, Clone)]
pub struct Desk {
    store: Store,
    clock: Arc<dyn Clock>,
    /// Stepped at every change, so that waiters look again.
    changes: watch::Sender<u64>,
}

/// Why the desk can't do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// There is no such request, or it isn't yours to see.
    #[error("there is no approval request `{id}`")]
    Unknown {
        /// The id asked for.
        id: String,
    },
    /// The request is no longer open.
    #[error("approval request `{id}` is {state} already")]
    Closed {
        /// The request.
        id: ApprovalId,
        /// Where it stands.
        state: State,
    },
    /// The request's statement has not been let through, so nothing can have become of it.
    #[error("approval request `{id}` is {state}: its statement has not run")]
    NotSpent {
        /// The request.
        id: ApprovalId,
        /// Where it stands.
        state: State,
    },
    /// Who asked wants to decide.
    #[error("`{requester}` asked for approval request `{id}`: somebody else must decide")]
    OwnRequest {
        /// The request.
        id: ApprovalId,
        /// Who asked.
        requester: String,
    },
    /// Somebody votes twice.
    #[error("`{by}` has voted on approval request `{id}` already: one person has one vote")]
    VotedAlready {
        /// The request.
        id: ApprovalId,
        /// Who.
        by: String,
    },
    /// A yes that would change nothing.
    #[error("no seat of approval request `{id}` is left for `{by}`: {standing}")]
    NoSeat {
        /// The request.
        id: ApprovalId,
        /// Who.
        by: String,
        /// Which seats are filled, and which are open.
        standing: String,
    },
    /// A no without a reason.
    #[error("a denial needs a reason, so that the requester knows what to change")]
    NoteMissing,
    /// A reason that nobody will read.
    #[error("the reason has {length} bytes; {most} are allowed")]
    NoteTooLong {
        /// How many it has.
        length: usize,
        /// How many are allowed.
        most: usize,
    },
    /// Too many requests of this identity are open.
    #[error("`{requester}` has {open} approval requests open, the most that are allowed")]
    TooMany {
        /// Who asks.
        requester: String,
        /// How many are open.
        open: u32,
    },
    /// The store failed.
    #[error("the approval store failed")]
    Store(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Where waiting for a decision ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// Somebody said yes.
    Approved(Approval),
    /// Somebody said no.
    Denied {
        /// Who.
        by: String,
        /// What they said.
        note: String,
    },
    /// The request's time ran out.
    Expired,
    /// The request was withdrawn.
    Withdrawn,
    /// Its approval has been used already.
    Spent,
    /// The waiting time is over; the request is still open.
    StillPending,
}

impl Desk {
    /// Where it keeps its requests: for others who keep something there.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// A desk on `store`. Several desks on one store see the same requests; only clones of one desk wake each
    /// other's waiters at once.
    ///
    /// # Errors
    /// When the store fails.
    pub fn new(store: Store, clock: Arc<dyn Clock>) -> Result<Self, DeskError> {
        store.migrate(&table::SCHEMA)?;
        Ok(Self { store, clock, changes: watch::Sender::new(0) })
    }

    /// Opens a request. At the MCP door, where agents repeat themselves, the requester's open or approved,
    /// unspent request with the same digest is returned instead, unless other approvals are asked for by now: then the open
    /// one is withdrawn. A wire session always gets its own, because its request is withdrawn when the session ends.
    ///
    /// # Errors
    /// When the store fails, or the requester has too many open.
    pub fn open(&self, new: NewRequest) -> Result<Request, DeskError> {
        let request = self.write(|tx, now| {
            if new.door == DEDUPED_DOOR
                && let Some(twin) = table::open_twin(tx, &new.requester, &new.door, &new.digest)?
            {
                if twin.state == State::Approved || twin.requirement.asks_as(&new.requirement) {
                    return Ok(twin);
                }
                table::step(tx, &twin.id, State::Pending, State::Withdrawn)?;
            }
            let open = table::count_open(tx, &new.requester)?;
            if open >= MOST_OPEN {
                return Err(DeskError::TooMany { requester: new.requester, open });
            }
            let request = made(new, now);
            table::insert(tx, &request)?;
            Ok(request)
        })?;
        self.wake();
        Ok(request)
    }

    /// The approval of an approved, unspent, unexpired request with this digest.
    ///
    /// # Errors
    /// When the store fails.
    pub fn approved(&self, digest: &Digest) -> Result<Option<Approval>, DeskError> {
        self.write(|tx, _| Ok(table::approved(tx, digest)?.and_then(|request| evidence(&request))))
    }

    /// Waits until the request is decided, lapses, or `patience` is over (`None`: until it lapses). Dropping
    /// the future changes nothing.
    ///
    /// Within a tokio runtime (its timer must be on) it wakes by itself when time is over. Polled by hand,
    /// outside any runtime, it looks again at every change and at every [`Desk::tick`].
    ///
    /// # Errors
    /// When the store fails, or the request is unknown.
    pub async fn wait(&self, id: &ApprovalId, patience: Option<Duration>) -> Result<Resolution, DeskError> {
        self.wait_and_hear(id, patience, |_| {}).await
    }

    /// As [`Desk::wait`]; `heard` is told of every vote that leaves the request open.
    ///
    /// # Errors
    /// When the store fails, or the request is unknown.
    pub async fn wait_and_hear(
        &self,
        id: &ApprovalId,
        patience: Option<Duration>,
        mut heard: impl FnMut(&Request),
    ) -> Result<Resolution, DeskError> {
        let mut votes = None;
        let deadline = patience.map(|patience| later(self.clock.now(), patience));
        let mut changes = self.changes.subscribe();
        loop {
            changes.borrow_and_update();
            let request = self.request(id)?;
            if let Some(resolution) = resolution(&request) {
                return Ok(resolution);
            }
            if votes.is_some_and(|votes| votes != request.votes.len()) {
                heard(&request);
            }
            votes = Some(request.votes.len());
            let now = self.clock.now();
            if deadline.is_some_and(|deadline| deadline <= now) {
                return Ok(Resolution::StillPending);
            }
            let end = deadline.map_or(request.expires_at, |deadline| deadline.min(request.expires_at));
            tokio::select! {
                // The sender lives in `self`, so this can't end for another reason than a change.
                _ = changes.changed() => {}
                () = pause(now, end) => {}
            }
        }
    }

    /// Ends what has lapsed and makes every waiter look again: for simulations, which move the clock by hand.
    /// Returns how many requests lapsed.
    ///
    /// # Errors
    /// When the store fails.
    pub fn tick(&self) -> Result<usize, DeskError> {
        let now = self.clock.now();
        let lapsed = self.store.write(|tx| Ok::<_, DeskError>(table::lapse(tx, now)?))?;
        self.wake();
        Ok(lapsed)
    }

    /// Records what `by` (member of `groups`) says. Whether they may was decided before. A no ends the request; the yes
    /// that fills the last seat approves it, unless `missing` names something that is missing all the same: it is asked then,
    /// with the request as it would be, in the same transaction. Never lets the requester decide, nor anybody twice.
    ///
    /// # Errors
    /// When the request is unknown or closed, `by` asked for it or has voted already, a yes would fill no seat, a no has no
    /// reason, or the store fails.
    pub fn vote(
        &self,
        id: &ApprovalId,
        by: &str,
        groups: &[String],
        vote: Vote,
        note: &str,
        missing: impl FnOnce(&Request) -> Vec<Reason>,
    ) -> Result<Request, DeskError> {
        let note = checked_note(vote, note)?;
        let request = self.write(|tx, now| {
            let mut request = table::by_id(tx, id)?.ok_or_else(|| unknown(id))?;
            may_vote(&request, by, groups, vote)?;
            let ballot =
                Ballot { by: by.to_owned(), groups: groups.to_vec(), vote, note: note.to_owned(), at: now };
            table::insert_vote(tx, id, &ballot)?;
            match vote {
                Vote::Deny => drop(table::decide(tx, id, State::Denied, &ballot)?),
                Vote::Approve => {
                    request.votes.push(ballot.clone());
                    request.count();
                    let complete = request.progress.is_complete();
                    let missing = if complete { missing(&request) } else { Vec::new() };
                    if complete && missing.is_empty() {
                        table::decide(tx, id, State::Approved, &ballot)?;
                    } else {
                        table::set_missing(tx, id, &missing)?;
                    }
                }
            }
            table::by_id(tx, id)?.ok_or_else(|| unknown(id))
        })?;
        self.wake();
        Ok(request)
    }

    /// Takes an approval back that no longer counts: true if it was unspent. Its request is withdrawn.
    ///
    /// # Errors
    /// When the store fails.
    pub fn revoke(&self, approval: &Approval) -> Result<bool, DeskError> {
        let revoked =
            self.write(|tx, _| Ok(table::step(tx, &approval.id, State::Approved, State::Withdrawn)?))?;
        self.wake();
        Ok(revoked)
    }

    /// Spends an approval: true for exactly one caller, once, before it expires.
    ///
    /// # Errors
    /// When the store fails.
    pub fn spend(&self, approval: &Approval) -> Result<bool, DeskError> {
        let spent = self.write(|tx, _| Ok(table::step(tx, &approval.id, State::Approved, State::Spent)?))?;
        self.wake();
        Ok(spent)
    }

    /// Withdraws an open request; nothing happens to one that is decided.
    ///
    /// # Errors
    /// When the store fails.
    pub fn withdraw(&self, id: &ApprovalId) -> Result<(), DeskError> {
        self.write(|tx, _| Ok(table::step(tx, id, State::Pending, State::Withdrawn)?))?;
        self.wake();
        Ok(())
    }

    /// Withdraws every open request that came by the wire: their sessions died with the last process.
    ///
    /// # Errors
    /// When the store fails.
    pub fn sweep_orphans(&self) -> Result<usize, DeskError> {
        let swept = self.write(|tx, _| Ok(table::withdraw_pending_of_door(tx, ORPHANED_DOOR)?))?;
        self.wake();
        Ok(swept)
    }

    /// Keeps what became of a spent request's statement.
    ///
    /// # Errors
    /// When the request is unknown or not spent, or the store fails.
    pub fn record_outcome(&self, id: &ApprovalId, outcome: &serde_json::Value) -> Result<(), DeskError> {
        self.write(|tx, _| {
            if table::set_outcome(tx, id, outcome)? {
                return Ok(());
            }
            let request = table::by_id(tx, id)?.ok_or_else(|| unknown(id))?;
            Err(DeskError::NotSpent { id: id.clone(), state: request.state })
        })?;
        self.wake();
        Ok(())
    }

    /// One request.
    ///
    /// # Errors
    /// When the store fails, or it is unknown.
    pub fn request(&self, id: &ApprovalId) -> Result<Request, DeskError> {
        self.write(|tx, _| table::by_id(tx, id)?.ok_or_else(|| unknown(id)))
    }

    /// The newest `limit` requests (a thousand at most), newest first.
    ///
    /// # Errors
    /// When the store fails.
    pub fn requests(&self, limit: usize) -> Result<Vec<Request>, DeskError> {
        let limit = u32::try_from(limit).unwrap_or(MOST_LISTED).min(MOST_LISTED);
        self.write(|tx, _| Ok(table::newest(tx, limit)?))
    }

    /// A number that changes whenever a request may have: for whoever watches the desk as a whole.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Runs `work` after everything whose time is over has lapsed. A lapse that finds nothing writes nothing.
    fn write<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>, Timestamp) -> Result<T, DeskError>,
    ) -> Result<T, DeskError> {
        let now = self.clock.now();
        self.store.write(|tx| {
            table::lapse(tx, now)?;
            work(tx, now)
        })
    }

    fn wake(&self) {
        self.changes.send_modify(|change| *change = change.wrapping_add(1));
    }
}

impl From<StoreError> for DeskError {
    fn from(error: StoreError) -> Self {
        Self::Store(Box::new(error))
    }
}

impl From<rusqlite::Error> for DeskError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(Box::new(error))
    }
}

/// Times are cut to the millisecond, as the table keeps them.
fn made(new: NewRequest, now: Timestamp) -> Request {
    let created_at = Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now);
    let mut request = Request {
        id: ApprovalId::random(),
        digest: new.digest,
        requester: new.requester,
        requester_kind: new.requester_kind,
        owner: new.owner,
        requester_groups: new.requester_groups,
        door: new.door,
        database: new.database,
        statement: new.statement,
        parameters: new.parameters,
        call: new.call,
        purpose: new.purpose,
        rule: new.rule,
        message: new.message,
        facts: new.facts,
        revision: new.revision,
        groups: new.requirement.groups(),
        votes: Vec::new(),
        progress: Progress::default(),
        missing: Vec::new(),
        created_at,
        expires_at: later(created_at, Duration::from_secs(new.requirement.ttl_s().min(LONGEST_TTL_S))),
        requirement: new.requirement,
        state: State::Pending,
        decided_by: String::new(),
        decided_by_groups: Vec::new(),
        decision_note: String::new(),
        decided_at: None,
        outcome: serde_json::Value::Null,
    };
    request.count();
    request
}

/// Whether the desk takes this vote, whatever the rulebook says.
fn may_vote(request: &Request, by: &str, groups: &[String], vote: Vote) -> Result<(), DeskError> {
    let id = request.id.clone();
    if by == request.requester || by.is_empty() {
        return Err(DeskError::OwnRequest { id, requester: request.requester.clone() });
    }
    if request.state != State::Pending {
        return Err(DeskError::Closed { id, state: request.state });
    }
    if request.has_vote_of(by) {
        return Err(DeskError::VotedAlready { id, by: by.to_owned() });
    }
    if vote == Vote::Approve && !request.is_helped_by(by, groups) {
        return Err(DeskError::NoSeat { id, by: by.to_owned(), standing: request.standing() });
    }
    Ok(())
}

/// Where a request's waiters end; `None` while nobody has decided.
fn resolution(request: &Request) -> Option<Resolution> {
    match request.state {
        State::Pending => None,
        State::Approved => evidence(request).map(Resolution::Approved),
        State::Denied => {
            Some(Resolution::Denied { by: request.decided_by.clone(), note: request.decision_note.clone() })
        }
        State::Expired => Some(Resolution::Expired),
        State::Withdrawn => Some(Resolution::Withdrawn),
        State::Spent => Some(Resolution::Spent),
    }
}

/// The only place where an [`Approval`] is made.
fn evidence(request: &Request) -> Option<Approval> {
    let votes: Vec<Ballot> =
        request.votes.iter().filter(|ballot| ballot.vote == Vote::Approve).cloned().collect();
    let approved = request.state == State::Approved && !votes.is_empty();
    approved.then(|| Approval { id: request.id.clone(), votes })
}

fn checked_note(vote: Vote, note: &str) -> Result<&str, DeskError> {
    let note = note.trim();
    if vote == Vote::Deny && note.is_empty() {
        return Err(DeskError::NoteMissing);
    }
    if note.len() > LONGEST_NOTE {
        return Err(DeskError::NoteTooLong { length: note.len(), most: LONGEST_NOTE });
    }
    Ok(note)
}

fn unknown(id: &ApprovalId) -> DeskError {
    DeskError::Unknown { id: id.to_string() }
}

fn later(time: Timestamp, by: Duration) -> Timestamp {
    let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
    time.saturating_add(by).unwrap_or(Timestamp::MAX)
}

/// Sleeps until `end` by the wall clock, or a little while: the timer is monotonic and the wall clock may be
/// set. Without a runtime there is no timer, and time passes by [`Desk::tick`] only.
async fn pause(now: Timestamp, end: Timestamp) {
    if tokio::runtime::Handle::try_current().is_err() {
        return std::future::pending().await;
    }
    let left = Duration::try_from(end.duration_since(now)).unwrap_or(Duration::ZERO);
    tokio::time::sleep(left.clamp(SHORTEST_PAUSE, LONGEST_PAUSE)).await;
}

/// Agents repeat a call whose answer was "pending".
const DEDUPED_DOOR: &str = "mcp";
/// Wire sessions end with the process.
const ORPHANED_DOOR: &str = "wire";
/// Open (pending or approved) requests of one requester.
const MOST_OPEN: u32 = 32;
const MOST_LISTED: u32 = 1000;
/// Bytes.
const LONGEST_NOTE: usize = 4000;
/// A week.
const LONGEST_TTL_S: u64 = 7 * 24 * 3600;
const SHORTEST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
