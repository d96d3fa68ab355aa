//! Functions that are called by name.

use std::collections::{BTreeMap, BTreeSet};

use pg_query::NodeEnum;
use pg_query::protobuf::a_const::Val;
use pg_query::protobuf::{FuncCall, Node};

use crate::catalog::{Function, Volatility};
use crate::sql::facts::FunctionFact;

use super::Walker;
use super::expression::row_range;
use super::names::{dotted, string, strings};
use super::scope::{Scope, Sources};

impl Walker<'_> {
    /// A call: its arguments and everything in its clauses flow into it.
    pub(super) fn call(&mut self, call: &FuncCall, scope: &Scope<'_>, out: &mut Sources) {
        let parts = strings(&call.funcname);
        let known = match parts.as_slice() {
            [name] => {
                self.record_call(None, name) || is_field(name, &call.args, scope) || is_cast(name, call)
            }
            ["pg_catalog", name] => self.record_call(Some("pg_catalog"), name) || is_cast(name, call),
            [schema, name] | [_, schema, name] => self.record_call(Some(schema), name),
            _ => false,
        };
        if !known {
            self.missing_function(&dotted(&call.funcname), parts.last().copied().unwrap_or_default());
        }
        match parts.last() {
            Some(&SET_CONFIG) => self.set_config(&call.args),
            Some(&CURRENT_SETTING) => {
                let name = match call.args.first() {
                    Some(arg) if is_listed(arg, scope) => "all".to_owned(),
                    Some(arg) => match (literal(arg), parameter(arg)) {
                        (Some(name), _) => name.to_ascii_lowercase(),
                        (None, Some(number)) => format!("${number}"),
                        (None, None) => unknown(),
                    },
                    None => unknown(),
                };
                self.setting(&name, "show", Vec::new());
            }
            _ => {}
        }
        self.expressions(&call.args, scope, out);
        self.sorts(&call.agg_order, scope, out);
        self.maybe(call.agg_filter.as_deref(), scope, out);
        if let Some(window) = &call.over {
            self.window(window, scope, out);
        }
    }

    /// Lists every function that `name` may call; `false` where there is none.
    pub(super) fn record_call(&mut self, schema: Option<&str>, name: &str) -> bool {
        let candidates = self.catalog.resolve_functions(schema, name);
        let mut by_schema: BTreeMap<&str, Vec<&Function>> = BTreeMap::new();
        for function in candidates {
            by_schema.entry(&function.schema).or_default().push(function);
        }
        for (schema, candidates) in &by_schema {
            let fact = function_fact(schema, name, candidates);
            self.functions.insert(fact.key.clone(), fact);
        }
        !by_schema.is_empty()
    }

    /// `(value).name`: lists the functions that it may call. Where there are none it is a field.
    pub(super) fn attribute_call(&mut self, name: &str) {
        if self.record_call(None, name) && name == CURRENT_SETTING {
            self.setting(&unknown(), "show", Vec::new());
        }
    }

    /// `set_config(name, value, is_local)` is SET by another name. Only plain string literals are read: a cast
    /// could cut `jit_and_more` to `jit`, named arguments could come in another order. Whatever else stands there
    /// is a setting called `?`, which nobody lists.
    fn set_config(&mut self, args: &[Node]) {
        let name = args.first().and_then(literal).map_or_else(unknown, str::to_ascii_lowercase);
        let values = args.get(1).and_then(literal).map(str::to_owned);
        self.setting(&name, "set", values.into_iter().collect());
    }

    fn missing_function(&mut self, written: &str, name: &str) {
        self.unresolved("function", written, "does not exist or is not visible to you");
        let fact = FunctionFact {
            key: format!("?.{name}"),
            builtin: false,
            volatility: Volatility::Unknown,
            security_definer: false,
            languages: Vec::new(),
        };
        self.functions.insert(fact.key.clone(), fact);
    }
}

/// A string literal without a cast.
fn literal(node: &Node) -> Option<&str> {
    let Some(NodeEnum::AConst(constant)) = node.node.as_ref() else { return None };
    match constant.val.as_ref()? {
        Val::Sval(value) => Some(&value.sval),
        Val::Ival(_) | Val::Fval(_) | Val::Boolval(_) | Val::Bsval(_) => None,
    }
}

