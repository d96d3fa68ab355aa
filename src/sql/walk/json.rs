//! XML and JSON syntax. The JSON forms are grammar only in newer servers: an older one would call a user's
//! function of that name, so each says which server it needs.

use pg_query::NodeEnum;
use pg_query::protobuf::{
    JsonAggConstructor, JsonBehavior, JsonFuncExpr, JsonKeyValue, JsonOutput, JsonTable, JsonTablePathSpec,
    JsonValueExpr, Node,
};

use super::Walker;
use super::names::alias_columns;
use super::scope::{Column, Range, Scope, Sources};
use super::select::Place;

impl Walker<'_> {
    /// Walks XML and JSON expressions; `false` for any other.
    #[expect(clippy::wildcard_enum_match_arm, reason = "an allow-list: the caller reports every other kind")]
    pub(super) fn json_expression(&mut self, node: &NodeEnum, scope: &Scope<'_>, out: &mut Sources) -> bool {
        match node {
            NodeEnum::XmlExpr(call) => {
                for named in &call.named_args {
                    match named.node.as_ref() {
                        Some(NodeEnum::ResTarget(target)) => self.maybe(target.val.as_deref(), scope, out),
                        Some(_) => self.expression(named, scope, out),
                        None => {}
                    }
                }
                self.expressions(&call.args, scope, out);
            }
            NodeEnum::XmlSerialize(call) => {
                if call.indent {
                    self.needs_server("XMLSERIALIZE INDENT", 16);
                }
                self.maybe(call.expr.as_deref(), scope, out);
            }
            NodeEnum::JsonValueExpr(value) => self.json_value(Some(value), scope, out),
            NodeEnum::JsonIsPredicate(test) => {
                self.needs_server("IS JSON", 16);
                self.maybe(test.expr.as_deref(), scope, out);
            }
            NodeEnum::JsonObjectConstructor(call) => {
                self.needs_server("JSON_OBJECT", 16);
                self.json_output(call.output.as_ref(), scope, out);
                for pair in &call.exprs {
                    match pair.node.as_ref() {
                        Some(NodeEnum::JsonKeyValue(pair)) => self.json_pair(Some(pair), scope, out),
                        Some(other) => self.unknown_node(other),
                        None => {}
                    }
                }
            }
            NodeEnum::JsonArrayConstructor(call) => {
                self.needs_server("JSON_ARRAY", 16);
                self.json_output(call.output.as_ref(), scope, out);
                self.expressions(&call.exprs, scope, out);
            }
            NodeEnum::JsonArrayQueryConstructor(call) => {
                self.needs_server("JSON_ARRAY", 16);
                self.json_output(call.output.as_ref(), scope, out);
                self.json_query(call.query.as_deref(), scope, out);
            }
            NodeEnum::JsonObjectAgg(call) => {
                self.needs_server("JSON_OBJECTAGG", 16);
                self.json_pair(call.arg.as_deref(), scope, out);
                self.json_aggregate(call.constructor.as_deref(), scope, out);
            }
            NodeEnum::JsonArrayAgg(call) => {
                self.needs_server("JSON_ARRAYAGG", 16);
                self.json_value(call.arg.as_deref(), scope, out);
                self.json_aggregate(call.constructor.as_deref(), scope, out);
            }
            _ => return self.newer_json_expression(node, scope, out),
        }
        true
    }

    /// The forms that came with PostgreSQL 17.
    #[expect(clippy::wildcard_enum_match_arm, reason = "an allow-list: the caller reports every other kind")]
    fn newer_json_expression(&mut self, node: &NodeEnum, scope: &Scope<'_>, out: &mut Sources) -> bool {
        match node {
            NodeEnum::JsonParseExpr(call) => {
                self.needs_server("JSON", 17);
                self.json_output(call.output.as_ref(), scope, out);
                self.json_value(call.expr.as_deref(), scope, out);
            }
            NodeEnum::JsonScalarExpr(call) => {
                self.needs_server("JSON_SCALAR", 17);
                self.json_output(call.output.as_ref(), scope, out);
                self.maybe(call.expr.as_deref(), scope, out);
            }
            NodeEnum::JsonSerializeExpr(call) => {
                self.needs_server("JSON_SERIALIZE", 17);
                self.json_output(call.output.as_ref(), scope, out);
                self.json_value(call.expr.as_deref(), scope, out);
            }
            NodeEnum::JsonFuncExpr(call) => self.json_function(call, scope, out),
            _ => return false,
        }
        true
    }

    fn json_function(&mut self, call: &JsonFuncExpr, scope: &Scope<'_>, out: &mut Sources) {
        self.needs_server("JSON_VALUE, JSON_QUERY and JSON_EXISTS", 17);
        self.json_value(call.context_item.as_deref(), scope, out);
        self.maybe(call.pathspec.as_deref(), scope, out);
        self.json_arguments(&call.passing, scope, out);
        self.json_output(call.output.as_ref(), scope, out);
        self.json_behavior(call.on_empty.as_deref(), scope, out);
        self.json_behavior(call.on_error.as_deref(), scope, out);
    }

    fn json_arguments(&mut self, passing: &[Node], scope: &Scope<'_>, out: &mut Sources) {
        for arg in passing {
            match arg.node.as_ref() {
                Some(NodeEnum::JsonArgument(arg)) => self.json_value(arg.val.as_deref(), scope, out),
                Some(other) => self.unknown_node(other),
                None => {}
            }
        }
    }

    fn json_value(&mut self, value: Option<&JsonValueExpr>, scope: &Scope<'_>, out: &mut Sources) {
        if let Some(value) = value {
            self.maybe(value.raw_expr.as_deref(), scope, out);
            self.maybe(value.formatted_expr.as_deref(), scope, out);
        }
    }

    fn json_pair(&mut self, pair: Option<&JsonKeyValue>, scope: &Scope<'_>, out: &mut Sources) {
        if let Some(pair) = pair {
            self.maybe(pair.key.as_deref(), scope, out);
            self.json_value(pair.value.as_deref(), scope, out);
        }
    }

    fn json_output(&mut self, output: Option<&JsonOutput>, scope: &Scope<'_>, out: &mut Sources) {
        if let Some(output) = output {
            self.type_name(output.type_name.as_ref(), scope, out);
        }
    }

    fn json_behavior(&mut self, behavior: Option<&JsonBehavior>, scope: &Scope<'_>, out: &mut Sources) {
        if let Some(behavior) = behavior {
            self.maybe(behavior.expr.as_deref(), scope, out);
        }
    }

    fn json_aggregate(&mut self, call: Option<&JsonAggConstructor>, scope: &Scope<'_>, out: &mut Sources) {
        let Some(call) = call else { return };
        self.json_output(call.output.as_ref(), scope, out);
        self.maybe(call.agg_filter.as_deref(), scope, out);
        self.sorts(&call.agg_order, scope, out);
        if let Some(window) = &call.over {
            self.window(window, scope, out);
        }
    }

    fn json_query(&mut self, query: Option<&Node>, scope: &Scope<'_>, out: &mut Sources) {
        let Some(NodeEnum::SelectStmt(select)) = query.and_then(|query| query.node.as_ref()) else {
            self.unresolved("node", "JsonArrayQueryConstructor", "has no query");
            return;
        };
        let derived = self.select(select, Some(scope), &scope.ctes, Place::Nested);
        out.extend(derived.influences);
        out.extend(derived.columns.iter().flat_map(|column| column.sources.iter().cloned()));
    }

    /// `JSON_TABLE(...)` in FROM.
    pub(super) fn json_table(
        &mut self,
        table: &JsonTable,
        so_far: &Scope<'_>,
        influences: &mut Sources,
    ) -> Range {
        self.needs_server("JSON_TABLE", 17);
        let mut sources = Sources::new();
        self.json_value(table.context_item.as_deref(), so_far, &mut sources);
        self.json_path(table.pathspec.as_deref(), so_far, &mut sources);
        self.json_arguments(&table.passing, so_far, &mut sources);
        self.json_behavior(table.on_error.as_deref(), so_far, &mut sources);
        let mut names = Vec::new();
        self.json_columns(&table.columns, so_far, &mut sources, &mut names);
        influences.extend(sources.iter().cloned());
        let mut columns: Vec<_> = names.iter().map(|name| Column::new(name, sources.clone())).collect();
        Range::rename(&mut columns, &alias_columns(table.alias.as_ref()));
        Range::derived(table.alias.as_ref().map_or("json_table", |alias| alias.aliasname.as_str()), columns)
    }

    fn json_path(&mut self, path: Option<&JsonTablePathSpec>, scope: &Scope<'_>, out: &mut Sources) {
        if let Some(path) = path {
            self.maybe(path.string.as_deref(), scope, out);
        }
    }

    /// The columns in order; those of NESTED paths stand where they are written.
    fn json_columns(
        &mut self,
        columns: &[Node],
        scope: &Scope<'_>,
        out: &mut Sources,
        names: &mut Vec<String>,
    ) {
        for column in columns {
            let Some(NodeEnum::JsonTableColumn(column)) = column.node.as_ref() else { continue };
            if !self.enter(1) {
                return;
            }
            self.json_path(column.pathspec.as_deref(), scope, out);
            self.json_behavior(column.on_empty.as_deref(), scope, out);
            self.json_behavior(column.on_error.as_deref(), scope, out);
            if column.columns.is_empty() {
                names.push(column.name.clone());
            } else {
                self.json_columns(&column.columns, scope, out, names);
            }
            self.depth -= 1;
        }
    }
}
