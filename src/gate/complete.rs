//! What statements do by name, put in the place of the names.
//!
//! `EXECUTE x` has the facts, the masks and the rewrite of what `x` is, by the rules in force now; `FETCH c` those
//! of the query that `c` was declared for. Within one query string a name means what the statements before it make
//! of it.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use smol_str::SmolStr;

use crate::catalog::Snapshot;
use crate::mask::{Governed, Masks, Plan, Refusal, Rewritten, rewrite_as};
use crate::sql::naming::with_prepared;
use crate::sql::{Facts, Item, Naming, Statement};

use super::judge::Case;
use super::memory::Reading;
use super::{Denial, DenialKind, Gate, Missing, NameChange, Names, Prepared};

/// A string of statements with what their names stand for.
#[derive(Debug)]
pub(super) struct Completed {
    /// Facts that hold for what the statements really do.
    pub(super) analysis: Arc<Reading>,
    /// One a statement where any does anything by name; none at all otherwise.
    parts: Vec<Part>,
}

/// What one statement does by name.
#[derive(Debug, Clone, Default)]
pub(super) enum Part {
    /// Nothing that matters here.
    #[default]
    Plain,
    /// It defines a prepared statement.
    Prepares {
        name: String,
        /// Its own text up to the statement inside.
        head: String,
        inside: Arc<Reading>,
    },
    /// It declares a cursor.
    Declares { name: String, holds: bool, own: Arc<Reading> },
    /// It runs what was prepared or declared before.
    Runs {
        what: Arc<Reading>,
        /// The text that the server holds for it.
        held: Held,
        /// The word for what has to be made anew, should its masks have changed.
        again: &'static str,
        /// Whether another statement stands around it, which is to be rewritten as a whole.
        wrapped: bool,
    },
    /// It ends names.
    Ends(NameChange),
}

/// A text that the server holds.
#[derive(Debug, Clone)]
pub(super) enum Held {
    /// It was sent before.
    Sent(String),
    /// It is sent in this very string, by the statement at this place.
    Here(usize),
}

/// Why what names stand for can't be run.
#[derive(Debug)]
pub(super) enum Blocked {
    /// It can't be masked.
    Unmaskable(Refusal),
    /// The server holds it with other masks.
    Stale { again: &'static str },
}

/// What a name means within the string that is being completed.
#[derive(Debug, Clone)]
struct Meaning {
    what: Arc<Reading>,
    held: Held,
}

/// Names that this string has changed itself. `None` is a name that it has ended.
#[derive(Debug, Default)]
struct Local {
    statements: HashMap<String, Option<Meaning>>,
    cursors: HashMap<String, Option<Meaning>>,
    no_more_statements: bool,
    no_more_cursors: bool,
}

impl Gate {
    /// Puts what names stand for into `analysis`.
    pub(super) async fn completed(
        &self,
        case: &Case<'_>,
        analysis: Arc<Reading>,
        catalog: &Arc<Snapshot>,
    ) -> Result<Completed, Denial> {
        if analysis.items().iter().all(|item| item.naming == Naming::Nothing) {
            return Ok(Completed { analysis, parts: Vec::new() });
        }
        let mut local = Local::default();
        let mut items = Vec::with_capacity(analysis.items().len());
        let mut parts = Vec::with_capacity(analysis.items().len());
        for (index, item) in analysis.items().iter().enumerate() {
            let text = analysis.statement().as_str().get(item.range.clone()).unwrap_or_default();
            let part = self.part(case, &mut local, item, text, catalog).await?;
            local.take(&part, index);
            items.push(completed_item(item, &part));
            parts.push(part);
        }
        let completed = Reading::new(analysis.with_items(items));
        Ok(Completed { analysis: Arc::new(completed), parts })
    }

