//! The words that a rulebook may use: decision points with what they declare, inputs, builtins.

use std::sync::LazyLock;

use schemars::{JsonSchema, schema_for};
use serde_json::Value;

use super::input::{ApprovalInput, ConnectInput, ResultInput, RowFilterInput, SessionInput, StatementInput};
use super::rows;

/// A decision point and what its packages may declare.
#[derive(Debug)]
pub(super) struct Point {
    /// The name by which the gateway asks.
    pub(super) name: &'static str,
    /// The base package; what is one name below it is an add-on.
    pub(super) package: &'static str,
    /// Declarations that are partial sets.
    pub(super) sets: &'static [&'static str],
    /// Declarations that have one value. They give something.
    pub(super) values: &'static [&'static str],
    /// Sets that give something too: rows, settings, what the ledger does not show.
    pub(super) giving: &'static [&'static str],
    /// What must be declared, because nothing would ever be allowed otherwise.
    pub(super) required: Option<&'static str>,
}

impl Point {
    /// Everything that the gateway reads of the package.
    pub(super) fn outputs(&self) -> impl Iterator<Item = &'static str> {
        self.values.iter().chain(self.sets).copied()
    }

    /// Whether only packages that may grant declare `name`.
    pub(super) fn gives(&self, name: &str) -> bool {
        self.values.contains(&name) || self.giving.contains(&name)
    }

    /// Whether `package` is this point's, and if so whether it is its base or an add-on.
    pub(super) fn owns(&self, package: &str) -> Option<Member> {
        let below = package.strip_prefix(self.package)?;
        match below.strip_prefix('.') {
            None => below.is_empty().then_some(Member::Base),
            Some(name) => (!name.contains('.') && !name.is_empty()).then_some(Member::AddOn),
        }
    }
}

/// What a package is to a decision point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Member {
    /// `portcullis.statement`: it may grant.
    Base,
    /// `portcullis.statement.security`: it may grant only where its file and the configuration say so.
    AddOn,
}

/// Every decision point.
pub(super) const POINTS: &[Point] = &[
    Point {
        name: "connect",
        package: "portcullis.connect",
        values: &["allow"],
        sets: &["deny", "alert"],
        giving: &[],
        required: None,
    },
    Point {
        name: "session",
        package: "portcullis.session",
        values: &["allow", "role", "read_only", "unjudged", "allow_replication"],
        sets: &["deny", "alert", "lifetime_s", "setting", rows::VALUES],
        giving: &[rows::VALUES, "setting"],
        required: Some("allow"),
    },
    Point {
        name: "statement",
        package: STATEMENT,
        values: &["allow"],
        sets: &["deny", "escalate", "mask", "detect", "limit", "alert", "label", "redact", "oblige"],
        giving: &["redact"],
        required: Some("allow"),
    },
    Point {
        name: "bind",
        package: BIND,
        values: &[],
        sets: &["deny", "escalate", "limit", "alert", "label", "redact", "oblige"],
        giving: &["redact"],
        required: None,
    },
    Point {
        name: "result",
        package: "portcullis.result",
        values: &[],
        sets: &["deny", "alert", "label"],
        giving: &[],
        required: None,
    },
    Point {
        name: "approval",
        package: "portcullis.approval",
        values: &["eligible"],
        sets: &["deny", "missing"],
        giving: &[],
        required: Some("eligible"),
    },
    Point {
        name: rows::POINT,
        package: "portcullis.row_filter",
        values: &[],
        sets: &[rows::DEFINE],
        giving: &[rows::DEFINE],
        required: None,
    },
];

/// The decision point that `package` belongs to.
pub(super) fn point_of(package: &str) -> Option<(&'static Point, Member)> {
    POINTS.iter().find_map(|point| Some((point, point.owns(package)?)))
}

/// The root of all packages.
pub(super) const ROOT: &str = "portcullis";

/// The package that says what is kept out of decision logs, where OPA has it.
pub(super) const LOG: &str = "system.log";

/// The package that decides on statements.
pub(super) const STATEMENT: &str = "portcullis.statement";

/// The package that decides on bind values.
pub(super) const BIND: &str = "portcullis.bind";

/// Whether the input of `package` has a field at `path`. A package that is no decision point may serve any.
pub(super) fn has_input(package: &str, path: &[String]) -> bool {
    let package = point_of(package).map_or(package, |(point, _)| point.package);
    let schemas = INPUTS.iter().filter(|(point, _)| *point == package);
    let own: Vec<&Value> = schemas.map(|(_, schema)| schema).collect();
    let all = || INPUTS.iter().any(|(_, schema)| has_field(schema, schema, path));
    if own.is_empty() { all() } else { own.into_iter().any(|schema| has_field(schema, schema, path)) }
}

/// Every field of the input of `package`, as rules write it: `input.identity.name`.
pub(super) fn input_paths(package: &str) -> Vec<String> {
    let package = point_of(package).map_or(package, |(point, _)| point.package);
    let own = INPUTS.iter().filter(|(point, _)| *point == package);
    let schemas: Vec<&Value> = own.map(|(_, schema)| schema).collect();
    let all = INPUTS.iter().map(|(_, schema)| schema);
    let schemas = if schemas.is_empty() { all.collect() } else { schemas };
    let mut paths = Vec::new();
    for schema in schemas {
        fields(schema, schema, "input", &mut paths);
    }
    paths
}

