//! The start-up of an upstream session: StartupMessage, authentication, parameters, the first ReadyForQuery.
//! Source: PostgreSQL documentation, "Message Flow: Start-up" and "Protocol Versions".
//!
//! Protocol 3.2 is asked for, for its longer cancel keys; a server that knows 3.0 only says so, and that will do.
//! Protocol extensions (`_pq_.`) are never asked for.

mod authentication;

use std::io;

use bytes::{BufMut as _, Bytes, BytesMut};

use crate::protocol::backend::ErrorFields;
use crate::protocol::body::{Body, BodyError};
use crate::protocol::frame::Frame;
use crate::protocol::results::{TransactionStatus, parameter_status};

use super::keys::KeyRing;
use super::link::{BackendKey, Canceller, Line, LinkError};
use super::route::{Route, RouteError, Standing};
use super::settings::{DatabaseSettings, RoleSettings};
use authentication::Request;

/// What a session is opened with.
#[derive(Debug)]
pub(super) struct Terms<'a> {
    pub(super) database: &'a DatabaseSettings,
    pub(super) role: &'a RoleSettings,
    pub(super) keys: &'a KeyRing,
    /// The start-up parameters, in order.
    pub(super) parameters: &'a [(String, String)],
    /// The minor version of protocol 3 to ask for.
    pub(super) minor: u16,
    pub(super) reading: Reading,
}

/// How the server must read the bytes of statements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// As the grammar that judges does: in UTF-8, with standard strings.
    AsTheJudgeDoes,
    /// Nobody reads them but the server.
    AsTheClientSays,
}

/// A session that has said ReadyForQuery.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) line: Line,
    pub(super) canceller: Canceller,
    /// What the server reported, in its own order.
    pub(super) parameters: Vec<(String, String)>,
}

/// Why there is no session.
#[derive(Debug)]
pub(super) enum Failure {
    Io(io::Error),
    Tls(String),
    Refused(Box<ErrorFields>),
    Protocol(String),
}

/// Opens a session. Unbounded in time: the caller sets the deadline.
pub(super) async fn open(terms: &Terms<'_>) -> Result<Opened, Failure> {
    let (route, socket) = Route::find(terms.database).await?;
    let (standing, end_point) = (route.standing(), socket.end_point());
    let mut starting = Starting { line: Line::new(socket), standing, end_point, minor: terms.minor };
    starting.line.send_bytes(startup_packet(terms.minor, terms.parameters)?).await?;
    let request = starting.first_request().await?;
    starting.authenticate(request, terms).await?;
    let (parameters, key) = starting.settle().await?;
    if terms.reading == Reading::AsTheJudgeDoes {
        for (name, needed) in NEEDED {
            if !parameters.iter().any(|(given, value)| given == name && value == needed) {
                return Err(Failure::Protocol(format!("it did not confirm `{name}` = `{needed}`")));
            }
        }
    }
    Ok(Opened { line: starting.line, canceller: Canceller::new(route, key), parameters })
}

/// A session that is not ready yet.
#[derive(Debug)]
struct Starting {
    line: Line,
    standing: Standing,
    /// What SCRAM can be bound to; `None` without TLS, or where the certificate has no such thing.
    end_point: Option<Vec<u8>>,
    /// The minor version in force, as far as it is known.
    minor: u16,
}

impl Starting {
    /// The first authentication message, and before it perhaps an older version.
    async fn first_request(&mut self) -> Result<Request, Failure> {
        let Frame { tag, body } = self.next().await?;
        if tag != b'v' {
            return request(tag, body);
        }
        self.minor = older_version(body, self.minor)?;
        self.request().await
    }

    /// The next authentication message.
    async fn request(&mut self) -> Result<Request, Failure> {
        let Frame { tag, body } = self.next().await?;
        request(tag, body)
    }

    /// Everything from AuthenticationOk to ReadyForQuery.
    async fn settle(&mut self) -> Result<(Vec<(String, String)>, Option<BackendKey>), Failure> {
        let mut parameters = Vec::new();
        let mut key = None;
        loop {
            let Frame { tag, body } = self.next().await?;
            match tag {
                b'S' if parameters.len() < MOST_PARAMETERS => {
                    parameters.push(parameter_status(body).map_err(invalid)?);
                }
                b'K' if key.is_none() => key = Some(backend_key(body, self.minor)?),
                b'Z' => match TransactionStatus::parse(&body).map_err(invalid)? {
                    TransactionStatus::Idle => return Ok((parameters, key)),
                    TransactionStatus::Active | TransactionStatus::Failed => {
                        return Err(out_of_order("an open transaction"));
                    }
                },
                tag => return Err(unexpected(tag)),
            }
        }
    }

    /// The next frame that is neither an error nor a notice.
    async fn next(&mut self) -> Result<Frame, Failure> {
        loop {
            let frame = self.line.receive_within(MOST_BYTES).await?;
            let frame =
                frame.ok_or_else(|| Failure::Protocol("it sent a message that is too long".to_owned()))?;
            match frame.tag {
                b'N' => {}
                b'E' => {
                    return Err(Failure::Refused(Box::new(ErrorFields::parse(frame.body).map_err(invalid)?)));
                }
                _ => return Ok(frame),
            }
        }
    }

