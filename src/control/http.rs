//! One HTTP server that is asked again and again: connections are kept, answers are bounded in size and time, redirects are
//! not followed, and no proxy of the environment is used.

use std::error::Error as _;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{AUTHORIZATION, HeaderName, HeaderValue, USER_AGENT};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use zeroize::Zeroizing;

use crate::tls::client as tls;

/// A server of the configuration.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Its address: `http://` or `https://`, without a user.
    pub url: String,
    /// Sent as a bearer token.
    pub token: Option<Token>,
    /// A PEM file of the authorities that may vouch for it; `None` takes those of this machine.
    pub authorities: Option<PathBuf>,
}

/// A secret that opens a server. Its `Debug` says nothing.
#[derive(Clone)]
pub struct Token(Zeroizing<String>);

/// A server, ready to be asked. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Remote {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    base: Uri,
    authorization: Option<HeaderValue>,
}

/// What a server answered.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

/// What to ask for.
#[derive(Debug, Default)]
pub struct Ask {
    /// Appended to the endpoint's path.
    pub path: String,
    /// Headers besides our own.
    pub headers: Vec<(HeaderName, String)>,
    /// The body of a POST; `None` is a GET.
    pub body: Option<Bytes>,
}

/// The bounds of an answer.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// From the request to the body's last byte.
    pub time: Duration,
    /// The most bytes of the body.
    pub bytes: usize,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// The address can't be one.
    #[error("`{url}` is no web address: write `https://host/path`, without user, password and fragment")]
    Address {
        /// As written.
        url: String,
    },
    /// TLS can't be set up.
    #[error("TLS towards `{host}` can't be set up: {why}")]
    Tls {
        /// The server.
        host: String,
        /// What is wrong.
        why: String,
    },
    /// A header can't be sent.
    #[error("the header `{name}` can't be sent: it holds line breaks or other control characters")]
    Header {
        /// Which.
        name: String,
    },
    /// The server can't be reached, or breaks off.
    #[error("`{host}` can't be reached: {why}")]
    Unreachable {
        /// The server.
        host: String,
        /// What happened.
        why: String,
    },
    /// It takes too long.
    #[error("`{host}` did not answer within {limit_ms} ms")]
    Timeout {
        /// The server.
        host: String,
        /// The limit.
        limit_ms: u128,
    },
    /// It says too much.
    #[error("`{host}` answers with more than {limit} bytes")]
    TooLarge {
        /// The server.
        host: String,
        /// The limit.
        limit: usize,
    },
}

impl Token {
    /// Takes `text` as a token.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(Zeroizing::new(text.to_owned()))
    }
}

impl Endpoint {
    /// A server at `url`, without a token, by this machine's authorities.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), token: None, authorities: None }
    }

    /// The address, taken apart.
    ///
    /// # Errors
    /// When it is none that can be asked.
    pub fn uri(&self) -> Result<Uri, HttpError> {
        let wrong = || HttpError::Address { url: self.url.clone() };
        let uri: Uri = self.url.parse().map_err(|_| wrong())?;
        let web = matches!(uri.scheme_str(), Some("http" | "https"));
        let user = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
        if !web || user || uri.host().is_none_or(str::is_empty) || self.url.contains('#') {
            return Err(wrong());
        }
        Ok(uri)
    }
}

impl Remote {
    /// Reads the authorities; reaches out to nobody yet.
    ///
    /// # Errors
    /// When the address, the authorities or the token can't be used.
    pub fn new(endpoint: &Endpoint) -> Result<Self, HttpError> {
        let base = endpoint.uri()?;
        let host = host(&base).trim_matches(['[', ']']).to_owned();
        let tls = tls::Settings {
            authorities: endpoint.authorities.clone(),
            ..tls::Settings::new(&host, tls::Verification::Full)
        };
        let tls = tls::Client::build(&tls).map_err(|error| {
            let cause = error.source().map(|cause| format!(" ({cause})")).unwrap_or_default();
            HttpError::Tls { host: host.clone(), why: format!("{error}{cause}") }
        })?;
        let mut tls = (*tls.config()).clone();
        tls.alpn_protocols.clear();
        let https = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        let client = Client::builder(TokioExecutor::new()).pool_idle_timeout(KEPT).build(https);
        let authorization = endpoint.token.as_ref().map(|token| {
            let mut value = header(&AUTHORIZATION, &format!("Bearer {}", *token.0))?;
            value.set_sensitive(true);
            Ok(value)
        });
        Ok(Self { client, base, authorization: authorization.transpose()? })
    }

    /// Asks, and reads the whole answer.
    ///
    /// # Errors
    /// When there is none within `bounds`. An answer with an error's status is an answer.
    pub async fn ask(&self, ask: Ask, bounds: Bounds) -> Result<Answer, HttpError> {
        let request = self.request(ask)?;
        let answered = async {
            let response = self.client.request(request).await.map_err(|error| self.broken(&error))?;
            self.read(response, bounds.bytes).await
        };
        tokio::time::timeout(bounds.time, answered).await.unwrap_or_else(|_| {
            Err(HttpError::Timeout { host: self.host(), limit_ms: bounds.time.as_millis() })
        })
    }

