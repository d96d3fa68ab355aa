//! Values in and out: JSON to PostgreSQL's text form, and back without losing a digit.

use serde_json::{Number, Value};

/// Values in PostgreSQL's text form, `None` is NULL: a list for each statement.
pub(super) type Lists = Vec<Vec<Option<String>>>;

/// Why a parameter can't be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ParameterError {
    /// JSON numbers beyond 2^53 have lost digits before they reach us.
    #[error("parameter ${position} is a number that JSON can't hold exactly: pass it as a string")]
    Inexact {
        /// Its position, from 1.
        position: usize,
    },
    /// PostgreSQL's text form has no NUL.
    #[error("parameter ${position} holds a NUL character, which PostgreSQL can't store")]
    Nul {
        /// Its position, from 1.
        position: usize,
    },
    /// The protocol counts parameters in 16 bits.
    #[error("{count} parameters are too many: at most {MAX_PARAMETERS} can be sent")]
    TooMany {
        /// How many there are.
        count: usize,
    },
}

/// `parameters` in PostgreSQL's text form; `None` is NULL. Arrays and objects are sent as JSON text.
pub(super) fn to_text(parameters: &[Value]) -> Result<Vec<Option<String>>, ParameterError> {
    if parameters.len() > MAX_PARAMETERS {
        return Err(ParameterError::TooMany { count: parameters.len() });
    }
    let one = |(index, value): (usize, &Value)| parameter(index.saturating_add(1), value);
    parameters.iter().enumerate().map(one).collect()
}

fn parameter(position: usize, value: &Value) -> Result<Option<String>, ParameterError> {
    let text = match value {
        Value::Null => return Ok(None),
        Value::Number(number) if !is_exact(number) => return Err(ParameterError::Inexact { position }),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    };
    if text.contains('\0') { Err(ParameterError::Nul { position }) } else { Ok(Some(text)) }
}

/// Whether a client surely meant the number that was parsed: integers are exact as far as 64 bits go, and
/// what looks like a fraction is refused where its size says that it was a longer integer.
fn is_exact(number: &Number) -> bool {
    number.is_i64() || number.is_u64() || number.as_f64().is_some_and(|value| value.abs() < EXACT_LIMIT)
}

/// A value of a result, by its type: numbers that JSON holds exactly, booleans, JSON documents; the rest is text.
pub(super) fn from_text(type_oid: u32, text: &str) -> Value {
    let exact = match type_oid {
        BOOL => match text {
            "t" => Some(Value::Bool(true)),
            "f" => Some(Value::Bool(false)),
            _ => None,
        },
        INT2 | INT4 => text.parse::<i64>().ok().map(Value::from),
        INT8 => text.parse::<i64>().ok().filter(|value| value.unsigned_abs() <= MAX_SAFE).map(Value::from),
        FLOAT4 | FLOAT8 => text.parse::<f64>().ok().and_then(Number::from_f64).map(Value::Number),
        JSON | JSONB if !has_long_number(text) => serde_json::from_str(text).ok(),
        _ => None,
    };
    exact.unwrap_or_else(|| Value::String(text.to_owned()))
}

/// Whether a JSON text holds a number that would lose digits on the way through a double.
fn has_long_number(text: &str) -> bool {
    let mut digits = 0_u32;
    let mut in_string = false;
    let mut escaped = false;
    for byte in text.bytes() {
        if in_string {
            in_string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'0'..=b'9' => digits = digits.saturating_add(1),
            b'e' | b'E' if digits > 0 => return true,
            b'.' => {}
            _ => digits = 0,
        }
        if digits > EXACT_DIGITS {
            return true;
        }
    }
    false
}

/// A short name for a type of PostgreSQL's own; `None` for any other.
pub(super) fn type_name(type_oid: u32) -> Option<&'static str> {
    TYPE_NAMES.iter().find(|(oid, _)| *oid == type_oid).map(|(_, name)| *name)
}

const MAX_PARAMETERS: usize = 65_535;
/// 2^53: from here on doubles skip integers.
const EXACT_LIMIT: f64 = 9_007_199_254_740_992.0;
/// 2^53 - 1, JavaScript's `MAX_SAFE_INTEGER`.
const MAX_SAFE: u64 = 9_007_199_254_740_991;
/// So many decimal digits always survive a double.
const EXACT_DIGITS: u32 = 15;

