//! What would happen, and what an identity may see: answers that run nothing and ask nobody.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde::Serialize;
use smol_str::SmolStr;

use crate::catalog::{Relation, RelationKind, Snapshot};
use crate::identity::Identity;
use crate::policy::input::{Arguments, SessionFacts};
use crate::policy::{Decision, Effect, Reason, SessionInput, StatementInput};
use crate::sql::facts::{Access, Class, Condition, Destination, OutputFact, TableFact};
use crate::sql::{Facts, Statement};

use super::act::Origin;
use super::connect::Asked;
use super::definitions::Redefined;
use super::escalate::Values;
use super::journal::Scene;
use super::judge::{Case, Via};
use super::rows::Filtered;
use super::{Context, Denial, DenialKind, Door, Gate, Names, Rules};

/// What would happen to a statement, without running it.
#[derive(Debug, Clone, Serialize)]
pub struct Explanation {
    /// `allow`, `deny` or `escalate`.
    pub verdict: String,
    /// The reasons, most important first.
    pub reasons: Vec<Reason>,
    /// The facts of each statement in the string; empty if it can't be parsed.
    pub facts: Vec<Facts>,
    /// Masked columns among the relations it touches, `schema.table.column`.
    pub masked: Vec<String>,
    /// Masked columns of which aggregates see the true values, `schema.table.column`.
    pub released: Vec<String>,
    /// The detectors that its results would be looked through by.
    pub detect: Vec<String>,
    /// Row filters of the relations it touches, with the session's values: `public.orders by tenant: {"acme"}`.
    pub row_filters: Vec<String>,
    /// The text as it would be sent; empty if it wouldn't be.
    pub sent: String,
    /// Who could approve it; empty unless the verdict is `escalate`.
    pub approvers: Vec<String>,
    /// The rulebook's revision.
    pub revision: String,
}

/// A database that an identity may open a session on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// Its name in the configuration.
    pub database: String,
    /// Whether the session would be READ ONLY, so that nothing can be written there.
    pub read_only: bool,
}

/// What an identity may do with one relation.
#[derive(Debug, Clone, Serialize)]
pub struct RelationAccess {
    /// `schema.table`.
    pub key: String,
    /// `table`, `view`, ...
    pub kind: RelationKind,
    /// The relation's comment; empty without one.
    pub comment: String,
    /// Rows by the catalog's estimate; -1 where unknown.
    pub row_estimate: i64,
    /// Its columns, without those that are hidden from the identity.
    pub columns: Vec<ColumnAccess>,
    /// What may be done besides reading: `insert`, `update`, `delete`, each `allow` or `escalate`.
    pub write: BTreeMap<String, String>,
}

/// What an identity sees of one column.
#[derive(Debug, Clone, Serialize)]
pub struct ColumnAccess {
    /// Its name.
    pub name: String,
    /// Its type, as PostgreSQL prints it.
    pub type_name: String,
    /// Whether it is declared NOT NULL.
    pub not_null: bool,
    /// Whether it is part of the primary key.
    pub primary_key: bool,
    /// `read` or `masked`.
    pub access: String,
    /// Its comment; empty without one.
    pub comment: String,
}

impl Gate {
    /// Says what would happen to `sql`, without running it and without asking anybody.
    pub async fn explain(&self, who: &Identity, context: &Arc<Context>, sql: &Statement) -> Explanation {
        self.explain_as(who.name(), context, sql).await
    }

    /// As [`Gate::explain`], for the identity called `name`, by whoever runs the gateway.
    pub async fn evaluate(&self, name: &str, database: &str, sql: &Statement) -> Explanation {
        let session = SessionFacts::default();
        let asked = Asked { name, door: Door::Wire, database, settings: &[], session };
        let roles = self.catalogs.roles(database).unwrap_or_default();
        let session = self.session(&self.rules(), &asked, roles);
        let (role, rows) = session.map(|session| (session.role, session.rows)).unwrap_or_default();
        let context = Context {
            session_id: SmolStr::default(),
            door: Door::Wire,
            client: String::new(),
            application: String::new(),
            database: database.into(),
            role,
            filtered: Filtered::new(rows),
            settings: Vec::new(),
            scene: Scene::default(),
            unjudged: None,
            read_only: false,
            redefined: Redefined::default(),
            origin: Origin::default(),
            labels: Mutex::default(),
            shown: Mutex::default(),
        };
        self.explain_as(name, &Arc::new(context), sql).await
    }