    async fn part(
        &self,
        case: &Case<'_>,
        local: &mut Local,
        item: &Item,
        text: &str,
        catalog: &Arc<Snapshot>,
    ) -> Result<Part, Denial> {
        Ok(match &item.naming {
            Naming::Nothing => Part::Plain,
            Naming::Prepares { name, .. } | Naming::Declares { name, .. } if Names::is_reserved(name) => {
                return Err(reserved(name));
            }
            Naming::Prepares { name, inside } => {
                let (head, inside) = text.split_at_checked(*inside).unwrap_or((text, ""));
                let inside = self.inside(case, inside, catalog).await?;
                match inside {
                    Some(inside) => Part::Prepares { name: name.clone(), head: head.to_owned(), inside },
                    None => Part::Plain,
                }
            }
            Naming::Declares { name, holds } => match self.inside(case, text, catalog).await? {
                Some(own) => Part::Declares { name: name.clone(), holds: *holds, own },
                None => Part::Plain,
            },
            Naming::Executes { name, wrapped } => {
                // PostgreSQL takes no subquery among the values; should one get there, it is not for here.
                let known = local.statement(name, case).filter(|_| *wrapped || item.facts.tables.is_empty());
                self.runs(case, known, "prepare it again", *wrapped, catalog).await?
            }
            Naming::Fetches { name } => {
                let known = local.cursor(name, case);
                self.runs(case, known, "close it and declare it again", false, catalog).await?
            }
            Naming::Deallocates { name: Some(name) } => {
                Part::Ends(NameChange::Deallocated { name: name.clone() })
            }
            Naming::Deallocates { name: None } => Part::Ends(NameChange::AllDeallocated),
            Naming::Closes { name: Some(name) } => Part::Ends(NameChange::Closed { name: name.clone() }),
            Naming::Closes { name: None } => Part::Ends(NameChange::AllClosed),
            Naming::Discards => Part::Ends(NameChange::Discarded),
        })
    }

    /// The one statement that `text` is; `None` where it can't be read, which only an unjudged session gets past.
    async fn inside(
        &self,
        case: &Case<'_>,
        text: &str,
        catalog: &Arc<Snapshot>,
    ) -> Result<Option<Arc<Reading>>, Denial> {
        let not_read = |why: &str| match case.context.is_unjudged() {
            true => Ok(None),
            false => Err(Denial::because(
                DenialKind::Unresolved(Missing::Other),
                "not_understood",
                format!("the statement inside could not be read: {why}"),
                "",
            )),
        };
        let Ok(statement) = Statement::new(text.as_bytes(), usize::MAX) else { return not_read("its text") };
        match self.analysed(&statement, catalog).await {
            Ok(inside) if inside.items().len() == 1 => Ok(Some(inside)),
            Ok(_) => not_read("it is not one statement"),
            Err(denial) => not_read(denial.reason().map_or("", |reason| &reason.message)),
        }
    }

    async fn runs(
        &self,
        case: &Case<'_>,
        known: Option<Known>,
        again: &'static str,
        wrapped: bool,
        catalog: &Arc<Snapshot>,
    ) -> Result<Part, Denial> {
        let Some(known) = known else { return Ok(Part::Plain) };
        let (what, held) = match known {
            Known::Here(meaning) => (meaning.what, meaning.held),
            Known::Before(prepared) => {
                let held = Held::Sent(prepared.sql.clone());
                let what = match prepared.catalog_version == catalog.version() {
                    true => Arc::clone(&prepared.analysis),
                    false => match self.analysed(&prepared.statement, catalog).await {
                        Ok(what) => what,
                        Err(_) if case.context.is_unjudged() => return Ok(Part::Plain),
                        Err(denial) => return Err(denial),
                    },
                };
                (what, held)
            }
        };
        // What is a name itself can't be prepared; an empty string can, and does nothing.
        if what.items().len() > 1 {
            return Ok(Part::Plain);
        }
        Ok(Part::Runs { what, held, again, wrapped })
    }
}

/// A refused message is replaced by one that names what is never defined: so it must never be.
fn reserved(name: &str) -> Denial {
    Denial::because(
        DenialKind::Policy,
        "reserved_name",
        format!("`{name}` begins as the gateway's own names do"),
        "choose another name",
    )
}

/// What is known of a name.
enum Known {
    Here(Meaning),
    Before(Arc<Prepared>),
}

impl Local {
    fn statement(&self, name: &str, case: &Case<'_>) -> Option<Known> {
        match self.statements.get(name) {
            Some(meaning) => meaning.clone().map(Known::Here),
            None if self.no_more_statements => None,
            None => case.names.statement(name).cloned().map(Known::Before),
        }
    }

