//! `portcullis rls`: the rulebook's row filters as PostgreSQL's row-level security.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::config::{self, Secret, Settings};
use crate::mask::RowFilters;
use crate::mask::rows::Finding;
use crate::serve;
use crate::upstream::{RoleSettings, RowPlan, Step, Upstream};

use super::exit::Exit;
use super::output::{Output, visible};

/// Puts the rulebook's row filters in force in PostgreSQL, and checks that they are
///
/// A row filter is held by row-level security of the database itself, by a policy that reads its values from a setting
/// of the session which the gateway gives and no client can change. The gateway does not serve a filtered table before
/// its policies are there and are as the rulebook's definitions make them.
#[derive(Debug, Subcommand)]
pub(super) enum Rls {
    Plan(Plan),
    Apply(Apply),
    Verify(Verify),
}

/// Prints the SQL that puts row filters in force, and changes nothing
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  portcullis rls plan --database shop > filters.sql     then, as the owner of its tables:
  psql --dbname shop --file filters.sql

Exit codes: 0 it was printed, 1 a database could not be looked at, 3 a filter can't be put in force as it is")]
pub(super) struct Plan {
    #[command(flatten)]
    which: Which,
}

/// Puts row filters in force, in one transaction
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  portcullis rls apply --database shop --user shop_owner --password-env OWNER_PASSWORD

The gateway's own users can't do this, and must not: name a user who owns the tables. Where the server is and how it
is reached is in the configuration.

Exit codes: 0 all filters are in force now, 1 it failed and changed nothing, 3 something keeps a filter from being so")]
pub(super) struct Apply {
    #[command(flatten)]
    which: Which,

    /// The PostgreSQL user who owns the tables
    #[arg(short, long, value_name = "NAME")]
    user: String,

    /// The environment variable with that user's password
    #[arg(long, value_name = "VARIABLE", conflicts_with = "password_file")]
    password_env: Option<String>,

    /// The file with that user's password
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

/// Says what keeps row filters from being in force
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 all of them are in force, 1 a database could not be looked at, 3 one is not"
)]
pub(super) struct Verify {
    #[command(flatten)]
    which: Which,
}

#[derive(Debug, Args)]
struct Which {
    /// The configuration
    #[arg(short, long, value_name = "FILE", default_value = "portcullis.toml")]
    config: PathBuf,

    /// Only this database, by its name in the configuration
    #[arg(short, long, value_name = "NAME")]
    database: Option<String>,

    /// Answers in JSON
    #[arg(long)]
    json: bool,
}

/// The databases, and what the rulebook says of each.
struct Subjects {
    upstream: Arc<Upstream>,
    databases: Vec<(String, Arc<RowFilters>)>,
}

impl Rls {
    pub(super) async fn run(self, output: &mut Output) -> anyhow::Result<Exit> {
        match self {
            Self::Plan(plan) => plan.run(output).await,
            Self::Apply(apply) => apply.run(output).await,
            Self::Verify(verify) => verify.run(output).await,
        }
    }
}

impl Plan {
    async fn run(self, output: &mut Output) -> anyhow::Result<Exit> {
        let subjects = self.which.subjects()?;
        let mut plans = Vec::new();
        for (database, filters) in &subjects.databases {
            plans.push(subjects.upstream.plan_rows(database, filters).await?);
        }
        if self.which.json {
            output.json(&Value::Array(plans.iter().map(document).collect()))?;
        } else {
            for plan in &plans {
                output.line(script(plan)?)?;
            }
        }
        let impossible = |step: &Step| step.why.iter().any(|why| why.starts_with("NOT IN FORCE"));
        match plans.iter().flat_map(|plan| &plan.steps).any(impossible) {
            true => Ok(Exit::Refused),
            false => Ok(Exit::Ok),
        }
    }
}

impl Apply {
    async fn run(self, output: &mut Output) -> anyhow::Result<Exit> {
        let subjects = self.which.subjects()?;
        let owner = self.owner()?;
        for (database, filters) in &subjects.databases {
            let plan = subjects.upstream.plan_rows(database, filters).await?;
            if !self.which.json {
                output.remark(script(&plan)?)?;
            }
            if !plan.is_done() {
                let applied = subjects.upstream.apply_rows(&plan, &owner).await;
                applied.context("nothing was changed")?;
            }
        }
        report(&subjects, self.which.json, output).await
    }

