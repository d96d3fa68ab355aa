//! Writing: the target stays the real table, so a masked column may neither decide which rows are written, nor
//! be stored, nor come back by RETURNING other than masked.

use std::collections::BTreeMap;

use pg_query::protobuf::{DeleteStmt, InsertStmt, MergeStmt, OnConflictClause, RangeVar, UpdateStmt};
use pg_query::{Node, NodeEnum};

use crate::catalog::RelationKind;

use super::governance::Reach;
use super::reads::{Rewriter, laundering, unknown};
use super::returning::{Sources, Target};
use super::scope::Binding;
use super::survey::{Mention, Place, Survey};
use super::{Refusal, walk};

impl Rewriter<'_> {
    /// Rewrites a query or a write, at the top or in a CTE.
    pub(super) fn statement(&mut self, node: &mut Node) -> Result<(), Refusal> {
        match &mut node.node {
            Some(NodeEnum::SelectStmt(select)) => self.select(select),
            Some(NodeEnum::InsertStmt(insert)) => self.insert(insert),
            Some(NodeEnum::UpdateStmt(update)) => self.update(update),
            Some(NodeEnum::DeleteStmt(delete)) => self.delete(delete),
            Some(NodeEnum::MergeStmt(merge)) => self.merge(merge),
            _ => Err(unknown("statement")),
        }
    }

    fn insert(&mut self, insert: &mut InsertStmt) -> Result<(), Refusal> {
        let outer = self.open_with(&mut insert.with_clause)?;
        for query in walk::one(&mut insert.select_stmt) {
            self.statement(query)?;
        }
        self.scopes.push();
        let target = self.target(&mut insert.relation)?;
        if let Some(target) = &target {
            if insert.cols.is_empty() && insert.select_stmt.is_some() {
                return Err(target.assigned(target.masks.keys().next().map_or("", String::as_str)));
            }
            target.no_assignment(&insert.cols)?;
        }
        self.all(&mut insert.cols)?;
        if let Some(conflict) = &mut insert.on_conflict_clause {
            let proposed = self.scopes.innermost().first().cloned();
            if let Some(target) = proposed {
                self.scopes.bind(Binding { name: "excluded".to_owned(), schema: None, ..target });
            }
            self.on_conflict(conflict, target.as_ref())?;
        }
        self.returning(&mut insert.returning_clause, target.as_ref(), &Sources::None)?;
        self.scopes.pop();
        self.close_with(outer);
        Ok(())
    }

    fn on_conflict(
        &mut self,
        conflict: &mut OnConflictClause,
        target: Option<&Target>,
    ) -> Result<(), Refusal> {
        if let Some(target) = target {
            target.no_assignment(&conflict.target_list)?;
        }
        if let Some(infer) = &mut conflict.infer {
            for node in &infer.index_elems {
                let Some(NodeEnum::IndexElem(element)) = &node.node else { continue };
                if let Some(target) = target.filter(|target| target.masks.contains_key(&element.name)) {
                    return Err(target.decides(&element.name));
                }
            }
            self.all(infer.index_elems.iter_mut().chain(walk::one(&mut infer.where_clause)))?;
        }
        self.all(conflict.target_list.iter_mut().chain(walk::one(&mut conflict.where_clause)))
    }

    fn update(&mut self, update: &mut UpdateStmt) -> Result<(), Refusal> {
        let outer = self.open_with(&mut update.with_clause)?;
        self.scopes.push();
        let target = self.target(&mut update.relation)?;
        if let Some(target) = &target {
            target.no_assignment(&update.target_list)?;
        }
        for item in &mut update.from_clause {
            self.range_item(item, false)?;
        }
        self.all(update.target_list.iter_mut().chain(walk::one(&mut update.where_clause)))?;
        let sources = Sources::of(&update.from_clause);
        self.returning(&mut update.returning_clause, target.as_ref(), &sources)?;
        self.scopes.pop();
        self.close_with(outer);
        Ok(())
    }

    fn delete(&mut self, delete: &mut DeleteStmt) -> Result<(), Refusal> {
        let outer = self.open_with(&mut delete.with_clause)?;
        self.scopes.push();
        let target = self.target(&mut delete.relation)?;
        for item in &mut delete.using_clause {
            self.range_item(item, false)?;
        }
        self.all(walk::one(&mut delete.where_clause))?;
        let sources = Sources::of(&delete.using_clause);
        self.returning(&mut delete.returning_clause, target.as_ref(), &sources)?;
        self.scopes.pop();
        self.close_with(outer);
        Ok(())
    }

    fn merge(&mut self, merge: &mut MergeStmt) -> Result<(), Refusal> {
        let outer = self.open_with(&mut merge.with_clause)?;
        self.scopes.push();
        let target = self.target(&mut merge.relation)?;
        for item in walk::one(&mut merge.source_relation) {
            self.range_item(item, false)?;
        }
        self.all(walk::one(&mut merge.join_condition))?;
        for node in &mut merge.merge_when_clauses {
            let Some(NodeEnum::MergeWhenClause(when)) = &mut node.node else {
                return Err(unknown("MERGE clause"));
            };
            if let Some(target) = &target {
                if when.target_list.is_empty() && !when.values.is_empty() {
                    return Err(target.assigned(target.masks.keys().next().map_or("", String::as_str)));
                }
                target.no_assignment(&when.target_list)?;
            }
            let nodes = walk::one(&mut when.condition).chain(&mut when.target_list).chain(&mut when.values);
            self.all(nodes)?;
        }
        self.returning(&mut merge.returning_clause, target.as_ref(), &Sources::Unordered)?;
        self.scopes.pop();
        self.close_with(outer);
        Ok(())
    }

    /// Binds the target of a write; gives it where it is governed. No CTE can be a target.
    fn target(&mut self, range: &mut Option<RangeVar>) -> Result<Option<Target>, Refusal> {
        let range = range.as_mut().ok_or_else(|| unknown("write without a target"))?;
        let mention =
            Mention { schema: range.schemaname.clone(), name: range.relname.clone(), ..Mention::default() };
        let relation = self.governance.resolve(&mention).ok_or_else(|| unknown("target"))?;
        relation.schema.clone_into(&mut range.schemaname);
        let alias = range.alias.as_ref().map(|alias| alias.aliasname.clone());
        let name = alias.clone().unwrap_or_else(|| relation.name.clone());
        self.scopes.bind(Binding {
            name: name.clone(),
            schema: alias.is_none().then(|| relation.schema.clone()),
            columns: Some(relation.columns.iter().map(|column| column.name.clone()).collect()),
            is_target: self.governance.is_governed(relation),
            ..Binding::default()
        });
        if self.governance.reach(relation) == Reach::Clear {
            return Ok(None);
        }
        let is_table = self.governance.reach(relation) == Reach::Own && relation.kind != RelationKind::View;
        if !is_table || relation.has_rules {
            return Err(Refusal {
                what: format!(
                    "`{}` shows masked columns, or rows that are not yours, and can't be written through",
                    relation.key()
                ),
                hint: "write to the table below it, without its masked columns".to_owned(),
            });
        }
        let masks = self.governance.masks(&relation.key());
        self.expected = self.expected.saturating_add(1);
        let keys = self.governance.catalog().key_settings().clone();
        Ok(Some(Target { relation: relation.clone(), masks: masks.clone(), name, keys }))
    }

    fn all<'n>(&mut self, nodes: impl IntoIterator<Item = &'n mut Node>) -> Result<(), Refusal> {
        nodes.into_iter().try_for_each(|node| self.expression(node))
    }
}

