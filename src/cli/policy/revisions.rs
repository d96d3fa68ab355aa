//! Rulebooks by their revisions, as they were in force and as they would be.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde_json::Value;

use crate::policy::{Snapshot, Source};
use crate::serve::archive;

/// The rulebook of one revision, and the candidate with the same identities.
pub(super) struct Pair {
    /// `None` where the revision is not in the archive.
    pub(super) base: Option<Snapshot>,
    pub(super) candidate: Snapshot,
}

/// Looks revisions up once.
pub(super) struct Revisions {
    state: PathBuf,
    candidate: Vec<Source>,
    /// Whoever there is where a revision is not in the archive.
    agents: Value,
    known: HashMap<String, Rc<Pair>>,
}

impl Revisions {
    /// Those in the archive beside `ledger`, and the rulebook of `candidate`.
    pub(super) fn new(ledger: &Path, candidate: Vec<Source>, agents: Value) -> Self {
        let state = ledger.parent().unwrap_or(Path::new("")).to_owned();
        Self { state, candidate, agents, known: HashMap::new() }
    }

    /// The rulebook of `revision`, and the candidate with its identities.
    pub(super) fn pair(&mut self, revision: &str) -> anyhow::Result<Rc<Pair>> {
        if let Some(pair) = self.known.get(revision) {
            return Ok(Rc::clone(pair));
        }
        // One that can't be read, or not by this version, is as good as none.
        let archive = archive::load(&self.state, revision).ok();
        let (agents, stranger) = match &archive {
            Some(archive) => (archive.agents.clone(), archive.stranger.clone()),
            None => (self.agents.clone(), Value::Null),
        };
        let candidate = Snapshot::build(&self.candidate, &agents)?;
        let candidate = if stranger.is_null() { candidate } else { candidate.with_strangers(stranger) };
        let base = archive.and_then(|archive| archive.restore().ok());
        let pair = Rc::new(Pair { base, candidate });
        self.known.insert(revision.to_owned(), Rc::clone(&pair));
        Ok(pair)
    }
}
