//! COPY of governed tables: out as the query that masks them, in without their masked columns.

use std::collections::BTreeSet;

use pg_query::NodeEnum;
use pg_query::protobuf::CopyStmt;

use crate::catalog::{Relation, RelationKind};

use super::governance::Reach;
use super::reads::{Rewriter, laundering, unknown};
use super::survey::Mention;
use super::wrapper::Seen;
use super::{Refusal, Strategy, columns, views, walk, wrapper};

impl Rewriter<'_> {
    /// Rewrites a COPY.
    pub(super) fn copy(&mut self, copy: &mut CopyStmt) -> Result<(), Refusal> {
        if copy.is_program || !copy.filename.is_empty() {
            return Err(laundering("COPY with a file or program on the server"));
        }
        if let Some(query) = &mut copy.query {
            return self.statement(query);
        }
        let range = copy.relation.as_mut().ok_or_else(|| unknown("COPY"))?;
        let mention =
            Mention { schema: range.schemaname.clone(), name: range.relname.clone(), ..Mention::default() };
        let relation = self.governance.resolve(&mention).ok_or_else(|| unknown("COPY"))?;
        relation.schema.clone_into(&mut range.schemaname);
        match self.governance.reach(relation) {
            Reach::Clear => copy.where_clause.as_mut().map_or(Ok(()), |node| self.expression(node)),
            Reach::Through | Reach::Filtered | Reach::Opaque => Err(views::opaque(relation)),
            Reach::Own if copy.is_from => self.copy_in(copy, relation),
            Reach::Own => self.copy_out(copy, relation),
        }
    }

    /// COPY gives the rows of the table alone, without its children and without generated columns.
    fn copy_out(&mut self, copy: &mut CopyStmt, relation: &Relation) -> Result<(), Refusal> {
        if relation.kind == RelationKind::View {
            return Err(views::opaque(relation));
        }
        let listed = walk::names(&copy.attlist);
        let names: Vec<&str> = match listed.as_slice() {
            [] => relation
                .columns
                .iter()
                .filter(|column| !column.generated)
                .map(|column| column.name.as_str())
                .collect(),
            listed => listed.iter().map(String::as_str).collect(),
        };
        let masks = self.governance.masks(&relation.key());
        if let Some(denied) = names.iter().find(|name| masks.get(**name) == Some(&Strategy::Deny)) {
            return Err(columns::unreadable(relation, denied));
        }
        let seen = Seen { names: &names, system: &[], truths: &BTreeSet::new() };
        let query = wrapper::select(relation, &self.governance.cover(&relation.key()), &seen, false)?;
        self.expected = self.expected.saturating_add(1);
        copy.query = Some(Box::new(pg_query::Node { node: Some(NodeEnum::SelectStmt(query)) }));
        copy.relation = None;
        copy.attlist.clear();
        Ok(())
    }

    fn copy_in(&mut self, copy: &mut CopyStmt, relation: &Relation) -> Result<(), Refusal> {
        let masks = self.governance.masks(&relation.key());
        let listed = walk::names(&copy.attlist);
        let assigned = match listed.is_empty() {
            true => masks.keys().next(),
            false => listed.iter().find(|name| masks.contains_key(*name)),
        };
        if let Some(column) = assigned {
            return Err(Refusal {
                what: format!(
                    "column `{column}` of `{}` is masked for you and can't be assigned",
                    relation.key()
                ),
                hint: "give COPY a column list without it".to_owned(),
            });
        }
        self.expected = self.expected.saturating_add(1);
        copy.where_clause.as_mut().map_or(Ok(()), |node| self.expression(node))
    }
}
