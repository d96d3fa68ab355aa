//! Which parts of an input a rulebook can read, and an input's key: the exact bytes of those parts.
//!
//! Whatever a rule learns of the input it learns by a reference that begins with `input`, and vetting sees each of
//! them, so what lies below no such reference can't change a decision. A reference ends, for this purpose, where it
//! stops to be literal: `input.statement[x]` and `s := input.statement` read all of `input.statement`, and so does
//! handing it to a function.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::StatementInput;
use super::input::{Batch, BindInput, IdentityInput, Time};
use crate::identity::Kind;
use crate::sql::Facts;

/// Every path below `input` that rules name: `["statement", "kind"]`. The empty path is the whole input.
#[derive(Debug, Default)]
pub(super) struct Reads(BTreeSet<Vec<String>>);

impl Reads {
    /// Notes a path.
    pub(super) fn add(&mut self, path: &[String]) {
        self.0.insert(path.to_vec());
    }

    /// Whether any of `place` may be read: by its own path, by that of a part of it, or by that of what it is part of.
    fn touch(&self, place: &[&str]) -> bool {
        self.0.iter().any(|path| path.iter().zip(place).all(|(name, part)| name == part))
    }
}

/// What a key holds besides what every key holds (the identity's name and kind, database, door, way, tool, and
/// whether the session is unjudged).
#[derive(Debug)]
pub(super) struct Projection {
    owner: bool,
    groups: bool,
    batch_index: bool,
    batch_size: bool,
    bind_known: bool,
    bind_values: bool,
    unix: bool,
    hour: bool,
    weekday: bool,
    facts: FactFields,
}

/// Fields of [`Facts`], one bit each, in the order of [`FACTS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FactFields(u32);

/// Facts with a digest of those parts that the rulebook reads: it is made once, and serves every decision.
#[derive(Debug)]
pub struct Digested {
    facts: Arc<Facts>,
    digest: Mutex<Option<(FactFields, [u8; 32])>>,
}

impl Digested {
    /// Facts that will be decided on.
    #[must_use]
    pub fn new(facts: Arc<Facts>) -> Self {
        Self { facts, digest: Mutex::default() }
    }

    /// The facts.
    #[must_use]
    pub fn facts(&self) -> &Arc<Facts> {
        &self.facts
    }

    /// Another rulebook reads other fields, so the fields are kept with their digest.
    fn digest(&self, fields: FactFields) -> Option<[u8; 32]> {
        let mut kept = self.digest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, digest)) = kept.as_ref().filter(|(of, _)| *of == fields) {
            return Some(*digest);
        }
        let digest = Sha256::digest(document(fields, &self.facts)?).into();
        *kept = Some((fields, digest));
        Some(digest)
    }
}

impl Projection {
    /// The projection onto what rules read.
    pub(super) fn onto(reads: &Reads) -> Self {
        let facts = FACTS.iter().enumerate().filter(|(_, field)| reads.touch(&["statement", field]));
        Self {
            owner: reads.touch(&["identity", "owner"]),
            groups: reads.touch(&["identity", "groups"]),
            batch_index: reads.touch(&["batch", "index"]),
            batch_size: reads.touch(&["batch", "size"]),
            bind_known: reads.touch(&["bind", "known"]),
            bind_values: reads.touch(&["bind", "values"]),
            unix: reads.touch(&["time", "unix"]),
            hour: reads.touch(&["time", "hour"]),
            weekday: reads.touch(&["time", "weekday"]),
            facts: FactFields(facts.fold(0, |bits, (at, _)| bits | 1 << at)),
        }
    }

