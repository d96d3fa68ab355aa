//! Signatures of JSON Web Tokens (RFC 7515, RFC 7518, RFC 8037) by keys that each have one algorithm.

use std::fmt;
use std::str::FromStr;

use ring::rand::SystemRandom;
use ring::signature::{
    self, EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey,
};
use ring::{hmac, signature::VerificationAlgorithm};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::SubjectPublicKeyInfo;
use zeroize::Zeroizing;

/// How tokens are signed, in the words of RFC 7518.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// HMAC with SHA-256: whoever can check can sign.
    Hs256,
    /// HMAC with SHA-384.
    Hs384,
    /// HMAC with SHA-512.
    Hs512,
    /// RSA, PKCS#1 v1.5, SHA-256.
    Rs256,
    /// RSA, PKCS#1 v1.5, SHA-384.
    Rs384,
    /// RSA, PKCS#1 v1.5, SHA-512.
    Rs512,
    /// RSA, PSS, SHA-256.
    Ps256,
    /// RSA, PSS, SHA-384.
    Ps384,
    /// RSA, PSS, SHA-512.
    Ps512,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// Ed25519.
    EdDsa,
}

/// A key that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The algorithm has another name, or is not one of ours.
    #[error("`{0}` is no algorithm for signatures; there are {ALL}")]
    Algorithm(String),
    /// The key is not written as it should be.
    #[error("a key for {algorithm} is {wanted}")]
    Form {
        /// The algorithm.
        algorithm: &'static str,
        /// What it should be.
        wanted: &'static str,
    },
    /// It did not sign.
    #[error("the key can't sign")]
    Sign,
}

/// A key that checks signatures.
#[derive(Clone)]
pub struct PublicKey {
    algorithm: Algorithm,
    material: Material,
}

#[derive(Clone)]
enum Material {
    /// A secret, a point, or an RSA key in its DER form (RFC 8017).
    Whole(Zeroizing<Vec<u8>>),
    /// An RSA key in two numbers.
    Rsa(RsaPublicKeyComponents<Vec<u8>>),
}

/// A public key in numbers, as a JSON Web Key has it (RFC 7518 section 6, RFC 8037): big-endian.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Components {
    /// An RSA key.
    Rsa {
        /// `n`
        modulus: Vec<u8>,
        /// `e`
        exponent: Vec<u8>,
    },
    /// A point on P-256.
    P256 {
        /// `x`, 32 bytes.
        x: Vec<u8>,
        /// `y`, 32 bytes.
        y: Vec<u8>,
    },
    /// A point on P-384.
    P384 {
        /// `x`, 48 bytes.
        x: Vec<u8>,
        /// `y`, 48 bytes.
        y: Vec<u8>,
    },
    /// An Ed25519 key.
    Ed25519 {
        /// `x`, 32 bytes.
        x: Vec<u8>,
    },
}

/// A key that signs.
pub struct PrivateKey {
    algorithm: Algorithm,
    pair: Pair,
}

