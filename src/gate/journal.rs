//! How the gate writes the ledger: who and where once, what happened behind it.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::approval::ApprovalId;
use crate::audit::{Event, Ledger, LedgerError, Record, StatementRecord};
use crate::clock::Clock;
use crate::identity::Identity;
use crate::sql::Facts;

use super::{Context, Door, Receipt};

/// The gate's pen.
#[derive(Debug, Clone)]
pub(super) struct Journal {
    ledger: Ledger,
    clock: Arc<dyn Clock>,
}

/// Who did something, and where.
#[derive(Debug, Clone, Default)]
pub(super) struct Scene {
    session_id: String,
    identity: String,
    owner: String,
    door: String,
    client: String,
    database: String,
}

impl Scene {
    /// Somebody who has not proved anything yet.
    pub(super) fn stranger(door: Door, client: &str, database: &str) -> Self {
        Self {
            door: door.as_str().to_owned(),
            client: client.to_owned(),
            database: database.to_owned(),
            ..Self::default()
        }
    }

    /// An identity outside any session.
    pub(super) fn identity(who: &Identity, door: Door, client: &str) -> Self {
        Self {
            identity: who.name().to_owned(),
            owner: who.owner().unwrap_or_default().to_owned(),
            ..Self::stranger(door, client, "")
        }
    }

    /// An identity in its session.
    pub(super) fn session(who: &Identity, context: &Context) -> Self {
        Self {
            session_id: context.session_id().to_owned(),
            database: context.database().to_owned(),
            ..Self::identity(who, context.door(), context.client())
        }
    }

    /// The same scene, in the session called `session_id`.
    pub(super) fn in_session(mut self, session_id: &str) -> Self {
        session_id.clone_into(&mut self.session_id);
        self
    }
}

impl Journal {
    pub(super) fn new(ledger: Ledger, clock: Arc<dyn Clock>) -> Self {
        Self { ledger, clock }
    }

    /// Writes `event` and returns once it is durable.
    pub(super) async fn append(
        &self,
        scene: &Scene,
        decision_id: &str,
        event: Event,
    ) -> Result<(), LedgerError> {
        let receipt = self.ledger.append(self.record(scene, decision_id, event)).await?;
        tracing::debug!(decision_id, sequence = receipt.sequence(), "ledger.appended");
        Ok(())
    }

    /// Writes `event` without waiting: for what has happened already.
    pub(super) fn note(&self, scene: &Scene, decision_id: &str, event: Event) {
        self.ledger.note(self.record(scene, decision_id, event));
    }

    /// What is wrong with the ledger now, if anything.
    pub(super) fn failure(&self) -> Option<LedgerError> {
        self.ledger.failure()
    }

    /// Makes everything durable and lets go of the ledger.
    pub(super) async fn close(&self) -> Result<(), LedgerError> {
        self.ledger.close().await
    }

    /// The receipt of a statement that was decided as `decision_id`.
    pub(super) fn receipt(&self, scene: &Scene, decision_id: &str) -> Receipt {
        let template = self.record(scene, decision_id, Event::Gateway { what: String::new() });
        Receipt::new(self.ledger.clone(), Arc::clone(&self.clock), template)
    }

    fn record(&self, scene: &Scene, decision_id: &str, event: Event) -> Record {
        Record {
            at: self.clock.now(),
            decision_id: decision_id.to_owned(),
            session_id: scene.session_id.clone(),
            identity: scene.identity.clone(),
            owner: scene.owner.clone(),
            door: scene.door.clone(),
            client: scene.client.clone(),
            database: scene.database.clone(),
            event,
        }
    }
}

/// The record of a change in a request for approval.
pub(super) fn approval_changed(id: &ApprovalId, state: &str, by: &str, note: &str) -> Event {
    Event::ApprovalChanged {
        approval_id: id.to_string(),
        state: state.to_owned(),
        by: by.to_owned(),
        note: note.to_owned(),
    }
}

/// A statement's record before anything is decided: what came in, by which way.
pub(super) fn statement(via: &str, text: &str, parameters: &[Option<String>]) -> StatementRecord {
    StatementRecord {
        via: via.to_owned(),
        statement: text.to_owned(),
        sent: String::new(),
        parameters: parameters.to_vec(),
        facts_digest: String::new(),
        command: String::new(),
        decision: String::new(),
        rule: String::new(),
        message: String::new(),
        revision: String::new(),
        approval_id: String::new(),
        masked: Vec::new(),
        max_rows: None,
        max_bytes: None,
    }
}

/// A new decision's id: 128 random bits, lower-case hexadecimal.
pub(super) fn decision_id() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// SHA-256 over the facts document, in lower-case hexadecimal.
pub(super) fn facts_digest(facts: &Facts) -> String {
    let document = serde_json::to_vec(facts).unwrap_or_default();
    Sha256::digest(&document).iter().map(|byte| format!("{byte:02x}")).collect()
}
