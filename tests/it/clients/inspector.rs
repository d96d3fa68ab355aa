//! The MCP Inspector: its strict reading of the tool list, and a call of every tool whose answer it holds against the
//! tool's schema; by both eras of the protocol, over HTTP and by the relay.

use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::gateway::Stand;

use super::{Clients, said};

#[tokio::test(flavor = "multi_thread")]
async fn the_strict_inspector_finds_no_fault_with_any_tool() {
    let Some(clients) = Clients::with(&["node", "suites"]).await else { return };
    let stand = Stand::start().await;
    let home = tempfile::tempdir().unwrap();
    for (way, era) in
        [(Way::Http, "modern"), (Way::Http, "legacy"), (Way::Relay, "auto"), (Way::Relay, "legacy")]
    {
        let inspect = || {
            let mut inspector = inspector(&clients, &stand, way);
            inspector.args(["--protocol-era", era, "--format", "json"]).env("HOME", home.path());
            inspector
        };
        let listed = inspect().args(["--method", "tools/list", "--strict"]).output().await.unwrap();
        assert!(listed.status.success(), "{way:?} {era}: {}", said(&listed));
        let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
        let names: Vec<&str> = listed["result"]["tools"]
            .as_array()
            .unwrap()
            .iter()
            .map(|tool| tool["name"].as_str().unwrap())
            .collect();
        if (way, era) != (Way::Http, "modern") {
            assert!(names.contains(&"query"), "{names:?}");
            continue;
        }
        for name in names {
            let (arguments, status) = call_of(name);
            let arguments = arguments.to_string();
            let call = ["--method", "tools/call", "--tool-name", name, "--tool-args-json", &arguments];
            let called = inspect().args(call).output().await.unwrap();
            let failed = ["denied", "error"].contains(&status);
            assert_eq!(called.status.code(), Some(if failed { TOOL_ERROR } else { 0 }), "{}", said(&called));
            let answer: Value = serde_json::from_slice(&called.stdout).unwrap();
            assert_eq!(answer["result"]["structuredContent"]["status"], status, "{name}: {answer}");
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Http,
    Relay,
}

fn inspector(clients: &Clients, stand: &Stand, way: Way) -> Command {
    let mut inspector = clients.node("suites/node_modules/.bin/mcp-inspector");
    let url = format!("http://{}/mcp", stand.gateway.addresses().mcp);
    let token = &stand.secrets["support-bot"];
    inspector.arg("--cli");
    match way {
        Way::Http => inspector.args([&url, "--header", &format!("Authorization: Bearer {token}")]),
        Way::Relay => inspector
            .args([env!("CARGO_BIN_EXE_portcullis"), "mcp", "-e", &format!("PORTCULLIS_TOKEN={token}")])
            .args(["-e", &format!("PORTCULLIS_MCP_URL={url}")]),
    };
    inspector
}

/// Arguments for a tool, and the status that they get. A tool that this table does not know fails the test.
fn call_of(tool: &str) -> (Value, &'static str) {
    let write = "UPDATE orders SET status = 'cancelled' WHERE id = 7001";
    match tool {
        "my_access" => (json!({"table": "public.orders"}), "ok"),
        "search_schema" => (json!({"text": "customer", "detail": "full"}), "ok"),
        "check_sql" => (json!({"sql": write}), "needs_approval"),
        "query" => (json!({"sql": "SELECT * FROM customers WHERE id < $1", "params": [5]}), "ok"),
        "execute" => {
            (json!({"sql": write, "reason": "the customer called", "wait_s": 0}), "pending_approval")
        }
        "approval_status" => (json!({}), "ok"),
        "run_approved" => (json!({"approval_id": "0".repeat(32)}), "error"),
        other => panic!("say how to call `{other}`"),
    }
}

/// What the inspector exits with where a tool's answer counts as an error.
const TOOL_ERROR: i32 = 5;
