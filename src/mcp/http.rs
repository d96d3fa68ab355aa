//! The HTTP side: a bearer token on every request, sessions that belong to who opened them, and rmcp behind.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use serde_json::json;

use crate::gate::{Denial, Door, Gate, Knock};
use crate::identity::Identity;
use crate::upstream::Upstream;

use super::Settings;
use super::caller::Admission;
use super::rooms::Rooms;
use super::server::Server;
use super::sessions::Sessions;

/// The service at `/mcp`.
pub(super) fn router(gate: Arc<Gate>, upstream: Arc<Upstream>, settings: Settings) -> Router {
    let manager = Arc::new(LocalSessionManager::default());
    let sessions = Arc::new(Sessions::new(Arc::clone(&manager), settings.max_sessions));
    let (calls, cursors) = (settings.max_calls, settings.cursors);
    let rooms = Arc::new(Rooms::new(Arc::clone(&gate), upstream, Arc::clone(&sessions), calls, cursors));
    let service =
        StreamableHttpService::new(move || Ok(Server::new(Arc::clone(&rooms))), manager, config(settings));
    Router::new().route_service(ENDPOINT, service).layer(from_fn_with_state(Guard { gate, sessions }, admit))
}

/// What stands before the endpoint.
#[derive(Debug, Clone)]
struct Guard {
    gate: Arc<Gate>,
    sessions: Arc<Sessions>,
}

async fn admit(State(guard): State<Guard>, mut request: Request, next: Next) -> Response {
    let client = request
        .extensions()
        .get::<ConnectInfo<SocketAddr>>()
        .map(|ConnectInfo(address)| address.to_string())
        .unwrap_or_default();
    let token = match bearer(request.headers()) {
        Ok(token) => token,
        Err(problem) => {
            guard.gate.refused(Door::Mcp, &client, "", "", problem.message());
            return problem.into_response();
        }
    };
    let agent = request.headers().get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
    let knock = Knock::by_http(Door::Mcp, &client, agent.unwrap_or_default());
    if let Err(denial) = guard.gate.knock(&knock) {
        return unwelcome(&denial);
    }
    let Some(identity) = guard.gate.authenticate(token, Door::Mcp, &client) else {
        return TokenProblem::Unknown.into_response();
    };
    let session = match session_id(request.headers()) {
        Ok(session) => session.map(str::to_owned),
        Err(response) => return response,
    };
    if let Some(id) = &session
        && !guard.sessions.belongs_to(id, identity.name())
    {
        guard.gate.refused(Door::Mcp, &client, identity.name(), "", "a session that is not this identity's");
        return unknown_session();
    }
    request.extensions_mut().insert(Admission { identity: identity.clone(), client: client.clone() });
    let response = next.run(request).await;
    guard.keep_refusal(response.status(), &identity, &client);
    if session.is_none()
        && let Ok(Some(opened)) = session_id(response.headers())
    {
        guard.sessions.opened(opened, identity.name()).await;
    }
    response
}

/// The rulebook does not let a client go on to prove who it is.
fn unwelcome(denial: &Denial) -> Response {
    let message = denial.reason().map_or("", |reason| reason.message.as_str());
    let hint = denial.reason().map_or("", |reason| reason.hint.as_str());
    let body = json!({ "error": "access_denied", "error_description": message, "hint": hint });
    (StatusCode::FORBIDDEN, axum::Json(body)).into_response()
}

impl Guard {
    /// Keeps in the ledger what the service behind the guard would not take.
    fn keep_refusal(&self, status: StatusCode, who: &Identity, client: &str) {
        match status {
            StatusCode::FORBIDDEN => {
                let reason = "called by another host's name, or from a page of another origin";
                self.gate.refused(Door::Mcp, client, who.name(), "", reason);
            }
            StatusCode::BAD_REQUEST
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::UNSUPPORTED_MEDIA_TYPE
            | StatusCode::UNPROCESSABLE_ENTITY => {
                self.gate.malformed(Door::Mcp, client, Some(who), &format!("answered HTTP {status}"));
            }
            _ => {}
        }
    }
}

/// Why there is no identity behind a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TokenProblem {
    Missing,
    Several,
    NotBearer,
    Unknown,
}

impl TokenProblem {
    fn message(self) -> &'static str {
        match self {
            Self::Missing => "the request has no token",
            Self::Several => "the request has several Authorization headers",
            Self::NotBearer => "the Authorization header is not a bearer token",
            Self::Unknown => "the token is not one of this gateway's, or was replaced",
        }
    }

    /// RFC 6750 section 3: no error code where no credential was given.
    fn challenge(self) -> &'static str {
        match self {
            Self::Missing => "Bearer realm=\"portcullis\"",
            Self::Several | Self::NotBearer => "Bearer realm=\"portcullis\", error=\"invalid_request\"",
            Self::Unknown => "Bearer realm=\"portcullis\", error=\"invalid_token\"",
        }
    }
}

