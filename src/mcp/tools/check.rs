//! `check_sql`: the verdict on a statement, without running it and without asking anybody.

use std::collections::BTreeSet;
use std::sync::Arc;

use rmcp::model::JsonObject;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::gate::{
    Authorized, Connect, Context, Denial, DenialKind, Explanation, Foreseen, Run, RunMode, Silent,
};
use crate::sql::Statement;
use crate::sql::facts::{Class, Facts};
use crate::upstream::{Next, Reader};

use super::super::conceal::Asker;
use super::super::envelope::{Envelope, Refusal, Status, request_access};
use super::super::parameters::Lists;
use super::super::schema::{self, Words, extend, plain};
use super::super::text::{MESSAGE, NAME as NAME_LENGTH, clean};
use super::super::{plan, run, suggest};
use super::{Call, execute, query, read, statement};

pub(in super::super) const NAME: &str = "check_sql";

pub(in super::super) const TOOL: Words = Words {
    name: NAME,
    title: "Check a statement",
    description: "Says whether a statement would be allowed, denied or held for approval, why, what is masked and \
                  which tool runs it. Runs nothing.",
};

/// What `check_sql` takes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Arguments {
    /// The statement.
    sql: String,
    /// As in `query`.
    #[serde(default)]
    #[schemars(schema_with = "schema::parameters")]
    params: Vec<Value>,
    /// Needed only where there are several.
    #[serde(default)]
    database: String,
    /// `estimate`: what it would cost.
    #[serde(default)]
    plan: Plan,
}

/// Whether the database is asked for its plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(extend("type" = "string"))]
enum Plan {
    #[default]
    None,
    Estimate,
}

/// What it answers with.
pub(in super::super) fn fields() -> Value {
    let mut fields = plain(
        "string: tool database request_access suggested_sql object: plan array: reasons masked released detect \
         row_filters tables approvers",
    );
    let verdicts = ["allow", "deny", "needs_approval"];
    extend(&mut fields, json!({"verdict": {"type": "string", "enum": verdicts}}));
    fields
}

/// Judges it.
pub(super) async fn call(arguments: JsonObject, call: &Call) -> Result<Envelope, Refusal> {
    let arguments: Arguments = read(arguments)?;
    let sql = statement(&arguments.sql)?;
    let parameters = vec![call.parameters(&arguments.database, &sql, &arguments.params).await?];
    let who = &call.caller.identity;
    let generation = call.rooms.gate.generation();
    let (visit, connect) = match call.rooms.visit(&call.caller, &arguments.database, &Silent).await {
        Ok(visit) => visit,
        Err(denial) => return Ok(Envelope::denial(&denial, who)),
    };
    let asker = Asker {
        rooms: &call.rooms,
        who,
        context: visit.context(),
        tool: query::NAME,
        purpose: "",
        judged: 1,
    };
    let mut checked = Checked::by(asker, &sql, &parameters).await;
    if checked.explanation.facts.iter().any(changes) {
        let purpose = "asked by check_sql";
        checked =
            Checked::by(Asker { tool: execute::NAME, purpose, judged: 2, ..asker }, &sql, &parameters).await;
    }
    let envelope = checked.answer(&sql, &parameters).await.with("database", visit.context().database());
    let wants_plan = arguments.plan == Plan::Estimate && !checked.is_denied();
    let Some(facts) = checked.explanation.facts.first().filter(|_| wants_plan) else {
        return Ok(envelope);
    };
    let planned = planned(&checked.asker, (connect, generation), &sql, parameters, facts).await;
    Ok(match planned {
        Ok(plan) => envelope.with("plan", plan),
        Err(why) => envelope.with("plan", json!({"unavailable": why})),
    })
}

/// What was foreseen of a statement, by the tool that would run it.
struct Checked<'a> {
    asker: Asker<'a>,
    explanation: Explanation,
    unfit: Option<Refusal>,
}

impl<'a> Checked<'a> {
    async fn by(asker: Asker<'a>, sql: &Statement, parameters: &Lists) -> Self {
        let call = Foreseen { tool: asker.tool, purpose: asker.purpose, parameters };
        let explanation = asker.rooms.gate.foresee(asker.who, asker.context, sql, &call).await;
        let mode = match asker.tool {
            query::NAME => RunMode::Read { max_rows: 1 },
            _ => RunMode::Write { max_affected: None },
        };
        let unfit = match explanation.facts.iter().any(changes) && asker.tool == query::NAME {
            true => None,
            false => run::unfit(&explanation, mode, parameters.len()),
        };
        Self { asker, explanation, unfit }
    }

    fn is_denied(&self) -> bool {
        self.unfit.is_some() || !matches!(self.explanation.verdict.as_str(), "allow" | "escalate")
    }

    async fn answer(&self, sql: &Statement, parameters: &Lists) -> Envelope {
        if self.is_denied() {
            return self.refused(sql, parameters).await;
        }
        let Explanation { verdict, facts, released, detect, row_filters, approvers, .. } = &self.explanation;
        let (status, verdict) = match verdict.as_str() {
            "allow" => (Status::Ok, "allow"),
            _ => (Status::NeedsApproval, "needs_approval"),
        };
        let named = named(facts);
        let own = |texts: &[String]| -> Vec<String> {
            let of_named = |text: &&String| named.iter().any(|key| begins_with(text, key));
            texts.iter().filter(of_named).map(|text| clean(text, MESSAGE)).collect()
        };
        let told = Denial::of(DenialKind::Policy, self.explanation.reasons.clone());
        let reasons = if self.explanation.reasons.is_empty() { Vec::new() } else { reasons(&told) };
        Envelope::new(status, "")
            .with("verdict", verdict)
            .with("reasons", json!(reasons))
            .with("tool", self.asker.tool)
            .with("masked", json!(own(&self.masked())))
            .with("released", json!(own(released)))
            .with("detect", json!(detect))
            .with("row_filters", json!(own(row_filters)))
            .with("tables", json!(tables(facts)))
            .with("approvers", json!(approvers))
    }

