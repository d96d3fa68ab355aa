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
