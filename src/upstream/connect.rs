//! Opening a session on a governed database.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::catalog::Snapshot;
use crate::gate::{Authorized, CatalogError, Catalogs, Connect, Context};
use crate::identity::Identity;

use super::Link;
use super::catalog::Shelf;
use super::handshake::{self, Failure};

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
    databases: Vec<Database>,
}

#[derive(Debug)]
struct Database {
    settings: DatabaseSettings,
    roles: Vec<String>,
    shelf: Shelf,
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
        source: io::Error,
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
    /// The configuration has no such database or role.
    #[error("database `{database}` can't be used: {what}")]
    Unconfigured {
        /// The database's name.
        database: String,
        /// What is missing.
        what: &'static str,
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
        let databases = databases.into_iter().map(|settings| Database {
            roles: settings.roles.iter().map(|role| role.name.clone()).collect(),
            settings,
            shelf: Shelf::default(),
        });
        Self { databases: databases.collect() }
    }

    /// Opens one connection for one session, by the role that the session decision picked. The identity's name and
    /// what its client calls itself become the upstream `application_name`.
    ///
    /// # Errors
    /// When the server can't be reached, refuses, or breaks the protocol.
    pub async fn connect(&self, proof: Authorized<Connect>, who: &Identity) -> Result<Link, ConnectError> {
        let (_, context) = proof.spend();
        let unknown = |what| ConnectError::Unconfigured { database: context.database().to_owned(), what };
        let database =
            self.database(context.database()).ok_or_else(|| unknown("there is no such database"))?;
        let settings = &database.settings;
        let role = settings.role(context.role()).ok_or_else(|| unknown("it has no such role"))?;
        let parameters = start_up_parameters(settings, role, &context, who);
        let opened = match timeout(DEADLINE, handshake::open(settings, role, &parameters)).await {
            Ok(opened) => opened,
            Err(_) => Err(Failure::Io(io::Error::new(io::ErrorKind::TimedOut, "no answer in time"))),
        };
        opened.map(|opened| Link::new(context, opened)).map_err(|failure| settings.explain(failure))
    }

    fn database(&self, name: &str) -> Option<&Database> {
        self.databases.iter().find(|database| database.settings.name == name)
    }
}

impl Catalogs for Upstream {
    fn current(&self, database: &str) -> Option<Arc<Snapshot>> {
        self.database(database)?.shelf.newest()
    }

    fn refresh<'a>(
        &'a self,
        database: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<Arc<Snapshot>, CatalogError>> + Send + 'a>> {
        Box::pin(async move {
            match self.database(database) {
                Some(found) => found.shelf.refresh(&found.settings).await,
                None => Err(CatalogError {
                    database: database.to_owned(),
                    why: "there is no such database in the configuration".to_owned(),
                }),
            }
        })
    }

    fn names(&self) -> Vec<String> {
        self.databases.iter().map(|database| database.settings.name.clone()).collect()
    }

    fn roles(&self, database: &str) -> Option<&[String]> {
        self.database(database).map(|database| database.roles.as_slice())
    }
}

impl DatabaseSettings {
    fn role(&self, name: Option<&str>) -> Option<&RoleSettings> {
        match name {
            None => Some(&self.service),
            Some(name) => self.roles.iter().find(|role| role.name == name),
        }
    }

    fn explain(&self, failure: Failure) -> ConnectError {
        let database = self.name.clone();
        match failure {
            Failure::Io(source) => ConnectError::Unreachable {
                database,
                address: format!("{}:{}", self.host, self.port),
                source,
            },
            Failure::Refused { sqlstate, message } => ConnectError::Refused { database, sqlstate, message },
            Failure::Protocol(what) => ConnectError::Protocol { database, what },
        }
    }
}

/// What the server is told at start-up. Parameters given here weigh more than `ALTER ROLE ... SET`.
fn start_up_parameters(
    database: &DatabaseSettings,
    role: &RoleSettings,
    context: &Context,
    who: &Identity,
) -> Vec<(&'static str, String)> {
    let mut parameters = vec![
        ("user", role.user.clone()),
        ("database", database.database.clone()),
        ("application_name", application_name(who.name(), context.application())),
        ("client_encoding", "UTF8".to_owned()),
        ("standard_conforming_strings", "on".to_owned()),
        ("search_path", search_path(&database.search_path)),
        ("row_security", "on".to_owned()),
    ];
    if let Some(timeout_ms) = who.limits().statement_timeout_ms {
        parameters.push(("statement_timeout", timeout_ms.to_string()));
    }
    for name in CLIENTS_OWN {
        let setting = context.settings().iter().find(|(setting, _)| setting.eq_ignore_ascii_case(name));
        parameters.extend(setting.map(|(_, value)| (name, value.clone())));
    }
    parameters
}

/// Every schema quoted, and temporary tables last: a temporary table must not stand before one that was judged.
fn search_path(schemas: &[String]) -> String {
    let quoted = schemas.iter().map(|schema| format!("\"{}\"", schema.replace('"', "\"\"")));
    quoted.chain(["pg_temp".to_owned()]).collect::<Vec<_>>().join(", ")
}

/// `portcullis:NAME[:CLIENT]`, as PostgreSQL itself would clean and cut it.
fn application_name(identity: &str, client: &str) -> String {
    let name = match client {
        "" => format!("portcullis:{identity}"),
        client => format!("portcullis:{identity}:{client}"),
    };
    name.chars().map(|c| if matches!(c, ' '..='~') { c } else { '?' }).take(NAME_BYTES).collect()
}

/// What a client may set for itself: how values print.
const CLIENTS_OWN: [&str; 4] = ["DateStyle", "TimeZone", "IntervalStyle", "extra_float_digits"];

/// `NAMEDATALEN` less the NUL.
const NAME_BYTES: usize = 63;

/// For the whole start-up: reaching the server, authentication, and its first ReadyForQuery.
const DEADLINE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_search_path_is_quoted_and_ends_with_temporary_tables() {
        let schemas = ["public".to_owned(), "odd\"name, x".to_owned()];
        assert_eq!(search_path(&schemas), r#""public", "odd""name, x", pg_temp"#);
        assert_eq!(search_path(&[]), "pg_temp");
    }

    #[test]
    fn the_application_name_tells_identity_and_client_in_63_printable_bytes() {
        assert_eq!(application_name("ana", ""), "portcullis:ana");
        assert_eq!(application_name("ana", "psql"), "portcullis:ana:psql");
        assert_eq!(application_name("ana", "a\0b\n\u{e9}"), "portcullis:ana:a?b??");
        assert_eq!(application_name("ana", &"\u{1f600}".repeat(100)).len(), 63);
    }

    #[test]
    fn settings_print_no_password() {
        let role = RoleSettings { name: "r".into(), user: "u".into(), password: "hunter2".into() };
        assert!(!format!("{role:?}").contains("hunter2"));
    }
}
