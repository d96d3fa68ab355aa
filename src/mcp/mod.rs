//! Door 2: MCP tools for agents, over Streamable HTTP and (by a [`relay`]) stdio.
//!
//! The room owns the HTTP endpoint `/mcp`, its bearer tokens and sessions, seven tools, and the one envelope
//! that they all answer with. It serves both eras of the protocol on one endpoint: the stateless one of
//! 2026-07-28, and those that begin with `initialize`. It never decides anything: every tool asks the
//! [`gate`](crate::gate), and rows come from [`upstream`](crate::upstream) only.
//!
//! Clients show a model nothing but `structuredContent`, so whatever a model must know is in there. What came
//! out of the database is data: it is fenced (`content_trust`, one constant `notice`), never part of a message
//! of ours. An "accept" that a client sends is never an approval; approvals are made at the desk, by people.
//!
//! ```no_run
//! # use std::sync::Arc;
//! # async fn serve(gate: Arc<portcullis::gate::Gate>, upstream: Arc<portcullis::upstream::Upstream>) {
//! use std::net::SocketAddr;
//! use portcullis::mcp;
//!
//! let app = mcp::router(gate, upstream, mcp::Settings::default());
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8432").await.unwrap();
//! axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await.unwrap();
//! # }
//! ```

pub mod relay;

mod authorize;
mod caller;
mod changes;
mod completion;
mod conceal;
mod cursors;
mod envelope;
mod failure;
mod held;
mod http;
mod limits;
mod links;
mod once;
mod parameters;
mod plan;
mod prompts;
mod reading;
mod render;
mod resource;
mod resources;
mod rights;
mod rooms;
mod run;
mod schema;
mod seal;
mod server;
mod sessions;
mod suggest;
mod tasks;
mod text;
mod tools;
mod values;
mod waiting;
mod writing;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::control::oidc::Issuers;
use crate::gate::Gate;
use crate::upstream::Upstream;

pub use cursors::Limits;
pub use links::ReviewLinks;

/// What an operator may set about this door.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Host names, with or without a port, that clients may call the endpoint by besides `localhost`,
    /// `127.0.0.1` and `[::1]`. Pages of these hosts may call it too (`Origin`).
    pub hosts: Vec<String>,
    /// Longest request body, in bytes.
    pub max_body_bytes: usize,
    /// Whose access tokens are taken, besides the gateway's own; `None` takes none.
    pub authorization: Option<Authorization>,
    /// Most requests of one identity in a minute; so many may also come at once.
    pub requests_per_minute: u32,
    /// Cancelled when the gateway stops: what runs then has time to end, streams end, and nothing new begins.
    pub shutdown: CancellationToken,
    /// Holds what goes on when its client leaves: wait for it before the process ends.
    pub tasks: TaskTracker,
    /// Most tool calls of one identity at the same time.
    pub max_calls: usize,
    /// Most sessions of one identity (protocol versions before 2026-07-28 only); the oldest is closed for a
    /// new one.
    pub max_sessions: usize,
    /// How long nothing may happen in such a session before only how it began is kept; its next message wakes it. Longer
    /// than any call may be silent.
    pub sleep_after: Duration,
    /// How many results agents may read page by page, and how long.
    pub cursors: Limits,
    /// Which clients that can show a person a link are asked to show where a held statement is reviewed.
    pub review_links: ReviewLinks,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            hosts: Vec::new(),
            max_body_bytes: 1024 * 1024,
            authorization: None,
            requests_per_minute: 60_000,
            shutdown: CancellationToken::new(),
            tasks: TaskTracker::new(),
            max_calls: 16,
            max_sessions: 32,
            sleep_after: Duration::from_secs(300),
            cursors: Limits::default(),
            review_links: ReviewLinks::default(),
        }
    }
}

/// Access tokens of issuers that the configuration names.
#[derive(Debug, Clone)]
pub struct Authorization {
    /// The endpoint's address as clients know it: what their tokens must be meant for.
    pub resource: String,
    /// Who issues them.
    pub issuers: Arc<Issuers>,
}

/// The door's HTTP service: `/mcp`, behind a bearer token; and what tells clients where to get one.
///
/// Serve it with connect info of [`std::net::SocketAddr`], so that the ledger knows where a client called from.
pub fn router(gate: Arc<Gate>, upstream: Arc<Upstream>, settings: Settings) -> Router {
    http::router(gate, upstream, settings)
}

/// This door's HTTP service with another MCP server behind it than the one of its tools: the same tokens, sessions
/// and limits. `server` makes one for each session and, where there are none, for each request.
///
/// It is how the door's transport is held against the protocol's own conformance suite, which calls tools of its own.
pub fn router_before<S: rmcp::ServerHandler>(
    gate: Arc<Gate>,
    settings: Settings,
    server: impl Fn() -> S + Send + Sync + 'static,
) -> Router {
    http::mount(gate, settings, |_| server)
}
