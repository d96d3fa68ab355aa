//! RETURNING of a write to a governed table: masks in place of its columns, under their names.

use std::sync::Arc;

use pg_query::protobuf::{AStar, ColumnRef, ResTarget, ReturningClause, String as Name};
use pg_query::{Node, NodeEnum};

use crate::catalog::{KeySettings, Relation};

use super::expression::{self, identifier};
use super::governance::Columns;
use super::reads::{Rewriter, unknown};
use super::{Refusal, Strategy, columns, walk, wrapper, writes};

/// A governed table that is written.
#[derive(Debug)]
pub(super) struct Target {
    /// The table.
    pub(super) relation: Arc<Relation>,
    /// Its masks.
    pub(super) masks: Columns,
    /// Its alias, or its name.
    pub(super) name: String,
    /// Where masks find their key.
    pub(super) keys: KeySettings,
}

/// What stands beside the target, for `RETURNING *`.
#[derive(Debug)]
pub(super) enum Sources {
    /// Nothing.
    None,
    /// FROM items by name, in order.
    Named(Vec<String>),
    /// Something whose columns can't be put in order here.
    Unordered,
}

impl Sources {
    /// Those of a FROM or USING clause, after its rewrite.
    pub(super) fn of(items: &[Node]) -> Self {
        let alias =
            |alias: &Option<pg_query::protobuf::Alias>| alias.as_ref().map(|alias| alias.aliasname.clone());
        let name = |item: &Node| match &item.node {
            Some(NodeEnum::RangeVar(range)) => alias(&range.alias).or(Some(range.relname.clone())),
            Some(NodeEnum::RangeSubselect(item)) => alias(&item.alias),
            Some(NodeEnum::RangeFunction(item)) => alias(&item.alias),
            _ => None,
        };
        match items.iter().map(name).collect::<Option<Vec<_>>>() {
            Some(names) if names.is_empty() => Self::None,
            Some(names) => Self::Named(names),
            None => Self::Unordered,
        }
    }
}

impl Target {
    /// Refuses an assignment to a masked column: under a constraint its error would be an oracle.
    pub(super) fn no_assignment(&self, targets: &[Node]) -> Result<(), Refusal> {
        for node in targets {
            let Some(NodeEnum::ResTarget(target)) = &node.node else { continue };
            if self.masks.contains_key(&target.name) {
                return Err(self.assigned(&target.name));
            }
        }
        Ok(())
    }

    /// The refusal of such an assignment.
    pub(super) fn assigned(&self, column: &str) -> Refusal {
        Refusal {
            what: format!(
                "column `{column}` of `{}` is masked for you and can't be assigned",
                self.relation.key()
            ),
            hint: "list the columns to write, without it".to_owned(),
        }
    }

    /// The refusal of a masked column that decides what is written.
    pub(super) fn decides(&self, column: &str) -> Refusal {
        writes::decides(column, self.relation.key().as_str())
    }

    fn whole_row(&self) -> Refusal {
        Refusal {
            what: format!(
                "whole rows of `{}` hold masked columns and can't be returned by a write",
                self.relation.key()
            ),
            hint: "name the columns in RETURNING".to_owned(),
        }
    }
}

impl Rewriter<'_> {
    /// Rewrites a RETURNING clause.
    pub(super) fn returning(
        &mut self,
        clause: &mut Option<ReturningClause>,
        target: Option<&Target>,
        sources: &Sources,
    ) -> Result<(), Refusal> {
        let Some(clause) = clause else { return Ok(()) };
        let Some(target) = target else { return self.targets(&mut clause.exprs) };
        if !clause.options.is_empty() {
            return Err(target.whole_row());
        }
        let mut expanded = Vec::new();
        for node in std::mem::take(&mut clause.exprs) {
            match star_of(&node, target) {
                Some(Star::Target) => expanded.extend(columns(target)),
                Some(Star::Everything) => {
                    expanded.extend(columns(target));
                    match sources {
                        Sources::None => {}
                        Sources::Named(names) => expanded.extend(names.iter().map(|name| all_of(name))),
                        Sources::Unordered => return Err(target.whole_row()),
                    }
                }
                None => expanded.push(node),
            }
        }
        self.targets(&mut expanded)?;
        for node in &mut expanded {
            keep_name(node);
            substitute(node, target)?;
        }
        clause.exprs = expanded;
        Ok(())
    }
}

enum Star {
    Target,
    Everything,
}

