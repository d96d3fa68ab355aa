//! `tls-server-end-point`: what a server's certificate binds an authentication to (RFC 5929, section 4).
//!
//! It is the hash of the whole certificate by the hash function of its signature, or SHA-256 where that is MD5 or
//! SHA-1. Of the certificate only the signature's algorithm is read, so this reads that much DER and no more.

use sha2::{Digest as _, Sha224, Sha256, Sha384, Sha512};

/// The binding of the certificate in `der`; `None` where the RFC defines none: a signature by an algorithm that hashes
/// by itself, such as Ed25519, or bytes that are no certificate.
#[must_use]
pub fn of(der: &[u8]) -> Option<Vec<u8>> {
    Some(match signature_hash(der)? {
        Hash::Sha224 => Sha224::digest(der).to_vec(),
        Hash::Sha256 => Sha256::digest(der).to_vec(),
        Hash::Sha384 => Sha384::digest(der).to_vec(),
        Hash::Sha512 => Sha512::digest(der).to_vec(),
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hash {
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

/// `Certificate ::= SEQUENCE { tbsCertificate SEQUENCE, signatureAlgorithm SEQUENCE { OID, parameters }, ... }`
fn signature_hash(der: &[u8]) -> Option<Hash> {
    let (certificate, _) = element(der, SEQUENCE)?;
    let (_, rest) = element(certificate, SEQUENCE)?;
    let (algorithm, _) = element(rest, SEQUENCE)?;
    let (oid, parameters) = element(algorithm, OID)?;
    if oid == RSASSA_PSS {
        return pss_hash(parameters);
    }
    SIGNATURES.iter().find(|(known, _)| *known == oid).map(|(_, hash)| *hash)
}

/// `RSASSA-PSS-params ::= SEQUENCE { hashAlgorithm [0] SEQUENCE { OID, .. } DEFAULT sha1, .. }` (RFC 4055)
fn pss_hash(parameters: &[u8]) -> Option<Hash> {
    let (parameters, _) = element(parameters, SEQUENCE)?;
    let Some((tagged, _)) = element(parameters, FIRST) else { return Some(Hash::Sha256) };
    let (algorithm, _) = element(tagged, SEQUENCE)?;
    let (oid, _) = element(algorithm, OID)?;
    HASHES.iter().find(|(known, _)| *known == oid).map(|(_, hash)| *hash)
}

/// The contents of the element that begins `der`, and what follows it, if its tag is `tag`.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    if *found != tag {
        return None;
    }
    let (length, rest) = match usize::from(first) {
        short @ 0..=0x7f => (short, rest),
        // A certificate is shorter than 16 MiB.
        long => {
            let (digits, rest) =
                rest.split_at_checked(long & 0x7f).filter(|(digits, _)| digits.len() <= 3)?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
    };
    rest.split_at_checked(length)
}

const SEQUENCE: u8 = 0x30;
const OID: u8 = 0x06;
/// `[0] EXPLICIT`
const FIRST: u8 = 0xa0;

/// 1.2.840.113549.1.1.10
const RSASSA_PSS: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a";

const SIGNATURES: [(&[u8], Hash); 11] = [
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x04", Hash::Sha256), // md5WithRSAEncryption
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05", Hash::Sha256), // sha1WithRSAEncryption
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b", Hash::Sha256), // sha256WithRSAEncryption
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0c", Hash::Sha384), // sha384WithRSAEncryption
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0d", Hash::Sha512), // sha512WithRSAEncryption
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0e", Hash::Sha224), // sha224WithRSAEncryption
    (b"\x2a\x86\x48\xce\x3d\x04\x01", Hash::Sha256),         // ecdsa-with-SHA1
    (b"\x2a\x86\x48\xce\x3d\x04\x03\x01", Hash::Sha224),     // ecdsa-with-SHA224
    (b"\x2a\x86\x48\xce\x3d\x04\x03\x02", Hash::Sha256),     // ecdsa-with-SHA256
    (b"\x2a\x86\x48\xce\x3d\x04\x03\x03", Hash::Sha384),     // ecdsa-with-SHA384
    (b"\x2a\x86\x48\xce\x3d\x04\x03\x04", Hash::Sha512),     // ecdsa-with-SHA512
];

const HASHES: [(&[u8], Hash); 5] = [
    (b"\x2b\x0e\x03\x02\x1a", Hash::Sha256),                 // id-sha1
    (b"\x60\x86\x48\x01\x65\x03\x04\x02\x01", Hash::Sha256), // id-sha256
    (b"\x60\x86\x48\x01\x65\x03\x04\x02\x02", Hash::Sha384), // id-sha384
    (b"\x60\x86\x48\x01\x65\x03\x04\x02\x03", Hash::Sha512), // id-sha512
    (b"\x60\x86\x48\x01\x65\x03\x04\x02\x04", Hash::Sha224), // id-sha224
];

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn certificate(algorithm: &'static rcgen::SignatureAlgorithm) -> Vec<u8> {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let parameters = CertificateParams::new(vec!["db.example.com".to_owned()]).unwrap();
        parameters.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn the_hash_is_that_of_the_signature() {
        let der = certificate(&rcgen::PKCS_ECDSA_P256_SHA256);
        assert_eq!(of(&der), Some(Sha256::digest(&der).to_vec()));
        let der = certificate(&rcgen::PKCS_ECDSA_P384_SHA384);
        assert_eq!(of(&der), Some(Sha384::digest(&der).to_vec()));
    }

    #[test]
    fn a_signature_that_hashes_by_itself_binds_nothing() {
        assert_eq!(of(&certificate(&rcgen::PKCS_ED25519)), None);
    }

    #[test]
    fn rsassa_pss_says_its_hash_in_its_parameters() {
        let sequence = |parts: &[&[u8]]| {
            let contents = parts.concat();
            [&[SEQUENCE, u8::try_from(contents.len()).unwrap()], contents.as_slice()].concat()
        };
        let object = |oid: &[u8]| [&[OID, u8::try_from(oid.len()).unwrap()], oid].concat();
        let signed =
            |parameters: &[u8]| sequence(&[&sequence(&[]), &sequence(&[&object(RSASSA_PSS), parameters])]);
        let sha384 = sequence(&[&object(HASHES[2].0)]);
        let tagged = [&[FIRST, u8::try_from(sha384.len()).unwrap()], sha384.as_slice()].concat();
        assert_eq!(signature_hash(&signed(&sequence(&[&tagged]))), Some(Hash::Sha384));
        assert_eq!(signature_hash(&signed(&sequence(&[]))), Some(Hash::Sha256), "SHA-1 is its default");
        assert_eq!(signature_hash(&signed(&[])), None);
    }

    #[test]
    fn bytes_that_are_no_certificate_bind_nothing() {
        let der = certificate(&rcgen::PKCS_ECDSA_P256_SHA256);
        for end in 0..der.len().min(64) {
            assert_eq!(of(&der[..end]), None, "{end} bytes");
        }
        for bytes in [&b""[..], b"\x30", b"\x30\x84\xff\xff\xff\xff", b"\x30\x80", b"hello"] {
            assert_eq!(of(bytes), None);
        }
    }
}
