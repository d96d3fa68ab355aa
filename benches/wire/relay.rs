//! The bare relay that every figure is held against: it accepts, dials, and copies bytes both ways until both sides
//! have closed. One thread, one task a connection, no parsing: the least that a process between client and server
//! can do with this runtime.

use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr};

use clap::Args;
use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// Runs as the relay, which the bench starts as a process of its own.
#[derive(Debug, Args)]
pub(crate) struct Relay {
    /// Where to send what comes
    upstream: SocketAddr,
}

impl Relay {
    /// Relays until it is killed. Its first line on standard output is its port.
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let mut output = io::stdout();
        writeln!(output, "{}", listener.local_addr()?.port())?;
        output.flush()?;
        loop {
            let (client, _) = listener.accept().await?;
            tokio::spawn(relay(client, self.upstream));
        }
    }
}

/// One connection. How it ends is of interest to its two ends only, and they know.
async fn relay(mut client: TcpStream, upstream: SocketAddr) -> io::Result<()> {
    let mut server = TcpSocket::new_v4()?.connect(upstream).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    copy_bidirectional_with_sizes(&mut client, &mut server, BUFFER, BUFFER).await?;
    Ok(())
}

/// Bytes each way.
const BUFFER: usize = 16 * 1024;
