//! How a statement string is judged: facts, policy, masks; all of it again once somebody has approved.

use std::borrow::Cow;
use std::sync::Arc;

use smol_str::SmolStr;

use crate::catalog::Snapshot;
use crate::identity::{Identity, Principal};
use crate::mask::{Governed, Masks, Rewritten};
use crate::policy::input::{ApprovalEvidence, Arguments, Batch};
use crate::policy::{Decision, Effect, Reason, Requirement};
use crate::sql::facts::Class;
use crate::sql::{AnalyzeError, Item, Statement, analyze, analyze_shallow};

use super::complete::{self, Blocked, Change, Completed, Under, Written};
use super::decide::Asked;
use super::definitions::{self, decide, names_unknown_objects};
use super::escalate::Values;
use super::evidence::Evidence;
use super::journal;
use super::memory::{Name, Reading, Rewrite, masked_columns, row_filters};
use super::pinned;
use super::rows;
use super::shape;
use super::workers::{Workers, WorkersError};
use super::{Context, Denial, DenialKind, Gate, Missing, Names, Prepared};

/// A statement string that somebody wants judged.
pub(super) struct Case<'a> {
    /// Who asks.
    pub(super) principal: Principal<'a>,
    /// Where.
    pub(super) context: &'a Arc<Context>,
    /// What.
    pub(super) statement: &'a Statement,
    /// By which way.
    pub(super) via: Via<'a>,
    /// Bind values as text, as far as they are known: a list for each statement.
    pub(super) parameters: Vec<Vec<Option<String>>>,
    /// The statement as it was prepared, if it was: its facts still hold while the catalog is the same.
    pub(super) prepared: Option<&'a Arc<Prepared>>,
    /// What names mean.
    pub(super) names: &'a Names,
    /// Bind values as they came in.
    pub(super) values: Values<'a>,
    /// Ties what is asked and recorded together; empty where nobody asks for it to run.
    pub(super) decision_id: SmolStr,
    /// The name that the client gives the prepared statement, or the cursor; empty where there is none.
    pub(super) name: &'a str,
    /// What a tool was called with.
    pub(super) arguments: Arguments<'a>,
    /// The caller's key of a run, for running it once it is approved.
    pub(super) key: &'a str,
}

impl<'a> Case<'a> {
    /// Bind values of statement `index`, as text.
    pub(super) fn parameters_of(&self, index: usize) -> &[Option<String>] {
        self.parameters.get(index).map_or(&[], Vec::as_slice)
    }

    /// A statement that somebody wants to run, without values and names.
    pub(super) fn to_run(
        who: &'a Identity,
        context: &'a Arc<Context>,
        statement: &'a Statement,
        via: Via<'a>,
        names: &'a Names,
    ) -> Self {
        Self {
            principal: who.principal(),
            context,
            statement,
            via,
            parameters: Vec::new(),
            prepared: None,
            names,
            values: Values::None,
            decision_id: journal::decision_id(),
            name: "",
            arguments: Arguments::default(),
            key: "",
        }
    }
}

/// How a statement arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Via<'a> {
    /// A simple-protocol Query.
    Query,
    /// A Parse: nothing runs yet.
    Prepare,
    /// A Bind.
    Bind,
    /// An Execute of a cursor that SQL has declared.
    Fetch,
    /// A FunctionCall.
    Call,
    /// An MCP tool, by its name.
    Tool(&'a str),
}

impl Via<'_> {
    /// The word that policy and ledger use.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Prepare => "prepare",
            Self::Bind => "bind",
            Self::Fetch => "fetch",
            Self::Call => "function_call",
            Self::Tool(_) => "tool",
        }
    }
}

/// A string that may run, or may once somebody approves.
#[derive(Debug)]
pub(super) struct Verdict {
    /// With what names stand for.
    pub(super) analysis: Arc<Reading>,
    /// As the text alone says it.
    pub(super) read: Arc<Reading>,
    pub(super) catalog_version: u64,
    pub(super) rulings: Vec<Ruling>,
    /// What each of them was decided on.
    pub(super) evidence: Vec<Evidence>,
    pub(super) revision: SmolStr,
}

