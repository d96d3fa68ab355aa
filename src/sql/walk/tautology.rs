//! Conditions that hold for every row: `true`, `1=1`, `id=id`, `x IS NULL OR x IS NOT NULL`.
//!
//! It proves, it does not guess: where nothing is proven the answer is no. A row whose column is NULL may still
//! fall out of `id = id`; such a condition restricts nothing that its author could have meant.

use pg_query::NodeEnum;
use pg_query::protobuf::a_const::Val;
use pg_query::protobuf::{
    AExpr, AExprKind, BoolExprType, BoolTestType, ColumnRef, Node, NullTest, NullTestType, SelectStmt,
    SetOperation, SubLinkType,
};

use super::names::{string, strings};

/// Whether `condition` holds for every row.
pub(super) fn always_holds(condition: &Node) -> bool {
    truth(condition, MAX_DEPTH) == Some(true)
}

/// The value of a condition where it is the same for every row.
#[expect(clippy::wildcard_enum_match_arm, reason = "nothing is proven about every other kind")]
fn truth(node: &Node, depth: usize) -> Option<bool> {
    let depth = depth.checked_sub(1)?;
    match node.node.as_ref()? {
        NodeEnum::AConst(_) | NodeEnum::TypeCast(_) => literal(node, depth)?.as_bool(),
        NodeEnum::BoolExpr(all) => match all.boolop() {
            BoolExprType::AndExpr => conjunction(&all.args, depth),
            BoolExprType::OrExpr => disjunction(&all.args, depth),
            BoolExprType::NotExpr => truth(all.args.first()?, depth).map(|holds| !holds),
            BoolExprType::Undefined => None,
        },
        NodeEnum::AExpr(operation) => comparison(operation, depth),
        NodeEnum::BooleanTest(test) => {
            let holds = truth(test.arg.as_deref()?, depth)?;
            match test.booltesttype() {
                BoolTestType::IsTrue | BoolTestType::IsNotFalse => Some(holds),
                BoolTestType::IsFalse | BoolTestType::IsNotTrue => Some(!holds),
                BoolTestType::IsNotUnknown => Some(true),
                BoolTestType::IsUnknown => Some(false),
                BoolTestType::Undefined => None,
            }
        }
        NodeEnum::NullTest(test) => {
            literal(test.arg.as_deref()?, depth)?;
            Some(test.nulltesttype() == NullTestType::IsNotNull)
        }
        NodeEnum::CoalesceExpr(call) => truth(call.args.first()?, depth),
        NodeEnum::SubLink(link) if link.sub_link_type() == SubLinkType::ExistsSublink => {
            let NodeEnum::SelectStmt(select) = link.subselect.as_ref()?.node.as_ref()? else { return None };
            gives_a_row(select).then_some(true)
        }
        NodeEnum::SubLink(link) if link.sub_link_type() == SubLinkType::AnySublink => {
            let NodeEnum::SelectStmt(select) = link.subselect.as_ref()?.node.as_ref()? else { return None };
            selects_itself(column(link.testexpr.as_deref()?)?, select).then_some(true)
        }
        _ => None,
    }
}

fn conjunction(args: &[Node], depth: usize) -> Option<bool> {
    let mut all = Some(true);
    for arg in args {
        match truth(arg, depth) {
            Some(true) => {}
            Some(false) => return Some(false),
            None => all = None,
        }
    }
    all
}

fn disjunction(args: &[Node], depth: usize) -> Option<bool> {
    let mut any = Some(false);
    for arg in args {
        match truth(arg, depth) {
            Some(true) => return Some(true),
            Some(false) => {}
            None => any = None,
        }
    }
    let args = args.get(..MAX_ALTERNATIVES).unwrap_or(args);
    let mut pairs = args.iter().enumerate().flat_map(|(at, a)| args.iter().skip(at + 1).map(move |b| (a, b)));
    if pairs.any(|(a, b)| complementary(a, b, depth)) { Some(true) } else { any }
}

