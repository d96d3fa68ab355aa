//! A remembered decision is the one that would be made: over the rulebook that ships, and over rulebooks that read
//! their input in every roundabout way.

mod random;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::input::{
    Arguments, Batch, BindInput, IdentityInput, LabelsInput, Parameter, SessionFacts, Time, ZoneTime,
};
use super::super::{Digested, Snapshot, Source, StatementInput, projection};
use crate::identity::Kind;
use crate::identity::agent::Claims;
use crate::sql::Facts;

use std::sync::Arc;

const SESSION: &str = "package portcullis.session\nallow := true\n";
const APPROVAL: &str = "package portcullis.approval\neligible := true\n";

/// Ways to read the input without saying so plainly, each as the rest of `portcullis.statement`.
const ROUNDABOUT: [&str; 20] = [
    "allow if { s := input.statement\n s.kind == \"select\" }",
    "allow if { some key in [\"kind\", \"class\"]\n input.statement[key] == \"select\" }",
    "allow if { x := input\n y := x.time\n y.hour < 12 }",
    "allow if { some x\n input[x] == \"wire\" }",
    "allow if count([t | some t in input.statement.tables; t.access == \"read\"]) == count(input.statement.tables)",
    "allow if ok(input)\nok(i) if i.bind.values[0] == \"1\"",
    "allow if ok(input.bind)\nok(b) if { v := b.values\n v[0] == \"1\" }",
    "allow if {\"a\": input}.a.door == \"wire\"",
    "allow if [input][0].time.weekday == 3",
    "allow if { some path, value\n walk(input, [path, value])\n path[count(path) - 1] == \"hour\"\n value == 3 }",
    "allow if input[\"time\"][\"hour\"] == 3",
    "allow if object.get(input, [\"time\", \"unix\"], 0) == 3",
    "allow if json.marshal(input.batch) == \"{\\\"index\\\":0,\\\"size\\\":1}\"",
    "allow if { false } else := true if input.tool == \"query\"",
    "allow if every t in input.statement.tables { t.row_estimate > 5 }",
    "allow := true\nlimit contains {\"rows\": input.batch.size + 1}",
    "allow := true\nalert contains {\"rule\": \"r\", \"message\": sprintf(\"%v\", [input.identity]), \"hint\": \"\"}",
    "allow := true\nmask contains {\"relation\": \"public.t\", \"column\": c, \"type\": \"null\"} if some c in input.identity.groups",
    "allow if { some i\n input.statement.outputs[i].name == \"b\" }",
    "allow if { input.statement.limit == {\"present\": true, \"rows\": 3} }",
];

fn agents() -> Value {
    let file = |kind: &str| json!({"kind": kind, "disabled": false, "groups": ["dba"], "owner": "ana", "approval": {"groups": ["dba"]}, "scope": {"shop": {"read": {"public.t": ["*"], "public.u": ["id"]}, "write": {"public.t": ["id"]}}}, "limits": {"rows": 5, "bytes": 0, "statement_timeout_ms": 0}});
    json!({"bot": file("agent"), "ana": file("human")})
}

fn source(path: &str, text: &str) -> Source {
    Source::file(path, text)
}

fn built(files: &[Source]) -> Snapshot {
    Snapshot::build(files, &agents()).unwrap_or_else(|error| panic!("{error}\n{files:?}"))
}

fn rulebook(rules: &str) -> Snapshot {
    let statement = format!("package portcullis.statement\n{rules}\n");
    built(&[
        source("statement.rego", &statement),
        source("session.rego", SESSION),
        source("approval.rego", APPROVAL),
    ])
}

