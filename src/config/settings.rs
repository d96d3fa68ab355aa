//! The configuration as meant: addresses that may be listened on, absolute paths, secrets in hand.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use toml::Spanned;

use crate::audit::Durability;
use crate::control;
use crate::upstream::DatabaseSettings;
use crate::wire;

use super::error::{ConfigError, Document};
use super::mcp::McpSettings;
use super::raw;

/// Everything the gateway needs to start.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the wire door listens. Loopback, unless it speaks TLS.
    pub wire: SocketAddr,
    /// How the wire door behaves.
    pub wire_door: wire::Settings,
    /// Where the MCP door listens. Loopback.
    pub mcp: SocketAddr,
    /// How the MCP door behaves.
    pub mcp_door: McpSettings,
    /// Where the console listens. Loopback.
    pub console: SocketAddr,
    /// The console's address as people write it, without a slash at the end.
    pub console_url: String,
    /// The rulebook's folder; empty where the rulebook comes by bundles alone.
    pub policy_path: PathBuf,
    /// Bundles, and what else comes from other systems.
    pub control: control::Settings,
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
        policy: base.join(raw.policy.folder()),
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
    let console_url = match &raw.console.url {
        Some(url) => meaning.web_address(url)?,
        None => format!("http://{console}"),
    };
    let control = meaning.control(&raw)?;
    let databases = meaning.databases(raw.database, wire_door.auth)?;
    let only = match databases.as_slice() {
        [only] => Some(only.name.clone()),
        _ => None,
    };
    Ok(Settings {
        wire,
        wire_door: wire::Settings { default_database: only, ..wire_door },
        mcp,
        mcp_door: meaning.mcp(&raw.mcp)?,
        console,
        console_url,
        policy_path: meaning.rulebook(&raw.policy)?,
        control,
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
    pub(super) document: &'a Document<'a>,
    /// Relative paths start here: beside the configuration.
    pub(super) base: &'a Path,
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

    pub(super) fn host(&self, host: &Spanned<String>) -> Result<String, ConfigError> {
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
