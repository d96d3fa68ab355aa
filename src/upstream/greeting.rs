//! The start-up of an upstream session as a pure state machine over bytes: authentication, parameters, the first
//! ReadyForQuery. Source: PostgreSQL documentation, "Message Flow: Start-up" and "Protocol Versions".
//!
//! It opens no socket, reads no clock and throws no dice: the nonce comes with the [`Terms`], and the keys of a password,
//! which take milliseconds by design, are asked of the caller. Protocol extensions (`_pq_.`) are never asked for.
//!
//! ```
//! use bytes::BytesMut;
//! use portcullis::upstream::greeting::{Greeting, Progress, Standing, Terms};
//! use portcullis::upstream::{ChannelBinding, RoleSettings};
//!
//! let role = RoleSettings { name: String::new(), user: "u".into(), password: String::new() };
//! let mut greeting = Greeting::new(Terms {
//!     role: &role,
//!     standing: Standing::Local,
//!     end_point: None,
//!     channel_binding: ChannelBinding::Prefer,
//!     minor: 2,
//!     nonce: [0; 18],
//! });
//! let mut server = BytesMut::from(&b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I"[..]);
//! let progress = greeting.receive(&mut server, &mut BytesMut::new())?;
//! assert!(matches!(progress, Progress::Ready(_)));
//! # Ok::<(), portcullis::upstream::greeting::GreetingError>(())
//! ```

mod authentication;

use std::fmt;

use bytes::{Bytes, BytesMut};

use crate::identity::scram::client::{Challenge, Client, Expected, NONCE_LENGTH};
use crate::protocol::backend::{ErrorFields, MessageType};
use crate::protocol::body::{Body, BodyError};
use crate::protocol::frame::{Frame, Leg};
use crate::protocol::results::{TransactionStatus, parameter_status};

use super::settings::{ChannelBinding, RoleSettings};
use authentication::Request;

/// What is known before a word is said.
#[derive(Debug, Clone)]
pub struct Terms<'a> {
    /// Who logs in.
    pub role: &'a RoleSettings,
    /// How sure the gateway is of the server.
    pub standing: Standing,
    /// What SCRAM can be bound to; `None` without TLS, or where the certificate has no such thing.
    pub end_point: Option<Vec<u8>>,
    /// Whether it must be.
    pub channel_binding: ChannelBinding,
    /// The minor version of protocol 3 that was asked for.
    pub minor: u16,
    /// Random bytes, never used before.
    pub nonce: [u8; NONCE_LENGTH],
}

/// How sure the gateway is of a server that has not authenticated yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is on this machine, and the operator has asked for nothing more.
    Local,
    /// An authority vouches for it.
    Verified {
        /// Whether it could ask us for a certificate.
        certified: bool,
    },
    /// What is said is encrypted, for whoever is there.
    Encrypted,
    /// It is somewhere, and anybody may listen in.
    Plain,
}

/// A session that is not ready yet.
#[derive(Debug)]
pub struct Greeting<'a> {
    terms: Terms<'a>,
    /// The minor version in force, as far as it is known.
    minor: u16,
    state: State,
    settled: Settled,
}

/// Where a start-up has come to.
#[derive(Debug)]
pub enum Progress {
    /// More bytes are needed, after what waits for the server has been sent.
    More,
    /// The server wants to see that the password is known: [`Greeting::answer`] goes on.
    Challenged(Challenge),
    /// The session is ready for queries.
    Ready(Settled),
}

/// What a server has told of a session.
#[derive(Debug, Default)]
pub struct Settled {
    /// What it reported, in its own order.
    pub parameters: Vec<(String, String)>,
    /// By what it can be asked to cancel; `None` where it gave nothing.
    pub key: Option<BackendKey>,
    /// What it had to remark once it had let us in, but no more than a few.
    pub notices: Vec<ErrorFields>,
}

/// What BackendKeyData said: a password for cancelling, never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct BackendKey {
    /// The server's process number.
    pub process: u32,
    /// The key: 4 bytes in protocol 3.0, 4 to 256 since 3.2.
    pub secret: Bytes,
}

