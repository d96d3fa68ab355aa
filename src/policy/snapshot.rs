//! Policies, data and identities as one immutable thing, and the decisions it makes.

mod beside;
pub(super) mod logging;

use std::collections::BTreeSet;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use regorus::Engine;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::answer::{self, Answer, PolicyError, SessionGrant, Vetted};
use super::archive::Archive;
use super::cache::Decisions;
use super::escalation::Electorate;
use super::input::{ConnectInput, IdentityInput, ResultInput, Time};
use super::load;
use super::places::Places;
use super::project::{self, Paths};
use super::projection::{Digested, Projection, Question, Reads, Wants};
use super::rows;
use super::vocabulary::POINTS;
use super::{
    Alert, ApprovalDecision, ApprovalInput, Consent, Decision, Effect, Limits, Reason, SessionDecision,
    SessionInput, StatementInput,
};
use crate::identity::Kind;
use crate::mask::{Detectors, Masks, RowGrants};

/// One file of a rulebook: `.rego` or `.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The bundle that it came in; empty for the rulebook's own folder.
    pub bundle: String,
    /// The path below the rulebook's folder or in the bundle, with `/`.
    pub path: String,
    /// The text.
    pub text: String,
    /// Whether it may grant anything: what may not can only take away.
    pub grants: bool,
}

impl Source {
    /// A file of the rulebook's own folder, which may grant.
    #[must_use]
    pub fn file(path: impl Into<String>, text: impl Into<String>) -> Self {
        Self { bundle: String::new(), path: path.into(), text: text.into(), grants: true }
    }

    /// How errors name it: `path`, or `bundle:path`.
    #[must_use]
    pub fn name(&self) -> String {
        match self.bundle.as_str() {
            "" => self.path.clone(),
            bundle => format!("{bundle}:{}", self.path),
        }
    }
}

/// A rulebook that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {what}")]
pub struct RulebookError {
    /// The file below the rulebook's folder, or `bundle:path`.
    pub file: String,
    /// The line, from 1; 0 where none applies.
    pub line: usize,
    /// What is wrong and what would be right.
    pub what: String,
}

/// A rulebook in force.
pub struct Snapshot {
    pub(super) engine: Engine,
    sources: Vec<Source>,
    agents: Value,
    stranger: Option<Value>,
    revision: String,
    projection: Projection,
    decisions: Decisions,
    places: Places,
    zones: Vec<TimeZone>,
    packages: BTreeSet<String>,
    may_redact: bool,
    delegated: Option<Paths>,
    pub(super) row_filters: rows::Known,
}

/// What is known of the answer to a question.
#[derive(Debug)]
pub enum Recalled {
    /// The decision that was made before.
    Known(Arc<Decision>),
    /// It has to be made, and is kept under this key.
    Open(DecisionKey),
}

/// Under what a decision is kept once it is made; nothing where it is not.
#[derive(Debug)]
pub struct DecisionKey(Option<Vec<u8>>);

impl Snapshot {
    /// Builds a snapshot from a rulebook's files and the identities (`data.agents`). Test files
    /// (`*_test.rego`) are left out.
    ///
    /// A file `data/NAME.json` is the document `data.NAME`, `data/DIR/NAME.json` is `data.DIR.NAME`. As in OPA, a
    /// file `DIR/data.json` is merged into `data.DIR`, and a `data.json` that lies in no folder into `data`; files of
    /// bundles are placed by that alone.
    ///
    /// # Errors
    /// Names the first file and line that can't be used.
    pub fn build(sources: &[Source], agents: &Value) -> Result<Self, RulebookError> {
        load::tests_decide_nothing(sources)?;
        let rulebook: Vec<&Source> = sources.iter().filter(|source| !load::is_test(source)).collect();
        let (engine, vetted) = load::engine(&rulebook, agents)?;
        let revision = load::revision(&rulebook, agents);
        Ok(Self {
            engine,
            sources: rulebook.into_iter().cloned().collect(),
            agents: agents.clone(),
            stranger: None,
            revision,
            projection: Projection::onto(&vetted.statement, &vetted.bound),
            decisions: Decisions::new(),
            places: vetted.places,
            zones: vetted.zones,
            may_redact: vetted
                .packages
                .iter()
                .any(|package| vetted.rules.contains(&format!("{package}.redact"))),
            packages: vetted.packages,
            delegated: None,
            row_filters: rows::Known::default(),
        })
    }