enum Pair {
    Secret(hmac::Key),
    Rsa(RsaKeyPair),
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// The check of a signature, or of an authentication code.
enum Verification {
    Signature(&'static dyn VerificationAlgorithm),
    Rsa(&'static RsaParameters),
    Secret(hmac::Algorithm),
}

/// What a key is made of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    Secret,
    Rsa,
    P256,
    P384,
    Ed25519,
}

impl PublicKey {
    /// A key for `algorithm`: for `HS...` the secret itself, for others PEM (`BEGIN PUBLIC KEY`).
    ///
    /// # Errors
    /// When it is something else, or a key for something else.
    pub fn parse(algorithm: Algorithm, text: &str) -> Result<Self, KeyError> {
        let family = algorithm.family();
        let wanted = || KeyError::Form { algorithm: algorithm.name(), wanted: family.public() };
        if family == Family::Secret {
            let material = Material::Whole(Zeroizing::new(text.as_bytes().to_vec()));
            return if text.is_empty() { Err(wanted()) } else { Ok(Self { algorithm, material }) };
        }
        let pem = SubjectPublicKeyInfoDer::from_pem_slice(text.as_bytes()).map_err(|_| wanted())?;
        let (rest, key) = SubjectPublicKeyInfo::from_der(&pem).map_err(|_| wanted())?;
        let curve = key.algorithm.parameters.as_ref().and_then(|any| any.as_oid().ok());
        let curve = curve.map(|oid| oid.to_id_string()).unwrap_or_default();
        let kind = key.algorithm.algorithm.to_id_string();
        let fits = family.oids().is_some_and(|(wanted, on)| kind == wanted && (on.is_empty() || curve == on));
        if !fits || !rest.is_empty() {
            return Err(wanted());
        }
        let material = Material::Whole(Zeroizing::new(key.subject_public_key.data.to_vec()));
        Ok(Self { algorithm, material })
    }

    /// The key that `components` are, for `algorithm`.
    ///
    /// # Errors
    /// When it is a key for something else, or a number has another length than it must have.
    pub fn of(algorithm: Algorithm, components: Components) -> Result<Self, KeyError> {
        let family = algorithm.family();
        let point = |x: Vec<u8>, y: Vec<u8>, bytes: usize| {
            let is_whole = x.len() == bytes && y.len() == bytes;
            is_whole.then(|| Material::Whole([vec![UNCOMPRESSED], x, y].concat().into()))
        };
        let material = match components {
            Components::Rsa { modulus, exponent } if family == Family::Rsa => {
                // Some write a zero before it, as if it had a sign.
                let n = modulus.into_iter().skip_while(|byte| *byte == 0).collect();
                Some(Material::Rsa(RsaPublicKeyComponents { n, e: exponent }))
            }
            Components::P256 { x, y } if family == Family::P256 => point(x, y, 32),
            Components::P384 { x, y } if family == Family::P384 => point(x, y, 48),
            Components::Ed25519 { x } if family == Family::Ed25519 && x.len() == 32 => {
                Some(Material::Whole(x.into()))
            }
            Components::Rsa { .. }
            | Components::P256 { .. }
            | Components::P384 { .. }
            | Components::Ed25519 { .. } => None,
        };
        let wanted = || KeyError::Form { algorithm: algorithm.name(), wanted: family.public() };
        Ok(Self { algorithm, material: material.ok_or_else(wanted)? })
    }

    /// How it checks.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether `signature` is one of `message` by this key.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match (self.algorithm.verification(), &self.material) {
            (Verification::Signature(how), Material::Whole(key)) => {
                UnparsedPublicKey::new(how, key.as_slice()).verify(message, signature).is_ok()
            }
            (Verification::Rsa(how), Material::Whole(key)) => {
                UnparsedPublicKey::new(how, key.as_slice()).verify(message, signature).is_ok()
            }
            (Verification::Rsa(how), Material::Rsa(key)) => key.verify(how, message, signature).is_ok(),
            (Verification::Secret(how), Material::Whole(key)) => {
                hmac::verify(&hmac::Key::new(how, key), message, signature).is_ok()
            }
            (Verification::Signature(_) | Verification::Secret(_), Material::Rsa(_)) => false,
        }
    }
}

