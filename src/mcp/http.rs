//! The HTTP side: a bearer token on every request, sessions that belong to who opened them, limits, and rmcp behind.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::StreamExt as _;
use jiff::Timestamp;
use rmcp::ServerHandler;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use serde_json::json;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock::elapsed_ms;
use crate::gate::{Denial, Door, Gate, Knock};
use crate::identity::Identity;
use crate::upstream::Upstream;

use super::authorize::{Authenticated, authenticate, bearer, within_scopes};
use super::caller::Admission;
use super::limits::Rates;
use super::rooms::Rooms;
use super::server::Server;
use super::sessions::Sessions;
use super::{Authorization, Settings, resource};

/// The service at `/mcp`, and the documents about it that need no token.
pub(super) fn router(gate: Arc<Gate>, upstream: Arc<Upstream>, settings: Settings) -> Router {
    let (of_rooms, known) = (Arc::clone(&gate), settings.clone());
    mount(gate, settings, |sessions| {
        let rooms = Arc::new(Rooms::new(of_rooms, upstream, sessions, &known));
        move || Server::new(Arc::clone(&rooms))
    })
}

/// Guard, sessions and limits before the server that `make`, which is told of the sessions, gives a maker of.
pub(super) fn mount<M, S>(
    gate: Arc<Gate>,
    settings: Settings,
    make: impl FnOnce(Arc<Sessions>) -> M,
) -> Router
where
    M: Fn() -> S + Send + Sync + 'static,
    S: ServerHandler,
{
    let mut manager = LocalSessionManager::default();
    manager.session_config.keep_alive = Some(settings.sleep_after);
    let manager = Arc::new(manager);
    let sessions = Arc::new(Sessions::new(Arc::clone(&manager), settings.max_sessions));
    let guard = Guard {
        gate,
        sessions: Arc::clone(&sessions),
        authorization: settings.authorization.clone(),
        rates: Arc::new(Rates::new(settings.requests_per_minute)),
        most_bytes: settings.max_body_bytes,
        shutdown: settings.shutdown.clone(),
    };
    let documents = resource::paths(guard.authorization.as_ref()).into_iter();
    let documents =
        documents.fold(Router::new(), |router, path| router.route(&path, get(resource::document)));
    let documents = documents.with_state(guard.authorization.clone());
    let mut config = config(settings);
    config.session_store = Some(Arc::clone(&sessions) as _);
    let server = make(sessions);
    let service = StreamableHttpService::new(move || Ok(server()), manager, config);
    let endpoint = Router::new().route_service(ENDPOINT, service).layer(from_fn_with_state(guard, admit));
    endpoint.merge(documents)
}

/// What stands before the endpoint.
#[derive(Debug, Clone)]
struct Guard {
    gate: Arc<Gate>,
    sessions: Arc<Sessions>,
    authorization: Option<Authorization>,
    rates: Arc<Rates>,
    most_bytes: usize,
    shutdown: CancellationToken,
}

async fn admit(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    match guard.pass(request, next).await {
        Ok(response) | Err(response) => response,
    }
}

impl Guard {
    /// Passes a request on to the endpoint, or says why not.
    async fn pass(&self, request: Request, next: Next) -> Result<Response, Response> {
        if self.shutdown.is_cancelled() {
            return Err(stopping());
        }
        let client = request.extensions().get::<ConnectInfo<SocketAddr>>();
        let client = client.map(|ConnectInfo(address)| address.to_string()).unwrap_or_default();
        let Authenticated { identity, scopes, expires } =
            self.authenticated(request.headers(), &client).await?;
        if let Err(wait) = self.rates.take(identity.name(), Instant::now()) {
            self.gate.refused(Door::Mcp, &client, identity.name(), "", "too many requests in a minute");
            return Err(too_many(wait));
        }
        let session = session_id(request.headers())?.map(str::to_owned);
        if let Some(id) = &session
            && !self.sessions.belongs_to(id, identity.name())
        {
            let reason = "a session that is not this identity's";
            self.gate.refused(Door::Mcp, &client, identity.name(), "", reason);
            return Err(unknown_session());
        }
        let request = self.whole(request).await.inspect_err(|answer| {
            self.keep_refusal(answer.status(), &identity, &client);
        })?;
        let admission = Admission { identity: identity.clone(), client: client.clone(), scopes };
        let authorization = self.authorization.as_ref();
        let within = within_scopes(request, &admission, authorization, self.most_bytes).await;
        let mut request = within.inspect_err(|answer| {
            let reason = match answer.status() {
                StatusCode::FORBIDDEN => "a tool that needs another scope than the token has",
                _ => "a body that is too long, or breaks off",
            };
            self.gate.refused(Door::Mcp, &client, identity.name(), "", reason);
        })?;
        request.extensions_mut().insert(admission);
        let listens = listens(&request);
        let response = next.run(request).await;
        self.keep_refusal(response.status(), &identity, &client);
        if session.is_none()
            && let Ok(Some(opened)) = session_id(response.headers())
        {
            self.sessions.opened(opened, identity.name()).await;
        }
        Ok(if listens { self.ending(response, expires) } else { response })
    }

