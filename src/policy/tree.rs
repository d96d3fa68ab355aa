//! The engine's own syntax tree, walked: for what needs more of a rule than [`super::syntax`] keeps.

use regorus::unstable::{Expr, Literal, LiteralStmt, Query, Rule, RuleHead, Span};

/// A part of a rule.
#[derive(Debug, Clone, Copy)]
pub(super) enum Node<'a> {
    /// An expression.
    Expr(&'a Expr),
    /// A statement of a body.
    Statement(&'a LiteralStmt),
    /// A body: of a rule, a comprehension or an `every`.
    Query(&'a Query),
}

/// Visits every part of `rule`, each before what is in it.
pub(super) fn visit<'a>(rule: &'a Rule, see: &mut dyn FnMut(Node<'a>)) {
    match rule {
        Rule::Spec { head, bodies, .. } => {
            head_parts(head).into_iter().for_each(|part| descend(part, see));
            for body in bodies {
                body.assign.iter().for_each(|assign| descend(Node::Expr(&assign.value), see));
                descend(Node::Query(&body.query), see);
            }
        }
        Rule::Default { value, .. } => descend(Node::Expr(value), see),
    }
}

/// Visits `node` and every part of it.
pub(super) fn descend<'a>(node: Node<'a>, see: &mut dyn FnMut(Node<'a>)) {
    see(node);
    parts(node).into_iter().for_each(|part| descend(part, see));
}

/// What lies directly in `node`.
pub(super) fn parts(node: Node<'_>) -> Vec<Node<'_>> {
    match node {
        Node::Expr(expr) => expr_parts(expr),
        Node::Statement(statement) => {
            let replaced = statement.with_mods.iter();
            let replaced = replaced.flat_map(|with| [Node::Expr(&with.refr), Node::Expr(&with.r#as)]);
            literal_parts(&statement.literal).into_iter().chain(replaced).collect()
        }
        Node::Query(query) => query.stmts.iter().map(Node::Statement).collect(),
    }
}

/// What the head of a rule holds beside its name: arguments, key and value.
pub(super) fn head_parts(head: &RuleHead) -> Vec<Node<'_>> {
    match head {
        RuleHead::Compr { refr, assign, .. } => {
            let keys = indexes(refr).into_iter().map(Node::Expr);
            keys.chain(assign.iter().map(|assign| Node::Expr(&assign.value))).collect()
        }
        RuleHead::Set { key, .. } => key.iter().map(|key| Node::Expr(key)).collect(),
        RuleHead::Func { args, assign, .. } => {
            let value = assign.iter().map(|assign| Node::Expr(&assign.value));
            args.iter().map(|argument| Node::Expr(argument)).chain(value).collect()
        }
    }
}

/// The name of a rule, without its package and without keys.
pub(super) fn rule_name(rule: &Rule) -> &str {
    let head = match rule {
        Rule::Spec { head: RuleHead::Compr { refr, .. } | RuleHead::Set { refr, .. }, .. }
        | Rule::Spec { head: RuleHead::Func { refr, .. }, .. }
        | Rule::Default { refr, .. } => refr,
    };
    root(head).map_or("", |(span, _)| span.text())
}

/// The name that a reference begins with, and how many parts follow it.
pub(super) fn root(mut expr: &Expr) -> Option<(&Span, usize)> {
    let mut length = 0;
    loop {
        if let Expr::RefDot { refr, .. } | Expr::RefBrack { refr, .. } = expr {
            expr = refr;
            length += 1;
        } else if let Expr::Var { span, .. } = expr {
            return Some((span, length));
        } else {
            return None;
        }
    }
}

/// The literal parts that a reference begins with, its root among them.
pub(super) fn literal_path(expr: &Expr) -> Vec<&str> {
    if let Expr::Var { span, .. } = expr {
        return vec![span.text()];
    }
    if let Expr::RefDot { refr, field, .. } = expr {
        return extended(refr, field.0.text());
    }
    let Expr::RefBrack { refr, index, .. } = expr else { return Vec::new() };
    match (text(index), &**index) {
        (Some(name), _) => extended(refr, name),
        (None, Expr::Number { span, .. }) => extended(refr, span.text()),
        (None, _) => literal_path(refr),
    }
}

/// The path of `refr` and `name`, if all of `refr` is literal.
fn extended<'a>(refr: &'a Expr, name: &'a str) -> Vec<&'a str> {
    let mut path = literal_path(refr);
    if root(refr).is_some_and(|(_, length)| path.len() == length + 1) {
        path.push(name);
    }
    path
}

/// What is written at `span`, in one line. The engine leaves out the quotes of a text that a span begins or ends with.
pub(super) fn written(span: &Span) -> String {
    let quoted = || {
        let contents = span.source.contents();
        let (start, end) = (usize::try_from(span.start).ok()?, usize::try_from(span.end).ok()?);
        let is_quote = |at: usize| matches!(contents.as_bytes().get(at), Some(b'"' | b'`'));
        let start = start.checked_sub(1).filter(|before| is_quote(*before)).unwrap_or(start);
        contents.get(start..if is_quote(end) { end.checked_add(1)? } else { end })
    };
    flat(quoted().unwrap_or_else(|| span.text()))
}

/// `text` in one line.
pub(super) fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A literal text.
pub(super) fn text(expr: &Expr) -> Option<&str> {
    let (Expr::String { value, .. } | Expr::RawString { value, .. }) = expr else { return None };
    value.as_string().ok().map(|text| &**text)
}

/// What stands in brackets along a reference.
fn indexes(mut expr: &Expr) -> Vec<&Expr> {
    let mut found = Vec::new();
    while let Expr::RefDot { refr, .. } | Expr::RefBrack { refr, .. } = expr {
        if let Expr::RefBrack { index, .. } = expr {
            found.push(&**index);
        }
        expr = refr;
    }
    found
}

fn literal_parts(literal: &Literal) -> Vec<Node<'_>> {
    match literal {
        Literal::SomeVars { .. } => Vec::new(),
        Literal::SomeIn { key, value, collection, .. } => {
            key.iter().chain([value, collection]).map(|expr| Node::Expr(expr)).collect()
        }
        Literal::Expr { expr, .. } | Literal::NotExpr { expr, .. } => vec![Node::Expr(expr)],
        Literal::Every { domain, query, .. } => vec![Node::Expr(domain), Node::Query(query)],
    }
}

fn expr_parts(expr: &Expr) -> Vec<Node<'_>> {
    match expr {
        Expr::String { .. }
        | Expr::RawString { .. }
        | Expr::Number { .. }
        | Expr::Bool { .. }
        | Expr::Null { .. }
        | Expr::Var { .. } => Vec::new(),
        Expr::Array { items, .. } | Expr::Set { items, .. } => {
            items.iter().map(|item| Node::Expr(item)).collect()
        }
        Expr::Object { fields, .. } => {
            fields.iter().flat_map(|(_, key, value)| [Node::Expr(key), Node::Expr(value)]).collect()
        }
        Expr::ArrayCompr { term, query, .. } | Expr::SetCompr { term, query, .. } => {
            vec![Node::Query(query), Node::Expr(term)]
        }
        Expr::ObjectCompr { key, value, query, .. } => {
            vec![Node::Query(query), Node::Expr(key), Node::Expr(value)]
        }
        Expr::Call { params, .. } => params.iter().map(|parameter| Node::Expr(parameter)).collect(),
        Expr::UnaryExpr { expr, .. } => vec![Node::Expr(expr)],
        Expr::RefDot { refr, .. } => vec![Node::Expr(refr)],
        Expr::RefBrack { refr, index, .. } => vec![Node::Expr(refr), Node::Expr(index)],
        Expr::BinExpr { lhs, rhs, .. }
        | Expr::BoolExpr { lhs, rhs, .. }
        | Expr::ArithExpr { lhs, rhs, .. }
        | Expr::AssignExpr { lhs, rhs, .. } => vec![Node::Expr(lhs), Node::Expr(rhs)],
        Expr::Membership { key, value, collection, .. } => {
            key.iter().chain([value, collection]).map(|expr| Node::Expr(expr)).collect()
        }
    }
}
