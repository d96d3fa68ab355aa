//! What may be told of a refusal: nothing by which what is hidden differs from what is not there.
//!
//! A refusal that every statement of its shape would get, whatever it names, may be told in full: `no_where` of an
//! UPDATE without WHERE, a tool that is not the caller's. Otherwise it is told only where everything that the
//! statement names is known to the identity anyway; where it is not, all that is told is what was not found, by the
//! last part of its name.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::catalog::Relation;
use crate::identity::Identity;
use crate::policy::input::{Arguments, LabelsInput};
use crate::policy::{Effect, Reason, StatementInput};
use crate::sql::Facts;
use crate::sql::facts::{Access, Condition, FunctionFact, TableFact};

use super::survey::Surveyor;
use super::{Context, Denial, DenialKind, Gate, Rules};

/// How much of a refusal may be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sight {
    /// All of it: the statement names nothing that its identity may not know of.
    Clear,
    /// This denial in its place, which every statement of its shape would get.
    Shape(Denial),
    /// That something was not found: these relations, without their schemas, or else a column or a function.
    Hidden {
        /// Ordered; empty where relations are not what is missing.
        relations: Vec<String>,
    },
}

impl Gate {
    /// How much `who` may be told of the refusal of a statement with these `facts`, with which `tool` was called for
    /// `purpose`, and which was `judged` so often.
    ///
    /// A name that is not in the catalog makes it load again each time that its statement is judged, which takes a
    /// while: one that is hidden takes the same while.
    ///
    /// # Errors
    /// When there is no catalog, or the identity is no longer valid: then nothing may be told.
    pub async fn sight(
        &self,
        who: &Identity,
        context: &Arc<Context>,
        facts: &[&Facts],
        (tool, purpose): (&str, &str),
        judged: u8,
    ) -> Result<Sight, Denial> {
        let rules = self.rules();
        let catalog = match self.catalogs.current(context.database()) {
            Some(catalog) => catalog,
            None => self.refreshed(context.database()).await?,
        };
        let surveyor =
            Surveyor { gate: self, rules: &rules, who: who.principal(), context, catalog: &catalog };
        let mut hidden = Hidden::default();
        for facts in facts {
            hidden.look(&surveyor, facts)?;
        }
        if !hidden.is_nothing() && !hidden.is_absent {
            for _ in 0..judged {
                self.refreshed(context.database()).await?;
            }
        }
        if hidden.is_nothing() {
            return Ok(Sight::Clear);
        }
        for facts in facts {
            let reasons = self.to_its_shape(&rules, who, context, facts, (tool, purpose))?;
            if !reasons.is_empty() {
                return Ok(Sight::Shape(Denial::of(DenialKind::Policy, reasons)));
            }
        }
        Ok(Sight::Hidden { relations: hidden.relations.into_iter().collect() })
    }

