//! An admitted read: run in a read-only transaction, and its rows as an answer.

use std::sync::Arc;

use serde_json::Value;

use crate::gate::{Authorized, Connect, Explanation, Run};
use crate::upstream::{RunResult, execute};

use super::conceal::Asker;
use super::envelope::{Envelope, Refusal, Status};
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
    let context = Arc::clone(connect.context());
    let database = context.database().to_owned();
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
        Ok(result) => shown(&job.asker(rooms, &context), job, &result, explanation),
        Err(error) => failure::of_run(&error, &job.asker(rooms, &context)),
    };
    envelope.with("elapsed_ms", elapsed_ms)
}

fn shown(asker: &Asker<'_>, job: &Job, result: &RunResult, explanation: &Explanation) -> Envelope {
    let cells = || result.rows.iter().flatten().flatten();
    let is_plan = explanation.facts.first().is_some_and(|facts| facts.kind == "explain");
    if is_plan && cells().any(|line| asker.names_hidden(line)) {
        return Envelope::error(&Refusal::new(
            "hidden_plan",
            PLAN,
            "`check_sql` with `plan` tells what it costs",
        ));
    }
    let database = asker.context.database();
    let masked = render::masked_outputs(explanation, 0);
    let rows = render::rows(result, &masked, job.max_bytes, asker.rooms.kinds(database, result));
    let envelope = Envelope::new(Status::Ok, &result.decision_id)
        .with("database", database)
        .with_some("notices", render::notices(std::slice::from_ref(result), |notice| asker.heard(notice)));
    rows.into_iter().fold(envelope, |envelope, (name, value): (String, Value)| envelope.with(&name, value))
}

/// A view's plan is about what stands behind it.
const PLAN: &str = "the plan names what you may not see, so it is withheld";