/// Why there is no session.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum GreetingError {
    /// The server refused.
    #[error("{} ({})", .0.message(), .0.sqlstate())]
    Refused(Box<ErrorFields>),
    /// The server broke the protocol, or asked for what the gateway does not do.
    #[error("{what}")]
    Protocol {
        /// What it did.
        what: String,
    },
}

#[derive(Debug)]
enum State {
    /// The first authentication message is to come, and before it perhaps an older version.
    Version,
    /// The first authentication message is to come.
    Request,
    /// SCRAM: the server's challenge is to come.
    Challenge(Client),
    /// SCRAM: our answer is to come.
    Answer,
    /// SCRAM: the server's own proof is to come.
    Proof(Expected),
    /// AuthenticationOk is to come.
    Ok,
    /// Everything else up to ReadyForQuery.
    Settling,
    /// The session is ready, or never will be.
    Over,
}

/// What one message came to.
enum Step {
    Next(State),
    Stop(State, Progress),
}

impl<'a> Greeting<'a> {
    /// A start-up whose first packet has been sent.
    #[must_use]
    pub fn new(terms: Terms<'a>) -> Self {
        Self { minor: terms.minor, terms, state: State::Version, settled: Settled::default() }
    }

    /// Reads what the server has sent in `input`, up to ReadyForQuery and no further, and appends what it gets to `out`.
    ///
    /// # Errors
    /// When the server refuses, breaks the protocol, or asks for what it must not have. Then there is no session.
    pub fn receive(&mut self, input: &mut BytesMut, out: &mut BytesMut) -> Result<Progress, GreetingError> {
        while let Some(frame) = next(input)? {
            match MessageType::of(frame.tag) {
                Some(MessageType::NoticeResponse) => self.notice(frame.body)?,
                Some(MessageType::ErrorResponse) => {
                    self.state = State::Over;
                    let fields = ErrorFields::parse(frame.body).map_err(invalid)?;
                    return Err(GreetingError::Refused(Box::new(fields)));
                }
                _ => match self.step(frame, out)? {
                    Step::Next(state) => self.state = state,
                    Step::Stop(state, progress) => {
                        self.state = state;
                        return Ok(progress);
                    }
                },
            }
        }
        Ok(Progress::More)
    }

    fn step(&mut self, frame: Frame, out: &mut BytesMut) -> Result<Step, GreetingError> {
        let Frame { tag, body } = frame;
        match std::mem::replace(&mut self.state, State::Over) {
            State::Version if MessageType::of(tag) == Some(MessageType::NegotiateProtocolVersion) => {
                self.minor = older_version(body, self.minor)?;
                Ok(Step::Next(State::Request))
            }
            State::Version | State::Request => self.terms.begin(request(tag, body)?, out).map(Step::Next),
            State::Challenge(client) => {
                let challenge = authentication::challenge(client, request(tag, body)?)?;
                Ok(Step::Stop(State::Answer, Progress::Challenged(challenge)))
            }
            State::Proof(expected) => {
                authentication::proof(expected, request(tag, body)?)?;
                Ok(Step::Next(State::Ok))
            }
            State::Ok => {
                authentication::ok(&request(tag, body)?)?;
                Ok(Step::Next(State::Settling))
            }
            State::Settling => self.settle(tag, body),
            State::Answer | State::Over => Err(unexpected(tag)),
        }
    }

    /// Everything from AuthenticationOk to ReadyForQuery.
    fn settle(&mut self, tag: u8, body: Bytes) -> Result<Step, GreetingError> {
        let Settled { parameters, key, .. } = &mut self.settled;
        match MessageType::of(tag) {
            Some(MessageType::ParameterStatus) if parameters.len() < MOST_PARAMETERS => {
                parameters.push(parameter_status(body).map_err(invalid)?);
            }
            Some(MessageType::BackendKeyData) if key.is_none() => *key = Some(backend_key(body, self.minor)?),
            Some(MessageType::ReadyForQuery) => {
                return match TransactionStatus::parse(&body).map_err(invalid)? {
                    TransactionStatus::Idle => {
                        Ok(Step::Stop(State::Over, Progress::Ready(std::mem::take(&mut self.settled))))
                    }
                    TransactionStatus::Active | TransactionStatus::Failed => {
                        Err(out_of_order("an open transaction"))
                    }
                };
            }
            _ => return Err(unexpected(tag)),
        }
        Ok(Step::Next(State::Settling))
    }

