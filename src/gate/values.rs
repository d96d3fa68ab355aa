//! Bind values as rules read them: by their types, from text and from binary.

use serde_json::{Value, json};

use crate::policy::input::Parameter;

use super::Parameters;
use super::escalate::Values;

/// The values of the (first) statement, each as far as its type is known and one that is decoded. `types` are OIDs; 0 where one is not known.
pub(super) fn decoded(values: &Values<'_>, types: &[u32]) -> Vec<Parameter> {
    match values {
        Values::None => Vec::new(),
        Values::Called(lists) => {
            let texts = lists.first().into_iter().flatten().enumerate();
            texts.map(|(at, text)| untyped(at, text.as_deref())).collect()
        }
        Values::Bound(parameters) => {
            let values = parameters.values.iter().enumerate();
            values
                .map(|(at, value)| {
                    let oid = types.get(at).copied().unwrap_or(0);
                    if oid == 0 && parameters.format(at) == 0 {
                        return untyped(at, value.as_deref().map(String::from_utf8_lossy).as_deref());
                    }
                    let read = |bytes: &bytes::Bytes| read(parameters, at, oid, bytes);
                    parameter(at, type_name(oid), value.as_ref().map(read))
                })
                .collect()
        }
    }
}

/// `value` is `None` for NULL, and `Some(None)` where it is not known.
fn parameter(at: usize, type_name: &str, value: Option<Option<Value>>) -> Parameter {
    let null = value.is_none();
    let value = value.flatten();
    Parameter {
        index: at + 1,
        type_name: type_name.to_owned(),
        known: null || value.is_some(),
        null,
        value: value.unwrap_or_else(|| json!("")),
    }
}

/// A text of which only the server knows what it is: `7` may be a number, and `1e3` a thousand.
fn untyped(at: usize, text: Option<&str>) -> Parameter {
    match text {
        None => parameter(at, "", None),
        Some(text) => Parameter { known: false, value: json!(text), ..parameter(at, "", Some(None)) },
    }
}

fn read(parameters: &Parameters, at: usize, oid: u32, bytes: &[u8]) -> Option<Value> {
    match parameters.format(at) {
        0 => from_text(oid, std::str::from_utf8(bytes).ok()?),
        1 => from_binary(oid, bytes),
        _ => None,
    }
}

/// A value in text. What is not written as its type's values are is not known: the server will say what it thinks of it.
fn from_text(oid: u32, text: &str) -> Option<Value> {
    let trimmed = text.trim();
    match oid {
        BOOL => match trimmed.to_ascii_lowercase().as_str() {
            "t" | "true" | "yes" | "y" | "on" | "1" => Some(json!(true)),
            "f" | "false" | "no" | "n" | "off" | "0" => Some(json!(false)),
            _ => None,
        },
        INT2 | INT4 | INT8 | OID => trimmed.parse::<i64>().ok().map(|number| json!(number)),
        FLOAT4 | FLOAT8 => float(trimmed.parse().ok()?),
        // Only as PostgreSQL writes them itself: these types have many ways to write one value.
        NUMERIC => is_plain_number(text).then(|| json!(text)),
        UUID => is_plain_uuid(text).then(|| json!(text)),
        DATE => text.parse::<jiff::civil::Date>().ok().map(|date| json!(date.to_string())),
        TEXT | VARCHAR | NAME | JSON | XML => Some(json!(text)),
        _ => None,
    }
}

fn is_plain_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    all_digits(whole) && all_digits(fraction) && (whole == "0" || !whole.starts_with('0'))
}

fn is_plain_uuid(text: &str) -> bool {
    let parts: Vec<usize> = text.split('-').map(str::len).collect();
    parts == [8, 4, 4, 4, 12] && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-'))
}

fn from_binary(oid: u32, bytes: &[u8]) -> Option<Value> {
    match oid {
        BOOL => match bytes {
            [byte] => Some(json!(*byte != 0)),
            _ => None,
        },
        INT2 => Some(json!(i16::from_be_bytes(bytes.try_into().ok()?))),
        INT4 => Some(json!(i32::from_be_bytes(bytes.try_into().ok()?))),
        OID => Some(json!(u32::from_be_bytes(bytes.try_into().ok()?))),
        INT8 => Some(json!(i64::from_be_bytes(bytes.try_into().ok()?))),
        FLOAT4 => float(f64::from(f32::from_be_bytes(bytes.try_into().ok()?))),
        FLOAT8 => float(f64::from_be_bytes(bytes.try_into().ok()?)),
        TEXT | VARCHAR | BPCHAR | NAME | JSON | XML => text(bytes),
        // A version comes first.
        JSONB => text(bytes.strip_prefix(&[1])?),
        UUID => uuid(bytes),
        NUMERIC => numeric(bytes),
        DATE => date(i32::from_be_bytes(bytes.try_into().ok()?)),
        TIMESTAMP => timestamp(i64::from_be_bytes(bytes.try_into().ok()?), ""),
        TIMESTAMPTZ => timestamp(i64::from_be_bytes(bytes.try_into().ok()?), "+00"),
        BYTEA => Some(json!(format!("\\x{}", crate::audit::hex(bytes)))),
        _ => array(oid, bytes),
    }
}

