//! Statements behind their guards.

use crate::gate::Outcome;
use crate::mask::{Guard, Mismatch, Stop};
use crate::protocol::backend::ErrorFields;
use crate::protocol::sqlstate;

use super::{Flow, Kind, Owed, Session, refusals};
use crate::wire::guards::Place;

impl Session {
    /// Has the server know those of `guards` whose locks this transaction does not hold yet. Returns their names there.
    pub(super) fn prepare_guards(&mut self, guards: &[Guard]) -> Vec<String> {
        let mut names = Vec::new();
        for guard in guards {
            let Some(Place { name, is_new }) = self.guards.place(guard) else { continue };
            if is_new {
                self.outbox.prepare_guard(&name, guard);
                self.sent(Kind::Close, Owed::Guard);
                self.sent(Kind::Parse, Owed::Guard);
            }
            names.push(name);
        }
        names
    }

    /// Sends those of `guards` whose locks this transaction does not hold yet.
    pub(super) fn send_guards(&mut self, guards: &[Guard]) {
        for name in self.prepare_guards(guards) {
            self.outbox.run_guard(&name);
            for kind in [Kind::Bind, Kind::Guard, Kind::Close] {
                self.sent(kind, Owed::Guard);
            }
        }
    }

    /// A guard failed, so the server skips `skipped`. What the client is told.
    pub(super) fn unguarded(&mut self, fields: ErrorFields, skipped: &mut [Owed]) -> ErrorFields {
        let (outcome, shown) = failure(fields);
        match skipped.iter_mut().find(|owed| !matches!(owed, Owed::Guard)) {
            Some(Owed::Portal(portal)) => {
                if let Some(flow) = self.portals.flow_mut(*portal) {
                    flow.settle(&outcome);
                }
            }
            Some(Owed::Query(flows)) => {
                flows.iter_mut().take(1).for_each(|flow| flow.settle(&outcome));
                // The client waits for the end of its Query, which the server takes for a part of the series.
                self.outbox.sync();
                self.replies.expect(Kind::Sync, Owed::Nothing);
            }
            _ => {}
        }
        shown
    }

    /// A guard in front of a Query's text failed. What the client is told.
    pub(super) fn query_unguarded(&mut self, fields: ErrorFields) -> ErrorFields {
        self.guards.failed();
        self.cancel = false;
        let (outcome, shown) = failure(fields);
        if let Some(Owed::Query(flows)) = self.replies.first_mut() {
            let flows: Vec<Flow> = std::mem::take(flows);
            for (place, mut flow) in flows.into_iter().enumerate() {
                flow.settle(if place == 0 { &outcome } else { &Outcome::Skipped });
            }
        }
        shown
    }
}

/// What became of a statement whose guard failed with `fields`, and what its client is told.
fn failure(fields: ErrorFields) -> (Outcome, ErrorFields) {
    if REDEFINED.contains(&fields.sqlstate()) {
        let stop = Stop::Mismatch(Mismatch::Redefined);
        return (Outcome::Stopped { stop: Some(stop) }, refusals::redefined());
    }
    // What the statement itself would have met: no right to read, a transaction that has failed, a lock.
    (Outcome::Failed { sqlstate: fields.sqlstate().to_owned() }, fields.without_position())
}

/// How a guard fails by itself: its condition does not hold, or a relation or the guard itself is gone.
const REDEFINED: [&str; 3] =
    [sqlstate::DIVISION_BY_ZERO, sqlstate::UNDEFINED_TABLE, sqlstate::INVALID_SQL_STATEMENT_NAME];
