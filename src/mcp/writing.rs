//! An admitted write: run in a transaction of its own, to its end, whether the client is still there or not.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::gate::{Authorized, Connect, Explanation, Run};
use crate::upstream::{RunResult, Witness, Written, write};

use super::conceal::Asker;
use super::envelope::{Envelope, Status};
use super::rooms::Rooms;
use super::run::Job;
use super::text::{MESSAGE, NOTICE, clean};
use super::{failure, once, render};

/// Runs what `proof` admits; `generation` was read before `connect` was made.
pub(super) async fn perform(
    rooms: &Arc<Rooms>,
    job: &Job,
    connect: Authorized<Connect>,
    proof: Authorized<Run>,
    generation: u64,
    explanation: &Explanation,
) -> Envelope {
    let context = Arc::clone(connect.context());
    let database = context.database().to_owned();
    let ticket = match once::begin(rooms, job, &database, proof.approval()) {
        Ok(ticket) => ticket,
        Err(envelope) => return *envelope,
    };
    let envelope = match rooms.begin(connect, &job.caller.identity, generation, job.mode).await {
        Ok(lease) => {
            let started = tokio::time::Instant::now();
            let witness = ticket.as_ref().map(|ticket| ticket as &dyn Witness);
            let outcome = write(lease, proof, &rooms.gate, &job.caller.identity, witness).await;
            let elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
            let envelope = match outcome {
                Ok(written) => changed(&job.asker(rooms, &context), job, &written, explanation),
                Err(error) => {
                    failure::of_run(&error, &job.asker(rooms, &context)).with("database", database.as_str())
                }
            };
            envelope.with("elapsed_ms", elapsed_ms)
        }
        Err(error) => failure::unbegun(&error, &database),
    };
    match ticket {
        Some(ticket) => ticket.end(rooms, envelope).await,
        None => envelope,
    }
}

fn changed(asker: &Asker<'_>, job: &Job, written: &Written, explanation: &Explanation) -> Envelope {
    let database = asker.context.database();
    let notices: Vec<String> = written.results.iter().flat_map(|result| result.notices.clone()).collect();
    let decision_id = written.results.first().map_or("", |result| result.decision_id.as_str());
    let envelope = Envelope::new(Status::Ok, decision_id)
        .with("database", database)
        .with("rows_affected", written.affected);
    let envelope = match render::notices(&notices, |notice| asker.heard(notice)) {
        None => envelope,
        Some(notices) => {
            envelope.with("notices", notices).with("content_trust", "untrusted").with("notice", NOTICE)
        }
    };
    let share = job.max_bytes / u64::try_from(written.results.len().max(1)).unwrap_or(u64::MAX);
    let told = |(index, result): (usize, &RunResult)| {
        let mut told = Map::new();
        told.insert("tag".to_owned(), json!(clean(&result.tag, MESSAGE)));
        if !result.columns.is_empty() {
            let facts = explanation.facts.get(index);
            let masked = facts.map(|facts| render::masked_outputs(facts, &explanation.masked));
            let kinds = asker.rooms.kinds(database, &result.columns);
            let columns = render::columns(&result.columns, &masked.unwrap_or_default(), &kinds);
            told.insert("returning".to_owned(), render::returned(result, columns, kinds, share));
        }
        told
    };
    let told = written.results.iter().enumerate().map(told);
    if written.results.len() < 2 {
        return told.flatten().fold(envelope, |envelope, (name, value)| envelope.with(&name, value));
    }
    let counted = told.zip(&written.results).map(|(mut told, result)| {
        told.insert("rows_affected".to_owned(), json!(result.affected));
        Value::Object(told)
    });
    envelope.with("results", Value::Array(counted.collect()))
}