impl PrivateKey {
    /// A key for `algorithm`: for `HS...` the secret itself, for others PEM (`BEGIN PRIVATE KEY`, and for RSA
    /// `BEGIN RSA PRIVATE KEY` too).
    ///
    /// # Errors
    /// When it is something else, or a key for something else.
    pub fn parse(algorithm: Algorithm, text: &str) -> Result<Self, KeyError> {
        let family = algorithm.family();
        let wanted = || KeyError::Form { algorithm: algorithm.name(), wanted: family.private() };
        if let Verification::Secret(how) = algorithm.verification() {
            let pair = Pair::Secret(hmac::Key::new(how, text.as_bytes()));
            return if text.is_empty() { Err(wanted()) } else { Ok(Self { algorithm, pair }) };
        }
        let pem = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|_| wanted())?;
        let random = SystemRandom::new();
        let ecdsa = |how, key: &PrivatePkcs8KeyDer<'_>| {
            EcdsaKeyPair::from_pkcs8(how, key.secret_pkcs8_der(), &random).ok().map(Pair::Ecdsa)
        };
        let pair = match (family, &pem) {
            (Family::Rsa, PrivateKeyDer::Pkcs8(key)) => {
                RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()).ok().map(Pair::Rsa)
            }
            (Family::Rsa, PrivateKeyDer::Pkcs1(key)) => {
                RsaKeyPair::from_der(key.secret_pkcs1_der()).ok().map(Pair::Rsa)
            }
            (Family::P256, PrivateKeyDer::Pkcs8(key)) => {
                ecdsa(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, key)
            }
            (Family::P384, PrivateKeyDer::Pkcs8(key)) => {
                ecdsa(&signature::ECDSA_P384_SHA384_FIXED_SIGNING, key)
            }
            (Family::Ed25519, PrivateKeyDer::Pkcs8(key)) => {
                Ed25519KeyPair::from_pkcs8_maybe_unchecked(key.secret_pkcs8_der()).ok().map(Pair::Ed25519)
            }
            (Family::Secret | Family::Rsa | Family::P256 | Family::P384 | Family::Ed25519, _) => None,
        };
        pair.map(|pair| Self { algorithm, pair }).ok_or_else(wanted)
    }

    /// How it signs.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Signs `message`.
    ///
    /// # Errors
    /// When the key can't sign: an RSA key that is too short for it.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Secret(key) => Ok(hmac::sign(key, message).as_ref().to_vec()),
            Pair::Rsa(key) => {
                let mut signed = vec![0; key.public().modulus_len()];
                key.sign(self.algorithm.padding(), &random, message, &mut signed)
                    .map_err(|_| KeyError::Sign)?;
                Ok(signed)
            }
            Pair::Ecdsa(key) => {
                key.sign(&random, message).map(|signed| signed.as_ref().to_vec()).map_err(|_| KeyError::Sign)
            }
            Pair::Ed25519(key) => Ok(key.sign(message).as_ref().to_vec()),
        }
    }
}

impl Algorithm {
    /// Its name in a token.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Hs384 => "HS384",
            Self::Hs512 => "HS512",
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
        }
    }

    fn family(self) -> Family {
        match self {
            Self::Hs256 | Self::Hs384 | Self::Hs512 => Family::Secret,
            Self::Rs256 | Self::Rs384 | Self::Rs512 | Self::Ps256 | Self::Ps384 | Self::Ps512 => Family::Rsa,
            Self::Es256 => Family::P256,
            Self::Es384 => Family::P384,
            Self::EdDsa => Family::Ed25519,
        }
    }

    /// Whether it needs a secret that both sides have.
    #[must_use]
    pub fn is_secret(self) -> bool {
        self.family() == Family::Secret
    }

    fn verification(self) -> Verification {
        match self {
            Self::Hs256 => Verification::Secret(hmac::HMAC_SHA256),
            Self::Hs384 => Verification::Secret(hmac::HMAC_SHA384),
            Self::Hs512 => Verification::Secret(hmac::HMAC_SHA512),
            Self::Rs256 => Verification::Rsa(&signature::RSA_PKCS1_2048_8192_SHA256),
            Self::Rs384 => Verification::Rsa(&signature::RSA_PKCS1_2048_8192_SHA384),
            Self::Rs512 => Verification::Rsa(&signature::RSA_PKCS1_2048_8192_SHA512),
            Self::Ps256 => Verification::Rsa(&signature::RSA_PSS_2048_8192_SHA256),
            Self::Ps384 => Verification::Rsa(&signature::RSA_PSS_2048_8192_SHA384),
            Self::Ps512 => Verification::Rsa(&signature::RSA_PSS_2048_8192_SHA512),
            Self::Es256 => Verification::Signature(&signature::ECDSA_P256_SHA256_FIXED),
            Self::Es384 => Verification::Signature(&signature::ECDSA_P384_SHA384_FIXED),
            Self::EdDsa => Verification::Signature(&signature::ED25519),
        }
    }

    /// How an RSA key signs; for others it is not asked.
    fn padding(self) -> &'static dyn signature::RsaEncoding {
        match self {
            Self::Rs384 => &signature::RSA_PKCS1_SHA384,
            Self::Rs512 => &signature::RSA_PKCS1_SHA512,
            Self::Ps256 => &signature::RSA_PSS_SHA256,
            Self::Ps384 => &signature::RSA_PSS_SHA384,
            Self::Ps512 => &signature::RSA_PSS_SHA512,
            Self::Rs256
            | Self::Hs256
            | Self::Hs384
            | Self::Hs512
            | Self::Es256
            | Self::Es384
            | Self::EdDsa => &signature::RSA_PKCS1_SHA256,
        }
    }
}