    fn owner(&self) -> anyhow::Result<RoleSettings> {
        let password = match (&self.password_env, &self.password_file) {
            (Some(variable), _) => Secret::from_env(variable)?,
            (None, Some(file)) => Secret::from_file(file)?,
            // The server may trust its own machine, or know a certificate.
            (None, None) => Secret::new(String::new()),
        };
        Ok(RoleSettings {
            name: "owner".to_owned(),
            user: self.user.clone(),
            password: password.expose().to_owned(),
        })
    }
}

impl Verify {
    async fn run(self, output: &mut Output) -> anyhow::Result<Exit> {
        report(&self.which.subjects()?, self.which.json, output).await
    }
}

impl Which {
    fn subjects(&self) -> anyhow::Result<Subjects> {
        let settings: Settings = config::load(&self.config)?;
        let rules = serve::load_rules(&settings)?;
        let mut databases = Vec::new();
        for database in &settings.databases {
            if self.database.as_ref().is_some_and(|name| *name != database.name) {
                continue;
            }
            let filters = rules.policy.row_filters(&database.name);
            let filters = filters.map_err(|reason| anyhow::anyhow!("{}", reason.message))?;
            databases.push((database.name.clone(), filters));
        }
        match &self.database {
            Some(name) if databases.is_empty() => {
                bail!("there is no [[database]] named `{name}` in `{}`", self.config.display())
            }
            _ => Ok(Subjects { upstream: Arc::new(Upstream::new(settings.databases)), databases }),
        }
    }
}

async fn report(subjects: &Subjects, json: bool, output: &mut Output) -> anyhow::Result<Exit> {
    let mut all = Vec::new();
    for (database, filters) in &subjects.databases {
        let found = subjects.upstream.verify_rows(database, filters).await?;
        if !json {
            tell(database, filters, &found, output)?;
        }
        all.extend(found.into_iter().map(|finding| (database, finding)));
    }
    if json {
        let finding = |(database, finding): &(&String, Finding)| {
            json!({
                "database": database,
                "filter": finding.filter,
                "relation": finding.relation,
                "finding": finding.lack.name(),
                "what": finding.what,
            })
        };
        let findings: Vec<Value> = all.iter().map(finding).collect();
        output.json(&json!({ "ok": all.is_empty(), "findings": findings }))?;
    }
    Ok(if all.is_empty() { Exit::Ok } else { Exit::Refused })
}

fn tell(database: &str, filters: &RowFilters, found: &[Finding], output: &mut Output) -> anyhow::Result<()> {
    if filters.is_empty() {
        output.line(format_args!("database `{database}`: the rulebook has no row filters"))?;
    }
    for filter in filters.iter() {
        let lacks: Vec<&Finding> = found.iter().filter(|finding| finding.filter == filter.name).collect();
        let state = if lacks.is_empty() { "in force" } else { "NOT IN FORCE" };
        output.line(visible(&format!("{database}: {} on {}: {state}", filter.name, filter.relation)))?;
        for lack in lacks {
            output.line(visible(&format!("  {}: {}", lack.lack.name(), lack.what)))?;
        }
    }
    Ok(())
}

/// SQL is not made visible: a name must stay what it is. What a terminal would obey is refused.
fn script(plan: &RowPlan) -> anyhow::Result<String> {
    let script = plan.script();
    if visible(&script) != script {
        bail!("a name in database `{}` holds control characters: rename it first", visible(&plan.database));
    }
    Ok(script)
}

fn document(plan: &RowPlan) -> Value {
    let step = |step: &Step| json!({ "relation": step.relation, "why": step.why, "sql": step.sql });
    json!({
        "database": plan.database,
        "done": plan.is_done(),
        "steps": plan.steps.iter().map(step).collect::<Vec<_>>(),
        "script": plan.script(),
    })
}
