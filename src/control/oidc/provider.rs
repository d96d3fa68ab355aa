//! An issuer's server: where its keys are (OpenID Connect Discovery, RFC 8414), and its keys as they were last seen.
//!
//! Keys are asked for when a token needs them, and again every few minutes, so that one that was taken back is gone
//! soon. A key that is not known makes the server be asked at once, but at most once an interval: whoever makes up
//! key ids gets no more than that. While the server is down, what is known holds for a day.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::{StatusCode, Uri};
use jiff::Timestamp;
use serde::Deserialize;
use tokio::sync::{Mutex, MutexGuard};

use crate::clock::elapsed_ms;
use crate::jws::{Algorithm, PublicKey};

use super::super::http::{Ask, Bounds, Endpoint, HttpError, Remote};
use super::keys::Keys;
use super::{IssuerSettings, TokenError};

/// The server of one issuer.
#[derive(Debug)]
pub(super) struct Provider {
    name: String,
    url: String,
    authorities: Option<PathBuf>,
    algorithms: Vec<Algorithm>,
    refetch: Duration,
    /// Its documents may say where its keys are; each is asked for in turn.
    documents: Vec<Remote>,
    keys: ArcSwapOption<Keys>,
    asked: Mutex<Option<Asked>>,
}

/// The last time that the server was asked, and why that came to nothing, if it did.
#[derive(Debug, Clone)]
struct Asked {
    at: Timestamp,
    failure: Option<String>,
}

/// What is read of a discovery document.
#[derive(Debug, Deserialize)]
struct Document {
    issuer: String,
    jwks_uri: String,
}

impl Provider {
    pub(super) fn new(endpoint: &Endpoint, settings: &IssuerSettings) -> Result<Self, HttpError> {
        let uri = endpoint.uri()?;
        if !is_private(&uri) {
            return Err(HttpError::Address { url: endpoint.url.clone() });
        }
        let documents = documents(&uri).into_iter();
        let remotes = documents.map(|url| Remote::new(&Endpoint { url, ..endpoint.clone() }));
        Ok(Self {
            name: settings.name.clone(),
            url: settings.url.clone(),
            authorities: settings.authorities.clone(),
            algorithms: settings.algorithms.clone(),
            refetch: settings.refetch,
            documents: remotes.collect::<Result<_, _>>()?,
            keys: ArcSwapOption::empty(),
            asked: Mutex::new(None),
        })
    }

    /// The keys called `id` that sign by `algorithm`.
    ///
    /// # Errors
    /// When there is none, or the server can't say.
    pub(super) async fn keys(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
        now: Timestamp,
    ) -> Result<Vec<PublicKey>, TokenError> {
        let held = self.keys.load_full();
        let seen = held.as_ref().map(|held| held.fetched);
        let held = held.filter(|held| elapsed(held.fetched, now) < KEPT);
        let found = held.as_ref().map(|held| held.find(id, algorithm)).unwrap_or_default();
        let is_fresh = held.as_ref().is_some_and(|held| elapsed(held.fetched, now) < FRESH);
        if !found.is_empty() && is_fresh {
            return Ok(found);
        }
        let outcome = match self.asked.try_lock() {
            Ok(asked) => self.refresh(asked, seen, now).await,
            // Somebody else is asking. What is known will do meanwhile.
            Err(_) if !found.is_empty() => return Ok(found),
            Err(_) => self.refresh(self.asked.lock().await, seen, now).await,
        };
        let newest = self.keys.load_full().filter(|newest| elapsed(newest.fetched, now) < KEPT);
        match (newest, outcome) {
            (Some(newest), _) => match newest.find(id, algorithm) {
                keys if keys.is_empty() => Err(TokenError::UnknownKey),
                keys => Ok(keys),
            },
            (None, Err(why)) => Err(TokenError::Unavailable { issuer: self.name.clone(), why }),
            (None, Ok(())) => Err(TokenError::UnknownKey),
        }
    }

