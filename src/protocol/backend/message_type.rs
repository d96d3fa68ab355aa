//! The types of a server's messages, by the names that PostgreSQL's documentation gives them.

/// The type of a server's message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MessageType {
    /// `1`
    ParseComplete,
    /// `2`
    BindComplete,
    /// `3`
    CloseComplete,
    /// `A`
    NotificationResponse,
    /// `C`
    CommandComplete,
    /// `D`
    DataRow,
    /// `E`
    ErrorResponse,
    /// `G`
    CopyInResponse,
    /// `H`
    CopyOutResponse,
    /// `I`
    EmptyQueryResponse,
    /// `K`
    BackendKeyData,
    /// `N`
    NoticeResponse,
    /// `R`
    Authentication,
    /// `S`
    ParameterStatus,
    /// `T`
    RowDescription,
    /// `V`
    FunctionCallResponse,
    /// `W`
    CopyBothResponse,
    /// `Z`
    ReadyForQuery,
    /// `c`
    CopyDone,
    /// `d`
    CopyData,
    /// `n`
    NoData,
    /// `s`
    PortalSuspended,
    /// `t`
    ParameterDescription,
    /// `v`
    NegotiateProtocolVersion,
}

impl MessageType {
    /// All of them.
    pub const ALL: [Self; 24] = [
        Self::ParseComplete,
        Self::BindComplete,
        Self::CloseComplete,
        Self::NotificationResponse,
        Self::CommandComplete,
        Self::DataRow,
        Self::ErrorResponse,
        Self::CopyInResponse,
        Self::CopyOutResponse,
        Self::EmptyQueryResponse,
        Self::BackendKeyData,
        Self::NoticeResponse,
        Self::Authentication,
        Self::ParameterStatus,
        Self::RowDescription,
        Self::FunctionCallResponse,
        Self::CopyBothResponse,
        Self::ReadyForQuery,
        Self::CopyDone,
        Self::CopyData,
        Self::NoData,
        Self::PortalSuspended,
        Self::ParameterDescription,
        Self::NegotiateProtocolVersion,
    ];

    /// The type that `tag` stands for; `None` if no server sends such a message.
    #[must_use]
    pub fn of(tag: u8) -> Option<Self> {
        Some(match tag {
            b'1' => Self::ParseComplete,
            b'2' => Self::BindComplete,
            b'3' => Self::CloseComplete,
            b'A' => Self::NotificationResponse,
            b'C' => Self::CommandComplete,
            b'D' => Self::DataRow,
            b'E' => Self::ErrorResponse,
            b'G' => Self::CopyInResponse,
            b'H' => Self::CopyOutResponse,
            b'I' => Self::EmptyQueryResponse,
            b'K' => Self::BackendKeyData,
            b'N' => Self::NoticeResponse,
            b'R' => Self::Authentication,
            b'S' => Self::ParameterStatus,
            b'T' => Self::RowDescription,
            b'V' => Self::FunctionCallResponse,
            b'W' => Self::CopyBothResponse,
            b'Z' => Self::ReadyForQuery,
            b'c' => Self::CopyDone,
            b'd' => Self::CopyData,
            b'n' => Self::NoData,
            b's' => Self::PortalSuspended,
            b't' => Self::ParameterDescription,
            b'v' => Self::NegotiateProtocolVersion,
            _ => return None,
        })
    }

    /// The byte that stands for it.
    #[must_use]
    pub fn tag(self) -> u8 {
        match self {
            Self::ParseComplete => b'1',
            Self::BindComplete => b'2',
            Self::CloseComplete => b'3',
            Self::NotificationResponse => b'A',
            Self::CommandComplete => b'C',
            Self::DataRow => b'D',
            Self::ErrorResponse => b'E',
            Self::CopyInResponse => b'G',
            Self::CopyOutResponse => b'H',
            Self::EmptyQueryResponse => b'I',
            Self::BackendKeyData => b'K',
            Self::NoticeResponse => b'N',
            Self::Authentication => b'R',
            Self::ParameterStatus => b'S',
            Self::RowDescription => b'T',
            Self::FunctionCallResponse => b'V',
            Self::CopyBothResponse => b'W',
            Self::ReadyForQuery => b'Z',
            Self::CopyDone => b'c',
            Self::CopyData => b'd',
            Self::NoData => b'n',
            Self::PortalSuspended => b's',
            Self::ParameterDescription => b't',
            Self::NegotiateProtocolVersion => b'v',
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_a_byte_of_its_own() {
        let known: Vec<MessageType> = (0..=u8::MAX).filter_map(MessageType::of).collect();
        assert_eq!(known, MessageType::ALL);
        assert!(known.into_iter().all(|kind| MessageType::of(kind.tag()) == Some(kind)));
    }
}