    /// Whether `text`, the database's own words or a plan, holds a name that `who` may not know of. Words are taken for
    /// names wherever they stand, so that a hidden table called `status` hides more than it must.
    ///
    /// # Errors
    /// As [`Gate::sight`].
    pub fn names_hidden(&self, who: &Identity, context: &Context, text: &str) -> Result<bool, Denial> {
        let rules = self.rules();
        let Some(catalog) = self.catalogs.current(context.database()) else { return Ok(true) };
        let surveyor =
            Surveyor { gate: self, rules: &rules, who: who.principal(), context, catalog: &catalog };
        let words = words(text);
        for relation in catalog.relations().filter(|relation| !relation.is_system()) {
            if words.contains(relation.name.as_str()) && !surveyor.knows_named(relation, &words)? {
                return Ok(true);
            }
        }
        for function in catalog.user_functions().filter(|function| words.contains(function.name.as_str())) {
            let fact = FunctionFact {
                key: format!("{}.{}", function.schema, function.name),
                builtin: false,
                volatility: function.volatility,
                security_definer: function.security_definer,
                languages: vec![function.language.clone()],
            };
            if !surveyor.may_call(&fact)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What the rulebook says to a statement like this one that names nothing, if it denies that.
    fn to_its_shape(
        &self,
        rules: &Rules,
        who: &Identity,
        context: &Context,
        facts: &Facts,
        (tool, purpose): (&str, &str),
    ) -> Result<Vec<Reason>, Denial> {
        let now = self.clock.now();
        let labels = self.budgets.read_by(who.name(), now);
        let facts = shape(facts);
        let input = StatementInput {
            via: "tool",
            tool,
            arguments: Arguments { reason: purpose, ..Arguments::default() },
            session: context.facts(),
            budget: self.budgets.of(who.name(), now),
            labels: LabelsInput { session: &labels.hour, day: &labels.day },
            ..StatementInput::plain(
                rules.agent(who.principal())?,
                context.database(),
                context.door().as_str(),
                &facts,
                self.time(),
            )
        };
        let decision = rules.policy.decide(&input);
        Ok(if decision.effect == Effect::Deny { decision.reasons } else { Vec::new() })
    }
}

/// What a statement names that its identity may not know of.
#[derive(Debug, Default)]
struct Hidden {
    relations: BTreeSet<String>,
    others: bool,
    /// Whether the catalog was looked up once more for a name.
    is_absent: bool,
}

impl Hidden {
    fn is_nothing(&self) -> bool {
        self.relations.is_empty() && !self.others
    }

    fn look(&mut self, surveyor: &Surveyor<'_>, facts: &Facts) -> Result<(), Denial> {
        for missing in &facts.unresolved {
            match missing.what.as_str() {
                "relation" => drop(self.relations.insert(last_part(&missing.name))),
                "column" | "function" => self.others = true,
                _ => continue,
            }
            self.is_absent = true;
        }
        for table in facts.tables.iter().filter(|table| is_named(table)) {
            let Some(relation) = surveyor.catalog.relation(&table.key) else {
                self.relations.insert(last_part(&table.name));
                continue;
            };
            if !surveyor.knows(relation)? {
                self.relations.insert(last_part(&table.name));
            } else if !surveyor.knows_all(relation, table)? {
                self.others = true;
            }
        }
        for function in facts.functions.iter().filter(|function| !function.builtin) {
            self.others |= !surveyor.may_call(function)?;
        }
        Ok(())
    }
}

impl Surveyor<'_> {
    /// Whether every column of `relation` that a statement names may be known.
    fn knows_all(&self, relation: &Relation, table: &TableFact) -> Result<bool, Denial> {
        let read = table.columns_read.iter().chain(&table.columns_filtered).map(|name| (name, Access::Read));
        let written = table.columns_written.iter().map(|name| (name, table.access));
        for (name, access) in read.chain(written).collect::<BTreeSet<_>>() {
            if !self.knows_column(relation, name, access)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether `relation`, and those of its columns that are among `words`, may be known.
    fn knows_named(&self, relation: &Relation, words: &BTreeSet<&str>) -> Result<bool, Denial> {
        if !self.knows(relation)? {
            return Ok(false);
        }
        for column in relation.columns.iter().filter(|column| words.contains(column.name.as_str())) {
            if !self.knows_column(relation, &column.name, Access::Update)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Whether the statement itself names `table`. What stands behind a view or a parent is its business, and PostgreSQL's own
/// is nobody's secret. What a CREATE TABLE would make counts, so that nobody learns whether a name is taken.
fn is_named(table: &TableFact) -> bool {
    !table.system && table.via_view.is_empty()
}

/// `facts` without anything that the catalog has a say in.
fn shape(facts: &Facts) -> Facts {
    Facts {
        tables: Vec::new(),
        functions: Vec::new(),
        outputs: Vec::new(),
        unresolved: Vec::new(),
        condition: Condition { columns: Vec::new(), ..facts.condition.clone() },
        ..facts.clone()
    }
}

/// A name's last part: whether its schema was written must not tell whether it was found.
fn last_part(name: &str) -> String {
    name.rsplit('.').next().unwrap_or(name).to_owned()
}

/// The words of `text` that may be names.
fn words(text: &str) -> BTreeSet<&str> {
    let is_part = |character: char| character.is_alphanumeric() || matches!(character, '_' | '$');
    // What is quoted may hold anything.
    let quoted = text.split('"').skip(1).step_by(2);
    text.split(move |character| !is_part(character)).chain(quoted).filter(|word| !word.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_wherever_they_stand() {
        let text = "delete on table \"pay roll\" violates \"hr.x_fkey\"; see hr.payroll (salary)";
        let found = words(text);
        for name in ["pay roll", "hr.x_fkey", "hr", "payroll", "salary"] {
            assert!(found.contains(name), "{name}: {found:?}");
        }
    }

    #[test]
    fn a_name_is_told_without_its_schema() {
        assert_eq!(last_part("shop.hr.payroll"), "payroll");
        assert_eq!(last_part("payroll"), "payroll");
    }
}
