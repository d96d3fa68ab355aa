//! Reads a frame's body field by field. Nothing here trusts a count or a length.

use bytes::{Buf as _, Bytes};

/// A body that is not what its message says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The body ends before a field does.
    #[error("the message ends in the middle of {field}")]
    Short {
        /// The field, in words.
        field: &'static str,
    },
    /// The body goes on after its last field.
    #[error("the message has {extra} bytes too many")]
    Long {
        /// How many.
        extra: usize,
    },
    /// A name is not UTF-8.
    #[error("{field} is not valid UTF-8")]
    NotUtf8 {
        /// The field, in words.
        field: &'static str,
    },
    /// A field has a value that it can't have.
    #[error("{field} has an invalid value")]
    Invalid {
        /// The field, in words.
        field: &'static str,
    },
}

/// A body, read from its start.
#[derive(Debug)]
pub struct Body {
    rest: Bytes,
}

impl Body {
    /// Reads `bytes` from the start.
    #[must_use]
    pub fn new(bytes: Bytes) -> Self {
        Self { rest: bytes }
    }

    /// How many bytes are left.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// One byte.
    ///
    /// # Errors
    /// When there is none.
    pub fn u8(&mut self, field: &'static str) -> Result<u8, BodyError> {
        self.need(1, field)?;
        Ok(self.rest.get_u8())
    }

    /// A 16-bit number.
    ///
    /// # Errors
    /// When the body is too short.
    pub fn i16(&mut self, field: &'static str) -> Result<i16, BodyError> {
        self.need(2, field)?;
        Ok(self.rest.get_i16())
    }

    /// A count of things that take `each` bytes at least: never more than the rest of the body can hold.
    ///
    /// # Errors
    /// When the body is too short for so many.
    pub fn count(&mut self, each: usize, field: &'static str) -> Result<usize, BodyError> {
        self.need(2, field)?;
        let count = usize::from(self.rest.get_u16());
        self.need(count.saturating_mul(each), field)?;
        Ok(count)
    }

    /// A 32-bit number.
    ///
    /// # Errors
    /// When the body is too short.
    pub fn i32(&mut self, field: &'static str) -> Result<i32, BodyError> {
        self.need(4, field)?;
        Ok(self.rest.get_i32())
    }

    /// An unsigned 32-bit number.
    ///
    /// # Errors
    /// When the body is too short.
    pub fn u32(&mut self, field: &'static str) -> Result<u32, BodyError> {
        self.need(4, field)?;
        Ok(self.rest.get_u32())
    }

    /// The bytes up to the next NUL, which is taken too.
    ///
    /// # Errors
    /// When there is no NUL.
    pub fn cstr(&mut self, field: &'static str) -> Result<Bytes, BodyError> {
        let end = self.rest.iter().position(|&byte| byte == 0).ok_or(BodyError::Short { field })?;
        let text = self.rest.split_to(end);
        self.rest.advance(1);
        Ok(text)
    }

    /// As [`Body::cstr`], as text.
    ///
    /// # Errors
    /// When there is no NUL, or the bytes are not UTF-8.
    pub fn text(&mut self, field: &'static str) -> Result<String, BodyError> {
        let bytes = self.cstr(field)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| BodyError::NotUtf8 { field })?;
        Ok(text.to_owned())
    }

    /// `length` bytes.
    ///
    /// # Errors
    /// When there are fewer.
    pub fn take(&mut self, length: usize, field: &'static str) -> Result<Bytes, BodyError> {
        self.need(length, field)?;
        Ok(self.rest.split_to(length))
    }

    /// A value: a 32-bit length and so many bytes; `None` for a length of -1.
    ///
    /// # Errors
    /// When the body is too short, or the length is negative otherwise.
    pub fn value(&mut self, field: &'static str) -> Result<Option<Bytes>, BodyError> {
        match self.i32(field)? {
            -1 => Ok(None),
            length => {
                let length = usize::try_from(length).map_err(|_| BodyError::Invalid { field })?;
                self.take(length, field).map(Some)
            }
        }
    }

    /// All that is left.
    #[must_use]
    pub fn rest(self) -> Bytes {
        self.rest
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// When bytes are left.
    pub fn end(self) -> Result<(), BodyError> {
        if self.rest.is_empty() { Ok(()) } else { Err(BodyError::Long { extra: self.rest.len() }) }
    }

    fn need(&self, length: usize, field: &'static str) -> Result<(), BodyError> {
        if self.rest.len() < length { Err(BodyError::Short { field }) } else { Ok(()) }
    }
}
