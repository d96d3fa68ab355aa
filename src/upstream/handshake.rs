//! The start-up of an upstream session: StartupMessage, authentication, parameters, the first ReadyForQuery.
//! Source: PostgreSQL documentation, "Message Flow: Start-up"; RFC 5802 and RFC 7677 for SCRAM.
//!
//! SCRAM proves both sides to each other. A server that asks for less (MD5, or nothing at all) proves nothing, so that
//! is accepted from this very machine only; a password in clear text is never sent.

use std::io;

use bytes::{Bytes, BytesMut};
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use postgres_protocol::message::frontend;

use crate::protocol::backend::ErrorFields;
use crate::protocol::body::{Body, BodyError};
use crate::protocol::frame::Frame;
use crate::protocol::results::{TransactionStatus, parameter_status};

use super::link::{BackendKey, Canceller, Line, LinkError};
use super::socket::Address;
use super::{DatabaseSettings, RoleSettings};

/// A session that has said ReadyForQuery.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) line: Line,
    pub(super) canceller: Canceller,
    pub(super) parameters: Vec<(String, String)>,
}

/// Why there is no session.
#[derive(Debug)]
pub(super) enum Failure {
    Io(io::Error),
    Refused { sqlstate: String, message: String },
    Protocol(String),
}

/// Opens a session of `role` with `parameters`. Unbounded in time: the caller sets the deadline.
pub(super) async fn open(
    database: &DatabaseSettings,
    role: &RoleSettings,
    parameters: &[(&'static str, String)],
) -> Result<Opened, Failure> {
    let (address, socket) = Address::find(&database.host, database.port).await.map_err(Failure::Io)?;
    let mut starting = Starting { line: Line::new(socket), local: address.is_local() };
    let pairs = parameters.iter().map(|(name, value)| (*name, value.as_str()));
    starting.send(|packet| frontend::startup_message(pairs, packet)).await?;
    starting.authenticate(role).await?;
    let (parameters, key) = starting.settle().await?;
    for (name, needed) in NEEDED {
        if !parameters.iter().any(|(given, value)| given == name && value == needed) {
            return Err(Failure::Protocol(format!("it did not confirm `{name}` = `{needed}`")));
        }
    }
    Ok(Opened { line: starting.line, canceller: Canceller::new(address, key), parameters })
}

/// A session that is not ready yet.
struct Starting {
    line: Line,
    local: bool,
}

/// What an authentication message says.
enum Request {
    Ok,
    Md5 { salt: [u8; 4] },
    Sasl { mechanisms: Bytes },
    SaslContinue(Bytes),
    SaslFinal(Bytes),
    Other(u32),
}

impl Starting {
    async fn authenticate(&mut self, role: &RoleSettings) -> Result<(), Failure> {
        match self.request().await? {
            Request::Sasl { mechanisms } => self.scram(&mechanisms, role).await,
            Request::Ok if self.local => Ok(()),
            Request::Md5 { salt } if self.local => {
                let hash = md5_hash(role.user.as_bytes(), role.password.as_bytes(), salt);
                self.send(|packet| frontend::password_message(hash.as_bytes(), packet)).await?;
                self.expect_ok().await
            }
            Request::Ok => Err(refused_method("no password")),
            Request::Md5 { .. } => Err(refused_method("an MD5 password")),
            Request::Other(CLEARTEXT) => Err(refused_method("a password in clear text")),
            Request::Other(method) => Err(refused_method(&format!("authentication method {method}"))),
            Request::SaslContinue(_) | Request::SaslFinal(_) => Err(out_of_order("an answer of SCRAM")),
        }
    }

    async fn scram(&mut self, mechanisms: &Bytes, role: &RoleSettings) -> Result<(), Failure> {
        if !mechanisms.split(|&byte| byte == 0).any(|name| name == SCRAM_SHA_256.as_bytes()) {
            return Err(refused_method("SASL without SCRAM-SHA-256"));
        }
        let mut scram = ScramSha256::new(role.password.as_bytes(), ChannelBinding::unsupported());
        self.send(|packet| frontend::sasl_initial_response(SCRAM_SHA_256, scram.message(), packet)).await?;
        let Request::SaslContinue(challenge) = self.request().await? else {
            return Err(out_of_order("something else than a SCRAM challenge"));
        };
        check_iterations(&challenge)?;
        // Hashing takes milliseconds by design, so it is kept off the threads that serve everybody.
        let mut scram = tokio::task::spawn_blocking(move || scram.update(&challenge).map(|()| scram))
            .await
            .map_err(|error| Failure::Io(io::Error::other(error)))?
            .map_err(|error| Failure::Protocol(format!("its SCRAM challenge is invalid: {error}")))?;
        self.send(|packet| frontend::sasl_response(scram.message(), packet)).await?;
        let Request::SaslFinal(proof) = self.request().await? else {
            return Err(out_of_order("something else than its own SCRAM proof"));
        };
        scram.finish(&proof).map_err(|error| {
            Failure::Protocol(format!("it can't prove that it knows the password: {error}"))
        })?;
        self.expect_ok().await
    }

    async fn expect_ok(&mut self) -> Result<(), Failure> {
        match self.request().await? {
            Request::Ok => Ok(()),
            Request::Md5 { .. }
            | Request::Sasl { .. }
            | Request::SaslContinue(_)
            | Request::SaslFinal(_)
            | Request::Other(_) => Err(out_of_order("a second authentication request")),
        }
    }

    /// The next authentication message.
    async fn request(&mut self) -> Result<Request, Failure> {
        loop {
            let Frame { tag, body } = self.receive().await?;
            match tag {
                b'R' => return Request::parse(body).map_err(|error| Failure::Protocol(error.to_string())),
                b'N' => {}
                b'v' => return Err(Failure::Protocol("it does not speak protocol 3.0".to_owned())),
                tag => return Err(unexpected(tag)),
            }
        }
    }

    /// Everything from AuthenticationOk to ReadyForQuery.
    async fn settle(&mut self) -> Result<(Vec<(String, String)>, Option<BackendKey>), Failure> {
        let mut parameters = Vec::new();
        let mut key = None;
        loop {
            let Frame { tag, body } = self.receive().await?;
            let invalid = |error: BodyError| Failure::Protocol(error.to_string());
            match tag {
                b'S' if parameters.len() < MOST_PARAMETERS => {
                    parameters.push(parameter_status(body).map_err(invalid)?);
                }
                b'K' => {
                    let mut body = Body::new(body);
                    let process = body.u32("the process number").map_err(invalid)?;
                    key = Some(BackendKey { process, secret: body.rest() });
                }
                b'Z' => match TransactionStatus::parse(&body).map_err(invalid)? {
                    TransactionStatus::Idle => return Ok((parameters, key)),
                    TransactionStatus::Active | TransactionStatus::Failed => {
                        return Err(out_of_order("an open transaction"));
                    }
                },
                b'N' => {}
                tag => return Err(unexpected(tag)),
            }
        }
    }

    /// The next frame that is no error.
    async fn receive(&mut self) -> Result<Frame, Failure> {
        let frame = self.line.receive_within(MOST_BYTES).await.map_err(Failure::from)?;
        let frame =
            frame.ok_or_else(|| Failure::Protocol("it sent a message that is too long".to_owned()))?;
        if frame.tag != b'E' {
            return Ok(frame);
        }
        let error = ErrorFields::parse(frame.body).map_err(|error| Failure::Protocol(error.to_string()))?;
        Err(Failure::Refused { sqlstate: error.sqlstate().to_owned(), message: error.message().to_owned() })
    }

    async fn send(&mut self, fill: impl FnOnce(&mut BytesMut) -> io::Result<()>) -> Result<(), Failure> {
        let mut packet = BytesMut::new();
        fill(&mut packet).map_err(Failure::Io)?;
        Ok(self.line.send_bytes(packet).await?)
    }
}

impl Request {
    fn parse(body: Bytes) -> Result<Self, BodyError> {
        let mut body = Body::new(body);
        match body.u32("the authentication method")? {
            0 => Ok(Self::Ok),
            5 => {
                let field = "the salt";
                let salt = body.take(4, field)?;
                let salt = salt.first_chunk().copied().ok_or(BodyError::Short { field })?;
                Ok(Self::Md5 { salt })
            }
            10 => Ok(Self::Sasl { mechanisms: body.rest() }),
            11 => Ok(Self::SaslContinue(body.rest())),
            12 => Ok(Self::SaslFinal(body.rest())),
            method => Ok(Self::Other(method)),
        }
    }
}

/// A server could keep us hashing for hours: the count is its to choose.
fn check_iterations(challenge: &[u8]) -> Result<(), Failure> {
    let iterations = challenge
        .split(|&byte| byte == b',')
        .find_map(|attribute| attribute.strip_prefix(b"i="))
        .and_then(|digits| std::str::from_utf8(digits).ok())
        .and_then(|digits| digits.parse::<u32>().ok());
    match iterations {
        Some(1..=MOST_ITERATIONS) => Ok(()),
        Some(iterations) => Err(Failure::Protocol(format!(
            "it asks for {iterations} SCRAM iterations; 1 to {MOST_ITERATIONS} are accepted"
        ))),
        None => Err(Failure::Protocol("its SCRAM challenge has no iteration count".to_owned())),
    }
}

fn refused_method(what: &str) -> Failure {
    Failure::Protocol(format!("it asks for {what}, and the gateway accepts SCRAM-SHA-256 only"))
}

fn out_of_order(what: &str) -> Failure {
    Failure::Protocol(format!("it sent {what} out of order"))
}

fn unexpected(tag: u8) -> Failure {
    Failure::Protocol(format!("it sent a message of type `{}`", tag.escape_ascii()))
}

impl From<LinkError> for Failure {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::Closed => Self::Io(io::ErrorKind::UnexpectedEof.into()),
            LinkError::Io(error) => Self::Io(error),
            LinkError::Protocol { what } => Self::Protocol(what),
            LinkError::TooLong { .. } => Self::Protocol(error.to_string()),
        }
    }
}

const CLEARTEXT: u32 = 3;
/// PostgreSQL's default is 4096.
const MOST_ITERATIONS: u32 = 1_000_000;
/// libpq's own cap on messages before authentication is 30,000.
const MOST_BYTES: usize = 64 * 1024;
/// PostgreSQL 18 reports 16.
const MOST_PARAMETERS: usize = 256;
/// What the grammar that judges takes for granted.
const NEEDED: [(&str, &str); 2] = [("client_encoding", "UTF8"), ("standard_conforming_strings", "on")];

#[cfg(test)]
mod tests;
