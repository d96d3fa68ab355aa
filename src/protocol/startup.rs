//! The first packets: a length and a code, without a tag.

use bytes::{Buf as _, Bytes, BytesMut};

use super::body::{Body, BodyError};

/// What a client asks for before it has a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// TLS.
    SslRequest,
    /// GSSAPI encryption.
    GssEncRequest,
    /// An end to what runs in another session.
    CancelRequest {
        /// The session's process number, as BackendKeyData gave it.
        process: u32,
        /// The session's key, as BackendKeyData gave it.
        key: Bytes,
    },
    /// A session.
    Startup {
        /// The minor version of protocol 3.
        minor: u16,
        /// The parameters, in order.
        parameters: Vec<(String, String)>,
    },
}

/// Bytes that are no first packet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// The length is out of bounds.
    #[error("invalid length {length} of startup packet")]
    Length {
        /// The length field, which counts itself.
        length: u32,
    },
    /// Another protocol than version 3.
    #[error("unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.{NEWEST_MINOR}")]
    Version {
        /// Major version.
        major: u16,
        /// Minor version.
        minor: u16,
    },
    /// The client speaks TLS where none is spoken.
    #[error("received a TLS handshake, but no TLS is spoken here")]
    DirectTls,
    /// The body is not what it should be.
    #[error("invalid startup packet layout: {0}")]
    Body(BodyError),
}

impl Packet {
    /// Cuts the next packet from `buffer`; `None` until all its bytes are there.
    ///
    /// # Errors
    /// When the bytes are no packet; the length is judged as soon as it is there.
    pub fn decode(buffer: &mut BytesMut) -> Result<Option<Self>, PacketError> {
        if buffer.first() == Some(&TLS_HANDSHAKE) {
            return Err(PacketError::DirectTls);
        }
        let Some(&prefix) = buffer.first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_be_bytes(prefix);
        let size = usize::try_from(length).unwrap_or(usize::MAX);
        if !(LEAST_BYTES..=MOST_BYTES).contains(&size) {
            return Err(PacketError::Length { length });
        }
        if buffer.len() < size {
            return Ok(None);
        }
        let mut packet = buffer.split_to(size).freeze();
        packet.advance(4);
        Self::parse(packet, length).map(Some)
    }

    fn parse(packet: Bytes, length: u32) -> Result<Self, PacketError> {
        let mut body = Body::new(packet);
        let field = "the protocol version";
        let major = body.i16(field).map_err(PacketError::Body)?.cast_unsigned();
        let minor = body.i16(field).map_err(PacketError::Body)?.cast_unsigned();
        match (major, minor) {
            (SPECIAL, 5679) => body.end().map(|()| Self::SslRequest).map_err(PacketError::Body),
            (SPECIAL, 5680) => body.end().map(|()| Self::GssEncRequest).map_err(PacketError::Body),
            (SPECIAL, 5678) => match body.u32("the process number") {
                Ok(process) => Ok(Self::CancelRequest { process, key: body.rest() }),
                Err(_) => Err(PacketError::Length { length }),
            },
            (3, minor) => {
                let parameters = parameters(body).map_err(PacketError::Body)?;
                Ok(Self::Startup { minor, parameters })
            }
            (major, minor) => Err(PacketError::Version { major, minor }),
        }
    }
}

fn parameters(mut body: Body) -> Result<Vec<(String, String)>, BodyError> {
    let mut parameters = Vec::new();
    loop {
        let name = body.text("a parameter's name")?;
        if name.is_empty() {
            body.end()?;
            return Ok(parameters);
        }
        parameters.push((name, body.text("a parameter's value")?));
    }
}

/// The newest minor version of protocol 3 that is spoken: PostgreSQL 18's.
pub const NEWEST_MINOR: u16 = 2;
/// The first byte of a TLS record with a handshake in it.
pub const TLS_HANDSHAKE: u8 = 0x16;
/// PostgreSQL takes 4 to 10000 bytes (`MAX_STARTUP_PACKET_LENGTH`) behind the length field.
const LEAST_BYTES: usize = 8;
const MOST_BYTES: usize = 10_004;
/// The major version of requests that are no start-up.
const SPECIAL: u16 = 1234;

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(bytes: &[u8]) -> Result<Option<Packet>, PacketError> {
        Packet::decode(&mut BytesMut::from(bytes))
    }

    fn packet(body: &[u8]) -> Vec<u8> {
        let mut bytes = u32::try_from(body.len() + 4).unwrap().to_be_bytes().to_vec();
        bytes.extend_from_slice(body);
        bytes
    }

    #[test]
    fn a_startup_packet_gives_its_parameters_in_order() {
        let bytes = packet(b"\0\x03\0\0user\0alice\0database\0shop\0\0");
        for end in 0..bytes.len() {
            assert_eq!(decode(&bytes[..end]), Ok(None), "{end} bytes");
        }
        let parameters = vec![("user".into(), "alice".into()), ("database".into(), "shop".into())];
        assert_eq!(decode(&bytes), Ok(Some(Packet::Startup { minor: 0, parameters })));
    }

    #[test]
    fn a_length_out_of_bounds_is_refused_before_its_bytes_arrive() {
        for length in [0_u32, 4, 7, 10_005, 0x7fff_ffff, u32::MAX] {
            let expected = if length >> 24 == 0x16 { continue } else { PacketError::Length { length } };
            assert_eq!(decode(&length.to_be_bytes()), Err(expected));
        }
    }

    #[test]
    fn a_packet_that_lies_about_itself_is_refused() {
        let table: [(&str, &[u8]); 7] = [
            ("version 2", b"\0\x02\0\0user\0a\0\0"),
            ("version 4", b"\0\x04\0\0user\0a\0\0"),
            ("a parameter without a value", b"\0\x03\0\0user\0"),
            ("no end", b"\0\x03\0\0user\0a\0"),
            ("bytes behind the end", b"\0\x03\0\0user\0a\0\0x"),
            ("an SSLRequest with a body", b"\x04\xd2\x16\x2fx"),
            ("a cancel without a process", b"\x04\xd2\x16\x2e\0"),
        ];
        for (what, body) in table {
            assert!(decode(&packet(body)).is_err(), "{what}");
        }
        assert_eq!(decode(&[TLS_HANDSHAKE]), Err(PacketError::DirectTls));
    }

    #[test]
    fn the_requests_before_a_startup_are_told_apart() {
        assert_eq!(decode(&packet(b"\x04\xd2\x16\x2f")), Ok(Some(Packet::SslRequest)));
        assert_eq!(decode(&packet(b"\x04\xd2\x16\x30")), Ok(Some(Packet::GssEncRequest)));
        let cancel = Packet::CancelRequest { process: 7, key: Bytes::from_static(b"\0\0\0\x09") };
        assert_eq!(decode(&packet(b"\x04\xd2\x16\x2e\0\0\0\x07\0\0\0\x09")), Ok(Some(cancel)));
    }
}
