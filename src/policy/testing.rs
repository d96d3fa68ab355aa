//! Runs a rulebook's own tests: every `test_*` rule of every `*_test.rego` file.
//!
//! ```
//! use portcullis::policy::testing::Suite;
//! # let sources = [
//! #     portcullis::policy::Source::file("s.rego", "package portcullis.statement\nallow := true"),
//! #     portcullis::policy::Source::file("o.rego", "package portcullis.session\nallow := true"),
//! #     portcullis::policy::Source::file("a.rego", "package portcullis.approval\neligible := true"),
//! # ];
//! let suite = Suite::load(&sources)?;
//! for test in suite.tests() {
//!     let result = suite.run(test);
//!     assert!(result.passed, "{}", result.detail);
//! }
//! # Ok::<(), portcullis::policy::RulebookError>(())
//! ```

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use regorus::Engine;
use regorus::unstable::Module;
use serde_json::{Map, Value};

use super::coverage::Coverage;
use super::load;
use super::snapshot::{RulebookError, Source};
use super::{trace, tree};

/// The tests of a rulebook, loaded with it.
pub struct Suite {
    engine: Engine,
    tests: Vec<Test>,
    todo: Vec<Test>,
}

/// A test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Test {
    /// The rule in full, for example `portcullis.statement_test.test_ddl`.
    pub name: String,
    /// The file below the rulebook's folder.
    pub file: String,
    /// The line of its rule, from 1.
    pub line: usize,
    /// Whether another rule has its name, so that either would be the other's way out.
    is_double: bool,
}

/// How one test went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestResult {
    /// The rule in full, for example `portcullis.statement_test.test_ddl`.
    pub name: String,
    /// Whether the rule was true.
    pub passed: bool,
    /// The file below the rulebook's folder.
    pub file: String,
    /// The line of its rule, from 1.
    pub line: usize,
    /// Why it failed; empty if it passed.
    pub detail: String,
    /// The line of the expression that was not true, if it is known.
    pub failed_line: Option<usize>,
    /// What it printed, each behind its `file:line: `.
    pub prints: Vec<String>,
    /// What it came to, in all files but those of tests.
    pub coverage: Coverage,
}

/// Runs all tests in `sources`, ordered by name. There are no identities but those that a test brings by
/// `with data.agents as`.
///
/// # Errors
/// When the rulebook, or a test, can't be loaded.
pub fn run(sources: &[Source]) -> Result<Vec<TestResult>, RulebookError> {
    let suite = Suite::load(sources)?;
    Ok(suite.tests().iter().map(|test| suite.run(test)).collect())
}

impl Suite {
    /// The tests in `sources`, ordered by name.
    ///
    /// # Errors
    /// When the rulebook, or a test, can't be loaded.
    pub fn load(sources: &[Source]) -> Result<Self, RulebookError> {
        let all: Vec<&Source> = sources.iter().collect();
        let (mut engine, _reads) = load::engine(&all, &Value::Object(Map::new()))?;
        let (mut tests, mut todo) = (Vec::new(), Vec::new());
        for module in engine.get_modules() {
            let file = module.package.span.source.get_path();
            if !load::is_test_file(file) {
                continue;
            }
            let package = package(module);
            for rule in &module.policy {
                let name = tree::rule_name(rule);
                let into = match name {
                    _ if name.starts_with("test_") => &mut tests,
                    _ if name.starts_with("todo_test_") => &mut todo,
                    _ => continue,
                };
                let line = usize::try_from(rule.span().line).unwrap_or(0);
                into.push(Test {
                    name: format!("{package}.{name}"),
                    file: file.clone(),
                    line,
                    is_double: false,
                });
            }
        }
        for tests in [&mut tests, &mut todo] {
            tests.sort_by(|one, two| (&one.name, &one.file, one.line).cmp(&(&two.name, &two.file, two.line)));
        }
        mark_doubles(&mut tests);
        Ok(Self { engine, tests, todo })
    }

    /// Every test that can be run.
    #[must_use]
    pub fn tests(&self) -> &[Test] {
        &self.tests
    }

    /// Those that are not to be run yet: their rules begin with `todo_test_`.
    #[must_use]
    pub fn todo(&self) -> &[Test] {
        &self.todo
    }

    /// What no test has come to yet: every line of every file but those of tests.
    #[must_use]
    pub fn uncovered(&self) -> Coverage {
        Coverage::of(&mut self.engine.clone(), load::is_written)
    }

    /// Runs one test of [`Suite::tests`].
    #[must_use]
    pub fn run(&self, test: &Test) -> TestResult {
        let mut engine = self.engine.clone();
        engine.set_enable_coverage(true);
        engine.set_gather_prints(true);
        let path = format!("data.{}", test.name);
        let (detail, failed_line) = match catch_unwind(AssertUnwindSafe(|| engine.eval_rule(path))) {
            _ if test.is_double => ("there is another test of this name".to_owned(), None),
            Ok(Ok(regorus::Value::Bool(true))) => (String::new(), None),
            Ok(Ok(regorus::Value::Undefined | regorus::Value::Bool(false))) => untrue(&mut engine, test),
            Ok(Ok(_)) => ("the rule is not a boolean: a test is `test_name if { ... }`".to_owned(), None),
            Ok(Err(problem)) => {
                let problem = load::error_at(&problem, String::new());
                let here = problem.file == test.file;
                if here { (problem.what, Some(problem.line)) } else { (problem.to_string(), None) }
            }
            Err(_) => ("the policy engine panicked".to_owned(), None),
        };
        TestResult {
            name: test.name.clone(),
            passed: detail.is_empty(),
            file: test.file.clone(),
            line: test.line,
            detail,
            failed_line,
            prints: engine.take_prints().unwrap_or_default(),
            coverage: Coverage::of(&mut engine, load::is_written),
        }
    }
}

impl std::fmt::Debug for Suite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Suite").field("tests", &self.tests.len()).finish_non_exhaustive()
    }
}

fn mark_doubles(tests: &mut [Test]) {
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for test in tests.iter() {
        *times.entry(test.name.clone()).or_default() += 1;
    }
    for test in tests {
        test.is_double = times.get(&test.name).is_some_and(|times| *times > 1);
    }
}

/// Says which statement was not true: the last one that was come to before the first that was not, since a body
/// ends with the first statement that is not true.
fn untrue(engine: &mut Engine, test: &Test) -> (String, Option<usize>) {
    let coverage = Coverage::of(engine, |file| file == test.file);
    let mut modules = engine.get_modules().iter();
    let module = modules.find(|module| *module.package.span.source.get_path() == test.file);
    let mut rules = module.into_iter().flat_map(|module| &module.policy);
    let rule = rules.find(|rule| usize::try_from(rule.span().line) == Ok(test.line)).map(|rule| &**rule);
    let stop = rule.and_then(|rule| trace::stop(rule, |line| coverage.came_to(&test.file, line)));
    let Some((line, statement)) = stop else { return ("not true".to_owned(), None) };
    let text = tree::written(&statement.span);
    (format!("not true: `{text}`"), Some(line))
}

/// The package of a module, without `data.`.
fn package(module: &Module) -> String {
    module.package.refr.span().text().to_owned()
}