    fn cursor(&self, name: &str, case: &Case<'_>) -> Option<Known> {
        match self.cursors.get(name) {
            Some(meaning) => meaning.clone().map(Known::Here),
            None if self.no_more_cursors => None,
            None => case.names.cursor(name).cloned().map(Known::Before),
        }
    }

    /// Takes in what the statement at `index` does.
    fn take(&mut self, part: &Part, index: usize) {
        let meaning = |what: &Arc<Reading>| Some(Meaning { what: Arc::clone(what), held: Held::Here(index) });
        match part {
            Part::Plain | Part::Runs { .. } => {}
            Part::Prepares { name, inside, .. } => {
                self.statements.insert(name.clone(), meaning(inside));
            }
            Part::Declares { name, own, .. } => {
                self.cursors.insert(name.clone(), meaning(own));
            }
            Part::Ends(change) => self.end(change),
        }
    }

    fn end(&mut self, change: &NameChange) {
        match change {
            NameChange::Deallocated { name } => {
                self.statements.insert(name.clone(), None);
            }
            NameChange::Closed { name } => {
                self.cursors.insert(name.clone(), None);
            }
            NameChange::AllDeallocated => self.end_statements(),
            NameChange::AllClosed => self.end_cursors(),
            NameChange::Discarded => {
                self.end_statements();
                self.end_cursors();
            }
            NameChange::Prepared { .. } | NameChange::Opened { .. } | NameChange::Listening { .. } => {}
        }
    }

    fn end_statements(&mut self) {
        self.statements.clear();
        self.no_more_statements = true;
    }

    fn end_cursors(&mut self) {
        self.cursors.clear();
        self.no_more_cursors = true;
    }
}

/// `item` with the facts of what it runs by name.
fn completed_item(item: &Item, part: &Part) -> Item {
    let Part::Runs { what, wrapped, .. } = part else { return item.clone() };
    let Some(named) = what.items().first() else { return item.clone() };
    let mut completed = item.clone();
    completed.facts = Arc::new(Facts::clone(&item.facts).running(&named.facts));
    if *wrapped {
        completed.tree = with_prepared(&item.tree, &named.tree);
    }
    completed
}

impl Completed {
    /// Whether any statement does anything by name.
    pub(super) fn names_something(&self) -> bool {
        !self.parts.is_empty()
    }

    /// Whether all of it, and all that names stand for, can be rewritten on any thread.
    pub(super) fn is_shallow(&self) -> bool {
        let parts = self.parts.iter().all(|part| match part {
            Part::Plain | Part::Ends(_) => true,
            Part::Prepares { inside, .. } => inside.is_shallow(),
            Part::Declares { own, .. } => own.is_shallow(),
            // One around another is as deep as both.
            Part::Runs { what, wrapped, .. } => what.is_shallow() && !wrapped,
        });
        self.analysis.is_shallow() && parts
    }

    /// The statement at `index`: whether it runs something by name, with values that nobody has decoded.
    pub(super) fn runs_by_name(&self, index: usize) -> bool {
        matches!(self.parts.get(index), Some(Part::Runs { .. }))
    }

    /// What the statement at `index` does by name.
    pub(super) fn part(&self, index: usize) -> Part {
        self.parts.get(index).cloned().unwrap_or_default()
    }
}

/// What a statement becomes, and what will be behind its name.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) rewritten: Rewritten,
    pub(super) change: Option<Change>,
    /// The text behind the name that it runs, for whoever has to approve it.
    pub(super) runs: Option<String>,
}

/// A change of names whose decision has yet to be recorded.
#[derive(Debug)]
pub(super) enum Change {
    /// Of a name that ends, or a channel.
    Known(NameChange),
    /// A prepared statement.
    Prepares { name: String, inside: Arc<Reading>, rewritten: Rewritten },
    /// A cursor.
    Declares { name: String, holds: bool, own: Arc<Reading>, rewritten: Rewritten },
}

impl Change {
    /// The change, now that its decision has an id.
    pub(super) fn decided(self, catalog_version: u64, decision_id: &SmolStr) -> NameChange {
        let prepared = |analysis: Arc<Reading>, Rewritten { sql, plan }| {
            Arc::new(Prepared {
                statement: analysis.statement().clone(),
                analysis,
                sql,
                plan,
                catalog_version,
                decision_id: decision_id.clone(),
                parameter_types: Vec::new(),
                described_types: OnceLock::new(),
            })
        };
        match self {
            Self::Known(change) => change,
            Self::Prepares { name, inside, rewritten } => {
                NameChange::Prepared { name, prepared: prepared(inside, rewritten) }
            }
            Self::Declares { name, holds, own, rewritten } => {
                NameChange::Opened { name, opened_as: prepared(own, rewritten), holds }
            }
        }
    }
}

