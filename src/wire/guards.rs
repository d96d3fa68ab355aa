//! Which guards a session's server has prepared, and which hold in its transaction.
//!
//! To forget is always safe: a guard is then prepared, or run, once more than it had to be.

use std::collections::{HashSet, VecDeque};

use crate::mask::Guard;
use crate::sql::Facts;
use crate::sql::facts::Class;

/// The guards of one session.
#[derive(Debug, Default)]
pub(super) struct Guards {
    /// Those that are prepared, each with the name that the server knows it by; the one that was made last is last.
    prepared: VecDeque<(Guard, String)>,
    /// Those whose locks the transaction holds.
    held: HashSet<Guard>,
    newest: usize,
}

/// How a guard is to be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// The name that the server knows it by, once it is prepared.
    pub(super) name: String,
    /// Whether it must be prepared first.
    pub(super) is_new: bool,
}

impl Guards {
    /// How to run `guard` now; `None` where this transaction has its locks already.
    pub(super) fn place(&mut self, guard: &Guard) -> Option<Place> {
        if !self.held.insert(guard.clone()) {
            return None;
        }
        if let Some((_, name)) = self.prepared.iter().find(|(prepared, _)| prepared == guard) {
            return Some(Place { name: name.clone(), is_new: false });
        }
        let name = match self.prepared.len() < MOST_PREPARED {
            true => {
                self.newest += 1;
                format!("{PREFIX}{}", self.newest)
            }
            false => self.prepared.pop_front().map_or_else(|| PREFIX.to_owned(), |(_, name)| name),
        };
        self.prepared.push_back((guard.clone(), name.clone()));
        Some(Place { name, is_new: true })
    }

    /// Takes in that a statement which does what `facts` say was sent, behind all guards so far.
    pub(super) fn sent(&mut self, facts: &Facts) {
        let kind = facts.kind.as_str();
        if facts.class >= Class::Ddl || RELEASING.contains(&kind) {
            self.released();
        }
        if kind == "deallocate" || kind == "discard_all" || facts.class == Class::Unknown {
            self.forget();
        }
    }

    /// The transaction has ended, or part of it was undone: locks are gone.
    pub(super) fn released(&mut self) {
        self.held.clear();
    }

    /// Something failed: what was sent since may never have happened.
    pub(super) fn failed(&mut self) {
        self.held.clear();
        self.forget();
    }

    /// The same names are used again, each closed before: so the server never keeps more than [`MOST_PREPARED`].
    fn forget(&mut self) {
        self.prepared.clear();
        self.newest = 0;
    }
}

/// What the names of prepared guards begin with: as only the gateway's names do.
const PREFIX: &str = "__portcullis_guard_";
/// Guards that a session keeps prepared: about as many as an application has tables that it reads together.
const MOST_PREPARED: usize = 64;
/// Kinds of statements that give locks back.
const RELEASING: [&str; 4] = ["commit", "rollback", "rollback_to", "prepare_transaction"];
