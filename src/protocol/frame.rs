//! Frames: a tag, a length, a body; the length is capped before anything is allocated.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

/// One message after the start-up: its tag and its body, without the length field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The message's type byte.
    pub tag: u8,
    /// The bytes behind the length field.
    pub body: Bytes,
}

/// Which way a frame goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leg {
    /// From a client. Only types that the protocol knows are frames.
    Frontend,
    /// From a server.
    Backend,
}

/// Bytes that are no frame. The stream can't be read any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length is out of bounds for this type.
    #[error("invalid length {length} of a message of type {tag}", tag = tag.escape_ascii())]
    Length {
        /// The type byte.
        tag: u8,
        /// The length field, which counts itself.
        length: u32,
    },
    /// The length may be what it says, but it is more than is held in memory.
    #[error(
        "a message of type {tag} has {length} bytes, and {most} are the most that pass here at once",
        tag = tag.escape_ascii()
    )]
    TooLong {
        /// The type byte.
        tag: u8,
        /// The length field, which counts itself.
        length: u32,
        /// The most that it may say.
        most: usize,
    },
    /// There is no such message.
    #[error("invalid message type {tag}", tag = tag.escape_ascii())]
    Tag {
        /// The type byte.
        tag: u8,
    },
}

impl Frame {
    /// A frame of `tag` with `body`.
    #[must_use]
    pub fn new(tag: u8, body: impl Into<Bytes>) -> Self {
        Self { tag, body: body.into() }
    }

    /// Cuts the next frame from `buffer`; `None` until all its bytes are there. Reserves nothing: the buffer
    /// grows with the bytes that really arrive, whatever the length field says.
    ///
    /// # Errors
    /// When the bytes are no frame.
    pub fn decode(leg: Leg, buffer: &mut BytesMut) -> Result<Option<Self>, FrameError> {
        Self::decode_within(leg, CLIENT_CAP, buffer)
    }

    /// As [`Frame::decode`], with `most` as the cap on the length of a client's statements and values.
    ///
    /// # Errors
    /// When the bytes are no frame, or a frame that is too long.
    pub fn decode_within(leg: Leg, most: usize, buffer: &mut BytesMut) -> Result<Option<Self>, FrameError> {
        let Some((&tag, rest)) = buffer.split_first() else { return Ok(None) };
        let cap = leg.cap(tag, most)?;
        let Some(&prefix) = rest.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
        let length = u32::from_be_bytes(prefix);
        let size = usize::try_from(length).unwrap_or(usize::MAX);
        if leg.carries_data(tag) && (cap + 1..=LONGEST).contains(&size) {
            return Err(FrameError::TooLong { tag, length, most: cap });
        }
        if !(LENGTH_BYTES..=cap).contains(&size) {
            return Err(FrameError::Length { tag, length });
        }
        if rest.len() < size {
            return Ok(None);
        }
        buffer.advance(1 + LENGTH_BYTES);
        let body = buffer.split_to(size - LENGTH_BYTES).freeze();
        Ok(Some(Self { tag, body }))
    }

    /// Appends the whole frame to `out`.
    pub fn put(&self, out: &mut BytesMut) {
        put(out, self.tag, |body| body.extend_from_slice(&self.body));
    }

    /// The whole frame.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(self.body.len().saturating_add(1 + LENGTH_BYTES));
        self.put(&mut out);
        out.freeze()
    }
}

impl Leg {
    /// Whether messages of type `tag` may be as long as PostgreSQL allows.
    fn carries_data(self, tag: u8) -> bool {
        self == Self::Backend || matches!(tag, b'Q' | b'P' | b'B' | b'd' | b'F')
    }

    /// The longest length field, in bytes, of a message of type `tag`.
    fn cap(self, tag: u8, most: usize) -> Result<usize, FrameError> {
        match (self, tag) {
            (Self::Backend, _) => Ok(SERVER_CAP),
            (Self::Frontend, b'Q' | b'P' | b'B' | b'd' | b'F') => Ok(most),
            (Self::Frontend, b'C' | b'D' | b'E' | b'H' | b'S' | b'X' | b'c' | b'f' | b'p') => Ok(SMALL_CAP),
            (Self::Frontend, _) => Err(FrameError::Tag { tag }),
        }
    }
}

