//! `my_access`: who the caller is, what it may do, and how to ask for more.

use std::collections::BTreeMap;

use rmcp::model::JsonObject;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::approval::{Request, State};
use crate::gate::{RelationAccess, Silent};
use crate::identity::Identity;

use super::super::conceal;
use super::super::envelope::{Envelope, Refusal, Status, request_access};
use super::super::rooms::Rooms;
use super::super::run::RECENT;
use super::super::schema::{Words, plain};
use super::super::text::{NOTICE, clean};
use super::search::{Detail, describe, within_budget};
use super::{Call, read};

pub(in super::super) const NAME: &str = "my_access";

pub(in super::super) const TOOL: Words = Words {
    name: NAME,
    title: "What I may do",
    description: "Says who you are to the gateway, which databases and tables you may use, what is masked, which \
                  writes need whose approval, your limits and open approvals, and how to ask for more. With \
                  `table`, its columns too.",
};

/// What `my_access` takes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Arguments {
    /// Needed only where there are several.
    #[serde(default)]
    database: String,
    /// Only this table, as `schema.table`.
    #[serde(default)]
    table: String,
}

/// What it answers with.
pub(in super::super) fn fields() -> Value {
    plain(
        "object: identity summary array: databases tables approvers open_approvals boolean: read_only truncated \
         string: request_access role database content_trust notice",
    )
}

/// Says it.
pub(super) async fn call(arguments: JsonObject, call: &Call) -> Result<Envelope, Refusal> {
    let arguments: Arguments = read(arguments)?;
    let who = &call.caller.identity;
    let databases = call.rooms.databases(who);
    let envelope = Envelope::new(Status::Ok, "")
        .with("identity", identity(who))
        .with("approvers", json!(approvers(&call.rooms, who)))
        .with("open_approvals", json!(open_approvals(&call.rooms, who)))
        .with("request_access", request_access(who));
    let no_choice = arguments.database.is_empty() && databases.len() != 1;
    let envelope = envelope.with("databases", json!(databases));
    if no_choice {
        return Ok(envelope.with("guidance", "Pass `database` to see what you may do there."));
    }
    let visit = match call.rooms.visit(&call.caller, &arguments.database, &Silent).await {
        Ok((visit, _)) => visit,
        Err(denial) => return Ok(Envelope::denial(&denial, who)),
    };
    let access = match call.rooms.gate.access(who, visit.context()).await {
        Ok(access) => access,
        Err(denial) => return Ok(Envelope::denial(&denial, who)),
    };
    let (tables, truncated) = tables(&access, &arguments.table)?;
    Ok(envelope
        .with("database", visit.context().database())
        .with("read_only", visit.context().is_read_only())
        .with_some("role", visit.context().role())
        .with("summary", overview(&access))
        .with("tables", tables)
        .with("truncated", truncated)
        .with_some("guidance", truncated.then_some("There are more tables: `search_schema` finds them."))
        .with("content_trust", "untrusted")
        .with("notice", NOTICE))
}

fn identity(who: &Identity) -> Value {
    let limits = who.limits();
    let limits = [
        ("rows", limits.rows),
        ("bytes", limits.bytes),
        ("statement_timeout_ms", limits.statement_timeout_ms),
    ];
    let limits: BTreeMap<&str, u64> =
        limits.into_iter().filter_map(|(name, most)| Some((name, most?))).collect();
    json!({
        "name": who.name(),
        "kind": who.kind(),
        "owner": who.owner().unwrap_or_default(),
        "groups": who.groups(),
        "limits": limits,
    })
}

/// The groups whose members approve what `who` asks for, where no rule says otherwise.
fn approvers(rooms: &Rooms, who: &Identity) -> Vec<String> {
    let directory = rooms.gate.directory();
    directory.agent(who.name()).map(|agent| agent.approval_groups().to_vec()).unwrap_or_default()
}

fn open_approvals(rooms: &Rooms, who: &Identity) -> Vec<Value> {
    let requests = rooms.gate.desk().requests(RECENT).unwrap_or_default();
    let open = requests.iter().filter(|request| {
        request.requester == who.name() && matches!(request.state, State::Pending | State::Approved)
    });
    let shown = |request: &Request| {
        json!({
            "approval_id": request.id,
            "state": request.state,
            "door": request.door,
            "database": request.database,
            "statement": clean(&request.statement, SHORT),
            "expires_at": request.expires_at.to_string(),
        })
    };
    open.take(LISTED_APPROVALS).map(shown).collect()
}

/// What `access` comes to, in numbers.
fn overview(access: &[RelationAccess]) -> Value {
    let readable = access.iter().filter(|relation| !relation.columns.is_empty());
    let masked =
        access.iter().flat_map(|relation| &relation.columns).filter(|column| column.access == "masked");
    let writable =
        |how: &str| access.iter().filter(|relation| relation.write.values().any(|word| word == how)).count();
    json!({
        "readable_tables": readable.count(),
        "masked_columns": masked.count(),
        "writable_tables": writable("allow"),
        "writable_with_approval": writable("escalate"),
    })
}

fn tables(access: &[RelationAccess], only: &str) -> Result<(Value, bool), Refusal> {
    if only.is_empty() {
        let tables = within_budget(access.iter().take(LISTED).map(summary));
        let truncated = tables.len() < access.len();
        return Ok((Value::Array(tables), truncated));
    }
    let named = |relation: &&RelationAccess| {
        relation.key == only || relation.key.split_once('.').is_some_and(|(_, name)| name == only)
    };
    let tables: Vec<Value> =
        access.iter().filter(named).map(|relation| describe(relation, Detail::Full)).collect();
    if tables.is_empty() {
        let message = "the table was not found, or you may not use it";
        return Err(Refusal::new("not_found", message, conceal::HINT));
    }
    Ok((Value::Array(tables), false))
}

fn summary(relation: &RelationAccess) -> Value {
    let mut table = describe(relation, Detail::Names);
    let masked: Vec<String> = relation
        .columns
        .iter()
        .filter(|column| column.access == "masked")
        .map(|column| super::search::name(&column.name))
        .collect();
    if let Some(table) = table.as_object_mut() {
        table.insert("read".to_owned(), json!(!relation.columns.is_empty()));
        table.insert("masked".to_owned(), json!(masked));
        table.insert("write".to_owned(), json!(relation.write));
    }
    table
}

const LISTED: usize = 100;
const LISTED_APPROVALS: usize = 20;
/// Enough of a statement to know it again, in characters.
const SHORT: usize = 120;