fn text(bytes: &[u8]) -> Option<Value> {
    std::str::from_utf8(bytes).ok().map(|text| json!(text))
}

/// JSON has no word for what is not finite.
fn float(number: f64) -> Option<Value> {
    serde_json::Number::from_f64(number).map(Value::Number)
}

fn uuid(bytes: &[u8]) -> Option<Value> {
    let digits = crate::audit::hex(<&[u8; 16]>::try_from(bytes).ok()?);
    let part = |range: std::ops::Range<usize>| digits.get(range);
    let parts = [part(0..8)?, part(8..12)?, part(12..16)?, part(16..20)?, part(20..32)?];
    Some(json!(parts.join("-")))
}

/// Digits to the base of 10,000, of which `weight + 1` stand before the point.
fn numeric(bytes: &[u8]) -> Option<Value> {
    let word = |at: usize| -> Option<i16> {
        Some(i16::from_be_bytes(bytes.get(at * 2..at * 2 + 2)?.try_into().ok()?))
    };
    let (count, weight, sign, scale) = (word(0)?, word(1)?, word(2)?, word(3)?);
    let (count, scale) = (usize::try_from(count).ok()?, usize::try_from(scale).ok()?);
    if bytes.len() != 8 + count * 2 || scale > LONGEST_SCALE {
        return None;
    }
    let sign = match sign {
        0 => "",
        0x4000 => "-",
        _ => return None,
    };
    let digit = |place: i32| -> Option<i16> {
        let at = i32::from(weight) - place;
        let at = usize::try_from(at).ok().filter(|at| *at < count);
        at.map_or(Some(0), |at| word(4 + at)).filter(|digit| (0..10_000).contains(digit))
    };
    let mut whole = String::new();
    for place in (0..=i32::from(weight).max(0)).rev() {
        whole.push_str(&format!("{:04}", digit(place)?));
    }
    let mut fraction = String::new();
    let groups = i32::try_from(scale.div_ceil(4)).ok()?;
    for place in 1..=groups {
        fraction.push_str(&format!("{:04}", digit(-place)?));
    }
    fraction.truncate(scale);
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let point = if scale > 0 { "." } else { "" };
    Some(json!(format!("{sign}{whole}{point}{fraction}")))
}

/// Days since 2000-01-01.
fn date(days: i32) -> Option<Value> {
    let date = jiff::civil::date(2000, 1, 1).checked_add(jiff::Span::new().try_days(days).ok()?).ok()?;
    Some(json!(date.to_string()))
}

/// Microseconds since 2000-01-01, as PostgreSQL writes them.
fn timestamp(micros: i64, zone: &str) -> Option<Value> {
    let epoch = jiff::civil::date(2000, 1, 1).at(0, 0, 0, 0);
    let at = epoch.checked_add(jiff::Span::new().try_microseconds(micros).ok()?).ok()?;
    Some(json!(format!("{}{zone}", at.to_string().replace('T', " "))))
}

/// An array of one dimension, of elements that are known themselves.
fn array(oid: u32, bytes: &[u8]) -> Option<Value> {
    let (_, element) = ARRAYS.iter().find(|(array, _)| *array == oid)?;
    let number = |at: usize| -> Option<i32> {
        Some(i32::from_be_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
    };
    let (dimensions, stored) = (number(0)?, number(8)?);
    if dimensions == 0 {
        return Some(json!([]));
    }
    if dimensions != 1 || u32::try_from(stored).ok()? != *element {
        return None;
    }
    let count = usize::try_from(number(12)?).ok().filter(|count| *count <= MOST_ELEMENTS)?;
    let (mut at, mut elements) = (20, Vec::new());
    for _ in 0..count {
        let length = number(at)?;
        at += 4;
        if length < 0 {
            elements.push(Value::Null);
            continue;
        }
        let end = at.checked_add(usize::try_from(length).ok()?)?;
        elements.push(from_binary(*element, bytes.get(at..end)?)?);
        at = end;
    }
    (at == bytes.len()).then_some(Value::Array(elements))
}

/// The name of a type by its OID in `pg_type`; empty for those that rules read no values of.
fn type_name(oid: u32) -> &'static str {
    match oid {
        BOOL => "bool",
        BYTEA => "bytea",
        NAME => "name",
        INT8 => "int8",
        INT2 => "int2",
        INT4 => "int4",
        TEXT => "text",
        OID => "oid",
        JSON => "json",
        XML => "xml",
        FLOAT4 => "float4",
        FLOAT8 => "float8",
        BPCHAR => "bpchar",
        VARCHAR => "varchar",
        DATE => "date",
        TIMESTAMP => "timestamp",
        TIMESTAMPTZ => "timestamptz",
        NUMERIC => "numeric",
        UUID => "uuid",
        JSONB => "jsonb",
        1005 => "int2[]",
        1007 => "int4[]",
        1016 => "int8[]",
        1009 => "text[]",
        1015 => "varchar[]",
        2951 => "uuid[]",
        _ => "",
    }
}