fn star_of(node: &Node, target: &Target) -> Option<Star> {
    let Some(NodeEnum::ResTarget(item)) = &node.node else { return None };
    let Some(NodeEnum::ColumnRef(column)) = item.val.as_ref().and_then(|value| value.node.as_ref()) else {
        return None;
    };
    let names = walk::names(&column.fields);
    match names.as_slice() {
        _ if names.len() == column.fields.len() => None,
        [] => Some(Star::Everything),
        [.., table] if table == &target.name => Some(Star::Target),
        _ => None,
    }
}

fn columns(target: &Target) -> impl Iterator<Item = Node> {
    target.relation.columns.iter().map(|column| item(vec![text(&target.name), text(&column.name)]))
}

fn all_of(source: &str) -> Node {
    item(vec![text(source), Node { node: Some(NodeEnum::AStar(AStar {})) }])
}

fn item(fields: Vec<Node>) -> Node {
    let column = Node { node: Some(NodeEnum::ColumnRef(ColumnRef { fields, location: 0 })) };
    let target = ResTarget { val: Some(Box::new(column)), ..ResTarget::default() };
    Node { node: Some(NodeEnum::ResTarget(Box::new(target))) }
}

fn text(name: &str) -> Node {
    Node { node: Some(NodeEnum::String(Name { sval: name.to_owned() })) }
}

/// An item keeps the name that PostgreSQL would have taken from the column which a mask replaces.
fn keep_name(node: &mut Node) {
    let Some(NodeEnum::ResTarget(item)) = &mut node.node else { return };
    if item.name.is_empty()
        && let Some(name) = item.val.as_deref().and_then(given_name)
    {
        item.name = name;
    }
}

/// The column that gives an expression its name (`FigureColname` in PostgreSQL's parser).
fn given_name(node: &Node) -> Option<String> {
    match node.node.as_ref() {
        Some(NodeEnum::ColumnRef(column)) => {
            let mut names = walk::names(&column.fields);
            names.pop().filter(|_| names.len().saturating_add(1) == column.fields.len())
        }
        Some(NodeEnum::TypeCast(cast)) => given_name(cast.arg.as_deref()?),
        Some(NodeEnum::CollateClause(collate)) => given_name(collate.arg.as_deref()?),
        Some(NodeEnum::CaseExpr(case)) => given_name(case.defresult.as_deref()?),
        Some(NodeEnum::AIndirection(indirection)) => {
            let field = walk::names(&indirection.indirection).pop();
            field.or_else(|| given_name(indirection.arg.as_deref()?))
        }
        _ => None,
    }
}

/// Puts masks in place of the target's columns, outside subqueries: there a masked name was refused before.
fn substitute(node: &mut Node, target: &Target) -> Result<(), Refusal> {
    let Some(inner) = &mut node.node else { return Ok(()) };
    if let NodeEnum::ColumnRef(column) = inner {
        if let Some(mask) = mask_of(column, target)? {
            *node = mask;
        }
        return Ok(());
    }
    if let NodeEnum::SubLink(link) = inner {
        return walk::one(&mut link.testexpr).try_for_each(|test| substitute(test, target));
    }
    let Some(children) = walk::children(inner) else { return Err(unknown("construct")) };
    children.into_iter().try_for_each(|child| substitute(child, target))
}

fn mask_of(reference: &ColumnRef, target: &Target) -> Result<Option<Node>, Refusal> {
    let names = walk::names(&reference.fields);
    let is_star = names.len() < reference.fields.len();
    let first = names.first().map(String::as_str).unwrap_or_default();
    if names.len() > 1 && matches!(first, "old" | "new") {
        return Err(target.whole_row());
    }
    let name = match names.as_slice() {
        [] => return Err(target.whole_row()),
        [.., table] if is_star => {
            return if table == &target.name { Err(target.whole_row()) } else { Ok(None) };
        }
        [name] if name == &target.name && target.relation.column(name).is_none() => {
            return Err(target.whole_row());
        }
        [name] if matches!(name.as_str(), "old" | "new") && target.relation.column(name).is_none() => {
            return Err(target.whole_row());
        }
        [name] => name,
        [.., table, name] if table == &target.name => name,
        _ => return Ok(None),
    };
    let (Some(column), Some(strategy)) = (target.relation.column(name), target.masks.get(name)) else {
        return Ok(None);
    };
    if *strategy == Strategy::Deny {
        return Err(columns::unreadable(&target.relation, name));
    }
    let row = format!("{}.", identifier(&target.name));
    let mask = expression::mask(column, strategy, &row, &target.keys);
    wrapper::expression_node(&mask).map(Some).ok_or_else(|| unknown("masked column"))
}
