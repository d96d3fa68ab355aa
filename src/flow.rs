//! Bytes between a socket and memory: how much is read at once, and that nothing is kept once it is used up.
//!
//! An idle connection holds no buffer. One that streams gets larger and larger ones, up to a bound, so that a long
//! result costs few system calls.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::io::poll_read_buf;

/// What has been read and not yet been used.
#[derive(Debug, Default)]
pub struct Intake {
    buffer: BytesMut,
    /// How much to ask for next time; 0 stands for [`READ_LEAST`].
    appetite: usize,
}

impl Intake {
    /// An intake that begins with bytes that were read already.
    #[must_use]
    pub fn new(buffer: BytesMut) -> Self {
        Self { buffer, appetite: 0 }
    }

    /// What is there.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// How many bytes are there.
    #[must_use]
    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Whether nothing is there.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Reads once, as much as is there up to a bound; 0 is the end. Cancel-safe.
    pub fn poll_fill(
        &mut self,
        socket: &mut (impl AsyncRead + Unpin),
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let appetite = self.appetite.max(READ_LEAST);
        if self.buffer.capacity() - self.buffer.len() < ROOM_LEAST {
            self.buffer.reserve(appetite);
        }
        let room = self.buffer.capacity() - self.buffer.len();
        let polled = poll_read_buf(Pin::new(socket), context, &mut self.buffer);
        match &polled {
            Poll::Ready(Ok(read)) if *read == room => self.appetite = (appetite * 2).min(READ_MOST),
            Poll::Ready(Ok(_)) => self.appetite = READ_LEAST,
            Poll::Ready(Err(_)) | Poll::Pending => {}
        }
        polled
    }

    /// Gives the memory back where nothing is in it: for when nothing more is expected soon.
    pub fn release(&mut self) {
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
    }
}

/// Writes all of `bytes`, and gives their memory back. Cancel-safe: what was written is gone from `bytes`.
pub fn poll_drain(
    socket: &mut (impl AsyncWrite + Unpin),
    context: &mut Context<'_>,
    bytes: &mut BytesMut,
) -> Poll<io::Result<()>> {
    while !bytes.is_empty() {
        match ready!(Pin::new(&mut *socket).poll_write(context, bytes))? {
            0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            written => bytes.advance(written),
        }
    }
    *bytes = BytesMut::new();
    Pin::new(socket).poll_flush(context)
}

/// Adds `more` behind `bytes`: without a copy where nothing waits.
pub fn append(bytes: &mut BytesMut, more: BytesMut) {
    if bytes.is_empty() {
        *bytes = more;
    } else {
        bytes.extend_from_slice(&more);
    }
}

/// What is asked of a socket at first.
const READ_LEAST: usize = 16 * 1024;
/// What is asked of a socket that always has more.
const READ_MOST: usize = 128 * 1024;
/// Less room than this is not worth a system call.
const ROOM_LEAST: usize = 2 * 1024;

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn a_long_stream_is_read_in_larger_and_larger_pieces_and_an_idle_one_keeps_nothing() {
        let mut context = Context::from_waker(Waker::noop());
        let (mut intake, bytes) = (Intake::default(), vec![7; 1_000_000]);
        let (mut socket, mut reads, mut total) = (&bytes[..], 0, 0);
        loop {
            let Poll::Ready(Ok(read)) = intake.poll_fill(&mut socket, &mut context) else {
                panic!("no read")
            };
            assert!(intake.buffer().capacity() <= 2 * READ_MOST);
            total += intake.buffer().split().len();
            if read == 0 {
                break;
            }
            reads += 1;
        }
        assert_eq!(total, 1_000_000);
        assert!(reads <= 12, "{reads} reads");
        intake.release();
        assert_eq!(intake.buffer().capacity(), 0);
    }

    #[test]
    fn what_waits_alone_is_not_copied() {
        let (mut out, more) = (BytesMut::new(), BytesMut::from(&b"rows"[..]));
        let place = more.as_ptr();
        append(&mut out, more);
        assert_eq!(out.as_ptr(), place);
        append(&mut out, BytesMut::from(&b" and more"[..]));
        assert_eq!(&out[..], b"rows and more");
    }
}
