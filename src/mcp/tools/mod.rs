//! The seven tools, one file each: arguments as they are read, answers as they are described, and what happens
//! in between.

pub(super) mod access;
pub(super) mod approvals;
pub(super) mod check;
pub(super) mod execute;
pub(super) mod query;
pub(super) mod search;

use std::sync::Arc;
use std::time::Duration;

use rmcp::RoleServer;
use rmcp::model::JsonObject;
use rmcp::service::RequestContext;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, watch};

use crate::gate::{Door, Hold};
use crate::sql::Statement;

use super::caller::Caller;
use super::envelope::{Envelope, Refusal};
use super::parameters;
use super::rooms::Rooms;
use super::run::{self, Job};
use super::text::{MESSAGE, NAME as NAME_LENGTH, clean};
use super::waiting::{Waiting, attend};

/// One call of a tool.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) rooms: Arc<Rooms>,
    pub(super) caller: Caller,
    pub(super) context: RequestContext<RoleServer>,
    pub(super) seat: OwnedSemaphorePermit,
    /// Told when the statement is held for approval.
    pub(super) held: watch::Sender<Option<Hold>>,
}

/// Calls the tool `name`.
pub(super) async fn call(name: &str, arguments: JsonObject, call: Call) -> Envelope {
    let (gate, caller) = (Arc::clone(&call.rooms.gate), call.caller.clone());
    let answer = match name {
        access::NAME => access::call(arguments, &call).await,
        search::NAME => search::call(arguments, &call).await,
        check::NAME => check::call(arguments, &call).await,
        query::NAME => query::call(arguments, call).await,
        execute::NAME => execute::call(arguments, call).await,
        approvals::STATUS_NAME => approvals::status(arguments, call).await,
        approvals::RUN_NAME => approvals::run_approved(arguments, call).await,
        _ => Err(Refusal::new("unknown_tool", "there is no such tool", "")),
    };
    answer.unwrap_or_else(|refusal| {
        if refusal.code == INVALID {
            let context = format!("tool call `{}`: {}", clean(name, NAME_LENGTH), refusal.message);
            gate.malformed(Door::Mcp, &caller.client, Some(&caller.identity), &context);
        }
        Envelope::error(&refusal)
    })
}

impl Call {
    /// `params` of `sql` on `database` as they are sent.
    async fn parameters(
        &self,
        database: &str,
        sql: &Statement,
        params: &[Value],
    ) -> Result<Vec<Option<String>>, Refusal> {
        let catalog = match params.iter().any(Value::is_array) {
            true => self.rooms.loaded_catalog(&self.caller.identity, database).await,
            false => None,
        };
        parameters::to_text(params, sql, catalog.as_deref()).map_err(|error| invalid(&error.to_string()))
    }

    /// Runs `job` in a task of its own, which keeps the seat until it ends, and waits for it.
    async fn run(self, job: Job, patience: Duration) -> Envelope {
        let (rooms, waiting) = self.waiting(patience);
        self.attend(waiting.holds(), async move { run::run(&rooms, job, &waiting).await }).await
    }

    /// What a call waits with.
    fn waiting(&self, patience: Duration) -> (Arc<Rooms>, Waiting) {
        let waiting = Waiting::new(Arc::clone(&self.rooms), patience).telling(self.held.clone());
        (Arc::clone(&self.rooms), waiting)
    }

    /// Does `work` in a task of its own, which keeps the seat until it ends, and waits for it.
    async fn attend(
        self,
        holds: watch::Receiver<Option<Hold>>,
        work: impl Future<Output = Envelope> + Send + 'static,
    ) -> Envelope {
        let Self { rooms, context, seat, .. } = self;
        let task = rooms.tasks.spawn(async move {
            let envelope = work.await;
            drop(seat);
            envelope
        });
        attend(&context, holds, task).await
    }
}

/// Reads arguments. A `null` counts as left out: some clients send one for every argument that isn't set. The refusal
/// names the argument that does not fit.
fn read<A: DeserializeOwned>(mut arguments: JsonObject) -> Result<A, Refusal> {
    arguments.retain(|_, value| !value.is_null());
    serde_path_to_error::deserialize(Value::Object(arguments)).map_err(|error| {
        let (place, problem) = (error.path().to_string(), error.inner().to_string());
        if place == "." || problem.contains(&format!("`{place}`")) {
            return invalid(&problem);
        }
        invalid(&format!("`{place}`: {problem}"))
    })
}

/// `value`, if it lies within `least` and `most`: schemas are hints that no client must heed.
fn within(name: &str, value: u64, least: u64, most: u64) -> Result<u64, Refusal> {
    if (least..=most).contains(&value) {
        return Ok(value);
    }
    Err(invalid(&format!("`{name}` is {value}, and must be from {least} to {most}")))
}

fn statement(sql: &str) -> Result<Statement, Refusal> {
    if has_long_run(sql) {
        let message = format!("the statement holds more than {LONGEST_RUN} operator characters in a row");
        return Err(invalid(&message));
    }
    if sql.trim().is_empty() {
        return Err(invalid("`sql` holds no statement"));
    }
    Statement::new(sql.as_bytes(), Statement::AGENT_CAP).map_err(|error| invalid(&error.to_string()))
}

fn invalid(message: &str) -> Refusal {
    Refusal::new(INVALID, clean(message, MESSAGE), "see the tool's input schema")
}

/// Whether PostgreSQL's lexer would have to go over a run of operator characters again and again: it takes the square of
/// the run's length.
fn has_long_run(sql: &str) -> bool {
    let mut run = 0_usize;
    sql.bytes().any(|byte| {
        run = if b"~!@#^&|`?+-*/%<>=".contains(&byte) { run.saturating_add(1) } else { 0 };
        run > LONGEST_RUN
    })
}

/// No operator is longer than 63 bytes; lines of dashes in comments are.
const LONGEST_RUN: usize = 512;
const INVALID: &str = "invalid_argument";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_lexer_reads_again_and_again_is_refused_before_it_does() {
        for text in ["+".repeat(60_000), "/*".repeat(10_000), "-".repeat(LONGEST_RUN + 1)] {
            let refusal = statement(&format!("select {text}1")).unwrap_err();
            assert_eq!(refusal.code, INVALID);
            assert!(refusal.message.contains("operator characters"), "{}", refusal.message);
        }
        assert!(statement(&format!("select 1 {}", "- ".repeat(2000))).is_ok());
        assert!(statement(&format!("{}\nselect 1", "-".repeat(LONGEST_RUN))).is_ok());
    }
}