/// Whether one of the two holds for every row: `x IS NULL` and `x IS NOT NULL`, `x > 0` and `x <= 0`,
/// `c` and `NOT c`.
fn complementary(a: &Node, b: &Node, depth: usize) -> bool {
    match (a.node.as_ref(), b.node.as_ref()) {
        (Some(NodeEnum::NullTest(a)), Some(NodeEnum::NullTest(b))) => opposite_tests(a, b, depth),
        (Some(NodeEnum::AExpr(a)), Some(NodeEnum::AExpr(b))) => opposite_comparisons(a, b, depth),
        (Some(NodeEnum::BoolExpr(not)), _) if not.boolop() == BoolExprType::NotExpr => {
            not.args.first().is_some_and(|arg| same(arg, b, depth))
        }
        (_, Some(NodeEnum::BoolExpr(not))) if not.boolop() == BoolExprType::NotExpr => {
            not.args.first().is_some_and(|arg| same(arg, a, depth))
        }
        (_, _) => false,
    }
}

fn opposite_tests(a: &NullTest, b: &NullTest, depth: usize) -> bool {
    a.nulltesttype() != b.nulltesttype() && same_maybe(a.arg.as_deref(), b.arg.as_deref(), depth)
}

fn opposite_comparisons(a: &AExpr, b: &AExpr, depth: usize) -> bool {
    let operators = (operator(a), operator(b));
    let opposite = matches!(
        operators,
        ("=", "<>") | ("<>", "=") | ("<", ">=") | (">=", "<") | (">", "<=") | ("<=", ">")
    );
    let (Some(al), Some(ar)) = (a.lexpr.as_deref(), a.rexpr.as_deref()) else { return false };
    let (Some(bl), Some(br)) = (b.lexpr.as_deref(), b.rexpr.as_deref()) else { return false };
    opposite && same(al, bl, depth) && same(ar, br, depth)
}

fn comparison(operation: &AExpr, depth: usize) -> Option<bool> {
    let left = operation.lexpr.as_deref()?;
    let right = operation.rexpr.as_deref()?;
    match operation.kind() {
        AExprKind::AexprOp => compare(operator(operation), left, right, depth),
        AExprKind::AexprNotDistinct => compare("=", left, right, depth),
        AExprKind::AexprDistinct => compare("<>", left, right, depth),
        AExprKind::AexprLike | AExprKind::AexprIlike => {
            let Some(Literal::Text(pattern)) = literal(right, depth) else { return None };
            let all = !pattern.is_empty() && pattern.chars().all(|c| c == '%');
            (all && operator(operation).starts_with('~')).then_some(true)
        }
        AExprKind::AexprIn => {
            let NodeEnum::List(list) = right.node.as_ref()? else { return None };
            let found = list.items.iter().any(|item| compare("=", left, item, depth) == Some(true));
            (found && operator(operation) == "=").then_some(true)
        }
        AExprKind::AexprOpAny => {
            let NodeEnum::AArrayExpr(array) = right.node.as_ref()? else { return None };
            let operator = operator(operation);
            array
                .elements
                .iter()
                .any(|item| compare(operator, left, item, depth) == Some(true))
                .then_some(true)
        }
        AExprKind::AexprBetween | AExprKind::AexprBetweenSym => {
            let NodeEnum::List(list) = right.node.as_ref()? else { return None };
            let [low, high] = list.items.as_slice() else { return None };
            let within = compare(">=", left, low, depth)? && compare("<=", left, high, depth)?;
            within.then_some(true)
        }
        AExprKind::Undefined
        | AExprKind::AexprOpAll
        | AExprKind::AexprNullif
        | AExprKind::AexprSimilar
        | AExprKind::AexprNotBetween
        | AExprKind::AexprNotBetweenSym => None,
    }
}

