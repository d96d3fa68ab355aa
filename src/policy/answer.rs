//! From what a decision point answered to a verdict: pure, and strict. What is not understood is an error, and
//! an error is a deny.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::escalation::{self, Electorate};
use super::input::ApprovalEvidence;
use super::snapshot::Merged;
use super::{Effect, Limits, Reason};
use crate::catalog::RelationKey;
use crate::mask::detect::Wanted;
use crate::mask::{Detectors, GroupRelease, Mask, Masks, Selector, Strategy};

/// Why the rulebook gave no usable answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum PolicyError {
    /// The evaluation failed, ran out of time, or could not be read.
    #[error("the decision point `{point}` failed: {why}")]
    Evaluation { point: &'static str, why: String },
    /// A rule declares something of the wrong shape.
    #[error("`portcullis.{point}` declares a malformed `{rule}`: {why}")]
    Malformed { point: &'static str, rule: &'static str, why: String },
    /// The identity is not what it was when it logged in.
    #[error("the identity `{name}` {why}")]
    Identity { name: String, why: &'static str },
}

impl PolicyError {
    pub(super) fn reason(&self) -> Reason {
        match self {
            Self::Identity { .. } => Reason::new("identity", self.to_string(), "log in again"),
            Self::Evaluation { .. } | Self::Malformed { .. } => Reason::new(
                "policy_error",
                self.to_string(),
                "the rulebook must be mended: whoever keeps it finds the details in the ledger",
            ),
        }
    }
}

/// A deny for one reason.
pub(super) fn denied(reason: Reason) -> Merged {
    Merged {
        effect: Effect::Deny,
        reasons: vec![reason],
        masks: Masks::default(),
        detect: Detectors::default(),
        limits: Limits::default(),
        alerts: Vec::new(),
        redact_parameters: false,
    }
}

/// The ceilings written in an identity's file, as `data.agents` holds them: 0 is none.
pub(super) fn file_limits(file: &Value) -> Limits {
    let ceiling = |name| file.pointer(name).and_then(Value::as_u64).filter(|&ceiling| ceiling > 0);
    Limits { rows: ceiling("/limits/rows"), bytes: ceiling("/limits/bytes") }
}

/// The verdict of `portcullis.statement`.
pub(super) fn statement(
    answer: &Value,
    electorate: &Electorate<'_>,
    approvals: &[ApprovalEvidence],
    ceiling: Limits,
) -> Result<Merged, PolicyError> {
    let answer = Answer { point: "statement", value: answer };
    let allow = answer.allow("allow")?;
    let denies = answer.reasons("deny")?;
    let escalations = escalation::read(&answer)?;
    let masks = masks(&answer)?;
    let detect = detectors(&answer)?;
    let limits = limits(&answer, ceiling)?;
    let alerts = answer.reasons("alert")?;
    let redact: Vec<Redactable> = answer.set("redact")?;

    let (effect, reasons) = if !denies.is_empty() {
        (Effect::Deny, denies.into_iter().collect())
    } else if !escalations.is_empty() {
        escalation::decide(escalations, electorate, approvals)
    } else if allow {
        (Effect::Allow, Vec::new())
    } else {
        (Effect::Deny, vec![nothing_allows()])
    };
    Ok(Merged {
        effect,
        reasons,
        masks,
        detect,
        limits,
        alerts: alerts.into_iter().collect(),
        redact_parameters: redact.contains(&Redactable::Parameters),
    })
}

/// What a session is given.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct SessionGrant {
    /// The upstream role.
    pub(super) role: Option<String>,
    /// Whether statements that are not understood may run.
    pub(super) unjudged: bool,
    /// Whether its transactions are READ ONLY.
    pub(super) read_only: bool,
    /// Whether an unjudged session may be one of replication.
    pub(super) allow_replication: bool,
}

