//! One `judged` an act: what [`super::Gate::admit`] does for it.

use std::sync::{Arc, OnceLock};

use smol_str::SmolStr;

use crate::audit::{Event, StatementRecord, hex};
use crate::identity::Identity;
use crate::mask::Release;
use crate::policy::Reason;
use crate::policy::input::{Arguments, Spent};
use crate::sql::Item;

use super::act::{Judged, Parameters};
use super::authorized::{Clearance, PrepareClearance, QueryClearance, RunClearance};
use super::course::{Course, Grounds};
use super::definitions::Watch;
use super::escalate::{Errand, Passed, Values};
use super::evidence::Evidence;
use super::journal::{self, NONE, Scene};
use super::judge::{Case, Ruling, Via, is_way_out, unresolved};
use super::{
    Approve, Authorized, Bind, Denial, DenialKind, Gate, Names, Prepare, Prepared, Query, Run, RunMode,
    RunStep, Running, Tell,
};

impl Judged for Query {
    async fn judged(self, gate: &Gate, who: &Identity, tell: &dyn Tell) -> Result<Authorized<Self>, Denial> {
        let case = Case::to_run(who, &self.context, &self.sql, Via::Query, &self.names);
        let admitted = gate.admitted(who, &case, tell, "").await?;
        let grant = QueryClearance { sql: admitted.sql, running: admitted.running };
        Ok(Authorized::mint(self, grant))
    }
}

impl Judged for Prepare {
    async fn judged(self, gate: &Gate, who: &Identity, tell: &dyn Tell) -> Result<Authorized<Self>, Denial> {
        let case = Case {
            name: &self.name,
            ..Case::to_run(who, &self.context, &self.sql, Via::Prepare, &self.names)
        };
        let Admitted { sql, mut running, grounds, decision_id } = gate.admitted(who, &case, tell, "").await?;
        let passed = &grounds.passed;
        let plan = passed.verdict.rulings.first().map(|ruling| ruling.rewritten.plan.clone());
        let prepared = Prepared {
            statement: self.sql.clone(),
            analysis: Arc::clone(&passed.verdict.read),
            sql,
            plan: plan.unwrap_or_default(),
            catalog_version: passed.verdict.catalog_version,
            decision_id: decision_id.clone(),
            parameter_types: self.parameter_types.clone(),
            described_types: OnceLock::new(),
        };
        let receipt = match running.pop() {
            Some(running) => running.receipt,
            None => gate.journal.receipt(&Scene::session(who, &self.context), &decision_id),
        };
        let grant = PrepareClearance { prepared: Arc::new(prepared), receipt };
        Ok(Authorized::mint(self, grant))
    }
}

impl Judged for Bind {
    async fn judged(self, gate: &Gate, who: &Identity, tell: &dyn Tell) -> Result<Authorized<Self>, Denial> {
        let case = Case {
            parameters: vec![shown(&self.parameters)],
            prepared: Some(&self.prepared),
            values: Values::Bound(&self.parameters),
            name: &self.statement_name,
            ..Case::to_run(who, &self.context, self.prepared.statement(), Via::Bind, &self.names)
        };
        let admitted = gate.admitted(who, &case, tell, "").await?;
        Ok(Authorized::mint(self, admitted.single(gate)))
    }
}

impl Judged for Run {
    async fn judged(self, gate: &Gate, who: &Identity, tell: &dyn Tell) -> Result<Authorized<Self>, Denial> {
        let names = Names::default();
        let case = Case {
            parameters: self.parameters.clone(),
            values: Values::Called(&self.parameters),
            arguments: self.arguments(),
            key: &self.key,
            ..Case::to_run(who, &self.context, &self.sql, Via::Tool(&self.tool), &names)
        };
        let admitted = gate.admitted(who, &case, tell, &self.purpose).await?;
        let grant = admitted.steps(&self.parameters, gate);
        Ok(Authorized::mint(self, grant))
    }
}

impl Run {
    fn arguments(&self) -> Arguments<'_> {
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let (max_rows, max_affected) = match self.mode {
            RunMode::Read { max_rows } => (number(max_rows), -1),
            RunMode::Write { max_affected } => (-1, max_affected.map_or(-1, number)),
        };
        Arguments { reason: &self.purpose, max_rows, max_affected }
    }
}

