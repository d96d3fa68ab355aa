//! What stands in a column's place, and for which columns.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalog::{RelationKey, Snapshot};

use super::aggregates::GroupRelease;
use super::expression::custom;
use super::rows::Rows;
use super::selector::Selector;

/// What a client sees instead of a column's value. Ordered from weakest to strictest.
///
/// A strategy that a column's type can't bear is NULL there. All but `redact`, `null` and `deny` are computed from the
/// value: they release what they say, that a value is there at all, and need the right to read the column upstream.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Strategy {
    /// The first and the last characters of a text value, the rest replaced by `*`. A value that is not longer than
    /// what would be shown, and NULL, show nothing.
    Partial {
        /// How many leading characters stay visible.
        #[serde(default)]
        first: u8,
        /// How many trailing characters stay visible.
        #[serde(default)]
        last: u8,
    },
    /// A jsonb value without what stands at these paths: `[["address", "street"]]`. Where a path meets an array,
    /// the whole array goes.
    Without {
        /// Paths of keys, from the outermost.
        paths: Vec<Vec<String>>,
    },
    /// An SQL expression over the value, which it calls `value`: `upper(left(value, 1)) || '.'`. See
    /// [`Strategy::check`] for what it may hold.
    Expression {
        /// The expression.
        sql: String,
    },
    /// A number rounded to this many decimal places; negative ones round to tens, hundreds, ...
    Round {
        /// Decimal places, -15 to 15.
        places: i8,
    },
    /// A number replaced by the lower end of its bucket: the largest multiple of `width` that is not above it.
    Bucket {
        /// How wide a bucket is.
        width: NonZeroU32,
    },
    /// A date or timestamp cut to the beginning of its unit, in UTC.
    Truncate {
        /// To what.
        unit: Unit,
    },
    /// A made-up address that is the same for equal values: `u0123456789ab@masked.invalid`.
    Email,
    /// A keyed hash (HMAC-SHA-256): equal values have equal hashes in every column of one type, so that joins and
    /// counts still work, and nobody without the gateway's key can find values by trying. Text, numbers, uuid, bytea.
    Hash,
    /// A fixed value: `value` for text types, the type's zero for others, NULL where a type has none.
    Redact {
        /// The text shown for text types.
        value: String,
    },
    /// NULL.
    Null,
    /// Nothing: a statement that reads the column is denied.
    Deny,
}

/// To what [`Strategy::Truncate`] cuts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// An hour; a date has none and stays.
    Hour,
    /// A day.
    Day,
    /// A week, from Monday.
    Week,
    /// A month.
    Month,
    /// A quarter.
    Quarter,
    /// A year.
    Year,
    /// Ten years.
    Decade,
}

impl Unit {
    /// As `date_trunc` calls it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Quarter => "quarter",
            Self::Year => "year",
            Self::Decade => "decade",
        }
    }
}

impl Strategy {
    /// Holds a strategy against what it may be.
    ///
    /// An expression may hold the column as `value`, constants, CASE, COALESCE, NULLIF, GREATEST, LEAST, comparisons,
    /// `||`, LIKE, casts to text, and functions that can't fail and read nothing but their arguments (`left`, `right`,
    /// `replace`, `lower`, `length`, ...).
    ///
    /// # Errors
    /// Says what is wrong, in a sentence without a full stop.
    pub fn check(&self) -> Result<(), String> {
        match self {
            Self::Expression { sql } => custom::check(sql),
            Self::Round { places } if !(-15..=15).contains(places) => {
                Err(format!("`places` must be from -15 to 15, not {places}"))
            }
            Self::Partial { first: 0, last: 0 } => {
                Err("a partial mask needs `first` or `last`, the number of characters that it shows"
                    .to_owned())
            }
            Self::Without { paths } if paths.is_empty() || paths.iter().any(Vec::is_empty) => {
                Err("`paths` needs paths of at least one key: [[\"address\", \"street\"]]".to_owned())
            }
            Self::Partial { .. }
            | Self::Without { .. }
            | Self::Round { .. }
            | Self::Bucket { .. }
            | Self::Truncate { .. }
            | Self::Email
            | Self::Hash
            | Self::Redact { .. }
            | Self::Null
            | Self::Deny => Ok(()),
        }
    }
}

/// What stands in a column's place, and what is released of it all the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Mask {
    /// What stands there.
    pub strategy: Strategy,
    /// Aggregates of the true values, of groups that are large enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<GroupRelease>,
}

impl From<Strategy> for Mask {
    fn from(strategy: Strategy) -> Self {
        Self { strategy, release: None }
    }
}

/// The masks of one identity on one database: of columns by their names, and of columns by what they are.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Masks {
    /// Which rows there are at all. It comes first, as what tells most masks apart.
    #[serde(skip)]
    rows: Arc<Rows>,
    /// Relation -> column -> strategy.
    columns: BTreeMap<RelationKey, BTreeMap<String, Strategy>>,
    selected: BTreeSet<(Selector, Mask)>,
    /// Relation -> column -> what is released of it; no entry without one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    releases: BTreeMap<RelationKey, BTreeMap<String, GroupRelease>>,
}

