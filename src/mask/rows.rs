//! Row filters: which rows of a relation an identity works with.
//!
//! A definition is the same for everybody, an SQL condition over the relation's columns and `$values`; the values are
//! an identity's own. In force a filter is by PostgreSQL's row-level security: a policy reads the values from a setting
//! that the gateway gives when it opens a session, and that no client can change. `force` says what is missing for
//! that on a catalog. A filter never stands in a subselect that the planner could take apart: the conditions of a
//! statement might be worked out first, on rows of others. Where there is no row-level security it stands behind a
//! fence, which makes the server read the whole table.

mod condition;
mod force;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::catalog::RelationKey;

pub(super) use force::by_relation;
pub use force::{Finding, Lack, findings, is_as_made, note_of_definition, reach};

use condition::{Condition, Source};

/// The definition of one filter, as a rulebook has it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowFilter {
    /// Its name: `tenant`.
    pub name: String,
    /// The relation, `schema.table`; its partitions and children are meant too.
    pub relation: RelationKey,
    /// Which rows: `tenant_id = ANY ($values::int[])`.
    pub using: String,
    /// What holds it.
    pub by: By,
    /// Whether identities may be free of it. Only then the policy has an arm for them, which can cost an index.
    pub lifted: bool,
}

/// What holds a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// Row-level security.
    Rls,
    /// A fenced subselect in the statement itself: slow, and for reading only.
    Fence,
}

/// What a filter lets an identity see.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum RowValues {
    /// Nothing: the rulebook says nothing about it.
    #[default]
    None,
    /// The rows of these values.
    These(BTreeSet<String>),
    /// Everything.
    All,
}

/// The filters of one database by their names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RowFilters(BTreeMap<String, Arc<RowFilter>>);

/// One filter with the values of an identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowGrant {
    /// The definition.
    pub filter: Arc<RowFilter>,
    /// The values.
    pub values: RowValues,
}

/// All filters of a database with the values of an identity, ordered by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RowGrants(Vec<RowGrant>);

/// The filters of one session.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rows {
    /// The user that the session has upstream; `None` where that is not the gateway's to say.
    pub(super) user: Option<String>,
    pub(super) bound: Vec<Bound>,
}

/// A filter in a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bound {
    pub(super) grant: RowGrant,
    /// Whether the server's session has these very values.
    pub(super) is_pinned: bool,
}

impl RowFilter {
    /// Holds a definition against what it may be.
    ///
    /// # Errors
    /// Says what is wrong, in a sentence without a full stop.
    pub fn check(&self) -> Result<(), String> {
        let mut letters = self.name.bytes();
        let begins = letters.next().is_some_and(|byte| byte.is_ascii_lowercase());
        let goes_on = letters.all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'));
        if !(begins && goes_on && self.name.len() <= MOST_NAME_BYTES) || self.name == OPEN {
            return Err(format!(
                "`{}` is no name for a row filter: use up to {MOST_NAME_BYTES} letters a-z, digits and `_`, and not `{OPEN}`",
                self.name
            ));
        }
        if !self.relation.as_str().contains('.') {
            return Err(format!("`{}` is not `schema.table`", self.relation));
        }
        Condition::of(&self.using).map(drop).map_err(|why| format!("`using` of `{}`: {why}", self.name))
    }

    /// The columns that its condition reads.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn columns(&self) -> Result<BTreeSet<String>, String> {
        Condition::of(&self.using).map(|condition| condition.columns().clone())
    }

    /// The name of its policy.
    #[must_use]
    pub fn policy(&self) -> String {
        format!("{POLICY_PREFIX}{}", self.name)
    }

    /// The condition of its policy: over the settings of the session.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn policy_condition(&self) -> Result<String, String> {
        let condition = Condition::of(&self.using)?;
        let setting = self.setting();
        let own = condition.render(&Source::Setting(&setting)).ok_or("the condition can't be printed")?;
        let guarded = match condition.needs_values() {
            true => own,
            false => format!("(SELECT {} IS NOT NULL) AND ({own})", condition::given(&setting)),
        };
        Ok(match self.lifted {
            false => guarded,
            true => format!(
                "(SELECT pg_catalog.current_setting('{}', true) OPERATOR(pg_catalog.=) 'on') OR ({guarded})",
                self.lift_setting()
            ),
        })
    }

    /// The condition of its fence: over constants.
    pub(super) fn fence_condition(&self, values: &RowValues) -> Option<String> {
        match values {
            RowValues::All => Some("true".to_owned()),
            RowValues::None => Some("false".to_owned()),
            RowValues::These(values) => {
                Condition::of(&self.using).ok()?.render(&Source::Constant(&literal(values)))
            }
        }
    }

    /// What tells this definition from every other that makes another policy: lower-case hexadecimal.
    #[must_use]
    pub fn digest(&self) -> String {
        let meaning = format!("portcullis row filter 1\n{}\n{}\n{}", self.name, self.lifted, self.using);
        hex(&Sha256::digest(meaning))
    }

    fn setting(&self) -> String {
        format!("portcullis.rows_{}", self.name)
    }

    fn lift_setting(&self) -> String {
        format!("portcullis.lift_{}", self.name)
    }
}

