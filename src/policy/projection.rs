//! Which parts of an input a rulebook can read, and an input's key: the exact bytes of those parts.
//!
//! Whatever a rule learns of the input it learns by a reference that begins with `input`, and vetting sees each of
//! them, so what lies below no such reference can't change a decision. A reference ends, for this purpose, where it
//! stops to be literal: `input.statement[x]` and `s := input.statement` read all of `input.statement`, and so does
//! handing it to a function.
//!
//! A key is written by serde: a field that an input gets later is in it as soon as a rule reads it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest as _, Sha256};

use super::StatementInput;
use super::input::Time;
use super::project::{self, Paths};
use crate::sql::Facts;

/// Every path below `input` that rules name: `["statement", "kind"]`. The empty path is the whole input.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Reads(BTreeSet<Vec<String>>);

impl Reads {
    /// Notes a path.
    pub(super) fn add(&mut self, path: &[String]) {
        self.0.insert(path.to_vec());
    }

    /// The paths, ordered.
    pub fn paths(&self) -> impl Iterator<Item = &[String]> {
        self.0.iter().map(Vec::as_slice)
    }

    /// Whether any of `place` may be read: by its own path, by that of a part of it, or by that of what it is part of.
    #[must_use]
    pub fn touch(&self, place: &[&str]) -> bool {
        self.0.iter().any(|path| path.iter().zip(place).all(|(name, part)| name == part))
    }

    /// Why decisions that read so are not kept; `None` where they are.
    #[must_use]
    pub fn uncacheable(&self) -> Option<&'static str> {
        let budget = self.touch(&["budget"]);
        budget.then_some("it reads `input.budget`, which every statement changes")
    }
}

/// Facts with a digest of those parts that the rulebook reads: it is made once, and serves every decision.
#[derive(Debug)]
pub struct Digested {
    facts: Arc<Facts>,
    digest: Mutex<Option<(Arc<Paths>, [u8; 32])>>,
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

    /// Another rulebook reads other fields, so these are kept with their digest.
    fn digest(&self, paths: &Arc<Paths>) -> Option<[u8; 32]> {
        let mut kept = self.digest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, digest)) = kept.as_ref().filter(|(of, _)| Arc::ptr_eq(of, paths)) {
            return Some(*digest);
        }
        let mut bytes = Vec::with_capacity(DOCUMENT_BYTES);
        project::write(&*self.facts, paths, &mut bytes)?;
        let digest = Sha256::digest(&bytes).into();
        *kept = Some((Arc::clone(paths), digest));
        Some(digest)
    }
}

/// The projection of inputs onto what rules read. Facts are projected once for all questions.
#[derive(Debug)]
pub(super) struct Projection {
    statement: Paths,
    bound: Paths,
    facts: Arc<Paths>,
    is_kept: [bool; 2],
    wants: Wants,
    clocks: Paths,
}

/// Parts of an input that are looked up only where a rule reads them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wants {
    /// `input.budget`.
    pub budget: bool,
    /// `input.labels`.
    pub labels: bool,
    /// `input.bind.parameters`.
    pub parameters: bool,
}

/// Which packages are asked about a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Question {
    /// `portcullis.statement` and its add-ons.
    Statement,
    /// Those of `portcullis.bind` as well.
    Bound,
}

impl Projection {
    /// The projection onto what rules read for each question.
    pub(super) fn onto(statement: &Reads, bound: &Reads) -> Self {
        let mut facts = Paths::default();
        for path in statement.paths().chain(bound.paths()) {
            match path.split_first() {
                None => facts.add(&[]),
                Some((root, below)) if root == FACTS => facts.add(below),
                Some(_) => {}
            }
        }
        Self {
            statement: outside_facts(statement),
            bound: outside_facts(bound),
            facts: Arc::new(facts),
            is_kept: [statement, bound].map(|reads| reads.uncacheable().is_none()),
            wants: Wants {
                budget: bound.touch(&["budget"]),
                labels: bound.touch(&["labels"]),
                parameters: bound.touch(&["bind", "parameters"]),
            },
            clocks: outside_facts(bound).field("time").cloned().unwrap_or_default(),
        }
    }

    /// What has to be looked up.
    pub(super) fn wants(&self) -> Wants {
        self.wants
    }

    /// What rules see of the time, to the minute.
    pub(super) fn clocks(&self, time: &Time) -> Vec<u8> {
        let mut seen = Vec::new();
        let coarse = Time { unix: 0, ..time.clone() };
        project::write(&coarse, &self.clocks, &mut seen).map(|()| seen).unwrap_or_default()
    }

    /// The key of `input`: two inputs with one key get one decision. `None` where there is none: an approval is
    /// evidence for one statement once, facts that are not understood are not for the rulebook to decide, what every
    /// statement changes is never the same again, and what is too large is not worth its place.
    pub(super) fn key(
        &self,
        question: Question,
        input: &StatementInput<'_>,
        facts: &Digested,
    ) -> Option<Vec<u8>> {
        let is_theirs = std::ptr::eq(input.statement, facts.facts.as_ref());
        let is_understood = input.unjudged || input.statement.unresolved.is_empty();
        let [statement, bound] = self.is_kept;
        let (paths, is_kept, name) = match question {
            Question::Statement => (&self.statement, statement, 0),
            Question::Bound => (&self.bound, bound, 1),
        };
        if !(is_kept && is_theirs && is_understood && input.approvals.is_empty()) {
            return None;
        }
        let mut key = Vec::with_capacity(KEY_BYTES);
        key.push(name);
        key.extend_from_slice(&facts.digest(&self.facts)?);
        project::write(input, paths, &mut key)?;
        Some(key).filter(|key| key.len() <= MOST_KEY_BYTES)
    }
}

/// What is read of an input besides the facts, which have a digest of their own; and what the gateway itself reads
/// before it asks any rule.
fn outside_facts(reads: &Reads) -> Paths {
    let mut paths = Paths::default();
    for path in reads.paths() {
        match path.split_first() {
            None => FIELDS.iter().for_each(|field| paths.add(&[(*field).to_owned()])),
            Some((root, _)) if root == FACTS => {}
            Some(_) => paths.add(path),
        }
    }
    for own in OWN {
        let path: Vec<String> = own.iter().map(|part| (*part).to_owned()).collect();
        paths.add(&path);
    }
    paths
}

/// The field that holds the facts.
const FACTS: &str = "statement";

/// Every other field of a [`StatementInput`]; a test holds them together.
pub(super) const FIELDS: [&str; 15] = [
    "identity",
    "database",
    "door",
    "via",
    "name",
    "tool",
    "arguments",
    "session",
    "batch",
    "approvals",
    "bind",
    "budget",
    "labels",
    "unjudged",
    "time",
];

/// By these the gateway finds an identity's file, and tells an unjudged session.
const OWN: [&[&str]; 6] = [
    &["identity", "name"],
    &["identity", "file"],
    &["identity", "kind"],
    &["identity", "owner"],
    &["unjudged"],
    &["database"],
];

/// Longest key, in bytes: large bind values that a rulebook reads are decided on each time.
const MOST_KEY_BYTES: usize = 16 * 1024;
/// What most keys need.
const KEY_BYTES: usize = 256;
/// What most facts need.
const DOCUMENT_BYTES: usize = 1024;
