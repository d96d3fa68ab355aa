//! What a session's names mean to its server: prepared statements and cursors, however they were made.
//!
//! PostgreSQL keeps one table of prepared statements, which PREPARE and Parse both fill, and one of portals, which
//! DECLARE and Bind both fill. So does this room. A name means what the server has confirmed; for a message that is
//! sent now it means what was sent last, because if that fails, the server skips what relies on it.

use std::collections::HashMap;
use std::sync::Arc;

use super::Prepared;

/// The names of one session. A clone is cheap.
#[derive(Debug, Clone, Default)]
pub struct Names {
    confirmed: Arc<Confirmed>,
    sent: Vec<NameChange>,
}

#[derive(Debug, Clone, Default)]
struct Confirmed {
    statements: HashMap<String, Arc<Prepared>>,
    cursors: HashMap<String, Cursor>,
}

#[derive(Debug, Clone)]
struct Cursor {
    opened_as: Arc<Prepared>,
    holds: bool,
}

/// What a message changes about names, once the server has confirmed it.
#[derive(Debug, Clone)]
pub enum NameChange {
    /// PREPARE, or a Parse.
    Prepared {
        /// The name.
        name: String,
        /// What it means.
        prepared: Arc<Prepared>,
    },
    /// DEALLOCATE, or a Close.
    Deallocated {
        /// The name.
        name: String,
    },
    /// DEALLOCATE ALL.
    AllDeallocated,
    /// DECLARE, or a Bind.
    Opened {
        /// The cursor's or portal's name.
        name: String,
        /// What it runs: a whole DECLARE, or what was bound.
        opened_as: Arc<Prepared>,
        /// Whether it outlives its transaction.
        holds: bool,
    },
    /// CLOSE, or a Close.
    Closed {
        /// The name.
        name: String,
    },
    /// CLOSE ALL.
    AllClosed,
    /// DISCARD ALL.
    Discarded,
    /// LISTEN.
    Listening {
        /// The channel.
        channel: String,
    },
}

impl Names {
    /// The prepared statement that `name` means for a message that is sent now.
    #[must_use]
    pub fn statement(&self, name: &str) -> Option<&Arc<Prepared>> {
        let name = key(name);
        for change in self.sent.iter().rev() {
            match change {
                NameChange::Prepared { name: changed, prepared } if key(changed) == name => {
                    return Some(prepared);
                }
                NameChange::Deallocated { name: changed } if key(changed) == name => return None,
                NameChange::AllDeallocated | NameChange::Discarded => return None,
                NameChange::Prepared { .. }
                | NameChange::Deallocated { .. }
                | NameChange::Opened { .. }
                | NameChange::Closed { .. }
                | NameChange::AllClosed
                | NameChange::Listening { .. } => {}
            }
        }
        self.confirmed.statements.get(name)
    }

    /// What the cursor or portal `name` runs, for a message that is sent now.
    #[must_use]
    pub fn cursor(&self, name: &str) -> Option<&Arc<Prepared>> {
        let name = key(name);
        for change in self.sent.iter().rev() {
            match change {
                NameChange::Opened { name: changed, opened_as, .. } if key(changed) == name => {
                    return Some(opened_as);
                }
                NameChange::Closed { name: changed } if key(changed) == name => return None,
                NameChange::AllClosed | NameChange::Discarded => return None,
                NameChange::Prepared { .. }
                | NameChange::Deallocated { .. }
                | NameChange::AllDeallocated
                | NameChange::Opened { .. }
                | NameChange::Closed { .. }
                | NameChange::Listening { .. } => {}
            }
        }
        self.confirmed.cursors.get(name).map(|cursor| &cursor.opened_as)
    }

    /// A message was sent that makes `change`.
    pub fn send(&mut self, change: NameChange) {
        self.sent.push(change);
    }

    /// The server confirmed the oldest message of [`Names::send`].
    pub fn confirm(&mut self) {
        if !self.sent.is_empty() {
            let change = self.sent.remove(0);
            self.change(change);
        }
    }

    /// The server said that SQL has made `change`.
    pub fn change(&mut self, change: NameChange) {
        let Confirmed { statements, cursors } = Arc::make_mut(&mut self.confirmed);
        match change {
            NameChange::Prepared { name, prepared } => {
                statements.insert(key(&name).to_owned(), prepared);
            }
            NameChange::Deallocated { name } => {
                statements.remove(key(&name));
            }
            NameChange::AllDeallocated => statements.clear(),
            NameChange::Opened { name, opened_as, holds } => {
                cursors.insert(key(&name).to_owned(), Cursor { opened_as, holds });
            }
            NameChange::Closed { name } => {
                cursors.remove(key(&name));
            }
            NameChange::AllClosed => cursors.clear(),
            NameChange::Discarded => {
                statements.clear();
                cursors.clear();
            }
            NameChange::Listening { .. } => {}
        }
    }

    /// Something failed: what was sent and not confirmed never happened.
    pub fn roll_back(&mut self) {
        self.sent.clear();
    }

    /// A transaction ended, and with it all cursors but those that outlive it. One that was declared in it and lost
    /// by its ROLLBACK may stay in here: the server then says itself that there is none.
    pub fn end_transaction(&mut self) {
        if self.confirmed.cursors.values().any(|cursor| !cursor.holds) {
            Arc::make_mut(&mut self.confirmed).cursors.retain(|_, cursor| cursor.holds);
        }
    }

    /// How many there are, as far as the gateway has to keep them.
    #[must_use]
    pub fn len(&self) -> usize {
        let Confirmed { statements, cursors } = &*self.confirmed;
        statements.len().saturating_add(cursors.len()).saturating_add(self.sent.len())
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether `name` belongs to the gateway.
    #[must_use]
    pub fn is_reserved(name: &str) -> bool {
        name.starts_with(RESERVED)
    }

    /// Whether PostgreSQL takes `name` for the whole of a name. It cuts longer ones after 63 bytes, wherever that
    /// is: two names that begin alike are one to it, and must not be two in here.
    #[must_use]
    pub fn fits(name: &str) -> bool {
        name.len() <= NAME_BYTES || name.is_char_boundary(NAME_BYTES)
    }
}

/// What the names of the gateway's own statements begin with.
pub const RESERVED: &str = "__portcullis";

/// A name as PostgreSQL's own table holds it.
fn key(name: &str) -> &str {
    name.get(..NAME_BYTES).unwrap_or(name)
}

/// `NAMEDATALEN` less the NUL.
const NAME_BYTES: usize = 63;
