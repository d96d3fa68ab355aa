//! `tls = { ... }` of a database: how its server is reached, and what counts as that server.
//!
//! Outside this machine nothing weaker than `verify-full` is meant unless it is written.

use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;

use crate::tls::client::{Client, Settings, Verification};
use crate::upstream::ChannelBinding;

use super::error::{ConfigError, Document};
use super::raw::{self, TlsMode};
use super::url::Url;

/// What `raw` means for the server of `url`: TLS or none, and whether authentication must be bound to it. `base` is where
/// relative paths start, `place` where the database stands.
pub(super) fn mean(
    document: &Document<'_>,
    base: &Path,
    place: Range<usize>,
    url: &Url,
    raw: Option<&Spanned<raw::DatabaseTls>>,
) -> Result<(Option<Client>, ChannelBinding), ConfigError> {
    let Some(written) = raw else {
        if url.is_local() {
            return Ok((None, ChannelBinding::Prefer));
        }
        let settings = Settings::new(&url.host, Verification::Full);
        return build(document, place, &settings).map(|client| (Some(client), ChannelBinding::Prefer));
    };
    let (place, raw) = (written.span(), written.get_ref());
    let refuse = |what: &str, allowed: &str| Err(document.refuse(place.clone(), what, allowed));
    let verification = match raw.mode.unwrap_or(TlsMode::VerifyFull) {
        TlsMode::Disable if has_more_than_a_mode(raw) => {
            return refuse(
                "there are keys for TLS beside `mode = \"disable\"`",
                "leave them out, or use TLS",
            );
        }
        TlsMode::Disable => return Ok((None, ChannelBinding::Prefer)),
        TlsMode::Require => Verification::Nothing,
        TlsMode::VerifyCa => Verification::Authority,
        TlsMode::VerifyFull => Verification::Full,
    };
    if url.is_unix() {
        return refuse("PostgreSQL has no TLS on a Unix socket", "leave `tls` out");
    }
    if verification == Verification::Nothing && raw.ca.is_some() {
        let allowed = "use `verify-full`, or leave `ca` out";
        return refuse("`ca` has no meaning where `mode = \"require\"` checks no certificate", allowed);
    }
    let own = match (&raw.cert, &raw.key) {
        (None, None) => None,
        (Some(cert), Some(key)) => Some((base.join(cert.get_ref()), base.join(key.get_ref()))),
        (Some(_), None) | (None, Some(_)) => {
            return refuse(
                "a certificate of our own needs its key",
                "give both `cert` and `key`, or neither",
            );
        }
    };
    let settings = Settings {
        server_name: raw.server_name.as_ref().map_or(&url.host, Spanned::get_ref).clone(),
        verification,
        authorities: raw.ca.as_ref().map(|ca| base.join(ca.get_ref())),
        own,
        direct: raw.direct,
    };
    let binding = match raw.channel_binding {
        raw::ChannelBinding::Prefer => ChannelBinding::Prefer,
        raw::ChannelBinding::Require => ChannelBinding::Require,
    };
    build(document, place, &settings).map(|client| (Some(client), binding))
}

fn has_more_than_a_mode(raw: &raw::DatabaseTls) -> bool {
    let files: [&Option<Spanned<PathBuf>>; 3] = [&raw.ca, &raw.cert, &raw.key];
    files.iter().any(|file| file.is_some())
        || raw.server_name.is_some()
        || raw.direct
        || raw.channel_binding == raw::ChannelBinding::Require
}