    async fn refused(&self, sql: &Statement, parameters: &Lists) -> Envelope {
        let who = self.asker.who;
        let denial = match &self.unfit {
            Some(Refusal { code, message, hint, .. }) => {
                Denial::because(DenialKind::Syntax, code, message.as_str(), hint.as_str())
            }
            None => {
                let denial = Denial::of(DenialKind::Policy, self.explanation.reasons.clone());
                {
                    let facts: Vec<&Facts> = self.explanation.facts.iter().collect();
                    self.asker.told(denial, &facts).await
                }
            }
        };
        let instead = match &self.unfit {
            None => suggest::instead(&self.asker, sql, parameters).await,
            Some(_) => None,
        };
        Envelope::new(Status::Ok, "")
            .with("verdict", "deny")
            .with("reasons", json!(reasons(&denial)))
            .with_some("suggested_sql", instead)
            .with("request_access", request_access(who))
    }

    /// The masked columns that the statement names, of all that its tables have.
    fn masked(&self) -> Vec<String> {
        let tables = self.explanation.facts.iter().flat_map(|facts| &facts.tables);
        let read: BTreeSet<String> = tables
            .flat_map(|table| table.columns_read.iter().map(|column| format!("{}.{column}", table.key)))
            .collect();
        self.explanation.masked.iter().filter(|column| read.contains(*column)).cloned().collect()
    }
}

/// The database's plan. It is asked for as a statement of the caller's: judged, rewritten and recorded like any other, so
/// that it knows no more than the statement itself.
async fn planned(
    asker: &Asker<'_>,
    (connect, generation): (Authorized<Connect>, u64),
    sql: &Statement,
    parameters: Lists,
    facts: &Facts,
) -> Result<Value, String> {
    let text = format!("EXPLAIN (FORMAT JSON) {}", sql.as_str());
    let sql = Statement::new(text.as_bytes(), Statement::AGENT_CAP).map_err(|error| error.to_string())?;
    let call = Foreseen { tool: NAME, purpose: "", parameters: &parameters };
    let foreseen = asker.rooms.gate.foresee(asker.who, asker.context, &sql, &call).await;
    if foreseen.verdict == "escalate" {
        return Err(HELD.to_owned());
    }
    let act = Run {
        context: Arc::<Context>::clone(asker.context),
        sql,
        parameters,
        tool: NAME.to_owned(),
        purpose: String::new(),
        key: String::new(),
        mode: ONE_ROW,
    };
    let proof = asker.rooms.gate.admit(asker.who, act, &Silent).await.map_err(|denial| {
        let reason = denial.reason().map(|reason| clean(&reason.message, MESSAGE)).unwrap_or_default();
        if asker.names_hidden(&reason) { UNPLANNED.to_owned() } else { reason }
    })?;
    let (gate, who) = (&asker.rooms.gate, asker.who);
    let lease = asker.rooms.begin(connect, who, generation, ONE_ROW).await;
    let lease = lease.map_err(|_| "the database can't be reached by the gateway".to_owned())?;
    let reader = Reader::begin(lease, proof, gate, who, 1, &CancellationToken::new()).await;
    let mut reader = reader.map_err(|_| UNPLANNED.to_owned())?;
    let row = match reader.next(gate, who, 1).await {
        Ok(Next::Row(row)) => row,
        Ok(Next::End | Next::Ceiling(_) | Next::TooLong(_)) => {
            reader.finish();
            return Err(UNPLANNED.to_owned());
        }
        Err(error) => {
            reader.fail(error);
            return Err(UNPLANNED.to_owned());
        }
    };
    reader.charge(1, row.bytes);
    reader.finish();
    let printed = row.values.first().and_then(Option::as_deref);
    printed.and_then(|printed| plan::of(printed, facts)).ok_or_else(|| UNPLANNED.to_owned())
}

fn reasons(denial: &Denial) -> Vec<Value> {
    let reasons = denial.reasons.iter();
    reasons
        .map(|reason| {
            json!({
                "rule": clean(&reason.rule, NAME_LENGTH),
                "message": clean(&reason.message, MESSAGE),
                "hint": clean(&reason.hint, MESSAGE),
            })
        })
        .collect()
}

fn changes(facts: &Facts) -> bool {
    !matches!(facts.class, Class::Read | Class::Transaction)
}

/// The keys of the relations that the statement itself names.
fn named(facts: &[Facts]) -> BTreeSet<&str> {
    let tables = facts.iter().flat_map(|facts| &facts.tables);
    tables.filter(|table| table.via_view.is_empty()).map(|table| table.key.as_str()).collect()
}

/// Whether `text` begins with the name `key`, and nothing else that goes on like it.
fn begins_with(text: &str, key: &str) -> bool {
    text.strip_prefix(key).is_some_and(|rest| rest.starts_with(['.', ' ']))
}

fn tables(facts: &[Facts]) -> Vec<Value> {
    let tables = facts.iter().flat_map(|facts| &facts.tables).filter(|table| table.via_view.is_empty());
    tables
        .map(
            |table| json!({"table": table.key, "access": table.access, "estimated_rows": table.row_estimate}),
        )
        .collect()
}

const ONE_ROW: RunMode = RunMode::Read { max_rows: 1 };
/// Nobody is asked for a plan.
const HELD: &str = "a person would have to approve it first";
const UNPLANNED: &str = "the database gives no plan for it";
