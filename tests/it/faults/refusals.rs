//! Every refusal of a statement is on record, whoever refuses it: the gate, or a door before it.

use portcullis::audit::Event;
use serde_json::json;

use crate::support::gateway::Stand;
use crate::wire_real::Raw;
use crate::wire_sim::rig::{message, word};

use super::{call, decided, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_that_can_not_run_a_statement_leaves_a_record_of_it() {
    let stand = Stand::start().await;
    for (tool, sql, code) in [
        ("query", "UPDATE orders SET status = 'returned' WHERE id = 7", "read_only"),
        ("query", "INSERT INTO orders (status) VALUES ('new')", "read_only"),
        ("query", "COPY orders TO STDOUT", "copy"),
        ("query", "SET timezone = 'Asia/Tokyo'", "session"),
        ("query", "SELECT 1; DROP TABLE orders", "one_statement"),
        ("execute", "DROP TABLE orders", "ddl"),
        ("query", "COMMIT", "transaction_in_tool"),
        ("query", "SELEC 1", "syntax"),
        ("query", "SELECT nothing FROM orders", "not_understood"),
    ] {
        let mut arguments = json!({ "sql": sql });
        if tool == "execute" {
            arguments["reason"] = json!("ticket 1");
        }
        let answer = call(&stand, "support-bot", tool, arguments).await;
        assert!(["denied", "error"].contains(&answer["status"].as_str().unwrap()), "{sql}: {answer}");
        let id = answer["decision_id"].as_str().unwrap().to_owned();
        let mut found = None;
        until(&format!("the refusal of `{sql}` is on record"), async || {
            found = decided(&stand).into_iter().find(|(decision, _)| *decision == id);
            found.is_some()
        })
        .await;
        let (_, record) = found.unwrap();
        assert_eq!(
            (record.decision.as_str(), record.via.as_str(), record.statement.as_str()),
            ("deny", "tool", sql)
        );
        assert!(record.rule.contains(code), "{sql}: {}", record.rule);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_that_are_no_statement_leave_a_record_too() {
    let stand = Stand::start().await;
    for (count, arguments) in (1..).zip([
        json!({"sql": "SELECT '\0'"}),
        json!({"sql": " ".repeat(300 * 1024)}),
        json!({"sql": 7}),
        json!({"sql": "SELECT 1", "max_rows": 1_000_000}),
        json!({"sql": "SELECT $1", "params": [9_007_199_254_740_993.0]}),
    ]) {
        let answer = call(&stand, "support-bot", "query", arguments).await;
        assert_eq!(answer["error"]["code"], "invalid_argument", "{answer}");
        until(&format!("lie {count} is on record"), async || {
            let told =
                |event: &Event| matches!(event, Event::Malformed { context } if context.contains("`query`"));
            let mine = stand.ledger().into_iter().filter(|entry| told(&entry.record.event));
            mine.filter(|entry| entry.record.identity == "support-bot").count() == count
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_call_by_its_number_leaves_a_record() {
    let stand = Stand::start().await;
    let mut ana = Raw::session(&stand, "ana").await;
    // random()
    ana.send(&message(b'F', |body| body.extend_from_slice(b"\0\0\x06\x3e\0\0\0\0\0\0"))).await;
    assert_eq!(word(&ana.frame().await.unwrap()), "E(42501)");
    until("it is on record", async || {
        let told = |event: &Event| matches!(event, Event::Decided(record) if record.via == "function_call" && record.statement.contains("random"));
        stand.ledger().iter().any(|entry| told(&entry.record.event) && entry.record.identity == "ana")
    })
    .await;
}
