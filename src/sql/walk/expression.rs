//! Expressions: every value that an expression looks at flows into it, conditions and subqueries included.

use std::rc::Rc;

use pg_query::NodeEnum;
use pg_query::protobuf::{
    AExpr, AIndirection, CaseExpr, ColumnRef, Node, RowExpr, SortBy, SubLink, TypeName, WindowDef,
};

use crate::catalog::RelationKey;

use super::Walker;
use super::names::{dotted, ends_in_star, string, strings};
use super::scope::{Column, Range, Scope, Sources};
use super::select::Place;

impl Walker<'_> {
    /// Adds to `out` every base column that may decide the value of `node`.
    pub(super) fn expression(&mut self, node: &Node, scope: &Scope<'_>, out: &mut Sources) {
        let Some(node) = node.node.as_ref() else { return };
        if !self.enter(1) {
            return;
        }
        if !self.plain_expression(node, scope, out) && !self.json_expression(node, scope, out) {
            self.unknown_node(node);
        }
        self.depth -= 1;
    }

    pub(super) fn maybe(&mut self, node: Option<&Node>, scope: &Scope<'_>, out: &mut Sources) {
        if let Some(node) = node {
            self.expression(node, scope, out);
        }
    }

    pub(super) fn expressions(&mut self, nodes: &[Node], scope: &Scope<'_>, out: &mut Sources) {
        for node in nodes {
            self.expression(node, scope, out);
        }
    }

    /// Walks an expression that decides which rows are touched.
    pub(super) fn condition(&mut self, node: Option<&Node>, scope: &Scope<'_>, out: &mut Sources) {
        let mut sources = Sources::new();
        self.maybe(node, scope, &mut sources);
        self.filter(&sources);
        out.append(&mut sources);
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "an allow-list: the caller reports every other kind")]
    fn plain_expression(&mut self, node: &NodeEnum, scope: &Scope<'_>, out: &mut Sources) -> bool {
        match node {
            // A cursor's position and the constants of the session read no column.
            NodeEnum::AConst(_)
            | NodeEnum::ParamRef(_)
            | NodeEnum::SetToDefault(_)
            | NodeEnum::CurrentOfExpr(_)
            | NodeEnum::SqlvalueFunction(_)
            | NodeEnum::String(_)
            | NodeEnum::Integer(_) => {}
            NodeEnum::ColumnRef(column) => self.column_value(column, scope, out),
            NodeEnum::AExpr(operation) => self.operation(operation, scope, out),
            NodeEnum::BoolExpr(all) => self.expressions(&all.args, scope, out),
            NodeEnum::List(list) => self.expressions(&list.items, scope, out),
            NodeEnum::SubLink(link) => self.sublink(link, scope, out),
            NodeEnum::CaseExpr(case) => self.case(case, scope, out),
            NodeEnum::TypeCast(cast) => {
                self.type_name(cast.type_name.as_ref(), scope, out);
                self.maybe(cast.arg.as_deref(), scope, out);
            }
            NodeEnum::CollateClause(clause) => self.maybe(clause.arg.as_deref(), scope, out),
            NodeEnum::FuncCall(call) => self.call(call, scope, out),
            NodeEnum::AIndirection(part) => self.indirection(part, scope, out),
            NodeEnum::AArrayExpr(array) => self.expressions(&array.elements, scope, out),
            NodeEnum::RowExpr(row) => self.row(row, scope, out),
            NodeEnum::CoalesceExpr(call) => self.expressions(&call.args, scope, out),
            NodeEnum::MinMaxExpr(call) => self.expressions(&call.args, scope, out),
            NodeEnum::NullTest(test) => self.maybe(test.arg.as_deref(), scope, out),
            NodeEnum::BooleanTest(test) => self.maybe(test.arg.as_deref(), scope, out),
            NodeEnum::GroupingFunc(call) => self.expressions(&call.args, scope, out),
            NodeEnum::NamedArgExpr(arg) => self.maybe(arg.arg.as_deref(), scope, out),
            NodeEnum::MultiAssignRef(part) => self.maybe(part.source.as_deref(), scope, out),
            NodeEnum::MergeSupportFunc(_) => self.needs_server("MERGE_ACTION", 17),
            _ => return false,
        }
        true
    }

    fn operation(&mut self, operation: &AExpr, scope: &Scope<'_>, out: &mut Sources) {
        self.operator(&operation.name);
        self.maybe(operation.lexpr.as_deref(), scope, out);
        self.maybe(operation.rexpr.as_deref(), scope, out);
    }

    fn case(&mut self, case: &CaseExpr, scope: &Scope<'_>, out: &mut Sources) {
        self.maybe(case.arg.as_deref(), scope, out);
        for arm in &case.args {
            let Some(NodeEnum::CaseWhen(when)) = arm.node.as_ref() else { continue };
            self.maybe(when.expr.as_deref(), scope, out);
            self.maybe(when.result.as_deref(), scope, out);
        }
        self.maybe(case.defresult.as_deref(), scope, out);
    }

    fn row(&mut self, row: &RowExpr, scope: &Scope<'_>, out: &mut Sources) {
        self.expressions(&row.args, scope, out);
    }

    /// The value of a subquery: its outputs and everything that decides which rows it has.
    fn sublink(&mut self, link: &SubLink, scope: &Scope<'_>, out: &mut Sources) {
        self.operator(&link.oper_name);
        self.maybe(link.testexpr.as_deref(), scope, out);
        let Some(NodeEnum::SelectStmt(select)) =
            link.subselect.as_ref().and_then(|query| query.node.as_ref())
        else {
            self.unresolved("node", "SubLink", "has no query");
            return;
        };
        let derived = self.select(select, Some(scope), &scope.ctes, Place::Nested);
        out.extend(derived.influences);
        for column in derived.columns {
            out.extend(column.sources.iter().cloned());
        }
    }

    /// `x[1]`, `(x).field`, `(x).*`.
    fn indirection(&mut self, part: &AIndirection, scope: &Scope<'_>, out: &mut Sources) {
        if let Some((range, field)) = row_field(part, scope) {
            let mut sources = Sources::new();
            if range.column(&field, &mut sources) {
                self.read(&sources);
                out.append(&mut sources);
                self.indices(part.indirection.get(1..).unwrap_or_default(), scope, out);
                return;
            }
        }
        self.maybe(part.arg.as_deref(), scope, out);
        self.indices(&part.indirection, scope, out);
    }

    pub(super) fn indices(&mut self, parts: &[Node], scope: &Scope<'_>, out: &mut Sources) {
        for part in parts {
            match part.node.as_ref() {
                Some(NodeEnum::AIndices(index)) => {
                    self.maybe(index.lidx.as_deref(), scope, out);
                    self.maybe(index.uidx.as_deref(), scope, out);
                }
                // `(x).name` is a field of a composite, or a call of the function `name`.
                Some(NodeEnum::String(field)) => self.attribute_call(&field.sval),
                Some(NodeEnum::AStar(_)) | None => {}
                Some(other) => self.unknown_node(other),
            }
        }
    }

    pub(super) fn type_name(&mut self, name: Option<&TypeName>, scope: &Scope<'_>, out: &mut Sources) {
        if let Some(name) = name {
            for modifier in &name.typmods {
                // `numeric(10,2)` holds constants; `foo(bar)` holds a bare word that is no column.
                if !matches!(modifier.node.as_ref(), Some(NodeEnum::ColumnRef(_))) {
                    self.expression(modifier, scope, out);
                }
            }
        }
    }

    /// A column reference as a value.
    fn column_value(&mut self, column: &ColumnRef, scope: &Scope<'_>, out: &mut Sources) {
        let sources = self.column_sources(column, scope);
        self.read(&sources);
        out.extend(sources);
    }

    /// What a column reference may hold, without marking it as read.
    pub(super) fn column_sources(&mut self, column: &ColumnRef, scope: &Scope<'_>) -> Sources {
        if let Some(sources) = self.find_column(&column.fields, scope) {
            return sources;
        }
        self.unresolved("column", &dotted(&column.fields), "does not exist or is not visible to you");
        Sources::new()
    }

    fn find_column(&mut self, fields: &[Node], scope: &Scope<'_>) -> Option<Sources> {
        let parts = strings(fields);
        if let Some(last) = parts.last()
            && let Some(named) = &mut self.named
        {
            named.insert((*last).to_owned());
        }
        if ends_in_star(fields) {
            return star_row(&parts, scope);
        }
        match parts.as_slice() {
            [name] => bare_name(name, scope),
            [range, field] => self.field(&*scope.range(range)?, field),
            [schema, table, field] | [_, schema, table, field] => {
                self.field(&*scope.relation(&RelationKey::new(schema, table))?, field)
            }
            _ => None,
        }
    }

    /// `range.field`: a column, a system column, or a function applied to the row.
    fn field(&mut self, range: &Range, field: &str) -> Option<Sources> {
        let mut sources = Sources::new();
        if range.column(field, &mut sources) || SYSTEM_COLUMNS.contains(&field) {
            return Some(sources);
        }
        if self.record_call(None, field) || range.open.is_some() {
            range.row(&mut sources);
            return Some(sources);
        }
        None
    }

    /// An entry of ORDER BY, GROUP BY or DISTINCT ON: a position, an output's name, or an expression.
    pub(super) fn sort_key(
        &mut self,
        node: &Node,
        outputs: &[Column],
        scope: &Scope<'_>,
        influences: &mut Sources,
    ) {
        let mut sources = Sources::new();
        match node.node.as_ref() {
            Some(NodeEnum::SortBy(sort)) => {
                self.operator(&sort.use_op);
                if let Some(node) = sort.node.as_deref() {
                    self.sort_key(node, outputs, scope, influences);
                }
            }
            Some(NodeEnum::GroupingSet(set)) => self.sort_keys(&set.content, outputs, scope, influences),
            Some(NodeEnum::List(list)) => self.sort_keys(&list.items, outputs, scope, influences),
            Some(NodeEnum::RowExpr(row)) => self.sort_keys(&row.args, outputs, scope, influences),
            Some(_) => {
                let by_output = output_sources(node, outputs, &mut sources);
                let bare = bare_column(node);
                match bare.and_then(|name| bare_name(name, scope)) {
                    Some(more) => sources.extend(more),
                    None if by_output => {}
                    None => self.expression(node, scope, &mut sources),
                }
            }
            None => {}
        }
        self.filter(&sources);
        influences.append(&mut sources);
    }

    pub(super) fn sort_keys(
        &mut self,
        nodes: &[Node],
        outputs: &[Column],
        scope: &Scope<'_>,
        influences: &mut Sources,
    ) {
        for node in nodes {
            self.sort_key(node, outputs, scope, influences);
        }
    }

    /// The ordering inside an aggregate or a window: plain expressions.
    pub(super) fn sorts(&mut self, nodes: &[Node], scope: &Scope<'_>, out: &mut Sources) {
        for node in nodes {
            match node.node.as_ref() {
                Some(NodeEnum::SortBy(sort)) => self.sort_expression(sort, scope, out),
                Some(_) => self.expression(node, scope, out),
                None => {}
            }
        }
    }

    fn sort_expression(&mut self, sort: &SortBy, scope: &Scope<'_>, out: &mut Sources) {
        self.operator(&sort.use_op);
        self.maybe(sort.node.as_deref(), scope, out);
    }

    pub(super) fn window(&mut self, window: &WindowDef, scope: &Scope<'_>, out: &mut Sources) {
        if !window.name.is_empty() || !window.refname.is_empty() {
            out.extend(scope.windows.iter().cloned());
        }
        self.expressions(&window.partition_clause, scope, out);
        self.sorts(&window.order_clause, scope, out);
        self.maybe(window.start_offset.as_deref(), scope, out);
        self.maybe(window.end_offset.as_deref(), scope, out);
    }
}

