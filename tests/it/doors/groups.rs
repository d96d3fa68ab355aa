//! Released aggregates from a client's side, and what the ledger says of them.

use std::path::Path;

use portcullis::audit::Event;
use serde_json::json;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::support::gateway::Stand;

/// What anybody may know of the totals of orders: of five orders or more.
fn release(home: &Path) {
    let data = home.join("policies/data");
    for (file, before, after) in [
        ("labels.json", "\"shop\": {", "\"shop\": { \"public.orders\": { \"total\": \"money\" },"),
        (
            "masks.json",
            "{",
            "{ \"money\": { \"type\": \"null\", \"release\": { \"aggregates\": [\"avg\", \"sum\"], \"min_rows\": 5 } },",
        ),
    ] {
        let text = std::fs::read_to_string(data.join(file)).unwrap();
        std::fs::write(data.join(file), text.replacen(before, after, 1)).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_sees_the_mean_of_many_rows_and_of_no_few() {
    let stand = Stand::start_with(|home, _| release(home)).await;
    let ana = stand.wire("ana").await;
    let truth = stand.cluster.connect("shop").await.unwrap();
    let many = "SELECT avg(total)::text, sum(total)::text FROM orders WHERE id <= $1";
    let (seen, true_row) = (ana.prepare(many).await.unwrap(), truth.prepare(many).await.unwrap());
    for (last, is_shown) in [(1_i32, false), (4, false), (5, true), (5000, true)] {
        let row = ana.query_one(&seen, &[&last]).await.unwrap();
        let expected = truth.query_one(&true_row, &[&last]).await.unwrap();
        for at in 0..2 {
            let expected = expected.get::<_, Option<String>>(at).filter(|_| is_shown);
            assert_eq!(row.get::<_, Option<String>>(at), expected, "{last}");
        }
    }
    for few in [
        "PREPARE p AS SELECT avg(total) FROM orders WHERE id <= $1; EXECUTE p (4)",
        "BEGIN; DECLARE c CURSOR FOR SELECT sum(total) FROM orders WHERE id = 1; FETCH c; COMMIT",
        "SELECT count(total), max(total), avg(total) FILTER (WHERE id = 1) FROM orders HAVING count(total) = 0",
        "SELECT avg(o.total) FROM orders o, generate_series(1, 9) WHERE o.id = 1",
    ] {
        let cells = cells(&ana, few).await;
        assert!(cells.iter().all(|cell| cell.as_deref().is_none_or(|cell| cell == "0")), "{few}: {cells:?}");
    }
    let plan = ana.simple_query("EXPLAIN SELECT avg(total) FROM orders").await.unwrap_err();
    assert_eq!(plan.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE));
    let agent = stand.mcp("support-bot").await;
    let checked = agent.call("check_sql", json!({"sql": "SELECT avg(total), max(id) FROM orders"})).await;
    assert_eq!(checked["released"], json!(["public.orders.total"]), "{checked}");
    stand.gateway.gate().close_ledger().await.unwrap();
    let said = |sql: &str| -> Vec<Vec<String>> {
        let decided = stand.ledger().into_iter().filter_map(|entry| match entry.record.event {
            Event::Decided(record) if record.statement == sql => Some(record.released.to_vec()),
            _ => None,
        });
        decided.collect()
    };
    assert!(said(many).iter().any(|released| released == &["public.orders.total"]));
    assert!(
        said("SELECT avg(o.total) FROM orders o, generate_series(1, 9) WHERE o.id = 1")
            .iter()
            .all(Vec::is_empty)
    );
}

/// All cells of all rows that the statements give.
async fn cells(client: &Client, sql: &str) -> Vec<Option<String>> {
    let mut cells = Vec::new();
    for message in client.simple_query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}")) {
        if let SimpleQueryMessage::Row(row) = message {
            cells.extend((0..row.len()).map(|at| row.get(at).map(str::to_owned)));
        }
    }
    cells
}