/// Types of arrays, with those of their elements.
const ARRAYS: [(u32, u32); 6] =
    [(1005, INT2), (1007, INT4), (1016, INT8), (1009, TEXT), (1015, VARCHAR), (2951, UUID)];

const BOOL: u32 = 16;
const BYTEA: u32 = 17;
const NAME: u32 = 19;
const INT8: u32 = 20;
const INT2: u32 = 21;
const INT4: u32 = 23;
const TEXT: u32 = 25;
const OID: u32 = 26;
const JSON: u32 = 114;
const XML: u32 = 142;
const FLOAT4: u32 = 700;
const FLOAT8: u32 = 701;
const BPCHAR: u32 = 1042;
const VARCHAR: u32 = 1043;
const DATE: u32 = 1082;
const TIMESTAMP: u32 = 1114;
const TIMESTAMPTZ: u32 = 1184;
const NUMERIC: u32 = 1700;
const UUID: u32 = 2950;
const JSONB: u32 = 3802;

/// Digits behind the point that PostgreSQL keeps.
const LONGEST_SCALE: usize = 16_383;
/// Elements of an array that rules are shown.
const MOST_ELEMENTS: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn binary(oid: u32, bytes: &[u8]) -> Option<Value> {
        from_binary(oid, bytes)
    }

    #[test]
    fn binary_values_read_as_their_text_does() {
        assert_eq!(binary(INT4, &7_i32.to_be_bytes()), from_text(INT4, "7"));
        assert_eq!(binary(INT8, &(-9_i64).to_be_bytes()), from_text(INT8, " -9 "));
        assert_eq!(binary(BOOL, &[1]), from_text(BOOL, "t"));
        assert_eq!(binary(FLOAT8, &1.5_f64.to_be_bytes()), from_text(FLOAT8, "1.5"));
        assert_eq!(binary(TEXT, b"a b"), Some(json!("a b")));
        assert_eq!(binary(DATE, &9_455_i32.to_be_bytes()), Some(json!("2025-11-20")));
        assert_eq!(binary(TIMESTAMPTZ, &0_i64.to_be_bytes()), Some(json!("2000-01-01 00:00:00+00")));
        assert_eq!(binary(JSONB, b"\x01{}"), Some(json!("{}")));
        let uuid = [0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xf0, 0, 1, 2, 3, 4, 5, 6, 7];
        assert_eq!(binary(UUID, &uuid), Some(json!("12345678-9abc-def0-0001-020304050607")));
    }

    #[test]
    fn numerics_read_as_postgresql_writes_them() {
        let numeric = |words: &[i16]| {
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
            binary(NUMERIC, &bytes).and_then(|value| value.as_str().map(str::to_owned))
        };
        assert_eq!(numeric(&[2, 1, 0, 2, 1, 2345]).as_deref(), Some("12345.00"));
        assert_eq!(numeric(&[2, 0, 0x4000, 2, 12, 3400]).as_deref(), Some("-12.34"));
        assert_eq!(numeric(&[1, -1, 0, 4, 5]).as_deref(), Some("0.0005"));
        assert_eq!(numeric(&[1, -2, 0, 8, 5]).as_deref(), Some("0.00000005"));
        assert_eq!(numeric(&[0, 0, 0, 0]).as_deref(), Some("0"));
        assert_eq!(numeric(&[1, 2, 0, 0, 3]).as_deref(), Some("300000000"));
        assert_eq!(numeric(&[0, 0, -16_384, 0]), None, "not a number");
        assert_eq!(numeric(&[3, 0, 0, 0, 1]), None, "cut off");
    }

    #[test]
    fn arrays_of_one_dimension_are_lists() {
        let head =
            |oid: u32, count: i32| [1_i32, 0, oid.cast_signed(), count, 1].map(i32::to_be_bytes).concat();
        let mut two = head(INT4, 2);
        two.extend([4_i32, 7, -1].map(i32::to_be_bytes).concat());
        assert_eq!(binary(1007, &two), Some(json!([7, null])));
        two.push(0);
        assert_eq!(binary(1007, &two), None, "something behind it");
        assert_eq!(binary(1007, &head(TEXT, 0)), None, "of another type");
        assert_eq!(binary(1007, &head(INT4, i32::MAX)), None, "longer than it is");
    }

    #[test]
    fn what_is_not_decoded_is_said_to_be_unknown() {
        let parameters = Parameters {
            formats: vec![1],
            values: vec![Some(bytes::Bytes::from_static(b"\0\x01")), None],
            result_formats: Vec::new(),
        };
        let all = decoded(&Values::Bound(&parameters), &[600, INT4]);
        let seen: Vec<_> = all.iter().map(|value| (value.index, value.known, value.null)).collect();
        assert_eq!(seen, [(1, false, false), (2, true, true)]);
    }
}
