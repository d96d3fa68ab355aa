//! What a session's row filters mean for the relations of a catalog, and which statements they refuse.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use pg_query::NodeEnum;
use pg_query::protobuf::DropBehavior;

use crate::catalog::{Relation, RelationKey, RelationKind, Snapshot};
use crate::sql::facts::Access;
use crate::sql::{Facts, Item};

use super::Refusal;
use super::governance::{Governed, definition};
use super::rows::{self, Bound, By, RowGrant, Rows};
use super::survey::Survey;

/// What filters mean for one relation.
#[derive(Debug, Default)]
pub(super) struct Guard {
    /// Whether any row may be held back.
    pub(super) hides: bool,
    /// The condition of its fence, where one is needed.
    pub(super) fence: Option<String>,
    /// The filters that hold, each with its values: `tenant: {"a"}`.
    said: Vec<String>,
    /// Why nothing may touch it.
    refusal: Option<Refusal>,
}

impl Governed {
    /// The row filters of a relation with the session's values, ordered by name: `tenant: {"acme"}`.
    pub fn row_filters_of(&self, relation: &RelationKey) -> impl Iterator<Item = &str> {
        self.guards.get(relation).into_iter().flat_map(|guard| &guard.said).map(String::as_str)
    }

    /// Why row filters refuse a statement, going by its facts. A rewrite refuses the same; this can say it by a rule of
    /// its own.
    #[must_use]
    pub fn row_refusal(&self, item: &Item, catalog: &Snapshot) -> Option<Refusal> {
        if self.guards.is_empty() {
            return None;
        }
        let touched = item.facts.tables.iter().filter_map(|table| catalog.relation(&table.key));
        refusal(self, item, touched, catalog)
    }
}

/// What `rows` mean on `catalog`.
pub(super) fn all(rows: &Rows, catalog: &Snapshot) -> BTreeMap<RelationKey, Guard> {
    let mut guards: BTreeMap<RelationKey, Guard> = BTreeMap::new();
    for bound in &rows.bound {
        for (key, finding) in rows::by_relation(&bound.grant.filter, catalog, rows.user.as_deref()) {
            let guard = guards.entry(key.clone()).or_default();
            guard.take(bound, finding, &key);
        }
    }
    guards
}

impl Guard {
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

/// Why `item`, which touches `touched`, may not run.
pub(super) fn refusal<'a>(
    governed: &Governed,
    item: &Item,
    touched: impl Iterator<Item = &'a Arc<Relation>>,
    catalog: &Snapshot,
) -> Option<Refusal> {
    if governed.guards.is_empty() {
        return None;
    }
    let hides_anything = governed.guards.values().any(|guard| guard.hides);
    if hides_anything && truncates_with_others(item) {
        return Some(past_filters("TRUNCATE ... CASCADE", "whatever refers to the table"));
    }
    for relation in touched {
        let key = relation.key();
        let Some(guard) = governed.guards.get(&key) else { continue };
        let lacking = guard.refusal.clone().filter(|_| !is_held_above(governed, item, relation, catalog));
        let refusal = lacking.or_else(|| past_guard(guard, &key, &item.facts));
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
    let holds = |key: &RelationKey| governed.guards.get(key).is_some_and(|guard| guard.refusal.is_none());
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
fn past_guard(guard: &Guard, key: &RelationKey, facts: &Facts) -> Option<Refusal> {
    if !guard.hides {
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
    let writes = own().any(|access| matches!(access, Access::Insert | Access::Update | Access::Delete));
    (guard.fence.is_some() && writes).then(|| Refusal {
        what: format!("a row filter of `{key}` is held by a fence, which holds for reading only"),
        hint: "the operator can have it held by row-level security (`by` in its definition)".to_owned(),
    })
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
        hint: "the operator puts it in force by `portcullis rls apply`; `portcullis rls verify` says what is missing"
            .to_owned(),
    }
}
