//! From files to an engine that is ready to decide.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::num::NonZeroU32;
use std::time::Duration;

use regorus::Engine;
use regorus::utils::limits::ExecutionTimerConfig;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::nesting;
use super::projection::Reads;
use super::snapshot::{RulebookError, Source};
use super::vet::{self, Vetted};
use super::vocabulary::POINTS;

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

/// The rule that answers for a decision point.
pub(super) fn answer_path(point: &str) -> String {
    format!("data.{ANSWER}.{point}")
}

/// The digest over the files and identities: every part length-prefixed, so no two rulebooks share one.
pub(super) fn revision(sources: &[&Source], agents: &Value) -> String {
    let agents = agents.to_string();
    let mut parts: Vec<(&str, &str)> =
        sources.iter().map(|source| (source.path.as_str(), source.text.as_str())).collect();
    parts.sort_unstable();
    parts.push(("", &agents));
    let mut hash = Sha256::new();
    for part in parts.into_iter().flat_map(|(path, text)| [path, text]) {
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
/// what the rules of `portcullis.statement` read of their input.
pub(super) fn engine(sources: &[&Source], agents: &Value) -> Result<(Engine, Reads), RulebookError> {
    let (mut engine, data, problems) = read(sources, agents);
    if let Some(problem) = problems.into_iter().next() {
        return Err(problem);
    }
    let Vetted { rules, reads } = vet::vet(&engine, &data)?;
    prepare(&mut engine, data, &rules)?;
    Ok((engine, reads))
}

/// Everything for which [`engine`] would refuse `sources`, as far as one thing does not hide another: files that can't
/// be read hide what is wrong between files.
pub(super) fn problems(sources: &[&Source], agents: &Value) -> Vec<RulebookError> {
    let (mut engine, data, mut problems) = read(sources, agents);
    if problems.is_empty() {
        problems = vet::problems(&engine, &data);
    }
    if problems.is_empty() {
        problems.extend(prepare(&mut engine, data, &BTreeSet::new()).err());
    }
    problems
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
        let taken = if !seen.insert(&source.path) {
            Err(error(source, 0, "the file is there twice".to_owned()))
        } else if source.path.ends_with(".rego")
            && let Some(line) = nesting::too_deep(&source.text)
        {
            Err(error(source, line, "nested too deeply: give parts of it names of their own".to_owned()))
        } else if source.path.ends_with(".rego") {
            let added = engine.add_policy(source.path.clone(), source.text.clone());
            added.map(drop).map_err(|problem| engine_error(&problem, source))
        } else if source.path.ends_with(".json") {
            place(&mut data, source)
        } else {
            Err(error(source, 0, "a rulebook holds `.rego` and `.json` files only".to_owned()))
        };
        problems.extend(taken.err());
    }
    data.insert(AGENTS.to_owned(), agents.clone());
    (engine, data, problems)
}

/// Adds what asks the decision points, and compiles every rule, so that no decision pays for it and no broken rule
/// waits for its first use.
fn prepare(
    engine: &mut Engine,
    data: Map<String, Value>,
    rules: &BTreeSet<String>,
) -> Result<(), RulebookError> {
    let whole = |problem: &anyhow::Error| error_at(problem, String::new());
    engine.add_policy(ANSWER_FILE.to_owned(), answer_module(rules)).map_err(|problem| whole(&problem))?;
    engine.add_data(regorus::Value::from(Value::Object(data))).map_err(|problem| whole(&problem))?;
    engine.eval_rule(answer_path("ready")).map_err(|problem| whole(&problem))?;
    Ok(())
}

/// The module that asks a decision point for all that it declares, in one evaluation. A comprehension turns an
/// undefined rule into an empty array; an error in any rule stays an error of the whole answer.
fn answer_module(rules: &BTreeSet<String>) -> String {
    let mut module = format!("package {ANSWER}\n\nready := true\n");
    for point in POINTS {
        let fields: Vec<String> = point
            .outputs()
            .map(|output| {
                let path = format!("{}.{output}", point.package);
                let value = if rules.contains(&path) {
                    format!("[value | value := data.{path}]")
                } else {
                    "[]".to_owned()
                };
                format!("{output:?}: {value}")
            })
            .collect();
        module.push_str(&format!("\n{} := {{{}}}\n", point.name, fields.join(", ")));
    }
    module
}

/// Puts `data/DIR/NAME.json` at `data.DIR.NAME`.
fn place(data: &mut Map<String, Value>, source: &Source) -> Result<(), RulebookError> {
    let wrong = |what: &str| error(source, 0, what.to_owned());
    let path = source.path.strip_prefix("data/").and_then(|path| path.strip_suffix(".json"));
    let names: Vec<&str> = path.map(|path| path.split('/').collect()).unwrap_or_default();
    if names.is_empty() || !names.iter().all(|name| is_identifier(name)) {
        return Err(wrong(
            "a data file is `data/NAME.json`, read as `data.NAME`; names are made of a-z, 0-9 and `_`",
        ));
    }
    if names.first().is_some_and(|root| RESERVED_ROOTS.contains(root)) {
        return Err(wrong("`data.agents` and `data.portcullis` belong to the gateway: choose another name"));
    }
    let value: Value = serde_json::from_str(&source.text)
        .map_err(|problem| error(source, problem.line(), problem.to_string()))?;
    let (name, folders) = names.split_last().ok_or_else(|| wrong("a data file has a name"))?;
    let mut folder = data;
    for name in folders {
        let next = folder.entry((*name).to_owned()).or_insert_with(|| Value::Object(Map::new()));
        folder =
            next.as_object_mut().ok_or_else(|| wrong("a data file stands where this folder should be"))?;
    }
    match folder.insert((*name).to_owned(), value) {
        None => Ok(()),
        Some(_) => Err(wrong("a folder of data files has this name already")),
    }
}

fn is_identifier(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|byte| byte.is_ascii_lowercase() || byte == b'_')
        && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

fn error(source: &Source, line: usize, what: String) -> RulebookError {
    RulebookError { file: source.path.clone(), line, what }
}

fn engine_error(problem: &anyhow::Error, source: &Source) -> RulebookError {
    error_at(problem, source.path.clone())
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
const ANSWER: &str = "portcullis_answer";
const ANSWER_FILE: &str = "(answer)";

/// The identities' document.
pub(super) const AGENTS: &str = "agents";

/// Data roots that no data file may take. Data beside rules would silently win over them.
const RESERVED_ROOTS: &[&str] = &[AGENTS, "portcullis", ANSWER];

/// A net against rules that don't end, not a latency tool: the engine looks at wall time, and a busy machine
/// may set a thread aside for long.
const TIME_LIMIT: Duration = Duration::from_millis(1000);

/// Work units between two looks at the clock.
const CHECK_INTERVAL: NonZeroU32 = match NonZeroU32::new(64) {
    Some(units) => units,
    None => NonZeroU32::MIN,
};
