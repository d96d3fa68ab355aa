//! Results on their way: whether they may go on, by the rules in force then.
//!
//! What was allowed once is not allowed for ever. A result that has come to a step (its first row, its next
//! [`STEP_ROWS`](crate::mask::STEP_ROWS) rows, the next Execute of its portal, the next COPY data of its client) is put to
//! `portcullis.result`, where the rulebook has that; and where the rules were replaced since its statement was judged,
//! the statement is judged again, as it was.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use smol_str::SmolStr;

use crate::identity::Identity;
use crate::mask::Stop;
use crate::policy::input::{Arguments, LabelsInput, ResultColumn, ResultFacts};
use crate::policy::{Alert, ResultInput};
use crate::sql::{Facts, Statement};

use super::connect::Asked;
use super::escalate::{Passed, Values, evidence};
use super::journal::Scene;
use super::judge::{Case, Verdict, Via};
use super::terms::differing;
use super::{Context, Denial, DenialKind, Gate, Names, Parameters, Prepared};

/// What a result goes on by: its statement as it was judged, and the rules that did.
#[derive(Debug, Clone)]
pub struct Course {
    pub(super) grounds: Arc<Grounds>,
    index: usize,
    revision: SmolStr,
    raised: Vec<Alert>,
}

/// A string of statements as it was when it was judged.
#[derive(Debug)]
pub(super) struct Grounds {
    pub(super) context: Arc<Context>,
    statement: Statement,
    via: Via<'static>,
    tool: String,
    names: Names,
    name: String,
    prepared: Option<Arc<Prepared>>,
    values: Kept,
    reason: String,
    most: (i64, i64),
    pub(super) decision_id: SmolStr,
    pub(super) passed: Passed,
}

/// Bind values.
#[derive(Debug)]
enum Kept {
    None,
    Bound(Parameters),
    Called(Vec<Vec<Option<String>>>),
}

/// A result that has come to a step.
#[derive(Debug)]
pub struct Step {
    /// What it goes on by.
    pub course: Course,
    /// What has come of it; `None` where no rows are about to leave.
    pub shown: Option<Shown>,
}

/// What has come of a result.
#[derive(Debug, Clone)]
pub struct Shown {
    /// The names of its columns, as the server describes them; empty for COPY.
    pub columns: Vec<String>,
    /// Rows that the client has got.
    pub rows: u64,
    /// Bytes of row data that the client has got.
    pub bytes: u64,
}

/// The rules in force, as far as a result on its way has to know.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InForce {
    /// How often rules were replaced.
    pub generation: u64,
    /// Which they are.
    pub revision: SmolStr,
    /// Whether they are asked about results.
    pub asks_result: bool,
}

impl Course {
    /// Whether the statement was judged by the rules that are in force.
    #[must_use]
    pub fn is_by(&self, in_force: &InForce) -> bool {
        self.revision == in_force.revision
    }

    pub(super) fn new(grounds: &Arc<Grounds>, index: usize) -> Self {
        let revision = grounds.passed.verdict.revision.clone();
        Self { grounds: Arc::clone(grounds), index, revision, raised: Vec::new() }
    }

    /// The same, now that the rules of `revision` let it go on.
    pub(super) fn allowed_by(self, revision: SmolStr) -> Self {
        Self { revision, ..self }
    }

    /// Whether it is the course of the very result that `other` is the course of.
    #[must_use]
    pub fn is_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.grounds, &other.grounds) && self.index == other.index
    }

    /// The masked columns of the relations that the statement touches, `schema.table.column`, ordered.
    #[must_use]
    pub fn masked(&self) -> Arc<[String]> {
        let ruling = self.grounds.passed.verdict.rulings.get(self.index);
        ruling.map_or_else(|| Arc::from([]), |ruling| Arc::clone(&ruling.masked))
    }

    fn facts(&self) -> Arc<Facts> {
        let item = self.grounds.passed.verdict.analysis.items().get(self.index);
        item.map_or_else(|| Arc::new(Facts::empty()), |item| Arc::clone(&item.facts))
    }
}

impl Grounds {
    pub(super) fn of(case: &Case<'_>, mut passed: Passed) -> Self {
        let (via, tool) = match case.via {
            Via::Query => (Via::Query, ""),
            Via::Prepare => (Via::Prepare, ""),
            Via::Bind => (Via::Bind, ""),
            Via::Fetch => (Via::Fetch, ""),
            Via::Call => (Via::Call, ""),
            Via::Tool(name) => (Via::Tool(""), name),
        };
        // It is in the ledger by now.
        passed.verdict.evidence = Vec::new();
        Self {
            context: Arc::clone(case.context),
            statement: case.statement.clone(),
            via,
            tool: tool.to_owned(),
            names: case.names.clone(),
            name: case.name.to_owned(),
            prepared: case.prepared.cloned(),
            values: match case.values {
                Values::None => Kept::None,
                Values::Bound(parameters) => Kept::Bound(parameters.clone()),
                Values::Called(values) => Kept::Called(values.to_vec()),
            },
            reason: case.arguments.reason.to_owned(),
            most: (case.arguments.max_rows, case.arguments.max_affected),
            decision_id: case.decision_id.clone(),
            passed,
        }
    }

