//! Bearer tokens: made at random, kept as digests.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

use super::scram::Verifier;

/// A bearer token: `pcl_` and 256 random bits. It is wiped from memory when dropped, and never printed by
/// `Debug`.
pub struct Token(Zeroizing<String>);

/// The SHA-256 digest of a token: all that the gateway keeps.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenDigest([u8; 32]);

/// One secret for one identity, and the two forms in which its file keeps it: the same secret is the password
/// at the wire door and the bearer token at the others.
#[derive(Debug)]
pub struct Credentials {
    /// What the identity gets, once.
    pub secret: Token,
    /// For `[auth] token_sha256`.
    pub token_sha256: TokenDigest,
    /// For `[auth] scram`.
    pub scram: Verifier,
}

impl Token {
    /// A new token.
    #[must_use]
    pub fn generate() -> Self {
        let bits = Zeroizing::new(rand::random::<[u8; 32]>());
        let mut text = Zeroizing::new(String::with_capacity(PREFIX.len() + 43));
        text.push_str(PREFIX);
        URL_SAFE_NO_PAD.encode_string(bits.as_slice(), &mut text);
        Self(text)
    }

    /// The token itself: for the one who gets it, never for a log or a file of ours.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Its digest.
    #[must_use]
    pub fn digest(&self) -> TokenDigest {
        TokenDigest::of(&self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

impl TokenDigest {
    /// The digest of the token `text`.
    #[must_use]
    pub fn of(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }

    /// A digest that is no token's: nothing is known that would hash to it.
    pub(super) fn none() -> Self {
        Self([0; 32])
    }

    /// Takes 64 hexadecimal digits.
    #[must_use]
    pub fn parse(hex: &str) -> Option<Self> {
        sha256(hex).map(Self)
    }
}

/// 64 hexadecimal digits in lower case, as an identity's file holds them.
impl fmt::Display for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenDigest(..)")
    }
}

impl ConstantTimeEq for TokenDigest {
    fn ct_eq(&self, other: &Self) -> Choice {
        self.0.ct_eq(&other.0)
    }
}

impl Credentials {
    /// A new secret, with both forms.
    #[must_use]
    pub fn generate() -> Self {
        let secret = Token::generate();
        let token_sha256 = secret.digest();
        let scram = Verifier::generate(secret.reveal());
        Self { secret, token_sha256, scram }
    }
}

/// A digest in 64 hexadecimal digits.
pub(super) fn sha256(hex: &str) -> Option<[u8; 32]> {
    if hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut digest = [0; 32];
    for (byte, at) in digest.iter_mut().zip((0..hex.len()).step_by(2)) {
        *byte = u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()?;
    }
    Some(digest)
}

/// Marks a token as ours, for people and for scanners that look for leaked secrets.
const PREFIX: &str = "pcl_";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_the_prefix_and_256_bits_and_no_twin() {
        let (one, two) = (Token::generate(), Token::generate());
        assert!(one.reveal().starts_with("pcl_"));
        assert_eq!(one.reveal().len(), 47);
        assert_ne!(one.reveal(), two.reveal());
    }

    #[test]
    fn a_digest_survives_being_written_and_read() {
        let digest = Token::generate().digest();
        assert_eq!(TokenDigest::parse(&digest.to_string()), Some(digest.clone()));
        assert_eq!(TokenDigest::parse(&digest.to_string().to_uppercase()), Some(digest));
        for wrong in ["", "abc", &"g".repeat(64), &"ü".repeat(32), &"0".repeat(66)] {
            assert_eq!(TokenDigest::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let made = Credentials::generate();
        let shown = format!("{made:?}");
        assert!(!shown.contains(made.secret.reveal()), "{shown}");
        assert!(!shown.contains(&made.token_sha256.to_string()), "{shown}");
        assert!(!shown.contains(&made.scram.to_string()), "{shown}");
    }
}
