//! Time limits of statements: what the server works on, and what happens once its time is over.
//!
//! The session never reads a clock. Whoever drives it asks [`Session::work`] after every step, measures, and says when
//! the time is over. The server is then told to cancel; whether it still had finished is the server's to say, so
//! that no client hears of a failure that was none. A statement whose time is limited holds its client: nothing stands
//! behind it that a late cancel could hit.

use std::time::Duration;

use crate::gate::NameChange;
use crate::mask::Stop;
use crate::protocol::backend::ErrorFields;
use crate::protocol::sqlstate;

use super::{Flow, Kind, Mode, Owed, Session, refusals};
use crate::wire::portals::PortalId;

/// What the server works on, as far as its time is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Work {
    /// What it is: the same while the server goes on with it.
    pub what: Task,
    /// The limit.
    pub limit: Duration,
    /// How much of it was used before.
    pub spent: Duration,
}

/// Something that the server works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(private_interfaces, reason = "a portal is told from others, and no more is to be known of it")]
pub enum Task {
    /// A simple query string, or a FunctionCall.
    String,
    /// The end of a series, which commits.
    Commit,
    /// A portal.
    Portal(PortalId),
}

/// The time limits of one session.
#[derive(Debug, Default)]
pub(super) struct Time {
    /// Whether there ever was one.
    is_limited: bool,
    /// The limit of the string that was sent last.
    string_ms: Option<u64>,
    /// The limit of the next commit: it runs the queries of cursors that outlive their transaction.
    commit_ms: Option<u64>,
    /// What is over, while the server still works on it.
    over: Option<Stop>,
}

impl Session {
    /// What the server works on now; `None` where that has all the time that it wants.
    #[must_use]
    pub fn work(&mut self) -> Option<Work> {
        if !self.time.is_limited {
            return None;
        }
        let (what, limit_ms, spent) = match (self.replies.first_kind()?, self.replies.first_mut()?) {
            (Kind::Query | Kind::GuardedQuery(_) | Kind::Call, _) => {
                (Task::String, self.time.string_ms?, Duration::ZERO)
            }
            (Kind::Sync, _) => (Task::Commit, self.time.commit_ms?, Duration::ZERO),
            (Kind::Bind | Kind::Execute, Owed::Portal(portal)) => {
                let portal = *portal;
                let flow = self.portals.flow_mut(portal)?;
                (Task::Portal(portal), flow.time_ms()?, flow.spent())
            }
            _ => return None,
        };
        Some(Work { what, limit: Duration::from_millis(limit_ms), spent })
    }

    /// Notes that the server has worked on `what` for so long.
    pub fn worked(&mut self, what: Task, spent: Duration) {
        if let Task::Portal(portal) = what
            && let Some(flow) = self.portals.flow_mut(portal)
        {
            flow.spend(spent);
        }
    }

    /// The time of what the server works on is over. To be said again while it goes on with it.
    pub fn time_is_over(&mut self) {
        let Some(work) = self.work() else { return };
        let stop = Stop::Time { ms: u64::try_from(work.limit.as_millis()).unwrap_or(u64::MAX) };
        self.time.over = Some(stop);
        if self.mode == Mode::CopyIn && !self.is_copying {
            // A server that reads COPY data does not look up for a cancel.
            return self.fail_copy();
        }
        // What another act of the client has sent behind it must not be hit by a cancel that comes late.
        let is_alone = match work.what {
            Task::String | Task::Commit => true,
            Task::Portal(portal) => {
                self.replies.all().all(|owed| matches!(owed, Owed::Portal(other) if *other == portal))
            }
        };
        self.cancel |= is_alone;
    }

    /// Fails a COPY from the client between two of its messages.
    pub(super) fn fail_copy(&mut self) {
        self.outbox.copy_fail("ended by the gateway");
        self.mode = Mode::Skipping;
    }

    /// What the client is told in the place of `fields`, where the time of what failed was over.
    pub(super) fn overtime(&mut self, fields: &ErrorFields) -> Option<ErrorFields> {
        let stop = self.time.over.take()?;
        if fields.sqlstate() != sqlstate::QUERY_CANCELED {
            return None;
        }
        if let Some(flow) = self.current() {
            flow.stopped_by(stop.clone());
        }
        Some(refusals::stopped(&stop))
    }

    /// What the server worked on has ended otherwise.
    pub(super) fn in_time(&mut self) {
        self.time.over = None;
    }

    /// A transaction has ended, and with it what was still to be done at its commit.
    pub(super) fn committed(&mut self) {
        self.time.commit_ms = None;
    }

    /// Notes the limits of statements that were sent in one string.
    pub(super) fn time_string(&mut self, flows: &mut [Flow]) {
        for flow in &mut *flows {
            self.time.start(flow);
        }
        self.time.string_ms = flows.iter().filter_map(Flow::time_ms).min();
    }
}

impl Time {
    /// Notes the limit of a statement that was sent.
    pub(super) fn start(&mut self, flow: &mut Flow) {
        if flow.ends_transaction()
            && let Some(ms) = self.commit_ms
        {
            flow.limit_time(ms);
        }
        let Some(ms) = flow.time_ms() else { return };
        self.is_limited = true;
        if matches!(flow.change(), Some(NameChange::Opened { holds: true, .. })) {
            self.commit_ms = Some(self.commit_ms.map_or(ms, |least| least.min(ms)));
        }
    }
}
