//! From the first byte to a proven identity, as a pure state machine over bytes.
//!
//! Requests for encryption are answered `N` (and nothing that was sent behind one before its answer is ever
//! read: CVE-2021-23214), a CancelRequest leaves by a door of its own, start-up parameters pass an allow-list
//! (`search_path` there was unauthenticated SQL in a well-known pooler: CVE-2025-12819), and SCRAM-SHA-256
//! proves who it is. Nothing is opened upstream before that.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::identity::Identity;
use crate::identity::directory::Directory;
use crate::identity::scram::{self, Exchange, ScramError};
use crate::protocol::backend::{self, ErrorFields};
use crate::protocol::body::Body;
use crate::protocol::frame::{Frame, Leg};
use crate::protocol::sqlstate;
use crate::protocol::startup::Packet;

use super::refusals::fatal;
use super::session::{Violation, check_setting};

/// One connection before its session.
#[derive(Debug)]
pub struct Startup {
    directory: Arc<Directory>,
    default_database: Option<String>,
    requests: u8,
    state: State,
}

/// Where the start-up has come to.
#[derive(Debug)]
pub enum Progress {
    /// More bytes are needed, after what waits for the client has been sent.
    More,
    /// The client wants to cancel what runs in another session, and gets no answer.
    Cancel {
        /// The session's process number.
        process: u32,
        /// The session's key, as presented.
        key: Bytes,
    },
    /// The client has proved who it is.
    Proven(Box<Opening>),
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
    /// Settings that take effect upstream.
    pub settings: Vec<(String, String)>,
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
    /// The login was refused.
    Login,
}

/// What a client asked for in its start-up packet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Wanted {
    user: String,
    database: String,
    application: String,
    settings: Vec<(String, String)>,
}

#[derive(Debug)]
enum State {
    Packets,
    First(Wanted),
    Final(Wanted, Box<Exchange>),
    Over,
}

impl Startup {
    /// A connection that has sent nothing yet. A client that names no database gets `default_database`, or
    /// else the one that is called like itself.
    #[must_use]
    pub fn new(directory: Arc<Directory>, default_database: Option<String>) -> Self {
        Self { directory, default_database, requests: 0, state: State::Packets }
    }

    /// Reads what has arrived in `input` and appends what the client gets to `out`.
    ///
    /// # Errors
    /// When the start-up is refused; the connection ends with what the rejection says.
    pub fn receive(&mut self, input: &mut BytesMut, out: &mut BytesMut) -> Result<Progress, Rejection> {
        loop {
            match std::mem::replace(&mut self.state, State::Over) {
                State::Packets => {
                    let Some(packet) = Packet::decode(input).map_err(|error| broken(error.to_string()))?
                    else {
                        self.state = State::Packets;
                        return Ok(Progress::More);
                    };
                    match self.packet(packet, input, out)? {
                        Some(progress) => return Ok(progress),
                        None if matches!(self.state, State::Packets) => return Ok(Progress::More),
                        None => {}
                    }
                }
                State::First(wanted) => match password(input)? {
                    None => {
                        self.state = State::First(wanted);
                        return Ok(Progress::More);
                    }
                    Some(body) => self.first(wanted, body, out)?,
                },
                State::Final(wanted, exchange) => match password(input)? {
                    None => {
                        self.state = State::Final(wanted, exchange);
                        return Ok(Progress::More);
                    }
                    Some(body) => return finish(wanted, *exchange, &body, out),
                },
                State::Over => return Ok(Progress::More),
            }
        }
    }

    fn packet(
        &mut self,
        packet: Packet,
        input: &BytesMut,
        out: &mut BytesMut,
    ) -> Result<Option<Progress>, Rejection> {
        match packet {
            Packet::SslRequest | Packet::GssEncRequest => {
                self.requests = self.requests.saturating_add(1);
                if self.requests > MOST_REQUESTS {
                    return Err(broken("too many requests for encryption"));
                }
                if !input.is_empty() {
                    return Err(broken("received unencrypted data after a request for encryption"));
                }
                out.extend_from_slice(b"N");
                self.state = State::Packets;
                Ok(None)
            }
            Packet::CancelRequest { process, key } => Ok(Some(Progress::Cancel { process, key })),
            Packet::Startup { minor, parameters } => {
                let (wanted, extensions) = wanted(parameters, self.default_database.as_deref())?;
                if minor > 0 || !extensions.is_empty() {
                    backend::negotiate_protocol_version(out, &extensions);
                }
                backend::authentication_sasl(out, scram::MECHANISM);
                self.state = State::First(wanted);
                Ok(None)
            }
        }
    }

