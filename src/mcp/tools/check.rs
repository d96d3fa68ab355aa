//! `check_sql`: the verdict on a statement, without running it and without asking anybody.

use rmcp::model::JsonObject;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::gate::{Explanation, RelationAccess, Silent};
use crate::sql::facts::{Class, Facts};

use super::super::conceal;
use super::super::envelope::{Envelope, Refusal, Status, request_access};
use super::super::schema::{Words, extend, plain};
use super::super::text::{MESSAGE, NAME as NAME_LENGTH, clean};
use super::{Call, execute, query, read, statement};

pub(in super::super) const NAME: &str = "check_sql";

pub(in super::super) const TOOL: Words = Words {
    name: NAME,
    title: "Check a statement",
    description: "Says whether a statement would be allowed, denied or need approval, why, which columns would be \
                  masked and which tool runs it. Runs nothing, asks nobody.",
};

/// What `check_sql` takes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Arguments {
    /// The statement.
    sql: String,
    /// Needed only where there are several.
    #[serde(default)]
    database: String,
}

/// What it answers with.
pub(in super::super) fn fields() -> Value {
    let mut fields = plain(
        "string: tool database request_access array: reasons masked released detect row_filters tables approvers",
    );
    let verdicts = ["allow", "deny", "needs_approval"];
    extend(&mut fields, json!({"verdict": {"type": "string", "enum": verdicts}}));
    fields
}

/// Judges it.
pub(super) async fn call(arguments: JsonObject, call: &Call) -> Result<Envelope, Refusal> {
    let arguments: Arguments = read(arguments)?;
    let sql = statement(&arguments.sql)?;
    let who = &call.caller.identity;
    let visit = match call.rooms.visit(&call.caller, &arguments.database, &Silent).await {
        Ok((visit, _)) => visit,
        Err(denial) => return Ok(Envelope::denial(&denial, who)),
    };
    let explanation = call.rooms.gate.explain(who, visit.context(), &sql).await;
    let access = match call.rooms.gate.access(who, visit.context()).await {
        Ok(access) => access,
        Err(denial) => return Ok(Envelope::denial(&denial, who)),
    };
    let envelope = answer(&explanation, &access).with("database", visit.context().database());
    let denied = explanation.verdict == "deny";
    Ok(envelope.with_some("request_access", denied.then(|| request_access(who))))
}

fn answer(explanation: &Explanation, access: &[RelationAccess]) -> Envelope {
    if conceal::must_hide(explanation, access) {
        let reason = json!({"rule": conceal::RULE, "message": conceal::MESSAGE, "hint": conceal::HINT});
        return Envelope::new(Status::Ok, "").with("verdict", "deny").with("reasons", json!([reason]));
    }
    let reasons: Vec<Value> = explanation
        .reasons
        .iter()
        .map(|reason| {
            json!({
                "rule": clean(&reason.rule, NAME_LENGTH),
                "message": clean(&reason.message, MESSAGE),
                "hint": clean(&reason.hint, MESSAGE),
            })
        })
        .collect();
    let (status, verdict) = match explanation.verdict.as_str() {
        "allow" => (Status::Ok, "allow"),
        "escalate" => (Status::NeedsApproval, "needs_approval"),
        _ => (Status::Ok, "deny"),
    };
    let envelope = Envelope::new(status, "").with("verdict", verdict).with("reasons", json!(reasons));
    if verdict == "deny" {
        return envelope;
    }
    envelope
        .with("tool", tool_for(&explanation.facts))
        .with("masked", json!(masked(explanation)))
        .with("released", json!(explanation.released))
        .with("detect", json!(explanation.detect))
        .with("row_filters", json!(explanation.row_filters))
        .with("tables", json!(tables(&explanation.facts)))
        .with("approvers", json!(explanation.approvers))
}

fn tool_for(facts: &[Facts]) -> &'static str {
    let reads = facts.iter().all(|facts| matches!(facts.class, Class::Read | Class::Transaction));
    if reads { query::NAME } else { execute::NAME }
}

/// The masked columns that the statement names, of all that its tables have.
fn masked(explanation: &Explanation) -> Vec<&String> {
    let tables = explanation.facts.iter().flat_map(|facts| &facts.tables);
    let named: Vec<String> = tables
        .flat_map(|table| table.columns_read.iter().map(|column| format!("{}.{column}", table.key)))
        .collect();
    explanation.masked.iter().filter(|column| named.contains(column)).collect()
}

fn tables(facts: &[Facts]) -> Vec<Value> {
    let tables = facts.iter().flat_map(|facts| &facts.tables);
    tables
        .map(
            |table| json!({"table": table.key, "access": table.access, "estimated_rows": table.row_estimate}),
        )
        .collect()
}
