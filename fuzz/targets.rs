//! What is fuzzed: every place where bytes of a peer become something. Shared by the fuzzer and by
//! `tests/it/fuzz.rs`, which replays the corpus as an ordinary test.

#[path = "greeting.rs"]
mod opening;
#[path = "session.rs"]
mod play;

use bytes::BytesMut;
use portcullis::catalog::Snapshot;
use portcullis::identity::directory::Directory;
use portcullis::identity::scram::Mechanism;
use portcullis::protocol::backend::ErrorFields;
use portcullis::protocol::frame::{Frame, Leg};
use portcullis::protocol::frontend::Message;
use portcullis::protocol::results::{TransactionStatus, command_tag, parameter_status, row_description};
use portcullis::protocol::startup::Packet;
use portcullis::sql::{Statement, analyze};

/// The first packets of a client.
pub(super) fn startup(data: &[u8]) {
    let mut buffer = BytesMut::from(data);
    while let Ok(Some(_)) = Packet::decode(&mut buffer) {}
}

/// Messages of a client. A decoder must never take more than it was given.
pub(super) fn frontend(data: &[u8]) {
    each_frame(Leg::Frontend, data, |frame| drop(Message::parse(frame)));
}

/// Messages of a server.
pub(super) fn backend(data: &[u8]) {
    each_frame(Leg::Backend, data, |frame| {
        let body = || frame.body.clone();
        drop(row_description(body()));
        drop(command_tag(body()));
        drop(parameter_status(body()));
        TransactionStatus::parse(&frame.body).ok();
        if let Ok(fields) = ErrorFields::parse(body()) {
            let mut out = BytesMut::new();
            fields.scrubbed("withheld").put_error(&mut out);
            let again = Frame::decode(Leg::Backend, &mut out).expect("what we write can be read");
            assert!(again.is_some() && out.is_empty());
        }
    });
}

/// SQL text, up to its facts. Each fact must name a statement that lies within the text.
pub(super) fn statement(data: &[u8]) {
    let Ok(statement) = Statement::new(data, Statement::AGENT_CAP) else { return };
    let deep = std::thread::Builder::new().stack_size(32 * 1024 * 1024);
    let analysed = deep.spawn(move || {
        let catalog = Snapshot::new(1, 150_000, vec!["public".to_owned()], Vec::new(), Vec::new());
        let Ok(analysis) = analyze(&statement, &catalog) else { return };
        for item in analysis.items() {
            assert!(statement.as_str().get(item.range.clone()).is_some(), "{:?}", item.range);
        }
    });
    analysed.expect("a thread").join().expect("no panic");
}

/// A session, from both of its sides.
pub(super) fn session(data: &[u8]) {
    play::run(data);
}

/// A server that lets the gateway in, or pretends to.
pub(super) fn greeting(data: &[u8]) {
    opening::run(data);
}

/// Both messages of a SCRAM exchange, split at the first line feed, for a user who does not exist.
pub(super) fn scram(data: &[u8]) {
    let middle = data.iter().position(|&byte| byte == b'\n').unwrap_or(data.len());
    let (first, last) = data.split_at(middle);
    for mechanism in [Mechanism::Scram, Mechanism::ScramPlus] {
        let mut exchange = Directory::default().scram("nobody", Some(b"a channel".to_vec()));
        if exchange.first(mechanism, first).is_ok() {
            assert!(exchange.finish(last.get(1..).unwrap_or_default()).is_err(), "nobody is somebody");
        }
    }
}

fn each_frame(leg: Leg, data: &[u8], check: impl Fn(&Frame)) {
    let mut buffer = BytesMut::from(data);
    loop {
        let before = buffer.len();
        match Frame::decode(leg, &mut buffer) {
            Ok(Some(frame)) => {
                assert!(frame.body.len() < before && buffer.len() < before);
                check(&frame);
            }
            Ok(None) | Err(_) => return,
        }
    }
}
