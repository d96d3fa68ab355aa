//! Aggregates that are released: a call becomes one over the column's truth, given only for groups that are large
//! enough. Everything else of the query keeps seeing the mask.
//!
//! A row must weigh once. So the table stands alone in its FROM, and nothing that the query groups by can give more
//! than one row: `GROUP BY id, generate_series(1, 5)` would make a group of five out of one. And nothing but these calls
//! may reach the truth: its name is in no statement, and neither `*` nor a whole row of the table is in the query.

use std::collections::{BTreeMap, BTreeSet};

use pg_query::protobuf::{FuncCall, SelectStmt, a_const};
use pg_query::{Node, NodeEnum};

use crate::catalog::{Column, Function, Relation, RelationKind, Snapshot};

use super::aggregates::{self, Aggregate, GroupRelease};
use super::expression::identifier;
use super::governance::Reach;
use super::reads::{Rewriter, unknown};
use super::survey::{Mention, Survey};
use super::{Refusal, walk, wrapper};

/// What a rewrite has released.
#[derive(Debug, Default)]
pub(super) struct Released {
    /// How many calls.
    pub(super) calls: usize,
    /// Of which columns, `schema.table.column`.
    pub(super) columns: BTreeSet<String>,
}

impl Released {
    /// Adds what a part of the statement has released.
    pub(super) fn absorb(&mut self, part: Self) {
        self.calls = self.calls.saturating_add(part.calls);
        self.columns.extend(part.columns);
    }
}

impl<'a> Rewriter<'a> {
    /// Releases what `select` may see released of the one table that it reads, and gives the columns whose truth the
    /// table's subselect must then hold.
    pub(super) fn release_groups(&mut self, select: &mut SelectStmt) -> Result<BTreeSet<String>, Refusal> {
        let Some(block) = self.block(select) else { return Ok(BTreeSet::new()) };
        let mut done = Released::default();
        for node in &mut select.target_list {
            block.target(node, &mut done)?;
        }
        // Where a released value may be seen, it may decide too.
        let lists = [&mut select.distinct_clause, &mut select.sort_clause, &mut select.window_clause];
        for node in lists.into_iter().flatten().chain(walk::one(&mut select.having_clause)) {
            block.release(node, &mut done)?;
        }
        if done.calls > 0 && self.survey.texts.iter().any(|text| aggregates::is_reserved(text)) {
            return Err(Refusal {
                what: "names that begin with `portcullis true` are the gateway's own".to_owned(),
                hint: "call it something else".to_owned(),
            });
        }
        let columns = done.columns.clone();
        let key = block.relation.key();
        done.columns = columns.iter().map(|column| format!("{key}.{column}")).collect();
        self.released.absorb(done);
        Ok(columns)
    }

    /// The one table of `select`, where something of it can be released here.
    fn block(&self, select: &SelectStmt) -> Option<Block<'a>> {
        let [Node { node: Some(NodeEnum::RangeVar(range)) }] = select.from_clause.as_slice() else {
            return None;
        };
        let alias = wrapper::alias_of(range);
        if self.survey.writes() || self.cte(range).is_some() || !alias.colnames.is_empty() {
            return None;
        }
        let governance = self.governance;
        let mention =
            Mention { schema: range.schemaname.clone(), name: range.relname.clone(), ..Mention::default() };
        let relation = governance.resolve(&mention)?;
        let releases = governance.releases(&relation.key())?;
        let is_table = matches!(relation.kind, RelationKind::Table | RelationKind::PartitionedTable);
        let is_clean = !relation.columns.iter().any(|column| aggregates::is_reserved(&column.name));
        if !is_table || !is_clean || governance.reach(relation) != Reach::Own {
            return None;
        }
        let schema = range.alias.is_none().then_some(relation.schema.as_str());
        let block =
            Block { name: alias.aliasname, schema, relation, releases, catalog: governance.catalog() };
        (!block.shows_a_row(select) && block.weighs_once(select)).then_some(block)
    }
}

/// A query over one table alone.
struct Block<'a> {
    name: String,
    schema: Option<&'a str>,
    relation: &'a Relation,
    releases: &'a BTreeMap<String, GroupRelease>,
    catalog: &'a Snapshot,
}

