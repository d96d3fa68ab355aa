//! What clients send after the start-up.

use bytes::Bytes;

use super::body::{Body, BodyError};
use super::frame::Frame;

/// A client's message, its fields checked. SQL text stays bytes: who takes it decides on encoding and length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A simple query string.
    Query {
        /// The text, without its NUL.
        sql: Bytes,
    },
    /// A statement to prepare.
    Parse {
        /// Its name; empty for the unnamed one.
        name: String,
        /// The text, without its NUL.
        sql: Bytes,
        /// OIDs of the parameters' types; 0 leaves one to the server.
        parameter_types: Vec<u32>,
    },
    /// A portal to make.
    Bind(BindMessage),
    /// A description that is asked for.
    Describe(Target),
    /// A portal to run.
    Execute {
        /// Its name; empty for the unnamed one.
        portal: String,
        /// Most rows to fetch; 0 for all.
        max_rows: u32,
    },
    /// A statement or portal to drop.
    Close(Target),
    /// The end of a series.
    Sync,
    /// A wish to see what is there.
    Flush,
    /// Goodbye.
    Terminate,
    /// COPY data.
    CopyData,
    /// The end of COPY data.
    CopyDone,
    /// The end of COPY data, in failure.
    CopyFail {
        /// Why.
        why: String,
    },
    /// A password or SASL message: out of place after the start-up.
    Password,
    /// A function call by OID.
    FunctionCall(CallMessage),
}

/// What a Bind says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindMessage {
    /// The portal's name; empty for the unnamed one.
    pub portal: String,
    /// The statement's name; empty for the unnamed one.
    pub statement: String,
    /// Format codes of the values: none, one, or one each.
    pub formats: Vec<i16>,
    /// The values; `None` is NULL.
    pub values: Vec<Option<Bytes>>,
    /// Format codes of the result's columns: none, one, or one each.
    pub result_formats: Vec<i16>,
}

/// What a FunctionCall says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallMessage {
    /// `pg_proc.oid`.
    pub function: u32,
    /// Format codes of the values: none, one, or one each.
    pub formats: Vec<i16>,
    /// The values; `None` is NULL.
    pub values: Vec<Option<Bytes>>,
    /// Format code of the result.
    pub result_format: i16,
}

/// What a Describe or Close means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A prepared statement.
    Statement(String),
    /// A portal.
    Portal(String),
}

impl Message {
    /// Reads `frame`.
    ///
    /// # Errors
    /// When its body is not what its type says.
    pub fn parse(frame: &Frame) -> Result<Self, BodyError> {
        let mut body = Body::new(frame.body.clone());
        let message = match frame.tag {
            b'Q' => Self::Query { sql: body.cstr("the query string")? },
            b'P' => Self::Parse {
                name: body.text("the statement's name")?,
                sql: body.cstr("the query string")?,
                parameter_types: parameter_types(&mut body)?,
            },
            b'B' => Self::Bind(bind(&mut body)?),
            b'D' => Self::Describe(target(&mut body)?),
            b'C' => Self::Close(target(&mut body)?),
            b'E' => Self::Execute {
                portal: body.text("the portal's name")?,
                // PostgreSQL takes a negative number for "all".
                max_rows: u32::try_from(body.i32("the row count")?).unwrap_or(0),
            },
            b'S' => Self::Sync,
            b'H' => Self::Flush,
            b'X' => Self::Terminate,
            b'd' => return Ok(Self::CopyData),
            b'c' => Self::CopyDone,
            b'f' => {
                let why = body.cstr("the reason")?;
                Self::CopyFail { why: String::from_utf8_lossy(&why).into_owned() }
            }
            b'p' => return Ok(Self::Password),
            b'F' => Self::FunctionCall(call(&mut body)?),
            _ => return Err(BodyError::Invalid { field: "the message's type" }),
        };
        body.end()?;
        Ok(message)
    }
}

fn parameter_types(body: &mut Body) -> Result<Vec<u32>, BodyError> {
    let field = "the parameter types";
    let count = body.count(4, field)?;
    (0..count).map(|_| body.u32(field)).collect()
}

