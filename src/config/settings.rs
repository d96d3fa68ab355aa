//! The configuration as meant: addresses that may be listened on, absolute paths, secrets in hand.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;

use crate::audit::Durability;
use crate::tls::client::Client;
use crate::upstream::{self, DatabaseSettings, RoleSettings, UpstreamUser};
use crate::wire;

use super::error::{ConfigError, Document};
use super::raw;
use super::secret::{Secret, SecretError};
use super::transport;
use super::url::Url;

/// Everything the gateway needs to start.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the wire door listens. Loopback, unless it speaks TLS.
    pub wire: SocketAddr,
    /// How the wire door behaves.
    pub wire_door: wire::Settings,
    /// Where the MCP door listens. Loopback.
    pub mcp: SocketAddr,
    /// Host names, besides loopback ones, that MCP clients may call the door by (`Host` header).
    pub mcp_allowed_hosts: Vec<String>,
    /// Where the console listens. Loopback.
    pub console: SocketAddr,
    /// The console's address as people write it, without a slash at the end.
    pub console_url: String,
    /// The rulebook's folder.
    pub policy_path: PathBuf,
    /// The identities' folder.
    pub agents_path: PathBuf,
    /// The folder for the store and the ledger.
    pub state_path: PathBuf,
    /// When a ledger record counts as kept.
    pub durability: Durability,
    /// The governed databases; at least one.
    pub databases: Vec<DatabaseSettings>,
}

/// The folders that a configuration names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folders {
    /// The rulebook's.
    pub policy: PathBuf,
    /// The identities'.
    pub agents: PathBuf,
    /// The ledger's.
    pub ledger: PathBuf,
}

/// The folders that `raw` names.
pub(super) fn folders(document: &Document<'_>, raw: &raw::File) -> Folders {
    let base = document.path.parent().unwrap_or(Path::new(""));
    Folders {
        policy: base.join(&raw.policy.path),
        agents: base.join(&raw.agents.path),
        ledger: base.join(&raw.state.path).join("ledger"),
    }
}

/// Gives `raw` its meaning, or says what has none.
pub(super) fn mean(document: &Document<'_>, raw: raw::File) -> Result<Settings, ConfigError> {
    let meaning = Meaning { document, base: document.path.parent().unwrap_or(Path::new("")) };
    let (wire, wire_door) = meaning.wire(&raw.wire)?;
    let mcp = meaning.listener("mcp", &raw.mcp.listen)?;
    let console = meaning.listener("console", &raw.console.listen)?;
    meaning.distinct(&[
        ("wire", wire, &raw.wire.listen),
        ("mcp", mcp, &raw.mcp.listen),
        ("console", console, &raw.console.listen),
    ])?;
    let console_url = match raw.console.url {
        Some(url) => meaning.web_address(&url)?,
        None => format!("http://{console}"),
    };
    let databases = meaning.databases(raw.database)?;
    let only = match databases.as_slice() {
        [only] => Some(only.name.clone()),
        _ => None,
    };
    Ok(Settings {
        wire,
        wire_door: wire::Settings { default_database: only, ..wire_door },
        mcp,
        mcp_allowed_hosts: raw
            .mcp
            .allowed_hosts
            .iter()
            .map(|host| meaning.host(host))
            .collect::<Result<_, _>>()?,
        console,
        console_url,
        policy_path: meaning.base.join(raw.policy.path),
        agents_path: meaning.base.join(raw.agents.path),
        state_path: meaning.base.join(raw.state.path),
        durability: match raw.ledger.durability {
            raw::Durability::Fsync => Durability::Fsync,
            raw::Durability::Os => Durability::Os,
        },
        databases,
    })
}

pub(super) struct Meaning<'a> {
    document: &'a Document<'a>,
    /// Relative paths start here: beside the configuration.
    pub(super) base: &'a Path,
}

/// The three keys of which exactly one says where a password is.
struct PasswordKeys<'a> {
    env: Option<&'a Spanned<String>>,
    file: Option<&'a Spanned<PathBuf>>,
    command: Option<&'a Spanned<String>>,
}

