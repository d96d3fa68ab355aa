//! An issuer's keys, as its server lists them (RFC 7517).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::jws::{Algorithm, Components, PublicKey};

/// The keys that an issuer had at some time.
#[derive(Debug)]
pub(super) struct Keys {
    pub(super) fetched: Timestamp,
    all: Vec<Key>,
}

#[derive(Debug)]
struct Key {
    id: Option<String>,
    /// The key for each algorithm that it may be used with: RSA keys sign in several ways.
    ways: Vec<PublicKey>,
}

/// A key as it is listed. Secrets and private parts are not read.
#[derive(Debug, Deserialize)]
struct Listed {
    kty: String,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    kid: Option<String>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

impl Keys {
    /// Reads an issuer's list. What is of another form, or for another use, is left out: lists hold keys for others too.
    pub(super) fn read(body: &[u8], allowed: &[Algorithm], fetched: Timestamp) -> Result<Self, String> {
        let document: Document =
            serde_json::from_slice(body).map_err(|error| format!("its keys can't be read: {error}"))?;
        if document.keys.len() > MOST_KEYS {
            return Err(format!("it lists more than {MOST_KEYS} keys"));
        }
        let listed = document.keys.into_iter().filter_map(|key| serde_json::from_value::<Listed>(key).ok());
        let all = listed.filter(Listed::is_for_signatures).map(|listed| Key {
            ways: allowed.iter().filter_map(|algorithm| listed.key_for(*algorithm)).collect(),
            id: listed.kid,
        });
        Ok(Self { fetched, all: all.filter(|key| !key.ways.is_empty()).collect() })
    }

    /// The keys called `id` that sign by `algorithm`; without an id the only key that does.
    pub(super) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Vec<PublicKey> {
        let is_named = |key: &&Key| id.is_none() || key.id.as_deref() == id;
        let keys = self.all.iter().filter(is_named).flat_map(|key| &key.ways);
        let keys: Vec<PublicKey> = keys.filter(|key| key.algorithm() == algorithm).cloned().collect();
        match (id, keys.len()) {
            (None, 2..) => Vec::new(),
            (Some(_) | None, _) => keys,
        }
    }
}

impl Listed {
    fn is_for_signatures(&self) -> bool {
        let usage = self.usage.as_deref().is_none_or(|usage| usage == "sig");
        usage && self.key_ops.as_ref().is_none_or(|uses| uses.iter().any(|one| one == "verify"))
    }

    /// The key for `algorithm`, if it is one.
    fn key_for(&self, algorithm: Algorithm) -> Option<PublicKey> {
        if self.alg.as_deref().is_some_and(|own| own != algorithm.name()) {
            return None;
        }
        let number = |text: &Option<String>| URL_SAFE_NO_PAD.decode(text.as_deref()?).ok();
        let components = match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => Components::Rsa { modulus: number(&self.n)?, exponent: number(&self.e)? },
            ("EC", Some("P-256")) => Components::P256 { x: number(&self.x)?, y: number(&self.y)? },
            ("EC", Some("P-384")) => Components::P384 { x: number(&self.x)?, y: number(&self.y)? },
            ("OKP", Some("Ed25519")) => Components::Ed25519 { x: number(&self.x)? },
            _ => return None,
        };
        PublicKey::of(algorithm, components).ok()
    }
}

const MOST_KEYS: usize = 100;