/// Rulebooks whose reading goes by way of imports and other packages.
fn scattered() -> Vec<Snapshot> {
    let parts = |files: &[(&str, &str)]| {
        let mut all: Vec<Source> = files.iter().map(|(path, text)| source(path, text)).collect();
        all.extend([source("session.rego", SESSION), source("approval.rego", APPROVAL)]);
        built(&all)
    };
    vec![
        parts(&[("s.rego", "package portcullis.statement\nimport input.time as t\nallow if t.hour == 3\n")]),
        // The engine keeps imports by package: the file that has one need not be the one that uses it.
        parts(&[
            (
                "a.rego",
                "package portcullis.statement\nimport input.identity as who\nallow if who.owner == \"ana\"\n",
            ),
            (
                "b.rego",
                "package portcullis.statement\nimport input.identity as who\ndeny contains {\"rule\": \"d\", \"message\": \"m\", \"hint\": \"\"} if who.groups[0] == \"x\"\n",
            ),
        ]),
        parts(&[
            (
                "s.rego",
                "package portcullis.statement\nimport data.portcullis.lib\nallow if lib.near(input)\n",
            ),
            ("lib.rego", "package portcullis.lib\nnear(x) if far(x.statement)\nfar(s) if s.locks_rows\n"),
        ]),
        parts(&[
            ("s.rego", "package portcullis.statement\nimport data.portcullis.lib.late\nallow if not late\n"),
            ("lib.rego", "package portcullis.lib\nlate if later > 9\nlater := input.time.hour\n"),
        ]),
    ]
}

