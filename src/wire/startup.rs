//! From the first byte to a proven identity, as a pure state machine over bytes.
//!
//! Requests for encryption are answered, and nothing that was sent behind one before its answer is ever read
//! (CVE-2021-23214). A CancelRequest leaves by a door of its own. What a client sets in its start-up packet, in
//! `options` too, is handed on for the rulebook to judge (`search_path` there was unauthenticated SQL in a
//! well-known pooler: CVE-2025-12819). Then the client proves who it is: by SCRAM-SHA-256, bound to the TLS channel
//! where there is one, by a token, or by a certificate. Nothing is opened upstream before that.

mod auth;
pub mod options;
#[cfg(test)]
mod tests;
mod wanted;

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::identity::Identity;
use crate::identity::directory::Directory;
use crate::identity::scram::Exchange;
use crate::protocol::backend::{self, ErrorFields};
use crate::protocol::frame::{Frame, Leg};
use crate::protocol::sqlstate;
use crate::protocol::startup::{NEWEST_MINOR, Packet, PacketError};
use crate::tls::certificate::PeerCertificate;

use super::refusals::fatal;
use super::session::{Violation, check_setting};
use wanted::Wanted;

/// One connection before its session.
#[derive(Debug)]
pub struct Startup {
    terms: Terms,
    channel: Channel,
    asked_tls: bool,
    asked_gss: bool,
    state: State,
}

/// What a door asks of everybody who comes in.
#[derive(Debug, Clone)]
pub struct Terms {
    /// Who there is.
    pub directory: Arc<Directory>,
    /// The database of clients that name none; `None` takes the one that is called like the user.
    pub default_database: Option<String>,
    /// How clients prove who they are.
    pub auth: Auth,
    /// Whether TLS is spoken.
    pub tls: Encryption,
}

/// How clients prove who they are. A certificate that the identity's file names is taken in every case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Auth {
    /// By SCRAM-SHA-256, and SCRAM-SHA-256-PLUS over TLS.
    #[default]
    Scram,
    /// Over TLS by their token, in clear; else by SCRAM.
    Token,
    /// Not at all.
    Trust,
}

/// Whether TLS is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encryption {
    /// There is no certificate.
    Unavailable,
    /// With those who ask for it.
    Offered,
    /// With everybody. A CancelRequest is taken without it, because older clients can't send it otherwise.
    Required,
}

/// What the bytes travel in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Channel {
    /// Nothing.
    Plain,
    /// TLS.
    Tls {
        /// The client's certificate, verified.
        certificate: Option<PeerCertificate>,
        /// The channel binding `tls-server-end-point`.
        binding: Option<Vec<u8>>,
    },
}

/// Where the start-up has come to.
#[derive(Debug)]
pub enum Progress {
    /// More bytes are needed, after what waits for the client has been sent.
    More,
    /// The client shakes hands for TLS next, after what waits for it has been sent.
    Encrypt,
    /// The client wants to cancel what runs in another session, and gets no answer.
    Cancel {
        /// The session's process number.
        process: u32,
        /// The session's key, as presented.
        key: Bytes,
    },
    /// The client has said who it is and what it wants. It goes on to prove that once it is [welcome](Startup::welcomed).
    Knock(Box<Arrival>),
    /// The client has proved who it is.
    Proven(Box<Opening>),
}

/// Who knocks: nothing of it is proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// Who it claims to be.
    pub user: String,
    /// The database's name in the configuration.
    pub database: String,
    /// `application_name`, as claimed; empty without one.
    pub application: String,
    /// Name and value of everything that the client sets, each name once.
    pub settings: Vec<(String, String)>,
    /// The minor version of protocol 3 that is spoken.
    pub minor: u16,
}

/// A session that a proven identity asks for.
#[derive(Debug)]
pub struct Opening {
    /// Who.
    pub identity: Identity,
    /// On which database, by its name in the configuration.
    pub database: String,
    /// `application_name`, as claimed; empty without one.
    pub application: String,
    /// Name and value of everything that the client sets, each name once, not yet judged.
    pub settings: Vec<(String, String)>,
    /// The minor version of protocol 3 that is spoken.
    pub minor: u16,
}

/// Why a start-up was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// What the client is told.
    pub fields: ErrorFields,
    /// Who it claimed to be; empty where it has not said.
    pub user: String,
    /// The database that it asked for; empty where it has not said.
    pub database: String,
    /// Whether the protocol was broken, or a login refused.
    pub fault: Fault,
}

