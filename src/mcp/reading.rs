//! An admitted read: run in a read-only transaction, and its rows as an answer.

use std::sync::Arc;

use serde_json::Value;

use crate::gate::{Authorized, Connect, Explanation, Run};
use crate::upstream::{RunResult, execute};

use super::envelope::{Envelope, Status};
use super::rooms::Rooms;
use super::run::Job;
use super::{failure, render};

/// Runs what `proof` admits, and ends it when the client goes away.
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
    let canceller = link.canceller();
    let mut running = std::pin::pin!(execute(&mut link, proof, &rooms.gate, &job.caller.identity));
    let outcome = tokio::select! {
        outcome = &mut running => outcome,
        () = job.gone.cancelled() => {
            canceller.cancel().await;
            running.await
        }
    };
    let elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let envelope = match outcome {
        Ok(result) => shown(rooms, job, &database, &result, explanation),
        Err(error) => failure::of_run(&error),
    };
    envelope.with("elapsed_ms", elapsed_ms)
}

fn shown(
    rooms: &Rooms,
    job: &Job,
    database: &str,
    result: &RunResult,
    explanation: &Explanation,
) -> Envelope {
    let masked = render::masked_outputs(explanation, 0);
    let rows = render::rows(result, &masked, job.max_bytes, |column| {
        rooms.column_type(database, column.table_oid, column.column)
    });
    let envelope = Envelope::new(Status::Ok, &result.decision_id)
        .with("database", database)
        .with_some("notices", render::notices(std::slice::from_ref(result)));
    rows.into_iter().fold(envelope, |envelope, (name, value): (String, Value)| envelope.with(&name, value))
}
