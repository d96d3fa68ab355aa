//! What goes wrong from outside: disks, databases, ports, files, peers. Each time one clear error that says what
//! to do, nothing that runs unseen, and a gateway that goes on, or goes on again once the fault is gone.

mod flood;
mod frames;
mod ledger;
mod refusals;
mod restart;
mod secrets;
mod stalls;
mod start;
mod upstream;

use std::net::SocketAddr;
use std::time::Duration;

use portcullis::approval::{Request, State, Vote};
use portcullis::audit::{Event, StatementRecord};
use portcullis::gate::{Approve, Door, Silent};
use rmcp::model::CallToolRequestParams;
use rmcp::service::ClientLifecycleMode;
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use serde_json::Value;

use crate::support::gateway::Stand;

/// Calls an MCP tool in a session of its own.
async fn call(stand: &Stand, who: &str, tool: &'static str, arguments: Value) -> Value {
    call_at(stand.gateway.addresses().mcp, &stand.secrets[who], tool, arguments).await
}

async fn call_at(address: SocketAddr, token: &str, tool: &'static str, arguments: Value) -> Value {
    let url = format!("http://{address}/mcp");
    let config = StreamableHttpClientTransportConfig::with_uri(url).auth_header(token);
    let transport = StreamableHttpClientTransport::from_config(config);
    let client =
        rmcp::serve_client_with_lifecycle((), transport, ClientLifecycleMode::Initialize).await.unwrap();
    let arguments = arguments.as_object().cloned().unwrap();
    let result = client.call_tool(CallToolRequestParams::new(tool).with_arguments(arguments)).await.unwrap();
    client.cancel().await.unwrap();
    result.structured_content.unwrap()
}

/// The request that waits, once it does.
async fn pending(stand: &Stand) -> Request {
    let mut found = None;
    until("a request comes to the desk", async || {
        let requests = stand.gateway.gate().desk().requests(10).unwrap();
        found = requests.into_iter().find(|request| request.state == State::Pending);
        found.is_some()
    })
    .await;
    found.unwrap()
}

/// `priya` approves.
async fn approve(stand: &Stand, request: &Request) -> Result<Request, String> {
    let gate = stand.gateway.gate();
    let who = gate.authenticate(&stand.secrets["priya"], Door::Console, "").unwrap();
    let act =
        Approve { id: request.id.clone(), vote: Vote::Approve, note: "ok".to_owned(), client: String::new() };
    let proof = gate.admit(&who, act, &Silent).await.map_err(|denial| format!("{denial:?}"))?;
    gate.decide(&who, proof).map_err(|error| error.to_string())
}

/// The decided statements in the ledger.
fn decided(stand: &Stand) -> Vec<(String, StatementRecord)> {
    let of = |entry: portcullis::audit::Entry| match entry.record.event {
        Event::Decided(statement) => Some((entry.record.decision_id.to_string(), *statement)),
        _ => None,
    };
    stand.ledger().into_iter().filter_map(of).collect()
}

/// What became of the decision, as the ledger has it.
async fn outcome(stand: &Stand, decision_id: &str) -> Option<String> {
    let mut found = None;
    until("it is settled", async || {
        found = stand.ledger().into_iter().find_map(|entry| match entry.record.event {
            Event::Settled { outcome, .. } if entry.record.decision_id == decision_id => Some(outcome),
            _ => None,
        });
        found.is_some()
    })
    .await;
    found
}

/// The readiness probe's answer.
async fn readiness(stand: &Stand) -> (u16, String) {
    let url = format!("http://{}/readyz", stand.gateway.addresses().console);
    let answer = reqwest::get(url).await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

/// Looks again and again until `done`; far more often than it ever takes.
pub(crate) async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    for _ in 0..1500 {
        if done().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it never came to this: {what}");
}
