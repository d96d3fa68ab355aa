//! `postgres://user@host:port/database`, the form in which an upstream database is written.

use std::net::IpAddr;

/// An upstream address, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Url {
    pub(super) user: String,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) database: String,
}

/// What is wrong with an upstream address, and what would be right. Never holds a password.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct UrlError {
    pub(super) what: String,
    pub(super) allowed: String,
}

impl Url {
    /// Takes `text` apart. Refuses what it doesn't know rather than skip it.
    pub(super) fn parse(text: &str) -> Result<Self, UrlError> {
        let rest = text
            .strip_prefix("postgres://")
            .or_else(|| text.strip_prefix("postgresql://"))
            .ok_or_else(|| refuse("the url is not one of PostgreSQL's", SHAPE))?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (user, rest) = rest.rsplit_once('@').ok_or_else(|| refuse("the url names no user", SHAPE))?;
        if user.contains(':') {
            return Err(refuse("the url holds a password", PASSWORD));
        }
        let (address, database) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = split_port(address)?;
        let url = Self { user: decode(user)?, host: decode(host)?, port, database: decode(database)? };
        let missing = [("user", &url.user), ("host", &url.host), ("database", &url.database)];
        if let Some((part, _)) = missing.iter().find(|(_, value)| value.is_empty()) {
            return Err(refuse(format!("the url names no {part}"), SHAPE));
        }
        no_parameters(query)?;
        Ok(url)
    }

    /// Whether the host is a folder with a Unix socket.
    pub(super) fn is_unix(&self) -> bool {
        self.host.starts_with('/')
    }

    /// Whether nobody off this machine can listen in, as far as the host is written.
    pub(super) fn is_local(&self) -> bool {
        self.is_unix()
            || self.host == "localhost"
            || self.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

fn split_port(address: &str) -> Result<(&str, u16), UrlError> {
    let (host, port) = match address.strip_prefix('[') {
        Some(rest) => {
            let (host, tail) =
                rest.split_once(']').ok_or_else(|| refuse("the url's `[` is not closed", SHAPE))?;
            (host, tail.strip_prefix(':'))
        }
        None => match address.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (address, None),
        },
    };
    let port = port.map_or(Ok(5432), str::parse).ok().filter(|port| *port != 0);
    port.map(|port| (host, port)).ok_or_else(|| refuse("the url's port is no port", "a port is 1 to 65535"))
}

/// A url has no parameters here: what libpq would take there has a key of its own, or none.
fn no_parameters(query: &str) -> Result<(), UrlError> {
    let Some(pair) = query.split('&').find(|pair| !pair.is_empty()) else { return Ok(()) };
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    Err(match name {
        "sslmode" => {
            let what = format!("`sslmode={value}` stands in the url");
            refuse(what, &format!("take it out and write `tls = {{ mode = \"{}\" }}`", mode(value)))
        }
        name if name.contains("password") => refuse("the url holds a password", PASSWORD),
        name => refuse(format!("unknown url parameter `{name}`"), "a url has no parameters here"),
    })
}

/// The mode that comes closest to libpq's `sslmode`. None goes on without TLS where a server has it not.
fn mode(sslmode: &str) -> &str {
    match sslmode {
        known @ ("disable" | "require" | "verify-ca") => known,
        _ => "verify-full",
    }
}

/// Undoes percent-encoding.
fn decode(text: &str) -> Result<String, UrlError> {
    let broken =
        || refuse("the url has a broken `%` sequence", "`%` stands before two hexadecimal digits of UTF-8");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16));
        let (high, low) = digit().zip(digit()).ok_or_else(broken)?;
        bytes.push(u8::try_from(high * 16 + low).map_err(|_| broken())?);
    }
    String::from_utf8(bytes).ok().filter(|text| !text.contains('\0')).ok_or_else(broken)
}

fn refuse(what: impl Into<String>, allowed: &str) -> UrlError {
    UrlError { what: what.into(), allowed: allowed.to_owned() }
}

const SHAPE: &str =
    "write `postgres://user@host:port/database`, or `postgres://user@%2Fsocket%2Ffolder/database`";
const PASSWORD: &str =
    "take it out (and change it), and point at it by password_env, password_file or password_command";
