//! SELECT in all its shapes: a list of targets, VALUES, and set operations.

use std::collections::BTreeSet;
use std::rc::Rc;

use pg_query::NodeEnum;
use pg_query::protobuf::{IntoClause, LimitOption, Node, SelectStmt, SetOperation};

use crate::catalog::RelationKey;
use crate::sql::facts::{Class, Condition, Destination, LimitFact};

use super::expression::row_range;
use super::names::{dotted, ends_in_star, strings};
use super::scope::{Column, Ctes, Range, Scope, Sources, Visible};
use super::{Outline, Walker, figure, tautology};

/// Where a SELECT stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// It is the statement, or what EXPLAIN, DECLARE, COPY or PREPARE wraps.
    Outermost,
    /// It is the body of a view: a bare column in its list is used only where the view's column is.
    View,
    /// It is inside another.
    Nested,
}

/// What a query gives.
#[derive(Debug, Default)]
pub(super) struct Derived {
    pub(super) columns: Vec<Column>,
    /// What decides which rows there are.
    pub(super) influences: Sources,
}

impl Walker<'_> {
    pub(super) fn select_statement(&mut self, select: &SelectStmt, ctes: &Ctes, outermost: bool) -> Outline {
        let place = if outermost { Place::Outermost } else { Place::Nested };
        let derived = self.select(select, None, ctes, place);
        if into_clause(select).is_some() {
            // `SELECT ... INTO t` makes a table, and gives no rows.
            return Outline::new("select_into", Class::Ddl);
        }
        Outline::with("select", Class::Read, derived.columns)
    }

    /// Walks a query inside `outer`, with `ctes` in reach.
    pub(super) fn select(
        &mut self,
        select: &SelectStmt,
        outer: Option<&Scope<'_>>,
        ctes: &Ctes,
        place: Place,
    ) -> Derived {
        if !self.enter(1) {
            return Derived::default();
        }
        let ctes = self.with_clause(select.with_clause.as_ref(), outer, ctes);
        let derived = self.select_after_with(select, outer, &ctes, place);
        self.depth -= 1;
        derived
    }

    fn select_after_with(
        &mut self,
        select: &SelectStmt,
        outer: Option<&Scope<'_>>,
        ctes: &Ctes,
        place: Place,
    ) -> Derived {
        if let Some(into) = &select.into_clause {
            self.into(into);
        }
        self.locks_rows |= !select.locking_clause.is_empty();
        if place == Place::Outermost {
            self.limit = limit_fact(select);
        }
        if select.op() != SetOperation::SetopNone && select.op() != SetOperation::Undefined {
            let mut derived = self.set_operation(select, outer, ctes, place, |_| {});
            self.order_derived(select, &mut derived, outer, ctes);
            return derived;
        }
        if !select.values_lists.is_empty() {
            let mut derived = self.values(&select.values_lists, outer, ctes);
            self.order_derived(select, &mut derived, outer, ctes);
            return derived;
        }
        self.targets_of_from(select, outer, ctes, place)
    }

    /// `left UNION right`: columns by position. `after_left` sees the left side's columns before the right
    /// side is walked, which is how a recursive CTE comes to know its own.
    pub(super) fn set_operation(
        &mut self,
        select: &SelectStmt,
        outer: Option<&Scope<'_>>,
        ctes: &Ctes,
        place: Place,
        after_left: impl FnOnce(&[Column]),
    ) -> Derived {
        let place = if place == Place::Outermost { Place::Nested } else { place };
        let side = |walker: &mut Self, side: Option<&SelectStmt>| match side {
            Some(side) => walker.select(side, outer, ctes, place),
            None => Derived::default(),
        };
        let left = side(self, select.larg.as_deref());
        after_left(&left.columns);
        let right = side(self, select.rarg.as_deref());
        let mut influences = left.influences;
        influences.extend(right.influences);
        let mut right = right.columns.into_iter();
        let columns = left.columns.into_iter().map(|column| match right.next() {
            Some(other) => merge(&column, &other),
            None => column,
        });
        Derived { columns: columns.collect(), influences }
    }

    /// `VALUES (...), (...)`: columns by position.
    pub(super) fn values(&mut self, lists: &[Node], outer: Option<&Scope<'_>>, ctes: &Ctes) -> Derived {
        let scope = Scope::new(outer, ctes);
        let mut columns: Vec<Sources> = Vec::new();
        for list in lists {
            let Some(NodeEnum::List(list)) = list.node.as_ref() else { continue };
            let targets = self.target_list(&list.items, &scope, Place::Nested);
            for (index, target) in targets.iter().enumerate() {
                if columns.len() <= index {
                    columns.push(Sources::new());
                }
                if let Some(column) = columns.get_mut(index) {
                    column.extend(target.sources.iter().cloned());
                }
            }
        }
        let named = |(index, sources)| Column::new(&format!("column{}", index + 1), sources);
        let columns = columns.into_iter().enumerate().map(named).collect();
        Derived { columns, influences: Sources::new() }
    }

    /// ORDER BY and LIMIT behind VALUES or a set operation, which see its columns alone.
    pub(super) fn order_derived(
        &mut self,
        select: &SelectStmt,
        derived: &mut Derived,
        outer: Option<&Scope<'_>>,
        ctes: &Ctes,
    ) {
        let mut scope = Scope::new(outer, ctes);
        scope.items.push(Visible::fully(Range::derived("", derived.columns.clone())));
        let Derived { columns, influences } = derived;
        self.sort_keys(&select.sort_clause, columns, &scope, influences);
        self.condition(select.limit_offset.as_deref(), &scope, influences);
        self.condition(select.limit_count.as_deref(), &scope, influences);
    }

    fn targets_of_from(
        &mut self,
        select: &SelectStmt,
        outer: Option<&Scope<'_>>,
        ctes: &Ctes,
        place: Place,
    ) -> Derived {
        let mut influences = Sources::new();
        let mut scope = Scope::new(outer, ctes);
        self.ranges(&select.from_clause, &mut scope, &mut influences);
        self.windows(&select.window_clause, &mut scope);
        let columns = self.target_list(&select.target_list, &scope, place);
        self.where_clause(select, &scope, place, &mut influences);
        self.sort_keys(&select.group_clause, &columns, &scope, &mut influences);
        self.condition(select.having_clause.as_deref(), &scope, &mut influences);
        // Plain DISTINCT is a list of one empty node.
        self.sort_keys(&select.distinct_clause, &columns, &scope, &mut influences);
        self.sort_keys(&select.sort_clause, &columns, &scope, &mut influences);
        self.condition(select.limit_offset.as_deref(), &scope, &mut influences);
        self.condition(select.limit_count.as_deref(), &scope, &mut influences);
        Derived { columns, influences }
    }

    /// The WINDOW clause: whatever orders a named window flows into every function over it.
    fn windows(&mut self, windows: &[Node], scope: &mut Scope<'_>) {
        let mut sources = Sources::new();
        for window in windows {
            match window.node.as_ref() {
                Some(NodeEnum::WindowDef(window)) => self.window(window, scope, &mut sources),
                Some(other) => self.unknown_node(other),
                None => {}
            }
        }
        scope.windows = Rc::new(sources);
    }

    fn where_clause(&mut self, select: &SelectStmt, scope: &Scope<'_>, place: Place, out: &mut Sources) {
        let clause = select.where_clause.as_deref();
        if place == Place::Outermost {
            self.outermost = self.condition_fact(clause, scope, out);
        } else {
            self.condition(clause, scope, out);
        }
    }

    /// Walks a WHERE clause, and says what it is.
    pub(super) fn condition_fact(
        &mut self,
        clause: Option<&Node>,
        scope: &Scope<'_>,
        out: &mut Sources,
    ) -> Condition {
        let before = self.named.replace(BTreeSet::new());
        self.condition(clause, scope, out);
        let named = std::mem::replace(&mut self.named, before).unwrap_or_default();
        if let Some(outer) = &mut self.named {
            outer.extend(named.iter().cloned());
        }
        Condition {
            present: clause.is_some(),
            tautology: clause.is_some_and(tautology::always_holds),
            columns: named.into_iter().collect(),
        }
    }

    /// The output columns, with every star expanded by the ranges it covers.
    pub(super) fn target_list(&mut self, targets: &[Node], scope: &Scope<'_>, place: Place) -> Vec<Column> {
        let mut columns = Vec::new();
        for target in targets {
            let before = columns.len();
            match target.node.as_ref() {
                Some(NodeEnum::ResTarget(target)) => {
                    if let Some(value) = target.val.as_deref() {
                        self.target(&target.name, value, scope, place, &mut columns);
                    }
                }
                // A row of VALUES holds the expressions themselves.
                Some(_) => self.target("", target, scope, place, &mut columns),
                None => {}
            }
            if !self.enter(columns.len().saturating_sub(before)) {
                return Vec::new();
            }
            self.depth -= 1;
        }
        columns
    }

    fn target(&mut self, alias: &str, value: &Node, scope: &Scope<'_>, place: Place, out: &mut Vec<Column>) {
        if let Some(expanded) = self.star(value, scope) {
            for column in &expanded {
                if place != Place::View {
                    self.read(&column.sources);
                }
            }
            out.extend(expanded);
            return;
        }
        let name = if alias.is_empty() { figure::column_name(value) } else { alias.to_owned() };
        let mut sources = Sources::new();
        match value.node.as_ref() {
            Some(NodeEnum::ColumnRef(column)) if place == Place::View => {
                sources = self.column_sources(column, scope);
            }
            _ => self.expression(value, scope, &mut sources),
        }
        out.push(Column::new(&name, sources));
    }

    /// The columns of `*`, `t.*`, `s.t.*` or `(t).*`; `None` for any other target.
    fn star(&mut self, value: &Node, scope: &Scope<'_>) -> Option<Vec<Column>> {
        if let Some(NodeEnum::ColumnRef(column)) = value.node.as_ref() {
            if !ends_in_star(&column.fields) {
                return None;
            }
            let ranges = starred(&strings(&column.fields), scope);
            return Some(self.expand(&ranges, &dotted(&column.fields)));
        }
        let Some(NodeEnum::AIndirection(part)) = value.node.as_ref() else { return None };
        if !ends_in_star(&part.indirection) {
            return None;
        }
        let whole_row = part.indirection.len() == 1;
        let range = part.arg.as_deref().filter(|_| whole_row).and_then(|arg| row_range(arg, scope));
        if let Some(range) = range {
            return Some(self.expand(&Some(vec![range]), "(...).*"));
        }
        let mut sources = Sources::new();
        self.maybe(part.arg.as_deref(), scope, &mut sources);
        let fields = part.arg.as_deref().filter(|_| whole_row).and_then(|arg| self.fields(arg, scope));
        let Some(fields) = fields else { return Some(self.expand(&None, "(...).*")) };
        // Which part of the value a field is, nobody knows: each is all of it.
        Some(fields.iter().map(|name| Column::new(name, sources.clone())).collect())
    }

    /// The names of the fields of a composite value; `None` where its type is not known.
    fn fields(&self, value: &Node, scope: &Scope<'_>) -> Option<Vec<String>> {
        let node = value.node.as_ref()?;
        if let NodeEnum::FuncCall(call) = node {
            return self.fields_of_call(call);
        }
        if let NodeEnum::RowExpr(row) = node {
            return fields_of_row(&row.args);
        }
        let NodeEnum::ColumnRef(column) = node else { return None };
        self.fields_of_column(&strings(&column.fields), scope)
    }

    /// The fields of a column of a relation.
    fn fields_of_column(&self, parts: &[&str], scope: &Scope<'_>) -> Option<Vec<String>> {
        let (range, name) = match parts {
            [name] => (scope.holder(name)?, *name),
            [range, name] => (scope.range(range)?, *name),
            _ => return None,
        };
        // An alias may have given columns other names: they are told by their places.
        let place = range.columns.iter().position(|column| &*column.name == name)?;
        let relation = self.catalog.relation(range.relation.as_ref()?)?;
        let column = relation.columns.get(place).filter(|column| column.base_type_kind == 'c')?;
        // Printed with an empty search_path, a type's name is the key of its relation, unless it has to be quoted.
        let composite = self.catalog.relation_called(&column.type_name)?;
        Some(composite.columns.iter().map(|column| column.name.clone()).collect())
    }

    fn expand(&mut self, ranges: &Option<Vec<Rc<Range>>>, written: &str) -> Vec<Column> {
        let Some(ranges) = ranges else {
            self.unresolved("column", written, "covers columns that are not known");
            return Vec::new();
        };
        if ranges.iter().any(|range| !range.star_known) {
            self.unresolved("column", written, "covers a function's columns: name them in its alias");
        }
        ranges.iter().flat_map(|range| range.columns.iter().cloned()).collect()
    }

    /// SELECT INTO and CREATE TABLE AS.
    pub(super) fn into(&mut self, into: &IntoClause) {
        self.destinations.insert(Destination::Table);
        self.heaviest = self.heaviest.max(Class::Ddl);
        if let Some(relation) = &into.rel {
            self.touch_new(relation);
        }
    }
}