    /// The key of `input`: two inputs with one key get one decision. `None` where there is none: an approval is
    /// evidence for one statement once, facts that are not understood are not for the rulebook to decide, and what is
    /// too large is not worth its place.
    pub(super) fn key(&self, input: &StatementInput<'_>, facts: &Digested) -> Option<Vec<u8>> {
        // Every field by its name: one that is added can't be forgotten in here.
        let StatementInput {
            identity: IdentityInput { name, kind, owner, groups },
            database,
            door,
            via,
            tool,
            statement,
            batch: Batch { index, size },
            approvals,
            bind: BindInput { known, values },
            unjudged,
            time: Time { unix, hour, weekday },
        } = input;
        let is_theirs = std::ptr::eq(*statement, facts.facts.as_ref());
        let is_understood = *unjudged || statement.unresolved.is_empty();
        if !(is_theirs && is_understood && approvals.is_empty()) {
            return None;
        }
        let mut key = Key(Vec::with_capacity(KEY_BYTES));
        key.bytes(&facts.digest(self.facts)?);
        [*name, *database, *door, *via, *tool].into_iter().for_each(|text| key.text(text));
        key.number(match kind {
            Kind::Agent => 0,
            Kind::Human => 1,
            Kind::Service => 2,
        });
        key.number(i64::from(*unjudged));
        key.when(self.owner, |key| key.text(owner));
        key.when(self.groups, |key| key.list(groups, |key, group| key.text(group)));
        key.when(self.batch_index, |key| key.length(*index));
        key.when(self.batch_size, |key| key.length(*size));
        key.when(self.bind_known, |key| key.number(i64::from(*known)));
        key.when(self.bind_values, |key| key.list(values, |key, value| key.value(value.as_deref())));
        key.when(self.unix, |key| key.number(*unix));
        key.when(self.hour, |key| key.number(i64::from(*hour)));
        key.when(self.weekday, |key| key.number(i64::from(*weekday)));
        Some(key.0).filter(|key| key.len() <= MOST_KEY_BYTES)
    }
}

/// Parts one behind the other, each of a known length or behind its length.
struct Key(Vec<u8>);

impl Key {
    fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn number(&mut self, number: i64) {
        self.bytes(&number.to_be_bytes());
    }

    fn length(&mut self, length: usize) {
        self.number(i64::try_from(length).unwrap_or(i64::MAX));
    }

    fn text(&mut self, text: &str) {
        self.length(text.len());
        self.bytes(text.as_bytes());
    }

    fn value(&mut self, value: Option<&str>) {
        match value {
            Some(text) => self.text(text),
            None => self.number(-1),
        }
    }

    fn list<T>(&mut self, items: &[T], each: impl Fn(&mut Self, &T)) {
        self.length(items.len());
        items.iter().for_each(|item| each(self, item));
    }

    fn when(&mut self, read: bool, part: impl FnOnce(&mut Self)) {
        if read {
            part(self);
        }
    }
}

/// The wanted fields of `facts` as JSON, one behind the other. `None` if they can't be written down.
fn document(fields: FactFields, facts: &Facts) -> Option<Vec<u8>> {
    let Facts {
        kind,
        class,
        inner,
        tables,
        functions,
        outputs,
        condition,
        limit,
        settings,
        destinations,
        channels,
        explain_analyze,
        locks_rows,
        parse_ok,
        unresolved,
    } = facts;
    let mut document = Document { left: fields.0, json: Vec::with_capacity(DOCUMENT_BYTES) };
    document.put(kind)?;
    document.put(class)?;
    document.put(inner)?;
    document.put(tables)?;
    document.put(functions)?;
    document.put(outputs)?;
    document.put(condition)?;
    document.put(limit)?;
    document.put(settings)?;
    document.put(destinations)?;
    document.put(channels)?;
    document.put(explain_analyze)?;
    document.put(locks_rows)?;
    document.put(parse_ok)?;
    document.put(unresolved)?;
    Some(document.json)
}

struct Document {
    /// The bits of the fields that are still to come.
    left: u32,
    json: Vec<u8>,
}

impl Document {
    /// JSON values say themselves where they end, if a character that none begins with stands between two.
    fn put(&mut self, field: &impl Serialize) -> Option<()> {
        let wanted = self.left & 1 == 1;
        self.left >>= 1;
        if wanted {
            serde_json::to_writer(&mut self.json, field).ok()?;
            self.json.push(b'\n');
        }
        Some(())
    }
}

/// The fields of [`Facts`] by their names in the input, in the order of their declaration.
const FACTS: [&str; 15] = [
    "kind",
    "class",
    "inner",
    "tables",
    "functions",
    "outputs",
    "condition",
    "limit",
    "settings",
    "destinations",
    "channels",
    "explain_analyze",
    "locks_rows",
    "parse_ok",
    "unresolved",
];

/// Longest key, in bytes: large bind values that a rulebook reads are decided on each time.
const MOST_KEY_BYTES: usize = 16 * 1024;
/// What most keys need.
const KEY_BYTES: usize = 192;
/// What most facts need.
const DOCUMENT_BYTES: usize = 1024;
