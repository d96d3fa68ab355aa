//! The pages as templates, and what they show.

use askama::Template;
use axum::response::{Html, IntoResponse, Response};
use jiff::Timestamp;
use serde_json::Value;

use crate::approval::{Ballot, Request, State, Vote};
use crate::audit::{Entry, Event};
use crate::identity::Identity;

use super::refusal::{Refusal, broken_page};
use super::session::SignedIn;
use super::visible::Shown;
use super::{sight, words};

/// `template` as an answer.
pub(super) fn page(template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => Html(html).into_response(),
        Err(error) => {
            tracing::error!(error = %error, "console.page_failed");
            broken_page()
        }
    }
}

/// The bar above every page of somebody who is signed in.
#[derive(Debug)]
pub(super) struct Bar<'a> {
    name: &'a str,
    form_token: &'a str,
}

impl<'a> Bar<'a> {
    pub(super) fn of(signed_in: &'a SignedIn) -> Self {
        Self { name: signed_in.identity.name(), form_token: &signed_in.form_token }
    }
}

/// Where people sign in.
#[derive(Debug, Template)]
#[template(path = "console/login.html")]
pub(super) struct Login<'a> {
    /// Where to go then.
    pub(super) next: &'a str,
    /// What went wrong before; empty at first.
    pub(super) problem: &'a str,
}

/// A no.
#[derive(Debug, Template)]
#[template(path = "console/refused.html")]
pub(super) struct Refused<'a> {
    pub(super) refusal: &'a Refusal,
}

/// All requests that somebody may see.
#[derive(Debug, Template)]
#[template(path = "console/approvals.html")]
pub(super) struct Approvals<'a> {
    pub(super) bar: Bar<'a>,
    pub(super) pending: Vec<Card<'a>>,
    pub(super) closed: Vec<Card<'a>>,
}

/// One request in the list.
#[derive(Debug)]
pub(super) struct Card<'a> {
    request: &'a Request,
    statement: Shown,
    /// When it lapses, or what became of it.
    when: String,
    is_asked: bool,
}

impl<'a> Card<'a> {
    pub(super) fn of(request: &'a Request, who: &Identity, now: Timestamp) -> Self {
        let when = match request.state {
            State::Pending => format!("lapses {}", words::distance(request.expires_at, now)),
            State::Approved | State::Denied | State::Expired | State::Withdrawn | State::Spent => {
                words::distance(request.decided_at.unwrap_or(request.created_at), now)
            }
        };
        let statement = Shown::start(&request.statement, 160);
        Self { request, statement, when, is_asked: sight::is_asked(who, request) }
    }
}

/// One request.
#[derive(Debug, Template)]
#[template(path = "console/approval.html")]
pub(super) struct Detail<'a> {
    pub(super) bar: Bar<'a>,
    request: &'a Request,
    statement: Shown,
    extent: String,
    /// Each bind value by its name.
    parameters: Vec<(String, Option<Shown>)>,
    max_affected: Option<u64>,
    purpose: Shown,
    message: Shown,
    note: Shown,
    facts: Vec<String>,
    /// What is sent in its place, where that differs.
    sent: Option<Shown>,
    masked: Vec<String>,
    document: Shown,
    outcome: Option<Shown>,
    created: String,
    expires: String,
    expires_in: String,
    decided: String,
    votes: Vec<Said<'a>>,
    missing: Vec<Shown>,
    is_asked: bool,
    /// Whether a yes of theirs would fill a seat, as far as the desk can tell.
    counts: bool,
    is_own: bool,
}

impl<'a> Detail<'a> {
    pub(super) fn of(request: &'a Request, signed_in: &'a SignedIn, now: Timestamp) -> Self {
        let who = &signed_in.identity;
        let terms = request.facts.get("terms");
        let sent = terms.and_then(|terms| terms.get("sent")).and_then(Value::as_str);
        let sent = sent.filter(|sent| !sent.is_empty() && *sent != request.statement);
        Self {
            bar: Bar::of(signed_in),
            statement: Shown::all(&request.statement),
            extent: words::extent(&request.statement),
            parameters: parameters(request),
            max_affected: request.call.max_affected,
            purpose: Shown::all(&request.purpose),
            message: Shown::all(&request.message),
            note: Shown::all(&request.decision_note),
            facts: words::facts(&request.facts),
            sent: sent.map(Shown::all),
            masked: terms.and_then(|terms| terms.get("masked")).map(strings).unwrap_or_default(),
            document: pretty(&request.facts),
            outcome: (!request.outcome.is_null()).then(|| pretty(&request.outcome)),
            created: words::time(request.created_at),
            expires: words::time(request.expires_at),
            expires_in: words::distance(request.expires_at, now),
            decided: request.decided_at.map(words::time).unwrap_or_default(),
            votes: request.votes.iter().map(Said::of).collect(),
            missing: request.missing.iter().map(|reason| Shown::all(&reason.message)).collect(),
            is_asked: sight::is_asked(who, request),
            counts: request.is_helped_by(who.name(), who.groups()),
            is_own: request.requester == who.name(),
            request,
        }
    }
}

fn parameters(request: &Request) -> Vec<(String, Option<Shown>)> {
    let labels = request.call.labels(request.parameters.len());
    let values = request.parameters.iter().map(|value| value.as_deref().map(Shown::all));
    labels.into_iter().zip(values).collect()
}

/// What one person said.
#[derive(Debug)]
struct Said<'a> {
    by: &'a str,
    vote: &'static str,
    at: String,
    note: Shown,
}

impl<'a> Said<'a> {
    fn of(ballot: &'a Ballot) -> Self {
        let vote = match ballot.vote {
            Vote::Approve => "yes",
            Vote::Deny => "no",
        };
        Self { by: &ballot.by, vote, at: words::time(ballot.at), note: Shown::all(&ballot.note) }
    }
}

/// The newest decisions.
#[derive(Debug, Template)]
#[template(path = "console/ledger.html")]
pub(super) struct Ledger<'a> {
    pub(super) bar: Bar<'a>,
    pub(super) rows: Vec<Row<'a>>,
    /// Whether they see everybody's.
    pub(super) sees_all: bool,
}

/// One decision in the ledger.
#[derive(Debug)]
pub(super) struct Row<'a> {
    entry: &'a Entry,
    at: String,
    decision: &'a str,
    rule: &'a str,
    approval_id: &'a str,
    statement: Shown,
}

impl<'a> Row<'a> {
    /// `None` for anything but a decision.
    pub(super) fn of(entry: &'a Entry) -> Option<Self> {
        let Event::Decided(statement) = &entry.record.event else { return None };
        Some(Self {
            entry,
            at: words::time(entry.record.at),
            decision: &statement.decision,
            rule: &statement.rule,
            approval_id: &statement.approval_id,
            statement: Shown::start(&statement.statement, 300),
        })
    }
}

fn pretty(value: &Value) -> Shown {
    Shown::all(&serde_json::to_string_pretty(value).unwrap_or_default())
}

/// Every string in a value, however deep.
fn strings(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(values) => values.iter().flat_map(strings).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => Vec::new(),
    }
}
