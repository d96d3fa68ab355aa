//! The leg towards clients: the gateway's own certificate, and how it is read again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{ProtocolVersion, RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::certificate::{PeerCertificate, end_point_binding};
use super::{ALPN, TlsError, fingerprint, provider};

/// Where certificate and key are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The gateway's own certificate, and behind it those between it and its authority; PEM.
    pub certificate: PathBuf,
    /// Its private key; PEM.
    pub key: PathBuf,
    /// The certificates of the authorities that clients' certificates must come from; `None` asks for none.
    pub client_ca: Option<PathBuf>,
}

/// The certificates in force. They can be read again while sessions run on those before.
#[derive(Debug)]
pub struct Certificates {
    files: Files,
    current: ArcSwap<Terms>,
}

/// How a handshake is done, by the certificates of one moment.
#[derive(Debug)]
pub struct Terms {
    config: Arc<ServerConfig>,
    binding: Option<Vec<u8>>,
}

/// What a handshake came to.
#[derive(Debug)]
pub struct Handshake {
    /// The encrypted socket.
    pub stream: TlsStream<TcpStream>,
    /// Whether the client said that it speaks PostgreSQL's protocol (ALPN).
    pub named_protocol: bool,
    /// The client's certificate, verified against the authorities; `None` if it brought none.
    pub certificate: Option<PeerCertificate>,
    /// The channel binding `tls-server-end-point`; `None` where the gateway's certificate allows none.
    pub binding: Option<Vec<u8>>,
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: String,
    /// The name that the client asked for (SNI); empty where it did not say.
    pub server_name: String,
}

impl Certificates {
    /// Reads `files`.
    ///
    /// # Errors
    /// Names the file that can't be used.
    pub fn load(files: Files) -> Result<Self, TlsError> {
        let current = ArcSwap::from_pointee(Terms::load(&files)?);
        Ok(Self { files, current })
    }

    /// Reads the files again. From now on handshakes are by what is in them; sessions that run go on.
    ///
    /// # Errors
    /// Names the file that can't be used: then everything stays as it was.
    pub fn reload(&self) -> Result<(), TlsError> {
        self.current.store(Arc::new(Terms::load(&self.files)?));
        Ok(())
    }

    /// A digest over what is in the files now: it changes when they do, or when they can't be read any more.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        let Files { certificate, key, client_ca } = &self.files;
        let files = [Some(certificate), Some(key), client_ca.as_ref()];
        fingerprint(files.into_iter().flatten().map(PathBuf::as_path))
    }

    /// The terms of the next handshake.
    #[must_use]
    pub fn current(&self) -> Arc<Terms> {
        self.current.load_full()
    }
}

impl Terms {
    /// Shakes hands on `socket`. Unbounded in time: the caller sets the deadline.
    ///
    /// # Errors
    /// When the client breaks it off, speaks no TLS, offers only versions or protocols that are not spoken here, or
    /// brings a certificate that no authority vouches for. It has been told why, as far as TLS can say it.
    pub async fn accept(&self, socket: TcpStream) -> io::Result<Handshake> {
        let stream = TlsAcceptor::from(Arc::clone(&self.config)).accept(socket).await?;
        let connection = stream.get_ref().1;
        let named_protocol = connection.alpn_protocol() == Some(ALPN);
        let certificate = match connection.peer_certificates() {
            None | Some([]) => None,
            Some([own, ..]) => Some(PeerCertificate::of(own).ok_or(io::ErrorKind::InvalidData)?),
        };
        let version = match connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "",
        };
        let (version, server_name) =
            (version.to_owned(), connection.server_name().unwrap_or_default().to_owned());
        let binding = self.binding.clone();
        Ok(Handshake { stream, named_protocol, certificate, binding, version, server_name })
    }

    fn load(files: &Files) -> Result<Self, TlsError> {
        let chain = certificates(&files.certificate)?;
        let binding = chain.first().and_then(end_point_binding);
        let config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(|source| TlsError::Unusable { path: files.certificate.clone(), source })?;
        let config = match &files.client_ca {
            None => config.with_no_client_auth(),
            Some(path) => config.with_client_cert_verifier(verifier(path)?),
        };
        let mut config = config
            .with_single_cert(chain, private_key(&files.key)?)
            .map_err(|source| TlsError::Unusable { path: files.certificate.clone(), source })?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        // As PostgreSQL: nothing is resumed, so every session is by the certificates that hold when it begins.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Self { config: Arc::new(config), binding })
    }
}

/// Who brings a certificate must have it from these authorities; who brings none proves itself otherwise.
fn verifier(path: &Path) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|source| TlsError::Unusable { path: path.to_owned(), source })?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
        .allow_unauthenticated()
        .build()
        .map_err(|error| TlsError::Authority { path: path.to_owned(), why: error.to_string() })
}

/// The certificates in a PEM file; at least one.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let none = || TlsError::Pem { path: path.to_owned(), what: "certificate" };
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    found.ok().filter(|found| !found.is_empty()).ok_or_else(none)
}

/// The private key in a PEM file.
pub(super) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let none = |_| TlsError::Pem { path: path.to_owned(), what: "private key without a passphrase" };
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(none)
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source| TlsError::Unreadable { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn write(folder: &Path, name: &str) -> Files {
        let key = KeyPair::generate().unwrap();
        let parameters = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        fs::write(folder.join("cert.pem"), certificate.pem()).unwrap();
        fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
        Files { certificate: folder.join("cert.pem"), key: folder.join("key.pem"), client_ca: None }
    }

    #[test]
    fn changed_files_are_put_in_force_and_broken_ones_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let certificates = Certificates::load(write(folder.path(), "one")).unwrap();
        let (one, seen) = (certificates.current(), certificates.fingerprint());
        assert!(one.binding.is_some());
        fs::write(folder.path().join("cert.pem"), "no certificate").unwrap();
        assert_ne!(certificates.fingerprint(), seen);
        assert!(certificates.reload().is_err());
        assert_eq!(certificates.current().binding, one.binding, "the old one stays");
        write(folder.path(), "two");
        certificates.reload().unwrap();
        assert_ne!(certificates.current().binding, one.binding);
    }

    #[test]
    fn what_can_not_be_used_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let good = write(folder.path(), "one");
        let other = tempfile::tempdir().unwrap();
        let key = write(other.path(), "two").key;
        let text = folder.path().join("text");
        fs::write(&text, "text").unwrap();
        let missing = folder.path().join("missing");
        for (files, named) in [
            (Files { certificate: missing, ..good.clone() }, "missing"),
            (Files { certificate: text.clone(), ..good.clone() }, "no certificate"),
            (Files { key: text.clone(), ..good.clone() }, "no private key"),
            (Files { key, ..good.clone() }, "can't be used"),
            (Files { client_ca: Some(text), ..good }, "no certificate"),
        ] {
            let said = Certificates::load(files).unwrap_err().to_string();
            assert!(said.contains(named), "{said}");
        }
    }
}
