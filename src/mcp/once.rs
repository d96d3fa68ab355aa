//! At most once: a write that spends an approval or brings a key is on record before its COMMIT, and whoever asks again
//! gets what became of it, from the record or from the database, and never a second run.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::approval::{ApprovalId, Request};
use crate::runs::{Kept, NewRun, RunId, Runs};
use crate::store::StoreError;
use crate::upstream::{Fate, Witness};

use super::envelope::{Envelope, Refusal, Status};
use super::rooms::{KeyClaim, Rooms};
use super::run::Job;

/// A run on record, from before it is sent to what became of it.
#[derive(Debug)]
pub(super) struct Ticket {
    runs: Runs,
    id: RunId,
    /// 0, which is no transaction's id, until COMMIT is about to be sent.
    transaction: AtomicU64,
}

/// What a key leads to.
#[derive(Debug)]
pub(super) enum Found {
    /// Nothing that is left: the caller may run what it brought.
    Free(KeyClaim),
    /// An answer, without running anything.
    Answer(Box<Envelope>),
}

/// The run that `key` of `who` stands for, if there was one. `digest` is of what it should stand for now.
pub(super) async fn find(rooms: &Arc<Rooms>, who: &str, key: &str, digest: &str) -> Found {
    let Some(claim) = rooms.claim_key(who, key) else {
        let again = "Another call with this key is running. Call again with the same key for its outcome.";
        return answer(Envelope::new(Status::Running, "").with("poll_after_s", 2).with("guidance", again));
    };
    let kept = match rooms.gate.once().by_key(who, key) {
        Ok(Some(kept)) => kept,
        Ok(None) => return Found::Free(claim),
        Err(error) => return answer(store_failed(&error)),
    };
    if kept.digest != digest {
        let message = "this `idempotency_key` stands for another statement that you ran";
        return answer(Envelope::error(&Refusal::new("idempotency_conflict", message, "use a new key")));
    }
    match became(rooms, &kept).await {
        Became::Known(envelope) => answer(*envelope),
        Became::Nothing => match rooms.gate.once().forget(&kept.id) {
            Ok(()) => Found::Free(claim),
            Err(error) => answer(store_failed(&error)),
        },
    }
}

/// What became of the statement of `request`, whose approval is spent and whose outcome was not kept.
pub(super) async fn of_spent(rooms: &Arc<Rooms>, request: &Request) -> Envelope {
    let kept = match rooms.gate.once().by_approval(request.id.as_str()) {
        Ok(kept) => kept,
        Err(error) => return store_failed(&error),
    };
    let envelope = match kept {
        // From before runs were on record.
        None if request.call.tool.is_empty() => unknown(),
        None => nothing_ran(),
        Some(kept) => match became(rooms, &kept).await {
            Became::Known(envelope) => *envelope,
            Became::Nothing => nothing_ran(),
        },
    };
    if envelope.is_final()
        && let Err(error) = rooms.gate.desk().record_outcome(&request.id, &envelope.to_keep())
    {
        tracing::error!(approval_id = %request.id, error = %error, "mcp.outcome_not_kept");
    }
    envelope.with("approval_id", request.id.as_str())
}

/// Puts on record that `job` is about to run; `None` where it spends no approval and brings no key.
pub(super) fn begin(
    rooms: &Rooms,
    job: &Job,
    database: &str,
    approval: Option<&ApprovalId>,
) -> Result<Option<Ticket>, Box<Envelope>> {
    let approval = approval.map_or("", ApprovalId::as_str);
    if approval.is_empty() && job.key.is_empty() {
        return Ok(None);
    }
    let digest = digest(job, database);
    let new =
        NewRun { principal: job.caller.identity.name(), key: &job.key, approval, database, digest: &digest };
    let runs = rooms.gate.once().clone();
    match runs.begin(&new) {
        Ok(id) => Ok(Some(Ticket { runs, id, transaction: AtomicU64::new(0) })),
        Err(error) => Err(Box::new(store_failed(&error))),
    }
}