fn shipped() -> Snapshot {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    let (mut files, mut folders) = (Vec::new(), vec![root.clone()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                files.push(source(&name, &std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    built(&files)
}

/// An input with owned parts.
#[derive(Debug, Clone)]
struct Ask {
    name: &'static str,
    file: &'static str,
    owner: &'static str,
    groups: Vec<String>,
    database: &'static str,
    door: &'static str,
    via: &'static str,
    tool: &'static str,
    facts: Arc<Facts>,
    batch: Batch,
    known: bool,
    values: Vec<Option<String>>,
    parameters: Vec<Parameter>,
    unjudged: bool,
    time: Time,
    statement_name: &'static str,
    arguments: Arguments<'static>,
    session: SessionFacts<'static>,
    labels: [Vec<String>; 2],
    claims: Claims,
    delegation: Vec<&'static str>,
}

impl Ask {
    fn input(&self) -> StatementInput<'_> {
        let [session, day] = &self.labels;
        StatementInput {
            identity: IdentityInput {
                name: self.name,
                file: self.file,
                kind: if self.file == "bot" { Kind::Agent } else { Kind::Human },
                owner: self.owner,
                groups: &self.groups,
                delegation: self.delegation.clone(),
                claims: &self.claims,
            },
            database: self.database,
            door: self.door,
            via: self.via,
            name: self.statement_name,
            tool: self.tool,
            arguments: self.arguments,
            session: self.session,
            statement: &self.facts,
            batch: self.batch,
            approvals: &[],
            bind: BindInput { known: self.known, values: &self.values, parameters: &self.parameters },
            budget: super::super::input::Budget::default(),
            labels: LabelsInput { session, day },
            unjudged: self.unjudged,
            time: self.time.clone(),
        }
    }

    fn key(&self, snapshot: &Snapshot) -> Vec<u8> {
        snapshot.key(&self.input(), &Digested::new(Arc::clone(&self.facts))).unwrap()
    }
}

fn facts(kind: &str, class: &str, table: &str, access: &str, rows: i64, output: &str) -> Facts {
    let table = json!({"key": format!("public.{table}"), "schema": "public", "name": table, "kind": "table",
        "access": access, "system": false, "via_view": "", "columns_read": [output], "columns_filtered": [],
        "columns_written": [], "tags": [], "tags_read": [], "tags_written": [], "row_estimate": rows, "has_triggers": false, "has_rules": rows == 3});
    serde_json::from_value(json!({
        "kind": kind, "class": class, "inner": [], "tables": [table], "functions": [],
        "outputs": [{"name": output, "sources": []}],
        "condition": {"present": rows > 3, "tautology": false, "columns": []},
        "limit": {"present": rows == 3, "rows": rows}, "settings": [], "destinations": ["client"], "channels": [], "parse_ok": true,
        "explain_analyze": rows == 9, "locks_rows": rows == 3, "unresolved": [],
    }))
    .unwrap()
}

/// Few values each, so that inputs meet again and differ in little.
fn asks() -> impl Strategy<Value = Ask> {
    let pick = |choices: &'static [&'static str]| prop::sample::select(choices);
    let facts = (
        prop::sample::select(&[("select", "read"), ("update", "write"), ("create_table", "ddl")][..]),
        pick(&["t", "u"]),
        pick(&["read", "update"]),
        prop::sample::select(&[3_i64, 9][..]),
        pick(&["id", "b"]),
    )
        .prop_map(|((kind, class), table, access, rows, output)| {
            Arc::new(facts(kind, class, table, access, rows, output))
        });
    let who = (
        pick(&["bot", "ana"]),
        pick(&["bot", "ana"]),
        pick(&["ana", ""]),
        prop::collection::vec(pick(&["x", "dba"]).prop_map(str::to_owned), 0..3),
    );
    let place =
        (pick(&["shop", "bank"]), pick(&["wire", "mcp"]), pick(&["query", "bind"]), pick(&["", "query"]));
    let values = prop::collection::vec(prop::option::of(pick(&["1", "2"]).prop_map(str::to_owned)), 0..3);
    let time = (prop::sample::select(&[3_i64, 4][..]), 3..5_i8, 3..5_i8);
    (who, place, facts, (0..2_usize, 1..3_usize), (any::<bool>(), values, any::<bool>()), time).prop_map(
        |(
            (name, file, owner, groups),
            (database, door, via, tool),
            facts,
            (index, size),
            (known, values, unjudged),
            time,
        )| Ask {
            name,
            file,
            owner,
            groups,
            database,
            door,
            via,
            tool,
            facts,
            batch: Batch { index, size },
            known,
            values,
            unjudged,
            time: at(time.0, time.1, time.2),
            ..plain()
        },
    )
}

fn hold_to(snapshot: &Snapshot, asks: &[Ask], rules: &str) {
    for ask in asks.iter().chain(asks) {
        let remembered = snapshot.recall_or_decide(&ask.input(), &Digested::new(Arc::clone(&ask.facts)));
        assert_eq!(*remembered, snapshot.decide(&ask.input()), "{rules}\n{ask:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn remembered_decisions_are_those_that_would_be_made(asks in prop::collection::vec(asks(), 40)) {
        for rules in ROUNDABOUT {
            hold_to(&rulebook(rules), &asks, rules);
        }
        scattered().iter().for_each(|snapshot| hold_to(snapshot, &asks, "scattered"));
        hold_to(&shipped(), &asks, "shipped");
    }
}

fn plain() -> Ask {
    Ask {
        name: "bot",
        file: "bot",
        owner: "ana",
        groups: vec!["x".into()],
        database: "shop",
        door: "wire",
        via: "query",
        tool: "",
        facts: Arc::new(facts("select", "read", "t", "read", 3, "id")),
        batch: Batch { index: 0, size: 1 },
        known: true,
        values: vec![Some("1".into())],
        unjudged: false,
        parameters: vec![parameter(1)],
        time: at(3, 3, 3),
        statement_name: "",
        arguments: Arguments::default(),
        session: SessionFacts::default(),
        labels: [Vec::new(), Vec::new()],
        claims: Claims::new(),
        delegation: vec!["ana"],
    }
}

fn parameter(value: i64) -> Parameter {
    Parameter { index: 1, type_name: "int4".to_owned(), known: true, null: false, value: json!(value) }
}

fn at(unix: i64, hour: i8, weekday: i8) -> Time {
    let there = ZoneTime { date: "2026-11-20".to_owned(), hour, minute: hour, weekday };
    let zones = [("Europe/Berlin".to_owned(), there)].into();
    Time { unix, date: format!("2026-11-{unix:02}"), hour, minute: weekday, weekday, zones }
}

/// The same with every field another.
fn other() -> Ask {
    let mut facts = facts("update", "write", "u", "update", 9, "b");
    facts.inner = serde_json::from_value(json!([{"kind": "insert", "class": "write"}])).unwrap();
    facts.functions = serde_json::from_value(json!([{"key": "pg_catalog.now", "builtin": true, "volatility": "stable", "security_definer": false, "languages": []}])).unwrap();
    facts.settings = serde_json::from_value(json!([{"name": "a", "action": "set", "values": []}])).unwrap();
    facts.destinations = Vec::new();
    facts.channels = vec!["jobs".into()];
    facts.parse_ok = false;
    Ask {
        name: "ana",
        file: "ana",
        owner: "",
        groups: Vec::new(),
        database: "bank",
        door: "mcp",
        via: "tool",
        tool: "query",
        facts: Arc::new(facts),
        batch: Batch { index: 1, size: 2 },
        known: false,
        values: vec![None],
        unjudged: true,
        parameters: vec![parameter(2)],
        time: at(4, 4, 4),
        statement_name: "s1",
        arguments: Arguments { reason: "r", max_rows: 1, max_affected: 1 },
        session: SessionFacts {
            address: "192.0.2.1",
            tls: true,
            proof: "scram",
            application: "psql",
            role: "full",
            purpose: "p",
            opened: 1,
        },
        labels: [vec!["a".into()], vec!["b".into()]],
        claims: [("tenant".to_owned(), vec!["acme".to_owned()])].into(),
        delegation: vec!["boss", "ana"],
    }
}

/// Every field of the input by its path, and how an ask gets that of another.
type Change = fn(&mut Ask, &Ask);
const FIELDS: [(&str, Change); 50] = [
    ("identity.name", |ask, from| ask.name = from.name),
    ("identity.file", |ask, from| ask.file = from.file),
    ("identity.owner", |ask, from| ask.owner = from.owner),
    ("identity.groups", |ask, from| ask.groups.clone_from(&from.groups)),
    ("database", |ask, from| ask.database = from.database),
    ("door", |ask, from| ask.door = from.door),
    ("via", |ask, from| ask.via = from.via),
    ("tool", |ask, from| ask.tool = from.tool),
    ("batch.index", |ask, from| ask.batch.index = from.batch.index),
    ("batch.size", |ask, from| ask.batch.size = from.batch.size),
    ("bind.known", |ask, from| ask.known = from.known),
    ("bind.values", |ask, from| ask.values.clone_from(&from.values)),
    ("bind.parameters", |ask, from| ask.parameters.clone_from(&from.parameters)),
    ("identity.delegation", |ask, from| ask.delegation.clone_from(&from.delegation)),
    ("identity.claims", |ask, from| ask.claims.clone_from(&from.claims)),
    ("name", |ask, from| ask.statement_name = from.statement_name),
    ("arguments.reason", |ask, from| ask.arguments.reason = from.arguments.reason),
    ("arguments.max_rows", |ask, from| ask.arguments.max_rows = from.arguments.max_rows),
    ("arguments.max_affected", |ask, from| ask.arguments.max_affected = from.arguments.max_affected),
    ("session.address", |ask, from| ask.session.address = from.session.address),
    ("session.tls", |ask, from| ask.session.tls = from.session.tls),
    ("session.proof", |ask, from| ask.session.proof = from.session.proof),
    ("session.application", |ask, from| ask.session.application = from.session.application),
    ("session.role", |ask, from| ask.session.role = from.session.role),
    ("session.purpose", |ask, from| ask.session.purpose = from.session.purpose),
    ("session.opened", |ask, from| ask.session.opened = from.session.opened),
    ("labels.session", |ask, from| ask.labels[0].clone_from(&from.labels[0])),
    ("labels.day", |ask, from| ask.labels[1].clone_from(&from.labels[1])),
    ("time.date", |ask, from| ask.time.date.clone_from(&from.time.date)),
    ("time.minute", |ask, from| ask.time.minute = from.time.minute),
    ("time.zones[\"Europe/Berlin\"].hour", |ask, from| ask.time.zones.clone_from(&from.time.zones)),
    ("time.unix", |ask, from| ask.time.unix = from.time.unix),
    ("time.hour", |ask, from| ask.time.hour = from.time.hour),
    ("time.weekday", |ask, from| ask.time.weekday = from.time.weekday),
    ("statement.kind", |ask, from| Arc::make_mut(&mut ask.facts).kind.clone_from(&from.facts.kind)),
    ("statement.class", |ask, from| Arc::make_mut(&mut ask.facts).class = from.facts.class),
    ("statement.inner", |ask, from| Arc::make_mut(&mut ask.facts).inner.clone_from(&from.facts.inner)),
    ("statement.tables", |ask, from| Arc::make_mut(&mut ask.facts).tables.clone_from(&from.facts.tables)),
    ("statement.functions", |ask, from| {
        Arc::make_mut(&mut ask.facts).functions.clone_from(&from.facts.functions);
    }),
    ("statement.outputs", |ask, from| Arc::make_mut(&mut ask.facts).outputs.clone_from(&from.facts.outputs)),
    ("statement.condition", |ask, from| {
        Arc::make_mut(&mut ask.facts).condition.clone_from(&from.facts.condition);
    }),
    ("statement.limit", |ask, from| Arc::make_mut(&mut ask.facts).limit.clone_from(&from.facts.limit)),
    ("statement.settings", |ask, from| {
        Arc::make_mut(&mut ask.facts).settings.clone_from(&from.facts.settings);
    }),
    ("statement.destinations", |ask, from| {
        Arc::make_mut(&mut ask.facts).destinations.clone_from(&from.facts.destinations);
    }),
    ("statement.explain_analyze", |ask, from| {
        Arc::make_mut(&mut ask.facts).explain_analyze = from.facts.explain_analyze;
    }),
    ("statement.locks_rows", |ask, from| Arc::make_mut(&mut ask.facts).locks_rows = from.facts.locks_rows),
    ("statement.channels", |ask, from| {
        Arc::make_mut(&mut ask.facts).channels.clone_from(&from.facts.channels);
    }),
    ("statement.parse_ok", |ask, from| Arc::make_mut(&mut ask.facts).parse_ok = from.facts.parse_ok),
    ("unjudged", |ask, from| ask.unjudged = from.unjudged),
    ("identity", |ask, from| ask.name = from.name),
];

/// Fields that are in every key, or that keep an input from having one, or that follow from another.
const ALWAYS: [&str; 8] = [
    "identity.name",
    "identity.file",
    "identity.kind",
    "identity.owner",
    "identity",
    "database",
    "unjudged",
    "statement.unresolved",
];

#[test]
fn every_field_that_is_read_is_in_the_key_and_no_other() {
    let reads_nothing = rulebook("allow := true");
    for (path, change) in FIELDS {
        let (before, mut after) = (plain(), plain());
        change(&mut after, &other());
        let reads_it = rulebook(&format!("allow if json.marshal(input.{path}) != \"\""));
        assert_ne!(before.key(&reads_it), after.key(&reads_it), "{path}");
        let shared = before.key(&reads_nothing) == after.key(&reads_nothing);
        assert_eq!(shared, !ALWAYS.contains(&path), "{path} in the key of a rulebook that reads nothing");
    }
}

/// A field that is added to the input or to the facts must be put into the key, and into this table.
#[test]
fn no_field_of_the_input_is_left_out_of_the_table() {
    let ask = plain();
    let input = serde_json::to_value(ask.input()).unwrap();
    for (name, value) in input.as_object().unwrap() {
        let below =
            value.as_object().map(|fields| fields.keys().map(|field| format!("{name}.{field}")).collect());
        for path in below.unwrap_or_else(|| vec![name.clone()]) {
            let known = FIELDS.iter().any(|(known, _)| *known == path) || ALWAYS.contains(&path.as_str());
            let is_another_way = ["approvals", "time.zones"].contains(&path.as_str());
            assert!(known || is_another_way || path.starts_with("budget."), "{path}");
        }
        assert!(name == "statement" || projection::FIELDS.contains(&name.as_str()), "{name}");
    }
}

#[test]
fn what_reads_the_budget_is_decided_each_time() {
    let ask = plain();
    let spent = rulebook("allow if input.budget.day.rows < 10");
    assert!(spent.key(&ask.input(), &Digested::new(Arc::clone(&ask.facts))).is_none());
}

#[test]
fn parts_that_read_the_same_one_behind_the_other_have_different_keys() {
    let all =
        rulebook("allow if json.marshal([input.database, input.door, input.identity, input.bind]) != \"\"");
    let change = |change: fn(&mut Ask)| {
        let mut ask = plain();
        change(&mut ask);
        ask.key(&all)
    };
    let keys = [
        change(|_| ()),
        change(|ask| (ask.database, ask.door) = ("shopw", "ire")),
        change(|ask| (ask.owner, ask.groups) = ("anax", Vec::new())),
        change(|ask| ask.groups = vec![String::new(), "x".into()]),
        change(|ask| ask.values = vec![Some("1".into()), None]),
        change(|ask| ask.values = vec![None, Some("1".into())]),
        change(|ask| ask.values = vec![Some("1\u{0}".into())]),
        change(|ask| ask.values = vec![Some(String::new())]),
        change(|ask| ask.values = vec![None]),
        change(|ask| ask.values = Vec::new()),
    ];
    for (at, key) in keys.iter().enumerate() {
        assert!(keys.iter().skip(at + 1).all(|other| other != key), "key {at}");
    }
}

#[test]
fn names_that_look_like_the_facts_document_change_the_key() {
    let all = rulebook("allow if json.marshal(input.statement) != \"\"");
    let named = |kind: &str, name: &str| {
        let mut ask = plain();
        let facts = Arc::make_mut(&mut ask.facts);
        kind.clone_into(&mut facts.kind);
        name.clone_into(&mut facts.outputs[0].name);
        ask.key(&all)
    };
    let keys = [
        named("select", "a"),
        named("select\"\n\"read", "a"),
        named("select", "a\",\"sources\":[]},{\"name\":\"b"),
        named("select", "a\\"),
        named("select", "a\n"),
    ];
    for (at, key) in keys.iter().enumerate() {
        assert!(keys.iter().skip(at + 1).all(|other| other != key), "key {at}");
    }
}

#[test]
fn facts_of_another_statement_an_approval_or_something_unknown_are_never_remembered() {
    let snapshot = rulebook("allow if input.statement.kind == \"select\"");
    let (reads, mut writes) = (plain(), plain());
    "update".clone_into(&mut Arc::make_mut(&mut writes.facts).kind);
    let digested = Digested::new(Arc::clone(&reads.facts));
    assert_eq!(snapshot.recall_or_decide(&reads.input(), &digested).effect, super::super::Effect::Allow);
    assert_eq!(snapshot.recall_or_decide(&writes.input(), &digested).effect, super::super::Effect::Deny);
    let approvals = [super::super::input::ApprovalEvidence::new("1", "ana", &[])];
    let approved = StatementInput { approvals: &approvals, ..reads.input() };
    assert!(snapshot.key(&approved, &digested).is_none());
    let mut unknown = plain();
    Arc::make_mut(&mut unknown.facts).unresolved =
        serde_json::from_value(json!([{"what": "relation", "name": "x", "why": "y"}])).unwrap();
    assert!(snapshot.key(&unknown.input(), &Digested::new(Arc::clone(&unknown.facts))).is_none());
}

#[test]
fn what_the_time_or_the_values_decide_is_decided_each_time_they_change() {
    let hourly = rulebook("allow if input.time.hour == 3");
    let mut ask = plain();
    let digested = Digested::new(Arc::clone(&ask.facts));
    let effect = |ask: &Ask| hourly.recall_or_decide(&ask.input(), &digested).effect.clone();
    assert_eq!(effect(&ask), super::super::Effect::Allow);
    ask.time.unix += 60;
    ask.time.minute += 1;
    assert_eq!(effect(&ask), super::super::Effect::Allow);
    ask.time.hour = 4;
    assert_eq!(effect(&ask), super::super::Effect::Deny);
}
