//! `GROUP BY primary_key`: PostgreSQL lets the other columns of such a table stand ungrouped. It does not know
//! the key of a subselect, so the columns are added to the list; the groups stay the same.

use pg_query::protobuf::SelectStmt;
use pg_query::{Node, NodeEnum};

use super::expression::{has_equality, identifier};
use super::scope::{Binding, Scopes};
use super::{walk, wrapper};

/// Completes the GROUP BY of `select` for every governed table whose primary key it holds.
pub(super) fn complete(scopes: &Scopes, select: &mut SelectStmt) {
    if select.group_clause.is_empty() || select.group_clause.iter().any(is_set) {
        return;
    }
    let grouped: Vec<Vec<String>> =
        select.group_clause.iter().filter_map(|node| column(node, &select.target_list)).collect();
    let mut added = Vec::new();
    for binding in scopes.innermost() {
        let Some(masked) = &binding.masked else { continue };
        let key = &masked.relation.primary_key;
        let holds = |name: &String| grouped.iter().any(|path| refers(path, binding, name, scopes));
        let position = |name: &String| masked.relation.columns.iter().position(|column| &column.name == name);
        let visible = |name: &String| binding.columns.as_ref()?.get(position(name)?).cloned();
        let keys: Option<Vec<String>> = key.iter().map(visible).collect();
        if key.is_empty() || !keys.is_some_and(|keys| keys.iter().all(holds)) {
            continue;
        }
        let others = masked
            .relation
            .columns
            .iter()
            .filter(|column| masked.columns.contains(&column.name) && has_equality(column))
            .filter_map(|column| visible(&column.name))
            .filter(|name| !holds(name));
        for name in others {
            let text = format!("{}.{}", identifier(&binding.name), identifier(&name));
            added.extend(wrapper::expression_node(&text));
        }
    }
    select.group_clause.extend(added);
}

fn is_set(node: &Node) -> bool {
    matches!(node.node, Some(NodeEnum::GroupingSet(_)))
}

/// The parts of the column that a GROUP BY item names, by itself, by output position or by output name.
fn column(item: &Node, targets: &[Node]) -> Option<Vec<String>> {
    match &item.node {
        Some(NodeEnum::AConst(constant)) => match &constant.val {
            Some(pg_query::protobuf::a_const::Val::Ival(number)) => {
                let at = usize::try_from(number.ival).ok()?.checked_sub(1)?;
                value(targets.get(at)?)
            }
            _ => None,
        },
        Some(NodeEnum::ColumnRef(reference)) => {
            let names = walk::names(&reference.fields);
            match names.as_slice() {
                [name] => targets.iter().find(|target| named(target, name)).and_then(value).or(Some(names)),
                _ => Some(names),
            }
        }
        _ => None,
    }
}

fn value(target: &Node) -> Option<Vec<String>> {
    let Some(NodeEnum::ResTarget(target)) = &target.node else { return None };
    match target.val.as_ref().and_then(|node| node.node.as_ref()) {
        Some(NodeEnum::ColumnRef(reference)) => Some(walk::names(&reference.fields)),
        _ => None,
    }
}

fn named(target: &Node, name: &str) -> bool {
    matches!(&target.node, Some(NodeEnum::ResTarget(target)) if target.name == name)
}

fn refers(path: &[String], binding: &Binding, column: &str, scopes: &Scopes) -> bool {
    match path {
        [name] => {
            name == column && scopes.with_column(name).is_some_and(|first| std::ptr::eq(first, binding))
        }
        [.., table, name] => name == column && table == &binding.name,
        [] => false,
    }
}