    /// Before the server has proved who it is, anybody may have remarked it (CVE-2024-10977).
    fn notice(&mut self, body: Bytes) -> Result<(), GreetingError> {
        let fields = ErrorFields::parse(body).map_err(invalid)?;
        if matches!(self.state, State::Settling) && self.settled.notices.len() < MOST_NOTICES {
            self.settled.notices.push(fields);
        }
        Ok(())
    }
}

/// The next frame, if it is there.
fn next(input: &mut BytesMut) -> Result<Option<Frame>, GreetingError> {
    let announced =
        input.get(1..).and_then(|rest| rest.first_chunk()).map(|&length| u32::from_be_bytes(length));
    if announced.is_some_and(|length| length > MOST_BYTES) {
        return Err(protocol("it sent a message that is too long"));
    }
    Frame::decode(Leg::Backend, input).map_err(|error| protocol(error.to_string()))
}

fn request(tag: u8, body: Bytes) -> Result<Request, GreetingError> {
    match MessageType::of(tag) {
        Some(MessageType::Authentication) => Request::parse(body).map_err(invalid),
        _ => Err(unexpected(tag)),
    }
}

/// NegotiateProtocolVersion: the newest minor version that the server has. Some write the whole version there.
fn older_version(body: Bytes, asked: u16) -> Result<u16, GreetingError> {
    let mut body = Body::new(body);
    let version = body.u32("the protocol version").map_err(invalid)?;
    let unknown = body.u32("the number of unknown extensions").map_err(invalid)?;
    let [major, minor] =
        [version >> 16, version & 0xffff].map(|half| u16::try_from(half).unwrap_or(u16::MAX));
    if ![0, MAJOR].contains(&major) || minor >= asked || unknown != 0 {
        let what = format!("it negotiates what was not asked for: 3.{asked} became {major}.{minor}");
        return Err(protocol(what));
    }
    Ok(minor)
}

/// BackendKeyData: 4 bytes in protocol 3.0, 4 to 256 since 3.2.
fn backend_key(body: Bytes, minor: u16) -> Result<BackendKey, GreetingError> {
    let mut body = Body::new(body);
    let process = body.u32("the process number").map_err(invalid)?;
    // A copy: what was read with it must not stay in memory for as long as the session.
    let secret = Bytes::copy_from_slice(&body.rest());
    let longest = if minor < LONG_KEYS { SHORTEST_KEY } else { LONGEST_KEY };
    if !(SHORTEST_KEY..=longest).contains(&secret.len()) {
        let what =
            format!("it sent a cancel key of {} bytes, which protocol 3.{minor} does not have", secret.len());
        return Err(protocol(what));
    }
    Ok(BackendKey { process, secret })
}

fn protocol(what: impl Into<String>) -> GreetingError {
    GreetingError::Protocol { what: what.into() }
}

fn invalid(error: BodyError) -> GreetingError {
    protocol(error.to_string())
}

fn out_of_order(what: &str) -> GreetingError {
    protocol(format!("it sent {what} out of order"))
}

fn unexpected(tag: u8) -> GreetingError {
    protocol(format!("it sent a message of type `{}`", tag.escape_ascii()))
}

impl fmt::Debug for BackendKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BackendKey({})", self.process)
    }
}

/// The major version of the protocol.
pub(super) const MAJOR: u16 = 3;
/// PostgreSQL 18. There is no 3.1: a pooler used it for itself.
pub(super) const NEWEST_MINOR: u16 = 2;
/// Since this minor version cancel keys may be longer than 4 bytes.
const LONG_KEYS: u16 = 2;
const SHORTEST_KEY: usize = 4;
const LONGEST_KEY: usize = 256;
/// libpq's own cap on messages before authentication is 30,000.
const MOST_BYTES: u32 = 64 * 1024;
/// PostgreSQL 18 reports 16.
const MOST_PARAMETERS: usize = 256;
/// PostgreSQL has two or three to make: of a collation's version, of a password that expires.
const MOST_NOTICES: usize = 16;

#[cfg(test)]
mod tests;
