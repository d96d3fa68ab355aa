//! Sessions that the rulebook ends, and what does not run any more.

use portcullis::audit::Event;
use serde_json::json;

use super::{rule, stand, stand_with, until_closed};
use crate::support::gateway::Stand;
use crate::wire_real::Raw;
use crate::wire_sim::rig::{bind, describe, execute, message, parse, query, run, sync};

const ENDS: &str = r#"oblige contains "end_session" if {
	some table in input.statement.tables
	table.key == "public.products"
}
"#;
const LAST: &str = "SELECT id FROM products LIMIT 1";
const RETURNED: &str = "UPDATE orders SET status = 'returned' WHERE id = 7";
const WRITE: &str = "UPDATE orders SET status = 'cancelled' WHERE id = 7";

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_ends_its_session_is_answered_and_nothing_behind_it_runs() {
    let stand = stand(ENDS, RETURNED).await;
    let last = run(LAST);
    let ways: [(&str, Vec<u8>, &str); 8] = [
        ("a query", [query(LAST), query(WRITE)].concat(), "T D C(SELECT 1) Z(I) E(57P01)"),
        (
            "a transaction",
            [query("BEGIN"), query(WRITE), query(LAST), query("COMMIT")].concat(),
            "C(BEGIN) Z(T) C(UPDATE 1) Z(T) T D C(SELECT 1) Z(T) E(57P01)",
        ),
        ("a series", [last.clone(), sync(), query(WRITE)].concat(), "1 2 D C(SELECT 1) Z(I) E(57P01)"),
        (
            "a pipeline",
            [run(WRITE), last.clone(), run(WRITE), sync()].concat(),
            "1 2 C(UPDATE 1) 1 2 D C(SELECT 1) E(57P01)",
        ),
        ("a Bind that is not run", [parse("", LAST), bind("p", ""), query(WRITE)].concat(), "1 2 E(57P01)"),
        (
            "one portal for another",
            [
                parse("", WRITE),
                bind("w", ""),
                parse("", LAST),
                bind("p", ""),
                describe(b'P', "p"),
                execute("w", 0),
                sync(),
            ]
            .concat(),
            "1 2 1 2 T E(57P01)",
        ),
        (
            "a row at a time",
            [parse("", "SELECT id FROM products"), bind("p", ""), execute("p", 1), execute("p", 1), sync()]
                .concat(),
            "1 2 D s E(57P01)",
        ),
        ("two statements", query(&format!("{LAST}; {WRITE}")), "E(42501) Z(I) E(57P01)"),
    ];
    for (way, bytes, heard) in ways {
        let mut raw = Raw::session(&stand, "dora").await;
        raw.send(&bytes).await;
        let (words, errors) = until_closed(&mut raw).await;
        assert_eq!(words, heard, "{way}: {errors:?}");
        assert!(errors.last().unwrap().contains("the rulebook ends this session: end_session"), "{errors:?}");
        assert_ne!(status(&stand).await, "cancelled", "{way}");
    }
    stand.gateway.gate().close_ledger().await.unwrap();
    let ended = |event: &Event| matches!(event, Event::SessionClosed { reason } if reason.contains("ends this session"));
    let count = stand.ledger().iter().filter(|entry| ended(&entry.record.event)).count();
    assert_eq!(count, 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_denied_ends_the_session_too_where_the_rulebook_says_so() {
    let deny = "deny contains {\"rule\": \"trap\", \"message\": \"nobody reads that\", \"hint\": \"\"} if {\n\t\
                some table in input.statement.tables\n\ttable.key == \"public.products\"\n}\n";
    let stand = stand(&format!("{ENDS}\n{deny}"), RETURNED).await;
    let ways: [(&str, Vec<u8>, &str); 4] = [
        ("a query", [query(LAST), query(WRITE)].concat(), "E(42501) Z(I) E(57P01)"),
        (
            "in a transaction",
            [query("BEGIN"), query(LAST), query("ROLLBACK")].concat(),
            "C(BEGIN) Z(T) E(42501) Z(E) E(57P01)",
        ),
        (
            "a series",
            [run(WRITE), run(LAST), run(WRITE), sync(), query(WRITE)].concat(),
            "1 2 C(UPDATE 1) E(42501) Z(I) E(57P01)",
        ),
        ("behind another", query(&format!("{LAST}; SELECT 1")), "E(42501) Z(I) E(57P01)"),
    ];
    for (way, bytes, heard) in ways {
        let mut raw = Raw::session(&stand, "dora").await;
        raw.send(&bytes).await;
        let (words, errors) = until_closed(&mut raw).await;
        assert_eq!(words, heard, "{way}");
        assert!(errors.last().unwrap().contains("ends this session: trap"), "{errors:?}");
        assert_ne!(status(&stand).await, "cancelled", "{way}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_ends_its_session_lasts_once_its_series_has_ended() {
    let rules = "oblige contains \"end_session\" if input.statement.kind in {\"update\", \"copy\"}\n";
    let stand = stand(rules, "").await;
    for bytes in [query(WRITE), [run(WRITE), sync()].concat()] {
        reset(&stand).await;
        let mut raw = Raw::session(&stand, "dora").await;
        raw.send(&bytes).await;
        let (words, _) = until_closed(&mut raw).await;
        assert!(words.ends_with("C(UPDATE 1) Z(I) E(57P01)"), "{words}");
        assert_eq!(status(&stand).await, "cancelled");
    }
    reset(&stand).await;
    let mut raw = Raw::session(&stand, "dora").await;
    // Without the end of its series it does not last, whoever waits for it.
    raw.send(&[run(WRITE), message(b'H', |_| {})].concat()).await;
    let (words, _) = until_closed(&mut raw).await;
    assert_eq!(words, "1 2 C(UPDATE 1) E(57P01)");
    assert_ne!(status(&stand).await, "cancelled");
    let mut raw = Raw::session(&stand, "dora").await;
    raw.send(&query("COPY (SELECT 1) TO STDOUT")).await;
    assert_eq!(until_closed(&mut raw).await.0, "H d c C(COPY 1) Z(I) E(57P01)");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agents_sessions_end_behind_the_answer() {
    let stand = stand_with("", |home| rule(home, "statement", ENDS)).await;
    let agent = stand.mcp("support-bot").await;
    let other = stand.mcp("dora").await;
    let answer = agent.call("query", json!({"sql": LAST})).await;
    assert_eq!((&answer["status"], &answer["session_ended"]), (&json!("ok"), &json!(true)), "{answer}");
    // A client may open another one, and this one does.
    assert_eq!(agent.call("query", json!({"sql": "SELECT 1"})).await["status"], "ok");
    let answer = other.call("query", json!({"sql": "SELECT 1"})).await;
    assert_eq!(answer["status"], "ok", "somebody else's: {answer}");
    stand.gateway.gate().close_ledger().await.unwrap();
    let turned_away = |event: &Event| matches!(event, Event::Refused { reason, .. } if reason.contains("a session that is not"));
    assert!(stand.ledger().iter().any(|entry| turned_away(&entry.record.event)));
    let ended = |event: &Event| matches!(event, Event::SessionClosed { reason } if reason.contains("the rulebook ends"));
    assert_eq!(stand.ledger().iter().filter(|entry| ended(&entry.record.event)).count(), 1);
}

async fn status(stand: &Stand) -> String {
    let client = stand.cluster.connect("shop").await.unwrap();
    client.query_one("SELECT status FROM orders WHERE id = 7", &[]).await.unwrap().get(0)
}

async fn reset(stand: &Stand) {
    stand.cluster.execute_sql("shop", RETURNED).await.unwrap();
}
