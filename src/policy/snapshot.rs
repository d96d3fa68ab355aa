//! Policies, data and identities as one immutable thing, and the decisions it makes.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use regorus::Engine;
use serde::Serialize;
use serde_json::Value;

use super::answer::{self, PolicyError, SessionGrant, Vetted};
use super::cache::Decisions;
use super::escalation::Electorate;
use super::input::IdentityInput;
use super::load;
use super::projection::{Digested, Projection};
use super::rows;
use super::{
    ApprovalDecision, ApprovalInput, Decision, Effect, Limits, Reason, SessionDecision, SessionInput,
    StatementInput,
};
use crate::identity::Kind;
use crate::mask::{Detectors, Masks, RowGrants};

/// One file of a rulebook: `.rego` or `.json`.
#[derive(Debug, Clone)]
pub struct Source {
    /// The path below the rulebook's folder, with `/`.
    pub path: String,
    /// The text.
    pub text: String,
}

/// A rulebook that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {what}")]
pub struct RulebookError {
    /// The file below the rulebook's folder.
    pub file: String,
    /// The line, from 1; 0 where none applies.
    pub line: usize,
    /// What is wrong and what would be right.
    pub what: String,
}

/// A rulebook in force.
pub struct Snapshot {
    engine: Engine,
    agents: Value,
    stranger: Option<Value>,
    revision: String,
    projection: Projection,
    decisions: Decisions,
    pub(super) row_filters: rows::Known,
}

impl Snapshot {
    /// Builds a snapshot from a rulebook's files and the identities (`data.agents`). Test files
    /// (`*_test.rego`) are left out.
    ///
    /// A file `data/NAME.json` is the document `data.NAME`, `data/DIR/NAME.json` is `data.DIR.NAME`.
    ///
    /// # Errors
    /// Names the first file and line that can't be used.
    pub fn build(sources: &[Source], agents: &Value) -> Result<Self, RulebookError> {
        let rulebook: Vec<&Source> = sources.iter().filter(|source| !load::is_test(source)).collect();
        let (engine, reads) = load::engine(&rulebook, agents)?;
        Ok(Self {
            engine,
            agents: agents.clone(),
            stranger: None,
            revision: load::revision(&rulebook, agents),
            projection: Projection::onto(&reads),
            decisions: Decisions::new(),
            row_filters: rows::Known::default(),
        })
    }

    /// The same rulebook, which also decides on identities without a file: by what `file` says of all of them.
    /// `data.agents` does not have them.
    #[must_use]
    pub fn with_strangers(self, file: Value) -> Self {
        Self { stranger: Some(file), decisions: Decisions::new(), ..self }
    }

    /// The digest over policies, data and identities: 16 hexadecimal digits.
    #[must_use]
    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// Decides on one statement. Whatever goes wrong is a deny.
    ///
    /// Of all reasons the heaviest decide: an error, then a deny, then an escalation, then an allow; nothing at
    /// all is a deny. Approvals lift escalations only, and only if they fill every seat of each: by people who are active
    /// now, by groups that they had when they said yes and have now, never by who asks.
    #[must_use]
    pub fn decide(&self, input: &StatementInput<'_>) -> Decision {
        self.decided(self.merged(input).unwrap_or_else(|error| answer::denied(error.reason())))
    }

    /// As [`Snapshot::decide`], from memory where the same was decided before: where nothing differs that the
    /// rulebook can read. `facts` must be those of `input`. What failed is not remembered: it may have been the time.
    #[must_use]
    pub fn recall_or_decide(&self, input: &StatementInput<'_>, facts: &Digested) -> Arc<Decision> {
        let Some(key) = self.key(input, facts) else { return Arc::new(self.decide(input)) };
        if let Some(decision) = self.decisions.recall(&key) {
            return decision;
        }
        match self.merged(input) {
            Ok(merged) => self.decisions.keep(key, self.decided(merged)),
            Err(error) => Arc::new(self.decided(answer::denied(error.reason()))),
        }
    }

    /// The key of `input` in memory, if it has one.
    pub(super) fn key(&self, input: &StatementInput<'_>, facts: &Digested) -> Option<Vec<u8>> {
        self.projection.key(input, facts)
    }

    fn merged(&self, input: &StatementInput<'_>) -> Result<Merged, PolicyError> {
        let file = self.known(&input.identity)?;
        if let Some(unresolved) = input.statement.unresolved.first().filter(|_| !input.unjudged) {
            let message = format!("{} `{}` {}", unresolved.what, unresolved.name, unresolved.why);
            return Ok(answer::denied(Reason::new("unresolved", message, "")));
        }
        let electorate = Electorate::of(&self.agents, input.identity.name);
        let approvals = electorate.as_of_now(input.approvals);
        let answer = self.ask("statement", &StatementInput { approvals: &approvals, ..input.clone() })?;
        let merged = answer::statement(&answer, &electorate, &approvals, answer::file_limits(file))?;
        let forbidden = input.unjudged && !(merged.masks.is_empty() && merged.detect.is_empty());
        Ok(if forbidden { answer::unjudged_with_masks() } else { merged })
    }

