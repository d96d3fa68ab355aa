//! Row filters in PostgreSQL: the SQL that puts them in force, and what keeps them from being so.
//!
//! Each filter becomes a restrictive policy for the gateway's own users on its table and on everything below it, since
//! a partition or child that is read by itself asks its own policies only. A table that had no row-level security gets
//! a permissive policy for everybody besides, so that nobody else loses a row. The gateway's users can't do any of
//! this: it takes the owner of the tables.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use tokio::time::timeout;

use crate::catalog::{Relation, RelationKey, RelationKind, RowPolicy, Snapshot};
use crate::mask::RowFilters;
use crate::mask::rows::{
    By, Finding, Lack, OPEN, POLICY_PREFIX, RowFilter, findings, is_as_made, note_of_definition, reach,
};

use super::catalog::{LoadError, session};
use super::settings::RoleSettings;
use super::target::Target;

/// What is to be done on one database.
#[derive(Debug, Clone)]
pub struct RowPlan {
    /// The database's name in the configuration.
    pub database: String,
    /// The database's name upstream.
    pub upstream: String,
    /// One entry a relation, ordered by its name.
    pub steps: Vec<Step>,
}

/// What is to be done about one relation, or why nothing is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The relation.
    pub relation: RelationKey,
    /// In sentences, each a line.
    pub why: Vec<String>,
    /// Statements, each a line; they may be run again.
    pub sql: Vec<String>,
}

/// Row filters that could not be looked at, or put in force.
#[derive(Debug, thiserror::Error)]
#[error("row filters of database `{database}`: {why}")]
pub struct RowError {
    /// The database's name in the configuration.
    pub database: String,
    /// What failed, in words.
    pub why: String,
}

impl RowPlan {
    /// What puts `filters` in force on `catalog` for sessions of `users`, and takes away what is not a filter any more.
    pub(super) fn new(target: &Target, filters: &RowFilters, catalog: &Snapshot, users: &[String]) -> Self {
        let settings = target.settings();
        let mut wanted: BTreeMap<RelationKey, Vec<&RowFilter>> = BTreeMap::new();
        for filter in filters.iter().filter(|filter| filter.by == By::Rls) {
            for key in reach(filter, catalog) {
                wanted.entry(key).or_default().push(filter);
            }
        }
        let ours = |relation: &&std::sync::Arc<Relation>| relation.row_security.policies.iter().any(is_ours);
        for relation in catalog.relations().filter(ours) {
            wanted.entry(relation.key()).or_default();
        }
        let mut steps: Vec<Step> = wanted
            .iter()
            .filter_map(|(key, filters)| match catalog.relation(key) {
                Some(relation) if is_table(relation) => step(relation, filters, users),
                Some(_) => Some(Step::impossible(
                    key,
                    &format!("`{key}` is no table that row-level security could hold"),
                )),
                None => Some(Step::impossible(key, &format!("there is no relation `{key}`"))),
            })
            .collect();
        let fenced = filters.iter().filter(|filter| filter.by == By::Fence);
        steps.extend(fenced.map(|filter| {
            let why = format!(
                "`{}` is held by a fence in each statement: it reads the whole table, and nothing can be written",
                filter.name
            );
            Step { relation: filter.relation.clone(), why: vec![why], sql: Vec::new() }
        }));
        Self { database: settings.name.clone(), upstream: settings.database.clone(), steps }
    }

    /// Whether nothing is to be done.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.steps.iter().all(|step| step.sql.is_empty())
    }

    /// SQL for the owner of the tables: all or nothing, for this database only, and it may be run again.
    #[must_use]
    pub fn script(&self) -> String {
        let mut script = format!("-- Row filters of database {}.\n", one_line(&self.database));
        if !self.is_done() {
            script.push_str("BEGIN;\n");
            script.push_str(&self.preamble());
        }
        for Step { relation, why, sql } in &self.steps {
            let written = writeln!(script, "\n-- {}", one_line(relation.as_str()));
            debug_assert!(written.is_ok(), "writing to a string does not fail");
            let lines = why.iter().map(|why| format!("--   {}\n", one_line(why)));
            script.extend(lines.chain(sql.iter().map(|line| format!("{line}\n"))));
        }
        script.push_str(if self.is_done() { "-- Nothing is to be done.\n" } else { "\nCOMMIT;\n" });
        script
    }

    /// Fails in another database; names and constants print the same for whoever prints them.
    fn preamble(&self) -> String {
        let check = format!(
            "BEGIN IF pg_catalog.current_database() <> {} THEN RAISE EXCEPTION {}; END IF; END",
            literal(&self.upstream),
            literal("this script is for another database")
        );
        format!("DO {};\n{PRINTING}", literal(&check))
    }
}

