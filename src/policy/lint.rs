//! What an author of rules should know before they are in force: everything for which a rulebook would be refused, and
//! what would be taken although it is probably not meant.
//!
//! A warning is silenced where it stands, or on the line above, by `# check: ignore NAME`.

mod absent;
mod calls;
mod habits;
mod scans;
mod unused;

use std::collections::{BTreeMap, BTreeSet};

use regorus::unstable::{Expr, Module, Rule, Span};
use serde::Serialize;
use serde_json::Value;

use super::load;
use super::snapshot::{RulebookError, Source};
use super::tree;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The rulebook can't be used.
    Error,
    /// It can, and probably does not do what was meant.
    Warning,
}

/// Something that is wrong with a rulebook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// Its name, for example `linear-scan`; `refused` of all errors.
    pub check: &'static str,
    /// The file below the rulebook's folder.
    pub file: String,
    /// The line, from 1; 0 where none applies.
    pub line: usize,
    /// The text of the line, without what stands around it.
    pub text: String,
    /// What is wrong.
    pub what: String,
    /// What to write in its place; empty where `what` says it.
    pub instead: String,
}

/// Everything that is wrong with a rulebook and these identities, ordered by file and line.
///
/// Files that can't be read hide what is wrong between files, and what would be refused hides what no test comes to.
#[must_use]
pub fn check(sources: &[Source], agents: &Value) -> Vec<Finding> {
    let rulebook: Vec<&Source> = sources.iter().filter(|source| !load::is_test(source)).collect();
    let all: Vec<&Source> = sources.iter().collect();
    // Tests may use what they bring themselves; what is refused without them would be refused in force.
    let mut refused = load::problems(&rulebook, agents);
    if refused.is_empty() {
        refused = load::problems(&all, agents);
    }
    let (mut engine, _, unread) = load::read(&all, agents);
    let mut found = Vec::new();
    if unread.is_empty() {
        let files: Vec<File<'_>> = engine.get_modules().iter().map(|module| File::of(module)).collect();
        for file in &files {
            scans::look(file, &mut found);
            absent::look(file, &mut found);
            calls::look(file, &mut found);
            habits::look(file, &mut found);
            unused::imports(file, &mut found);
        }
        if refused.is_empty() {
            unused::rules(sources, &files, agents, &mut found);
        }
    }
    let texts: BTreeMap<&str, Vec<&str>> =
        sources.iter().map(|source| (source.path.as_str(), source.text.lines().collect())).collect();
    let line_of = |file: &str, line: usize| {
        let lines = texts.get(file)?;
        lines.get(line.checked_sub(1)?).copied()
    };
    found.retain(|finding| {
        let near = [finding.line, finding.line.saturating_sub(1)];
        !near
            .iter()
            .any(|line| line_of(&finding.file, *line).is_some_and(|text| ignores(text, finding.check)))
    });
    found.extend(refused.into_iter().map(Finding::refused));
    for finding in &mut found {
        line_of(&finding.file, finding.line).unwrap_or_default().trim().clone_into(&mut finding.text);
    }
    found.sort_by(|one, two| {
        (&one.file, one.line, one.severity, one.check).cmp(&(&two.file, two.line, two.severity, two.check))
    });
    found.dedup();
    found
}

impl Finding {
    fn refused(problem: RulebookError) -> Self {
        let RulebookError { file, line, what } = problem;
        Self {
            severity: Severity::Error,
            check: "refused",
            file,
            line,
            text: String::new(),
            what,
            instead: String::new(),
        }
    }
}

/// Whether a line's comment silences `check`.
fn ignores(line: &str, check: &str) -> bool {
    let Some((_, comment)) = line.split_once('#') else { return false };
    let Some(names) = comment.trim_start().strip_prefix("check: ignore ") else { return false };
    names.split([',', ' ']).any(|name| name == check)
}

/// One file that is looked at.
struct File<'a> {
    module: &'a Module,
    path: &'a str,
    /// Without `data.`.
    package: &'a str,
    is_test: bool,
    /// What a name at the beginning of a reference stands for.
    imports: BTreeMap<&'a str, &'a str>,
}

impl<'a> File<'a> {
    fn of(module: &'a Module) -> Self {
        let path = module.package.span.source.get_path();
        let imports = module.imports.iter().map(|import| {
            let target = import.refr.span().text();
            let last = target.rsplit('.').next().unwrap_or(target);
            (import.r#as.as_ref().map_or(last, Span::text), target)
        });
        Self {
            module,
            path,
            package: module.package.refr.span().text(),
            is_test: load::is_test_file(path),
            imports: imports.collect(),
        }
    }

    /// The rules that decide something; none of a file of tests.
    fn rules(&self) -> impl Iterator<Item = &'a Rule> {
        let policy = if self.is_test { &[][..] } else { &self.module.policy[..] };
        policy.iter().map(|rule| &**rule)
    }

    /// The document below `data` that a reference leads into, as `data.labels`: `None` for what is no data.
    fn document(&self, expr: &'a Expr) -> Option<String> {
        let (name, _) = tree::root(expr)?;
        let literal = tree::literal_path(expr);
        let mut parts: Vec<&str> = match (name.text(), self.imports.get(name.text())) {
            ("data", _) => vec!["data"],
            (_, Some(target)) => target.split('.').collect(),
            (_, None) => return None,
        };
        parts.extend(literal.into_iter().skip(1));
        let is_document =
            parts.first() == Some(&"data") && parts.get(1).is_some_and(|root| *root != "portcullis");
        is_document.then(|| parts.join("."))
    }

    fn warn(&self, check: &'static str, span: &Span, what: String, instead: String) -> Finding {
        let line = usize::try_from(span.line).unwrap_or(0);
        let (file, text) = (self.path.to_owned(), String::new());
        Finding { severity: Severity::Warning, check, file, line, text, what, instead }
    }
}

/// The names of all variables below `expr`.
fn variables<'a>(expr: &'a Expr) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    tree::descend(tree::Node::Expr(expr), &mut |node: tree::Node<'a>| {
        if let tree::Node::Expr(Expr::Var { span, .. }) = node {
            found.insert(span.text());
        }
    });
    found
}

#[cfg(test)]
mod tests;
