//! The JSON API below `/api/v1`, for the command line and for other programs of people.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

use crate::approval::{Request, State as RequestState};
use crate::identity::{Identity, Kind};

use super::caller::{Bearer, BearingPerson};
use super::pages::{LISTED, SEARCHED, visible_request, vote, vote_word};
use super::refusal::{ApiRefusal, Refusal};
use super::{Console, sight};

pub(super) fn router() -> Router<Arc<Console>> {
    Router::new()
        .route("/whoami", get(whoami))
        .route("/approvals", get(list))
        .route("/approvals/watch", get(watch))
        .route("/approvals/{id}", get(show))
        .route("/approvals/{id}/{vote}", post(decide))
}

#[derive(Debug, Serialize)]
struct WhoAmI {
    name: String,
    kind: Kind,
    owner: Option<String>,
    groups: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Filter {
    state: Option<String>,
}

/// How to wait: `since` is the `cursor` of the last answer.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Waiting {
    since: Option<u64>,
    wait_s: Option<u64>,
    state: Option<String>,
}

#[derive(Debug, Serialize)]
struct List {
    approvals: Vec<Request>,
    /// Changes whenever a request may have changed.
    cursor: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    #[serde(default)]
    note: String,
}

async fn whoami(Bearer(identity): Bearer) -> Json<WhoAmI> {
    Json(WhoAmI {
        name: identity.name().to_owned(),
        kind: identity.kind(),
        owner: identity.owner().map(str::to_owned),
        groups: identity.groups().to_vec(),
    })
}

async fn list(
    State(console): State<Arc<Console>>,
    person: BearingPerson,
    filter: Result<Query<Filter>, QueryRejection>,
) -> Result<Json<List>, ApiRefusal> {
    let Query(filter) = filter.map_err(|error| bad_query(&error))?;
    let state = filter.state.as_deref().map(state_word).transpose()?;
    let cursor = *console.gate.desk().changes().borrow();
    Ok(Json(List { approvals: seen(&console, &person.identity, state)?, cursor }))
}

/// Answers at once if anything may have changed since `since`, else when it does or after `wait_s` seconds.
async fn watch(
    State(console): State<Arc<Console>>,
    person: BearingPerson,
    waiting: Result<Query<Waiting>, QueryRejection>,
) -> Result<Json<List>, ApiRefusal> {
    let Query(waiting) = waiting.map_err(|error| bad_query(&error))?;
    let state = waiting.state.as_deref().map(state_word).transpose()?;
    let Ok(_permit) = console.watchers.try_acquire() else {
        let refusal =
            Refusal::new(StatusCode::TOO_MANY_REQUESTS, "too_many_watchers", "too many callers wait here");
        return Err(refusal.hint("ask `GET /api/v1/approvals` every few seconds").into());
    };
    let mut changes = console.gate.desk().changes();
    if waiting.since == Some(*changes.borrow()) {
        let patience = Duration::from_secs(waiting.wait_s.unwrap_or(MOST_WAIT_S).min(MOST_WAIT_S));
        // Both ends are an answer: the list as it is then.
        drop(tokio::time::timeout(patience, changes.changed()).await);
    }
    let cursor = *changes.borrow();
    Ok(Json(List { approvals: seen(&console, &person.identity, state)?, cursor }))
}

async fn show(
    State(console): State<Arc<Console>>,
    person: BearingPerson,
    Path(id): Path<String>,
) -> Result<Json<Request>, ApiRefusal> {
    Ok(Json(visible_request(&console.gate, &person.identity, &id)?))
}

async fn decide(
    State(console): State<Arc<Console>>,
    person: BearingPerson,
    Path((id, word)): Path<(String, String)>,
    said: Result<Json<Said>, JsonRejection>,
) -> Result<Json<Request>, ApiRefusal> {
    let Some(chosen) = vote_word(&word) else {
        return Err(Refusal::not_found("there is nothing at this address").into());
    };
    let Json(said) = said.map_err(|error| {
        Refusal::new(error.status(), "bad_body", error.body_text()).hint("send `{\"note\": \"why\"}`")
    })?;
    let BearingPerson { identity, client } = person;
    Ok(Json(vote(&console.gate, &identity, &id, chosen, said.note, client).await?))
}

fn seen(console: &Console, who: &Identity, state: Option<RequestState>) -> Result<Vec<Request>, Refusal> {
    let mut requests = console.gate.desk().requests(SEARCHED)?;
    requests.retain(|request| state.is_none_or(|state| request.state == state) && sight::sees(who, request));
    requests.truncate(LISTED);
    Ok(requests)
}

fn state_word(word: &str) -> Result<RequestState, Refusal> {
    RequestState::parse(word).ok_or_else(|| {
        Refusal::new(StatusCode::BAD_REQUEST, "bad_state", "there is no such state")
            .hint("states are: pending, approved, denied, expired, withdrawn, spent")
    })
}

fn bad_query(error: &QueryRejection) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, "bad_query", error.body_text())
}

/// Longest wait, in seconds: below the patience of the command line and of proxies in between.
const MOST_WAIT_S: u64 = 20;
