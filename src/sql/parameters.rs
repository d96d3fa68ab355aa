//! What the parameters of a statement are for, as far as its text says: whoever has a list of values to pass learns
//! from here whether `$1` is an array or a document.
//!
//! It is a help for clients, never a fact that anything is judged by.

use pg_query::NodeEnum;
use pg_query::NodeRef;
use pg_query::protobuf::{AExpr, AExprKind, Node, TypeCast, TypeName};

use super::{Statement, analyze};

/// What stands around one parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Use {
    /// `$1::int[]`, `= ANY ($1)`, `unnest($1)`.
    Array,
    /// `$1::jsonb`.
    Document,
    /// `$1::tags`: a type by its name, without its schema.
    Type(String),
    /// It is compared with or assigned to the column of this name, of one of the statement's relations.
    Column(String),
    /// It is what an INSERT without a list of columns gives to the column at this place, from 0.
    Place(usize),
}

/// The parameters of a statement, and the relations that it names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Uses {
    /// Each parameter's number, from 1, with one of its uses.
    pub parameters: Vec<(i32, Use)>,
    /// Schema (where one is written) and name.
    pub relations: Vec<(Option<String>, String)>,
}

/// What `statement` uses its parameters for; nothing of one that is too long or too deep for this thread, or no SQL.
#[must_use]
pub fn uses(statement: &Statement) -> Uses {
    let mut uses = Uses::default();
    let Some(parsed) = analyze::parsed_shallow(statement) else { return uses };
    for (node, ..) in parsed.nodes() {
        uses.note(node);
    }
    uses
}

impl Uses {
    #[expect(clippy::wildcard_enum_match_arm, reason = "other nodes say nothing of the parameters in them")]
    fn note(&mut self, node: NodeRef<'_>) {
        match node {
            NodeRef::RangeVar(range) => {
                let schema = (!range.schemaname.is_empty()).then(|| range.schemaname.clone());
                self.relations.push((schema, range.relname.clone()));
            }
            NodeRef::TypeCast(cast) => self.cast(cast),
            NodeRef::AExpr(expression) => self.expression(expression),
            NodeRef::FuncCall(call) => {
                let function = call.funcname.last().and_then(text).unwrap_or_default();
                for number in call.args.iter().filter_map(parameter) {
                    if TAKE_ARRAYS.contains(&function) {
                        self.parameters.push((number, Use::Array));
                    } else if function.starts_with("json") {
                        self.parameters.push((number, Use::Document));
                    }
                }
            }
            NodeRef::UpdateStmt(update) => update.target_list.iter().for_each(|target| self.target(target)),
            NodeRef::OnConflictClause(clause) => {
                clause.target_list.iter().for_each(|target| self.target(target));
            }
            NodeRef::InsertStmt(insert) => {
                let columns: Vec<&str> = insert.cols.iter().filter_map(target_name).collect();
                let select = insert.select_stmt.as_deref().and_then(|select| select.node.as_ref());
                let Some(NodeEnum::SelectStmt(select)) = select else { return };
                for row in &select.values_lists {
                    let Some(NodeEnum::List(row)) = row.node.as_ref() else { continue };
                    for (place, value) in row.items.iter().enumerate() {
                        let used = match columns.get(place) {
                            Some(name) => Use::Column((*name).to_owned()),
                            None => Use::Place(place),
                        };
                        match value.node.as_ref() {
                            Some(NodeEnum::TypeCast(cast)) => self.cast(cast),
                            _ => self.parameters.extend(parameter(value).map(|number| (number, used))),
                        }
                    }
                }
            }
            _ => {}
        }
    }

    fn target(&mut self, target: &Node) {
        let Some(NodeEnum::ResTarget(target)) = target.node.as_ref() else { return };
        if let Some(number) = target.val.as_deref().and_then(parameter) {
            self.parameters.push((number, Use::Column(target.name.clone())));
        }
    }

