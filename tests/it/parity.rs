//! Both doors are one gate: the same statement of the same identity gets the same decision, the same masks and
//! the same limits, by a simple query, by a prepared statement and by a tool.

use portcullis::audit::{Event, StatementRecord};
use serde_json::json;

use crate::support::gateway::Stand;

/// What must not depend on the door.
#[derive(Debug, PartialEq, Eq)]
struct Ruling {
    decision: String,
    rule: String,
    sent: String,
    masked: Vec<String>,
    limits: (Option<u64>, Option<u64>),
    facts: String,
}

#[tokio::test(flavor = "multi_thread")]
async fn every_statement_is_judged_alike_by_all_three_ways_in() {
    let stand = Stand::start().await;
    let mut verdicts = Vec::new();
    for identity in ["support-bot", "ana", "dora"] {
        let client = stand.wire(identity).await;
        let agent = stand.mcp(identity).await;
        for statement in READS.iter().chain(&DENIED) {
            let mark = decisions(&stand).len();
            drop(client.simple_query(statement).await);
            drop(client.prepare(statement).await);
            let answer = agent.call("query", json!({ "sql": statement, "database": "shop" })).await;
            let found = decided(&stand, mark, statement, 3).await;
            let [simple, prepared, tool] = found.as_slice() else {
                panic!("{identity}: {statement}\nanswered {answer}, left {found:#?}")
            };
            assert_eq!(simple, prepared, "{identity}: {statement}");
            assert_eq!(simple, tool, "{identity}: {statement}");
            verdicts.push(simple.decision.clone());
        }
    }
    assert!(verdicts.iter().filter(|verdict| *verdict == "allow").count() >= 20, "{verdicts:?}");
    assert!(verdicts.iter().filter(|verdict| *verdict == "deny").count() >= 20, "{verdicts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_waits_at_one_door_waits_at_the_other() {
    let stand = Stand::start().await;
    let agent = stand.mcp("support-bot").await;
    let client = stand.wire("support-bot").await;
    for statement in WRITES {
        let mark = decisions(&stand).len();
        let prepared = client.prepare(statement).await;
        let arguments = json!({ "sql": statement, "reason": "parity", "wait_s": 0 });
        let answer = agent.call("execute", arguments).await;
        let found = decided(&stand, mark, statement, 2).await;
        let [wire, tool] = found.as_slice() else { panic!("{statement}: {answer} {found:#?}") };
        assert_eq!((&wire.decision, &wire.rule), (&tool.decision, &tool.rule), "{statement}");
        assert_eq!(prepared.is_ok(), wire.decision == "escalate", "{statement}");
    }
}

/// What each way in wrote about `statement` behind the first `mark` decisions: once all of it is there.
async fn decided(stand: &Stand, mark: usize, statement: &str, ways: usize) -> Vec<Ruling> {
    let mut found = Vec::new();
    for _ in 0..100 {
        found = decisions(stand)
            .into_iter()
            .skip(mark)
            .filter(|record| record.statement.trim() == statement && record.via != "bind")
            .map(ruling)
            .collect::<Vec<_>>();
        if found.len() >= ways {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    found
}

fn decisions(stand: &Stand) -> Vec<StatementRecord> {
    let statement = |event: Event| match event {
        Event::Decided(record) => Some(*record),
        _ => None,
    };
    stand.ledger().into_iter().filter_map(|entry| statement(entry.record.event)).collect()
}

fn ruling(record: StatementRecord) -> Ruling {
    Ruling {
        decision: record.decision.to_string(),
        rule: record.rule.to_string(),
        sent: record.sent,
        masked: record.masked.to_vec(),
        limits: (record.max_rows, record.max_bytes),
        facts: record.facts_digest.to_string(),
    }
}

const READS: [&str; 14] = [
    "SELECT id, name FROM products ORDER BY id LIMIT 2",
    "SELECT * FROM customers WHERE id = 1",
    "SELECT email, upper(ssn) FROM customers WHERE id = 1",
    "SELECT c FROM customers c WHERE id = 1",
    "SELECT row_to_json(c) FROM customers c WHERE id = 1",
    "SELECT count(*) FROM customers WHERE ssn = '1'",
    "SELECT o.id, c.email FROM orders o JOIN customers c ON c.id = o.customer_id WHERE o.id = 1",
    "WITH c AS (SELECT * FROM customers WHERE id < 3) SELECT email FROM c",
    "SELECT status, count(*) FROM orders GROUP BY status",
    "SELECT email FROM customers WHERE id = 1 UNION SELECT phone FROM customers WHERE id = 2",
    "VALUES (1, 'a')",
    "SELECT current_user",
    "SELECT max(card_number) FROM customers",
    "SELECT 1",
];

const DENIED: [&str; 14] = [
    "SELECT * FROM hr.payroll",
    "SELECT salary FROM hr.payroll WHERE employee_id = 1",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT * FROM pg_authid",
    "SELECT most_common_vals FROM pg_stats",
    "SELECT lo_import('/etc/passwd')",
    "SELECT query_to_xml('select 1', true, true, '')",
    "SELECT pg_terminate_backend(1)",
    "SELECT set_config('search_path', 'hr', false)",
    "SELECT * FROM nowhere",
    "SELECT nothing FROM products",
    "SELECT dblink('x')",
    "SELEC 1",
    "SELECT customer_by_email('a@b.c')",
];

const WRITES: [&str; 6] = [
    "UPDATE orders SET status = 'shipped' WHERE id = 7",
    "UPDATE orders SET status = 'shipped'",
    "UPDATE orders SET customer_id = 1 WHERE id = 7",
    "DELETE FROM orders WHERE id = 7",
    "DROP TABLE orders",
    "UPDATE customers SET name = ssn WHERE id = 1",
];
