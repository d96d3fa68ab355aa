//! What clients get: messages of the gateway's own, and errors and notices in both directions.

mod message_type;

use bytes::{BufMut as _, Bytes, BytesMut};

use super::body::{Body, BodyError};
use super::frame::{put, put_cstr};

pub use message_type::MessageType;

/// The fields of an ErrorResponse or NoticeResponse.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ErrorFields {
    fields: Vec<(u8, Bytes)>,
}

/// How grave an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The statement failed.
    Error,
    /// The session ends.
    Fatal,
    /// Something else happened than was asked for.
    Warning,
    /// Nothing failed.
    Notice,
}

impl ErrorFields {
    /// An error of the gateway's own.
    #[must_use]
    pub fn new(severity: Severity, sqlstate: &str, message: impl Into<String>) -> Self {
        let word = match severity {
            Severity::Error => "ERROR",
            Severity::Fatal => "FATAL",
            Severity::Warning => "WARNING",
            Severity::Notice => "NOTICE",
        };
        let fields = vec![
            (SEVERITY, Bytes::from_static(word.as_bytes())),
            (SEVERITY_UNLOCALIZED, Bytes::from_static(word.as_bytes())),
            (CODE, Bytes::copy_from_slice(sqlstate.as_bytes())),
            (MESSAGE, message.into().into()),
        ];
        Self { fields }
    }

    /// With a detail line, unless it is empty.
    #[must_use]
    pub fn with_detail(self, detail: impl Into<String>) -> Self {
        self.with(DETAIL, detail.into())
    }

    /// With a hint, unless it is empty.
    #[must_use]
    pub fn with_hint(self, hint: impl Into<String>) -> Self {
        self.with(HINT, hint.into())
    }

    /// The same severity and SQLSTATE with another message and nothing else.
    #[must_use]
    pub fn scrubbed(mut self, message: &str) -> Self {
        self.fields.retain(|(kind, _)| matches!(*kind, SEVERITY | SEVERITY_UNLOCALIZED | CODE));
        self.with(MESSAGE, message.to_owned())
    }

    /// Without positions, for a text that the client has not written.
    #[must_use]
    pub fn without_position(mut self) -> Self {
        self.fields.retain(|(kind, _)| *kind != POSITION);
        self
    }

    /// With its position so many characters further to the left: those stood before the text that the client wrote.
    #[must_use]
    pub fn moved_left(self, characters: usize) -> Self {
        match self.field(POSITION).parse::<usize>() {
            Ok(position) if characters > 0 => {
                self.without_position().with(POSITION, position.saturating_sub(characters).max(1).to_string())
            }
            _ => self,
        }
    }

    /// The SQLSTATE; empty without one.
    #[must_use]
    pub fn sqlstate(&self) -> &str {
        self.field(CODE)
    }

    /// The message; empty without one.
    #[must_use]
    pub fn message(&self) -> &str {
        self.field(MESSAGE)
    }

    /// The hint; empty without one.
    #[must_use]
    pub fn hint(&self) -> &str {
        self.field(HINT)
    }

    /// The severity in English: `ERROR`, `NOTICE`, ...; empty without one.
    #[must_use]
    pub fn severity(&self) -> &str {
        self.field(SEVERITY_UNLOCALIZED)
    }

    /// Whether the sender ends the session with this.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        matches!(self.field(SEVERITY_UNLOCALIZED), "FATAL" | "PANIC")
    }

    /// Reads the body of an ErrorResponse or NoticeResponse.
    ///
    /// # Errors
    /// When it is not what it should be.
    pub fn parse(body: Bytes) -> Result<Self, BodyError> {
        let mut body = Body::new(body);
        let mut fields = Vec::new();
        loop {
            match body.u8("a field's type")? {
                0 => break,
                kind => {
                    let value = body.cstr("a field")?;
                    fields.push((kind, value));
                }
            }
        }
        body.end()?;
        Ok(Self { fields })
    }

    /// Appends an ErrorResponse.
    pub fn put_error(&self, out: &mut BytesMut) {
        self.put(out, b'E');
    }

    /// Appends a NoticeResponse.
    pub fn put_notice(&self, out: &mut BytesMut) {
        self.put(out, b'N');
    }

    fn put(&self, out: &mut BytesMut, tag: u8) {
        put(out, tag, |body| {
            for (kind, value) in &self.fields {
                body.put_u8(*kind);
                // A NUL of our own making ends the field, as it would for the reader.
                body.put_slice(value.split(|&byte| byte == 0).next().unwrap_or_default());
                body.put_u8(0);
            }
            body.put_u8(0);
        });
    }

    fn with(mut self, kind: u8, value: String) -> Self {
        if !value.is_empty() {
            self.fields.push((kind, value.into()));
        }
        self
    }

    fn field(&self, kind: u8) -> &str {
        let value = self.fields.iter().find(|(found, _)| *found == kind).map_or(&[][..], |(_, value)| value);
        std::str::from_utf8(value).unwrap_or(FOREIGN)
    }
}

