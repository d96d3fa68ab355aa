//! Statements that a door won't hand in: they are on record all the same.

use crate::identity::Identity;

use super::escalate::Values;
use super::journal::{self, Scene};
use super::judge::{Case, Via};
use super::{Denial, Gate, Names, Run};

impl Gate {
    /// Keeps in the ledger that a door refuses `act` by itself, because the tool that was asked can't carry it
    /// out, and ties `denial` to that record. Every refused statement is in the ledger, whoever refused it.
    #[must_use]
    pub fn decline(&self, who: &Identity, act: &Run, denial: Denial) -> Denial {
        let case = Case {
            principal: who.name(),
            context: &act.context,
            statement: &act.sql,
            via: Via::Tool(&act.tool),
            parameters: act.parameters.clone(),
            prepared: None,
            names: &Names::default(),
            values: Values::Called(&act.parameters),
        };
        self.denied(&case, &Scene::session(who, &act.context), &journal::decision_id(), denial)
    }
}
