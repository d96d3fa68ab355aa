//! Start-ups against servers that don't behave. Real ones are in `tests/it/upstream`.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

/// Opens a session on a server that says `script`, one piece for each message that it gets, and then hangs up.
async fn against(script: &[&[u8]]) -> Result<Opened, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let script: Vec<Vec<u8>> = script.iter().map(|piece| piece.to_vec()).collect();
    let server = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut heard = [0; 4096];
        for piece in script {
            if socket.read(&mut heard).await.unwrap_or(0) == 0 {
                return;
            }
            socket.write_all(&piece).await.unwrap();
        }
    });
    let role = RoleSettings { name: String::new(), user: "u".into(), password: "p".into() };
    let database = DatabaseSettings {
        name: "d".into(),
        host: "127.0.0.1".into(),
        port,
        database: "d".into(),
        search_path: Vec::new(),
        service: role.clone(),
        roles: Vec::new(),
    };
    let opened = open(&database, &role, &[("user", "u".to_owned())]).await;
    server.await.unwrap();
    opened
}

fn protocol(outcome: Result<Opened, Failure>) -> String {
    let failure = outcome.unwrap_err();
    let Failure::Protocol(what) = failure else { panic!("{failure:?}") };
    what
}

fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
    Frame::new(tag, body.to_vec()).to_bytes().to_vec()
}

fn ready(parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = frame(b'R', b"\0\0\0\0");
    for (name, value) in parameters {
        bytes.extend(frame(b'S', format!("{name}\0{value}\0").as_bytes()));
    }
    bytes.extend(frame(b'K', b"\0\0\0\x01\0\0\0\x02"));
    bytes.extend(frame(b'Z', b"I"));
    bytes
}

const OFFER: &[u8] = b"\0\0\0\x0aSCRAM-SHA-256\0\0";
const AS_NEEDED: [(&str, &str); 2] = [("client_encoding", "UTF8"), ("standard_conforming_strings", "on")];

#[tokio::test]
async fn a_local_server_may_ask_for_nothing() {
    let opened = against(&[&ready(&AS_NEEDED)]).await.unwrap();
    assert_eq!(opened.parameters.len(), 2);
}

#[tokio::test]
async fn a_password_is_never_sent_in_clear_text() {
    let what = protocol(against(&[&frame(b'R', b"\0\0\0\x03")]).await);
    assert_eq!(what, "it asks for a password in clear text, and the gateway accepts SCRAM-SHA-256 only");
}

#[tokio::test]
async fn a_server_can_neither_skip_nor_forge_its_part_of_scram() {
    let offer = frame(b'R', OFFER);
    let early = frame(b'R', b"\0\0\0\0");
    assert_eq!(
        protocol(against(&[&offer, &early]).await),
        "it sent something else than a SCRAM challenge out of order"
    );
    let forged = frame(b'R', b"\0\0\0\x0br=not-ours,s=QUFBQQ==,i=4096");
    let what = protocol(against(&[&offer, &forged]).await);
    assert!(what.starts_with("its SCRAM challenge is invalid"), "{what}");
    assert_eq!(
        protocol(against(&[&frame(b'R', b"\0\0\0\x0cv=AAAA")]).await),
        "it sent an answer of SCRAM out of order"
    );
}

#[tokio::test]
async fn a_server_cant_keep_us_hashing() {
    for (count, what) in [
        ("i=1000001", "it asks for 1000001 SCRAM iterations; 1 to 1000000 are accepted"),
        ("i=0", "it asks for 0 SCRAM iterations; 1 to 1000000 are accepted"),
        ("i=99999999999", "its SCRAM challenge has no iteration count"),
        ("i=-1", "its SCRAM challenge has no iteration count"),
    ] {
        let challenge = format!("\0\0\0\x0br=x,s=QUFBQQ==,{count}");
        assert_eq!(protocol(against(&[&frame(b'R', OFFER), &frame(b'R', challenge.as_bytes())]).await), what);
    }
}

#[tokio::test]
async fn a_session_that_reads_text_otherwise_than_the_judge_is_refused() {
    let what = "it did not confirm `standard_conforming_strings` = `on`";
    let off = [("client_encoding", "UTF8"), ("standard_conforming_strings", "off")];
    assert_eq!(protocol(against(&[&ready(&off)]).await), what);
    assert_eq!(protocol(against(&[&ready(&AS_NEEDED[..1])]).await), what);
    let what = "it did not confirm `client_encoding` = `UTF8`";
    assert_eq!(protocol(against(&[&ready(&[("client_encoding", "SJIS"), AS_NEEDED[1]])]).await), what);
}

#[tokio::test]
async fn lengths_and_numbers_of_messages_are_capped() {
    let what = "it sent a message that is too long";
    assert_eq!(protocol(against(&[b"R\x3f\xff\xff\xff"]).await), what);
    assert_eq!(protocol(against(&[b"E\xff\xff\xff\xff"]).await), what);
    let short = protocol(against(&[b"R\0\0\0\x03"]).await);
    assert!(short.contains("invalid length 3"), "{short}");
    let many: Vec<_> = (0..300).map(|_| ("a", "b")).collect();
    assert_eq!(protocol(against(&[&ready(&many)]).await), "it sent a message of type `S`");
    assert!(matches!(against(&[b"R"]).await, Err(Failure::Io(_))));
}

#[tokio::test]
async fn a_refusal_keeps_the_servers_code_and_words() {
    let refusal = frame(b'E', b"SFATAL\0VFATAL\0C53300\0Mtoo many clients\0\0");
    let failure = against(&[&refusal]).await.unwrap_err();
    let Failure::Refused { sqlstate, message } = failure else { panic!("{failure:?}") };
    assert_eq!((sqlstate.as_str(), message.as_str()), ("53300", "too many clients"));
}
