//! What a session's row filters mean for the relations of a catalog, and which statements they refuse.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use pg_query::NodeEnum;
use pg_query::protobuf::DropBehavior;

use crate::catalog::{Relation, RelationKey, RelationKind, Snapshot};
use crate::sql::facts::{Access, TableFact};
use crate::sql::{Facts, Item};

use super::Refusal;
use super::expression::literal;
use super::governance::{Governed, definition};
use super::rows::{self, Bound, By, RowGrant, Rows};
use super::survey::Survey;

/// What filters mean for one relation.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Whether any row may be held back.
    pub(super) hides: bool,
    /// The condition of its fence, where one is needed.
    pub(super) fence: Option<String>,
    /// The filters that hold, each with its values: `tenant: {"a"}`.
    said: Vec<String>,
    /// Conditions under which policies are what they were, and the session's values those that they are to read.
    in_force: Vec<String>,
    /// Why nothing may touch it.
    refusal: Option<Refusal>,
}

impl Governed {
    /// The row filters of a relation with the session's values, ordered by name: `tenant: {"acme"}`.
    pub fn row_filters_of(&self, relation: &RelationKey) -> impl Iterator<Item = &str> {
        self.held.get(relation).into_iter().flat_map(|held| &held.said).map(String::as_str)
    }

    /// Why row filters refuse a statement, going by its facts. A rewrite refuses the same; this can say it by a rule of
    /// its own.
    #[must_use]
    pub fn row_refusal(&self, item: &Item, catalog: &Snapshot) -> Option<Refusal> {
        if self.held.is_empty() {
            return None;
        }
        let touched = item.facts.tables.iter().filter_map(|table| catalog.relation(&table.key));
        refusal(self, item, touched, catalog)
    }
}

/// What `rows` mean on `catalog`.
pub(super) fn all(rows: &Rows, catalog: &Snapshot) -> BTreeMap<RelationKey, Held> {
    let mut all: BTreeMap<RelationKey, Held> = BTreeMap::new();
    for bound in &rows.bound {
        for (key, finding) in rows::by_relation(&bound.grant.filter, catalog, rows.user.as_deref()) {
            let held = all.entry(key.clone()).or_default();
            held.take(bound, finding, &key);
            if let Some(relation) = catalog.relation(&key).filter(|_| bound.grant.filter.by == By::Rls) {
                held.in_force.extend(in_force(&bound.grant, relation));
            }
        }
    }
    all
}

impl Held {
    /// What has to be true for the filters to be in force; of a relation that is only held by its parent, nothing.
    pub(super) fn in_force(&self) -> &[String] {
        if self.hides && self.refusal.is_none() { &self.in_force } else { &[] }
    }

    fn take(&mut self, bound: &Bound, finding: Option<rows::Finding>, key: &RelationKey) {
        let Bound { grant, is_pinned } = bound;
        self.said.push(grant.to_string());
        let refusal = match finding {
            _ if !is_pinned => Some(not_pinned(grant, key)),
            Some(finding) if grant.hides() => Some(not_in_force(grant, &finding)),
            Some(_) | None => None,
        };
        self.refusal = self.refusal.take().or(refusal);
        if !grant.hides() {
            return;
        }
        self.hides = true;
        if grant.filter.by == By::Fence {
            // What can't be put into words lets nothing pass.
            let own = grant.filter.fence_condition(&grant.values).unwrap_or_else(|| "false".to_owned());
            self.fence = Some(match self.fence.take() {
                None => format!("({own})"),
                Some(others) => format!("{others} AND ({own})"),
            });
        }
    }
}

/// That PostgreSQL asks the policies of `relation` for this very user, that nobody has changed them, and that they read
/// the values that are meant.
fn in_force(grant: &RowGrant, relation: &Relation) -> Vec<String> {
    let oid = relation.oid;
    let stamp: i128 = relation.row_security.policies.iter().map(|policy| i128::from(policy.stamp)).sum();
    let mut conditions = vec![
        format!("pg_catalog.row_security_active({oid}::pg_catalog.oid)"),
        format!(
            "(SELECT pg_catalog.sum(p.xmin::pg_catalog.text::pg_catalog.int8) FROM pg_catalog.pg_policy AS p \
             WHERE p.polrelid OPERATOR(pg_catalog.=) {oid}::pg_catalog.oid) OPERATOR(pg_catalog.=) {stamp}::pg_catalog.numeric"
        ),
    ];
    let pinned = |(name, value): (String, String)| {
        let (name, value) = (literal(&name), literal(&value));
        format!("pg_catalog.current_setting({name}, true) OPERATOR(pg_catalog.=) {value}::pg_catalog.text")
    };
    conditions.extend(grant.settings().into_iter().map(pinned));
    conditions
}

