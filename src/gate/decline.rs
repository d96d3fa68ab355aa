//! Statements that a door won't hand in: they are on record all the same.

use crate::identity::Identity;

use super::escalate::Values;
use super::journal::Scene;
use super::judge::{Case, Via};
use super::{Denial, Gate, Names, Run};

impl Gate {
    /// Keeps in the ledger that a door refuses `act` by itself, because the tool that was asked can't carry it
    /// out, and ties `denial` to that record. Every refused statement is in the ledger, whoever refused it.
    #[must_use]
    pub fn decline(&self, who: &Identity, act: &Run, denial: Denial) -> Denial {
        let names = Names::default();
        let case = Case {
            parameters: act.parameters.clone(),
            values: Values::Called(&act.parameters),
            ..Case::to_run(who, &act.context, &act.sql, Via::Tool(&act.tool), &names)
        };
        self.denied(&case, &Scene::session(who, &act.context), &case.decision_id, denial)
    }
}
