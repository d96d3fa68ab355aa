//! Reading: every governed relation in FROM becomes its subselect, in the statement and everything inside it.

use std::collections::BTreeSet;
use std::sync::Arc;

use pg_query::protobuf::{
    Alias, CommonTableExpr, JoinExpr, JoinType, RangeFunction, RangeTableSample, RangeVar, SelectStmt,
    WithClause,
};
use pg_query::{Node, NodeEnum};

use crate::catalog::Relation;

use super::governance::{Governance, Reach};
use super::groups::Released;
use super::scope::{Binding, Masked, Scopes};
use super::survey::{Mention, Survey};
use super::wrapper::{self, Wanted};
use super::{Refusal, grouping, views, walk};

/// The rewrite of one statement, or of one view's definition.
#[derive(Debug)]
pub(super) struct Rewriter<'a> {
    /// What is governed.
    pub(super) governance: &'a Governance<'a>,
    /// What the statement holds.
    pub(super) survey: &'a Survey,
    /// What can be referred to at this point.
    pub(super) scopes: Scopes,
    /// Whether whole rows get the table's row type here.
    pub(super) cast_rows: bool,
    /// Mentions of governed relations that the result must hold: those in our subselects and the targets of
    /// writes, not one more.
    pub(super) expected: usize,
    /// Aggregates that see the truth.
    pub(super) released: Released,
    /// How many views are open.
    pub(super) depth: usize,
    ctes: Vec<Cte>,
}

/// A query of WITH.
#[derive(Debug)]
pub(super) struct Cte {
    name: String,
    columns: Option<Vec<String>>,
}

impl<'a> Rewriter<'a> {
    /// A rewrite of what `survey` has seen.
    pub(super) fn new(governance: &'a Governance<'a>, survey: &'a Survey, depth: usize) -> Self {
        Self {
            governance,
            survey,
            scopes: Scopes::default(),
            cast_rows: true,
            expected: 0,
            released: Released::default(),
            depth,
            ctes: Vec::new(),
        }
    }

    /// Rewrites a SELECT, VALUES, TABLE or set operation.
    pub(super) fn select(&mut self, select: &mut SelectStmt) -> Result<(), Refusal> {
        if select.into_clause.is_some() {
            return Err(laundering("SELECT INTO"));
        }
        let outer = self.open_with(&mut select.with_clause)?;
        self.scopes.push();
        self.body(select)?;
        self.scopes.pop();
        self.close_with(outer);
        Ok(())
    }

    fn body(&mut self, select: &mut SelectStmt) -> Result<(), Refusal> {
        for side in [&mut select.larg, &mut select.rarg].into_iter().flatten() {
            self.select(side)?;
        }
        let truths = self.release_groups(select)?;
        for item in &mut select.from_clause {
            match &mut item.node {
                Some(NodeEnum::RangeVar(range)) => {
                    if let Some((subquery, alias)) = self.relation(range, false, &truths)? {
                        *item = wrapper::from_item(subquery, alias);
                    }
                }
                _ => self.range_item(item, false)?,
            }
        }
        grouping::complete(&self.scopes, select);
        self.targets(&mut select.target_list)?;
        let lists = [
            &mut select.distinct_clause,
            &mut select.group_clause,
            &mut select.window_clause,
            &mut select.values_lists,
            &mut select.sort_clause,
        ];
        for node in lists.into_iter().flatten() {
            self.expression(node)?;
        }
        let clauses = [
            &mut select.where_clause,
            &mut select.having_clause,
            &mut select.limit_offset,
            &mut select.limit_count,
        ];
        for node in clauses.into_iter().flat_map(walk::one) {
            self.expression(node)?;
        }
        Ok(())
    }

    /// Enters the CTEs of a statement, and says what [`Self::close_with`] needs to leave them.
    pub(super) fn open_with(&mut self, clause: &mut Option<WithClause>) -> Result<usize, Refusal> {
        let outer = self.ctes.len();
        let Some(clause) = clause else { return Ok(outer) };
        if clause.recursive {
            let ctes = clause.ctes.iter().filter_map(|node| match &node.node {
                Some(NodeEnum::CommonTableExpr(cte)) => Some(Cte::of(cte)),
                _ => None,
            });
            self.ctes.extend(ctes);
        }
        for node in &mut clause.ctes {
            let Some(NodeEnum::CommonTableExpr(cte)) = &mut node.node else { return Err(unknown("WITH")) };
            let known = Cte::of(cte);
            for query in walk::one(&mut cte.ctequery) {
                self.statement(query)?;
            }
            if let Some(cycle) = &mut cte.cycle_clause {
                for value in
                    walk::one(&mut cycle.cycle_mark_value).chain(walk::one(&mut cycle.cycle_mark_default))
                {
                    self.expression(value)?;
                }
            }
            if !clause.recursive {
                self.ctes.push(known);
            }
        }
        Ok(outer)
    }

