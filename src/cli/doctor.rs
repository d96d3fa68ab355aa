//! `portcullis doctor`: may the gateway's own roles do too much?

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::bail;
use clap::Args;
use serde_json::{Value, json};

use crate::config::{self, Settings};
use crate::gate::Catalogs as _;
use crate::serve;
use crate::upstream::{Examination, ExamineError, Finding, Upstream, UpstreamUser};

use super::eval;
use super::exit::Exit;
use super::output::{Output, visible};

/// Examines the database roles that the gateway works by
///
/// Behind every rule and mask stands the role that the gateway logs in as. The doctor asks PostgreSQL what each
/// configured role may do, says of each right that it should not have what could be done with it, and prints the SQL
/// that takes it away. It changes nothing itself. `serve` does not use a role with a dangerous finding, unless the
/// configuration accepts that finding by its name.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  portcullis doctor
  portcullis doctor --database shop --script > safe.sql     then, as the owner of the database:
  psql --dbname shop --file safe.sql

Exit codes: 0 nothing dangerous that is not accepted, 1 a role could not be examined, 3 something dangerous")]
pub(super) struct Doctor {
    /// The configuration
    #[arg(short, long, value_name = "FILE", default_value = "portcullis.toml")]
    config: PathBuf,

    /// Only this database, by its name in the configuration
    #[arg(short, long, value_name = "NAME")]
    database: Option<String>,

    /// Prints only the SQL
    #[arg(long, conflicts_with = "json")]
    script: bool,

    /// Answers in JSON
    #[arg(long)]
    json: bool,
}

type Seen = Result<Examination, ExamineError>;

impl Doctor {
    pub(super) async fn run(self, output: &mut Output) -> anyhow::Result<Exit> {
        let settings = config::load(&self.config)?;
        let databases = self.databases(&settings)?;
        let upstream = Arc::new(Upstream::new(settings.databases.clone()));
        let mut seen = Vec::new();
        for database in &databases {
            let rules = serve::load_rules(&settings)?;
            // Without a catalog it is not known what is masked; everything else is.
            if let Err(error) = upstream.refresh(database).await {
                output.complain(&error.into());
            }
            let withheld = eval::rehearse(Arc::clone(&upstream), rules)?.withheld(database);
            let of = |role: &str| withheld.get(role).cloned().unwrap_or_default();
            seen.extend(upstream.examine(database, of).await);
        }
        if self.json {
            output.json(&Value::Array(seen.iter().map(document).collect()))?;
        } else {
            for seen in &seen {
                self.tell(seen, output)?;
            }
            for name in databases.iter().filter(|name| leaves_roles_to_clients(&settings, name)) {
                output.remark(format_args!(
                    "database `{name}`: clients choose their role upstream, so it is theirs, and not examined"
                ))?;
            }
        }
        Ok(exit(&seen))
    }

    fn databases(&self, settings: &Settings) -> anyhow::Result<Vec<String>> {
        let all = settings.databases.iter().map(|database| database.name.clone());
        let Some(name) = &self.database else { return Ok(all.collect()) };
        let Some(name) = all.into_iter().find(|each| each == name) else {
            bail!("there is no [[database]] named `{name}` in `{}`", self.config.display());
        };
        Ok(vec![name])
    }

    fn tell(&self, seen: &Seen, output: &mut Output) -> anyhow::Result<()> {
        let seen = match seen {
            Ok(seen) => seen,
            Err(error) if self.script => {
                output.complain(&anyhow::anyhow!("{error}"));
                return Ok(());
            }
            Err(error) => return Ok(output.line(visible(&error.to_string()))?),
        };
        if !self.script {
            explain(seen, output)?;
        }
        // SQL is not made visible: a name must stay what it is. What a terminal would obey is refused.
        let script = seen.script();
        if visible(&script) != script {
            bail!(
                "a name in database `{}` holds control characters: rename it first",
                visible(&seen.database)
            );
        }
        Ok(output.line(script)?)
    }
}

fn leaves_roles_to_clients(settings: &Settings, name: &str) -> bool {
    let mut databases = settings.databases.iter();
    databases.any(|database| database.name == name && database.upstream_user == UpstreamUser::Same)
}

fn exit(seen: &[Seen]) -> Exit {
    if seen.iter().flatten().any(|seen| seen.dangers().next().is_some()) {
        return Exit::Refused;
    }
    if seen.iter().any(Result::is_err) { Exit::Failed } else { Exit::Ok }
}

fn explain(seen: &Examination, output: &mut Output) -> anyhow::Result<()> {
    output.line(visible(&format!("database `{}`, {}", seen.database, seen.who())))?;
    if seen.findings.is_empty() {
        output.line("  may do nothing that it should not")?;
    }
    for finding in &seen.findings {
        output.line(format_args!(
            "  {} ({}): {}",
            finding.kind,
            weight(seen, finding),
            finding.kind.harm()
        ))?;
        for through in finding.through.iter().take(SHOWN) {
            output.line(visible(&format!("      {through}")))?;
        }
        let more = finding.through.len().saturating_sub(SHOWN);
        if more > 0 {
            output.line(format_args!("      and {more} more"))?;
        }
    }
    Ok(output.line("")?)
}

fn weight(seen: &Examination, finding: &Finding) -> &'static str {
    match finding.kind.is_dangerous() && !seen.is_danger(finding) {
        true => "dangerous, accepted",
        false => finding.kind.severity().as_str(),
    }
}

fn document(seen: &Seen) -> Value {
    let finding = |seen: &Examination, finding: &Finding| {
        json!({
            "finding": finding.kind.name(),
            "severity": finding.kind.severity().as_str(),
            "accepted": seen.accepts(finding.kind),
            "harm": finding.kind.harm(),
            "through": finding.through,
            "fix": finding.fix,
        })
    };
    match seen {
        Ok(seen) => json!({
            "database": seen.database,
            "role": seen.role,
            "user": seen.user,
            "ok": seen.dangers().next().is_none(),
            "findings": seen.findings.iter().map(|each| finding(seen, each)).collect::<Vec<_>>(),
            "script": seen.script(),
        }),
        Err(error) => {
            json!({ "database": error.database, "user": error.user, "ok": false, "error": error.why })
        }
    }
}

/// So many objects are listed under a finding; the script has all.
const SHOWN: usize = 5;
