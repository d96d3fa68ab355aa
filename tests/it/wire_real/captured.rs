//! What real clients say of themselves, captured from them by the server's log: psql's backslash commands, the metadata
//! and the queries of drivers, mappers and dataframes. `ana` sees masks; none of these statements touches one, so
//! PostgreSQL's answer must be the one that her upstream role gets without the gateway, byte for byte, by both protocols.

use std::collections::BTreeMap;

use portcullis::cli::demo::shop;
use portcullis::protocol::frame::Frame;
use serde::Deserialize;

use crate::support::gateway::Stand;
use crate::wire_sim::rig::{describe, execute, message, parse, query, sync, word};

use super::raw::Raw;

/// One line of the bank.
#[derive(Deserialize)]
struct Captured {
    client: String,
    sql: String,
    /// As text; `None` is NULL.
    parameters: Vec<Option<String>>,
}

#[tokio::test(flavor = "multi_thread")]
async fn what_real_clients_ask_is_answered_as_without_the_gateway() {
    let stand = Stand::start().await;
    let mut ana = Raw::session(&stand, "ana").await;
    let mut direct = Raw::direct_as(&stand, shop::SERVICE_USER).await;
    ana.ask(&query("SET plan_cache_mode = force_custom_plan")).await;
    let mut wrong = Vec::new();
    let mut asked: BTreeMap<String, usize> = BTreeMap::new();
    for line in BANK.lines() {
        let captured: Captured = serde_json::from_str(line).unwrap();
        *asked.entry(captured.client.clone()).or_default() += 1;
        for (way, request) in requests(&captured) {
            let heard = answer(&mut ana, &request).await;
            let expected = answer(&mut direct, &request).await;
            if heard != expected {
                wrong.push(format!(
                    "{}, {way}: {}\n  {}",
                    captured.client,
                    captured.sql,
                    excerpt(&heard, &expected)
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {asked:?}:\n{}", wrong.len(), wrong.join("\n"));
}

/// The statement by the simple protocol, where it has no parameters, and by the extended one with results as text and in
/// binary.
fn requests(captured: &Captured) -> Vec<(&'static str, Vec<u8>)> {
    let mut all = Vec::new();
    if captured.parameters.is_empty() {
        all.push(("simple", query(&captured.sql)));
    }
    for (way, format) in [("text", 0_i16), ("binary", 1)] {
        let bind = message(b'B', |body| {
            body.extend_from_slice(b"\0\0\0\0");
            body.extend_from_slice(&u16::try_from(captured.parameters.len()).unwrap().to_be_bytes());
            for value in &captured.parameters {
                let length = value.as_ref().map_or(-1, |value| i32::try_from(value.len()).unwrap());
                body.extend_from_slice(&length.to_be_bytes());
                body.extend_from_slice(value.as_deref().unwrap_or_default().as_bytes());
            }
            body.extend_from_slice(&[&1_u16.to_be_bytes()[..], &format.to_be_bytes()].concat());
        });
        all.push((
            way,
            [parse("", &captured.sql), bind, describe(b'P', ""), execute("", 0), sync()].concat(),
        ));
    }
    all
}

async fn answer(raw: &mut Raw, request: &[u8]) -> Vec<Frame> {
    raw.send(request).await;
    let mut frames = Vec::new();
    loop {
        let frame = raw.frame().await.unwrap();
        let is_last = frame.tag == b'Z';
        frames.push(frame);
        if is_last {
            return frames;
        }
    }
}

/// The first message that differs.
fn excerpt(heard: &[Frame], expected: &[Frame]) -> String {
    let differs = heard.iter().zip(expected).find(|(heard, expected)| heard != expected);
    let shown = |frame: &Frame| {
        format!("{} {}", word(frame), frame.body.escape_ascii()).chars().take(300).collect::<String>()
    };
    differs.map_or("a message too few or too many".to_owned(), |(heard, expected)| {
        format!("heard {}\n  where {}", shown(heard), shown(expected))
    })
}

const BANK: &str = include_str!("../../benign/captured.jsonl");
