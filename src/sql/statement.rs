//! Statement text as a door received it, after the caps that protect the parser.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use bytes::Bytes;

/// The text of one SQL string: valid UTF-8, without NUL, within the door's cap. It may hold several statements.
///
/// Where a session is unjudged it may also be bytes that nobody reads: see [`Statement::unread`].
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Statement {
    text: Arc<str>,
    unread: Option<Bytes>,
}

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
        Ok(Self { text: Arc::from(text), unread: None })
    }

    /// Takes `bytes` as they are, in whatever encoding and of whatever length, to be sent and never analysed.
    #[must_use]
    pub fn unread(bytes: Bytes) -> Self {
        let text = match std::str::from_utf8(&bytes) {
            Ok(text) => Arc::from(text),
            Err(_) => Arc::from(hexadecimal(&bytes)),
        };
        Self { text, unread: Some(bytes) }
    }

    /// Whether nobody may read it: then no facts come from it.
    #[must_use]
    pub fn is_unread(&self) -> bool {
        self.unread.is_some()
    }

    /// The exact text; in hexadecimal behind `\x` where unread bytes are no UTF-8.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The exact bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.unread.as_deref().unwrap_or(self.text.as_bytes())
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().saturating_mul(2).saturating_add(2));
    text.push_str("\\x");
    for byte in bytes {
        let written = write!(text, "{byte:02x}");
        debug_assert!(written.is_ok(), "writing to a string does not fail");
    }
    text
}

/// Prints the length only: SQL text belongs into the ledger, not into logs.
impl fmt::Debug for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Statement({} bytes)", self.as_bytes().len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unread_bytes_are_kept_exactly_and_shown_without_loss() {
        let latin = Statement::unread(Bytes::from_static(b"select '\xe9'"));
        assert_eq!(latin.as_str(), "\\x73656c6563742027e927");
        assert_eq!(latin.as_bytes(), b"select '\xe9'");
        assert!(latin.is_unread());
        let plain = Statement::new(b"select 1", 8).unwrap();
        assert_eq!(plain.as_bytes(), b"select 1");
        assert_ne!(plain, Statement::unread(Bytes::from_static(b"select 1")));
    }
}
