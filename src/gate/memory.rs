//! What the gate remembers of statements: what they would do, how they were rewritten, and what masks mean.
//!
//! Nothing in here decides. A statement is found again by its exact bytes, its database and the version of its
//! catalog, all that facts depend on; never by a fingerprint, which two statements can share. A rewrite is found by
//! its statement and the exact masks, and masks by the very catalog they were worked out on. All of it is bounded.

use std::hash::{BuildHasher as _, RandomState};
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use smol_str::SmolStr;

use crate::catalog::Snapshot;
use crate::mask::{Governed, Masks, Refusal, Rewritten, Rows, rewrite_as};
use crate::policy::Digested;
use crate::sql::{Analysis, Facts, Item, Statement};

use super::journal;

/// Statements and masks that may come again.
#[derive(Debug)]
pub(super) struct Memory {
    statements: Cache<Name, Arc<Reading>, Weight>,
    seen: Seen,
    governed: Mutex<Vec<Meaning>>,
    governed_rows: Mutex<Vec<Meaning>>,
    filtered: Mutex<Vec<Filtered>>,
}

/// By what a statement is found again.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Name {
    /// Every byte of it.
    pub(super) statement: Statement,
    /// The database's name in the configuration.
    pub(super) database: SmolStr,
    /// Equal versions of one database's catalog hold equal definitions.
    pub(super) catalog_version: u64,
}

/// A statement string that was analysed, with what was worked out about it since.
#[derive(Debug)]
pub(super) struct Reading {
    analysis: Analysis,
    notes: Vec<Notes>,
}

/// What was worked out about one statement of a string.
#[derive(Debug)]
pub(super) struct Notes {
    digested: Digested,
    ledger_digest: OnceLock<SmolStr>,
    rewrites: Mutex<Vec<Rewrite>>,
}

/// A statement under certain masks.
#[derive(Debug, Clone)]
pub(super) struct Rewrite {
    masks: Arc<Masks>,
    /// As it is sent.
    pub(super) rewritten: Arc<Rewritten>,
    /// The masked columns of the relations that it touches, `schema.table.column`, ordered.
    pub(super) masked: Arc<[String]>,
    /// The row filters of the relations that it touches, ordered: `public.orders by tenant: {"acme"}`.
    pub(super) filters: Arc<[String]>,
}

/// What masks mean on a catalog.
#[derive(Debug)]
struct Meaning {
    masks: Arc<Masks>,
    catalog: Weak<Snapshot>,
    governed: Arc<Governed>,
}

/// Masks over the rows of a session.
#[derive(Debug)]
struct Filtered {
    masks: Arc<Masks>,
    rows: Arc<Rows>,
    over: Arc<Masks>,
}

impl Memory {
    /// Remembers nothing yet.
    pub(super) fn new() -> Self {
        let entries = usize::try_from(MOST_BYTES / LEAST_BYTES).unwrap_or(usize::MAX);
        Self {
            statements: Cache::with_weighter(entries, MOST_BYTES, Weight),
            seen: Seen::new(),
            governed: Mutex::default(),
            governed_rows: Mutex::default(),
            filtered: Mutex::default(),
        }
    }

    /// The statement called `name`, if it is remembered.
    pub(super) fn recall(&self, name: &Name) -> Option<Arc<Reading>> {
        self.statements.get(name)
    }

    /// Remembers a statement from its second time on: most strings with their values in them come once, and would
    /// only push out those that come again.
    pub(super) fn keep(&self, name: Name, known: &Arc<Reading>) {
        if self.seen.again(&name) {
            self.statements.insert(name, Arc::clone(known));
        }
    }

    /// `masks` over `rows`: one and the same for one and the same.
    pub(super) fn over(&self, masks: &Arc<Masks>, rows: &Arc<Rows>) -> Arc<Masks> {
        let mut known = lock(&self.filtered);
        let same = |filtered: &&Filtered| equal(&filtered.masks, masks) && filtered.rows == *rows;
        if let Some(filtered) = known.iter().find(same) {
            return Arc::clone(&filtered.over);
        }
        if known.len() >= MOST_MEANINGS {
            known.remove(0);
        }
        let over = Arc::new(masks.over(rows));
        known.push(Filtered { masks: Arc::clone(masks), rows: Arc::clone(rows), over: Arc::clone(&over) });
        over
    }

    /// What `masks` mean on `catalog`.
    pub(super) fn governed(&self, masks: &Arc<Masks>, catalog: &Arc<Snapshot>) -> Arc<Governed> {
        if masks.rows().is_empty() {
            return meaning(&self.governed, masks, catalog, || Governed::new(masks, catalog));
        }
        // Many identities share masks, and each may have rows of its own.
        meaning(&self.governed_rows, masks, catalog, || {
            let everywhere = Arc::new(masks.over(&Arc::default()));
            self.governed(&everywhere, catalog).over(masks.rows(), catalog)
        })
    }
}