/// Appends AuthenticationCleartextPassword.
pub fn authentication_cleartext_password(out: &mut BytesMut) {
    authentication(out, 3, |_| {});
}

/// Appends AuthenticationSASL with `mechanisms`, best first.
pub fn authentication_sasl(out: &mut BytesMut, mechanisms: impl Iterator<Item = &'static str>) {
    authentication(out, 10, |body| {
        mechanisms.for_each(|mechanism| put_cstr(body, mechanism));
        body.put_u8(0);
    });
}

/// Appends AuthenticationSASLContinue.
pub fn authentication_sasl_continue(out: &mut BytesMut, data: &[u8]) {
    authentication(out, 11, |body| body.extend_from_slice(data));
}

/// Appends AuthenticationSASLFinal.
pub fn authentication_sasl_final(out: &mut BytesMut, data: &[u8]) {
    authentication(out, 12, |body| body.extend_from_slice(data));
}

/// Appends AuthenticationOk.
pub fn authentication_ok(out: &mut BytesMut) {
    authentication(out, 0, |_| {});
}

/// Appends NegotiateProtocolVersion to 3.`minor`, refusing `options`.
pub fn negotiate_protocol_version(out: &mut BytesMut, minor: u16, options: &[String]) {
    put(out, b'v', |body| {
        // The documentation says "minor version"; every server sends both, and libpq reads both.
        body.put_u16(3);
        body.put_u16(minor);
        body.put_u32(u32::try_from(options.len()).unwrap_or(u32::MAX));
        for option in options {
            put_cstr(body, option);
        }
    });
}

/// Appends ParameterStatus.
pub fn parameter_status(out: &mut BytesMut, name: &str, value: &str) {
    put(out, b'S', |body| {
        put_cstr(body, name);
        put_cstr(body, value);
    });
}

/// Appends BackendKeyData. In protocol 3.0 a key has exactly 4 bytes.
pub fn backend_key_data(out: &mut BytesMut, process: u32, key: &[u8]) {
    put(out, b'K', |body| {
        body.put_u32(process);
        body.extend_from_slice(key);
    });
}

/// Appends ReadyForQuery.
pub fn ready_for_query(out: &mut BytesMut, status: u8) {
    put(out, b'Z', |body| body.put_u8(status));
}

fn authentication(out: &mut BytesMut, code: u32, fill: impl FnOnce(&mut BytesMut)) {
    put(out, b'R', |body| {
        body.put_u32(code);
        fill(body);
    });
}

const SEVERITY: u8 = b'S';
const SEVERITY_UNLOCALIZED: u8 = b'V';
const CODE: u8 = b'C';
const MESSAGE: u8 = b'M';
const DETAIL: u8 = b'D';
const HINT: u8 = b'H';
const POSITION: u8 = b'P';
/// What stands for a text in another encoding than UTF-8, wherever somebody reads it on its way through.
const FOREIGN: &str = "(in another encoding)";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::frame::{Frame, Leg};

    #[test]
    fn an_error_keeps_its_fields_on_the_way_through() {
        let fields = ErrorFields::new(Severity::Error, "42501", "no").with_detail("why").with_hint("");
        let mut out = BytesMut::new();
        fields.put_error(&mut out);
        let frame = Frame::decode(Leg::Backend, &mut out).unwrap().unwrap();
        assert_eq!(frame.tag, b'E');
        assert_eq!(ErrorFields::parse(frame.body), Ok(fields));
    }

    #[test]
    fn a_scrubbed_error_keeps_severity_and_sqlstate_only() {
        let fields = ErrorFields::new(Severity::Error, "23505", "Key (ssn)=(078-05-1120)")
            .with_detail("078-05-1120")
            .scrubbed("withheld");
        let mut out = BytesMut::new();
        fields.put_error(&mut out);
        let text = String::from_utf8_lossy(&out);
        assert!(text.contains("23505") && text.contains("withheld") && !text.contains("078-05"), "{text}");
    }

    #[test]
    fn an_error_without_its_end_is_refused() {
        assert!(ErrorFields::parse(Bytes::from_static(b"SERROR\0")).is_err());
        assert!(ErrorFields::parse(Bytes::from_static(b"SERROR")).is_err());
        assert!(ErrorFields::parse(Bytes::from_static(b"\0x")).is_err());
    }
}