impl RowFilters {
    /// Takes a definition in.
    ///
    /// # Errors
    /// When it is not one, or its name is taken.
    pub fn add(&mut self, filter: RowFilter) -> Result<(), String> {
        filter.check()?;
        let name = filter.name.clone();
        match self.0.insert(name.clone(), Arc::new(filter)) {
            None => Ok(()),
            Some(_) => Err(format!("there are two row filters named `{name}`")),
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Every definition, ordered by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<RowFilter>> {
        self.0.values()
    }

    /// The definitions with the values that an identity has of them; what `values` does not name lets nothing pass.
    ///
    /// # Errors
    /// When `values` names another filter, or lifts one that can't be lifted.
    pub fn grants(&self, mut values: BTreeMap<String, RowValues>) -> Result<RowGrants, String> {
        let mut grants = Vec::with_capacity(self.0.len());
        for (name, filter) in &self.0 {
            let values = values.remove(name).unwrap_or_default();
            if values == RowValues::All && !filter.lifted {
                return Err(format!("the row filter `{name}` can't be lifted: its definition says so"));
            }
            grants.push(RowGrant { filter: Arc::clone(filter), values });
        }
        match values.keys().next() {
            Some(unknown) => Err(format!("there is no row filter `{unknown}` on this database")),
            None => Ok(RowGrants(grants)),
        }
    }
}

impl RowValues {
    /// What both let pass.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::None, _) | (_, Self::None) => Self::None,
            (Self::All, same) | (same, Self::All) => same,
            (Self::These(these), Self::These(those)) => {
                Self::These(these.intersection(&those).cloned().collect())
            }
        }
    }
}

impl RowGrants {
    /// Those of a database without filters.
    #[must_use]
    pub const fn none() -> Self {
        Self(Vec::new())
    }

    /// Whether there is no filter.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether any filter holds anything back.
    #[must_use]
    pub fn hide(&self) -> bool {
        self.0.iter().any(RowGrant::hides)
    }

    /// The settings by which a session of the server has the values. All that a policy reads is there, so that going
    /// back to what a session began with is going back to these.
    #[must_use]
    pub fn settings(&self) -> Vec<(String, String)> {
        self.0.iter().filter(|grant| grant.filter.by == By::Rls).flat_map(RowGrant::settings).collect()
    }

    fn of(&self, name: &str) -> Option<&RowGrant> {
        self.0.iter().find(|grant| grant.filter.name == name)
    }
}

impl RowGrant {
    /// The settings that its policy reads.
    pub(super) fn settings(&self) -> Vec<(String, String)> {
        let Self { filter, values } = self;
        let text = match values {
            RowValues::None => String::new(),
            RowValues::These(values) => literal(values),
            RowValues::All => literal(&BTreeSet::new()),
        };
        let lift = if *values == RowValues::All { "on" } else { "off" };
        let lifted = filter.lifted.then(|| (filter.lift_setting(), lift.to_owned()));
        [(filter.setting(), text)].into_iter().chain(lifted).collect()
    }

    pub(super) fn hides(&self) -> bool {
        self.values != RowValues::All
    }
}

impl fmt::Display for RowGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.values {
            RowValues::None => write!(f, "{}: nothing", self.filter.name),
            RowValues::These(values) => write!(f, "{}: {}", self.filter.name, literal(values)),
            RowValues::All => write!(f, "{}: everything", self.filter.name),
        }
    }
}

impl Rows {
    /// What the rulebook says `now`, in a session of `user` to which the server was given what is `pinned`.
    #[must_use]
    pub fn new(now: RowGrants, pinned: &RowGrants, user: Option<String>) -> Self {
        let bind = |grant: RowGrant| {
            let is_pinned = grant.filter.by == By::Fence
                || pinned.of(&grant.filter.name).is_some_and(|before| {
                    before.values == grant.values && before.filter.lifted == grant.filter.lifted
                });
            Bound { grant, is_pinned }
        };
        Self { user, bound: now.0.into_iter().map(bind).collect() }
    }

    /// Whether there is no filter.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bound.is_empty()
    }
}

/// An array of texts as PostgreSQL reads it.
fn literal(values: &BTreeSet<String>) -> String {
    let quoted =
        values.iter().map(|value| format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"")));
    format!("{{{}}}", quoted.collect::<Vec<_>>().join(","))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What the names of policies begin with.