/// Appends a frame of `tag` whose body `fill` writes.
pub fn put(out: &mut BytesMut, tag: u8, fill: impl FnOnce(&mut BytesMut)) {
    out.put_u8(tag);
    let start = out.len();
    out.put_u32(0);
    fill(out);
    let length = u32::try_from(out.len().saturating_sub(start)).unwrap_or(u32::MAX);
    if let Some(prefix) = out.get_mut(start..start + LENGTH_BYTES) {
        prefix.copy_from_slice(&length.to_be_bytes());
    }
}

/// Appends `text` and a NUL. A NUL within `text` ends it, as it would for the reader.
pub fn put_cstr(out: &mut BytesMut, text: &str) {
    let text = text.split('\0').next().unwrap_or_default();
    out.extend_from_slice(text.as_bytes());
    out.put_u8(0);
}

/// A length field counts itself.
const LENGTH_BYTES: usize = 4;
/// What a client may send at once. Statements are capped further by the session.
const CLIENT_CAP: usize = 64 * 1024 * 1024;
/// PostgreSQL's own cap on any message.
const LONGEST: usize = 0x3fff_ffff;
/// PostgreSQL's own cap on messages that carry no data (`PQ_SMALL_MESSAGE_LIMIT`).
const SMALL_CAP: usize = 10_000;
/// What a server may send at once. PostgreSQL's own cap is 1 GiB, and a message waits in memory as a whole: whoever
/// may call `repeat('x', 1000000000)` could end the gateway for everybody.
const SERVER_CAP: usize = 64 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(leg: Leg, bytes: &[u8]) -> Result<Option<Frame>, FrameError> {
        Frame::decode(leg, &mut BytesMut::from(bytes))
    }

    #[test]
    fn a_frame_is_cut_only_when_its_last_byte_is_there() {
        let whole = Frame::new(b'Q', &b"select 1\0"[..]).to_bytes();
        for end in 0..whole.len() {
            assert_eq!(decode(Leg::Frontend, &whole[..end]), Ok(None), "{end} bytes");
        }
        let mut buffer = BytesMut::from(&whole[..]);
        buffer.extend_from_slice(b"S");
        let frame = Frame::decode(Leg::Frontend, &mut buffer).unwrap().unwrap();
        assert_eq!(frame, Frame::new(b'Q', &b"select 1\0"[..]));
        assert_eq!(&buffer[..], b"S");
    }

    #[test]
    fn a_length_out_of_bounds_is_refused_before_its_bytes_arrive() {
        let table: [(u8, u32); 8] = [
            (b'Q', 3),
            (b'Q', 0),
            (b'Q', u32::MAX),
            (b'Q', 0x4000_0000),
            (b'S', 10_001),
            (b'E', 10_001),
            (b'p', 10_001),
            (b'd', 3),
        ];
        for (tag, length) in table {
            let mut bytes = vec![tag];
            bytes.extend_from_slice(&length.to_be_bytes());
            assert_eq!(decode(Leg::Frontend, &bytes), Err(FrameError::Length { tag, length }));
        }
        assert_eq!(decode(Leg::Backend, b"D\x04\x00\x00\x00"), Ok(None));
        assert!(decode(Leg::Backend, b"D\x04\x00\x00\x01").is_err());
    }

    #[test]
    fn a_statement_that_is_too_long_is_told_from_a_length_that_lies() {
        for (most, length) in [(64 * 1024 * 1024, 64 * 1024 * 1024 + 1), (2_000, 2_001)] {
            let bytes = [&b"Q"[..], &u32::try_from(length).unwrap().to_be_bytes()].concat();
            let found = Frame::decode_within(Leg::Frontend, most, &mut BytesMut::from(&bytes[..]));
            assert!(matches!(found, Err(FrameError::TooLong { tag: b'Q', .. })), "{found:?}");
        }
    }

    #[test]
    fn a_type_that_no_client_sends_is_refused_at_its_first_byte() {
        for tag in [b'Z', b'T', b'A', b'v', 0, 0x16, 0xff] {
            assert_eq!(decode(Leg::Frontend, &[tag]), Err(FrameError::Tag { tag }));
        }
    }

    #[test]
    fn a_waiting_frame_reserves_nothing() {
        let mut buffer = BytesMut::from(&b"D\x03\xff\xff\xff"[..]);
        let before = buffer.capacity();
        assert_eq!(Frame::decode(Leg::Backend, &mut buffer), Ok(None));
        assert_eq!(buffer.capacity(), before);
    }
}
