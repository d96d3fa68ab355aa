//! Row filters as a rulebook declares them: definitions by `portcullis.row_filter`, an identity's values by
//! `portcullis.session`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;
use serde_json::Value;

use super::answer::{Answer, PolicyError};
use super::input::RowFilterInput;
use super::{Reason, Snapshot};
use crate::mask::rows::RowFilter;
use crate::mask::{RowFilters, RowGrants, RowValues};

/// Definitions that were asked for, by database: nothing else decides on them, so that they last as long as the rules.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<HashMap<String, Definitions>>);

/// The definitions of one database, or why there are none.
type Definitions = Result<Arc<RowFilters>, PolicyError>;

impl Snapshot {
    /// The row filters of a database, by its name in the configuration.
    ///
    /// # Errors
    /// When one is malformed: then nothing runs on that database.
    pub fn row_filters(&self, database: &str) -> Result<Arc<RowFilters>, Reason> {
        self.definitions(database).map_err(|error| error.reason())
    }

    pub(super) fn definitions(&self, database: &str) -> Definitions {
        let known = || self.row_filters.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(definitions) = known().get(database) {
            return definitions.clone();
        }
        let answer = self.ask(POINT, &RowFilterInput { database })?;
        let definitions = filters(&self.read(POINT, &answer)).map(Arc::new);
        let mut known = known();
        if known.len() >= MOST_DATABASES {
            known.clear();
        }
        known.insert(database.to_owned(), definitions.clone());
        definitions
    }

    /// What an answer of `portcullis.session` gives of `database`'s filters.
    pub(super) fn grants(&self, answer: &Value, database: &str) -> Result<RowGrants, PolicyError> {
        let definitions = self.definitions(database)?;
        let answer = self.read("session", answer);
        let mut values: BTreeMap<String, RowValues> = BTreeMap::new();
        for entry in answer.set::<Vec<_>, Entry>(VALUES)? {
            let (filter, given) = entry.read().map_err(|why| answer.malformed(VALUES, why))?;
            let both = match values.remove(&filter) {
                None => given,
                Some(before) => before.and(given),
            };
            values.insert(filter, both);
        }
        definitions.grants(values).map_err(|why| answer.malformed(VALUES, why))
    }
}

fn filters(answer: &Answer<'_>) -> Result<RowFilters, PolicyError> {
    let mut filters = RowFilters::default();
    for filter in answer.set::<Vec<_>, RowFilter>(DEFINE)? {
        filters.add(filter).map_err(|why| answer.malformed(DEFINE, why))?;
    }
    Ok(filters)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    filter: String,
    values: Option<BTreeSet<String>>,
    all: Option<bool>,
}

impl Entry {
    fn read(self) -> Result<(String, RowValues), String> {
        match (self.values, self.all) {
            (Some(values), None) if values.iter().any(|value| value.contains('\0')) => {
                Err(format!("a value of `{}` holds a NUL", self.filter))
            }
            (Some(values), None) => Ok((self.filter, RowValues::These(values))),
            (None, Some(true)) => Ok((self.filter, RowValues::All)),
            _ => Err(format!("an entry for `{}` has either `values`, or `all` which is true", self.filter)),
        }
    }
}

/// The name of the decision point.
pub(super) const POINT: &str = "row_filter";
/// What it declares.
pub(super) const DEFINE: &str = "define";
/// What `portcullis.session` declares.
pub(super) const VALUES: &str = "row_values";
/// A configuration has a handful.
const MOST_DATABASES: usize = 1024;