    /// The same rulebook, whose decisions on statements somebody else makes: see [`Snapshot::document`]. They are shown
    /// no more of an input than `reads`, so that nothing else can matter to them.
    #[must_use]
    pub fn delegating(self, reads: &[Vec<String>]) -> Self {
        let mut all = Reads::default();
        let mut paths = Paths::default();
        for path in reads {
            all.add(path);
            paths.add(path);
        }
        Self {
            projection: Projection::onto(&all, &all),
            decisions: Decisions::new(),
            delegated: Some(paths),
            ..self
        }
    }

    /// Whether somebody else decides on statements.
    #[must_use]
    pub fn is_delegating(&self) -> bool {
        self.delegated.is_some()
    }

    /// The time `now` as rules read it, by all clocks that they look at.
    #[must_use]
    pub fn time(&self, now: Timestamp) -> Time {
        Time::at(now, &self.zones)
    }

    /// Whether any rule keeps bind values out of the ledger: what was not decided on might have been kept out too.
    #[must_use]
    pub fn may_redact(&self) -> bool {
        self.may_redact
    }

    /// Which parts of an input have to be looked up, because a rule reads them.
    #[must_use]
    pub fn wants(&self) -> Wants {
        self.projection.wants()
    }

    /// What rules see of the time `now`: by the hour, and by the minute where a statement's decision reads it.
    #[must_use]
    pub fn clocks(&self, now: Timestamp) -> Vec<u8> {
        let time = self.time(now);
        let mut clocks = self.projection.clocks(&time);
        let zones = time.zones.values().map(|zone| (zone.date.as_str(), zone.hour));
        for (date, hour) in [(time.date.as_str(), time.hour)].into_iter().chain(zones) {
            clocks.extend_from_slice(date.as_bytes());
            clocks.extend_from_slice(&hour.to_be_bytes());
        }
        clocks
    }

