//! One upstream connection.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Poll, Waker, ready};
use std::time::Duration;

use bytes::{BufMut as _, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use crate::flow::{Intake, append, poll_drain};
use crate::gate::Context;
use crate::protocol::backend::ErrorFields;
use crate::protocol::frame::{Frame, FrameError, Leg};
use crate::protocol::run::{Frames, Piece};

use super::Outbox;
use super::greeting::BackendKey;
use super::handshake::Opened;
use super::route::Route;
use super::socket::Socket;

/// An open upstream connection, ready for queries.
#[derive(Debug)]
pub struct Link {
    context: Arc<Context>,
    parameters: Vec<(String, String)>,
    notices: Vec<ErrorFields>,
    canceller: Canceller,
    line: Line,
    /// Its place among the database's `max_connections`.
    _place: Option<OwnedSemaphorePermit>,
}

/// A socket with what has come and what is to go.
#[derive(Debug)]
pub(super) struct Line {
    socket: Socket,
    input: Intake,
    frames: Frames,
    output: BytesMut,
}

/// Cancels whatever runs on a connection, by PostgreSQL's CancelRequest on a socket of its own.
#[derive(Clone)]
pub struct Canceller {
    route: Route,
    key: Option<BackendKey>,
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
    /// A message that must be read as a whole is too long to be held in memory.
    #[error("the database sent {bytes} bytes in one message, more than pass the gateway at once")]
    TooLong {
        /// Its length field.
        bytes: u32,
    },
}

impl Link {
    pub(super) fn new(context: Arc<Context>, opened: Opened, place: Option<OwnedSemaphorePermit>) -> Self {
        let Opened { line, canceller, parameters, notices } = opened;
        Self { context, parameters, notices, canceller, line, _place: place }
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

    /// What the server had to remark at start-up; handed out once.
    pub fn take_notices(&mut self) -> Vec<ErrorFields> {
        std::mem::take(&mut self.notices)
    }

    /// Forgets the parameters, once everybody knows them.
    pub fn forget_parameters(&mut self) {
        self.parameters = Vec::new();
    }

    /// The server's process number for this connection; 0 where it gave none.
    #[must_use]
    pub fn process(&self) -> u32 {
        self.canceller.key.as_ref().map_or(0, |key| key.process)
    }

    /// Whether nothing has come that nobody asked for, the end of the connection included.
    pub(super) fn is_quiet(&mut self) -> bool {
        let polled = self.line.poll_fill(&mut std::task::Context::from_waker(Waker::noop()));
        polled.is_pending() && self.line.input.is_empty()
    }

    /// The same connection in another session on the same terms.
    pub(super) fn within(self, context: Arc<Context>) -> Self {
        Self { context, ..self }
    }

    /// A handle that cancels what runs here.
    #[must_use]
    pub fn canceller(&self) -> Canceller {
        self.canceller.clone()
    }

    /// The next piece of what the server has sent, if it has arrived: rows come as far as they are there.
    ///
    /// # Errors
    /// When the server sent what is no frame.
    pub fn piece(&mut self) -> Result<Option<Piece>, LinkError> {
        Ok(self.line.frames.next(self.line.input.buffer())?)
    }

    /// Gives the memory of its buffer back, for when nothing more is expected soon.
    pub fn release(&mut self) {
        self.line.input.release();
    }

    /// Reads once from the server. Ready when something has come.
    ///
    /// # Errors
    /// When the connection broke.
    pub fn poll_fill(&mut self, context: &mut std::task::Context<'_>) -> Poll<Result<(), LinkError>> {
        self.line.poll_fill(context)
    }

    /// Sends all that waits in `outbox`. Ready when it is gone; nothing is lost otherwise.
    ///
    /// # Errors
    /// When the connection broke.
    pub fn poll_send(
        &mut self,
        outbox: &mut Outbox,
        context: &mut std::task::Context<'_>,
    ) -> Poll<Result<(), LinkError>> {
        self.line.poll_send(outbox, context)
    }

    /// The next whole frame. Cancel-safe: dropping the future loses nothing. Not to be mixed with [`Link::piece`].
    ///
    /// # Errors
    /// When the connection broke, or the server sent what is no frame.
    pub async fn receive(&mut self) -> Result<Frame, LinkError> {
        self.line.receive().await
    }

    /// As [`Link::receive`], but `None` as soon as the next frame's length says that it has more than `most` bytes:
    /// then the stream must be given up.
    pub(super) async fn receive_within(&mut self, most: usize) -> Result<Option<Frame>, LinkError> {
        self.line.receive_within(most).await
    }

    /// Sends all that waits in `outbox`. Cancel-safe: what a dropped future has not sent goes first next time.
    ///
    /// # Errors
    /// When the connection broke.
    pub async fn send(&mut self, outbox: &mut Outbox) -> Result<(), LinkError> {
        poll_fn(|context| self.line.poll_send(outbox, context)).await
    }
}

impl Line {
    pub(super) fn new(socket: Socket) -> Self {
        Self { socket, input: Intake::default(), frames: Frames::new(Leg::Backend), output: BytesMut::new() }
    }

    /// The socket, and what was read of it ahead.
    pub(super) fn into_parts(mut self) -> (Socket, BytesMut) {
        let ahead = self.input.buffer().split();
        (self.socket, ahead)
    }

    pub(super) async fn receive(&mut self) -> Result<Frame, LinkError> {
        loop {
            if let Some(frame) = Frame::decode(Leg::Backend, self.input.buffer())? {
                return Ok(frame);
            }
            poll_fn(|context| self.poll_fill(context)).await?;
        }
    }

    pub(super) async fn receive_within(&mut self, most: usize) -> Result<Option<Frame>, LinkError> {
        loop {
            if self.announced().is_some_and(|length| length > most) {
                return Ok(None);
            }
            if let Some(frame) = Frame::decode(Leg::Backend, self.input.buffer())? {
                return Ok(Some(frame));
            }
            poll_fn(|context| self.poll_fill(context)).await?;
        }
    }

    /// What was read ahead.
    pub(super) fn buffer(&mut self) -> &mut BytesMut {
        self.input.buffer()
    }

    /// Reads once from the server.
    pub(super) async fn fill(&mut self) -> Result<(), LinkError> {
        poll_fn(|context| self.poll_fill(context)).await
    }

    pub(super) async fn send_bytes(&mut self, bytes: BytesMut) -> Result<(), LinkError> {
        append(&mut self.output, bytes);
        poll_fn(|context| poll_drain(&mut self.socket, context, &mut self.output))
            .await
            .map_err(LinkError::Io)
    }

    /// The length field of the frame that comes next.
    fn announced(&mut self) -> Option<usize> {
        let (_, rest) = self.input.buffer().split_first()?;
        usize::try_from(u32::from_be_bytes(*rest.first_chunk()?)).ok()
    }

    fn poll_fill(&mut self, context: &mut std::task::Context<'_>) -> Poll<Result<(), LinkError>> {
        Poll::Ready(match ready!(self.input.poll_fill(&mut self.socket, context)) {
            Ok(0) => Err(LinkError::Closed),
            Ok(_) => Ok(()),
            Err(error) => Err(LinkError::Io(error)),
        })
    }

    fn poll_send(
        &mut self,
        outbox: &mut Outbox,
        context: &mut std::task::Context<'_>,
    ) -> Poll<Result<(), LinkError>> {
        // What the socket does not take stays in the outbox, so that whoever fills that can see how much waits.
        while !self.output.is_empty() || !outbox.is_empty() {
            if self.output.is_empty() {
                self.output = outbox.take();
            }
            ready!(poll_drain(&mut self.socket, context, &mut self.output)).map_err(LinkError::Io)?;
        }
        Poll::Ready(Ok(()))
    }
}

impl fmt::Debug for Canceller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Canceller({:?})", self.route)
    }
}

impl Canceller {
    pub(super) fn new(route: Route, key: Option<BackendKey>) -> Self {
        Self { route, key }
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
        let mut socket = self.route.again().await.map_err(io::Error::from)?;
        let mut packet = BytesMut::new();
        let length = u32::try_from(key.secret.len().saturating_add(12)).map_err(io::Error::other)?;
        packet.put_u32(length);
        packet.put_u32(CANCEL_REQUEST);
        packet.put_u32(key.process);
        packet.put_slice(&key.secret);
        socket.write_all_buf(&mut packet).await?;
        // The server answers nothing; what it might say all the same is dropped.
        let mut answer = BytesMut::new();
        while socket.read_buf(&mut answer).await? > 0 {
            answer.clear();
        }
        Ok(())
    }
}

impl From<FrameError> for LinkError {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::TooLong { length, .. } => Self::TooLong { bytes: length },
            FrameError::Length { .. } | FrameError::Tag { .. } => Self::Protocol { what: error.to_string() },
        }
    }
}

const CANCEL_DEADLINE: Duration = Duration::from_secs(5);
/// The code of a CancelRequest: 1234.5678.
const CANCEL_REQUEST: u32 = 80_877_102;
