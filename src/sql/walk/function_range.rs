//! Functions in FROM, and which columns they give.

use std::rc::Rc;

use pg_query::NodeEnum;
use pg_query::protobuf::{FuncCall, Node, RangeFunction};

use crate::catalog::{FunctionResult, Relation};

use super::Walker;
use super::figure;
use super::names::{alias_columns, strings};
use super::scope::{Column, Range, Scope, Sources};

impl Walker<'_> {
    /// `FROM f(x)`, `FROM ROWS FROM (f(x), g(y))`: always LATERAL.
    pub(super) fn function_range(
        &mut self,
        range: &RangeFunction,
        so_far: &Scope<'_>,
        influences: &mut Sources,
    ) -> Range {
        let alias = range.alias.as_ref();
        let alias_name = alias.map(|alias| alias.aliasname.as_str());
        let mut all = Sources::new();
        let mut columns = Vec::new();
        let mut star_known = true;
        let mut first_name = String::new();
        for function in &range.functions {
            let Some(NodeEnum::List(pair)) = function.node.as_ref() else { continue };
            let Some(call) = pair.items.first() else { continue };
            let mut sources = Sources::new();
            self.expression(call, so_far, &mut sources);
            let name = figure::column_name(call);
            let defined = definitions(pair.items.get(1)).or_else(|| column_names(&range.coldeflist));
            let alone = range.functions.len() == 1;
            let alias = alias_name.filter(|_| alone);
            match defined.or_else(|| self.known_columns(call, &name, alias, so_far)) {
                Some(names) => columns.extend(names.iter().map(|name| Column::new(name, sources.clone()))),
                None => star_known = false,
            }
            if first_name.is_empty() {
                first_name = name;
            }
            all.append(&mut sources);
        }
        if range.ordinality {
            columns.push(Column::new("ordinality", Sources::new()));
        }
        influences.extend(all.iter().cloned());
        let names = alias_columns(alias);
        if !star_known {
            columns = names.iter().map(|name| Column::new(name, all.clone())).collect();
            // A function of unknown shape whose alias names columns still has those at least.
        }
        Range::rename(&mut columns, &names);
        Range {
            name: Rc::from(alias_name.unwrap_or(&first_name)),
            unaliased: None,
            relation: None,
            columns,
            open: Some(Rc::new(all)),
            star_known,
        }
    }

    /// The columns of a function; `None` where they are not known.
    fn known_columns(
        &mut self,
        call: &Node,
        name: &str,
        alias: Option<&str>,
        scope: &Scope<'_>,
    ) -> Option<Vec<String>> {
        let node = call.node.as_ref()?;
        let NodeEnum::FuncCall(call) = node else {
            // CURRENT_USER, COALESCE(...) and the like give one value.
            return matches!(node, NodeEnum::SqlvalueFunction(_))
                .then(|| vec![alias.unwrap_or(name).to_owned()]);
        };
        let parts = strings(&call.funcname);
        let (schema, function) = match parts.as_slice() {
            [function] => (None, *function),
            [schema, function] | [_, schema, function] => (Some(*schema), *function),
            _ => return None,
        };
        if function == "unnest" && schema.is_none_or(|schema| schema == "pg_catalog") {
            return Some(self.unnest_columns(call, scope, alias));
        }
        let by_result = self.columns_of_result(schema, function, alias);
        by_result.or_else(|| self.populated_columns(schema, function, call.args.first()?))
    }

    /// `jsonb_populate_record(NULL::t, ...)` and its like have the columns of `t`.
    fn populated_columns(&self, schema: Option<&str>, function: &str, first: &Node) -> Option<Vec<String>> {
        let candidates = self.catalog.resolve_functions(schema, function);
        if !POPULATING.contains(&function) || candidates.iter().any(|it| it.schema != "pg_catalog") {
            return None;
        }
        let Some(NodeEnum::TypeCast(cast)) = first.node.as_ref() else { return None };
        let name = cast.type_name.as_ref().filter(|name| name.array_bounds.is_empty())?;
        let relation = match strings(&name.names).as_slice() {
            [name] => self.catalog.resolve_relation(None, name),
            [schema, name] => self.catalog.resolve_relation(Some(schema), name),
            _ => None,
        };
        relation.map(|relation| column_names_of(relation))
    }

    /// The columns of `(call).*`; `None` where they are not known.
    pub(super) fn fields_of_call(&self, call: &FuncCall) -> Option<Vec<String>> {
        let (schema, function) = match strings(&call.funcname).as_slice() {
            [function] => (None, *function),
            [schema, function] => (Some(*schema), *function),
            _ => return None,
        };
        let candidates = self.catalog.resolve_functions(schema, function);
        let has_fields = |result: &FunctionResult| {
            matches!(result, FunctionResult::Row(_))
                || matches!(result, FunctionResult::Named(names) if names.len() > 1)
        };
        if !candidates.iter().all(|candidate| has_fields(&candidate.result)) {
            return None;
        }
        self.columns_of_result(schema, function, None)
    }

    /// The columns that all functions of this name agree on.
    fn columns_of_result(
        &self,
        schema: Option<&str>,
        function: &str,
        alias: Option<&str>,
    ) -> Option<Vec<String>> {
        let candidates = self.catalog.resolve_functions(schema, function);
        let result = &candidates.first()?.result;
        if candidates.iter().any(|candidate| candidate.result != *result) {
            return None;
        }
        match result {
            FunctionResult::Plain => Some(vec![alias.unwrap_or(function).to_owned()]),
            FunctionResult::Named(names) => Some(names.clone()),
            FunctionResult::Row(oid) => Some(column_names_of(self.catalog.relation_by_oid(*oid)?)),
            FunctionResult::Unknown => None,
        }
    }
}

fn column_names_of(relation: &Relation) -> Vec<String> {
    relation.columns.iter().map(|column| column.name.clone()).collect()
}

/// The column definitions of one function within ROWS FROM.
fn definitions(node: Option<&Node>) -> Option<Vec<String>> {
    let Some(NodeEnum::List(list)) = node?.node.as_ref() else { return None };
    column_names(&list.items)
}

fn column_names(definitions: &[Node]) -> Option<Vec<String>> {
    if definitions.is_empty() {
        return None;
    }
    let name = |node: &Node| match node.node.as_ref() {
        Some(NodeEnum::ColumnDef(column)) => column.colname.clone(),
        Some(_) | None => String::new(),
    };
    Some(definitions.iter().map(name).collect())
}

/// PostgreSQL's functions that give a row of their first argument's type.
const POPULATING: [&str; 4] =
    ["json_populate_record", "json_populate_recordset", "jsonb_populate_record", "jsonb_populate_recordset"];
