//! A no to a person or to their program: one set of words, as a page or as JSON.

use axum::Json;
use axum::http::{StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Response};
use serde_json::json;

use crate::approval::DeskError;
use crate::audit::VerifyError;
use crate::gate::{Denial, DenialKind};

use super::view;

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    /// A stable word for programs; the rule's name where a rule said no.
    pub(super) code: String,
    pub(super) message: String,
    /// What would work; empty where nothing would.
    pub(super) hint: String,
}

/// A refusal that is shown as a page.
#[derive(Debug)]
pub(super) struct PageRefusal(Refusal);

/// A refusal that is sent as JSON.
#[derive(Debug)]
pub(super) struct ApiRefusal(Refusal);

impl Refusal {
    pub(super) fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        Self { status, code: code.to_owned(), message: message.into(), hint: String::new() }
    }

    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: hint.into(), ..self }
    }

    pub(super) fn not_found(message: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// The same words whether there is no such request or it is not theirs to see.
    pub(super) fn unknown_request() -> Self {
        Self::not_found("there is no such approval request")
            .hint("check the address; requests of others are shown to who may decide on them")
    }

    pub(super) fn unauthenticated() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", "no valid token came with this request")
            .hint("send `Authorization: Bearer` and your token")
    }

    pub(super) fn people_only() -> Self {
        Self::new(StatusCode::FORBIDDEN, "people_only", "approvals are for people")
            .hint("agents and services ask for their own requests by the MCP tool `approval_status`")
    }

    /// As a page, or as JSON below the API's address.
    pub(super) fn fitting(self, uri: &Uri) -> Response {
        if uri.path().starts_with("/api/") {
            ApiRefusal(self).into_response()
        } else {
            PageRefusal(self).into_response()
        }
    }
}

impl From<Denial> for Refusal {
    fn from(denial: Denial) -> Self {
        let status = match denial.kind {
            DenialKind::UnknownApproval => return Self::unknown_request(),
            DenialKind::Policy | DenialKind::Database | DenialKind::Mask | DenialKind::Syntax => {
                StatusCode::FORBIDDEN
            }
            DenialKind::Unresolved(_)
            | DenialKind::Pending { .. }
            | DenialKind::NotApproved
            | DenialKind::Changed
            | DenialKind::Stale => StatusCode::CONFLICT,
            DenialKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            DenialKind::Overloaded => StatusCode::TOO_MANY_REQUESTS,
        };
        match denial.reasons.into_iter().next() {
            Some(reason) => Self { status, code: reason.rule, message: reason.message, hint: reason.hint },
            None => Self::new(status, "denied", "the gate says no"),
        }
    }
}

impl From<DeskError> for Refusal {
    fn from(error: DeskError) -> Self {
        let message = error.to_string();
        match error {
            DeskError::Unknown { .. } => Self::unknown_request(),
            DeskError::Closed { .. } => Self::new(StatusCode::CONFLICT, "closed", message)
                .hint("somebody else was faster, its time ran out, or who asked went away"),
            DeskError::NotSpent { .. } => Self::new(StatusCode::CONFLICT, "not_spent", message),
            DeskError::OwnRequest { .. } => Self::new(StatusCode::FORBIDDEN, "own_request", message),
            DeskError::VotedAlready { .. } => Self::new(StatusCode::CONFLICT, "voted_already", message)
                .hint("somebody else has to fill the seats that are open"),
            DeskError::NoSeat { .. } => Self::new(StatusCode::CONFLICT, "no_seat", message)
                .hint("somebody else was faster; you can still say no"),
            DeskError::NoteMissing => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "note_missing", message),
            DeskError::NoteTooLong { .. } => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "note_too_long", message)
            }
            DeskError::TooMany { .. } => Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many", message),
            DeskError::Store(source) => {
                tracing::error!(error = %source, "console.store_failed");
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "store_failed", message)
                    .hint("nothing was changed; the gateway's log says more")
            }
        }
    }
}

impl From<VerifyError> for Refusal {
    fn from(error: VerifyError) -> Self {
        tracing::error!(error = %error, "console.ledger_unreadable");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "ledger_unreadable", "the ledger can't be read")
            .hint("run `portcullis audit verify` on the gateway's machine; its log says more")
    }
}

impl<T: Into<Refusal>> From<T> for PageRefusal {
    fn from(refusal: T) -> Self {
        Self(refusal.into())
    }
}

impl<T: Into<Refusal>> From<T> for ApiRefusal {
    fn from(refusal: T) -> Self {
        Self(refusal.into())
    }
}

impl IntoResponse for PageRefusal {
    fn into_response(self) -> Response {
        let status = self.0.status;
        (status, view::page(&view::Refused { refusal: &self.0 })).into_response()
    }
}

impl IntoResponse for ApiRefusal {
    fn into_response(self) -> Response {
        let Refusal { status, code, message, hint } = self.0;
        let body = Json(json!({ "error": code, "message": message, "hint": hint }));
        if status == StatusCode::UNAUTHORIZED {
            return (status, [(header::WWW_AUTHENTICATE, "Bearer")], body).into_response();
        }
        (status, body).into_response()
    }
}

/// What is shown when a page can't even be made.
pub(super) fn broken_page() -> Response {
    (StatusCode::INTERNAL_SERVER_ERROR, Html("<p>This page could not be made.</p>")).into_response()
}
