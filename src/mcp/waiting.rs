//! The wait for a statement: how the gate tells that it is held, and how the client is kept in the picture.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rmcp::RoleServer;
use rmcp::model::ProgressNotificationParam;
use rmcp::service::RequestContext;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::approval::ApprovalId;
use crate::gate::{Hold, Patience, Tell};

use super::envelope::{Envelope, Refusal};
use super::rooms::{Claim, Rooms};

/// One call's patience, and the request for approval that it waits for or will use.
#[derive(Debug)]
pub(super) struct Waiting {
    rooms: Arc<Rooms>,
    patience: Duration,
    held: watch::Sender<Option<Hold>>,
    claim: Mutex<Option<(ApprovalId, Claim)>>,
}

impl Waiting {
    /// Waits at most `patience`.
    pub(super) fn new(rooms: Arc<Rooms>, patience: Duration) -> Self {
        Self { rooms, patience, held: watch::Sender::new(None), claim: Mutex::default() }
    }

    /// The same, which tells by `held` when the gate holds the statement.
    pub(super) fn telling(self, held: watch::Sender<Option<Hold>>) -> Self {
        Self { held, ..self }
    }

    /// Changes to `Some` when the gate holds the statement.
    pub(super) fn holds(&self) -> watch::Receiver<Option<Hold>> {
        self.held.subscribe()
    }

    /// Notes that the call may use the approval `id`.
    pub(super) fn expect(&self, id: &ApprovalId) {
        let claim = self.rooms.claim(id);
        *self.claim.lock().unwrap_or_else(PoisonError::into_inner) = Some((id.clone(), claim));
    }

    /// The approval that the call may have used.
    pub(super) fn approval(&self) -> Option<ApprovalId> {
        let claim = self.claim.lock().unwrap_or_else(PoisonError::into_inner);
        claim.as_ref().map(|(id, _)| id.clone())
    }

    /// Gives up the claim, and returns its approval.
    pub(super) fn release(&self) -> Option<ApprovalId> {
        self.claim.lock().unwrap_or_else(PoisonError::into_inner).take().map(|(id, _)| id)
    }
}

impl Tell for Waiting {
    fn held(&self, hold: &Hold) {
        self.expect(&hold.approval_id);
        self.held.send_replace(Some(hold.clone()));
    }

    fn found(&self, approval_id: &ApprovalId) {
        self.expect(approval_id);
    }

    fn patience(&self) -> Patience {
        Patience::AtMost(self.patience)
    }
}

/// Waits for a detached task, and sends progress at once, when it is held, and every few seconds: clients give up
/// on a silent call after a minute. If the client goes away first, the task goes on and its outcome is kept.
pub(super) async fn attend(
    context: &RequestContext<RoleServer>,
    mut holds: watch::Receiver<Option<Hold>>,
    mut task: JoinHandle<Envelope>,
) -> Envelope {
    let mut ticks = tokio::time::interval(PROGRESS_EVERY);
    let mut step = 0.0;
    let mut telling = true;
    loop {
        tokio::select! {
            biased;
            done = &mut task => return done.unwrap_or_else(|error| broken(&error)),
            () = context.ct.cancelled() => return gone(),
            changed = holds.changed(), if telling => telling = changed.is_ok(),
            _ = ticks.tick() => {}
        }
        step += 1.0;
        let message = holds.borrow().as_ref().map_or_else(|| "working".to_owned(), held_message);
        progress(context, step, message).await;
    }
}

async fn progress(context: &RequestContext<RoleServer>, step: f64, message: String) {
    let Some(token) = context.meta.get_progress_token() else { return };
    let param = ProgressNotificationParam::new(token, step).with_message(message);
    if let Err(error) = context.peer.notify_progress(param).await {
        tracing::debug!(error = %error, "mcp.progress_not_sent");
    }
}

fn held_message(hold: &Hold) -> String {
    let place = if hold.url.is_empty() { String::new() } else { format!(" at {}", hold.url) };
    format!("held for approval {}{place}", hold.approval_id)
}

fn broken(error: &tokio::task::JoinError) -> Envelope {
    tracing::error!(error = %error, "mcp.call_failed");
    Envelope::error(&Refusal::new(
        "internal",
        "the gateway failed while it worked on this call; whether the statement ran is unknown",
        "look before you repeat it",
    ))
}

/// The answer to a client that is no longer there.
pub(super) fn gone() -> Envelope {
    Envelope::error(&Refusal::new("cancelled", "the client cancelled the call", ""))
}

const PROGRESS_EVERY: Duration = Duration::from_secs(5);