/// What holds for one statement of the string.
#[derive(Debug)]
pub(super) struct Ruling {
    pub(super) decision: Arc<Decision>,
    pub(super) rewritten: Arc<Rewritten>,
    pub(super) masked: Arc<[String]>,
    pub(super) filters: Arc<[String]>,
    /// What it changes about names.
    pub(super) change: Option<Change>,
    /// The text that it runs by name.
    pub(super) runs: Option<String>,
}

impl Verdict {
    /// The approval that is needed: all statements' requirements at once. `None` if none needs any.
    pub(super) fn requirement(&self) -> Option<Requirement> {
        let mut requirements = self.rulings.iter().filter_map(|ruling| match &ruling.decision.effect {
            Effect::Escalate(requirement) => Some(requirement.clone()),
            Effect::Allow | Effect::Deny => None,
        });
        let first = requirements.next()?;
        Some(requirements.fold(first, Requirement::and))
    }

    /// `denial` of what this verdict would let run, with what it was decided on.
    pub(super) fn denied_as(&self, denial: Denial) -> Denial {
        let escalated = |ruling: &Ruling| matches!(ruling.decision.effect, Effect::Escalate(_));
        let mut decided = self.rulings.iter().zip(&self.evidence).filter(|(ruling, _)| escalated(ruling));
        match decided.next() {
            Some((ruling, evidence)) => denial.on(evidence.clone(), &ruling.decision),
            None => denial,
        }
    }

    /// The reason that asks for approval first.
    pub(super) fn escalation(&self) -> Option<&Reason> {
        let escalated = |ruling: &&Ruling| matches!(ruling.decision.effect, Effect::Escalate(_));
        self.rulings.iter().find(escalated).and_then(|ruling| ruling.decision.reasons.first())
    }

    /// The text to send: what came in, byte by byte, unless a statement in it had to be rewritten.
    pub(super) fn sql(&self) -> Cow<'_, str> {
        if self.rulings.iter().all(|ruling| ruling.rewritten.plan.verbatim) {
            return self.analysis.statement().as_str().into();
        }
        match self.rulings.as_slice() {
            [only] => only.rewritten.sql.as_str().into(),
            several => {
                let parts: Vec<&str> = several.iter().map(|ruling| ruling.rewritten.sql.as_str()).collect();
                parts.join(";\n").into()
            }
        }
    }

    /// The text of each statement, to be sent by itself.
    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        self.rulings.iter().map(|ruling| ruling.rewritten.sql.as_str())
    }

    /// A COMMIT may be prepared as ROLLBACK, or become one, while the ledger fails: neither shows anybody anything.
    fn is_commit(&self) -> bool {
        self.analysis.items().iter().all(|item| item.facts.kind == super::admit::COMMIT)
    }

    /// What its statements run by name.
    pub(super) fn runs(&self) -> Vec<&str> {
        self.rulings.iter().filter_map(|ruling| ruling.runs.as_deref()).collect()
    }
}

