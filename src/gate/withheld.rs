//! Which columns nobody gets to see who works by an upstream role: that role needn't be able to read them.

use std::collections::{BTreeMap, BTreeSet};

use crate::catalog::{Relation, RelationKey, Snapshot};
use crate::identity::Principal;
use crate::mask::{Masks, Strategy};
use crate::policy::StatementInput;
use crate::policy::input::{Batch, SessionFacts};

use super::connect::Asked;
use super::unjudged::{PORTION, WITHOUT_ANSWER, read_of};
use super::{Denial, Door, Gate, Rules};

/// Columns of one relation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withheld {
    /// The relation's schema.
    pub schema: String,
    /// Its name in there.
    pub relation: String,
    /// The columns.
    pub columns: BTreeSet<String>,
}

type Columns = BTreeSet<(RelationKey, String)>;

impl Gate {
    /// By the upstream role's name, which is empty for the database's own credential, the columns of `database` that
    /// every identity sees masked whose sessions the rulebook gives that role, by masks that are not computed from the
    /// value. Nothing where no catalog was loaded, nor for a role that nobody gets.
    #[must_use]
    pub fn withheld(&self, database: &str) -> BTreeMap<String, Vec<Withheld>> {
        let Some(catalog) = self.catalogs.current(database) else { return BTreeMap::new() };
        let rules = self.rules();
        let mut by_role: BTreeMap<String, Columns> = BTreeMap::new();
        for agent in rules.directory.agents() {
            for door in [Door::Wire, Door::Mcp] {
                let Some(role) = self.role_of(&rules, agent.name(), door, database) else { continue };
                let hidden = self.hidden(&rules, agent.name(), door, database, &catalog).unwrap_or_default();
                let common = match by_role.get(&role) {
                    Some(before) => before.intersection(&hidden).cloned().collect(),
                    None => hidden,
                };
                by_role.insert(role, common);
            }
        }
        by_role.into_iter().map(|(role, columns)| (role, by_relation(&columns, &catalog))).collect()
    }

    /// The upstream role of a session of `name`; `None` if it gets none.
    fn role_of(&self, rules: &Rules, name: &str, door: Door, database: &str) -> Option<String> {
        let roles = self.catalogs.roles(database)?;
        let decision = self
            .session(
                rules,
                &Asked {
                    who: Principal::named(name),
                    door,
                    database,
                    settings: &[],
                    session: SessionFacts::default(),
                },
                roles,
            )
            .ok()?;
        Some(decision.role.unwrap_or_default())
    }

    /// The columns whose values `name` gets nothing of.
    fn hidden(
        &self,
        rules: &Rules,
        name: &str,
        door: Door,
        database: &str,
        catalog: &Snapshot,
    ) -> Result<Columns, Denial> {
        let relations: Vec<&Relation> = catalog.relations().map(|relation| &**relation).collect();
        let portions: Vec<&[&Relation]> = relations.chunks(PORTION).collect();
        let mut all = Columns::new();
        for (index, portion) in portions.iter().enumerate() {
            let (identity, statement) = (rules.agent(Principal::named(name))?, read_of(portion));
            let decision = rules.policy.decide(&StatementInput {
                batch: Batch { index, size: portions.len() },
                ..StatementInput::plain(identity, database, door.as_str(), &statement, self.time())
            });
            let is_known = |rule: &str| !WITHOUT_ANSWER.contains(&rule);
            if decision.reasons.iter().all(|reason| is_known(&reason.rule)) {
                all.extend(constant(&decision.masks.on(catalog)));
            }
        }
        Ok(all)
    }
}

/// The columns of which nothing is computed from the value: neither a mask nor an aggregate that is released.
fn constant(masks: &Masks) -> impl Iterator<Item = (RelationKey, String)> {
    masks.iter().flat_map(|(key, columns)| {
        let constant = columns.iter().filter(|(column, strategy)| {
            matches!(strategy, Strategy::Redact { .. } | Strategy::Null | Strategy::Deny)
                && masks.release(key, column).is_none()
        });
        constant.map(|(column, _)| (key.clone(), column.clone()))
    })
}

fn by_relation(columns: &Columns, catalog: &Snapshot) -> Vec<Withheld> {
    let mut of: BTreeMap<&RelationKey, BTreeSet<String>> = BTreeMap::new();
    for (key, column) in columns {
        of.entry(key).or_default().insert(column.clone());
    }
    let withheld = of.into_iter().filter_map(|(key, columns)| {
        let relation = catalog.relation(key)?;
        Some(Withheld { schema: relation.schema.clone(), relation: relation.name.clone(), columns })
    });
    withheld.collect()
}
