//! Tasks (extension `io.modelcontextprotocol/tasks`): a held statement that a client polls. A task is a request at the
//! approval desk seen through the protocol, so it outlives the process, and belongs to who made the request. It runs when
//! its client asks for it and it is approved: under the token of that very question, once, as by `run_approved`.

use std::sync::Arc;
use std::time::Duration;

use rmcp::RoleServer;
use rmcp::model::{
    CreateTaskResult, DetailedTask, ErrorData, GetTaskResult, JsonObject, Task, TaskPayload, TaskStatus,
};
use rmcp::service::RequestContext;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::approval::{ApprovalId, Request, State};
use crate::gate::Door;

use super::caller::{Caller, lacking};
use super::envelope::{self, Envelope};
use super::rooms::Rooms;
use super::text::{MESSAGE, NAME, clean};
use super::tools::{self, Call, approvals};
use super::{run, schema};

/// A task for the request `id`; `None` if the desk does not answer.
pub(super) fn created(rooms: &Rooms, id: &ApprovalId) -> Option<CreateTaskResult> {
    let request = rooms.gate.desk().request(id).ok()?;
    Some(CreateTaskResult::new(task(rooms, &request)))
}

/// Where a task stands. One that is approved runs now.
pub(super) async fn get(
    rooms: &Arc<Rooms>,
    caller: Caller,
    context: RequestContext<RoleServer>,
    task_id: &str,
) -> Result<GetTaskResult, ErrorData> {
    let mut request = own(rooms, &caller, task_id)?;
    let mut problem = None;
    let lacks = schema::named(approvals::RUN_NAME).and_then(|tool| lacking(caller.scopes.as_ref(), tool));
    if request.state == State::Approved
        && let Some(scope) = lacks
    {
        problem = Some(format!("it is approved; running it takes a token with the scope `{}`", scope.name));
    } else if request.state == State::Approved
        && let Some(seat) = rooms.seat(&caller.identity)
    {
        let held = watch::Sender::new(None);
        let call = Call { rooms: Arc::clone(rooms), caller: caller.clone(), context, seat, held };
        let mut arguments = JsonObject::new();
        arguments.insert("approval_id".to_owned(), json!(request.id));
        let running = tools::call(approvals::RUN_NAME, arguments, call);
        problem = timeout(RUN_TIME, running).await.ok().and_then(|envelope| envelope.problem());
        request = own(rooms, &caller, task_id)?;
    }
    let payload = payload(rooms, &request).await;
    let mut task = task(rooms, &request);
    if let Some(problem) = problem.filter(|_| payload.status() == TaskStatus::Working) {
        task.status_message = Some(problem);
    }
    Ok(GetTaskResult::new(DetailedTask::new(task, payload)))
}

/// Takes back the request behind a task. What runs already runs to its end, and a task that has ended stays as it is.
pub(super) fn cancel(rooms: &Rooms, caller: &Caller, task_id: &str) -> Result<(), ErrorData> {
    let request = own(rooms, caller, task_id)?;
    let withdrawn = rooms.gate.withdraw(&caller.identity, Door::Mcp, &caller.client, &request.id);
    withdrawn.map(drop).map_err(|error| {
        tracing::error!(%error, "mcp.desk_failed");
        ErrorData::internal_error("the gateway's approval desk does not answer; try again later", None)
    })
}

/// Whether there is such a task of the caller's: none ever waits for input.
pub(super) fn update(rooms: &Rooms, caller: &Caller, task_id: &str) -> Result<(), ErrorData> {
    own(rooms, caller, task_id).map(drop)
}

/// The request behind a task, if it is the caller's and was made by a tool. One of somebody else's is an unknown one.
fn own(rooms: &Rooms, caller: &Caller, task_id: &str) -> Result<Request, ErrorData> {
    let request = approvals::own(rooms, &caller.identity, task_id).ok();
    request.filter(|request| request.door == Door::Mcp.as_str()).ok_or_else(|| unknown(task_id))
}

fn task(rooms: &Rooms, request: &Request) -> Task {
    let changed = request.decided_at.unwrap_or(request.created_at).to_string();
    let task = Task::new(request.id.as_str(), TaskStatus::Working, request.created_at.to_string(), changed)
        .with_poll_interval_ms(POLL_MS);
    let message = match request.state {
        State::Pending => format!(
            "{} Waits for {}, at {}",
            envelope::state_sentence(request),
            request.groups.join(", "),
            rooms.gate.review_url(&request.id)
        ),
        State::Approved => "It is approved, and runs when its state is asked for.".to_owned(),
        State::Denied | State::Expired | State::Withdrawn | State::Spent => {
            envelope::state_sentence(request).to_owned()
        }
    };
    task.with_status_message(clean(&message, MESSAGE))
}

async fn payload(rooms: &Arc<Rooms>, request: &Request) -> TaskPayload {
    let envelope = match request.state {
        State::Pending | State::Approved => return TaskPayload::Working,
        State::Withdrawn => return TaskPayload::Cancelled,
        State::Denied | State::Expired => run::not_approved(request),
        State::Spent => run::spent(rooms, request).await,
    };
    if envelope.is_running() {
        return TaskPayload::Working;
    }
    TaskPayload::Completed { result: result(envelope) }
}

/// The result that the tool would have answered with.
fn result(envelope: Envelope) -> JsonObject {
    match serde_json::to_value(envelope.into_result()) {
        Ok(Value::Object(result)) => result,
        Ok(_) | Err(_) => JsonObject::new(),
    }
}

fn unknown(task_id: &str) -> ErrorData {
    ErrorData::invalid_params(format!("unknown task: {}", clean(task_id, NAME)), None)
}

const POLL_MS: u64 = 5_000;
/// How long a question about a task waits for its run; one that takes longer is found ended by the next.
const RUN_TIME: Duration = Duration::from_secs(20);
