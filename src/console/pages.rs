//! The pages. Each does one thing and works without scripts.

use std::sync::Arc;

use axum::Form;
use axum::Router;
use axum::extract::rejection::{FormRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{AppendHeaders, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use serde::Deserialize;

use crate::approval::{ApprovalId, Request, State as RequestState, Vote};
use crate::audit;
use crate::gate::{Approve, Door, Gate, Silent};
use crate::identity::{Identity, Kind};

use super::caller::{Client, NO_PERSON, Person, cookie_name, knock, session_id};
use super::refusal::{PageRefusal, Refusal};
use super::session::LIFE;
use super::view::{self, Approvals, Bar, Card, Detail, Ledger, Login, Row};
use super::{Console, sight};

pub(super) fn router() -> Router<Arc<Console>> {
    Router::new()
        .route("/", get(|| async { Redirect::to("/approvals") }))
        .route("/login", get(login).post(sign_in))
        .route("/logout", post(sign_out))
        .route("/approvals", get(approvals))
        .route("/approvals/{id}", get(approval))
        .route("/approvals/{id}/{vote}", post(decide))
        .route("/ledger", get(ledger))
        .route("/style.css", get(style))
}

/// The request with this id, if `who` may see it. One answer for a malformed, an unknown and a foreign id.
pub(super) fn visible_request(gate: &Gate, who: &Identity, id: &str) -> Result<Request, Refusal> {
    let id = ApprovalId::parse(id).ok_or_else(Refusal::unknown_request)?;
    let request = gate.desk().request(&id)?;
    if sight::sees(who, &request) { Ok(request) } else { Err(Refusal::unknown_request()) }
}

/// Takes a vote through the gate.
pub(super) async fn vote(
    gate: &Gate,
    who: &Identity,
    id: &str,
    vote: Vote,
    note: String,
    client: String,
) -> Result<Request, Refusal> {
    let request = visible_request(gate, who, id)?;
    let act = Approve { id: request.id, vote, note, client };
    let proof = gate.admit(who, act, &Silent).await?;
    Ok(gate.decide(who, proof)?)
}

pub(super) fn vote_word(word: &str) -> Option<Vote> {
    match word {
        "approve" => Some(Vote::Approve),
        "deny" => Some(Vote::Deny),
        _ => None,
    }
}

#[derive(Debug, Deserialize)]
struct Next {
    #[serde(default)]
    next: String,
}

#[derive(Deserialize)]
struct SignIn {
    token: String,
    #[serde(default)]
    next: String,
}

#[derive(Debug, Deserialize)]
struct VoteForm {
    form_token: String,
    #[serde(default)]
    note: String,
}

#[derive(Debug, Deserialize)]
struct Bare {
    form_token: String,
}

async fn login(next: Result<Query<Next>, QueryRejection>) -> Response {
    let next = next.map(|Query(next)| next.next).unwrap_or_default();
    view::page(&Login { next: local(&next), problem: "" })
}

async fn sign_in(
    State(console): State<Arc<Console>>,
    Client(client): Client,
    headers: HeaderMap,
    form: Result<Form<SignIn>, FormRejection>,
) -> Result<Response, PageRefusal> {
    knock(&console, &client, &headers)?;
    let Form(SignIn { token, next }) = form.map_err(|error| bad_form(&error))?;
    let next = local(&next);
    let token = token.trim();
    let Some(identity) = console.gate.authenticate(token, Door::Console, &client) else {
        let problem = "This token is not known here, or it was replaced.";
        return Ok((StatusCode::UNAUTHORIZED, view::page(&Login { next, problem })).into_response());
    };
    if identity.kind() != Kind::Human {
        console.gate.refused(Door::Console, &client, identity.name(), "", NO_PERSON);
        let problem = "This token belongs to a program. The console is for people: sign in with your own.";
        return Ok((StatusCode::FORBIDDEN, view::page(&Login { next, problem })).into_response());
    }
    let id = console.sessions.open(&identity, token, console.settings.clock.now());
    let cookie = cookie(&console, &id, LIFE.as_secs());
    Ok((AppendHeaders([(header::SET_COOKIE, cookie)]), Redirect::to(next)).into_response())
}

async fn sign_out(
    State(console): State<Arc<Console>>,
    person: Person,
    headers: HeaderMap,
    form: Result<Form<Bare>, FormRejection>,
) -> Result<Response, PageRefusal> {
    let Form(form) = form.map_err(|error| bad_form(&error))?;
    own_form(&person, &form.form_token)?;
    if let Some(id) = session_id(&console, &headers) {
        console.sessions.close(id);
    }
    let cookie = cookie(&console, "", 0);
    Ok((AppendHeaders([(header::SET_COOKIE, cookie)]), Redirect::to("/login")).into_response())
}

async fn approvals(State(console): State<Arc<Console>>, person: Person) -> Result<Response, PageRefusal> {
    let signed_in = &person.signed_in;
    let who = &signed_in.identity;
    let now = console.settings.clock.now();
    let mut requests = console.gate.desk().requests(SEARCHED).map_err(Refusal::from)?;
    requests.retain(|request| sight::sees(who, request));
    let cards = |pending: bool| {
        let chosen =
            requests.iter().filter(move |request| (request.state == RequestState::Pending) == pending);
        chosen.take(LISTED).map(|request| Card::of(request, who, now)).collect()
    };
    Ok(view::page(&Approvals { bar: Bar::of(signed_in), pending: cards(true), closed: cards(false) }))
}

async fn approval(
    State(console): State<Arc<Console>>,
    person: Person,
    Path(id): Path<String>,
) -> Result<Response, PageRefusal> {
    let signed_in = &person.signed_in;
    let request = visible_request(&console.gate, &signed_in.identity, &id)?;
    Ok(view::page(&Detail::of(&request, signed_in, console.settings.clock.now())))
}

async fn decide(
    State(console): State<Arc<Console>>,
    person: Person,
    Path((id, word)): Path<(String, String)>,
    form: Result<Form<VoteForm>, FormRejection>,
) -> Result<Response, PageRefusal> {
    let Form(form) = form.map_err(|error| bad_form(&error))?;
    own_form(&person, &form.form_token)?;
    let Some(said) = vote_word(&word) else {
        return Err(Refusal::not_found("there is nothing at this address").into());
    };
    let Person { signed_in, client } = person;
    let request = vote(&console.gate, &signed_in.identity, &id, said, form.note, client).await?;
    Ok(Redirect::to(&format!("/approvals/{}", request.id)).into_response())
}

async fn ledger(State(console): State<Arc<Console>>, person: Person) -> Result<Response, PageRefusal> {
    let who = person.signed_in.identity.clone();
    let sees_all = sight::audits_all(&who, &console.settings.auditors);
    let read = tokio::task::spawn_blocking(move || {
        let wanted = |entry: &audit::Entry| {
            matches!(entry.record.event, audit::Event::Decided(_))
                && (sees_all || sight::answers_for(&who, &entry.record))
        };
        audit::tail(&console.settings.ledger_dir, LISTED, wanted)
    });
    let stopped =
        |_panicked| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "ledger", "the ledger can't be read");
    let entries = read.await.map_err(stopped)?.map_err(Refusal::from)?;
    let rows = entries.iter().rev().filter_map(Row::of).collect();
    Ok(view::page(&Ledger { bar: Bar::of(&person.signed_in), rows, sees_all }))
}

async fn style() -> Response {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("../../templates/console/style.css"))
        .into_response()
}

fn own_form(person: &Person, form_token: &str) -> Result<(), Refusal> {
    if person.signed_in.sent_form(form_token) {
        return Ok(());
    }
    Err(Refusal::new(StatusCode::FORBIDDEN, "foreign_form", "this form was not made for your session")
        .hint("go back, load the page again and repeat it; nothing was changed"))
}

fn bad_form(error: &FormRejection) -> Refusal {
    Refusal::new(error.status(), "bad_form", error.body_text())
}

/// A place on this console to go to; its front page where `next` names anything else.
fn local(next: &str) -> &str {
    let path = next.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'/');
    if path && (next.starts_with("/approvals") || next.starts_with("/ledger")) { next } else { "/approvals" }
}

fn cookie(console: &Console, value: &str, seconds: u64) -> String {
    let name = cookie_name(console);
    let secure = if console.settings.https { "; Secure" } else { "" };
    format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}")
}

/// Requests that are looked through for those that somebody may see.
pub(super) const SEARCHED: usize = 1000;
/// Requests, or decisions, on one page.
pub(super) const LISTED: usize = 100;
