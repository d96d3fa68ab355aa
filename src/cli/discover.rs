//! `portcullis discover`: which columns should be labelled?

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::{Value, json};

use crate::config;
use crate::upstream::{Suspect, Upstream};

use super::exit::Exit;
use super::output::{Output, Table, visible};

/// Proposes labels for columns that hold what should be masked
///
/// Looks at the names of all columns, and at a sample of the values that a configured role may read. It prints why it
/// proposes a label, and how often what was found: never a value. What it writes has the form of
/// `policies/data/labels.json`, for somebody to review. It changes nothing, in the database or in the rulebook.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  portcullis discover --database shop
  portcullis discover --database shop --role full --rows 1000 --out proposed.json

The database's own role often may not read what is sensitive. Then names alone decide, and it says so.")]
pub(super) struct Discover {
    /// The configuration
    #[arg(short, long, value_name = "FILE", default_value = "portcullis.toml")]
    config: PathBuf,

    /// The database, by its name in the configuration
    #[arg(short, long, value_name = "NAME")]
    database: String,

    /// The upstream role to look as, by its name in the configuration; the database's own credential if left out
    #[arg(long, value_name = "NAME", default_value = "")]
    role: String,

    /// So many rows of each table are looked at
    #[arg(long, value_name = "NUMBER", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rows: u32,

    /// Writes the proposed labels to this file, which must not be there yet
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// Answers in JSON
    #[arg(long)]
    json: bool,
}

impl Discover {
    pub(super) async fn run(self, output: &mut Output) -> anyhow::Result<Exit> {
        let settings = config::load(&self.config)?;
        if !settings.databases.iter().any(|database| database.name == self.database) {
            bail!("there is no [[database]] named `{}` in `{}`", self.database, self.config.display());
        }
        let upstream = Upstream::new(settings.databases);
        let suspects = upstream.discover(&self.database, &self.role, self.rows).await?;
        let labels = self.labels(&suspects);
        if let Some(path) = &self.out {
            let file = OpenOptions::new().write(true).create_new(true).open(path);
            let mut file = file.with_context(|| format!("can't write `{}`", path.display()))?;
            serde_json::to_writer_pretty(&mut file, &labels)?;
            file.write_all(b"\n")?;
        }
        if self.json {
            let columns: Vec<Value> = suspects.iter().map(document).collect();
            output.json(&json!({ "labels": labels, "columns": columns }))?;
            return Ok(Exit::Ok);
        }
        if suspects.is_empty() {
            output.line("no column has a telling name, or values that look like anything")?;
            return Ok(Exit::Ok);
        }
        let mut table = Table::new(&["column", "label", "because"]);
        for suspect in &suspects {
            let label = if suspect.is_proposed() { suspect.label } else { "(some values)" };
            let column = visible(&format!("{}.{}", suspect.relation, suspect.column));
            table.row([column, label.to_owned(), suspect.because().join("; ")]);
        }
        output.line(table)?;
        Ok(Exit::Ok)
    }

    /// The proposed labels, as the rulebook's data has them: database, table, column.
    fn labels(&self, suspects: &[Suspect]) -> Value {
        let mut tables: BTreeMap<&str, BTreeMap<&str, &str>> = BTreeMap::new();
        for suspect in suspects.iter().filter(|suspect| suspect.is_proposed()) {
            tables.entry(suspect.relation.as_str()).or_default().insert(&suspect.column, suspect.label);
        }
        json!({ &self.database: tables })
    }
}

fn document(suspect: &Suspect) -> Value {
    let found: BTreeMap<&str, u64> =
        suspect.found.iter().map(|(detector, count)| (detector.as_str(), *count)).collect();
    json!({
        "table": suspect.relation,
        "column": suspect.column,
        "data_type": suspect.data_type,
        "label": suspect.label,
        "proposed": suspect.is_proposed(),
        "by_name": suspect.is_named_so,
        "sampled": suspect.sampled,
        "found": found,
    })
}
