//! Filters that are held by a fence in each statement.

use serde_json::json;

use super::{Tenants, column, denied, everything, filters, values};

/// Fences need nothing of the server.
async fn fenced() -> Tenants {
    let tenants = Tenants::start(&filters("fence"), everything).await;
    let script = tenants.apply().await;
    assert!(script.contains("reads the whole table") && script.contains("Nothing is to be done"), "{script}");
    tenants
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fence_holds_whatever_stands_beside_it() {
    let tenants = fenced().await;
    let ana = tenants.stand.wire("ana").await;
    for (sql, expected) in [
        ("SELECT count(*) FROM notes", vec!["4"]),
        ("SELECT id FROM notes WHERE 1 / n < 0 AND id > 3", vec!["4"]),
        ("SELECT max(body::int) FROM memos", vec!["4"]),
        ("SELECT DISTINCT tenant FROM notes_view", vec!["acme"]),
        ("SELECT count(*) FROM notes_view_2 WHERE memo::int > 0", vec!["4"]),
        ("SELECT count(*) FROM notes_invoker", vec!["4"]),
        ("SELECT count(*) FROM events", vec!["4"]),
        ("SELECT count(*) FROM events_globex", vec!["0"]),
        ("SELECT count(*) FROM ONLY logs", vec!["1"]),
        ("SELECT count(*) FROM logs_old", vec!["1"]),
        ("SELECT string_agg(n.body, ',' ORDER BY n.id) FROM notes n JOIN memos USING (id)", vec!["1,2,3,4"]),
        ("SELECT sum(id) FROM notes WHERE leak(body)", vec!["10"]),
        ("SELECT length(row_to_json(x)::text) > 0 FROM notes x WHERE id = 1", vec!["t"]),
        ("SELECT count(*) FROM notes TABLESAMPLE SYSTEM (100)", vec!["4"]),
    ] {
        assert_eq!(column(&ana, sql).await, expected, "{sql}");
    }
    let held = ana.query("SELECT id FROM notes WHERE tenant = $1", &[&"globex"]).await.unwrap();
    assert!(held.is_empty());
    assert_eq!(column(&tenants.stand.wire("dora").await, "SELECT count(*) FROM notes").await, ["1000"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_fence_can_not_hold_is_denied() {
    let tenants = fenced().await;
    let ana = tenants.stand.wire("ana").await;
    for sql in [
        "INSERT INTO notes VALUES (99, 'acme', '', 1)",
        "UPDATE notes SET body = '' WHERE tenant = 'acme'",
        "DELETE FROM notes_view",
        "DELETE FROM events_globex",
        "MERGE INTO notes t USING (VALUES (5)) v (id) ON t.id = v.id WHEN MATCHED THEN DELETE",
        "WITH gone AS (DELETE FROM notes RETURNING *) SELECT 1",
        "TRUNCATE notes",
        "COPY notes FROM STDIN",
        "EXPLAIN SELECT * FROM notes",
        "SELECT * FROM notes_stored",
        "ALTER TABLE notes ADD x int",
        "CREATE TABLE mine AS SELECT * FROM notes",
        "CREATE VIEW mine AS SELECT * FROM notes",
    ] {
        denied(&ana, sql).await;
    }
    let mut copied = Vec::new();
    let mut stream = Box::pin(ana.copy_out("COPY notes TO STDOUT").await.unwrap());
    while let Some(part) = futures_util::StreamExt::next(&mut stream).await {
        copied.extend_from_slice(&part.unwrap());
    }
    let copied = String::from_utf8(copied).unwrap();
    assert!(copied.lines().count() == 4 && !copied.contains("globex"), "{copied}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fence_goes_by_the_rulebook_of_now() {
    let tenants = fenced().await;
    let ana = tenants.stand.wire("ana").await;
    let count = "SELECT DISTINCT tenant FROM notes";
    assert_eq!(column(&ana, count).await, ["acme"]);
    tenants.give("row_values", &values(&["globex", "it's"])).await;
    assert_eq!(column(&ana, count).await, ["globex"]);
    tenants.give("row_values", &json!({})).await;
    assert_eq!(column(&ana, count).await, Vec::<String>::new());
}