/// What `masks` mean on `catalog`, from `known` or else by `work_out`.
fn meaning(
    known: &Mutex<Vec<Meaning>>,
    masks: &Arc<Masks>,
    catalog: &Arc<Snapshot>,
    work_out: impl FnOnce() -> Governed,
) -> Arc<Governed> {
    let here = Arc::downgrade(catalog);
    let mut known = lock(known);
    // As long as somebody holds a weak pointer, nothing else can have its address.
    let same = |meaning: &&Meaning| meaning.catalog.ptr_eq(&here) && equal(&meaning.masks, masks);
    if let Some(meaning) = known.iter().find(same) {
        return Arc::clone(&meaning.governed);
    }
    known.retain(|meaning| meaning.catalog.strong_count() > 0);
    if known.len() >= MOST_MEANINGS {
        known.remove(0);
    }
    let governed = Arc::new(work_out());
    let meaning = Meaning { masks: Arc::clone(masks), catalog: here, governed: Arc::clone(&governed) };
    known.push(meaning);
    governed
}

impl Reading {
    /// A statement string of which nothing but its analysis is known yet.
    pub(super) fn new(analysis: Analysis) -> Self {
        let notes = analysis.items().iter().map(|item| Notes::on(&item.facts)).collect();
        Self { analysis, notes }
    }

    /// The statements in order, each with what is known about it.
    pub(super) fn each(&self) -> impl Iterator<Item = (&Item, &Notes)> {
        self.analysis.items().iter().zip(&self.notes)
    }

    /// Statement `index` under a decision's masks, if it was rewritten by them before.
    pub(super) fn rewritten(&self, index: usize, masks: &Arc<Masks>) -> Option<Rewrite> {
        let rewrites = lock(&self.notes.get(index)?.rewrites);
        rewrites.iter().find(|rewrite| equal(&rewrite.masks, masks)).cloned()
    }

    /// Rewrites statement `index`, and remembers it.
    ///
    /// # Errors
    /// When it can't be masked.
    pub(super) fn rewrite(
        &self,
        index: usize,
        masks: &Arc<Masks>,
        governed: &Governed,
        catalog: &Snapshot,
    ) -> Result<Rewrite, Refusal> {
        let missing = || Refusal { what: "there is no such statement".to_owned(), hint: String::new() };
        let (item, notes) = self.each().nth(index).ok_or_else(missing)?;
        let text = self.analysis.statement().as_str().get(item.range.clone()).unwrap_or_default();
        let rewrite = Rewrite {
            masks: Arc::clone(masks),
            rewritten: Arc::new(rewrite_as(text, item, governed, catalog)?),
            masked: masked_columns(item, governed),
            filters: row_filters(item, governed),
        };
        let mut rewrites = lock(&notes.rewrites);
        if rewrites.len() >= MOST_REWRITES {
            rewrites.remove(0);
        }
        rewrites.push(rewrite.clone());
        Ok(rewrite)
    }
}

impl Deref for Reading {
    type Target = Analysis;

    fn deref(&self) -> &Analysis {
        &self.analysis
    }
}

impl Notes {
    fn on(facts: &Arc<Facts>) -> Self {
        Self {
            digested: Digested::new(Arc::clone(facts)),
            ledger_digest: OnceLock::new(),
            rewrites: Mutex::default(),
        }
    }

    /// The facts, for the rulebook.
    pub(super) fn digested(&self) -> &Digested {
        &self.digested
    }

    /// SHA-256 over the facts document, in lower-case hexadecimal.
    pub(super) fn ledger_digest(&self) -> SmolStr {
        self.ledger_digest.get_or_init(|| journal::facts_digest(self.digested.facts())).clone()
    }
}

/// The masked columns of the relations that a statement touches, `schema.table.column`, ordered.
pub(super) fn masked_columns(item: &Item, governed: &Governed) -> Arc<[String]> {
    let keys = item.facts.tables.iter().map(|table| &table.key);
    let mut masked: Vec<String> =
        keys.flat_map(|key| governed.columns_of(key).map(move |column| format!("{key}.{column}"))).collect();
    masked.sort();
    masked.dedup();
    masked.into()
}

/// The row filters of the relations that a statement touches, with the session's values, ordered.
pub(super) fn row_filters(item: &Item, governed: &Governed) -> Arc<[String]> {
    let keys = item.facts.tables.iter().map(|table| &table.key);
    let mut filters: Vec<String> = keys
        .flat_map(|key| governed.row_filters_of(key).map(move |said| format!("{key} by {said}")))
        .collect();
    filters.sort();
    filters.dedup();
    filters.into()
}

