//! The check, under the locks of the statement itself, that definitions are those it was judged by.
//!
//! Between judging and running, a table can take another's name, and a view or a function get another text. So where
//! anything is masked, a statement is preceded by a [`Guard`], in its transaction: a query that locks the relations
//! which the statement names, as reading them would, and fails unless each name still means the same relation, with
//! the same columns and definition. What it has locked stays as it is until the transaction ends.
//!
//! Functions can't be locked: of those the guard sees that they are the same right before the statement runs. Under
//! REPEATABLE READ it sees names as they are now, but columns and definitions as the transaction does.

use std::sync::Arc;

use crate::catalog::{Relation, RelationKind, Snapshot};
use crate::sql::Facts;
use crate::sql::facts::{Access, TableFact};

use super::expression::{identifier, literal};
use super::governance::Governance;

/// A query that returns no row, and fails if a definition is another than the one that a statement was judged by.
/// Only this room makes one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Guard(Arc<str>);

impl Guard {
    /// The query. It has no parameters.
    #[must_use]
    pub fn sql(&self) -> &str {
        &self.0
    }
}

/// The guard of a statement that does what `facts` say; `None` where it reads no relation of the database's own, and
/// changes no rows of which some are held back.
pub(super) fn of(facts: &Facts, governance: &Governance<'_>) -> Option<Guard> {
    let catalog = governance.catalog();
    let mut conditions = Vec::new();
    for table in facts.tables.iter().filter(|table| reads(table) && !table.system) {
        let Some(relation) = catalog.relation(&table.key) else { continue };
        let is_view = matches!(relation.kind, RelationKind::View | RelationKind::MaterializedView);
        let is_sent = is_sent(table, relation, governance);
        if is_sent {
            conditions.push(lock(relation));
            conditions.extend(names(relation, catalog));
        }
        if is_sent || is_view {
            conditions.push(stamp(relation, is_view));
        }
    }
    let written = facts.tables.iter().filter(|table| !table.system);
    conditions.extend(written.flat_map(|table| governance.in_force(&table.key)).cloned());
    if conditions.is_empty() {
        return None;
    }
    let functions = facts.functions.iter().filter(|function| !function.builtin);
    let bare = |key: &str| key.split_once('.').map_or(key, |(_, name)| name).to_owned();
    conditions.extend(functions.filter_map(|function| overloads(&bare(&function.key), catalog)));
    conditions.sort();
    conditions.dedup();
    let held = conditions.join(" AND ");
    let text = format!(
        "SELECT 1 WHERE 1 OPERATOR(pg_catalog./) (({held}) IS TRUE)::pg_catalog.int4 OPERATOR(pg_catalog.=) 0"
    );
    Some(Guard(text.into()))
}

/// Whether values of it are used.
fn reads(table: &TableFact) -> bool {
    match table.access {
        Access::Read => true,
        Access::Insert | Access::Update | Access::Delete => !table.columns_read.is_empty(),
        Access::Define | Access::Maintain => false,
    }
}

/// Whether the statement as it is sent names the relation: a view of masked columns is replaced by what it reads.
fn is_sent(table: &TableFact, relation: &Relation, governance: &Governance<'_>) -> bool {
    let is_replaced =
        |relation: &Relation| relation.kind == RelationKind::View && governance.is_governed(relation);
    let is_below_replaced = || {
        let via = governance.catalog().relation_called(&table.via_view);
        via.is_some_and(|via| is_replaced(via))
    };
    !is_replaced(relation) && (table.via_view.is_empty() || is_below_replaced())
}

/// Locks the relation as reading it does, and needs no more rights than that.
fn lock(relation: &Relation) -> String {
    let only = if relation.kind == RelationKind::View { "" } else { "ONLY " };
    let name = qualified(relation);
    format!("(SELECT true FROM {only}{name} WHERE false) IS NULL")
}

/// The names that find the relation still do. The statement may use either.
fn names(relation: &Relation, catalog: &Snapshot) -> Vec<String> {
    let found = catalog.resolve_relation(None, &relation.name);
    let bare = found.filter(|found| found.oid == relation.oid).map(|_| identifier(&relation.name));
    let all = bare.into_iter().chain([qualified(relation)]);
    let same = |name: String| {
        let (name, oid) = (literal(&name), relation.oid);
        format!("pg_catalog.to_regclass({name})::pg_catalog.oid OPERATOR(pg_catalog.=) {oid}::pg_catalog.oid")
    };
    all.map(same).collect()
}

/// Its columns are as they were, and so is a view's definition.
fn stamp(relation: &Relation, is_view: bool) -> String {
    let Relation { oid, stamp, .. } = relation;
    let columns = format!(
        "COALESCE((SELECT pg_catalog.sum(a.xmin::pg_catalog.text::pg_catalog.int8) \
         FROM pg_catalog.pg_attribute AS a \
         WHERE a.attrelid OPERATOR(pg_catalog.=) {oid}::pg_catalog.oid AND a.attnum OPERATOR(pg_catalog.>) 0::pg_catalog.int2), 0)"
    );
    let definition = format!(
        " OPERATOR(pg_catalog.+) (SELECT r.xmin::pg_catalog.text::pg_catalog.int8 FROM pg_catalog.pg_rewrite AS r \
         WHERE r.ev_class OPERATOR(pg_catalog.=) {oid}::pg_catalog.oid \
         AND r.rulename OPERATOR(pg_catalog.=) '_RETURN'::pg_catalog.name)"
    );
    let definition = if is_view { definition.as_str() } else { "" };
    format!("{columns}{definition} OPERATOR(pg_catalog.=) {stamp}::pg_catalog.numeric")
}

/// All functions of this name but PostgreSQL's own are the same, and none has come: one could fit better.
fn overloads(name: &str, catalog: &Snapshot) -> Option<String> {
    let own = catalog.functions_named(name).filter(|function| function.schema != "pg_catalog");
    let stamp = own.map(|function| i128::from(function.stamp)).reduce(|all, next| all + next)?;
    let name = literal(name);
    Some(format!(
        "(SELECT pg_catalog.sum(p.xmin::pg_catalog.text::pg_catalog.int8) FROM pg_catalog.pg_proc AS p \
         WHERE p.proname OPERATOR(pg_catalog.=) {name}::pg_catalog.name \
         AND p.pronamespace OPERATOR(pg_catalog.<>) 'pg_catalog'::pg_catalog.regnamespace) \
         OPERATOR(pg_catalog.=) {stamp}::pg_catalog.numeric"
    ))
}

fn qualified(relation: &Relation) -> String {
    format!("{}.{}", identifier(&relation.schema), identifier(&relation.name))
}
