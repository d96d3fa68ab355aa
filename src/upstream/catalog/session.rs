//! A session for tokio-postgres on a connection that is open already.
//!
//! Transport and authentication are the same for the gateway's own questions as for everybody: they happen first, and then tokio-postgres
//! is shown the end of a start-up that asked for nothing.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio_postgres::config::SslMode;
use tokio_postgres::{AsyncMessage, Client, Config, NoTls};

use crate::protocol::backend;

use super::super::handshake::{Opened, Reading};
use super::super::settings::RoleSettings;
use super::super::socket::Socket;
use super::super::target::Target;
use super::LoadError;

/// A session of `role` with `parameters`.
pub(in crate::upstream) async fn open(
    target: &Target,
    role: &RoleSettings,
    parameters: &[(&str, &str)],
) -> Result<Client, LoadError> {
    open_hearing(target, role, parameters, Arc::default()).await
}

/// The same, and `told` hears of every notification.
pub(super) async fn open_hearing(
    target: &Target,
    role: &RoleSettings,
    parameters: &[(&str, &str)],
    told: Arc<Notify>,
) -> Result<Client, LoadError> {
    let mut all = vec![
        ("user".to_owned(), role.user.clone()),
        ("database".to_owned(), target.settings().database.clone()),
    ];
    all.extend(parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let opened = target.open(role, &all, Reading::AsTheJudgeDoes).await?;
    let mut config = Config::new();
    config.user(&role.user).ssl_mode(SslMode::Disable);
    let (client, mut connection) = config.connect_raw(Greeted::new(opened), NoTls).await?;
    tokio::spawn(async move {
        let ended = poll_fn(|context| {
            loop {
                match ready!(connection.poll_message(context)) {
                    Some(Ok(AsyncMessage::Notification(_))) => told.notify_one(),
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Poll::Ready(Err(error)),
                    None => return Poll::Ready(Ok(())),
                }
            }
        });
        if let Err(error) = ended.await {
            tracing::debug!(%error, "a connection of the gateway's own ended");
        }
    });
    Ok(client)
}

/// An open session that looks like one that begins: the first packet is swallowed, and answered with what the server
/// has said in truth.
#[derive(Debug)]
struct Greeted {
    socket: Socket,
    greeting: BytesMut,
    packet: Packet,
}

/// How much of the start-up packet has been swallowed.
#[derive(Debug, Clone, Copy)]
enum Packet {
    Expected,
    Rest(usize),
    Gone,
}

impl Greeted {
    fn new(opened: Opened) -> Self {
        let (socket, ahead) = opened.line.into_parts();
        let mut greeting = BytesMut::new();
        backend::authentication_ok(&mut greeting);
        for (name, value) in &opened.parameters {
            backend::parameter_status(&mut greeting, name, value);
        }
        backend::ready_for_query(&mut greeting, b'I');
        greeting.extend_from_slice(&ahead);
        Self { socket, greeting, packet: Packet::Expected }
    }

    /// How many of `bytes` are part of the start-up packet.
    fn swallow(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let left = match self.packet {
            Packet::Gone => return Ok(0),
            Packet::Rest(left) => left,
            Packet::Expected => {
                let length = bytes.first_chunk().copied().map(u32::from_be_bytes);
                let length = length.and_then(|length| usize::try_from(length).ok());
                length.ok_or_else(|| io::Error::other("the start-up packet came in crumbs"))?
            }
        };
        let taken = left.min(bytes.len());
        self.packet = if taken == left { Packet::Gone } else { Packet::Rest(left - taken) };
        Ok(taken)
    }
}

impl AsyncRead for Greeted {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.greeting.is_empty() {
            return Pin::new(&mut this.socket).poll_read(context, buffer);
        }
        let length = this.greeting.len().min(buffer.remaining());
        buffer.put_slice(this.greeting.get(..length).unwrap_or_default());
        this.greeting.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Greeted {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        match this.swallow(bytes) {
            Ok(0) => Pin::new(&mut this.socket).poll_write(context, bytes),
            taken => Poll::Ready(taken),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(context)
    }
}
