//! `portcullis policy test`: the rulebook's own tests.

use clap::{Args, ValueEnum};
use regex::Regex;
use serde_json::{Value, json};

use crate::clock::{Clock as _, SystemClock};
use crate::policy::coverage::Coverage;
use crate::policy::testing::{self, Suite, TestResult};

use super::super::exit::Exit;
use super::super::output::{Output, visible};
use super::{Rulebook, coverage, junit, usable};

/// Runs a rulebook's own tests
///
/// A test is a rule `test_...` in a file `*_test.rego`, as OPA has them; one that begins with `todo_test_` is
/// counted and not run. Coverage says which lines of the rulebook no test comes to.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  portcullis policy test
  portcullis policy test policies -r masks -v        names passed tests too
  portcullis policy test --threshold 100 --format junit > policy.xml

Exit codes: 0 all passed, 1 a test failed or too little is covered, 3 the rulebook can't be loaded")]
pub(in crate::cli) struct Test {
    #[command(flatten)]
    rulebook: Rulebook,

    /// Runs only the tests whose full name matches
    #[arg(short, long, value_name = "REGEX")]
    run: Option<Regex>,

    /// Says which lines no test comes to
    #[arg(long)]
    coverage: bool,

    /// Fails if less of the lines is covered, in percent
    #[arg(long, value_name = "PERCENT")]
    threshold: Option<f64>,

    /// How to say it
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// How results are written.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// One document.
    Json,
    /// JUnit's XML, as CI servers read it.
    Junit,
}

/// A whole run.
pub(super) struct Run {
    pub(super) tests: Vec<Timed>,
    pub(super) todo: Vec<testing::Test>,
    pub(super) coverage: Option<Coverage>,
    pub(super) threshold: Option<f64>,
}

/// A test and how long it took.
pub(super) struct Timed {
    pub(super) result: TestResult,
    pub(super) micros: u64,
}

impl Test {
    /// With `all`, passed tests are named too.
    pub(super) fn run(self, all: bool, output: &mut Output) -> anyhow::Result<Exit> {
        let suite = self.rulebook.sources().and_then(|sources| Ok(Suite::load(&sources)?));
        let suite = match usable(suite, output) {
            Ok(suite) => suite,
            Err(exit) => return Ok(exit),
        };
        let run = self.every(&suite);
        if run.tests.is_empty() && run.todo.is_empty() {
            let what = self.run.as_ref().map_or_else(
                || "there are no tests: a test is a rule `test_...` in a file `*_test.rego`".to_owned(),
                |pattern| format!("no test's name matches `{pattern}`"),
            );
            output.remark(format_args!("portcullis: {what}"))?;
            return Ok(Exit::Failed);
        }
        match self.format {
            Format::Text => tell(&run, all, output)?,
            Format::Json => output.json(&run.document())?,
            Format::Junit => output.line(junit::document(&run).trim_end())?,
        }
        Ok(if run.is_good() { Exit::Ok } else { Exit::Failed })
    }

    /// Runs every test that is wanted.
    fn every(&self, suite: &Suite) -> Run {
        let wanted = |test: &&testing::Test| self.run.as_ref().is_none_or(|run| run.is_match(&test.name));
        let mut covered = suite.uncovered();
        let tests = suite.tests().iter().filter(wanted).map(|test| {
            let start = SystemClock.now().as_microsecond();
            let result = suite.run(test);
            let micros = SystemClock.now().as_microsecond().saturating_sub(start);
            covered.add(&result.coverage);
            Timed { result, micros: u64::try_from(micros).unwrap_or(0) }
        });
        let tests = tests.collect();
        Run {
            tests,
            todo: suite.todo().iter().filter(wanted).cloned().collect(),
            coverage: (self.coverage || self.threshold.is_some()).then_some(covered),
            threshold: self.threshold,
        }
    }
}

impl Run {
    pub(super) fn passed(&self) -> usize {
        self.tests.iter().filter(|test| test.result.passed).count()
    }

    pub(super) fn failed(&self) -> usize {
        self.tests.len().saturating_sub(self.passed())
    }

    /// The coverage, if it is too little.
    pub(super) fn missed(&self) -> Option<f64> {
        let (coverage, threshold) = (self.coverage.as_ref()?.percent(), self.threshold?);
        (coverage < threshold).then_some(coverage)
    }

    fn is_good(&self) -> bool {
        self.failed() == 0 && self.missed().is_none()
    }

    /// As docs/policy.md has it.
    fn document(&self) -> Value {
        let tests = self.tests.iter().map(|Timed { result, micros }| {
            json!({
                "name": result.name, "file": result.file, "line": result.line, "micros": micros,
                "outcome": if result.passed { "pass" } else { "fail" },
                "detail": result.detail, "failed_line": result.failed_line, "prints": result.prints,
            })
        });
        let todo = self.todo.iter().map(|test| {
            json!({
                "name": test.name, "file": test.file, "line": test.line, "micros": 0, "outcome": "todo",
                "detail": "", "failed_line": null, "prints": [],
            })
        });
        json!({
            "ok": self.is_good(), "passed": self.passed(), "failed": self.failed(), "todo": self.todo.len(),
            "tests": tests.chain(todo).collect::<Vec<_>>(),
            "coverage": self.coverage.as_ref().map(coverage::document), "threshold": self.threshold,
        })
    }
}

fn tell(run: &Run, all: bool, output: &mut Output) -> anyhow::Result<()> {
    for Timed { result, micros } in &run.tests {
        if result.passed && !all && result.prints.is_empty() {
            continue;
        }
        let word = if result.passed { "pass" } else { "FAIL" };
        output.line(format_args!("{word}  {}  ({})", result.name, milliseconds(*micros)))?;
        if !result.passed {
            let line = result.failed_line.unwrap_or(result.line);
            output.line(format_args!("      {}:{line}: {}", result.file, visible(&result.detail)))?;
        }
        for print in &result.prints {
            output.line(format_args!("      {}", visible(print)))?;
        }
    }
    for test in run.todo.iter().filter(|_| all) {
        output.line(format_args!("todo  {}  {}:{}", test.name, test.file, test.line))?;
    }
    if let Some(covered) = &run.coverage {
        coverage::tell(covered, output)?;
    }
    let micros = run.tests.iter().map(|test| test.micros).sum();
    let (passed, failed, todo) = (run.passed(), run.failed(), run.todo.len());
    output
        .line(format_args!("{passed} passed, {failed} failed, {todo} to do  ({})", milliseconds(micros)))?;
    if let Some(missed) = run.missed() {
        output
            .line(format_args!("coverage is {missed:.1} %, below {:.1} %", run.threshold.unwrap_or(0.0)))?;
    }
    Ok(())
}

/// `1.2 ms`.
pub(super) fn milliseconds(micros: u64) -> String {
    format!("{}.{} ms", micros / 1000, micros % 1000 / 100)
}