    /// Whether any package of the decision point called `point` is there.
    #[must_use]
    pub fn asks(&self, point: &str) -> bool {
        let point = POINTS.iter().find(|known| known.name == point);
        point.is_some_and(|point| self.packages.iter().any(|package| point.owns(package).is_some()))
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

    /// Everything that it decides by, to be kept.
    #[must_use]
    pub fn archive(&self) -> Archive {
        Archive {
            revision: self.revision.clone(),
            sources: self.sources.clone(),
            agents: self.agents.clone(),
            stranger: self.stranger.clone().unwrap_or_default(),
        }
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
        match self.recall(input, facts) {
            Recalled::Known(decision) => decision,
            Recalled::Open(key) => self.answer(input, key),
        }
    }

    /// The decision that was made before where nothing differed that the rulebook can read, if any was. `facts` must
    /// be those of `input`.
    #[must_use]
    pub fn recall(&self, input: &StatementInput<'_>, facts: &Digested) -> Recalled {
        let key = self.key(input, facts);
        match key.as_deref().and_then(|key| self.decisions.recall(key)) {
            Some(decision) => Recalled::Known(decision),
            None => Recalled::Open(DecisionKey(key)),
        }
    }

    /// Decides by the rulebook, and keeps the decision under `key`.
    #[must_use]
    pub fn answer(&self, input: &StatementInput<'_>, key: DecisionKey) -> Arc<Decision> {
        self.kept(key, self.merged(input))
    }

    /// The input as it is shown to whoever else decides on statements; as far as they are to see it.
    ///
    /// # Errors
    /// What the gateway itself decides, without asking anybody: that an identity is gone, or a statement not understood.
    pub fn document(&self, input: &StatementInput<'_>) -> Result<Value, Arc<Decision>> {
        let refused = match self.preliminary(input) {
            Ok(None) => None,
            Ok(Some(merged)) => Some(merged),
            Err(error) => Some(answer::denied(error.reason())),
        };
        if let Some(merged) = refused {
            return Err(Arc::new(self.decided(merged)));
        }
        let document = serde_json::to_value(input).unwrap_or_default();
        Ok(match &self.delegated {
            Some(paths) => project::pruned(document, paths),
            None => document,
        })
    }

    /// Reads what somebody else has answered on a [`Snapshot::document`]: an object of the declarations of
    /// `portcullis.statement`, sets as arrays, or why there is none. It is read as strictly as the rulebook's own
    /// answers, and kept under `key`.
    #[must_use]
    pub fn settle(
        &self,
        input: &StatementInput<'_>,
        key: DecisionKey,
        answer: Result<&Value, String>,
    ) -> Arc<Decision> {
        let failed = |why: String| PolicyError::Evaluation { point: "statement", why };
        let read = answer
            .and_then(load::foreign_answer)
            .map_err(failed)
            .and_then(|answer| self.judged(input, &answer));
        self.kept(key, read)
    }

    fn kept(&self, key: DecisionKey, merged: Result<Merged, PolicyError>) -> Arc<Decision> {
        match (merged, key.0) {
            (Ok(merged), Some(key)) => self.decisions.keep(key, self.decided(merged)),
            (Ok(merged), None) => Arc::new(self.decided(merged)),
            (Err(error), _) => Arc::new(self.decided(answer::denied(error.reason()))),
        }
    }

    /// The key of `input` in memory, if it has one.
    pub(super) fn key(&self, input: &StatementInput<'_>, facts: &Digested) -> Option<Vec<u8>> {
        self.projection.key(self.question(input), input, facts)
    }

    fn question(&self, input: &StatementInput<'_>) -> Question {
        match input.bind.known && self.asks("bind") {
            true => Question::Bound,
            false => Question::Statement,
        }
    }

    fn merged(&self, input: &StatementInput<'_>) -> Result<Merged, PolicyError> {
        if let Some(refused) = self.preliminary(input)? {
            return Ok(refused);
        }
        let electorate = Electorate::of(&self.agents, &input.identity);
        let approvals = electorate.as_of_now(input.approvals);
        let input = &StatementInput { approvals: &approvals, ..input.clone() };
        let answer = match self.question(input) {
            Question::Statement => self.ask("statement", input)?,
            Question::Bound => self.ask(load::BOUND, input)?,
        };
        self.judged(input, &answer)
    }

    /// What holds whatever the rulebook says.
    pub(super) fn preliminary(&self, input: &StatementInput<'_>) -> Result<Option<Merged>, PolicyError> {
        self.known(&input.identity)?;
        let unresolved = input.statement.unresolved.first().filter(|_| !input.unjudged);
        Ok(unresolved.map(|unresolved| {
            let message = format!("{} `{}` {}", unresolved.what, unresolved.name, unresolved.why);
            answer::denied(Reason::new("unresolved", message, ""))
        }))
    }

    pub(super) fn judged(&self, input: &StatementInput<'_>, answer: &Value) -> Result<Merged, PolicyError> {
        let file = self.known(&input.identity)?;
        let electorate = Electorate::of(&self.agents, &input.identity);
        let approvals = electorate.as_of_now(input.approvals);
        let answer = self.read("statement", answer);
        let merged = answer::statement(&answer, &electorate, &approvals, answer::file_limits(file))?;
        let forbidden = input.unjudged && !(merged.masks.is_empty() && merged.detect.is_empty());
        Ok(if forbidden { answer::unjudged_with_masks() } else { merged })
    }

    pub(super) fn read<'a>(&'a self, point: &'static str, value: &'a Value) -> Answer<'a> {
        Answer { point, value, places: &self.places }
    }

    pub(super) fn decided(&self, merged: Merged) -> Decision {
        Decision {
            effect: merged.effect,
            reasons: merged.reasons,
            masks: Arc::new(merged.masks),
            detect: merged.detect,
            limits: merged.limits,
            alerts: merged.alerts,
            labels: merged.labels,
            redact_parameters: merged.redact_parameters,
            ends_session: merged.ends_session,
            revision: self.revision.clone(),
        }
    }

    /// Asks whether somebody may connect at all, before they have proved anything. A rulebook without a package
    /// `portcullis.connect` has no objection.
    #[must_use]
    pub fn connect(&self, input: &ConnectInput<'_>) -> Consent {
        if !self.asks("connect") {
            return Consent { reasons: Vec::new(), alerts: Vec::new(), labels: Vec::new() };
        }
        self.consent("connect", input, self.allows_connections())
    }

    /// Whether connections need a rule that allows them.
    pub(super) fn allows_connections(&self) -> bool {
        self.packages.contains(CONNECT)
    }

    /// Asks whether a result may go on. A rulebook without a package `portcullis.result` has no objection.
    #[must_use]
    pub fn result(&self, input: &ResultInput<'_>) -> Consent {
        match self.known(&input.identity) {
            Ok(_) if self.asks("result") => self.consent("result", input, false),
            Ok(_) => Consent { reasons: Vec::new(), alerts: Vec::new(), labels: Vec::new() },
            Err(error) => objection(&error),
        }
    }

    fn consent(&self, point: &'static str, input: &impl Serialize, must_allow: bool) -> Consent {
        let answer = self.ask(point, input);
        let read = answer.and_then(|answer| answer::consent(&self.read(point, &answer), must_allow));
        read.unwrap_or_else(|error| objection(&error))
    }

    /// Decides whether an identity may use a database, and by which upstream role.
    #[must_use]
    pub fn session(&self, input: &SessionInput<'_>) -> SessionDecision {
        let answer = self.known(&input.identity).and_then(|_| self.ask("session", input));
        let verdict = answer.and_then(|answer| {
            let rows = self.grants(&answer, input.database)?;
            let answer = self.read("session", &answer);
            let verdict = answer::session(&answer, input.roles)?;
            Ok((verdict.map(|grant| (grant, rows)), answer.alerts()?))
        });
        let nothing = || (SessionGrant::default(), RowGrants::default());
        let (reasons, (grant, rows), alerts) = match verdict {
            Ok((Ok(granted), alerts)) => (Vec::new(), granted, alerts),
            Ok((Err(reasons), alerts)) => (reasons, nothing(), alerts),
            Err(error) => (vec![error.reason()], nothing(), Vec::new()),
        };
        SessionDecision {
            allow: reasons.is_empty(),
            reasons,
            role: grant.role,
            unjudged: grant.unjudged,
            read_only: grant.read_only,
            allow_replication: grant.allow_replication,
            lifetime_s: grant.lifetime_s,
            settings: grant.settings,
            alerts,
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
            answer::approval(&self.read("approval", &self.ask("approval", input)?))
        });
        let Vetted { reasons, missing } = answer.unwrap_or_else(|error| Vetted::refused(error.reason()));
        ApprovalDecision { eligible: reasons.is_empty(), reasons, missing, revision: self.revision.clone() }
    }

    /// The identity's file, if it is still the one that logged in: files change without a restart.
    fn known(&self, identity: &IdentityInput<'_>) -> Result<&Value, PolicyError> {
        let file = self.agents.get(identity.file).or(self.stranger.as_ref());
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

fn objection(error: &PolicyError) -> Consent {
    Consent { reasons: vec![error.reason()], alerts: Vec::new(), labels: Vec::new() }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").field("revision", &self.revision).finish_non_exhaustive()
    }
}

impl Reason {
    pub(super) fn new(rule: &str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { rule: rule.to_owned(), message: message.into(), hint: hint.into(), ..Self::default() }
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
    pub(super) alerts: Vec<Alert>,
    pub(super) labels: Vec<String>,
    pub(super) redact_parameters: bool,
    pub(super) ends_session: bool,
}

/// The base package of the decision on connections.
const CONNECT: &str = "portcullis.connect";