/// Whose fault a refused start-up is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The client broke the protocol.
    Protocol,
    /// What came is no start-up at all, and whoever sent it would not understand an answer: there is none.
    Noise,
    /// The login was refused.
    Login,
}

#[derive(Debug)]
enum State {
    Packets,
    Knocked(Box<Wanted>),
    Welcome(Box<Wanted>),
    Token(Box<Wanted>),
    First(Box<Wanted>, Box<Exchange>),
    Final(Box<Wanted>, Box<Exchange>),
    Over,
}

/// What one step came to.
enum Step {
    /// The next state can go on with what has arrived.
    Next(State),
    /// This state needs more.
    Wait(State),
    /// Something for the caller.
    Stop(State, Progress),
}

impl Startup {
    /// A connection that has sent nothing yet.
    #[must_use]
    pub fn new(terms: Terms) -> Self {
        Self { terms, channel: Channel::Plain, asked_tls: false, asked_gss: false, state: State::Packets }
    }

    /// From now on the bytes travel in `channel`: its handshake is done.
    pub fn encrypted(&mut self, channel: Channel) {
        // One encryption is enough, so PostgreSQL takes no request for the other in it.
        self.asked_tls = true;
        self.asked_gss = true;
        self.channel = channel;
    }

    /// Reads what has arrived in `input` and appends what the client gets to `out`.
    ///
    /// # Errors
    /// When the start-up is refused; the connection ends with what the rejection says.
    pub fn receive(&mut self, input: &mut BytesMut, out: &mut BytesMut) -> Result<Progress, Rejection> {
        loop {
            let step = match std::mem::replace(&mut self.state, State::Over) {
                State::Packets => match Packet::decode(input) {
                    Ok(Some(packet)) => self.packet(packet, input, out)?,
                    Ok(None) => Step::Wait(State::Packets),
                    Err(error) => return Err(undecodable(&error)),
                },
                State::Knocked(wanted) => Step::Wait(State::Knocked(wanted)),
                State::Welcome(wanted) => auth::begin(&self.terms, &self.channel, *wanted, out)?,
                State::Token(wanted) => match password(input)? {
                    Some(body) => auth::token(&self.terms.directory, *wanted, body)?,
                    None => Step::Wait(State::Token(wanted)),
                },
                State::First(wanted, exchange) => match password(input)? {
                    Some(body) => auth::first(wanted, exchange, body, out)?,
                    None => Step::Wait(State::First(wanted, exchange)),
                },
                State::Final(wanted, exchange) => match password(input)? {
                    Some(body) => auth::finish(*wanted, *exchange, &body, out)?,
                    None => Step::Wait(State::Final(wanted, exchange)),
                },
                State::Over => Step::Wait(State::Over),
            };
            match step {
                Step::Next(state) => self.state = state,
                Step::Wait(state) => {
                    self.state = state;
                    return Ok(Progress::More);
                }
                Step::Stop(state, progress) => {
                    self.state = state;
                    return Ok(progress);
                }
            }
        }
    }

    fn packet(&mut self, packet: Packet, input: &BytesMut, out: &mut BytesMut) -> Result<Step, Rejection> {
        match packet {
            // Like PostgreSQL, which takes each request once.
            Packet::SslRequest if self.asked_tls => Err(repeated(5679)),
            Packet::GssEncRequest if self.asked_gss => Err(repeated(5680)),
            Packet::SslRequest | Packet::GssEncRequest if !input.is_empty() => {
                Err(broken("received unencrypted data after a request for encryption"))
            }
            Packet::SslRequest => {
                self.asked_tls = true;
                if self.terms.tls == Encryption::Unavailable {
                    out.extend_from_slice(b"N");
                    return Ok(Step::Wait(State::Packets));
                }
                out.extend_from_slice(b"S");
                Ok(Step::Stop(State::Packets, Progress::Encrypt))
            }
            Packet::GssEncRequest => {
                self.asked_gss = true;
                out.extend_from_slice(b"N");
                Ok(Step::Wait(State::Packets))
            }
            Packet::CancelRequest { process, key } => {
                Ok(Step::Stop(State::Over, Progress::Cancel { process, key }))
            }
            Packet::Startup { minor, parameters } => self.wanted(minor, parameters, out),
        }
    }

