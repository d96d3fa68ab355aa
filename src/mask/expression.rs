//! What stands in place of a governed column: an SQL expression of the column's own type.
//!
//! Every mask is cast to the declared type with its modifier, so that result types, parameter types and
//! operators stay those of the real column; every function and operator is named with its schema, so that no
//! object of a user can stand in for it.

use crate::catalog::{Column, KeySettings, Relation};

use super::Strategy;
use super::strategy::Unit;

pub(super) mod custom;
pub(super) mod keyed;
mod kind;

use kind::Kind;

/// The mask of `column` as an expression over its table; `row` is a qualifier like `"c".`, or empty.
pub(super) fn mask(column: &Column, strategy: &Strategy, row: &str, keys: &KeySettings) -> String {
    let value = value(column, strategy, row, keys).unwrap_or_else(|| "NULL".to_owned());
    format!("({value})::{}{}", column.type_name, collation(column))
}

/// What is cast to the column's type; `None` for NULL.
fn value(column: &Column, strategy: &Strategy, row: &str, keys: &KeySettings) -> Option<String> {
    let own = format!("{row}{}", identifier(&column.name));
    match (strategy, Kind::of(column)) {
        (Strategy::Redact { value }, Kind::Text) => Some(literal(value)),
        (Strategy::Redact { .. }, kind) => kind.zero().map(literal),
        (Strategy::Partial { first, last }, Kind::Text) => Some(partial(&own, *first, *last)),
        (Strategy::Without { paths }, Kind::Jsonb) => Some(without(&own, paths)),
        (Strategy::Expression { sql }, _) => custom::render(sql, &own),
        (Strategy::Round { places }, Kind::Number(number)) => Some(number.round(&own, *places)),
        (Strategy::Bucket { width }, Kind::Number(number)) => Some(number.bucket(&own, *width)),
        (Strategy::Truncate { unit }, kind) => truncated(&own, *unit, &kind),
        (Strategy::Email, Kind::Text) => Some(keyed::email(&own, keys)),
        (Strategy::Hash, kind) => keyed::hash(&own, &kind, keys),
        (
            Strategy::Partial { .. }
            | Strategy::Without { .. }
            | Strategy::Round { .. }
            | Strategy::Bucket { .. }
            | Strategy::Email
            | Strategy::Null
            | Strategy::Deny,
            _,
        ) => None,
    }
}