impl Gate {
    /// Judges `case` by the rules in force, with `approvals` as evidence. Asks nobody and writes nothing.
    pub(super) async fn judge_once(
        &self,
        case: &Case<'_>,
        approvals: &[ApprovalEvidence],
    ) -> Result<Verdict, Denial> {
        let rules = self.rules();
        let (analysis, catalog) = match &case.context.unjudged {
            None => self.understand(case).await?,
            Some(unjudged) => {
                let (analysis, catalog) = self.understand_or_not(case).await?;
                let is_way_out = matches!(analysis.items(), [only] if is_way_out(&only.facts.kind));
                if !is_way_out {
                    self.still_unjudged(&rules, case, unjudged, &catalog)?;
                }
                (analysis, catalog)
            }
        };
        shape::structure(case, &analysis)?;
        let read = Arc::clone(&analysis);
        let completed = self.completed(case, analysis, &catalog).await?;
        let analysis = Arc::clone(&completed.analysis);
        let rows = self.rows(&rules, case, &analysis)?;
        let mut decisions = Vec::with_capacity(analysis.items().len());
        let mut evidence = Vec::with_capacity(analysis.items().len());
        for (index, (item, notes)) in analysis.each().enumerate() {
            let batch = Batch { index, size: analysis.items().len() };
            let has_values = case.via != Via::Prepare && !completed.runs_by_name(index);
            let asked = Asked { rules: &rules, case, item, notes, batch, approvals, has_values };
            let decided = self.decide_item(&asked).await;
            let (decision, made_on) = decided.map_err(|denial| denial.ending(ends_session(&decisions)))?;
            decisions.push(self.over(decision, rows.as_ref()));
            evidence.push(made_on);
        }
        let ends = ends_session(&decisions);
        let ruled = self.ruled(case, completed, &catalog, decisions).await;
        let rulings = ruled.map_err(|denial| denial.ending(ends))?;
        let revision = rules.policy.revision().into();
        let catalog_version = catalog.version();
        let verdict = Verdict { analysis, read, catalog_version, rulings, evidence, revision };
        match case.prepared {
            Some(prepared) if prepared.sql != verdict.sql() && !verdict.is_commit() => {
                Err(stale("prepare it again").ending(ends))
            }
            Some(_) | None => Ok(verdict),
        }
    }

    /// What holds for statements that the rulebook does not deny, if the gateway can carry it out.
    async fn ruled(
        &self,
        case: &Case<'_>,
        completed: Completed,
        catalog: &Arc<Snapshot>,
        decisions: Vec<Arc<Decision>>,
    ) -> Result<Vec<Ruling>, Denial> {
        let analysis = Arc::clone(&completed.analysis);
        shape::limited_batch(case, &analysis, &decisions)?;
        shape::ends_last(&decisions)?;
        pinned::kept(case.context, analysis.items())?;
        rows::session_stays(case.context, analysis.items())?;
        self.rows_hold(&completed, &decisions, catalog)?;
        let rulings = self.mask(completed, catalog, decisions).await?;
        let guarded = rulings.iter().map(|ruling| ruling.rewritten.plan.guard.is_some());
        definitions::in_order(analysis.items(), guarded)?;
        Ok(rulings)
    }

    /// Facts by the newest catalog; a name that it does not know makes it load once more.
    async fn understand(&self, case: &Case<'_>) -> Result<(Arc<Reading>, Arc<Snapshot>), Denial> {
        let database = case.context.database();
        let Some(catalog) = self.catalogs.current(database) else {
            let catalog = match self.refreshed(database).await {
                Ok(catalog) => catalog,
                Err(denial) => return self.way_out_without_catalog(case, denial).await,
            };
            return Ok((self.reading(case, &catalog).await?, catalog));
        };
        let analysis = match case.prepared.filter(|known| known.catalog_version == catalog.version()) {
            Some(known) => Arc::clone(&known.analysis),
            None => self.reading(case, &catalog).await?,
        };
        let is_old = self.catalogs.is_expired(database);
        if !analysis.items().iter().any(|item| names_unknown_objects(item) || is_old && decide(item)) {
            return Ok((analysis, catalog));
        }
        let newer = self.refreshed(database).await?;
        if newer.version() == catalog.version() {
            return Ok((analysis, catalog));
        }
        Ok((self.reading(case, &newer).await?, newer))
    }

    /// The statement by the database's own catalog, from memory if it is there.
    pub(super) async fn reading(
        &self,
        case: &Case<'_>,
        catalog: &Arc<Snapshot>,
    ) -> Result<Arc<Reading>, Denial> {
        let name = Name {
            statement: case.statement.clone(),
            database: case.context.database.clone(),
            catalog_version: catalog.version(),
        };
        if let Some(reading) = self.memory.recall(&name) {
            return Ok(reading);
        }
        let reading = self.analysed(case.statement, catalog).await?;
        self.memory.keep(name, &reading);
        Ok(reading)
    }