    async fn explain_as(&self, name: &str, context: &Arc<Context>, sql: &Statement) -> Explanation {
        let case = Case {
            principal: name,
            context,
            statement: sql,
            via: Via::Query,
            parameters: Vec::new(),
            prepared: None,
            names: &Names::default(),
            values: Values::None,
            decision_id: SmolStr::default(),
            name: "",
            arguments: Arguments::default(),
            key: "",
        };
        let facts = match self.catalogs.current(context.database()) {
            Some(catalog) => self.analysed(sql, &catalog).await.ok(),
            None => None,
        };
        let facts =
            facts.map(|analysis| analysis.items().iter().map(|item| Facts::clone(&item.facts)).collect());
        let revision = self.rules().policy.revision().to_owned();
        let blank = Explanation {
            verdict: "allow".to_owned(),
            reasons: Vec::new(),
            facts: facts.unwrap_or_default(),
            masked: Vec::new(),
            released: Vec::new(),
            detect: Vec::new(),
            row_filters: Vec::new(),
            sent: String::new(),
            approvers: Vec::new(),
            revision,
        };
        match self.judge(&case, &[]).await {
            Err(denial) => Explanation { verdict: "deny".to_owned(), reasons: denial.reasons, ..blank },
            Ok(verdict) => {
                let requirement = verdict.requirement();
                Explanation {
                    verdict: if requirement.is_some() { "escalate" } else { "allow" }.to_owned(),
                    reasons: verdict.rulings.iter().flat_map(|r| r.decision.reasons.clone()).collect(),
                    facts: verdict.analysis.items().iter().map(|item| Facts::clone(&item.facts)).collect(),
                    masked: verdict.rulings.iter().flat_map(|ruling| ruling.masked.to_vec()).collect(),
                    released: verdict
                        .rulings
                        .iter()
                        .flat_map(|ruling| ruling.rewritten.plan.released.to_vec())
                        .collect(),
                    detect: verdict.detectors().names().map(str::to_owned).collect(),
                    row_filters: verdict.rulings.iter().flat_map(|ruling| ruling.filters.to_vec()).collect(),
                    sent: verdict.sql().into_owned(),
                    approvers: requirement.map(|requirement| requirement.groups()).unwrap_or_default(),
                    ..blank
                }
            }
        }
    }

    /// Every relation that `who` may read or write, hidden ones left out, ordered by key.
    ///
    /// # Errors
    /// When there is no catalog, or the identity is no longer valid.
    pub async fn access(
        &self,
        who: &Identity,
        context: &Arc<Context>,
    ) -> Result<Vec<RelationAccess>, Denial> {
        let catalog = match self.catalogs.current(context.database()) {
            Some(catalog) => catalog,
            None => self.catalogs.refresh(context.database()).await.map_err(|error| {
                Denial::because(DenialKind::Unavailable, "catalog", error.to_string(), "try again later")
            })?,
        };
        let rules = self.rules();
        rules.agent(who.name())?;
        let mut visible = Vec::new();
        for relation in catalog.relations().filter(|relation| shows(relation)) {
            let surveyor =
                Surveyor { gate: self, rules: &rules, name: who.name(), context, catalog: &catalog };
            visible.extend(surveyor.survey(relation)?);
            tokio::task::yield_now().await;
        }
        Ok(visible)
    }

    /// The names of the databases that `who` may open a session on, ordered.
    #[must_use]
    pub fn databases(&self, who: &Identity, door: Door) -> Vec<String> {
        self.openings(who, door).into_iter().map(|opening| opening.database).collect()
    }

    /// The databases that `who` may open a session on, ordered by name, and what kind of session that would be.
    #[must_use]
    pub fn openings(&self, who: &Identity, door: Door) -> Vec<Opening> {
        let rules = self.rules();
        let Ok(identity) = rules.agent(who.name()) else { return Vec::new() };
        let mut names = self.catalogs.names();
        names.sort();
        let opening = |database: String| {
            let input = SessionInput {
                identity: identity.clone(),
                database: &database,
                door: door.as_str(),
                roles: self.catalogs.roles(&database).unwrap_or_default(),
                settings: Vec::new(),
                session: SessionFacts::default(),
                time: self.time(),
            };
            let decision = rules.policy.session(&input);
            decision.allow.then_some(Opening { database, read_only: decision.read_only })
        };
        names.into_iter().filter_map(opening).collect()
    }
}

/// Asks the rulebook about made-up statements on one relation, to learn what an identity may do with it.
struct Surveyor<'a> {
    gate: &'a Gate,
    rules: &'a Rules,
    name: &'a str,
    context: &'a Context,
    catalog: &'a Arc<Snapshot>,
}

impl Surveyor<'_> {
    fn survey(&self, relation: &Relation) -> Result<Option<RelationAccess>, Denial> {
        let all: Vec<&str> = relation.columns.iter().map(|column| column.name.as_str()).collect();
        let whole = self.ask(relation, Access::Read, &all)?;
        let mut columns = Vec::new();
        for column in &relation.columns {
            let decision = match whole.effect {
                Effect::Allow | Effect::Escalate(_) => whole.clone(),
                Effect::Deny => self.ask(relation, Access::Read, &[&column.name])?,
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
        for (verb, access) in
            [("insert", Access::Insert), ("update", Access::Update), ("delete", Access::Delete)]
        {
            match self.ask(relation, access, &[])?.effect {
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

    fn ask(&self, relation: &Relation, access: Access, columns: &[&str]) -> Result<Decision, Denial> {
        let facts = imagined(relation, access, columns);
        let (identity, context) = (self.rules.agent(self.name)?, self.context);
        Ok(self.rules.policy.decide(&StatementInput {
            session: context.facts(),
            ..StatementInput::plain(
                identity,
                context.database(),
                context.door().as_str(),
                &facts,
                self.gate.time(),
            )
        }))
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

fn shows(relation: &Relation) -> bool {
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
