//! Bytes that lie, at every stage of a connection: each gets an error with a SQLSTATE and a line in the ledger,
//! and nobody else notices.

use std::sync::Arc;
use std::time::Duration;

use bytes::BufMut as _;
use portcullis::audit::Event;
use portcullis::protocol::frame::put_cstr;
use portcullis::upstream::Upstream;
use portcullis::wire::{Settings, Wire};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::support::gateway::Stand;
use crate::wire_real::{Raw, packet, startup};
use crate::wire_sim::rig::{bind, execute, message, parse, query, sync, word};

use super::until;

#[tokio::test(flavor = "multi_thread")]
async fn a_start_up_that_lies_is_refused_and_on_record() {
    let stand = Stand::start().await;
    let table: [(&str, Vec<u8>); 10] = [
        ("a Terminate, which has a length of 1.4 GiB", b"X\0\0\0\x04".to_vec()),
        ("a length of 10005", vec![0, 0, 0x27, 0x15]),
        ("a length of 4 GiB", vec![0xff; 4]),
        ("no end of the parameters", packet(b"\0\x03\0\0user\0ana\0")),
        ("a name without a value", packet(b"\0\x03\0\0user\0")),
        ("a user that is not UTF-8", packet(b"\0\x03\0\0user\0\xff\xfe\0\0")),
        ("bytes behind the end", packet(b"\0\x03\0\0user\0ana\0\0more")),
        ("a request for TLS with a body", packet(b"\x04\xd2\x16\x2fbody")),
        ("a cancel without a key's owner", packet(b"\x04\xd2\x16\x2e\0\0")),
        ("another protocol's hello", b"\0\0\0\x10\xde\xad\xbe\xef12345678".to_vec()),
    ];
    for (count, (what, bytes)) in (1..).zip(&table) {
        let mut raw = Raw::connect(&stand).await;
        raw.send(bytes).await;
        // As PostgreSQL has it: a version that it does not speak is no violation of the one that it does, and to what is no
        // start-up at all it says nothing.
        match *what {
            "a Terminate, which has a length of 1.4 GiB"
            | "a length of 10005"
            | "a length of 4 GiB"
            | "a cancel without a key's owner" => {
                assert_eq!(raw.frame().await, None, "{what}");
            }
            "another protocol's hello" => refused(&mut raw, what, "0A000").await,
            _ => fatal(&mut raw, what).await,
        }
        malformed(&stand, count, what).await;
    }
    stand.wire("ana").await.simple_query("SELECT 1").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authentication_that_lies_is_refused_and_on_record() {
    let stand = Stand::start().await;
    let initial = |mechanism: &str, length: i32, data: &[u8]| {
        message(b'p', |body| {
            put_cstr(body, mechanism);
            body.put_i32(length);
            body.put_slice(data);
        })
    };
    let good = b"n,,n=,r=abcdefghijklmnop";
    let table: [(&str, Vec<u8>); 10] = [
        ("a query instead", query("SELECT 1")),
        ("an unknown type", b"z\0\0\0\x04".to_vec()),
        ("a password in clear", message(b'p', |body| put_cstr(body, "secret"))),
        ("another mechanism", initial("PLAIN", 4, b"\0a\0b")),
        ("a length that is too long", initial("SCRAM-SHA-256", 1000, good)),
        ("a length that is too short", initial("SCRAM-SHA-256", 3, good)),
        ("a length of -2", initial("SCRAM-SHA-256", -2, good)),
        ("no SCRAM message", initial("SCRAM-SHA-256", 5, b"\xff\xfe\0\x01,")),
        ("channel binding that was not offered", initial("SCRAM-SHA-256", 12, b"p=tls-unique")),
        ("an endless answer", b"p\0\xff\xff\xff".to_vec()),
    ];
    for (count, (what, bytes)) in (1..).zip(&table) {
        let mut raw = Raw::connect(&stand).await;
        raw.send(&startup(&[("user", "ana"), ("database", "shop")])).await;
        assert_eq!(raw.frame().await.unwrap().tag, b'R', "{what}");
        raw.send(bytes).await;
        fatal(&mut raw, what).await;
        malformed(&stand, count, what).await;
    }
    stand.wire("ana").await.simple_query("SELECT 1").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_lie_about_their_length_or_type_end_their_session_only() {
    let stand = Stand::start().await;
    let mut other = Raw::session(&stand, "ana").await;
    let table: [(&str, Vec<u8>); 5] = [
        ("a length of 3", b"Q\0\0\0\x03".to_vec()),
        ("a query of 4 GiB", b"Q\xff\xff\xff\xff".to_vec()),
        ("a query of 1 GiB that is coming", [&b"Q\x40\0\0\0"[..], &[b' '; 300_000]].concat()),
        ("a password in a session", message(b'p', |body| put_cstr(body, "secret"))),
        ("a server's message", b"T\0\0\0\x06\0\0".to_vec()),
    ];
    for (count, (what, bytes)) in (1..).zip(&table) {
        let mut raw = Raw::session(&stand, "ana").await;
        raw.send(bytes).await;
        fatal(&mut raw, what).await;
        malformed(&stand, count, what).await;
        assert_eq!(other.ask(&query("SELECT 1")).await, "T D C(SELECT 1) Z(I)", "{what}");
    }
    let mut raw = Raw::session(&stand, "ana").await;
    raw.send(b"Q\x04\0\0\x01").await;
    refused(&mut raw, "a query that is longer than passes", "54000").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_lies_fails_its_statement_and_never_goes_up() {
    let stand = Stand::start().await;
    let mut ana = Raw::session(&stand, "ana").await;
    let table: [(&str, Vec<u8>); 9] = [
        ("a query without NUL", message(b'Q', |body| body.put_slice(b"SELECT 1"))),
        ("a query with a NUL inside", message(b'Q', |body| body.put_slice(b"SELECT 1\0DROP TABLE orders\0"))),
        ("a query without a body", message(b'Q', |_| {})),
        ("a Sync with a body", message(b'S', |body| body.put_u8(1))),
        ("a Parse with 65535 types and none", message(b'P', |body| body.put_slice(b"\0SELECT 1\0\xff\xff"))),
        ("a Bind with 65535 values and none", message(b'B', |body| body.put_slice(b"\0\0\0\0\xff\xff\0\0"))),
        ("a value of length -2", message(b'B', |body| body.put_slice(b"\0\0\0\0\0\x01\xff\xff\xff\xfe\0\0"))),
        (
            "a value longer than its message",
            message(b'B', |body| body.put_slice(b"\0\0\0\0\0\x01\x7f\xff\xff\xffx")),
        ),
        ("a Describe of nothing", message(b'D', |body| body.put_slice(b"Xname\0"))),
    ];
    for (count, (what, bytes)) in (1..).zip(&table) {
        assert_eq!(ana.ask(&query("BEGIN")).await, "C(BEGIN) Z(T)", "{what}");
        let series = bytes[0] != b'Q' && bytes[0] != b'S';
        let sent = if series { [bytes.clone(), sync()].concat() } else { bytes.clone() };
        assert_eq!(ana.ask(&sent).await, "E(08P01) Z(E)", "{what}");
        malformed(&stand, count, what).await;
        assert_eq!(ana.ask(&query("ROLLBACK")).await, "C(ROLLBACK) Z(I)", "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn text_that_is_no_statement_is_an_error_and_the_session_goes_on() {
    let stand = Stand::start().await;
    let mut ana = Raw::session(&stand, "ana").await;
    let bytes = |text: &[u8]| message(b'Q', |body| body.put_slice(&[text, b"\0"].concat()));
    let nested = |open: &str, close: &str, depth: usize| {
        query(&format!("SELECT {}1{}", open.repeat(depth), close.repeat(depth)))
    };
    let table: [(&str, Vec<u8>, &str); 12] = [
        ("not UTF-8", bytes(b"SELECT '\xff'"), "E(22021) Z(I)"),
        ("not UTF-8 behind a comment", bytes(b"SELECT 1 -- \xc0\xaf"), "E(22021) Z(I)"),
        ("1 MiB and a byte", query(&" ".repeat((1 << 20) + 1)), "E(54000) Z(I)"),
        ("nested 100000 deep", nested("(", ")", 100_000), "E(42P01) Z(I)"),
        ("negated 100000 times", nested("NOT ", "", 100_000), "E(42P01) Z(I)"),
        ("100000 arrays", nested("ARRAY[", "]", 100_000), "E(42P01) Z(I)"),
        ("100000 open parentheses", query(&"(".repeat(100_000)), "E(42P01) Z(I)"),
        ("no SQL", bytes(&[b'\x01'; 1000]), "E(42601) Z(I)"),
        (
            "a function call",
            message(b'F', |body| body.put_slice(b"\0\0\x06\x3e\0\0\0\0\0\0")),
            "E(42501) Z(I)",
        ),
        ("two statements", [parse("", "SELECT 1; SELECT 2"), sync()].concat(), "E(42601) Z(I)"),
        ("a name of ours", [parse("__portcullis_own", "SELECT 1"), sync()].concat(), "E(42602) Z(I)"),
        (
            "no UTF-8 to prepare",
            [message(b'P', |body| body.put_slice(b"\0SELECT '\xff'\0\0\0")), sync()].concat(),
            "E(22021) Z(I)",
        ),
    ];
    for (count, (what, bytes, heard)) in (1..).zip(&table) {
        assert_eq!(&ana.ask(bytes).await, heard, "{what}");
        until(&format!("{what} is on record"), async || refusals(&stand) == count).await;
        assert_eq!(ana.ask(&query("SELECT 1")).await, "T D C(SELECT 1) Z(I)", "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_odd_but_allowed_does_no_harm() {
    let stand = Stand::start().await;
    let mut ana = Raw::session(&stand, "ana").await;
    // What is left of a COPY that failed comes late; PostgreSQL ignores it, and so do we.
    for stray in [&b"d\0\0\0\x08data"[..], b"c\0\0\0\x04", b"f\0\0\0\x05\0"] {
        ana.send(stray).await;
        assert_eq!(ana.ask(&query("SELECT 1")).await, "T D C(SELECT 1) Z(I)");
    }
    let parameters = message(b'B', |body| {
        body.put_slice(b"\0\0\0\0\xff\xff");
        (0..u16::MAX).for_each(|_| body.put_slice(b"\xff\xff\xff\xff"));
        body.put_slice(b"\0\0");
    });
    let series = [parse("", "SELECT $1::int"), parameters, execute("", 0), sync()].concat();
    assert_eq!(ana.ask(&series).await, "1 E(08P01) Z(I)", "65,535 values for one parameter");
    let most: Vec<String> = (1..=u16::MAX).map(|n| format!("${n}::int")).collect();
    let series = [parse("", &format!("SELECT ARRAY[{}]", most.join(","))), sync()].concat();
    let heard = ana.ask(&series).await;
    assert!(heard == "1 Z(I)" || heard == "E(42P01) Z(I)", "65,535 parameters: {heard}");
    let many: Vec<u8> = (0..20_000).flat_map(|_| [bind("", "nobody"), sync()].concat()).collect();
    ana.send(&many).await;
    for _ in 0..20_000 {
        assert_eq!(ana.until_ready().await, "E(26000) Z(I)");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_byte_at_a_time_is_as_good_as_all_at_once() {
    let stand = Stand::start().await;
    let mut ana = Raw::connect(&stand).await;
    let hello = startup(&[("user", "ana"), ("database", "shop")]);
    let (last, rest) = hello.split_last().unwrap();
    for byte in rest {
        ana.send(&[*byte]).await;
    }
    ana.log_in("ana", &stand.secrets["ana"], &[*last]).await;
    for byte in query("SELECT 1") {
        ana.send(&[byte]).await;
    }
    assert_eq!(ana.until_ready().await, "T D C(SELECT 1) Z(I)");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_takes_too_long_to_log_in_is_told_and_let_go() {
    let stand = Stand::start().await;
    let shutdown = CancellationToken::new();
    let settings = Settings { handshake_timeout: Duration::from_millis(300), ..Settings::default() };
    let upstream = Arc::new(Upstream::new(stand.settings.databases.clone()));
    let wire = Wire::new(Arc::clone(stand.gateway.gate()), upstream, settings).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let served = tokio::spawn(wire.serve(listener, shutdown.clone()));
    let hello = startup(&[("user", "ana"), ("database", "shop")]);
    for (what, bytes) in [("nothing", &b""[..]), ("half a start-up", &hello[..9]), ("no proof", &hello[..])] {
        let mut raw = Raw::to(address).await;
        raw.send(bytes).await;
        let heard = raw.until_ready().await;
        assert!(heard.ends_with("E(57014)"), "{what}: {heard}");
    }
    let slow =
        |event: &Event| matches!(event, Event::Refused { reason, .. } if reason.contains("took too long"));
    until("all three are on record", async || {
        stand.ledger().iter().filter(|entry| slow(&entry.record.event)).count() == 3
    })
    .await;
    shutdown.cancel();
    served.await.unwrap();
}

/// The client is told FATAL and 08P01, and the connection ends.
async fn fatal(raw: &mut Raw, what: &str) {
    refused(raw, what, "08P01").await;
}

/// The client is told FATAL and `code`, and the connection ends.
async fn refused(raw: &mut Raw, what: &str, code: &str) {
    let frame = raw.frame().await.unwrap_or_else(|| panic!("{what}: no word"));
    assert_eq!(word(&frame), format!("E({code})"), "{what}");
    let text = String::from_utf8_lossy(&frame.body).into_owned();
    assert!(text.contains("FATAL"), "{what}: {text}");
    assert!(raw.frame().await.is_none(), "{what}: the connection must end");
}

/// The ledger holds `count` malformed messages, each with its context.
async fn malformed(stand: &Stand, count: usize, what: &str) {
    until(&format!("{what} is on record"), async || {
        let of = |entry: portcullis::audit::Entry| match entry.record.event {
            Event::Malformed { context } => Some(context),
            _ => None,
        };
        let all: Vec<String> = stand.ledger().into_iter().filter_map(of).collect();
        assert!(all.iter().all(|context| context.len() > 5), "{all:?}");
        all.len() == count
    })
    .await;
}

/// Records of refused or malformed statements.
fn refusals(stand: &Stand) -> usize {
    let refused = |event: &Event| match event {
        Event::Malformed { .. } => true,
        Event::Decided(statement) => statement.decision == "deny",
        _ => false,
    };
    stand.ledger().iter().filter(|entry| refused(&entry.record.event)).count()
}
