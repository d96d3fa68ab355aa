//! Serves what MCP's own conformance suite runs against, for running it by hand: `fixture`, or `gateway`.
//!
//! It listens on a free loopback port, prints its URL in one line, and serves until its standard input ends.

#[path = "mod.rs"]
mod served;

use std::net::SocketAddr;

use anyhow::bail;
use tokio::io::AsyncReadExt as _;

use served::Behind;

#[tokio::main]
#[expect(clippy::print_stdout, reason = "its URL is what it is asked for")]
async fn main() -> anyhow::Result<()> {
    let behind = match std::env::args().nth(1).as_deref() {
        Some("fixture") => Behind::Fixture,
        Some("gateway") => Behind::Gateway,
        _ => bail!("say what to serve: `fixture` or `gateway`"),
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}/mcp", listener.local_addr()?);
    let service = served::service(behind)?.into_make_service_with_connect_info::<SocketAddr>();
    tokio::select! {
        served = axum::serve(listener, service) => served?,
        ended = async { tokio::io::stdin().read_to_end(&mut Vec::new()).await } => drop(ended?),
    }
    Ok(())
}
