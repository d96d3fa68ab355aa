//! One upstream connection.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use tokio::time::timeout;

use crate::gate::Context;
use crate::protocol::frame::{Frame, FrameError, Leg};

use super::Outbox;
use super::handshake::Opened;
use super::socket::{Address, ReadHalf, WriteHalf};

/// An open upstream connection, ready for queries.
#[derive(Debug)]
pub struct Link {
    context: Arc<Context>,
    parameters: Vec<(String, String)>,
    canceller: Canceller,
    reader: LinkReader,
    writer: LinkWriter,
}

/// The receiving half.
#[derive(Debug)]
pub struct LinkReader {
    socket: ReadHalf,
    buffer: BytesMut,
}

/// The sending half.
#[derive(Debug)]
pub struct LinkWriter {
    socket: WriteHalf,
    pending: Bytes,
}

/// Cancels whatever runs on a connection, by PostgreSQL's CancelRequest on a socket of its own.
#[derive(Clone)]
pub struct Canceller {
    address: Address,
    key: Option<BackendKey>,
}

/// What BackendKeyData said: a password for cancelling, never printed.
#[derive(Clone)]
pub(super) struct BackendKey {
    pub(super) process: u32,
    pub(super) secret: Bytes,
}

/// A connection that broke.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The server closed it.
    #[error("the database closed the connection")]
    Closed,
    /// The socket failed.
    #[error("the connection to the database failed")]
    Io(#[source] io::Error),
    /// The server broke the protocol.
    #[error("the database broke the protocol: {what}")]
    Protocol {
        /// How.
        what: String,
    },
    /// A message, most likely a row, is too long to be held in memory.
    #[error("the database sent {bytes} bytes in one message, more than pass the gateway at once")]
    TooLong {
        /// Its length field.
        bytes: u32,
    },
}

impl Link {
    pub(super) fn new(context: Arc<Context>, opened: Opened) -> Self {
        let Opened { reader, writer, canceller, parameters } = opened;
        Self { context, parameters, canceller, reader, writer }
    }

    /// Where statements on this connection are judged.
    #[must_use]
    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// The server's parameters at start-up (`server_version`, `TimeZone`, ...), in the order they came.
    #[must_use]
    pub fn parameters(&self) -> &[(String, String)] {
        &self.parameters
    }

    /// A handle that cancels what runs here.
    #[must_use]
    pub fn canceller(&self) -> Canceller {
        self.canceller.clone()
    }

    /// The two halves, for a driver that reads and writes at once.
    #[must_use]
    pub fn split(self) -> (LinkReader, LinkWriter) {
        (self.reader, self.writer)
    }

    /// Both halves, borrowed.
    pub fn halves(&mut self) -> (&mut LinkReader, &mut LinkWriter) {
        (&mut self.reader, &mut self.writer)
    }
}

impl LinkReader {
    pub(super) fn new(socket: ReadHalf) -> Self {
        Self { socket, buffer: BytesMut::new() }
    }

    /// The next whole frame. Cancel-safe: dropping the future loses nothing.
    ///
    /// # Errors
    /// When the connection broke, or the server sent what is no frame.
    pub async fn receive(&mut self) -> Result<Frame, LinkError> {
        loop {
            if let Some(frame) = Frame::decode(Leg::Backend, &mut self.buffer)? {
                return Ok(frame);
            }
            self.fill().await?;
        }
    }

    /// As [`LinkReader::receive`], but `None` as soon as the next frame's length says that it has more than `most`
    /// bytes: then the stream must be given up.
    pub(super) async fn receive_within(&mut self, most: usize) -> Result<Option<Frame>, LinkError> {
        loop {
            if self.announced().is_some_and(|length| length > most) {
                return Ok(None);
            }
            if let Some(frame) = Frame::decode(Leg::Backend, &mut self.buffer)? {
                return Ok(Some(frame));
            }
            self.fill().await?;
        }
    }

    /// The length field of the frame that begins the buffer.
    fn announced(&self) -> Option<usize> {
        let (_, rest) = self.buffer.split_first()?;
        usize::try_from(u32::from_be_bytes(*rest.first_chunk()?)).ok()
    }

    /// Waits for more bytes. The buffer grows by what has arrived, never by what a length field promises.
    async fn fill(&mut self) -> Result<(), LinkError> {
        if self.buffer.capacity() - self.buffer.len() < READ_LEAST {
            self.buffer.reserve(READ_BYTES.max(self.buffer.len()));
        }
        match self.socket.read(&mut self.buffer).await.map_err(LinkError::Io)? {
            0 => Err(LinkError::Closed),
            _ => Ok(()),
        }
    }
}

impl LinkWriter {
    pub(super) fn new(socket: WriteHalf) -> Self {
        Self { socket, pending: Bytes::new() }
    }

    /// Sends all that waits in `outbox`. Cancel-safe: what a dropped future has not sent goes first next time.
    ///
    /// # Errors
    /// When the connection broke.
    pub async fn send(&mut self, outbox: &mut Outbox) -> Result<(), LinkError> {
        self.send_bytes(outbox.drain()).await
    }

    pub(super) async fn send_bytes(&mut self, bytes: Bytes) -> Result<(), LinkError> {
        if self.pending.is_empty() {
            self.pending = bytes;
        } else if !bytes.is_empty() {
            let mut both = BytesMut::with_capacity(self.pending.len().saturating_add(bytes.len()));
            both.put(self.pending.split_off(0));
            both.put(bytes);
            self.pending = both.freeze();
        }
        self.socket.write(&mut self.pending).await.map_err(LinkError::Io)
    }
}

impl fmt::Debug for Canceller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Canceller({:?})", self.address)
    }
}

impl Canceller {
    pub(super) fn new(address: Address, key: Option<BackendKey>) -> Self {
        Self { address, key }
    }

    /// Sends the CancelRequest and waits until the server has closed that socket: by then it was acted upon, and can't
    /// hit a later statement. Bounded by a few seconds. Does nothing where the server gave no key.
    pub async fn cancel(&self) {
        let Some(key) = &self.key else { return };
        match timeout(CANCEL_DEADLINE, self.request(key)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "a statement could not be cancelled"),
            Err(_) => tracing::warn!("the database did not answer a cancel request in time"),
        }
    }

    async fn request(&self, key: &BackendKey) -> io::Result<()> {
        let (mut read, mut write) = self.address.dial().await?;
        let mut packet = BytesMut::new();
        let length = u32::try_from(key.secret.len().saturating_add(12)).map_err(io::Error::other)?;
        packet.put_u32(length);
        packet.put_u32(CANCEL_REQUEST);
        packet.put_u32(key.process);
        packet.put_slice(&key.secret);
        write.write(&mut packet).await?;
        // The server answers nothing; what it might say all the same is dropped.
        let mut answer = BytesMut::new();
        while read.read(&mut answer).await? > 0 {
            answer.clear();
        }
        Ok(())
    }
}

impl From<FrameError> for LinkError {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::Length { length, .. } if length > SHORTEST => Self::TooLong { bytes: length },
            FrameError::Length { .. } | FrameError::Tag { .. } => Self::Protocol { what: error.to_string() },
        }
    }
}

/// A length field counts itself.
const SHORTEST: u32 = 4;
/// What is asked of the socket at once.
const READ_BYTES: usize = 16 * 1024;
/// Less room than this is not worth a system call.
const READ_LEAST: usize = 2 * 1024;
const CANCEL_DEADLINE: Duration = Duration::from_secs(5);
/// The code of a CancelRequest: 1234.5678.
const CANCEL_REQUEST: u32 = 80_877_102;