impl Judged for Approve {
    async fn judged(self, gate: &Gate, who: &Identity, _tell: &dyn Tell) -> Result<Authorized<Self>, Denial> {
        let scene = Scene::identity(who, super::Door::Console, &self.client);
        match gate.eligible(who, &self) {
            Ok(groups) => {
                let vote = format!("{:?} on approval {} admitted", self.vote, self.id);
                let event = Event::Gateway { what: vote };
                gate.journal.append(&scene, &NONE, event).await.map_err(|error| Denial::from(&error))?;
                Ok(Authorized::mint(self, groups))
            }
            Err(denial) => {
                let reason = denial.reason().map(|reason| reason.message.clone()).unwrap_or_default();
                let what = format!("{:?} on approval {} refused: {reason}", self.vote, self.id);
                gate.journal.note(&scene, &NONE, Event::Gateway { what });
                Err(denial)
            }
        }
    }
}

/// A statement string that passed and is in the ledger.
pub(super) struct Admitted {
    sql: String,
    running: Vec<Running>,
    grounds: Arc<Grounds>,
    decision_id: SmolStr,
}

impl Admitted {
    /// The grant of an act that holds exactly one statement, or an empty string.
    pub(super) fn single(mut self, gate: &Gate) -> Clearance {
        let running = self.running.pop().unwrap_or_else(|| gate.nothing_running(&self.decision_id));
        Clearance { sql: self.sql, running }
    }

    /// Each statement by itself, with its own values: for who sends them one by one.
    fn steps(self, parameters: &[Vec<Option<String>>], gate: &Gate) -> RunClearance {
        let mut values = parameters.iter().cloned();
        let approval = self.grounds.passed.approval.as_ref().map(|approval| approval.id().clone());
        if self.running.len() < 2 {
            let parameters = values.next().unwrap_or_default();
            let steps = vec![RunStep { cleared: self.single(gate), parameters }];
            return RunClearance { steps, approval };
        }
        let texts: Vec<String> = self.grounds.passed.verdict.texts().map(str::to_owned).collect();
        let cleared = self.running.into_iter().zip(texts);
        let step = |(running, sql)| RunStep {
            cleared: Clearance { sql, running },
            parameters: values.next().unwrap_or_default(),
        };
        RunClearance { steps: cleared.map(step).collect(), approval }
    }
}

impl Gate {
    /// Judges, waits where it must, and writes the ledger.
    pub(super) async fn admitted(
        &self,
        who: &Identity,
        case: &Case<'_>,
        tell: &dyn Tell,
        purpose: &str,
    ) -> Result<Admitted, Denial> {
        let decision_id = case.decision_id.clone();
        let scene = Scene::session(who, case.context);
        let errand = Errand { who, tell, decision_id: &decision_id, scene: &scene, purpose };
        let passed = match self.pass(case, &errand).await {
            Ok(passed) => passed,
            Err(denial) => return Err(self.denied(case, &scene, &decision_id, denial)),
        };
        match self.record(case, &scene, &decision_id, &passed).await {
            Ok(()) => {
                self.account(case, &passed);
                Ok(self.running(&scene, decision_id, passed, case))
            }
            Err(denial) => self.way_out(case, &scene, decision_id, passed, denial),
        }
    }

    pub(super) fn denied(
        &self,
        case: &Case<'_>,
        scene: &Scene,
        decision_id: &SmolStr,
        denial: Denial,
    ) -> Denial {
        let reason = denial.recorded().cloned();
        let approval_id = pending_id(&denial);
        let text = case.statement.as_str().to_owned();
        if approval_id.is_empty() {
            let denied = Spent { denied: 1, ..Spent::default() };
            self.budgets.add(&case.principal.name().into(), denied, self.clock.now());
        }
        let evidence = denial.evidence();
        if let Some(evidence) = evidence {
            self.keep_facts(evidence);
        }
        let record = StatementRecord {
            facts_digest: evidence.map(Evidence::facts_digest).unwrap_or_default(),
            command: evidence.map(|evidence| evidence.facts().kind.as_str().into()).unwrap_or_default(),
            place: reason.as_ref().map(|reason| reason.place.as_str().into()).unwrap_or_default(),
            input: evidence.map(|evidence| Box::new(evidence.kept.clone())),
            decision: SmolStr::new_static(if approval_id.is_empty() { "deny" } else { "escalate" }),
            rule: reason.as_ref().map(|reason| reason.rule.as_str().into()).unwrap_or_default(),
            message: reason.map(|reason| reason.message).unwrap_or_default(),
            revision: self.rules().policy.revision().into(),
            approval_id,
            ..journal::statement(
                case.via.as_str(),
                text,
                kept(
                    &case.parameters.concat(),
                    denial.redacts().unwrap_or_else(|| self.rules().policy.may_redact()),
                ),
            )
        };
        let rule = record.rule.as_str();
        tracing::info!(%decision_id, identity = case.principal.name(), rule, "decision.denied");
        self.journal.note(scene, decision_id, Event::Decided(Box::new(record)));
        Denial { decision_id: decision_id.to_string(), ..denial }
    }

