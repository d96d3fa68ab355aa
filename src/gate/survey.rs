//! What an identity may see of a database: made-up statements, of which the rulebook is asked what it says to them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::catalog::{Relation, RelationKind, Snapshot};
use crate::identity::Principal;
use crate::policy::{Decision, Effect, StatementInput};
use crate::sql::Facts;
use crate::sql::facts::{Access, Class, Condition, Destination, FunctionFact, OutputFact, TableFact};

use super::preview::{ColumnAccess, RelationAccess};
use super::{Context, Denial, Door, Gate, Rules};

/// Asks the rulebook about made-up statements, to learn what an identity may do.
pub(super) struct Surveyor<'a> {
    pub(super) gate: &'a Gate,
    pub(super) rules: &'a Rules,
    pub(super) who: Principal<'a>,
    pub(super) context: &'a Context,
    pub(super) catalog: &'a Arc<Snapshot>,
}

impl Surveyor<'_> {
    /// What may be done with `relation`; `None` where that is nothing.
    pub(super) fn survey(&self, relation: &Relation) -> Result<Option<RelationAccess>, Denial> {
        let all: Vec<&str> = relation.columns.iter().map(|column| column.name.as_str()).collect();
        let whole = self.ask(&imagined(relation, Access::Read, &all))?;
        let mut columns = Vec::new();
        for column in &relation.columns {
            let decision = match whole.effect {
                Effect::Allow | Effect::Escalate(_) => whole.clone(),
                Effect::Deny => self.ask(&imagined(relation, Access::Read, &[&column.name]))?,
            };
            if decision.effect == Effect::Deny {
                continue;
            }
            let governed = self.gate.memory.governed(&decision.masks, self.catalog);
            let masked = governed.columns_of(&relation.key()).any(|name| name == column.name);
            columns.push(ColumnAccess {
                name: column.name.clone(),
                type_name: column.type_name.to_string(),
                not_null: column.not_null,
                primary_key: relation.primary_key.contains(&column.name),
                access: if masked { "masked" } else { "read" }.to_owned(),
                comment: column.comment.clone().unwrap_or_default(),
            });
        }
        let mut write = BTreeMap::new();
        for (verb, access) in WRITES {
            match self.ask(&imagined(relation, access, &[]))?.effect {
                Effect::Allow => drop(write.insert(verb.to_owned(), "allow".to_owned())),
                Effect::Escalate(_) => drop(write.insert(verb.to_owned(), "escalate".to_owned())),
                Effect::Deny => {}
            }
        }
        if columns.is_empty() && write.is_empty() {
            return Ok(None);
        }
        Ok(Some(RelationAccess {
            key: relation.key().to_string(),
            kind: relation.kind,
            comment: relation.comment.clone().unwrap_or_default(),
            row_estimate: relation.row_estimate,
            columns,
            write,
        }))
    }

    /// Whether anything at all may be done with `relation`.
    pub(super) fn knows(&self, relation: &Relation) -> Result<bool, Denial> {
        let all: Vec<&str> = relation.columns.iter().map(|column| column.name.as_str()).collect();
        if self.may(&imagined(relation, Access::Read, &all))? {
            return Ok(true);
        }
        for column in &all {
            if self.may(&imagined(relation, Access::Read, &[column]))? {
                return Ok(true);
            }
        }
        for (_, access) in WRITES {
            if self.may(&imagined(relation, access, &[]))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether `column` of `relation` may be read, or be written in the way `access`.
    pub(super) fn knows_column(
        &self,
        relation: &Relation,
        column: &str,
        access: Access,
    ) -> Result<bool, Denial> {
        if self.may(&imagined(relation, Access::Read, &[column]))? {
            return Ok(true);
        }
        match access {
            Access::Insert | Access::Update => self.may(&imagined(relation, access, &[column])),
            Access::Read | Access::Delete | Access::Define | Access::Maintain => Ok(false),
        }
    }

    /// Whether a function of the database's own may be called.
    pub(super) fn may_call(&self, function: &FunctionFact) -> Result<bool, Denial> {
        self.may(&Facts {
            kind: "select".to_owned(),
            class: Class::Read,
            functions: vec![function.clone()],
            destinations: vec![Destination::Client],
            ..Facts::empty()
        })
    }

    fn may(&self, facts: &Facts) -> Result<bool, Denial> {
        Ok(self.ask(facts)?.effect != Effect::Deny)
    }

    /// At the door of tools on behalf of the tool that such a statement is for.
    fn ask(&self, facts: &Facts) -> Result<Decision, Denial> {
        let (identity, context) = (self.rules.agent(self.who)?, self.context);
        let plain = StatementInput {
            session: context.facts(),
            ..StatementInput::plain(
                identity,
                context.database(),
                context.door().as_str(),
                facts,
                self.gate.time(),
            )
        };
        let input = match context.door() {
            Door::Wire | Door::Console => plain,
            Door::Mcp => {
                let tool = if facts.class == Class::Read { READING_TOOL } else { WRITING_TOOL };
                StatementInput { via: "tool", tool, ..plain }
            }
        };
        Ok(self.rules.policy.decide(&input))
    }
}

/// The facts of the plainest statement that touches `columns` of `relation` in one way.
fn imagined(relation: &Relation, access: Access, columns: &[&str]) -> Facts {
    let names = |wanted: bool| -> Vec<String> {
        if wanted { columns.iter().map(|&name| name.to_owned()).collect() } else { Vec::new() }
    };
    let (kind, class) = match access {
        Access::Read => ("select", Class::Read),
        Access::Insert => ("insert", Class::Write),
        Access::Update => ("update", Class::Write),
        Access::Delete => ("delete", Class::Write),
        Access::Define => ("alter_table", Class::Ddl),
        Access::Maintain => ("lock", Class::Utility),
    };
    let (read, written) = (names(access == Access::Read), names(access != Access::Read));
    let output = |name: &&str| OutputFact {
        name: (*name).to_owned(),
        sources: vec![format!("{}.{name}", relation.key())],
    };
    Facts {
        kind: kind.to_owned(),
        class,
        tables: vec![TableFact {
            key: relation.key(),
            schema: relation.schema.clone(),
            name: relation.name.clone(),
            kind: relation.kind,
            access,
            system: relation.is_system(),
            via_view: String::new(),
            tags: relation.tags(),
            tags_read: relation.tags_of(&read),
            tags_written: relation.tags_of(&written),
            columns_read: read,
            columns_filtered: Vec::new(),
            columns_written: written,
            row_estimate: relation.row_estimate,
            has_triggers: relation.has_triggers,
            has_rules: relation.has_rules,
        }],
        outputs: if access == Access::Read { columns.iter().map(output).collect() } else { Vec::new() },
        condition: Condition { present: true, tautology: false, columns: relation.primary_key.clone() },
        destinations: vec![Destination::Client],
        ..Facts::empty()
    }
}

/// Whether `relation` is of a kind that is listed.
pub(super) fn shows(relation: &Relation) -> bool {
    let readable = match relation.kind {
        RelationKind::Table
        | RelationKind::PartitionedTable
        | RelationKind::View
        | RelationKind::MaterializedView
        | RelationKind::ForeignTable => true,
        RelationKind::Sequence | RelationKind::Other => false,
    };
    readable && !relation.is_system()
}

const WRITES: [(&str, Access); 3] =
    [("insert", Access::Insert), ("update", Access::Update), ("delete", Access::Delete)];
/// The tools that statements are for, by their names at the door.
const READING_TOOL: &str = "query";
const WRITING_TOOL: &str = "execute";