/// A deny of what an unjudged session must not come near.
pub(super) fn unjudged_with_masks() -> Merged {
    let message = "values are masked for you, so nothing may run in this session that was not understood";
    let hint = "whoever keeps the rulebook must give either masks or `unjudged`, not both";
    denied(Reason::new("unjudged_with_masks", message, hint))
}

/// The verdict of `portcullis.session`: what it is given, or why not.
pub(super) fn session(
    answer: &Value,
    offered: &[String],
) -> Result<Result<SessionGrant, Vec<Reason>>, PolicyError> {
    let answer = Answer { point: "session", value: answer };
    let denies = answer.reasons("deny")?;
    let allow = answer.allow("allow")?;
    let role: Option<String> = answer.complete("role")?;
    let unjudged = answer.complete("unjudged")?.unwrap_or(false);
    let read_only = answer.complete("read_only")?.unwrap_or(false);
    let allow_replication = answer.complete("allow_replication")?.unwrap_or(false);
    if !denies.is_empty() {
        return Ok(Err(denies.into_iter().collect()));
    }
    if !allow {
        return Ok(Err(vec![nothing_allows()]));
    }
    match role {
        Some(role) if !offered.contains(&role) => {
            Err(answer.malformed("role", format!("the configuration offers no role `{role}`")))
        }
        role => Ok(Ok(SessionGrant { role, unjudged, read_only, allow_replication })),
    }
}

/// The verdict of `portcullis.approval`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Vetted {
    /// Why not; nothing means yes.
    pub(super) reasons: Vec<Reason>,
    /// What is missing although all seats are filled.
    pub(super) missing: Vec<Reason>,
}

impl Vetted {
    /// A no; and should all seats be filled, that is what is missing.
    pub(super) fn refused(reason: Reason) -> Self {
        Self { reasons: vec![reason.clone()], missing: vec![reason] }
    }
}

/// The verdict of `portcullis.approval`.
pub(super) fn approval(answer: &Value) -> Result<Vetted, PolicyError> {
    let answer = Answer { point: "approval", value: answer };
    let denies = answer.reasons("deny")?;
    let missing = answer.reasons("missing")?.into_iter().collect();
    let reasons = if !denies.is_empty() {
        denies.into_iter().collect()
    } else if answer.allow("eligible")? {
        Vec::new()
    } else {
        vec![Reason::new("not_eligible", "no rule lets you decide on this request", "ask another approver")]
    };
    Ok(Vetted { reasons, missing })
}

/// What says which columns a mask is for; all else of it says what stands there instead.
const SELECTING: [&str; 5] = ["relation", "column", "data_type", "tag", "security_label"];

fn masks(answer: &Answer<'_>) -> Result<Masks, PolicyError> {
    let mut masks = Masks::default();
    for mut entry in answer.set::<Vec<_>, Map<String, Value>>("mask")? {
        let malformed = |why: String| answer.malformed("mask", why);
        let given = SELECTING.iter().filter_map(|name| entry.remove_entry(*name)).collect();
        let place = Value::Object(given);
        let selector: Selector =
            serde_json::from_value(place.clone()).map_err(|error| malformed(format!("{place}: {error}")))?;
        selector.check().map_err(|why| malformed(format!("{place}: {why}")))?;
        let release = match entry.remove("release") {
            None => None,
            Some(release) => {
                Some(group_release(release).map_err(|why| malformed(format!("{place}: `release`: {why}")))?)
            }
        };
        let strategy = strategy(&Value::Object(entry)).map_err(|why| malformed(format!("{place}: {why}")))?;
        strategy.check().map_err(|why| malformed(format!("{place}: {why}")))?;
        let mask = Mask { strategy, release };
        match selector.one() {
            Some((schema, name, column)) => {
                masks.add(RelationKey::new(schema, name), column.to_owned(), mask);
            }
            None => masks.select(selector, mask),
        }
    }
    Ok(masks)
}