fn bind(body: &mut Body) -> Result<BindMessage, BodyError> {
    let portal = body.text("the portal's name")?;
    let statement = body.text("the statement's name")?;
    let (formats, values) = values(body)?;
    let result_formats = self::formats(body, "the result formats")?;
    Ok(BindMessage { portal, statement, formats, values, result_formats })
}

fn call(body: &mut Body) -> Result<CallMessage, BodyError> {
    let function = body.u32("the function's OID")?;
    let (formats, values) = values(body)?;
    let field = "the result format";
    let result_format = body.i16(field)?;
    if !matches!(result_format, 0 | 1) {
        return Err(BodyError::Invalid { field });
    }
    Ok(CallMessage { function, formats, values, result_format })
}

type Values = (Vec<i16>, Vec<Option<Bytes>>);

/// Format codes, and the values that they are of.
fn values(body: &mut Body) -> Result<Values, BodyError> {
    let formats = formats(body, "the parameter formats")?;
    let count = body.count(4, "the parameter values")?;
    let values: Vec<_> = (0..count).map(|_| body.value("a parameter value")).collect::<Result<_, _>>()?;
    Ok((formats, values))
}

fn formats(body: &mut Body, field: &'static str) -> Result<Vec<i16>, BodyError> {
    let count = body.count(2, field)?;
    (0..count).map(|_| body.i16(field)).collect()
}

fn target(body: &mut Body) -> Result<Target, BodyError> {
    match body.u8("the kind of target")? {
        b'S' => Ok(Target::Statement(body.text("the statement's name")?)),
        b'P' => Ok(Target::Portal(body.text("the portal's name")?)),
        _ => Err(BodyError::Invalid { field: "the kind of target" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(tag: u8, body: &[u8]) -> Result<Message, BodyError> {
        Message::parse(&Frame::new(tag, body.to_vec()))
    }

    #[test]
    fn a_bind_names_its_portal_first() {
        let body = b"portal\0statement\0\0\x01\0\x01\0\x02\0\0\0\x01x\xff\xff\xff\xff\0\0";
        let Message::Bind(bind) = parse(b'B', body).unwrap() else { panic!("no Bind") };
        assert_eq!((bind.portal.as_str(), bind.statement.as_str()), ("portal", "statement"));
        assert_eq!(bind.formats, [1]);
        assert_eq!(bind.values, [Some(Bytes::from_static(b"x")), None]);
        assert!(bind.result_formats.is_empty());
    }

    #[test]
    fn a_body_that_lies_about_itself_is_refused() {
        let table: [(&str, u8, &[u8]); 14] = [
            ("query without NUL", b'Q', b"select 1"),
            ("query with bytes behind its NUL", b'Q', b"select 1\0drop table t\0"),
            ("empty query body", b'Q', b""),
            ("parse without text", b'P', b"name\0"),
            ("parse with too many types", b'P', b"\0select 1\0\xff\xff"),
            ("parse with bytes behind", b'P', b"\0select 1\0\0\0x"),
            ("bind with 65535 formats and none", b'B', b"\0\0\xff\xff"),
            ("bind with a value longer than the message", b'B', b"\0\0\0\0\0\x01\x7f\xff\xff\xffx\0\0"),
            ("bind with a value of length -2", b'B', b"\0\0\0\0\0\x01\xff\xff\xff\xfe\0\0"),
            ("bind with a name that is not UTF-8", b'B', b"\xff\0\0\0\0\0\0\0\0"),
            ("describe of a table", b'D', b"Tname\0"),
            ("execute without a count", b'E', b"\0"),
            ("close without a kind", b'C', b""),
            ("sync with a body", b'S', b"x"),
        ];
        for (what, tag, body) in table {
            assert!(parse(tag, body).is_err(), "{what}");
        }
    }

    #[test]
    fn a_negative_row_count_means_all() {
        let all = Message::Execute { portal: String::new(), max_rows: 0 };
        assert_eq!(parse(b'E', b"\0\xff\xff\xff\xff"), Ok(all));
    }
}
