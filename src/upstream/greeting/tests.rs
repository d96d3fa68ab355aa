//! Start-ups without sockets. With sockets, and by servers that don't behave: `handshake/tests.rs`.

use crate::identity::directory::{AgentSource, Directory};
use crate::identity::scram::client::Keys;
use crate::identity::scram::{Mechanism, Verifier};

use super::*;

fn role() -> RoleSettings {
    RoleSettings { name: String::new(), user: "ana".into(), password: "IX".into() }
}

fn greeting(role: &RoleSettings, standing: Standing) -> Greeting<'_> {
    Greeting::new(Terms {
        role,
        standing,
        end_point: None,
        channel_binding: ChannelBinding::Prefer,
        minor: NEWEST_MINOR,
        nonce: [7; NONCE_LENGTH],
    })
}

fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
    Frame::new(tag, body.to_vec()).to_bytes().to_vec()
}

fn authentication(method: u32, body: &[u8]) -> Vec<u8> {
    frame(b'R', &[&method.to_be_bytes(), body].concat())
}

fn notice(message: &str) -> Vec<u8> {
    frame(b'N', format!("SWARNING\0VWARNING\0C01000\0M{message}\0\0").as_bytes())
}

#[test]
fn a_server_that_knows_the_password_too_lets_us_in_byte_by_byte() {
    let verifier = Verifier::from_password("IX", b"0123456789abcdef", 4096);
    let text = format!("name = \"ana\"\nkind = \"human\"\n[auth]\nscram = \"{verifier}\"\n");
    let directory = Directory::build(&[AgentSource { path: "ana.toml".into(), text }]).unwrap();
    let mut server = directory.scram("ana", None);
    let (role, mut out) = (role(), BytesMut::new());
    let mut greeting = greeting(&role, Standing::Plain);
    let mut say = |greeting: &mut Greeting<'_>, bytes: &[u8]| {
        let mut input = BytesMut::new();
        for byte in bytes {
            input.extend_from_slice(&[*byte]);
            match greeting.receive(&mut input, &mut out).unwrap() {
                Progress::More => {}
                Progress::Challenged(challenge) => {
                    let keys = Keys::derive("IX", challenge.salt(), challenge.iterations());
                    greeting.answer(challenge, &keys, &mut out).unwrap();
                }
                Progress::Ready(settled) => return Err(settled),
            }
        }
        Ok(Frame::decode(Leg::Frontend, &mut out).unwrap().map(|frame| frame.body))
    };
    let first = say(&mut greeting, &authentication(10, b"SCRAM-SHA-256\0\0")).unwrap().unwrap();
    let first = first.strip_prefix(b"SCRAM-SHA-256\0").unwrap();
    let challenge = server.first(Mechanism::Scram, &first[4..]).unwrap();
    let last = say(&mut greeting, &authentication(11, &challenge)).unwrap().unwrap();
    let (proof, _) = server.finish(&last).unwrap();
    assert_eq!(say(&mut greeting, &authentication(12, &proof)).unwrap(), None);
    let settled = say(&mut greeting, &[authentication(0, b""), frame(b'Z', b"I")].concat()).unwrap_err();
    assert_eq!((settled.parameters.len(), settled.key), (0, None));
}

#[test]
fn what_a_server_remarks_is_kept_once_it_has_let_us_in() {
    let role = role();
    let many: Vec<u8> = (0..100).flat_map(|number| notice(&format!("inside {number}"))).collect();
    let said = [notice("outside"), authentication(0, b""), many, frame(b'Z', b"I")].concat();
    let (mut input, mut out) = (BytesMut::from(&said[..]), BytesMut::new());
    let progress = greeting(&role, Standing::Local).receive(&mut input, &mut out).unwrap();
    let Progress::Ready(Settled { notices, .. }) = progress else { panic!("{progress:?}") };
    assert_eq!((notices.len(), notices[0].message()), (MOST_NOTICES, "inside 0"));
}

#[test]
fn what_comes_behind_ready_for_query_is_the_sessions() {
    let role = role();
    let behind = notice("behind");
    let said = [authentication(0, b""), frame(b'Z', b"I"), behind.clone()].concat();
    let mut input = BytesMut::from(&said[..]);
    let progress = greeting(&role, Standing::Local).receive(&mut input, &mut BytesMut::new()).unwrap();
    assert!(matches!(progress, Progress::Ready(_)));
    assert_eq!(input, behind);
}

#[test]
fn every_message_has_its_place_in_a_start_up_or_none() {
    let role = role();
    for kind in MessageType::ALL {
        let in_place = match kind {
            MessageType::Authentication
            | MessageType::NegotiateProtocolVersion
            | MessageType::NoticeResponse
            | MessageType::ErrorResponse => true,
            MessageType::BackendKeyData
            | MessageType::ParameterStatus
            | MessageType::ReadyForQuery
            | MessageType::ParseComplete
            | MessageType::BindComplete
            | MessageType::CloseComplete
            | MessageType::NotificationResponse
            | MessageType::CommandComplete
            | MessageType::DataRow
            | MessageType::CopyInResponse
            | MessageType::CopyOutResponse
            | MessageType::EmptyQueryResponse
            | MessageType::RowDescription
            | MessageType::FunctionCallResponse
            | MessageType::CopyBothResponse
            | MessageType::CopyDone
            | MessageType::CopyData
            | MessageType::NoData
            | MessageType::PortalSuspended
            | MessageType::ParameterDescription => false,
        };
        let mut input = BytesMut::from(&frame(kind.tag(), b"")[..]);
        let answered = greeting(&role, Standing::Local).receive(&mut input, &mut BytesMut::new());
        assert_eq!(in_place, answered.err() != Some(unexpected(kind.tag())), "{kind:?}");
    }
}
