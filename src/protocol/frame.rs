//! Frames: a tag, a length, a body; the length is capped before anything is allocated.

use bytes::Bytes;

/// One message after the start-up: its tag and its body, without the length field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The message's type byte.
    pub tag: u8,
    /// The bytes behind the length field.
    pub body: Bytes,
}
