//! Sessions in which statements run that nobody understands: where the rulebook says so, and nothing is masked.

use std::fs;

use bytes::BufMut as _;
use portcullis::audit::Event;

use super::announced;
use crate::support::gateway::Stand;
use crate::wire_real::{Raw, startup};
use crate::wire_sim::rig::{bind, execute, message, parse, query, sync};

/// A gateway whose rulebook grants it to everybody, and lets what is unknown run.
async fn granted() -> Stand {
    let stand = Stand::start().await;
    let policies = stand.home.path().join("policies");
    for (file, from, to) in [
        ("session.rego", "allow if me", "unjudged := true\n\nallow if me"),
        ("statement/kinds.rego", "some missing in input.statement.unresolved", "some missing in []"),
        (
            "statement/kinds.rego",
            "class in {\"ddl\", \"utility\"}",
            "class in {\"ddl\", \"utility\", \"unknown\"}",
        ),
        ("data/kinds.json", "\"empty\", ", "\"empty\", \"unknown\", "),
        ("data/settings.json", "\"application_name\", ", "\"application_name\", \"client_encoding\", "),
        ("data/settings.json", "\"client_encoding\": [\"utf8\", \"utf-8\", \"unicode\"],", ""),
    ] {
        let text = fs::read_to_string(policies.join(file)).unwrap();
        assert!(text.contains(from), "{file}");
        fs::write(policies.join(file), text.replace(from, to)).unwrap();
    }
    // Dora sees everything, so she is the one for whom nothing is masked.
    while !takes_latin(&stand).await {
        super::settle().await;
    }
    stand
}

async fn takes_latin(stand: &Stand) -> bool {
    let mut dora = Raw::session(stand, "dora").await;
    dora.ask(&query("set client_encoding to latin1")).await;
    dora.ask(&latin()).await == "T D C(SELECT 1) Z(I)"
}

/// Text that is no UTF-8, and no statement of anybody's who reads UTF-8.
fn latin() -> Vec<u8> {
    message(b'Q', |body| body.put_slice(b"select '\xe9' as \"\xe9\"\0"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_can_read_goes_up_as_it_came_and_is_on_record() {
    let stand = granted().await;
    let mut dora = Raw::session(&stand, "dora").await;
    assert_eq!(dora.ask(&query("selec 1")).await, "E(42601) Z(I)");
    assert_eq!(dora.ask(&latin()).await, "E(22021) Z(I)", "that is the server's own error");
    assert_eq!(dora.ask(&query("set client_encoding to latin1")).await, "C(SET) S Z(I)");
    assert_eq!(dora.ask(&latin()).await, "T D C(SELECT 1) Z(I)");
    let series = message(b'P', |body| body.put_slice(b"s\0select '\xe9'; -- \xe9\0\0\0"));
    let series = [series, bind("", "s"), execute("", 0), sync()].concat();
    assert_eq!(dora.ask(&series).await, "1 2 D C(SELECT 1) Z(I)");
    assert_eq!(dora.ask(&query("select 1; select 2")).await, "T D C(SELECT 1) T D C(SELECT 1) Z(I)");
    assert_eq!(dora.ask(&query("reset client_encoding")).await, "C(RESET) S Z(I)");
    assert_eq!(dora.ask(&[parse("", "select 1; select 2"), sync()].concat()).await, "E(42601) Z(I)");
    assert_eq!(dora.ask(&query("copy (select 1) to stdout")).await, "H d c C(COPY 1) Z(I)");
    stand.gateway.gate().close_ledger().await.unwrap();
    let kept = |statement: &str, rule: &str| {
        stand.ledger().into_iter().any(|entry| match entry.record.event {
            Event::Decided(record) => record.statement.contains(statement) && record.rule == rule,
            _ => false,
        })
    };
    assert!(kept("\\x73656c6563742027e927", "unjudged"), "in hexadecimal, with a note");
    assert!(kept("selec 1", "unjudged"));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_not_for_anybody_who_sees_a_mask() {
    let stand = granted().await;
    let mut raw = Raw::connect(&stand).await;
    let hello = startup(&[("user", "ana"), ("database", "shop"), ("client_encoding", "UTF8")]);
    raw.prove("ana", &stand.secrets["ana"], &hello).await;
    let end = raw.frame().await.unwrap();
    let text = String::from_utf8_lossy(&end.body).into_owned();
    assert!(end.tag == b'E' && text.contains("unjudged_with_masks"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_with_the_rule_that_granted_it_and_with_the_first_mask() {
    let stand = granted().await;
    let mut dora = Raw::session(&stand, "dora").await;
    assert_eq!(dora.ask(&query("selec 1")).await, "E(42601) Z(I)");
    let policies = stand.home.path().join("policies");
    let change = |file: &str, from: &str, to: &str| {
        let text = fs::read_to_string(policies.join(file)).unwrap();
        assert!(text.contains(from), "{file}");
        fs::write(policies.join(file), text.replace(from, to)).unwrap();
    };
    let masks = policies.join("statement/masks.rego");
    let as_shipped = fs::read_to_string(&masks).unwrap();
    change("statement/masks.rego", "	not sees_clear\n", "");
    announced(&stand, "rules replaced").await;
    until_denied(&mut dora).await;
    fs::write(&masks, as_shipped).unwrap();
    while dora.ask(&query("select 1")).await != "T D C(SELECT 1) Z(I)" {
        super::settle().await;
    }
    change("session.rego", "unjudged := true", "unjudged := false");
    until_denied(&mut dora).await;
    assert_eq!(dora.ask(&query("rollback")).await, "N C(ROLLBACK) Z(I)", "the way out is always open");
}

async fn until_denied(raw: &mut Raw) {
    while raw.ask(&query("select 1")).await != "E(42501) Z(I)" {
        super::settle().await;
    }
}
