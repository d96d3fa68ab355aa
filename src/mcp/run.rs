//! One statement from a tool call to its answer: judged, held if it must be, run by [`reading`] or [`writing`].

use std::borrow::Borrow;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::approval::{ApprovalId, Request, State};
use crate::gate::{Context, Denial, DenialKind, Explanation, Foreseen, Run, RunMode};
use crate::identity::Identity;
use crate::sql::facts::Class;
use crate::sql::{Facts, Statement};

use super::caller::Caller;
use super::conceal::Asker;
use super::envelope::{self, Envelope, Refusal, Status};
use super::parameters::Lists;
use super::rooms::{Claim, KeyClaim, Rooms};
use super::waiting::Waiting;
use super::{once, reading, suggest, writing};

/// A statement that a tool was asked to run.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) caller: Caller,
    /// Empty for the only database there is.
    pub(super) database: String,
    pub(super) sql: Statement,
    /// The values of each statement.
    pub(super) parameters: Lists,
    /// The tool that took it: a rerun after approval names the same one.
    pub(super) tool: &'static str,
    pub(super) purpose: String,
    pub(super) mode: RunMode,
    /// Most bytes of rows in the answer.
    pub(super) max_bytes: u64,
    /// Kept until the outcome is: nobody else runs the same approved request meanwhile.
    pub(super) claim: Option<Claim>,
    /// The caller's key; empty without one.
    pub(super) key: String,
    /// Kept until the outcome is: nobody else uses the key meanwhile.
    pub(super) key_claim: Option<KeyClaim>,
    /// Cancelled when the client goes away. A read then ends; a write always goes on to its end.
    pub(super) gone: CancellationToken,
}

/// Runs `job`. Called in a task of its own: it goes on when the client goes away.
pub(super) async fn run(rooms: &Arc<Rooms>, job: Job, waiting: &Waiting) -> Envelope {
    if let RunMode::Read { max_rows } = job.mode {
        return reading::read(rooms, job, max_rows, waiting).await;
    }
    let who = &job.caller.identity;
    let generation = rooms.gate.generation();
    let (mut visit, connect) = match rooms.visit(&job.caller, &job.database, waiting).await {
        Ok(visit) => visit,
        Err(denial) => return Envelope::denial(&denial, who),
    };
    let explanation = job.foreseen(rooms, visit.context()).await;
    let act = job.act(visit.context());
    if let Some(refusal) = unfit(&explanation, job.mode, job.parameters.len()) {
        return declined(rooms, who, &act, &refusal);
    }
    if explanation.verdict == "escalate"
        && let Some(request) = approved(rooms, &job, visit.context())
    {
        waiting.expect(&request);
    }
    let (ends, envelope) = match rooms.gate.admit(who, act, waiting).await {
        Err(denial) => {
            let ends = denial.ends_session();
            (ends, refused(rooms, &job, visit.context(), &explanation.facts, denial, waiting).await)
        }
        Ok(proof) => {
            let (ends, decision_id) = (proof.ends_session(), proof.decision_id().to_owned());
            let envelope = writing::perform(rooms, &job, connect, proof, generation, &explanation).await;
            let envelope = envelope.with("decision_id", decision_id);
            keep(rooms, waiting, &envelope);
            drop((job.claim, job.key_claim));
            (ends, envelope)
        }
    };
    if !ends {
        return envelope;
    }
    rooms.end(&mut visit);
    envelope.with("session_ended", true)
}

impl Job {
    /// What would happen to it.
    pub(super) async fn foreseen(&self, rooms: &Rooms, context: &Arc<Context>) -> Explanation {
        let call = Foreseen { tool: self.tool, purpose: &self.purpose, parameters: &self.parameters };
        rooms.gate.foresee(&self.caller.identity, context, &self.sql, &call).await
    }

    /// Who asks, where.
    pub(super) fn asker<'a>(&'a self, rooms: &'a Rooms, context: &'a Arc<Context>) -> Asker<'a> {
        let judged = match self.mode {
            RunMode::Read { .. } => 1,
            RunMode::Write { .. } => 2,
        };
        let who = &self.caller.identity;
        Asker { rooms, who, context, tool: self.tool, purpose: &self.purpose, judged }
    }

    pub(super) fn act(&self, context: &Arc<Context>) -> Run {
        Run {
            context: Arc::clone(context),
            sql: self.sql.clone(),
            parameters: self.parameters.clone(),
            tool: self.tool.to_owned(),
            purpose: self.purpose.clone(),
            key: self.key.clone(),
            mode: self.mode,
        }
    }

    /// Most rows that may be affected.
    pub(super) fn ceiling(&self) -> Option<u64> {
        match self.mode {
            RunMode::Write { max_affected } => max_affected,
            RunMode::Read { .. } => None,
        }
    }
}

/// Keeps on record that the tool itself refuses `act`.
pub(super) fn declined(rooms: &Rooms, who: &Identity, act: &Run, refusal: &Refusal) -> Envelope {
    let denial =
        Denial::because(DenialKind::Policy, refusal.code, refusal.message.as_str(), refusal.hint.as_str());
    let decision_id = rooms.gate.decline(who, act, denial).decision_id;
    Envelope::error(refusal).with("decision_id", decision_id)
}

/// Why a tool can't run what policy may well allow; `None` leaves the answer to the gate. `statements` is how many the
/// call has brought.
pub(super) fn unfit(explanation: &Explanation, mode: RunMode, statements: usize) -> Option<Refusal> {
    if explanation.verdict == "deny" && explanation.facts.len() == statements {
        return None;
    }
    misfit(&explanation.facts, mode, statements)
}