    fn first(&mut self, wanted: Wanted, body: Bytes, out: &mut BytesMut) -> Result<(), Rejection> {
        let mut body = Body::new(body);
        let no_sasl = |_| broken("malformed SASLInitialResponse");
        let mechanism = body.text("the mechanism").map_err(no_sasl)?;
        if mechanism != scram::MECHANISM {
            return Err(broken("client selected an invalid SASL authentication mechanism"));
        }
        let message = body.value("the initial response").map_err(no_sasl)?.unwrap_or_default();
        body.end().map_err(no_sasl)?;
        let mut exchange = self.directory.scram(&wanted.user);
        let answer = exchange.first(&message).map_err(|error| refused(&wanted, &error))?;
        backend::authentication_sasl_continue(out, &answer);
        self.state = State::Final(wanted, Box::new(exchange));
        Ok(())
    }
}

/// Appends what tells a client that its session is open: the server's settings, the session's own key, and that
/// it is ready.
///
/// # Errors
/// When the server has a setting that the gateway can't work with.
pub fn welcome(
    parameters: &[(String, String)],
    process: u32,
    key: u32,
    out: &mut BytesMut,
) -> Result<(), Violation> {
    for (name, value) in parameters {
        check_setting(name, value)?;
    }
    backend::authentication_ok(out);
    for (name, value) in parameters {
        backend::parameter_status(out, name, value);
    }
    backend::backend_key_data(out, process, key);
    backend::ready_for_query(out, b'I');
    Ok(())
}

fn finish(
    wanted: Wanted,
    exchange: Exchange,
    message: &[u8],
    out: &mut BytesMut,
) -> Result<Progress, Rejection> {
    let (answer, identity) = exchange.finish(message).map_err(|error| refused(&wanted, &error))?;
    backend::authentication_sasl_final(out, &answer);
    let Wanted { database, application, settings, user: _ } = wanted;
    Ok(Progress::Proven(Box::new(Opening { identity, database, application, settings })))
}

fn password(input: &mut BytesMut) -> Result<Option<Bytes>, Rejection> {
    match Frame::decode(Leg::Frontend, input).map_err(|error| broken(error.to_string()))? {
        None => Ok(None),
        Some(Frame { tag: b'p', body }) => Ok(Some(body)),
        Some(frame) => {
            Err(broken(format!("expected SASL response, got message type {}", frame.tag.escape_ascii())))
        }
    }
}

/// Sorts the parameters. The second part are protocol extensions, which are all refused by name.
fn wanted(
    parameters: Vec<(String, String)>,
    default_database: Option<&str>,
) -> Result<(Wanted, Vec<String>), Rejection> {
    let mut wanted = Wanted::default();
    let mut extensions = Vec::new();
    let mut unknown = None;
    for (name, value) in parameters {
        match name.as_str() {
            "user" => wanted.user = value,
            "database" => wanted.database = value,
            "application_name" => wanted.application = value.chars().take(LONGEST_APPLICATION).collect(),
            "client_encoding" => encoding(&value).map_err(|fields| unfit(&wanted, fields))?,
            _ if name.starts_with("_pq_.") => extensions.push(name),
            _ => match SETTINGS.iter().find(|known| known.eq_ignore_ascii_case(&name)) {
                Some(known) => wanted.settings.push(((*known).to_owned(), value)),
                None => unknown = Some(name),
            },
        }
    }
    if wanted.user.is_empty() {
        let message = "no PostgreSQL user name specified in startup packet";
        let fields = fatal(sqlstate::INVALID_AUTHORIZATION_SPECIFICATION, message);
        return Err(unfit(&wanted, fields));
    }
    if wanted.database.is_empty() {
        wanted.database = default_database.unwrap_or(&wanted.user).to_owned();
    }
    if let Some(name) = unknown {
        let message = format!("start-up parameter `{name}` is not allowed behind the gateway");
        let fields = fatal(sqlstate::FEATURE_NOT_SUPPORTED, message).with_hint(format!(
            "allowed are user, database, application_name, client_encoding, {}",
            SETTINGS.join(", ")
        ));
        return Err(unfit(&wanted, fields));
    }
    Ok((wanted, extensions))
}

fn encoding(value: &str) -> Result<(), ErrorFields> {
    let plain: String = value.chars().filter(char::is_ascii_alphanumeric).collect();
    if ["utf8", "unicode", "sqlascii", "auto"].iter().any(|known| known.eq_ignore_ascii_case(&plain)) {
        return Ok(());
    }
    let message = format!("client_encoding `{value}` is not allowed behind the gateway");
    Err(fatal(sqlstate::INVALID_PARAMETER_VALUE, message).with_hint("use client_encoding=UTF8"))
}

fn unfit(wanted: &Wanted, fields: ErrorFields) -> Rejection {
    Rejection { fields, user: wanted.user.clone(), database: wanted.database.clone(), fault: Fault::Login }
}