/// The number of a bind parameter, as it is or cast to a type of text: one without a length, which could cut it.
fn parameter(node: &Node) -> Option<i32> {
    if let Some(NodeEnum::ParamRef(parameter)) = node.node.as_ref() {
        return Some(parameter.number);
    }
    let Some(NodeEnum::TypeCast(cast)) = node.node.as_ref() else { return None };
    let name = cast.type_name.as_ref()?;
    let is_text = matches!(strings(&name.names).as_slice(), ["text"] | ["pg_catalog", "text" | "varchar"]);
    let is_whole = name.typmods.is_empty() && name.array_bounds.is_empty();
    parameter(cast.arg.as_deref()?).filter(|_| is_text && is_whole)
}

/// Whether `name(x)`, where there is no such function, is `x::name`.
fn is_cast(name: &str, call: &FuncCall) -> bool {
    let is_plain = call.agg_order.is_empty()
        && call.agg_filter.is_none()
        && call.over.is_none()
        && !(call.agg_star || call.agg_distinct || call.func_variadic);
    let is_alone =
        matches!(call.args.as_slice(), [arg] if !matches!(arg.node, Some(NodeEnum::NamedArgExpr(_))));
    is_plain && is_alone && TYPES.contains(&name)
}

/// Whether `name(row)` is `row.name`, PostgreSQL's functional notation.
fn is_field(name: &str, args: &[Node], scope: &Scope<'_>) -> bool {
    let [arg] = args else { return false };
    if let Some(NodeEnum::ColumnRef(column)) = arg.node.as_ref()
        && let [range, field] = column.fields.as_slice()
        && matches!(field.node.as_ref(), Some(NodeEnum::AStar(_)))
    {
        let range = string(range).and_then(|range| scope.range(range));
        return range.is_some_and(|range| range.column(name, &mut Sources::new()));
    }
    row_range(arg, scope).is_some_and(|range| range.column(name, &mut Sources::new()))
}

fn function_fact(schema: &str, name: &str, candidates: &[&Function]) -> FunctionFact {
    let languages: BTreeSet<String> = candidates.iter().map(|function| function.language.clone()).collect();
    FunctionFact {
        key: format!("{schema}.{name}"),
        builtin: schema == "pg_catalog",
        volatility: candidates
            .iter()
            .map(|function| function.volatility)
            .max()
            .unwrap_or(Volatility::Unknown),
        security_definer: candidates.iter().any(|function| function.security_definer),
        languages: languages.into_iter().collect(),
    }
}

/// Whether `arg` is, as it stands there, the column of `pg_settings` that names settings. What the server does not list is
/// not meant then.
fn is_listed(arg: &Node, scope: &Scope<'_>) -> bool {
    let Some(NodeEnum::ColumnRef(column)) = arg.node.as_ref() else { return false };
    let (range, name) = match strings(&column.fields).as_slice() {
        [name] => (scope.holder(name), *name),
        [table, name] => (scope.range(table), *name),
        _ => return false,
    };
    let mut sources = Sources::new();
    let is_column = range.is_some_and(|range| {
        range.relation.as_ref().is_some_and(|key| key.as_str() == PG_SETTINGS)
            && range.column(name, &mut sources)
    });
    is_column && sources.len() == 1 && sources.iter().all(|source| source.column == "name")
}

/// A setting whose name is worked out when the statement runs.
fn unknown() -> String {
    "?".to_owned()
}

const SET_CONFIG: &str = "set_config";
const PG_SETTINGS: &str = "pg_catalog.pg_settings";
/// SHOW by another name.
const CURRENT_SETTING: &str = "current_setting";

/// Types of `pg_catalog` that text is cast to. Those that no function is called as matter; the others do no harm, as
/// functions come first.
const TYPES: [&str; 44] = [
    "aclitem",
    "bit",
    "bool",
    "box",
    "bpchar",
    "bytea",
    "cidr",
    "circle",
    "date",
    "float4",
    "float8",
    "inet",
    "int2",
    "int4",
    "int8",
    "interval",
    "json",
    "jsonb",
    "jsonpath",
    "line",
    "lseg",
    "macaddr",
    "macaddr8",
    "money",
    "name",
    "numeric",
    "oid",
    "path",
    "pg_lsn",
    "point",
    "polygon",
    "regclass",
    "regcollation",
    "regconfig",
    "regdictionary",
    "regnamespace",
    "regoper",
    "regoperator",
    "regproc",
    "regprocedure",
    "regrole",
    "regtype",
    "tsquery",
    "tsvector",
];
