//! `[mcp]` as meant: the endpoint's address as clients know it, and the issuers whose access tokens it takes.

use std::collections::{BTreeMap, BTreeSet};

use http::Uri;
use toml::Spanned;

use crate::control::Endpoint;
use crate::control::oidc::{ALGORITHMS, IssuerSettings, Issuers, ScopeNames};
use crate::jws::Algorithm;

use super::error::{ConfigError, nearest};
use super::raw;
use super::settings::Meaning;
use super::wire::seconds;

/// The MCP door, besides where it listens.
#[derive(Debug, Clone, Default)]
pub struct McpSettings {
    /// Host names, besides loopback ones, that clients may call the door by (`Host` header).
    pub allowed_hosts: Vec<String>,
    /// The endpoint's address as clients know it; empty where no issuer's tokens are taken.
    pub public_url: String,
    /// Whose access tokens are taken.
    pub issuers: Vec<IssuerSettings>,
    /// Most requests of one identity in a minute; `None` for the usual number.
    pub requests_per_minute: Option<u32>,
}

impl Meaning<'_> {
    /// `[mcp]`, besides where it listens.
    pub(super) fn mcp(&self, raw: &raw::Mcp) -> Result<McpSettings, ConfigError> {
        let mut allowed_hosts: Vec<String> =
            raw.allowed_hosts.iter().map(|host| self.host(host)).collect::<Result<_, _>>()?;
        let public_url = raw.public_url.as_ref().map(|url| self.resource(url)).transpose()?;
        if let Some(host) =
            public_url.as_deref().and_then(host_of).filter(|host| !allowed_hosts.contains(host))
        {
            allowed_hosts.push(host);
        }
        let mut issuers: Vec<IssuerSettings> = Vec::new();
        for issuer in &raw.issuer {
            let Some(public_url) = &public_url else {
                let what = "tokens of an issuer must be meant for this gateway, and it does not know its own address";
                return Err(self.refuse(issuer, what, PUBLIC_URL));
            };
            let meant = self.issuer(issuer.get_ref(), public_url)?;
            if issuers.iter().any(|known| known.name == meant.name || known.url == meant.url) {
                let what = format!("there are two issuers named `{}`, or with its address", meant.name);
                return Err(self.refuse(
                    &issuer.get_ref().name,
                    what,
                    "give each its own name, and list it once",
                ));
            }
            issuers.push(meant);
        }
        let rate = self.count(&raw.requests_per_minute, 1..=10_000_000)?;
        Ok(McpSettings {
            allowed_hosts,
            public_url: public_url.unwrap_or_default(),
            issuers,
            requests_per_minute: rate.and_then(|rate| u32::try_from(rate).ok()),
        })
    }

    fn resource(&self, url: &Spanned<String>) -> Result<String, ConfigError> {
        let text = url.get_ref().trim_end_matches('/');
        let uri = Endpoint::new(text).uri().ok().filter(|uri| uri.query().is_none() && is_printable(text));
        match uri {
            Some(_) => Ok(text.to_owned()),
            None => Err(self.refuse(url, format!("`{text}` is no address of an endpoint"), PUBLIC_URL)),
        }
    }

    fn issuer(&self, raw: &raw::Issuer, public_url: &str) -> Result<IssuerSettings, ConfigError> {
        let name = self.word(&raw.name, "issuer")?;
        let url = raw.url.get_ref();
        let usual = IssuerSettings::new(&name, url, public_url);
        let groups = raw.groups.iter().map(|(theirs, ours)| Ok((theirs.clone(), self.word(ours, "group")?)));
        let scopes = raw.scopes.as_ref();
        let settings = IssuerSettings {
            audience: raw.audience.clone().unwrap_or(usual.audience),
            authorities: raw.ca.as_ref().map(|ca| self.base.join(ca.get_ref())),
            algorithms: match &raw.algorithms {
                Some(written) => self.algorithms(written)?,
                None => usual.algorithms,
            },
            leeway: self.count(&raw.leeway_s, 0..=600)?.map_or(usual.leeway, seconds),
            groups_claim: raw.groups_claim.clone().unwrap_or(usual.groups_claim),
            groups: groups.collect::<Result<BTreeMap<_, _>, ConfigError>>()?,
            claims: raw.claims.iter().cloned().collect::<BTreeSet<_>>(),
            task_claim: raw.task_claim.clone(),
            scopes: ScopeNames {
                read: self.scope(scopes.and_then(|scopes| scopes.read.as_ref()), usual.scopes.read)?,
                write: self.scope(scopes.and_then(|scopes| scopes.write.as_ref()), usual.scopes.write)?,
            },
            refetch: usual.refetch,
            name: usual.name,
            url: usual.url,
        };
        let uri = Endpoint::new(url).uri().ok();
        if uri.is_none_or(|uri| uri.query().is_some()) || !is_printable(url) {
            return Err(self.refuse(&raw.url, format!("`{url}` is no issuer's identifier"), ISSUER_URL));
        }
        Issuers::new(vec![settings.clone()], std::sync::Arc::new(crate::clock::SystemClock)).map_err(
            |error| {
                let what = format!("issuer `{name}` can't be asked for its keys: {error}");
                self.refuse(&raw.url, what, ISSUER_URL)
            },
        )?;
        Ok(settings)
    }

    fn algorithms(&self, written: &Spanned<Vec<Spanned<String>>>) -> Result<Vec<Algorithm>, ConfigError> {
        let known = ALGORITHMS.map(Algorithm::name);
        let algorithm = |name: &Spanned<String>| {
            let text = name.get_ref().as_str();
            ALGORITHMS.into_iter().find(|algorithm| algorithm.name() == text).ok_or_else(|| {
                let near = nearest(text, &known).map(|near| format!("did you mean `{near}`? "));
                let what = format!("tokens can't be signed by `{text}`");
                let allowed = format!("{}allowed here: {}", near.unwrap_or_default(), known.join(", "));
                self.refuse(name, what, allowed)
            })
        };
        match written.get_ref().as_slice() {
            [] => Err(self.refuse(written, "no token could be good", "name algorithms, or leave this out")),
            names => names.iter().map(algorithm).collect(),
        }
    }

    fn scope(&self, written: Option<&Spanned<String>>, usual: String) -> Result<String, ConfigError> {
        let Some(written) = written else { return Ok(usual) };
        let text = written.get_ref();
        // RFC 6749 section 3.3.
        if text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\')) {
            return Ok(text.clone());
        }
        let allowed = "write one scope, without spaces and quotes; \"\" needs none";
        Err(self.refuse(written, format!("`{text}` is no scope"), allowed))
    }

    /// A name as identities' files have them.
    fn word(&self, written: &Spanned<String>, of: &str) -> Result<String, ConfigError> {
        let text = written.get_ref();
        let is_inner = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'.' | b'-')
        };
        let begins = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        if begins && text.len() <= LONGEST_WORD && text.bytes().all(is_inner) {
            return Ok(text.clone());
        }
        let allowed = "allowed are a-z, 0-9, `_`, `.` and `-`, beginning with a letter or digit";
        Err(self.refuse(written, format!("`{text}` can't be the name of a {of}"), allowed))
    }
}

