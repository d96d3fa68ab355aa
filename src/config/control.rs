//! `[policy]` as meant: bundles, the keys that sign them, and the servers that they come from.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use toml::Spanned;

use crate::control::{BundleSettings, Endpoint, Origin, Settings, Token};
use crate::policy::bundle::{Algorithm, PublicKey, Verification};

use super::error::{ConfigError, nearest};
use super::raw;
use super::secret::{Secret, SecretError};
use super::settings::Meaning;
use super::wire::seconds;

/// The keys by which a configuration names a server.
pub(super) struct ServerKeys<'a> {
    pub(super) url: &'a Spanned<String>,
    pub(super) ca: Option<&'a Spanned<PathBuf>>,
    pub(super) token: SecretKeys<'a>,
}

/// The three keys of which at most one says where a secret is.
pub(super) struct SecretKeys<'a> {
    pub(super) env: Option<&'a Spanned<String>>,
    pub(super) file: Option<&'a Spanned<PathBuf>>,
    pub(super) command: Option<&'a Spanned<String>>,
}

/// Every key of the configuration with its scope, by its id.
pub(super) type Keys = BTreeMap<String, (PublicKey, String)>;

impl Meaning<'_> {
    /// What comes from other systems, and goes to them.
    pub(super) fn control(&self, file: &raw::File) -> Result<Settings, ConfigError> {
        let raw = &file.policy;
        let mut keys = Keys::new();
        for key in &raw.key {
            self.key(key, &mut keys)?;
        }
        let mut names = BTreeSet::new();
        let bundles = raw.bundle.iter().map(|bundle| self.bundle(bundle, &keys, &mut names));
        let bundles = bundles.collect::<Result<Vec<_>, _>>()?;
        let shadow = raw.shadow.as_ref().map(|shadow| self.shadow(shadow, &keys, &names));
        Ok(Settings {
            bundles,
            run_tests: raw.run_tests.unwrap_or(true),
            shadow: shadow.transpose()?,
            delegate: raw.delegate.statement.as_ref().map(|raw| self.delegate(raw)).transpose()?,
            decision_log: file.decision_log.as_ref().map(|raw| self.decision_log(raw)).transpose()?,
            alerts: self.alerts(&file.alert)?,
        })
    }

    /// The rulebook's folder. Only `path = ""` does without it: a bundle that is added must not put out what was in force.
    pub(super) fn rulebook(&self, raw: &raw::Policy) -> Result<PathBuf, ConfigError> {
        match &raw.path {
            Some(path) if path.get_ref() == Path::new("") && raw.bundle.is_empty() => {
                let what = "there would be no rulebook at all";
                Err(self.refuse(path, what, "name its folder, or add a [[policy.bundle]] that `grants`"))
            }
            Some(path) if path.get_ref() == Path::new("") => Ok(PathBuf::new()),
            Some(_) | None => Ok(self.base.join(raw.folder())),
        }
    }

    fn key(&self, raw: &Spanned<raw::Key>, keys: &mut Keys) -> Result<(), ConfigError> {
        let key = raw.get_ref();
        let algorithm: Algorithm =
            key.algorithm.get_ref().parse().map_err(|error: crate::policy::bundle::KeyError| {
                self.refuse(&key.algorithm, error.to_string(), "RS256 and ES256 are usual")
            })?;
        let secret = SecretKeys {
            env: key.secret_env.as_ref(),
            file: key.secret_file.as_ref(),
            command: key.secret_command.as_ref(),
        };
        let text = match (&key.public_key_file, self.optional_secret(raw, &secret)?) {
            (Some(file), None) => fs::read_to_string(self.base.join(file.get_ref()))
                .map_err(|error| self.refuse(file, format!("this file can't be read: {error}"), KEY_FILE))?,
            (None, Some(secret)) => secret.expose().to_owned(),
            (None, None) | (Some(_), Some(_)) => {
                let what = format!("key `{}` needs one place where it is", key.id.get_ref());
                return Err(self.refuse(raw, what, KEY_PLACE));
            }
        };
        let parsed = PublicKey::parse(algorithm, &text)
            .map_err(|error| self.refuse(raw, error.to_string(), KEY_PLACE))?;
        match keys.insert(key.id.get_ref().clone(), (parsed, key.scope.clone())) {
            None => Ok(()),
            Some(_) => {
                let what = format!("there are two keys named `{}`", key.id.get_ref());
                Err(self.refuse(&key.id, what, "give each its own id"))
            }
        }
    }

    pub(super) fn bundle(
        &self,
        raw: &Spanned<raw::Bundle>,
        keys: &Keys,
        names: &mut BTreeSet<String>,
    ) -> Result<BundleSettings, ConfigError> {
        let bundle = raw.get_ref();
        self.name(&bundle.name, "bundle", names)?;
        let name = bundle.name.get_ref().clone();
        let verification = self.verification(bundle, keys)?;
        let token = SecretKeys {
            env: bundle.token_env.as_ref(),
            file: bundle.token_file.as_ref(),
            command: bundle.token_command.as_ref(),
        };
        let origin = match (&bundle.path, &bundle.url) {
            (Some(path), None) => Origin::Path(self.base.join(path.get_ref())),
            (None, Some(url)) => {
                let endpoint = self.server(&ServerKeys { url, ca: bundle.ca.as_ref(), token })?;
                if verification.is_none() && !is_private(&endpoint) {
                    let what = format!("whoever stands between could replace the bundle `{name}`");
                    return Err(self.refuse(url, what, "use https, or name the `keys` that sign it"));
                }
                Origin::Url(endpoint)
            }
            (None, None) | (Some(_), Some(_)) => {
                let what = format!("the bundle `{name}` needs one place where it is");
                return Err(self.refuse(raw, what, "write `path` or `url`"));
            }
        };
        let local = matches!(origin, Origin::Path(_));
        let shortest = self.count(&bundle.poll_min_s, POLL)?.unwrap_or(if local { 2 } else { 10 });
        let longest = self.count(&bundle.poll_max_s, POLL)?;
        let longest = longest.unwrap_or_else(|| shortest.max(if local { 2 } else { 30 }));
        if longest < shortest {
            let what = format!("`poll_max_s` is less than `poll_min_s` of the bundle `{name}`");
            return Err(self.refuse(raw, what, "the time between two looks is between the two"));
        }
        Ok(BundleSettings {
            name,
            origin,
            grants: bundle.grants,
            verification,
            poll: (seconds(shortest), seconds(longest)),
            required: bundle.required.unwrap_or(true),
        })
    }

    fn verification(&self, bundle: &raw::Bundle, keys: &Keys) -> Result<Option<Verification>, ConfigError> {
        let Some(named) = &bundle.keys else { return Ok(None) };
        if named.get_ref().is_empty() {
            let what = "no key is named, so no bundle could be used";
            return Err(self.refuse(named, what, "name keys, or leave `keys` out for an unsigned bundle"));
        }
        let mut chosen = Keys::new();
        for id in named.get_ref() {
            let Some(key) = keys.get(id.get_ref()) else {
                let known: Vec<&str> = keys.keys().map(String::as_str).collect();
                let near = nearest(id.get_ref(), &known).map(|id| format!("did you mean `{id}`? "));
                let allowed = format!("{}add a [[policy.key]] with this id", near.unwrap_or_default());
                return Err(self.refuse(id, format!("there is no key `{}`", id.get_ref()), allowed));
            };
            chosen.insert(id.get_ref().clone(), key.clone());
        }
        // Where one key is named, the token has no say in which it is.
        let key_id = chosen.keys().next().filter(|_| chosen.len() == 1).cloned();
        Ok(Some(Verification { keys: chosen, key_id, scope: bundle.scope.clone() }))
    }

    /// A server that the gateway asks or tells something.
    pub(super) fn server(&self, keys: &ServerKeys<'_>) -> Result<Endpoint, ConfigError> {
        let token = self.optional_secret(keys.url, &keys.token)?.map(|secret| Token::new(secret.expose()));
        let authorities = keys.ca.map(|ca| self.base.join(ca.get_ref()));
        let endpoint = Endpoint { url: keys.url.get_ref().clone(), token, authorities };
        crate::control::Remote::new(&endpoint)
            .map_err(|error| self.refuse(keys.url, error.to_string(), "the gateway needs this to start"))?;
        if endpoint.token.is_some() && !is_private(&endpoint) {
            return Err(self.refuse(keys.url, "the token would travel in clear", "use https"));
        }
        Ok(endpoint)
    }

    /// The secret that keys point at, if they do.
    pub(super) fn optional_secret<T>(
        &self,
        place: &Spanned<T>,
        keys: &SecretKeys<'_>,
    ) -> Result<Option<Secret>, ConfigError> {
        let read = match (keys.env, keys.file, keys.command) {
            (None, None, None) => return Ok(None),
            (Some(variable), None, None) => Secret::from_env(variable.get_ref()),
            (None, Some(file), None) => Secret::from_file(&self.base.join(file.get_ref())),
            (None, None, Some(command)) => Secret::from_command(command.get_ref()),
            _ => return Err(self.refuse(place, "there is more than one place for a secret", ONE_SECRET)),
        };
        read.map(Some).map_err(|error: SecretError| {
            let cause = std::error::Error::source(&error).map(|cause| format!(" ({cause})"));
            let what = format!("{error}{}", cause.unwrap_or_default());
            self.refuse(place, what, "the gateway needs this secret to start")
        })
    }
}