impl Masks {
    /// Adds a mask. Two masks on one column leave the stricter; two of one kind that differ leave NULL. What is released
    /// is what both release.
    pub fn add(&mut self, relation: RelationKey, column: String, mask: impl Into<Mask>) {
        let Mask { strategy, release } = mask.into();
        let columns = self.columns.entry(relation.clone()).or_default();
        let mut releases = self.releases.remove(&relation).unwrap_or_default();
        let (strategy, release) = match columns.remove(&column) {
            None => (strategy, release),
            Some(present) => {
                (stricter(present, strategy), GroupRelease::both(releases.remove(&column), release))
            }
        };
        columns.insert(column.clone(), strategy);
        releases.extend(release.map(|release| (column, release)));
        if !releases.is_empty() {
            self.releases.insert(relation, releases);
        }
    }

    /// Adds a mask of all columns that `selector` selects.
    pub fn select(&mut self, selector: Selector, mask: impl Into<Mask>) {
        self.selected.insert((selector, mask.into()));
    }

    /// The same masks, over the rows that a session's filters leave.
    #[must_use]
    pub fn over(&self, rows: &Arc<Rows>) -> Self {
        Self { rows: Arc::clone(rows), ..self.clone() }
    }

    /// The session's row filters.
    #[must_use]
    pub fn rows(&self) -> &Rows {
        &self.rows
    }

    /// Whether nothing can be masked by it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.columns.is_empty() && self.selected.is_empty()
    }

    /// How many columns and selectors it names.
    #[must_use]
    pub fn len(&self) -> usize {
        self.columns.values().map(BTreeMap::len).sum::<usize>() + self.selected.len()
    }

    /// The same masks with every column by its name that is selected in `catalog`. PostgreSQL's own catalogs are not
    /// selected from: what is masked there is named.
    #[must_use]
    pub fn on(&self, catalog: &Snapshot) -> Self {
        let mut named = Self { selected: BTreeSet::new(), ..self.clone() };
        let relations =
            catalog.relations().filter(|relation| !self.selected.is_empty() && !relation.is_system());
        for relation in relations {
            for column in &relation.columns {
                let selecting =
                    self.selected.iter().filter(|(selector, _)| selector.selects(relation, column));
                for (_, mask) in selecting {
                    named.add(relation.key(), column.name.clone(), mask.clone());
                }
            }
        }
        named
    }

    /// The columns of `relation` that are masked by their names.
    #[must_use]
    pub fn named(&self, relation: &RelationKey) -> Option<&BTreeMap<String, Strategy>> {
        self.columns.get(relation)
    }

    /// What is released of a column that is masked by its name.
    #[must_use]
    pub fn release(&self, relation: &RelationKey, column: &str) -> Option<&GroupRelease> {
        self.releases.get(relation)?.get(column)
    }

    /// Everything that is released of columns that are masked by their names.
    pub(super) fn releases(&self) -> &BTreeMap<RelationKey, BTreeMap<String, GroupRelease>> {
        &self.releases
    }

    /// Every relation with its columns that are masked by their names.
    pub fn iter(&self) -> impl Iterator<Item = (&RelationKey, &BTreeMap<String, Strategy>)> {
        self.columns.iter()
    }
}

fn stricter(a: Strategy, b: Strategy) -> Strategy {
    if a == b {
        return a;
    }
    if std::mem::discriminant(&a) == std::mem::discriminant(&b) { Strategy::Null } else { a.max(b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masks(strategies: &[Strategy]) -> Option<Strategy> {
        let mut masks = Masks::default();
        let key = RelationKey::new("public", "customers");
        for strategy in strategies {
            masks.add(key.clone(), "ssn".into(), strategy.clone());
        }
        masks.named(&key).and_then(|columns| columns.get("ssn")).cloned()
    }

    #[test]
    fn the_stricter_of_two_masks_wins_in_either_order() {
        let redact = Strategy::Redact { value: "***".into() };
        let partial = Strategy::Partial { first: 0, last: 4 };
        assert_eq!(masks(&[partial.clone(), redact.clone()]), Some(redact.clone()));
        assert_eq!(masks(&[redact.clone(), partial]), Some(redact.clone()));
        assert_eq!(masks(&[Strategy::Null, redact]), Some(Strategy::Null));
    }

    #[test]
    fn a_column_releases_what_every_mask_of_it_releases() {
        let key = RelationKey::new("public", "staff");
        let release = |text: &str| serde_json::from_str::<GroupRelease>(text).unwrap();
        let avg = || Some(release(r#"{"aggregates": ["avg", "sum"], "min_rows": 5}"#));
        let sum = || Some(release(r#"{"aggregates": ["count", "sum"], "min_rows": 3}"#));
        let masks = |releases: Vec<Option<GroupRelease>>| {
            let mut masks = Masks::default();
            for release in releases {
                let mask = Mask { strategy: Strategy::Null, release };
                masks.add(key.clone(), "salary".into(), mask);
            }
            masks
        };
        let both = release(r#"{"aggregates": ["sum"], "min_rows": 5}"#);
        assert_eq!(masks(vec![avg(), sum()]).release(&key, "salary"), Some(&both));
        for nothing in [vec![None, avg()], vec![avg(), None], vec![avg(), None, avg()]] {
            assert_eq!(masks(nothing), masks(vec![None]));
        }
    }

    #[test]
    fn two_masks_of_one_kind_that_differ_leave_null() {
        assert_eq!(
            masks(&[Strategy::Partial { first: 0, last: 4 }, Strategy::Partial { first: 0, last: 2 }]),
            Some(Strategy::Null)
        );
    }
}
