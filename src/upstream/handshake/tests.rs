//! Start-ups against servers that don't behave. Real ones are in `tests/it/upstream`.

use crate::protocol::frame::Frame;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::super::greeting::NEWEST_MINOR;
use super::super::settings::ChannelBinding;
use super::*;

/// Opens a session on a server that says `script`, one piece for each message that it gets, and then hangs up.
async fn against(script: &[&[u8]]) -> Result<Opened, Failure> {
    altered(script, |_| {}).await
}

/// As [`against`], with other settings.
async fn altered(script: &[&[u8]], alter: impl FnOnce(&mut DatabaseSettings)) -> Result<Opened, Failure> {
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
    let mut database = DatabaseSettings::new("d".into(), "127.0.0.1".into(), port, "d".into(), role);
    alter(&mut database);
    let parameters = [("user".to_owned(), "u".to_owned())];
    let opened = open(&Terms {
        database: &database,
        role: &database.service,
        keys: &KeyRing::default(),
        parameters: &parameters,
        minor: NEWEST_MINOR,
        reading: Reading::AsTheJudgeDoes,
    })
    .await;
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
async fn a_local_server_may_ask_for_a_password_in_any_way() {
    let ready = ready(&AS_NEEDED);
    for request in [&b"\0\0\0\x03"[..], b"\0\0\0\x05salt"] {
        assert!(against(&[&frame(b'R', request), &ready]).await.is_ok(), "{request:?}");
    }
    let without_password = |database: &mut DatabaseSettings| database.service.password.clear();
    let what = protocol(altered(&[&frame(b'R', b"\0\0\0\x03")], without_password).await);
    assert_eq!(
        what,
        "it asks for a password in clear text of role `u`, and the gateway has none of that role"
    );
    let what = protocol(altered(&[&frame(b'R', OFFER)], without_password).await);
    assert_eq!(what, "it asks for a SCRAM password of role `u`, and the gateway has none of that role");
}

#[tokio::test]
async fn nothing_less_than_a_binding_will_do_where_one_is_required() {
    let require = |database: &mut DatabaseSettings| database.channel_binding = ChannelBinding::Require;
    for (request, what) in [
        (&b"\0\0\0\0"[..], "it asks for no password, and channel binding is required"),
        (b"\0\0\0\x03", "it asks for a password in clear text, and channel binding is required"),
        (b"\0\0\0\x05salt", "it asks for an MD5 password, and channel binding is required"),
        (OFFER, "it offers no channel binding, and that is required"),
        (b"\0\0\0\x0aSCRAM-SHA-256-PLUS\0\0", "it offers no channel binding, and that is required"),
    ] {
        assert_eq!(protocol(altered(&[&frame(b'R', request)], require).await), what);
    }
}

#[tokio::test]
async fn methods_that_are_not_known_are_refused() {
    let what = protocol(against(&[&frame(b'R', b"\0\0\0\x07")]).await);
    assert_eq!(what, "it asks for authentication method 7, which is not known");
    let what = protocol(against(&[&frame(b'R', b"\0\0\0\x0aOAUTHBEARER\0\0")]).await);
    assert_eq!(what, "it offers no SASL mechanism that the gateway knows");
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
    assert_eq!(what, "its SCRAM message is malformed: the nonce is not ours, extended");
    assert_eq!(
        protocol(against(&[&frame(b'R', b"\0\0\0\x0cv=AAAA")]).await),
        "it sent an answer of SCRAM out of order"
    );
}

#[tokio::test]
async fn a_server_that_asks_for_fifty_million_iterations_is_refused_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut heard = vec![0; 4096];
        assert!(socket.read(&mut heard).await.unwrap() > 8);
        socket.write_all(&frame(b'R', OFFER)).await.unwrap();
        let length = socket.read(&mut heard).await.unwrap();
        let first = String::from_utf8_lossy(&heard[..length]).into_owned();
        let nonce = first.rsplit_once("r=").unwrap().1;
        let challenge = format!("\0\0\0\x0br={nonce}more,s=QUFBQQ==,i=50000000");
        socket.write_all(&frame(b'R', challenge.as_bytes())).await.unwrap();
        socket.read(&mut heard).await.unwrap()
    });
    let role = RoleSettings { name: String::new(), user: "u".into(), password: "p".into() };
    let database = DatabaseSettings::new("d".into(), "127.0.0.1".into(), port, "d".into(), role);
    let target = super::super::target::Target::new(database.clone());
    let opened = target.open(&database.service, &[], Reading::AsTheJudgeDoes).await;
    assert_eq!(protocol(opened), "it asks for 50000000 SCRAM iterations; 1 to 1000000 are accepted");
    assert_eq!(server.await.unwrap(), 0, "it gets no answer, but the end of the connection");
}

