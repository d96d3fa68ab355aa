//! How a transcript looks: as in psql, without what differs from run to run.

use std::fmt::Write as _;

use super::script::{Entrance, Step};

/// Text that grows.
#[derive(Debug, Default)]
pub(super) struct Transcript(String);

impl Transcript {
    pub(super) fn line(&mut self, text: &str) {
        for line in text.lines() {
            writeln!(self.0, "{}", without_ids(line.trim_end())).unwrap();
        }
    }

    /// What somebody types.
    pub(super) fn prompt(&mut self, step: &Step) {
        if !self.0.is_empty() {
            self.0.push('\n');
        }
        let times = if step.times > 1 { format!("{} times", step.times) } else { String::new() };
        let at = step.at.map(|at| at.to_string()).unwrap_or_default();
        let purpose = match step.purpose.as_str() {
            "" => String::new(),
            purpose => format!("portcullis.purpose={purpose}"),
        };
        let application = match step.application.as_str() {
            "" => String::new(),
            application => format!("application_name={application}"),
        };
        let notes = [at, step.note.clone(), purpose, application, times];
        let notes: Vec<String> = notes.into_iter().filter(|note| !note.is_empty()).collect();
        if !notes.is_empty() {
            self.line(&format!("-- {}", notes.join(", ")));
        }
        let prompt = match step.door {
            Entrance::Wire => format!("{}=> {};", step.who, step.sql),
            Entrance::Tools => format!("{}, {}: {}", step.who, step.tool, step.sql),
        };
        self.line(&prompt);
        if !step.values.is_empty() {
            let values = step.values.iter().enumerate();
            let values: Vec<String> =
                values.map(|(index, value)| format!("${} = {value}", index + 1)).collect();
            self.line(&format!("-- {}", values.join(", ")));
        }
    }

    /// A no, as psql prints it.
    pub(super) fn refusal(&mut self, severity: &str, message: &str, rule: &str, hint: &str) {
        self.line(&format!("{severity}:  {message}"));
        if !rule.is_empty() {
            self.line(&format!("DETAIL:  rule {rule}"));
        }
        if !hint.is_empty() {
            self.line(&format!("HINT:  {hint}"));
        }
    }

    /// A result, as psql prints it, but for numbers, which stand to the left too.
    pub(super) fn table(&mut self, columns: &[String], rows: &[Vec<String>], quiet: bool) {
        if !quiet {
            let width = |at: usize| {
                let cells = rows.iter().map(|row| row[at].chars().count());
                cells.chain([columns[at].chars().count()]).max().unwrap_or_default()
            };
            let widths: Vec<usize> = (0..columns.len()).map(width).collect();
            let line = |cells: &[String]| {
                let cells = cells.iter().zip(&widths).map(|(cell, width)| format!(" {cell:<width$} "));
                cells.collect::<Vec<_>>().join("|")
            };
            self.line(&line(columns));
            let rule: Vec<String> = widths.iter().map(|width| "-".repeat(width + 2)).collect();
            self.line(&rule.join("+"));
            rows.iter().for_each(|row| self.line(&line(row)));
        }
        self.count(rows.len());
    }

    fn count(&mut self, rows: usize) {
        self.line(&format!("({rows} {})", if rows == 1 { "row" } else { "rows" }));
    }

    /// What operators have heard, and what was noted besides.
    pub(super) fn aside(&mut self, heard: &[String]) {
        if heard.is_empty() {
            return;
        }
        self.0.push('\n');
        self.line("-- in the ledger");
        heard.iter().for_each(|line| self.line(line));
    }

    pub(super) fn text(self) -> String {
        self.0
    }
}

/// The line without what is drawn anew each time: ids of approvals and decisions.
fn without_ids(line: &str) -> String {
    let words = line.split(' ').map(|word| {
        let id = word.trim_end_matches([':', ',', '.']);
        let is_id = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_id { word.replace(id, "ID") } else { word.to_owned() }
    });
    words.collect::<Vec<_>>().join(" ")
}