fn build(document: &Document<'_>, place: Range<usize>, settings: &Settings) -> Result<Client, ConfigError> {
    Client::build(settings).map_err(|error| {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
        let what = format!("{error}{}", cause.unwrap_or_default());
        document.refuse(place, what, "the gateway needs this to know the server")
    })
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use crate::config::parse;
    use crate::tls::client::Verification;
    use crate::upstream::{ChannelBinding, DatabaseSettings, UpstreamUser};

    /// A database at `host` with further `keys`, in a folder with a certificate and its key.
    fn database(host: &str, keys: &str) -> Result<DatabaseSettings, String> {
        let folder = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["db".to_owned()]).unwrap().self_signed(&key).unwrap();
        std::fs::write(folder.path().join("cert.pem"), certificate.pem()).unwrap();
        std::fs::write(folder.path().join("key.pem"), key.serialize_pem()).unwrap();
        let password = if keys.contains("cert = ") { "" } else { "password_command = \"echo geheim\"" };
        let (wire, keys) = keys.split_once('|').unwrap_or(("", keys));
        let text = format!(
            "{wire}\n[[database]]\nname = \"d\"\nurl = \"postgres://u@{host}/d\"\n{keys}\n{password}"
        );
        let shorter = |said: String| said.replace(&format!("{}/", folder.path().display()), "");
        let settings =
            parse(&folder.path().join("p.toml"), &text).map_err(|error| shorter(error.to_string()))?;
        Ok(settings.databases[0].clone())
    }

    fn verification(host: &str, keys: &str) -> Option<Verification> {
        database(host, keys).unwrap().tls.map(|tls| tls.verification())
    }

    #[test]
    fn a_database_elsewhere_is_reached_by_verified_tls_unless_less_is_written() {
        for local in ["127.0.0.1", "[::1]:1", "localhost", "%2Frun%2Fpostgresql", "127.9.9.9"] {
            assert_eq!(verification(local, ""), None, "{local}");
        }
        for far in ["db.example.com", "10.0.0.1", "[2001:db8::1]", "localhost.example.com", "0.0.0.0"] {
            let ca = "tls = { ca = \"cert.pem\" }";
            assert_eq!(verification(far, ca), Some(Verification::Full), "{far}");
        }
        assert_eq!(verification("db.example.com", "tls = { mode = \"disable\" }"), None);
        assert_eq!(
            verification("db.example.com", "tls = { mode = \"require\" }"),
            Some(Verification::Nothing)
        );
        let ca = "tls = { mode = \"verify-ca\", ca = \"cert.pem\" }";
        assert_eq!(verification("127.0.0.1", ca), Some(Verification::Authority));
        // Whether this machine has authorities or not, it is not plaintext.
        match database("db.example.com", "") {
            Ok(database) => assert_eq!(database.tls.unwrap().verification(), Verification::Full),
            Err(said) => assert!(said.contains("no certificate authorities"), "{said}"),
        }
    }

    #[test]
    fn a_certificate_of_our_own_stands_in_for_a_password() {
        let keys = "tls = { ca = \"cert.pem\", cert = \"cert.pem\", key = \"key.pem\", channel_binding = \"require\", server_name = \"db\" }";
        let database = database("db.example.com", keys).unwrap();
        assert!(database.tls.unwrap().presents_certificate());
        assert_eq!(
            (database.service.password.as_str(), database.channel_binding),
            ("", ChannelBinding::Require)
        );
    }

    #[test]
    fn what_has_no_meaning_is_refused() {
        let said = |host: &str, keys: &str| database(host, keys).unwrap_err();
        insta::assert_snapshot!(said("h", "tls = { mode = \"prefer\" }"), @r#"p.toml:5:16: unknown value "prefer"; allowed here: "verify-full", "verify-ca", "require", "disable""#);
        insta::assert_snapshot!(said("h", "tls = { mode = \"disable\", ca = \"cert.pem\" }"), @r#"p.toml:5:7: there are keys for TLS beside `mode = "disable"`; leave them out, or use TLS"#);
        insta::assert_snapshot!(said("h", "tls = { mode = \"require\", ca = \"cert.pem\" }"), @r#"p.toml:5:7: `ca` has no meaning where `mode = "require"` checks no certificate; use `verify-full`, or leave `ca` out"#);
        insta::assert_snapshot!(said("%2Frun", "tls = { mode = \"require\" }"), @"p.toml:5:7: PostgreSQL has no TLS on a Unix socket; leave `tls` out");
        insta::assert_snapshot!(said("h", "tls = { ca = \"cert.pem\", cert = \"cert.pem\" }"), @"p.toml:5:7: a certificate of our own needs its key; give both `cert` and `key`, or neither");
        insta::assert_snapshot!(said("h", "tls = { ca = \"none.pem\" }"), @"p.toml:5:7: `none.pem` can't be used as certificates in PEM form: I/O error: No such file or directory (os error 2); the gateway needs this to know the server");
        insta::assert_snapshot!(said("h", "tls = { ca = \"key.pem\" }"), @"p.toml:5:7: `key.pem` holds no certificate; the gateway needs this to know the server");
        insta::assert_snapshot!(said("h", "tls = { chain = 1 }"), @"p.toml:5:9: unknown key `chain`; allowed here: mode, ca, cert, key, server_name, direct, channel_binding");
    }

    #[test]
    fn clients_choose_their_role_upstream_on_one_machine_only() {
        let trust = "[wire]\nauth = \"trust\"|upstream_user = \"same\"";
        assert_eq!(database("127.0.0.1", trust).unwrap().upstream_user, UpstreamUser::Same);
        assert_eq!(database("127.0.0.1", "").unwrap().upstream_user, UpstreamUser::Role);
        let said = |host: &str, keys: &str| database(host, keys).unwrap_err();
        let far = format!("{trust}\ntls = {{ ca = \"cert.pem\" }}");
        insta::assert_snapshot!(said("db.example.com", &far), @r#"p.toml:6:17: clients would choose the role upstream, whose server is not on this machine; `upstream_user = "same"` needs `auth = "trust"` in [wire], and a server on a loopback address or a Unix socket"#);
        insta::assert_snapshot!(said("127.0.0.1", "upstream_user = \"same\""), @r#"p.toml:5:17: clients would choose the role upstream, though the wire door does not take them at their word; `upstream_user = "same"` needs `auth = "trust"` in [wire], and a server on a loopback address or a Unix socket"#);
        insta::assert_snapshot!(said("127.0.0.1", "upstream_user = \"postgres\""), @r#"p.toml:5:17: unknown value "postgres"; allowed here: "same""#);
    }
}
