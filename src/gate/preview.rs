//! What would happen, and what an identity may see: answers that run nothing and ask nobody.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde::Serialize;
use smol_str::SmolStr;

use crate::catalog::{Relation, RelationKind};
use crate::identity::{Identity, Principal};
use crate::policy::input::{Arguments, SessionFacts};
use crate::policy::{Reason, SessionInput};
use crate::sql::{Facts, Statement};

use super::act::Origin;
use super::connect::Asked;
use super::definitions::Redefined;
use super::escalate::Values;
use super::journal::Scene;
use super::judge::{Case, Via};
use super::rows::Filtered;
use super::survey::{Surveyor, shows};
use super::{Context, Denial, DenialKind, Door, Gate, Names};

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

/// A call of a tool that nobody makes.
#[derive(Debug, Clone, Copy)]
pub struct Foreseen<'a> {
    /// The tool's name.
    pub tool: &'a str,
    /// What it would say that it is for; empty where the tool takes no reason.
    pub purpose: &'a str,
    /// The values of each statement in text form; `None` is NULL.
    pub parameters: &'a [Vec<Option<String>>],
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
        self.explain_as(who.principal(), context, sql).await
    }

    /// Says what would happen to `sql` if a tool was called with it as `call` says.
    pub async fn foresee(
        &self,
        who: &Identity,
        context: &Arc<Context>,
        sql: &Statement,
        call: &Foreseen<'_>,
    ) -> Explanation {
        let names = Names::default();
        let case = Case {
            via: Via::Tool(call.tool),
            parameters: call.parameters.to_vec(),
            values: Values::Called(call.parameters),
            arguments: Arguments { reason: call.purpose, ..Arguments::default() },
            ..imagined(who.principal(), context, sql, &names)
        };
        self.explained(&case).await
    }

    /// As [`Gate::explain`], for the identity called `name`, by whoever runs the gateway.
    pub async fn evaluate(&self, name: &str, database: &str, sql: &Statement) -> Explanation {
        let session = SessionFacts::default();
        let who = Principal::named(name);
        let asked = Asked { who, door: Door::Wire, database, settings: &[], session };
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
        self.explain_as(who, &Arc::new(context), sql).await
    }

    async fn explain_as(&self, who: Principal<'_>, context: &Arc<Context>, sql: &Statement) -> Explanation {
        self.explained(&imagined(who, context, sql, &Names::default())).await
    }

    async fn explained(&self, case: &Case<'_>) -> Explanation {
        let (context, sql) = (case.context, case.statement);
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
        match self.judge(case, &[]).await {
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
        rules.agent(who.principal())?;
        let mut visible = Vec::new();
        for relation in catalog.relations().filter(|relation| shows(relation)) {
            let surveyor =
                Surveyor { gate: self, rules: &rules, who: who.principal(), context, catalog: &catalog };
            visible.extend(surveyor.survey(relation)?);
            tokio::task::yield_now().await;
        }
        Ok(visible)
    }

    /// What `who` may do with `relation`; `None` where that is nothing.
    ///
    /// # Errors
    /// When there is no catalog, or the identity is no longer valid.
    pub fn access_to(
        &self,
        who: &Identity,
        context: &Context,
        relation: &Relation,
    ) -> Result<Option<RelationAccess>, Denial> {
        let rules = self.rules();
        let catalog = self.catalogs.current(context.database()).ok_or_else(|| {
            Denial::because(DenialKind::Unavailable, "catalog", "there is no catalog", "try again later")
        })?;
        Surveyor { gate: self, rules: &rules, who: who.principal(), context, catalog: &catalog }
            .survey(relation)
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
        let Ok(identity) = rules.agent(who.principal()) else { return Vec::new() };
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

/// A statement that nobody asks to run.
fn imagined<'a>(
    principal: Principal<'a>,
    context: &'a Arc<Context>,
    statement: &'a Statement,
    names: &'a Names,
) -> Case<'a> {
    Case {
        principal,
        context,
        statement,
        via: Via::Query,
        parameters: Vec::new(),
        prepared: None,
        names,
        values: Values::None,
        decision_id: SmolStr::default(),
        name: "",
        arguments: Arguments::default(),
        key: "",
    }
}
