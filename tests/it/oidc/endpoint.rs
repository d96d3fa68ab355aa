//! What one identity may ask for in a minute, and what becomes of calls when the gateway stops.

use reqwest::StatusCode;
use serde_json::{Value, json};

use portcullis::cli::demo::shop;

use super::issuer::{Issuer, Key};
use super::{gateway_with, initialize, post};
use crate::faults::until;
use crate::support::gateway::Stand;

#[tokio::test(flavor = "multi_thread")]
async fn who_has_made_a_minutes_requests_is_told_when_to_come_back() {
    let key = Key::es256("k1");
    let corp = Issuer::start(&[&key]).await;
    let stand = gateway_with(&[("corp", &corp)], |_, settings| {
        settings.mcp_door.requests_per_minute = Some(3);
    })
    .await;
    let by_token = corp.token(&key, "u-ana", json!({}));
    // One identity, by whatever tokens.
    for token in [&by_token, &stand.secrets["ana"], &by_token] {
        assert_eq!(post(&stand, token, &initialize()).await.status(), StatusCode::OK);
    }
    for token in [&by_token, &stand.secrets["ana"]] {
        let answer = post(&stand, token, &initialize()).await;
        assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
        let wait: u64 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1..=21).contains(&wait), "{wait}");
        let body: Value = answer.json().await.unwrap();
        assert_eq!(body["error"], "too_many_requests");
        assert!(body["hint"].as_str().unwrap().starts_with("wait "), "{body}");
    }
    let other = post(&stand, &stand.secrets["priya"], &initialize()).await;
    assert_eq!(other.status(), StatusCode::OK, "everybody has their own");
    until("the ledger says why", async || {
        serde_json::to_string(&stand.ledger()).unwrap().contains("too many requests in a minute")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_runs_has_time_to_end() {
    let stand = Stand::start().await;
    let agent = stand.mcp("ana").await;
    let mut holder = stand.cluster.connect(shop::NAME).await.unwrap();
    let lock = holder.transaction().await.unwrap();
    lock.batch_execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let running =
        tokio::spawn(async move { agent.call("query", json!({"sql": "SELECT count(*) FROM orders"})).await });
    let waits = "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'orders'::regclass";
    while lock.query(waits, &[]).await.unwrap().is_empty() {}
    let Stand { gateway, .. } = stand;
    let mcp = gateway.addresses().mcp;
    let stopping = tokio::spawn(gateway.stop());
    let document = format!("http://{mcp}/.well-known/oauth-protected-resource");
    while reqwest::get(&document).await.is_ok() {}
    lock.rollback().await.unwrap();
    let answer = running.await.unwrap();
    assert_eq!(answer["status"], "ok", "{answer}");
    stopping.await.unwrap();
}
