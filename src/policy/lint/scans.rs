//! Looking through a document one by one where a key would do: every decision would take longer with every row.

use std::collections::BTreeMap;

use regorus::unstable::{AssignOp, BoolOp, Expr, Literal, Query};

use super::{File, Finding, variables};
use crate::policy::tree::{self, Node};

pub(super) fn look(file: &File<'_>, found: &mut Vec<Finding>) {
    for rule in file.rules() {
        tree::visit(rule, &mut |node| match node {
            Node::Query(query) => through_rows(file, query, found),
            Node::Expr(expr) => by_wildcard(file, expr, found),
            Node::Statement(_) => {}
        });
    }
}

/// `some row in data.grants` with `row.role == ...` beside it.
fn through_rows(file: &File<'_>, query: &Query, found: &mut Vec<Finding>) {
    let mut rows: BTreeMap<&str, String> = BTreeMap::new();
    for statement in &query.stmts {
        let Literal::SomeIn { key, value, collection, .. } = &statement.literal else { continue };
        let Some(document) = file.document(collection) else { continue };
        if document == "data.agents" && tree::root(collection).is_some_and(|(_, length)| length <= 1) {
            found.push(file.warn(
                "linear-scan",
                collection.span(),
                "this looks at every identity there is".to_owned(),
                "name the one that is meant: `data.agents[input.identity.file]`".to_owned(),
            ));
            continue;
        }
        for pattern in key.iter().chain([value]) {
            rows.extend(variables(pattern).into_iter().map(|name| (name, tree::written(collection.span()))));
        }
    }
    if rows.is_empty() {
        return;
    }
    for statement in &query.stmts {
        let Literal::Expr { expr, .. } = &statement.literal else { continue };
        let Some((left, right)) = equality(expr) else { continue };
        for (row, wanted) in [(left, right), (right, left)] {
            let Some((name, length)) = tree::root(row) else { continue };
            let Some(document) = rows.get(name.text()) else { continue };
            if variables(wanted).iter().any(|name| rows.contains_key(name)) {
                continue;
            }
            let wanted = tree::written(wanted.span());
            let what =
                format!("`{}` is held against every entry of `{document}`", tree::written(expr.span()));
            let instead = match length {
                0 => format!("ask for the key, `{document}[{wanted}]`, or write `{wanted} in {document}`"),
                _ => {
                    format!("give `{document}` keys by what is looked for, and write `{document}[{wanted}]`")
                }
            };
            found.push(file.warn("linear-scan", expr.span(), what, instead));
        }
    }
}

/// `data.grants[_].role == ...`.
fn by_wildcard(file: &File<'_>, expr: &Expr, found: &mut Vec<Finding>) {
    let Some((left, right)) = equality(expr) else { return };
    for (row, wanted) in [(left, right), (right, left)] {
        let Some(document) = file.document(row).filter(|_| has_wildcard(row)) else { continue };
        let what = format!("`{}` is held against every entry of `{document}`", tree::written(expr.span()));
        let wanted = tree::written(wanted.span());
        let instead =
            format!("give `{document}` keys by what is looked for, and write `{document}[{wanted}]`");
        found.push(file.warn("linear-scan", expr.span(), what, instead));
    }
}

fn equality(expr: &Expr) -> Option<(&Expr, &Expr)> {
    if let Expr::BoolExpr { op: BoolOp::Eq, lhs, rhs, .. }
    | Expr::AssignExpr { op: AssignOp::Eq, lhs, rhs, .. } = expr
    {
        Some((lhs, rhs))
    } else {
        None
    }
}

/// Whether a reference has `[_]` in it.
fn has_wildcard(mut expr: &Expr) -> bool {
    while let Expr::RefDot { refr, .. } | Expr::RefBrack { refr, .. } = expr {
        if let Expr::RefBrack { index, .. } = expr
            && let Expr::Var { span, .. } = &**index
            && span.text() == "_"
        {
            return true;
        }
        expr = refr;
    }
    false
}