    /// A ROLLBACK names nothing, so it needs no catalog.
    async fn way_out_without_catalog(
        &self,
        case: &Case<'_>,
        denial: Denial,
    ) -> Result<(Arc<Reading>, Arc<Snapshot>), Denial> {
        let nothing = Arc::new(Snapshot::new(0, 0, Vec::new(), Vec::new(), Vec::new()));
        let analysis = self.analysed(case.statement, &nothing).await?;
        match analysis.items() {
            [only] if is_way_out(&only.facts.kind) => Ok((analysis, nothing)),
            _ => Err(denial),
        }
    }

    pub(super) async fn refreshed(&self, database: &str) -> Result<Arc<Snapshot>, Denial> {
        self.catalogs.refresh(database).await.map_err(|error| {
            tracing::error!(%database, error = %error, "catalog.failed");
            Denial::because(
                DenialKind::Unavailable,
                "catalog",
                format!("the catalog of database `{database}` can't be read, so nothing can be judged"),
                "try again later; if it persists, tell the operator of the gateway",
            )
        })
    }

    pub(super) async fn analysed(
        &self,
        statement: &Statement,
        catalog: &Arc<Snapshot>,
    ) -> Result<Arc<Reading>, Denial> {
        let analysed = match Workers::here(|| analyze_shallow(statement, catalog)) {
            Ok(Some(shallow)) => Ok(shallow),
            Ok(None) => {
                let (statement, catalog) = (statement.clone(), Arc::clone(catalog));
                self.workers.run(move || analyze(&statement, &catalog)).await
            }
            Err(error) => Err(error),
        };
        match analysed {
            Ok(Ok(analysis)) => Ok(Arc::new(Reading::new(analysis))),
            Ok(Err(AnalyzeError::Syntax { message })) => {
                Err(Denial::because(DenialKind::Syntax, "syntax", message, ""))
            }
            Ok(Err(error @ AnalyzeError::GaveUp { .. })) => Err(Denial::because(
                DenialKind::Unresolved(Missing::Other),
                "not_understood",
                error.to_string(),
                "",
            )),
            Err(error) => Err(worker_denial(error)),
        }
    }

    /// Rewrites every statement by its decision's masks.
    async fn mask(
        &self,
        completed: Completed,
        catalog: &Arc<Snapshot>,
        decisions: Vec<Arc<Decision>>,
    ) -> Result<Vec<Ruling>, Denial> {
        if completed.names_something() {
            let catalog = Arc::clone(catalog);
            let governed = |decision: Arc<Decision>| {
                let governed = self.memory.governed(&decision.masks, &catalog);
                (decision, governed)
            };
            let decisions = decisions.into_iter().map(governed).collect();
            let ruled = match completed.is_shallow() {
                true => Workers::here(|| rule(&completed, decisions, &catalog)),
                false => self.workers.run(move || rule(&completed, decisions, &catalog)).await,
            };
            return ruled.map_err(worker_denial)?.map_err(Denial::from);
        }
        let analysis = &completed.analysis;
        let mut rulings = Vec::with_capacity(decisions.len());
        for (index, (decision, item)) in decisions.into_iter().zip(analysis.items()).enumerate() {
            let rewrite = match analysis.rewritten(index, &decision.masks) {
                Some(rewrite) => rewrite,
                None => self.rewritten(analysis, index, &decision.masks, catalog).await?,
            };
            let change = complete::listening(item);
            let Rewrite { rewritten, masked, filters, .. } = rewrite;
            rulings.push(Ruling { decision, rewritten, masked, filters, change, runs: None });
        }
        Ok(rulings)
    }

    async fn rewritten(
        &self,
        analysis: &Arc<Reading>,
        index: usize,
        masks: &Arc<Masks>,
        catalog: &Arc<Snapshot>,
    ) -> Result<Rewrite, Denial> {
        let governed = self.memory.governed(masks, catalog);
        let rewritten = if analysis.is_shallow() {
            Workers::here(|| analysis.rewrite(index, masks, &governed, catalog))
        } else {
            let (analysis, masks, catalog) = (Arc::clone(analysis), Arc::clone(masks), Arc::clone(catalog));
            self.workers.run(move || analysis.rewrite(index, &masks, &governed, &catalog)).await
        };
        rewritten.map_err(worker_denial)?.map_err(|refusal| Denial::from(Blocked::Unmaskable(refusal)))
    }
}

