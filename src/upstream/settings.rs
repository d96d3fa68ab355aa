//! What the configuration says of a governed database.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use crate::mask::Key;
use crate::tls::client::{Client, Verification};

use super::doctor::Kind;

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
    /// TLS towards the server; `None` speaks without.
    pub tls: Option<Client>,
    /// Whether authentication must be bound to that TLS.
    pub channel_binding: ChannelBinding,
    /// Whose role a session has upstream.
    pub upstream_user: UpstreamUser,
    /// Most sessions upstream at once; `None` leaves that to the server. The catalog's own is not counted.
    pub max_connections: Option<usize>,
    /// How long opening a session may take, from the first packet to the server's ReadyForQuery.
    pub connect_timeout: Duration,
    /// What is used all the same although the doctor finds it: by role, whose name is empty for the database's own.
    pub accepted: BTreeMap<String, BTreeSet<Kind>>,
    /// The key of hashes in place of values; without one, statements with such masks fail.
    pub mask_key: Option<Key>,
}

/// One upstream credential.
#[derive(Clone)]
pub struct RoleSettings {
    /// The role's name in the configuration; empty for the database's own.
    pub name: String,
    /// The PostgreSQL user.
    pub user: String,
    /// The password; empty where there is none, and a certificate or the server's trust must do. Never printed.
    pub password: String,
}

/// Whether authentication must be bound to the TLS beneath it (SCRAM-SHA-256-PLUS), in libpq's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ChannelBinding {
    /// It is where the server offers it.
    #[default]
    Prefer,
    /// It is, or there is no session.
    Require,
}

/// Whose role a session has upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UpstreamUser {
    /// One of the gateway's own credentials.
    #[default]
    Role,
    /// The role that is called as the identity is, without a password of the gateway's. The catalog is still read by the
    /// gateway's own credential.
    Same,
}

impl DatabaseSettings {
    /// A database with everything else as it is where the configuration says nothing, without TLS.
    #[must_use]
    pub fn new(name: String, host: String, port: u16, database: String, service: RoleSettings) -> Self {
        Self {
            name,
            host,
            port,
            database,
            search_path: vec!["public".to_owned()],
            service,
            roles: Vec::new(),
            tls: None,
            channel_binding: ChannelBinding::Prefer,
            upstream_user: UpstreamUser::Role,
            max_connections: None,
            connect_timeout: CONNECT_TIMEOUT,
            accepted: BTreeMap::new(),
            mask_key: None,
        }
    }

    /// What an operator should know about how this server is reached; `None` where there is nothing weak about it.
    #[must_use]
    pub fn weakness(&self) -> Option<&'static str> {
        match self.tls.as_ref().map(Client::verification) {
            Some(Verification::Full) => None,
            Some(Verification::Authority) => {
                Some("anyone who has a certificate of the same authority can stand in for the server")
            }
            Some(Verification::Nothing) => {
                Some("no certificate is checked: only SCRAM with channel binding knows the server")
            }
            None if self.is_local() => None,
            None => Some("everything, masked or not, crosses the network in clear text"),
        }
    }

    /// Whether the host, as it is written, is this machine.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.host.starts_with('/')
            || self.host == "localhost"
            || self.host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
    }

    /// The credentials of the gateway's own that sessions are opened by.
    pub(super) fn credentials(&self) -> impl Iterator<Item = &RoleSettings> {
        let own = (self.upstream_user == UpstreamUser::Role).then_some(&self.service);
        own.into_iter().chain(&self.roles)
    }

    pub(super) fn role(&self, name: Option<&str>) -> Option<&RoleSettings> {
        match name {
            None => Some(&self.service),
            Some(name) => self.roles.iter().find(|role| role.name == name),
        }
    }
}

impl RoleSettings {
    /// The role `user`, of which the gateway knows no password.
    pub(super) fn without_password(user: &str) -> Self {
        Self { name: String::new(), user: user.to_owned(), password: String::new() }
    }
}

impl fmt::Debug for RoleSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RoleSettings({} as {})", self.name, self.user)
    }
}

/// How long opening a session may take where the configuration says nothing.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::client::Settings;

    fn database(host: &str) -> DatabaseSettings {
        let role = RoleSettings { name: "r".into(), user: "u".into(), password: "hunter2".into() };
        DatabaseSettings::new("d".into(), host.into(), 5432, "d".into(), role)
    }

    #[test]
    fn settings_print_no_password() {
        assert!(!format!("{:?}", database("h")).contains("hunter2"));
    }

    #[test]
    fn what_is_weak_about_the_way_to_a_server_is_named() {
        for host in ["127.0.0.1", "::1", "localhost", "/run/postgresql"] {
            assert_eq!(database(host).weakness(), None, "{host}");
        }
        assert!(database("db.example.com").weakness().unwrap().contains("in clear text"));
        let unchecked = Client::build(&Settings::new("db.example.com", Verification::Nothing)).unwrap();
        let database = DatabaseSettings { tls: Some(unchecked), ..database("127.0.0.1") };
        assert!(database.weakness().unwrap().contains("no certificate is checked"));
    }
}
