//! A decision on an input that was written down: the same rules, the same merge, and if wanted how each rule went.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::answer::{self, PolicyError};
use super::coverage::Coverage;
use super::input::{ApprovalEvidence, IdentityInput, StatementInput, Time};
use super::load;
use super::trace::{self, TracedRule};
use super::vocabulary::{self, POINTS};
use super::warm;
use super::{Decision, Effect, Reason, Snapshot};
use crate::identity::Kind;
use crate::sql::Facts;
use crate::sql::facts::Unresolved;

/// What a decision point says to a written input.
#[derive(Debug, Clone)]
pub struct Rehearsal {
    /// What happens: an error in a rule is a deny.
    pub verdict: Verdict,
    /// Why, most important first.
    pub reasons: Vec<Reason>,
    /// The whole decision on a statement; `None` at other decision points.
    pub decision: Option<Decision>,
    /// What the point's packages declared, before it was merged: sets as arrays. `null` where they could not be asked.
    pub declared: Value,
    /// How each rule went that was come to; empty unless asked for.
    pub trace: Vec<TracedRule>,
    /// What rules printed, each behind its `file:line: `; empty unless a trace was asked for.
    pub prints: Vec<String>,
}

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It runs, or may be.
    Allow,
    /// It waits for people.
    Escalate,
    /// It doesn't.
    Deny,
}

impl Snapshot {
    /// Decides at `point` (`statement`, `session`, ...) on `input` as a decision point's schema has it. Of the identity
    /// its name and kind must be there, where the point has one. `None` if there is no such decision point.
    #[must_use]
    pub fn rehearse(&self, point: &str, input: &Value, traced: bool) -> Option<Rehearsal> {
        let point = POINTS.iter().find(|known| known.name == point)?.name;
        let mut rehearsal = Rehearsal {
            verdict: Verdict::Deny,
            reasons: Vec::new(),
            decision: None,
            declared: Value::Null,
            trace: Vec::new(),
            prints: Vec::new(),
        };
        let judged = match point {
            "statement" | "bind" => self.statement(input, traced, &mut rehearsal),
            _ => self.other(point, input, traced, &mut rehearsal),
        };
        if let Err(error) = judged {
            rehearsal.verdict = Verdict::Deny;
            rehearsal.reasons = vec![error.reason()];
        }
        Some(rehearsal)
    }

    fn statement(&self, input: &Value, traced: bool, into: &mut Rehearsal) -> Result<(), PolicyError> {
        let unread = |error: serde_json::Error| PolicyError::Evaluation {
            point: "statement",
            why: format!("the input can't be read: {error}"),
        };
        let outline = Outline::deserialize(input).map_err(unread)?;
        let facts = Facts { unresolved: outline.statement.unresolved.clone(), ..Facts::empty() };
        let approvals: Vec<ApprovalEvidence> = outline
            .approvals
            .iter()
            .map(|given| ApprovalEvidence::new(&given.id, &given.by, &given.groups))
            .collect();
        let typed = outline.input(&facts, &approvals, self.time(jiff::Timestamp::UNIX_EPOCH));
        let merged = match self.preliminary(&typed)? {
            Some(refused) => refused,
            None => {
                let question =
                    if outline.bind.known && self.asks("bind") { load::BOUND } else { "statement" };
                self.evaluate(question, input, traced, into)?;
                self.judged(&typed, &into.declared)?
            }
        };
        let decision = self.decided(merged);
        into.verdict = match decision.effect {
            Effect::Allow => Verdict::Allow,
            Effect::Escalate(_) => Verdict::Escalate,
            Effect::Deny => Verdict::Deny,
        };
        into.reasons.clone_from(&decision.reasons);
        into.decision = Some(decision);
        Ok(())
    }

    fn other(
        &self,
        point: &'static str,
        input: &Value,
        traced: bool,
        into: &mut Rehearsal,
    ) -> Result<(), PolicyError> {
        self.evaluate(point, input, traced, into)?;
        let answer = self.read(point, &into.declared);
        let reasons = match point {
            "session" => {
                let roles = input.get("roles").cloned().unwrap_or_default();
                let roles: Vec<String> = serde_json::from_value(roles).unwrap_or_default();
                answer::session(&answer, &roles)?.err().unwrap_or_default()
            }
            "approval" => answer::approval(&answer)?.reasons,
            "connect" => answer::consent(&answer, self.allows_connections())?.reasons,
            "result" => answer::consent(&answer, false)?.reasons,
            _ => Vec::new(),
        };
        into.verdict = if reasons.is_empty() { Verdict::Allow } else { Verdict::Deny };
        into.reasons = reasons;
        Ok(())
    }

