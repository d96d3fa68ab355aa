//! How the wire door behaves.

use std::sync::Arc;
use std::time::Duration;

use crate::tls::server::Certificates;

use super::session::Limits;
use super::startup::{Auth, Encryption};

/// How the wire door behaves.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How clients prove who they are.
    pub auth: Auth,
    /// The gateway's own certificate; `None` speaks no TLS.
    pub certificates: Option<Arc<Certificates>>,
    /// Whether sessions without TLS are refused.
    pub tls_required: bool,
    /// The database of clients that name none; `None` takes the one that is called like the user.
    pub default_database: Option<String>,
    /// Most connections at once.
    pub max_connections: usize,
    /// Most sessions of one identity at once; `None` is no limit of its own.
    pub max_connections_per_identity: Option<usize>,
    /// Most sessions on one database at once; `None` is no limit of its own.
    pub max_connections_per_database: Option<usize>,
    /// How long a client may take from its first byte to an open session.
    pub handshake_timeout: Duration,
    /// How long a session may wait for its client outside a transaction; `None` is for ever.
    pub idle_timeout: Option<Duration>,
    /// How long a session may last; `None` is for ever.
    pub session_timeout: Option<Duration>,
    /// The longest Query, Parse or Bind message, in bytes: they are held in memory as a whole.
    pub max_message_bytes: usize,
    /// The longest statement, in bytes.
    pub max_statement_bytes: usize,
    /// Most portals that a session may keep.
    pub max_portals: usize,
    /// Most prepared statements that a session may keep.
    pub max_statements: usize,
}

impl Settings {
    /// What one session may make the gateway keep.
    pub(super) fn limits(&self) -> Limits {
        Limits {
            statement_bytes: self.max_statement_bytes,
            statements: self.max_statements,
            portals: self.max_portals,
        }
    }

    /// Whether and from whom TLS is asked.
    pub(super) fn encryption(&self) -> Encryption {
        match (&self.certificates, self.tls_required) {
            (None, _) => Encryption::Unavailable,
            (Some(_), false) => Encryption::Offered,
            (Some(_), true) => Encryption::Required,
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            auth: Auth::default(),
            certificates: None,
            tls_required: false,
            default_database: None,
            max_connections: 500,
            max_connections_per_identity: None,
            max_connections_per_database: None,
            handshake_timeout: Duration::from_secs(30),
            idle_timeout: None,
            session_timeout: None,
            max_message_bytes: 64 << 20,
            max_statement_bytes: 1 << 20,
            max_portals: 10_000,
            max_statements: 10_000,
        }
    }
}
