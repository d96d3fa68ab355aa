//! `portcullis policy deps`: what each decision point reads.

use clap::Args;
use serde_json::{Value, json};

use crate::policy::deps::{self, PointDependencies};

use super::super::exit::Exit;
use super::super::output::Output;
use super::{Rulebook, usable};

/// Says what each decision point reads, and what that means for its cache
///
/// A decision is remembered by exactly those parts of its input that rules can read. The less they read, the more
/// often a decision is known.
#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 worked, 3 the rulebook can't be used")]
pub(in crate::cli) struct Deps {
    #[command(flatten)]
    rulebook: Rulebook,

    /// Names every rule with what it reads by itself
    #[arg(long)]
    rules: bool,

    /// Answers in JSON
    #[arg(long)]
    json: bool,
}

impl Deps {
    pub(super) fn run(self, output: &mut Output) -> anyhow::Result<Exit> {
        let points =
            self.rulebook.sources().and_then(|sources| Ok(deps::of(&sources, &self.rulebook.agents()?)?));
        let points = match usable(points, output) {
            Ok(points) => points,
            Err(exit) => return Ok(exit),
        };
        if self.json {
            output.json(&json!({ "points": points.iter().map(document).collect::<Vec<_>>() }))?;
            return Ok(Exit::Ok);
        }
        for point in points.iter().filter(|point| !point.rules.is_empty()) {
            output.line(&point.package)?;
            list(output, "input", point.input.iter())?;
            list(output, "data", point.data.iter())?;
            let reasons = point.cache();
            output.line(format_args!("  {:<7}{}", "cache", reasons.first().map_or("", |first| first)))?;
            for reason in reasons.iter().skip(1) {
                output.line(format_args!("  {:<7}{reason}", ""))?;
            }
            for rule in point.rules.iter().filter(|_| self.rules) {
                output.line(format_args!("  {}  {}", rule.path, rule.places.join(" ")))?;
                for path in rule.input.iter().chain(&rule.data).chain(&rule.rules) {
                    output.line(format_args!("      {path}"))?;
                }
            }
        }
        Ok(Exit::Ok)
    }
}

fn list<'a>(
    output: &mut Output,
    name: &str,
    entries: impl Iterator<Item = &'a String>,
) -> std::io::Result<()> {
    let mut name = name;
    for entry in entries {
        output.line(format_args!("  {name:<7}{entry}"))?;
        name = "";
    }
    Ok(())
}

fn document(point: &PointDependencies) -> Value {
    json!({
        "package": point.package, "input": point.input, "data": point.data, "cache": point.cache(),
        "rules": point.rules,
    })
}
