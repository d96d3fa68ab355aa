//! The people's window: approvals and the ledger, as pages without scripts and as a JSON API.
//!
//! People sign in with their token; an agent's token opens no page and decides nothing. What somebody may see is
//! settled here (`sight`), what they may decide by the gate: every vote is an act that [`Gate::admit`] judges.
//! Pages load nothing from elsewhere and run no script, forms carry a token of their session, and requests whose
//! `Host` or `Origin` is not ours are refused before anything else happens.
//!
//! The API lives below `/api/v1` and takes `Authorization: Bearer`, never the cookie, so no other site's page can
//! use it through somebody's browser.

mod api;
mod caller;
mod guard;
mod pages;
mod refusal;
mod session;
mod sight;
mod view;
mod visible;
mod words;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use tokio::sync::Semaphore;

use crate::clock::Clock;
use crate::gate::Gate;

use session::Sessions;

/// How the console runs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The ledger's folder.
    pub ledger_dir: PathBuf,
    /// What may stand in a request's `Host`, in lower case, with the port where there is one.
    pub hosts: Vec<String>,
    /// Members of any of these groups see all of the ledger; others see what they and their agents did.
    pub auditors: Vec<String>,
    /// Whether people reach it by https: then its cookie travels by https only.
    pub https: bool,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl Settings {
    /// A console that listens on `listen`, and that people reach by `url`.
    #[must_use]
    pub fn new(ledger_dir: PathBuf, listen: SocketAddr, url: &str, clock: Arc<dyn Clock>) -> Self {
        let mut hosts = vec![listen.to_string()];
        if listen.ip().is_loopback() {
            let names = ["localhost", "127.0.0.1", "[::1]"];
            hosts.extend(names.map(|name| format!("{name}:{}", listen.port())));
        }
        let (scheme, rest) = url.split_once("://").unwrap_or_default();
        let https = scheme == "https";
        let host = rest.split('/').next().unwrap_or_default().to_ascii_lowercase();
        // Browsers leave out the port that goes without saying.
        let short = host.strip_suffix(if https { ":443" } else { ":80" }).map(str::to_owned);
        hosts.extend(short);
        hosts.push(host);
        hosts.retain(|host| !host.is_empty());
        let auditors = ["auditors", "dba"].map(str::to_owned).to_vec();
        Self { ledger_dir, hosts, auditors, https, clock }
    }
}

/// Everything the console answers. Serve it with `into_make_service_with_connect_info::<SocketAddr>()`, so that
/// the ledger knows where people come from.
pub fn router(gate: Arc<Gate>, settings: Settings) -> Router {
    let watchers = Semaphore::new(MOST_WATCHERS);
    let console = Arc::new(Console { gate, settings, sessions: Sessions::default(), watchers });
    Router::new()
        .merge(pages::router())
        .nest("/api/v1", api::router())
        .fallback(guard::nothing_here)
        .method_not_allowed_fallback(guard::wrong_method)
        .layer(DefaultBodyLimit::max(MOST_BODY))
        .layer(from_fn_with_state(Arc::clone(&console), guard::ours_only))
        .merge(guard::probes())
        .layer(from_fn(guard::harden))
        .with_state(console)
}

/// What every handler shares.
#[derive(Debug)]
struct Console {
    gate: Arc<Gate>,
    settings: Settings,
    sessions: Sessions,
    /// One permit each for those who wait for a change.
    watchers: Semaphore,
}

/// Bytes of a request's body.
const MOST_BODY: usize = 16 * 1024;
/// API callers that may wait for a change at the same time.
const MOST_WATCHERS: usize = 64;