/// A comparison of two literals, or of an expression with itself.
fn compare(operator: &str, left: &Node, right: &Node, depth: usize) -> Option<bool> {
    let ordering = match (literal(left, depth), literal(right, depth)) {
        (Some(left), Some(right)) => left.compare(&right)?,
        _ if same(left, right, depth) => std::cmp::Ordering::Equal,
        _ => return None,
    };
    Some(match operator {
        "=" => ordering.is_eq(),
        "<>" => ordering.is_ne(),
        "<" => ordering.is_lt(),
        "<=" => ordering.is_le(),
        ">" => ordering.is_gt(),
        ">=" => ordering.is_ge(),
        _ => return None,
    })
}

/// Whether two expressions have the same value in every row.
fn same(a: &Node, b: &Node, depth: usize) -> bool {
    let Some(depth) = depth.checked_sub(1) else { return false };
    match (a.node.as_ref(), b.node.as_ref()) {
        (Some(NodeEnum::ColumnRef(a)), Some(NodeEnum::ColumnRef(b))) => same_column(a, b),
        (Some(NodeEnum::TypeCast(a)), Some(NodeEnum::TypeCast(b))) => {
            let names = |cast: &pg_query::protobuf::TypeCast| {
                cast.type_name.as_ref().map(|name| super::names::dotted(&name.names))
            };
            names(a) == names(b) && same_maybe(a.arg.as_deref(), b.arg.as_deref(), depth)
        }
        (Some(NodeEnum::AExpr(a)), Some(NodeEnum::AExpr(b))) => {
            a.kind() == b.kind()
                && operator(a) == operator(b)
                && same_maybe(a.lexpr.as_deref(), b.lexpr.as_deref(), depth)
                && same_maybe(a.rexpr.as_deref(), b.rexpr.as_deref(), depth)
        }
        (Some(NodeEnum::AConst(_)), Some(NodeEnum::AConst(_))) => {
            let (a, b) = (literal(a, 1), literal(b, 1));
            a.zip(b).and_then(|(a, b)| a.compare(&b)).is_some_and(std::cmp::Ordering::is_eq)
        }
        (Some(NodeEnum::ParamRef(a)), Some(NodeEnum::ParamRef(b))) => a.number == b.number,
        (_, _) => false,
    }
}

fn same_maybe(a: Option<&Node>, b: Option<&Node>, depth: usize) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => same(a, b, depth),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// `id` and `t.id` are one column: were there two, PostgreSQL would call the bare name ambiguous.
fn same_column(a: &ColumnRef, b: &ColumnRef) -> bool {
    let (a, b) = (strings(&a.fields), strings(&b.fields));
    let shared = a.len().min(b.len());
    shared > 0 && a.iter().rev().take(shared).eq(b.iter().rev().take(shared))
}

/// `EXISTS (SELECT 1)`: a query without FROM, WHERE and HAVING gives one row.
fn gives_a_row(select: &SelectStmt) -> bool {
    matches!(select.op(), SetOperation::SetopNone | SetOperation::Undefined)
        && select.from_clause.is_empty()
        && select.where_clause.is_none()
        && select.having_clause.is_none()
        && select.limit_count.is_none()
        && select.limit_offset.is_none()
}

/// `id IN (SELECT id FROM t)` without a condition: every row finds itself. Which table `t` is does not
/// matter here: a query that names no condition restricts nothing that its author could have meant.
fn selects_itself(tested: &ColumnRef, select: &SelectStmt) -> bool {
    let plain = matches!(select.op(), SetOperation::SetopNone | SetOperation::Undefined)
        && select.where_clause.is_none()
        && select.having_clause.is_none()
        && select.limit_count.is_none()
        && select.limit_offset.is_none()
        && select.group_clause.is_empty()
        && select.with_clause.is_none();
    let ([target], [from]) = (select.target_list.as_slice(), select.from_clause.as_slice()) else {
        return false;
    };
    let Some(NodeEnum::ResTarget(target)) = target.node.as_ref() else { return false };
    let selected = target.val.as_deref().and_then(column);
    let is_table = matches!(from.node.as_ref(), Some(NodeEnum::RangeVar(_)));
    plain && is_table && selected.is_some_and(|selected| last_name(selected) == last_name(tested))
}

fn column(node: &Node) -> Option<&ColumnRef> {
    let NodeEnum::ColumnRef(column) = node.node.as_ref()? else { return None };
    Some(column)
}

