//! Everything that somebody might try to see, change or make rows of another tenant.

use bytes::BufMut as _;
use portcullis::protocol::frame::Frame;

use super::{Tenants, column, everything, filters};
use crate::wire_real::Raw;
use crate::wire_sim::rig::{bind, close, describe, execute, message, parse, query, sync};

#[tokio::test(flavor = "multi_thread")]
async fn no_statement_shows_changes_or_makes_a_row_of_another_tenant() {
    let tenants = Tenants::open().await;
    let before = others(&tenants).await;
    for request in [query as fn(&str) -> Vec<u8>, extended] {
        attack(&tenants, request).await;
    }
    assert_eq!(others(&tenants).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_does_any_get_past_a_fence() {
    let tenants = Tenants::start(&filters("fence"), everything).await;
    let before = others(&tenants).await;
    for request in [query as fn(&str) -> Vec<u8>, extended] {
        attack(&tenants, request).await;
    }
    assert_eq!(others(&tenants).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_by_the_other_door() {
    let tenants = Tenants::open().await;
    let before = others(&tenants).await;
    let agent = tenants.stand.mcp("support-bot").await;
    for attack in attacks() {
        for tool in ["query", "execute"] {
            let answer = agent.call(tool, serde_json::json!({"sql": attack, "purpose": "to try"})).await;
            let answer = answer.to_string().to_lowercase();
            // What was sent may stand in an answer.
            let answer = answer.replace(&attack.to_lowercase(), "");
            assert!(!shows(answer.as_bytes()), "{tool}: {attack}\n{answer}");
        }
    }
    assert_eq!(others(&tenants).await, before);
}

/// Sends every attack in one session, and looks after each whether there are still no other rows.
async fn attack(tenants: &Tenants, request: fn(&str) -> Vec<u8>) {
    let mut raw = Raw::session(&tenants.stand, "ana").await;
    for attack in attacks() {
        let answer = ask(&mut raw, &request(attack)).await;
        assert!(!shows(&answer), "{attack}\n{}", String::from_utf8_lossy(&answer));
        ask(&mut raw, &query("ROLLBACK")).await;
        let probe = ask(&mut raw, &query(PROBE)).await;
        let told = String::from_utf8_lossy(&probe);
        assert!(!shows(&probe) && has(&probe, "only acme"), "{attack}\n{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_attacks_see_rows_where_nobody_filters_them() {
    let tenants = Tenants::open().await;
    let mut raw = Raw::session(&tenants.stand, "dora").await;
    let mut seen = 0;
    for attack in attacks().filter(|attack| attack.starts_with("SELECT")) {
        seen += usize::from(shows(&ask(&mut raw, &query(attack)).await));
        ask(&mut raw, &query("ROLLBACK")).await;
    }
    assert!(seen > 25, "only {seen} could show anything at all");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_brings_when_it_connects_gives_it_no_rows() {
    let tenants = Tenants::open().await;
    for options in [
        "-c portcullis.rows_tenant={globex}",
        "-c portcullis.lift_tenant=on",
        "--portcullis.lift_tenant=on",
        "-c row_security=off",
        "-c role=portcullis_full",
        "-c session_authorization=postgres",
    ] {
        let mut config = tenants.stand.wire_config("ana");
        let error = config.options(options).connect(tokio_postgres::NoTls).await.err();
        assert!(error.is_some(), "{options}");
    }
    let client = tenants.stand.wire("ana").await;
    assert_eq!(column(&client, "SELECT DISTINCT tenant FROM notes").await, ["acme"]);
}

/// A rulebook can clear code that nobody has read. What it leaves behind in the session is noticed.
#[tokio::test(flavor = "multi_thread")]
async fn settings_that_code_has_changed_close_the_filtered_tables() {
    let tenants = Tenants::open().await;
    let client = tenants.stand.wire("ana").await;
    client.batch_execute("PREPARE p AS SELECT body FROM notes").await.unwrap();
    assert_eq!(column(&client, "SELECT lifts()").await, ["lifted"]);
    for sql in [
        "SELECT body FROM notes",
        "SELECT * FROM notes_view",
        "DELETE FROM notes",
        "EXECUTE p",
        "COPY notes TO STDOUT",
    ] {
        assert!(client.simple_query(sql).await.is_err(), "{sql}");
    }
    assert!(client.query("SELECT body FROM notes", &[]).await.is_err());
    assert_eq!(column(&client, "SELECT count(*) FROM products WHERE id < 3").await, ["2"]);
    column(&client, "SELECT unlifts()").await;
    for (name, value) in
        [("role", "portcullis_full"), ("portcullis.lift_tenant", "on"), ("row_security", "off")]
    {
        client.query("SELECT set_config($1, $2, false)", &[&name, &value]).await.unwrap_err();
        client.query("SELECT set_config($1, 'on', false), body FROM notes", &[&name]).await.unwrap_err();
    }
    assert_eq!(column(&client, "SELECT body FROM notes ORDER BY id").await, ["1", "2", "3", "4"]);
}

/// A FunctionCall of `set_config` and `current_setting`, by their OIDs.
#[tokio::test(flavor = "multi_thread")]
async fn no_function_call_sets_or_shows_a_value() {
    let tenants = Tenants::open().await;
    let mut raw = Raw::session(&tenants.stand, "ana").await;
    for (oid, arguments) in [
        (2078_i32, vec!["portcullis.rows_tenant", "{globex}", "f"]),
        (2077, vec!["portcullis.rows_tenant"]),
        (3294, vec!["portcullis.rows_tenant", "t"]),
    ] {
        let call = message(b'F', |body| {
            body.put_i32(oid);
            body.put_i16(0);
            body.put_i16(i16::try_from(arguments.len()).unwrap());
            for argument in &arguments {
                body.put_i32(i32::try_from(argument.len()).unwrap());
                body.put_slice(argument.as_bytes());
            }
            body.put_i16(0);
        });
        let answer = ask(&mut raw, &call).await;
        assert!(has(&answer, "C42501") && !has(&answer, "acme"), "{}", String::from_utf8_lossy(&answer));
    }
    assert!(has(&ask(&mut raw, &query(PROBE)).await, "only acme"));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_the_gateways_credential_but_not_its_settings_sees_nothing() {
    let tenants = Tenants::open().await;
    let client = tenants.direct("").await;
    for table in ["notes", "memos", "events", "events_globex", "logs", "logs_old"] {
        assert_eq!(column(&client, &format!("SELECT count(*) FROM {table}")).await, ["0"], "{table}");
    }
}

/// What came back for one request, all of it, up to ReadyForQuery.
async fn ask(raw: &mut Raw, request: &[u8]) -> Vec<u8> {
    raw.send(request).await;
    let mut bytes = Vec::new();
    loop {
        let Frame { tag, body, .. } = raw.frame().await.unwrap();
        bytes.extend_from_slice(&body);
        match tag {
            b'Z' => return bytes,
            b'G' => {
                let row = b"96\tglobex\tx\t1\ty\n";
                raw.send(&message(b'd', |body| body.extend_from_slice(row))).await;
                raw.send(&message(b'c', |_| {})).await;
                raw.send(&sync()).await;
            }
            _ => {}
        }
    }
}

fn extended(sql: &str) -> Vec<u8> {
    let define =
        [close(b'S', "s"), parse("s", sql), describe(b'S', "s"), bind("p", "s"), describe(b'P', "p")];
    [define.concat(), execute("p", 2), execute("p", 0), sync()].concat()
}

fn attacks() -> impl Iterator<Item = &'static str> {
    include_str!("attacks.sql").lines().filter(|line| !line.starts_with("-- "))
}

/// Whether there is anything of globex in it. Its name stands in statements, and so in what is said about them.
fn shows(bytes: &[u8]) -> bool {
    let lower = String::from_utf8_lossy(bytes).to_lowercase();
    lower.contains("globex-secret") || lower.contains("gx-")
}

fn has(bytes: &[u8], text: &str) -> bool {
    String::from_utf8_lossy(bytes).contains(text)
}

/// A fingerprint of all rows of everybody but acme.
async fn others(tenants: &Tenants) -> Vec<String> {
    let client = tenants.stand.cluster.connect("shop").await.unwrap();
    let mut all = Vec::new();
    for table in ["notes", "memos", "events", "logs"] {
        let sql = format!(
            "SELECT count(*) || md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {table} t WHERE tenant <> 'acme'"
        );
        all.extend(column(&client, &sql).await);
    }
    all
}

const PROBE: &str = "SELECT 'only ' || string_agg(DISTINCT tenant, ',') FROM (
    SELECT tenant FROM notes UNION ALL SELECT tenant FROM memos UNION ALL SELECT tenant FROM events
    UNION ALL SELECT tenant FROM logs UNION ALL SELECT 'acme') t";
