//! How the gate writes the ledger: who and where once, what happened behind it.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use smol_str::SmolStr;

use crate::approval::{ApprovalId, Request};
use crate::audit::{Event, Ledger, LedgerError, Record, StatementRecord, hex};
use crate::clock::Clock;
use crate::identity::Identity;
use crate::sql::Facts;

use super::flood::{Counted, Floods, Source};
use super::{Context, Door, Receipt};

/// The gate's pen.
#[derive(Debug, Clone)]
pub(super) struct Journal {
    ledger: Ledger,
    clock: Arc<dyn Clock>,
    floods: Arc<Floods>,
}

/// Who did something, and where.
#[derive(Debug, Clone, Default)]
pub(super) struct Scene {
    session_id: SmolStr,
    identity: SmolStr,
    owner: SmolStr,
    door: SmolStr,
    client: SmolStr,
    database: SmolStr,
}

/// What nobody wants, and anybody can cause.
#[derive(Debug, Clone, Copy)]
pub(super) enum Unwelcome<'a> {
    /// A login or session that was refused.
    Refused {
        /// Who it claimed to be.
        claimed_identity: &'a str,
        /// Why.
        reason: &'a str,
    },
    /// A broken protocol.
    Malformed {
        /// How.
        context: &'a str,
    },
    /// A CancelRequest with a wrong key.
    WrongCancel,
}

impl Scene {
    /// Somebody who has not proved anything yet.
    pub(super) fn stranger(door: Door, client: &str, database: &str) -> Self {
        Self {
            door: SmolStr::new_static(door.as_str()),
            client: client.into(),
            database: database.into(),
            ..Self::default()
        }
    }

    /// An identity outside any session.
    pub(super) fn identity(who: &Identity, door: Door, client: &str) -> Self {
        Self {
            identity: who.name().into(),
            owner: who.owner().unwrap_or_default().into(),
            ..Self::stranger(door, client, "")
        }
    }

    /// An identity in its session.
    pub(super) fn session(who: &Identity, context: &Context) -> Self {
        Self {
            identity: who.name().into(),
            owner: who.owner().unwrap_or_default().into(),
            ..context.scene.clone()
        }
    }

    /// Whether it is `who` that did it.
    pub(super) fn is_of(&self, who: &Identity) -> bool {
        self.identity == who.name()
    }

    /// The same scene, with whoever it is calling from `client`.
    pub(super) fn calling_from(self, client: &str) -> Self {
        Self { client: client.into(), ..self }
    }

    /// The same scene, in the session called `session_id`.
    pub(super) fn in_session(self, session_id: &str) -> Self {
        Self { session_id: session_id.into(), ..self }
    }

    /// The same scene, at `database`.
    pub(super) fn at(self, database: &str) -> Self {
        Self { database: database.into(), ..self }
    }
}

impl Scene {
    /// Somebody called `identity` at `database`, of whom nothing else is known here.
    pub(super) fn of(identity: &str, database: &str) -> Self {
        Self { identity: identity.into(), database: database.into(), ..Self::default() }
    }
}

impl Journal {
    pub(super) fn new(ledger: Ledger, clock: Arc<dyn Clock>) -> Self {
        Self { ledger, clock, floods: Arc::default() }
    }

    /// Writes `event` and returns once it is durable.
    pub(super) async fn append(
        &self,
        scene: &Scene,
        decision_id: &SmolStr,
        event: Event,
    ) -> Result<(), LedgerError> {
        let receipt = self.ledger.append(self.record(scene, decision_id, event)).await?;
        tracing::debug!(%decision_id, sequence = receipt.sequence(), "ledger.appended");
        Ok(())
    }

    /// Writes `event` without waiting: for what has happened already.
    pub(super) fn note(&self, scene: &Scene, decision_id: &SmolStr, event: Event) {
        self.ledger.note(self.record(scene, decision_id, event));
    }

    /// Writes what nobody wants and anybody can cause, without waiting; counts it where one address causes much.
    pub(super) fn note_unwelcome(&self, scene: &Scene, what: Unwelcome<'_>) {
        let source = Source::new(&scene.door, &scene.client);
        if self.floods.admits(source, self.clock.now(), || what.words()) {
            self.note(scene, &NONE, what.to_event());
        }
    }

    /// Writes what was counted in minutes that are over.
    pub(super) fn settle_floods(&self) {
        self.note_floods(self.floods.over(self.clock.now()));
    }

    fn note_floods(&self, all: Vec<Counted>) {
        for Counted { source, count, since, last } in all {
            let scene = Scene { door: source.door.into(), client: source.address.into(), ..Scene::default() };
            self.note(&scene, &NONE, Event::Flood { count, since, last });
        }
    }

    /// What is wrong with the ledger now, if anything.
    pub(super) fn failure(&self) -> Option<LedgerError> {
        self.ledger.failure()
    }

