//! What the tour prints, and whether all of it was as it must be.

use std::io;

use serde_json::Value;

use crate::cli::output::{Output, Table, cut, one_line, visible};

use super::person::Answer;

/// A transcript in the making.
#[derive(Debug)]
pub(super) struct Transcript<'a> {
    output: &'a mut Output,
    scenes: usize,
    kept: usize,
    broken: Vec<String>,
}

impl<'a> Transcript<'a> {
    pub(super) fn new(output: &'a mut Output) -> Self {
        Self { output, scenes: 0, kept: 0, broken: Vec::new() }
    }

    /// Begins a scene.
    pub(super) fn scene(&mut self, title: &str) -> anyhow::Result<()> {
        self.scenes = self.scenes.saturating_add(1);
        self.line(&format!("\n{}. {title}\n", self.scenes))
    }

    /// Somebody types a statement into psql.
    pub(super) fn types(&mut self, who: &str, sql: &str) -> anyhow::Result<()> {
        self.line(&format!("   {who}@shop=> {};", one_line(sql)))
    }

    /// An agent calls a tool.
    pub(super) fn calls(&mut self, who: &str, tool: &str, arguments: &Value) -> anyhow::Result<()> {
        self.line(&format!("   {who} calls {tool} {}", one_line(&arguments.to_string())))
    }

    /// Somebody types a command into a shell.
    pub(super) fn command(&mut self, command: &str) -> anyhow::Result<()> {
        self.line(&format!("   $ {command}"))
    }

    /// What came back from a statement.
    pub(super) fn answer(&mut self, answer: &Answer) -> anyhow::Result<()> {
        match answer {
            Answer::Done(1) => self.says("1 row changed"),
            Answer::Done(affected) => self.says(&format!("{affected} rows changed")),
            Answer::Waits(notice) => self.says(notice),
            Answer::Rows(grid) => {
                let heads: Vec<&str> = grid.columns().iter().map(String::as_str).collect();
                let mut table = Table::new(&heads);
                for row in grid.rows() {
                    table.row(row.iter().map(|cell| cell.clone().unwrap_or_else(|| "NULL".to_owned())));
                }
                self.block(&table.to_string())
            }
            Answer::Refused(refusal) => {
                self.says(&format!("ERROR {}: {}", refusal.sqlstate, refusal.message))?;
                for (label, text) in [("DETAIL", &refusal.detail), ("HINT", &refusal.hint)] {
                    if !text.is_empty() {
                        self.says(&format!("{label}: {text}"))?;
                    }
                }
                Ok(())
            }
        }
    }

    /// Some fields of what came back from a tool, by their places (JSON pointers).
    pub(super) fn replies(&mut self, reply: &Value, places: &[&str]) -> anyhow::Result<()> {
        for place in places {
            if let Some(value) = reply.pointer(place) {
                let name = place.rsplit('/').next().unwrap_or(place);
                self.says(&format!("{name}: {value}"))?;
            }
        }
        Ok(())
    }

    /// What came back from the console.
    pub(super) fn answers<'v>(
        &mut self,
        doing: &str,
        answer: Result<&'v str, &'v anyhow::Error>,
    ) -> anyhow::Result<()> {
        let said = answer.map_or_else(|error| format!("{error:#}"), str::to_owned);
        self.line(&format!("   {doing}: {}", one_line(&said)))
    }

    /// Anything else that came back.
    pub(super) fn says(&mut self, text: &str) -> anyhow::Result<()> {
        self.line(&format!("   {}", cut(&visible(&text.replace('\n', " ")), 200)))
    }

    /// Holds a reply against what it must be.
    pub(super) fn expect(&mut self, what: &str, holds: bool) -> anyhow::Result<()> {
        if holds {
            self.kept = self.kept.saturating_add(1);
            return self.line(&format!("   ✓ {what}"));
        }
        self.broken.push(what.to_owned());
        self.line(&format!("   ✗ NOT SO: {what}"))
    }

    /// Sums up. True if all was as it must be.
    pub(super) fn end(self) -> io::Result<bool> {
        if self.broken.is_empty() {
            self.output.line(format_args!("\nAll {} expectations hold.", self.kept))?;
            return Ok(true);
        }
        let broken = self.broken.join("; ");
        self.output.line(format_args!("\n{} expectations do not hold: {broken}", self.broken.len()))?;
        Ok(false)
    }

    fn block(&mut self, text: &str) -> anyhow::Result<()> {
        text.lines().try_for_each(|line| self.line(&format!("   {line}")))
    }

    fn line(&mut self, text: &str) -> anyhow::Result<()> {
        Ok(self.output.line(text)?)
    }
}
