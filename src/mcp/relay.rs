//! `portcullis mcp`: a relay between an MCP client on stdio and a running gateway's HTTP endpoint.
//!
//! It reads no configuration, no state and no database password: only the gateway's URL and the agent's own
//! token. It understands JSON-RPC just far enough to carry it: ids, methods, the protocol version. So both eras
//! of the protocol pass through unchanged, and the gateway sees the client behind the relay, not the relay.

mod headers;
mod listen;
mod session;
mod sse;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Client, Response, StatusCode, Url};
use serde_json::{Value, json};
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _,
};
use tokio::sync::{Mutex as AsyncMutex, Semaphore};
use tokio::task::{AbortHandle, JoinSet};

use headers::SESSION;
use sse::Events;

/// Why the relay can't work.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The URL is not one that a token may be sent to.
    #[error("`{url}` can't be used: {why}")]
    Url {
        /// As given.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The token holds what no token of ours holds.
    #[error("the token is empty, or holds characters that no token has")]
    Token,
    /// Nothing answers there.
    #[error("no gateway answers at {url}: start it with `portcullis serve`, or check the URL")]
    Unreachable {
        /// As given.
        url: String,
        /// What the HTTP client said.
        #[source]
        source: reqwest::Error,
    },
    /// The gateway does not know the token.
    #[error(
        "the gateway at {url} does not know this token: get a new one with `portcullis agent rotate NAME`"
    )]
    Unauthorized {
        /// As given.
        url: String,
    },
    /// Something answers there, but it is no gateway.
    #[error("{url} answers with HTTP {status}: that is not a gateway's MCP endpoint")]
    NoGateway {
        /// As given.
        url: String,
        /// The status of its answer.
        status: u16,
    },
    /// Standard input or output failed.
    #[error("standard input or output failed")]
    Stdio(#[source] std::io::Error),
}

/// Relays between this process's standard input and output and the gateway at `url`, until input ends.
///
/// # Errors
/// When the gateway can't be reached or refuses the token at the start, or standard input or output fails.
pub async fn run(url: &str, token: &str) -> Result<(), RelayError> {
    pump(tokio::io::stdin(), tokio::io::stdout(), url, token).await
}

/// As [`run`], between any two streams of lines.
///
/// # Errors
/// As [`run`].
pub async fn pump(
    input: impl AsyncRead + Unpin,
    output: impl AsyncWrite + Unpin + Send + 'static,
    url: &str,
    token: &str,
) -> Result<(), RelayError> {
    let gateway = Arc::new(Gateway::new(url, token)?);
    gateway.probe().await?;
    let output = Arc::new(AsyncMutex::new(output));
    let mut lines = tokio::io::BufReader::new(input);
    let mut exchanges = JoinSet::new();
    // Ends with this function.
    let mut listeners = JoinSet::new();
    let places = Arc::new(Semaphore::new(MAX_EXCHANGES));
    while let Some(line) = next_line(&mut lines).await.map_err(RelayError::Stdio)? {
        let message = match line {
            Line::Whole(line) if line.iter().all(u8::is_ascii_whitespace) => continue,
            Line::Whole(line) => serde_json::from_slice::<Value>(&line).map_err(|_| "the line is not JSON"),
            Line::TooLong => Err("the line is too long"),
        };
        let message = match message {
            Ok(message) => message,
            Err(why) => {
                write(&output, &failure(&Value::Null, PARSE_ERROR, why)).await.map_err(RelayError::Stdio)?;
                continue;
            }
        };
        if gateway.cancels(&message) {
            continue;
        }
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { break };
        let id = message.get("id").map(Value::to_string);
        let (gateway_of_task, output_of_task) = (Arc::clone(&gateway), Arc::clone(&output));
        let first = message.get("method").is_some_and(|method| method == "initialize");
        let exchange = exchanges.spawn(async move {
            let done = gateway_of_task.exchange(message, &*output_of_task).await;
            drop(place);
            done
        });
        gateway.started(id, exchange);
        if first {
            finish(&mut exchanges).await?;
            let (gateway, output) = (Arc::clone(&gateway), Arc::clone(&output));
            listeners.abort_all();
            listeners.spawn(async move { gateway.listen(&*output).await });
        }
        while let Some(done) = exchanges.try_join_next() {
            settled(done)?;
        }
    }
    finish(&mut exchanges).await?;
    gateway.close().await;
    Ok(())
}

/// Waits for all exchanges: whoever closes our input still gets every answer.
async fn finish(exchanges: &mut JoinSet<std::io::Result<()>>) -> Result<(), RelayError> {
    while let Some(done) = exchanges.join_next().await {
        settled(done)?;
    }
    Ok(())
}

fn settled(done: Result<std::io::Result<()>, tokio::task::JoinError>) -> Result<(), RelayError> {
    match done {
        Ok(written) => written.map_err(RelayError::Stdio),
        Err(error) if error.is_cancelled() => Ok(()),
        Err(error) => Err(RelayError::Stdio(std::io::Error::other(error))),
    }
}