    fn evaluate(
        &self,
        point: &'static str,
        input: &Value,
        traced: bool,
        into: &mut Rehearsal,
    ) -> Result<(), PolicyError> {
        let failed = |why: String| PolicyError::Evaluation { point, why };
        let mut engine = self.engine.clone();
        engine.set_enable_coverage(traced);
        engine.set_gather_prints(true);
        engine.set_input(regorus::Value::from(input.clone()));
        let evaluated = catch_unwind(AssertUnwindSafe(|| engine.eval_rule(load::answer_path(point))));
        if traced {
            into.prints = engine.take_prints().unwrap_or_default();
            let coverage = Coverage::of(&mut engine, load::is_written);
            into.trace = trace::rules(&mut engine, &coverage);
        }
        let value = evaluated
            .map_err(|_| failed("the policy engine panicked".to_owned()))?
            .map_err(|error| failed(error.to_string()))?;
        into.declared = serde_json::to_value(&value).map_err(|error| failed(error.to_string()))?;
        Ok(())
    }
}

/// What merging reads of an input itself.
#[derive(Debug, Deserialize)]
struct Outline {
    identity: Named,
    #[serde(default)]
    statement: Understood,
    #[serde(default)]
    approvals: Vec<Approved>,
    #[serde(default)]
    unjudged: bool,
    #[serde(default)]
    bind: Bound,
}

#[derive(Debug, Deserialize)]
struct Named {
    name: String,
    kind: Kind,
}

#[derive(Debug, Default, Deserialize)]
struct Understood {
    #[serde(default)]
    unresolved: Vec<Unresolved>,
}

#[derive(Debug, Deserialize)]
struct Approved {
    #[serde(default)]
    id: String,
    by: String,
    #[serde(default)]
    groups: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Bound {
    #[serde(default)]
    known: bool,
}

impl Outline {
    fn input<'a>(
        &'a self,
        facts: &'a Facts,
        approvals: &'a [ApprovalEvidence],
        time: Time,
    ) -> StatementInput<'a> {
        let who = IdentityInput::named(&self.identity.name, self.identity.kind);
        StatementInput {
            approvals,
            unjudged: self.unjudged,
            ..StatementInput::plain(who, "", "", facts, time)
        }
    }
}

/// The decision points by name, in the order of the documentation.
pub fn points() -> impl Iterator<Item = &'static str> {
    POINTS.iter().map(|point| point.name)
}

/// An input of `point` in which everything is there and empty; `null` if there is no such decision point.
#[must_use]
pub fn empty_input(point: &str) -> Value {
    POINTS
        .iter()
        .find(|known| known.name == point)
        .map_or(Value::Null, |known| warm::empty_input(known.package))
}

/// Fields that an input of the gateway always has at `point` and `input` has not, as `input.statement.tables[0].key`: a
/// rule that reads one of them does not hold, and would in force.
#[must_use]
pub fn missing_fields(point: &str, input: &Value) -> Vec<String> {
    let package = POINTS.iter().find(|known| known.name == point).map_or("", |known| known.package);
    let schema = vocabulary::input_schemas().find(|(known, _)| *known == package);
    let mut missing = Vec::new();
    if let Some((_, schema)) = schema {
        compare(schema, schema, input, "input", &mut missing);
    }
    missing
}

fn compare(root: &Value, schema: &Value, value: &Value, path: &str, missing: &mut Vec<String>) {
    let schema = vocabulary::resolved(root, schema);
    match value {
        Value::Object(fields) => {
            for field in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
                let name = field.as_str().unwrap_or_default();
                match (fields.get(name), schema.pointer("/properties").and_then(|all| all.get(name))) {
                    (None, _) => missing.push(format!("{path}.{name}")),
                    (Some(value), Some(below)) => {
                        compare(root, below, value, &format!("{path}.{name}"), missing)
                    }
                    (Some(_), None) => {}
                }
            }
        }
        Value::Array(items) => {
            let Some(below) = schema.get("items") else { return };
            for (at, item) in items.iter().enumerate() {
                compare(root, below, item, &format!("{path}[{at}]"), missing);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
