//! Sessions that only read: the rulebook here allows every statement, and PostgreSQL's role may do everything. What is left
//! is the session's being READ ONLY, which nothing may lift, and what READ ONLY leaves out.

use std::fs;

use portcullis::cli::demo::shop;
use serde_json::json;

use crate::support::gateway::Stand;
use crate::wire_real::{Raw, startup};
use crate::wire_sim::rig::query;

#[tokio::test(flavor = "multi_thread")]
async fn whoever_only_reads_changes_nothing_by_whatever_way() {
    let stand = reading().await;
    let before = contents(&stand).await;
    let client = stand.wire("ana").await;
    for statement in WRITES {
        for statement in [
            (*statement).to_owned(),
            format!("BEGIN; {statement}; COMMIT"),
            format!("PREPARE p AS {statement}; EXECUTE p"),
        ] {
            let refused = client.simple_query(&statement).await;
            let code =
                refused.as_ref().err().and_then(|error| error.code()).map(|code| code.code().to_owned());
            let known =
                code.as_deref().is_some_and(|code| ["42501", "25006", "42601", "26000"].contains(&code));
            assert!(known, "{statement}: {refused:?}");
            client.simple_query("ROLLBACK; DEALLOCATE ALL").await.unwrap();
        }
    }
    let agent = stand.mcp("support-bot").await;
    for statement in WRITES {
        let write = json!({"sql": statement, "reason": "to try", "wait_s": 0});
        assert!(
            agent.try_call("execute", write).await.is_err(),
            "{statement}: who only reads has no such tool"
        );
        let read = agent.call("query", json!({"sql": statement})).await;
        assert_ne!(read["status"], "ok", "{statement}: {read}");
    }
    assert_eq!(contents(&stand).await, before);
    client.simple_query("BEGIN READ ONLY; SELECT count(*) FROM orders; COMMIT").await.unwrap();
    client.simple_query("EXPLAIN INSERT INTO products SELECT * FROM products").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_makes_such_a_session_write() {
    let stand = reading().await;
    let mut raw = Raw::session(&stand, "ana").await;
    for lift in LIFTS {
        raw.ask(&query(lift)).await;
        let heard = raw.ask(&query("SHOW transaction_read_only")).await;
        if heard.starts_with("T D") {
            assert!(raw.last_row().contains("on"), "{lift}: {heard}");
        }
        let heard = raw.ask(&query("INSERT INTO tickets SELECT * FROM tickets")).await;
        assert!(heard.contains("E(42501)") || heard.contains("E(25P02)"), "{lift}: {heard}");
        raw.ask(&query("ROLLBACK")).await;
    }
    // Nor by what a client asks for when it connects.
    let mut raw = Raw::connect(&stand).await;
    let asked = [("user", "ana"), ("database", "shop"), ("default_transaction_read_only", "off")];
    raw.prove("ana", &stand.secrets["ana"], &startup(&asked)).await;
    let heard = raw.frame().await.map(|frame| String::from_utf8_lossy(&frame.body).into_owned());
    let rest = raw.frame().await.map(|frame| String::from_utf8_lossy(&frame.body).into_owned());
    assert!(format!("{heard:?} {rest:?}").contains("you may only read here"), "{heard:?} {rest:?}");
}

const WRITES: &[&str] = &[
    "INSERT INTO products SELECT id + 1000, sku || 'x', name, category, price, stock FROM products LIMIT 1",
    "UPDATE products SET stock = 0 WHERE id = 1",
    "DELETE FROM tickets WHERE id = 1",
    "TRUNCATE tickets",
    "MERGE INTO products p USING products q ON p.id = q.id WHEN MATCHED THEN UPDATE SET stock = 0",
    "WITH gone AS (DELETE FROM tickets RETURNING id) SELECT count(*) FROM gone",
    "SELECT id INTO kept FROM orders",
    "CREATE TABLE kept AS SELECT id FROM orders",
    "EXPLAIN ANALYZE CREATE TABLE kept AS SELECT id FROM orders",
    "EXPLAIN (ANALYZE on) INSERT INTO products SELECT * FROM products",
    "EXPLAIN ANALYZE DELETE FROM tickets",
    "CREATE TEMP TABLE kept (id int)",
    "CREATE VIEW kept AS SELECT 1 AS x",
    "ALTER TABLE products ADD COLUMN x int",
    "DROP TABLE tickets",
    "GRANT SELECT ON orders TO public",
    "COMMENT ON TABLE orders IS 'x'",
    "SELECT nextval('orders_id_seq')",
    "SELECT setval('orders_id_seq', 1)",
    "SELECT id FROM products WHERE id = 1 FOR UPDATE",
    "SELECT id FROM products WHERE id = 1 FOR KEY SHARE",
    "LOCK TABLE products IN SHARE MODE",
    "NOTIFY jobs, 'x'",
    "COPY (SELECT 1) TO '/tmp/portcullis_read_only'",
    "COPY (SELECT 1) TO PROGRAM 'true'",
    "VACUUM orders",
    "ANALYZE orders",
    "CLUSTER orders",
    "REINDEX TABLE orders",
    "DO $$ BEGIN DELETE FROM tickets; END $$",
    "SET ROLE postgres",
    "CALL cut()",
    "REFRESH MATERIALIZED VIEW seen",
    "SELECT lo_create(0)",
    "SELECT lo_from_bytea(0, 'x')",
    "SELECT pg_advisory_lock(1)",
    "SELECT pg_catalog.pg_try_advisory_xact_lock(1)",
    "SELECT pg_notify('jobs', 'x')",
    "SELECT pg_create_physical_replication_slot('x')",
    "SELECT pg_terminate_backend(0)",
    "SELECT * FROM pg_create_logical_replication_slot('x', 'y')",
    "SELECT id FROM orders WHERE nextval('orders_id_seq') > 0",
];

const LIFTS: &[&str] = &[
    "SET transaction_read_only = off",
    "SET default_transaction_read_only = off",
    "SET SESSION default_transaction_read_only TO false",
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
    "BEGIN READ WRITE",
    "START TRANSACTION READ WRITE",
    "BEGIN; SET TRANSACTION READ WRITE",
    "BEGIN; SET LOCAL transaction_read_only = 0",
    "SELECT set_config('transaction_read_only', 'off', false)",
    "SELECT set_config('default_transaction_' || 'read_only', 'off', false)",
    "RESET default_transaction_read_only",
    "RESET ALL",
    "DISCARD ALL",
    "SET default_transaction_read_only TO DEFAULT",
    "BEGIN; SET TRANSACTION READ WRITE, ISOLATION LEVEL SERIALIZABLE",
    "COMMIT AND CHAIN",
    "UPDATE pg_settings SET setting = 'off' WHERE name = 'default_transaction_read_only'",
];

/// A gateway whose rulebook lets everybody do everything, and only read.
async fn reading() -> Stand {
    let stand = Stand::start_with(|home, _| {
        let policies = home.join("policies");
        fs::remove_dir_all(&policies).unwrap();
        fs::create_dir(&policies).unwrap();
        for (name, rules) in [
            ("session", "allow := true\nread_only := true"),
            ("approval", "eligible := false"),
            ("statement", "allow := true"),
        ] {
            fs::write(policies.join(format!("{name}.rego")), format!("package portcullis.{name}\n{rules}\n"))
                .unwrap();
        }
    })
    .await;
    stand.cluster.execute_sql("shop", POWERS).await.unwrap();
    stand
}

const POWERS: &str = "
    ALTER ROLE portcullis_svc SUPERUSER;
    CREATE MATERIALIZED VIEW seen AS SELECT 1 AS x;
    CREATE PROCEDURE cut() LANGUAGE sql AS 'DELETE FROM tickets'";

/// What a write could have changed.
async fn contents(stand: &Stand) -> Vec<String> {
    let client = stand.cluster.connect(shop::NAME).await.unwrap();
    let mut all = Vec::new();
    for sql in [
        "SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) FROM products t",
        "SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) FROM tickets t",
        "SELECT string_agg(relname || relnatts, ' ' ORDER BY oid) FROM pg_class WHERE relnamespace = 'public'::regnamespace",
        "SELECT last_value::text FROM orders_id_seq",
        "SELECT count(*)::text FROM pg_largeobject_metadata",
        "SELECT coalesce(relacl::text, '') FROM pg_class WHERE oid = 'orders'::regclass",
    ] {
        all.push(client.query_one(sql, &[]).await.unwrap().get(0));
    }
    all
}
