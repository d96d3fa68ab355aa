//! What a rulebook may release of a masked column: aggregates over groups of a least size.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalog::Column;

use super::expression::identifier;

/// Aggregates of a masked column's true values that may be seen, of groups that are large enough.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupRelease {
    /// Which aggregates.
    pub aggregates: BTreeSet<Aggregate>,
    /// How many rows with a value a group must have; a smaller one gives NULL. At least 2.
    pub min_rows: u32,
}

/// An aggregate in which no single value shows. `min`, `max`, `array_agg` and percentiles give values of single rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Aggregate {
    /// How many values there are.
    Count,
    /// Their sum.
    Sum,
    /// Their mean.
    Avg,
    /// The standard deviation of a sample.
    Stddev,
    /// The standard deviation of a population.
    StddevPop,
    /// As `stddev`.
    StddevSamp,
    /// The variance of a sample.
    Variance,
    /// The variance of a population.
    VarPop,
    /// As `variance`.
    VarSamp,
}

impl GroupRelease {
    /// Holds the release against what it may be.
    ///
    /// # Errors
    /// Says what is wrong, in a sentence without a full stop.
    pub fn check(&self) -> Result<(), String> {
        if self.aggregates.is_empty() {
            return Err("`release` needs `aggregates`: [\"count\", \"avg\"]".to_owned());
        }
        match self.min_rows >= LEAST_ROWS {
            true => Ok(()),
            false => Err(format!("`min_rows` must be at least {LEAST_ROWS}, not {}", self.min_rows)),
        }
    }

    /// What two masks of one column both release; nothing where one of them releases nothing.
    pub(super) fn both(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        let (one, other) = (one?, other?);
        let aggregates: BTreeSet<_> = one.aggregates.intersection(&other.aggregates).copied().collect();
        let min_rows = one.min_rows.max(other.min_rows);
        (!aggregates.is_empty()).then_some(Self { aggregates, min_rows })
    }
}

impl Aggregate {
    /// The aggregate that PostgreSQL calls `name`.
    pub(super) fn called(name: &str) -> Option<Self> {
        ALL.into_iter().find(|aggregate| aggregate.as_str() == name)
    }

    /// As PostgreSQL calls it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Sum => "sum",
            Self::Avg => "avg",
            Self::Stddev => "stddev",
            Self::StddevPop => "stddev_pop",
            Self::StddevSamp => "stddev_samp",
            Self::Variance => "variance",
            Self::VarPop => "var_pop",
            Self::VarSamp => "var_samp",
        }
    }

    /// Whether it takes what [`truth`] gives of `column`.
    pub(super) fn fits(self, column: &Column) -> bool {
        self == Self::Count || is_number(column)
    }
}

/// The name under which a subselect gives the truth of `column`.
pub(super) fn name_of(column: &Column) -> String {
    format!("{PREFIX}{}", column.number)
}

/// Whether a text could be such a name.
pub(super) fn is_reserved(text: &str) -> bool {
    text.starts_with(PREFIX)
}

/// What aggregates need to know of `column`, and no more: its number, or else whether there is a value.
///
/// An aggregate is worked out before its group is known to be large enough, so no group may make it fail: an error
/// would tell what the group holds. Numbers whose sums or squares could overflow count as no value.
pub(super) fn truth(column: &Column) -> String {
    let own = identifier(&column.name);
    let within = |bound: &str, kind: &str| {
        format!(
            "CASE WHEN {own} OPERATOR(pg_catalog.>) '-{bound}'::pg_catalog.{kind} \
             AND {own} OPERATOR(pg_catalog.<) '{bound}'::pg_catalog.{kind} THEN {own} END"
        )
    };
    match column.type_oid {
        INT2 | INT4 | INT8 => own,
        FLOAT4 => within("1e28", "float4"),
        FLOAT8 => within("1e140", "float8"),
        NUMERIC => within("1e1000", "numeric"),
        // Of a composite, `IS NOT NULL` would ask for its fields.
        _ => format!("CASE WHEN {own} IS DISTINCT FROM NULL THEN 1 END"),
    }
}

fn is_number(column: &Column) -> bool {
    [INT2, INT4, INT8, FLOAT4, FLOAT8, NUMERIC].contains(&column.type_oid)
}

const ALL: [Aggregate; 9] = [
    Aggregate::Count,
    Aggregate::Sum,
    Aggregate::Avg,
    Aggregate::Stddev,
    Aggregate::StddevPop,
    Aggregate::StddevSamp,
    Aggregate::Variance,
    Aggregate::VarPop,
    Aggregate::VarSamp,
];

const PREFIX: &str = "portcullis true ";

/// A group of one is its value.
const LEAST_ROWS: u32 = 2;

const INT8: u32 = 20;
const INT2: u32 = 21;
const INT4: u32 = 23;
const FLOAT4: u32 = 700;
const FLOAT8: u32 = 701;
const NUMERIC: u32 = 1700;

#[cfg(test)]
mod tests {
    use super::*;

    fn release(aggregates: &[Aggregate], min_rows: u32) -> GroupRelease {
        GroupRelease { aggregates: aggregates.iter().copied().collect(), min_rows }
    }

    #[test]
    fn two_releases_leave_what_both_give_to_the_larger_groups() {
        let one = release(&[Aggregate::Sum, Aggregate::Avg], 5);
        let other = release(&[Aggregate::Avg, Aggregate::Count], 9);
        assert_eq!(GroupRelease::both(Some(one.clone()), Some(other)), Some(release(&[Aggregate::Avg], 9)));
        assert_eq!(GroupRelease::both(Some(one.clone()), Some(release(&[Aggregate::Count], 2))), None);
        assert_eq!(GroupRelease::both(Some(one), None), None);
    }

    #[test]
    fn a_release_is_read_strictly() {
        for text in [
            r#"{"aggregates": ["avg"]}"#,
            r#"{"min_rows": 5}"#,
            r#"{"aggregates": ["max"], "min_rows": 5}"#,
            r#"{"aggregates": ["AVG"], "min_rows": 5}"#,
            r#"{"aggregates": ["array_agg"], "min_rows": 5}"#,
            r#"{"aggregates": ["avg"], "min_rows": 5, "over": true}"#,
            r#"{"aggregates": ["avg"], "min_rows": -1}"#,
            r#"{"aggregates": "avg", "min_rows": 5}"#,
        ] {
            serde_json::from_str::<GroupRelease>(text).expect_err(text);
        }
        release(&[], 5).check().unwrap_err();
        release(&[Aggregate::Avg], 1).check().unwrap_err();
        release(&[Aggregate::Avg], 2).check().unwrap();
        for aggregate in ALL {
            assert_eq!(Aggregate::called(aggregate.as_str()), Some(aggregate));
            assert_eq!(serde_json::to_value(aggregate).unwrap(), aggregate.as_str());
        }
    }
}