fn refused(wanted: &Wanted, error: &ScramError) -> Rejection {
    match error {
        ScramError::Refused => {
            let message = format!("password authentication failed for user \"{}\"", wanted.user);
            unfit(wanted, fatal(sqlstate::INVALID_PASSWORD, message))
        }
        ScramError::Malformed { .. } | ScramError::ChannelBinding => Rejection {
            fault: Fault::Protocol,
            ..unfit(wanted, fatal(sqlstate::PROTOCOL_VIOLATION, error.to_string()))
        },
    }
}

fn broken(what: impl Into<String>) -> Rejection {
    Rejection {
        fields: fatal(sqlstate::PROTOCOL_VIOLATION, what),
        user: String::new(),
        database: String::new(),
        fault: Fault::Protocol,
    }
}

/// Settings that a client may bring; they change how values are shown, never what a statement means to the gate.
const SETTINGS: [&str; 4] = ["DateStyle", "TimeZone", "IntervalStyle", "extra_float_digits"];
/// One for TLS and one for GSSAPI, each perhaps tried twice.
const MOST_REQUESTS: u8 = 4;
/// PostgreSQL keeps 63 bytes (`NAMEDATALEN`).
const LONGEST_APPLICATION: usize = 63;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::frame::put;

    fn packet(body: &[u8]) -> Vec<u8> {
        let mut packet = u32::try_from(body.len() + 4).unwrap().to_be_bytes().to_vec();
        packet.extend_from_slice(body);
        packet
    }

    fn password(body: &[u8]) -> Vec<u8> {
        let mut out = BytesMut::new();
        put(&mut out, b'p', |frame| frame.extend_from_slice(body));
        out.to_vec()
    }

    /// Hands `bytes` in one at a time; gives the rejection's SQLSTATE and message, or what was answered.
    fn play(bytes: &[u8]) -> Result<BytesMut, (String, String)> {
        let mut startup = Startup::new(Arc::default(), None);
        let (mut input, mut out) = (BytesMut::new(), BytesMut::new());
        for byte in bytes {
            input.extend_from_slice(&[*byte]);
            startup.receive(&mut input, &mut out).map_err(|rejection| {
                (rejection.fields.sqlstate().to_owned(), rejection.fields.message().to_owned())
            })?;
        }
        Ok(out)
    }

    #[test]
    fn an_unknown_user_is_challenged_like_anybody() {
        let mut bytes = packet(b"\0\x03\0\0user\0nobody\0\0");
        let message = b"n,,n=,r=abcdefghijklm";
        let first = [&b"SCRAM-SHA-256\0"[..], &21_u32.to_be_bytes(), message].concat();
        bytes.extend_from_slice(&password(&first));
        let mut out = play(&bytes).unwrap();
        let frames: Vec<u8> = std::iter::from_fn(|| Frame::decode(Leg::Backend, &mut out).unwrap())
            .map(|frame| frame.body[3])
            .collect();
        assert_eq!(frames, [10, 11], "AuthenticationSASL, AuthenticationSASLContinue");
    }

    #[test]
    fn a_start_up_out_of_order_is_refused() {
        let login = packet(b"\0\x03\0\0user\0ana\0\0");
        let request = packet(b"\x04\xd2\x16\x2f");
        let table: [(&str, Vec<u8>, &str); 6] = [
            ("a query before the password", [&login[..], b"Q\0\0\0\x05\0"].concat(), "08P01"),
            ("another mechanism", [&login[..], &password(b"PLAIN\0\0\0\0\0")].concat(), "08P01"),
            ("a cut SASL message", [&login[..], &password(b"SCRAM-SHA-256\0\0\0")].concat(), "08P01"),
            ("no SCRAM in it", [&login[..], &password(b"SCRAM-SHA-256\0\0\0\0\x01x")].concat(), "08P01"),
            ("requests without end", request.repeat(9), "08P01"),
            ("no user", packet(b"\0\x03\0\0\0"), "28000"),
        ];
        for (what, bytes, code) in table {
            assert_eq!(play(&bytes).unwrap_err().0, code, "{what}");
        }
    }

    #[test]
    fn a_parameter_that_is_not_on_the_list_is_named() {
        for (name, value) in [("search_path", "hr"), ("options", "-c x=y"), ("replication", "true")] {
            let body = format!("\0\x03\0\0user\0ana\0{name}\0{value}\0\0");
            let (code, message) = play(&packet(body.as_bytes())).unwrap_err();
            assert_eq!(code, "0A000");
            assert!(message.contains(name), "{message}");
        }
    }

    #[test]
    fn nobody_is_welcomed_by_a_server_with_other_lexing_settings() {
        let mut out = BytesMut::new();
        let parameters = [("client_encoding".to_owned(), "LATIN1".to_owned())];
        assert!(welcome(&parameters, 1, 2, &mut out).is_err());
        assert!(out.is_empty());
    }
}