impl Step {
    fn impossible(key: &RelationKey, why: &str) -> Self {
        Self { relation: key.clone(), why: vec![format!("NOT IN FORCE: {why}")], sql: Vec::new() }
    }
}

/// Makes the policies of `relation` those of `filters`; nothing where none is and none is to be.
fn step(relation: &Relation, filters: &[&RowFilter], users: &[String]) -> Option<Step> {
    let mut step = Step { relation: relation.key(), why: Vec::new(), sql: Vec::new() };
    let table = format!("{}.{}", quoted(&relation.schema), quoted(&relation.name));
    let security = &relation.row_security;
    let names: BTreeSet<String> = filters.iter().map(|filter| filter.policy()).collect();
    let open = format!("{POLICY_PREFIX}{OPEN}");
    if !filters.is_empty() && !security.enabled {
        step.enable(&table, &open, relation);
    }
    let lets_pass =
        security.policies.iter().any(|policy| policy.permissive && matches!(policy.command, '*' | 'r'));
    if !filters.is_empty() && security.enabled && !lets_pass {
        let why = "NOT IN FORCE: row-level security was on already, and no policy of yours lets any row pass";
        step.why.push(why.to_owned());
    }
    for filter in filters {
        step.policy(relation, &table, filter, users);
    }
    let gone = security
        .policies
        .iter()
        .filter(|policy| is_ours(policy) && policy.name != open && !names.contains(&policy.name));
    for policy in gone {
        step.why.push(format!("`{}` is of a filter that is gone", policy.name));
        step.sql.push(format!("DROP POLICY IF EXISTS {} ON {table};", quoted(&policy.name)));
    }
    if filters.is_empty() && security.policies.iter().any(|policy| policy.name == open) {
        step.leave(&table, &open, relation);
    }
    (!step.why.is_empty()).then_some(step)
}

impl Step {
    fn enable(&mut self, table: &str, open: &str, relation: &Relation) {
        self.why.push(
            "row-level security is switched on; nobody whom no filter is for sees less by that, but only its owner and \
             users with BYPASSRLS can COPY into the table then"
                .to_owned(),
        );
        let dormant: Vec<&str> = relation
            .row_security
            .policies
            .iter()
            .filter(|policy| !is_ours(policy))
            .map(|policy| policy.name.as_str())
            .collect();
        if !dormant.is_empty() {
            self.why.push(format!("these policies of yours come into force by that: {}", dormant.join(", ")));
        }
        self.sql.extend([
            format!("DROP POLICY IF EXISTS {open} ON {table};"),
            format!("CREATE POLICY {open} ON {table} AS PERMISSIVE FOR ALL TO PUBLIC USING (true) WITH CHECK (true);"),
            format!("ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;"),
        ]);
    }

    /// Policies of one's own stay; without any, the table is as it was before the first filter.
    fn leave(&mut self, table: &str, open: &str, relation: &Relation) {
        if relation.row_security.policies.iter().any(|policy| !is_ours(policy)) {
            self.why.push(format!("`{open}` stays, since there are policies of yours beside it"));
            return;
        }
        self.why.push("no filter is left: row-level security is switched off again".to_owned());
        self.sql.extend([
            format!("ALTER TABLE {table} DISABLE ROW LEVEL SECURITY;"),
            format!("DROP POLICY IF EXISTS {open} ON {table};"),
        ]);
    }

    fn policy(&mut self, relation: &Relation, table: &str, filter: &RowFilter, users: &[String]) {
        let name = filter.policy();
        let condition = filter.columns().and_then(|columns| {
            match columns.iter().find(|column| relation.column(column).is_none()) {
                Some(column) => Err(format!("there is no column `{column}`")),
                None => filter.policy_condition(),
            }
        });
        let condition = match condition {
            Ok(condition) => condition,
            Err(why) => return self.why.push(format!("NOT IN FORCE: `{}`: {why}", filter.name)),
        };
        let policy = relation.row_security.policies.iter().find(|policy| policy.name == name);
        let why = match policy {
            Some(policy) if is_as_made(filter, policy) && policy.roles == users => {
                return self.why.push(format!("`{}` is in force", filter.name));
            }
            None => format!("`{}`: {}", filter.name, filter.using),
            Some(policy) if is_as_made(filter, policy) => {
                format!(
                    "`{}` is for other users than the gateway has: {}",
                    filter.name,
                    policy.roles.join(", ")
                )
            }
            Some(_) => format!("`{}` is not as its definition makes it: {}", filter.name, filter.using),
        };
        self.why.push(why);
        let roles: Vec<String> = users.iter().map(|user| quoted(user)).collect();
        self.sql.extend([
            format!("DROP POLICY IF EXISTS {name} ON {table};"),
            format!(
                "CREATE POLICY {name} ON {table} AS RESTRICTIVE FOR ALL TO {} USING ({condition}) WITH CHECK ({condition});",
                roles.join(", ")
            ),
            remark(table, &name, filter),
        ]);
    }
}