/// The host, with its port where it has one, as a `Host` header has it; nothing for what is always allowed.
fn host_of(url: &str) -> Option<String> {
    let uri: Uri = url.parse().ok()?;
    let host = uri.host()?.trim_matches(['[', ']']);
    let is_local = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    (!is_local).then(|| uri.authority().map(ToString::to_string)).flatten()
}

/// Whether `text` can stand in a header, in quotes.
fn is_printable(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\'))
}

const PUBLIC_URL: &str =
    "write how clients reach the endpoint, as in public_url = \"https://gate.example.com/mcp\"";
const ISSUER_URL: &str = "write it exactly as its tokens have it in `iss`: https (http on this machine only), without query and fragment";
/// Bytes of a name, as for identities.
const LONGEST_WORD: usize = 63;

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::super::parse;
    use super::*;

    const DATABASE: &str = "[[database]]\nname = \"shop\"\nurl = \"postgres://a@127.0.0.1/shop\"\npassword_command = \"echo x\"\n";
    const CORP: &str = "public_url = \"https://gate.example.com/mcp/\"\n[[mcp.issuer]]\nname = \"corp\"\nurl = \"https://id.example.com/\"\n";

    fn mcp(text: &str) -> Result<McpSettings, String> {
        let parsed = parse(Path::new("p.toml"), &format!("[mcp]\n{text}\n{DATABASE}"));
        parsed.map(|settings| settings.mcp_door).map_err(|error| error.to_string())
    }

    #[test]
    fn an_issuer_needs_a_name_and_an_address() {
        let settings = mcp(CORP).unwrap();
        assert_eq!(settings.public_url, "https://gate.example.com/mcp");
        assert_eq!(settings.allowed_hosts, ["gate.example.com"], "clients call it so");
        let [corp] = settings.issuers.as_slice() else { panic!("one issuer") };
        assert_eq!((corp.name.as_str(), corp.url.as_str()), ("corp", "https://id.example.com/"));
        assert_eq!(corp.audience, "https://gate.example.com/mcp");
        assert_eq!((corp.leeway, corp.groups_claim.as_str()), (Duration::from_secs(60), "groups"));
        assert!(corp.groups.is_empty() && corp.claims.is_empty() && corp.algorithms == ALGORITHMS);
        assert_eq!((corp.scopes.read.as_str(), corp.scopes.write.as_str()), ("sql:read", "sql:write"));
    }

    #[test]
    fn everything_has_its_meaning() {
        let settings = mcp(&format!(
            "requests_per_minute = 120\n{CORP}audience = \"api://gate\"\nalgorithms = [\"ES256\"]\nleeway_s = 5\n\
             groups_claim = \"roles\"\ngroups = {{ \"Data Analysts\" = \"analysts\" }}\nclaims = [\"department\"]\n\
             task_claim = \"ticket\"\nscopes = {{ read = \"\", write = \"db.write\" }}"
        ))
        .unwrap();
        let corp = &settings.issuers[0];
        assert_eq!(settings.requests_per_minute, Some(120));
        assert_eq!(
            (corp.audience.as_str(), corp.algorithms.as_slice()),
            ("api://gate", &[Algorithm::Es256][..])
        );
        assert_eq!(
            (corp.groups["Data Analysts"].as_str(), corp.groups_claim.as_str()),
            ("analysts", "roles")
        );
        assert_eq!((corp.scopes.read.as_str(), corp.scopes.write.as_str()), ("", "db.write"));
        assert_eq!((corp.task_claim.as_deref(), corp.leeway), (Some("ticket"), Duration::from_secs(5)));
    }

    #[test]
    fn what_would_be_unsafe_or_means_nothing_is_refused() {
        let corp = |more: &str| format!("{CORP}{more}");
        for (text, part) in [
            (
                CORP.replace("public_url", "# public_url"),
                "p.toml:3:1: tokens of an issuer must be meant for this gateway",
            ),
            (
                CORP.replace("https://id", "http://id"),
                "p.toml:5:7: issuer `corp` can't be asked for its keys",
            ),
            (
                CORP.replace("https://id.example.com/", "https://id.example.com/?x"),
                "is no issuer's identifier",
            ),
            (
                CORP.replace("https://id.example.com/", "https://u:p@id.example.com/"),
                "is no issuer's identifier",
            ),
            (
                CORP.replace("https://gate.example.com/mcp/", "gate.example.com"),
                "is no address of an endpoint",
            ),
            (CORP.replace("\"corp\"", "\"Corp:1\""), "`Corp:1` can't be the name of a issuer"),
            (corp("algorithms = [\"HS256\"]"), "tokens can't be signed by `HS256`; did you mean"),
            (corp("algorithms = [\"none\"]"), "tokens can't be signed by `none`"),
            (corp("algorithms = []"), "no token could be good"),
            (corp("groups = { x = \"Data Analysts\" }"), "`Data Analysts` can't be the name of a group"),
            (corp("scopes = { read = \"a b\" }"), "`a b` is no scope"),
            (corp("leeway_s = 9999"), "9999 is out of bounds"),
            (corp("secret = \"x\""), "unknown key `secret`"),
            (
                corp("[[mcp.issuer]]\nname = \"corp\"\nurl = \"https://b.example\""),
                "there are two issuers named `corp`",
            ),
            (corp("[[mcp.issuer]]\nname = \"b\"\nurl = \"https://id.example.com/\""), "or with its address"),
            (corp("ca = \"missing.pem\""), "TLS towards `id.example.com` can't be set up"),
            ("requests_per_minute = 0".to_owned(), "0 is out of bounds"),
        ] {
            let said = mcp(&text).unwrap_err();
            assert!(said.contains(part), "{text}\n{said}");
        }
    }
}