impl Block<'_> {
    /// Whether anything in the query is `*`, or may be a whole row of the table: it would hold the truth.
    fn shows_a_row(&self, select: &SelectStmt) -> bool {
        // Queries of WITH can't refer to the table.
        let own = SelectStmt { with_clause: None, ..select.clone() };
        match Survey::of(&own) {
            Ok(survey) => {
                survey.star() || survey.natural || survey.join_renames || survey.refers_to(&self.name)
            }
            Err(_) => true,
        }
    }

    /// Whether every row of the table is in one group, and there once.
    fn weighs_once(&self, select: &SelectStmt) -> bool {
        select.group_clause.iter().all(|item| self.groups_by(item, &select.target_list))
    }

    /// Whether an item of GROUP BY, by itself, by output position or by output name, has one value in each row.
    fn groups_by(&self, item: &Node, targets: &[Node]) -> bool {
        match &item.node {
            Some(NodeEnum::AConst(constant)) => match &constant.val {
                Some(a_const::Val::Ival(number)) => {
                    let at = usize::try_from(number.ival).ok().and_then(|number| number.checked_sub(1));
                    at.and_then(|at| targets.get(at)).and_then(value).is_some_and(|node| self.is_single(node))
                }
                _ => false,
            },
            Some(NodeEnum::ColumnRef(reference)) => match walk::names(&reference.fields).as_slice() {
                // The table's own columns come first.
                [name] if !self.is_single(item) => {
                    let mut called = targets.iter().filter(|target| is_called(target, name)).peekable();
                    called.peek().is_some()
                        && called.all(|target| value(target).is_some_and(|node| self.is_single(node)))
                }
                _ => self.is_single(item),
            },
            _ => self.is_single(item),
        }
    }

    /// Whether `node` has one value in each row: an allow-list. An operator could be anybody's, so none is on it.
    fn is_single(&self, node: &Node) -> bool {
        let optional = |node: &Option<Box<Node>>| node.as_ref().is_none_or(|node| self.is_single(node));
        match &node.node {
            Some(NodeEnum::AConst(_)) => true,
            Some(NodeEnum::ColumnRef(reference)) => {
                let names = walk::names(&reference.fields);
                let is_system = names.last().is_some_and(|name| wrapper::SYSTEM.contains(&name.as_str()));
                is_system && names.len() == 1 || self.column(reference.fields.as_slice()).is_some()
            }
            Some(NodeEnum::TypeCast(cast)) => optional(&cast.arg),
            Some(NodeEnum::CollateClause(collate)) => optional(&collate.arg),
            Some(NodeEnum::NullTest(test)) => optional(&test.arg),
            Some(NodeEnum::BooleanTest(test)) => optional(&test.arg),
            Some(NodeEnum::CoalesceExpr(coalesce)) => coalesce.args.iter().all(|node| self.is_single(node)),
            Some(NodeEnum::FuncCall(call)) => {
                let names = walk::names(&call.funcname);
                let plain = call.over.is_none() && call.agg_filter.is_none() && call.agg_order.is_empty();
                plain && self.is_single_function(&names) && call.args.iter().all(|node| self.is_single(node))
            }
            _ => false,
        }
    }

    /// Whether every function that a call by `names` may mean is PostgreSQL's own and gives one value.
    fn is_single_function(&self, names: &[String]) -> bool {
        let candidates = match names {
            [name] => self.catalog.resolve_functions(None, name),
            [schema, name] => self.catalog.resolve_functions(Some(schema), name),
            _ => return false,
        };
        let is_single = |function: &&Function| function.schema == "pg_catalog" && !function.returns_set;
        !candidates.is_empty() && candidates.iter().all(is_single)
    }

    /// Releases what it can of an output column, which keeps its name.
    fn target(&self, node: &mut Node, done: &mut Released) -> Result<(), Refusal> {
        let before = done.calls;
        let name = match &node.node {
            Some(NodeEnum::ResTarget(target)) if target.name.is_empty() => {
                target.val.as_ref().and_then(|value| named_by(value))
            }
            _ => None,
        };
        self.release(node, done)?;
        if let (Some(name), Some(NodeEnum::ResTarget(target))) = (name, &mut node.node)
            && done.calls > before
        {
            target.name = name;
        }
        Ok(())
    }

    /// Releases the calls in an expression of the query itself; not those in queries inside it.
    fn release(&self, node: &mut Node, done: &mut Released) -> Result<(), Refusal> {
        let Some(inner) = &mut node.node else { return Ok(()) };
        if let NodeEnum::SelectStmt(_) = inner {
            return Ok(());
        }
        if let NodeEnum::SubLink(link) = inner {
            return walk::one(&mut link.testexpr).try_for_each(|test| self.release(test, done));
        }
        if let NodeEnum::FuncCall(call) = inner
            && let Some((column, aggregate, least)) = self.released(call)
        {
            *node = only_of_groups(column, aggregate, least)?;
            done.calls = done.calls.saturating_add(1);
            done.columns.insert(column.name.clone());
            return Ok(());
        }
        // What has unknown children is refused where all expressions are rewritten.
        let children = walk::children(inner).unwrap_or_default();
        children.into_iter().try_for_each(|child| self.release(child, done))
    }

    /// What `call` is, if it is an aggregate that policy releases, over the bare column and nothing else.
    fn released(&self, call: &FuncCall) -> Option<(&Column, Aggregate, u32)> {
        let names = walk::names(&call.funcname);
        let name = match names.as_slice() {
            [name] => name,
            [schema, name] if schema == "pg_catalog" => name,
            _ => return None,
        };
        let aggregate = Aggregate::called(name)?;
        let is_bare = !call.agg_star
            && !call.agg_distinct
            && !call.agg_within_group
            && !call.func_variadic
            && call.agg_filter.is_none()
            && call.agg_order.is_empty()
            && call.over.is_none();
        let candidates = self.catalog.resolve_functions(None, name);
        let is_own = names.len() == 2 || candidates.iter().all(|function| function.schema == "pg_catalog");
        let [Node { node: Some(NodeEnum::ColumnRef(argument)) }] = call.args.as_slice() else { return None };
        let column = self.column(&argument.fields)?;
        let release = self.releases.get(&column.name)?;
        let is_released = release.aggregates.contains(&aggregate) && aggregate.fits(column);
        (is_bare && is_own && is_released).then_some((column, aggregate, release.min_rows))
    }

    /// The column of the table that a reference names.
    fn column(&self, fields: &[Node]) -> Option<&Column> {
        let names = walk::names(fields);
        let name = match names.as_slice() {
            [name] => name,
            [table, name] if *table == self.name => name,
            [schema, table, name] if self.schema == Some(schema) && *table == self.name => name,
            _ => return None,
        };
        (names.len() == fields.len()).then(|| self.relation.column(name)).flatten()
    }
}

