//! Sockets around [`super::greeting`]: from a route to a session that is ready.
//!
//! Protocol 3.2 is asked for, for its longer cancel keys; a server that knows 3.0 only says so, and that will do.

use std::io;

use bytes::{BufMut as _, BytesMut};

use crate::protocol::backend::ErrorFields;

use super::greeting::{self, Greeting, GreetingError, MAJOR, Progress, Settled};
use super::keys::KeyRing;
use super::link::{Canceller, Line, LinkError};
use super::route::{Route, RouteError};
use super::settings::{DatabaseSettings, RoleSettings};

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
    /// What the server had to remark.
    pub(super) notices: Vec<ErrorFields>,
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
    let greeting = Greeting::new(greeting::Terms {
        role: terms.role,
        standing: route.standing(),
        end_point: socket.end_point(),
        channel_binding: terms.database.channel_binding,
        minor: terms.minor,
        nonce: rand::random(),
    });
    let mut line = Line::new(socket);
    line.send_bytes(startup_packet(terms.minor, terms.parameters)?).await?;
    let Settled { parameters, key, notices } = greet(greeting, &mut line, terms).await?;
    if terms.reading == Reading::AsTheJudgeDoes {
        for (name, needed) in NEEDED {
            if !parameters.iter().any(|(given, value)| given == name && value == needed) {
                return Err(Failure::Protocol(format!("it did not confirm `{name}` = `{needed}`")));
            }
        }
    }
    Ok(Opened { line, canceller: Canceller::new(route, key), parameters, notices })
}

async fn greet(mut greeting: Greeting<'_>, line: &mut Line, terms: &Terms<'_>) -> Result<Settled, Failure> {
    let mut out = BytesMut::new();
    loop {
        match greeting.receive(line.buffer(), &mut out)? {
            Progress::More => {
                if !out.is_empty() {
                    line.send_bytes(out.split()).await?;
                }
                line.fill().await?;
            }
            Progress::Challenged(challenge) => {
                let keys = terms.keys.keys(terms.role, &challenge).await.map_err(Failure::Io)?;
                greeting.answer(challenge, &keys, &mut out)?;
            }
            Progress::Ready(settled) => return Ok(settled),
        }
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

impl From<GreetingError> for Failure {
    fn from(error: GreetingError) -> Self {
        match error {
            GreetingError::Refused(answer) => Self::Refused(answer),
            GreetingError::Protocol { what } => Self::Protocol(what),
        }
    }
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

/// What the grammar that judges takes for granted.
const NEEDED: [(&str, &str); 2] = [("client_encoding", "UTF8"), ("standard_conforming_strings", "on")];

#[cfg(test)]
mod tests;