fn fields(root: &Value, schema: &Value, path: &str, into: &mut Vec<String>) {
    let properties = resolved(root, schema).get("properties").and_then(Value::as_object);
    for (name, below) in properties.into_iter().flatten() {
        let path = format!("{path}.{name}");
        fields(root, below, &path, into);
        into.push(path);
    }
}

/// The names of all builtins that the engine has, of which a rulebook may use few, and of those that OPA has besides.
pub(super) fn builtin_names() -> impl Iterator<Item = &'static str> {
    regorus::unstable::BUILTINS.keys().chain(ELSEWHERE).copied()
}

/// Why a builtin that the engine has is not one for a rulebook; empty for any other name.
pub(super) fn why_not(name: &str) -> &'static str {
    match name {
        "time.now_ns" => ": take the time from `input.time`, so that a decision can be repeated",
        "rand.intn" | "uuid.rfc4122" => ": a decision must come out the same each time",
        "http.send" | "opa.runtime" | "test.sleep" | "net.lookup_ip_addr" => {
            ": a decision must not reach out of the gateway"
        }
        "bits.lsh" | "net.cidr_expand" | "numbers.range" | "numbers.range_step" | "units.parse"
        | "units.parse_bytes" => ": no time limit stops it",
        _ => "",
    }
}

/// What rules of each decision point can read, as JSON Schemas by the names of their packages. Every field is always
/// there: what is not known says so, because a rule that reads nothing is a rule that does not hold.
pub fn input_schemas() -> impl Iterator<Item = (&'static str, &'static Value)> {
    INPUTS.iter().map(|(point, schema)| (*point, schema))
}

fn schema<T: JsonSchema>() -> Value {
    schema_for!(T).to_value()
}

fn has_field(root: &Value, schema: &Value, path: &[String]) -> bool {
    let Some((field, rest)) = path.split_first() else { return true };
    let schema = resolved(root, schema);
    let below = match field.parse::<usize>() {
        Ok(_) => schema.get("items"),
        Err(_) => schema.get("properties").and_then(|properties| properties.get(field)),
    };
    // A document whose names are not known beforehand: claims, time zones.
    let below = below.or_else(|| schema.get("additionalProperties").filter(|any| any.is_object()));
    below.is_some_and(|below| has_field(root, below, rest))
}

/// What a schema refers to, if it refers.
pub(super) fn resolved<'s>(root: &'s Value, schema: &'s Value) -> &'s Value {
    match schema.get("$ref").and_then(Value::as_str).and_then(|to| to.strip_prefix('#')) {
        Some(pointer) => root.pointer(pointer).unwrap_or(&Value::Null),
        None => schema,
    }
}

static INPUTS: LazyLock<[(&str, Value); 7]> = LazyLock::new(|| {
    [
        ("portcullis.connect", schema::<ConnectInput<'_>>()),
        ("portcullis.session", schema::<SessionInput<'_>>()),
        ("portcullis.statement", schema::<StatementInput<'_>>()),
        ("portcullis.bind", schema::<StatementInput<'_>>()),
        ("portcullis.result", schema::<ResultInput<'_>>()),
        ("portcullis.approval", schema::<ApprovalInput<'_>>()),
        ("portcullis.row_filter", schema::<RowFilterInput<'_>>()),
    ]
});

/// Of each family of OPA's builtins that this engine is built without, one.
const ELSEWHERE: &[&str] = &[
    "crypto.sha256",
    "graph.reachable",
    "graphql.parse",
    "http.send",
    "io.jwt.decode",
    "opa.runtime",
    "providers.aws.sign_req",
    "rand.intn",
    "rego.metadata.rule",
    "urlquery.decode",
    "uri.parse",
    "uuid.rfc4122",
    "yaml.unmarshal",
    "base64url.decode",
];

/// Builtins that end soon, always say the same, and reach nothing outside.
pub(super) const BUILTINS: &[&str] = &[
    "abs",
    "array.concat",
    "array.reverse",
    "array.slice",
    "base64.decode",
    "base64.encode",
    "base64.is_valid",
    "ceil",
    "concat",
    "contains",
    "count",
    "endswith",
    "floor",
    "format_int",
    "glob.match",
    "glob.quote_meta",
    "hex.decode",
    "hex.encode",
    "indexof",
    "indexof_n",
    "intersection",
    "is_array",
    "is_boolean",
    "is_null",
    "is_number",
    "is_object",
    "is_set",
    "is_string",
    "json.filter",
    "json.is_valid",
    "json.marshal",
    "json.remove",
    "json.unmarshal",
    "lower",
    "max",
    "min",
    "net.cidr_contains",
    "net.cidr_is_valid",
    "object.filter",
    "object.get",
    "object.keys",
    "object.remove",
    "object.subset",
    "object.union",
    "object.union_n",
    "product",
    "regex.find_n",
    "regex.is_valid",
    "regex.match",
    "regex.replace",
    "regex.split",
    "replace",
    "round",
    "semver.compare",
    "semver.is_valid",
    "sort",
    "split",
    "startswith",
    "strings.any_prefix_match",
    "strings.any_suffix_match",
    "strings.count",
    "strings.replace_n",
    "strings.reverse",
    "substring",
    "sum",
    "time.clock",
    "time.date",
    "time.parse_rfc3339_ns",
    "time.weekday",
    "to_number",
    "trim",
    "trim_left",
    "trim_prefix",
    "trim_right",
    "trim_space",
    "trim_suffix",
    "type_name",
    "union",
    "upper",
];

/// Builtins that are safe in one form only.
pub(super) const CALL_ONLY: &[&str] = &["print", "sprintf", "walk"];
