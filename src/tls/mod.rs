//! TLS on both legs: one stack (rustls with ring), TLS 1.2 and newer.
//!
//! [`server`] is the leg of those who connect to the gateway, [`client`] is the leg to databases; on both, certificates can
//! be read again while sessions run. The room owns keys and certificates and what is computed of them (the
//! channel binding of RFC 5929, a client's name and fingerprint); it opens no socket and decides about nobody.

pub mod certificate;
pub mod client;
pub mod server;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use sha2::{Digest as _, Sha256};

/// Why certificates or keys can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read.
    #[error("`{}` can't be read", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// A file holds not what it should.
    #[error("`{}` holds no {what} in PEM form", path.display())]
    Pem {
        /// Which.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// Certificate and key, or the certificates of an authority, can't be used.
    #[error("`{}` can't be used", path.display())]
    Unusable {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: rustls::Error,
    },
    /// The certificates of an authority can't verify anybody.
    #[error("`{}` can't verify clients: {why}", path.display())]
    Authority {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

/// A digest over what is in `files` now: it changes when they do, or when they can't be read any more.
fn fingerprint<'a>(files: impl Iterator<Item = &'a Path>) -> [u8; 32] {
    let mut digest = Sha256::new();
    for path in files {
        match fs::read(path) {
            Ok(bytes) => digest.update(Sha256::digest(bytes)),
            Err(error) => digest.update(error.to_string()),
        }
    }
    digest.finalize().into()
}

/// The one implementation of cryptography.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// What PostgreSQL's protocol is called in a TLS handshake (ALPN).
pub(crate) const ALPN: &[u8] = b"postgresql";
