//! How the values of a type are looked through, by its OID: those of `pg_type.dat`, which never change.
//!
//! In text format every type is text, so only those are passed by whose values can hold nothing that is looked for. In
//! binary format a type that is not known here, one of an extension for example, is looked through as packed bytes.

use super::Column;
use super::numbers::is_card_number;
use super::scanner::Style;

/// How a column's values are looked through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Treatment {
    /// Not at all: they hold nothing that is looked for.
    Pass,
    /// As text.
    Text(Style),
    /// As an array in binary format, each element as text.
    Array(Style),
    /// As a number in binary format, which may be a card's.
    Number(Binary),
}

/// A number type in binary format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Binary {
    Int8,
    Float8,
    Numeric,
    /// Any of these, or something else: COPY does not say.
    Unknown,
}

/// How the values of `column` are looked through.
pub(super) fn treatment(column: Column) -> Treatment {
    let Column { type_oid, is_binary } = column;
    match (type_oid, is_binary) {
        (INT8, true) => Treatment::Number(Binary::Int8),
        (FLOAT8, true) => Treatment::Number(Binary::Float8),
        (NUMERIC, true) => Treatment::Number(Binary::Numeric),
        (JSON_ARRAY | JSONB_ARRAY, true) => Treatment::Array(Style::Mixed),
        (TEXT_ARRAY | VARCHAR_ARRAY | BPCHAR_ARRAY | NAME_ARRAY | XML_ARRAY, true) => {
            Treatment::Array(Style::Stars)
        }
        _ => style(type_oid, is_binary).map_or(Treatment::Pass, Treatment::Text),
    }
}

fn style(type_oid: u32, is_binary: bool) -> Option<Style> {
    if PLAIN.contains(&type_oid) {
        return None;
    }
    match (type_oid, is_binary) {
        (
            INT8 | NUMERIC | FLOAT8 | INT8_ARRAY | NUMERIC_ARRAY | FLOAT8_ARRAY | INT8RANGE | NUMRANGE,
            false,
        ) => Some(Style::Zeros),
        (JSON | JSONB | JSON_ARRAY | JSONB_ARRAY, false) | (JSON | JSONB, true) => Some(Style::Mixed),
        (TEXT | VARCHAR | BPCHAR | NAME | UNKNOWN | XML | CSTRING | REFCURSOR, true) => Some(Style::Stars),
        (_, true) => Some(Style::Packed),
        // A composite may hold a number, but PostgreSQL reads none back from it without its type.
        (_, false) => Some(Style::Stars),
    }
}

impl Binary {
    /// Overwrites a card's number with zero. Returns whether it was one.
    pub(super) fn mask(self, value: &mut [u8]) -> bool {
        let is_card = match self {
            Self::Int8 => integer(value).is_some_and(is_card_number),
            Self::Float8 => float(value).is_some_and(is_card_number),
            Self::Numeric => numeric(value).is_some_and(is_card_number),
            Self::Unknown => return self.mask_unknown(value),
        };
        if is_card {
            let digits = if self == Self::Numeric { NUMERIC_HEAD } else { 0 };
            value.get_mut(digits..).unwrap_or_default().fill(0);
        }
        is_card
    }
}

impl Binary {
    /// Takes a value for the number that it may be. Text has no zero bytes, and all it has can be printed.
    fn mask_unknown(self, value: &mut [u8]) -> bool {
        let kind = match (value.first(), value.len()) {
            (Some(0), 8) => Self::Int8,
            (_, 8) if !value.iter().all(|byte| matches!(byte, b' '..=b'~')) => Self::Float8,
            (Some(0), _) if groups(value).is_some_and(|groups| NUMERIC_HEAD + 2 * groups == value.len()) => {
                Self::Numeric
            }
            _ => return false,
        };
        kind != self && kind.mask(value)
    }
}

/// How many groups of digits a numeric says that it has.
fn groups(value: &[u8]) -> Option<usize> {
    Some(usize::from(u16::from_be_bytes(*value.first_chunk()?)))
}

fn integer(value: &[u8]) -> Option<u64> {
    u64::try_from(i64::from_be_bytes(value.try_into().ok()?)).ok()
}

/// The whole number that it is.
fn float(value: &[u8]) -> Option<u64> {
    let number = f64::from_be_bytes(value.try_into().ok()?);
    let printed = (number.fract() == 0.0 && (0.0..1e19).contains(&number)).then(|| format!("{number:.0}"))?;
    printed.parse().ok()
}

/// The whole part of a numeric: groups of four digits, behind their number, the place of the first, sign and scale.
fn numeric(value: &[u8]) -> Option<u64> {
    let (head, digits) = value.split_at_checked(NUMERIC_HEAD)?;
    let &[_, _, weight_high, weight_low, sign_high, sign_low, _, _] = head.first_chunk::<NUMERIC_HEAD>()?;
    let last = usize::try_from(i16::from_be_bytes([weight_high, weight_low])).ok()?;
    if [sign_high, sign_low] != [0, 0] || last > MOST_GROUPS {
        return None;
    }
    let mut groups = digits.as_chunks::<2>().0.iter().map(|group| u64::from(u16::from_be_bytes(*group)));
    let mut whole = (0..=last).map(|_| groups.next().unwrap_or(0));
    whole.try_fold(0_u64, |number, group| number.checked_mul(10_000)?.checked_add(group))
}

/// Number of groups, weight, sign, scale.
const NUMERIC_HEAD: usize = 8;
/// A card's number has five groups at most.
const MOST_GROUPS: usize = 5;
/// Longest number in binary format that is looked at, in bytes: a longer one has more digits than any card.
pub(super) const MOST_NUMBER: usize = 64;

const INT8: u32 = 20;
const NUMERIC: u32 = 1700;
const FLOAT8: u32 = 701;
const INT8_ARRAY: u32 = 1016;
const NUMERIC_ARRAY: u32 = 1231;
const FLOAT8_ARRAY: u32 = 1022;
const INT8RANGE: u32 = 3926;
const NUMRANGE: u32 = 3906;
const TEXT: u32 = 25;
const VARCHAR: u32 = 1043;
const BPCHAR: u32 = 1042;
const NAME: u32 = 19;
const UNKNOWN: u32 = 705;
const CSTRING: u32 = 2275;
const REFCURSOR: u32 = 1790;
const XML: u32 = 142;
const JSON: u32 = 114;
const JSONB: u32 = 3802;
const TEXT_ARRAY: u32 = 1009;
const VARCHAR_ARRAY: u32 = 1015;
const BPCHAR_ARRAY: u32 = 1014;
const NAME_ARRAY: u32 = 1003;
const XML_ARRAY: u32 = 143;
const JSON_ARRAY: u32 = 199;
const JSONB_ARRAY: u32 = 3807;

/// bool, "char", int2, int4, oid, float4, bytea; date, the times, interval, uuid, bit; tid, xid, cid, xid8, pg_lsn; macaddr,
/// inet, cidr; the geometric types; arrays of the first of these; ranges of dates, times and int4.
const PLAIN: [u32; 47] = [
    16, 17, 18, 21, 23, 26, 700, 1082, 1083, 1266, 1114, 1184, 1186, 2950, 1560, 1562, 27, 28, 29, 5069,
    3220, 829, 774, 869, 650, 600, 601, 602, 603, 604, 628, 718, 1000, 1001, 1005, 1007, 1028, 1021, 1182,
    1183, 1115, 1185, 1187, 3904, 3908, 3910, 3912,
];
