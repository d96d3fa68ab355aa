//! The condition of a filter: an allow-list, so that it can't fail, can't be asked anything but rows, and lets fewer
//! rows pass for fewer values.

use std::collections::BTreeSet;

use pg_query::protobuf::{AExpr, AExprKind, BoolExprType, ParamRef, TypeName};
use pg_query::{Node, NodeEnum};

use super::super::expression::custom;
use super::super::{walk, wrapper};

/// A condition that is allowed.
#[derive(Debug)]
pub(super) struct Condition {
    node: Node,
    columns: BTreeSet<String>,
    needs_values: bool,
}

/// Where `$values` come from.
#[derive(Debug)]
pub(super) enum Source<'a> {
    /// A setting of the session.
    Setting(&'a str),
    /// An array literal.
    Constant(&'a str),
}

/// What was found on the way through.
#[derive(Default)]
struct Seen {
    columns: BTreeSet<String>,
    values: usize,
}

impl Condition {
    /// Reads `using`.
    pub(super) fn of(using: &str) -> Result<Self, String> {
        if using.len() > MOST_BYTES {
            return Err(format!("the condition is longer than {MOST_BYTES} bytes"));
        }
        let mentions = using.matches(VALUES).count();
        // In the grammar only numbers stand behind `$`.
        let text = using.replace(VALUES, "$1");
        let mut node = wrapper::only_expression(&text).ok_or("it is not one SQL expression")?;
        let mut seen = Seen::default();
        condition(&mut node, &mut seen)?;
        if seen.values == 0 || seen.values != mentions {
            return Err(format!("{PLACES}, at least once"));
        }
        let needs_values = needs_values(&node);
        Ok(Self { node, columns: seen.columns, needs_values })
    }

    /// The columns that it reads.
    pub(super) fn columns(&self) -> &BTreeSet<String> {
        &self.columns
    }

    /// Whether it lets nothing pass where there are no values at all.
    pub(super) fn needs_values(&self) -> bool {
        self.needs_values
    }

    /// The condition with its values from `source`.
    pub(super) fn render(&self, source: &Source<'_>) -> Option<String> {
        let mut node = self.node.clone();
        put(&mut node, source)?;
        wrapper::printed(node)
    }
}

/// The values of `setting` as text; NULL without any.
pub(super) fn given(setting: &str) -> String {
    format!("NULLIF(pg_catalog.current_setting('{setting}', true), '')")
}

/// What stands where a truth is asked for: here, and below AND and OR, rows can be compared with `$values`.
fn condition(node: &mut Node, seen: &mut Seen) -> Result<(), String> {
    match &mut node.node {
        Some(NodeEnum::BoolExpr(both)) if both.boolop() != BoolExprType::NotExpr => {
            both.args.iter_mut().try_for_each(|arm| condition(arm, seen))
        }
        Some(NodeEnum::AExpr(comparison)) if compares(comparison) => {
            seen.values = seen.values.saturating_add(1);
            custom::operator(comparison, &[AExprKind::AexprOpAny, AExprKind::AexprOp], &COMPARISONS)?;
            walk::one(&mut comparison.lexpr).try_for_each(|side| value(side, seen))
        }
        _ => value(node, seen),
    }
}

/// What gives a value of a row: it must not fail, and never has to do with `$values`.
#[expect(clippy::wildcard_enum_match_arm, reason = "an allow-list: what it does not name is refused")]
fn value(node: &mut Node, seen: &mut Seen) -> Result<(), String> {
    let Some(inner) = &mut node.node else { return Ok(()) };
    match inner {
        NodeEnum::ColumnRef(column) => {
            let names = walk::names(&column.fields);
            let [name] = names.as_slice() else { return Err("columns are named bare".to_owned()) };
            if column.fields.len() != 1 {
                return Err("columns are named one by one".to_owned());
            }
            seen.columns.insert(name.clone());
            return Ok(());
        }
        NodeEnum::ParamRef(_) => return Err(PLACES.to_owned()),
        NodeEnum::FuncCall(call) => custom::function(call)?,
        NodeEnum::AExpr(comparison) => custom::operator(comparison, &custom::KINDS, &custom::OPERATORS)?,
        NodeEnum::TypeCast(cast) => custom::to_text(cast.type_name.as_mut())?,
        NodeEnum::AConst(_)
        | NodeEnum::BoolExpr(_)
        | NodeEnum::NullTest(_)
        | NodeEnum::BooleanTest(_)
        | NodeEnum::CaseExpr(_)
        | NodeEnum::CaseWhen(_)
        | NodeEnum::CoalesceExpr(_)
        | NodeEnum::MinMaxExpr(_)
        | NodeEnum::AArrayExpr(_)
        | NodeEnum::List(_) => {}
        _ => return Err("the condition holds more than columns, operators, functions and casts".to_owned()),
    }
    let children = walk::children(inner).ok_or("the condition can't be walked")?;
    children.into_iter().try_for_each(|child| value(child, seen))
}

/// Whether the right side of a comparison is `$values`, which all rows with fewer of them pass less.
fn compares(comparison: &AExpr) -> bool {
    let names = walk::names(&comparison.name);
    let operator = names.last().map(String::as_str);
    let is_any = comparison.kind() == AExprKind::AexprOpAny && matches!(operator, Some("=" | "~~"));
    let is_both = comparison.kind() == AExprKind::AexprOp && matches!(operator, Some("<@" | "&&"));
    let fits = is_any || is_both;
    fits && comparison.rexpr.as_deref().is_some_and(|side| values(side).is_some())
}

/// The type that `$values` are cast to, if that is what `node` is.
fn values(node: &Node) -> Option<String> {
    match &node.node {
        Some(NodeEnum::ParamRef(ParamRef { number: 1, .. })) => Some(format!("{PG_CATALOG}.text[]")),
        Some(NodeEnum::TypeCast(cast)) => {
            let inner = cast.arg.as_deref()?.node.as_ref()?;
            let is_values = matches!(inner, NodeEnum::ParamRef(ParamRef { number: 1, .. }));
            array(cast.type_name.as_ref()?).filter(|_| is_values)
        }
        _ => None,
    }
}

/// The array type that `name` is, in full.
fn array(name: &TypeName) -> Option<String> {
    let names = walk::names(&name.names);
    let element = match names.as_slice() {
        [element] => element,
        [schema, element] if schema == PG_CATALOG => element,
        _ => return None,
    };
    let plain = name.array_bounds.len() == 1 && name.typmods.is_empty() && !name.setof;
    (plain && ELEMENTS.contains(&element.as_str())).then(|| format!("{PG_CATALOG}.{element}[]"))
}

/// Without values every comparison with them is NULL, and so is whatever can't be true without one of them.
fn needs_values(node: &Node) -> bool {
    match &node.node {
        Some(NodeEnum::AExpr(comparison)) => compares(comparison),
        Some(NodeEnum::BoolExpr(both)) => match both.boolop() {
            BoolExprType::AndExpr => both.args.iter().any(needs_values),
            BoolExprType::OrExpr => both.args.iter().all(needs_values),
            BoolExprType::NotExpr | BoolExprType::Undefined => false,
        },
        _ => false,
    }
}

/// Puts the values in.
fn put(node: &mut Node, source: &Source<'_>) -> Option<()> {
    match &mut node.node {
        Some(NodeEnum::BoolExpr(both)) => both.args.iter_mut().try_for_each(|arm| put(arm, source)),
        Some(NodeEnum::AExpr(comparison)) if compares(comparison) => {
            let side = comparison.rexpr.as_deref_mut()?;
            let kind = values(side)?;
            let text = match source {
                // A subselect without a row of its own is worked out once. ANY takes a bare one for a set of rows.
                Source::Setting(setting) => {
                    format!("(SELECT {}::{PG_CATALOG}.text[]{})::{kind}", given(setting), cast(&kind))
                }
                Source::Constant(literal) => {
                    format!("'{}'::{PG_CATALOG}.text[]{}", literal.replace('\'', "''"), cast(&kind))
                }
            };
            *side = wrapper::expression_node(&text)?;
            Some(())
        }
        _ => Some(()),
    }
}

fn cast(kind: &str) -> String {
    if kind == "pg_catalog.text[]" { String::new() } else { format!("::{kind}") }
}

const VALUES: &str = "$values";
const PG_CATALOG: &str = "pg_catalog";
const MOST_BYTES: usize = 2000;
const PLACES: &str = "`$values` stands on the right of `= ANY ($values::type[])`, `LIKE ANY`, `<@` or `&&`, \
                      alone or under AND and OR";

const COMPARISONS: [&str; 4] = ["=", "~~", "<@", "&&"];

/// Types whose arrays `$values` can be cast to.
const ELEMENTS: [&str; 8] = ["int2", "int4", "int8", "numeric", "uuid", "text", "varchar", "date"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_compares_rows_with_values() {
        for (using, columns, needs) in [
            ("tenant = ANY ($values)", vec!["tenant"], true),
            ("tenant_id = any ($values::int[])", vec!["tenant_id"], true),
            ("id::text = ANY ($values) AND NOT deleted", vec!["deleted", "id"], true),
            ("path LIKE ANY ($values)", vec!["path"], true),
            ("tags && $values", vec!["tags"], true),
            ("lower(\"Tenant\") = ANY ($values) OR owner = ANY ($values)", vec!["Tenant", "owner"], true),
            ("is_public IS TRUE OR tenant = ANY ($values)", vec!["is_public", "tenant"], false),
        ] {
            let condition = Condition::of(using).unwrap_or_else(|why| panic!("{using}: {why}"));
            assert_eq!(
                condition.columns().iter().map(String::as_str).collect::<Vec<_>>(),
                columns,
                "{using}"
            );
            assert_eq!(condition.needs_values(), needs, "{using}");
        }
    }

    #[test]
    fn what_could_fail_or_let_more_rows_pass_for_fewer_values_is_refused() {
        for using in [
            "",
            "true",
            "tenant = 'a'",
            "tenant <> ALL ($values)",
            "NOT tenant = ANY ($values)",
            "coalesce(tenant = ANY ($values), true)",
            "CASE WHEN tenant = ANY ($values) THEN false ELSE true END",
            "(tenant = ANY ($values)) IS NULL",
            "$values = '{}'",
            "tenant = ANY ($values::int[][])",
            "tenant = ANY ($values::my_type[])",
            "tenant = ANY ($values::text)",
            "tenant::int = ANY ($values::int[])",
            "tenant = ANY ($1)",
            "tenant = ANY ($1) OR tenant = ANY ($values)",
            "tenant = ANY ($values) OR note = '$values'",
            "tenant = ANY ($valuesx)",
            "leaks(tenant) = ANY ($values)",
            "current_setting(tenant) = ANY ($values)",
            "orders.tenant = ANY ($values)",
            "tenant = ANY ($values) OR orders.* IS NULL",
            "tenant = ANY (SELECT x FROM secrets)",
            "tenant = ANY ($values) AND EXISTS (SELECT FROM secrets)",
            "1 / n = ANY ($values::int[])",
            "tenant OPERATOR(evil.=) ANY ($values)",
            "tenant = ANY ($values)) OR (true",
            "tenant = ANY ($values); DROP TABLE x",
            "tenant = ANY ($values) -- and more",
        ] {
            // A comment means nothing, and is the only one that may stay.
            let is_refused = Condition::of(using).is_err() || using.ends_with("-- and more");
            assert!(is_refused, "{using}");
        }
    }
}
