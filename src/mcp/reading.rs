//! A read: judged, begun in a read-only transaction, and shown page by page. Each page passes the gate.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::gate::{Authorized, Connect, Denial, DenialKind, Page, Run, RunMode};
use crate::identity::Identity;
use crate::mask::Stop;
use crate::sql::{Facts, Statement};
use crate::upstream::{Next, Reader, Row, RunError};

use super::caller::Caller;
use super::conceal::Asker;
use super::cursors::{Cursor, Source};
use super::envelope::{Envelope, Refusal, Status};
use super::parameters::Lists;
use super::rooms::{Rooms, Visit};
use super::run::{self, Job};
use super::text::{MESSAGE, clean};
use super::tools::query;
use super::values::Cells;
use super::waiting::Waiting;
use super::{failure, render};

/// How much a call wants to see.
#[derive(Debug, Clone)]
pub(super) struct Wish {
    /// Most rows.
    pub(super) max_rows: u64,
    /// Most bytes of rows.
    pub(super) max_bytes: u64,
    /// Cancelled when the client goes away.
    pub(super) gone: CancellationToken,
}

/// A call for the next page.
#[derive(Debug)]
pub(super) struct Turn {
    /// Who.
    pub(super) caller: Caller,
    /// The word that goes on.
    pub(super) cursor: String,
    /// The database, if the caller names it once more; empty otherwise.
    pub(super) database: String,
    /// The statement, likewise.
    pub(super) sql: Option<Statement>,
    /// The parameters, likewise.
    pub(super) parameters: Lists,
    /// How much is wanted.
    pub(super) wish: Wish,
}

/// A result that was begun.
struct Begun {
    reader: Reader,
    visit: Visit,
    source: Source,
    columns: Value,
    carried: Option<Row>,
    decision_id: String,
    opened: Instant,
}

/// A page in the making.
#[derive(Default)]
struct Leaf {
    cells: Cells,
    rows: Vec<Value>,
    /// Their size as the server sent them.
    bytes: u64,
    carried: Option<Row>,
    /// The size of the first row, where that alone is more than is wanted.
    too_long: Option<u64>,
}

/// What stands behind a page.
enum Behind {
    /// Nothing.
    Nothing,
    /// More rows.
    More,
    /// More rows, which the identity may not have.
    Ceiling(Stop),
    /// A row that can't be shown.
    TooLong(String),
}

/// Runs `job`, which reads, and shows its first page. Called in a task of its own.
pub(super) async fn read(rooms: &Arc<Rooms>, job: Job, max_rows: u64, waiting: &Waiting) -> Envelope {
    let who = &job.caller.identity;
    let generation = rooms.gate.generation();
    let (mut visit, connect) = match rooms.visit(&job.caller, &job.database, waiting).await {
        Ok(visit) => visit,
        Err(denial) => return Envelope::denial(&denial, who),
    };
    let act = job.act(visit.context());
    let facts = rooms.gate.facts(visit.context(), who, &job.sql).await;
    if facts.is_empty() || run::misfit(&facts, job.mode, job.parameters.len()).is_some() {
        // What policy denies is refused in the gate's words, and not in ours.
        let explanation = job.foreseen(rooms, visit.context()).await;
        if let Some(refusal) = run::unfit(&explanation, job.mode, job.parameters.len()) {
            return run::declined(rooms, who, &act, &refusal);
        }
    }
    let proof = match rooms.gate.admit(who, act, waiting).await {
        Ok(proof) => proof,
        Err(denial) => {
            let ends = denial.ends_session();
            let envelope = run::refused(rooms, &job, visit.context(), &facts, denial, waiting).await;
            return if ends { ended(rooms, visit, envelope) } else { envelope };
        }
    };
    let (ends, decision_id) = (proof.ends_session(), proof.decision_id().to_owned());
    // Somebody's approval is spent by now: it buys the whole result, whether the client stays or not.
    let gone = if proof.approval().is_some() { CancellationToken::new() } else { job.gone.clone() };
    let wish = Wish { max_rows, max_bytes: job.max_bytes, gone };
    let started = Instant::now();
    let (envelope, rest) =
        match begin(&job.asker(rooms, visit.context()), &job, connect, proof, generation, &wish).await {
            Err(envelope) => (*envelope, None),
            Ok(reader) => {
                if ends {
                    visit = visit.ending();
                }
                let source = Source {
                    database: visit.context().database().to_owned(),
                    sql: job.sql.clone(),
                    parameters: job.parameters.clone(),
                };
                let columns = columns(rooms, &reader, &source.database);
                let begun = Begun {
                    reader,
                    visit,
                    source,
                    columns,
                    carried: None,
                    decision_id: decision_id.clone(),
                    opened: started,
                };
                show(rooms, begun, who, &wish).await
            }
        };
    let envelope = envelope.with("decision_id", decision_id).with("elapsed_ms", elapsed_ms(started));
    run::keep(rooms, waiting, &envelope);
    drop((job.claim, job.key_claim));
    match rest {
        Some(cursor) if ends => {
            cursor.parked.finish();
            ended(rooms, cursor.visit, envelope)
        }
        Some(cursor) => going_on(rooms, cursor, envelope),
        None if ends => {
            rooms.end_sessions(who);
            envelope.with("session_ended", true)
        }
        None => envelope,
    }
}