    /// Makes everything durable and lets go of the ledger.
    pub(super) async fn close(&self) -> Result<(), LedgerError> {
        self.note_floods(self.floods.all());
        self.ledger.close().await
    }

    /// The receipt of a statement that was decided as `decision_id`.
    pub(super) fn receipt(&self, scene: &Scene, decision_id: &SmolStr) -> Receipt {
        let template = self.record(scene, decision_id, Event::Gateway { what: String::new() });
        Receipt::new(self.ledger.clone(), Arc::clone(&self.clock), template)
    }

    fn record(&self, scene: &Scene, decision_id: &SmolStr, event: Event) -> Record {
        Record {
            at: self.clock.now(),
            decision_id: decision_id.clone(),
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
        progress: String::new(),
    }
}

/// The record of one vote, and of where it leaves `request`.
pub(super) fn voted(request: &Request, by: &str, note: &str) -> Event {
    Event::ApprovalChanged {
        approval_id: request.id.to_string(),
        state: request.state.as_str().to_owned(),
        by: by.to_owned(),
        note: note.to_owned(),
        progress: if request.is_plain() { String::new() } else { request.standing() },
    }
}

impl Unwelcome<'_> {
    fn to_event(self) -> Event {
        match self {
            Self::Refused { claimed_identity, reason } => {
                Event::Refused { claimed_identity: cut(claimed_identity), reason: cut(reason) }
            }
            Self::Malformed { context } => Event::Malformed { context: cut(context) },
            Self::WrongCancel => Event::Cancel { accepted: false },
        }
    }

    fn words(self) -> String {
        match self {
            Self::Refused { reason: words, .. } | Self::Malformed { context: words } => cut(words),
            Self::WrongCancel => "a cancel with a wrong key".to_owned(),
        }
    }
}

/// A stranger's words: the length is theirs to choose, how much of them is kept is not.
fn cut(text: &str) -> String {
    match text.char_indices().nth(LONGEST_WORDS) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
    }
}

/// A statement's record before anything is decided: what came in, by which way.
pub(super) fn statement(
    via: &'static str,
    statement: String,
    parameters: Vec<Option<String>>,
) -> StatementRecord {
    StatementRecord {
        via: SmolStr::new_static(via),
        statement,
        sent: String::new(),
        parameters,
        facts_digest: SmolStr::default(),
        command: SmolStr::default(),
        decision: SmolStr::default(),
        rule: SmolStr::default(),
        message: String::new(),
        revision: SmolStr::default(),
        approval_id: SmolStr::default(),
        masked: [].into(),
        released: [].into(),
        detect: Vec::new(),
        row_filters: [].into(),
        max_rows: None,
        max_bytes: None,
        max_time_ms: None,
        labels: Vec::new(),
        place: SmolStr::default(),
        input: None,
    }
}

/// A new decision's id: 128 random bits, lower-case hexadecimal.
pub(super) fn decision_id() -> SmolStr {
    hex(&rand::random::<u128>().to_be_bytes()).into()
}

/// SHA-256 over the facts document, in lower-case hexadecimal.
pub(super) fn facts_digest(facts: &Facts) -> SmolStr {
    let document = serde_json::to_vec(facts).unwrap_or_default();
    hex(&Sha256::digest(&document)).into()
}

/// The id where no decision was made.
pub(super) const NONE: SmolStr = SmolStr::new_static("");

/// Characters of a stranger's words.
const LONGEST_WORDS: usize = 300;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::audit::Memory;
    use crate::clock::ManualClock;

    #[test]
    fn a_flood_of_refused_logins_costs_one_more_record_a_minute() {
        let (disk, clock) =
            (Memory::default(), Arc::new(ManualClock::starting_at(jiff::Timestamp::UNIX_EPOCH)));
        let journal = Journal::new(Ledger::inline(disk.clone()), Arc::<ManualClock>::clone(&clock));
        let records = || disk.text().lines().count();
        for minute in 1..=3 {
            for port in 0..10_000 {
                let scene = Scene::stranger(Door::Wire, &format!("192.0.2.1:{port}"), "shop");
                let what = Unwelcome::Refused { claimed_identity: "root", reason: "wrong password" };
                journal.note_unwelcome(&scene, what);
            }
            journal.settle_floods();
            assert_eq!(records(), minute * 61 - 1, "the minute is not over");
            clock.advance(Duration::from_secs(60));
            journal.settle_floods();
            assert_eq!(records(), minute * 61);
        }
        let text = disk.text();
        let summary = text.lines().last().unwrap();
        for part in ["\"flood\"", "9940", "192.0.2.1\"", "wrong password", "1970-01-01T00:02:00Z"] {
            assert!(summary.contains(part), "{part} in {summary}");
        }
    }
}