/// The gateway, as one client's conversation sees it.
#[derive(Debug)]
struct Gateway {
    http: Client,
    url: Url,
    authorization: HeaderValue,
    conversation: Mutex<Conversation>,
    /// The longest pause before a message is tried again where nothing listens.
    last_pause: Duration,
    /// Held while a session is opened anew.
    renewal: AsyncMutex<()>,
}

#[derive(Debug, Default)]
struct Conversation {
    /// The session and version that `initialize` agreed on; none since 2026-07-28.
    session: Option<HeaderValue>,
    version: Option<String>,
    /// The client's `initialize`, to open a session anew when a gateway has forgotten it.
    opening: Option<Value>,
    /// Requests on their way, by id as JSON text.
    running: HashMap<String, AbortHandle>,
}

impl Gateway {
    fn new(url: &str, token: &str) -> Result<Self, RelayError> {
        let wrong = |why| RelayError::Url { url: url.to_owned(), why };
        let parsed = Url::parse(url).map_err(|_| wrong("it is not a URL"))?;
        if parsed.scheme() != "http" {
            return Err(wrong("the relay speaks http, to a gateway on this machine"));
        }
        if !is_loopback(&parsed) {
            return Err(wrong(
                "a token is sent unencrypted to this machine only: use 127.0.0.1 or localhost",
            ));
        }
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(RelayError::Token);
        }
        let mut authorization =
            HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| RelayError::Token)?;
        authorization.set_sensitive(true);
        let http = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .build()
            .map_err(|source| RelayError::Unreachable { url: url.to_owned(), source })?;
        let (conversation, renewal) = (Mutex::default(), AsyncMutex::default());
        Ok(Self { http, url: parsed, authorization, conversation, last_pause: LAST_PAUSE, renewal })
    }

    /// Asks for what the endpoint refuses in a way of its own: 401 where the token is wrong, 406 where it is right.
    async fn probe(&self) -> Result<(), RelayError> {
        let request = self.http.get(self.url.clone()).header(ACCEPT, JSON).timeout(PROBE_TIMEOUT);
        let answer = request.header(AUTHORIZATION, self.authorization.clone()).send().await;
        let url = self.url.to_string();
        match answer.map(|answer| answer.status()) {
            Err(source) => Err(RelayError::Unreachable { url, source: source.without_url() }),
            Ok(StatusCode::UNAUTHORIZED) => Err(RelayError::Unauthorized { url }),
            Ok(StatusCode::NOT_ACCEPTABLE) => Ok(()),
            Ok(status) => Err(RelayError::NoGateway { url, status: status.as_u16() }),
        }
    }

    /// Carries one message up, and whatever comes back down.
    async fn exchange<W: AsyncWrite + Unpin>(
        &self,
        message: Value,
        output: &AsyncMutex<W>,
    ) -> std::io::Result<()> {
        let id = message.get("id").filter(|_| message.get("method").is_some()).cloned();
        let result = match self.deliver(&message).await {
            Ok(answer) => self.answer(&message, answer, id.as_ref(), output).await?,
            Err(why) => Err(why),
        };
        if let Some(id) = &id {
            self.conversation().running.remove(&id.to_string());
        }
        match (result, id) {
            (Err(why), Some(id)) => write(output, &failure(&id, GATEWAY_FAILED, &why)).await,
            (Err(why), None) => {
                tracing::warn!(why, "relay.message_lost");
                Ok(())
            }
            (Ok(()), _) => Ok(()),
        }
    }

    /// Passes an answer on. The inner error is one that the client must be told.
    async fn answer<W: AsyncWrite + Unpin>(
        &self,
        message: &Value,
        mut answer: Response,
        id: Option<&Value>,
        output: &AsyncMutex<W>,
    ) -> std::io::Result<Result<(), String>> {
        let initializes = message.get("method").is_some_and(|method| method == "initialize");
        let session = answer.headers().get(SESSION).cloned();
        let status = answer.status();
        let is_stream = content_type(&answer).starts_with(EVENT_STREAM);
        let mut events = Events::new(MAX_MESSAGE, is_stream);
        let mut answered = false;
        loop {
            let chunk = match answer.chunk().await {
                Ok(chunk) => chunk,
                Err(error) => return Ok(Err(format!("the gateway's answer broke off: {error}"))),
            };
            let ended = chunk.is_none();
            let Ok(texts) = events.take(chunk.as_deref().unwrap_or_default(), ended) else {
                return Ok(Err("the gateway's answer is too long".to_owned()));
            };
            for text in texts {
                let Some(part) = json_rpc(&text) else { continue };
                answered |= id.is_some() && part.get("id") == id && part.get("method").is_none();
                if initializes {
                    self.agreed(message, session.as_ref(), &part);
                }
                write(output, &part).await?;
            }
            if ended {
                break;
            }
        }
        Ok(if answered || id.is_none() { Ok(()) } else { Err(refusal(status, &events.rest())) })
    }

    /// Remembers what `initialize` agreed on.
    fn agreed(&self, message: &Value, session: Option<&HeaderValue>, answer: &Value) {
        let Some(version) = answer.pointer("/result/protocolVersion").and_then(Value::as_str) else { return };
        let mut conversation = self.conversation();
        conversation.session = session.cloned();
        conversation.version = Some(version.to_owned());
        conversation.opening = session.map(|_| message.clone());
    }

    fn started(&self, id: Option<String>, exchange: AbortHandle) {
        if let Some(id) = id.filter(|_| !exchange.is_finished()) {
            let mut conversation = self.conversation();
            conversation.running.retain(|_, exchange| !exchange.is_finished());
            conversation.running.insert(id, exchange);
        }
    }

    /// Whether `message` cancels a request of the stateless era: there, hanging up is how HTTP cancels. With a
    /// session the notification is carried up like any other.
    fn cancels(&self, message: &Value) -> bool {
        if message.get("method").is_none_or(|method| method != "notifications/cancelled") {
            return false;
        }
        let mut conversation = self.conversation();
        if conversation.session.is_some() {
            return false;
        }
        let id = message.pointer("/params/requestId").map(Value::to_string);
        if let Some(exchange) = id.and_then(|id| conversation.running.remove(&id)) {
            exchange.abort();
        }
        true
    }

    /// Ends the session, if there is one. The gateway would end it by itself a few minutes later.
    async fn close(&self) {
        let (session, version) = {
            let conversation = self.conversation();
            (conversation.session.clone(), conversation.version.clone())
        };
        let Some(session) = session else { return };
        let request = self.http.delete(self.url.clone()).timeout(PROBE_TIMEOUT).header(SESSION, session);
        let request = request.header(AUTHORIZATION, self.authorization.clone());
        let request = request.header(headers::VERSION, version.unwrap_or_default());
        if let Err(error) = request.send().await {
            tracing::debug!(error = %error.without_url(), "relay.session_not_closed");
        }
    }

    fn conversation(&self) -> MutexGuard<'_, Conversation> {
        self.conversation.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One line of input.