/// Shows the next page of a cursor. Called in a task of its own.
pub(super) async fn go_on(rooms: &Arc<Rooms>, turn: Turn, waiting: &Waiting) -> Envelope {
    let Turn { caller, wish, .. } = &turn;
    let who = &caller.identity;
    let Some(cursor) = rooms.cursors.take(&turn.cursor, who) else { return unknown() };
    if !turn.goes_with(&cursor.source) {
        let word = rooms.cursors.park(cursor);
        return other_statement().with("next_cursor", word);
    }
    let started = Instant::now();
    let Some(course) = cursor.parked.course().cloned() else { return unknown() };
    let act = Page { course, client: caller.client.clone(), max_rows: wish.max_rows };
    let proof = match rooms.gate.admit(who, act, waiting).await {
        Ok(proof) => proof,
        Err(denial) => return stopped(rooms, cursor, who, denial).await,
    };
    let Cursor { parked, visit, source, columns, carried, decision_id, opened, .. } = cursor;
    let Ok(reader) = parked.resume(proof) else { return unknown() };
    let begun = Begun { reader, visit, source, columns, carried, decision_id: decision_id.clone(), opened };
    let (envelope, rest) = show(rooms, begun, who, wish).await;
    let envelope = envelope.with("decision_id", decision_id).with("elapsed_ms", elapsed_ms(started));
    match rest {
        Some(cursor) => going_on(rooms, cursor, envelope),
        None => envelope,
    }
}

impl Turn {
    /// Whether all that the caller says once more is what the cursor reads.
    fn goes_with(&self, source: &Source) -> bool {
        let same_database = self.database.is_empty() || self.database == source.database;
        let same_sql = self.sql.as_ref().is_none_or(|sql| *sql == source.sql);
        let same_parameters =
            self.parameters.iter().all(Vec::is_empty) || self.parameters == source.parameters;
        same_database && same_sql && same_parameters
    }
}

async fn begin(
    asker: &Asker<'_>,
    job: &Job,
    connect: Authorized<Connect>,
    proof: Authorized<Run>,
    generation: u64,
    wish: &Wish,
) -> Result<Reader, Box<Envelope>> {
    let who = &job.caller.identity;
    let database = connect.context().database().to_owned();
    let mode = RunMode::Read { max_rows: wish.max_rows };
    let rooms = asker.rooms;
    let lease = rooms.begin(connect, who, generation, mode).await;
    let lease = lease.map_err(|error| Box::new(failure::unbegun(&error, &database)))?;
    let begun = Reader::begin(lease, proof, &rooms.gate, who, step(wish.max_rows), &wish.gone).await;
    begun.map_err(|error| Box::new(failure::of_run(&error, asker)))
}

