//! `portcullis policy explain`: a recorded decision, made again.

use std::ops::ControlFlow;
use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use serde_json::{Value, json};

use crate::config;
use crate::policy::deps;
use crate::policy::rehearse::Rehearsal;
use crate::serve::archive;

use super::super::exit::Exit;
use super::super::output::{Output, cut, one_line};
use super::recorded::{self, Documents, Reads, Recorded};
use super::{eval, trace};

/// Says how a recorded decision came about, rule by rule
///
/// The decision is made again: on the input that the ledger kept, by the rulebook of its revision, which the gateway
/// keeps in its state folder. A decision's id is in the error that its requester got, and in `audit tail --json`.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 it was made again, 1 there is no such decision, 3 it can't be made again"
)]
pub(in crate::cli) struct Explain {
    /// The decision's id, or how it begins
    id: String,

    /// The gateway's configuration, which says where the ledger is
    #[arg(short, long, value_name = "FILE", default_value = "portcullis.toml")]
    config: PathBuf,

    /// The ledger's folder itself; revisions lie beside it
    #[arg(long, value_name = "DIR")]
    ledger: Option<PathBuf>,

    /// Answers in JSON, with the input
    #[arg(long)]
    json: bool,
}

impl Explain {
    pub(super) fn run(self, output: &mut Output) -> anyhow::Result<Exit> {
        let folder = match &self.ledger {
            Some(folder) => folder.clone(),
            None => config::folders(&self.config)?.ledger,
        };
        let documents = Documents::read(&folder)?;
        let mut found = Vec::new();
        recorded::each(&folder, |recorded| {
            if !self.id.is_empty() && recorded.record.decision_id.starts_with(&self.id) {
                found.push(recorded);
            }
            Ok(ControlFlow::Continue(()))
        })?;
        if found.is_empty() {
            bail!("the ledger `{}` holds no decision `{}`", folder.display(), self.id);
        }
        let state = folder.parent().map(PathBuf::from).unwrap_or_default();
        let mut all_again = true;
        for recorded in &found {
            let again = again(recorded, &documents, &state);
            all_again &= again.is_ok();
            if self.json {
                output.json(&document(recorded, &again))?;
            } else {
                tell(recorded, &again, output)?;
            }
        }
        Ok(if all_again { Exit::Ok } else { Exit::Refused })
    }
}

/// A decision that was made again.
struct Again {
    input: Value,
    rehearsal: Rehearsal,
    revision: String,
}

fn again(recorded: &Recorded, documents: &Documents, state: &std::path::Path) -> Result<Again, String> {
    let revision = recorded.statement.revision.as_str();
    let archive = archive::load(state, revision)
        .map_err(|error| format!("the rulebook of revision {revision} is not in the archive: {error}"))?;
    let points = deps::of(&archive.sources, &archive.agents).map_err(|error| error.to_string())?;
    let policy = archive.restore().map_err(|error| error.to_string())?;
    let input = recorded.input(documents, &policy, &Reads::of(&points)).map_err(|missing| missing.why())?;
    let rehearsal = policy.rehearse("statement", &input, true);
    let rehearsal = rehearsal.ok_or_else(|| "there is no decision point for statements".to_owned())?;
    Ok(Again { input, rehearsal, revision: revision.to_owned() })
}

fn tell(recorded: &Recorded, again: &Result<Again, String>, output: &mut Output) -> std::io::Result<()> {
    let (record, statement) = (&recorded.record, &recorded.statement);
    output.line(format_args!("decision   {}", record.decision_id))?;
    output.line(format_args!("at         {}", record.at.strftime("%Y-%m-%d %H:%M:%S UTC")))?;
    output.line(format_args!("who        {} on {}", one_line(&record.identity), record.database))?;
    output.line(format_args!("statement  {}", cut(&one_line(&statement.statement), 68)))?;
    let rule = if statement.rule.is_empty() { String::new() } else { format!(" [{}]", statement.rule) };
    output.line(format_args!("recorded   {}{rule}  {}", statement.decision, statement.place))?;
    match again {
        Err(why) => output.line(format_args!("again      can't be: {why}")),
        Ok(Again { rehearsal, revision, .. }) => {
            output.line(format_args!("revision   {revision}"))?;
            output.line("again, by the rulebook:")?;
            eval::tell(rehearsal, output)?;
            trace::tell(rehearsal, output)
        }
    }
}

fn document(recorded: &Recorded, again: &Result<Again, String>) -> Value {
    let (record, statement) = (&recorded.record, &recorded.statement);
    let again = match again {
        Err(why) => json!({ "error": why }),
        Ok(Again { input, rehearsal, .. }) => json!({
            "verdict": rehearsal.verdict, "reasons": eval::reasons(rehearsal), "decision": rehearsal.decision,
            "declared": rehearsal.declared, "trace": rehearsal.trace, "prints": rehearsal.prints, "input": input,
        }),
    };
    json!({
        "decision_id": record.decision_id, "at": record.at, "identity": record.identity,
        "database": record.database, "statement": statement.statement, "revision": statement.revision,
        "recorded": { "verdict": statement.decision, "rule": statement.rule, "place": statement.place },
        "again": again,
    })
}