    fn wanted(
        &self,
        minor: u16,
        parameters: Vec<(String, String)>,
        out: &mut BytesMut,
    ) -> Result<Step, Rejection> {
        let spoken = minor.min(NEWEST_MINOR);
        let (wanted, usable) = Wanted::read(parameters, spoken, self.terms.default_database.as_deref());
        if minor > spoken || !wanted.extensions.is_empty() {
            backend::negotiate_protocol_version(out, spoken, &wanted.extensions);
        }
        if self.terms.tls == Encryption::Required && self.channel == Channel::Plain {
            return Err(unfit(&wanted, unencrypted()));
        }
        usable.map_err(|fields| unfit(&wanted, fields))?;
        let arrival = Arrival {
            user: wanted.user.clone(),
            database: wanted.database.clone(),
            application: wanted.application(),
            settings: wanted.settings.clone(),
            minor: wanted.minor,
        };
        Ok(Step::Stop(State::Knocked(Box::new(wanted)), Progress::Knock(Box::new(arrival))))
    }

    /// Whoever knocked may go on to prove who they are.
    pub fn welcomed(&mut self) {
        self.state = match std::mem::replace(&mut self.state, State::Over) {
            State::Knocked(wanted) => State::Welcome(wanted),
            other @ (State::Packets
            | State::Welcome(_)
            | State::Token(_)
            | State::First(..)
            | State::Final(..)
            | State::Over) => other,
        };
    }

    /// The client's certificate, verified.
    #[must_use]
    pub fn certificate(&self) -> Option<&PeerCertificate> {
        match &self.channel {
            Channel::Tls { certificate, .. } => certificate.as_ref(),
            Channel::Plain => None,
        }
    }
}

/// Holds a server's settings against what the reading of statements rests on.
///
/// # Errors
/// When it has one that a judged session can't work with.
pub fn readable(parameters: &[(String, String)]) -> Result<(), Violation> {
    parameters.iter().try_for_each(|(name, value)| check_setting(name, value))
}

/// Appends what tells a client that its session is open: what the server had to remark, its settings, the session's own
/// key, and that it is ready.
pub fn welcome(
    notices: &[ErrorFields],
    parameters: &[(String, String)],
    process: u32,
    key: &[u8],
    out: &mut BytesMut,
) {
    backend::authentication_ok(out);
    for notice in notices {
        notice.put_notice(out);
    }
    for (name, value) in parameters {
        backend::parameter_status(out, name, value);
    }
    backend::backend_key_data(out, process, key);
    backend::ready_for_query(out, b'I');
}

fn password(input: &mut BytesMut) -> Result<Option<Bytes>, Rejection> {
    match Frame::decode(Leg::Frontend, input).map_err(|error| broken(error.to_string()))? {
        None => Ok(None),
        Some(Frame { tag: b'p', body }) => Ok(Some(body)),
        Some(frame) => {
            Err(broken(format!("expected password response, got message type {}", frame.tag.escape_ascii())))
        }
    }
}

fn unencrypted() -> ErrorFields {
    let message = "the gateway takes no unencrypted connections";
    fatal(sqlstate::INVALID_AUTHORIZATION_SPECIFICATION, message)
        .with_hint("connect with sslmode=require, or better with sslmode=verify-full")
}

fn unfit(wanted: &Wanted, fields: ErrorFields) -> Rejection {
    Rejection { fields, user: wanted.user.clone(), database: wanted.database.clone(), fault: Fault::Login }
}

fn undecodable(error: &PacketError) -> Rejection {
    let (code, fault) = match error {
        PacketError::Version { .. } => (sqlstate::FEATURE_NOT_SUPPORTED, Fault::Protocol),
        PacketError::Body(_) => (sqlstate::PROTOCOL_VIOLATION, Fault::Protocol),
        PacketError::Length { .. } | PacketError::DirectTls => (sqlstate::PROTOCOL_VIOLATION, Fault::Noise),
    };
    Rejection { fields: fatal(code, error.to_string()), fault, ..broken("") }
}

/// A request that came twice is a version that does not exist: PostgreSQL's own words.
fn repeated(minor: u16) -> Rejection {
    undecodable(&PacketError::Version { major: 1234, minor })
}

fn broken(what: impl Into<String>) -> Rejection {
    Rejection {
        fields: fatal(sqlstate::PROTOCOL_VIOLATION, what),
        user: String::new(),
        database: String::new(),
        fault: Fault::Protocol,
    }
}