enum Line {
    Whole(Vec<u8>),
    TooLong,
}

async fn next_line(lines: &mut (impl AsyncBufRead + Unpin)) -> std::io::Result<Option<Line>> {
    let mut line = Vec::new();
    let cap = u64::try_from(MAX_MESSAGE).unwrap_or(u64::MAX);
    let read = (&mut *lines).take(cap).read_until(b'\n', &mut line).await?;
    if read == 0 {
        return Ok(None);
    }
    if read < MAX_MESSAGE || line.ends_with(b"\n") {
        return Ok(Some(Line::Whole(line)));
    }
    loop {
        line.clear();
        let read = (&mut *lines).take(cap).read_until(b'\n', &mut line).await?;
        if read == 0 || line.ends_with(b"\n") {
            return Ok(Some(Line::TooLong));
        }
    }
}

async fn write<W: AsyncWrite + Unpin>(output: &AsyncMutex<W>, message: &Value) -> std::io::Result<()> {
    let mut line = message.to_string();
    line.push('\n');
    let mut output = output.lock().await;
    output.write_all(line.as_bytes()).await?;
    output.flush().await
}

fn failure(id: &Value, code: i64, message: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}})
}

/// A message of the protocol; anything else that a server may answer with is not for the client.
fn json_rpc(text: &str) -> Option<Value> {
    let message: Value = serde_json::from_str(text).ok()?;
    message.get("jsonrpc").is_some().then_some(message)
}

/// What to tell a client whose request was refused outside of the protocol.
fn refusal(status: StatusCode, body: &str) -> String {
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    let part = |name| body.get(name).and_then(Value::as_str).unwrap_or_default();
    let separator = if part("hint").is_empty() { "" } else { "; " };
    format!("the gateway answered HTTP {}: {}{separator}{}", status.as_u16(), part("message"), part("hint"))
}

fn content_type(answer: &Response) -> &str {
    answer.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

const JSON: &str = "application/json";
const EVENT_STREAM: &str = "text/event-stream";
const BOTH: &str = "application/json, text/event-stream";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);
/// Pauses double up to this one: six seconds in all, which a restart takes.
const LAST_PAUSE: Duration = Duration::from_millis(3200);
/// Longest message either way, in bytes.
const MAX_MESSAGE: usize = 8 * 1024 * 1024;
/// Most messages on their way at once.
const MAX_EXCHANGES: usize = 64;
/// JSON-RPC 2.0, section 5.1.
const PARSE_ERROR: i64 = -32700;
/// A code from the range that JSON-RPC leaves to implementations.
const GATEWAY_FAILED: i64 = -32000;

#[cfg(test)]
mod tests;
