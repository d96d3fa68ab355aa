//! What the rulebook says to one statement: its input, the question, and what is told of the answer.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::identity::vouched::Vouched;
use crate::identity::{Principal, STRANGER};
use crate::mask::detect::check_copy;
use crate::policy::input::{
    ApprovalEvidence, Batch, BindInput, Budget, IdentityInput, LabelsInput, Parameter, Time,
};
use crate::policy::{Alert, Decision, Effect, Recalled, StatementInput};
use crate::sql::Item;

use super::budget::Read;
use super::complete::Blocked;
use super::evidence::Evidence;
use super::judge::{Case, Via, is_way_out, or_default, unresolved};
use super::memory::Notes;
use super::ports::{Heard, Raised};
use super::values::decoded;
use super::{Denial, DenialKind, Gate, Rules, pinned};

/// One statement of a string, as the rulebook is asked about it.
pub(super) struct Asked<'a> {
    pub(super) rules: &'a Rules,
    pub(super) case: &'a Case<'a>,
    pub(super) item: &'a Item,
    pub(super) notes: &'a Notes,
    pub(super) batch: Batch,
    pub(super) approvals: &'a [ApprovalEvidence],
    /// Whether bind values are there.
    pub(super) has_values: bool,
}

impl Gate {
    /// Asks the rulebook, or whoever it leaves the decision to.
    pub(super) async fn decide_item(&self, asked: &Asked<'_>) -> Result<(Arc<Decision>, Evidence), Denial> {
        let Asked { rules, case, item, .. } = asked;
        let unjudged = case.context.is_unjudged();
        if let Some(denial) = unresolved(item).filter(|_| !unjudged) {
            return Err(denial);
        }
        if let Some(denial) = pinned::own_setting(&item.facts, case.via, &case.values.of(asked.batch.index))
            .filter(|_| !unjudged)
        {
            return Err(denial);
        }
        let known = self.known(asked);
        let input = asked.input(rules.agent(case.principal)?, &known);
        let decision = self.decision(asked, &input).await;
        self.raise(case, &decision.alerts);
        let evidence = self.evidence(asked, &input, &known, decision.redact_parameters);
        if !decision.detect.is_empty() {
            check_copy(item).map_err(Blocked::Unmaskable)?;
        }
        match decision.effect {
            Effect::Allow | Effect::Escalate(_) => Ok((decision, evidence)),
            Effect::Deny if is_way_out(&item.facts.kind) => {
                let decision = Decision::clone(&decision);
                let decision = Decision { effect: Effect::Allow, reasons: Vec::new(), ..decision };
                Ok((Arc::new(decision), evidence))
            }
            Effect::Deny => {
                let denial = Denial::of(DenialKind::Policy, or_default(decision.reasons.clone()));
                Err(denial.on(evidence, &decision))
            }
        }
    }

    async fn decision(&self, asked: &Asked<'_>, input: &StatementInput<'_>) -> Arc<Decision> {
        let policy = &asked.rules.policy;
        let (decision, is_fresh) = match policy.recall(input, asked.notes.digested()) {
            Recalled::Known(decision) => (decision, false),
            Recalled::Open(key) => match self.delegate.as_deref().filter(|_| policy.is_delegating()) {
                None => (policy.answer(input, key), true),
                Some(delegate) => match policy.document(input) {
                    Err(decision) => (decision, true),
                    Ok(document) => {
                        let answer = delegate.ask(&document).await;
                        (policy.settle(input, key, answer.as_ref().map_err(Clone::clone)), true)
                    }
                },
            },
        };
        if let Some(listener) = self.listener.as_deref() {
            let decision_id = &asked.case.decision_id;
            listener.heard(&Heard { decision_id, input, decision: &decision, is_fresh });
        }
        decision
    }

    /// What is looked up only where a rule reads it.
    fn known(&self, asked: &Asked<'_>) -> Known {
        let Asked { rules, case, .. } = asked;
        let now = self.clock.now();
        let wants = rules.policy.wants();
        let budget = wants.budget.then(|| self.budgets.of(case.principal.name(), now));
        let labels = wants.labels.then(|| {
            let Read { hour, day } = self.budgets.read_by(case.principal.name(), now);
            let session = match case.via {
                Via::Tool(_) => hour,
                Via::Query | Via::Prepare | Via::Bind | Via::Fetch | Via::Call => case.context.labels(),
            };
            Labels { session, day }
        });
        let parameters = match wants.parameters && asked.has_values {
            true => decoded(
                &case.values.of(asked.batch.index),
                case.prepared.map(|prepared| prepared.parameter_types()).unwrap_or_default(),
            ),
            false => Vec::new(),
        };
        Known { time: rules.policy.time(now), budget, labels, parameters }
    }