const BOOL: u32 = 16;
const INT8: u32 = 20;
const INT2: u32 = 21;
const INT4: u32 = 23;
const JSON: u32 = 114;
const FLOAT4: u32 = 700;
const FLOAT8: u32 = 701;
const JSONB: u32 = 3802;

/// `src/include/catalog/pg_type.dat`: these OIDs never change.
const TYPE_NAMES: &[(u32, &str)] = &[
    (BOOL, "boolean"),
    (17, "bytea"),
    (18, "\"char\""),
    (19, "name"),
    (INT8, "bigint"),
    (INT2, "smallint"),
    (INT4, "integer"),
    (25, "text"),
    (26, "oid"),
    (JSON, "json"),
    (142, "xml"),
    (FLOAT4, "real"),
    (FLOAT8, "double precision"),
    (790, "money"),
    (869, "inet"),
    (650, "cidr"),
    (1000, "boolean[]"),
    (1005, "smallint[]"),
    (1007, "integer[]"),
    (1009, "text[]"),
    (1015, "character varying[]"),
    (1016, "bigint[]"),
    (1042, "character"),
    (1043, "character varying"),
    (1082, "date"),
    (1083, "time without time zone"),
    (1114, "timestamp without time zone"),
    (1184, "timestamp with time zone"),
    (1186, "interval"),
    (1231, "numeric[]"),
    (1266, "time with time zone"),
    (1700, "numeric"),
    (2205, "regclass"),
    (2950, "uuid"),
    (JSONB, "jsonb"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn parameters_take_postgresqls_text_form() {
        let sent = to_text(&[json!(true), json!(-7), json!(0.1), json!(null), json!("x"), json!([1, "a"])]);
        let expected = [Some("true"), Some("-7"), Some("0.1"), None, Some("x"), Some("[1,\"a\"]")];
        assert_eq!(sent.unwrap(), expected.map(|text| text.map(str::to_owned)));
    }

    #[test]
    fn a_number_that_lost_digits_is_refused_and_says_what_works() {
        let long: Value = serde_json::from_str("123456789012345678901234567890").unwrap();
        let error = to_text(&[json!(1), long]).unwrap_err();
        assert_eq!(error, ParameterError::Inexact { position: 2 });
        assert!(error.to_string().contains("$2") && error.to_string().contains("as a string"));
        assert_eq!(to_text(&[json!(u64::MAX)]).unwrap(), [Some("18446744073709551615".to_owned())]);
    }

    #[test]
    fn a_nul_character_never_reaches_the_protocol() {
        assert_eq!(to_text(&[json!("a\0b")]).unwrap_err(), ParameterError::Nul { position: 1 });
    }

    #[test]
    fn numbers_are_json_numbers_only_where_json_holds_them_exactly() {
        assert_eq!(from_text(INT4, "-12"), json!(-12));
        assert_eq!(from_text(INT8, "9007199254740991"), json!(9_007_199_254_740_991_i64));
        assert_eq!(from_text(INT8, "9007199254740993"), json!("9007199254740993"));
        assert_eq!(from_text(1700, "1.10"), json!("1.10"));
        assert_eq!(from_text(FLOAT8, "0.1"), json!(0.1));
        assert_eq!(from_text(FLOAT8, "NaN"), json!("NaN"));
        assert_eq!(from_text(FLOAT8, "Infinity"), json!("Infinity"));
    }

    #[test]
    fn documents_are_parsed_unless_a_digit_would_be_lost() {
        assert_eq!(
            from_text(JSONB, r#"{"a": [1, 0.5, "12345678901234567890"]}"#),
            json!({"a": [1, 0.5, "12345678901234567890"]})
        );
        for text in ["{\"a\": 12345678901234567890}", "[0.1234567890123456789]", "1e400", "\"\\\"1e5"] {
            assert_eq!(from_text(JSON, text), json!(text), "{text}");
        }
        let deep = "[".repeat(100_000);
        assert_eq!(from_text(JSON, &deep), json!(deep));
    }

    #[test]
    fn the_rest_is_text_as_postgresql_prints_it() {
        assert_eq!(from_text(BOOL, "t"), json!(true));
        assert_eq!(from_text(1082, "2026-01-02"), json!("2026-01-02"));
        assert_eq!(from_text(99_999, "(1,2)"), json!("(1,2)"));
        assert_eq!(type_name(1700), Some("numeric"));
        assert_eq!(type_name(99_999), None);
    }
}