fn last_name(column: &ColumnRef) -> Option<&str> {
    column.fields.last().and_then(string)
}

fn operator(operation: &AExpr) -> &str {
    operation.name.last().and_then(string).unwrap_or_default()
}

/// A literal's value.
#[derive(Debug, Clone, PartialEq)]
enum Literal {
    Number(f64),
    Text(String),
    Bool(bool),
}

impl Literal {
    fn compare(&self, other: &Self) -> Option<std::cmp::Ordering> {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => a.partial_cmp(b),
            // Collations order text in their own ways, but equal bytes are equal in all of them.
            (Self::Text(a), Self::Text(b)) => Some(a.cmp(b)),
            (Self::Bool(a), Self::Bool(b)) => Some(a.cmp(b)),
            // An untyped literal takes the other side's type.
            (Self::Number(number), Self::Text(text)) => number.partial_cmp(&text.trim().parse().ok()?),
            (Self::Text(text), Self::Number(number)) => text.trim().parse::<f64>().ok()?.partial_cmp(number),
            (Self::Bool(_), _) | (_, Self::Bool(_)) => None,
        }
    }

    fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            Self::Text(text) => match text.trim().to_ascii_lowercase().as_str() {
                "t" | "tr" | "tru" | "true" | "y" | "ye" | "yes" | "on" | "1" => Some(true),
                "f" | "fa" | "fal" | "fals" | "false" | "n" | "no" | "of" | "off" | "0" => Some(false),
                _ => None,
            },
            Self::Number(_) => None,
        }
    }
}

/// The value of a literal, of a cast of one, or of simple arithmetic on them.
#[expect(clippy::wildcard_enum_match_arm, reason = "every other kind is no literal")]
fn literal(node: &Node, depth: usize) -> Option<Literal> {
    let depth = depth.checked_sub(1)?;
    match node.node.as_ref()? {
        NodeEnum::AConst(constant) => match constant.val.as_ref()? {
            Val::Ival(value) => Some(Literal::Number(f64::from(value.ival))),
            Val::Fval(value) => value.fval.parse().ok().map(Literal::Number),
            Val::Boolval(value) => Some(Literal::Bool(value.boolval)),
            Val::Sval(value) => Some(Literal::Text(value.sval.clone())),
            Val::Bsval(_) => None,
        },
        NodeEnum::TypeCast(cast) => {
            let value = literal(cast.arg.as_deref()?, depth)?;
            let types = strings(&cast.type_name.as_ref()?.names);
            match types.last() {
                Some(&"bool") => match value {
                    Literal::Number(number) => Some(Literal::Bool(number != 0.0)),
                    other => other.as_bool().map(Literal::Bool),
                },
                _ => Some(value),
            }
        }
        NodeEnum::AExpr(operation) if operation.kind() == AExprKind::AexprOp => {
            let right = literal(operation.rexpr.as_deref()?, depth)?;
            let Some(left) = operation.lexpr.as_deref() else {
                let Literal::Number(right) = right else { return None };
                return (operator(operation) == "-").then_some(Literal::Number(-right));
            };
            arithmetic(operator(operation), &literal(left, depth)?, &right)
        }
        _ => None,
    }
}

fn arithmetic(operator: &str, left: &Literal, right: &Literal) -> Option<Literal> {
    match (operator, left, right) {
        ("+", Literal::Number(a), Literal::Number(b)) => Some(Literal::Number(a + b)),
        ("-", Literal::Number(a), Literal::Number(b)) => Some(Literal::Number(a - b)),
        ("*", Literal::Number(a), Literal::Number(b)) => Some(Literal::Number(a * b)),
        ("||", Literal::Text(a), Literal::Text(b)) => Some(Literal::Text(format!("{a}{b}"))),
        _ => None,
    }
}

/// Levels that a proof goes down.
const MAX_DEPTH: usize = 64;

/// Alternatives of one OR that are held against each other.
const MAX_ALTERNATIVES: usize = 32;
