//! `approval_status` and `run_approved`: what became of a request, and running what was approved. A request is
//! shown to the identity that made it and to nobody else: one of somebody else's is an unknown one.

use std::time::Duration;

use rmcp::model::JsonObject;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::approval::{ApprovalId, Request, State};
use crate::gate::{Door, RunMode};
use crate::identity::Identity;

use super::super::envelope::{self, Envelope, Refusal, Status};
use super::super::rooms::{Claim, Rooms};
use super::super::run::{self, Job};
use super::super::schema::{Words, extend, plain};
use super::super::waiting::{Waiting, attend};
use super::execute::{MAX_WAIT_S, pending_fields};
use super::{Call, execute, query, read, statement, within};

pub(in super::super) const STATUS_NAME: &str = "approval_status";
pub(in super::super) const RUN_NAME: &str = "run_approved";

pub(in super::super) const STATUS: Words = Words {
    name: STATUS_NAME,
    title: "State of an approval",
    description: "Says where a request for approval stands, waiting up to `wait_s` seconds for a decision. Runs \
                  nothing.",
};

pub(in super::super) const RUN: Words = Words {
    name: RUN_NAME,
    title: "Run what was approved",
    description: "Runs an approved statement, once, exactly as it was approved. Called again it returns the same \
                  outcome without running it again.",
};

/// What `approval_status` takes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct StatusArguments {
    /// The request; without it your own are listed.
    #[serde(default)]
    approval_id: String,
    /// Seconds to wait for a decision.
    #[serde(default)]
    #[schemars(range(min = 0, max = 45))]
    wait_s: u64,
}

/// What `run_approved` takes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct RunArguments {
    /// The request.
    approval_id: String,
}

/// What `approval_status` answers with.
pub(in super::super) fn status_fields() -> Value {
    let mut fields = pending_fields();
    extend(&mut fields, plain("array: approvals"));
    fields
}

/// What `run_approved` answers with: what the tool does that was asked first.
pub(in super::super) fn run_fields() -> Value {
    let mut fields = execute::fields();
    extend(&mut fields, query::rows_fields());
    fields
}

/// Says where requests stand.
pub(super) async fn status(arguments: JsonObject, call: Call) -> Result<Envelope, Refusal> {
    let arguments: StatusArguments = read(arguments)?;
    let wait = Duration::from_secs(within("wait_s", arguments.wait_s, 0, MAX_WAIT_S)?);
    if arguments.approval_id.is_empty() {
        return list(&call.rooms, &call.caller.identity);
    }
    let request = own(&call.rooms, &call.caller.identity, &arguments.approval_id)?;
    if request.state != State::Pending || wait.is_zero() {
        return Ok(standing(&call.rooms, &request));
    }
    let Call { rooms, context, seat, .. } = call;
    let holds = Waiting::new(std::sync::Arc::clone(&rooms), wait).holds();
    let task = tokio::spawn(async move {
        let waited = rooms.gate.desk().wait(&request.id, Some(wait)).await;
        drop(seat);
        match waited.and_then(|_| rooms.gate.desk().request(&request.id)) {
            Ok(request) => standing(&rooms, &request),
            Err(error) => Envelope::error(&desk_failed(&error)),
        }
    });
    Ok(attend(&context, holds, task).await)
}

/// Runs what was approved.
pub(super) async fn run_approved(arguments: JsonObject, call: Call) -> Result<Envelope, Refusal> {
    let arguments: RunArguments = read(arguments)?;
    let request = own(&call.rooms, &call.caller.identity, &arguments.approval_id)?;
    if request.door != Door::Mcp.as_str() {
        let message = "the request was not made by a tool";
        return Err(Refusal::new("other_door", message, "it resumes where it was made"));
    }
    let claim = call.rooms.claim_alone(&request.id);
    // Read again: without the claim, another call may have used it in between, and this one would ask anew.
    let request = own(&call.rooms, &call.caller.identity, &arguments.approval_id)?;
    match (request.state, claim) {
        (State::Pending, _) => Ok(Envelope::waiting(&request, &call.rooms.gate.review_url(&request.id))),
        (State::Denied | State::Expired | State::Withdrawn, _) => Ok(run::not_approved(&request)),
        (State::Approved, None) => Ok(Envelope::running(request.id.as_str())),
        (State::Approved, claim) => {
            let job = job(&request, claim, &call)?;
            Ok(call.run(job, run::NO_WAIT).await)
        }
        (State::Spent, claim) => {
            drop(claim);
            Ok(run::spent(&call.rooms, &request).await)
        }
    }
}

/// The job as it was first asked for. `execute` always has a purpose and `query` never has one.
fn job(request: &Request, claim: Option<Claim>, call: &Call) -> Result<Job, Refusal> {
    let (tool, mode) = if request.purpose.is_empty() {
        (query::NAME, RunMode::Read { max_rows: query::default_rows() })
    } else {
        (execute::NAME, RunMode::Write { max_affected: request.call.max_affected })
    };
    // A key whose run is over stands for that one.
    let who = call.caller.identity.name();
    let key = Some(request.call.key.clone()).filter(|key| !key.is_empty());
    let is_free = |key: &String| call.rooms.gate.once().by_key(who, key).is_ok_and(|kept| kept.is_none());
    let key = key.filter(is_free).and_then(|key| Some((call.rooms.claim_key(who, &key)?, key)));
    let (key_claim, key) = key.map_or((None, String::new()), |(claim, key)| (Some(claim), key));
    Ok(Job {
        caller: call.caller.clone(),
        database: request.database.clone(),
        sql: statement(&request.statement)?,
        parameters: request.call.lists(&request.parameters),
        tool,
        purpose: request.purpose.clone(),
        mode,
        max_bytes: query::default_bytes(),
        claim,
        key,
        key_claim,
        gone: call.context.ct.clone(),
    })
}

fn list(rooms: &Rooms, who: &Identity) -> Result<Envelope, Refusal> {
    let requests = rooms.gate.desk().requests(run::RECENT).map_err(|error| desk_failed(&error))?;
    let own = requests.iter().filter(|request| request.requester == who.name());
    let approvals: Vec<Value> = own.take(LISTED).map(envelope::approval).collect();
    Ok(Envelope::new(Status::Ok, "").with("approvals", json!(approvals)))
}

pub(in super::super) fn own(rooms: &Rooms, who: &Identity, id: &str) -> Result<Request, Refusal> {
    let request = ApprovalId::parse(id).and_then(|id| rooms.gate.desk().request(&id).ok());
    request.filter(|request| request.requester == who.name()).ok_or_else(|| {
        let message = "you have no such approval request";
        Refusal::new("unknown_approval", message, "`approval_status` without arguments lists yours")
    })
}

fn standing(rooms: &Rooms, request: &Request) -> Envelope {
    let run = json!({"tool": RUN_NAME, "args": {"approval_id": request.id}});
    match request.state {
        State::Pending => Envelope::waiting(request, &rooms.gate.review_url(&request.id)),
        State::Denied | State::Expired | State::Withdrawn => Envelope::new(Status::Ok, ""),
        State::Approved | State::Spent => Envelope::new(Status::Ok, "").with("next", run),
    }
    .with("approval", envelope::approval(request))
    .with("guidance", envelope::state_sentence(request))
}

fn desk_failed(error: &crate::approval::DeskError) -> Refusal {
    tracing::error!(error = %error, "mcp.desk_failed");
    Refusal::new("unavailable", "the gateway's approval desk does not answer", "try again later")
}

const LISTED: usize = 20;