pub const POLICY_PREFIX: &str = "portcullis_";
/// The end of the name of the policy that leaves a table open to everybody whom no filter is for.
pub const OPEN: &str = "open";
/// With what stands before it, a name has to fit PostgreSQL's 63 bytes.
const MOST_NAME_BYTES: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn filter(using: &str) -> RowFilter {
        RowFilter {
            name: "tenant".into(),
            relation: RelationKey::new("app", "orders"),
            using: using.into(),
            by: By::Rls,
            lifted: false,
        }
    }

    fn these(values: &[&str]) -> RowValues {
        RowValues::These(values.iter().map(|value| (*value).to_owned()).collect())
    }

    fn filters(lifted: bool) -> RowFilters {
        let mut filters = RowFilters::default();
        filters.add(RowFilter { lifted, ..filter("tenant = ANY ($values)") }).unwrap();
        filters
    }

    fn granted(lifted: bool, values: RowValues) -> Result<RowGrants, String> {
        filters(lifted).grants(BTreeMap::from([("tenant".to_owned(), values)]))
    }

    #[test]
    fn a_session_is_given_every_value_and_nothing_that_could_be_read_as_two() {
        let odd = these(&["a,b", "c\"}", "d\\", "'", ""]);
        assert_eq!(
            granted(false, odd).unwrap().settings(),
            [("portcullis.rows_tenant".to_owned(), r#"{"","'","a,b","c\"}","d\\"}"#.to_owned())]
        );
        let all = granted(true, RowValues::All).unwrap();
        assert_eq!(all.settings()[1], ("portcullis.lift_tenant".to_owned(), "on".to_owned()));
        assert!(!all.hide());
        let none = filters(true).grants(BTreeMap::new()).unwrap();
        assert_eq!(none.settings()[0].1, "");
        assert_eq!(none.settings()[1].1, "off");
        assert!(none.hide());
    }

    #[test]
    fn what_can_not_be_lifted_is_not_lifted_and_what_is_not_there_is_not_granted() {
        assert!(granted(false, RowValues::All).unwrap_err().contains("can't be lifted"));
        let other = BTreeMap::from([("region".to_owned(), these(&["x"]))]);
        assert!(filters(false).grants(other).unwrap_err().contains("`region`"));
    }

    #[test]
    fn several_values_leave_what_all_of_them_let_pass() {
        assert_eq!(these(&["a", "b"]).and(these(&["b", "c"])), these(&["b"]));
        assert_eq!(these(&["a"]).and(RowValues::All), these(&["a"]));
        assert_eq!(RowValues::None.and(RowValues::All), RowValues::None);
    }

    #[test]
    fn a_session_with_other_values_than_the_rulebook_has_now_is_known() {
        let before = granted(true, these(&["a"])).unwrap();
        let pinned = |now: &RowGrants| Rows::new(now.clone(), &before, None).bound[0].is_pinned;
        assert!(pinned(&before));
        assert!(!pinned(&granted(true, these(&["b"])).unwrap()));
        assert!(!pinned(&granted(true, RowValues::All).unwrap()));
        assert!(!Rows::new(before.clone(), &RowGrants::default(), None).bound[0].is_pinned);
    }

    #[test]
    fn names_of_filters_are_names_of_settings_and_policies() {
        for name in ["", "Tenant", "1st", "ten-ant", "open", "a.b", &"a".repeat(41)] {
            let odd = RowFilter { name: name.into(), ..filter("tenant = ANY ($values)") };
            assert!(odd.check().unwrap_err().contains("no name"), "{name}");
        }
    }

    #[test]
    fn a_policy_reads_its_values_once_a_statement() {
        assert_eq!(
            filter("tenant_id = any ($values::int[])").policy_condition().unwrap(),
            "tenant_id OPERATOR(pg_catalog.=) ANY((SELECT NULLIF(pg_catalog.current_setting(\
             'portcullis.rows_tenant', true), '')::pg_catalog.text[]::int[])::int[])"
        );
        let lifted = RowFilter { lifted: true, ..filter("tenant = ANY ($values)") };
        let lifted = lifted.policy_condition().unwrap();
        assert!(
            lifted.starts_with("(SELECT pg_catalog.current_setting('portcullis.lift_tenant', true)"),
            "{lifted}"
        );
        let open = filter("public OR tenant = ANY ($values)").policy_condition().unwrap();
        assert!(open.starts_with("(SELECT ") && open.contains("IS NOT NULL) AND (public OR "), "{open}");
    }

    #[test]
    fn a_fence_holds_values_as_constants() {
        let filter = filter("tenant_id = ANY ($values::int[])");
        assert_eq!(
            filter.fence_condition(&these(&["1", "2'"])).unwrap(),
            "tenant_id OPERATOR(pg_catalog.=) ANY('{\"1\",\"2''\"}'::pg_catalog.text[]::int[])"
        );
        assert_eq!(filter.fence_condition(&RowValues::None).unwrap(), "false");
    }
}
