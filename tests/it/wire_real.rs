//! The wire door by raw bytes, psql and a driver, before a real PostgreSQL.

mod captured;
mod differential;
mod psql;
pub(crate) mod raw;
mod settings;
mod tls;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_postgres::types::ToSql;

use crate::support::gateway::Stand;
use crate::wire_sim::rig::{bind, describe, execute, parse, query, run, sync, word};

use raw::startup_of;
pub(crate) use raw::{Raw, packet, startup};

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_statement_in_a_pipeline_commits_nothing_on_a_real_server() {
    let stand = Stand::start().await;
    let mut ana = Raw::session(&stand, "ana").await;
    // SET is transactional: were the denied message dropped, the Sync would commit it.
    let pipeline =
        [run("set timezone to 'Asia/Tokyo'"), run("drop table customers"), run("select 1"), sync()];
    assert_eq!(ana.ask(&pipeline.concat()).await, "1 2 C(SET) E(42501) Z(I)");
    ana.ask(&query("show timezone")).await;
    assert!(!ana.last_row().contains("Tokyo"), "{}", ana.last_row());
    assert_eq!(ana.ask(&[run("set timezone to 'Asia/Tokyo'"), sync()].concat()).await, "1 2 C(SET) S Z(I)");
    ana.ask(&query("show timezone")).await;
    assert!(ana.last_row().contains("Tokyo"), "{}", ana.last_row());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denial_in_a_block_leaves_the_state_to_the_server() {
    let stand = Stand::start().await;
    let mut ana = Raw::session(&stand, "ana").await;
    assert_eq!(ana.ask(&query("begin")).await, "C(BEGIN) Z(T)");
    assert_eq!(ana.ask(&query("drop table customers")).await, "E(42501) Z(E)");
    assert_eq!(ana.ask(&query("select 1")).await, "E(25P02) Z(E)");
    assert_eq!(ana.ask(&[parse("", "drop table customers"), sync()].concat()).await, "E(42501) Z(E)");
    assert_eq!(ana.ask(&[bind("", "nobody"), sync()].concat()).await, "E(26000) Z(E)");
    assert_eq!(ana.ask(&query("commit")).await, "C(ROLLBACK) Z(I)");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_extended_protocol_answers_as_postgresql_does() {
    let stand = Stand::start().await;
    let mut ana = Raw::session(&stand, "ana").await;
    let sql = "select id, ssn from customers order by id limit 3";
    let series = [parse("a", sql), describe(b'S', "a"), bind("p", "a"), describe(b'P', "p")].concat();
    let series = [series, execute("p", 2), execute("p", 2), sync()].concat();
    assert_eq!(ana.ask(&series).await, "1 t T 2 T D D s D C(SELECT 1) Z(I)");
    assert!(ana.last_row().contains("***-**-****"), "{}", ana.last_row());
    assert_eq!(ana.ask(&[parse("a", "select 1"), sync()].concat()).await, "E(42P05) Z(I)");
    assert_eq!(ana.ask(&[execute("p", 0), sync()].concat()).await, "E(34000) Z(I)");
    assert_eq!(ana.ask(&query("")).await, "I Z(I)");
    assert_eq!(ana.ask(&query("select 1; select 2")).await, "T D C(SELECT 1) T D C(SELECT 1) Z(I)");
}

#[tokio::test(flavor = "multi_thread")]
async fn copy_to_the_client_shows_the_mask() {
    let stand = Stand::start().await;
    let mut ana = Raw::session(&stand, "ana").await;
    let copy = "copy (select id, ssn from customers order by id limit 2) to stdout";
    assert_eq!(ana.ask(&query(copy)).await, "H d d c C(COPY 2) Z(I)");
    assert!(ana.last_row().contains("***-**-****"), "{}", ana.last_row());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_for_encryption_is_answered_and_nothing_may_hide_behind_it() {
    let stand = Stand::start().await;
    let mut raw = Raw::connect(&stand).await;
    for request in [[0x04, 0xd2, 0x16, 0x2f], [0x04, 0xd2, 0x16, 0x30]] {
        raw.send(&packet(&request)).await;
        assert_eq!(raw.stream.read_u8().await.unwrap(), b'N');
    }
    raw.send(&startup(&[("user", "ana")])).await;
    assert_eq!(raw.frame().await.unwrap().tag, b'R');
    // CVE-2021-23214: what a man in the middle injects behind the request must not be taken for the client's.
    let mut raw = Raw::connect(&stand).await;
    raw.send(&[packet(&[0x04, 0xd2, 0x16, 0x2f]), startup(&[("user", "ana")])].concat()).await;
    assert_eq!(word(&raw.frame().await.unwrap()), "E(08P01)");
    assert!(raw.frame().await.is_none(), "the connection must end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_up_that_asks_for_more_than_it_may_is_refused_by_name() {
    let stand = Stand::start().await;
    for (name, value, named, code) in [
        ("search_path", "hr", "search_path", "42501"),
        ("options", "-c search_path=hr", "search_path", "42501"),
        ("options", "-c DateStyle=ISO --role=postgres", "role", "42501"),
        ("options", "-crow_security=off", "row_security", "42501"),
        ("options", "--standard-conforming-strings=off", "standard_conforming_strings", "42501"),
        ("work_mem", "1GB", "work_mem", "42501"),
        ("replication", "database", "replication", "42501"),
        ("client_encoding", "SJIS", "client_encoding", "42501"),
    ] {
        let mut raw = Raw::connect(&stand).await;
        let startup = startup(&[("user", "ana"), ("database", "shop"), (name, value)]);
        raw.prove("ana", &stand.secrets["ana"], &startup).await;
        let frame = raw.frame().await.unwrap();
        assert_eq!(word(&frame), format!("E({code})"));
        assert!(String::from_utf8_lossy(&frame.body).contains(named), "{named} is not named");
        assert!(raw.frame().await.is_none(), "AuthenticationOk was never sent");
    }
    for (name, value, code) in [
        ("options", "-e", "42601"),
        ("options", "-c user=postgres", "42704"),
        ("options", "-c replication=database", "42704"),
        ("replication", "perhaps", "22023"),
    ] {
        let mut raw = Raw::connect(&stand).await;
        raw.send(&startup(&[("user", "ana"), ("database", "shop"), (name, value)])).await;
        assert_eq!(word(&raw.frame().await.unwrap()), format!("E({code})"), "{value}");
    }
    let mut raw = Raw::connect(&stand).await;
    raw.send(&startup_of(3, 9999, &[("user", "ana"), ("_pq_.foo", "1")])).await;
    let frame = raw.frame().await.unwrap();
    assert_eq!((frame.tag, &frame.body[..8]), (b'v', &[0, 3, 0, 2, 0, 0, 0, 1][..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_protocol_end_the_connection() {
    let stand = Stand::start().await;
    let table: [(&str, Vec<u8>, Option<u8>); 6] = [
        ("a length of 4", vec![0, 0, 0, 4], None),
        ("a length of 2 GiB", vec![0x7f, 0xff, 0xff, 0xff], None),
        ("protocol 2", startup_of(2, 0, &[("user", "ana")]), Some(b'E')),
        ("an HTTP request", b"GET / HTTP/1.1\r\n\r\n".to_vec(), None),
        ("a TLS hello", vec![0x16, 3, 1, 0, 5], None),
        ("no user", startup(&[("database", "shop")]), Some(b'E')),
    ];
    for (what, bytes, answer) in table {
        let mut raw = Raw::connect(&stand).await;
        raw.send(&bytes).await;
        let heard = raw.frame().await.map(|frame| frame.tag);
        assert_eq!(heard, answer, "{what}");
        assert!(raw.frame().await.is_none(), "{what}: the connection must end");
    }
    let mut ana = Raw::session(&stand, "ana").await;
    ana.send(b"Z\0\0\0\x05I").await;
    assert_eq!(word(&ana.frame().await.unwrap()), "E(08P01)");
    assert!(ana.frame().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_of_the_start_up_take_effect_upstream() {
    let stand = Stand::start().await;
    let parameters =
        [("user", "ana"), ("database", "shop"), ("TimeZone", "Asia/Tokyo"), ("DateStyle", "SQL, DMY")];
    let mut raw = Raw::connect(&stand).await;
    raw.log_in("ana", &stand.secrets["ana"], &startup(&parameters)).await;
    raw.ask(&query("show timezone")).await;
    assert!(raw.last_row().contains("Asia/Tokyo"), "{}", raw.last_row());
    raw.ask(&query("show datestyle")).await;
    assert!(raw.last_row().contains("SQL, DMY"), "{}", raw.last_row());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_closes_its_half_still_gets_its_answer() {
    let stand = Stand::start().await;
    let mut ana = Raw::session(&stand, "ana").await;
    ana.send(&query("select 1")).await;
    ana.stream.shutdown().await.unwrap();
    assert_eq!(ana.until_ready().await, "T D C(SELECT 1) Z(I)");
    assert!(ana.frame().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_late_gets_everything() {
    let stand = Stand::start().await;
    let mut ana = Raw::session(&stand, "ana").await;
    let big = query("select repeat('x', 1000) from generate_series(1, 20000)");
    let many: Vec<u8> = std::iter::repeat_with(|| query("select 1")).take(200).flatten().collect();
    ana.send(&[big, many].concat()).await;
    let heard = ana.until_ready().await;
    assert_eq!(heard.matches('D').count(), 20_000);
    for _ in 0..200 {
        assert_eq!(ana.until_ready().await, "T D C(SELECT 1) Z(I)");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_stops_says_so() {
    let stand = Stand::start().await;
    let mut ana = Raw::session(&stand, "ana").await;
    stand.gateway.stop().await;
    assert_eq!(word(&ana.frame().await.unwrap()), "E(57P01)");
    assert!(ana.frame().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_pipelines_prepares_and_goes_back_to_its_statements() {
    let stand = Stand::start().await;
    let client = stand.wire("ana").await;
    let statement = client.prepare("select name from products where id = $1").await.unwrap();
    let (one, two) = ([&1_i32 as &(dyn ToSql + Sync)], [&2_i32 as &(dyn ToSql + Sync)]);
    let (first, second, bad) = tokio::join!(
        client.query_one(&statement, &one),
        client.query_one(&statement, &two),
        client.query_one("select nothing from products", &[]),
    );
    assert_ne!(first.unwrap().get::<_, String>(0), second.unwrap().get::<_, String>(0));
    assert!(bad.is_err());
    assert!(client.query_one(&statement, &one).await.is_ok());
}
