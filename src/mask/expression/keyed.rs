//! Masks under the gateway's key: HMAC-SHA-256 in SQL.
//!
//! The key never stands in a statement. Every judged session has it as two settings, which no client can read or
//! change; without them such a mask fails, and with it the statement.

use super::kind::{Kind, Number};

/// `own` as a hash that fits its type; `None` where none does.
pub(super) fn hash(own: &str, kind: &Kind) -> Option<String> {
    match kind {
        Kind::Text => Some(digits(own)),
        Kind::Bytes => Some(code(own)),
        Kind::Uuid => Some(format!("pg_catalog.left({}, 32)::pg_catalog.uuid", digits(own))),
        Kind::Number(number) => fitting(own, number),
        Kind::Date | Kind::Timestamp | Kind::TimestampTz | Kind::Jsonb | Kind::Zero(_) | Kind::Null => None,
    }
}

/// An address made from the hash of `own`.
pub(super) fn email(own: &str) -> String {
    format!(
        "'u'::pg_catalog.text OPERATOR(pg_catalog.||) pg_catalog.left({}, 12) \
         OPERATOR(pg_catalog.||) '@masked.invalid'::pg_catalog.text",
        digits(own)
    )
}

/// A number that is not negative.
fn fitting(own: &str, number: &Number) -> Option<String> {
    let bits = format!(
        "('x'::pg_catalog.text OPERATOR(pg_catalog.||) pg_catalog.left({}, 16))::pg_catalog.\"bit\"(64)::pg_catalog.int8",
        digits(own)
    );
    let below = |most: i64| format!("({bits} OPERATOR(pg_catalog.&) '{most}'::pg_catalog.int8)");
    match (number.bytes, number.digits) {
        (2, _) => Some(below(i64::from(i16::MAX))),
        (4, _) => Some(below(i64::from(i32::MAX))),
        (_, None) => Some(below(i64::MAX)),
        (_, Some(0)) => None,
        (_, Some(digits)) => {
            let most = below(i64::MAX);
            Some(format!("pg_catalog.mod({most}::pg_catalog.numeric, '1e{digits}'::pg_catalog.numeric)"))
        }
    }
}

fn digits(own: &str) -> String {
    format!(
        "pg_catalog.encode({}, 'hex')",
        code(&format!("pg_catalog.convert_to({own}::pg_catalog.text, 'UTF8')"))
    )
}

/// HMAC by its definition: the hash of the outer key and the hash of the inner key and the message.
fn code(message: &str) -> String {
    let key = |name: &str| format!("pg_catalog.decode(pg_catalog.current_setting('{name}'), 'hex')");
    let hashed =
        |key: String, message: &str| format!("pg_catalog.sha256({key} OPERATOR(pg_catalog.||) {message})");
    hashed(key(OUTER_KEY), &hashed(key(INNER_KEY), message))
}

/// The setting that holds the key's inner block, in hexadecimal.
pub(crate) const INNER_KEY: &str = "portcullis.mask_inner";
/// The setting that holds its outer block.
pub(crate) const OUTER_KEY: &str = "portcullis.mask_outer";
