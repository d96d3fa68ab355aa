//! Connections to the database that serve one call after another: whose, and for how long.

use serde_json::{Value, json};

use super::shop::Shop;
use super::stand::Client;

async fn count(client: &Client) -> Value {
    let (answer, is_error) = client.call("query", json!({"sql": "SELECT count(*) FROM items"})).await;
    assert!(!is_error, "{answer}");
    answer["rows"][0][0].clone()
}

#[tokio::test]
async fn calls_of_one_identity_share_a_connection_and_others_get_another() {
    let shop = Shop::open().await;
    let (robin, mallory) = (shop.client("robin").await, shop.client("mallory").await);
    assert_eq!(count(&robin).await, 250);
    let first = shop.resting().await;
    assert_eq!(first.len(), 1);
    for _ in 0..5 {
        count(&robin).await;
        assert_eq!(shop.resting().await, first, "the same one");
    }
    count(&mallory).await;
    let both = shop.resting().await;
    assert_eq!(both.len(), 2);
    assert!(both.contains(&first[0]), "{first:?} in {both:?}");
    let (failed, _) = robin.call("query", json!({"sql": "SELECT 1 / 0 FROM items"})).await;
    assert_eq!(failed["sqlstate"], "22012");
    assert_eq!(shop.resting().await, both, "an error of a statement is no reason to part");
}

#[tokio::test]
async fn what_a_statement_can_leave_behind_that_nothing_undoes_ends_the_connection() {
    let shop = Shop::open().await;
    let robin = shop.client("robin").await;
    count(&robin).await;
    let first = shop.resting().await;
    let (seeded, is_error) = robin.call("query", json!({"sql": "SELECT setseed(0.5)"})).await;
    assert!(!is_error, "{seeded}");
    count(&robin).await;
    assert_ne!(shop.resting().await, first);
}

#[tokio::test]
async fn other_rules_or_another_purpose_are_no_ground_to_go_on_upon() {
    let shop = Shop::open().await;
    let robin = shop.client("robin").await;
    count(&robin).await;
    let first = shop.resting().await;
    shop.replace(&[], &[]);
    count(&robin).await;
    let second = shop.resting().await;
    assert_eq!(second.len(), 1, "the old one is closed");
    assert_ne!(second, first);
}

#[tokio::test]
async fn a_connection_that_the_server_has_closed_is_replaced_and_nobody_notices() {
    let shop = Shop::open().await;
    let robin = shop.client("robin").await;
    count(&robin).await;
    let first = shop.resting().await;
    shop.terminate("true").await;
    assert_eq!(count(&robin).await, 250);
    assert_ne!(shop.resting().await, first);
}

#[tokio::test]
async fn a_connection_at_rest_gives_way_where_there_is_one_place() {
    let shop = Shop::on(&[], |_| {}, |database| database.max_connections = Some(1)).await;
    let (robin, mallory) = (shop.client("robin").await, shop.client("mallory").await);
    for _ in 0..3 {
        count(&robin).await;
        count(&mallory).await;
    }
    let (one, other) = tokio::join!(count(&robin), count(&mallory));
    assert_eq!((one, other), (json!(250), json!(250)), "whoever comes second waits for the place");
    assert_eq!(shop.resting().await.len(), 1);
}

#[tokio::test]
async fn a_call_that_its_client_gives_up_is_cancelled_and_disturbs_no_other() {
    let shop = Shop::open().await;
    let sql = "SELECT count(*) FROM items a, items b, items c, items d, items e, items f";
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let params = json!({"name": "query", "arguments": {"sql": sql}, "_meta": meta});
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
    let post = reqwest::Client::new()
        .post(&shop.stand.url)
        .header("authorization", shop.stand.bearer("robin"))
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
        .header("mcp-protocol-version", "2026-07-28")
        .header("mcp-method", "tools/call")
        .header("mcp-name", "query")
        .body(call.to_string());
    tokio::select! {
        answer = post.send() => panic!("too soon: {}", answer.unwrap().text().await.unwrap()),
        () = super::shop::until("it runs", async || !shop.processes("state = 'active'").await.is_empty()) => {}
    }
    super::shop::until("it is cancelled", async || shop.processes("state = 'active'").await.is_empty()).await;
    let robin = shop.client("robin").await;
    for _ in 0..20 {
        assert_eq!(count(&robin).await, 250);
    }
}