#[tokio::test]
async fn an_older_server_negotiates_its_version_and_keeps_short_keys() {
    let table: [(&[u8], &str); 6] = [
        (b"\0\x03\0\0\0\0\0\0", ""),
        (b"\0\0\0\0\0\0\0\0", ""),
        (b"\0\x03\0\x02\0\0\0\0", "it negotiates what was not asked for: 3.2 became 3.2"),
        (b"\0\x04\0\0\0\0\0\0", "it negotiates what was not asked for: 3.2 became 4.0"),
        (b"\0\x03\0\0\0\0\0\x01_pq_.x\0", "it negotiates what was not asked for: 3.2 became 3.0"),
        (b"\0\x03", "the message ends in the middle of the protocol version"),
    ];
    for (body, what) in table {
        let answer = [frame(b'v', body), ready(&AS_NEEDED)].concat();
        match against(&[&answer]).await {
            Ok(_) => assert_eq!(what, "", "{body:?}"),
            Err(failure) => assert_eq!(protocol(Err(failure)), what),
        }
    }
    let twice = [frame(b'v', b"\0\x03\0\0\0\0\0\0"), frame(b'v', b"\0\x03\0\0\0\0\0\0")].concat();
    assert_eq!(protocol(against(&[&twice]).await), "it sent a message of type `v`");
}

#[tokio::test]
async fn a_cancel_key_has_the_length_of_its_protocol() {
    let with_key = |negotiated: &[u8], length: usize| {
        let key = [&b"\0\0\0\x01"[..], &vec![7; length]].concat();
        let ready = [("client_encoding", "UTF8"), ("standard_conforming_strings", "on")];
        let mut bytes = if negotiated.is_empty() { Vec::new() } else { frame(b'v', negotiated) };
        bytes.extend(frame(b'R', b"\0\0\0\0"));
        for (name, value) in ready {
            bytes.extend(frame(b'S', format!("{name}\0{value}\0").as_bytes()));
        }
        bytes.extend(frame(b'K', &key));
        bytes.extend(frame(b'Z', b"I"));
        bytes
    };
    for length in [4, 32, 256] {
        assert!(against(&[&with_key(b"", length)]).await.is_ok(), "{length}");
    }
    for length in [0, 3, 257, 4096] {
        let what = format!("it sent a cancel key of {length} bytes, which protocol 3.2 does not have");
        assert_eq!(protocol(against(&[&with_key(b"", length)]).await), what);
    }
    let what = "it sent a cancel key of 32 bytes, which protocol 3.0 does not have";
    assert_eq!(protocol(against(&[&with_key(b"\0\x03\0\0\0\0\0\0", 32)]).await), what);
}

#[tokio::test]
async fn what_stands_before_a_server_and_knows_no_negotiation_is_asked_for_the_old_protocol() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        let mut minors = Vec::new();
        for _ in 0..3 {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut heard = [0; 4096];
            assert!(socket.read(&mut heard).await.unwrap() > 8);
            minors.push(heard[7]);
            let answer = match heard[7] {
                0 => ready(&AS_NEEDED),
                _ => frame(b'E', b"SFATAL\0VFATAL\0C08P01\0Munsupported protocol version 3.2\0\0"),
            };
            socket.write_all(&answer).await.unwrap();
        }
        minors
    });
    let role = RoleSettings { name: String::new(), user: "u".into(), password: "p".into() };
    let database = DatabaseSettings::new("d".into(), "127.0.0.1".into(), port, "d".into(), role);
    let target = super::super::target::Target::new(database.clone());
    for _ in 0..2 {
        target.open(&database.service, &[], Reading::AsTheJudgeDoes).await.unwrap();
    }
    assert_eq!(server.await.unwrap(), [2, 0, 0], "asked once, and remembered");
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
    let Failure::Refused(answer) = failure else { panic!("{failure:?}") };
    assert_eq!((answer.sqlstate(), answer.message()), ("53300", "too many clients"));
}
