//! One statement from a tool call to its answer: judged, held if it must be, run, rendered.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use crate::approval::{ApprovalId, Request, State};
use crate::gate::{Authorized, Connect, Context, Denial, DenialKind, Explanation, Run, RunMode};
use crate::mask::Stop;
use crate::sql::Statement;
use crate::sql::facts::Class;
use crate::upstream::{ConnectError, RunError, RunResult, execute};

use super::caller::Caller;
use super::envelope::{self, Envelope, Refusal, Status};
use super::rooms::{Claim, Rooms};
use super::text::{MESSAGE, NAME, NOTICE, clean};
use super::values::Kind;
use super::waiting::Waiting;
use super::{conceal, render};

/// A statement that a tool was asked to run.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) caller: Caller,
    /// Empty for the only database there is.
    pub(super) database: String,
    pub(super) sql: Statement,
    pub(super) parameters: Vec<Option<String>>,
    /// The tool that took it: a rerun after approval names the same one.
    pub(super) tool: &'static str,
    pub(super) purpose: String,
    pub(super) mode: RunMode,
    /// Most bytes of rows in the answer.
    pub(super) max_bytes: u64,
    /// Kept until the outcome is: nobody else runs the same approved request meanwhile.
    pub(super) claim: Option<Claim>,
    /// Cancelled when the client goes away. A read then ends; a write always goes on to its end.
    pub(super) gone: CancellationToken,
}

