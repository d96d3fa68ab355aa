//! `portcullis policy check`: all that is wrong with a rulebook.

use clap::Args;
use serde_json::json;

use crate::policy::lint::{self, Finding, Severity};

use super::super::exit::Exit;
use super::super::output::{Output, cut, visible};
use super::{Rulebook, usable};

/// Says all that is wrong with a rulebook
///
/// Errors are why it would be refused; warnings are what would be taken and is probably not meant. A warning is
/// silenced by a comment on its line or the line above: `# check: ignore linear-scan`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  portcullis policy check
  portcullis policy check policies --strict --json | jq .findings

Exit codes: 0 it can be used, 3 it can't; with --strict, warnings count as errors")]
pub(in crate::cli) struct Check {
    #[command(flatten)]
    rulebook: Rulebook,

    /// Counts warnings as errors
    #[arg(long)]
    strict: bool,

    /// Answers in JSON
    #[arg(long)]
    json: bool,
}

impl Check {
    pub(super) fn run(self, output: &mut Output) -> anyhow::Result<Exit> {
        let read = self.rulebook.sources().and_then(|sources| Ok((sources, self.rulebook.agents()?)));
        let (sources, agents) = match usable(read, output) {
            Ok(read) => read,
            Err(exit) => return Ok(exit),
        };
        let findings = lint::check(&sources, &agents);
        let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
        let warnings = findings.len().saturating_sub(errors);
        let is_good = errors == 0 && (warnings == 0 || !self.strict);
        if self.json {
            let counts =
                json!({ "ok": is_good, "errors": errors, "warnings": warnings, "findings": findings });
            output.json(&counts)?;
        } else {
            findings.iter().try_for_each(|finding| tell(finding, output))?;
            output.line(format_args!("{errors} errors, {warnings} warnings in {} files", sources.len()))?;
        }
        Ok(if is_good { Exit::Ok } else { Exit::Refused })
    }
}

/// Where, what, the line's text, and what to write in its place.
fn tell(finding: &Finding, output: &mut Output) -> std::io::Result<()> {
    let word = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    output.line(format_args!("{}:{}: {word}: {}", finding.file, finding.line, finding.check))?;
    if !finding.text.is_empty() {
        output.line(format_args!("    | {}", cut(&visible(&finding.text), TEXT_WIDTH)))?;
    }
    for text in [&finding.what, &finding.instead].into_iter().filter(|text| !text.is_empty()) {
        for line in wrapped(&visible(text)) {
            output.line(format_args!("    {line}"))?;
        }
    }
    output.line("")
}

/// `text` in lines that fit a terminal behind an indentation.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let is_full = lines.last().is_some_and(|line| {
            !line.is_empty() && line.chars().count() + word.chars().count() >= TEXT_WIDTH
        });
        if is_full {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

/// 80 columns without the indentation.
const TEXT_WIDTH: usize = 75;