/// Why a tool can't run `statements` statements that do what `facts` say.
pub(super) fn misfit(facts: &[impl Borrow<Facts>], mode: RunMode, statements: usize) -> Option<Refusal> {
    if facts.is_empty() {
        return None;
    }
    if facts.len() != statements {
        let message = match statements {
            1 => "the text holds several statements, and a call runs one",
            _ => "each text in `statements` must be exactly one statement",
        };
        let hint = "use `execute` with `statements`, one in each, to run several in one transaction";
        return Some(Refusal::new("one_statement", message, hint));
    }
    facts.iter().find_map(|facts| misfit_alone(facts.borrow(), mode, statements > 1))
}

fn misfit_alone(facts: &Facts, mode: RunMode, is_one_of_several: bool) -> Option<Refusal> {
    let reads_only = matches!(mode, RunMode::Read { .. });
    match facts.class {
        Class::Transaction if is_one_of_several => Some(Refusal::new(
            "transaction",
            "the statements run in one transaction already, which the gateway begins and ends",
            "leave BEGIN, COMMIT, ROLLBACK and SAVEPOINT out",
        )),
        _ if facts.kind == "copy" => Some(Refusal::new(
            "copy",
            "a tool can't stream COPY data",
            "read with SELECT, write with INSERT ... VALUES",
        )),
        Class::Session => Some(Refusal::new(
            "session",
            "every call has a session of its own, so a change of the session would be lost",
            "leave it out; name schemas in the statement",
        )),
        Class::Write | Class::Ddl | Class::Utility | Class::Unknown if reads_only => Some(Refusal::new(
            "read_only",
            "`query` only reads, and this statement changes something; nothing ran",
            "use `execute`, and say why in `reason`",
        )),
        Class::Transaction | Class::Read | Class::Write | Class::Ddl | Class::Utility | Class::Unknown => {
            None
        }
    }
}

/// The request that the gate will find approved for exactly this job, if there is one.
fn approved(rooms: &Rooms, job: &Job, context: &Context) -> Option<ApprovalId> {
    let requests = rooms.gate.desk().requests(RECENT).unwrap_or_default();
    let same = |request: &&Request| {
        request.state == State::Approved
            && request.requester == job.caller.identity.name()
            && request.door == context.door().as_str()
            && request.database == context.database()
            && request.statement == job.sql.as_str()
            && request.call.max_affected == job.ceiling()
            && (request.call.lists(&request.parameters) == job.parameters || request.holds_for_any_values())
    };
    requests.iter().find(same).map(|request| request.id.clone())
}

pub(super) async fn refused<F: Borrow<Facts>>(
    rooms: &Arc<Rooms>,
    job: &Job,
    context: &Arc<Context>,
    facts: &[F],
    denial: Denial,
    waiting: &Waiting,
) -> Envelope {
    let who = &job.caller.identity;
    if denial.kind == DenialKind::Unavailable {
        let envelope = Envelope::denial(&denial, who);
        keep(rooms, waiting, &envelope);
        return envelope;
    }
    let id = waiting.release();
    let request = id.as_ref().and_then(|id| rooms.gate.desk().request(id).ok());
    if let Some(request) = request.as_ref().filter(|request| request.state == State::Spent) {
        return spent(rooms, request).await;
    }
    if matches!(denial.kind, DenialKind::Pending { .. }) {
        let run = id.map(|id| run_approved(id.as_str()));
        let envelope = Envelope::denial(&denial, who).with_some("once_approved", run);
        return match &request {
            Some(request) => envelope.with_standing(request),
            None => envelope,
        };
    }
    // Before the catalog was first loaded there were no facts; the gate has loaded it by now.
    let late = match facts.is_empty() {
        false => Vec::new(),
        true => job.foreseen(rooms, context).await.facts,
    };
    let facts: Vec<&Facts> = facts.iter().map(Borrow::borrow).chain(&late).collect();
    let asker = job.asker(rooms, context);
    let told = asker.told(denial, &facts).await;
    let instead = suggest::instead(&asker, &job.sql, &job.parameters).await;
    Envelope::denial(&told, who).suggesting(instead)
}

/// The outcome of a request whose approval was used.
pub(super) async fn spent(rooms: &Arc<Rooms>, request: &Request) -> Envelope {
    if let Some(kept) = Envelope::kept(&request.outcome) {
        return kept;
    }
    if rooms.is_claimed(&request.id) {
        return Envelope::running(request.id.as_str());
    }
    once::of_spent(rooms, request).await
}

/// Keeps what became of an approved statement, so that `run_approved` can answer with it for ever.
pub(super) fn keep(rooms: &Rooms, waiting: &Waiting, envelope: &Envelope) {
    // What is not known is asked for again.
    let Some(id) = waiting.approval().filter(|_| !envelope.is_unknown()) else { return };
    let desk = rooms.gate.desk();
    let open = |request: Request| request.state == State::Spent && request.outcome.is_null();
    let used = desk.request(&id).is_ok_and(open);
    if used && let Err(error) = desk.record_outcome(&id, &envelope.to_keep()) {
        tracing::error!(approval_id = %id, error = %error, "mcp.outcome_not_kept");
    }
}

/// The call that runs an approved request, as it was asked for.
pub(super) fn run_approved(id: &str) -> Value {
    json!({"tool": "run_approved", "args": {"approval_id": id}})
}

/// The answer for a request that is neither open nor usable.
pub(super) fn not_approved(request: &Request) -> Envelope {
    let refusal = Refusal::new("not_approved", envelope::state_sentence(request), "");
    Envelope::new(Status::Denied, "")
        .with("denial", json!(refusal))
        .with("approval", envelope::approval(request))
}

/// How long an approved statement waits when it is run: it is approved already.
pub(super) const NO_WAIT: Duration = Duration::ZERO;
/// So many of the newest requests are looked through for one's own.
pub(super) const RECENT: usize = 500;