/// The mask of `column`, in a form that the planner can't turn into a constant. A constant would be folded at
/// plan time: `1/pin ... WHERE pin <> 0` would raise an error that the data would not raise.
pub(super) fn unfoldable(
    column: &Column,
    strategy: &Strategy,
    relation: &Relation,
    anchor: &Anchor<'_>,
    keys: &KeySettings,
) -> String {
    let mask = mask(column, strategy, "", keys);
    if !is_constant(column, strategy) {
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
    matches!(strategy, Strategy::Redact { .. })
        && value(column, strategy, "", &KeySettings::default()).is_some()
}

/// Whether the mask is computed from the column itself, and so needs the right to read it.
pub(super) fn reads_column(column: &Column, strategy: &Strategy) -> bool {
    !matches!(strategy, Strategy::Redact { .. })
        && value(column, strategy, "", &KeySettings::default()).is_some()
}

/// Whether `GROUP BY` takes columns of this type.
pub(super) fn has_equality(column: &Column) -> bool {
    !NO_EQUALITY.contains(&column.base_type_oid)
}

/// `name` as an SQL identifier, always quoted.
pub(super) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// `value` as an SQL string.
pub(super) fn literal(value: &str) -> String {
    // Sessions are pinned to standard_conforming_strings, as is the grammar here: only quotes need care.
    format!("'{}'", value.replace('\'', "''"))
}

/// The first and the last characters. NULL and values that are not longer look alike: neither NULL-ness nor a short
/// value is released.
fn partial(own: &str, first: u8, last: u8) -> String {
    let shown = u16::from(first).saturating_add(u16::from(last));
    let value = format!("{own}::pg_catalog.text");
    let hidden = format!("'{}'::pg_catalog.text", "*".repeat(usize::from(shown.max(1))));
    let length = format!("pg_catalog.length({value})");
    let ends = |function: &str, count: u8| format!("pg_catalog.{function}({value}, {count})");
    let stars = format!("pg_catalog.repeat('*', {length} OPERATOR(pg_catalog.-) {shown})");
    let parts =
        [(first > 0).then(|| ends("left", first)), Some(stars), (last > 0).then(|| ends("right", last))];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    format!(
        "CASE WHEN {length} OPERATOR(pg_catalog.>) {shown} THEN {} ELSE {hidden} END",
        parts.join(" OPERATOR(pg_catalog.||) ")
    )
}

/// A jsonb value without some of its parts. Every step is asked for its kind first: what can't be stepped into whole
/// is left out whole, and nothing raises an error.
fn without(own: &str, paths: &[Vec<String>]) -> String {
    paths.iter().fold(own.to_owned(), |value, path| without_path(&value, path))
}

fn without_path(value: &str, path: &[String]) -> String {
    let Some((key, rest)) = path.split_first() else { return value.to_owned() };
    let key = format!("{}::pg_catalog.text", literal(key));
    let removed = format!("({value}) OPERATOR(pg_catalog.-) {key}");
    let here = |kind: &str, of: &str| {
        format!("pg_catalog.jsonb_typeof({of}) OPERATOR(pg_catalog.=) '{kind}'::pg_catalog.text")
    };
    let below = format!("(({value}) OPERATOR(pg_catalog.->) {key})");
    let reduced = if rest.is_empty() {
        removed
    } else {
        let kept = format!(
            "pg_catalog.jsonb_set({value}, ARRAY[{key}]::pg_catalog.text[], {})",
            without_path(&below, rest)
        );
        let (object, array) = (here("object", &below), here("array", &below));
        format!("CASE WHEN {object} THEN {kept} WHEN {array} THEN {removed} ELSE {value} END")
    };
    let (object, array) = (here("object", value), here("array", value));
    format!("CASE WHEN {object} THEN {reduced} WHEN {array} THEN NULL ELSE {value} END")
}

/// The beginning of the unit that a date or time lies in, in UTC: the session's time zone is its client's to choose,
/// and moving it would tell the hour. Nothing near the ends of what the types can hold, where it might fail.
fn truncated(own: &str, unit: Unit, kind: &Kind) -> Option<String> {
    let name = unit.as_str();
    let (kind, value) = match kind {
        Kind::Date => {
            ("date", format!("pg_catalog.date_trunc('{name}', {own}::pg_catalog.timestamp)::pg_catalog.date"))
        }
        Kind::Timestamp => ("timestamp", format!("pg_catalog.date_trunc('{name}', {own})")),
        Kind::TimestampTz => ("timestamptz", format!("pg_catalog.date_trunc('{name}', {own}, 'UTC')")),
        Kind::Text
        | Kind::Number(_)
        | Kind::Uuid
        | Kind::Bytes
        | Kind::Jsonb
        | Kind::Zero(_)
        | Kind::Null => return None,
    };
    Some(format!(
        "CASE WHEN {own} OPERATOR(pg_catalog.>) '4700-01-01 BC'::pg_catalog.{kind} \
         AND {own} OPERATOR(pg_catalog.<) '294200-01-01'::pg_catalog.{kind} THEN {value} END"
    ))
}

fn collation(column: &Column) -> String {
    column.collation.as_ref().map(|name| format!(" COLLATE {name}")).unwrap_or_default()
}

/// json, xml, the geometric types, and arrays of them.
const NO_EQUALITY: [u32; 18] =
    [114, 142, 600, 601, 602, 603, 604, 628, 718, 199, 143, 1017, 1018, 1019, 1020, 1027, 629, 719];
