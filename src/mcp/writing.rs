//! An admitted write: run in a transaction of its own, to its end, whether the client is still there or not.

use std::sync::Arc;

use crate::gate::{Authorized, Connect, Explanation, Run};
use crate::upstream::{RunResult, execute};

use super::envelope::{Envelope, Status};
use super::rooms::Rooms;
use super::run::Job;
use super::text::{MESSAGE, clean};
use super::{failure, render};

/// Runs what `proof` admits.
pub(super) async fn perform(
    rooms: &Arc<Rooms>,
    job: &Job,
    connect: Authorized<Connect>,
    proof: Authorized<Run>,
    explanation: &Explanation,
) -> Envelope {
    let database = connect.context().database().to_owned();
    let mut link = match rooms.link(connect, &job.caller.identity).await {
        Ok(link) => link,
        Err(error) => return failure::unreachable(&error, &database),
    };
    let started = tokio::time::Instant::now();
    let outcome = execute(&mut link, proof, &rooms.gate, &job.caller.identity).await;
    let elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let envelope = match outcome {
        Ok(result) => changed(rooms, job, &database, &result, explanation),
        Err(error) => failure::of_run(&error),
    };
    envelope.with("elapsed_ms", elapsed_ms)
}

fn changed(
    rooms: &Rooms,
    job: &Job,
    database: &str,
    result: &RunResult,
    explanation: &Explanation,
) -> Envelope {
    let envelope = Envelope::new(Status::Ok, &result.decision_id)
        .with("database", database)
        .with_some("notices", render::notices(&result.notices))
        .with("rows_affected", result.affected)
        .with("tag", clean(&result.tag, MESSAGE));
    if result.columns.is_empty() {
        return envelope;
    }
    let masked = explanation.facts.first().map(|facts| render::masked_outputs(facts, &explanation.masked));
    let columns = render::columns(&result.columns, &masked.unwrap_or_default(), |column| {
        rooms.column_type(database, column.table_oid, column.column)
    });
    envelope.with("returning", render::returned(result, &columns, job.max_bytes))
}