    /// Leaves the CTEs that [`Self::open_with`] entered.
    pub(super) fn close_with(&mut self, outer: usize) {
        self.ctes.truncate(outer);
    }

    /// Rewrites one item of FROM and binds its names; `nullable` where an outer join may leave its row out.
    pub(super) fn range_item(&mut self, node: &mut Node, nullable: bool) -> Result<(), Refusal> {
        match &mut node.node {
            Some(NodeEnum::RangeVar(range)) => {
                if let Some((subquery, alias)) = self.relation(range, nullable, &BTreeSet::new())? {
                    *node = wrapper::from_item(subquery, alias);
                }
                Ok(())
            }
            Some(NodeEnum::RangeTableSample(sample)) => {
                if let Some(item) = self.sample(sample, nullable)? {
                    *node = item;
                }
                Ok(())
            }
            Some(NodeEnum::JoinExpr(join)) => self.join(join, nullable),
            Some(NodeEnum::RangeSubselect(item)) => {
                let mut columns = None;
                for query in walk::one(&mut item.subquery) {
                    columns = outputs(query);
                    self.expression(query)?;
                }
                self.bind_derived(item.alias.as_ref(), "", columns, nullable);
                Ok(())
            }
            Some(NodeEnum::RangeFunction(item)) => self.function(item, nullable),
            Some(NodeEnum::RangeTableFunc(item)) => {
                let alias = item.alias.clone();
                self.expression(node)?;
                self.bind_derived(alias.as_ref(), "xmltable", None, nullable);
                Ok(())
            }
            _ => Err(unknown("FROM item")),
        }
    }

    /// Binds a relation's names, and gives the subselect and its alias where the relation is governed. The subselect
    /// holds the truth of the columns `truths` too, which nothing is bound to.
    fn relation(
        &mut self,
        range: &mut RangeVar,
        nullable: bool,
        truths: &BTreeSet<String>,
    ) -> Result<Option<(Box<SelectStmt>, Alias)>, Refusal> {
        if let Some(cte) = self.cte(range) {
            let columns = cte.columns.clone();
            self.bind_derived(range.alias.as_ref(), &range.relname.clone(), columns, nullable);
            return Ok(None);
        }
        let mention =
            Mention { schema: range.schemaname.clone(), name: range.relname.clone(), ..Mention::default() };
        let relation = self.governance.resolve(&mention).ok_or_else(|| unresolved(&mention))?;
        let alias = wrapper::alias_of(range);
        let columns = relation.columns.iter().map(|column| column.name.clone()).collect();
        let binding = Binding {
            name: alias.aliasname.clone(),
            schema: range.alias.is_none().then(|| relation.schema.clone()),
            columns: Some(renamed(Some(columns), &alias).unwrap_or_default()),
            nullable,
            ..Binding::default()
        };
        if !self.governance.is_governed(relation) {
            // Bound to what was judged: a later object of that name on the search path can't take its place.
            relation.schema.clone_into(&mut range.schemaname);
            self.scopes.bind(binding);
            return Ok(None);
        }
        let wanted = Wanted::of(relation, &alias.aliasname, !alias.colnames.is_empty(), self.survey)?;
        let wanted = Wanted { truths: truths.clone(), ..wanted };
        let (subquery, alias) = self.replacement(relation, &wanted, range.inh, alias)?;
        let masks = self.governance.masks(&relation.key()).clone();
        let masked = Masked { relation: Arc::clone(relation), masks, columns: wanted.columns };
        self.scopes.bind(Binding { masked: Some(Arc::new(masked)), ..binding });
        Ok(Some((subquery, alias)))
    }

    /// The CTE that `range` names, if it does.
    pub(super) fn cte(&self, range: &RangeVar) -> Option<&Cte> {
        self.ctes.iter().rev().find(|cte| range.schemaname.is_empty() && cte.name == range.relname)
    }