impl IntoResponse for TokenProblem {
    fn into_response(self) -> Response {
        let body = json!({
            "error": "unauthorized",
            "message": self.message(),
            "hint": "send `Authorization: Bearer TOKEN` with your agent's own token; its operator makes one with \
                     `portcullis agent add` or `portcullis agent rotate`",
        });
        let challenge = [(header::WWW_AUTHENTICATE, self.challenge())];
        (StatusCode::UNAUTHORIZED, challenge, axum::Json(body)).into_response()
    }
}

fn bearer(headers: &HeaderMap) -> Result<&str, TokenProblem> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or(TokenProblem::Missing)?;
    if values.next().is_some() {
        return Err(TokenProblem::Several);
    }
    let text = value.to_str().map_err(|_| TokenProblem::NotBearer)?;
    let (scheme, token) = text.split_once(' ').ok_or(TokenProblem::NotBearer)?;
    let token = token.trim();
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() || token.len() > MAX_TOKEN {
        return Err(TokenProblem::NotBearer);
    }
    Ok(token)
}

/// The session that a message names. Two ids would let the guard and the service behind it read different ones.
#[expect(clippy::result_large_err, reason = "it is the response")]
fn session_id(headers: &HeaderMap) -> Result<Option<&str>, Response> {
    let mut values = headers.get_all(SESSION).iter();
    let first = values.next().map(HeaderValue::to_str).transpose();
    match (first, values.next()) {
        (Ok(id), None) => Ok(id),
        _ => Err(unknown_session()),
    }
}

/// What an id gets that was never given out, has ended, or is somebody else's: one answer for all.
fn unknown_session() -> Response {
    let body = json!({
        "error": "unknown_session",
        "message": "there is no such session",
        "hint": "send `initialize` without `Mcp-Session-Id` to open one",
    });
    (StatusCode::NOT_FOUND, axum::Json(body)).into_response()
}

/// Loopback names and the configured hosts, for `Host` and, where a browser sends one, `Origin`.
fn config(settings: Settings) -> StreamableHttpServerConfig {
    let loopback = ["localhost", "127.0.0.1", "[::1]"].map(str::to_owned);
    let hosts: Vec<String> = loopback.into_iter().chain(settings.hosts).collect();
    let origins = hosts.iter().flat_map(|host| ["http", "https"].map(|scheme| origin(scheme, host)));
    StreamableHttpServerConfig::default()
        .with_allowed_origins(origins.collect::<Vec<_>>())
        .enforce_origin_validation()
        .with_allowed_hosts(hosts)
        .with_max_request_body_bytes(settings.max_body_bytes)
}

fn origin(scheme: &str, host: &str) -> String {
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    if has_port { format!("{scheme}://{host}") } else { format!("{scheme}://{host}:*") }
}

const ENDPOINT: &str = "/mcp";
const SESSION: &str = "mcp-session-id";
const MAX_TOKEN: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn only_one_bearer_token_counts() {
        assert_eq!(bearer(&headers(&["Bearer abc"])), Ok("abc"));
        assert_eq!(bearer(&headers(&["bearer abc"])), Ok("abc"));
        assert_eq!(bearer(&headers(&[])), Err(TokenProblem::Missing));
        assert_eq!(bearer(&headers(&["Bearer a", "Bearer b"])), Err(TokenProblem::Several));
        for wrong in ["Basic abc", "Bearer", "Bearer ", "abc"] {
            assert_eq!(bearer(&headers(&[wrong])), Err(TokenProblem::NotBearer), "{wrong}");
        }
    }

    #[tokio::test]
    async fn a_401_says_what_to_do() {
        let response = TokenProblem::Unknown.into_response();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert!(response.headers()[header::WWW_AUTHENTICATE].to_str().unwrap().starts_with("Bearer "));
        let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert!(body["hint"].as_str().unwrap().contains("portcullis agent"));
    }

    #[test]
    fn two_session_ids_are_no_session_id() {
        let mut headers = HeaderMap::new();
        assert_eq!(session_id(&headers).unwrap(), None);
        headers.append(SESSION, HeaderValue::from_static("mine"));
        assert_eq!(session_id(&headers).unwrap(), Some("mine"));
        headers.append(SESSION, HeaderValue::from_static("yours"));
        assert_eq!(session_id(&headers).unwrap_err().status(), StatusCode::NOT_FOUND);
    }

    #[test]
    fn origins_follow_hosts() {
        assert_eq!(origin("http", "localhost"), "http://localhost:*");
        assert_eq!(origin("http", "[::1]"), "http://[::1]:*");
        assert_eq!(origin("https", "db.example:8443"), "https://db.example:8443");
    }
}
