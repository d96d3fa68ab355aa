//! What stands in place of a governed column: an SQL expression of the column's own type.
//!
//! Every mask is cast to the declared type with its modifier, so that result types, parameter types and
//! operators stay those of the real column; every function and operator is named with its schema, so that no
//! object of a user can stand in for it.

use crate::catalog::{Column, Relation};

use super::Strategy;

/// The mask of `column` as an expression over its table; `row` is a qualifier like `"c".`, or empty.
pub(super) fn mask(column: &Column, strategy: &Strategy, row: &str) -> String {
    let value = match (strategy, kind(column)) {
        (Strategy::Partial { keep }, Kind::Text) => partial(column, *keep, row),
        (Strategy::Redact { value }, Kind::Text) => literal(value),
        (Strategy::Redact { .. }, Kind::Zero(zero)) => literal(zero),
        _ => "NULL".to_owned(),
    };
    format!("({value})::{}{}", column.type_name, collation(column))
}

/// The mask of `column`, in a form that the planner can't turn into a constant. A constant would be folded at
/// plan time: `1/pin ... WHERE pin <> 0` would raise an error that the data would not raise.
pub(super) fn unfoldable(
    column: &Column,
    strategy: &Strategy,
    relation: &Relation,
    anchor: &Anchor<'_>,
) -> String {
    let mask = mask(column, strategy, "");
    if is_null(column, strategy) || matches!(strategy, Strategy::Partial { .. }) {
        return mask;
    }
    let null = format!("NULL::{}{}", column.type_name, collation(column));
    match anchor {
        Anchor::Key(key) => format!("CASE WHEN {} IS NULL THEN {null} ELSE {mask} END", identifier(key)),
        Anchor::TableOid => format!(
            "CASE WHEN tableoid OPERATOR(pg_catalog.=) '0'::pg_catalog.oid THEN {null} ELSE {mask} END"
        ),
        Anchor::Column(name) if relation.columns.len() > 1 => {
            format!("CASE WHEN {} IS NULL THEN {mask} ELSE {mask} END", identifier(name))
        }
        Anchor::Column(_) | Anchor::None => mask,
    }
}

/// What ties a mask to the row, so that it is no constant.
#[derive(Debug)]
pub(super) enum Anchor<'a> {
    /// A clear column of the primary key: never NULL.
    Key(&'a str),
    /// The row's table: never 0.
    TableOid,
    /// Any clear column of a view.
    Column(&'a str),
    /// Nothing is there to tie it to.
    None,
}

/// Whether the mask is the same non-NULL value in every row. Joining on such a column would be a cross product.
pub(super) fn is_constant(column: &Column, strategy: &Strategy) -> bool {
    matches!(strategy, Strategy::Redact { .. }) && !is_null(column, strategy)
}

/// Whether the mask is computed from the column itself, and so needs the right to read it.
pub(super) fn reads_column(column: &Column, strategy: &Strategy) -> bool {
    matches!(strategy, Strategy::Partial { .. }) && matches!(kind(column), Kind::Text)
}

/// Whether `GROUP BY` takes columns of this type.
pub(super) fn has_equality(column: &Column) -> bool {
    !NO_EQUALITY.contains(&column.base_type_oid)
}

/// `name` as an SQL identifier, always quoted.
pub(super) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn literal(value: &str) -> String {
    // Sessions are pinned to standard_conforming_strings, as is the grammar here: only quotes need care.
    format!("'{}'", value.replace('\'', "''"))
}

fn is_null(column: &Column, strategy: &Strategy) -> bool {
    match (strategy, kind(column)) {
        (Strategy::Null, _) | (_, Kind::Null) | (Strategy::Partial { .. }, Kind::Zero(_)) => true,
        (Strategy::Redact { .. }, Kind::Text | Kind::Zero(_)) | (Strategy::Partial { .. }, Kind::Text) => {
            false
        }
    }
}

/// The last `keep` characters. NULL and values that are not longer look alike: neither NULL-ness nor a short
/// value is released.
fn partial(column: &Column, keep: u8, row: &str) -> String {
    let value = format!("{row}{}::pg_catalog.text", identifier(&column.name));
    let hidden = format!("'{}'::pg_catalog.text", "*".repeat(usize::from(keep.max(1))));
    let length = format!("pg_catalog.length({value})");
    format!(
        "CASE WHEN {length} OPERATOR(pg_catalog.>) {keep} THEN \
         pg_catalog.repeat('*', {length} OPERATOR(pg_catalog.-) {keep}) \
         OPERATOR(pg_catalog.||) pg_catalog.right({value}, {keep}) ELSE {hidden} END"
    )
}

fn collation(column: &Column) -> String {
    column.collation.as_ref().map(|name| format!(" COLLATE {name}")).unwrap_or_default()
}

/// What a type can hold in place of a value.
enum Kind {
    Text,
    Zero(&'static str),
    Null,
}

fn kind(column: &Column) -> Kind {
    // A domain may have a CHECK that no mask of ours passes.
    if column.type_oid != column.base_type_oid || column.base_type_kind != 'b' {
        return Kind::Null;
    }
    match column.base_type_oid {
        16 => Kind::Zero("false"),
        20 | 21 | 23 | 26 | 700 | 701 | 790 | 1700 | 1186 => Kind::Zero("0"),
        19 | 25 | 1042 | 1043 => Kind::Text,
        17 => Kind::Zero(""),
        114 | 3802 => Kind::Zero("null"),
        1082 => Kind::Zero("2000-01-01"),
        1114 => Kind::Zero("2000-01-01 00:00:00"),
        1184 => Kind::Zero("2000-01-01 00:00:00+00"),
        1083 => Kind::Zero("00:00:00"),
        1266 => Kind::Zero("00:00:00+00"),
        869 => Kind::Zero("0.0.0.0"),
        650 => Kind::Zero("0.0.0.0/0"),
        2950 => Kind::Zero("00000000-0000-0000-0000-000000000000"),
        _ if column.base_type_category == 'A' && column.type_name.ends_with("[]") => Kind::Zero("{}"),
        _ if column.base_type_category == 'S' => Kind::Text,
        _ => Kind::Null,
    }
}

/// json, xml, the geometric types, and arrays of them.
const NO_EQUALITY: [u32; 18] =
    [114, 142, 600, 601, 602, 603, 604, 628, 718, 199, 143, 1017, 1018, 1019, 1020, 1027, 629, 719];
