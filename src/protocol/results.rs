//! What servers send, read as far as somebody needs it.

use bytes::Bytes;

use super::body::{Body, BodyError};

/// One column of a RowDescription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// The OID of the table it comes from; 0 for an expression.
    pub table_oid: u32,
    /// Its number in that table; 0 for an expression.
    pub number: i16,
    /// The type's OID.
    pub type_oid: u32,
    /// How its values are written.
    pub format: Format,
}

/// How a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// As text.
    Text,
    /// As its type sends it.
    Binary,
}

impl Format {
    fn of(code: i16) -> Result<Self, BodyError> {
        match code {
            0 => Ok(Self::Text),
            1 => Ok(Self::Binary),
            _ => Err(BodyError::Invalid { field: "a format" }),
        }
    }
}

/// Where a session stands when it is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionStatus {
    /// Outside any transaction block.
    Idle,
    /// In a transaction block.
    Active,
    /// In a transaction block that failed.
    Failed,
}

impl TransactionStatus {
    /// The byte on the wire.
    #[must_use]
    pub fn as_byte(self) -> u8 {
        match self {
            Self::Idle => b'I',
            Self::Active => b'T',
            Self::Failed => b'E',
        }
    }

    /// Reads the body of a ReadyForQuery.
    ///
    /// # Errors
    /// When it is none of the three.
    pub fn parse(body: &Bytes) -> Result<Self, BodyError> {
        match body.as_ref() {
            b"I" => Ok(Self::Idle),
            b"T" => Ok(Self::Active),
            b"E" => Ok(Self::Failed),
            _ => Err(BodyError::Invalid { field: "the transaction status" }),
        }
    }
}

/// Reads the body of a RowDescription.
///
/// # Errors
/// When it is not what it should be.
pub fn row_description(body: Bytes) -> Result<Vec<Column>, BodyError> {
    let mut body = Body::new(body);
    let count = body.count(LEAST_COLUMN_BYTES, "the columns")?;
    let columns = (0..count).map(|_| column(&mut body)).collect::<Result<_, _>>()?;
    body.end()?;
    Ok(columns)
}

/// The format of the data that a CopyOutResponse announces.
///
/// # Errors
/// When it is not what it should be.
pub fn copy_format(body: Bytes) -> Result<Format, BodyError> {
    Format::of(i16::from(Body::new(body).u8("the format of COPY")?))
}

/// The OIDs of a ParameterDescription, in the order of the parameters.
///
/// # Errors
/// When it is not what it should be.
pub fn parameter_types(body: Bytes) -> Result<Vec<u32>, BodyError> {
    let mut body = Body::new(body);
    let count = body.count(4, "the number of parameters")?;
    let types = (0..count).map(|_| body.u32("the type of a parameter")).collect::<Result<_, _>>()?;
    body.end()?;
    Ok(types)
}

/// The tag of a CommandComplete.
///
/// # Errors
/// When it is not what it should be.
pub fn command_tag(body: Bytes) -> Result<String, BodyError> {
    let mut body = Body::new(body);
    let tag = body.text("the command tag")?;
    body.end()?;
    Ok(tag)
}

/// The channel of a NotificationResponse.
///
/// # Errors
/// When it is not what it should be.
pub fn notification_channel(body: Bytes) -> Result<String, BodyError> {
    let mut body = Body::new(body);
    body.u32("the notifying process")?;
    let channel = body.cstr("the channel")?;
    body.cstr("the payload")?;
    body.end()?;
    Ok(String::from_utf8_lossy(&channel).into_owned())
}

/// Name and value of a ParameterStatus.
///
/// # Errors
/// When it is not what it should be.
pub fn parameter_status(body: Bytes) -> Result<(String, String), BodyError> {
    let mut body = Body::new(body);
    let name = body.text("the parameter's name")?;
    let value = body.text("the parameter's value")?;
    body.end()?;
    Ok((name, value))
}

fn column(body: &mut Body) -> Result<Column, BodyError> {
    let field = "a column";
    let name = body.cstr(field)?;
    let name = String::from_utf8_lossy(&name).into_owned();
    let table_oid = body.u32(field)?;
    let number = body.i16(field)?;
    let type_oid = body.u32(field)?;
    // The type's size and its modifier: nobody here needs them.
    body.take(2 + 4, field)?;
    let format = Format::of(body.i16(field)?)?;
    Ok(Column { name, table_oid, number, type_oid, format })
}

/// An empty name and six numbers.
const LEAST_COLUMN_BYTES: usize = 1 + 4 + 2 + 4 + 2 + 4 + 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_description_gives_each_columns_origin() {
        let body = b"\0\x01ssn\0\0\0\x40\x01\0\x03\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0";
        let columns = row_description(Bytes::from_static(body)).unwrap();
        let ssn =
            Column { name: "ssn".into(), table_oid: 0x4001, number: 3, type_oid: 25, format: Format::Text };
        assert_eq!(columns, [ssn]);
    }

    #[test]
    fn a_row_description_that_promises_more_columns_than_it_has_is_refused() {
        assert!(row_description(Bytes::from_static(b"\xff\xffx\0")).is_err());
        assert!(row_description(Bytes::from_static(b"\0\0x")).is_err());
    }

    #[test]
    fn an_unknown_transaction_status_is_refused() {
        assert_eq!(TransactionStatus::parse(&Bytes::from_static(b"T")), Ok(TransactionStatus::Active));
        for body in ["", "X", "II"] {
            assert!(TransactionStatus::parse(&Bytes::from_static(body.as_bytes())).is_err());
        }
    }
}