/// Shows the next page of what was begun; with what is left, where more can be had.
async fn show(rooms: &Rooms, begun: Begun, who: &Identity, wish: &Wish) -> (Envelope, Option<Cursor>) {
    let Begun { mut reader, visit, source, columns, carried, decision_id, opened } = begun;
    let context = Arc::clone(visit.context());
    let asker = Asker { rooms, who, context: &context, tool: query::NAME, purpose: "", judged: 1 };
    let cells = Cells::new(rooms.kinds(&source.database, reader.columns()));
    let mut leaf = Leaf { carried, cells, ..Leaf::default() };
    let filled = tokio::select! {
        filled = fill(&mut leaf, &mut reader, rooms, who, wish) => filled,
        () = wish.gone.cancelled() => Err(RunError::cancelled()),
    };
    let behind = match filled {
        Ok(behind) => behind,
        Err(error) => return (failure::of_run(&reader.fail(error), &asker), None),
    };
    if reader.facts().kind == "explain" && leaf.rows.iter().any(|line| asker.names_hidden(&line.to_string()))
    {
        reader.stop(None);
        return (Envelope::error(&Refusal::new("hidden_plan", PLAN, ESTIMATE)), None);
    }
    let count = u64::try_from(leaf.rows.len()).unwrap_or(u64::MAX);
    reader.charge(count, leaf.bytes);
    let notices = render::notices(&reader.take_notices(), |notice| asker.heard(notice));
    let page = |leaf: Leaf, truncated: bool| {
        let envelope = Envelope::new(Status::Ok, &decision_id)
            .with("database", source.database.as_str())
            .with_some("notices", notices);
        render::page(envelope, render::marked(columns.clone(), &leaf.cells), leaf.rows, truncated)
    };
    match behind {
        Behind::Nothing => {
            reader.finish();
            (page(leaf, false), None)
        }
        Behind::Ceiling(stop) if leaf.rows.is_empty() => {
            (failure::of_run(&reader.fail(RunError::Stopped(stop)), &asker), None)
        }
        Behind::Ceiling(stop) => {
            reader.finish();
            (page(leaf, true).with("advice", format!("{stop}. {CEILING}")), None)
        }
        Behind::TooLong(what) => {
            reader.stop(None);
            (Envelope::error(&Refusal::new("row_too_long", what, SHORTER)), None)
        }
        Behind::More => {
            let carried = leaf.carried.take();
            let advice = leaf.too_long.map(|bytes| format!("{ALONE} {bytes} bytes: {RAISE}"));
            let parked = reader.park().await;
            let envelope = page(leaf, true).with_some("advice", advice);
            let (owner, columns) = (who.clone(), columns.clone());
            let cursor = Cursor { parked, visit, owner, source, columns, carried, decision_id, opened };
            (envelope, Some(cursor))
        }
    }
}

/// Fills a page with as many whole rows as are wanted and fit.
async fn fill(
    leaf: &mut Leaf,
    reader: &mut Reader,
    rooms: &Rooms,
    who: &Identity,
    wish: &Wish,
) -> Result<Behind, RunError> {
    let mut left = wish.max_bytes;
    for number in 0..wish.max_rows {
        let row = match leaf.carried.take() {
            Some(row) => row,
            None => match reader.next(&rooms.gate, who, step(wish.max_rows.saturating_sub(number))).await? {
                Next::Row(row) => row,
                Next::End => return Ok(Behind::Nothing),
                Next::Ceiling(stop) => return Ok(Behind::Ceiling(stop)),
                Next::TooLong(bytes) if leaf.rows.is_empty() => {
                    return Ok(Behind::TooLong(format!("the next row has more than {bytes} bytes")));
                }
                // It is shown to be too long by the next page.
                Next::TooLong(_) => return Ok(Behind::More),
            },
        };
        let cells = Value::Array(leaf.cells.row(&row.values));
        let size = render::size(&cells);
        if size > left {
            if leaf.rows.is_empty() {
                if size > MOST_BYTES {
                    return Ok(Behind::TooLong(render::too_long(reader.columns(), &row, size)));
                }
                leaf.too_long = Some(size);
            }
            leaf.carried = Some(row);
            return Ok(Behind::More);
        }
        left = left.saturating_sub(size);
        leaf.bytes = leaf.bytes.saturating_add(row.bytes);
        leaf.rows.push(cells);
    }
    Ok(if reader.has_more(1).await { Behind::More } else { Behind::Nothing })
}