/// The plan that the server holds was made under other masks or definitions.
fn stale(again: &str) -> Denial {
    Denial::because(
        DenialKind::Stale,
        "stale_plan",
        "what you may see has changed since this statement was prepared",
        again,
    )
}

impl From<Blocked> for Denial {
    fn from(blocked: Blocked) -> Self {
        match blocked {
            Blocked::Unmaskable(refusal) => {
                Self::because(DenialKind::Mask, "mask", refusal.what, refusal.hint)
            }
            Blocked::Stale { again } => stale(again),
        }
    }
}

/// Rewrites statements of which some do something by name.
fn rule(
    completed: &Completed,
    decisions: Vec<(Arc<Decision>, Arc<Governed>)>,
    catalog: &Snapshot,
) -> Result<Vec<Ruling>, Blocked> {
    let analysis = &completed.analysis;
    let mut written = Vec::with_capacity(decisions.len());
    for (index, (item, (decision, governed))) in analysis.items().iter().zip(&decisions).enumerate() {
        let under = Under { masks: &decision.masks, governed, catalog };
        let text = analysis.statement().as_str().get(item.range.clone()).unwrap_or_default();
        let part = completed.part(index);
        written.push(complete::write(text, item, &part, &under, &written)?);
    }
    let all = analysis.items().iter().zip(decisions).zip(written);
    let rulings = all.map(|((item, (decision, governed)), Written { rewritten, change, runs })| {
        let (masked, filters) = (masked_columns(item, &governed), row_filters(item, &governed));
        Ruling { decision, rewritten: Arc::new(rewritten), masked, filters, change, runs }
    });
    Ok(rulings.collect())
}

/// The denial of a statement that was not understood.
pub(super) fn unresolved(item: &Item) -> Option<Denial> {
    let reasons: Vec<Reason> = item
        .facts
        .unresolved
        .iter()
        .map(|thing| Reason {
            rule: "not_understood".to_owned(),
            message: match Missing::of(&thing.what) {
                // In PostgreSQL's own words.
                Missing::Statement | Missing::Cursor => {
                    format!("{} \"{}\" {}", thing.what, thing.name, thing.why)
                }
                Missing::Relation | Missing::Column | Missing::Function | Missing::Other => {
                    format!("{} `{}` {}", thing.what, thing.name, thing.why)
                }
            },
            ..Reason::default()
        })
        .collect();
    if reasons.is_empty() && item.facts.class != Class::Unknown {
        return None;
    }
    let missing = item.facts.unresolved.first().map_or(Missing::Other, |thing| Missing::of(&thing.what));
    Some(Denial::of(DenialKind::Unresolved(missing), or_default(reasons)))
}

pub(super) fn ends_session(decisions: &[Arc<Decision>]) -> bool {
    decisions.iter().any(|decision| decision.ends_session)
}

/// Statements that end or undo a transaction are always possible, whatever the rulebook says.
pub(super) fn is_way_out(kind: &str) -> bool {
    matches!(kind, "rollback" | "rollback_to")
}

pub(super) fn or_default(reasons: Vec<Reason>) -> Vec<Reason> {
    if !reasons.is_empty() {
        return reasons;
    }
    vec![Reason {
        rule: "default_deny".to_owned(),
        message: "no rule allows this statement".to_owned(),
        ..Reason::default()
    }]
}

pub(super) fn worker_denial(error: WorkersError) -> Denial {
    match error {
        WorkersError::Busy => {
            Denial::because(DenialKind::Overloaded, "overloaded", error.to_string(), "try again shortly")
        }
        WorkersError::Failed => {
            Denial::because(DenialKind::Unresolved(Missing::Other), "not_understood", error.to_string(), "")
        }
    }
}