    /// Asks the server, unless it was asked a moment ago.
    async fn refresh(
        &self,
        mut asked: MutexGuard<'_, Option<Asked>>,
        seen: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(), String> {
        let news = self.keys.load().as_ref().is_some_and(|held| Some(held.fetched) > seen);
        if news {
            return Ok(());
        }
        if let Some(Asked { at, failure }) = asked.as_ref() {
            let patience = if failure.is_some() { self.refetch.min(AGAIN) } else { self.refetch };
            if elapsed(*at, now) < patience {
                return failure.clone().map_or(Ok(()), Err);
            }
        }
        let fetched = self.fetch(now).await;
        let failure = fetched.as_ref().err().cloned();
        *asked = Some(Asked { at: now, failure });
        match fetched {
            Ok(keys) => {
                tracing::info!(issuer = self.name, "oidc.keys_read");
                self.keys.store(Some(Arc::new(keys)));
                Ok(())
            }
            Err(why) => {
                tracing::error!(issuer = self.name, why, "oidc.keys_not_read");
                Err(why)
            }
        }
    }

    async fn fetch(&self, now: Timestamp) -> Result<Keys, String> {
        let document = self.document().await?;
        if document.issuer != self.url {
            return Err(format!(
                "its document is that of `{}`, and the configuration says `{}`: they must be the same, byte for byte",
                document.issuer, self.url
            ));
        }
        let endpoint =
            Endpoint { authorities: self.authorities.clone(), ..Endpoint::new(&document.jwks_uri) };
        let uri = endpoint.uri().map_err(|error| error.to_string())?;
        let is_ours = self.url.parse::<Uri>().is_ok_and(|own| own.scheme_str() == uri.scheme_str());
        if !is_private(&uri) || !is_ours {
            return Err(format!("its keys are at `{uri}`, which is no address of the kind of its own"));
        }
        let remote = Remote::new(&endpoint).map_err(|error| error.to_string())?;
        let body = ask(&remote).await?.ok_or_else(|| format!("there are no keys at `{uri}`"))?;
        Keys::read(&body, &self.algorithms, now)
    }

    /// The first of its documents that is there.
    async fn document(&self) -> Result<Document, String> {
        for remote in &self.documents {
            if let Some(body) = ask(remote).await? {
                return serde_json::from_slice(&body)
                    .map_err(|error| format!("its discovery document can't be read: {error}"));
            }
        }
        Err("it has no discovery document (`.well-known/openid-configuration`)".to_owned())
    }
}

/// The body of what is there; nothing where nothing is, or something else. Redirects lead nowhere.
async fn ask(remote: &Remote) -> Result<Option<Bytes>, String> {
    let answer = remote.ask(Ask::default(), BOUNDS).await.map_err(|error| error.to_string())?;
    match answer.status {
        StatusCode::OK => Ok(Some(answer.body)),
        status if status.is_server_error() => Err(format!("it answers with HTTP {status}")),
        _ => Ok(None),
    }
}

/// Where an issuer's documents can be: as OpenID Connect has it, then as RFC 8414 does, whose path stands behind.
fn documents(issuer: &Uri) -> Vec<String> {
    let authority = issuer.authority().map(ToString::to_string).unwrap_or_default();
    let origin = format!("{}://{authority}", issuer.scheme_str().unwrap_or("https"));
    let path = issuer.path().trim_end_matches('/');
    let mut all = vec![
        format!("{origin}{path}/.well-known/openid-configuration"),
        format!("{origin}/.well-known/oauth-authorization-server{path}"),
        format!("{origin}/.well-known/openid-configuration{path}"),
    ];
    if path.is_empty() {
        all.truncate(2);
    }
    all
}

/// Whether nobody else on the way can read or change what is said.
fn is_private(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let is_local = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    is_local || uri.scheme_str() == Some("https")
}

fn elapsed(from: Timestamp, to: Timestamp) -> Duration {
    Duration::from_millis(elapsed_ms(from, to))
}

const BOUNDS: Bounds = Bounds { time: Duration::from_secs(5), bytes: 256 * 1024 };
/// For so long nobody asks for keys that are known.
const FRESH: Duration = Duration::from_secs(600);
/// For so long known keys hold while the server is down.
const KEPT: Duration = Duration::from_secs(24 * 3600);
/// The most time until a server that was down is asked again.
const AGAIN: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_where_both_standards_have_them() {
        let at = |url: &str| documents(&url.parse().unwrap());
        assert_eq!(
            at("https://id.example.com/realms/corp/"),
            [
                "https://id.example.com/realms/corp/.well-known/openid-configuration",
                "https://id.example.com/.well-known/oauth-authorization-server/realms/corp",
                "https://id.example.com/.well-known/openid-configuration/realms/corp",
            ]
        );
        assert_eq!(
            at("https://id.example.com"),
            [
                "https://id.example.com/.well-known/openid-configuration",
                "https://id.example.com/.well-known/oauth-authorization-server",
            ]
        );
    }

    #[test]
    fn only_what_nobody_can_change_on_the_way_is_asked() {
        for (url, private) in [
            ("https://id.example.com", true),
            ("http://127.0.0.1:1", true),
            ("http://[::1]:1", true),
            ("http://localhost:1", true),
            ("http://id.example.com", false),
            ("http://10.0.0.1", false),
            ("http://127.0.0.1.evil.example", false),
        ] {
            assert_eq!(is_private(&url.parse().unwrap()), private, "{url}");
        }
    }
}
