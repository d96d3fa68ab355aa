//! Sockets to governed databases: TCP, TLS on TCP, or Unix.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream, UnixStream, lookup_host};
use tokio_rustls::client::TlsStream;

use crate::tcp;
use crate::tls::certificate::end_point_binding;

/// Where exactly a server listens: a CancelRequest must reach the server that the session is on.
#[derive(Debug, Clone)]
pub(super) enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// A socket to a server: one thing that is read and written, and never split.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpStream),
    /// Boxed: the state of TLS is large.
    Tls(Box<TlsStream<TcpStream>>),
    Unix(UnixStream),
}

impl Address {
    /// Every address of `host`, which is a folder with a Unix socket if it begins with a slash.
    pub(super) async fn all(host: &str, port: u16) -> io::Result<Vec<Self>> {
        if host.starts_with('/') {
            return Ok(vec![Self::Unix(Path::new(host).join(format!(".s.PGSQL.{port}")))]);
        }
        Ok(lookup_host((host, port)).await?.map(Self::Tcp).collect())
    }

    /// Opens a socket there.
    pub(super) async fn dial(&self) -> io::Result<Socket> {
        match self {
            Self::Tcp(address) => {
                let socket = match address.ip() {
                    IpAddr::V4(_) => TcpSocket::new_v4(),
                    IpAddr::V6(_) => TcpSocket::new_v6(),
                }?;
                tcp::prepare(&SockRef::from(&socket))?;
                Ok(Socket::Tcp(socket.connect(*address).await?))
            }
            Self::Unix(path) => Ok(Socket::Unix(UnixStream::connect(path).await?)),
        }
    }

    /// Whether nobody off this machine can listen in or answer in the server's place.
    pub(super) fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

impl Socket {
    /// What an authentication can be bound to: the server's certificate, where there is TLS and it has such a thing.
    pub(super) fn end_point(&self) -> Option<Vec<u8>> {
        let Self::Tls(tls) = self else { return None };
        end_point_binding(tls.get_ref().1.peer_certificates()?.first()?)
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_read(context, buffer),
            Self::Tls(tls) => Pin::new(tls).poll_read(context, buffer),
            Self::Unix(socket) => Pin::new(socket).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_write(context, bytes),
            Self::Tls(tls) => Pin::new(tls).poll_write(context, bytes),
            Self::Unix(socket) => Pin::new(socket).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_flush(context),
            Self::Tls(tls) => Pin::new(tls).poll_flush(context),
            Self::Unix(socket) => Pin::new(socket).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_shutdown(context),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(context),
            Self::Unix(socket) => Pin::new(socket).poll_shutdown(context),
        }
    }
}