    /// Makes every statement's record durable; only then may the string leave.
    pub(super) async fn record(
        &self,
        case: &Case<'_>,
        scene: &Scene,
        decision_id: &SmolStr,
        passed: &Passed,
    ) -> Result<(), Denial> {
        let verdict = &passed.verdict;
        if verdict.rulings.is_empty() {
            let text = case.statement.as_str().to_owned();
            let record = StatementRecord {
                command: SmolStr::new_static("empty"),
                decision: SmolStr::new_static("allow"),
                revision: verdict.revision.clone(),
                ..journal::statement(case.via.as_str(), text, case.parameters.concat())
            };
            let event = Event::Decided(Box::new(record));
            return self.journal.append(scene, decision_id, event).await.map_err(|e| Denial::from(&e));
        }
        let redact = verdict.rulings.iter().any(|ruling| ruling.decision.redact_parameters);
        let ruled = verdict.rulings.iter().zip(&verdict.evidence);
        for (index, (item, (ruling, evidence))) in verdict.analysis.items().iter().zip(ruled).enumerate() {
            self.keep_facts(evidence);
            let text = case.statement.as_str().get(item.range.clone()).unwrap_or_default().to_owned();
            let verbatim = ruling.rewritten.plan.verbatim;
            let reason = first(ruling).cloned().or_else(|| not_understood(item));
            let record = StatementRecord {
                sent: if verbatim { String::new() } else { ruling.rewritten.sql.clone() },
                facts_digest: evidence.facts_digest(),
                command: item.facts.kind.as_str().into(),
                decision: SmolStr::new_static(decision_word(ruling, passed)),
                rule: reason.as_ref().map(|reason| reason.rule.as_str().into()).unwrap_or_default(),
                message: reason.map(|reason| reason.message).unwrap_or_default(),
                revision: verdict.revision.clone(),
                approval_id: passed.approval.as_ref().map(|a| a.id().to_string().into()).unwrap_or_default(),
                masked: Arc::clone(&ruling.masked),
                released: Arc::clone(&ruling.rewritten.plan.released),
                detect: ruling.decision.detect.names().map(SmolStr::new_static).collect(),
                row_filters: Arc::clone(&ruling.filters),
                max_rows: ruling.decision.limits.rows,
                max_bytes: ruling.decision.limits.bytes,
                max_time_ms: ruling.decision.limits.time_ms,
                labels: ruling.decision.labels.clone(),
                place: first(ruling).map(|reason| reason.place.as_str().into()).unwrap_or_default(),
                input: Some(Box::new(evidence.kept.clone())),
                ..journal::statement(case.via.as_str(), text, kept(case.parameters_of(index), redact))
            };
            let event = Event::Decided(Box::new(record));
            self.journal.append(scene, decision_id, event).await.map_err(|error| Denial::from(&error))?;
        }
        tracing::debug!(%decision_id, identity = case.principal.name(), "decision.allowed");
        Ok(())
    }

