//! Expressions inside definitions. Some run at once: a new column's default, an index on an expression, a
//! change of type. What they call is listed; the names of columns in them are taken as they are.

use pg_query::NodeEnum;
use pg_query::protobuf::{AlterTableCmd, Constraint, Node};

use super::Walker;
use super::scope::{Ctes, Range, Scope, Sources, Visible};

impl Walker<'_> {
    /// Walks the columns and constraints of CREATE TABLE, ALTER TABLE and CREATE INDEX.
    #[expect(clippy::wildcard_enum_match_arm, reason = "every other kind is walked as an expression")]
    pub(super) fn definition(&mut self, node: &Node) {
        let Some(kind) = node.node.as_ref() else { return };
        match kind {
            NodeEnum::AlterTableCmd(command) => self.alteration(command),
            NodeEnum::ColumnDef(column) => {
                self.defined_by(column.raw_default.as_deref());
                self.definitions(&column.constraints);
            }
            NodeEnum::Constraint(constraint) => self.constraint(constraint),
            NodeEnum::IndexElem(element) => self.defined_by(element.expr.as_deref()),
            NodeEnum::StatsElem(element) => self.defined_by(element.expr.as_deref()),
            NodeEnum::RangeVar(parent) => self.defines(Some(parent), false),
            NodeEnum::PartitionCmd(partition) => self.defines(partition.name.as_ref(), false),
            NodeEnum::TableLikeClause(like) => self.defines(like.relation.as_ref(), false),
            // Names, options and switches: nothing in them is evaluated.
            NodeEnum::List(_)
            | NodeEnum::DefElem(_)
            | NodeEnum::ReplicaIdentityStmt(_)
            | NodeEnum::AtalterConstraint(_)
            | NodeEnum::TypeName(_)
            | NodeEnum::RoleSpec(_)
            | NodeEnum::ObjectWithArgs(_)
            | NodeEnum::Float(_)
            | NodeEnum::Boolean(_) => {}
            _ => self.defined_by(Some(node)),
        }
    }

    pub(super) fn definitions(&mut self, nodes: &[Node]) {
        for node in nodes {
            self.definition(node);
        }
    }

    /// Walks an expression over the relation that is being defined.
    pub(super) fn defined_by(&mut self, expression: Option<&Node>) {
        let scope = Scope::new(None, &Ctes::None).with(vec![Visible::fully(Range::unknown(""))]);
        self.maybe(expression, &scope, &mut Sources::new());
    }

    fn alteration(&mut self, command: &AlterTableCmd) {
        if let Some(definition) = command.def.as_deref() {
            self.definition(definition);
        }
    }

    fn constraint(&mut self, constraint: &Constraint) {
        self.defined_by(constraint.raw_expr.as_deref());
        self.defined_by(constraint.where_clause.as_deref());
        self.defines(constraint.pktable.as_ref(), false);
        for exclusion in &constraint.exclusions {
            let Some(NodeEnum::List(pair)) = exclusion.node.as_ref() else { continue };
            if let Some(element) = pair.items.first() {
                self.definition(element);
            }
        }
    }
}
