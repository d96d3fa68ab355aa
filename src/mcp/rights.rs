//! What an identity may do at all, as far as lists of tools and prompts depend on it: who may write nowhere is not
//! offered what writes. This only spares everybody tries that must fail. What may really be done, the gate decides at
//! every call.

use crate::gate::{Door, Gate, Opening};
use crate::identity::Identity;

/// What a tool or prompt is of use for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    /// Anybody.
    Nothing,
    /// Those who may write in some database.
    Writing,
}

/// What one identity may do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rights {
    /// The databases that it may use, by name.
    pub(super) openings: Vec<Opening>,
}

impl Rights {
    /// Those of `who`, by the rules in force.
    pub(super) fn of(who: &Identity, gate: &Gate) -> Self {
        Self { openings: gate.openings(who, Door::Mcp) }
    }

    /// Whether they are enough for something that needs `needs`.
    pub(super) fn cover(&self, needs: Needs) -> bool {
        match needs {
            Needs::Nothing => true,
            Needs::Writing => self.openings.iter().any(|opening| !opening.read_only),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_write_nowhere_needs_nothing_that_writes() {
        let opening = |read_only| Opening { database: "shop".to_owned(), read_only };
        let may_write = |openings: &[Opening]| {
            let rights = Rights { openings: openings.to_vec() };
            assert!(rights.cover(Needs::Nothing));
            rights.cover(Needs::Writing)
        };
        assert!(!may_write(&[]));
        assert!(!may_write(&[opening(true), opening(true)]));
        assert!(may_write(&[opening(true), opening(false)]));
    }
}
