//! Statement text as a door received it, after the caps that protect the parser.

use std::fmt;
use std::sync::Arc;

/// The text of one SQL string: valid UTF-8, without NUL, within the door's cap. It may hold several statements.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Statement(Arc<str>);

/// Why bytes are not a [`Statement`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// The bytes are not UTF-8.
    #[error("the statement is not valid UTF-8 at byte {at}")]
    NotUtf8 {
        /// Offset of the first wrong byte.
        at: usize,
    },
    /// The text holds a NUL character, which PostgreSQL would take for its end.
    #[error("the statement holds a NUL character at byte {at}")]
    Nul {
        /// Offset of the NUL.
        at: usize,
    },
    /// The text is longer than the door allows.
    #[error("the statement has {length} bytes; at most {cap} are allowed")]
    TooLong {
        /// Its length in bytes.
        length: usize,
        /// The cap in bytes.
        cap: usize,
    },
}

impl Statement {
    /// Longest statement, in bytes, that the wire door takes.
    pub const WIRE_CAP: usize = 1024 * 1024;
    /// Longest statement, in bytes, that the MCP door takes.
    pub const AGENT_CAP: usize = 256 * 1024;

    /// Takes `bytes` as a statement of at most `cap` bytes.
    ///
    /// # Errors
    /// Names the cap that the bytes break, and where.
    pub fn new(bytes: &[u8], cap: usize) -> Result<Self, StatementError> {
        if bytes.len() > cap {
            return Err(StatementError::TooLong { length: bytes.len(), cap });
        }
        if let Some(at) = bytes.iter().position(|&byte| byte == 0) {
            return Err(StatementError::Nul { at });
        }
        let text = std::str::from_utf8(bytes)
            .map_err(|error| StatementError::NotUtf8 { at: error.valid_up_to() })?;
        Ok(Self(Arc::from(text)))
    }

    /// The exact text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Prints the length only: SQL text belongs into the ledger, not into logs.
impl fmt::Debug for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Statement({} bytes)", self.0.len())
    }
}
