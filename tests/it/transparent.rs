//! With the allow-all profile nobody can tell the gateway from PostgreSQL: the same bytes are sent to both, and the
//! same bytes must come back, up to the end of the connection, however the bytes were cut on their way.
//!
//! What can't be equal is not compared: keys for cancelling, process numbers, OIDs of what a test itself has made.

mod replication;
#[rustfmt::skip] // one script a line
mod scripts;
mod stand;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::BytesMut;
use portcullis::protocol::frame::{Frame, Leg};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::wire_sim::rig::{message, word};
use stand::AllowAll;

#[tokio::test(flavor = "multi_thread")]
async fn nobody_can_tell_the_gateway_from_the_server() {
    let stand = AllowAll::start(scripts::SCHEMA).await;
    let mut differing = BTreeMap::new();
    for (name, script) in scripts::all() {
        let expected = stand.play(stand.server(), &script, usize::MAX).await;
        for slice in [usize::MAX, 1, 3, 7] {
            if script.len() > LONGEST_SLICED && slice != usize::MAX {
                continue;
            }
            let heard = stand.play(stand.gateway(), &script, slice).await;
            if let Some(difference) = difference(name, &heard, &expected) {
                differing.entry(name).or_insert(format!("in slices of {slice}: {difference}"));
            }
        }
    }
    let report: Vec<String> = differing.iter().map(|(name, what)| format!("{name}\n  {what}")).collect();
    assert!(report.is_empty(), "{} scripts differ:\n{}", report.len(), report.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_up_is_answered_as_the_server_would() {
    let stand = AllowAll::start("CREATE ROLE nobody NOLOGIN").await;
    let mut differing = Vec::new();
    for parameters in START_UPS {
        let startup = startup(parameters);
        let expected = refusal(stand.hear(stand.server(), &startup).await);
        let heard = refusal(stand.hear(stand.gateway(), &startup).await);
        if let Some(difference) = difference("", &heard, &expected) {
            differing.push(format!("{parameters:?}\n  {difference}"));
        }
    }
    assert!(differing.is_empty(), "{} start-ups differ:\n{}", differing.len(), differing.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_start_up_is_left_without_a_word() {
    let stand = AllowAll::start("").await;
    let noise: [&[u8]; 8] = [
        b"\0\0\0\0",
        b"\0\0\0\x04",
        b"\0\0\0\x07\0\x03\0",
        b"\0\0\x27\x15\0\x03\0\0user",
        b"\xff\xff\xff\xff\0\x03\0\0",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
        b"\0\0\0\x08\x04\xd2\x16\x2e",
    ];
    for bytes in noise {
        for port in [stand.server(), stand.gateway()] {
            assert_eq!(stand.hear(port, bytes).await, [], "{}", bytes.escape_ascii());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_remarks_at_start_up_reaches_its_client() {
    let remark = "UPDATE pg_database SET datcollversion = '1' WHERE datname = current_database()";
    let stand = AllowAll::start(remark).await;
    let startup = startup(&[("user", "postgres"), ("database", stand::DATABASE)]);
    let expected = stand.hear(stand.server(), &startup).await;
    let heard = stand.hear(stand.gateway(), &startup).await;
    assert!(expected.iter().any(|frame| frame.tag == b'N'), "{expected:?}");
    assert_eq!(difference("", &heard, &expected), None);
}

impl AllowAll {
    /// Opens a session at `port`, sends a script in slices, says goodbye, and hears everything.
    async fn play(&self, port: u16, script: &[u8], slice: usize) -> Vec<Frame> {
        let mut stream = connect(port).await;
        stream.write_all(&startup(&[("user", "postgres"), ("database", stand::DATABASE)])).await.unwrap();
        let mut heard = BytesMut::new();
        loop {
            assert!(stream.read_buf(&mut heard).await.unwrap() > 0, "no session");
            if heard.ends_with(b"Z\0\0\0\x05I") {
                break;
            }
        }
        heard.clear();
        let bytes = [script, &message(b'X', |_| {})].concat();
        let (mut reader, mut writer) = stream.into_split();
        let sending = async {
            for slice in bytes.chunks(slice.min(bytes.len())) {
                // The other side may close before it has read everything.
                if writer.write_all(slice).await.is_err() {
                    break;
                }
            }
            writer
        };
        let hearing = async { while matches!(reader.read_buf(&mut heard).await, Ok(1..)) {} };
        let both = tokio::time::timeout(PATIENCE, async { tokio::join!(sending, hearing) }).await;
        frames(heard, both.is_err())
    }

    /// Sends a start-up packet and hears everything up to the first ReadyForQuery or the end.
    async fn hear(&self, port: u16, startup: &[u8]) -> Vec<Frame> {
        let mut stream = connect(port).await;
        stream.write_all(startup).await.unwrap();
        let mut heard = BytesMut::new();
        let hearing = async {
            while matches!(stream.read_buf(&mut heard).await, Ok(1..)) && !heard.ends_with(b"Z\0\0\0\x05I") {}
        };
        let heard_all = tokio::time::timeout(PATIENCE, hearing).await;
        frames(heard, heard_all.is_err())
    }
}

async fn connect(port: u16) -> TcpStream {
    let stream = TcpSocket::new_v4().unwrap().connect(([127, 0, 0, 1], port).into()).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

fn startup(parameters: &[(&str, &str)]) -> Vec<u8> {
    crate::wire_real::raw::startup(parameters)
}

/// What was heard, and a message of no type of PostgreSQL's at the end if that is not all.
fn frames(mut heard: BytesMut, has_no_end: bool) -> Vec<Frame> {
    let mut frames: Vec<Frame> =
        std::iter::from_fn(|| Frame::decode(Leg::Backend, &mut heard).unwrap()).collect();
    match (has_no_end, heard.is_empty()) {
        (true, _) => frames.push(Frame::new(b'?', &b"nothing more comes, and no end"[..])),
        (false, false) => frames.push(Frame::new(b'?', heard)),
        (false, true) => {}
    }
    frames
}

/// Where two answers differ first, in words.
fn difference(name: &str, heard: &[Frame], expected: &[Frame]) -> Option<String> {
    let words = |frames: &[Frame]| frames.iter().map(word).collect::<Vec<_>>().join(" ");
    if WORDED_BY_THE_GATEWAY.contains(&name) && words(heard) == words(expected) {
        return None;
    }
    let comparable = |frames: &[Frame]| frames.iter().map(comparable).collect::<Vec<_>>();
    let (ours, theirs) = (comparable(heard), comparable(expected));
    if ours == theirs {
        return None;
    }
    let place = ours.iter().zip(&theirs).take_while(|(ours, theirs)| ours == theirs).count();
    let show = |frames: &[(u8, Vec<u8>)]| match frames.get(place) {
        Some((tag, body)) => {
            format!("{} {}", tag.escape_ascii(), shortened(&body.escape_ascii().to_string()))
        }
        None => "the end".to_owned(),
    };
    Some(format!(
        "message {place} is {}\n  where the server says {}\n  in {}\n  not {}",
        show(&ours),
        show(&theirs),
        shortened(&words(heard)),
        shortened(&words(expected)),
    ))
}

fn shortened(text: &str) -> String {
    if text.len() < 400 {
        text.to_owned()
    } else {
        format!("{}...", text.chars().take(400).collect::<String>())
    }
}

/// A message without what can't be equal.
fn comparable(frame: &Frame) -> (u8, Vec<u8>) {
    let mut body = frame.body.to_vec();
    match frame.tag {
        b'K' => body.clear(),
        b'A' => body[..4].fill(0),
        b'T' => forget_oids(&mut body),
        _ => {}
    }
    (frame.tag, body)
}

/// Of a refused start-up the error alone, without the place in the server's source. The server says first that the
/// client is who it says; the gateway says so once there is a session.
fn refusal(mut heard: Vec<Frame>) -> Vec<Frame> {
    let Some(Frame { tag: b'E', body }) = heard.last() else { return heard };
    let told =
        body.split(|&byte| byte == 0).filter(|field| !matches!(field.first(), Some(b'F' | b'L' | b'R')));
    let error = Frame::new(b'E', told.collect::<Vec<_>>().join(&0));
    heard.retain(|frame| !matches!(frame.tag, b'E' | b'R'));
    heard.push(error);
    heard
}

/// Blanks the tables' OIDs in a RowDescription.
fn forget_oids(body: &mut [u8]) {
    let mut place = 2;
    while place < body.len() {
        place += body[place..].iter().position(|&byte| byte == 0).unwrap() + 1;
        body[place..place + 4].fill(0);
        place += 18;
    }
}

/// A message that can't be read is refused before the server sees it: the SQLSTATE is the server's, the words are not.
const WORDED_BY_THE_GATEWAY: [&str; 10] = [
    "a query without its end",
    "a query with more behind its end",
    "a parse that is cut",
    "a bind that is cut",
    "a bind with a value of length -2",
    "a describe of neither",
    "a close of neither",
    "a sync with a body",
    "a type that there is not",
    "a password that nobody asked for",
];

/// For one script.
const PATIENCE: Duration = Duration::from_secs(10);

/// Longer scripts are sent in one piece only.
const LONGEST_SLICED: usize = 1_200;

const START_UPS: [&[(&str, &str)]; 23] = [
    &[("user", "postgres"), ("database", stand::DATABASE), ("replication", "database")],
    &[("user", "postgres"), ("database", "ignored by the server"), ("replication", "true")],
    &[("user", "postgres"), ("database", stand::DATABASE)],
    &[("user", "postgres")],
    &[("database", stand::DATABASE)],
    &[("user", "stranger"), ("database", stand::DATABASE)],
    &[("user", "nobody"), ("database", stand::DATABASE)],
    &[("user", "postgres"), ("database", stand::DATABASE), ("application_name", "caf\u{e9}")],
    &[("user", "postgres"), ("database", stand::DATABASE), ("client_encoding", "LATIN1")],
    &[("user", "postgres"), ("database", stand::DATABASE), ("client_encoding", "nothing")],
    &[
        ("user", "postgres"),
        ("database", stand::DATABASE),
        ("DateStyle", "German"),
        ("TimeZone", "Asia/Tokyo"),
    ],
    &[("user", "postgres"), ("database", stand::DATABASE), ("timezone", "Mars")],
    &[("user", "postgres"), ("database", stand::DATABASE), ("search_path", "pg_catalog")],
    &[("user", "postgres"), ("database", stand::DATABASE), ("nothing", "1")],
    &[("user", "postgres"), ("database", stand::DATABASE), ("my.own", "1")],
    &[("user", "postgres"), ("database", stand::DATABASE), ("options", "-c datestyle=German")],
    &[
        ("user", "postgres"),
        ("database", stand::DATABASE),
        ("options", "-cdatestyle=SQL\\ ,DMY --timezone=UTC"),
    ],
    &[("user", "postgres"), ("database", stand::DATABASE), ("options", "-c timezone=Mars")],
    &[("user", "postgres"), ("database", stand::DATABASE), ("options", "--nothing")],
    &[("user", "postgres"), ("database", stand::DATABASE), ("options", "-c standard_conforming_strings=off")],
    &[("user", "postgres"), ("database", stand::DATABASE), ("options", "-z")],
    &[("user", "postgres"), ("database", stand::DATABASE), ("_pq_.something", "1")],
    &[("user", "postgres"), ("database", stand::DATABASE), ("replication", "nonsense")],
];
