//! What keeps a filter from being in force on a catalog.
//!
//! A policy's expression is printed by PostgreSQL in words of its own, so nobody can say from the definition how it
//! will look. Whoever creates a policy notes in its comment of which definition it is and how it looked; a policy that
//! looks otherwise, or is of another definition, was changed.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use sha2::{Digest as _, Sha256};

use crate::catalog::{Relation, RelationKey, RelationKind, RowPolicy, Snapshot};

use super::{By, RowFilter, hex};

/// Something that keeps a filter from being in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The filter.
    pub filter: String,
    /// The relation that has it.
    pub relation: RelationKey,
    /// What sort of thing.
    pub lack: Lack,
    /// In a sentence, without a full stop.
    pub what: String,
}

/// The sorts of findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lack {
    /// There is no such relation.
    Relation,
    /// It can't have row-level security: a view, a foreign table.
    Kind,
    /// It lacks a column that the condition reads.
    Column,
    /// PostgreSQL doesn't take the condition.
    Condition,
    /// Row-level security is off.
    Off,
    /// There is no policy of the filter.
    Policy,
    /// Its policy is not as it was made, or made of another definition.
    Altered,
    /// Its policy is not for the session's user.
    User,
    /// No policy lets the session's user see any row.
    Permissive,
    /// The session's user is not held back by policies.
    Unbound,
    /// The session's user is the owner, or can become it.
    Owner,
    /// A parent shows its rows, and has no such filter.
    Parent,
}

impl Lack {
    /// Its name: `row_security_off`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Relation => "no_relation",
            Self::Kind => "not_a_table",
            Self::Column => "no_column",
            Self::Condition => "condition_refused",
            Self::Off => "row_security_off",
            Self::Policy => "no_policy",
            Self::Altered => "policy_altered",
            Self::User => "policy_for_others",
            Self::Permissive => "no_permissive_policy",
            Self::Unbound => "user_unbound",
            Self::Owner => "user_owns",
            Self::Parent => "parent_shows_rows",
        }
    }
}

/// The relations whose rows `filter` is for: its own, and all partitions and children, which can be read by themselves.
#[must_use]
pub fn reach(filter: &RowFilter, catalog: &Snapshot) -> Vec<RelationKey> {
    let mut all = Vec::new();
    let mut seen = HashSet::new();
    let mut open = vec![filter.relation.clone()];
    while let Some(key) = open.pop().filter(|_| all.len() < MOST_RELATIONS) {
        if seen.insert(key.clone()) {
            open.extend(catalog.children(&key).map(|child| child.key()));
            all.push(key);
        }
    }
    all
}

/// Everything that keeps `filter` from being in force for sessions of `user`; for nobody's where that is not known.
#[must_use]
pub fn findings(filter: &RowFilter, catalog: &Snapshot, user: Option<&str>) -> Vec<Finding> {
    let finding = |relation: &RelationKey, lack, what| Finding {
        filter: filter.name.clone(),
        relation: relation.clone(),
        lack,
        what,
    };
    let mut all = Vec::new();
    let reached = reach(filter, catalog);
    for key in &reached {
        match catalog.relation(key) {
            None => all.push(finding(key, Lack::Relation, format!("there is no relation `{key}`"))),
            Some(relation) => {
                let lacks = structure(filter, relation).into_iter().chain(match filter.by {
                    By::Fence => None,
                    By::Rls => security(filter, relation, catalog, user),
                });
                all.extend(lacks.map(|(lack, what)| finding(key, lack, what)));
                let outside = relation.parents.iter().filter(|parent| !reached.contains(parent));
                all.extend(outside.map(|parent| {
                    let what = format!("`{parent}` shows rows of `{key}`, and has no such filter");
                    finding(parent, Lack::Parent, what)
                }));
            }
        }
    }
    all
}

/// What no policy could make good.
fn structure(filter: &RowFilter, relation: &Relation) -> Option<(Lack, String)> {
    let key = relation.key();
    let is_table = match relation.kind {
        RelationKind::Table | RelationKind::PartitionedTable => true,
        RelationKind::ForeignTable => filter.by == By::Fence,
        RelationKind::View
        | RelationKind::MaterializedView
        | RelationKind::Sequence
        | RelationKind::Other => false,
    };
    if !is_table {
        return Some((Lack::Kind, format!("`{key}` is no table that row-level security could hold")));
    }
    let columns = match filter.columns() {
        Ok(columns) => columns,
        Err(why) => return Some((Lack::Condition, why)),
    };
    let missing = columns.iter().find(|column| relation.column(column).is_none())?;
    Some((Lack::Column, format!("`{key}` has no column `{missing}`")))
}

