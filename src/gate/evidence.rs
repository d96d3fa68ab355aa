//! What a decision was made on, kept so that it can be made again: the ledger holds each document once, by its digest.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::json;
use sha2::{Digest as _, Sha256};
use smol_str::SmolStr;

use crate::audit::{Event, Evidenced, hex};
use crate::policy::StatementInput;
use crate::sql::Facts;

use super::Gate;
use super::decide::{Asked, Known};
use super::journal::{NONE, Scene};

/// What a decision was made on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Evidence {
    facts: Arc<Facts>,
    facts_digest: SmolStr,
    pub(super) kept: Evidenced,
}

/// The digests of documents that this process has put into the ledger.
#[derive(Debug, Default)]
pub(super) struct Documents(Mutex<HashSet<SmolStr>>);

impl Documents {
    /// Whether `digest` is new. In doubt it is: a document may be there twice.
    fn is_new(&self, digest: &SmolStr) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.contains(digest) {
            return false;
        }
        if known.len() >= MOST_DOCUMENTS {
            known.clear();
        }
        known.insert(digest.clone())
    }
}

impl Evidence {
    /// The digest of the facts, for their record.
    pub(super) fn facts_digest(&self) -> SmolStr {
        self.facts_digest.clone()
    }

    /// The facts.
    pub(super) fn facts(&self) -> &Facts {
        &self.facts
    }
}

impl Gate {
    /// What `asked` was decided on.
    pub(super) fn evidence(
        &self,
        asked: &Asked<'_>,
        input: &StatementInput<'_>,
        known: &Known,
        is_redacted: bool,
    ) -> Evidence {
        let session = match asked.case.decision_id.is_empty() {
            true => SmolStr::default(),
            false => self.session_digest(asked, input),
        };
        let rest = known.document(input, is_redacted);
        Evidence {
            facts: Arc::clone(&asked.item.facts),
            facts_digest: asked.notes.ledger_digest(),
            kept: Evidenced { judged_at: known.time.unix, session, rest },
        }
    }

    /// Puts the facts into the ledger, if they are not there: before the record that names them.
    pub(super) fn keep_facts(&self, evidence: &Evidence) {
        if self.documents.is_new(&evidence.facts_digest) {
            let document = serde_json::to_value(evidence.facts()).unwrap_or_default();
            let event = Event::Document { digest: evidence.facts_digest(), document };
            self.journal.note(&Scene::default(), &NONE, event);
        }
    }

    /// The digest of what stays the same for a whole session, while the rules do.
    fn session_digest(&self, asked: &Asked<'_>, input: &StatementInput<'_>) -> SmolStr {
        let revision = asked.rules.policy.revision();
        let shown = &asked.case.context.shown;
        let known = shown.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((_, digest)) = known.filter(|(of, _)| of == revision) {
            return digest;
        }
        let document = json!({
            "identity": input.identity,
            "database": input.database,
            "door": input.door,
            "session": input.session,
            "unjudged": input.unjudged,
        });
        let digest: SmolStr = hex(&Sha256::digest(document.to_string())).into();
        if self.documents.is_new(&digest) {
            let event = Event::Document { digest: digest.clone(), document };
            self.journal.note(&Scene::default(), &NONE, event);
        }
        *shown.lock().unwrap_or_else(PoisonError::into_inner) = Some((revision.into(), digest.clone()));
        digest
    }
}

/// Digests that are remembered.
const MOST_DOCUMENTS: usize = 100_000;
