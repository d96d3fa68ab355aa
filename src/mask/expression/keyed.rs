//! Masks under the gateway's key: HMAC-SHA-256 in SQL.
//!
//! The key never stands in a statement. Every judged session has it as two settings, which no client may name, and
//! whose names follow from the key; without them such a mask fails, and with it the statement.

use crate::catalog::KeySettings;

use super::kind::{Kind, Number};

/// `own` as a hash that fits its type; `None` where none does.
pub(super) fn hash(own: &str, kind: &Kind, keys: &KeySettings) -> Option<String> {
    match kind {
        Kind::Text => Some(digits(own, keys)),
        Kind::Bytes => Some(code(own, keys)),
        Kind::Uuid => Some(format!("pg_catalog.left({}, 32)::pg_catalog.uuid", digits(own, keys))),
        Kind::Number(number) => fitting(own, number, keys),
        Kind::Date | Kind::Timestamp | Kind::TimestampTz | Kind::Jsonb | Kind::Zero(_) | Kind::Null => None,
    }
}

/// An address made from the hash of `own`.
pub(super) fn email(own: &str, keys: &KeySettings) -> String {
    format!(
        "'u'::pg_catalog.text OPERATOR(pg_catalog.||) pg_catalog.left({}, 12) \
         OPERATOR(pg_catalog.||) '@masked.invalid'::pg_catalog.text",
        digits(own, keys)
    )
}

/// A number that is not negative.
fn fitting(own: &str, number: &Number, keys: &KeySettings) -> Option<String> {
    let bits = format!(
        "('x'::pg_catalog.text OPERATOR(pg_catalog.||) pg_catalog.left({}, 16))::pg_catalog.\"bit\"(64)::pg_catalog.int8",
        digits(own, keys)
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

fn digits(own: &str, keys: &KeySettings) -> String {
    format!(
        "pg_catalog.encode({}, 'hex')",
        code(&format!("pg_catalog.convert_to({own}::pg_catalog.text, 'UTF8')"), keys)
    )
}

/// HMAC by its definition: the hash of the outer key and the hash of the inner key and the message.
fn code(message: &str, keys: &KeySettings) -> String {
    let key = |name: &str| format!("pg_catalog.decode(pg_catalog.current_setting('{name}'), 'hex')");
    let hashed =
        |key: String, message: &str| format!("pg_catalog.sha256({key} OPERATOR(pg_catalog.||) {message})");
    hashed(key(&keys.outer), &hashed(key(&keys.inner), message))
}
