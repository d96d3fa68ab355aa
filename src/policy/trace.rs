//! How each rule went in one evaluation, as far as its lines tell.

use std::collections::BTreeSet;

use regorus::Engine;
use regorus::unstable::{LiteralStmt, Rule, RuleHead};
use serde::Serialize;

use super::coverage::{Coverage, line, lines_of, statement_line};
use super::load;
use super::tree;

/// One definition of a rule that an evaluation came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TracedRule {
    /// For example `portcullis.statement.deny`.
    pub rule: String,
    /// The file below the rulebook's folder.
    pub file: String,
    /// The line of its head, from 1.
    pub line: usize,
    /// Whether it held at least once: of a function, for some arguments.
    pub held: bool,
    /// Of one that did not hold: the line that was not true, or undefined, as far as lines tell; 0 where they don't.
    pub stopped_at: usize,
    /// Of one that did not hold: the statement on that line.
    pub statement: String,
    /// Lines that were come to.
    pub covered: BTreeSet<usize>,
    /// Lines that were not.
    pub not_covered: BTreeSet<usize>,
}

/// Every definition in the rulebook that `coverage` came to, ordered by file and line.
pub(super) fn rules(engine: &mut Engine, coverage: &Coverage) -> Vec<TracedRule> {
    let mut traced = Vec::new();
    // Where lines don't tell, values do.
    let asked = engine.clone();
    for module in engine.get_modules() {
        let file = module.package.span.source.get_path();
        if !load::is_written(file) {
            continue;
        }
        let package = module.package.refr.span().text();
        for rule in &module.policy {
            let lines = lines_of(rule);
            let (covered, not_covered): (BTreeSet<usize>, BTreeSet<usize>) =
                lines.into_iter().partition(|line| coverage.came_to(file, *line));
            if covered.is_empty() {
                continue;
            }
            let path = format!("{package}.{}", tree::rule_name(rule));
            let held = holds(&asked, rule, &path, |line| covered.contains(&line));
            let stop = if held { None } else { stop(rule, |line| covered.contains(&line)) };
            traced.push(TracedRule {
                rule: path,
                file: file.clone(),
                line: usize::try_from(rule.span().line).unwrap_or(0),
                held,
                stopped_at: stop.map_or(0, |(line, _)| line),
                statement: stop.map_or_else(String::new, |(_, statement)| tree::written(&statement.span)),
                covered,
                not_covered,
            });
        }
    }
    traced.sort_by(|one, two| (&one.file, one.line).cmp(&(&two.file, two.line)));
    traced
}

/// The statement that ended a rule: the last one that was come to before the first that was not.
pub(super) fn stop(rule: &Rule, came_to: impl Fn(usize) -> bool) -> Option<(usize, &LiteralStmt)> {
    let Rule::Spec { bodies, .. } = rule else { return None };
    let statements = bodies.iter().flat_map(|body| &body.query.stmts);
    let placed: Vec<_> = statements.filter_map(|one| Some((statement_line(one)?, one))).collect();
    let reached = |(line, _): &&(usize, &LiteralStmt)| came_to(*line);
    let last = placed.iter().take_while(reached).last().or_else(|| placed.iter().rfind(reached));
    last.copied()
}

/// Whether every statement of a rule was come to, and then its head: by a line of the head's own, or else by the rule's
/// value, which all its definitions share.
fn holds(engine: &Engine, rule: &Rule, path: &str, came_to: impl Fn(usize) -> bool) -> bool {
    let Rule::Spec { head, bodies, .. } = rule else { return true };
    let statements = bodies.iter().flat_map(|body| &body.query.stmts);
    let body: BTreeSet<usize> = statements.filter_map(statement_line).collect();
    if !body.iter().all(|line| came_to(*line)) {
        return false;
    }
    let heads: Vec<usize> = head_lines(head).into_iter().filter(|line| !body.contains(line)).collect();
    match heads.is_empty() || bodies.is_empty() {
        true => is_defined(engine, rule, path),
        false => heads.iter().all(|line| came_to(*line)),
    }
}

fn head_lines(head: &RuleHead) -> BTreeSet<usize> {
    let arguments = if let RuleHead::Func { args, .. } = head { args.len() } else { 0 };
    let outputs = tree::head_parts(head).into_iter().skip(arguments);
    outputs.filter_map(|part| if let tree::Node::Expr(expr) = part { line(expr) } else { None }).collect()
}

/// Whether a rule has a value that counts. Functions have none of their own: they are taken at their lines.
fn is_defined(engine: &Engine, rule: &Rule, path: &str) -> bool {
    let Rule::Spec { head, .. } = rule else { return true };
    if matches!(head, RuleHead::Func { .. }) {
        return true;
    }
    let value = engine.clone().eval_rule(format!("data.{path}"));
    match (value, head) {
        (Err(_) | Ok(regorus::Value::Undefined), _) => false,
        (Ok(value), RuleHead::Set { .. }) => value.as_set().is_ok_and(|set| !set.is_empty()),
        (Ok(_), RuleHead::Compr { .. } | RuleHead::Func { .. }) => true,
    }
}