/// Runs `job`. Called in a task of its own: it goes on when the client goes away.
pub(super) async fn run(rooms: &Arc<Rooms>, job: Job, waiting: &Waiting) -> Envelope {
    let who = &job.caller.identity;
    let (mut visit, connect) = match rooms.visit(&job.caller, &job.database, waiting).await {
        Ok(visit) => visit,
        Err(denial) => return Envelope::denial(&denial, who),
    };
    let explanation = rooms.gate.explain(who, visit.context(), &job.sql).await;
    let act = job.act(visit.context());
    if let Some(refusal) = unfit(&explanation, job.mode) {
        let denial = Denial::because(
            DenialKind::Policy,
            refusal.code,
            refusal.message.as_str(),
            refusal.hint.as_str(),
        );
        let decision_id = rooms.gate.decline(who, &act, denial).decision_id;
        return Envelope::error(&refusal).with("decision_id", decision_id);
    }
    if explanation.verdict == "escalate"
        && let Some(request) = approved(rooms, &job, visit.context())
    {
        waiting.expect(&request);
    }
    let (ends, envelope) = match rooms.gate.admit(who, act, waiting).await {
        Err(denial) => {
            let ends = denial.ends_session();
            (ends, refused(rooms, &job, visit.context(), explanation, denial, waiting).await)
        }
        Ok(proof) => {
            let (ends, decision_id) = (proof.ends_session(), proof.decision_id().to_owned());
            let envelope = perform(rooms, &job, connect, proof, &explanation).await;
            let envelope = envelope.with("decision_id", decision_id);
            keep(rooms, waiting, &envelope);
            drop(job.claim);
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
    fn act(&self, context: &Arc<Context>) -> Run {
        Run {
            context: Arc::clone(context),
            sql: self.sql.clone(),
            parameters: self.parameters.clone(),
            tool: self.tool.to_owned(),
            purpose: self.purpose.clone(),
            mode: self.mode,
        }
    }
}

/// Why a tool can't run what policy may well allow; `None` leaves the answer to the gate.
fn unfit(explanation: &Explanation, mode: RunMode) -> Option<Refusal> {
    let facts = match explanation.facts.as_slice() {
        [] => return None,
        [only] => only,
        _ => {
            let message = "the text holds several statements, and a call runs one";
            return Some(Refusal::new("one_statement", message, "call the tool once for each"));
        }
    };
    if explanation.verdict == "deny" {
        return None;
    }
    let reads_only = matches!(mode, RunMode::Read { .. });
    match facts.class {
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
            && (request.parameters == job.parameters || request.holds_for_any_values())
    };
    requests.iter().find(same).map(|request| request.id.clone())
}

async fn refused(
    rooms: &Arc<Rooms>,
    job: &Job,
    context: &Arc<Context>,
    explanation: Explanation,
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
        return spent(rooms, request);
    }
    if matches!(denial.kind, DenialKind::Pending { .. }) {
        let run = id.map(|id| run_approved(id.as_str(), job.mode));
        let envelope = Envelope::denial(&denial, who).with_some("once_approved", run);
        return match &request {
            Some(request) => envelope.with_standing(request),
            None => envelope,
        };
    }
    // Before the catalog was first loaded there were no facts; the gate has loaded it by now.
    let facts = match explanation.facts.is_empty() {
        false => explanation.facts,
        true => rooms.gate.explain(who, context, &job.sql).await.facts,
    };
    match rooms.gate.access(who, context).await {
        Ok(access) => Envelope::denial(&conceal::denial(denial, &facts, &access), who),
        Err(unavailable) => Envelope::denial(&unavailable, who),
    }
}

/// The outcome of a request whose approval was used.
pub(super) fn spent(rooms: &Rooms, request: &Request) -> Envelope {
    if let Some(kept) = Envelope::kept(&request.outcome) {
        return kept;
    }
    if rooms.is_claimed(&request.id) {
        return Envelope::running(request.id.as_str());
    }
    Envelope::error(&Refusal::new(
        "outcome_unknown",
        "the approval was used, but the gateway stopped before the outcome was kept: whether it ran is unknown",
        "look at the data before you ask again",
    ))
    .with("approval_id", request.id.as_str())
}

async fn perform(
    rooms: &Arc<Rooms>,
    job: &Job,
    connect: Authorized<Connect>,
    proof: Authorized<Run>,
    explanation: &Explanation,
) -> Envelope {
    let database = connect.context().database().to_owned();
    let mut link = match rooms.link(connect, &job.caller.identity).await {
        Ok(link) => link,
        Err(error) => return unreachable(&error, &database),
    };
    let started = tokio::time::Instant::now();
    let canceller = link.canceller();
    let mut running = std::pin::pin!(execute(&mut link, proof, &rooms.gate, &job.caller.identity));
    let outcome = match job.mode {
        RunMode::Write { .. } => running.await,
        RunMode::Read { .. } => tokio::select! {
            outcome = &mut running => outcome,
            () = job.gone.cancelled() => {
                canceller.cancel().await;
                running.await
            }
        },
    };
    let elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let envelope = match outcome {
        Ok(result) => completed(rooms, job, &database, &result, explanation),
        Err(error) => failed(&error),
    };
    envelope.with("elapsed_ms", elapsed_ms)
}

fn completed(
    rooms: &Rooms,
    job: &Job,
    database: &str,
    result: &RunResult,
    explanation: &Explanation,
) -> Envelope {
    let masked = render::masked_outputs(explanation);
    let catalog = rooms.catalog(database);
    let kinds = result.columns.iter().map(|column| Kind::of(column.type_oid, catalog.as_ref())).collect();
    let rows = render::rows(result, &masked, job.max_bytes, kinds);
    let envelope = Envelope::new(Status::Ok, &result.decision_id)
        .with("database", database)
        .with_some("notices", render::notices(result));
    match job.mode {
        RunMode::Read { .. } => spread(envelope, rows),
        RunMode::Write { .. } if result.columns.is_empty() => changed(envelope, result),
        RunMode::Write { .. } => changed(envelope, result).with("returning", Value::Object(rows)),
    }
}

fn changed(envelope: Envelope, result: &RunResult) -> Envelope {
    envelope.with("rows_affected", result.affected).with("tag", clean(&result.tag, MESSAGE))
}

fn spread(envelope: Envelope, fields: Map<String, Value>) -> Envelope {
    fields.into_iter().fold(envelope, |envelope, (name, value)| envelope.with(&name, value))
}

/// A failed run. The server's words may hold row values, so they stand beside our message, not in it.
fn failed(error: &RunError) -> Envelope {
    let (code, hint) = match error {
        RunError::Server { sqlstate, message, hint } => return server_error(sqlstate, message, hint),
        RunError::TooManyAffected { .. } => {
            ("too_many_affected", "narrow the WHERE clause, or raise `max_affected` if you mean them all")
        }
        RunError::Stopped(Stop::Time { .. }) => {
            ("time_limit", "ask for less at once: narrow the WHERE clause, or aggregate; it was rolled back")
        }
        RunError::Stopped(Stop::Refused { rule, message, hint }) => {
            let refusal = Refusal::new("policy", clean(message, MESSAGE), clean(hint, MESSAGE));
            return Envelope::error(&Refusal { rule: clean(rule, NAME), ..refusal });
        }
        RunError::Stopped(_) => ("limit", "select fewer rows or columns, or aggregate"),
        RunError::Broken(_) => ("connection_broken", "try again"),
        RunError::Unknown(_) => ("outcome_unknown", "look at the data before you repeat it"),
    };
    Envelope::error(&Refusal::new(code, error.to_string(), hint))
}

fn server_error(sqlstate: &str, message: &str, hint: &str) -> Envelope {
    let advice = match sqlstate {
        "25006" => "`query` runs in a read-only transaction: use `execute` for what changes something",
        "57014" => {
            "it took too long or was cancelled: narrow it, aggregate less, or filter on indexed columns"
        }
        "22P02" if message.starts_with("malformed array literal") => {
            "a JSON list was sent as JSON text: say that it is an array where it stands, as in `$1::int[]`"
        }
        "40001" | "40P01" => "it collided with another transaction: try again",
        "55P03" => "a lock is held by somebody else: try again later",
        _ => "correct the statement; `search_schema` with detail `full` shows the columns and their types",
    };
    let refusal = Refusal::new(
        "database_error",
        format!(
            "the database refused the statement (SQLSTATE {}), and it was rolled back; its own words are in \
             `database_message`",
            clean(sqlstate, SQLSTATE)
        ),
        advice,
    );
    Envelope::error(&refusal)
        .with("sqlstate", clean(sqlstate, SQLSTATE))
        .with("database_message", clean(message, MESSAGE))
        .with_some("database_hint", (!hint.is_empty()).then(|| clean(hint, MESSAGE)))
        .with("content_trust", "untrusted")
        .with("notice", NOTICE)
}

/// The address and the server's words stay in the operator's log.
fn unreachable(error: &ConnectError, database: &str) -> Envelope {
    tracing::warn!(error = %error, database, "mcp.database_unavailable");
    let message = format!("database `{database}` can't be reached by the gateway; nothing ran");
    Envelope::error(&Refusal::new("database_unavailable", message, "try again later, or tell the operator"))
}

/// Keeps what became of an approved statement, so that `run_approved` can answer with it for ever.
fn keep(rooms: &Rooms, waiting: &Waiting, envelope: &Envelope) {
    let Some(id) = waiting.approval() else { return };
    let desk = rooms.gate.desk();
    let open = |request: Request| request.state == State::Spent && request.outcome.is_null();
    let used = desk.request(&id).is_ok_and(open);
    if used && let Err(error) = desk.record_outcome(&id, &envelope.to_value()) {
        tracing::error!(approval_id = %id, error = %error, "mcp.outcome_not_kept");
    }
}

/// The call that runs an approved request. The agent's own ceiling travels with it: the desk keeps what was
/// approved, not how it was asked for.
pub(super) fn run_approved(id: &str, mode: RunMode) -> Value {
    let max_affected = match mode {
        RunMode::Write { max_affected } => max_affected,
        RunMode::Read { .. } => None,
    };
    match max_affected {
        None => json!({"tool": "run_approved", "args": {"approval_id": id}}),
        Some(rows) => json!({"tool": "run_approved", "args": {"approval_id": id, "max_affected": rows}}),
    }
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
const SQLSTATE: usize = 5;