/// The page's answer, with the word that goes on.
fn going_on(rooms: &Rooms, cursor: Cursor, envelope: Envelope) -> Envelope {
    let rest = rooms.cursors.rest().as_secs();
    let envelope = envelope.with_default("advice", || format!("{MORE} {rest}."));
    envelope.with("next_cursor", rooms.cursors.park(cursor))
}

fn columns(rooms: &Rooms, reader: &Reader, database: &str) -> Value {
    let masked = reader.course().map(|course| render::masked_outputs(reader.facts(), &course.masked()));
    let kinds = rooms.kinds(database, reader.columns());
    render::columns(reader.columns(), &masked.unwrap_or_default(), &kinds)
}

fn ended(rooms: &Rooms, mut visit: Visit, envelope: Envelope) -> Envelope {
    rooms.end(&mut visit);
    envelope.with("session_ended", true)
}

/// What a page gets that may not be shown: the cursor is closed.
async fn stopped(rooms: &Rooms, cursor: Cursor, who: &Identity, denial: Denial) -> Envelope {
    let reason = denial.reason().cloned().unwrap_or_default();
    let stop = Stop::Refused { rule: reason.rule, message: reason.message, hint: reason.hint };
    cursor.parked.stop(Some(stop));
    if matches!(denial.kind, DenialKind::Unavailable | DenialKind::Overloaded) {
        return Envelope::denial(&denial, who);
    }
    let context = cursor.visit.context();
    let facts: Vec<Arc<Facts>> = rooms.gate.facts(context, who, &cursor.source.sql).await;
    let asker = Asker { rooms, who, context, tool: query::NAME, purpose: "", judged: 1 };
    let denial = asker.told(denial, &facts.iter().map(|facts| &**facts).collect::<Vec<&Facts>>()).await;
    let message = denial.reason().map(|reason| clean(&reason.message, MESSAGE)).unwrap_or_default();
    let refusal = Refusal::new("cursor_closed", format!("{STOPPED}: {message}"), AGAIN);
    Envelope::denial(&denial, who).with("denial", json!(refusal))
}

/// The answer for a word that goes on with nothing: which of the reasons it is stays open.
fn unknown() -> Envelope {
    Envelope::error(&Refusal::new("cursor_closed", NO_CURSOR, AGAIN))
}

fn other_statement() -> Envelope {
    let message = "a cursor goes on with the statement, parameters and database that it was opened with";
    let hint = "pass `next_cursor` of this answer alone, or start anew without `cursor`";
    Envelope::error(&Refusal::new("invalid_argument", message, hint))
}

/// One row more than is wanted tells whether there are more.
fn step(rows: u64) -> u32 {
    u32::try_from(rows.saturating_add(1)).unwrap_or(u32::MAX)
}

fn elapsed_ms(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Clients move longer answers into files, where nobody governs them any more.
pub(super) const MOST_BYTES: u64 = 40_000;

/// A view's plan is about what stands behind it.
const PLAN: &str = "the plan names what you may not see, so it is withheld";
const ESTIMATE: &str = "`check_sql` with `plan` tells what it costs";
const MORE: &str = "There are more rows than `max_rows` and `max_bytes` let into this page. To answer a question about all of them, aggregate or narrow the WHERE clause; to read \
     on, pass `next_cursor` as `cursor`, alone, within seconds:";
const CEILING: &str =
    "There are more rows, which you may not read at once: aggregate, or narrow the WHERE clause.";
const ALONE: &str = "Not one row fits into `max_bytes`; the next one alone has";
const RAISE: &str =
    "raise `max_bytes` with this cursor, or select fewer columns, or parts of long ones (`left(col, 200)`).";
const SHORTER: &str =
    "select fewer columns, or parts of long ones: `left(col, 200)`, or `substr(col, 1, 200)` for bytea";
const STOPPED: &str = "the cursor was closed, because it may not go on by the rules in force now";
const NO_CURSOR: &str = "there is no such cursor: it was used already, has ended or lapsed, was closed for a newer one, or was never \
     yours";
const AGAIN: &str = "run the statement again without `cursor`; to go on where you stopped, order by a key and start behind the \
     last one that you have";
