//! Which lines of a rulebook an evaluation came to.
//!
//! The engine notes each line on which it evaluates an expression. A line that was come to is not a line that held:
//! of a rule that did not hold, some statements were come to and its head was not.

use std::collections::{BTreeMap, BTreeSet};

use regorus::Engine;
use regorus::unstable::{Expr, Literal, LiteralStmt, Rule, RuleHead};

use super::tree::{self, Node};

/// Lines that were and were not evaluated, by file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage {
    files: BTreeMap<String, Lines>,
}

/// The lines of one file on which something can be evaluated, from 1.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lines {
    /// Those that were evaluated at least once.
    pub covered: BTreeSet<usize>,
    /// Those that never were.
    pub not_covered: BTreeSet<usize>,
}

impl Coverage {
    /// What `engine` came to since its coverage was switched on, of files for which `wanted` is true.
    pub(super) fn of(engine: &mut Engine, wanted: impl Fn(&str) -> bool) -> Self {
        let mut seen: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
        // The report can't be made for a tree that does not compile, and then nothing was evaluated.
        for file in engine.get_coverage_report().map(|report| report.files).unwrap_or_default() {
            let lines = file.covered.into_iter().filter_map(|line| usize::try_from(line).ok());
            seen.entry(file.path).or_default().extend(lines);
        }
        let mut files: BTreeMap<String, Lines> = BTreeMap::new();
        for module in engine.get_modules() {
            let path = module.package.span.source.get_path();
            if !wanted(path) {
                continue;
            }
            let all: BTreeSet<usize> = module.policy.iter().flat_map(|rule| lines_of(rule)).collect();
            let covered = seen.remove(path).unwrap_or_default();
            let (covered, not_covered) = all.into_iter().partition(|line| covered.contains(line));
            files.insert(path.to_owned(), Lines { covered, not_covered });
        }
        Self { files }
    }

    /// Adds what another evaluation of the same files came to.
    pub fn add(&mut self, other: &Self) {
        for (path, lines) in &other.files {
            let known = self.files.entry(path.clone()).or_default();
            known.covered.extend(&lines.covered);
            known.not_covered.extend(&lines.not_covered);
            known.not_covered.retain(|line| !known.covered.contains(line));
        }
    }

    /// Every file with its lines, ordered by path.
    pub fn files(&self) -> impl Iterator<Item = (&str, &Lines)> {
        self.files.iter().map(|(path, lines)| (path.as_str(), lines))
    }

    /// Whether something on `line` of `file` was evaluated.
    #[must_use]
    pub fn came_to(&self, file: &str, line: usize) -> bool {
        self.files.get(file).is_some_and(|lines| lines.covered.contains(&line))
    }

    /// How many of all lines were evaluated, in percent; 100 where there are none.
    #[must_use]
    pub fn percent(&self) -> f64 {
        let (mut covered, mut all) = (0, 0);
        for lines in self.files.values() {
            covered += lines.covered.len();
            all += lines.covered.len() + lines.not_covered.len();
        }
        percent(covered, all)
    }
}

impl Lines {
    /// How many of the file's lines were evaluated, in percent; 100 where there are none.
    #[must_use]
    pub fn percent(&self) -> f64 {
        percent(self.covered.len(), self.covered.len() + self.not_covered.len())
    }
}

/// The lines of a rule on which something is evaluated if the rule is, as far as the engine reports them: the first
/// line of each statement, key and value. It reports neither what a default says nor what a comprehension collects.
pub(super) fn lines_of(rule: &Rule) -> BTreeSet<usize> {
    let Rule::Spec { head, bodies, .. } = rule else { return BTreeSet::new() };
    let arguments = if let RuleHead::Func { args, .. } = head { args.len() } else { 0 };
    let outputs = tree::head_parts(head).into_iter().skip(arguments);
    let others = bodies.iter().flat_map(|body| {
        let value = body.assign.iter().map(|assign| Node::Expr(&assign.value));
        value.chain([Node::Query(&body.query)])
    });
    let mut lines = BTreeSet::new();
    for part in outputs.chain(others) {
        if let Node::Expr(expr) = part {
            lines.extend(line(expr));
        }
        tree::descend(part, &mut |node| {
            if let Node::Statement(statement) = node {
                lines.extend(statement_line(statement));
            }
        });
    }
    lines
}

/// Where a statement's evaluation is reported.
pub(super) fn statement_line(statement: &LiteralStmt) -> Option<usize> {
    match &statement.literal {
        Literal::SomeVars { .. } => None,
        Literal::SomeIn { collection, .. } => line(collection),
        Literal::Expr { expr, .. } | Literal::NotExpr { expr, .. } => line(expr),
        Literal::Every { domain, .. } => line(domain),
    }
}

/// The line that the engine reports for `expr`: of an assignment, that of the whole.
pub(super) fn line(expr: &Expr) -> Option<usize> {
    let unreported =
        matches!(expr, Expr::ArrayCompr { .. } | Expr::SetCompr { .. } | Expr::ObjectCompr { .. });
    usize::try_from(expr.span().line).ok().filter(|_| !unreported)
}

fn percent(covered: usize, all: usize) -> f64 {
    let count = |lines: usize| f64::from(u32::try_from(lines).unwrap_or(u32::MAX));
    if all == 0 { 100.0 } else { 100.0 * count(covered) / count(all) }
}
