//! What each decision point depends on: which rules lead to its answer, and what these read.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use super::load;
use super::snapshot::{RulebookError, Source};
use super::vet::{self, Survey};
use super::vocabulary::{BIND, POINTS, STATEMENT};

/// What a decision point's answer is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PointDependencies {
    /// The decision point's package, for example `portcullis.statement`.
    pub package: String,
    /// Every rule of it, and every rule that these lead to, ordered by path.
    pub rules: Vec<RuleDependencies>,
    /// Every part of the input that any of these can read, as rules write it; `input` is the whole.
    pub input: BTreeSet<String>,
    /// Every document that any of these can read, as `data.labels`.
    pub data: BTreeSet<String>,
}

/// What one rule reads by itself. Several definitions of one name are one rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuleDependencies {
    /// For example `portcullis.statement.deny`.
    pub path: String,
    /// Where it is defined: `file:line`.
    pub places: Vec<String>,
    /// Parts of the input.
    pub input: BTreeSet<String>,
    /// Documents.
    pub data: BTreeSet<String>,
    /// Rules that it refers to.
    pub rules: BTreeSet<String>,
}

/// The dependencies of every decision point, in the order of the documentation.
///
/// # Errors
/// When the rulebook can't be used.
pub fn of(sources: &[Source], agents: &Value) -> Result<Vec<PointDependencies>, RulebookError> {
    let rulebook: Vec<&Source> = sources.iter().filter(|source| !load::is_test(source)).collect();
    let (engine, data, problems) = load::read(&rulebook, agents);
    if let Some(problem) = problems.into_iter().next() {
        return Err(problem);
    }
    vet::survey(&engine, &rulebook, &data, |survey| {
        let rules = each_rule(survey);
        POINTS.iter().map(|point| of_point(point.package, &rules)).collect()
    })
}

impl PointDependencies {
    /// Whether and why its decisions are remembered or not, a sentence each, the verdict first.
    #[must_use]
    pub fn cache(&self) -> Vec<String> {
        if !matches!(self.package.as_str(), STATEMENT | BIND) {
            return vec!["no: it is asked seldom, and then anew".to_owned()];
        }
        if let Some(read) = self.input.iter().find(|read| touches(read, "input.budget")) {
            return vec![format!("no: `{read}` is read, which every statement changes")];
        }
        let mut said = vec!["yes: by the parts of the input above, within one revision".to_owned()];
        for (path, why) in KEYED {
            let read = self.input.iter().find(|read| touches(read, path));
            said.extend(read.map(|read| format!("`{read}` is read: {why}")));
        }
        said
    }
}

/// Whether whoever reads `read` learns something of `path`: both as rules write them.
#[must_use]
pub fn touches(read: &str, path: &str) -> bool {
    let below = |long: &str, short: &str| {
        long.strip_prefix(short).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    below(read, path) || below(path, read)
}

fn of_point(package: &str, rules: &BTreeMap<&str, RuleDependencies>) -> PointDependencies {
    let is_below = |path: &str| path.strip_prefix(package).is_some_and(|rest| rest.starts_with('.'));
    let mut open: Vec<&str> = rules.keys().copied().filter(|path| is_below(path)).collect();
    let mut reached: BTreeSet<&str> = open.iter().copied().collect();
    while let Some(rule) = open.pop().and_then(|path| rules.get(path)) {
        open.extend(rule.rules.iter().map(String::as_str).filter(|path| reached.insert(path)));
    }
    let reached: Vec<&RuleDependencies> = reached.iter().filter_map(|path| rules.get(path)).collect();
    PointDependencies {
        package: package.to_owned(),
        input: widest(reached.iter().flat_map(|rule| &rule.input)),
        data: widest(reached.iter().flat_map(|rule| &rule.data)),
        rules: reached.into_iter().cloned().collect(),
    }
}

fn each_rule<'a>(survey: &Survey<'a>) -> BTreeMap<&'a str, RuleDependencies> {
    let mut rules: BTreeMap<&str, RuleDependencies> = BTreeMap::new();
    for module in survey.modules {
        // The engine keeps imports by package, so each rule of it could read them.
        let imported = module.imports.values();
        let imported: Vec<&Vec<String>> =
            imported.filter(|target| target.first().is_some_and(|root| root == "input")).collect();
        for rule in &module.rules {
            let known = rules.entry(&rule.path).or_insert_with(|| RuleDependencies {
                path: rule.path.clone(),
                places: Vec::new(),
                input: BTreeSet::new(),
                data: BTreeSet::new(),
                rules: survey.calls.get(rule.path.as_str()).cloned().unwrap_or_default(),
            });
            known.places.push(format!("{}:{}", rule.site.file, rule.site.line));
            known.input.extend(imported.iter().map(|path| path.join(".")));
            let functions = rule.calls.iter().map(|call| &call.function);
            for reference in rule.references.iter().chain(functions) {
                if reference.path.first().is_some_and(|root| root == "input") {
                    known.input.insert(reference.text());
                }
                known.data.extend(survey.document(module, reference));
            }
        }
    }
    for rule in rules.values_mut() {
        rule.input = widest(rule.input.iter());
        rule.data = widest(rule.data.iter());
    }
    rules
}

/// Of paths, those that no other holds: whoever reads `input.statement` reads `input.statement.kind` too.
fn widest<'p>(paths: impl Iterator<Item = &'p String>) -> BTreeSet<String> {
    let mut widest: BTreeSet<String> = BTreeSet::new();
    // Ordered, a path comes before what it holds.
    for path in paths.collect::<BTreeSet<_>>() {
        let is_held = widest
            .iter()
            .any(|wide| path.strip_prefix(wide.as_str()).is_some_and(|rest| rest.starts_with('.')));
        if !is_held {
            widest.insert(path.clone());
        }
    }
    widest
}

/// Parts of an input that differ so often that a decision which reads them is seldom known.
const KEYED: &[(&str, &str)] = &[
    ("input.bind.values", "a decision is known only for the same bind values"),
    ("input.bind.parameters", "a decision is known only for the same bind values"),
    ("input.session.opened", "a decision is known only within one session"),
    ("input.time.unix", "no decision is known for longer than a second"),
    ("input.approvals", "a decision on an approved statement is always made anew"),
];
