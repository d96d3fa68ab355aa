//! Statements behind their guards.

use crate::gate::Outcome;
use crate::mask::{Guard, Mismatch, Stop};
use crate::protocol::backend::ErrorFields;
use crate::protocol::sqlstate;

use super::{Flow, Kind, Owed, Session, refusals};

impl Session {
    /// Sends those of `guards` whose locks this transaction does not hold yet. True if it sent any.
    pub(super) fn send_guards(&mut self, guards: &[Guard]) -> bool {
        let mut any = false;
        for guard in guards {
            let Some(place) = self.guards.place(guard) else { continue };
            if place.is_new {
                self.outbox.prepare_guard(&place.name, guard);
                self.sent(Kind::Close, Owed::Guard);
                self.sent(Kind::Parse, Owed::Guard);
            }
            self.outbox.run_guard(&place.name);
            for kind in [Kind::Bind, Kind::Guard, Kind::Close] {
                self.sent(kind, Owed::Guard);
            }
            any = true;
        }
        any
    }

    /// A guard failed, so the server skips what it guarded, of which `skipped` is a part. What the client is told.
    pub(super) fn unguarded(&mut self, fields: ErrorFields, skipped: &[Owed]) -> ErrorFields {
        let is_redefined = REDEFINED.contains(&fields.sqlstate());
        let (outcome, shown) = match is_redefined {
            true => {
                (Outcome::Stopped { stop: Some(Stop::Mismatch(Mismatch::Redefined)) }, refusals::redefined())
            }
            // What the statement itself would have met: no right to read, a transaction that has failed, a lock.
            false => (Outcome::Failed { sqlstate: fields.sqlstate().to_owned() }, fields.without_position()),
        };
        let bound = skipped
            .iter()
            .find_map(|owed| if let Owed::Portal(portal) = owed { Some(*portal) } else { None });
        if let Some(flow) = bound.and_then(|portal| self.portals.flow_mut(portal)) {
            flow.settle(&outcome);
        }
        if let Some(Owed::Query(flows)) = self.replies.first_mut() {
            let mut flows: Vec<Flow> = std::mem::take(flows);
            flows.iter_mut().take(1).for_each(|flow| flow.settle(&outcome));
            flows.iter_mut().for_each(|flow| flow.settle(&Outcome::Skipped));
        }
        shown
    }
}

/// How a guard fails by itself: its condition does not hold, or a relation or the guard itself is gone.
const REDEFINED: [&str; 3] =
    [sqlstate::DIVISION_BY_ZERO, sqlstate::UNDEFINED_TABLE, sqlstate::INVALID_SQL_STATEMENT_NAME];
