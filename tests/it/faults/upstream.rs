//! A database that is not there, goes away, and comes back.

use std::net::SocketAddr;

use portcullis::audit::{Entry, Event};
use serde_json::json;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio_postgres::error::SqlState;

use crate::support::gateway::Stand;
use crate::wire_real::Raw;
use crate::wire_sim::rig::query;

use super::{call, decided, outcome, readiness, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_down_at_the_start_is_named_and_used_once_it_is_up() {
    let (stand, plug) = unplugged().await;
    let error = stand.wire_config("ana").connect(tokio_postgres::NoTls).await.err().unwrap();
    assert_eq!(error.code(), Some(&SqlState::CONNECTION_FAILURE));
    let error = error.as_db_error().unwrap();
    assert_eq!(error.message(), "database `shop` can't be reached by the gateway");
    assert!(error.hint().unwrap().contains("operator"), "{error}");
    let told = format!("{error:?}");
    for secret in [&plug.address.port().to_string(), "127.0.0.1", "portcullis_", "throw-away"] {
        assert!(!told.contains(secret), "{secret} in {told}");
    }
    let answer =
        call(&stand, "support-bot", "query", json!({"sql": "SELECT id FROM products LIMIT 1"})).await;
    assert_eq!(answer["status"], "error", "{answer}");
    let text = answer.to_string();
    assert!(text.contains("`shop` can't be read") && !text.contains("127.0.0.1"), "{text}");
    assert_eq!(readiness(&stand).await.0, 200, "the gateway itself is well: ROLLBACK and the console work");

    plug.set(true);
    let client = stand.wire("ana").await;
    client.simple_query("SELECT id FROM products LIMIT 1").await.unwrap();
    let answer =
        call(&stand, "support-bot", "query", json!({"sql": "SELECT id FROM products LIMIT 1"})).await;
    assert_eq!(answer["status"], "ok", "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_goes_away_ends_its_sessions_with_a_word_and_comes_back() {
    let (stand, plug) = unplugged().await;
    plug.set(true);
    let mut ana = Raw::session(&stand, "ana").await;
    assert_eq!(ana.ask(&query("SELECT 1")).await, "T D C(SELECT 1) Z(I)");
    plug.set(false);
    assert_eq!(ana.until_ready().await, "E(08006)");
    let answer =
        call(&stand, "support-bot", "query", json!({"sql": "SELECT id FROM products LIMIT 1"})).await;
    assert_eq!(answer["error"]["code"], "database_unavailable", "{answer}");
    assert!(answer["error"]["message"].as_str().unwrap().contains("`shop`"), "{answer}");
    assert!(!answer.to_string().contains("127.0.0.1"), "{answer}");
    let id = answer["decision_id"].as_str().unwrap().to_owned();
    until("what was admitted and never sent is on record as skipped", async || {
        outcome(&stand, &id).await.as_deref() == Some("skipped")
    })
    .await;
    let error = stand.wire_config("ana").connect(tokio_postgres::NoTls).await.err().unwrap();
    assert_eq!(error.code(), Some(&SqlState::CONNECTION_FAILURE));
    until("the refusal is on record", async || {
        let refused = |entry: &Entry| matches!(entry.record.event, Event::Refused { .. });
        stand
            .ledger()
            .iter()
            .rfind(|entry| refused(entry))
            .is_some_and(|entry| entry.record.database == "shop")
    })
    .await;
    plug.set(true);
    stand.wire("ana").await.simple_query("SELECT 1").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_breaks_off_is_never_taken_for_a_whole_one() {
    let (stand, plug) = unplugged().await;
    plug.set(true);
    let mut ana = Raw::session(&stand, "ana").await;
    ana.send(&query("SELECT repeat('x', 1000) FROM generate_series(1, 10000000)")).await;
    assert_eq!(ana.frame().await.unwrap().tag, b'T');
    assert_eq!(ana.frame().await.unwrap().tag, b'D');
    plug.set(false);
    let heard = ana.until_ready().await;
    // An error can be told between two rows; within one, nothing but the end of the stream is understood.
    let end = &heard[heard.len().saturating_sub(100)..];
    assert!(heard.ends_with("E(08006)") || heard.ends_with(" D"), "{end}");
    assert!(!heard.contains("C(") && !heard.contains('Z'), "a broken result was ended as a whole one");
    let (id, _) = decided(&stand).pop().unwrap();
    until("it is unknown how far it came", async || outcome(&stand, &id).await.as_deref() == Some("unknown"))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_the_server_kills_passes_its_error_on() {
    let stand = Stand::start().await;
    let mut ana = Raw::session(&stand, "ana").await;
    ana.send(&query("SELECT repeat('x', 1000) FROM generate_series(1, 10000000)")).await;
    assert_eq!(ana.frame().await.unwrap().tag, b'T');
    let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'portcullis:ana%'";
    stand.cluster.execute_sql("postgres", kill).await.unwrap();
    let heard = ana.until_ready().await;
    // The server says it itself, unless the client's side was too full to hear it.
    let told = ["E(57P01)", "E(08006)", " D"].iter().any(|end| heard.ends_with(end));
    assert!(told, "{}", &heard[heard.len().saturating_sub(100)..]);
    assert!(!heard.contains("C("), "a broken result was ended as a whole one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_whose_database_dies_says_that_it_broke_off() {
    let (stand, plug) = unplugged().await;
    plug.set(true);
    stand.wire("ana").await.simple_query("SELECT id FROM orders LIMIT 1").await.unwrap();
    let sql = "SELECT count(*) FROM orders a, orders b, orders c";
    let asked = call(&stand, "support-bot", "query", json!({ "sql": sql }));
    let unplug = async {
        until("it runs", async || {
            let runs = "SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%orders c'";
            let client = stand.cluster.connect("postgres").await.unwrap();
            !client.query(runs, &[]).await.unwrap().is_empty()
        })
        .await;
        plug.set(false);
    };
    let (answer, ()) = tokio::join!(asked, unplug);
    assert_eq!(answer["status"], "error", "{answer}");
    assert_eq!(answer["error"]["code"], "connection_broken", "{answer}");
    let id = answer["decision_id"].as_str().unwrap();
    assert_eq!(outcome(&stand, id).await.as_deref(), Some("error"));
}

/// A gateway whose way to its database can be cut, and is.
async fn unplugged() -> (Stand, Plug) {
    let mut stand = Stand::start().await;
    let plug = Plug::to(([127, 0, 0, 1], stand.cluster.port()).into()).await;
    stand.settings.databases[0].port = plug.address.port();
    (stand.restart().await, plug)
}

/// A way to a server: while it is cut, connections through it end at once.
struct Plug {
    address: SocketAddr,
    plugged: watch::Sender<bool>,
}

impl Plug {
    async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (plugged, way) = watch::channel(false);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let mut way = way.clone();
                tokio::spawn(async move {
                    if !*way.borrow_and_update() {
                        return;
                    }
                    let mut server = TcpSocket::new_v4().unwrap().connect(server).await.unwrap();
                    tokio::select! {
                        _ = copy_bidirectional(&mut client, &mut server) => {}
                        _ = way.changed() => {}
                    }
                });
            }
        });
        Self { address, plugged }
    }

    fn set(&self, plugged: bool) {
        self.plugged.send(plugged).unwrap();
    }
}