/// Whether nobody else on the way can read or change what is said.
fn is_private(endpoint: &Endpoint) -> bool {
    let Ok(uri) = endpoint.uri() else { return false };
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let local = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    local || uri.scheme_str() == Some("https")
}

const KEY_FILE: &str = "name a PEM file with the public key";
const KEY_PLACE: &str = "write `public_key_file`, or for HS256, HS384 and HS512 one of secret_env, secret_file and secret_command";
const ONE_SECRET: &str = "give one of the keys that end with _env, _file and _command";

/// Seconds between two looks.
const POLL: std::ops::RangeInclusive<usize> = 1..=86_400;

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    const DATABASE: &str = "[[database]]\nname = \"shop\"\nurl = \"postgres://a@127.0.0.1/shop\"\npassword_command = \"echo x\"\n";

    fn settings(text: &str) -> Result<Settings, String> {
        let parsed = parse(Path::new("/etc/p.toml"), &format!("{text}\n{DATABASE}"));
        parsed.map(|settings| settings.control).map_err(|error| error.to_string())
    }

    fn said(text: &str) -> String {
        settings(text).unwrap_err()
    }

    const KEY: &str = "[[policy.key]]\nid = \"release\"\nalgorithm = \"HS256\"\nsecret_command = \"echo s\"\nscope = \"prod\"\n";

    #[test]
    fn everything_has_its_meaning() {
        let text = format!(
            "{KEY}[[policy.bundle]]\nname = \"a\"\nurl = \"https://r.example.com/a\"\nkeys = [\"release\"]\ntoken_command = \"echo t\"\n\
             [[policy.bundle]]\nname = \"b\"\npath = \"b.tar.gz\"\ngrants = true\nrequired = false\n\
             [policy.shadow]\nurl = \"http://127.0.0.1:1/next\"\nreplaces = \"a\"\nsample = 0.5\n\
             [policy.delegate.statement]\nurl = \"http://localhost:8181\"\nreads = [\"identity.name\"]\n\
             [decision_log]\nurl = \"https://c.example.com\"\nlabels = {{ id = \"g\" }}\n\
             [alert.pager]\nwebhook = \"https://h.example.com/x\"\n[alert.quiet]\n"
        );
        let settings = settings(&text).unwrap();
        let [a, b] = settings.bundles.as_slice() else { panic!("two bundles") };
        let verification = a.verification.as_ref().unwrap();
        assert_eq!(verification.key_id.as_deref(), Some("release"), "the only key is the one");
        assert_eq!(verification.keys["release"].1, "prod");
        assert_eq!((a.grants, a.required, b.grants, b.required), (false, true, true, false));
        assert!(matches!(&b.origin, Origin::Path(path) if path == Path::new("/etc/b.tar.gz")));
        let shadow = settings.shadow.unwrap();
        assert_eq!((shadow.replaces.as_deref(), shadow.bundle.name.as_str()), (Some("a"), "a"));
        assert_eq!(settings.delegate.unwrap().reads, [["identity", "name"]]);
        assert_eq!(settings.decision_log.unwrap().labels["id"], "g");
        assert_eq!(settings.alerts.len(), 2);
        assert!(!format!("{:?}", settings.bundles).contains("echo"), "no secret shows");
    }

    #[test]
    fn what_would_be_unsafe_or_means_nothing_is_refused() {
        let bundle = |more: &str| format!("[[policy.bundle]]\nname = \"a\"\n{more}\n");
        for (text, part) in [
            (bundle(""), "needs one place where it is; write `path` or `url`"),
            (bundle("path = \"a\"\nurl = \"https://x\""), "needs one place"),
            (bundle("url = \"http://r.example.com/a\""), "could replace the bundle `a`; use https"),
            (bundle("url = \"ftp://r.example.com/a\""), "is no web address"),
            (bundle("url = \"https://u:p@r.example.com/a\""), "is no web address"),
            (bundle("path = \"a\"\nkeys = [\"relaese\"]"), "there is no key `relaese`"),
            (bundle("path = \"a\"\nkeys = []"), "no key is named"),
            (bundle("path = \"a\"\npoll_min_s = 0"), "0 is out of bounds"),
            (bundle("path = \"a\"\npoll_min_s = 9\npoll_max_s = 3"), "`poll_max_s` is less than"),
            (
                bundle("path = \"a\"\n[[policy.bundle]]\nname = \"a\"\npath = \"b\""),
                "there are two bundles named `a`",
            ),
            (bundle("path = \"a\"").replace("\"a\"\n", "\"../a\"\n"), "is no name for a bundle"),
            ("[policy]\npath = \"\"".to_owned(), "there would be no rulebook at all"),
            (KEY.replace("HS256", "none"), "`none` is no algorithm for signatures"),
            (KEY.replace("HS256", "RS256"), "BEGIN PUBLIC KEY"),
            (format!("{KEY}{KEY}"), "there are two keys named `release`"),
            (KEY.replace("secret_command = \"echo s\"\n", ""), "needs one place where it is"),
            (
                "[policy.shadow]\npath = \"n\"\nreplaces = \"x\"".to_owned(),
                "there is no bundle `x` to replace",
            ),
            ("[policy.shadow]\npath = \"n\"\nsample = 2.0".to_owned(), "a share is 0.0 to 1.0"),
            (
                "[alert.x]\nwebhook = \"http://h.example.com\"\ntoken_command = \"echo t\"".to_owned(),
                "the token would travel in clear; use https",
            ),
            (
                "[decision_log]\nurl = \"https://x.example.com\"\nca = \"missing.pem\"".to_owned(),
                "TLS towards `x.example.com` can't be set up",
            ),
        ] {
            let said = said(&text);
            assert!(said.contains(part), "{text}\n{said}");
        }
    }
}