/// Why `item`, which touches `touched`, may not run.
pub(super) fn refusal<'a>(
    governed: &Governed,
    item: &Item,
    touched: impl Iterator<Item = &'a Arc<Relation>>,
    catalog: &Snapshot,
) -> Option<Refusal> {
    if governed.held.is_empty() {
        return None;
    }
    let hides_anything = governed.held.values().any(|held| held.hides);
    if hides_anything && truncates_with_others(item) {
        return Some(past_filters("TRUNCATE ... CASCADE", "whatever refers to the table"));
    }
    let by_rules = |table: &&TableFact| table.has_rules && is_write(table.access);
    if let Some(table) = item.facts.tables.iter().find(by_rules).filter(|_| hides_anything) {
        return Some(Refusal {
            what: format!(
                "`{}` has rewrite rules, which run with its owner's rights, past your row filters",
                table.key
            ),
            hint: "write to a table without rules".to_owned(),
        });
    }
    for relation in touched {
        let key = relation.key();
        let Some(held) = governed.held.get(&key) else { continue };
        let lacking = held.refusal.clone().filter(|_| !is_held_above(governed, item, relation, catalog));
        let refusal = lacking.or_else(|| past(held, &key, &item.facts));
        if refusal.is_some() {
            return refusal;
        }
    }
    None
}

/// Whether a partition or child is only reached by a parent that a filter holds: the parent's policies are asked then,
/// and not its own. A partition that was made tonight must not close the whole table.
fn is_held_above(governed: &Governed, item: &Item, relation: &Relation, catalog: &Snapshot) -> bool {
    if relation.parents.is_empty() {
        return false;
    }
    let Some(named) = named(item, catalog) else { return false };
    if named.contains(&relation.key()) {
        return false;
    }
    let holds = |key: &RelationKey| governed.held.get(key).is_some_and(|held| held.refusal.is_none());
    let mut open = relation.parents.clone();
    let mut seen = HashSet::new();
    while let Some(key) = open.pop() {
        if named.contains(&key) && holds(&key) {
            return true;
        }
        if seen.insert(key.clone()) {
            open.extend(catalog.relation(&key).into_iter().flat_map(|parent| parent.parents.clone()));
        }
    }
    false
}

/// What a statement names, itself and in the views that it reads; `None` where that can't be told.
fn named(item: &Item, catalog: &Snapshot) -> Option<HashSet<RelationKey>> {
    let mut named = HashSet::new();
    let mut surveys = vec![(Survey::of(&item.tree.stmt).ok()?, None)];
    while let Some((survey, schema)) = surveys.pop() {
        for mention in &survey.relations {
            let found = catalog.resolve_relation(mention.schema().or(schema), &mention.name);
            let Some(relation) = found.filter(|relation| named.insert(relation.key())) else { continue };
            if matches!(relation.kind, RelationKind::View | RelationKind::MaterializedView)
                && !relation.is_system()
            {
                surveys.push((Survey::of(&definition(relation).ok()?).ok()?, Some("pg_catalog")));
            }
        }
    }
    Some(named)
}

/// What neither a policy nor a fence holds back.
fn past(held: &Held, key: &RelationKey, facts: &Facts) -> Option<Refusal> {
    if !held.hides {
        return None;
    }
    match facts.kind.as_str() {
        "truncate" => return Some(past_filters("TRUNCATE", key.as_str())),
        "explain" => {
            return Some(Refusal {
                what: format!("a plan over `{key}` counts rows that are not yours"),
                hint: "run the statement itself, or explain one that leaves the table out".to_owned(),
            });
        }
        _ => {}
    }
    let own = || facts.tables.iter().filter(|table| table.key == *key).map(|table| table.access);
    if own().any(|access| access == Access::Define) {
        return Some(Refusal {
            what: format!("some rows of `{key}` are not yours, so its definition is not yours to change"),
            hint: "somebody who sees all rows can change it".to_owned(),
        });
    }
    let writes = own().any(is_write);
    (held.fence.is_some() && writes).then(|| Refusal {
        what: format!("a row filter of `{key}` is held by a fence, which holds for reading only"),
        hint: "the operator can have it held by row-level security (`by` in its definition)".to_owned(),
    })
}

fn is_write(access: Access) -> bool {
    matches!(access, Access::Insert | Access::Update | Access::Delete)
}

fn truncates_with_others(item: &Item) -> bool {
    let Some(NodeEnum::TruncateStmt(truncate)) = item.tree.stmt.as_ref().and_then(|node| node.node.as_ref())
    else {
        return false;
    };
    truncate.behavior() == DropBehavior::DropCascade
}

fn past_filters(how: &str, what: &str) -> Refusal {
    Refusal {
        what: format!("{how} removes all rows of `{what}`, and some are not yours"),
        hint: "use DELETE, which removes your own".to_owned(),
    }
}

fn not_pinned(grant: &RowGrant, key: &RelationKey) -> Refusal {
    Refusal {
        what: format!(
            "which rows of `{key}` are yours, by the row filter `{}`, has changed since you connected",
            grant.filter.name
        ),
        hint: "connect again".to_owned(),
    }
}

fn not_in_force(grant: &RowGrant, finding: &rows::Finding) -> Refusal {
    Refusal {
        what: format!("the row filter `{}` is not in force: {}", grant.filter.name, finding.what),
        hint: NOT_IN_FORCE.to_owned(),
    }
}

/// What is said to do about a filter that is not in force: a newer catalog may know it to be.
pub const NOT_IN_FORCE: &str =
    "the operator puts it in force by `portcullis rls apply`; `portcullis rls verify` says what is missing";
