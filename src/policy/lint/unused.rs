//! What nothing refers to, and rules that no test has seen hold.

use std::collections::BTreeSet;

use regorus::unstable::{Expr, Rule, RuleHead};
use serde_json::Value;

use super::{File, Finding};
use crate::policy::deps;
use crate::policy::snapshot::Source;
use crate::policy::testing::Suite;
use crate::policy::tree::{self, Node};

/// Imports whose name the file does not use.
pub(super) fn imports(file: &File<'_>, found: &mut Vec<Finding>) {
    let mut used = BTreeSet::new();
    for rule in &file.module.policy {
        tree::visit(rule, &mut |node| match node {
            Node::Expr(Expr::Var { span, .. }) => {
                used.insert(span.text());
            }
            Node::Expr(Expr::Call { fcn, .. }) => {
                used.extend(tree::root(fcn).map(|(name, _)| name.text()));
            }
            Node::Expr(_) | Node::Statement(_) | Node::Query(_) => {}
        });
    }
    for import in &file.module.imports {
        let target = import.refr.span().text();
        let name = target.rsplit('.').next().unwrap_or(target);
        let name = import.r#as.as_ref().map_or(name, |alias| alias.text());
        if !used.contains(name) && !target.starts_with("rego.") && !target.starts_with("future.") {
            let what = format!("nothing in this file uses the import `{name}`");
            found.push(file.warn("unused-import", &import.span, what, "take it out".to_owned()));
        }
    }
}

/// Rules that no decision point leads to, and rules that no test makes hold.
pub(super) fn rules(sources: &[Source], files: &[File<'_>], agents: &Value, found: &mut Vec<Finding>) {
    let Ok(points) = deps::of(sources, agents) else { return };
    let reached: BTreeSet<&str> =
        points.iter().flat_map(|point| &point.rules).map(|rule| &*rule.path).collect();
    let mut warned = BTreeSet::new();
    for file in files {
        for rule in file.rules() {
            let path = format!("{}.{}", file.package, tree::rule_name(rule));
            if !reached.contains(path.as_str()) && warned.insert(path.clone()) {
                let what = format!("no decision leads to `{path}`");
                found.push(file.warn(
                    "unused-rule",
                    rule.span(),
                    what,
                    "take it out, or refer to it".to_owned(),
                ));
            }
        }
    }
    untested(sources, files, found);
}

fn untested(sources: &[Source], files: &[File<'_>], found: &mut Vec<Finding>) {
    let Ok(suite) = Suite::load(sources) else { return };
    // A copy without its tests, as the demo's, is no rulebook that somebody forgot to test.
    if suite.tests().is_empty() {
        return;
    }
    let mut coverage = suite.uncovered();
    suite.tests().iter().for_each(|test| coverage.add(&suite.run(test).coverage));
    for file in files {
        for rule in file.rules() {
            let Rule::Spec { head: RuleHead::Set { key: Some(key), .. }, .. } = rule else { continue };
            let name = tree::rule_name(rule);
            let line = usize::try_from(key.span().line).unwrap_or(0);
            if matches!(name, "deny" | "escalate") && !coverage.came_to(file.path, line) {
                found.push(file.warn(
                    "untested-rule",
                    rule.span(),
                    format!("no test makes this `{name}` hold"),
                    "write one: a rule that nobody has seen hold may never do".to_owned(),
                ));
            }
        }
    }
}