impl FromStr for Algorithm {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let all = [
            Self::Hs256,
            Self::Hs384,
            Self::Hs512,
            Self::Rs256,
            Self::Rs384,
            Self::Rs512,
            Self::Ps256,
            Self::Ps384,
            Self::Ps512,
            Self::Es256,
            Self::Es384,
            Self::EdDsa,
        ];
        let found = all.into_iter().find(|algorithm| algorithm.name() == text);
        found.ok_or_else(|| KeyError::Algorithm(text.to_owned()))
    }
}

impl Family {
    /// The object identifiers of a public key and of its curve.
    fn oids(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Secret => None,
            Self::Rsa => Some(("1.2.840.113549.1.1.1", "")),
            Self::P256 => Some(("1.2.840.10045.2.1", "1.2.840.10045.3.1.7")),
            Self::P384 => Some(("1.2.840.10045.2.1", "1.3.132.0.34")),
            Self::Ed25519 => Some(("1.3.101.112", "")),
        }
    }

    fn public(self) -> &'static str {
        match self {
            Self::Secret => "a secret text that is not empty",
            Self::Rsa => "an RSA key in PEM: `-----BEGIN PUBLIC KEY-----` (`openssl rsa -pubout`)",
            Self::P256 => "a P-256 key in PEM: `-----BEGIN PUBLIC KEY-----` (`openssl ec -pubout`)",
            Self::P384 => "a P-384 key in PEM: `-----BEGIN PUBLIC KEY-----` (`openssl ec -pubout`)",
            Self::Ed25519 => "an Ed25519 key in PEM: `-----BEGIN PUBLIC KEY-----` (`openssl pkey -pubout`)",
        }
    }

    fn private(self) -> &'static str {
        match self {
            Self::Secret => "a secret text that is not empty",
            Self::Rsa => "an RSA key of 2048 bits or more in PEM: `-----BEGIN PRIVATE KEY-----`",
            Self::P256 => "a P-256 key in PEM: `-----BEGIN PRIVATE KEY-----` (`openssl pkcs8 -topk8 -nodes`)",
            Self::P384 => "a P-384 key in PEM: `-----BEGIN PRIVATE KEY-----` (`openssl pkcs8 -topk8 -nodes`)",
            Self::Ed25519 => "an Ed25519 key in PEM: `-----BEGIN PRIVATE KEY-----`",
        }
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublicKey").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// What stands before a point of which both numbers are given (SEC 1 section 2.3.3).
const UNCOMPRESSED: u8 = 4;

const ALL: &str = "RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA, HS256, HS384 and HS512";
