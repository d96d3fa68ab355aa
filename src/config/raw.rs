//! `portcullis.toml` as written: every key that exists, where it stands, and nothing about what it means.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    #[serde(default = "Wire::usual")]
    pub(super) wire: Wire,
    #[serde(default = "Mcp::usual")]
    pub(super) mcp: Mcp,
    #[serde(default = "Console::usual")]
    pub(super) console: Console,
    #[serde(default)]
    pub(super) policy: Policy,
    #[serde(default = "Folder::agents")]
    pub(super) agents: Folder,
    #[serde(default = "Folder::state")]
    pub(super) state: Folder,
    #[serde(default)]
    pub(super) ledger: Ledger,
    pub(super) decision_log: Option<DecisionLog>,
    #[serde(default)]
    pub(super) alert: BTreeMap<String, Spanned<Alert>>,
    #[serde(default)]
    pub(super) database: Vec<Spanned<Database>>,
}

/// `[wire]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wire {
    #[serde(default = "Wire::listen")]
    pub(super) listen: Spanned<String>,
    pub(super) auth: Option<Spanned<Auth>>,
    pub(super) tls: Option<Spanned<Tls>>,
    pub(super) max_connections: Option<Spanned<i64>>,
    pub(super) max_connections_per_identity: Option<Spanned<i64>>,
    pub(super) max_connections_per_database: Option<Spanned<i64>>,
    pub(super) handshake_timeout_s: Option<Spanned<i64>>,
    pub(super) idle_timeout_s: Option<Spanned<i64>>,
    pub(super) session_timeout_s: Option<Spanned<i64>>,
    pub(super) max_message_bytes: Option<Spanned<i64>>,
    pub(super) max_statement_bytes: Option<Spanned<i64>>,
    pub(super) max_portals: Option<Spanned<i64>>,
    pub(super) max_statements: Option<Spanned<i64>>,
}

/// `auth = ...`
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Auth {
    Scram,
    Token,
    Trust,
}

/// `tls.cert = ...` and the like
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tls {
    pub(super) cert: PathBuf,
    pub(super) key: PathBuf,
    pub(super) client_ca: Option<PathBuf>,
    pub(super) required: Option<bool>,
}

/// `[mcp]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mcp {
    #[serde(default = "Mcp::listen")]
    pub(super) listen: Spanned<String>,
    #[serde(default)]
    pub(super) allowed_hosts: Vec<Spanned<String>>,
    pub(super) public_url: Option<Spanned<String>>,
    pub(super) requests_per_minute: Option<Spanned<i64>>,
    #[serde(default)]
    pub(super) issuer: Vec<Spanned<Issuer>>,
}

/// `[[mcp.issuer]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Issuer {
    pub(super) name: Spanned<String>,
    pub(super) url: Spanned<String>,
    pub(super) audience: Option<String>,
    pub(super) ca: Option<Spanned<PathBuf>>,
    pub(super) algorithms: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) leeway_s: Option<Spanned<i64>>,
    pub(super) groups_claim: Option<String>,
    #[serde(default)]
    pub(super) groups: BTreeMap<String, Spanned<String>>,
    #[serde(default)]
    pub(super) claims: Vec<String>,
    pub(super) task_claim: Option<String>,
    pub(super) scopes: Option<Scopes>,
}

/// `scopes = { ... }` of an issuer
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Scopes {
    pub(super) read: Option<Spanned<String>>,
    pub(super) write: Option<Spanned<String>>,
}

/// `[console]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Console {
    #[serde(default = "Console::listen")]
    pub(super) listen: Spanned<String>,
    pub(super) url: Option<Spanned<String>>,
}

/// `[policy]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Policy {
    pub(super) path: Option<Spanned<PathBuf>>,
    pub(super) run_tests: Option<bool>,
    #[serde(default)]
    pub(super) key: Vec<Spanned<Key>>,
    #[serde(default)]
    pub(super) bundle: Vec<Spanned<Bundle>>,
    pub(super) shadow: Option<Spanned<Shadow>>,
    #[serde(default)]
    pub(super) delegate: Delegates,
}

/// `[policy.shadow]`: a bundle, and how it is compared.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Shadow {
    pub(super) path: Option<Spanned<PathBuf>>,
    pub(super) url: Option<Spanned<String>>,
    pub(super) ca: Option<Spanned<PathBuf>>,
    pub(super) token_env: Option<Spanned<String>>,
    pub(super) token_file: Option<Spanned<PathBuf>>,
    pub(super) token_command: Option<Spanned<String>>,
    pub(super) keys: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) scope: Option<String>,
    pub(super) replaces: Option<Spanned<String>>,
    pub(super) sample: Option<Spanned<f64>>,
}

/// `[policy.delegate]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Delegates {
    pub(super) statement: Option<Delegate>,
}

/// `[policy.delegate.statement]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Delegate {
    pub(super) url: Spanned<String>,
    pub(super) ca: Option<Spanned<PathBuf>>,
    pub(super) token_env: Option<Spanned<String>>,
    pub(super) token_file: Option<Spanned<PathBuf>>,
    pub(super) token_command: Option<Spanned<String>>,
    pub(super) path: Option<String>,
    pub(super) timeout_ms: Option<Spanned<i64>>,
    pub(super) reads: Option<Vec<Spanned<String>>>,
}

