//! The link to where a held statement is reviewed, shown to the person at the client by URL elicitation. It only shows.
//! Clients answer such questions by themselves, so an answer, whatever it says, is not even looked at: approvals are made
//! at the desk, by people who have proved there who they are.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rmcp::RoleServer;
use rmcp::model::{
    CallToolRequestParams, ElicitRequest, ElicitRequestParams, ErrorData, InputRequest, InputRequests,
    InputRequiredResult, JsonObject, ServerRequest,
};
use rmcp::service::{PeerRequestOptions, RequestContext};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::approval::{ApprovalId, State};
use crate::gate::Hold;

use super::caller::Caller;
use super::envelope::Envelope;
use super::rooms::Rooms;
use super::seal::Bound;
use super::tools::{self, Call, approvals};
use super::waiting::{Waiting, attend};

/// Which clients are asked to show the link, of those that say they can.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReviewLinks {
    /// None.
    Off,
    /// Those that can be asked beside a call, so that the call never waits for an answer: of the eras before 2026-07-28.
    #[default]
    Beside,
    /// Also those whose call must first be answered by the question, and asked again: since 2026-07-28. A client that shows
    /// nobody the link and answers nothing keeps its own model waiting then.
    Always,
}

/// The requests whose link was shown lately, oldest first.
#[derive(Debug, Default)]
pub(super) struct Shown(Mutex<VecDeque<ApprovalId>>);

impl Shown {
    /// Notes that the link to `id` is shown; false if it was before.
    pub(super) fn note(&self, id: &ApprovalId) -> bool {
        let mut shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if shown.contains(id) {
            return false;
        }
        if shown.len() >= REMEMBERED {
            shown.pop_front();
        }
        shown.push_back(id.clone());
        true
    }
}

/// What a question is about: one call of a tool.
pub(super) fn about(tool: &str, arguments: &JsonObject) -> String {
    json!([tool, arguments]).to_string()
}

/// The question instead of an answer. Who asks the same call again with what is in it goes on waiting for that request.
pub(super) fn question(rooms: &Rooms, who: &str, about: &str, hold: &Hold) -> InputRequiredResult {
    let state = rooms.seal.close(Bound { who, purpose: PURPOSE, about }, hold.approval_id.as_str());
    let asked = InputRequest::Elicitation(ElicitRequest::new(link(hold)));
    InputRequiredResult::new(Some(InputRequests::from([("review".to_owned(), asked)])), Some(state))
}

/// The request whose link this call has shown already; `None` for a call that is new.
pub(super) fn resumed(
    rooms: &Rooms,
    caller: &Caller,
    request: &CallToolRequestParams,
) -> Result<Option<ApprovalId>, ErrorData> {
    let Some(state) = &request.request_state else { return Ok(None) };
    let about = about(&request.name, request.arguments.as_ref().unwrap_or(&JsonObject::new()));
    let bound = Bound { who: caller.identity.name(), purpose: PURPOSE, about: &about };
    let id = rooms.seal.open(bound, state).as_deref().and_then(ApprovalId::parse);
    id.map(Some).ok_or_else(|| {
        ErrorData::invalid_params("`requestState` is not of this call, or too old: call without it", None)
    })
}

/// Waits for the decision on a request whose link was shown, and runs what was approved.
pub(super) async fn resume(id: ApprovalId, arguments: &JsonObject, call: Call) -> Envelope {
    let wait_s = arguments.get("wait_s").and_then(Value::as_u64).unwrap_or(WAIT_S);
    let wait = Duration::from_secs(wait_s.min(tools::execute::MAX_WAIT_S));
    let holds = Waiting::new(Arc::clone(&call.rooms), wait).holds();
    let (rooms, waited_for) = (Arc::clone(&call.rooms), id.clone());
    let waiting = tokio::spawn(async move {
        if timeout(wait, settled(&rooms, &waited_for)).await.is_err() {
            tracing::debug!(approval_id = %waited_for, "mcp.not_settled");
        }
        Envelope::running(waited_for.as_str())
    });
    drop(attend(&call.context, holds, waiting).await);
    let mut run = JsonObject::new();
    run.insert("approval_id".to_owned(), json!(id));
    tools::call(approvals::RUN_NAME, run, call).await
}

/// Waits until the request is decided, and nobody is about to use it.
async fn settled(rooms: &Rooms, id: &ApprovalId) {
    let mut changes = rooms.gate.desk().changes();
    loop {
        changes.borrow_and_update();
        let Ok(request) = rooms.gate.desk().request(id) else { return };
        let is_open = match request.state {
            State::Pending => true,
            State::Approved => rooms.is_claimed(id),
            State::Spent => request.outcome.is_null() && rooms.is_claimed(id),
            State::Denied | State::Expired | State::Withdrawn => false,
        };
        if !is_open {
            return;
        }
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            // A lapse, or the end of a claim, is no change of the desk's.
            () = sleep(LOOK_EVERY) => {}
        }
    }
}

/// Asks a client to show the link while its call goes on, until it answers, whatever that is.
pub(super) async fn show_beside(context: &RequestContext<RoleServer>, hold: &Hold) {
    let question = ServerRequest::ElicitRequest(ElicitRequest::new(link(hold)));
    let asked = context.peer.send_cancellable_request(question, PeerRequestOptions::no_options()).await;
    let answered = match asked {
        Ok(handle) => handle.await_response().await,
        Err(error) => Err(error),
    };
    if let Err(error) = answered {
        tracing::debug!(%error, "mcp.link_not_shown");
    }
}

/// Whether there is a link that a person can open.
pub(super) fn has_link(hold: &Hold) -> bool {
    hold.url.starts_with("http://") || hold.url.starts_with("https://")
}

fn link(hold: &Hold) -> ElicitRequestParams {
    let message = "A statement waits for approval, by somebody who may give it and signs in there. Answering here \
                   approves nothing.";
    ElicitRequestParams::UrlElicitationParams {
        meta: None,
        message: message.to_owned(),
        url: hold.url.clone(),
        elicitation_id: hold.approval_id.to_string(),
    }
}

const PURPOSE: &str = "link";
const LOOK_EVERY: Duration = Duration::from_millis(250);
const REMEMBERED: usize = 1024;
/// As `execute` waits without a wish.
const WAIT_S: u64 = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_shown_once_and_the_oldest_are_forgotten() {
        let shown = Shown::default();
        let first = ApprovalId::random();
        assert!(shown.note(&first));
        assert!(!shown.note(&first));
        for _ in 0..REMEMBERED {
            assert!(shown.note(&ApprovalId::random()));
        }
        assert_eq!(shown.0.lock().unwrap().len(), REMEMBERED);
        assert!(shown.note(&first));
    }
}
