//! What differs between two decisions on one input.

use serde::Serialize;
use serde_json::{Value, json};

use crate::policy::rehearse::{Rehearsal, Verdict};
use crate::policy::{Effect, Limits, Snapshot};

use super::recorded::Recorded;

/// A sort of difference, in the order in which people want to hear of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Change {
    NewlyDenied,
    NewlyAllowed,
    NewlyEscalated,
    Approval,
    Masks,
    Detectors,
    RowFilters,
    Limits,
    Labels,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) change: Change,
    /// The rule that makes it; empty where none is named.
    pub(super) rule: String,
    /// The rule's place, `file:line`; empty where none is known.
    pub(super) place: String,
    pub(super) before: Value,
    pub(super) after: Value,
}

impl Change {
    /// In words.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::NewlyDenied => "newly denied",
            Self::NewlyAllowed => "newly allowed",
            Self::NewlyEscalated => "newly escalated",
            Self::Approval => "other approval",
            Self::Masks => "other masks",
            Self::Detectors => "other detectors",
            Self::RowFilters => "other row filters",
            Self::Limits => "other limits",
            Self::Labels => "other labels",
        }
    }

    /// Whether it is about an identity, not about one of its statements.
    pub(super) fn is_of_identity(self) -> bool {
        match self {
            Self::Masks | Self::Detectors | Self::RowFilters => true,
            Self::NewlyDenied
            | Self::NewlyAllowed
            | Self::NewlyEscalated
            | Self::Approval
            | Self::Limits
            | Self::Labels => false,
        }
    }
}

/// What `after` says otherwise than `before`, or than the record where its rulebook is not there any more.
pub(super) fn of(recorded: &Recorded, before: Option<&Rehearsal>, after: &Rehearsal) -> Vec<Difference> {
    let statement = &recorded.statement;
    let (was, was_rule) = match before {
        Some(before) => (before.verdict, first_rule(before)),
        None => (verdict(&statement.decision), statement.rule.to_string()),
    };
    let mut found = Vec::new();
    if was != after.verdict {
        let (change, rule) = match after.verdict {
            Verdict::Deny => (Change::NewlyDenied, first_rule(after)),
            Verdict::Escalate => (Change::NewlyEscalated, first_rule(after)),
            Verdict::Allow => (Change::NewlyAllowed, was_rule),
        };
        let place = match after.verdict {
            Verdict::Allow => before,
            Verdict::Deny | Verdict::Escalate => Some(after),
        };
        let place = place.and_then(|one| one.reasons.first()).map(|reason| reason.place.clone());
        let place = place.unwrap_or_default();
        found.push(Difference { change, rule, place, before: json!(was), after: json!(after.verdict) });
    }
    if was == Verdict::Deny || after.verdict == Verdict::Deny {
        return found;
    }
    let Some(now) = &after.decision else { return found };
    let mut differ = |change: Change, before: Value, after: Value| {
        if before != after {
            let (rule, place) = (String::new(), String::new());
            found.push(Difference { change, rule, place, before, after });
        }
    };
    match before.and_then(|before| before.decision.as_ref()) {
        Some(then) => {
            if let (Effect::Escalate(then), Effect::Escalate(now)) = (&then.effect, &now.effect) {
                differ(Change::Approval, json!(then), json!(now));
            }
            differ(Change::Masks, json!(then.masks), json!(now.masks));
            differ(Change::Detectors, json!(names(&then.detect)), json!(names(&now.detect)));
            differ(Change::Limits, json!(then.limits), json!(now.limits));
            differ(Change::Labels, json!(then.labels), json!(now.labels));
        }
        None => {
            let limits = Limits {
                rows: statement.max_rows,
                bytes: statement.max_bytes,
                time_ms: statement.max_time_ms,
            };
            differ(Change::Limits, json!(limits), json!(now.limits));
            differ(Change::Labels, json!(statement.labels), json!(now.labels));
        }
    }
    found
}

/// What `candidate` says otherwise about the rows of the session that `input` is from.
pub(super) fn of_rows(base: &Snapshot, candidate: &Snapshot, input: &Value) -> Option<Difference> {
    let said = |policy: &Snapshot| {
        let filters = policy.rehearse("row_filter", input, false)?.declared;
        let values = policy.rehearse("session", input, false)?.declared.get("row_values").cloned();
        Some(json!({ "filters": filters.get("define"), "values": values }))
    };
    let (before, after) = (said(base)?, said(candidate)?);
    let differs = before != after;
    let (rule, place) = (String::new(), String::new());
    differs.then_some(Difference { change: Change::RowFilters, rule, place, before, after })
}

fn names(detectors: &crate::mask::Detectors) -> Vec<String> {
    detectors.names().map(str::to_owned).collect()
}

fn first_rule(rehearsal: &Rehearsal) -> String {
    rehearsal.reasons.first().map(|reason| reason.rule.clone()).unwrap_or_default()
}

fn verdict(recorded: &str) -> Verdict {
    match recorded {
        "allow" => Verdict::Allow,
        "escalate" => Verdict::Escalate,
        _ => Verdict::Deny,
    }
}
