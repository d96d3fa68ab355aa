//! What a session's names mean to its server: prepared statements and cursors, however they were made.
//!
//! PostgreSQL keeps one table of prepared statements, which PREPARE and Parse both fill, and one of portals, which
//! DECLARE and Bind both fill. So does this room. A name means what the server has confirmed; for a message that is
//! sent now it means what was sent last, because if that fails, the server skips what relies on it.

use std::collections::HashMap;
use std::sync::Arc;

use super::Prepared;

/// The names of one session, each as [`Names::cut`] gives it. A clone is cheap.
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
        for change in self.sent.iter().rev() {
            match change {
                NameChange::Prepared { name: changed, prepared } if changed == name => {
                    return Some(prepared);
                }
                NameChange::Deallocated { name: changed } if changed == name => return None,
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
        for change in self.sent.iter().rev() {
            match change {
                NameChange::Opened { name: changed, opened_as, .. } if changed == name => {
                    return Some(opened_as);
                }
                NameChange::Closed { name: changed } if changed == name => return None,
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
                statements.insert(name, prepared);
            }
            NameChange::Deallocated { name } => {
                statements.remove(&name);
            }
            NameChange::AllDeallocated => statements.clear(),
            NameChange::Opened { name, opened_as, holds } => {
                cursors.insert(name, Cursor { opened_as, holds });
            }
            NameChange::Closed { name } => {
                cursors.remove(&name);
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

    /// A name as PostgreSQL's own table holds it: it cuts longer ones after 63 bytes, so that two which begin alike
    /// are one to it, and must not be two in here. `None` where the cut would leave no text.
    #[must_use]
    pub fn cut(mut name: String) -> Option<String> {
        if !name.is_char_boundary(NAME_BYTES.min(name.len())) {
            return None;
        }
        name.truncate(NAME_BYTES);
        Some(name)
    }
}

/// What the names of the gateway's own statements begin with.
pub const RESERVED: &str = "__portcullis";

/// `NAMEDATALEN` less the NUL.
const NAME_BYTES: usize = 63;

#[cfg(test)]
mod tests {
    use super::*;

    fn prepared(name: &str, sql: &str) -> NameChange {
        NameChange::Prepared { name: name.into(), prepared: Arc::new(Prepared::unseen(sql)) }
    }

    fn meaning(names: &Names, name: &str) -> Option<String> {
        names.statement(name).map(|prepared| prepared.statement().as_str().to_owned())
    }

    #[test]
    fn a_name_means_what_was_sent_last_until_that_fails() {
        let mut names = Names::default();
        names.change(prepared("a", "1"));
        names.send(prepared("a", "2"));
        assert_eq!(meaning(&names, "a").unwrap(), "EXECUTE \"2\"");
        names.send(NameChange::Deallocated { name: "a".into() });
        assert_eq!(meaning(&names, "a"), None);
        names.roll_back();
        assert_eq!(meaning(&names, "a").unwrap(), "EXECUTE \"1\"");
    }

    #[test]
    fn what_is_confirmed_is_confirmed_in_the_order_of_sending() {
        let mut names = Names::default();
        names.send(prepared("a", "1"));
        names.send(NameChange::AllDeallocated);
        names.send(prepared("b", "2"));
        names.confirm();
        names.confirm();
        names.roll_back();
        assert!(meaning(&names, "a").is_none() && meaning(&names, "b").is_none());
    }

    #[test]
    fn only_a_cursor_that_holds_outlives_its_transaction() {
        let mut names = Names::default();
        for (name, holds) in [("a", true), ("b", false)] {
            let opened_as = Arc::new(Prepared::unseen(name));
            names.change(NameChange::Opened { name: name.into(), opened_as, holds });
        }
        names.end_transaction();
        assert!(names.cursor("a").is_some() && names.cursor("b").is_none());
        names.change(NameChange::Discarded);
        assert!(names.is_empty());
    }

    #[test]
    fn two_names_that_are_one_to_postgresql_are_one() {
        let long = |end: &str| Names::cut(format!("{}{end}", "n".repeat(63)));
        assert_eq!(long("1"), long("2"));
        assert_eq!(Names::cut(format!("{}\u{e9}", "n".repeat(62))), None);
    }
}
