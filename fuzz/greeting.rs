//! A server that says whatever it likes while a session is opened on it. The first byte of an input says what the gateway
//! knows of it: where it is, whether TLS can be bound to and must be, whether there is a password, and the protocol's
//! version. The rest is what the server says.

use bytes::BytesMut;
use portcullis::identity::scram::client::Keys;
use portcullis::protocol::frame::{Frame, Leg};
use portcullis::upstream::greeting::{Greeting, GreetingError, Progress, Settled, Standing, Terms};
use portcullis::upstream::{ChannelBinding, RoleSettings};

/// No server may make the gateway panic, show its password to whom it must not, or believe that a session is open which
/// nobody has opened. And however its bytes are sliced, they mean the same.
pub(super) fn run(data: &[u8]) {
    let Some((&known, said)) = data.split_first() else { return };
    let whole = Play::new(known).hear(said.chunks(said.len().max(1)));
    for size in [1, 7] {
        assert_eq!(Play::new(known).hear(said.chunks(size)), whole, "in pieces of {size} bytes");
    }
    whole.check(known, said);
}

struct Play {
    role: RoleSettings,
    known: u8,
}

/// What a server's words came to.
#[derive(Debug, PartialEq)]
struct Heard {
    /// The session; `None` where more was to come.
    outcome: Option<Result<Opened, GreetingError>>,
    /// What the server was told.
    told: BytesMut,
    /// What it has said behind its ReadyForQuery.
    behind: usize,
}

#[derive(Debug, PartialEq)]
struct Opened {
    parameters: Vec<(String, String)>,
    key_bytes: Option<usize>,
    notices: usize,
}

impl Play {
    fn new(known: u8) -> Self {
        let password = if known & NO_PASSWORD == 0 { PASSWORD } else { "" };
        Self {
            role: RoleSettings { name: String::new(), user: "u".into(), password: password.into() },
            known,
        }
    }

    fn terms(&self) -> Terms<'_> {
        Terms {
            role: &self.role,
            standing: standing(self.known),
            end_point: (self.known & END_POINT != 0).then(|| vec![b'e'; 32]),
            channel_binding: match self.known & REQUIRED {
                0 => ChannelBinding::Prefer,
                _ => ChannelBinding::Require,
            },
            minor: if self.known & OLD == 0 { 2 } else { 0 },
            nonce: [b'n'; 18],
        }
    }

    fn hear<'a>(&self, said: impl Iterator<Item = &'a [u8]>) -> Heard {
        let mut greeting = Greeting::new(self.terms());
        let (mut input, mut told) = (BytesMut::new(), BytesMut::new());
        let mut outcome = None;
        for piece in said {
            input.extend_from_slice(piece);
            while outcome.is_none() {
                match greeting.receive(&mut input, &mut told) {
                    Ok(Progress::More) => break,
                    Ok(Progress::Challenged(challenge)) => {
                        // What it asks for is bounded; hashing that often would keep the fuzzer from its work.
                        let keys = Keys::derive(PASSWORD, challenge.salt(), challenge.iterations().min(16));
                        greeting.answer(challenge, &keys, &mut told).expect("an answer");
                    }
                    Ok(Progress::Ready(settled)) => outcome = Some(Ok(Opened::of(settled))),
                    Err(error) => outcome = Some(Err(error)),
                }
            }
        }
        let behind = if matches!(outcome, Some(Ok(_))) { input.len() } else { 0 };
        Heard { outcome, told, behind }
    }
}

impl Opened {
    fn of(settled: Settled) -> Self {
        Self {
            parameters: settled.parameters,
            key_bytes: settled.key.map(|key| key.secret.len()),
            notices: settled.notices.len(),
        }
    }
}

impl Heard {
    fn check(&self, known: u8, said: &[u8]) {
        let mut told = self.told.clone();
        let mut messages = Vec::new();
        while let Some(Frame { tag, body }) = Frame::decode(Leg::Frontend, &mut told).expect("messages") {
            assert_eq!(tag, b'p', "nothing but passwords is said here");
            messages.push(body);
        }
        assert!(told.is_empty() && messages.len() <= 2);
        let is_scram = messages.first().is_some_and(|first| first.starts_with(b"SCRAM-SHA-256"));
        let trusts = match standing(known) {
            Standing::Local | Standing::Verified { .. } => known & REQUIRED == 0,
            Standing::Encrypted | Standing::Plain => false,
        };
        assert!(messages.is_empty() || is_scram || trusts, "it was shown a password: {messages:?}");
        if let Some(Ok(opened)) = &self.outcome {
            assert!(trusts || (is_scram && messages.len() == 2), "nobody has proved anything");
            assert!(opened.key_bytes.is_none_or(|bytes| (4..=256).contains(&bytes)));
            assert!(opened.parameters.len() <= 256 && opened.notices <= 16);
            assert!(self.behind < said.len());
        }
    }
}

fn standing(known: u8) -> Standing {
    match known & STANDING {
        0 => Standing::Local,
        1 => Standing::Verified { certified: false },
        2 => Standing::Verified { certified: true },
        3 => Standing::Encrypted,
        _ => Standing::Plain,
    }
}

const STANDING: u8 = 0x07;
const END_POINT: u8 = 0x08;
const REQUIRED: u8 = 0x10;
const NO_PASSWORD: u8 = 0x20;
const OLD: u8 = 0x40;

const PASSWORD: &str = "correct horse";
