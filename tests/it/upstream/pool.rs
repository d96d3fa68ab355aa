//! Links that are used again: what one session leaves behind, the next does not find.

use std::sync::Arc;

use portcullis::gate::{Names, Query, Silent};
use portcullis::sql::Statement;
use portcullis::upstream::{Lease, Outbox};

use super::stand::Stand;

const SETUP: &str = "
    CREATE TABLE notes (id int);
    CREATE SEQUENCE ticket;
    CREATE FUNCTION setting(name text) RETURNS text LANGUAGE sql AS 'SELECT coalesce(current_setting($1, true), '''')';
";

/// What is left, how, and what must not be found afterwards: each query gives one row.
const TRACES: &[(&str, &str)] = &[
    ("SET work_mem = '77MB'", "SELECT setting('work_mem')"),
    ("SELECT set_config('work_mem', '78MB', false)", "SELECT setting('work_mem')"),
    ("SELECT set_config('app.tenant', 'acme', false)", "SELECT setting('app.tenant')"),
    ("SELECT set_config('TimeZone', 'Europe/Berlin', false)", "SELECT setting('TimeZone')"),
    (
        "CREATE TEMP TABLE kept AS SELECT 1 AS secret",
        "SELECT coalesce(to_regclass('pg_temp.kept')::text, 'none')",
    ),
    (
        "CREATE TEMP TABLE items_shadow (id int) ON COMMIT PRESERVE ROWS",
        "SELECT count(*)::text FROM pg_class WHERE relname = 'items_shadow'",
    ),
    ("SELECT pg_advisory_lock(4711)", "SELECT count(*)::text FROM pg_locks WHERE locktype = 'advisory'"),
    ("LISTEN gossip", "SELECT count(*)::text FROM pg_listening_channels()"),
    ("PREPARE theirs AS SELECT 1", "SELECT count(*)::text FROM pg_prepared_statements"),
    ("DECLARE held CURSOR WITH HOLD FOR SELECT 1", "SELECT count(*)::text FROM pg_cursors"),
    ("SELECT nextval('ticket')", "SELECT (SELECT count(*) FROM pg_sequences WHERE false)::text"),
    ("LOCK TABLE notes", "SELECT count(*)::text FROM pg_locks WHERE relation = 'notes'::regclass"),
];

/// Runs `sql` in the lease's transaction; the last value of its last row, or what the server refused it with.
async fn say(stand: &Stand, lease: &mut Lease, sql: &str) -> Result<String, String> {
    let query = Query {
        context: Arc::clone(lease.context()),
        sql: Statement::new(sql.as_bytes(), Statement::WIRE_CAP).unwrap(),
        names: Names::default(),
    };
    let proof = stand.gate.admit(&stand.ana, query, &Silent).await.unwrap_or_else(|d| panic!("{sql}: {d:?}"));
    let mut outbox = Outbox::new();
    let (running, _) = outbox.query(proof, &[]);
    lease.send(&mut outbox).await.unwrap();
    let mut said = Ok(String::new());
    loop {
        let frame = lease.receive().await.unwrap();
        match frame.tag {
            b'D' => said = Ok(String::from_utf8_lossy(&frame.body[6..]).into_owned()),
            b'E' => said = Err(String::from_utf8_lossy(&frame.body).into_owned()),
            b'Z' => break,
            _ => {}
        }
    }
    drop(running);
    said
}

/// Gives `lease` back, and waits until it rests.
async fn rest(stand: &Stand, lease: Lease) {
    let process = lease.process();
    lease.give_back();
    let sql =
        format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {process} AND query <> 'DISCARD ALL'");
    while stand.number(&sql).await > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn nothing_that_a_session_leaves_behind_is_found_by_the_next() {
    let stand = Stand::with(SETUP).await;
    let mut lease = stand.begin("test", 0).await;
    let process = lease.process();
    let all = "SELECT string_agg(name || '=' || setting, ',' ORDER BY name) FROM pg_settings \
               WHERE name NOT IN ('transaction_read_only', 'transaction_deferrable', 'transaction_isolation')";
    let fresh = say(&stand, &mut lease, all).await.unwrap();
    for (leave, look) in TRACES {
        let before = say(&stand, &mut lease, look).await.unwrap();
        for end in ["SELECT 1", "COMMIT", "SELECT 1 / 0"] {
            say(&stand, &mut lease, leave).await.unwrap();
            let _refused = say(&stand, &mut lease, end).await;
            rest(&stand, lease).await;
            lease = stand.begin("test", 0).await;
            assert_eq!(lease.process(), process, "{leave}: the same link");
            assert_eq!(say(&stand, &mut lease, look).await.unwrap(), before, "{leave}; {end}");
        }
    }
    assert!(say(&stand, &mut lease, "SELECT currval('ticket')").await.unwrap_err().contains("55000"));
    rest(&stand, lease).await;
    let mut lease = stand.begin("test", 0).await;
    assert_eq!(say(&stand, &mut lease, all).await.unwrap(), fresh, "every setting is as it was at first");
    let name = say(&stand, &mut lease, "SELECT setting('application_name')").await.unwrap();
    assert_eq!(name, "portcullis:ana:test");
    assert_eq!(say(&stand, &mut lease, "SELECT setting('statement_timeout')").await.unwrap(), "20s");
}

#[tokio::test]
async fn another_client_or_older_rules_get_another_link() {
    let stand = Stand::with(SETUP).await;
    let lease = stand.begin("test", 0).await;
    let process = lease.process();
    rest(&stand, lease).await;
    let other = stand.begin("other", 0).await;
    assert_ne!(other.process(), process);
    let same = stand.begin("test", 0).await;
    assert_eq!(same.process(), process);
    let meanwhile = stand.begin("test", 0).await;
    assert_ne!(meanwhile.process(), process, "it is in use");
    rest(&stand, same).await;
    let later = stand.begin("test", 1).await;
    assert_ne!(later.process(), process);
    let process = meanwhile.process();
    meanwhile.give_back();
    let sql = format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {process}");
    while stand.number(&sql).await > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_link_that_was_stained_is_closed() {
    let stand = Stand::with(SETUP).await;
    let mut lease = stand.begin("test", 0).await;
    let process = lease.process();
    lease.stain();
    lease.give_back();
    let sql = format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {process}");
    while stand.number(&sql).await > 0 {
        tokio::task::yield_now().await;
    }
    assert_ne!(stand.begin("test", 0).await.process(), process);
}