    fn running(&self, scene: &Scene, decision_id: SmolStr, mut passed: Passed, case: &Case<'_>) -> Admitted {
        let context = case.context;
        let sql = passed.verdict.sql().into_owned();
        let catalog_version = passed.verdict.catalog_version;
        let items = passed.verdict.analysis.items().iter().zip(&mut passed.verdict.rulings);
        let mut running: Vec<Running> = items
            .map(|(item, ruling)| {
                let limits = ruling.decision.limits;
                let release = match context.is_unjudged() {
                    true => Release::unplanned(limits.rows, limits.bytes),
                    false => Release::new(ruling.rewritten.plan.clone(), limits.rows, limits.bytes)
                        .looked_through(ruling.decision.detect),
                };
                let watch = Watch::new(Arc::clone(&self.catalogs), Arc::clone(context), &item.facts);
                Running {
                    release,
                    receipt: self
                        .journal
                        .receipt(scene, &decision_id)
                        .watched(watch)
                        .charged_to(self.budgets.clone(), case.principal.name().into()),
                    facts: Arc::clone(&item.facts),
                    limits,
                    ends_session: ruling.decision.ends_session,
                    course: None,
                    change: ruling.change.take().map(|change| change.decided(catalog_version, &decision_id)),
                    warning: None,
                }
            })
            .collect();
        let grounds = Arc::new(Grounds::of(case, passed));
        for (index, running) in running.iter_mut().enumerate() {
            running.course = Some(Course::new(&grounds, index));
        }
        Admitted { sql, running, grounds, decision_id }
    }

    /// What still runs when the ledger does not: the end of a transaction, and only by undoing it. Its record is
    /// owed, and kept before anything else runs.
    fn way_out(
        &self,
        case: &Case<'_>,
        scene: &Scene,
        decision_id: SmolStr,
        passed: Passed,
        denial: Denial,
    ) -> Result<Admitted, Denial> {
        let kind = match passed.verdict.analysis.items() {
            [only] => only.facts.kind.clone(),
            _ => String::new(),
        };
        // One that chains would leave its client in a transaction that is none: it is denied.
        let chains = case.statement.as_str().to_ascii_lowercase().contains("chain");
        let undone = kind == COMMIT && !chains && !matches!(case.via, Via::Tool(_));
        if !is_way_out(&kind) && !undone {
            return Err(self.denied(case, scene, &decision_id, denial));
        }
        let record = StatementRecord {
            sent: if undone { ROLLBACK.to_owned() } else { String::new() },
            command: kind.into(),
            decision: SmolStr::new_static("allow"),
            rule: denial.reason().map(|reason| reason.rule.as_str().into()).unwrap_or_default(),
            message: denial.reason().map(|reason| reason.message.clone()).unwrap_or_default(),
            revision: passed.verdict.revision.clone(),
            ..journal::statement(
                case.via.as_str(),
                case.statement.as_str().to_owned(),
                case.parameters.concat(),
            )
        };
        self.journal.note(scene, &decision_id, Event::Decided(Box::new(record)));
        let mut admitted = self.running(scene, decision_id, passed, case);
        if undone {
            ROLLBACK.clone_into(&mut admitted.sql);
            let warning = Denial { decision_id: admitted.decision_id.to_string(), ..denial };
            admitted.running.iter_mut().for_each(|running| running.warning = Some(Box::new(warning.clone())));
        }
        Ok(admitted)
    }

    /// Counts what is about to run, and notes what it reads.
    fn account(&self, case: &Case<'_>, passed: &Passed) {
        let identity = SmolStr::new(case.principal.name());
        let now = self.clock.now();
        if case.via != Via::Prepare {
            let statements = u64::try_from(passed.verdict.rulings.len()).unwrap_or(u64::MAX);
            self.budgets.add(&identity, Spent { statements, ..Spent::default() }, now);
            for ruling in &passed.verdict.rulings {
                case.context.label(&ruling.decision.labels);
                self.budgets.label(&identity, &ruling.decision.labels, now);
            }
        }
    }

    fn nothing_running(&self, decision_id: &SmolStr) -> Running {
        Running {
            release: Release::new(crate::mask::Plan::default(), None, None),
            receipt: self.journal.receipt(&Scene::default(), decision_id),
            facts: Arc::new(crate::sql::Facts::empty()),
            limits: crate::policy::Limits::default(),
            ends_session: false,
            course: None,
            change: None,
            warning: None,
        }
    }
}

/// The bind values as the ledger keeps them.
fn kept(parameters: &[Option<String>], redact: bool) -> Vec<Option<String>> {
    if !redact {
        return parameters.to_vec();
    }
    parameters.iter().map(|_| Some("(redacted by the rulebook)".to_owned())).collect()
}

/// What the ledger says of a statement that runs although it was not understood.
fn not_understood(item: &Item) -> Option<Reason> {
    let denial = unresolved(item)?;
    denial.reason().map(|reason| Reason { rule: "unjudged".to_owned(), ..reason.clone() })
}

