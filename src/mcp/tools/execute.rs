//! `execute`: changes something, in a transaction of its own, and waits for approval where policy asks for it.

use std::time::Duration;

use rmcp::model::JsonObject;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::gate::RunMode;
use crate::sql::Statement;

use super::super::envelope::{Envelope, Refusal};
use super::super::once;
use super::super::parameters::Lists;
use super::super::run::Job;
use super::super::schema::{self, Words, extend, plain};
use super::query::default_bytes;
use super::{Call, invalid, read, statement, within};

pub(in super::super) const NAME: &str = "execute";

pub(in super::super) const TOOL: Words = Words {
    name: NAME,
    title: "Change data",
    description: "Runs INSERT, UPDATE, DELETE or another statement that changes something, in a transaction of its \
                  own; several in `statements` run all or not at all. If a person must approve first, the answer is \
                  `pending_approval` and says what to call `next`.",
};

/// What `execute` takes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Arguments {
    /// One statement; $1, $2, ... stand for `params`.
    #[serde(default)]
    sql: String,
    /// Values for $1, $2, ...; long numbers as strings.
    #[serde(default)]
    #[schemars(schema_with = "schema::parameters")]
    params: Vec<Value>,
    /// Instead of `sql`: several, run in order in one transaction.
    #[serde(default)]
    statements: Vec<Part>,
    /// Needed only where there are several.
    #[serde(default)]
    database: String,
    /// Why, for the approver: the task, the ticket, who asked.
    reason: String,
    /// Roll back if more rows than this would be affected; 0: no ceiling.
    #[serde(default)]
    max_affected: u64,
    /// Any text, new for each change: calling again with it never runs the change twice.
    #[serde(default)]
    idempotency_key: String,
    /// Seconds to wait for an approval.
    #[serde(default = "default_wait")]
    #[schemars(range(min = 0, max = 45))]
    wait_s: u64,
}

/// One statement of several.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Part {
    sql: String,
    #[serde(default)]
    #[schemars(schema_with = "schema::parameters")]
    params: Vec<Value>,
}

/// What it answers with.
pub(in super::super) fn fields() -> Value {
    let mut fields = run_fields();
    extend(&mut fields, plain("integer: rows_affected string: tag object: returning array: results"));
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
    let key = arguments.idempotency_key.as_str();
    if key.len() > MAX_KEY {
        return Err(invalid(&format!("`idempotency_key` may have at most {MAX_KEY} bytes")));
    }
    let (sql, parameters) = arguments.statements(&call).await?;
    let mut job = Job {
        caller: call.caller.clone(),
        sql,
        parameters,
        tool: NAME,
        purpose: reason.to_owned(),
        mode: RunMode::Write { max_affected: (arguments.max_affected > 0).then_some(arguments.max_affected) },
        max_bytes: default_bytes(),
        claim: None,
        key: key.to_owned(),
        key_claim: None,
        gone: call.context.ct.clone(),
        database: arguments.database,
    };
    if !key.is_empty() {
        let who = &call.caller.identity;
        if job.database.is_empty()
            && let Ok(only) = call.rooms.only_database(who)
        {
            job.database = only;
        }
        let digest = once::digest(&job, &job.database);
        match once::find(&call.rooms, who.name(), key, &digest).await {
            once::Found::Free(claim) => job.key_claim = Some(claim),
            once::Found::Answer(envelope) => return Ok(*envelope),
        }
    }
    Ok(call.run(job, Duration::from_secs(wait_s)).await)
}

impl Arguments {
    /// The text to run, and the values of each statement in it.
    async fn statements(&self, call: &Call) -> Result<(Statement, Lists), Refusal> {
        match (self.sql.is_empty(), self.statements.as_slice()) {
            (false, []) => {
                let sql = statement(&self.sql)?;
                let values = call.parameters(&self.database, &sql, &self.params).await?;
                Ok((sql, vec![values]))
            }
            (true, parts @ [_, ..]) if self.params.is_empty() && parts.len() <= MAX_STATEMENTS => {
                let texts: Vec<&str> = parts.iter().map(|part| part.sql.as_str()).collect();
                let mut values = Vec::with_capacity(parts.len());
                for part in parts {
                    values.push(call.parameters(&self.database, &statement(&part.sql)?, &part.params).await?);
                }
                // Each stands on lines of its own, so that a comment at its end hides nothing.
                Ok((statement(&texts.join("\n;\n"))?, values))
            }
            (true, [_, ..]) if !self.params.is_empty() => {
                Err(invalid("with `statements`, each brings its own `params`: leave the outer ones out"))
            }
            (true, [_, ..]) => Err(invalid(&format!("`statements` may hold at most {MAX_STATEMENTS}"))),
            _ => Err(invalid("pass either `sql` or `statements`")),
        }
    }
}

fn default_wait() -> u64 {
    20
}

/// Clients give up on a silent call after a minute.
pub(in super::super) const MAX_WAIT_S: u64 = 45;
const MAX_REASON: usize = 2000;
const MAX_KEY: usize = 200;
/// Approvers read them all.
const MAX_STATEMENTS: usize = 50;