fn starred(parts: &[&str], scope: &Scope<'_>) -> Option<Vec<Rc<Range>>> {
    match parts {
        [] => {
            let items = scope.items.iter().filter(|item| item.by_column);
            let ranges: Vec<_> = items.map(|item| Rc::clone(&item.range)).collect();
            (!ranges.is_empty()).then_some(ranges)
        }
        [range] => Some(vec![scope.range(range)?]),
        [schema, table] | [_, schema, table] => Some(vec![scope.relation(&RelationKey::new(schema, table))?]),
        _ => None,
    }
}

/// `f1`, `f2`, ... of `ROW(...)`; `None` where one of its parts is several.
fn fields_of_row(parts: &[Node]) -> Option<Vec<String>> {
    let is_one = |part: &Node| match part.node.as_ref() {
        Some(NodeEnum::ColumnRef(column)) => !ends_in_star(&column.fields),
        Some(NodeEnum::AIndirection(part)) => !ends_in_star(&part.indirection),
        Some(_) | None => true,
    };
    let all_are = parts.iter().all(is_one);
    all_are.then(|| (1..=parts.len()).map(|place| format!("f{place}")).collect())
}

/// One column that is the one or the other.
pub(super) fn merge(a: &Column, b: &Column) -> Column {
    if b.sources.is_subset(&a.sources) {
        return a.clone();
    }
    let sources = a.sources.union(&b.sources).cloned().collect();
    Column { name: Rc::clone(&a.name), sources: Rc::new(sources) }
}

/// The INTO of a query: PostgreSQL takes it from the leftmost arm of a set operation.
pub(super) fn into_clause(select: &SelectStmt) -> Option<&IntoClause> {
    let mut select = select;
    loop {
        match (&select.into_clause, &select.larg) {
            (Some(into), _) => return Some(into),
            (None, Some(left)) => select = left,
            (None, None) => return None,
        }
    }
}

fn limit_fact(select: &SelectStmt) -> LimitFact {
    let Some(count) = select.limit_count.as_deref() else { return LimitFact { present: false, rows: -1 } };
    if let Some(NodeEnum::AConst(value)) = count.node.as_ref()
        && value.isnull
    {
        // LIMIT ALL.
        return LimitFact { present: false, rows: -1 };
    }
    // WITH TIES may give more rows than it says.
    let exact = select.limit_option() != LimitOption::WithTies;
    let rows = super::utility::integer(count).filter(|_| exact).unwrap_or(-1);
    LimitFact { present: true, rows }
}
