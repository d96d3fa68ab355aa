//! How a session ends because the rulebook says so: what was judged is still answered, nothing behind it runs.
//!
//! By the extended protocol a statement is judged when it is bound, runs when it is executed, and lasts when the series
//! ends. So what was bound may still be executed, and the Sync behind it still goes up; anything else ends the
//! session at once, and the server undoes what was not committed.

use crate::protocol::frontend::Message;

use super::{Denial, Mode, Session};
use crate::wire::portals::PortalId;

/// How near its end a session is.
#[derive(Debug)]
pub(super) struct Ending {
    rule: String,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// A portal was bound, and may run.
    Bound(PortalId),
    /// It was sent to run, or was refused: the series may end.
    Sent,
    /// Nothing more is taken from the client.
    Last,
}

impl Session {
    /// The rule that ends the session, once all is answered that still is to be: whoever drives it then says goodbye.
    #[must_use]
    pub fn ended_by(&self) -> Option<&str> {
        let ending = self.ending.as_ref()?;
        let is_answered = self.replies.is_empty() && self.asking.is_none();
        (ending.stage == Stage::Last && is_answered).then_some(ending.rule.as_str())
    }

    /// The rule that will end the session, where only its client could go on: it need not be waited for long.
    #[must_use]
    pub fn is_ending(&self) -> Option<&str> {
        let ending = self.ending.as_ref()?;
        let waits = match ending.stage {
            Stage::Bound(_) => true,
            Stage::Sent | Stage::Last => self.replies.is_empty(),
        };
        waits.then_some(ending.rule.as_str())
    }

    /// Whether nothing more is taken from the client.
    pub(super) fn is_last(&self) -> bool {
        self.ending.as_ref().is_some_and(|ending| ending.stage == Stage::Last)
    }

    /// The session ends with the string that was sent, or refused.
    pub(super) fn ends_with_string(&mut self, rule: &str) {
        self.ending = Some(Ending { rule: rule.to_owned(), stage: Stage::Last });
    }

    /// The session ends with the series in which a message was sent, or refused.
    pub(super) fn ends_with_series(&mut self, rule: &str) {
        self.ending = Some(Ending { rule: rule.to_owned(), stage: Stage::Sent });
    }

    /// The session ends once a portal has run.
    pub(super) fn ends_with_portal(&mut self, portal: PortalId) {
        self.ending = Some(Ending { rule: OBLIGED.to_owned(), stage: Stage::Bound(portal) });
    }

    /// The session ends, if a denial says so.
    pub(super) fn may_end(&mut self, denial: &Denial, is_string: bool) {
        if !denial.ends_session() {
            return;
        }
        let rule = denial.reason().map_or(OBLIGED, |reason| reason.rule.as_str());
        match is_string {
            true => self.ends_with_string(rule),
            false => self.ends_with_series(rule),
        }
    }

    /// Whether `message` is still taken from the client of a session that is about to end; if not, it ends.
    pub(super) fn may_follow(&mut self, message: &Message) -> bool {
        let Some(stage) = self.ending.as_ref().map(|ending| ending.stage) else { return true };
        let next = match (message, stage) {
            _ if self.mode == Mode::CopyIn => return true,
            (Message::Terminate, _) => return true,
            (_, Stage::Last) => return false,
            (Message::Sync, Stage::Bound(_) | Stage::Sent) => Stage::Last,
            _ if self.mode == Mode::Skipping => return true,
            (Message::Execute { portal, .. }, Stage::Bound(bound)) if self.means(portal, bound) => {
                Stage::Sent
            }
            (
                Message::Flush
                | Message::Describe(_)
                | Message::Close(_)
                | Message::CopyData
                | Message::CopyDone
                | Message::CopyFail { .. },
                Stage::Bound(_) | Stage::Sent,
            ) => return true,
            (
                Message::Query { .. }
                | Message::Parse { .. }
                | Message::Bind(_)
                | Message::Execute { .. }
                | Message::FunctionCall(_)
                | Message::Password,
                Stage::Bound(_) | Stage::Sent,
            ) => {
                self.outbox.flush();
                self.end_with(Stage::Last);
                return false;
            }
        };
        self.end_with(next);
        true
    }

    fn end_with(&mut self, stage: Stage) {
        if let Some(ending) = &mut self.ending {
            ending.stage = stage;
        }
    }

    fn means(&mut self, name: &str, portal: PortalId) -> bool {
        self.portals.portal_mut(name).is_some_and(|(id, _)| id == portal)
    }
}

/// How a statement ends its session that was not refused.
pub(super) const OBLIGED: &str = "end_session";
