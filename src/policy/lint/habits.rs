//! Conditions that are always the same, and rules that are written twice.

use std::collections::{BTreeMap, BTreeSet};

use regorus::unstable::{BoolOp, Expr, Literal, Query};

use super::{File, Finding};
use crate::policy::tree::{self, Node};

pub(super) fn look(file: &File<'_>, found: &mut Vec<Finding>) {
    for rule in file.rules() {
        tree::visit(rule, &mut |node| match node {
            Node::Query(query) => {
                constants(file, query, found);
                unequal(file, query, found);
            }
            Node::Expr(_) | Node::Statement(_) => {}
        });
    }
    doubles(file, found);
    stray_tests(file, found);
}

/// `true`, `1 == 1`: nothing that is asked can change it.
fn constants(file: &File<'_>, query: &Query, found: &mut Vec<Finding>) {
    for statement in &query.stmts {
        let (Literal::Expr { expr, .. } | Literal::NotExpr { expr, .. }) = &statement.literal else {
            continue;
        };
        let constant = if let Expr::BoolExpr { lhs, rhs, .. } = &**expr {
            is_literal(lhs) && is_literal(rhs)
        } else {
            is_literal(expr)
        };
        // `allow if false` and `test if true` are how a rule is said never, or always, to hold.
        let is_whole = query.stmts.len() == 1 && matches!(&**expr, Expr::Bool { .. });
        if constant && !is_whole {
            found.push(file.warn(
                "constant-condition",
                expr.span(),
                format!("`{}` is the same for every input", tree::written(expr.span())),
                "take it out, or name what it should be held against".to_owned(),
            ));
        }
    }
}

/// `some x in xs` with `x != y` holds as soon as any one differs, which is nearly always.
fn unequal(file: &File<'_>, query: &Query, found: &mut Vec<Finding>) {
    let mut items: BTreeMap<&str, String> = BTreeMap::new();
    for statement in &query.stmts {
        if let Literal::SomeIn { value, collection, .. } = &statement.literal
            && let Expr::Var { span, .. } = &**value
        {
            items.insert(span.text(), tree::written(collection.span()));
        }
    }
    for statement in &query.stmts {
        let Literal::Expr { expr, .. } = &statement.literal else { continue };
        let Expr::BoolExpr { op: BoolOp::Ne, lhs, rhs, .. } = &**expr else { continue };
        for (item, other) in [(lhs, rhs), (rhs, lhs)] {
            let collection = if let Expr::Var { span, .. } = &**item {
                items.get(span.text()).cloned()
            } else if let Expr::RefBrack { refr, index, .. } = &**item
                && index.span().text() == "_"
            {
                Some(tree::written(refr.span()))
            } else {
                None
            };
            let Some(collection) = collection else { continue };
            found.push(file.warn(
                "not-equals-in-loop",
                expr.span(),
                format!("this holds as soon as any of `{collection}` differs"),
                format!("if none may be it, write `not {} in {collection}`", tree::written(other.span())),
            ));
        }
    }
}

/// The same rule twice: one of them was meant to say something else, or to be gone.
fn doubles(file: &File<'_>, found: &mut Vec<Finding>) {
    let mut seen = BTreeSet::new();
    for rule in file.rules() {
        if !seen.insert(tree::written(rule.span())) {
            let what = format!("`{}` is there twice, word for word", tree::rule_name(rule));
            found.push(file.warn("duplicate-rule", rule.span(), what, "take one out".to_owned()));
        }
    }
}

/// A test that is not where tests are looked for never runs.
fn stray_tests(file: &File<'_>, found: &mut Vec<Finding>) {
    for rule in file.rules().filter(|rule| tree::rule_name(rule).starts_with("test_")) {
        found.push(file.warn(
            "test-outside-test-file",
            rule.span(),
            "tests run from files `*_test.rego` only".to_owned(),
            "move it into one, in a package `..._test`".to_owned(),
        ));
    }
}

fn is_literal(expr: &Expr) -> bool {
    if let Expr::Array { items, .. } | Expr::Set { items, .. } = expr {
        return items.iter().all(|item| is_literal(item));
    }
    if let Expr::UnaryExpr { expr, .. } = expr {
        return is_literal(expr);
    }
    matches!(
        expr,
        Expr::String { .. }
            | Expr::RawString { .. }
            | Expr::Number { .. }
            | Expr::Bool { .. }
            | Expr::Null { .. }
    )
}
