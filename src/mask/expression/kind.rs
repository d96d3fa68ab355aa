//! What a column's type can hold in place of a value.

use std::num::NonZeroU32;

use crate::catalog::Column;

/// Types by what masks can do with them.
#[derive(Debug)]
pub(super) enum Kind {
    Text,
    Number(Number),
    Date,
    Timestamp,
    TimestampTz,
    Uuid,
    Bytes,
    Jsonb,
    /// Nothing but a fixed value.
    Zero(&'static str),
    /// Not even that.
    Null,
}

/// A type of numbers, with the ends of what it can hold: a mask must not fail where a value lies near them.
#[derive(Debug)]
pub(super) struct Number {
    /// Bytes of an integer; 0 for others.
    pub(super) bytes: u8,
    /// Digits before the point of a `numeric` with a limit.
    pub(super) digits: Option<u16>,
    ends: Option<(String, String)>,
}

impl Kind {
    /// What `column` can hold.
    pub(super) fn of(column: &Column) -> Self {
        // A domain may have a CHECK that no mask of ours passes.
        if column.type_oid != column.base_type_oid || column.base_type_kind != 'b' {
            return Self::Null;
        }
        match column.base_type_oid {
            16 => Self::Zero("false"),
            21 => Self::Number(Number::integer(2, i64::from(i16::MIN), i64::from(i16::MAX))),
            23 => Self::Number(Number::integer(4, i64::from(i32::MIN), i64::from(i32::MAX))),
            20 => Self::Number(Number::integer(8, i64::MIN, i64::MAX)),
            700 => Self::Number(Number::float("3.40282e38")),
            701 => Self::Number(Number::float("1.79769313486231e308")),
            1700 => Self::Number(Number::numeric(&column.type_name)),
            26 | 790 | 1186 => Self::Zero("0"),
            19 | 25 | 1042 | 1043 => Self::Text,
            17 => Self::Bytes,
            3802 => Self::Jsonb,
            114 => Self::Zero("null"),
            1082 => Self::Date,
            1114 => Self::Timestamp,
            1184 => Self::TimestampTz,
            1083 => Self::Zero("00:00:00"),
            1266 => Self::Zero("00:00:00+00"),
            869 => Self::Zero("0.0.0.0"),
            650 => Self::Zero("0.0.0.0/0"),
            2950 => Self::Uuid,
            _ if column.base_type_category == 'A' && column.type_name.ends_with("[]") => Self::Zero("{}"),
            _ if column.base_type_category == 'S' => Self::Text,
            _ => Self::Null,
        }
    }

    /// The fixed value of a type that is no text, as PostgreSQL reads it.
    pub(super) fn zero(&self) -> Option<&'static str> {
        match self {
            Self::Number(_) => Some("0"),
            Self::Date => Some("2000-01-01"),
            Self::Timestamp => Some("2000-01-01 00:00:00"),
            Self::TimestampTz => Some("2000-01-01 00:00:00+00"),
            Self::Uuid => Some("00000000-0000-0000-0000-000000000000"),
            Self::Bytes => Some(""),
            Self::Jsonb => Some("null"),
            Self::Zero(zero) => Some(zero),
            Self::Text | Self::Null => None,
        }
    }
}

impl Number {
    fn integer(bytes: u8, least: i64, most: i64) -> Self {
        Self { bytes, digits: None, ends: Some((least.to_string(), most.to_string())) }
    }

    /// PostgreSQL makes a `numeric` of as many digits as hold for every value, and that may round up.
    fn float(most: &str) -> Self {
        Self { bytes: 0, digits: None, ends: Some((format!("-{most}"), most.to_owned())) }
    }

    /// By the type's name: `numeric(10,2)`.
    fn numeric(type_name: &str) -> Self {
        let limits = type_name.split_once('(').and_then(|(_, limits)| limits.strip_suffix(')'));
        let limits = limits.and_then(|limits| match limits.split_once(',') {
            Some((precision, scale)) => Some((precision.parse::<i32>().ok()?, scale.parse::<i32>().ok()?)),
            None => Some((limits.parse::<i32>().ok()?, 0)),
        });
        let Some((precision, scale)) = limits else { return Self { bytes: 0, digits: None, ends: None } };
        let nines = "9".repeat(usize::try_from(precision).unwrap_or_default());
        let most = format!("{nines}e{}", -i64::from(scale));
        let digits = u16::try_from(precision.saturating_sub(scale)).unwrap_or(0);
        Self { bytes: 0, digits: Some(digits), ends: Some((format!("-{most}"), most)) }
    }

    /// `own`, rounded to `places`.
    pub(super) fn round(&self, own: &str, places: i8) -> String {
        self.held(&format!("pg_catalog.round({own}::pg_catalog.numeric, {places})"))
    }

    /// The lower end of the bucket that `own` lies in.
    pub(super) fn bucket(&self, own: &str, width: NonZeroU32) -> String {
        let width = format!("'{width}'::pg_catalog.numeric");
        self.held(&format!(
            "pg_catalog.floor({own}::pg_catalog.numeric OPERATOR(pg_catalog./) {width}) \
             OPERATOR(pg_catalog.*) {width}"
        ))
    }

    /// `value` within what the type holds.
    fn held(&self, value: &str) -> String {
        let Some((least, most)) = &self.ends else { return value.to_owned() };
        let end = |number: &str| format!("'{number}'::pg_catalog.numeric");
        let (least, most) = (end(least), end(most));
        format!(
            "CASE WHEN {value} OPERATOR(pg_catalog.>) {most} THEN {most} \
             WHEN {value} OPERATOR(pg_catalog.<) {least} THEN {least} ELSE {value} END"
        )
    }
}