fn first(ruling: &Ruling) -> Option<&Reason> {
    ruling.decision.reasons.first()
}

/// The request that a denial waits for; empty if it waits for none.
fn pending_id(denial: &Denial) -> SmolStr {
    if let DenialKind::Pending { approval_id, .. } = &denial.kind {
        return approval_id.to_string().into();
    }
    SmolStr::default()
}

/// A prepared statement that will need approval is recorded as such: it is the Bind that waits.
fn decision_word(ruling: &Ruling, passed: &Passed) -> &'static str {
    match (&ruling.decision.effect, &passed.approval) {
        (crate::policy::Effect::Escalate(_), None) => "escalate",
        _ => "allow",
    }
}

/// Bind values as people read them: text as it is, binary in hexadecimal, long ones shortened.
pub(super) fn shown(parameters: &Parameters) -> Vec<Option<String>> {
    let values = parameters.values.iter().enumerate();
    values
        .map(|(index, value)| {
            let value = value.as_deref()?;
            let head = value.get(..SHOWN_BYTES).unwrap_or(value);
            let text = match parameters.format(index) {
                0 => String::from_utf8_lossy(head).into_owned(),
                _ => binary(head),
            };
            let rest = value.len().saturating_sub(head.len());
            Some(if rest == 0 { text } else { format!("{text}... ({rest} more bytes)") })
        })
        .collect()
}

/// A binary value: its bytes, and behind them how they would read. The type is the server's to know, so
/// every reading that fits is given.
fn binary(bytes: &[u8]) -> String {
    let digits = hex(bytes);
    let integer = match *bytes {
        [a, b] => Some(i64::from(i16::from_be_bytes([a, b]))),
        [a, b, c, d] => Some(i64::from(i32::from_be_bytes([a, b, c, d]))),
        [a, b, c, d, e, f, g, h] => Some(i64::from_be_bytes([a, b, c, d, e, f, g, h])),
        _ => None,
    };
    let text = std::str::from_utf8(bytes).ok();
    let text = text.filter(|text| !text.is_empty() && !text.chars().any(char::is_control));
    let readings = [integer.map(|number| number.to_string()), text.map(|text| format!("{text:?}"))];
    let readings: Vec<String> = readings.into_iter().flatten().collect();
    if readings.is_empty() {
        return format!("\\x{digits}");
    }
    format!("\\x{digits} ({})", readings.join(" or "))
}

/// Every byte that decides what a Bind does, each part behind its length.
pub(super) fn exact(parameters: &Parameters) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (index, value) in parameters.values.iter().enumerate() {
        bytes.extend_from_slice(&parameters.format(index).to_be_bytes());
        match value {
            None => bytes.push(0),
            Some(value) => {
                bytes.push(1);
                bytes.extend_from_slice(&u64::try_from(value.len()).unwrap_or(u64::MAX).to_be_bytes());
                bytes.extend_from_slice(value);
            }
        }
    }
    bytes
}

/// What runs in the place of a COMMIT that can't be kept in the ledger.
const ROLLBACK: &str = "ROLLBACK";
/// What kind of statement a COMMIT is.
pub(super) const COMMIT: &str = "commit";
/// How many bytes of one bind value are shown in full to approvers and in the ledger.
const SHOWN_BYTES: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binary_value_is_shown_with_every_reading_that_fits() {
        assert_eq!(binary(b"shipped"), "\\x73686970706564 (\"shipped\")");
        assert_eq!(binary(&7_i32.to_be_bytes()), "\\x00000007 (7)");
        assert_eq!(binary(b"ship"), "\\x73686970 (1936222576 or \"ship\")");
        assert_eq!(binary(&[0, 1, 2]), "\\x000102");
    }

    #[test]
    fn values_that_differ_in_any_byte_or_format_differ_in_what_an_approval_binds() {
        let one = |formats: Vec<i16>, value: Option<&'static [u8]>| {
            let values = vec![value.map(bytes::Bytes::from_static)];
            exact(&Parameters { formats, values, result_formats: Vec::new() })
        };
        let all = [
            one(vec![], None),
            one(vec![], Some(b"")),
            one(vec![], Some(b"7")),
            one(vec![1], Some(b"7")),
            one(vec![], Some(b"77")),
        ];
        for (index, a) in all.iter().enumerate() {
            assert!(all.iter().skip(index + 1).all(|b| a != b), "value {index}");
        }
    }
}
