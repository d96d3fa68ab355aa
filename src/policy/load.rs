//! From files to an engine that is ready to decide.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::num::NonZeroU32;
use std::time::Duration;

use regorus::Engine;
use regorus::utils::limits::ExecutionTimerConfig;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::documents;
use super::nesting;
use super::snapshot::{RulebookError, Source};
use super::vet::{self, Vetted};
use super::vocabulary::{BIND, LOG, POINTS, Point, STATEMENT, point_of};

/// Whether a file holds tests of the rulebook.
pub(super) fn is_test(source: &Source) -> bool {
    is_test_file(&source.path)
}

/// Whether a file of this name holds tests.
pub(super) fn is_test_file(path: &str) -> bool {
    path.ends_with("_test.rego")
}

/// Whether a file of this name holds rules that decide: neither tests nor what the gateway generates.
pub(super) fn is_written(path: &str) -> bool {
    !is_test_file(path) && path != ANSWER_FILE
}

/// Refuses rules of a decision point in a file of tests: they would be left out with the tests.
pub(super) fn tests_decide_nothing(sources: &[Source]) -> Result<(), RulebookError> {
    for source in sources.iter().filter(|source| is_test(source)) {
        let lines = source.text.lines().enumerate();
        let mut packages =
            lines.filter_map(|(at, line)| Some((at + 1, line.strip_prefix("package ")?.trim())));
        if let Some((line, package)) =
            packages.find(|(_, package)| point_of(package).is_some() && !package.ends_with("_test"))
        {
            let what = format!(
                "tests are left out of what decides, so rules of `{package}` don't belong into `{}`: name the package `{package}_test`, or the file otherwise",
                source.path
            );
            return Err(error(source, line, what));
        }
    }
    Ok(())
}

/// The rule that answers for a decision point.
pub(super) fn answer_path(point: &str) -> String {
    format!("data.{ANSWER}.{point}")
}

