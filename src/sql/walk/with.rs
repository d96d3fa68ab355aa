//! WITH: a name shadows a relation only after its definition, unless WITH RECURSIVE names it at once.

use std::cell::RefCell;
use std::rc::Rc;

use pg_query::NodeEnum;
use pg_query::protobuf::{CommonTableExpr, SelectStmt, SetOperation, WithClause};

use super::Walker;
use super::names::strings;
use super::scope::{Column, CteFrame, CteState, Ctes, Range, Scope, Sources};
use super::select::{Derived, Place};

impl Walker<'_> {
    /// Walks every CTE, and returns those in reach behind the clause.
    pub(super) fn with_clause(
        &mut self,
        with: Option<&WithClause>,
        outer: Option<&Scope<'_>>,
        ctes: &Ctes,
    ) -> Ctes {
        let Some(with) = with else { return ctes.clone() };
        if with.recursive { self.recursive(with, outer, ctes) } else { self.in_order(with, outer, ctes) }
    }

    fn in_order(&mut self, with: &WithClause, outer: Option<&Scope<'_>>, ctes: &Ctes) -> Ctes {
        let mut reach = ctes.clone();
        for cte in definitions(with) {
            let columns = self.cte_columns(cte, outer, &reach);
            let state = RefCell::new(CteState::Known(columns));
            reach = Some(Rc::new(CteFrame { name: cte.ctename.clone(), state, outer: reach }));
        }
        reach
    }

    fn recursive(&mut self, with: &WithClause, outer: Option<&Scope<'_>>, ctes: &Ctes) -> Ctes {
        let mut reach = ctes.clone();
        let mut frames = Vec::new();
        for cte in definitions(with) {
            let state = RefCell::new(CteState::Pending);
            let frame = Rc::new(CteFrame { name: cte.ctename.clone(), state, outer: reach });
            reach = Some(Rc::clone(&frame));
            frames.push((cte, frame));
        }
        for (cte, frame) in frames {
            let columns = match recursive_union(cte) {
                Some(select) => self.fixed_point(cte, select, &frame, outer, &reach),
                None => self.cte_columns(cte, outer, &reach),
            };
            *frame.state.borrow_mut() = CteState::Known(columns);
        }
        reach
    }

    /// A recursive CTE reads its own rows: its columns hold what the left side gives, and what the right side
    /// makes of them, over and over until nothing is added.
    fn fixed_point(
        &mut self,
        cte: &CommonTableExpr,
        select: &SelectStmt,
        frame: &Rc<CteFrame>,
        outer: Option<&Scope<'_>>,
        ctes: &Ctes,
    ) -> Vec<Column> {
        let mut known: Option<Vec<Column>> = None;
        loop {
            let ctes = self.with_clause(select.with_clause.as_ref(), outer, ctes);
            let seen = known.clone();
            let mut derived = self.set_operation(select, outer, &ctes, Place::Nested, |left| {
                let columns = seen.unwrap_or_else(|| finished(cte, left.to_vec(), &Sources::new()));
                *frame.state.borrow_mut() = CteState::Known(columns);
            });
            self.order_derived(select, &mut derived, outer, &ctes);
            let columns = finished(cte, derived.columns, &derived.influences);
            let stable = known.as_ref().is_some_and(|known| same_sources(known, &columns));
            if stable || self.gave_up.is_some() {
                return columns;
            }
            known = Some(columns);
        }
    }

    fn cte_columns(&mut self, cte: &CommonTableExpr, outer: Option<&Scope<'_>>, ctes: &Ctes) -> Vec<Column> {
        let Some(node) = cte.ctequery.as_ref().and_then(|query| query.node.as_ref()) else {
            return Vec::new();
        };
        if let NodeEnum::SelectStmt(select) = node {
            let Derived { columns, influences } = self.select(select, outer, ctes, Place::Nested);
            return finished(cte, columns, &influences);
        }
        match self.modification(node, outer, ctes) {
            Some(outline) => {
                self.list_inner(&outline.kind, outline.class);
                finished(cte, outline.outputs, &Sources::new())
            }
            None => {
                self.unknown_node(node);
                Vec::new()
            }
        }
    }
}

fn definitions(with: &WithClause) -> impl Iterator<Item = &CommonTableExpr> {
    with.ctes.iter().filter_map(|node| match node.node.as_ref() {
        Some(NodeEnum::CommonTableExpr(cte)) => Some(&**cte),
        Some(_) | None => None,
    })
}

fn recursive_union(cte: &CommonTableExpr) -> Option<&SelectStmt> {
    let node = cte.ctequery.as_ref().and_then(|query| query.node.as_ref())?;
    let NodeEnum::SelectStmt(select) = node else { return None };
    (select.op() == SetOperation::SetopUnion).then_some(select)
}

/// The columns as the CTE names them, with those that SEARCH and CYCLE add.
fn finished(cte: &CommonTableExpr, mut columns: Vec<Column>, influences: &Sources) -> Vec<Column> {
    Range::rename(&mut columns, &strings(&cte.aliascolnames));
    let mut added = Vec::new();
    if let Some(search) = &cte.search_clause {
        added.push(search.search_seq_column.as_str());
    }
    if let Some(cycle) = &cte.cycle_clause {
        added.extend([cycle.cycle_mark_column.as_str(), cycle.cycle_path_column.as_str()]);
    }
    if added.is_empty() {
        return columns;
    }
    let mut all = influences.clone();
    all.extend(columns.iter().flat_map(|column| column.sources.iter().cloned()));
    columns.extend(added.into_iter().map(|name| Column::new(name, all.clone())));
    columns
}

fn same_sources(a: &[Column], b: &[Column]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.sources == b.sources)
}
