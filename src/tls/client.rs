//! TLS towards a server: whose certificate is taken for the server's, and what we present of our own.
//!
//! A [`Client`] is built once, when the configuration is read, and shared by every connection; its files can be read
//! again. There is no mode that
//! tries TLS and goes on without it.
//!
//! ```no_run
//! use portcullis::tls::client::{Client, Settings, Verification};
//!
//! let settings = Settings::new("db.example.com", Verification::Full);
//! let client = Client::build(&settings)?;
//! # Ok::<(), portcullis::tls::client::ClientError>(())
//! ```

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::{ALPN, provider};

/// What a client of one server needs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The name or address that the certificate must be made out to; a name is sent as SNI.
    pub server_name: String,
    /// How much of the server's certificate is checked.
    pub verification: Verification,
    /// A PEM file of the authorities that may vouch for the server; `None` takes those of this machine.
    pub authorities: Option<PathBuf>,
    /// PEM files of our own certificate chain and its key, for servers that ask for one.
    pub own: Option<(PathBuf, PathBuf)>,
    /// Whether TLS begins with the first byte, without an SSLRequest (PostgreSQL 17 and later).
    pub direct: bool,
}

/// How much of the server's certificate is checked, in the words of libpq's `sslmode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verification {
    /// `verify-full`: an authority vouches for it, and it is made out to the server's name.
    Full,
    /// `verify-ca`: an authority vouches for it. Anyone whom it vouches for can stand in for the server.
    Authority,
    /// `require`: none of it. Hides what is said from who only listens, and stops nobody who stands in between.
    Nothing,
}

/// TLS towards one server, ready to use. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    settings: Arc<Settings>,
    config: Arc<ArcSwap<ClientConfig>>,
    name: ServerName<'static>,
}

/// Why there is no TLS towards a server.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The name is neither a DNS name nor an address.
    #[error("`{name}` is no server name")]
    Name {
        /// The name.
        name: String,
    },
    /// A file can't be read, or is not PEM.
    #[error("`{}` can't be used as {what}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What it should hold.
        what: &'static str,
        /// What is wrong with it.
        #[source]
        source: pem::Error,
    },
    /// A file has no certificate in it.
    #[error("`{}` holds no certificate", file.display())]
    NoCertificate {
        /// The file.
        file: PathBuf,
    },
    /// This machine has no authorities.
    #[error("this machine has no certificate authorities that could be read: {why}")]
    NoAuthorities {
        /// What was tried.
        why: String,
    },
    /// A certificate or key is of no use.
    #[error("the certificates or the key can't be used")]
    Unusable(#[source] rustls::Error),
}

impl Settings {
    /// For the server called `server_name`, by this machine's authorities, without a certificate of our own.
    #[must_use]
    pub fn new(server_name: &str, verification: Verification) -> Self {
        Self {
            server_name: server_name.to_owned(),
            verification,
            authorities: None,
            own: None,
            direct: false,
        }
    }
}

impl Verification {
    /// libpq's word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "verify-full",
            Self::Authority => "verify-ca",
            Self::Nothing => "require",
        }
    }
}

impl Client {
    /// Reads every file that `settings` names.
    ///
    /// # Errors
    /// When one can't be used. There is no going on without it.
    pub fn build(settings: &Settings) -> Result<Self, ClientError> {
        let name = ServerName::try_from(settings.server_name.clone())
            .map_err(|_| ClientError::Name { name: settings.server_name.clone() })?;
        let config = Arc::new(ArcSwap::from(read(settings)?));
        Ok(Self { settings: Arc::new(settings.clone()), config, name })
    }

    /// Reads the files again, this machine's authorities where none are named. From now on handshakes are by what is in
    /// them, those of every clone too; connections that are open go on.
    ///
    /// # Errors
    /// When one can't be used: then everything stays as it was.
    pub fn reload(&self) -> Result<(), ClientError> {
        self.config.store(read(&self.settings)?);
        Ok(())
    }

    /// A digest over what is in the files now: it changes when they do, or when they can't be read any more.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        let own = self.settings.own.iter().flat_map(|(certificate, key)| [certificate, key]);
        super::fingerprint(self.settings.authorities.iter().chain(own).map(PathBuf::as_path))
    }

    /// What rustls needs.
    #[must_use]
    pub fn config(&self) -> Arc<ClientConfig> {
        self.config.load_full()
    }

    /// The name that the server is asked for by.
    #[must_use]
    pub fn server_name(&self) -> ServerName<'static> {
        self.name.clone()
    }

    /// How much of the server's certificate is checked.
    #[must_use]
    pub fn verification(&self) -> Verification {
        self.settings.verification
    }

    /// Whether a server that asks for a certificate gets one.
    #[must_use]
    pub fn presents_certificate(&self) -> bool {
        self.settings.own.is_some()
    }

    /// Whether TLS begins with the first byte.
    #[must_use]
    pub fn is_direct(&self) -> bool {
        self.settings.direct
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({} as {:?})", self.verification().as_str(), self.name)
    }
}

