//! The server that MCP's own conformance suite runs against: this gateway's HTTP side, with its tokens, sessions and
//! limits, and behind it the tools that the suite calls, or the gateway's own.
//!
//! The suite can't send a token. So whatever comes is given one, in front of the guard, which checks it like any other.

mod answers;
mod fixture;
mod jobs;
mod rounds;

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, header};

use portcullis::approval::Desk;
use portcullis::audit::{Ledger, Memory};
use portcullis::clock::{Clock, SystemClock};
use portcullis::config::sources;
use portcullis::gate::{Gate, Parts, Rules, Workers};
use portcullis::identity::directory::{AgentSource, Directory};
use portcullis::identity::token::Token;
use portcullis::mcp;
use portcullis::policy::Snapshot;
use portcullis::store::Store;
use portcullis::upstream::Upstream;

use answers::Answers;
use fixture::Fixture;

/// What is behind the guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behind {
    /// The tools, resources and prompts that the suite calls.
    Fixture,
    /// The gateway's own; there is no database behind them.
    Gateway,
}

/// The service, for clients that have no token to send.
pub(crate) fn service(behind: Behind) -> anyhow::Result<Router> {
    let token = Token::generate();
    let upstream = Arc::new(Upstream::new(Vec::new()));
    let gate = gate(&token, &upstream)?;
    let settings = mcp::Settings { max_sessions: 1000, max_calls: 64, ..mcp::Settings::default() };
    let app = match behind {
        Behind::Gateway => mcp::router(gate, upstream, settings),
        Behind::Fixture => {
            let fixture = Fixture::new(Answers::read()?);
            mcp::router_before(gate, settings, move || fixture.clone())
        }
    };
    let value = HeaderValue::from_str(&format!("Bearer {}", token.reveal()))?;
    Ok(app.layer(axum::middleware::map_request(move |mut request: Request| {
        let value = value.clone();
        async move {
            request.headers_mut().insert(header::AUTHORIZATION, value);
            request
        }
    })))
}

/// A gate with the rulebook that ships, and one agent, who has `token`.
fn gate(token: &Token, upstream: &Arc<Upstream>) -> anyhow::Result<Arc<Gate>> {
    let agent = |name: &str, rest: &str| AgentSource {
        path: format!("{name}.toml"),
        text: format!("name = \"{name}\"\n{rest}\n"),
    };
    let auth = format!("[auth]\ntoken_sha256 = \"{}\"", token.digest());
    let agents = [
        agent("dana", "kind = \"human\""),
        agent("suite", &format!("kind = \"agent\"\nowner = \"dana\"\n{auth}")),
    ];
    let directory = Directory::build(&agents)?;
    let policies = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    let policy = Snapshot::build(&sources::rulebook(&policies)?, &directory.to_data())?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let parts = Parts {
        catalogs: Arc::clone(upstream) as _,
        rules: Rules { policy, directory: Arc::new(directory) },
        desk: Desk::new(Store::in_memory()?, Arc::clone(&clock))?,
        ledger: Ledger::inline(Memory::default()),
        clock,
        workers: Workers::start(1, 64)?,
        console_url: String::new(),
    };
    Ok(Arc::new(Gate::new(parts).context("the gate can't be built")?))
}
