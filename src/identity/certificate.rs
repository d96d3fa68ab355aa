//! Client certificates: which one proves an identity.

use crate::tls::certificate::PeerCertificate;

use super::token;

/// What an identity's file says about its certificate. The authorities of `[wire] tls.client_ca` vouch for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CertificateRule {
    /// Any with exactly this subject, as RFC 4514 writes it.
    Subject(String),
    /// The one with this SHA-256 digest.
    Fingerprint([u8; 32]),
}

impl CertificateRule {
    /// Takes 64 hexadecimal digits, with or without the colons that OpenSSL prints.
    pub(super) fn fingerprint(hex: &str) -> Option<Self> {
        token::sha256(&hex.replace(':', "")).map(Self::Fingerprint)
    }

    pub(super) fn admits(&self, certificate: &PeerCertificate) -> bool {
        match self {
            Self::Subject(subject) => *subject == certificate.subject,
            Self::Fingerprint(fingerprint) => *fingerprint == certificate.fingerprint,
        }
    }
}