    fn request(&self, ask: Ask) -> Result<Request<Full<Bytes>>, HttpError> {
        let url = match ask.path.as_str() {
            "" => self.base.to_string(),
            path => format!("{}/{path}", self.base.to_string().trim_end_matches('/')),
        };
        let method = if ask.body.is_some() { Method::POST } else { Method::GET };
        let mut request = Request::new(Full::new(ask.body.unwrap_or_default()));
        *request.method_mut() = method;
        *request.uri_mut() = url.parse().map_err(|_| HttpError::Address { url })?;
        let headers = request.headers_mut();
        headers
            .insert(USER_AGENT, HeaderValue::from_static(concat!("portcullis/", env!("CARGO_PKG_VERSION"))));
        if let Some(authorization) = &self.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        for (name, value) in ask.headers {
            let value = header(&name, &value)?;
            headers.insert(name, value);
        }
        Ok(request)
    }

    async fn read(
        &self,
        response: Response<impl BodyExt<Data = Bytes, Error: std::error::Error> + Unpin>,
        limit: usize,
    ) -> Result<Answer, HttpError> {
        let (parts, mut body) = response.into_parts();
        let mut read = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| self.broken(&error))?;
            let Some(data) = frame.data_ref() else { continue };
            if read.len().saturating_add(data.len()) > limit {
                return Err(HttpError::TooLarge { host: self.host(), limit });
            }
            read.extend_from_slice(data);
        }
        Ok(Answer { status: parts.status, headers: parts.headers, body: read.freeze() })
    }

    fn broken(&self, error: &dyn std::error::Error) -> HttpError {
        let mut innermost = error;
        while let Some(cause) = innermost.source() {
            innermost = cause;
        }
        HttpError::Unreachable { host: self.host(), why: innermost.to_string() }
    }

    fn host(&self) -> String {
        self.base.authority().map(ToString::to_string).unwrap_or_default()
    }
}

fn host(uri: &Uri) -> &str {
    uri.host().unwrap_or_default()
}

fn header(name: &HeaderName, value: &str) -> Result<HeaderValue, HttpError> {
    HeaderValue::from_str(value).map_err(|_| HttpError::Header { name: name.to_string() })
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Remote({})", self.base)
    }
}

/// How long a connection may wait for the next request.
const KEPT: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    use rustls::ServerConfig;
    use rustls::pki_types::PrivateKeyDer;
    use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    const BOUNDS: Bounds = Bounds { time: Duration::from_secs(20), bytes: 100 };

    /// Answers every connection by `said`, and then says nothing more.
    async fn answer(mut socket: impl AsyncRead + AsyncWrite + Unpin, said: &str) {
        let mut request = [0; 1024];
        if socket.read(&mut request).await.is_ok() {
            drop(socket.write_all(said.as_bytes()).await);
            drop(socket.read(&mut request).await);
        }
    }

    async fn server(said: &'static str) -> Endpoint {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(answer(socket, said));
            }
        });
        Endpoint::new(format!("http://{address}/"))
    }

    async fn asked(endpoint: &Endpoint, bounds: Bounds) -> Result<Answer, HttpError> {
        Remote::new(endpoint).unwrap().ask(Ask::default(), bounds).await
    }

    #[tokio::test]
    async fn answers_are_bounded_in_size_and_time() {
        let long = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n40\r\n\
                    xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n40\r\n\
                    xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n";
        let refused = asked(&server(long).await, BOUNDS).await.unwrap_err();
        assert!(refused.to_string().ends_with("answers with more than 100 bytes"), "{refused}");
        let slow = server("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf").await;
        let soon = Bounds { time: Duration::from_millis(50), ..BOUNDS };
        let refused = asked(&slow, soon).await.unwrap_err();
        assert!(refused.to_string().ends_with("did not answer within 50 ms"), "{refused}");
    }

    #[tokio::test]
    async fn redirects_are_answers_and_nobody_is_no_answer() {
        let moved = "HTTP/1.1 302 Found\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(asked(&server(moved).await, BOUNDS).await.unwrap().status, StatusCode::FOUND);
        let gone = Endpoint::new("http://127.0.0.1:1/");
        assert!(
            asked(&gone, BOUNDS).await.unwrap_err().to_string().starts_with("`127.0.0.1:1` can't be reached")
        );
        let broken = Endpoint { token: Some(Token::new("two\nlines")), ..gone };
        assert!(Remote::new(&broken).unwrap_err().to_string().contains("line breaks"));
    }

    #[tokio::test]
    async fn a_server_is_believed_by_its_certificate_only() {
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_key = KeyPair::generate().unwrap();
        let root = authority.self_signed(&authority_key).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["localhost".to_owned()])
            .unwrap()
            .signed_by(&key, &Issuer::new(authority, authority_key))
            .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let ca = folder.path().join("ca.pem");
        std::fs::write(&ca, root.pem()).unwrap();

        let config = ServerConfig::builder_with_provider(crate::tls::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            )
            .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    if let Ok(socket) = acceptor.accept(socket).await {
                        answer(socket, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await;
                    }
                });
            }
        });

        let endpoint = |host: &str, authorities| Endpoint {
            authorities,
            ..Endpoint::new(format!("https://{host}:{port}/"))
        };
        let answered = asked(&endpoint("localhost", Some(ca.clone())), BOUNDS).await.unwrap();
        assert_eq!(&answered.body[..], b"hello");
        for (endpoint, part) in [
            (endpoint("localhost", None), "UnknownIssuer"),
            (endpoint("127.0.0.1", Some(ca.clone())), "certificate not valid for name"),
        ] {
            let refused = asked(&endpoint, BOUNDS).await.unwrap_err().to_string();
            assert!(refused.contains(part), "{refused}");
        }
    }
}
