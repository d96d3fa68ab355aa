//! Too many at once: everybody who is served stays served, and the ledger grows no faster than it may.

use std::fs;
use std::sync::Arc;

use portcullis::audit::Event;
use portcullis::upstream::Upstream;
use portcullis::wire::{Settings, Wire};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::support::gateway::Stand;
use crate::wire_real::{Raw, packet};
use crate::wire_sim::rig::query;

use super::until;

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_never_log_in_keep_nobody_out() {
    let stand = Stand::start().await;
    let mut idle = Vec::new();
    for _ in 0..200 {
        idle.push(Raw::connect(&stand).await);
    }
    let mut ana = Raw::session(&stand, "ana").await;
    assert_eq!(ana.ask(&query("SELECT 1")).await, "T D C(SELECT 1) Z(I)");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_too_many_is_told_so_and_a_place_that_is_left_can_be_taken() {
    let stand = Stand::start().await;
    let shutdown = CancellationToken::new();
    let settings = Settings { max_connections: 3, ..Settings::default() };
    let upstream = Arc::new(Upstream::new(stand.settings.databases.clone()));
    let wire = Wire::new(Arc::clone(stand.gateway.gate()), upstream, settings).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let served = tokio::spawn(wire.serve(listener, shutdown.clone()));
    // A request for encryption is answered, so its connection has a place.
    let mut taken = Vec::new();
    for _ in 0..3 {
        let mut raw = Raw::to(address).await;
        raw.send(&packet(b"\x04\xd2\x16\x2f")).await;
        assert_eq!(tokio::io::AsyncReadExt::read_u8(&mut raw.stream).await.unwrap(), b'N');
        taken.push(raw);
    }
    for _ in 0..5 {
        let mut raw = Raw::to(address).await;
        raw.send(&[0; 100]).await;
        assert_eq!(raw.until_ready().await, "E(53300)");
    }
    taken.pop();
    until("there is a place again", async || {
        let mut raw = Raw::to(address).await;
        raw.send(&packet(b"\x04\xd2\x16\x2f")).await;
        matches!(tokio::io::AsyncReadExt::read_u8(&mut raw.stream).await, Ok(b'N'))
    })
    .await;
    shutdown.cancel();
    served.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_logins_wrong_cancels_and_lies_are_counted_not_kept_one_by_one() {
    let stand = Stand::start().await;
    let mut ana = Raw::session(&stand, "ana").await;
    let mut knocks = 0;
    for _ in 0..100 {
        for lie in [packet(b"\x04\xd2\x16\x2e\0\0\0\x07\0\0\0\x09"), vec![0xff; 8]] {
            let mut raw = Raw::connect(&stand).await;
            raw.send(&lie).await;
            while raw.frame().await.is_some() {}
            knocks += 1;
        }
    }
    let url = format!("http://{}/mcp", stand.gateway.addresses().mcp);
    let http = reqwest::Client::new();
    for _ in 0..100 {
        http.post(&url).header("authorization", "Bearer nobody").send().await.unwrap();
    }
    let long = "x".repeat(100_000);
    for _ in 0..70 {
        assert_eq!(
            ana.ask(&query(&format!("\u{1}{long}"))).await,
            "E(42601) Z(I)",
            "statements are all kept"
        );
    }
    stand.gateway.gate().close_ledger().await.unwrap();
    let ledger = stand.ledger();
    let unwelcome = |event: &Event| {
        matches!(event, Event::Refused { .. } | Event::Malformed { .. } | Event::Cancel { .. })
    };
    let kept = |door: &str| {
        ledger.iter().filter(|entry| entry.record.door == door && unwelcome(&entry.record.event)).count()
            as u64
    };
    let counted = |door: &str| -> u64 {
        let count = |entry: &portcullis::audit::Entry| match &entry.record.event {
            Event::Flood { count, .. } if entry.record.door == door => {
                assert_eq!(entry.record.client, "127.0.0.1");
                *count
            }
            _ => 0,
        };
        ledger.iter().map(count).sum()
    };
    for (door, all) in [("wire", knocks), ("mcp", 100)] {
        assert!(kept(door) <= 120, "{door}: {} records", kept(door));
        assert_eq!(kept(door) + counted(door), all, "{door}: nothing goes uncounted");
    }
    let denied = |event: &Event| matches!(event, Event::Decided(statement) if statement.decision == "deny");
    assert_eq!(ledger.iter().filter(|entry| denied(&entry.record.event)).count(), 70);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_of_ten_kilobytes_is_not_kept_whole() {
    let stand = Stand::start().await;
    let mut raw = Raw::connect(&stand).await;
    let user = "u".repeat(9000);
    raw.send(&crate::wire_real::startup(&[("user", &user), ("options", "-e")])).await;
    assert_eq!(raw.until_ready().await, "E(42601)");
    let segment = stand.home.path().join("state/ledger/000001.jsonl");
    until("it is on record", async || fs::read_to_string(&segment).unwrap().contains("uuuu...")).await;
    assert!(!fs::read_to_string(&segment).unwrap().contains(&"u".repeat(1000)));
}