/// What a key stands for: where, what, with which values and under which ceiling.
pub(super) fn digest(job: &Job, database: &str) -> String {
    let call = json!([database, job.sql.as_str(), job.parameters, job.ceiling()]);
    let digest = Sha256::digest(call.to_string().as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Ticket {
    /// Keeps what became of the run; where that is not known, the database is asked.
    pub(super) async fn end(self, rooms: &Rooms, envelope: Envelope) -> Envelope {
        let envelope = match self.transaction.load(Ordering::Acquire) {
            transaction @ 1.. if envelope.is_unknown() => looked_up(rooms, transaction, envelope).await,
            _ => envelope,
        };
        let kept = match envelope.status() {
            Status::Ok => self.runs.settle(&self.id, &envelope.to_keep()),
            // Whoever asks again asks the database.
            Status::Error if envelope.is_unknown() => Ok(()),
            Status::Error
            | Status::Denied
            | Status::NeedsApproval
            | Status::PendingApproval
            | Status::Running => self.runs.forget(&self.id),
        };
        if let Err(error) = kept {
            tracing::error!(error = %error, "mcp.outcome_not_kept");
        }
        envelope
    }
}

impl Witness for Ticket {
    fn note(&self, transaction: u64) -> Result<(), StoreError> {
        self.runs.note(&self.id, transaction)?;
        self.transaction.store(transaction, Ordering::Release);
        Ok(())
    }
}

/// What is known of a run that nobody is running any more.
enum Became {
    /// The answer to whoever asks.
    Known(Box<Envelope>),
    /// Nothing of it is left in the database.
    Nothing,
}

async fn became(rooms: &Arc<Rooms>, kept: &Kept) -> Became {
    if let Some(envelope) = kept.outcome.as_ref().and_then(Envelope::kept) {
        return Became::Known(Box::new(envelope));
    }
    let Some(transaction) = kept.transaction else { return Became::Nothing };
    let envelope = match rooms.fate(&kept.database, transaction).await {
        Ok(Fate::RolledBack) => return Became::Nothing,
        Ok(Fate::Committed) => {
            let envelope = committed(&kept.database);
            if let Err(error) = rooms.gate.once().settle(&kept.id, &envelope.to_keep()) {
                tracing::error!(error = %error, "mcp.outcome_not_kept");
            }
            envelope
        }
        Ok(Fate::InProgress) => {
            let again = "Its transaction is still open in the database. Call again in a moment.";
            Envelope::new(Status::Running, "").with("poll_after_s", 5).with("guidance", again)
        }
        Ok(Fate::Unknown) => unknown(),
        Err(error) => {
            tracing::warn!(error = %error, "mcp.fate_unknown");
            let message = "whether it was committed is not known yet: the database can't be asked now";
            Envelope::error(&Refusal::new(UNKNOWN, message, "call again later with the same arguments"))
        }
    };
    Became::Known(Box::new(envelope))
}

/// `envelope`, or what the database knows better.
async fn looked_up(rooms: &Rooms, transaction: u64, envelope: Envelope) -> Envelope {
    let Some(database) = envelope.text("database") else { return envelope };
    match rooms.fate(database, transaction).await {
        Ok(Fate::Committed) => committed(database),
        Ok(Fate::RolledBack) => {
            let message = "the connection to the database broke, and the transaction was rolled back: nothing was changed";
            Envelope::error(&Refusal::new("connection_broken", message, "try again"))
        }
        Ok(Fate::InProgress | Fate::Unknown) | Err(_) => envelope,
    }
}

fn committed(database: &str) -> Envelope {
    let told = "It was committed. The connection broke before its answer came, so how many rows it changed is not known.";
    Envelope::new(Status::Ok, "").with("database", database).with("guidance", told)
}

fn nothing_ran() -> Envelope {
    let message = "the approval was used, but the statement was not committed: nothing was changed";
    Envelope::error(&Refusal::new("not_committed", message, "submit it again; it needs a new approval"))
}

fn unknown() -> Envelope {
    let message = "the gateway stopped before the outcome was kept, and the database no longer knows: \
                   whether it was committed is unknown";
    Envelope::error(&Refusal::new(UNKNOWN, message, "look at the data before you ask again"))
}

fn store_failed(error: &StoreError) -> Envelope {
    tracing::error!(error = %error, "mcp.runs_failed");
    let message = "the gateway's record of what has run can't be used; nothing ran";
    Envelope::error(&Refusal::new("unavailable", message, "try again later"))
}

fn answer(envelope: Envelope) -> Found {
    Found::Answer(Box::new(envelope))
}

/// The code of an answer that does not know whether anything was changed.
pub(super) const UNKNOWN: &str = "outcome_unknown";
