//! Masks that a rulebook writes in SQL itself: an expression over one value, by an allow-list.

use pg_query::protobuf::{AExpr, AExprKind, ColumnRef, FuncCall, TypeName};
use pg_query::{Node, NodeEnum};

use super::super::{walk, wrapper};

/// Says what is wrong with an expression.
pub(crate) fn check(sql: &str) -> Result<(), String> {
    checked(sql).map(drop)
}

/// The expression with its functions and operators named in full.
fn checked(sql: &str) -> Result<Node, String> {
    let mut node = parsed(sql)?;
    let mut reads = false;
    allowed(&mut node, &mut reads)?;
    if !reads {
        return Err("the expression does not read `value`: for a fixed text there is `redact`".to_owned());
    }
    Ok(node)
}

/// The expression over the column that `own` names; `None` if it may not be.
pub(super) fn render(sql: &str, own: &str) -> Option<String> {
    let mut node = checked(sql).ok()?;
    let own = wrapper::expression_node(own)?;
    put(&mut node, &own)?;
    wrapper::printed(node)
}

fn parsed(sql: &str) -> Result<Node, String> {
    if sql.len() > MOST_BYTES {
        return Err(format!("the expression is longer than {MOST_BYTES} bytes"));
    }
    wrapper::only_expression(sql).ok_or_else(|| "it is not one SQL expression".to_owned())
}

#[expect(clippy::wildcard_enum_match_arm, reason = "an allow-list: what it does not name is refused")]
fn allowed(node: &mut Node, reads: &mut bool) -> Result<(), String> {
    let Some(inner) = &mut node.node else { return Ok(()) };
    match inner {
        NodeEnum::ColumnRef(column) if is_value(column) => {
            *reads = true;
            return Ok(());
        }
        NodeEnum::ColumnRef(_) => return Err("the expression may read nothing but `value`".to_owned()),
        NodeEnum::FuncCall(call) => function(call)?,
        NodeEnum::AExpr(comparison) => operator(comparison, &KINDS, &OPERATORS)?,
        NodeEnum::TypeCast(cast) => to_text(cast.type_name.as_mut())?,
        NodeEnum::AConst(_)
        | NodeEnum::BoolExpr(_)
        | NodeEnum::NullTest(_)
        | NodeEnum::CaseExpr(_)
        | NodeEnum::CaseWhen(_)
        | NodeEnum::CoalesceExpr(_)
        | NodeEnum::MinMaxExpr(_)
        | NodeEnum::List(_) => {}
        _ => return Err("the expression holds more than functions, operators, CASE and casts".to_owned()),
    }
    let children = walk::children(inner).ok_or("the expression can't be walked")?;
    children.into_iter().try_for_each(|child| allowed(child, reads))
}

fn is_value(column: &ColumnRef) -> bool {
    column.fields.len() == 1 && walk::names(&column.fields) == [VALUE]
}

/// Names the function with its schema, so that nobody's own can stand in for it.
pub(in crate::mask) fn function(call: &mut FuncCall) -> Result<(), String> {
    let names = walk::names(&call.funcname);
    let name = match names.as_slice() {
        [name] => name,
        [schema, name] if schema == PG_CATALOG => name,
        _ => return Err("functions of other schemas can't be called".to_owned()),
    };
    let plain = call.agg_order.is_empty()
        && call.agg_filter.is_none()
        && call.over.is_none()
        && !(call.agg_star || call.agg_distinct || call.agg_within_group || call.func_variadic);
    if !plain || !FUNCTIONS.contains(&name.as_str()) {
        return Err(format!("`{name}` can't be called: use {}", FUNCTIONS.join(", ")));
    }
    call.funcname = vec![walk::name(PG_CATALOG), walk::name(name)];
    Ok(())
}

/// Names one of `operators` in full, if it stands in one of `kinds` of expressions.
pub(in crate::mask) fn operator(
    expression: &mut AExpr,
    kinds: &[AExprKind],
    operators: &[&str],
) -> Result<(), String> {
    let names = walk::names(&expression.name);
    let name = match names.as_slice() {
        [name] => name,
        [schema, name] if schema == PG_CATALOG => name,
        _ => return Err("operators of other schemas can't be used".to_owned()),
    };
    let kind = AExprKind::try_from(expression.kind).unwrap_or(AExprKind::Undefined);
    if !kinds.contains(&kind) || !operators.contains(&name.as_str()) {
        return Err(format!("the operator `{name}` can't be used: use {}", operators.join(" ")));
    }
    if matches!(kind, AExprKind::AexprOp | AExprKind::AexprOpAny) {
        expression.name = vec![walk::name(PG_CATALOG), walk::name(name)];
    }
    Ok(())
}

/// Lets casts to text pass, which can't fail, and names the type in full.
pub(in crate::mask) fn to_text(name: Option<&mut TypeName>) -> Result<(), String> {
    let Some(name) = name else { return Err("a cast without a type".to_owned()) };
    let names = walk::names(&name.names);
    let is_text = match names.as_slice() {
        [kind] => TEXTS.contains(&kind.as_str()),
        [schema, kind] => schema == PG_CATALOG && TEXTS.contains(&kind.as_str()),
        _ => false,
    };
    if !is_text || !name.array_bounds.is_empty() || name.setof {
        return Err("only casts to text can't fail, so no others are allowed".to_owned());
    }
    if let [kind] = names.as_slice() {
        name.names = vec![walk::name(PG_CATALOG), walk::name(kind)];
    }
    Ok(())
}

/// Puts the column in the place of `value` in an expression that is allowed.
fn put(node: &mut Node, own: &Node) -> Option<()> {
    let inner = node.node.as_mut()?;
    if let NodeEnum::ColumnRef(_) = inner {
        *node = own.clone();
        return Some(());
    }
    walk::children(inner)?.into_iter().try_for_each(|child| put(child, own))
}

const VALUE: &str = "value";
const PG_CATALOG: &str = "pg_catalog";
const MOST_BYTES: usize = 500;

/// Functions of their arguments alone that give an answer to each of them.
const FUNCTIONS: [&str; 18] = [
    "bit_length",
    "btrim",
    "ceil",
    "char_length",
    "floor",
    "initcap",
    "left",
    "length",
    "lower",
    "ltrim",
    "octet_length",
    "replace",
    "right",
    "rtrim",
    "sign",
    "starts_with",
    "translate",
    "upper",
];
/// The expressions that operators may stand in.
pub(in crate::mask) const KINDS: [AExprKind; 4] =
    [AExprKind::AexprOp, AExprKind::AexprIn, AExprKind::AexprLike, AExprKind::AexprNullif];
pub(in crate::mask) const OPERATORS: [&str; 9] = ["||", "=", "<>", "<", "<=", ">", ">=", "~~", "!~~"];
const TEXTS: [&str; 3] = ["text", "varchar", "bpchar"];
