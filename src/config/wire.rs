//! `[wire]` as meant: where the wire door listens, to whom, and with what limits.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use toml::Spanned;

use crate::tls::server::{Certificates, Files};
use crate::wire::{Auth, Settings};

use super::error::ConfigError;
use super::raw;
use super::settings::Meaning;

impl Meaning<'_> {
    /// Where the wire door listens, and how it behaves.
    pub(super) fn wire(&self, raw: &raw::Wire) -> Result<(SocketAddr, Settings), ConfigError> {
        let address = self.address(&raw.listen)?;
        let local = address.ip().is_loopback();
        let certificates = raw.tls.as_ref().map(|tls| self.certificates(tls)).transpose()?;
        if !local && certificates.is_none() {
            let what = format!(
                "the wire door would listen on `{address}`, which other machines can reach, without TLS"
            );
            return Err(self.refuse(&raw.listen, what, TLS_OR_LOOPBACK));
        }
        let required = raw.tls.as_ref().and_then(|tls| tls.get_ref().required);
        let usual = Settings::default();
        let settings = Settings {
            auth: self.auth(raw, local)?,
            certificates: certificates.map(Arc::new),
            tls_required: required.unwrap_or(!local),
            default_database: None,
            max_connections: self.count(&raw.max_connections, PLACES)?.unwrap_or(usual.max_connections),
            max_connections_per_identity: self.count(&raw.max_connections_per_identity, PLACES)?,
            max_connections_per_database: self.count(&raw.max_connections_per_database, PLACES)?,
            handshake_timeout: self
                .count(&raw.handshake_timeout_s, 1..=3600)?
                .map_or(usual.handshake_timeout, seconds),
            idle_timeout: self.count(&raw.idle_timeout_s, SECONDS)?.filter(|s| *s > 0).map(seconds),
            session_timeout: self.count(&raw.session_timeout_s, SECONDS)?.filter(|s| *s > 0).map(seconds),
            max_message_bytes: self.count(&raw.max_message_bytes, BYTES)?.unwrap_or(usual.max_message_bytes),
            max_statement_bytes: self
                .count(&raw.max_statement_bytes, BYTES)?
                .unwrap_or(usual.max_statement_bytes),
            max_portals: self.count(&raw.max_portals, NAMES)?.unwrap_or(usual.max_portals),
            max_statements: self.count(&raw.max_statements, NAMES)?.unwrap_or(usual.max_statements),
        };
        Ok((address, settings))
    }

    fn auth(&self, raw: &raw::Wire, local: bool) -> Result<Auth, ConfigError> {
        let auth = match raw.auth.as_ref().map(|auth| *auth.get_ref()) {
            None | Some(raw::Auth::Scram) => Auth::Scram,
            Some(raw::Auth::Token) => Auth::Token,
            Some(raw::Auth::Trust) => Auth::Trust,
        };
        let Some(written) = &raw.auth else { return Ok(auth) };
        if auth == Auth::Trust && !local {
            let what = "whoever reaches the wire door would be whoever they say";
            return Err(self.refuse(written, what, "`trust` is for loopback listeners only; use \"scram\""));
        }
        if auth == Auth::Token && raw.tls.is_none() {
            let what = "tokens would be sent in clear";
            return Err(self.refuse(written, what, "add tls.cert and tls.key, or use \"scram\""));
        }
        Ok(auth)
    }

    fn certificates(&self, tls: &Spanned<raw::Tls>) -> Result<Certificates, ConfigError> {
        let raw::Tls { cert, key, client_ca, required: _ } = tls.get_ref();
        let files = Files {
            certificate: self.base.join(cert),
            key: self.base.join(key),
            client_ca: client_ca.as_ref().map(|path| self.base.join(path)),
        };
        Certificates::load(files).map_err(|error| {
            let source = std::error::Error::source(&error).map(|source| format!(" ({source})"));
            let what = format!("{error}{}", source.unwrap_or_default());
            self.refuse(tls, what, "TLS needs a certificate and its own private key, both in PEM form")
        })
    }

    /// A number within `range`, if it is written.
    pub(super) fn count(
        &self,
        written: &Option<Spanned<i64>>,
        range: std::ops::RangeInclusive<usize>,
    ) -> Result<Option<usize>, ConfigError> {
        let Some(written) = written else { return Ok(None) };
        match usize::try_from(*written.get_ref()).ok().filter(|number| range.contains(number)) {
            Some(number) => Ok(Some(number)),
            None => {
                let what = format!("{} is out of bounds", written.get_ref());
                let allowed = format!("allowed are {} to {}", range.start(), range.end());
                Err(self.refuse(written, what, allowed))
            }
        }
    }
}

pub(super) fn seconds(number: usize) -> Duration {
    Duration::from_secs(u64::try_from(number).unwrap_or(u64::MAX))
}

const TLS_OR_LOOPBACK: &str =
    "add tls.cert and tls.key, or use a loopback address such as 127.0.0.1 and an SSH tunnel";