/// The aggregate of the column's truth, of groups with at least `least` values.
fn only_of_groups(column: &Column, aggregate: Aggregate, least: u32) -> Result<Node, Refusal> {
    let truth = identifier(&aggregates::name_of(column));
    let text = format!(
        "CASE WHEN pg_catalog.count({truth}) OPERATOR(pg_catalog.>=) {least} THEN pg_catalog.{}({truth}) END",
        aggregate.as_str()
    );
    wrapper::expression_node(&text).ok_or_else(|| unknown("aggregate"))
}

/// The name that an output column gets by a call in it, where it is one of what can be released.
#[expect(clippy::wildcard_enum_match_arm, reason = "nothing else passes the name of a call on")]
fn named_by(node: &Node) -> Option<String> {
    let below = |node: &Option<Box<Node>>| node.as_ref().and_then(|node| named_by(node));
    match node.node.as_ref()? {
        NodeEnum::FuncCall(call) => {
            walk::names(&call.funcname).pop().filter(|name| Aggregate::called(name).is_some())
        }
        NodeEnum::TypeCast(cast) => below(&cast.arg),
        NodeEnum::CollateClause(collate) => below(&collate.arg),
        NodeEnum::CaseExpr(case) => below(&case.defresult),
        _ => None,
    }
}

fn value(target: &Node) -> Option<&Node> {
    let Some(NodeEnum::ResTarget(target)) = &target.node else { return None };
    target.val.as_deref()
}

fn is_called(target: &Node, name: &str) -> bool {
    matches!(&target.node, Some(NodeEnum::ResTarget(target)) if target.name == name)
}
