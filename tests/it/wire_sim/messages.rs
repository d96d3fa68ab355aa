//! Every type of message of the protocol, in both directions, and where the simulation has it. No match here has a
//! wildcard: a new type does not compile until it has its place.

use std::collections::BTreeSet;

use portcullis::protocol::backend::MessageType;
use portcullis::protocol::frontend::{Message, Target};
use portcullis::protocol::run::Piece;

use super::rig::message;

/// Every kind of message that a session has taken in.
#[derive(Debug, Default)]
pub(super) struct Seen {
    client: BTreeSet<&'static str>,
    server: BTreeSet<MessageType>,
    /// Whether data came in pieces, from the client and from the server.
    pieces: [bool; 2],
}

impl Seen {
    pub(super) fn client(&mut self, piece: &Piece) {
        match piece {
            Piece::Run(run) => {
                self.client.insert(FRONTEND[10]);
                self.pieces[0] |= run.continues();
            }
            Piece::Frame(frame) => {
                if let Ok(message) = Message::parse(frame) {
                    self.client.insert(kind(&message));
                }
            }
        }
    }

    pub(super) fn server(&mut self, piece: &Piece) {
        let tag = match piece {
            Piece::Run(run) => {
                self.pieces[1] |= run.continues();
                run.tag()
            }
            Piece::Frame(frame) => frame.tag,
        };
        self.server.extend(MessageType::of(tag));
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.client.extend(&other.client);
        self.server.extend(&other.server);
        (0..2).for_each(|side| self.pieces[side] |= other.pieces[side]);
    }

    /// A simulation that leaves a type out proves nothing about it.
    pub(super) fn assert_everything(&self) {
        let missing: Vec<_> = FRONTEND.iter().filter(|kind| !self.client.contains(*kind)).collect();
        assert!(missing.is_empty(), "no client said {missing:?}");
        let missing: Vec<_> = MessageType::ALL
            .iter()
            .filter(|kind| is_of_a_session(**kind) && !self.server.contains(*kind))
            .collect();
        assert!(missing.is_empty(), "no server said {missing:?}");
        assert_eq!(self.pieces, [true, true], "data never came in pieces");
    }
}

/// The kinds of a client's messages. Describe and Close mean two things each.
const FRONTEND: [&str; 16] = [
    "Query",
    "Parse",
    "Bind",
    "Describe statement",
    "Describe portal",
    "Execute",
    "Close statement",
    "Close portal",
    "Sync",
    "Flush",
    "CopyData",
    "CopyDone",
    "CopyFail",
    "FunctionCall",
    "Password",
    "Terminate",
];

fn kind(message: &Message) -> &'static str {
    FRONTEND[match message {
        Message::Query { .. } => 0,
        Message::Parse { .. } => 1,
        Message::Bind(_) => 2,
        Message::Describe(Target::Statement(_)) => 3,
        Message::Describe(Target::Portal(_)) => 4,
        Message::Execute { .. } => 5,
        Message::Close(Target::Statement(_)) => 6,
        Message::Close(Target::Portal(_)) => 7,
        Message::Sync => 8,
        Message::Flush => 9,
        Message::CopyData => 10,
        Message::CopyDone => 11,
        Message::CopyFail { .. } => 12,
        Message::FunctionCall(_) => 13,
        Message::Password => 14,
        Message::Terminate => 15,
    }]
}

/// Whether a session has it; the others belong to its start-up (`upstream::greeting`).
fn is_of_a_session(kind: MessageType) -> bool {
    match kind {
        MessageType::Authentication | MessageType::BackendKeyData | MessageType::NegotiateProtocolVersion => {
            false
        }
        MessageType::ParseComplete
        | MessageType::BindComplete
        | MessageType::CloseComplete
        | MessageType::NotificationResponse
        | MessageType::CommandComplete
        | MessageType::DataRow
        | MessageType::ErrorResponse
        | MessageType::CopyInResponse
        | MessageType::CopyOutResponse
        | MessageType::EmptyQueryResponse
        | MessageType::NoticeResponse
        | MessageType::ParameterStatus
        | MessageType::RowDescription
        | MessageType::FunctionCallResponse
        | MessageType::CopyBothResponse
        | MessageType::ReadyForQuery
        | MessageType::CopyDone
        | MessageType::CopyData
        | MessageType::NoData
        | MessageType::PortalSuspended
        | MessageType::ParameterDescription => true,
    }
}

/// A well-formed message of each type that a server has.
pub(super) fn sample(kind: MessageType) -> Vec<u8> {
    let body: &[u8] = match kind {
        MessageType::ParseComplete
        | MessageType::BindComplete
        | MessageType::CloseComplete
        | MessageType::EmptyQueryResponse
        | MessageType::CopyDone
        | MessageType::NoData
        | MessageType::PortalSuspended => b"",
        MessageType::NotificationResponse => b"\0\0\0\x01c\0p\0",
        MessageType::CommandComplete => b"SELECT 1\0",
        MessageType::DataRow | MessageType::RowDescription | MessageType::ParameterDescription => b"\0\0",
        MessageType::ErrorResponse => b"SERROR\0VERROR\0C22012\0Mdivision by zero\0\0",
        MessageType::NoticeResponse => b"SNOTICE\0VNOTICE\0C00000\0Mhello\0\0",
        MessageType::CopyInResponse | MessageType::CopyOutResponse | MessageType::CopyBothResponse => {
            b"\0\0\0"
        }
        MessageType::BackendKeyData => b"\0\0\0\x01abcd",
        MessageType::Authentication => b"\0\0\0\0",
        MessageType::ParameterStatus => b"TimeZone\0UTC\0",
        MessageType::FunctionCallResponse => b"\xff\xff\xff\xff",
        MessageType::ReadyForQuery => b"I",
        MessageType::CopyData => b"1\tx\n",
        MessageType::NegotiateProtocolVersion => b"\0\x03\0\0\0\0\0\0",
    };
    message(kind.tag(), |out| out.extend_from_slice(body))
}
