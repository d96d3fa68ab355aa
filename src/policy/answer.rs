//! From what a decision point answered to a verdict: pure, and strict. What is not understood is an error, and
//! an error is a deny.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::decision::{Alert, Consent};
use super::escalation::{self, Electorate};
use super::input::ApprovalEvidence;
use super::places::Places;
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
        labels: Vec::new(),
        redact_parameters: false,
        ends_session: false,
    }
}

/// The ceilings written in an identity's file, as `data.agents` holds them: 0 is none.
pub(super) fn file_limits(file: &Value) -> Limits {
    let ceiling = |name| file.pointer(name).and_then(Value::as_u64).filter(|&ceiling| ceiling > 0);
    Limits { rows: ceiling("/limits/rows"), bytes: ceiling("/limits/bytes"), time_ms: None }
}

/// The verdict of `portcullis.statement`.
pub(super) fn statement(
    answer: &Answer<'_>,
    electorate: &Electorate<'_>,
    approvals: &[ApprovalEvidence],
    ceiling: Limits,
) -> Result<Merged, PolicyError> {
    let allow = answer.allow("allow")?;
    let denies = answer.reasons("deny")?;
    let escalations = escalation::read(answer)?;
    let masks = masks(answer)?;
    let detect = detectors(answer)?;
    let limits = limits(answer, ceiling)?;
    let alerts = answer.alerts()?;
    let labels = answer.labels()?;
    let redact: Vec<Redactable> = answer.set("redact")?;
    let obligations: Vec<Obligation> = answer.set("oblige")?;

    let (effect, reasons) = if !denies.is_empty() {
        (Effect::Deny, denies.into_iter().collect())
    } else if !escalations.is_empty() {
        escalation::decide(escalations, electorate, approvals, answer.places)
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
        alerts,
        labels,
        redact_parameters: redact.contains(&Redactable::Parameters),
        ends_session: obligations.contains(&Obligation::EndSession),
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
    /// After how many seconds it ends.
    pub(super) lifetime_s: Option<u64>,
    /// What the server's session begins with.
    pub(super) settings: Vec<(String, String)>,
}

/// A deny of what an unjudged session must not come near.
pub(super) fn unjudged_with_masks() -> Merged {
    let message = "values are masked for you, so nothing may run in this session that was not understood";
    let hint = "whoever keeps the rulebook must give either masks or `unjudged`, not both";
    denied(Reason::new("unjudged_with_masks", message, hint))
}

/// The verdict of `portcullis.session`: what it is given, or why not.
pub(super) fn session(
    answer: &Answer<'_>,
    offered: &[String],
) -> Result<Result<SessionGrant, Vec<Reason>>, PolicyError> {
    let denies = answer.reasons("deny")?;
    let allow = answer.allow("allow")?;
    let grant = SessionGrant {
        role: answer.complete("role")?,
        unjudged: answer.complete("unjudged")?.unwrap_or(false),
        read_only: answer.complete("read_only")?.unwrap_or(false),
        allow_replication: answer.complete("allow_replication")?.unwrap_or(false),
        lifetime_s: answer.set::<BTreeSet<_>, u64>("lifetime_s")?.first().copied(),
        settings: settings(answer)?,
    };
    if !denies.is_empty() {
        return Ok(Err(denies.into_iter().collect()));
    }
    if !allow {
        return Ok(Err(vec![nothing_allows()]));
    }
    match &grant.role {
        Some(role) if !offered.contains(role) => {
            Err(answer.malformed("role", format!("the configuration offers no role `{role}`")))
        }
        _ => Ok(Ok(grant)),
    }
}

/// Settings by their names in lower case. PostgreSQL would take the last of two, so there is one.
fn settings(answer: &Answer<'_>) -> Result<Vec<(String, String)>, PolicyError> {
    let mut settings = BTreeMap::new();
    for Chosen { name, value } in answer.set::<Vec<_>, Chosen>("setting")? {
        let name = name.to_ascii_lowercase();
        if name.is_empty() || name.contains('\0') || value.contains('\0') {
            return Err(answer.malformed("setting", "a name or value that no setting can have".to_owned()));
        }
        match settings.insert(name.clone(), value.clone()) {
            Some(other) if other != value => {
                return Err(answer.malformed("setting", format!("`{name}` is given two values")));
            }
            _ => {}
        }
    }
    Ok(settings.into_iter().collect())
}

/// The verdict of a point that can only object. Where `must_allow`, nothing said is an objection.
pub(super) fn consent(answer: &Answer<'_>, must_allow: bool) -> Result<Consent, PolicyError> {
    let reasons: Vec<Reason> = answer.reasons("deny")?.into_iter().collect();
    let allow = !must_allow || answer.allow("allow")?;
    // Nothing is read by a connection.
    let labels = if answer.value.get("label").is_some() { answer.labels()? } else { Vec::new() };
    Ok(Consent {
        reasons: if reasons.is_empty() && !allow { vec![nothing_allows()] } else { reasons },
        alerts: answer.alerts()?,
        labels,
    })
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
pub(super) fn approval(answer: &Answer<'_>) -> Result<Vetted, PolicyError> {
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
    let mut limits = ceiling;
    for Ceiling { rows, bytes, time_ms } in answer.set::<Vec<_>, Ceiling>("limit")? {
        let entry = Limits { rows, bytes, time_ms };
        if entry == Limits::default() {
            return Err(answer.malformed("limit", "none of `rows`, `bytes` and `time_ms`".to_owned()));
        }
        if time_ms == Some(0) {
            return Err(answer.malformed("limit", "`time_ms` must be at least 1".to_owned()));
        }
        limits = limits.and(entry);
    }
    Ok(limits)
}

fn nothing_allows() -> Reason {
    Reason::new("default_deny", "no rule allows this", "")
}

/// What a decision point answered: for each declaration an array with one entry a package that may have it, itself an
/// array that is empty where the package leaves it undefined.
pub(super) struct Answer<'a> {
    pub(super) point: &'static str,
    pub(super) value: &'a Value,
    pub(super) places: &'a Places,
}

impl Answer<'_> {
    /// What the packages have given; none where all leave it undefined.
    fn values(&self, rule: &'static str) -> Result<Vec<&Value>, PolicyError> {
        let packages = self.value.get(rule).and_then(Value::as_array);
        let packages = packages.ok_or_else(|| self.malformed(rule, "no answer".to_owned()))?;
        let values = packages.iter().map(Value::as_array).collect::<Option<Vec<_>>>();
        let values = values.ok_or_else(|| self.malformed(rule, "no answer".to_owned()))?;
        Ok(values.into_iter().flatten().collect())
    }

    /// A complete rule's value, on which all packages that have it agree.
    fn complete<T: DeserializeOwned>(&self, rule: &'static str) -> Result<Option<T>, PolicyError> {
        let mut values = self.values(rule)?;
        values.dedup();
        match values.as_slice() {
            [] => Ok(None),
            [value] => {
                T::deserialize(*value).map(Some).map_err(|error| self.malformed(rule, error.to_string()))
            }
            _ => Err(self.malformed(rule, "several values".to_owned())),
        }
    }

    /// The members of a partial set in all packages; none where all leave it undefined.
    pub(super) fn set<C: FromIterator<T>, T: DeserializeOwned>(
        &self,
        rule: &'static str,
    ) -> Result<C, PolicyError> {
        let sets = self.values(rule)?.into_iter().map(Vec::<T>::deserialize);
        let sets = sets.collect::<Result<Vec<_>, _>>();
        let sets = sets.map_err(|error| self.malformed(rule, error.to_string()))?;
        Ok(sets.into_iter().flatten().collect())
    }

    /// A partial set of reasons, each with nothing but what belongs to one.
    fn reasons(&self, rule: &'static str) -> Result<BTreeSet<Reason>, PolicyError> {
        let members: Vec<Because> = self.set(rule)?;
        Ok(members.into_iter().map(|member| member.reason(self.places)).collect())
    }

    pub(super) fn alerts(&self) -> Result<Vec<Alert>, PolicyError> {
        let members: BTreeSet<Alert> = self
            .set::<Vec<_>, Raised>("alert")?
            .into_iter()
            .map(|Raised { rule, message, hint, sink }| {
                let because = Because { rule, message, hint, public: None };
                Alert { reason: because.reason(self.places), sink: sink.unwrap_or_default() }
            })
            .collect();
        Ok(members.into_iter().collect())
    }

    /// Labels of what is read, ordered.
    fn labels(&self) -> Result<Vec<String>, PolicyError> {
        let labels: BTreeSet<String> = self.set("label")?;
        if labels.len() > MOST_LABELS || labels.iter().any(|label| !is_label(label)) {
            let why = format!("at most {MOST_LABELS} labels, each of 1 to {LONGEST_LABEL} characters");
            return Err(self.malformed("label", why));
        }
        Ok(labels.into_iter().collect())
    }

    /// `true`, or a set that is not empty, in any package.
    fn allow(&self, rule: &'static str) -> Result<bool, PolicyError> {
        let mut allowed = false;
        for value in self.values(rule)? {
            allowed |= match value {
                Value::Bool(allow) => *allow,
                Value::Array(members) => !members.is_empty(),
                Value::Null | Value::Number(_) | Value::String(_) | Value::Object(_) => {
                    let why = format!("`{value}` is neither a boolean nor a set");
                    return Err(self.malformed(rule, why));
                }
            };
        }
        Ok(allowed)
    }

    pub(super) fn malformed(&self, rule: &'static str, why: String) -> PolicyError {
        PolicyError::Malformed { point: self.point, rule, why }
    }
}

fn is_label(label: &str) -> bool {
    (1..=LONGEST_LABEL).contains(&label.chars().count()) && !label.chars().any(char::is_control)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Because {
    rule: String,
    message: String,
    #[serde(default)]
    hint: String,
    public: Option<bool>,
}

impl Because {
    fn reason(self, places: &Places) -> Reason {
        let Self { rule, message, hint, public } = self;
        let place = places.of(&rule, &message);
        Reason { rule, message, hint, private: public == Some(false), place }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raised {
    rule: String,
    message: String,
    #[serde(default)]
    hint: String,
    sink: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ceiling {
    rows: Option<u64>,
    bytes: Option<u64>,
    time_ms: Option<u64>,
}

/// A setting that a session begins with.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Chosen {
    name: String,
    value: String,
}

/// What the gateway does besides.
#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Obligation {
    EndSession,
}

/// What a rulebook can keep out of the ledger.
#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Redactable {
    Parameters,
}

/// Labels of one answer.
const MOST_LABELS: usize = 32;
/// Characters of a label.
const LONGEST_LABEL: usize = 64;
