//! What is computed of a certificate: its channel binding, its subject, its fingerprint.

use std::fmt::Write as _;

use rustls::pki_types::CertificateDer;
use sha2::{Digest as _, Sha224, Sha256, Sha384, Sha512};
use x509_parser::certificate::X509Certificate;
use x509_parser::signature_algorithm::SignatureAlgorithm;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// A certificate that a peer has proved to hold the key of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerCertificate {
    /// Its subject as RFC 4514 writes it, most specific part first: `CN=report,O=Example`.
    pub subject: String,
    /// The SHA-256 digest of the whole certificate.
    pub fingerprint: [u8; 32],
}

impl PeerCertificate {
    /// Reads `certificate`; `None` where it is none.
    #[must_use]
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
        Some(Self { subject: subject(parsed.subject())?, fingerprint: Sha256::digest(certificate).into() })
    }
}

/// The channel binding `tls-server-end-point` of a server with this certificate: its digest, by the hash of its
/// own signature, or by SHA-256 where that is MD5 or SHA-1 (RFC 5929, section 4.1). `None` where the signature
/// has no such hash (Ed25519): then there is no channel binding.
#[must_use]
pub fn end_point_binding(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let der: &[u8] = certificate;
    Some(match signature_hash(&parsed)?.as_str() {
        MD5 | SHA_1 | SHA_256 => Sha256::digest(der).to_vec(),
        SHA_224 => Sha224::digest(der).to_vec(),
        SHA_384 => Sha384::digest(der).to_vec(),
        SHA_512 => Sha512::digest(der).to_vec(),
        _ => return None,
    })
}

/// The object identifier of the hash in a certificate's signature.
fn signature_hash(certificate: &X509Certificate<'_>) -> Option<String> {
    let algorithm = &certificate.signature_algorithm;
    if let Ok(SignatureAlgorithm::RSASSA_PSS(parameters)) = SignatureAlgorithm::try_from(algorithm) {
        return Some(parameters.hash_algorithm_oid().to_id_string());
    }
    let signature = algorithm.algorithm.to_id_string();
    SIGNATURES.iter().find(|(known, _)| *known == signature).map(|(_, hash)| (*hash).to_owned())
}

/// RFC 4514: the last part first, parts of one level joined by `+`.
fn subject(name: &X509Name<'_>) -> Option<String> {
    let levels: Option<Vec<String>> = name
        .iter()
        .map(|level| {
            let parts: Option<Vec<String>> = level.iter().map(part).collect();
            parts.map(|parts| parts.join("+"))
        })
        .collect();
    levels.map(|levels| levels.into_iter().rev().collect::<Vec<_>>().join(","))
}

fn part(attribute: &AttributeTypeAndValue<'_>) -> Option<String> {
    let kind = attribute.attr_type().to_id_string();
    let value = attribute.as_str().ok()?;
    let kind = ATTRIBUTES.iter().find(|(id, _)| *id == kind).map_or(kind, |(_, word)| (*word).to_owned());
    Some(format!("{kind}={}", escaped(value)))
}

/// What must not be read as punctuation stands behind a backslash.
fn escaped(value: &str) -> String {
    let last = value.chars().count().saturating_sub(1);
    let mut out = String::with_capacity(value.len());
    for (index, char) in value.chars().enumerate() {
        let at_end = (index == 0 && matches!(char, ' ' | '#')) || (index == last && char == ' ');
        if char.is_control() {
            // Writing to a string can't fail.
            char.to_string().bytes().for_each(|byte| write!(out, "\\{byte:02X}").unwrap_or_default());
            continue;
        }
        if at_end || matches!(char, ',' | '+' | '"' | '\\' | '<' | '>' | ';') {
            out.push('\\');
        }
        out.push(char);
    }
    out
}

const MD5: &str = "1.2.840.113549.2.5";
const SHA_1: &str = "1.3.14.3.2.26";
const SHA_256: &str = "2.16.840.1.101.3.4.2.1";
const SHA_384: &str = "2.16.840.1.101.3.4.2.2";
const SHA_512: &str = "2.16.840.1.101.3.4.2.3";
const SHA_224: &str = "2.16.840.1.101.3.4.2.4";

/// Signatures and their hashes: RSA (RFC 8017, RFC 3279), ECDSA (RFC 5758).
const SIGNATURES: [(&str, &str); 11] = [
    ("1.2.840.113549.1.1.4", MD5),
    ("1.2.840.113549.1.1.5", SHA_1),
    ("1.2.840.113549.1.1.11", SHA_256),
    ("1.2.840.113549.1.1.12", SHA_384),
    ("1.2.840.113549.1.1.13", SHA_512),
    ("1.2.840.113549.1.1.14", SHA_224),
    ("1.2.840.10045.4.1", SHA_1),
    ("1.2.840.10045.4.3.1", SHA_224),
    ("1.2.840.10045.4.3.2", SHA_256),
    ("1.2.840.10045.4.3.3", SHA_384),
    ("1.2.840.10045.4.3.4", SHA_512),
];

/// Parts of a subject that have a word of their own (RFC 4514, and e-mail as OpenSSL has it); others are written
/// by their object identifier.
const ATTRIBUTES: [(&str, &str); 10] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "STREET"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
];

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SignatureAlgorithm};

    use super::*;

    fn certificate(
        algorithm: &'static SignatureAlgorithm,
        names: &[(DnType, &str)],
    ) -> CertificateDer<'static> {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let mut parameters = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        parameters.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, value) in names {
            parameters.distinguished_name.push(kind.clone(), *value);
        }
        parameters.self_signed(&key).unwrap().der().clone()
    }

    #[test]
    fn the_channel_binding_has_the_hash_of_the_signature() {
        let names = [(DnType::CommonName, "gate")];
        let sha_256 = certificate(&rcgen::PKCS_ECDSA_P256_SHA256, &names);
        assert_eq!(end_point_binding(&sha_256), Some(Sha256::digest(&sha_256).to_vec()));
        let sha_384 = certificate(&rcgen::PKCS_ECDSA_P384_SHA384, &names);
        assert_eq!(end_point_binding(&sha_384), Some(Sha384::digest(&sha_384).to_vec()));
        let none = certificate(&rcgen::PKCS_ED25519, &names);
        assert_eq!(end_point_binding(&none), None, "Ed25519 has no hash of its own");
        assert_eq!(end_point_binding(&CertificateDer::from(vec![1, 2, 3])), None);
    }

    #[test]
    fn a_subject_is_written_as_rfc_4514_has_it() {
        let names = [
            (DnType::CountryName, "DE"),
            (DnType::OrganizationName, "Example, Inc."),
            (DnType::CommonName, " a+b\u{1}"),
        ];
        let peer = PeerCertificate::of(&certificate(&rcgen::PKCS_ECDSA_P256_SHA256, &names)).unwrap();
        assert_eq!(peer.subject, r"CN=\ a\+b\01,O=Example\, Inc.,C=DE");
        assert_eq!(PeerCertificate::of(&CertificateDer::from(vec![0x30])), None);
    }
}
