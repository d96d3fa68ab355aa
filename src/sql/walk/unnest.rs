//! The columns of `unnest`: those of a row for each of an array of rows, three for a `tsvector`, else one.

use std::rc::Rc;

use pg_query::NodeEnum;
use pg_query::protobuf::{FuncCall, Node, TypeName};

use crate::catalog::{Column, RelationKey};

use super::Walker;
use super::expression::row_range;
use super::names::strings;
use super::scope::Scope;

impl Walker<'_> {
    /// The columns of `unnest(a, b)` in FROM, called `alias` where it is the only one and gives plain values.
    pub(super) fn unnest_columns(
        &mut self,
        call: &FuncCall,
        scope: &Scope<'_>,
        alias: Option<&str>,
    ) -> Vec<String> {
        let alone = call.args.len() == 1;
        let plain = alias.filter(|_| alone).unwrap_or("unnest");
        let columns = |arg| self.element_columns(arg, scope).unwrap_or_else(|| vec![plain.to_owned()]);
        let columns: Vec<String> = call.args.iter().flat_map(columns).collect();
        if columns.is_empty() { vec![plain.to_owned()] } else { columns }
    }

    /// The columns that an element of `arg` has; `None` where it is one plain value, as far as can be told.
    fn element_columns(&mut self, arg: &Node, scope: &Scope<'_>) -> Option<Vec<String>> {
        #[expect(clippy::wildcard_enum_match_arm, reason = "of whatever else the type is not worked out")]
        match arg.node.as_ref()? {
            NodeEnum::TypeCast(cast) => self.columns_of_type(cast.type_name.as_ref()?),
            NodeEnum::FuncCall(call) => {
                let name = strings(&call.funcname).last().copied()?;
                TSVECTOR_FUNCTIONS.contains(&name).then(lexeme_columns)
            }
            NodeEnum::AArrayExpr(array) => match array.elements.first() {
                Some(first) => match first.node.as_ref()? {
                    NodeEnum::TypeCast(cast) => self.columns_of_type(&element(cast.type_name.as_ref()?)),
                    NodeEnum::ColumnRef(_) => {
                        let row = row_range(first, scope)?;
                        Some(row.columns.iter().map(|column| column.name.to_string()).collect())
                    }
                    _ => None,
                },
                None => None,
            },
            NodeEnum::ColumnRef(column) => {
                let sources = self.column_sources(column, scope);
                let [source] = sources.iter().collect::<Vec<_>>().try_into().ok()?;
                let source = Rc::clone(source);
                let relation = self.catalog.relation(&source.key)?;
                self.columns_of_column(relation.column(&source.column)?)
            }
            _ => None,
        }
    }

    fn columns_of_type(&self, name: &TypeName) -> Option<Vec<String>> {
        let parts = strings(&name.names);
        match (parts.as_slice(), name.array_bounds.is_empty()) {
            (["tsvector"] | ["pg_catalog", "tsvector"], true) => Some(lexeme_columns()),
            ([name], false) => self.columns_of_row(None, name),
            ([schema, name], false) => self.columns_of_row(Some(schema), name),
            _ => None,
        }
    }

    fn columns_of_column(&self, column: &Column) -> Option<Vec<String>> {
        if column.base_type_oid == TSVECTOR {
            return Some(lexeme_columns());
        }
        // As `format_type` prints it with an empty search_path.
        let element = column.type_name.strip_suffix("[]")?.replace('"', "");
        let (schema, name) = element.split_once('.')?;
        self.columns_of_row(Some(schema), name)
    }

    /// The columns of a composite type: its own, or those of a table that gives rows their type.
    fn columns_of_row(&self, schema: Option<&str>, name: &str) -> Option<Vec<String>> {
        let relation = match schema {
            Some(schema) => self.catalog.relation(&RelationKey::new(schema, name)),
            None => self.catalog.resolve_relation(None, name),
        };
        relation.map(|relation| relation.columns.iter().map(|column| column.name.clone()).collect())
    }
}

/// The type of an array of `name`.
fn element(name: &TypeName) -> TypeName {
    let mut array = name.clone();
    array.array_bounds.push(Node::default());
    array
}

fn lexeme_columns() -> Vec<String> {
    ["lexeme", "positions", "weights"].map(str::to_owned).to_vec()
}

/// PostgreSQL's functions that give a `tsvector`.
const TSVECTOR_FUNCTIONS: [&str; 9] = [
    "array_to_tsvector",
    "json_to_tsvector",
    "jsonb_to_tsvector",
    "setweight",
    "strip",
    "to_tsvector",
    "ts_delete",
    "ts_filter",
    "tsvector_concat",
];

/// The type's OID in every server.
const TSVECTOR: u32 = 3614;
