//! What a restart of the gateway leaves standing.

use portcullis::approval::State;
use portcullis::audit::Event;
use serde_json::json;

use crate::support::gateway::Stand;

use super::{approve, call, pending};

const UPDATE: &str = "UPDATE orders SET status = 'returned' WHERE id = 7";

#[tokio::test(flavor = "multi_thread")]
async fn an_agents_request_survives_a_restart_and_runs_once() {
    let stand = Stand::start().await;
    let arguments = json!({"sql": UPDATE, "reason": "ticket 1", "wait_s": 0});
    let answer = call(&stand, "support-bot", "execute", arguments).await;
    assert_eq!(answer["status"], "pending_approval", "{answer}");
    let id = answer["approval_id"].clone();
    let stand = stand.restart().await;
    let request = pending(&stand).await;
    assert_eq!(id, request.id.to_string());
    let status = call(&stand, "support-bot", "approval_status", json!({"approval_id": id})).await;
    assert_eq!(status["status"], "pending_approval", "{status}");
    approve(&stand, &request).await.unwrap();
    let stand = stand.restart().await;
    let ran = call(&stand, "support-bot", "run_approved", json!({"approval_id": id})).await;
    assert_eq!((&ran["status"], &ran["rows_affected"]), (&json!("ok"), &json!(1)), "{ran}");
    // Somebody changes it back; neither a repeat nor another restart runs the statement again.
    stand.cluster.execute_sql("shop", "UPDATE orders SET status = 'cancelled' WHERE id = 7").await.unwrap();
    let stand = stand.restart().await;
    let again = call(&stand, "support-bot", "run_approved", json!({"approval_id": id})).await;
    assert_eq!((&again["status"], &again["repeated"]), (&json!("ok"), &json!(true)), "{again}");
    let client = stand.cluster.connect("shop").await.unwrap();
    let row = client.query_one("SELECT status FROM orders WHERE id = 7", &[]).await.unwrap();
    assert_eq!(row.get::<_, &str>(0), "cancelled");
    let mallory = call(&stand, "ana", "run_approved", json!({"approval_id": id})).await;
    assert_ne!(mallory["status"], "ok", "somebody else used it: {mallory}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_waits_when_the_gateway_stops_has_its_request_withdrawn() {
    let stand = Stand::start().await;
    let client = stand.wire("support-bot").await;
    let update = client.simple_query(UPDATE);
    let restart = async {
        let request = pending(&stand).await;
        (request, stand.restart().await)
    };
    let (changed, (request, stand)) = tokio::join!(update, restart);
    let error = changed.unwrap_err();
    assert!(error.is_closed() || error.code().is_some(), "{error:?}");
    assert_eq!(stand.gateway.gate().desk().request(&request.id).unwrap().state, State::Withdrawn);
    assert!(approve(&stand, &request).await.is_err(), "a withdrawn request was approved");
    let client = stand.cluster.connect("shop").await.unwrap();
    let row = client.query_one("SELECT status FROM orders WHERE id = 7", &[]).await.unwrap();
    assert_ne!(row.get::<_, &str>(0), "returned");
    let withdrawn =
        |event: &Event| matches!(event, Event::ApprovalChanged { state, .. } if state == "withdrawn");
    assert!(stand.ledger().iter().any(|entry| withdrawn(&entry.record.event)), "no record of the withdrawal");
}