pub(super) const PLACES: std::ops::RangeInclusive<usize> = 1..=1_000_000;
/// Up to a year; 0 is for ever.
const SECONDS: std::ops::RangeInclusive<usize> = 0..=31_536_000;
/// PostgreSQL itself takes messages of less than 1 GiB.
const BYTES: std::ops::RangeInclusive<usize> = 1024..=0x3fff_ffff;
const NAMES: std::ops::RangeInclusive<usize> = 1..=1_000_000;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rcgen::{CertificateParams, KeyPair};

    use super::*;
    use crate::config::parse;

    /// `[wire]` with `text`, in a folder with a certificate and its key.
    fn wire(text: &str) -> Result<(SocketAddr, Settings), String> {
        let folder = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["gate".to_owned()]).unwrap().self_signed(&key).unwrap();
        std::fs::write(folder.path().join("cert.pem"), certificate.pem()).unwrap();
        std::fs::write(folder.path().join("key.pem"), key.serialize_pem()).unwrap();
        let database = "[[database]]\nname = \"shop\"\nurl = \"postgres://u@127.0.0.1/shop\"\n\
            password_command = \"echo x\"\n";
        let text = format!("[wire]\n{text}\n{database}");
        let path = folder.path().join("p.toml");
        let shorter = |said: String| said.replace(&format!("{}/", folder.path().display()), "");
        let settings = parse(&path, &text).map_err(|error| shorter(error.to_string()))?;
        Ok((settings.wire, settings.wire_door))
    }

    const TLS: &str = "tls = { cert = \"cert.pem\", key = \"key.pem\" }\n";

    #[test]
    fn other_machines_get_in_by_tls_only() {
        let (address, settings) = wire(&format!("listen = \"0.0.0.0:6432\"\n{TLS}")).unwrap();
        assert_eq!(address, "0.0.0.0:6432".parse().unwrap());
        assert!(settings.certificates.is_some() && settings.tls_required);
        let (_, settings) = wire(TLS).unwrap();
        assert!(settings.certificates.is_some() && !settings.tls_required, "loopback");
        let (_, settings) =
            wire(&TLS.replace(" }", ", client_ca = \"cert.pem\", required = true }")).unwrap();
        assert!(settings.tls_required);
    }

    #[test]
    fn limits_are_read_and_bounded() {
        let text = "auth = \"trust\"\nmax_connections = 7\nmax_connections_per_identity = 2\n\
            max_connections_per_database = 3\nhandshake_timeout_s = 4\nidle_timeout_s = 5\nsession_timeout_s = 0\n\
            max_message_bytes = 2048\nmax_statement_bytes = 1024\nmax_portals = 8\nmax_statements = 9";
        let (_, settings) = wire(text).unwrap();
        assert_eq!(settings.auth, Auth::Trust);
        assert_eq!((settings.max_connections, settings.max_connections_per_identity), (7, Some(2)));
        assert_eq!(settings.max_connections_per_database, Some(3));
        assert_eq!(settings.handshake_timeout, Duration::from_secs(4));
        assert_eq!((settings.idle_timeout, settings.session_timeout), (Some(Duration::from_secs(5)), None));
        assert_eq!((settings.max_message_bytes, settings.max_statement_bytes), (2048, 1024));
        assert_eq!((settings.max_portals, settings.max_statements), (8, 9));
        assert_eq!(settings.default_database.as_deref(), Some("shop"), "the only one");
        for key in ["max_connections", "max_portals", "handshake_timeout_s", "max_message_bytes"] {
            for value in ["0", "-1", "99999999999"] {
                let said = wire(&format!("{key} = {value}")).unwrap_err();
                assert!(said.contains("is out of bounds; allowed are"), "{said}");
            }
        }
    }

    #[test]
    fn what_would_let_anybody_in_is_refused_where_it_stands() {
        let far = format!("listen = \"0.0.0.0:6432\"\n{TLS}");
        let said = |text: &str| wire(text).unwrap_err();
        insta::assert_snapshot!(said(&format!("{far}auth = \"trust\"")), @r#"p.toml:4:8: whoever reaches the wire door would be whoever they say; `trust` is for loopback listeners only; use "scram""#);
        insta::assert_snapshot!(said("auth = \"token\""), @r#"p.toml:2:8: tokens would be sent in clear; add tls.cert and tls.key, or use "scram""#);
        insta::assert_snapshot!(said("auth = \"md5\""), @r#"p.toml:2:8: unknown value "md5"; allowed here: "scram", "token", "trust""#);
        insta::assert_snapshot!(said(&TLS.replace("key.pem", "nokey.pem")), @"p.toml:2:7: `nokey.pem` can't be read (No such file or directory (os error 2)); TLS needs a certificate and its own private key, both in PEM form");
        insta::assert_snapshot!(said(&TLS.replace("key.pem", "cert.pem")), @"p.toml:2:7: `cert.pem` holds no private key without a passphrase in PEM form; TLS needs a certificate and its own private key, both in PEM form");
        insta::assert_snapshot!(said("tls = { cert = \"cert.pem\" }"), @"p.toml:2:7: key `key` is missing; add `key = ...`");
    }

    #[test]
    fn the_example_shows_the_defaults() {
        let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/portcullis.toml"));
        let example = std::fs::read_to_string(path).unwrap();
        let wire = example.split("\n[").find(|section| section.starts_with("wire]")).unwrap();
        let shown = |key: &str| {
            let line = wire.lines().find(|line| line.trim_start_matches("# ").starts_with(key)).unwrap();
            line.split('=').nth(1).unwrap().split('#').next().unwrap().trim().to_owned()
        };
        let usual = Settings::default();
        assert_eq!(shown("auth"), "\"scram\"");
        assert_eq!(shown("max_connections "), usual.max_connections.to_string());
        assert_eq!(shown("handshake_timeout_s"), usual.handshake_timeout.as_secs().to_string());
        assert_eq!(shown("idle_timeout_s"), "0");
        assert_eq!(shown("session_timeout_s"), "0");
        assert_eq!(shown("max_message_bytes"), usual.max_message_bytes.to_string());
        assert_eq!(shown("max_statement_bytes"), usual.max_statement_bytes.to_string());
        assert_eq!(shown("max_portals"), usual.max_portals.to_string());
        assert_eq!(shown("max_statements"), usual.max_statements.to_string());
    }
}
