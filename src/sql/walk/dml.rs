//! INSERT, UPDATE and DELETE.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use pg_query::NodeEnum;
use pg_query::protobuf::{
    DeleteStmt, InsertStmt, Node, OnConflictAction, OnConflictClause, RangeVar, ReturningClause,
    ReturningOptionKind, UpdateStmt,
};

use crate::catalog::{Relation, RelationKey};
use crate::sql::facts::{Access, Class, Condition, Destination};

use super::scope::{Column, Ctes, Range, Scope, Sources, Visible};
use super::select::{Derived, Place};
use super::{Outline, Walker};

/// The relation that a statement changes.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) relation: Option<Arc<Relation>>,
    pub(super) range: Visible,
}

impl Walker<'_> {
    /// A statement that changes rows; `None` for any other.
    #[expect(clippy::wildcard_enum_match_arm, reason = "an allow-list: the caller asks the other rooms")]
    pub(super) fn modification(
        &mut self,
        node: &NodeEnum,
        outer: Option<&Scope<'_>>,
        ctes: &Ctes,
    ) -> Option<Outline> {
        if !self.enter(1) {
            return Some(Outline::new("unknown", Class::Unknown));
        }
        let outline = match node {
            NodeEnum::InsertStmt(insert) => Some(self.insert(insert, outer, ctes)),
            NodeEnum::UpdateStmt(update) => Some(self.update(update, outer, ctes)),
            NodeEnum::DeleteStmt(delete) => Some(self.delete(delete, outer, ctes)),
            NodeEnum::MergeStmt(merge) => Some(self.merge(merge, outer, ctes)),
            _ => None,
        };
        self.depth -= 1;
        outline
    }

    fn insert(&mut self, insert: &InsertStmt, outer: Option<&Scope<'_>>, ctes: &Ctes) -> Outline {
        let ctes = self.with_clause(insert.with_clause.as_ref(), outer, ctes);
        let target = self.target_relation(insert.relation.as_ref(), &[Access::Insert]);
        self.destinations.insert(Destination::Table);
        let mut scope = Scope::new(outer, &ctes);
        let rows = match insert.select_stmt.as_ref().and_then(|query| query.node.as_ref()) {
            Some(NodeEnum::SelectStmt(select)) => self.select(select, outer, &ctes, Place::Nested),
            Some(other) => {
                self.unknown_node(other);
                Derived::default()
            }
            None => Derived::default(),
        };
        scope.items.push(target.range.clone());
        let written = self.insert_columns(&insert.cols, &target, &scope);
        if let Some(conflict) = &insert.on_conflict_clause {
            self.on_conflict(conflict, &target, &scope, &excluded(&target, &written, &rows));
        }
        let outputs = self.returning(insert.returning_clause.as_ref(), &scope, &target);
        Outline::with("insert", Class::Write, outputs)
    }

    /// Marks the columns of an INSERT's column list as written; all columns without one.
    pub(super) fn insert_columns(
        &mut self,
        list: &[Node],
        target: &Target,
        scope: &Scope<'_>,
    ) -> Vec<String> {
        let Some(relation) = &target.relation else { return Vec::new() };
        if list.is_empty() {
            let all: Vec<String> = relation.columns.iter().map(|column| column.name.clone()).collect();
            for name in &all {
                self.assign(relation, Access::Insert, name, target);
            }
            return all;
        }
        self.assigned_columns(list, target, Access::Insert, scope)
    }

    /// Marks the columns that targets name as written, and walks their subscripts.
    fn assigned_columns(
        &mut self,
        list: &[Node],
        target: &Target,
        access: Access,
        scope: &Scope<'_>,
    ) -> Vec<String> {
        let mut names = Vec::new();
        for node in list {
            let Some(NodeEnum::ResTarget(column)) = node.node.as_ref() else { continue };
            let mut sources = Sources::new();
            self.indices(&column.indirection, scope, &mut sources);
            if let Some(relation) = &target.relation {
                if relation.column(&column.name).is_none() {
                    self.unresolved("column", &column.name, "does not exist or is not visible to you");
                }
                self.assign(relation, access, &column.name, target);
            }
            names.push(column.name.clone());
        }
        names
    }

    /// Marks one column as written, and through a view the base columns behind it.
    fn assign(&mut self, relation: &Relation, access: Access, column: &str, target: &Target) {
        self.write(&relation.key(), access, column);
        let behind = target.range.range.columns.iter().zip(&relation.columns);
        for (shown, _) in behind.filter(|(_, declared)| declared.name == column) {
            for source in shown.sources.iter() {
                self.write(&source.key, access, &source.column);
            }
        }
    }

    fn on_conflict(
        &mut self,
        conflict: &OnConflictClause,
        target: &Target,
        scope: &Scope<'_>,
        excluded: &Range,
    ) {
        let mut influences = Sources::new();
        if let Some(infer) = &conflict.infer {
            for element in &infer.index_elems {
                if let Some(NodeEnum::IndexElem(element)) = element.node.as_ref() {
                    self.index_element(&element.name, element.expr.as_deref(), scope);
                }
            }
            self.condition(infer.where_clause.as_deref(), scope, &mut influences);
        }
        if conflict.action() != OnConflictAction::OnconflictUpdate {
            return;
        }
        if let Some(relation) = &target.relation {
            self.touch_target(relation, Access::Update, true, target);
        }
        let mut scope = scope.with(scope.items.clone());
        let excluded = Range::derived("excluded", excluded.columns.clone());
        scope.items.push(Visible::by_name_only(excluded));
        self.assignments(&conflict.target_list, target, &scope);
        self.condition(conflict.where_clause.as_deref(), &scope, &mut influences);
    }

    fn index_element(&mut self, name: &str, expression: Option<&Node>, scope: &Scope<'_>) {
        let mut sources = Sources::new();
        if !name.is_empty() && !scope.items.iter().any(|item| item.range.column(name, &mut sources)) {
            self.unresolved("column", name, "does not exist or is not visible to you");
        }
        self.filter(&sources);
        self.condition(expression, scope, &mut sources);
    }

    fn update(&mut self, update: &UpdateStmt, outer: Option<&Scope<'_>>, ctes: &Ctes) -> Outline {
        let ctes = self.with_clause(update.with_clause.as_ref(), outer, ctes);
        let target = self.target_relation(update.relation.as_ref(), &[Access::Update]);
        self.destinations.insert(Destination::Table);
        let mut scope = Scope::new(outer, &ctes);
        let mut influences = Sources::new();
        scope.items.push(target.range.clone());
        self.ranges(&update.from_clause, &mut scope, &mut influences);
        self.assignments(&update.target_list, &target, &scope);
        let condition = self.condition_fact(update.where_clause.as_deref(), &scope, &mut influences);
        self.weaken(condition);
        let outputs = self.returning(update.returning_clause.as_ref(), &scope, &target);
        Outline::with("update", Class::Write, outputs)
    }

    fn delete(&mut self, delete: &DeleteStmt, outer: Option<&Scope<'_>>, ctes: &Ctes) -> Outline {
        let ctes = self.with_clause(delete.with_clause.as_ref(), outer, ctes);
        let target = self.target_relation(delete.relation.as_ref(), &[Access::Delete]);
        let mut scope = Scope::new(outer, &ctes);
        let mut influences = Sources::new();
        scope.items.push(target.range.clone());
        self.ranges(&delete.using_clause, &mut scope, &mut influences);
        let condition = self.condition_fact(delete.where_clause.as_deref(), &scope, &mut influences);
        self.weaken(condition);
        let outputs = self.returning(delete.returning_clause.as_ref(), &scope, &target);
        Outline::with("delete", Class::Write, outputs)
    }

    /// The relation to change, listed under every access; its columns are read under the first.
    pub(super) fn target_relation(&mut self, range: Option<&RangeVar>, accesses: &[Access]) -> Target {
        let missing = || Visible::fully(Range::unknown(""));
        let Some(range) = range else {
            self.unresolved("relation", "", "is missing");
            return Target { relation: None, range: missing() };
        };
        let Some(relation) = self.relation(range).map(Arc::clone) else {
            let name = range.alias.as_ref().map_or(range.relname.as_str(), |alias| alias.aliasname.as_str());
            return Target { relation: None, range: Visible::fully(Range::unknown(name)) };
        };
        let access = accesses.first().copied().unwrap_or(Access::Read);
        let shown = self.relation_range(range, &relation, access);
        let target = Target { relation: Some(Arc::clone(&relation)), range: Visible::fully(shown) };
        for access in accesses {
            self.touch_target(&relation, *access, range.inh, &target);
        }
        target
    }

    /// Lists a target, and through a view the base relations behind it.
    pub(super) fn touch_target(
        &mut self,
        relation: &Arc<Relation>,
        access: Access,
        descends: bool,
        target: &Target,
    ) {
        self.touch(relation, access, descends);
        let key = relation.key();
        let sources = target.range.range.columns.iter().flat_map(|column| column.sources.iter());
        let behind: BTreeSet<RelationKey> =
            sources.filter(|source| source.key != key).map(|source| source.key.clone()).collect();
        for base in behind {
            if let Some(base) = self.catalog.relation(&base).map(Arc::clone) {
                self.views.push(key.clone());
                self.touch(&base, access, true);
                self.views.pop();
            }
        }
    }

    /// `SET a = x, (b, c) = (SELECT ...)`.
    pub(super) fn assignments(&mut self, list: &[Node], target: &Target, scope: &Scope<'_>) {
        self.assigned_columns(list, target, Access::Update, scope);
        for node in list {
            let Some(NodeEnum::ResTarget(column)) = node.node.as_ref() else { continue };
            let Some(value) = column.val.as_deref() else { continue };
            if let Some(NodeEnum::MultiAssignRef(part)) = value.node.as_ref()
                && part.colno > 1
            {
                // The first column of the group has walked the source that they share.
                continue;
            }
            self.expression(value, scope, &mut Sources::new());
        }
    }

    /// RETURNING, with `old` and `new` where the server knows them.
    pub(super) fn returning(
        &mut self,
        clause: Option<&ReturningClause>,
        scope: &Scope<'_>,
        target: &Target,
    ) -> Vec<Column> {
        let Some(clause) = clause else { return Vec::new() };
        let mut scope = scope.with(scope.items.clone());
        let (mut old, mut new) = ("old", "new");
        for option in &clause.options {
            let Some(NodeEnum::ReturningOption(option)) = option.node.as_ref() else { continue };
            self.needs_server("RETURNING WITH", 18);
            match option.option() {
                ReturningOptionKind::ReturningOptionOld => old = &option.value,
                ReturningOptionKind::ReturningOptionNew => new = &option.value,
                ReturningOptionKind::Undefined => self.unresolved("node", "ReturningOption", "is not known"),
            }
        }
        if self.catalog.server_version_num() >= 180_000 {
            for name in [old, new] {
                if scope.range(name).is_some() {
                    continue;
                }
                let mut range = Range::derived(name, target.range.range.columns.clone());
                range.open.clone_from(&target.range.range.open);
                scope.items.push(Visible::by_name_only(range));
            }
        }
        self.target_list(&clause.exprs, &scope, Place::Nested)
    }

    /// Keeps the condition of the weakest part: none at all, then one that always holds, then any other.
    pub(super) fn weaken(&mut self, condition: Condition) {
        let strength = |condition: &Condition| match (condition.present, condition.tautology) {
            (false, _) => 0,
            (true, true) => 1,
            (true, false) => 2,
        };
        match &self.weakest {
            Some(weakest) if strength(weakest) <= strength(&condition) => {}
            Some(_) | None => self.weakest = Some(condition),
        }
    }
}

/// The row that ON CONFLICT calls `excluded`: what was to be inserted.
fn excluded(target: &Target, written: &[String], rows: &Derived) -> Range {
    let shown = &target.range.range.columns;
    let incoming = |name: &str| {
        let position = written.iter().position(|written| written == name)?;
        rows.columns.get(position).map(|column| Rc::clone(&column.sources))
    };
    let columns = shown.iter().map(|column| Column {
        name: Rc::clone(&column.name),
        sources: incoming(&column.name).unwrap_or_default(),
    });
    Range::derived("excluded", columns.collect())
}
