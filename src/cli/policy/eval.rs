//! `portcullis policy eval`: what a decision point says to an input.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::{Value, json};

use crate::clock::{Clock as _, SystemClock};
use crate::gate::Explanation;
use crate::identity::directory::Directory;
use crate::policy::input::Time;
use crate::policy::rehearse::{self, Rehearsal, Verdict};
use crate::policy::{Reason, Snapshot, Source};
use crate::sql::Facts;

use super::super::eval;
use super::super::exit::Exit;
use super::super::output::{Output, visible};
use super::{Rulebook, trace, usable};

/// Says what a decision point would decide, and why
///
/// From an input that was written down, or from a statement by way of the database's catalog. `--example` prints an
/// input to begin with. Nothing runs, and nothing is written.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  portcullis policy eval --example > input.json
  portcullis policy eval --input input.json --trace
  portcullis policy eval session --input login.json -d policies
  portcullis policy eval --sql 'DELETE FROM orders' --as support-bot --database shop --trace

Exit codes: 0 allowed, 3 denied or the rulebook can't be used, 4 it would need approval")]
pub(in crate::cli) struct Eval {
    /// The decision point: connect, session, statement, bind, result, approval or row_filter
    #[arg(default_value = "statement")]
    point: String,

    /// The input, as JSON; `-` is standard input
    #[arg(short, long, value_name = "FILE", conflicts_with = "sql")]
    input: Option<PathBuf>,

    /// The rulebook's folder; else the one that the configuration names, else `policies`
    #[arg(short = 'd', long = "rulebook", value_name = "DIR")]
    folder: Option<PathBuf>,

    /// The configuration
    #[arg(short, long, value_name = "FILE", default_value = "portcullis.toml")]
    config: PathBuf,

    /// A statement, in place of an input
    #[arg(long, requires = "identity", requires = "database")]
    sql: Option<String>,

    /// Who sends the statement
    #[arg(long = "as", value_name = "NAME")]
    identity: Option<String>,

    /// Where to, by its name in the configuration
    #[arg(long, value_name = "NAME")]
    database: Option<String>,

    /// Says how each rule went
    #[arg(long)]
    trace: bool,

    /// Prints an input in which everything is there and empty, and does nothing else
    #[arg(long)]
    example: bool,

    /// Answers in JSON
    #[arg(long)]
    json: bool,
}

impl Eval {
    pub(super) async fn run(mut self, output: &mut Output) -> anyhow::Result<Exit> {
        // By its package too, as schemas and rules name it.
        if let Some(point) = self.point.strip_prefix("portcullis.") {
            self.point = point.to_owned();
        }
        if !rehearse::points().any(|point| point == self.point) {
            let known: Vec<&str> = rehearse::points().collect();
            bail!("there is no decision point `{}`; there are {}", self.point, known.join(", "));
        }
        if self.example {
            output.line(serde_json::to_string_pretty(&rehearse::empty_input(&self.point))?)?;
            return Ok(Exit::Ok);
        }
        match (self.sql.take(), self.identity.take(), self.database.take()) {
            (Some(sql), Some(identity), Some(database)) => {
                let explanation = eval::explain(&self.config, &identity, &database, &sql).await?;
                self.explained(&explanation, &identity, &database, output)
            }
            _ => self.written(output),
        }
    }

    fn written(self, output: &mut Output) -> anyhow::Result<Exit> {
        let Some(path) = &self.input else {
            bail!(
                "what is the input? Name a file by `--input`, or a statement by `--sql`; `--example` prints an input"
            );
        };
        let input = read(path)?;
        for field in rehearse::missing_fields(&self.point, &input) {
            output.remark(format_args!("`{field}` is missing: in force it is always there"))?;
        }
        let snapshot = match usable(self.snapshot(&input), output) {
            Ok(snapshot) => snapshot,
            Err(exit) => return Ok(exit),
        };
        let Some(rehearsal) = snapshot.rehearse(&self.point, &input, self.trace) else {
            bail!("there is no decision point `{}`", self.point);
        };
        if self.json {
            output.json(&document(&snapshot, &rehearsal))?;
        } else {
            tell(&rehearsal, output)?;
            trace::tell(&rehearsal, output)?;
            output.line(format_args!("revision   {}", snapshot.revision()))?;
        }
        Ok(match rehearsal.verdict {
            Verdict::Allow => Exit::Ok,
            Verdict::Escalate => Exit::Pending,
            Verdict::Deny => Exit::Refused,
        })
    }

    /// What the gate says, and how the rules of each statement went.
    fn explained(
        self,
        explanation: &Explanation,
        identity: &str,
        database: &str,
        output: &mut Output,
    ) -> anyhow::Result<Exit> {
        let mut traces = Vec::new();
        if self.trace {
            for facts in &explanation.facts {
                let input = self.input_for(identity, database, facts)?;
                traces.extend(self.snapshot(&input)?.rehearse("statement", &input, true));
            }
        }
        if self.json {
            let mut said = serde_json::to_value(explanation)?;
            if let Some(fields) = said.as_object_mut().filter(|_| self.trace) {
                let traces: Vec<&Vec<_>> = traces.iter().map(|rehearsal| &rehearsal.trace).collect();
                fields.insert("traces".to_owned(), json!(traces));
            }
            output.json(&said)?;
        } else {
            eval::tell(explanation, output)?;
            traces.iter().try_for_each(|rehearsal| trace::tell(rehearsal, output))?;
        }
        Ok(eval::exit(explanation))
    }

