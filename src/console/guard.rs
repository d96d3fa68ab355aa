//! What stands before every handler, and what answers where there is none.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::Console;
use super::refusal::Refusal;

/// Refuses requests that were not meant for this console: a `Host` of somebody else's (DNS rebinding points a
/// name of the attacker's at our address), and changes that another site's page asks for.
pub(super) async fn ours_only(State(console): State<Arc<Console>>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let host = one(headers, &header::HOST).map(str::to_ascii_lowercase);
    let Some(host) = host.filter(|host| console.settings.hosts.contains(host)) else {
        let refusal = Refusal::new(StatusCode::MISDIRECTED_REQUEST, "wrong_host", "this is not that host")
            .hint("use the address that the gateway prints at its start");
        return refusal.fitting(request.uri());
    };
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD);
    if changes && headers.contains_key(header::ORIGIN) && !comes_from(headers, &host) {
        let refusal =
            Refusal::new(StatusCode::FORBIDDEN, "wrong_origin", "another site's page asked for this")
                .hint("do it on this console's own pages");
        return refusal.fitting(request.uri());
    }
    next.run(request).await
}

/// Puts the headers on every answer that keep a browser from doing anything but show it.
///
/// `same-origin` as referrer policy tells other sites nothing, as `no-referrer` would; but with `no-referrer`
/// browsers send `Origin: null` with our own forms, and the check above could not tell them from others'.
pub(super) async fn harden(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

/// For whoever watches the process: open to all, and says nothing about anybody.
pub(super) fn probes() -> Router<Arc<Console>> {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(|State(console): State<Arc<Console>>| async move { ready(&console) }))
}

pub(super) async fn nothing_here(uri: Uri) -> Response {
    Refusal::not_found("there is nothing at this address").fitting(&uri)
}

pub(super) async fn wrong_method(method: Method, uri: Uri) -> Response {
    let message = format!("`{method}` is not for this address");
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "wrong_method", message).fitting(&uri)
}

fn ready(console: &Console) -> Response {
    let not_ready = |what: &'static str| (StatusCode::SERVICE_UNAVAILABLE, what).into_response();
    if let Err(error) = console.gate.desk().requests(0) {
        tracing::error!(%error, "console.not_ready");
        return not_ready("the approval store fails\n");
    }
    match console.gate.ledger_failure() {
        None => "ready\n".into_response(),
        Some(error) => {
            tracing::error!(%error, "console.not_ready");
            not_ready("the ledger can't be written: nothing but ROLLBACK runs\n")
        }
    }
}

fn comes_from(headers: &HeaderMap, host: &str) -> bool {
    let origin = one(headers, &header::ORIGIN).map(str::to_ascii_lowercase);
    let origin = origin.as_deref().and_then(|origin| origin.split_once("://"));
    origin.is_some_and(|(scheme, origin_host)| matches!(scheme, "http" | "https") && origin_host == host)
}

/// A header's value, if it is there exactly once and readable.
pub(super) fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    if values.next().is_some() { None } else { value.to_str().ok() }
}

const HEADERS: [(&str, &str); 9] = [
    (
        "content-security-policy",
        "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "same-origin"),
    ("cache-control", "no-store"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=(), payment=()"),
    ("x-robots-tag", "noindex"),
];
