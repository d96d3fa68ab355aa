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

mod caller;
mod conceal;
mod cursors;
mod envelope;
mod failure;
mod http;
mod once;
mod parameters;
mod plan;
mod reading;
mod render;
mod rights;
mod rooms;
mod run;
mod schema;
mod seal;
mod server;
mod sessions;
mod suggest;
mod text;
mod tools;
mod values;
mod waiting;
mod writing;

use std::sync::Arc;

use axum::Router;

use crate::gate::Gate;
use crate::upstream::Upstream;

pub use cursors::Limits;

/// What an operator may set about this door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Host names, with or without a port, that clients may call the endpoint by besides `localhost`,
    /// `127.0.0.1` and `[::1]`. Pages of these hosts may call it too (`Origin`).
    pub hosts: Vec<String>,
    /// Longest request body, in bytes.
    pub max_body_bytes: usize,
    /// Most tool calls of one identity at the same time.
    pub max_calls: usize,
    /// Most sessions of one identity (protocol versions before 2026-07-28 only); the oldest is closed for a
    /// new one.
    pub max_sessions: usize,
    /// How many results agents may read page by page, and how long.
    pub cursors: Limits,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            hosts: Vec::new(),
            max_body_bytes: 1024 * 1024,
            max_calls: 8,
            max_sessions: 32,
            cursors: Limits::default(),
        }
    }
}

/// The door's HTTP service: `/mcp`, behind a bearer token.
///
/// Serve it with connect info of [`std::net::SocketAddr`], so that the ledger knows where a client called from.
pub fn router(gate: Arc<Gate>, upstream: Arc<Upstream>, settings: Settings) -> Router {
    http::router(gate, upstream, settings)
}