impl Meaning<'_> {
    fn listener(&self, door: &str, listen: &Spanned<String>) -> Result<SocketAddr, ConfigError> {
        let address = self.address(listen)?;
        if !address.ip().is_loopback() {
            let what = format!(
                "the {door} door would listen on `{address}`, which other machines can reach, without TLS"
            );
            return Err(self.refuse(listen, what, LOOPBACK_ONLY));
        }
        Ok(address)
    }

    pub(super) fn address(&self, listen: &Spanned<String>) -> Result<SocketAddr, ConfigError> {
        let text = listen.get_ref();
        text.parse().map_err(|_| {
            self.refuse(
                listen,
                format!("`{text}` is no address to listen on"),
                "write address and port, as in \"127.0.0.1:6432\" or \"[::1]:6432\"",
            )
        })
    }

    fn distinct(&self, doors: &[(&str, SocketAddr, &Spanned<String>)]) -> Result<(), ConfigError> {
        let mut seen: Vec<(&str, SocketAddr)> = Vec::new();
        for (door, address, listen) in doors {
            if address.port() == 0 {
                continue;
            }
            if let Some((other, _)) = seen.iter().find(|(_, taken)| taken == address) {
                let what =
                    format!("the {door} door would listen on `{address}`, and so would the {other} door");
                return Err(self.refuse(listen, what, "give each door its own port"));
            }
            seen.push((door, *address));
        }
        Ok(())
    }

    fn web_address(&self, url: &Spanned<String>) -> Result<String, ConfigError> {
        let text = url.get_ref().trim_end_matches('/');
        let host = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
        if host.is_none_or(|host| {
            host.is_empty() || host.contains(|c: char| c.is_whitespace() || c.is_control())
        }) {
            let what = format!("`{text}` is no web address");
            return Err(self.refuse(
                url,
                what,
                "write how people reach the console, as in \"https://portcullis.example.com\"",
            ));
        }
        Ok(text.to_owned())
    }

    fn host(&self, host: &Spanned<String>) -> Result<String, ConfigError> {
        let text = host.get_ref();
        let fits = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || ".-:[]".contains(c));
        if fits {
            return Ok(text.clone());
        }
        Err(self.refuse(
            host,
            format!("`{text}` is no host"),
            "write host or host:port, as in \"portcullis.example.com\"; `*` is not possible",
        ))
    }

    fn databases(&self, raw: Vec<Spanned<raw::Database>>) -> Result<Vec<DatabaseSettings>, ConfigError> {
        if raw.is_empty() {
            let allowed =
                "add a [[database]] with name, url, and password_env, password_file or password_command";
            return Err(self.document.refuse(0..0, "there is no [[database]]", allowed));
        }
        let mut names = BTreeSet::new();
        for database in &raw {
            self.name(&database.get_ref().name, "database", &mut names)?;
        }
        raw.into_iter().map(|database| self.database(database)).collect()
    }

    fn database(&self, raw: Spanned<raw::Database>) -> Result<DatabaseSettings, ConfigError> {
        let place = raw.span();
        let raw = raw.into_inner();
        let url = Url::parse(raw.url.get_ref())
            .map_err(|error| self.refuse(&raw.url, error.what, error.allowed))?;
        let keys = PasswordKeys {
            env: raw.password_env.as_ref(),
            file: raw.password_file.as_ref(),
            command: raw.password_command.as_ref(),
        };
        let (tls, channel_binding) =
            transport::mean(self.document, self.base, place.clone(), &url, raw.tls.as_ref())?;
        let certified = tls.as_ref().is_some_and(Client::presents_certificate);
        let service = self.role("", &url.user, place, &keys, certified)?;
        let mut names = BTreeSet::new();
        let mut roles = Vec::with_capacity(raw.role.len());
        for role in raw.role {
            let place = role.span();
            let role = role.into_inner();
            self.name(&role.name, "role", &mut names)?;
            let keys = PasswordKeys {
                env: role.password_env.as_ref(),
                file: role.password_file.as_ref(),
                command: role.password_command.as_ref(),
            };
            roles.push(self.role(role.name.get_ref(), role.user.get_ref(), place, &keys, certified)?);
        }
        let upstream_user = match raw.upstream_user {
            None => UpstreamUser::Role,
            Some(same) if !url.is_local() => return Err(self.refuse(&same, SAME_ELSEWHERE, SAME_ALLOWED)),
            Some(_) => UpstreamUser::Same,
        };
        Ok(DatabaseSettings {
            search_path: self.search_path(raw.search_path)?,
            roles,
            tls,
            channel_binding,
            upstream_user,
            max_connections: self.positive(raw.max_connections.as_ref())?,
            connect_timeout: self
                .positive(raw.connect_timeout_ms.as_ref())?
                .map_or(upstream::CONNECT_TIMEOUT, Duration::from_millis),
            ..DatabaseSettings::new(raw.name.into_inner(), url.host, url.port, url.database, service)
        })
    }

    fn positive<T: Copy + Default + PartialEq>(
        &self,
        number: Option<&Spanned<T>>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(number) = number else { return Ok(None) };
        if *number.get_ref() == T::default() {
            return Err(self.refuse(number, "0 would let nobody in", "write 1 or more, or leave it out"));
        }
        Ok(Some(*number.get_ref()))
    }

    fn search_path(&self, raw: Option<Vec<Spanned<String>>>) -> Result<Vec<String>, ConfigError> {
        let Some(raw) = raw else { return Ok(vec!["public".to_owned()]) };
        for schema in &raw {
            let text = schema.get_ref();
            if text.is_empty() || text.starts_with("pg_") || text.starts_with('$') || text.contains('\0') {
                let what = format!("`{text}` can't be in a pinned search_path");
                return Err(self.refuse(
                    schema,
                    what,
                    "list your own schemas, as in [\"public\"]; pg_catalog comes first by itself",
                ));
            }
        }
        Ok(raw.into_iter().map(Spanned::into_inner).collect())
    }

    fn name(
        &self,
        name: &Spanned<String>,
        what: &str,
        taken: &mut BTreeSet<String>,
    ) -> Result<(), ConfigError> {
        let text = name.get_ref();
        let fits = (1..=63).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        if !fits {
            let what = format!("`{text}` is no name for a {what}");
            return Err(self.refuse(name, what, "use 1 to 63 letters, digits, `_` and `-`"));
        }
        if !taken.insert(text.clone()) {
            return Err(self.refuse(
                name,
                format!("there are two {what}s named `{text}`"),
                "give each its own name",
            ));
        }
        Ok(())
    }

    fn role(
        &self,
        name: &str,
        user: &str,
        place: std::ops::Range<usize>,
        keys: &PasswordKeys<'_>,
        certified: bool,
    ) -> Result<RoleSettings, ConfigError> {
        let password = match (keys.env, keys.file, keys.command) {
            (Some(variable), None, None) => self.secret(variable, Secret::from_env(variable.get_ref()))?,
            (None, Some(file), None) => {
                self.secret(file, Secret::from_file(&self.base.join(file.get_ref())))?
            }
            (None, None, Some(command)) => self.secret(command, Secret::from_command(command.get_ref()))?,
            // A client certificate can stand in for it.
            (None, None, None) if certified => Secret::new(String::new()),
            (None, None, None) => {
                let what = format!("there is no password for user `{user}`");
                return Err(self.document.refuse(place, what, ONE_PASSWORD));
            }
            _ => {
                let what = format!("there is more than one password for user `{user}`");
                return Err(self.document.refuse(place, what, ONE_PASSWORD));
            }
        };
        Ok(RoleSettings {
            name: name.to_owned(),
            user: user.to_owned(),
            password: password.expose().to_owned(),
        })
    }

    fn secret<T>(
        &self,
        key: &Spanned<T>,
        secret: Result<Secret, SecretError>,
    ) -> Result<Secret, ConfigError> {
        secret.map_err(|error| {
            let source = std::error::Error::source(&error).map(|source| format!(" ({source})"));
            let what = format!("{error}{}", source.unwrap_or_default());
            self.refuse(key, what, "the gateway needs this password to start")
        })
    }

    pub(super) fn refuse<T>(
        &self,
        key: &Spanned<T>,
        what: impl Into<String>,
        allowed: impl Into<String>,
    ) -> ConfigError {
        self.document.refuse(key.span(), what, allowed)
    }
}

const LOOPBACK_ONLY: &str = "this door speaks no TLS of its own, so use a loopback address such as 127.0.0.1 and put a TLS proxy or an SSH tunnel before it";
const SAME_ELSEWHERE: &str =
    "`upstream_user = \"same\"` lets clients choose the role of a server that is not on this machine";
const SAME_ALLOWED: &str = "use a loopback address or a Unix socket folder, or leave it out";
const ONE_PASSWORD: &str = "give exactly one of password_env, password_file and password_command";
