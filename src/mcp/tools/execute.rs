//! `execute`: changes something, in a transaction of its own, and waits for approval where policy asks for it.

use std::time::Duration;

use rmcp::model::JsonObject;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::gate::RunMode;

use super::super::envelope::{Envelope, Refusal};
use super::super::run::Job;
use super::super::schema::{self, Words, extend, plain};
use super::query::default_bytes;
use super::{Call, invalid, parameters, read, statement, within};

pub(in super::super) const NAME: &str = "execute";

pub(in super::super) const TOOL: Words = Words {
    name: NAME,
    title: "Change data",
    description: "Runs one INSERT, UPDATE, DELETE or other statement that changes something, in a transaction of \
                  its own. If a person must approve it first, the answer is `pending_approval` and says what to \
                  call `next`.",
};

/// What `execute` takes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Arguments {
    /// One statement; $1, $2, ... stand for `params`.
    sql: String,
    /// Values for $1, $2, ... Pass exact decimals, big integers, arrays and documents as strings.
    #[serde(default)]
    #[schemars(schema_with = "schema::parameters")]
    params: Vec<Value>,
    /// Needed only where there are several.
    #[serde(default)]
    database: String,
    /// Why, for the approver: the task, the ticket, who asked.
    reason: String,
    /// Roll back if more rows than this would be affected; 0: no ceiling.
    #[serde(default)]
    max_affected: u64,
    /// Seconds to wait for an approval.
    #[serde(default = "default_wait")]
    #[schemars(range(min = 0, max = 45))]
    wait_s: u64,
}

/// What it answers with.
pub(in super::super) fn fields() -> Value {
    let mut fields = run_fields();
    extend(&mut fields, plain("integer: rows_affected string: tag object: returning"));
    fields
}

/// What every tool answers with that runs a statement, now or once it is approved.
pub(in super::super) fn run_fields() -> Value {
    let mut fields = pending_fields();
    let own = plain(
        "integer: elapsed_ms boolean: repeated session_ended array: notices \
         string: database content_trust notice sqlstate database_message database_hint",
    );
    extend(&mut fields, own);
    fields
}

/// What a tool answers with that may have to wait.
pub(super) fn pending_fields() -> Value {
    plain(
        "string: approval_id expires_at review_url rule message hint progress integer: poll_after_s \
         object: next once_approved approval array: seats",
    )
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
    let job = Job {
        caller: call.caller.clone(),
        database: arguments.database,
        sql: statement(&arguments.sql)?,
        parameters: parameters(&arguments.params)?,
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
pub(in super::super) const MAX_WAIT_S: u64 = 45;
const MAX_REASON: usize = 2000;
