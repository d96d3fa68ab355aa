//! The `*` of a plain SELECT, for whoever wants to say which columns to name in its place.

use std::ops::Range;

use pg_query::NodeEnum;
use pg_query::protobuf::{ColumnRef, Node, RangeVar, SelectStmt};

use super::{Statement, analyze};

/// A `*`, or `t.*`, that is all that a SELECT of one relation gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Star {
    /// Its bytes in the statement, with what stands before the star.
    pub range: Range<usize>,
    /// What stands before the star, as a column must be written too; empty where nothing does.
    pub qualifier: String,
    /// The relation's schema, where one is written.
    pub schema: Option<String>,
    /// The relation's name.
    pub name: String,
}

/// The star of `statement`, if it is a SELECT of one relation and gives nothing else.
#[must_use]
pub fn star(statement: &Statement) -> Option<Star> {
    let parsed = analyze::parsed_shallow(statement)?;
    let [only] = parsed.stmts.as_slice() else { return None };
    let Some(NodeEnum::SelectStmt(select)) = only.stmt.as_deref().and_then(|node| node.node.as_ref()) else {
        return None;
    };
    let RangeVar { schemaname, relname, .. } = only_range(select)?;
    let [target] = select.target_list.as_slice() else { return None };
    let Some(NodeEnum::ResTarget(target)) = target.node.as_ref() else { return None };
    let Some(NodeEnum::ColumnRef(column)) = target.val.as_deref().and_then(|node| node.node.as_ref()) else {
        return None;
    };
    if !ends_in_star(column) {
        return None;
    }
    let text = statement.as_str();
    let start = usize::try_from(column.location).ok()?;
    let length = text.get(start..)?.find('*')?;
    let end = start.checked_add(length)?;
    Some(Star {
        range: start..end.checked_add(1)?,
        qualifier: text.get(start..end)?.to_owned(),
        schema: (!schemaname.is_empty()).then(|| schemaname.clone()),
        name: relname.clone(),
    })
}

/// Whether `statement` is a SELECT of one plain column, and so what it names is no keyword there.
#[must_use]
pub fn is_column(statement: &Statement) -> bool {
    let parsed = analyze::parsed_shallow(statement);
    let Some([only]) = parsed.as_ref().map(|parsed| parsed.stmts.as_slice()) else { return false };
    let Some(NodeEnum::SelectStmt(select)) = only.stmt.as_deref().and_then(|node| node.node.as_ref()) else {
        return false;
    };
    let [target] = select.target_list.as_slice() else { return false };
    let Some(NodeEnum::ResTarget(target)) = target.node.as_ref() else { return false };
    let value = target.val.as_deref().and_then(|node| node.node.as_ref());
    matches!(value, Some(NodeEnum::ColumnRef(column)) if column.fields.len() == 1 && target.name.is_empty())
}

fn only_range(select: &SelectStmt) -> Option<&RangeVar> {
    let [from] = select.from_clause.as_slice() else { return None };
    let plain = select.with_clause.is_none() && select.distinct_clause.is_empty() && select.larg.is_none();
    match from.node.as_ref() {
        Some(NodeEnum::RangeVar(range)) if plain => Some(range),
        Some(_) | None => None,
    }
}

fn ends_in_star(column: &ColumnRef) -> bool {
    matches!(column.fields.last(), Some(Node { node: Some(NodeEnum::AStar(_)) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(sql: &str) -> Option<(String, String, String)> {
        let star = star(&Statement::new(sql.as_bytes(), Statement::AGENT_CAP).unwrap())?;
        Some((sql[star.range].to_owned(), star.qualifier, star.name))
    }

    #[test]
    fn only_a_star_that_is_all_of_a_plain_select_is_one() {
        let found = |range: &str, qualifier: &str| Some((range.into(), qualifier.into(), "t".into()));
        assert_eq!(of("SELECT * FROM t WHERE a * 2 > 1"), found("*", ""));
        assert_eq!(of("/* * */ SELECT x.* FROM s.t AS x LIMIT 3;"), found("x.*", "x."));
        for sql in [
            "SELECT *, 1 FROM t",
            "SELECT count(*) FROM t",
            "SELECT * FROM t, u",
            "SELECT * FROM (SELECT * FROM t) s",
            "SELECT DISTINCT * FROM t",
            "SELECT * FROM t UNION SELECT * FROM u",
            "WITH t AS (SELECT 1) SELECT * FROM t",
            "TABLE t; SELECT 1",
            "SELEKT * FROM t",
        ] {
            assert_eq!(of(sql), None, "{sql}");
        }
    }
}