    fn replacement(
        &mut self,
        relation: &Relation,
        wanted: &Wanted,
        inherits: bool,
        alias: Alias,
    ) -> Result<(Box<SelectStmt>, Alias), Refusal> {
        match self.governance.reach(relation) {
            Reach::Through | Reach::Filtered => views::inline(self, relation, wanted, alias),
            Reach::Opaque => Err(views::opaque(relation)),
            Reach::Own | Reach::Clear => {
                self.expected = self.expected.saturating_add(1);
                Ok((self.governance.subselect(relation, wanted, inherits)?, alias))
            }
        }
    }

    /// `FROM t TABLESAMPLE ...`: the sample is taken inside the subselect.
    fn sample(&mut self, sample: &mut RangeTableSample, nullable: bool) -> Result<Option<Node>, Refusal> {
        for node in sample.args.iter_mut().chain(walk::one(&mut sample.repeatable)) {
            self.expression(node)?;
        }
        let Some(NodeEnum::RangeVar(range)) = sample.relation.as_mut().and_then(|node| node.node.as_mut())
        else {
            return Err(unknown("TABLESAMPLE"));
        };
        let Some((mut subquery, alias)) = self.relation(range, nullable, &BTreeSet::new())? else {
            return Ok(None);
        };
        let Some(table) = subquery.from_clause.first_mut().filter(|node| is_range(node)) else {
            return Err(unknown("TABLESAMPLE of a view"));
        };
        let mut inner = sample.clone();
        inner.relation = Some(Box::new(std::mem::take(table)));
        table.node = Some(NodeEnum::RangeTableSample(Box::new(inner)));
        Ok(Some(wrapper::from_item(subquery, alias)))
    }

    fn join(&mut self, join: &mut JoinExpr, nullable: bool) -> Result<(), Refusal> {
        let (left, right) = match join.jointype() {
            JoinType::JoinLeft => (nullable, true),
            JoinType::JoinRight => (true, nullable),
            JoinType::JoinFull => (true, true),
            JoinType::JoinInner => (nullable, nullable),
            JoinType::Undefined
            | JoinType::JoinSemi
            | JoinType::JoinAnti
            | JoinType::JoinRightSemi
            | JoinType::JoinRightAnti
            | JoinType::JoinUniqueOuter
            | JoinType::JoinUniqueInner => return Err(unknown("join")),
        };
        let start = self.scopes.innermost().len();
        for item in walk::one(&mut join.larg) {
            self.range_item(item, left)?;
        }
        let middle = self.scopes.innermost().len();
        for item in walk::one(&mut join.rarg) {
            self.range_item(item, right)?;
        }
        self.no_constant_keys(join, start, middle)?;
        for quals in walk::one(&mut join.quals) {
            self.expression(quals)?;
        }
        if let Some(alias) = &join.join_using_alias {
            let columns = walk::names(&join.using_clause);
            self.bind_derived(Some(alias), "", Some(columns), nullable);
        }
        if let Some(alias) = &join.alias {
            // The alias of a join hides the names of what it joins.
            if let Some(scope) = self.scopes.innermost_mut() {
                scope.truncate(start);
            }
            self.bind_derived(Some(alias), "", None, nullable);
        }
        Ok(())
    }

    /// A join on a constant mask would be a cross product.
    fn no_constant_keys(&self, join: &JoinExpr, start: usize, middle: usize) -> Result<(), Refusal> {
        let bindings = self.scopes.innermost();
        let left = bindings.get(start..middle).unwrap_or_default();
        let right = bindings.get(middle..).unwrap_or_default();
        for name in walk::names(&join.using_clause) {
            if let Some(binding) = left.iter().chain(right).find(|binding| binding.is_constant(&name)) {
                return Err(constant_key(&name, binding));
            }
        }
        if !join.is_natural {
            return Ok(());
        }
        for (these, those) in [(left, right), (right, left)] {
            for binding in these {
                let shared = |name: &&String| {
                    binding.is_constant(name)
                        && those.iter().any(|other| other.columns.is_none() || other.has(name))
                };
                if let Some(name) = binding.columns.iter().flatten().find(shared) {
                    return Err(constant_key(name, binding));
                }
            }
        }
        Ok(())
    }