/// Reads every file.
fn read(settings: &Settings) -> Result<Arc<ClientConfig>, ClientError> {
    let provider = provider();
    let verifier = verifier(settings, &provider)?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(ClientError::Unusable)?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match &settings.own {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = certificates(certificate)?;
            let key = PrivateKeyDer::from_pem_file(key).map_err(|source| ClientError::File {
                file: key.clone(),
                what: "a private key",
                source,
            })?;
            builder.with_client_auth_cert(chain, key).map_err(ClientError::Unusable)?
        }
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Arc::new(config))
}

fn verifier(
    settings: &Settings,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, ClientError> {
    if settings.verification == Verification::Nothing {
        return Ok(Arc::new(Unnamed { roots: None, algorithms: provider.signature_verification_algorithms }));
    }
    let roots = match &settings.authorities {
        Some(file) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(file)? {
                roots.add(certificate).map_err(ClientError::Unusable)?;
            }
            roots
        }
        None => machines_authorities()?,
    };
    if settings.verification == Verification::Authority {
        let algorithms = provider.signature_verification_algorithms;
        return Ok(Arc::new(Unnamed { roots: Some(roots), algorithms }));
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build();
    Ok(verifier.map_err(|error| ClientError::Unusable(rustls::Error::General(error.to_string())))?)
}

/// The authorities that the administrator of this machine trusts. A few in a bundle may be unreadable to rustls.
fn machines_authorities() -> Result<RootCertStore, ClientError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
        let why = if why.is_empty() { "there are none".to_owned() } else { why.join("; ") };
        return Err(ClientError::NoAuthorities { why });
    }
    Ok(roots)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, ClientError> {
    let unusable =
        |source| ClientError::File { file: file.to_owned(), what: "certificates in PEM form", source };
    let found: Vec<_> = CertificateDer::pem_file_iter(file)
        .and_then(|certificates| certificates.collect())
        .map_err(unusable)?;
    if found.is_empty() {
        return Err(ClientError::NoCertificate { file: file.to_owned() });
    }
    Ok(found)
}

/// Takes a certificate whatever name it is made out to; with `roots`, only one that they vouch for. That the server
/// holds its key is checked always.
#[derive(Debug)]
struct Unnamed {
    roots: Option<RootCertStore>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Unnamed {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Some(roots) = &self.roots {
            let certificate = ParsedCertificate::try_from(certificate)?;
            let algorithms = self.algorithms.all;
            verify_server_cert_signed_by_trust_anchor(&certificate, roots, intermediates, now, algorithms)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(settings: &Settings) -> String {
        Client::build(settings).unwrap_err().to_string()
    }

    #[test]
    fn a_file_that_is_of_no_use_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let empty = file("empty.pem", "nothing here\n");
        let broken = file("broken.pem", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n");
        let settings = |authorities: &Path| Settings {
            authorities: Some(authorities.to_owned()),
            ..Settings::new("db.example.com", Verification::Full)
        };
        assert!(refused(&settings(&empty)).ends_with("empty.pem` holds no certificate"));
        assert!(refused(&settings(&broken)).contains("broken.pem` can't be used as certificates"));
        assert!(refused(&settings(Path::new("/nowhere"))).contains("`/nowhere` can't be used"));
        let own = Settings {
            own: Some((empty.clone(), empty)),
            ..Settings::new("db.example.com", Verification::Nothing)
        };
        assert!(refused(&own).contains("holds no certificate"));
    }

    #[test]
    fn changed_files_are_put_in_force_for_every_clone_and_broken_ones_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let authorities = folder.path().join("ca.pem");
        let authority = || {
            let key = rcgen::KeyPair::generate().unwrap();
            rcgen::CertificateParams::new(vec!["db".to_owned()]).unwrap().self_signed(&key).unwrap().pem()
        };
        std::fs::write(&authorities, authority()).unwrap();
        let settings = Settings {
            authorities: Some(authorities.clone()),
            ..Settings::new("db.example.com", Verification::Full)
        };
        let client = Client::build(&settings).unwrap();
        let (clone, first, seen) = (client.clone(), client.config(), client.fingerprint());
        std::fs::write(&authorities, "no certificate").unwrap();
        assert_ne!(client.fingerprint(), seen);
        assert!(client.reload().is_err());
        assert!(Arc::ptr_eq(&clone.config(), &first), "the old ones stay");
        std::fs::write(&authorities, authority()).unwrap();
        client.reload().unwrap();
        assert!(!Arc::ptr_eq(&clone.config(), &first));
    }

    #[test]
    fn a_server_needs_a_name_that_a_certificate_can_have() {
        assert_eq!(
            refused(&Settings::new("not a name", Verification::Nothing)),
            "`not a name` is no server name"
        );
        for name in ["db.example.com", "10.0.0.1", "::1", "db_1"] {
            assert!(Client::build(&Settings::new(name, Verification::Nothing)).is_ok(), "{name}");
        }
    }
}
