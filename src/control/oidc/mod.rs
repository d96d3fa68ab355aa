//! Access tokens of issuers that the configuration names: JSON Web Tokens (RFC 9068), meant for this gateway.
//!
//! Nothing of a token is believed before its signature holds, except one thing: whose it says it is, and only to find
//! that name among the configured ones. So no token makes the gateway ask anybody whom its operator has not named. What a
//! token says where its key would be (`jku`, `jwk`, `x5u`, `x5c`) is never read, how it is signed is for the configuration
//! to allow and for the key to fit, and a token is never passed on to anybody.
//!
//! ```no_run
//! # async fn example(settings: portcullis::control::oidc::IssuerSettings) -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//! use portcullis::clock::SystemClock;
//! use portcullis::control::oidc::Issuers;
//!
//! let issuers = Issuers::new(vec![settings], Arc::new(SystemClock))?;
//! let verified = issuers.verify("eyJ...").await?;
//! println!("{}", verified.testimony.subject);
//! # Ok(())
//! # }
//! ```

mod claims;
mod keys;
mod provider;
mod token;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::clock::Clock;
use crate::identity::vouched::Testimony;
use crate::jws::Algorithm;

use super::http::{Endpoint, HttpError};
use provider::Provider;
use token::Token;

pub use token::TokenError;

/// An issuer of the configuration.
#[derive(Debug, Clone)]
pub struct IssuerSettings {
    /// Its name, which identities' files call it by.
    pub name: String,
    /// Its identifier, exactly as its tokens have it in `iss`.
    pub url: String,
    /// What its tokens for this gateway have in `aud`.
    pub audience: String,
    /// A PEM file of the authorities that may vouch for its server; `None` takes those of this machine.
    pub authorities: Option<PathBuf>,
    /// How its tokens may be signed; never by a secret.
    pub algorithms: Vec<Algorithm>,
    /// How far its clock may be from ours.
    pub leeway: Duration,
    /// The claim that holds groups.
    pub groups_claim: String,
    /// What groups of the token's confer which of the gateway's. Others confer nothing.
    pub groups: BTreeMap<String, String>,
    /// The claims that policy is shown.
    pub claims: BTreeSet<String>,
    /// The claim that says what a token is for, if there is one.
    pub task_claim: Option<String>,
    /// The scopes that tools need.
    pub scopes: ScopeNames,
    /// How long a key that is not known is not looked for again.
    pub refetch: Duration,
}

/// The scopes that tools need of an issuer's tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopeNames {
    /// For tools that only read; empty where none is needed.
    pub read: String,
    /// For tools that change something; empty where none is needed.
    pub write: String,
}

/// A scope that some tools need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// Its name.
    pub name: String,
    /// Whether the token has it.
    pub granted: bool,
}

/// What tools a token is good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scopes {
    /// Those that only read.
    pub read: Scope,
    /// Those that change something.
    pub write: Scope,
}

/// A token that is good, and meant for this gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// What it says.
    pub testimony: Testimony,
    /// What tools it is good for.
    pub scopes: Scopes,
    /// Until when.
    pub expires: Timestamp,
}

/// All issuers of the configuration, with their keys as far as they are known.
#[derive(Debug)]
pub struct Issuers {
    all: Vec<Issuer>,
    clock: Arc<dyn Clock>,
}

#[derive(Debug)]
struct Issuer {
    settings: IssuerSettings,
    provider: Provider,
}

impl Default for ScopeNames {
    fn default() -> Self {
        Self { read: "sql:read".to_owned(), write: "sql:write".to_owned() }
    }
}

impl IssuerSettings {
    /// An issuer called `name` at `url`, whose tokens for this gateway name `audience`; all else as usual.
    #[must_use]
    pub fn new(name: &str, url: &str, audience: &str) -> Self {
        Self {
            name: name.to_owned(),
            url: url.to_owned(),
            audience: audience.to_owned(),
            authorities: None,
            algorithms: ALGORITHMS.to_vec(),
            leeway: Duration::from_secs(60),
            groups_claim: "groups".to_owned(),
            groups: BTreeMap::new(),
            claims: BTreeSet::new(),
            task_claim: None,
            scopes: ScopeNames::default(),
            refetch: Duration::from_secs(30),
        }
    }
}

impl Issuers {
    /// The issuers of `settings`. Asks nobody yet: a provider that is down holds up no start.
    ///
    /// # Errors
    /// When an issuer's address can't be one, or its authorities can't be used.
    pub fn new(settings: Vec<IssuerSettings>, clock: Arc<dyn Clock>) -> Result<Self, HttpError> {
        let issuer = |settings: IssuerSettings| {
            let endpoint =
                Endpoint { authorities: settings.authorities.clone(), ..Endpoint::new(&settings.url) };
            let provider = Provider::new(&endpoint, &settings)?;
            Ok(Issuer { settings, provider })
        };
        Ok(Self { all: settings.into_iter().map(issuer).collect::<Result<_, HttpError>>()?, clock })
    }

    /// The identifiers of all issuers, in the order of the configuration.
    pub fn urls(&self) -> impl Iterator<Item = &str> {
        self.all.iter().map(|issuer| issuer.settings.url.as_str())
    }

    /// The scopes that some issuer's tokens need, ordered: for reading first.
    #[must_use]
    pub fn scopes(&self) -> Vec<&str> {
        let read = self.all.iter().map(|issuer| issuer.settings.scopes.read.as_str());
        let write = self.all.iter().map(|issuer| issuer.settings.scopes.write.as_str());
        let mut scopes: Vec<&str> = Vec::new();
        for scope in read.chain(write).filter(|scope| !scope.is_empty()) {
            if !scopes.contains(&scope) {
                scopes.push(scope);
            }
        }
        scopes
    }

    /// Checks `text`, a token as a client sent it. Asks its issuer for its keys where they are not known.
    ///
    /// # Errors
    /// When it is not good, not meant for this gateway, or its issuer's keys can't be had.
    pub async fn verify(&self, text: &str) -> Result<Verified, TokenError> {
        let token = Token::parse(text)?;
        let issuer = self.all.iter().find(|issuer| issuer.settings.url == token.issuer());
        let Issuer { settings, provider } = issuer.ok_or(TokenError::UnknownIssuer)?;
        let algorithm = token.algorithm(&settings.algorithms)?;
        let now = self.clock.now();
        let keys = provider.keys(token.key_id(), algorithm, now).await?;
        let claims = token.verified(&keys)?;
        let expires = claims.meant_for(&settings.audience, now, settings.leeway)?;
        let testimony = claims.testimony(settings)?;
        let granted = claims.scopes()?;
        let scope =
            |name: &str| Scope { name: name.to_owned(), granted: name.is_empty() || granted.contains(name) };
        let scopes = Scopes { read: scope(&settings.scopes.read), write: scope(&settings.scopes.write) };
        Ok(Verified { testimony, scopes, expires })
    }
}

/// Whether `text` has the form of a JSON Web Token, signed or encrypted.
#[must_use]
pub fn looks_like_a_token(text: &str) -> bool {
    text.starts_with("ey") && text.contains('.')
}

/// The signatures that are taken unless the configuration says otherwise: all that need no shared secret.
pub const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::Rs256,
    Algorithm::Rs384,
    Algorithm::Rs512,
    Algorithm::Ps256,
    Algorithm::Ps384,
    Algorithm::Ps512,
    Algorithm::Es256,
    Algorithm::Es384,
    Algorithm::EdDsa,
];