/// Refuses a statement with a write in it that uses a masked column, by whatever name or star, anywhere but in
/// the RETURNING of its target. Names are compared without asking which table they belong to: what a mask
/// stands for must never decide what is written, and a mask must never be stored as if it were a value.
pub(super) fn refuse_governed_names(
    survey: &Survey,
    governance: &super::governance::Governance<'_>,
) -> Result<(), Refusal> {
    let mut columns: BTreeMap<String, String> = BTreeMap::new();
    let mut rows: BTreeMap<String, String> = BTreeMap::new();
    for mention in &survey.relations {
        let Some(relation) = governance.resolve(mention).filter(|relation| governance.is_governed(relation))
        else {
            continue;
        };
        let key = relation.key().to_string();
        if governance.reach(relation) == Reach::Filtered {
            continue;
        }
        if governance.reach(relation) != Reach::Own {
            return Err(laundering(&format!("a write that reads the view `{key}`")));
        }
        let masks = governance.masks(&relation.key());
        if mention.renames {
            return Err(laundering(&format!("a write that renames columns of `{key}`")));
        }
        columns.extend(masks.keys().map(|name| (name.clone(), key.clone())));
        rows.insert(if mention.alias.is_empty() { mention.name.clone() } else { mention.alias.clone() }, key);
    }
    if let Some(table) = rows.values().next().filter(|_| survey.natural || survey.join_renames) {
        return Err(laundering(&format!("a write that joins `{table}` by NATURAL or renames what it joins")));
    }
    for name in &survey.joined_using {
        if let Some(table) = columns.get(name) {
            return Err(decides(name, table));
        }
    }
    // A masked column is first named bare, or by its table; what goes on under another alias came from there.
    let may_be_governed = |qualifier: &str| {
        rows.contains_key(qualifier)
            || survey.join_aliases.contains(qualifier)
            || matches!(qualifier, "excluded" | "old" | "new")
    };
    for reference in survey.references.iter().filter(|reference| reference.place != Place::Returning) {
        if reference.qualifier().is_some_and(|qualifier| !may_be_governed(qualifier)) {
            continue;
        }
        let Some(name) = reference.last() else {
            let tables: Vec<&str> = rows.values().map(String::as_str).collect();
            return Err(laundering(&format!("a write that reads `*` beside `{}`", tables.join("`, `"))));
        };
        if let Some(table) = columns.get(name) {
            return Err(decides(name, table));
        }
        if let Some(table) = rows.get(name) {
            return Err(laundering(&format!("a write that reads whole rows of `{table}`")));
        }
    }
    Ok(())
}

/// The refusal of a masked column that would decide what is written.
pub(super) fn decides(name: &str, table: &str) -> Refusal {
    Refusal {
        what: format!("column `{name}` of `{table}` is masked for you and can't decide what is written"),
        hint: "choose the rows by unmasked columns, for example the primary key".to_owned(),
    }
}
