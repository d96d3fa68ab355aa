//! Runs a rulebook's own tests: every `test_*` rule of every `*_test.rego` file.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::{Map, Value};

use super::load;
use super::snapshot::{RulebookError, Source};
use super::syntax::Module;

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
}

/// Runs all tests in `sources`, ordered by name. There are no identities but those that a test brings by
/// `with data.agents as`.
///
/// # Errors
/// When the rulebook, or a test, can't be loaded.
pub fn run(sources: &[Source]) -> Result<Vec<TestResult>, RulebookError> {
    let all: Vec<&Source> = sources.iter().collect();
    let (engine, _reads) = load::engine(&all, &Value::Object(Map::new()))?;
    let tree = engine.get_ast_as_json().map_err(|problem| load::error_at(&problem, String::new()))?;
    let mut seen = BTreeSet::new();
    let mut results = Vec::new();
    for module in Module::read_all(&tree)?.into_iter().filter(|module| module.is_test) {
        for rule in module.rules {
            let is_test = rule.path.rsplit('.').next().is_some_and(|name| name.starts_with("test_"));
            if !is_test {
                continue;
            }
            let mut detail = String::new();
            if seen.insert(rule.path.clone()) {
                let mut engine = engine.clone();
                let path = format!("data.{}", rule.path);
                match catch_unwind(AssertUnwindSafe(|| engine.eval_rule(path))) {
                    Ok(Ok(regorus::Value::Bool(true))) => {}
                    Ok(Ok(regorus::Value::Undefined)) => {
                        "undefined: an expression is false or undefined".clone_into(&mut detail)
                    }
                    Ok(Ok(_)) => "not true".clone_into(&mut detail),
                    Ok(Err(problem)) => detail = problem.to_string(),
                    Err(_) => "the policy engine panicked".clone_into(&mut detail),
                }
            } else {
                "there is another test of this name".clone_into(&mut detail);
            }
            let passed = detail.is_empty();
            results.push(TestResult {
                name: rule.path,
                passed,
                file: rule.site.file,
                line: rule.site.line,
                detail,
            });
        }
    }
    results.sort_by(|one, two| one.name.cmp(&two.name));
    Ok(results)
}