/// `[decision_log]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DecisionLog {
    pub(super) url: Spanned<String>,
    pub(super) ca: Option<Spanned<PathBuf>>,
    pub(super) token_env: Option<Spanned<String>>,
    pub(super) token_file: Option<Spanned<PathBuf>>,
    pub(super) token_command: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
    pub(super) every_min_s: Option<Spanned<i64>>,
    pub(super) every_max_s: Option<Spanned<i64>>,
    pub(super) buffer_events: Option<Spanned<i64>>,
    pub(super) chunk_bytes: Option<Spanned<i64>>,
}

/// `[alert.NAME]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Alert {
    pub(super) webhook: Option<Spanned<String>>,
    pub(super) ca: Option<Spanned<PathBuf>>,
    pub(super) token_env: Option<Spanned<String>>,
    pub(super) token_file: Option<Spanned<PathBuf>>,
    pub(super) token_command: Option<Spanned<String>>,
}

/// `[[policy.key]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Key {
    pub(super) id: Spanned<String>,
    pub(super) algorithm: Spanned<String>,
    pub(super) public_key_file: Option<Spanned<PathBuf>>,
    pub(super) secret_env: Option<Spanned<String>>,
    pub(super) secret_file: Option<Spanned<PathBuf>>,
    pub(super) secret_command: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) scope: String,
}

/// `[[policy.bundle]]`. The keys of a server are repeated wherever one is named: serde refuses unknown keys only
/// without `flatten`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Bundle {
    pub(super) name: Spanned<String>,
    pub(super) path: Option<Spanned<PathBuf>>,
    pub(super) url: Option<Spanned<String>>,
    pub(super) ca: Option<Spanned<PathBuf>>,
    pub(super) token_env: Option<Spanned<String>>,
    pub(super) token_file: Option<Spanned<PathBuf>>,
    pub(super) token_command: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) grants: bool,
    pub(super) keys: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) scope: Option<String>,
    pub(super) poll_min_s: Option<Spanned<i64>>,
    pub(super) poll_max_s: Option<Spanned<i64>>,
    pub(super) required: Option<bool>,
}

/// `[agents]` and `[state]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Folder {
    pub(super) path: PathBuf,
}

/// `[ledger]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ledger {
    #[serde(default)]
    pub(super) durability: Durability,
}

/// `durability = ...`
#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Durability {
    #[default]
    Fsync,
    Os,
}

/// `[[database]]`. The password keys are repeated in [`Role`]: serde refuses unknown keys only without `flatten`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Database {
    pub(super) name: Spanned<String>,
    pub(super) url: Spanned<String>,
    pub(super) search_path: Option<Vec<Spanned<String>>>,
    pub(super) tls: Option<Spanned<DatabaseTls>>,
    pub(super) upstream_user: Option<Spanned<UpstreamUser>>,
    pub(super) max_connections: Option<Spanned<i64>>,
    pub(super) connect_timeout_s: Option<Spanned<i64>>,
    pub(super) password_env: Option<Spanned<String>>,
    pub(super) password_file: Option<Spanned<PathBuf>>,
    pub(super) password_command: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) accept: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) role: Vec<Spanned<Role>>,
}

/// `tls = { ... }` of a database
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DatabaseTls {
    pub(super) mode: Option<TlsMode>,
    pub(super) ca: Option<Spanned<PathBuf>>,
    pub(super) cert: Option<Spanned<PathBuf>>,
    pub(super) key: Option<Spanned<PathBuf>>,
    pub(super) server_name: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) direct: bool,
    #[serde(default)]
    pub(super) channel_binding: ChannelBinding,
}

/// `mode = ...`, in the words of libpq
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum TlsMode {
    VerifyFull,
    VerifyCa,
    Require,
    Disable,
}

/// `channel_binding = ...`, in the words of libpq
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ChannelBinding {
    #[default]
    Prefer,
    Require,
}

/// `upstream_user = ...`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum UpstreamUser {
    Same,
}

/// `[[database.role]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Role {
    pub(super) name: Spanned<String>,
    pub(super) user: Spanned<String>,
    #[serde(default)]
    pub(super) accept: Vec<Spanned<String>>,
    pub(super) password_env: Option<Spanned<String>>,
    pub(super) password_file: Option<Spanned<PathBuf>>,
    pub(super) password_command: Option<Spanned<String>>,
}

impl Wire {
    fn usual() -> Self {
        Self {
            listen: Self::listen(),
            auth: None,
            tls: None,
            max_connections: None,
            max_connections_per_identity: None,
            max_connections_per_database: None,
            handshake_timeout_s: None,
            idle_timeout_s: None,
            session_timeout_s: None,
            max_message_bytes: None,
            max_statement_bytes: None,
            max_portals: None,
            max_statements: None,
        }
    }

    fn listen() -> Spanned<String> {
        loopback(6432)
    }
}

impl Mcp {
    fn usual() -> Self {
        Self {
            listen: Self::listen(),
            allowed_hosts: Vec::new(),
            public_url: None,
            requests_per_minute: None,
            issuer: Vec::new(),
        }
    }

    fn listen() -> Spanned<String> {
        loopback(8432)
    }
}

impl Console {
    fn usual() -> Self {
        Self { listen: Self::listen(), url: None }
    }

    fn listen() -> Spanned<String> {
        loopback(8433)
    }
}

impl Policy {
    /// The rulebook's folder.
    pub(super) fn folder(&self) -> &Path {
        self.path.as_ref().map_or(Path::new("policies"), |path| path.get_ref())
    }
}

impl Folder {
    fn agents() -> Self {
        Self { path: "agents".into() }
    }

    fn state() -> Self {
        Self { path: "state".into() }
    }
}

fn loopback(port: u16) -> Spanned<String> {
    Spanned::new(0..0, SocketAddr::from(([127, 0, 0, 1], port)).to_string())
}