/// Decisions of one snapshot share equal masks, so that most are told apart by their addresses.
fn equal(a: &Arc<Masks>, b: &Arc<Masks>) -> bool {
    Arc::ptr_eq(a, b) || a == b
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Which names came lately, by keyed hashes that nobody outside can aim at. A wrong yes costs a place, nothing else.
#[derive(Debug)]
struct Seen {
    places: Box<[AtomicU64]>,
    hasher: RandomState,
}

impl Seen {
    fn new() -> Self {
        Self { places: (0..SEEN_PLACES).map(|_| AtomicU64::new(0)).collect(), hasher: RandomState::new() }
    }

    fn again(&self, name: &Name) -> bool {
        let hash = self.hasher.hash_one(name);
        let place = usize::try_from(hash % SEEN_PLACES).ok().and_then(|place| self.places.get(place));
        place.is_some_and(|place| place.swap(hash, Ordering::Relaxed) == hash)
    }
}

/// About how many bytes a remembered statement takes, its tree among them.
#[derive(Debug, Clone)]
struct Weight;

impl Weighter<Name, Arc<Reading>> for Weight {
    fn weight(&self, name: &Name, _known: &Arc<Reading>) -> u64 {
        let length = u64::try_from(name.statement.as_str().len()).unwrap_or(u64::MAX >> 16);
        LEAST_BYTES + length * BYTES_A_CHARACTER
    }
}

/// Most memory that statements may take, in bytes.
const MOST_BYTES: u64 = 32 << 20;
/// What a statement takes at least: facts, and the rewrites under one identity's masks.
const LEAST_BYTES: u64 = 4096;
/// What trees take for each byte of their text.
const BYTES_A_CHARACTER: u64 = 64;
/// Rewrites of one statement under different masks.
const MOST_REWRITES: usize = 8;
/// Masks whose meaning is remembered.
const MOST_MEANINGS: usize = 64;
/// Names that are remembered as seen, without what they stand for.
const SEEN_PLACES: u64 = 8192;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::RelationKey;
    use crate::mask::Strategy;
    use crate::sql::analyze;

    fn name(text: &str, database: &str, catalog_version: u64) -> Name {
        let statement = Statement::new(text.as_bytes(), Statement::WIRE_CAP).unwrap();
        Name { statement, database: database.into(), catalog_version }
    }

    fn catalog() -> Arc<Snapshot> {
        Arc::new(Snapshot::new(1, 150_018, Vec::new(), Vec::new(), Vec::new()))
    }

    fn known(name: &Name) -> Arc<Reading> {
        Arc::new(Reading::new(analyze(&name.statement, &catalog()).unwrap()))
    }

    fn masks(column: &str) -> Arc<Masks> {
        let mut masks = Masks::default();
        masks.add(RelationKey::new("public", "t"), column.to_owned(), Strategy::Null);
        Arc::new(masks)
    }

    #[test]
    fn a_statement_is_remembered_from_its_second_time_on() {
        let memory = Memory::new();
        let name = name("SELECT 1", "shop", 1);
        memory.keep(name.clone(), &known(&name));
        assert!(memory.recall(&name).is_none());
        let second = known(&name);
        memory.keep(name.clone(), &second);
        assert!(Arc::ptr_eq(&memory.recall(&name).unwrap(), &second));
    }

    #[test]
    fn another_byte_database_or_catalog_is_another_statement() {
        let memory = Memory::new();
        let kept = name("SELECT 1", "shop", 1);
        for _ in 0..2 {
            memory.keep(kept.clone(), &known(&kept));
        }
        assert!(memory.recall(&kept).is_some());
        let others = [
            ("SELECT 2", "shop", 1),
            ("SELECT  1", "shop", 1),
            ("SELECT 1", "bank", 1),
            ("SELECT 1", "shop", 2),
        ];
        for (text, database, version) in others {
            assert!(memory.recall(&name(text, database, version)).is_none(), "{text} {database} {version}");
        }
    }

    #[test]
    fn memory_is_bounded_whatever_comes() {
        let memory = Memory::new();
        let analysed = known(&name("SELECT 1", "shop", 1));
        for number in 0..20_000 {
            let name = name(&format!("SELECT {number}"), "shop", 1);
            memory.statements.insert(name, Arc::clone(&analysed));
        }
        assert!(memory.statements.weight() <= MOST_BYTES);
        assert!(memory.statements.len() > 1_000, "{}", memory.statements.len());
    }

    #[test]
    fn masks_mean_something_on_one_catalog_only_and_by_their_exact_content() {
        let (memory, here, there) = (Memory::new(), catalog(), catalog());
        let meaning = memory.governed(&masks("a"), &here);
        assert!(Arc::ptr_eq(&meaning, &memory.governed(&masks("a"), &here)));
        assert!(!Arc::ptr_eq(&meaning, &memory.governed(&masks("b"), &here)));
        assert!(!Arc::ptr_eq(&meaning, &memory.governed(&masks("a"), &there)));
        for number in 0..1_000 {
            memory.governed(&masks(&number.to_string()), &here);
        }
        assert!(lock(&memory.governed).len() <= MOST_MEANINGS);
    }
}
