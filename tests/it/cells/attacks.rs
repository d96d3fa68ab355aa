//! Ways around the detectors, and plain data that must not suffer from them.

use tokio_postgres::{Client, SimpleQueryMessage};

use crate::wire_real::Raw;
use crate::wire_sim::rig::query;

use super::stand::{self, BOT, canaries_in, heard, start};

/// Each shows a secret to whoever is not looked after.
const CLOSED: &[&str] = &[
    "SELECT t AS \"an alias\" FROM findings",
    "SELECT findings FROM findings",
    "SELECT row(1, t), array[t, v], array[array[t]] FROM findings",
    "SELECT to_json(findings), row_to_json(findings), jsonb_agg(t) FROM findings GROUP BY findings.id",
    "SELECT '{\"c\": \"\\u0034111111111111111\"}'::json",
    "SELECT ARRAY['{\"c\": \"\\u0034111111111111111\"}'::json]",
    "SELECT string_agg(t, E'\\t') || ' x' FROM findings",
    "SELECT E'a\\t' || i8 || E'\\tb' FROM findings",
    "SELECT '\u{ff14}\u{ff11}\u{ff11}\u{ff11} 1111 1111 1111', '\u{664}111 1111\u{a0}1111\u{2010}1111'",
    "SELECT xmlelement(name a, t), query.t FROM findings AS query",
    "SELECT unnest(ta), (r).number FROM findings",
    "SELECT i8::text, num::text, f8::text, int8range(i8, i8 + 1) FROM findings",
    "SELECT format('%s', i8), quote_literal(i8), to_char(i8, '9999 9999 9999 9999') FROM findings",
    "SELECT lower(t), overlay(t placing 'x' from 1 for 1), left(t, 100) FROM findings",
    "VALUES ('4111111111111111'), ('078-05-1120')",
    "SELECT ta::text, ja::text, r::text, jb::text FROM findings",
];

/// What no detector knows: a value that was made to look otherwise. This is why columns must be labelled.
const OPEN: &[(&str, &str)] = &[
    ("SELECT reverse('4111111111111111')", "1111111111111114"),
    ("SELECT encode('4111111111111111', 'base64')", "NDExMTExMTExMTExMTExMQ=="),
    ("SELECT encode('4111111111111111', 'hex')", "34313131313131313131313131313131"),
    ("SELECT '4111111111111111'::bytea", "\\x34313131313131313131313131313131"),
    ("SELECT left('4111111111111111', 8), right('4111111111111111', 8)", "41111111"),
    ("SELECT 'x4111111111111111'", "x4111111111111111"),
];

/// Nothing in there is a secret.
const BENIGN: &[&str] = &[
    "SELECT * FROM products ORDER BY id",
    "SELECT * FROM orders ORDER BY id LIMIT 300",
    "SELECT id, customer_id, status, opened_at FROM tickets ORDER BY id LIMIT 100",
    "SELECT n, n + 1732137875123456, n::numeric / 3, n::float8 / 7, sqrt(n), md5(n::text), now()::date FROM generate_series(1, 400) n",
    "SELECT timestamp '2024-01-02 03:04:05.678901' + n * interval '1 day 2 hours', date '2024-01-01' + n FROM generate_series(1, 300) n",
    "SELECT jsonb_build_object('n', n, 'list', array[n, -n], 'at', '2024-01-01T10:00:00Z'), array[n, n + 1], row(n, 'x') FROM generate_series(1, 200) n",
    "SELECT inet '192.168.100.200', uuid 'f47ac10b-58cc-4372-a567-0e02b2c3d479', interval '90 days', 'naïve 😀 \\ \"quoted\"'",
    "SELECT oid, relname, relacl::text, reltuples FROM pg_class ORDER BY oid LIMIT 400",
    "SELECT oid, proname, prosrc FROM pg_proc ORDER BY oid LIMIT 400",
    "SELECT name, setting, short_desc FROM pg_settings WHERE name LIKE 'enable%'",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_found_however_it_is_put() {
    let stand = start(stand::ALL).await;
    let mut bot = Raw::session(&stand, BOT).await;
    for sql in CLOSED {
        let bytes = heard(&mut bot, &query(sql)).await;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let ran = bytes.starts_with(b"T") && (text.contains('*') || text.contains("0000000"));
        assert!(ran, "{sql}: {text}");
        assert_eq!(canaries_in(&bytes), Vec::<&str>::new(), "{sql}: {text}");
        assert!(!text.contains("111 1111") && !text.contains("u0034"), "{sql}: {text}");
    }
    let client = stand.wire(BOT).await;
    for sql in CLOSED {
        // In binary format, as drivers ask for it.
        client.query(*sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_made_to_look_otherwise_is_not_found_as_documented() {
    let stand = start(stand::ALL).await;
    let mut bot = Raw::session(&stand, BOT).await;
    for (sql, shown) in OPEN {
        let bytes = heard(&mut bot, &query(sql)).await;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        assert!(text.contains(shown), "{sql}: {text}: if this is found by now, say so in docs/masks.md");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_data_leaves_byte_for_byte() {
    let stand = start(stand::ALL).await;
    let mut bot = Raw::session(&stand, BOT).await;
    let mut direct = Raw::direct(&stand).await;
    direct.ask(&query("SET search_path = public; SET timezone = 'UTC'")).await;
    bot.ask(&query("SET timezone = 'UTC'")).await;
    for sql in BENIGN {
        let (seen, real) = (heard(&mut bot, &query(sql)).await, heard(&mut direct, &query(sql)).await);
        assert!(seen == real, "{sql}: {}", first_difference(&seen, &real));
        let copy = format!("COPY ({sql}) TO STDOUT");
        let (seen, real) = (heard(&mut bot, &query(&copy)).await, heard(&mut direct, &query(&copy)).await);
        assert!(seen == real, "{copy}: {}", first_difference(&seen, &real));
    }
    let client = stand.wire(BOT).await;
    assert_eq!(rows(&client, "SELECT 1").await, 1);
}

async fn rows(client: &Client, sql: &str) -> usize {
    let messages = client.simple_query(sql).await.unwrap();
    messages.iter().filter(|message| matches!(message, SimpleQueryMessage::Row(_))).count()
}

fn first_difference(seen: &[u8], real: &[u8]) -> String {
    let at =
        seen.iter().zip(real).position(|(seen, real)| seen != real).unwrap_or(seen.len().min(real.len()));
    let around = |bytes: &[u8]| {
        let piece = bytes.get(at.saturating_sub(60)..(at + 60).min(bytes.len())).unwrap_or_default();
        String::from_utf8_lossy(piece).into_owned()
    };
    format!("{} instead of {}", around(seen), around(real))
}