/// The digest over the files and identities: every part length-prefixed, so no two rulebooks share one.
pub(super) fn revision(sources: &[&Source], agents: &Value) -> String {
    let agents = agents.to_string();
    let mut parts: Vec<[&str; 4]> = sources
        .iter()
        .map(|source| {
            let grants = if source.grants { "grants" } else { "" };
            [source.bundle.as_str(), source.path.as_str(), grants, source.text.as_str()]
        })
        .collect();
    parts.sort_unstable();
    parts.push(["", "", "", &agents]);
    let mut hash = Sha256::new();
    for part in parts.into_iter().flatten() {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().iter().take(8).fold(String::new(), |mut text, byte| {
        // Writing to a string can't fail.
        write!(text, "{byte:02x}").unwrap_or_default();
        text
    })
}

/// An engine with vetted policies and their data, prepared: what is cloned from it shares everything. With it comes
/// what vetting has found out.
pub(super) fn engine(sources: &[&Source], agents: &Value) -> Result<(Engine, Vetted), RulebookError> {
    let (mut engine, data, problems) = read(sources, agents);
    if let Some(problem) = problems.into_iter().next() {
        return Err(problem);
    }
    let vetted = vet::vet(&engine, sources, &data)?;
    prepare(&mut engine, data, &vetted)?;
    Ok((engine, vetted))
}

/// Everything for which [`engine`] would refuse `sources`, as far as one thing does not hide another: files that can't
/// be read hide what is wrong between files.
pub(super) fn problems(sources: &[&Source], agents: &Value) -> Vec<RulebookError> {
    let (mut engine, data, problems) = read(sources, agents);
    if !problems.is_empty() {
        return problems;
    }
    match vet::vet(&engine, sources, &data) {
        Ok(vetted) => prepare(&mut engine, data, &vetted).err().into_iter().collect(),
        Err(_) => vet::problems(&engine, sources, &data),
    }
}

/// An engine with all policies that can be read, all data, and what can't be read.
pub(super) fn read(sources: &[&Source], agents: &Value) -> (Engine, Map<String, Value>, Vec<RulebookError>) {
    let mut engine = Engine::new();
    engine.set_strict_builtin_errors(true);
    // Else the engine writes what rules print to standard error.
    engine.set_gather_prints(true);
    engine.set_execution_timer_config(ExecutionTimerConfig {
        limit: TIME_LIMIT,
        check_interval: CHECK_INTERVAL,
    });
    let mut data = Map::new();
    let mut seen = BTreeSet::new();
    let mut problems = Vec::new();
    for source in sources {
        let taken = match seen.insert(source.name()) {
            true => take(&mut engine, &mut data, source),
            false => Err(error(source, 0, "the file is there twice".to_owned())),
        };
        problems.extend(taken.err());
    }
    problems.extend(documents::apart(sources).err());
    data.insert(AGENTS.to_owned(), agents.clone());
    (engine, data, problems)
}

fn take(engine: &mut Engine, data: &mut Map<String, Value>, source: &Source) -> Result<(), RulebookError> {
    let wrong = |line: usize, what: &str| error(source, line, what.to_owned());
    if source.path.ends_with(".rego") {
        // The engine takes a NUL for the end of the file, and a lone carriage return for the end of nothing: what stands
        // behind either would be no rule, without a word.
        if let Some(line) = unreadable(&source.text) {
            return Err(wrong(line, "a control character that no policy needs: take it out"));
        }
        if let Some(line) = nesting::too_deep(&source.text) {
            return Err(wrong(line, "nested too deeply: give parts of it names of their own"));
        }
        let added = engine.add_policy(source.name(), source.text.clone());
        added.map(drop).map_err(|problem| error_at(&problem, source.name()))
    } else if source.path.ends_with(".json") {
        documents::place(data, source)
    } else if source.path.ends_with(".yaml") || source.path.ends_with(".yml") {
        Err(wrong(0, "YAML is not read: write this as JSON"))
    } else {
        Err(wrong(0, "a rulebook holds `.rego` and `.json` files only"))
    }
}

/// The line, from 1, of the first character that a policy can't have.
fn unreadable(text: &str) -> Option<usize> {
    let allowed = |c: char| !c.is_control() || c == '\t';
    let at =
        text.split('\n').position(|line| !line.strip_suffix('\r').unwrap_or(line).chars().all(allowed))?;
    Some(at + 1)
}

/// Adds what asks the decision points, and compiles every rule, so that no decision pays for it and no broken rule
/// waits for its first use.
fn prepare(engine: &mut Engine, data: Map<String, Value>, vetted: &Vetted) -> Result<(), RulebookError> {
    let whole = |problem: &anyhow::Error| error_at(problem, String::new());
    engine.add_policy(ANSWER_FILE.to_owned(), answer_module(vetted)).map_err(|problem| whole(&problem))?;
    engine.add_data(regorus::Value::from(Value::Object(data))).map_err(|problem| whole(&problem))?;
    engine.eval_rule(answer_path("ready")).map_err(|problem| whole(&problem))?;
    Ok(())
}

/// The module that asks the packages of a decision point for all that they declare, in one evaluation. A comprehension
/// turns an undefined rule into an empty array; an error in any rule stays an error of the whole answer.
fn answer_module(vetted: &Vetted) -> String {
    let mut module = format!("package {ANSWER}\n\nready := true\n");
    let mut add = |name: &str, outputs: &[&str], points: &[&Point]| {
        let packages = |point: &&Point| -> Vec<&String> {
            vetted.packages.iter().filter(|package| point.owns(package).is_some()).collect()
        };
        let packages: Vec<&String> = points.iter().flat_map(packages).collect();
        let fields: Vec<String> = outputs
            .iter()
            .map(|output| {
                let paths = packages.iter().map(|package| format!("{package}.{output}"));
                let declared = paths.filter(|path| vetted.rules.contains(path));
                let values: Vec<String> =
                    declared.map(|path| format!("[value | value := data.{path}]")).collect();
                format!("{output:?}: [{}]", values.join(",\n\t"))
            })
            .collect();
        // The engine reads no line of more than 1024 characters, and there may be any number of packages.
        module.push_str(&format!("\n{name} := {{{}}}\n", fields.join(",\n")));
    };
    for point in POINTS {
        add(point.name, &point.outputs().collect::<Vec<_>>(), &[point]);
    }
    let asked_with_values: Vec<&Point> =
        POINTS.iter().filter(|point| matches!(point.package, STATEMENT | BIND)).collect();
    let outputs: BTreeSet<&str> = asked_with_values.iter().flat_map(|point| point.outputs()).collect();
    add(BOUND, &outputs.into_iter().collect::<Vec<_>>(), &asked_with_values);
    let logged = ["drop", "mask"].map(|name| (name, format!("{LOG}.{name}")));
    let logged = logged.map(|(name, path)| match vetted.rules.contains(&path) {
        true => format!("{name:?}: [value | value := data.{path}]"),
        false => format!("{name:?}: []"),
    });
    module.push_str(&format!("\nlog := {{{}}}\n", logged.join(", ")));
    module
}

/// What somebody else has answered for `portcullis.statement`, in the form of the rulebook's own answers. What nobody
/// would read is refused: it may be a misspelt `mask`.
pub(super) fn foreign_answer(answer: &Value) -> Result<Value, String> {
    let object = answer.as_object().ok_or("the answer is not an object")?;
    let point = POINTS.iter().find(|point| point.package == STATEMENT);
    let outputs: Vec<&str> = point.into_iter().flat_map(Point::outputs).collect();
    if let Some(unknown) = object.keys().find(|name| !outputs.contains(&name.as_str())) {
        return Err(format!("the answer declares `{unknown}`; it may declare {}", outputs.join(", ")));
    }
    let value = |name: &&str| match object.get(*name) {
        None => Value::Array(Vec::new()),
        Some(value) => Value::Array(vec![Value::Array(vec![value.clone()])]),
    };
    Ok(Value::Object(outputs.iter().map(|name| ((*name).to_owned(), value(name))).collect()))
}

pub(super) fn error(source: &Source, line: usize, what: String) -> RulebookError {
    RulebookError { file: source.name(), line, what }
}

/// The engine puts `--> file:line:column`, an excerpt and `error: what` into one text.
pub(super) fn error_at(problem: &anyhow::Error, file: String) -> RulebookError {
    let text = format!("{problem:#}");
    let place = text.lines().find_map(|line| line.trim_start().strip_prefix("--> "));
    let mut parts = place.unwrap_or_default().rsplitn(3, ':');
    let (column, line, named) = (parts.next(), parts.next(), parts.next());
    let number = |part: Option<&str>| part.and_then(|part| part.trim().parse::<usize>().ok());
    let what = text.split("error: ").nth(1).unwrap_or(&text).trim();
    RulebookError {
        file: named.map_or(file, str::to_owned),
        line: number(line).unwrap_or(0),
        what: match number(column) {
            Some(column) => format!("{what} (column {column})"),
            None => what.to_owned(),
        },
    }
}

/// The package that the gateway generates.
pub(super) const ANSWER: &str = "portcullis_answer";
const ANSWER_FILE: &str = "(answer)";

/// What is asked where bind values are known: `portcullis.statement` and `portcullis.bind` at once.
pub(super) const BOUND: &str = "bound";

/// The identities' document.
pub(super) const AGENTS: &str = "agents";

/// A net against rules that don't end, not a latency tool: the engine looks at wall time, and a busy machine
/// may set a thread aside for long.
const TIME_LIMIT: Duration = Duration::from_millis(1000);

/// Work units between two looks at the clock.
const CHECK_INTERVAL: NonZeroU32 = match NonZeroU32::new(64) {
    Some(units) => units,
    None => NonZeroU32::MIN,
};