    fn decided(&self, merged: Merged) -> Decision {
        Decision {
            effect: merged.effect,
            reasons: merged.reasons,
            masks: Arc::new(merged.masks),
            detect: merged.detect,
            limits: merged.limits,
            alerts: merged.alerts,
            redact_parameters: merged.redact_parameters,
            revision: self.revision.clone(),
        }
    }

    /// Decides whether an identity may use a database, and by which upstream role.
    #[must_use]
    pub fn session(&self, input: &SessionInput<'_>) -> SessionDecision {
        let answer = self.known(&input.identity).and_then(|_| self.ask("session", input));
        let verdict = answer.and_then(|answer| {
            let rows = self.grants(&answer, input.database)?;
            Ok(answer::session(&answer, input.roles)?.map(|grant| (grant, rows)))
        });
        let (reasons, (grant, rows)) = match verdict {
            Ok(Ok(granted)) => (Vec::new(), granted),
            Ok(Err(reasons)) => (reasons, (SessionGrant::default(), RowGrants::default())),
            Err(error) => (vec![error.reason()], (SessionGrant::default(), RowGrants::default())),
        };
        SessionDecision {
            allow: reasons.is_empty(),
            reasons,
            role: grant.role,
            unjudged: grant.unjudged,
            read_only: grant.read_only,
            allow_replication: grant.allow_replication,
            rows,
            revision: self.revision.clone(),
        }
    }

    /// Decides whether a person may decide on a request. No rulebook can let somebody decide on their own
    /// request, or anything but a person decide.
    #[must_use]
    pub fn approval(&self, input: &ApprovalInput<'_>) -> ApprovalDecision {
        let answer = self.known(&input.approver).and_then(|_| {
            if input.approver.kind != Kind::Human {
                let message = format!("`{}` is not a person, and only people decide", input.approver.name);
                return Ok(Vetted::refused(Reason::new("approver_not_human", message, "")));
            }
            if input.approver.name == input.requester.name {
                let message = "nobody decides on a request of their own";
                return Ok(Vetted::refused(Reason::new("own_request", message, "ask another approver")));
            }
            answer::approval(&self.ask("approval", input)?)
        });
        let Vetted { reasons, missing } = answer.unwrap_or_else(|error| Vetted::refused(error.reason()));
        ApprovalDecision { eligible: reasons.is_empty(), reasons, missing, revision: self.revision.clone() }
    }

    /// The identity's file, if it is still the one that logged in: files change without a restart.
    fn known(&self, identity: &IdentityInput<'_>) -> Result<&Value, PolicyError> {
        let file = self.agents.get(identity.name).or(self.stranger.as_ref());
        let file = file.ok_or_else(|| PolicyError::Identity {
            name: identity.name.to_owned(),
            why: "has no file any more",
        })?;
        let kind = serde_json::to_value(identity.kind).unwrap_or_default();
        let why = if file.get("disabled") != Some(&Value::Bool(false)) {
            "is disabled"
        } else if file.get("kind") != Some(&kind) {
            "is of another kind by now"
        } else {
            return Ok(file);
        };
        Err(PolicyError::Identity { name: identity.name.to_owned(), why })
    }

    /// Evaluates one decision point. The engine is a clone that shares everything but its scratch memory.
    pub(super) fn ask(&self, point: &'static str, input: &impl Serialize) -> Result<Value, PolicyError> {
        let failed = |why: String| PolicyError::Evaluation { point, why };
        let input = serde_json::to_value(input).map_err(|error| failed(error.to_string()))?;
        let evaluated = catch_unwind(AssertUnwindSafe(|| {
            let mut engine = self.engine.clone();
            engine.set_input(regorus::Value::from(input));
            engine.eval_rule(load::answer_path(point))
        }));
        let value = evaluated
            .map_err(|_| failed("the policy engine panicked".to_owned()))?
            .map_err(|error| failed(error.to_string()))?;
        serde_json::to_value(&value).map_err(|error| failed(error.to_string()))
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").field("revision", &self.revision).finish_non_exhaustive()
    }
}

impl Reason {
    pub(super) fn new(rule: &str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { rule: rule.to_owned(), message: message.into(), hint: hint.into() }
    }
}

/// A decision on its way to become a [`Decision`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Merged {
    pub(super) effect: Effect,
    pub(super) reasons: Vec<Reason>,
    pub(super) masks: Masks,
    pub(super) detect: Detectors,
    pub(super) limits: Limits,
    pub(super) alerts: Vec<Reason>,
    pub(super) redact_parameters: bool,
}
