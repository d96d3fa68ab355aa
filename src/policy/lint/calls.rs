//! Calls whose literal arguments can't be right: each would be an error in every decision, and an error is a deny.

use regex::Regex;
use regorus::unstable::Expr;

use super::{File, Finding};
use crate::policy::tree::{self, Node};

pub(super) fn look(file: &File<'_>, found: &mut Vec<Finding>) {
    for rule in &file.module.policy {
        tree::visit(rule, &mut |node| {
            let Node::Expr(Expr::Call { span, fcn, params, .. }) = node else { return };
            let arguments: Vec<&Expr> = params.iter().map(|parameter| &**parameter).collect();
            let name = fcn.span().text();
            match name {
                "sprintf" => found.extend(
                    format(&arguments)
                        .map(|(what, instead)| file.warn("sprintf-arguments", span, what, instead)),
                ),
                "print" if !file.is_test => found.push(file.warn(
                    "print",
                    span,
                    "what a rule prints is seen by `policy test`, `eval` and `explain` only".to_owned(),
                    "take it out once the rule does what it should".to_owned(),
                )),
                _ => {}
            }
            let pattern = match name {
                "regex.match" | "regex.find_n" | "regex.split" => arguments.first(),
                "regex.replace" => arguments.get(1),
                _ => None,
            };
            if let Some(text) = pattern.and_then(|pattern| tree::text(pattern))
                && let Err(problem) = Regex::new(text)
            {
                let problem = problem.to_string();
                let problem = problem.lines().last().unwrap_or_default().trim_start_matches("error: ");
                let what = format!("`{text}` is no regular expression: {problem}");
                found.push(file.warn("invalid-regex", span, what, String::new()));
            }
        });
    }
}

/// A format and an array whose lengths differ.
fn format(arguments: &[&Expr]) -> Option<(String, String)> {
    let [format, Expr::Array { items, .. }] = arguments else { return None };
    let text = tree::text(format)?;
    let wanted = text.replace("%%", "").matches('%').count();
    let given = items.len();
    (wanted != given).then(|| {
        let what = format!("the format has {wanted} places and the array {given} values");
        (what, "give one value for each `%s`, `%d` and `%v`".to_owned())
    })
}