    fn cast(&mut self, cast: &TypeCast) {
        let Some(number) = cast.arg.as_deref().and_then(parameter) else { return };
        let Some(TypeName { names, array_bounds, .. }) = cast.type_name.as_ref() else { return };
        let is_document = || matches!(names.last().and_then(text), Some("json" | "jsonb"));
        if !array_bounds.is_empty() {
            self.parameters.push((number, Use::Array));
        } else if is_document() {
            self.parameters.push((number, Use::Document));
        } else if let Some(name) = names.last().and_then(text) {
            self.parameters.push((number, Use::Type(name.to_owned())));
        }
    }

    fn expression(&mut self, expression: &AExpr) {
        let (left, right) = (expression.lexpr.as_deref(), expression.rexpr.as_deref());
        let is_list = [AExprKind::AexprOpAny, AExprKind::AexprOpAll].contains(&expression.kind());
        for (one, other) in [(left, right), (right, left)] {
            let Some(number) = one.and_then(parameter) else { continue };
            if is_list {
                self.parameters.push((number, Use::Array));
            } else if let Some(name) = other.and_then(column) {
                self.parameters.push((number, Use::Column(name.to_owned())));
            }
        }
    }
}

fn parameter(node: &Node) -> Option<i32> {
    let Some(NodeEnum::ParamRef(parameter)) = node.node.as_ref() else { return None };
    Some(parameter.number)
}

fn column(node: &Node) -> Option<&str> {
    let Some(NodeEnum::ColumnRef(column)) = node.node.as_ref() else { return None };
    column.fields.last().and_then(text)
}

fn target_name(node: &Node) -> Option<&str> {
    let Some(NodeEnum::ResTarget(target)) = node.node.as_ref() else { return None };
    Some(&target.name)
}

fn text(node: &Node) -> Option<&str> {
    let Some(NodeEnum::String(text)) = node.node.as_ref() else { return None };
    Some(&text.sval)
}

/// Functions of PostgreSQL's own whose arguments are arrays.
const TAKE_ARRAYS: [&str; 8] = [
    "unnest",
    "cardinality",
    "array_length",
    "array_position",
    "array_positions",
    "array_to_string",
    "array_cat",
    "array_ndims",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn of(sql: &str) -> Vec<(i32, Use)> {
        uses(&Statement::new(sql.as_bytes(), Statement::AGENT_CAP).unwrap()).parameters
    }

    #[test]
    fn arrays_documents_and_columns_are_told_apart() {
        let column = |name: &str| Use::Column(name.to_owned());
        for (sql, expected) in [
            ("SELECT * FROM t WHERE id = ANY ($1)", vec![(1, Use::Array)]),
            ("SELECT * FROM t WHERE id <> ALL ($1::int[])", vec![(1, Use::Array)]),
            (
                "SELECT CAST($2 AS text ARRAY), $1::pg_catalog.jsonb",
                vec![(2, Use::Array), (1, Use::Document)],
            ),
            ("SELECT * FROM unnest($1) u", vec![(1, Use::Array)]),
            ("SELECT * FROM t WHERE a.tags @> $1 AND $2 = b", vec![(1, column("tags")), (2, column("b"))]),
            ("UPDATE t SET tags = $1, n = n + 1 WHERE id = $2", vec![(1, column("tags")), (2, column("id"))]),
            (
                "INSERT INTO t (id, tags) VALUES ($1, $2), (1, $3::int[])",
                vec![(1, column("id")), (2, column("tags")), (3, Use::Array)],
            ),
            ("SELECT $1::app.tags", vec![(1, Use::Type("tags".to_owned()))]),
            ("INSERT INTO t VALUES ($1, now())", vec![(1, Use::Place(0))]),
            ("SELECT jsonb_array_length($1), f($2), $3", vec![(1, Use::Document)]),
            ("SELEKT $1", vec![]),
        ] {
            assert_eq!(of(sql), expected, "{sql}");
        }
        assert_eq!(of(&format!("SELECT {}$1::int[]{}", "(".repeat(9_000), ")".repeat(9_000))), vec![]);
    }
}
