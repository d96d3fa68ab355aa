//! Value detectors before a real PostgreSQL: by whichever way a value leaves, what looks like a secret is overwritten,
//! and what does not leaves byte for byte.

mod attacks;
mod rules;
mod stand;

use portcullis::audit::Event;
use serde_json::json;

use crate::support::gateway::Stand;
use crate::wire_real::Raw;
use crate::wire_sim::rig::{bind, describe, execute, message, parse, query, sync, word};

use stand::{BOT, canaries_in, heard, start};

#[tokio::test(flavor = "multi_thread")]
async fn a_simple_query_shows_no_secret_of_any_type() {
    let stand = start(stand::ALL).await;
    let mut bot = Raw::session(&stand, BOT).await;
    let bytes = heard(&mut bot, &query("SELECT * FROM findings ORDER BY id")).await;
    assert_eq!(canaries_in(&bytes), Vec::<&str>::new());
    let text = String::from_utf8_lossy(&bytes);
    for shown in [
        "card ****-****-****-****.",
        "***-**-****",
        "**********************",
        "***@*******.***",
        "{\"card\": 1000000000000000, \"note\": \"****************\"}",
        "<a>****************</a>",
        "{****,\"**** **** **** ****\"}",
        "(ann,****************)",
        "0000000000000000",
        "2024-02-29",
        "f47ac10b-58cc-4372-a567-0e02b2c3d479",
    ] {
        // The array's first element is four digits, which are no card.
        let shown = shown.replace("{****,", "{4111,");
        assert!(text.contains(&shown), "{shown} in {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_extended_protocol_shows_none_in_either_format() {
    let stand = start(stand::ALL).await;
    let mut bot = Raw::session(&stand, BOT).await;
    let sql = "SELECT * FROM findings ORDER BY id";
    for format in [0_u16, 1] {
        let bind = message(b'B', |body| {
            body.extend_from_slice(b"\0\0\0\0\0\0\0\x01");
            body.extend_from_slice(&format.to_be_bytes());
        });
        // With and without a Describe of the client's own, in one go and row by row.
        for described in [describe(b'P', ""), Vec::new()] {
            for rows in [0, 1] {
                let series =
                    [&parse("", sql), &bind, &described[..], &execute("", rows), &execute("", 0), &sync()];
                let bytes = heard(&mut bot, &series.concat()).await;
                assert_eq!(canaries_in(&bytes), Vec::<&str>::new(), "format {format}");
                assert!(String::from_utf8_lossy(&bytes).contains("card ****-****-****-****."));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cursors_and_prepared_statements_show_none() {
    let stand = start(stand::ALL).await;
    let mut bot = Raw::session(&stand, BOT).await;
    for (script, rows) in [
        ("DECLARE c CURSOR FOR SELECT t FROM findings ORDER BY id; FETCH ALL FROM c", 2),
        ("DECLARE b BINARY CURSOR FOR SELECT t, jb, i8, ta FROM findings ORDER BY id; FETCH ALL FROM b", 2),
        ("PREPARE p AS SELECT t AS \"4111111111111112\" FROM findings; EXECUTE p", 2),
        ("EXPLAIN SELECT 1 FROM findings WHERE t = '4111-1111-1111-1111'", 2),
    ] {
        for part in ["BEGIN", script, "COMMIT"] {
            let bytes = heard(&mut bot, &query(part)).await;
            assert_eq!(canaries_in(&bytes), Vec::<&str>::new(), "{part}");
            if part == script {
                let found = String::from_utf8_lossy(&bytes).matches("****-****").count();
                assert!(found >= 1 && rows >= found, "{script}");
            }
        }
    }
    heard(&mut bot, &query("BEGIN; DECLARE e CURSOR FOR SELECT t FROM findings ORDER BY id")).await;
    let bytes = heard(&mut bot, &[execute("e", 1), execute("e", 0), sync()].concat()).await;
    assert!(canaries_in(&bytes).is_empty() && String::from_utf8_lossy(&bytes).contains("****-****"));
}

#[tokio::test(flavor = "multi_thread")]
async fn copy_shows_none_in_any_format() {
    let stand = start(stand::ALL).await;
    let mut bot = Raw::session(&stand, BOT).await;
    for options in
        ["", "(FORMAT csv, HEADER)", "(FORMAT csv, FORCE_QUOTE *)", "(DELIMITER '-')", "(FORMAT binary)"]
    {
        let copy = format!("COPY (SELECT * FROM findings ORDER BY id) TO STDOUT {options}");
        let bytes = heard(&mut bot, &query(&copy)).await;
        assert_eq!(canaries_in(&bytes), Vec::<&str>::new(), "{options}");
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.contains("****") && text.contains("COPY 2"), "{options}: {text}");
        let series = [parse("", &copy), bind("", ""), execute("", 0), sync()].concat();
        assert_eq!(canaries_in(&heard(&mut bot, &series).await), Vec::<&str>::new(), "{options}");
    }
    let bytes = heard(&mut bot, &query("COPY findings (t) TO STDOUT (FORMAT csv, DELIMITER 'x')")).await;
    assert!(
        String::from_utf8_lossy(&bytes).contains("take a sign that is no letter"),
        "a letter between values"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_says_besides_shows_none() {
    let stand = start(stand::ALL).await;
    let mut bot = Raw::session(&stand, BOT).await;
    heard(&mut bot, &query("LISTEN news")).await;
    stand
        .cluster
        .execute_sql("shop", "NOTIFY news, 'card 4111111111111111 of bob@example.com'")
        .await
        .unwrap();
    let mut said = String::new();
    while !said.contains("card **") {
        let bytes = heard(&mut bot, &query("SELECT 1")).await;
        assert_eq!(canaries_in(&bytes), Vec::<&str>::new());
        said = String::from_utf8_lossy(&bytes).into_owned();
    }
    for (statement, says) in [
        ("SELECT t::int FROM findings ORDER BY id", "invalid input syntax"),
        ("SELECT shout(t) FROM findings ORDER BY id", "heard card ****-****-****-****."),
    ] {
        let bytes = heard(&mut bot, &query(statement)).await;
        assert_eq!(canaries_in(&bytes), Vec::<&str>::new(), "{statement}");
        assert!(String::from_utf8_lossy(&bytes).contains(says), "{}", String::from_utf8_lossy(&bytes));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_value_of_a_function_call_shows_none() {
    let stand = start(stand::ALL).await;
    let mut bot = Raw::session(&stand, BOT).await;
    const TEXTCAT: u32 = 1258;
    let call = message(b'F', |body| {
        body.extend_from_slice(&TEXTCAT.to_be_bytes());
        body.extend_from_slice(b"\0\0\0\x02\0\0\0\x0841111111\0\0\0\x0811111111\0\0");
    });
    bot.send(&call).await;
    let value = bot.frame().await.unwrap();
    assert_eq!((value.tag, &value.body[4..]), (b'V', &b"****************"[..]), "{}", word(&value));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_shows_none_and_the_ledger_counts_what_was_found() {
    let stand = start(stand::ALL).await;
    let bot = stand.mcp(BOT).await;
    let answer = bot.call("query", json!({"sql": "SELECT t, i8, jb FROM findings ORDER BY id"})).await;
    let text = answer.to_string();
    assert_eq!(canaries_in(text.as_bytes()), Vec::<&str>::new(), "{text}");
    assert!(text.contains("card ****-****-****-****."), "{text}");
    let failed =
        bot.call("query", json!({"sql": "SELECT t::int FROM findings ORDER BY id"})).await.to_string();
    assert!(canaries_in(failed.as_bytes()).is_empty() && failed.contains("invalid input"), "{failed}");
    let checked = bot.call("check_sql", json!({"sql": "SELECT t FROM findings"})).await;
    assert_eq!(checked["detect"][0], "card", "{checked}");
    stand.gateway.gate().close_ledger().await.unwrap();
    let ledger = stand.ledger();
    let id = answer["decision_id"].as_str().unwrap();
    let of = |event: &Event| match event {
        Event::Decided(record) => record.detect.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        Event::Settled { found, .. } => {
            found.iter().map(|(name, count)| format!("{name}={count}")).collect::<Vec<_>>().join(" ")
        }
        other => panic!("{other:?}"),
    };
    let kept: Vec<String> = ledger
        .iter()
        .filter(|entry| entry.record.decision_id == id)
        .map(|entry| of(&entry.record.event))
        .collect();
    assert_eq!(kept, ["card iban ssn phone email jwt api_key private_key", "card=3 email=1 iban=1 ssn=1"]);
    let written =
        serde_json::to_string(&ledger.iter().map(|entry| &entry.record).collect::<Vec<_>>()).unwrap();
    assert_eq!(canaries_in(written.as_bytes()), Vec::<&str>::new(), "values are never kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_are_looked_after_as_shipped_and_people_are_not() {
    let stand = Stand::start().await;
    let sql = "SELECT notes FROM customers WHERE notes LIKE '%card on the phone%' ORDER BY id LIMIT 1";
    let note = async |name: &str| {
        let client = stand.wire(name).await;
        client.query_one(sql, &[]).await.unwrap().get::<_, String>(0)
    };
    let (bot, ana) = (note(BOT).await, note("ana").await);
    assert_eq!(bot.len(), ana.len());
    assert!(bot.contains(": ************") && !ana.contains('*'), "{bot}");
    let last = |note: &str| note.chars().filter(char::is_ascii_digit).collect::<String>();
    assert_eq!(last(&bot), last(&ana)[12..], "the last four digits stay");
}

/// A long value passes in pieces: nobody holds it, whatever it costs the database.
#[tokio::test(flavor = "multi_thread")]
async fn a_value_of_many_megabytes_streams_and_its_end_is_looked_through() {
    let stand = start(&[r#"{"detector": "card"}"#]).await;
    let mut bot = Raw::session(&stand, BOT).await;
    let sql = "SELECT repeat('lorem ipsum dolor ', 1000000) || '4111 1111 1111 1111'";
    let bytes = heard(&mut bot, &query(sql)).await;
    assert!(bytes.len() > 18_000_000);
    assert!(String::from_utf8_lossy(&bytes).contains("dolor **** **** **** ****"));
    assert_eq!(canaries_in(&bytes), Vec::<&str>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_beyond_its_budget_is_overwritten_or_stops_the_statement() {
    let redact = start(&[r#"{"detector": "card", "row_bytes": 100}"#]).await;
    let mut bot = Raw::session(&redact, BOT).await;
    let sql = "SELECT repeat('x y ', 50) || '4111111111111111', 'tail' UNION ALL SELECT 'next', 'row'";
    let text = String::from_utf8_lossy(&heard(&mut bot, &query(sql)).await).into_owned();
    assert!(text.contains(&format!("x y {}", "* * ".repeat(25))), "{text}");
    assert!(!text.contains("tail") && text.contains("next") && text.contains("SELECT 2"), "{text}");
    let stop = start(&[r#"{"detector": "card", "row_bytes": 100, "beyond": "stop"}"#]).await;
    let mut bot = Raw::session(&stop, BOT).await;
    let text = String::from_utf8_lossy(&heard(&mut bot, &query(sql)).await).into_owned();
    assert!(text.contains("more than the 100 bytes") && !text.contains("next"), "{text}");
    assert!(bot.ask(&query("SELECT 1")).await.ends_with("Z(I)"), "the session goes on");
}