    /// A message with all of its body, which must come in time: nobody holds a place here by sending slowly.
    async fn whole(&self, request: Request) -> Result<Request, Response> {
        if request.method() != Method::POST {
            return Ok(request);
        }
        let (parts, body) = request.into_parts();
        match tokio::time::timeout(BODY_TIME, to_bytes(body, self.most_bytes)).await {
            Ok(Ok(body)) => Ok(Request::from_parts(parts, Body::from(body))),
            Ok(Err(_)) => {
                Err(refused_body(StatusCode::PAYLOAD_TOO_LARGE, "the message is too long, or breaks off"))
            }
            Err(_) => Err(refused_body(StatusCode::REQUEST_TIMEOUT, "the message took too long to come")),
        }
    }

    /// Who sent a request, if the rulebook lets them say.
    async fn authenticated(&self, headers: &HeaderMap, client: &str) -> Result<Authenticated, Response> {
        let authorization = self.authorization.as_ref();
        let token = bearer(headers).map_err(|problem| {
            self.gate.refused(Door::Mcp, client, "", "", &problem.message());
            problem.answer(authorization)
        })?;
        let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
        let knock = Knock::by_http(Door::Mcp, client, agent.unwrap_or_default());
        self.gate.knock(&knock).map_err(|denial| unwelcome(&denial))?;
        let authenticated = authenticate(&self.gate, authorization, token, client).await;
        authenticated.map_err(|problem| problem.answer(authorization))
    }

    /// A stream that goes on until the client leaves ends with its token, and with the gateway.
    fn ending(&self, response: Response, expires: Option<Timestamp>) -> Response {
        let left = expires.map(|expires| Duration::from_millis(elapsed_ms(self.gate.now(), expires)));
        let shutdown = self.shutdown.clone();
        let end = async move {
            match left {
                Some(left) => drop(tokio::time::timeout(left, shutdown.cancelled()).await),
                None => shutdown.cancelled().await,
            }
        };
        response.map(|body| Body::from_stream(body.into_data_stream().take_until(Box::pin(end))))
    }
}

/// Whether a request asks for a stream that has no end of its own.
fn listens(request: &Request) -> bool {
    let method = request.headers().get("mcp-method").and_then(|method| method.to_str().ok());
    request.method() == Method::GET || method == Some("subscriptions/listen")
}

/// The gateway is about to stop.
fn stopping() -> Response {
    let body = json!({
        "error": "stopping",
        "message": "the gateway is stopping, so nothing new begins; this request did nothing",
        "hint": "try again in a moment",
    });
    let soon = [(header::RETRY_AFTER, "5"), (header::CONNECTION, "close")];
    (StatusCode::SERVICE_UNAVAILABLE, soon, axum::Json(body)).into_response()
}

/// The identity has made its minute's requests.
fn too_many(wait: Duration) -> Response {
    let seconds = wait.as_secs().saturating_add(1);
    let body = json!({
        "error": "too_many_requests",
        "message": "this identity has made all the requests that it may make in a minute; this one did nothing",
        "hint": format!("wait {seconds} s, then ask for more at once rather than more often"),
    });
    let later = [(header::RETRY_AFTER, seconds.to_string())];
    (StatusCode::TOO_MANY_REQUESTS, later, axum::Json(body)).into_response()
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
            | StatusCode::REQUEST_TIMEOUT
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::UNSUPPORTED_MEDIA_TYPE
            | StatusCode::UNPROCESSABLE_ENTITY => {
                self.gate.malformed(Door::Mcp, client, Some(who), &format!("answered HTTP {status}"));
            }
            _ => {}
        }
    }
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

fn refused_body(status: StatusCode, message: &str) -> Response {
    let body = json!({"error": "unreadable", "message": message, "hint": "send less in one message"});
    (status, axum::Json(body)).into_response()
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
        // Where nothing comes before the answer, a stream of events around it only costs time.
        .with_json_response(true)
}

fn origin(scheme: &str, host: &str) -> String {
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    if has_port { format!("{scheme}://{host}") } else { format!("{scheme}://{host}:*") }
}

/// How long the body of a message may take.
const BODY_TIME: Duration = Duration::from_secs(30);
const ENDPOINT: &str = "/mcp";
const SESSION: &str = "mcp-session-id";

#[cfg(test)]
mod tests {
    use super::*;

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