/// A bare name: a column, a system column, or a whole row.
pub(super) fn bare_name(name: &str, scope: &Scope<'_>) -> Option<Sources> {
    let mut sources = Sources::new();
    let row = scope.range(name);
    if let Some(row) = &row {
        row.row(&mut sources);
    }
    match scope.column(name) {
        // A function's result is both a range and a column of one name: `FROM generate_series(1, 3) AS n`.
        Some(mut column) => {
            if row.is_some_and(|row| row.open.is_some()) {
                column.append(&mut sources);
            }
            Some(column)
        }
        None if row.is_some() => Some(sources),
        None => SYSTEM_COLUMNS.contains(&name).then(Sources::new),
    }
}

/// `t.*` or `*` as one value: every column.
fn star_row(parts: &[&str], scope: &Scope<'_>) -> Option<Sources> {
    let mut sources = Sources::new();
    match parts {
        [] => {
            for item in scope.items.iter().filter(|item| item.by_column) {
                item.range.row(&mut sources);
            }
        }
        [range] => scope.range(range)?.row(&mut sources),
        [schema, table] | [_, schema, table] => {
            scope.relation(&RelationKey::new(schema, table))?.row(&mut sources);
        }
        _ => return None,
    }
    Some(sources)
}

/// `(range).field` where `range` names a row of FROM and no column.
fn row_field(part: &AIndirection, scope: &Scope<'_>) -> Option<(Rc<Range>, String)> {
    let range = row_range(part.arg.as_deref()?, scope)?;
    let field = part.indirection.first().and_then(string)?;
    Some((range, field.to_owned()))
}