/// Notes on the policy of which definition it is and how it prints: so it is known when it is changed.
fn remark(table: &str, name: &str, filter: &RowFilter) -> String {
    let comment = format!("COMMENT ON POLICY {name} ON {} IS %L", table.replace('%', "%%"));
    let block = format!(
        "BEGIN EXECUTE (SELECT pg_catalog.format({}, {} || pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(\
         pg_catalog.pg_get_expr(p.polqual, p.polrelid) || pg_catalog.chr(10) || \
         pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid), 'UTF8')), 'hex')) \
         FROM pg_catalog.pg_policy p WHERE p.polname = {} AND p.polrelid = {}::pg_catalog.regclass); END",
        literal(&comment),
        literal(&note_of_definition(filter)),
        literal(name),
        literal(table),
    );
    format!("DO {};", literal(&block))
}

/// Runs `plan` as `owner`, all of it or nothing.
pub(super) async fn apply(target: &Target, owner: &RoleSettings, plan: &RowPlan) -> Result<(), LoadError> {
    let client = session::open(target, owner, &PARAMETERS).await?;
    match timeout(DEADLINE, client.batch_execute(&plan.script())).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(LoadError::Late(DEADLINE)),
    }
}

/// Everything that keeps `filters` from being in force for sessions of any of `users`, each once.
pub(super) async fn verify(
    target: &Target,
    filters: &RowFilters,
    catalog: &Snapshot,
    users: &[String],
) -> Result<Vec<Finding>, LoadError> {
    let mut all: Vec<Finding> = Vec::new();
    for filter in filters.iter() {
        let users: Vec<Option<&str>> = match users {
            [] => vec![None],
            users => users.iter().map(|user| Some(user.as_str())).collect(),
        };
        for user in users {
            let new = findings(filter, catalog, user);
            all.extend(new.into_iter().filter(|finding| !all.contains(finding)).collect::<Vec<_>>());
        }
        if all.iter().all(|finding| finding.filter != filter.name) {
            all.extend(refused(target, filter, catalog).await?);
        }
    }
    Ok(all)
}

/// What the server says to the condition of `filter`, if it does not take it. Nothing runs.
async fn refused(
    target: &Target,
    filter: &RowFilter,
    catalog: &Snapshot,
) -> Result<Option<Finding>, LoadError> {
    let (Ok(condition), Some(relation)) = (filter.policy_condition(), catalog.relation(&filter.relation))
    else {
        return Ok(None);
    };
    let client = session::open(target, &target.settings().service, &PARAMETERS).await?;
    let table = format!("{}.{}", quoted(&relation.schema), quoted(&relation.name));
    let asked = client.prepare(&format!("SELECT FROM {table} WHERE {condition}")).await;
    let Err(error) = asked else { return Ok(None) };
    let Some(server) = error.as_db_error() else { return Err(error.into()) };
    Ok(Some(Finding {
        filter: filter.name.clone(),
        relation: filter.relation.clone(),
        lack: Lack::Condition,
        what: format!("PostgreSQL does not take the condition of `{}`: {}", filter.name, server.message()),
    }))
}

fn is_ours(policy: &RowPolicy) -> bool {
    policy.name.starts_with(POLICY_PREFIX)
}

fn is_table(relation: &Relation) -> bool {
    matches!(relation.kind, RelationKind::Table | RelationKind::PartitionedTable)
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Comments end with their line.
fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// As the catalog is read: expressions must print as they will then.
const PRINTING: &str = "SET LOCAL search_path TO '';
SET LOCAL quote_all_identifiers TO off;
SET LOCAL datestyle TO 'ISO, MDY';
SET LOCAL intervalstyle TO 'postgres';
SET LOCAL timezone TO 'UTC';
SET LOCAL extra_float_digits TO 1;
SET LOCAL lock_timeout TO '5s';
";

const PARAMETERS: [(&str, &str); 4] = [
    ("application_name", "portcullis/rls"),
    ("client_encoding", "UTF8"),
    ("standard_conforming_strings", "on"),
    ("search_path", ""),
];

/// Policies need no look at rows; a server that needs longer than this is not well.
const DEADLINE: Duration = Duration::from_secs(60);
