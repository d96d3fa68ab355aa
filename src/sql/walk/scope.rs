//! What names mean at one place of a query: the ranges that FROM has made so far, the CTEs in reach, and the
//! query around it. It mirrors `ParseNamespaceItem` of PostgreSQL's own `parse_relation.c`.

use std::collections::BTreeSet;
use std::rc::Rc;

use std::cell::RefCell;

use crate::catalog::RelationKey;
use crate::sql::facts::Access;

/// One base column whose value may flow somewhere, and the access under which its table is listed.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Source {
    pub(super) key: RelationKey,
    pub(super) access: Access,
    pub(super) column: String,
}

/// A superset of the base columns that may decide a value.
pub(super) type Sources = BTreeSet<Rc<Source>>;

/// One named column of a range or of a result.
#[derive(Debug, Clone)]
pub(super) struct Column {
    /// Empty where PostgreSQL makes one up.
    pub(super) name: Rc<str>,
    pub(super) sources: Rc<Sources>,
}

impl Column {
    pub(super) fn new(name: &str, sources: Sources) -> Self {
        Self { name: Rc::from(name), sources: Rc::new(sources) }
    }
}

/// One entry of FROM: a relation, a subquery, a function, a join.
#[derive(Debug)]
pub(super) struct Range {
    /// The alias, or the relation's own name; empty for a join or subquery without one.
    pub(super) name: Rc<str>,
    /// The relation, where it has no alias: only then `schema.table.column` can name it.
    pub(super) unaliased: Option<RelationKey>,
    /// The relation that it is, under whatever alias; none for whatever a query makes.
    pub(super) relation: Option<RelationKey>,
    pub(super) columns: Vec<Column>,
    /// Set where the range may have columns besides `columns` (a function's result): what flows into those.
    pub(super) open: Option<Rc<Sources>>,
    /// Whether `*` over the range is exactly `columns`.
    pub(super) star_known: bool,
}

impl Range {
    pub(super) fn derived(name: &str, columns: Vec<Column>) -> Self {
        Self { name: Rc::from(name), unaliased: None, relation: None, columns, open: None, star_known: true }
    }

    /// A range of which nothing is known; what made it so has already been reported.
    pub(super) fn unknown(name: &str) -> Self {
        Self {
            name: Rc::from(name),
            unaliased: None,
            relation: None,
            columns: Vec::new(),
            open: Some(Rc::default()),
            star_known: true,
        }
    }

    /// Adds what column `name` holds to `out`; `false` where there is no such column.
    pub(super) fn column(&self, name: &str, out: &mut Sources) -> bool {
        let mut found = false;
        for column in self.columns.iter().filter(|column| &*column.name == name) {
            out.extend(column.sources.iter().cloned());
            found = true;
        }
        found
    }

    /// Adds what the whole row holds.
    pub(super) fn row(&self, out: &mut Sources) {
        for column in &self.columns {
            out.extend(column.sources.iter().cloned());
        }
        if let Some(open) = &self.open {
            out.extend(open.iter().cloned());
        }
    }

    /// Renames the first columns as an alias list does.
    pub(super) fn rename(columns: &mut [Column], names: &[&str]) {
        for (column, name) in columns.iter_mut().zip(names) {
            column.name = Rc::from(*name);
        }
    }
}

/// A range and how names can reach it.
#[derive(Debug, Clone)]
pub(super) struct Visible {
    pub(super) range: Rc<Range>,
    /// Whether `name.column` reaches it.
    pub(super) by_name: bool,
    /// Whether a bare `column` and `*` reach it.
    pub(super) by_column: bool,
}

impl Visible {
    pub(super) fn fully(range: Range) -> Self {
        Self { range: Rc::new(range), by_name: true, by_column: true }
    }

    pub(super) fn by_name_only(range: Range) -> Self {
        Self { range: Rc::new(range), by_name: true, by_column: false }
    }
}

/// What can be named at one place.
#[derive(Debug)]
pub(super) struct Scope<'p> {
    pub(super) items: Vec<Visible>,
    pub(super) outer: Option<&'p Self>,
    pub(super) ctes: Ctes,
    /// What orders and partitions the named windows of this level.
    pub(super) windows: Rc<Sources>,
}

impl<'p> Scope<'p> {
    pub(super) fn new(outer: Option<&'p Self>, ctes: &Ctes) -> Self {
        Self { items: Vec::new(), outer, ctes: ctes.clone(), windows: Rc::default() }
    }

    /// A scope at the same level with other ranges.
    pub(super) fn with(&self, items: Vec<Visible>) -> Self {
        Self { items, outer: self.outer, ctes: self.ctes.clone(), windows: Rc::clone(&self.windows) }
    }

    fn levels(&self) -> impl Iterator<Item = &Scope<'p>> {
        std::iter::successors(Some(self), |scope| scope.outer)
    }

    /// What a bare column name may hold: every match of the innermost level that has one. PostgreSQL refuses
    /// two matches at one level, so their union is a superset.
    pub(super) fn column(&self, name: &str) -> Option<Sources> {
        let mut out = Sources::new();
        let mut open = false;
        for scope in self.levels() {
            let mut found = false;
            for item in scope.items.iter().filter(|item| item.by_column) {
                found |= item.range.column(name, &mut out);
            }
            if found {
                return Some(out);
            }
            for range in scope.items.iter().filter(|item| item.by_column).map(|item| &item.range) {
                if let Some(sources) = &range.open {
                    out.extend(sources.iter().cloned());
                    open = true;
                }
            }
        }
        open.then_some(out)
    }

    /// The range called `name`.
    pub(super) fn range(&self, name: &str) -> Option<Rc<Range>> {
        self.levels().find_map(|scope| {
            let mut items = scope.items.iter().filter(|item| item.by_name);
            items.find(|item| &*item.range.name == name).map(|item| Rc::clone(&item.range))
        })
    }

    /// The one range of the innermost level that has a column called `name`.
    pub(super) fn holder(&self, name: &str) -> Option<Rc<Range>> {
        let holds = |item: &&Visible| item.by_column && item.range.column(name, &mut Sources::new());
        self.levels()
            .find_map(|scope| {
                let mut items = scope.items.iter().filter(holds);
                items.next().map(|item| (Rc::clone(&item.range), items.next().is_none()))
            })
            .and_then(|(range, is_only)| is_only.then_some(range))
    }

    /// The range of the unaliased relation `key`.
    pub(super) fn relation(&self, key: &RelationKey) -> Option<Rc<Range>> {
        self.levels().find_map(|scope| {
            let mut items = scope.items.iter().filter(|item| item.by_name);
            items.find(|item| item.range.unaliased.as_ref() == Some(key)).map(|item| Rc::clone(&item.range))
        })
    }
}

/// The CTEs in reach, innermost first.
pub(super) type Ctes = Option<Rc<CteFrame>>;

/// One CTE and those around it.
#[derive(Debug)]
pub(super) struct CteFrame {
    pub(super) name: String,
    pub(super) state: RefCell<CteState>,
    pub(super) outer: Ctes,
}

/// How far a CTE is understood.
#[derive(Debug, Clone)]
pub(super) enum CteState {
    /// WITH RECURSIVE has named it, but its columns are not known yet.
    Pending,
    /// Its columns, so far.
    Known(Vec<Column>),
}

/// Finds the CTE called `name`.
pub(super) fn find_cte(ctes: &Ctes, name: &str) -> Option<Rc<CteFrame>> {
    let frames = std::iter::successors(ctes.clone(), |frame| frame.outer.clone());
    frames.into_iter().find(|frame| frame.name == name)
}
