//! Sockets to governed databases: TCP or Unix, one more variant away from TLS.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf as TcpRead, OwnedWriteHalf as TcpWrite};
use tokio::net::unix::{OwnedReadHalf as UnixRead, OwnedWriteHalf as UnixWrite};
use tokio::net::{TcpSocket, UnixStream, lookup_host};

/// Where exactly a server listens: a CancelRequest must reach the server that the session is on.
#[derive(Debug, Clone)]
pub(super) enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// The receiving half of a socket.
#[derive(Debug)]
pub(super) enum ReadHalf {
    Tcp(TcpRead),
    Unix(UnixRead),
}

/// The sending half of a socket.
#[derive(Debug)]
pub(super) enum WriteHalf {
    Tcp(TcpWrite),
    Unix(UnixWrite),
}

impl Address {
    /// Dials `host`, which is a folder with a Unix socket if it begins with a slash; else every address of the name in
    /// turn, until one answers.
    pub(super) async fn find(host: &str, port: u16) -> io::Result<(Self, ReadHalf, WriteHalf)> {
        if host.starts_with('/') {
            return Self::Unix(Path::new(host).join(format!(".s.PGSQL.{port}"))).dialled().await;
        }
        let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in lookup_host((host, port)).await? {
            match Self::Tcp(address).dialled().await {
                Ok(found) => return Ok(found),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// Opens another socket to the same place.
    pub(super) async fn dial(&self) -> io::Result<(ReadHalf, WriteHalf)> {
        match self {
            Self::Tcp(address) => {
                let socket = match address.ip() {
                    IpAddr::V4(_) => TcpSocket::new_v4(),
                    IpAddr::V6(_) => TcpSocket::new_v6(),
                }?;
                socket.set_nodelay(true)?;
                socket.set_keepalive(true)?;
                let (read, write) = socket.connect(*address).await?.into_split();
                Ok((ReadHalf::Tcp(read), WriteHalf::Tcp(write)))
            }
            Self::Unix(path) => {
                let (read, write) = UnixStream::connect(path).await?.into_split();
                Ok((ReadHalf::Unix(read), WriteHalf::Unix(write)))
            }
        }
    }

    /// Whether nobody off this machine can listen in or answer in the server's place.
    pub(super) fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().is_loopback(),
            Self::Unix(_) => true,
        }
    }

    async fn dialled(self) -> io::Result<(Self, ReadHalf, WriteHalf)> {
        let (read, write) = self.dial().await?;
        Ok((self, read, write))
    }
}

impl ReadHalf {
    /// Appends what is there to `buffer`; 0 is the end. Cancel-safe.
    pub(super) async fn read(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.read_buf(buffer).await,
            Self::Unix(socket) => socket.read_buf(buffer).await,
        }
    }
}

impl WriteHalf {
    /// Sends all of `bytes`. Cancel-safe: what was sent is gone from `bytes`.
    pub(super) async fn write(&mut self, bytes: &mut impl Buf) -> io::Result<()> {
        while bytes.has_remaining() {
            let sent = match self {
                Self::Tcp(socket) => socket.write_buf(bytes).await?,
                Self::Unix(socket) => socket.write_buf(bytes).await?,
            };
            if sent == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        Ok(())
    }
}
