//! `execute`: changes something, in a transaction of its own, and waits for approval where policy asks for it.

use std::time::Duration;

use rmcp::model::JsonObject;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::gate::RunMode;

use super::super::envelope::{Envelope, Refusal};
use super::super::run::Job;
use super::super::schema::{self, Words};
use super::query::default_bytes;
use super::{Call, invalid, read, statement, within};

pub(in super::super) const NAME: &str = "execute";

pub(in super::super) const TOOL: Words = Words {
    name: NAME,
    title: "Change data",
    description: "Runs one INSERT, UPDATE, DELETE or other statement that changes something, in a transaction of \
                  its own. It may need a person's approval: then the answer is `pending_approval` with what to \
                  call `next`.",
};

/// What `execute` takes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Arguments {
    /// One statement; $1, $2, ... stand for `params`.
    sql: String,
    /// Values for $1, $2, ...; exact decimals and big integers as strings.
    #[serde(default)]
    #[schemars(schema_with = "schema::parameters")]
    params: Vec<Value>,
    /// The database; may be left out if there is only one.
    #[serde(default)]
    database: String,
    /// Why, for the approver and the ledger: the task, the ticket, who asked.
    reason: String,
    /// Roll back if more rows than this would be affected; 0 sets no ceiling.
    #[serde(default)]
    max_affected: u64,
    /// Seconds to wait for an approval before the answer is `pending_approval`.
    #[serde(default = "default_wait")]
    #[schemars(range(min = 0, max = 45))]
    wait_s: u64,
}

/// What it answers with.
pub(in super::super) fn fields() -> Value {
    let mut fields = pending_fields();
    let own = json!({
        "rows_affected": {"type": "integer"},
        "tag": {"type": "string"},
        "returning": {"type": "object", "description": "Rows of RETURNING: columns, rows, row_count, truncated."},
        "repeated": {"type": "boolean", "description": "Whether this is the outcome of an earlier run."},
    });
    extend(&mut fields, own);
    fields
}

/// What a tool answers with that may have to wait.
pub(super) fn pending_fields() -> Value {
    json!({
        "approval_id": {"type": "string"},
        "expires_at": {"type": "string"},
        "review_url": {"type": "string", "description": "Where people decide; not for you."},
        "poll_after_s": {"type": "integer"},
        "next": {"type": "object", "properties": {"tool": {"type": "string"}, "args": {"type": "object"}}},
        "once_approved": {"type": "object", "description": "What to call once it is approved."},
        "guidance": {"type": "string"},
    })
}

/// Adds the members of `more` to `fields`.
pub(super) fn extend(fields: &mut Value, more: Value) {
    if let (Some(fields), Value::Object(more)) = (fields.as_object_mut(), more) {
        fields.extend(more);
    }
}

/// Runs it.
pub(super) async fn call(arguments: JsonObject, call: Call) -> Result<Envelope, Refusal> {
    let arguments: Arguments = read(arguments)?;
    let wait_s = within("wait_s", arguments.wait_s, 0, MAX_WAIT_S)?;
    let reason = arguments.reason.trim();
    if reason.is_empty() || reason.len() > MAX_REASON {
        return Err(invalid(&format!(
            "`reason` must say why, in at most {MAX_REASON} bytes: approvers read it"
        )));
    }
    let sql = statement(&arguments.sql)?;
    let job = Job {
        caller: call.caller.clone(),
        parameters: call.parameters(&arguments.database, &sql, &arguments.params).await?,
        database: arguments.database,
        sql,
        tool: NAME,
        purpose: reason.to_owned(),
        mode: RunMode::Write { max_affected: ceiling(arguments.max_affected) },
        max_bytes: default_bytes(),
        claim: None,
        gone: call.context.ct.clone(),
    };
    Ok(call.run(job, Duration::from_secs(wait_s)).await)
}

/// A ceiling as it is written: 0 is none.
pub(super) fn ceiling(max_affected: u64) -> Option<u64> {
    (max_affected > 0).then_some(max_affected)
}

fn default_wait() -> u64 {
    20
}

/// Clients give up on a silent call after a minute.
pub(super) const MAX_WAIT_S: u64 = 45;
const MAX_REASON: usize = 2000;
