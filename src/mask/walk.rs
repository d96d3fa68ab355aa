//! The nodes below an expression node: an allow-list of the kinds that a query may hold.
//!
//! A kind that is not listed here, or that is newer than the servers which take the rewritten text, has no
//! children to give, and the statement is refused.

use pg_query::protobuf::{RawStmt, String as Name, TypeName, WindowDef};
use pg_query::{Node, NodeEnum};

/// Everything below `node` that may hold expressions; `None` for a kind that is not known to be safe.
#[expect(clippy::wildcard_enum_match_arm, reason = "an allow-list: what it does not name is refused")]
pub(super) fn children(node: &mut NodeEnum) -> Option<Vec<&mut Node>> {
    use NodeEnum as N;
    let mut found = Vec::new();
    match node {
        N::AConst(_) | N::ParamRef(_) | N::SetToDefault(_) | N::SqlvalueFunction(_) | N::CurrentOfExpr(_) => {
        }
        N::String(_) | N::Integer(_) | N::Float(_) | N::Boolean(_) | N::BitString(_) | N::AStar(_) => {}
        N::AExpr(e) => found.extend(one(&mut e.lexpr).chain(one(&mut e.rexpr))),
        N::BoolExpr(e) => found.extend(&mut e.args),
        N::NullTest(e) => found.extend(one(&mut e.arg)),
        N::BooleanTest(e) => found.extend(one(&mut e.arg)),
        N::CoalesceExpr(e) => found.extend(&mut e.args),
        N::MinMaxExpr(e) => found.extend(&mut e.args),
        N::RowExpr(e) => found.extend(&mut e.args),
        N::AArrayExpr(e) => found.extend(&mut e.elements),
        N::CollateClause(e) => found.extend(one(&mut e.arg)),
        N::NamedArgExpr(e) => found.extend(one(&mut e.arg)),
        N::GroupingFunc(e) => found.extend(&mut e.args),
        N::GroupingSet(e) => found.extend(&mut e.content),
        N::MultiAssignRef(e) => found.extend(one(&mut e.source)),
        N::List(e) => found.extend(&mut e.items),
        N::ResTarget(e) => found.extend(e.indirection.iter_mut().chain(one(&mut e.val))),
        N::SortBy(e) => found.extend(one(&mut e.node)),
        N::AIndirection(e) => found.extend(one(&mut e.arg).chain(&mut e.indirection)),
        N::AIndices(e) => found.extend(one(&mut e.lidx).chain(one(&mut e.uidx))),
        N::TypeCast(e) => found.extend(one(&mut e.arg).chain(modifiers(&mut e.type_name))),
        N::CaseExpr(e) => found.extend(one(&mut e.arg).chain(&mut e.args).chain(one(&mut e.defresult))),
        N::CaseWhen(e) => found.extend(one(&mut e.expr).chain(one(&mut e.result))),
        N::FuncCall(e) => {
            found.extend(e.args.iter_mut().chain(&mut e.agg_order).chain(one(&mut e.agg_filter)));
            found.extend(e.over.iter_mut().flat_map(|window| frame(window)));
        }
        N::WindowDef(e) => found.extend(frame(e)),
        N::XmlExpr(e) => found.extend(e.named_args.iter_mut().chain(&mut e.args)),
        N::XmlSerialize(e) => found.extend(one(&mut e.expr)),
        N::RangeTableFunc(e) => found.extend(
            one(&mut e.docexpr).chain(one(&mut e.rowexpr)).chain(&mut e.namespaces).chain(&mut e.columns),
        ),
        N::RangeTableFuncCol(e) => found.extend(one(&mut e.colexpr).chain(one(&mut e.coldefexpr))),
        N::IndexElem(e) => found.extend(one(&mut e.expr)),
        N::InferClause(e) => found.extend(e.index_elems.iter_mut().chain(one(&mut e.where_clause))),
        _ => return None,
    }
    Some(found)
}

/// The trees of `text`, which this room wrote or the catalog gave. The crate walks a tree once more for a summary
/// of its own; should that ever panic, the statement is refused and the process lives on.
pub(super) fn parse(text: &str) -> Option<Vec<RawStmt>> {
    std::panic::catch_unwind(|| pg_query::parse(text, 0)).ok()?.ok().map(|parsed| parsed.protobuf.stmts)
}

/// The optional node, as an iterator.
pub(super) fn one(node: &mut Option<Box<Node>>) -> impl Iterator<Item = &mut Node> {
    node.iter_mut().map(Box::as_mut)
}

fn modifiers(name: &mut Option<TypeName>) -> impl Iterator<Item = &mut Node> {
    name.iter_mut().flat_map(|name| &mut name.typmods)
}

fn frame(window: &mut WindowDef) -> impl Iterator<Item = &mut Node> {
    window
        .partition_clause
        .iter_mut()
        .chain(&mut window.order_clause)
        .chain(one(&mut window.start_offset))
        .chain(one(&mut window.end_offset))
}

/// A node that is a name.
pub(super) fn name(name: &str) -> Node {
    Node { node: Some(NodeEnum::String(Name { sval: name.to_owned() })) }
}

/// The names in a list of name nodes.
pub(super) fn names(nodes: &[Node]) -> Vec<String> {
    let name = |node: &Node| match &node.node {
        Some(NodeEnum::String(name)) => Some(name.sval.clone()),
        _ => None,
    };
    nodes.iter().filter_map(name).collect()
}
