//! Names as the tree spells them.

use pg_query::NodeEnum;
use pg_query::protobuf::{Alias, Node, RangeVar};

/// The strings of a list of names; other nodes are left out.
pub(super) fn strings(nodes: &[Node]) -> Vec<&str> {
    nodes.iter().filter_map(string).collect()
}

/// The text of a String node.
pub(super) fn string(node: &Node) -> Option<&str> {
    let Some(NodeEnum::String(text)) = node.node.as_ref() else { return None };
    Some(text.sval.as_str())
}

/// `schema.name` as the statement writes it.
pub(super) fn range_var_name(range: &RangeVar) -> String {
    let parts = [range.catalogname.as_str(), range.schemaname.as_str(), range.relname.as_str()];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(".")
}

/// A dotted name, with `*` for a star.
pub(super) fn dotted(nodes: &[Node]) -> String {
    let part = |node: &Node| string(node).unwrap_or("*").to_owned();
    nodes.iter().map(part).collect::<Vec<_>>().join(".")
}

/// Whether the list ends in `*`.
pub(super) fn ends_in_star(nodes: &[Node]) -> bool {
    matches!(nodes.last().and_then(|node| node.node.as_ref()), Some(NodeEnum::AStar(_)))
}

/// A dotted name as a range.
pub(super) fn range_of_name(nodes: &[Node]) -> Option<RangeVar> {
    let parts = strings(nodes);
    let mut parts = parts.iter().rev();
    let relname = (*parts.next()?).to_owned();
    let schemaname = parts.next().map(|part| (*part).to_owned()).unwrap_or_default();
    Some(RangeVar { relname, schemaname, inh: true, ..RangeVar::default() })
}

/// The column names of an alias.
pub(super) fn alias_columns(alias: Option<&Alias>) -> Vec<&str> {
    alias.map(|alias| strings(&alias.colnames)).unwrap_or_default()
}
