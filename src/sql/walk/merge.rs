//! MERGE.

use pg_query::NodeEnum;
use pg_query::protobuf::{CmdType, MergeMatchKind, MergeStmt, MergeWhenClause};

use crate::sql::facts::{Access, Class, Condition, Destination};

use super::dml::Target;
use super::scope::{Ctes, Scope, Sources};
use super::{Outline, Walker};

impl Walker<'_> {
    pub(super) fn merge(&mut self, merge: &MergeStmt, outer: Option<&Scope<'_>>, ctes: &Ctes) -> Outline {
        self.needs_server("MERGE", 15);
        self.destinations.insert(Destination::Table);
        let ctes = self.with_clause(merge.with_clause.as_ref(), outer, ctes);
        let clauses: Vec<&MergeWhenClause> =
            merge.merge_when_clauses.iter().filter_map(when_clause).collect();
        let target = self.target_relation(merge.relation.as_ref(), &accesses(&clauses));
        let mut influences = Sources::new();
        let mut scope = Scope::new(outer, &ctes);
        if let Some(source) = merge.source_relation.as_deref() {
            scope.items = self.range_item(source, &Scope::new(outer, &ctes), &mut influences);
        }
        // `RETURNING *` gives the source's columns first.
        scope.items.push(target.range.clone());
        let on = self.condition_fact(merge.join_condition.as_deref(), &scope, &mut influences);
        for clause in &clauses {
            self.when(clause, &on, &target, &scope);
        }
        if self.weakest.is_none() {
            self.outermost = on;
        }
        if merge.returning_clause.is_some() {
            self.needs_server("MERGE RETURNING", 17);
        }
        let outputs = self.returning(merge.returning_clause.as_ref(), &scope, &target);
        Outline::with("merge", Class::Write, outputs)
    }

    fn when(&mut self, clause: &MergeWhenClause, on: &Condition, target: &Target, scope: &Scope<'_>) {
        let by_source = clause.match_kind() == MergeMatchKind::MergeWhenNotMatchedBySource;
        if by_source {
            self.needs_server("MERGE WHEN NOT MATCHED BY SOURCE", 17);
        }
        let own = self.condition_fact(clause.condition.as_deref(), scope, &mut Sources::new());
        match clause.command_type() {
            CmdType::CmdUpdate => self.assignments(&clause.target_list, target, scope),
            CmdType::CmdInsert => {
                self.insert_columns(&clause.target_list, target, scope);
                self.expressions(&clause.values, scope, &mut Sources::new());
                return;
            }
            CmdType::CmdDelete => {}
            CmdType::CmdNothing => return,
            CmdType::Undefined
            | CmdType::CmdUnknown
            | CmdType::CmdSelect
            | CmdType::CmdMerge
            | CmdType::CmdUtility => {
                self.unresolved("node", "MergeWhenClause", "has an action that is not known");
                return;
            }
        }
        self.weaken(if by_source { own } else { both(on, own) });
    }
}

fn when_clause(node: &pg_query::protobuf::Node) -> Option<&MergeWhenClause> {
    let Some(NodeEnum::MergeWhenClause(clause)) = node.node.as_ref() else { return None };
    Some(clause)
}

/// How the target is touched; its columns are read under the first.
fn accesses(clauses: &[&MergeWhenClause]) -> Vec<Access> {
    let wanted = [
        (CmdType::CmdUpdate, Access::Update),
        (CmdType::CmdDelete, Access::Delete),
        (CmdType::CmdInsert, Access::Insert),
    ];
    let used = wanted
        .into_iter()
        .filter(|(command, _)| clauses.iter().any(|clause| clause.command_type() == *command))
        .map(|(_, access)| access);
    let used: Vec<Access> = used.collect();
    if used.is_empty() { vec![Access::Read] } else { used }
}

/// The condition `on AND own`.
fn both(on: &Condition, own: Condition) -> Condition {
    if !own.present {
        return on.clone();
    }
    let mut columns: Vec<String> = on.columns.iter().cloned().chain(own.columns).collect();
    columns.sort_unstable();
    columns.dedup();
    Condition { present: true, tautology: on.tautology && own.tautology, columns }
}