/// The range whose whole row `node` is.
pub(super) fn row_range(node: &Node, scope: &Scope<'_>) -> Option<Rc<Range>> {
    let name = bare_column(node)?;
    if scope.column(name).is_some() {
        return None;
    }
    scope.range(name)
}

fn bare_column(node: &Node) -> Option<&str> {
    let Some(NodeEnum::ColumnRef(column)) = node.node.as_ref() else { return None };
    let [field] = column.fields.as_slice() else { return None };
    string(field)
}

/// Whether `node` names an output by position or name; adds what flows into it.
fn output_sources(node: &Node, outputs: &[Column], out: &mut Sources) -> bool {
    if let Some(position) = super::utility::integer(node) {
        let index = usize::try_from(position).ok().and_then(|position| position.checked_sub(1));
        let column = index.and_then(|index| outputs.get(index));
        out.extend(column.iter().flat_map(|column| column.sources.iter().cloned()));
        return true;
    }
    let Some(name) = bare_column(node) else { return false };
    let mut found = false;
    for column in outputs.iter().filter(|column| &*column.name == name) {
        out.extend(column.sources.iter().cloned());
        found = true;
    }
    found
}

/// Columns that every table has and no catalog snapshot lists.
const SYSTEM_COLUMNS: [&str; 6] = ["ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"];
