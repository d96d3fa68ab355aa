//! A token as it came in, and its signature: RFC 7515, by the cautions of RFC 8725.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::jws::{Algorithm, PublicKey};

use super::claims::Claims;

/// Why a token is not good.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is longer than any token that is read.
    #[error("the token is longer than {LONGEST} bytes")]
    TooLong,
    /// It can't be read.
    #[error("the token can't be read: {0}")]
    Malformed(&'static str),
    /// Its issuer is not one of the configured ones.
    #[error("the token's issuer is not one of this gateway's")]
    UnknownIssuer,
    /// It is not signed as its issuer's tokens may be.
    #[error("the token is signed by an algorithm that is not allowed for its issuer")]
    Algorithm,
    /// It has extensions that must be understood.
    #[error("the token has critical extensions, which are not known here")]
    Critical,
    /// It is a token for something else.
    #[error("the token is of another type than an access token")]
    Type,
    /// Its issuer has no such key.
    #[error("the token is signed by a key that its issuer does not have, or has for something else")]
    UnknownKey,
    /// Its signature does not hold.
    #[error("the token's signature does not hold")]
    Signature,
    /// It is for somebody else.
    #[error("the token is not for this gateway: its audience is not `{wanted}`")]
    Audience {
        /// What it should be.
        wanted: String,
    },
    /// It is no longer good.
    #[error("the token has expired")]
    Expired,
    /// It is not good yet.
    #[error("the token is not good yet: by its issuer's clock, its time is still to come")]
    NotYet,
    /// It lacks what it needs, or has it in another form.
    #[error("the token's claim `{0}` is missing, or is not of the form that it must have")]
    Claim(&'static str),
    /// The issuer's keys can't be had: the token may be good.
    #[error("the keys of issuer `{issuer}` can't be had right now")]
    Unavailable {
        /// The issuer's name.
        issuer: String,
        /// What happened, for operators.
        why: String,
    },
}

/// A token of which nothing is believed yet.
#[derive(Debug)]
pub(super) struct Token<'a> {
    header: Header,
    claims: Map<String, Value>,
    signed: &'a str,
    signature: Vec<u8>,
}

/// The header, as far as it is read. What it says of keys (`jku`, `jwk`, `x5u`, `x5c`) is not.
#[derive(Debug, Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    crit: Option<Value>,
    b64: Option<Value>,
    zip: Option<Value>,
    enc: Option<Value>,
}

impl<'a> Token<'a> {
    /// Takes a token apart.
    pub(super) fn parse(text: &'a str) -> Result<Self, TokenError> {
        if text.len() > LONGEST {
            return Err(TokenError::TooLong);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(NO_TOKEN)?;
        let (header, claims) = signed.split_once('.').ok_or(NO_TOKEN)?;
        if claims.contains('.') {
            return Err(TokenError::Malformed("it is encrypted; the gateway takes signed tokens"));
        }
        let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| NO_TOKEN);
        let header: Header = serde_json::from_slice(&decoded(header)?)
            .map_err(|_| TokenError::Malformed("its header is no JSON, or has no `alg`"))?;
        if header.crit.is_some() || header.b64.is_some() {
            return Err(TokenError::Critical);
        }
        if header.enc.is_some() || header.zip.is_some() {
            return Err(TokenError::Malformed(
                "it is encrypted or compressed; the gateway takes signed tokens",
            ));
        }
        if header.typ.as_deref().is_some_and(|typ| !is_access_token(typ)) {
            return Err(TokenError::Type);
        }
        let claims = serde_json::from_slice(&decoded(claims)?)
            .map_err(|_| TokenError::Malformed("its claims are no JSON object"))?;
        Ok(Self { header, claims, signed, signature: decoded(signature)? })
    }

    /// Whose it says it is: to be found among the configured issuers, and for nothing else.
    pub(super) fn issuer(&self) -> &str {
        self.claims.get("iss").and_then(Value::as_str).unwrap_or_default()
    }

    /// How it says it is signed, if that is among `allowed`. `none` and secrets never are.
    pub(super) fn algorithm(&self, allowed: &[Algorithm]) -> Result<Algorithm, TokenError> {
        let named = allowed.iter().find(|algorithm| algorithm.name() == self.header.alg);
        named.copied().filter(|algorithm| !algorithm.is_secret()).ok_or(TokenError::Algorithm)
    }

    /// The id of the key that it says it is signed by.
    pub(super) fn key_id(&self) -> Option<&str> {
        self.header.kid.as_deref()
    }

    /// What it says, if one of `keys` has signed it.
    pub(super) fn verified(self, keys: &[PublicKey]) -> Result<Claims, TokenError> {
        let is_signed = keys.iter().any(|key| key.verifies(self.signed.as_bytes(), &self.signature));
        if is_signed { Ok(Claims::of(self.claims)) } else { Err(TokenError::Signature) }
    }
}

/// RFC 9068 names the first; many issuers write the second, or nothing.
fn is_access_token(typ: &str) -> bool {
    let typ = typ.to_ascii_lowercase();
    matches!(typ.strip_prefix("application/").unwrap_or(&typ), "at+jwt" | "jwt")
}

const NO_TOKEN: TokenError = TokenError::Malformed("it is no signed token of three parts");
/// Longest token, in bytes: a few hundred groups fit.
pub(super) const LONGEST: usize = 16 * 1024;
