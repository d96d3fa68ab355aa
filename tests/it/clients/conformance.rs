//! MCP's own conformance suite, by the requirements of two revisions of the protocol, against this gateway's HTTP side
//! with the suite's fixtures behind it, and against the gateway's own tools.
//!
//! What fails is listed in `tests/conformance/mcp/baseline-*.yml`. The suite itself fails where something new fails, and
//! where something passes that is listed; here, the lists can't grow.

#[path = "../../conformance/mcp/mod.rs"]
mod served;

use std::net::SocketAddr;

use served::Behind;

use super::{Clients, repository, said, text};

#[tokio::test(flavor = "multi_thread")]
async fn the_transport_conforms_to_2026_07_28() {
    run(Behind::Fixture, "2026-07-28", 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_transport_conforms_to_2025_11_25() {
    run(Behind::Fixture, "2025-11-25", 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_conforms_to_2026_07_28_but_for_tools_that_it_does_not_have() {
    run(Behind::Gateway, "2026-07-28", 39).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_conforms_to_2025_11_25_but_for_tools_that_it_does_not_have() {
    run(Behind::Gateway, "2025-11-25", 24).await;
}

/// Runs what `revision` requires. Its baseline has at most `excused` entries.
#[expect(clippy::print_stdout, reason = "the figures are what one runs it for")]
async fn run(behind: Behind, revision: &str, excused: usize) {
    let name = match behind {
        Behind::Fixture => "fixture",
        Behind::Gateway => "gateway",
    };
    let baseline = format!("tests/conformance/mcp/baseline-{name}-{revision}.yml");
    let listed = text(&baseline).lines().filter(|line| line.trim_start().starts_with("- ")).count();
    assert!(listed <= excused, "{baseline} has grown from {excused} entries to {listed}");
    let Some(clients) = Clients::with(&["node", "suites"]).await else { return };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    let service = served::service(behind).unwrap().into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await.unwrap() });
    let results = tempfile::tempdir().unwrap();
    let ran = clients
        .node("suites/node_modules/@modelcontextprotocol/conformance/dist/index.js")
        .args(["server", "--url", &url, "--requirements", revision, "--expected-failures"])
        .arg(repository(&baseline))
        .arg("--output-dir")
        .arg(results.path())
        .output()
        .await
        .unwrap();
    let said = said(&ran);
    let summary = said.split_once("=== SUMMARY ===").map_or(said.as_str(), |(_, summary)| summary);
    assert!(ran.status.success(), "{summary}");
    let total = summary.lines().find(|line| line.starts_with("Total:")).expect("a suite that ran to its end");
    println!("{name} {revision}: {total}; {listed} entries in the baseline");
}