/// A strategy without anything beside it: of what has no fields, serde takes any.
fn strategy(entry: &Value) -> Result<Strategy, String> {
    let strategy = Strategy::deserialize(entry).map_err(|error| error.to_string())?;
    let known = serde_json::to_value(&strategy).map_err(|error| error.to_string())?;
    let unknown = entry.as_object().into_iter().flatten().find(|(field, _)| known.get(field).is_none());
    match unknown {
        None => Ok(strategy),
        Some((field, _)) => Err(format!("unknown field `{field}`")),
    }
}

fn group_release(value: Value) -> Result<GroupRelease, String> {
    let release: GroupRelease = serde_json::from_value(value).map_err(|error| error.to_string())?;
    release.check().map(|()| release)
}

fn detectors(answer: &Answer<'_>) -> Result<Detectors, PolicyError> {
    let mut detectors = Detectors::default();
    for wanted in answer.set::<Vec<_>, Wanted>("detect")? {
        detectors.add(&wanted).map_err(|why| answer.malformed("detect", why))?;
    }
    Ok(detectors)
}

fn limits(answer: &Answer<'_>, ceiling: Limits) -> Result<Limits, PolicyError> {
    let smaller = |one: Option<u64>, two: Option<u64>| one.into_iter().chain(two).min();
    let mut limits = ceiling;
    for entry in answer.set::<Vec<_>, Ceiling>("limit")? {
        if entry.rows.is_none() && entry.bytes.is_none() {
            return Err(answer.malformed("limit", "neither `rows` nor `bytes`".to_owned()));
        }
        limits.rows = smaller(limits.rows, entry.rows);
        limits.bytes = smaller(limits.bytes, entry.bytes);
    }
    Ok(limits)
}

fn nothing_allows() -> Reason {
    Reason::new("default_deny", "no rule allows this", "")
}

/// What a decision point answered: for each declaration an array, empty where it is undefined.
pub(super) struct Answer<'a> {
    pub(super) point: &'static str,
    pub(super) value: &'a Value,
}

impl Answer<'_> {
    /// A complete rule's value.
    fn complete<T: DeserializeOwned>(&self, rule: &'static str) -> Result<Option<T>, PolicyError> {
        let Some(values) = self.value.get(rule).and_then(Value::as_array) else {
            return Err(self.malformed(rule, "no answer".to_owned()));
        };
        match values.as_slice() {
            [] => Ok(None),
            [value] => {
                T::deserialize(value).map(Some).map_err(|error| self.malformed(rule, error.to_string()))
            }
            _ => Err(self.malformed(rule, "several values".to_owned())),
        }
    }

    /// A partial set's members; none where it is undefined.
    pub(super) fn set<C: FromIterator<T>, T: DeserializeOwned>(
        &self,
        rule: &'static str,
    ) -> Result<C, PolicyError> {
        let members: Option<Vec<T>> = self.complete(rule)?;
        Ok(members.unwrap_or_default().into_iter().collect())
    }

    /// A partial set of reasons, each with nothing but a reason's three texts.
    fn reasons(&self, rule: &'static str) -> Result<BTreeSet<Reason>, PolicyError> {
        let members: Vec<Because> = self.set(rule)?;
        Ok(members
            .into_iter()
            .map(|Because { rule, message, hint }| Reason { rule, message, hint })
            .collect())
    }

    /// `true`, or a set that is not empty.
    fn allow(&self, rule: &'static str) -> Result<bool, PolicyError> {
        match self.complete::<Value>(rule)? {
            None => Ok(false),
            Some(Value::Bool(allow)) => Ok(allow),
            Some(Value::Array(members)) => Ok(!members.is_empty()),
            Some(other) => Err(self.malformed(rule, format!("`{other}` is neither a boolean nor a set"))),
        }
    }

    pub(super) fn malformed(&self, rule: &'static str, why: String) -> PolicyError {
        PolicyError::Malformed { point: self.point, rule, why }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Because {
    rule: String,
    message: String,
    hint: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ceiling {
    rows: Option<u64>,
    bytes: Option<u64>,
}

/// What a rulebook can keep out of the ledger.
#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Redactable {
    Parameters,
}