    fn function(&mut self, item: &mut RangeFunction, nullable: bool) -> Result<(), Refusal> {
        let mut name = String::new();
        for node in &mut item.functions {
            // Each is a list of the call and its column definitions, which hold no expressions.
            let Some(NodeEnum::List(list)) = &mut node.node else { return Err(unknown("function in FROM")) };
            let Some(call) = list.items.first_mut() else { continue };
            if let Some(NodeEnum::FuncCall(call)) = &call.node {
                name = walk::names(&call.funcname).pop().unwrap_or_default();
            }
            self.expression(call)?;
        }
        let alias = item.alias.as_ref().map_or(name.clone(), |alias| alias.aliasname.clone());
        self.bind_derived(item.alias.as_ref(), &name, Some(vec![alias]), nullable);
        Ok(())
    }

    fn bind_derived(
        &mut self,
        alias: Option<&Alias>,
        name: &str,
        columns: Option<Vec<String>>,
        nullable: bool,
    ) {
        let (name, columns) = match alias {
            Some(alias) => (alias.aliasname.clone(), renamed(columns, alias)),
            None => (name.to_owned(), columns),
        };
        self.scopes.bind(Binding { name, columns, nullable, ..Binding::default() });
    }
}

impl Cte {
    fn of(cte: &CommonTableExpr) -> Self {
        let alias = Alias { aliasname: String::new(), colnames: cte.aliascolnames.clone() };
        let columns = cte.ctequery.as_ref().and_then(|query| outputs(query));
        Self { name: cte.ctename.clone(), columns: renamed(columns, &alias) }
    }
}

/// The refusal of a join on a constant mask.
pub(super) fn constant_key(name: &str, binding: &Binding) -> Refusal {
    let table =
        binding.masked.as_ref().map_or(binding.name.clone(), |masked| masked.relation.key().to_string());
    Refusal {
        what: format!(
            "column `{name}` of `{table}` is masked for you with one fixed value and can't join rows"
        ),
        hint: "join on an unmasked key".to_owned(),
    }
}

/// The refusal of a construct that the rewrite does not know.
pub(super) fn unknown(what: &str) -> Refusal {
    Refusal {
        what: format!("this {what} can't be masked, and the statement touches masked columns"),
        hint: "write it with plain joins and subqueries, or leave the masked tables out".to_owned(),
    }
}

/// The refusal of a statement that would store what it reads.
pub(super) fn laundering(how: &str) -> Refusal {
    Refusal {
        what: format!("{how} would store rows of a table with masked columns"),
        hint: "name the unmasked columns that you need, or read the rows with a plain SELECT".to_owned(),
    }
}

fn unresolved(mention: &Mention) -> Refusal {
    let name = match mention.schema() {
        Some(schema) => format!("{schema}.{}", mention.name),
        None => mention.name.clone(),
    };
    Refusal {
        what: format!("relation `{name}` is not known, and the statement touches masked columns"),
        hint: "check its name and schema".to_owned(),
    }
}

fn is_range(node: &Node) -> bool {
    matches!(node.node, Some(NodeEnum::RangeVar(_)))
}

/// `columns` under an alias that may rename the first of them.
fn renamed(columns: Option<Vec<String>>, alias: &Alias) -> Option<Vec<String>> {
    let mut names = walk::names(&alias.colnames);
    match columns {
        Some(columns) => {
            names.extend(columns.into_iter().skip(names.len()));
            Some(names)
        }
        None => Some(names).filter(|names| !names.is_empty()),
    }
}

/// The output names of a query, where they can be told from its text alone.
fn outputs(query: &Node) -> Option<Vec<String>> {
    let Some(NodeEnum::SelectStmt(select)) = &query.node else { return None };
    let mut first = select;
    while let Some(left) = &first.larg {
        first = left;
    }
    first.target_list.iter().map(output).collect()
}

fn output(target: &Node) -> Option<String> {
    let Some(NodeEnum::ResTarget(target)) = &target.node else { return None };
    if !target.name.is_empty() {
        return Some(target.name.clone());
    }
    match target.val.as_ref().and_then(|node| node.node.as_ref()) {
        Some(NodeEnum::ColumnRef(column)) => match column.fields.last().and_then(|node| node.node.as_ref()) {
            Some(NodeEnum::String(name)) => Some(name.sval.clone()),
            _ => None,
        },
        // What PostgreSQL calls it is no name that a masked table could have by chance.
        _ => Some(String::new()),
    }
}
