//! `portcullis eval`: what would the gate say to a statement?

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::Args;
use serde::Serialize;

use crate::approval::Desk;
use crate::audit::{Ledger, Memory};
use crate::clock::{Clock, SystemClock};
use crate::config;
use crate::gate::{Catalogs, Explanation, Gate, Parts, Rules, Workers};
use crate::serve;
use crate::sql::Statement;
use crate::sql::facts::{OutputFact, TableFact};
use crate::store::Store;
use crate::upstream::Upstream;

use super::exit::Exit;
use super::output::{Output, visible};

/// Says what would happen to a statement, without running it
///
/// Reads configuration, policies and identities as they are on disk now, and the database's catalog. Nothing runs,
/// nobody is asked, and nothing is written to the ledger: try a changed policy with it before you put it in force.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  portcullis eval --as support-bot --database shop 'SELECT name, ssn FROM customers'
  portcullis eval --as support-bot --database shop --json 'DROP TABLE orders' | jq .reasons

Exit codes: 0 it would run, 3 it would be denied, 4 it would need approval")]
pub(super) struct Eval {
    /// The configuration
    #[arg(short, long, value_name = "FILE", default_value = "portcullis.toml")]
    config: PathBuf,

    /// The identity that asks
    #[arg(long = "as", value_name = "NAME")]
    identity: String,

    /// The database, by its name in the configuration
    #[arg(short, long, value_name = "NAME")]
    database: String,

    /// Answers in JSON, with all facts
    #[arg(long)]
    json: bool,

    /// The statement
    sql: String,
}

impl Eval {
    pub(super) async fn run(self, output: &mut Output) -> anyhow::Result<Exit> {
        let explanation = explain(&self.config, &self.identity, &self.database, &self.sql).await?;
        if self.json {
            output.json(&explanation)?;
        } else {
            tell(&explanation, output)?;
        }
        Ok(exit(&explanation))
    }
}

/// What the gate would say to `sql`, by everything as it is on disk now and by the database's catalog.
pub(super) async fn explain(
    config: &Path,
    identity: &str,
    database: &str,
    sql: &str,
) -> anyhow::Result<Explanation> {
    let statement = Statement::new(sql.as_bytes(), Statement::WIRE_CAP)?;
    let settings = config::load(config)?;
    let rules = serve::load_rules(&settings)?;
    if rules.directory.agent(identity).is_none() {
        bail!("there is no identity `{identity}`; `portcullis agent list` shows who there is");
    }
    if !settings.databases.iter().any(|known| known.name == database) {
        bail!("there is no [[database]] named `{database}` in `{}`", config.display());
    }
    let upstream = Arc::new(Upstream::new(settings.databases.clone()));
    upstream.refresh(database).await?;
    Ok(rehearse(upstream, rules)?.evaluate(identity, database, &statement).await)
}

/// The exit code that says the verdict.
pub(super) fn exit(explanation: &Explanation) -> Exit {
    match explanation.verdict.as_str() {
        "allow" => Exit::Ok,
        "escalate" => Exit::Pending,
        _ => Exit::Refused,
    }
}

/// A gate like the one that serves, with a desk and a ledger that nobody will see.
pub(super) fn rehearse(upstream: Arc<Upstream>, rules: Rules) -> anyhow::Result<Gate> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let gate = Gate::new(Parts {
        catalogs: upstream,
        rules,
        desk: Desk::new(Store::in_memory()?, Arc::clone(&clock))?,
        ledger: Ledger::inline(Memory::default()),
        clock,
        workers: Workers::start(1, 1).context("no thread for the analyser")?,
        console_url: String::new(),
    });
    Ok(gate?)
}

/// In words.
pub(super) fn tell(explanation: &Explanation, output: &mut Output) -> std::io::Result<()> {
    output.line(&explanation.verdict)?;
    for reason in &explanation.reasons {
        output.line(format_args!("  {}: {}", reason.rule, visible(&reason.message)))?;
        if !reason.hint.is_empty() {
            output.line(format_args!("    {}", visible(&reason.hint)))?;
        }
    }
    if !explanation.approvers.is_empty() {
        output.line(format_args!("approvers  {}", explanation.approvers.join(", ")))?;
    }
    for facts in &explanation.facts {
        let touch = |table: &TableFact| format!("{} {}", word(&table.access), table.key);
        let tables: Vec<String> = facts.tables.iter().map(touch).collect();
        let tables = visible(&tables.join(", "));
        output.line(format_args!("facts      {} ({}) {tables}", facts.kind, word(&facts.class)))?;
    }
    for column in explanation.facts.iter().flat_map(|facts| &facts.outputs) {
        output.line(format_args!("column     {}", visible(&lineage(column, &explanation.masked))))?;
    }
    if !explanation.masked.is_empty() {
        output.line(format_args!("masked     {}", visible(&explanation.masked.join(", "))))?;
    }
    if !explanation.released.is_empty() {
        output.line(format_args!("released   {}", visible(&explanation.released.join(", "))))?;
    }
    if !explanation.detect.is_empty() {
        output.line(format_args!("detect     {}", explanation.detect.join(", ")))?;
    }
    for filter in &explanation.row_filters {
        output.line(format_args!("rows of    {}", visible(filter)))?;
    }
    if !explanation.sent.is_empty() {
        output.line(format_args!("sent as    {}", visible(&explanation.sent)))?;
    }
    output.line(format_args!("revision   {}", explanation.revision))
}

/// Where a column of the result comes from, and which of that is masked.
fn lineage(column: &OutputFact, masked: &[String]) -> String {
    let name = if column.name.is_empty() { "(unnamed)" } else { column.name.as_str() };
    let source = |source: &String| match masked.contains(source) {
        true => format!("{source} (masked)"),
        false => source.clone(),
    };
    let sources: Vec<String> = column.sources.iter().map(source).collect();
    match sources.is_empty() {
        true => format!("{name} from no column"),
        false => format!("{name} from {}", sources.join(", ")),
    }
}

/// The word that facts have for `value`, as policies read it.
fn word(value: &impl Serialize) -> String {
    let word = serde_json::to_value(value).unwrap_or_default();
    word.as_str().unwrap_or_default().to_owned()
}
