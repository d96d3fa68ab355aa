//! What stands in a column's place, and for which columns.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalog::RelationKey;

/// What a client sees instead of a column's value. Ordered from weakest to strictest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Strategy {
    /// The last `keep` characters of a text value, the rest replaced by `*`. Releases those characters, and
    /// needs the right to read the column upstream.
    Partial {
        /// How many trailing characters stay visible.
        keep: u8,
    },
    /// A fixed value: `value` for text types, the type's zero for others, NULL where a type has none.
    Redact {
        /// The text shown for text types.
        value: String,
    },
    /// NULL.
    Null,
}

/// The masks of one identity on one database: relation -> column -> strategy.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Masks(BTreeMap<RelationKey, BTreeMap<String, Strategy>>);

impl Masks {
    /// Adds a mask. Two masks on one column leave the stricter; two of one kind that differ leave NULL.
    pub fn add(&mut self, relation: RelationKey, column: String, strategy: Strategy) {
        let columns = self.0.entry(relation).or_default();
        let strategy = match columns.remove(&column) {
            None => strategy,
            Some(present) => stricter(present, strategy),
        };
        columns.insert(column, strategy);
    }

    /// Whether nothing is masked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The masked columns of `relation`.
    #[must_use]
    pub fn of(&self, relation: &RelationKey) -> Option<&BTreeMap<String, Strategy>> {
        self.0.get(relation)
    }

    /// Every masked relation with its columns.
    pub fn iter(&self) -> impl Iterator<Item = (&RelationKey, &BTreeMap<String, Strategy>)> {
        self.0.iter()
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
        masks.of(&key).and_then(|columns| columns.get("ssn")).cloned()
    }

    #[test]
    fn the_stricter_of_two_masks_wins_in_either_order() {
        let redact = Strategy::Redact { value: "***".into() };
        let partial = Strategy::Partial { keep: 4 };
        assert_eq!(masks(&[partial.clone(), redact.clone()]), Some(redact.clone()));
        assert_eq!(masks(&[redact.clone(), partial]), Some(redact.clone()));
        assert_eq!(masks(&[Strategy::Null, redact]), Some(Strategy::Null));
    }

    #[test]
    fn two_masks_of_one_kind_that_differ_leave_null() {
        assert_eq!(
            masks(&[Strategy::Partial { keep: 4 }, Strategy::Partial { keep: 2 }]),
            Some(Strategy::Null)
        );
    }
}
