//! Rules that restrict, and quietly don't where a document has no entry: undefined is not false, it is silence.
//!
//! A reference whose brackets hold more than a literal may lead nowhere. Standing alone it asks just that, and so does
//! `not`. Anywhere else in a rule that denies, escalates, masks or limits, it takes the rule with it.

use std::collections::BTreeSet;

use regorus::unstable::{Expr, Literal, LiteralStmt, Rule, RuleBody};
use serde_json::Value;

use super::{File, Finding};
use crate::policy::tree::{self, Node};
use crate::policy::vocabulary;

pub(super) fn look(file: &File<'_>, found: &mut Vec<Finding>) {
    for rule in file.rules() {
        let Rule::Spec { head, bodies, .. } = rule else { continue };
        if !RESTRICTING.contains(&tree::rule_name(rule)) {
            continue;
        }
        if bodies.is_empty() {
            let known = Known::nothing();
            tree::head_parts(head).into_iter().for_each(|part| look_into(file, &known, part, found));
        }
        for body in bodies {
            let known = Known::of(body);
            for statement in &body.query.stmts {
                if known.is_question(statement) {
                    continue;
                }
                tree::parts(Node::Statement(statement)).into_iter().for_each(|part| {
                    look_into(file, &known, part, found);
                });
            }
            tree::head_parts(head).into_iter().for_each(|part| look_into(file, &known, part, found));
        }
    }
}

/// What the statements of a body make sure of.
struct Known<'a> {
    /// References that stand alone: the rest holds only where they lead somewhere.
    asked: BTreeSet<String>,
    /// Variables that run through what there is.
    loops: BTreeSet<&'a str>,
}

impl<'a> Known<'a> {
    fn nothing() -> Self {
        Self { asked: BTreeSet::new(), loops: BTreeSet::from(["_"]) }
    }

    fn of(body: &'a RuleBody) -> Self {
        let mut known = Self::nothing();
        for statement in &body.query.stmts {
            match &statement.literal {
                Literal::SomeVars { vars, .. } => known.loops.extend(vars.iter().map(|name| name.text())),
                Literal::Expr { expr, .. } if tree::root(expr).is_some() => {
                    known.asked.insert(tree::written(expr.span()));
                }
                Literal::SomeIn { .. }
                | Literal::Expr { .. }
                | Literal::NotExpr { .. }
                | Literal::Every { .. } => {}
            }
        }
        known
    }

    fn is_question(&self, statement: &LiteralStmt) -> bool {
        match &statement.literal {
            Literal::NotExpr { .. } | Literal::SomeVars { .. } => true,
            Literal::Expr { expr, .. } => tree::root(expr).is_some(),
            Literal::SomeIn { .. } | Literal::Every { .. } => false,
        }
    }
}

/// Finds references that may lead nowhere. What is undefined inside a comprehension leaves it shorter, not undefined.
fn look_into(file: &File<'_>, known: &Known<'_>, node: Node<'_>, found: &mut Vec<Finding>) {
    if let Node::Expr(expr) = node {
        if matches!(expr, Expr::ArrayCompr { .. } | Expr::SetCompr { .. } | Expr::ObjectCompr { .. }) {
            return;
        }
        if let Expr::RefBrack { .. } | Expr::RefDot { .. } = expr
            && tree::root(expr).is_some()
        {
            found.extend(maybe(file, known, expr));
            return;
        }
    }
    if let Node::Query(_) = node {
        return;
    }
    tree::parts(node).into_iter().for_each(|part| look_into(file, known, part, found));
}

fn maybe(file: &File<'_>, known: &Known<'_>, expr: &Expr) -> Option<Finding> {
    let text = tree::written(expr.span());
    if known.asked.iter().any(|asked| text == *asked || asked.starts_with(&format!("{text}."))) {
        return None;
    }
    let instead = match tree::root(expr).map(|(name, _)| name.text()) {
        Some("input") => uncertain_input(file, expr)?,
        _ if file.document(expr).is_some() => {
            let (base, key) = dynamic(expr, known)?;
            format!("object.get({base}, {key}, ...)")
        }
        _ => return None,
    };
    Some(file.warn(
        "absent-guard",
        expr.span(),
        format!("where `{text}` is absent, this rule does not hold, without a word"),
        format!("say what an absent one means: `{instead}`"),
    ))
}

/// The innermost bracket that is no literal and no loop: what it stands behind, and what is in it.
fn dynamic(mut expr: &Expr, known: &Known<'_>) -> Option<(String, String)> {
    let mut innermost = None;
    while let Expr::RefDot { refr, .. } | Expr::RefBrack { refr, .. } = expr {
        if let Expr::RefBrack { index, .. } = expr
            && tree::text(index).is_none()
            && !known.loops.contains(index.span().text())
        {
            innermost = Some((tree::written(refr.span()), tree::written(index.span())));
        }
        expr = refr;
    }
    innermost
}

/// What to write for a part of the input that need not be there: an element by its number, a key of a map.
fn uncertain_input(file: &File<'_>, expr: &Expr) -> Option<String> {
    let path = tree::literal_path(expr);
    let schema = vocabulary::input_schemas()
        .find(|(point, _)| file.package == *point || file.package.starts_with(&format!("{point}.")))
        .map(|(_, schema)| schema)?;
    let mut place = schema;
    let mut written = "input".to_owned();
    for name in path.iter().skip(1) {
        place = vocabulary::resolved(schema, place);
        let is_certain = place
            .get("required")
            .and_then(Value::as_array)
            .is_some_and(|required| required.iter().any(|field| field == name));
        if !is_certain {
            let key = if name.parse::<usize>().is_ok() { (*name).to_owned() } else { format!("{name:?}") };
            return Some(format!("object.get({written}, {key}, ...)"));
        }
        place = place.get("properties").and_then(|fields| fields.get(name))?;
        written = format!("{written}.{name}");
    }
    None
}

/// Rules without which more would be allowed or shown.
const RESTRICTING: &[&str] =
    &["deny", "escalate", "mask", "detect", "limit", "alert", "redact", "label", "oblige"];
