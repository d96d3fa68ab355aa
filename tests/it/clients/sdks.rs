//! Clients by the SDKs of others: the Python one and both of TypeScript, in each era that they speak, over HTTP and by the
//! relay. `tests/clients` has them; they run against any gateway before the demo's shop.

use std::fs;

use serde_json::json;
use tokio::process::Command;

use crate::support::gateway::Stand;

use super::{Clients, repository, said};

#[tokio::test(flavor = "multi_thread")]
async fn the_python_sdk_works() {
    let Some(clients) = Clients::with(&["python"]).await else { return };
    try_out(|ready| {
        let mut python = clients.python();
        python.arg(repository("tests/clients/mcp_python.py")).arg(ready).arg(PROGRAM);
        vec![python]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_typescript_sdks_work() {
    let Some(clients) = Clients::with(&["node", "sdks"]).await else { return };
    try_out(|ready| {
        let run = |sdk| {
            let mut node = clients.node(repository("tests/clients/mcp_typescript.mjs"));
            node.arg(ready).args([sdk, PROGRAM]).current_dir(clients.folder("sdks"));
            node
        };
        ["v1", "v2", "v2-modern"].map(run).into()
    })
    .await;
}

/// Starts a gateway, and runs what `programs` makes of the file that says how to reach it.
async fn try_out(programs: impl FnOnce(&str) -> Vec<Command>) {
    let stand = Stand::start().await;
    let addresses = stand.gateway.addresses();
    let ready = json!({
        "mcp": addresses.mcp.to_string(),
        "console": addresses.console.to_string(),
        "secrets": stand.secrets,
    });
    let file = stand.home.path().join("ready.json");
    fs::write(&file, ready.to_string()).unwrap();
    for mut program in programs(file.to_str().unwrap()) {
        let ran = program.output().await.unwrap();
        assert!(ran.status.success(), "{}", said(&ran));
    }
}

const PROGRAM: &str = env!("CARGO_BIN_EXE_portcullis");
