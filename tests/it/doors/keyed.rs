//! Masks under the gateway's key: equal for equal values, and the key stays where it is.

use portcullis::cli::demo::shop;
use tokio_postgres::Client;

use crate::faults::until;
use crate::support::gateway::Stand;

#[tokio::test(flavor = "multi_thread")]
async fn a_hash_is_the_same_by_every_session_and_after_a_restart() {
    let stand = hashing().await;
    let first = numbers(&stand.wire("ana").await).await;
    assert!(first.iter().all(|hash| hash.len() == 64), "{first:?}");
    assert_eq!(numbers(&stand.wire("ana").await).await, first);
    let stand = stand.restart().await;
    assert_eq!(numbers(&stand.wire("ana").await).await, first);
    let key = stand.home.path().join("state/mask.key");
    std::fs::remove_file(&key).unwrap();
    let stand = stand.restart().await;
    assert_ne!(numbers(&stand.wire("ana").await).await, first, "another key, other hashes");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_statement_reads_or_changes_the_key() {
    let stand = hashing().await;
    let client = stand.wire("ana").await;
    let before = numbers(&client).await;
    let sent = sent(&stand);
    let name = sent.split('\'').find(|word| word.starts_with("portcullis.k")).unwrap().to_owned();
    for sql in [
        format!("SHOW {name}"),
        format!("SHOW \"{}\"", name.to_uppercase()),
        format!("SELECT current_setting('{name}')"),
        format!("SELECT pg_catalog.current_setting('{name}', true)"),
        format!("SELECT x FROM current_setting('{name}') x"),
        format!("SELECT id FROM orders WHERE status = current_setting('{name}')"),
        format!("SELECT current_setting('{}' || '{}')", &name[..12], &name[12..]),
        "SELECT current_setting(status) FROM orders".to_owned(),
        format!(
            "SELECT current_setting(s.name) FROM (SELECT replace(name, 'jit', '{name}') AS name FROM pg_settings) s"
        ),
        format!("WITH s AS (SELECT '{name}'::text AS name) SELECT current_setting(s.name) FROM s"),
        format!(
            "WITH pg_settings AS (SELECT '{name}'::text AS name) SELECT current_setting(name) FROM pg_settings"
        ),
        "SELECT current_setting(s.name) FROM pg_settings AS s (value, name)".to_owned(),
        format!("SELECT current_setting(name) FROM pg_settings, LATERAL (SELECT '{name}'::text AS name) x"),
        format!("SELECT (SELECT current_setting(name) FROM (VALUES ('{name}')) v (name)) FROM pg_settings"),
        format!("SELECT ('{name}'::text).current_setting"),
        format!("SET {name} = ''"),
        format!("SET LOCAL {name} = ''"),
        format!("RESET {name}"),
        format!("SELECT set_config('{name}', '', false)"),
        format!("SELECT set_config('{}' || '{}', '', false)", &name[..12], &name[12..]),
        format!("EXPLAIN SELECT current_setting('{name}')"),
        format!("PREPARE p AS SELECT current_setting('{name}')"),
        format!("DECLARE c CURSOR FOR SELECT current_setting('{name}')"),
    ] {
        let error = client.simple_query(&sql).await.expect_err(&sql);
        assert_eq!(error.code().unwrap().code(), "42501", "{sql}: {error:?}");
    }
    for sql in [
        "SELECT current_setting($1)",
        "SELECT pg_catalog.current_setting($1::text, true)",
        "SELECT id FROM orders WHERE status = current_setting($1::varchar)",
        "SELECT current_setting(name) FROM (SELECT $1::text AS name) s",
        "SELECT current_setting($1::text || '')",
    ] {
        for value in [name.clone(), name.to_uppercase()] {
            let error = client.query(sql, &[&value]).await.expect_err(sql);
            assert_eq!(error.code().unwrap().code(), "42501", "{sql}: {error:?}");
        }
    }
    let zone = client.query_one("SELECT current_setting($1)", &[&"timezone"]).await.unwrap();
    assert_eq!(zone.get::<_, &str>(0), "UTC");
    let error = client.simple_query("PREPARE s (text) AS SELECT current_setting($1)").await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "42501", "{error:?}");
    let all = client.simple_query("SHOW ALL").await;
    let listed = client
        .simple_query(
            "SELECT s.name, current_setting(s.name), (SELECT current_setting(name)) FROM pg_settings s",
        )
        .await;
    assert!(listed.is_ok() && !format!("{all:?} {listed:?}").contains("portcullis.k"), "{listed:?}");
    for sql in ["RESET ALL", "DISCARD ALL"] {
        // Allowed or not: the key stays.
        drop(client.simple_query(sql).await);
        assert_eq!(numbers(&client).await, before, "{sql}");
    }
}

/// The sample shop with hashes in the place of social security numbers.
async fn hashing() -> Stand {
    let stand = Stand::start_with(|home, _| {
        let masks = home.join("policies/data/masks.json");
        let text = std::fs::read_to_string(&masks).unwrap();
        let hashed = text.replace(r#"{ "type": "redact", "value": "***-**-****" }"#, r#"{ "type": "hash" }"#);
        assert_ne!(hashed, text);
        std::fs::write(&masks, hashed).unwrap();
    })
    .await;
    let grant = format!("GRANT SELECT (ssn) ON customers TO {}", shop::SERVICE_USER);
    stand.cluster.execute_sql("shop", &grant).await.unwrap();
    // The grant changes the table's definition, which the gateway may have read before.
    let client = stand.wire("ana").await;
    until("the grant is known", async || {
        client.query("SELECT ssn FROM customers LIMIT 1", &[]).await.is_ok()
    })
    .await;
    stand
}

async fn numbers(client: &Client) -> Vec<String> {
    let rows = client.query("SELECT ssn FROM customers ORDER BY id LIMIT 5", &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// A statement as it went to the server, from the ledger.
fn sent(stand: &Stand) -> String {
    let entries = stand.ledger();
    let sent = entries.iter().rev().find_map(|entry| match &entry.record.event {
        portcullis::audit::Event::Decided(statement) if !statement.sent.is_empty() => {
            Some(statement.sent.clone())
        }
        _ => None,
    });
    sent.unwrap()
}