/// What its policies lack, the most important first.
fn security(
    filter: &RowFilter,
    relation: &Relation,
    catalog: &Snapshot,
    user: Option<&str>,
) -> Option<(Lack, String)> {
    let key = relation.key();
    let security = &relation.row_security;
    if !security.enabled {
        return Some((Lack::Off, format!("row-level security of `{key}` is off")));
    }
    let name = filter.policy();
    let Some(policy) = security.policies.iter().find(|policy| policy.name == name) else {
        return Some((Lack::Policy, format!("`{key}` has no policy `{name}`")));
    };
    if !is_as_made(filter, policy) {
        let what = format!("the policy `{name}` of `{key}` is not the one that its definition makes");
        return Some((Lack::Altered, what));
    }
    let Some((user, role)) = user.and_then(|user| Some((user, catalog.role(user)?))) else {
        return Some((
            Lack::User,
            format!("whom the policy `{name}` of `{key}` would hold back is not known"),
        ));
    };
    if role.unbound {
        return Some((
            Lack::Unbound,
            format!("the user `{user}` is, or can become, one that no policy holds back"),
        ));
    }
    if role.member_of.contains(&security.owner) {
        return Some((Lack::Owner, format!("the user `{user}` owns `{key}`, or can become its owner")));
    }
    if !is_for(policy, user) {
        return Some((Lack::User, format!("the policy `{name}` of `{key}` is not for the user `{user}`")));
    }
    let lets_pass = |policy: &RowPolicy| policy.permissive && matches!(policy.command, '*' | 'r');
    let visible = security.policies.iter().any(|policy| {
        lets_pass(policy)
            && (is_for(policy, user) || policy.roles.iter().any(|to| role.member_of.contains(to)))
    });
    (!visible).then(|| (Lack::Permissive, format!("no policy of `{key}` lets the user `{user}` see any row")))
}

/// Whether `policy` is the one that was made of `filter`, for whomever.
#[must_use]
pub fn is_as_made(filter: &RowFilter, policy: &RowPolicy) -> bool {
    !policy.permissive
        && policy.command == '*'
        && !policy.using.is_empty()
        && policy.comment == note(filter, &policy.using, &policy.check)
}

/// What a role can become is not what it is: a policy must name the user.
fn is_for(policy: &RowPolicy, user: &str) -> bool {
    policy.roles.iter().any(|role| role == user || role == PUBLIC)
}

/// The comment on a policy of `filter` whose expressions print as `using` and `check`.
#[must_use]
fn note(filter: &RowFilter, using: &str, check: &str) -> String {
    format!("{}{}", note_of_definition(filter), hex(&Sha256::digest(format!("{using}\n{check}"))))
}

/// The part of that comment which does not depend on how the expressions print.
#[must_use]
pub fn note_of_definition(filter: &RowFilter) -> String {
    format!("portcullis row filter {} ", filter.digest())
}

/// Every relation that rows of `filter` show in, with what is said to a session that names it, or nothing where the
/// filter is in force there.
pub(in crate::mask) fn by_relation(
    filter: &RowFilter,
    catalog: &Snapshot,
    user: Option<&str>,
) -> BTreeMap<RelationKey, Option<Finding>> {
    let mut all: BTreeMap<RelationKey, Option<Finding>> =
        reach(filter, catalog).into_iter().map(|key| (key, None)).collect();
    let mut open: BTreeSet<RelationKey> = BTreeSet::new();
    for finding in findings(filter, catalog, user) {
        if finding.lack == Lack::Parent {
            open.insert(finding.relation.clone());
        }
        all.insert(finding.relation.clone(), Some(finding));
    }
    // Whatever stands above such a parent shows those rows too.
    while let Some(key) = open.pop_first() {
        let finding = all.get(&key).cloned().flatten();
        for parent in catalog.relation(&key).into_iter().flat_map(|relation| relation.parents.clone()) {
            if !all.contains_key(&parent) {
                all.insert(parent.clone(), finding.clone());
                open.insert(parent);
            }
        }
    }
    all
}

const PUBLIC: &str = "public";
/// More children than any table has.
const MOST_RELATIONS: usize = 100_000;