    pub(super) fn case<'a>(&'a self, who: &'a Identity) -> Case<'a> {
        let (max_rows, max_affected) = self.most;
        let via = match self.via {
            Via::Tool(_) => Via::Tool(&self.tool),
            via @ (Via::Query | Via::Prepare | Via::Bind | Via::Fetch | Via::Call) => via,
        };
        let (parameters, values) = match &self.values {
            Kept::None => (Vec::new(), Values::None),
            Kept::Bound(parameters) => (vec![super::admit::shown(parameters)], Values::Bound(parameters)),
            Kept::Called(values) => (values.clone(), Values::Called(values)),
        };
        Case {
            parameters,
            prepared: self.prepared.as_ref(),
            values,
            name: &self.name,
            decision_id: self.decision_id.clone(),
            arguments: Arguments { reason: &self.reason, max_rows, max_affected },
            ..Case::to_run(who, &self.context, &self.statement, via, &self.names)
        }
    }
}

impl Gate {
    /// The rules in force.
    #[must_use]
    pub fn rules_in_force(&self) -> InForce {
        // In this order: rules that come between the two are taken for older than they are, never for newer.
        let generation = self.generation();
        let rules = self.rules();
        let policy = &rules.policy;
        InForce { generation, revision: policy.revision().into(), asks_result: policy.asks("result") }
    }

    /// How often rules were replaced: whether [`Gate::rules_in_force`] has news.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Asks whether the session of `who` may go on, now that the rules are others.
    ///
    /// # Errors
    /// When `who` would get no such session now.
    pub fn stays(&self, who: &Identity, context: &Context) -> Result<(), Denial> {
        let roles = self.catalogs.roles(context.database()).unwrap_or_default();
        let asked = Asked {
            who: who.principal(),
            door: context.door(),
            database: context.database(),
            settings: &context.origin.asked,
            session: context.facts(),
        };
        self.session(&self.rules(), &asked, roles).map(drop)
    }

    /// Asks whether a result may go on. Returns what it goes on by from now on.
    ///
    /// # Errors
    /// When it may not. Why is in the ledger.
    pub async fn goes_on(&self, who: &Identity, step: Step) -> Result<Course, Stop> {
        let Step { mut course, shown } = step;
        let grounds = Arc::clone(&course.grounds);
        let case = grounds.case(who);
        let refused = |denial: Denial| {
            self.denied(&case, &Scene::session(who, &grounds.context), &grounds.decision_id, denial)
        };
        if course.revision != self.rules().policy.revision() {
            let approvals = grounds.passed.approval.as_ref().map(evidence).unwrap_or_default();
            let judged = self.judge(&case, &approvals).await;
            let verdict = judged.and_then(|verdict| still_holds(&grounds.passed.verdict, verdict));
            course.revision = verdict.map_err(|denial| stop(&refused(denial), CHANGED))?.revision;
        }
        if let Some(shown) = shown {
            self.consents(&case, &mut course, &shown).map_err(|denial| stop(&refused(denial), ""))?;
        }
        Ok(course)
    }

    /// Puts what has come of a result to the rulebook.
    fn consents(&self, case: &Case<'_>, course: &mut Course, shown: &Shown) -> Result<(), Denial> {
        let rules = self.rules();
        if !rules.policy.asks("result") {
            return Ok(());
        }
        let (context, facts, now) = (case.context, course.facts(), self.clock.now());
        let columns: Vec<ResultColumn> =
            shown.columns.iter().enumerate().map(|named| column(&facts, named)).collect();
        let read = self.budgets.read_by(case.principal.name(), now);
        let session = if matches!(case.via, Via::Tool(_)) { read.hour } else { context.labels() };
        let consent = rules.policy.result(&ResultInput {
            identity: rules.agent(case.principal)?,
            database: context.database(),
            door: context.door().as_str(),
            session: context.facts(),
            statement: &facts,
            result: ResultFacts { columns: &columns, rows: shown.rows, bytes: shown.bytes },
            budget: self.budgets.of(case.principal.name(), now),
            labels: LabelsInput { session: &session, day: &read.day },
            time: rules.policy.time(now),
        });
        // Once a result: it is asked about often.
        let (known, news): (Vec<_>, Vec<_>) =
            consent.alerts.into_iter().partition(|alert| course.raised.contains(alert));
        drop(known);
        self.raise(case, &news);
        course.raised.extend(news);
        context.label(&consent.labels);
        self.budgets.label(&case.principal.name().into(), &consent.labels, now);
        match consent.reasons.is_empty() {
            true => Ok(()),
            false => Err(Denial::of(DenialKind::Policy, consent.reasons)),
        }
    }
}

/// A column as the client sees it, and where it comes from: the facts have as many, unless one of them is a `*` that
/// nobody has resolved.
fn column(facts: &Facts, (place, name): (usize, &String)) -> ResultColumn {
    let sources = facts.outputs.get(place).map(|output| output.sources.clone());
    ResultColumn { name: name.clone(), sources: sources.unwrap_or_default() }
}

/// Holds what is allowed now against what goes on. Returns what allows it.
pub(super) fn still_holds(then: &Verdict, now: Verdict) -> Result<Verdict, Denial> {
    if let Some(reason) = now.escalation() {
        return Err(Denial::because(DenialKind::NotApproved, &reason.rule, reason.message.clone(), ""));
    }
    match differing(then, &now).as_slice() {
        [] => Ok(now),
        parts => Err(Denial::because(
            DenialKind::Changed,
            "changed_while_it_ran",
            format!("what you may see of it is not what it shows: {} changed", parts.join(", ")),
            "send it again",
        )),
    }
}

fn stop(denial: &Denial, before: &str) -> Stop {
    let reason = denial.reason().cloned().unwrap_or_default();
    Stop::Refused { rule: reason.rule, message: format!("{before}{}", reason.message), hint: reason.hint }
}

/// What stands before the reason of a result that was stopped because rules were replaced.
const CHANGED: &str = "the rules changed while it ran: ";
