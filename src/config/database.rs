//! `[[database]]` as meant: where a server is, by which credentials, and how many sessions it gets.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use toml::Spanned;

use crate::tls::client::Client;
use crate::upstream::{CONNECT_TIMEOUT, DatabaseSettings, Kind, RoleSettings, UpstreamUser};
use crate::wire::Auth;

use super::error::{ConfigError, nearest};
use super::raw;
use super::secret::{Secret, SecretError};
use super::settings::Meaning;
use super::transport;
use super::url::Url;
use super::wire::{PLACES, seconds};

/// The three keys of which exactly one says where a password is.
struct PasswordKeys<'a> {
    env: Option<&'a Spanned<String>>,
    file: Option<&'a Spanned<PathBuf>>,
    command: Option<&'a Spanned<String>>,
}

impl Meaning<'_> {
    /// Every governed database. `auth` is how clients prove themselves at the wire door.
    pub(super) fn databases(
        &self,
        raw: Vec<Spanned<raw::Database>>,
        auth: Auth,
    ) -> Result<Vec<DatabaseSettings>, ConfigError> {
        if raw.is_empty() {
            let allowed =
                "add a [[database]] with name, url, and password_env, password_file or password_command";
            return Err(self.document.refuse(0..0, "there is no [[database]]", allowed));
        }
        let mut names = BTreeSet::new();
        for database in &raw {
            self.name(&database.get_ref().name, "database", &mut names)?;
        }
        raw.into_iter().map(|database| self.database(database, auth)).collect()
    }

    fn database(&self, raw: Spanned<raw::Database>, auth: Auth) -> Result<DatabaseSettings, ConfigError> {
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
        let mut accepted = BTreeMap::from([(String::new(), self.accepted(&raw.accept)?)]);
        for role in raw.role {
            let place = role.span();
            let role = role.into_inner();
            self.name(&role.name, "role", &mut names)?;
            accepted.insert(role.name.get_ref().clone(), self.accepted(&role.accept)?);
            let keys = PasswordKeys {
                env: role.password_env.as_ref(),
                file: role.password_file.as_ref(),
                command: role.password_command.as_ref(),
            };
            roles.push(self.role(role.name.get_ref(), role.user.get_ref(), place, &keys, certified)?);
        }
        let upstream_user = match raw.upstream_user {
            None => UpstreamUser::Role,
            Some(same) => self.same_user(&same, &url, auth)?,
        };
        let max_connections = self.count(&raw.max_connections, PLACES)?;
        let connect_timeout = self.count(&raw.connect_timeout_s, 1..=3600)?.map(seconds);
        Ok(DatabaseSettings {
            search_path: self.search_path(raw.search_path)?,
            roles,
            tls,
            channel_binding,
            upstream_user,
            accepted,
            max_connections,
            connect_timeout: connect_timeout.unwrap_or(CONNECT_TIMEOUT),
            ..DatabaseSettings::new(raw.name.into_inner(), url.host, url.port, url.database, service)
        })
    }

    /// The findings of `portcullis doctor` that a role is used with. What would only be said needs no word.
    fn accepted(&self, raw: &[Spanned<String>]) -> Result<BTreeSet<Kind>, ConfigError> {
        let known = || Kind::ALL.iter().copied().filter(|kind| kind.is_dangerous()).map(Kind::name);
        let accept = |name: &Spanned<String>| {
            let text = name.get_ref();
            match Kind::of_name(text) {
                Some(kind) if kind.is_dangerous() => Ok(kind),
                Some(kind) => {
                    let what = format!("`{kind}` is only a warning, which nobody need accept");
                    Err(self.refuse(name, what, "leave it out"))
                }
                None => {
                    let all: Vec<&str> = known().collect();
                    let suggestion = nearest(text, &all).map(|name| format!("did you mean `{name}`? "));
                    let allowed =
                        format!("{}allowed here: {}", suggestion.unwrap_or_default(), all.join(", "));
                    Err(self.refuse(name, format!("`{text}` is no finding of `portcullis doctor`"), allowed))
                }
            }
        };
        raw.iter().map(accept).collect()
    }

    /// Clients who prove nothing choose the role upstream: that is for one machine only.
    fn same_user(
        &self,
        same: &Spanned<raw::UpstreamUser>,
        url: &Url,
        auth: Auth,
    ) -> Result<UpstreamUser, ConfigError> {
        let what = match (auth, url.is_local()) {
            (Auth::Trust, true) => return Ok(UpstreamUser::Same),
            (Auth::Trust, false) => "whose server is not on this machine",
            (Auth::Scram | Auth::Token, _) => "though the wire door does not take them at their word",
        };
        let what = format!("clients would choose the role upstream, {what}");
        Err(self.refuse(same, what, SAME_ALLOWED))
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

    pub(super) fn name(
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
}

const SAME_ALLOWED: &str = "`upstream_user = \"same\"` needs `auth = \"trust\"` in [wire], and a server on a loopback address or a Unix socket";
const ONE_PASSWORD: &str = "give exactly one of password_env, password_file and password_command";
