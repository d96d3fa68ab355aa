//! `postgres://user@host:port/database?sslmode=disable`, the form in which an upstream database is written.

use std::net::IpAddr;

/// An upstream address, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Url {
    pub(super) user: String,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) database: String,
    pub(super) plaintext: bool,
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
        let url = Self {
            user: decode(user)?,
            host: decode(host)?,
            port,
            database: decode(database)?,
            plaintext: plaintext(query)?,
        };
        let missing = [("user", &url.user), ("host", &url.host), ("database", &url.database)];
        if let Some((part, _)) = missing.iter().find(|(_, value)| value.is_empty()) {
            return Err(refuse(format!("the url names no {part}"), SHAPE));
        }
        url.reachable_without_tls()?;
        Ok(url)
    }

    /// Without TLS, bytes may go to this machine only, unless the url says in so many words that they may.
    fn reachable_without_tls(&self) -> Result<(), UrlError> {
        let local = self.host.starts_with('/')
            || self.host == "localhost"
            || self.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        if local || self.plaintext {
            return Ok(());
        }
        Err(refuse(
            format!("`{}` is not this machine, and this version speaks to databases without TLS", self.host),
            "use a loopback address or a Unix socket folder, or say `?sslmode=disable` if the network between is trusted",
        ))
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

/// Whether the query says `sslmode=disable`. It may say nothing else.
fn plaintext(query: &str) -> Result<bool, UrlError> {
    let mut plaintext = false;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=').unwrap_or((pair, "")) {
            ("sslmode", "disable") => plaintext = true,
            ("sslmode", mode) => {
                let what = format!("`sslmode={mode}` asks for TLS, which this version doesn't have");
                return Err(refuse(what, ONLY_SSLMODE));
            }
            (name, _) if name.contains("password") => {
                return Err(refuse("the url holds a password", PASSWORD));
            }
            (name, _) => return Err(refuse(format!("unknown url parameter `{name}`"), ONLY_SSLMODE)),
        }
    }
    Ok(plaintext)
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
const ONLY_SSLMODE: &str = "only `sslmode=disable` may stand here";