    async fn send(&mut self, fill: impl FnOnce(&mut BytesMut) -> io::Result<()>) -> Result<(), Failure> {
        let mut packet = BytesMut::new();
        fill(&mut packet).map_err(Failure::Io)?;
        Ok(self.line.send_bytes(packet).await?)
    }
}

fn request(tag: u8, body: Bytes) -> Result<Request, Failure> {
    match tag {
        b'R' => Request::parse(body).map_err(invalid),
        tag => Err(unexpected(tag)),
    }
}

/// A StartupMessage of protocol 3.
fn startup_packet(minor: u16, parameters: &[(String, String)]) -> Result<BytesMut, Failure> {
    let mut body = BytesMut::new();
    for part in parameters.iter().flat_map(|(name, value)| [name, value]) {
        if part.contains('\0') {
            return Err(Failure::Io(io::Error::other("a start-up parameter holds a NUL")));
        }
        body.put_slice(part.as_bytes());
        body.put_u8(0);
    }
    body.put_u8(0);
    let length =
        u32::try_from(body.len().saturating_add(8)).map_err(|error| Failure::Io(io::Error::other(error)))?;
    let mut packet = BytesMut::with_capacity(body.len().saturating_add(8));
    packet.put_u32(length);
    packet.put_u16(MAJOR);
    packet.put_u16(minor);
    packet.put_slice(&body);
    Ok(packet)
}

/// NegotiateProtocolVersion: the newest minor version that the server has. Some write the whole version there.
fn older_version(body: Bytes, asked: u16) -> Result<u16, Failure> {
    let mut body = Body::new(body);
    let version = body.u32("the protocol version").map_err(invalid)?;
    let unknown = body.u32("the number of unknown extensions").map_err(invalid)?;
    let [major, minor] =
        [version >> 16, version & 0xffff].map(|half| u16::try_from(half).unwrap_or(u16::MAX));
    if ![0, MAJOR].contains(&major) || minor >= asked || unknown != 0 {
        return Err(Failure::Protocol(format!(
            "it negotiates what was not asked for: 3.{asked} became {major}.{minor}"
        )));
    }
    Ok(minor)
}

/// BackendKeyData: 4 bytes in protocol 3.0, 4 to 256 since 3.2.
fn backend_key(body: Bytes, minor: u16) -> Result<BackendKey, Failure> {
    let mut body = Body::new(body);
    let process = body.u32("the process number").map_err(invalid)?;
    // A copy: what was read with it must not stay in memory for as long as the session.
    let secret = Bytes::copy_from_slice(&body.rest());
    let longest = if minor < LONG_KEYS { SHORTEST_KEY } else { LONGEST_KEY };
    if !(SHORTEST_KEY..=longest).contains(&secret.len()) {
        let what =
            format!("it sent a cancel key of {} bytes, which protocol 3.{minor} does not have", secret.len());
        return Err(Failure::Protocol(what));
    }
    Ok(BackendKey { process, secret })
}

fn invalid(error: BodyError) -> Failure {
    Failure::Protocol(error.to_string())
}

fn out_of_order(what: &str) -> Failure {
    Failure::Protocol(format!("it sent {what} out of order"))
}

fn unexpected(tag: u8) -> Failure {
    Failure::Protocol(format!("it sent a message of type `{}`", tag.escape_ascii()))
}

impl From<RouteError> for Failure {
    fn from(error: RouteError) -> Self {
        match error {
            RouteError::Io(error) => Self::Io(error),
            RouteError::Tls(what) => Self::Tls(what),
        }
    }
}

impl From<LinkError> for Failure {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::Closed => Self::Io(io::ErrorKind::UnexpectedEof.into()),
            // A server that refuses our certificate says so once the handshake is over (TLS 1.3).
            LinkError::Io(error) => RouteError::of_tls(error).into(),
            LinkError::Protocol { what } => Self::Protocol(what),
            LinkError::TooLong { .. } => Self::Protocol(error.to_string()),
        }
    }
}

const MAJOR: u16 = 3;
/// PostgreSQL 18. There is no 3.1: a pooler used it for itself.
pub(super) const NEWEST_MINOR: u16 = 2;
/// Since this minor version cancel keys may be longer than 4 bytes.
const LONG_KEYS: u16 = 2;
const SHORTEST_KEY: usize = 4;
const LONGEST_KEY: usize = 256;
/// libpq's own cap on messages before authentication is 30,000.
const MOST_BYTES: usize = 64 * 1024;
/// PostgreSQL 18 reports 16.
const MOST_PARAMETERS: usize = 256;
/// What the grammar that judges takes for granted.
const NEEDED: [(&str, &str); 2] = [("client_encoding", "UTF8"), ("standard_conforming_strings", "on")];

#[cfg(test)]
mod tests;
