//! The name that PostgreSQL gives an output column without an alias: `FigureColname` of `parse_target.c`.

use pg_query::NodeEnum;
use pg_query::protobuf::{
    AExprKind, MinMaxOp, Node, ResTarget, SqlValueFunctionOp, SubLink, SubLinkType, XmlExprOp,
};

use super::names::{string, strings};

/// The name; empty where PostgreSQL would say `?column?`.
pub(super) fn column_name(node: &Node) -> String {
    figure(node, 0).map(|(name, _)| name).unwrap_or_default()
}

/// How sure a name is: a type's name or `case` gives way to that of an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Strength {
    Weak,
    Strong,
}

#[expect(clippy::wildcard_enum_match_arm, reason = "every other kind has no name of its own")]
fn figure(node: &Node, depth: usize) -> Option<(String, Strength)> {
    if depth > MAX_DEPTH {
        return None;
    }
    let inner = |node: Option<&Node>| node.and_then(|node| figure(node, depth + 1));
    let strong = |name: &str| Some((name.to_owned(), Strength::Strong));
    match node.node.as_ref()? {
        NodeEnum::ColumnRef(column) => column.fields.iter().rev().find_map(string).and_then(strong),
        NodeEnum::AIndirection(part) => match part.indirection.iter().rev().find_map(string) {
            Some(field) => strong(field),
            None => inner(part.arg.as_deref()),
        },
        NodeEnum::FuncCall(call) => strings(&call.funcname).last().copied().and_then(strong),
        NodeEnum::AExpr(operation) if operation.kind() == AExprKind::AexprNullif => strong("nullif"),
        NodeEnum::TypeCast(cast) => {
            inner(cast.arg.as_deref()).filter(|(_, strength)| *strength == Strength::Strong).or_else(|| {
                let names = strings(&cast.type_name.as_ref()?.names);
                names.last().map(|name| ((*name).to_owned(), Strength::Weak))
            })
        }
        NodeEnum::CollateClause(clause) => inner(clause.arg.as_deref()),
        NodeEnum::GroupingFunc(_) => strong("grouping"),
        NodeEnum::MergeSupportFunc(_) => strong("merge_action"),
        NodeEnum::SubLink(link) => sublink(link, depth),
        NodeEnum::CaseExpr(case) => {
            let named = inner(case.defresult.as_deref());
            named
                .filter(|(_, strength)| *strength == Strength::Strong)
                .or_else(|| Some(("case".to_owned(), Strength::Weak)))
        }
        NodeEnum::AArrayExpr(_) => strong("array"),
        NodeEnum::RowExpr(_) => strong("row"),
        NodeEnum::CoalesceExpr(_) => strong("coalesce"),
        NodeEnum::MinMaxExpr(call) if call.op() == MinMaxOp::IsLeast => strong("least"),
        NodeEnum::MinMaxExpr(_) => strong("greatest"),
        NodeEnum::SqlvalueFunction(call) => strong(value_function(call.op())),
        NodeEnum::XmlExpr(call) => strong(xml_function(call.op())),
        NodeEnum::XmlSerialize(_) => strong("xmlserialize"),
        NodeEnum::JsonParseExpr(_) => strong("json"),
        NodeEnum::JsonScalarExpr(_) => strong("json_scalar"),
        NodeEnum::JsonSerializeExpr(_) => strong("json_serialize"),
        NodeEnum::JsonObjectConstructor(_) => strong("json_object"),
        NodeEnum::JsonArrayConstructor(_) | NodeEnum::JsonArrayQueryConstructor(_) => strong("json_array"),
        NodeEnum::JsonObjectAgg(_) => strong("json_objectagg"),
        NodeEnum::JsonArrayAgg(_) => strong("json_arrayagg"),
        _ => None,
    }
}

fn sublink(link: &SubLink, depth: usize) -> Option<(String, Strength)> {
    match link.sub_link_type() {
        SubLinkType::ExistsSublink => Some(("exists".to_owned(), Strength::Strong)),
        SubLinkType::ArraySublink => Some(("array".to_owned(), Strength::Strong)),
        SubLinkType::ExprSublink => {
            let Some(NodeEnum::SelectStmt(select)) = link.subselect.as_ref()?.node.as_ref() else {
                return None;
            };
            let Some(NodeEnum::ResTarget(first)) = select.target_list.first()?.node.as_ref() else {
                return None;
            };
            let ResTarget { name, val, .. } = &**first;
            if name.is_empty() {
                return val.as_deref().and_then(|value| figure(value, depth + 1));
            }
            Some((name.clone(), Strength::Strong))
        }
        SubLinkType::Undefined
        | SubLinkType::AllSublink
        | SubLinkType::AnySublink
        | SubLinkType::RowcompareSublink
        | SubLinkType::MultiexprSublink
        | SubLinkType::CteSublink => None,
    }
}

fn value_function(op: SqlValueFunctionOp) -> &'static str {
    match op {
        SqlValueFunctionOp::SvfopCurrentDate => "current_date",
        SqlValueFunctionOp::SvfopCurrentTime | SqlValueFunctionOp::SvfopCurrentTimeN => "current_time",
        SqlValueFunctionOp::SvfopCurrentTimestamp | SqlValueFunctionOp::SvfopCurrentTimestampN => {
            "current_timestamp"
        }
        SqlValueFunctionOp::SvfopLocaltime | SqlValueFunctionOp::SvfopLocaltimeN => "localtime",
        SqlValueFunctionOp::SvfopLocaltimestamp | SqlValueFunctionOp::SvfopLocaltimestampN => {
            "localtimestamp"
        }
        SqlValueFunctionOp::SvfopCurrentRole => "current_role",
        SqlValueFunctionOp::SvfopCurrentUser => "current_user",
        SqlValueFunctionOp::SvfopUser => "user",
        SqlValueFunctionOp::SvfopSessionUser => "session_user",
        SqlValueFunctionOp::SvfopCurrentCatalog => "current_catalog",
        SqlValueFunctionOp::SvfopCurrentSchema => "current_schema",
        SqlValueFunctionOp::SqlvalueFunctionOpUndefined => "",
    }
}

fn xml_function(op: XmlExprOp) -> &'static str {
    match op {
        XmlExprOp::IsXmlconcat => "xmlconcat",
        XmlExprOp::IsXmlelement => "xmlelement",
        XmlExprOp::IsXmlforest => "xmlforest",
        XmlExprOp::IsXmlparse => "xmlparse",
        XmlExprOp::IsXmlpi => "xmlpi",
        XmlExprOp::IsXmlroot => "xmlroot",
        XmlExprOp::IsXmlserialize => "xmlserialize",
        // `x IS DOCUMENT` has no name.
        XmlExprOp::IsDocument | XmlExprOp::Undefined => "",
    }
}

/// Casts and CASEs within each other that are looked through.
const MAX_DEPTH: usize = 500;