    /// The input of a statement that arrives by the wire, alone, from a session of which nothing is known.
    fn input_for(&self, identity: &str, database: &str, facts: &Facts) -> anyhow::Result<Value> {
        let directory = self.directory()?;
        let agent = directory.as_ref().and_then(|directory| directory.agent(identity));
        let who = agent.map(|agent| {
            let delegation = directory.as_ref().map(|all| all.delegation(identity)).unwrap_or_default();
            json!({
                "name": identity, "file": identity, "kind": agent.kind(), "owner": agent.owner().unwrap_or_default(),
                "groups": agent.groups(), "delegation": delegation, "claims": agent.claims(),
            })
        });
        let own = json!({
            "database": database, "door": "wire", "via": "query", "statement": facts,
            "batch": { "index": 0, "size": 1 }, "time": Time::at(SystemClock.now(), &[]),
        });
        let mut input = rehearse::empty_input("statement");
        if let (Some(fields), Value::Object(own)) = (input.as_object_mut(), own) {
            fields.extend(own);
            fields.extend(who.map(|who| ("identity".to_owned(), who)));
        }
        Ok(input)
    }

    fn rulebook(&self) -> Rulebook {
        Rulebook { folder: self.folder.clone(), config: self.config.clone() }
    }

    fn directory(&self) -> anyhow::Result<Option<Directory>> {
        self.rulebook().directory()
    }

    /// The rulebook with the configuration's identities. Without any, whoever the input names is taken to be one.
    fn snapshot(&self, input: &Value) -> anyhow::Result<Snapshot> {
        let sources: Vec<Source> = self.rulebook().sources()?;
        let directory = self.directory()?;
        let agents = directory.as_ref().map_or_else(|| json!({}), Directory::to_data);
        let snapshot = Snapshot::build(&sources, &agents)?;
        Ok(match directory {
            Some(_) => snapshot,
            None => {
                let kind = input.pointer("/identity/kind").cloned().unwrap_or_default();
                snapshot.with_strangers(json!({ "kind": kind, "disabled": false }))
            }
        })
    }
}

fn read(path: &Path) -> anyhow::Result<Value> {
    let named = || format!("can't read `{}`", path.display());
    let text = match path.to_str() {
        Some("-") => std::io::read_to_string(std::io::stdin()).with_context(named)?,
        _ => fs::read_to_string(path).with_context(named)?,
    };
    serde_json::from_str(&text).with_context(|| format!("`{}` is no JSON", path.display()))
}

/// The verdict with its reasons and what comes with it.
pub(super) fn tell(rehearsal: &Rehearsal, output: &mut Output) -> std::io::Result<()> {
    output.line(word(rehearsal.verdict))?;
    for reason in &rehearsal.reasons {
        let place = if reason.place.is_empty() { String::new() } else { format!("  {}", reason.place) };
        output.line(format_args!("  {}: {}{place}", reason.rule, visible(&reason.message)))?;
        if !reason.hint.is_empty() {
            output.line(format_args!("    {}", visible(&reason.hint)))?;
        }
    }
    let Some(fields) = rehearsal.declared.as_object() else { return Ok(()) };
    for (name, entries) in fields.iter().filter(|(name, _)| !REASONS.contains(&name.as_str())) {
        for entry in entries.as_array().into_iter().flatten().flat_map(flattened) {
            output.line(format_args!("{name:<10} {}", visible(&entry.to_string())))?;
        }
    }
    Ok(())
}

/// The entries of a declaration, whichever package they are from: `[[entry, ...], ...]`.
fn flattened(values: &Value) -> Vec<&Value> {
    let Some(values) = values.as_array() else { return vec![values] };
    values.iter().flat_map(flattened).collect()
}

/// Reasons with their places, which documents for requesters don't have.
pub(super) fn reasons(rehearsal: &Rehearsal) -> Vec<Value> {
    let document = |reason: &Reason| {
        let Reason { rule, message, hint, private, place } = reason;
        json!({ "rule": rule, "message": message, "hint": hint, "public": !private, "place": place })
    };
    rehearsal.reasons.iter().map(document).collect()
}

fn document(snapshot: &Snapshot, rehearsal: &Rehearsal) -> Value {
    json!({
        "verdict": rehearsal.verdict,
        "reasons": reasons(rehearsal),
        "decision": rehearsal.decision, "declared": rehearsal.declared, "trace": rehearsal.trace,
        "prints": rehearsal.prints, "revision": snapshot.revision(),
    })
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Allow => "allow",
        Verdict::Escalate => "escalate",
        Verdict::Deny => "deny",
    }
}

/// Declarations that are told as reasons.
const REASONS: [&str; 5] = ["allow", "deny", "escalate", "eligible", "missing"];
