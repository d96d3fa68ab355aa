//! FROM: relations, views, subqueries, joins.

use std::rc::Rc;
use std::sync::Arc;

use pg_query::NodeEnum;
use pg_query::protobuf::{JoinExpr, Node, RangeSubselect, RangeTableFunc, RangeTableSample, RangeVar};

use crate::catalog::Relation;
use crate::sql::facts::Access;

use super::names::{alias_columns, dotted, strings};
use super::scope::{Column, CteState, Ctes, Range, Scope, Sources, Visible, find_cte};
use super::select::{Place, merge};
use super::{Depth, Walker};

impl Walker<'_> {
    /// Adds everything in a FROM or USING list to `scope`, from left to right.
    pub(super) fn ranges(&mut self, list: &[Node], scope: &mut Scope<'_>, influences: &mut Sources) {
        for item in list {
            let items = self.range_item(item, scope, influences);
            scope.items.extend(items);
        }
    }

    /// The ranges of one entry of FROM. `so_far` holds those to the left, which only LATERAL can see.
    pub(super) fn range_item(
        &mut self,
        node: &Node,
        so_far: &Scope<'_>,
        influences: &mut Sources,
    ) -> Vec<Visible> {
        let Some(node) = node.node.as_ref() else { return Vec::new() };
        if !self.enter(1) {
            return Vec::new();
        }
        let items = self.range_node(node, so_far, influences);
        self.depth -= 1;
        items
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "an allow-list: every other kind is reported")]
    fn range_node(&mut self, node: &NodeEnum, so_far: &Scope<'_>, influences: &mut Sources) -> Vec<Visible> {
        match node {
            NodeEnum::RangeVar(range) => vec![Visible::fully(self.range_var(range, so_far))],
            NodeEnum::RangeSubselect(query) => self.subselect(query, so_far, influences),
            NodeEnum::JoinExpr(join) => self.join(join, so_far, influences),
            NodeEnum::RangeFunction(function) => {
                vec![Visible::fully(self.function_range(function, so_far, influences))]
            }
            NodeEnum::RangeTableSample(sample) => self.sample(sample, so_far, influences),
            NodeEnum::RangeTableFunc(table) => {
                vec![Visible::fully(self.xml_table(table, so_far, influences))]
            }
            NodeEnum::JsonTable(table) => vec![Visible::fully(self.json_table(table, so_far, influences))],
            other => {
                self.unknown_node(other);
                Vec::new()
            }
        }
    }

    fn range_var(&mut self, range: &RangeVar, so_far: &Scope<'_>) -> Range {
        let aliases = alias_columns(range.alias.as_ref());
        let name = range.alias.as_ref().map_or(range.relname.as_str(), |alias| alias.aliasname.as_str());
        if range.schemaname.is_empty()
            && range.catalogname.is_empty()
            && let Some(cte) = find_cte(&so_far.ctes, &range.relname)
        {
            let state = cte.state.borrow().clone();
            let CteState::Known(mut columns) = state else {
                let why = "is a WITH query that is used before its columns are known";
                self.unresolved("relation", &range.relname, why);
                return Range::unknown(name);
            };
            Range::rename(&mut columns, &aliases);
            return Range::derived(name, columns);
        }
        let Some(relation) = self.relation(range) else { return Range::unknown(name) };
        let relation = Arc::clone(relation);
        self.relation_range(range, &relation, Access::Read)
    }

    /// The range of `relation`, listed under `access`.
    pub(super) fn relation_range(
        &mut self,
        range: &RangeVar,
        relation: &Arc<Relation>,
        access: Access,
    ) -> Range {
        self.touch(relation, access, range.inh);
        if !self.enter(relation.columns.len()) {
            return Range::unknown(&range.relname);
        }
        let mut columns = self.columns_of(relation, access);
        self.depth -= 1;
        let alias = range.alias.as_ref();
        Range::rename(&mut columns, &alias_columns(alias));
        Range {
            name: Rc::from(alias.map_or(range.relname.as_str(), |alias| alias.aliasname.as_str())),
            unaliased: alias.is_none().then(|| relation.key()),
            relation: Some(relation.key()),
            columns,
            open: None,
            star_known: true,
        }
    }

    /// What each column of a view may hold, by walking its definition; `None` for other relations.
    pub(super) fn open_view(&mut self, relation: &Arc<Relation>) -> Option<Rc<Vec<Sources>>> {
        let definition = relation.definition.as_deref().filter(|_| !relation.is_system())?;
        if self.stack == Depth::Shallow {
            self.is_too_deep = true;
            return None;
        }
        let key = relation.key();
        if let Some(opened) = self.opened.get(&key) {
            return Some(Rc::clone(opened));
        }
        if self.views.len() >= MAX_VIEW_DEPTH || self.views.contains(&key) {
            self.unresolved("relation", key.as_str(), "is a view that is nested too deep");
            return None;
        }
        self.views.push(key.clone());
        let outer_names = self.named.take();
        let columns = self.view_columns(definition, relation);
        self.named = outer_names;
        self.views.pop();
        let opened = Rc::new(columns);
        self.opened.insert(key, Rc::clone(&opened));
        Some(opened)
    }

    fn view_columns(&mut self, definition: &str, relation: &Relation) -> Vec<Sources> {
        let parsed = crate::sql::analyze::parse(definition);
        let tree = parsed.ok().and_then(|tree| tree.stmts.into_iter().next()).and_then(|raw| raw.stmt);
        let Some(NodeEnum::SelectStmt(select)) = tree.and_then(|tree| tree.node) else {
            self.unresolved("relation", relation.key().as_str(), "has a definition that can't be read");
            return Vec::new();
        };
        let derived = self.select(&select, None, &Ctes::None, Place::View);
        if derived.columns.len() != relation.columns.len() && self.gave_up.is_none() {
            self.unresolved(
                "relation",
                relation.key().as_str(),
                "has a definition that does not fit its columns",
            );
        }
        derived.columns.iter().map(|column| (*column.sources).clone()).collect()
    }

    fn subselect(
        &mut self,
        query: &RangeSubselect,
        so_far: &Scope<'_>,
        influences: &mut Sources,
    ) -> Vec<Visible> {
        let Some(NodeEnum::SelectStmt(select)) =
            query.subquery.as_ref().and_then(|query| query.node.as_ref())
        else {
            self.unresolved("node", "RangeSubselect", "has no query");
            return Vec::new();
        };
        let outer = if query.lateral { Some(so_far) } else { so_far.outer };
        let derived = self.select(select, outer, &so_far.ctes, Place::Nested);
        influences.extend(derived.influences);
        let mut columns = derived.columns;
        Range::rename(&mut columns, &alias_columns(query.alias.as_ref()));
        let name = query.alias.as_ref().map_or("", |alias| alias.aliasname.as_str());
        vec![Visible::fully(Range::derived(name, columns))]
    }

    fn sample(
        &mut self,
        sample: &RangeTableSample,
        so_far: &Scope<'_>,
        influences: &mut Sources,
    ) -> Vec<Visible> {
        let method = strings(&sample.method);
        if !matches!(method.as_slice(), ["bernoulli" | "system"] | ["pg_catalog", "bernoulli" | "system"]) {
            self.unresolved("function", &dotted(&sample.method), "is a sampling method of an extension");
        }
        for arg in sample.args.iter().chain(sample.repeatable.as_deref()) {
            self.condition(Some(arg), so_far, influences);
        }
        match sample.relation.as_deref() {
            Some(relation) => self.range_item(relation, so_far, influences),
            None => Vec::new(),
        }
    }

    fn join(&mut self, join: &JoinExpr, so_far: &Scope<'_>, influences: &mut Sources) -> Vec<Visible> {
        let mut side = |walker: &mut Self, node: Option<&Node>, scope: &Scope<'_>| match node {
            Some(node) => walker.range_item(node, scope, influences),
            None => Vec::new(),
        };
        let left = side(self, join.larg.as_deref(), so_far);
        let seen = so_far.with(so_far.items.iter().chain(&left).cloned().collect());
        let right = side(self, join.rarg.as_deref(), &seen);
        let (left_columns, right_columns) = (columns_shown(&left), columns_shown(&right));
        if !self.enter(left_columns.len() + right_columns.len()) {
            return Vec::new();
        }
        self.depth -= 1;
        let shared = shared_names(join, &left_columns, &right_columns);
        self.open_sides(join, &left, &right);
        let merged = self.merged_columns(&shared, &left_columns, &right_columns, influences);
        // ON sees the two sides and the queries around, never the other entries of FROM.
        let both = so_far.with(left.iter().chain(&right).cloned().collect());
        self.condition(join.quals.as_deref(), &both, influences);
        join_ranges(join, left, right, merged, (&left_columns, &right_columns))
    }

    /// USING and NATURAL over a range whose columns are not all known can't be expanded.
    fn open_sides(&mut self, join: &JoinExpr, left: &[Visible], right: &[Visible]) {
        let merges = join.is_natural || !join.using_clause.is_empty();
        if merges && left.iter().chain(right).any(|item| item.by_column && !item.range.star_known) {
            self.unresolved("node", "JoinExpr", "merges columns of a function that are not known");
        }
    }

    fn merged_columns(
        &mut self,
        shared: &[String],
        left: &[Column],
        right: &[Column],
        influences: &mut Sources,
    ) -> Vec<Column> {
        let mut merged = Vec::with_capacity(shared.len());
        for name in shared {
            let pick = |columns: &[Column]| columns.iter().find(|column| *column.name == **name).cloned();
            let column = match (pick(left), pick(right)) {
                (Some(left), Some(right)) => merge(&left, &right),
                (Some(one), None) | (None, Some(one)) => {
                    self.unresolved("column", name, "is not on both sides of the join");
                    one
                }
                (None, None) => {
                    self.unresolved("column", name, "is not on both sides of the join");
                    continue;
                }
            };
            self.filter(&column.sources);
            influences.extend(column.sources.iter().cloned());
            merged.push(column);
        }
        merged
    }

    fn xml_table(&mut self, table: &RangeTableFunc, so_far: &Scope<'_>, influences: &mut Sources) -> Range {
        let mut sources = Sources::new();
        self.maybe(table.docexpr.as_deref(), so_far, &mut sources);
        self.maybe(table.rowexpr.as_deref(), so_far, &mut sources);
        for namespace in &table.namespaces {
            if let Some(NodeEnum::ResTarget(target)) = namespace.node.as_ref() {
                self.maybe(target.val.as_deref(), so_far, &mut sources);
            }
        }
        let mut names = Vec::new();
        for column in &table.columns {
            let Some(NodeEnum::RangeTableFuncCol(column)) = column.node.as_ref() else { continue };
            self.maybe(column.colexpr.as_deref(), so_far, &mut sources);
            self.maybe(column.coldefexpr.as_deref(), so_far, &mut sources);
            names.push(column.colname.as_str());
        }
        influences.extend(sources.iter().cloned());
        let mut columns: Vec<_> = names.iter().map(|name| Column::new(name, sources.clone())).collect();
        Range::rename(&mut columns, &alias_columns(table.alias.as_ref()));
        Range::derived(table.alias.as_ref().map_or("xmltable", |alias| alias.aliasname.as_str()), columns)
    }
}

