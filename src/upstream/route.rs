//! From a host name to a socket that may be spoken on: TCP or Unix, and TLS where it is asked for.
//!
//! A CancelRequest takes the same route again: to the very server that its session is on, and encrypted where the
//! session is.

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::tls::ALPN;
use crate::tls::client::{Client, Verification};

use super::greeting::Standing;
use super::settings::DatabaseSettings;
use super::socket::{Address, Socket};

/// The way to one server.
#[derive(Debug, Clone)]
pub(super) struct Route {
    address: Address,
    tls: Option<Client>,
}

/// Why there is no socket.
#[derive(Debug)]
pub(super) enum RouteError {
    /// The socket failed.
    Io(io::Error),
    /// There is no TLS, or not with the right server.
    Tls(String),
}

impl Route {
    /// Finds the server of `database`: its Unix socket, or every address of its name in turn until one answers.
    pub(super) async fn find(database: &DatabaseSettings) -> Result<(Self, Socket), RouteError> {
        let addresses = Address::all(&database.host, database.port).await.map_err(RouteError::Io)?;
        let share = database.connect_timeout / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
        let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in addresses {
            match timeout(share, address.dial()).await {
                Ok(Ok(socket)) => {
                    let route = Self { address, tls: database.tls.clone() };
                    let socket = route.encrypted(socket).await?;
                    return Ok((route, socket));
                }
                Ok(Err(error)) => failure = error,
                Err(_) => failure = no_answer(),
            }
        }
        Err(RouteError::Io(failure))
    }

    /// Takes the route again. Unbounded in time.
    pub(super) async fn again(&self) -> Result<Socket, RouteError> {
        let socket = self.address.dial().await.map_err(RouteError::Io)?;
        self.encrypted(socket).await
    }

    /// How sure we may be of who is at its end. TLS that was asked for counts, even to this machine: a tunnel may begin
    /// here.
    pub(super) fn standing(&self) -> Standing {
        match &self.tls {
            Some(tls) => match tls.verification() {
                Verification::Full | Verification::Authority => {
                    Standing::Verified { certified: tls.presents_certificate() }
                }
                Verification::Nothing => Standing::Encrypted,
            },
            None if self.address.is_local() => Standing::Local,
            None => Standing::Plain,
        }
    }

    async fn encrypted(&self, socket: Socket) -> Result<Socket, RouteError> {
        match (&self.tls, socket) {
            (None, socket) => Ok(socket),
            (Some(tls), Socket::Tcp(tcp)) => shake_hands(tcp, tls).await,
            (Some(_), Socket::Unix(_) | Socket::Tls(_)) => {
                Err(RouteError::Tls("PostgreSQL has TLS on TCP only".to_owned()))
            }
        }
    }
}

async fn shake_hands(mut tcp: TcpStream, tls: &Client) -> Result<Socket, RouteError> {
    if !tls.is_direct() {
        ask_for_tls(&mut tcp).await?;
    }
    let connector = TlsConnector::from(tls.config());
    let stream = connector.connect(tls.server_name(), tcp).await.map_err(RouteError::of_tls)?;
    let (_, session) = stream.get_ref();
    // ALPACA: without a name for the protocol, another service with the same certificate could be in the server's place.
    if tls.is_direct() && session.alpn_protocol() != Some(ALPN) {
        return Err(RouteError::Tls("it did not agree on the protocol `postgresql` (ALPN)".to_owned()));
    }
    Ok(Socket::Tls(Box::new(stream)))
}

/// Sends an SSLRequest. The answer is one byte; what came with it would be taken for the server's words though nobody
/// encrypted them, so it ends the connection (CVE-2021-23222). Nor is a word of an error shown that nobody has
/// vouched for (CVE-2024-10977).
async fn ask_for_tls(tcp: &mut TcpStream) -> Result<(), RouteError> {
    let refuse = |what: &str| Err(RouteError::Tls(what.to_owned()));
    tcp.write_all(&SSL_REQUEST).await.map_err(RouteError::Io)?;
    let mut answer = [0; 2];
    let read = tcp.read(&mut answer).await.map_err(RouteError::Io)?;
    match answer.get(..read) {
        Some(b"S") => Ok(()),
        Some([b'S', ..]) => refuse("it sent bytes behind its `S`, before any handshake"),
        Some([b'N', ..]) => refuse("it has no TLS (it answered `N`)"),
        Some([b'E', ..]) => refuse("it answered the request for TLS with an error"),
        None | Some([]) => Err(RouteError::Io(io::ErrorKind::UnexpectedEof.into())),
        Some([..]) => refuse("it answered the request for TLS with neither `S` nor `N`"),
    }
}

impl RouteError {
    /// Tells what TLS says from what the socket says.
    pub(super) fn of_tls(error: io::Error) -> Self {
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match tls.map(ToString::to_string) {
            Some(what) => Self::Tls(what),
            None => Self::Io(error),
        }
    }
}

impl From<RouteError> for io::Error {
    fn from(error: RouteError) -> Self {
        match error {
            RouteError::Io(error) => error,
            RouteError::Tls(what) => Self::other(what),
        }
    }
}

fn no_answer() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "no answer in time")
}

/// Length 8, code 1234.5679.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