/// What a statement is rewritten by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Under<'a> {
    /// Its decision's masks.
    pub(super) masks: &'a Arc<Masks>,
    /// What they mean on `catalog`.
    pub(super) governed: &'a Governed,
    /// What the database holds.
    pub(super) catalog: &'a Snapshot,
}

/// Rewrites `item`, whose text is `text`; `before` are the statements of its string that come first.
pub(super) fn write(
    text: &str,
    item: &Item,
    part: &Part,
    under: &Under<'_>,
    before: &[Written],
) -> Result<Written, Blocked> {
    let plain = |change| -> Result<Written, Blocked> {
        Ok(Written { rewritten: rewrite_as(text, item, under.governed, under.catalog)?, change, runs: None })
    };
    match part {
        Part::Plain => plain(listening(item)),
        Part::Ends(change) => plain(Some(Change::Known(change.clone()))),
        Part::Declares { name, holds, own } => {
            let written = plain(None)?;
            let rewritten = written.rewritten.clone();
            let change = Change::Declares { name: name.clone(), holds: *holds, own: own.clone(), rewritten };
            Ok(Written { change: Some(change), ..written })
        }
        Part::Prepares { name, head, inside } => {
            let within = rewrite_only(inside, under)?;
            let rewritten = Rewritten {
                sql: format!("{head}{}{}", if within.plan.verbatim { "" } else { " " }, within.sql),
                plan: Plan { arity: None, ..within.plan.clone() },
            };
            let change = Change::Prepares { name: name.clone(), inside: inside.clone(), rewritten: within };
            Ok(Written { rewritten, change: Some(change), runs: None })
        }
        Part::Runs { what, held, again, wrapped } => {
            let now = rewrite_only(what, under)?;
            let held = match held {
                Held::Sent(text) => Some(text.as_str()),
                Held::Here(index) => before.get(*index).and_then(Written::behind_its_name),
            };
            if held != Some(now.sql.as_str()) {
                return Err(Blocked::Stale { again });
            }
            // Its own text holds no table, but EXPLAIN and CREATE TABLE AS make more of what they run.
            let own = rewrite_as(text, item, under.governed, under.catalog);
            let own = if *wrapped { own?.plan.arity } else { now.plan.arity };
            let plan = Plan { arity: own, verbatim: true, ..now.plan };
            let runs = Some(what.statement().as_str().to_owned());
            Ok(Written { rewritten: Rewritten { sql: text.to_owned(), plan }, change: None, runs })
        }
    }
}

impl Written {
    /// The text that the server holds for the name that it defines.
    fn behind_its_name(&self) -> Option<&str> {
        match &self.change {
            Some(Change::Prepares { rewritten, .. } | Change::Declares { rewritten, .. }) => {
                Some(&rewritten.sql)
            }
            Some(Change::Known(_)) | None => None,
        }
    }
}

fn rewrite_only(reading: &Reading, under: &Under<'_>) -> Result<Rewritten, Refusal> {
    let whole = || reading.statement().as_str().to_owned();
    if reading.items().is_empty() {
        return Ok(Rewritten { sql: whole(), plan: Plan::default() });
    }
    let rewrite = match reading.rewritten(0, under.masks) {
        Some(rewrite) => rewrite,
        None => reading.rewrite(0, under.masks, under.governed, under.catalog)?,
    };
    let Rewritten { sql, plan } = Rewritten::clone(&rewrite.rewritten);
    Ok(Rewritten { sql: if plan.verbatim { whole() } else { sql }, plan })
}

/// A LISTEN changes what a session hears.
pub(super) fn listening(item: &Item) -> Option<Change> {
    let channel = item.facts.channels.first().filter(|_| item.facts.kind == "listen")?;
    Some(Change::Known(NameChange::Listening { channel: channel.clone() }))
}

impl From<Refusal> for Blocked {
    fn from(refusal: Refusal) -> Self {
        Self::Unmaskable(refusal)
    }
}