    /// Tells operators, and the ledger.
    pub(super) fn raise(&self, case: &Case<'_>, alerts: &[Alert]) {
        for Alert { reason, sink } in alerts {
            self.alert(&Raised {
                identity: case.principal.name(),
                database: case.context.database(),
                decision_id: &case.decision_id,
                rule: &reason.rule,
                message: &reason.message,
                hint: &reason.hint,
                place: &reason.place,
                sink,
            });
        }
    }

    /// The time as policy reads it.
    pub(super) fn time(&self) -> Time {
        self.rules().policy.time(self.clock.now())
    }
}

/// What a decision rests on besides the statement and its session.
pub(super) struct Known {
    pub(super) time: Time,
    pub(super) budget: Option<Budget>,
    pub(super) labels: Option<Labels>,
    parameters: Vec<Parameter>,
}

/// The labels of what was read.
pub(super) struct Labels {
    pub(super) session: Vec<String>,
    pub(super) day: Vec<String>,
}

impl Asked<'_> {
    fn input<'a>(&'a self, identity: IdentityInput<'a>, known: &'a Known) -> StatementInput<'a> {
        let Self { case, item, batch, approvals, has_values, .. } = self;
        let tool = match case.via {
            Via::Tool(name) => name,
            Via::Query | Via::Prepare | Via::Bind | Via::Fetch | Via::Call => "",
        };
        let labels = known.labels.as_ref();
        StatementInput {
            identity,
            database: case.context.database(),
            door: case.context.door().as_str(),
            via: case.via.as_str(),
            name: case.name,
            tool,
            arguments: case.arguments,
            session: case.context.facts(),
            statement: &item.facts,
            batch: *batch,
            approvals,
            bind: BindInput {
                known: *has_values,
                values: case.parameters_of(batch.index),
                parameters: &known.parameters,
            },
            budget: known.budget.unwrap_or_default(),
            labels: labels
                .map(|labels| LabelsInput { session: &labels.session, day: &labels.day })
                .unwrap_or_default(),
            unjudged: case.context.is_unjudged(),
            time: known.time.clone(),
        }
    }
}

impl Known {
    /// What a replay can't work out from the record of the statement itself.
    pub(super) fn document(&self, input: &StatementInput<'_>, is_redacted: bool) -> Value {
        let mut document = serde_json::Map::new();
        if let Some(budget) = self.budget {
            document.insert("budget".to_owned(), json!(budget));
        }
        if let Some(labels) = &self.labels {
            document.insert("labels".to_owned(), json!({"session": labels.session, "day": labels.day}));
        }
        if !input.approvals.is_empty() {
            document.insert("approvals".to_owned(), json!(input.approvals));
        }
        if !input.tool.is_empty() {
            document.insert("tool".to_owned(), json!(input.tool));
            document.insert("arguments".to_owned(), json!(input.arguments));
        }
        if !input.name.is_empty() {
            document.insert("name".to_owned(), json!(input.name));
        }
        if input.batch.size != 1 {
            document.insert("batch".to_owned(), json!(input.batch));
        }
        if !self.parameters.is_empty() && !is_redacted {
            document.insert("parameters".to_owned(), json!(self.parameters));
        }
        Value::Object(document)
    }
}

impl Rules {
    /// What policy sees of `who`: as the directory has it now, which may have changed since the login.
    pub(super) fn agent<'a>(&'a self, who: Principal<'a>) -> Result<IdentityInput<'a>, Denial> {
        if let Some(vouched) = who.vouched() {
            return self.vouched(vouched);
        }
        let name = who.name();
        let agent = self.directory.agent(name);
        if agent.is_none() && self.directory.trusts() {
            return Ok(IdentityInput::named(name, STRANGER));
        }
        let agent = agent.filter(|agent| !agent.disabled());
        let Some(agent) = agent else {
            return Err(Denial::because(
                DenialKind::Policy,
                "identity_gone",
                format!("identity `{name}` is no longer valid"),
                "ask the operator of the gateway",
            ));
        };
        Ok(IdentityInput {
            name: agent.name(),
            file: agent.name(),
            kind: agent.kind(),
            owner: agent.owner().unwrap_or_default(),
            groups: agent.groups(),
            delegation: self.directory.delegation(name),
            claims: agent.claims(),
        })
    }

    /// As [`Rules::agent`], for whom an issuer vouches. What its files say was put together with its token's word at the
    /// login, which is that of this very call; where a file is another by now, the call has to be made again.
    fn vouched<'a>(&'a self, vouched: &'a Vouched) -> Result<IdentityInput<'a>, Denial> {
        if !vouched.holds_in(&self.directory) {
            return Err(Denial::because(
                DenialKind::Policy,
                "identity_changed",
                format!("what identity `{}` may do has just changed", vouched.name()),
                "try again",
            ));
        }
        Ok(IdentityInput {
            name: vouched.name(),
            file: vouched.file().name(),
            kind: vouched.file().kind(),
            owner: vouched.owner().unwrap_or_default(),
            groups: vouched.groups(),
            delegation: vouched.delegation().collect(),
            claims: vouched.claims(),
        })
    }
}
