//! When the definitions of a database may have changed since its catalog was loaded.
//!
//! A statement that changes definitions, and a result that is not as planned, make the catalog expire: whatever reads
//! or writes next is judged by a newer one. What is changed past the gateway shows within its period.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::mask::Stop;
use crate::sql::facts::{Access, Class};
use crate::sql::{Facts, Item};

use super::{Catalogs, Context, Denial, DenialKind, Missing, Outcome};

/// Looks at what becomes of one statement.
#[derive(Debug)]
pub(super) struct Watch {
    catalogs: Arc<dyn Catalogs>,
    context: Arc<Context>,
    effect: Effect,
}

/// What a statement means for definitions, should it run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// It leaves them alone.
    Nothing,
    /// It changes them; within a transaction others see that at its end.
    Redefines,
    /// It ends a transaction.
    Commits,
}

/// Whether a session's transaction has changed definitions.
#[derive(Debug, Default)]
pub(super) struct Redefined(AtomicBool);

impl Watch {
    pub(super) fn new(catalogs: Arc<dyn Catalogs>, context: Arc<Context>, facts: &Facts) -> Self {
        Self { catalogs, context, effect: effect(facts) }
    }

    /// Takes in what became of the statement.
    pub(super) fn settled(&self, outcome: &Outcome) {
        let redefined = &self.context.redefined.0;
        let ran = matches!(outcome, Outcome::Completed { .. } | Outcome::Unknown | Outcome::Stopped { .. });
        let is_otherwise = matches!(outcome, Outcome::Stopped { stop: Some(Stop::Mismatch(_)), .. });
        let changed = match self.effect {
            Effect::Nothing => false,
            Effect::Redefines => {
                redefined.fetch_or(ran, Ordering::Relaxed);
                ran
            }
            Effect::Commits => redefined.swap(false, Ordering::Relaxed) && ran,
        };
        if changed || is_otherwise {
            self.catalogs.expire(self.context.database());
        }
    }
}

/// What is not written as a definition can change some all the same: code that nobody has read, a commit of another
/// session's transaction.
fn effect(facts: &Facts) -> Effect {
    match facts.kind.as_str() {
        "commit" => Effect::Commits,
        "do" | "call" | "commit_prepared" => Effect::Redefines,
        _ if facts.class == Class::Ddl && !is_of_the_session(facts) => Effect::Redefines,
        _ => Effect::Nothing,
    }
}

/// Whether only temporary relations are defined: the catalog knows none.
fn is_of_the_session(facts: &Facts) -> bool {
    let mut defined = facts.tables.iter().filter(|table| table.access == Access::Define).peekable();
    defined.peek().is_some() && defined.all(|table| table.schema == "pg_temp")
}

/// Holds a string of statements against what guards can do for it: they run before all of it, so nothing in it may
/// end the transaction, or change definitions, before the last statement that is `guarded`.
///
/// # Errors
/// When a statement must be sent by itself.
pub(super) fn in_order(items: &[Item], guarded: impl DoubleEndedIterator<Item = bool>) -> Result<(), Denial> {
    let Some(last) = guarded.enumerate().filter(|(_, guarded)| *guarded).map(|(place, _)| place).last()
    else {
        return Ok(());
    };
    let unsettles = |item: &Item| {
        let kind = item.facts.kind.as_str();
        item.facts.class >= Class::Ddl || matches!(kind, "commit" | "rollback" | "prepare_transaction")
    };
    let Some(what) = items.iter().take(last).find(|item| unsettles(item)) else { return Ok(()) };
    Err(Denial::because(
        DenialKind::Policy,
        "one_string",
        format!("`{}` can't stand in one string with statements that read tables", what.facts.kind),
        "send the statements one at a time",
    ))
}

/// Whether what `item` does would be another thing by other definitions. A definition itself names what it changes.
pub(super) fn decide(item: &Item) -> bool {
    match item.facts.class {
        Class::Transaction | Class::Session => false,
        Class::Ddl => item.facts.tables.iter().any(|table| table.access == Access::Read),
        Class::Read | Class::Write | Class::Utility | Class::Unknown => true,
    }
}

/// Whether a newer catalog may know what a statement names. It never knows prepared statements and cursors.
pub(super) fn names_unknown_objects(item: &Item) -> bool {
    let of_the_session = |what: &str| matches!(Missing::of(what), Missing::Statement | Missing::Cursor);
    item.facts.unresolved.iter().any(|thing| !of_the_session(&thing.what))
}