/// What `*` shows of these ranges.
fn columns_shown(items: &[Visible]) -> Vec<Column> {
    let shown = items.iter().filter(|item| item.by_column);
    shown.flat_map(|item| item.range.columns.iter().cloned()).collect()
}

/// The columns that USING names or NATURAL finds, in order.
fn shared_names(join: &JoinExpr, left: &[Column], right: &[Column]) -> Vec<String> {
    if !join.is_natural {
        return strings(&join.using_clause).into_iter().map(str::to_owned).collect();
    }
    let on_right = |name: &str| right.iter().any(|column| &*column.name == name);
    let shared = left.iter().filter(|column| on_right(&column.name));
    shared.map(|column| column.name.to_string()).collect()
}

/// The ranges of a join: its sides stay reachable by name, unless an alias hides them; bare names and `*`
/// reach the join itself, merged columns first.
fn join_ranges(
    join: &JoinExpr,
    left: Vec<Visible>,
    right: Vec<Visible>,
    merged: Vec<Column>,
    (left_columns, right_columns): (&[Column], &[Column]),
) -> Vec<Visible> {
    let is_merged = |column: &&Column| merged.iter().any(|other| other.name == column.name);
    let rest = left_columns.iter().chain(right_columns).filter(|column| !is_merged(column)).cloned();
    let mut columns: Vec<Column> = merged.iter().cloned().chain(rest).collect();
    let sides = || left.iter().chain(&right).filter(|item| item.by_column);
    let open: Vec<_> = sides().filter_map(|item| item.range.open.clone()).collect();
    let star_known = sides().all(|item| item.range.star_known);
    Range::rename(&mut columns, &alias_columns(join.alias.as_ref()));
    let range = Range {
        name: Rc::from(join.alias.as_ref().map_or("", |alias| alias.aliasname.as_str())),
        unaliased: None,
        relation: None,
        columns,
        open: (!open.is_empty()).then(|| Rc::new(open.iter().flat_map(|set| set.iter().cloned()).collect())),
        star_known,
    };
    let mut items = Vec::new();
    if join.alias.is_none() {
        items.extend(left.into_iter().chain(right).map(|item| Visible { by_column: false, ..item }));
    }
    if let Some(alias) = &join.join_using_alias {
        items.push(Visible::by_name_only(Range::derived(&alias.aliasname, merged)));
    }
    items.push(Visible { range: Rc::new(range), by_name: join.alias.is_some(), by_column: true });
    items
}

/// Views upon views that are opened.
const MAX_VIEW_DEPTH: usize = 32;
