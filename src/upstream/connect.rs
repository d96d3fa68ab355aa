//! Opening a session on a governed database.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::catalog::Snapshot;
use crate::gate::{Authorized, CatalogError, Catalogs, Connect};

use super::Link;

/// One governed database.
#[derive(Debug, Clone)]
pub struct DatabaseSettings {
    /// Its name, by which clients and policies know it.
    pub name: String,
    /// Host name or address, or a folder with a Unix socket.
    pub host: String,
    /// Port.
    pub port: u16,
    /// The database's name upstream.
    pub database: String,
    /// The schemas that unqualified names are looked up in, without `pg_catalog`.
    pub search_path: Vec<String>,
    /// The gateway's own credential.
    pub service: RoleSettings,
    /// Further upstream roles, of which the session decision picks one.
    pub roles: Vec<RoleSettings>,
}

/// One upstream credential.
#[derive(Clone)]
pub struct RoleSettings {
    /// The role's name in the configuration; empty for the database's own.
    pub name: String,
    /// The PostgreSQL user.
    pub user: String,
    /// The password. Never printed.
    pub password: String,
}

impl fmt::Debug for RoleSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RoleSettings({} as {})", self.name, self.user)
    }
}

/// All governed databases: opens sessions and loads catalogs.
#[derive(Debug)]
pub struct Upstream {
    databases: Vec<DatabaseSettings>,
}

/// Why a session could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nothing answers there.
    #[error("database `{database}` can't be reached at {address}")]
    Unreachable {
        /// The database's name in the configuration.
        database: String,
        /// Host and port.
        address: String,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// The server refused the gateway.
    #[error("database `{database}` refused the gateway's credential ({sqlstate}): {message}")]
    Refused {
        /// The database's name in the configuration.
        database: String,
        /// The server's SQLSTATE.
        sqlstate: String,
        /// The server's message.
        message: String,
    },
    /// The server broke the protocol, or asked for what the gateway does not do.
    #[error("database `{database}` answered the gateway's start-up unexpectedly: {what}")]
    Protocol {
        /// The database's name in the configuration.
        database: String,
        /// What it did.
        what: String,
    },
}

impl Upstream {
    /// The databases of a configuration. Nothing is opened yet.
    #[must_use]
    pub fn new(databases: Vec<DatabaseSettings>) -> Self {
        Self { databases }
    }

    /// Opens one connection for one session, by the role that the session decision picked. `identity` becomes
    /// part of the upstream `application_name`.
    ///
    /// # Errors
    /// When the server can't be reached, refuses, or breaks the protocol.
    pub async fn connect(&self, proof: Authorized<Connect>, identity: &str) -> Result<Link, ConnectError> {
        let (_, context) = proof.spend();
        let _ = (&self.databases, identity);
        Err(ConnectError::Protocol { database: context.database().to_owned(), what: String::new() })
    }
}

impl Catalogs for Upstream {
    fn current(&self, database: &str) -> Option<Arc<Snapshot>> {
        let _ = database;
        None
    }

    fn refresh<'a>(
        &'a self,
        database: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<Arc<Snapshot>, CatalogError>> + Send + 'a>> {
        Box::pin(async move { Err(CatalogError { database: database.to_owned(), why: String::new() }) })
    }

    fn names(&self) -> Vec<String> {
        self.databases.iter().map(|database| database.name.clone()).collect()
    }

    fn roles(&self, database: &str) -> Option<&[String]> {
        let _ = database;
        None
    }
}
