//! The names that a query can refer to at one point: FROM items and CTEs, innermost last.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::catalog::Relation;

use super::governance::Columns;
use super::{Strategy, expression};

/// A governed relation whose reference was replaced, or that stays as the target of a write.
#[derive(Debug)]
pub(super) struct Masked {
    /// The relation.
    pub(super) relation: Arc<Relation>,
    /// The masks of its own columns.
    pub(super) masks: Columns,
    /// The columns that its subselect gives, by the relation's own names.
    pub(super) columns: BTreeSet<String>,
}

impl Masked {
    /// Whether the column shows one and the same value in every row.
    pub(super) fn is_constant(&self, name: &str) -> bool {
        match (self.relation.column(name), self.masks.get(name)) {
            (Some(column), Some(strategy)) => expression::is_constant(column, strategy),
            _ => false,
        }
    }

    fn is_denied(&self, name: &str) -> bool {
        self.masks.get(name) == Some(&Strategy::Deny)
    }
}

/// A FROM item that can be referred to.
#[derive(Debug, Clone, Default)]
pub(super) struct Binding {
    /// Its alias, or the relation's name.
    pub(super) name: String,
    /// The relation's schema, where the relation has no alias: then `schema.name.column` refers to it.
    pub(super) schema: Option<String>,
    /// Its columns as the query sees them; `None` where they are not known.
    pub(super) columns: Option<Vec<String>>,
    /// The governed relation behind it.
    pub(super) masked: Option<Arc<Masked>>,
    /// Whether an outer join may make its row NULL.
    pub(super) nullable: bool,
    /// Whether it is the governed target of a write: the real row.
    pub(super) is_target: bool,
}

impl Binding {
    /// Whether it has a column called `name`, as far as known.
    pub(super) fn has(&self, name: &str) -> bool {
        self.columns.iter().flatten().any(|column| column == name)
    }

    /// Whether the column that the query sees as `name` shows one and the same value in every row.
    pub(super) fn is_constant(&self, name: &str) -> bool {
        let position = self.columns.iter().flatten().position(|column| column == name);
        let (Some(masked), Some(position)) = (&self.masked, position) else { return false };
        masked.relation.columns.get(position).is_some_and(|column| masked.is_constant(&column.name))
    }

    /// The column that the query sees as `name`, and its relation, if it is denied.
    pub(super) fn denied_as(&self, name: &str) -> Option<(&Relation, &str)> {
        let position = self.columns.iter().flatten().position(|column| column == name)?;
        let masked = self.masked.as_ref()?;
        let column = masked.relation.columns.get(position)?;
        masked.is_denied(&column.name).then_some((&*masked.relation, column.name.as_str()))
    }

    /// The first of its columns that is denied.
    pub(super) fn denied(&self) -> Option<(&Relation, &str)> {
        let masked = self.masked.as_ref()?;
        let column = masked.relation.columns.iter().find(|column| masked.is_denied(&column.name))?;
        Some((&masked.relation, column.name.as_str()))
    }
}

/// All scopes at one point.
#[derive(Debug, Default)]
pub(super) struct Scopes(Vec<Vec<Binding>>);

impl Scopes {
    /// Enters a query.
    pub(super) fn push(&mut self) {
        self.0.push(Vec::new());
    }

    /// Leaves it.
    pub(super) fn pop(&mut self) {
        self.0.pop();
    }

    /// Adds a FROM item to the innermost query.
    pub(super) fn bind(&mut self, binding: Binding) {
        if let Some(scope) = self.0.last_mut() {
            scope.push(binding);
        }
    }

    /// The FROM items of the innermost query.
    pub(super) fn innermost(&self) -> &[Binding] {
        self.0.last().map(Vec::as_slice).unwrap_or_default()
    }

    /// The FROM items of the innermost query, to be changed.
    pub(super) fn innermost_mut(&mut self) -> Option<&mut Vec<Binding>> {
        self.0.last_mut()
    }

    /// The innermost FROM item called `name`.
    pub(super) fn named(&self, name: &str) -> Option<&Binding> {
        self.outward().find(|binding| binding.name == name)
    }

    /// The innermost FROM item with a column called `column`.
    pub(super) fn with_column(&self, column: &str) -> Option<&Binding> {
        self.outward().find(|binding| binding.has(column))
    }

    /// The innermost FROM item that `schema.name` refers to.
    pub(super) fn qualified(&self, schema: &str, name: &str) -> Option<&Binding> {
        self.outward().find(|binding| binding.name == name && binding.schema.as_deref() == Some(schema))
    }

    fn outward(&self) -> impl Iterator<Item = &Binding> {
        self.0.iter().rev().flatten()
    }
}
