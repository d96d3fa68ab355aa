//! Statements as facts, made by hand: what each class of statement looks like to the rulebook.

use portcullis::catalog::{RelationKey, RelationKind, Volatility};
use portcullis::sql::Facts;
use portcullis::sql::facts::{
    Access, Class, Condition, Destination, FunctionFact, Inner, LimitFact, SettingFact, TableFact,
};

/// Every statement of the table, by section.
pub(super) fn sections() -> Vec<(&'static str, Vec<(&'static str, Facts)>)> {
    vec![
        ("reading", reading()),
        ("PostgreSQL's catalogs, as psql and drivers read them", catalogs()),
        ("functions", functions()),
        ("writing rows", writing()),
        ("definitions", definitions()),
        ("out of the database", outside()),
        ("the session", session()),
    ]
}

fn reading() -> Vec<(&'static str, Facts)> {
    vec![
        ("select name from customers", select(&["name"])),
        ("select * from payroll", select_from("hr.payroll")),
        ("select id from audit (outside all scopes)", select_from("ops.audit")),
        ("select from a view over payroll", through_view()),
        ("select ... for update of orders", Facts { locks_rows: true, ..select_from("public.orders") }),
        ("copy orders to stdout", wrapping("copy", Class::Read, select_from("public.orders"))),
        (
            "declare c cursor for select from orders",
            wrapping("declare_cursor", Class::Read, select_from("public.orders")),
        ),
        ("fetch 10 from c", to(Destination::Client, statement("fetch", Class::Read))),
        ("explain select from orders", wrapping("explain", Class::Read, select_from("public.orders"))),
        (
            "explain analyze select from orders",
            analyze(wrapping("explain", Class::Read, select_from("public.orders"))),
        ),
    ]
}

fn catalogs() -> Vec<(&'static str, Facts)> {
    vec![
        ("select from pg_class", select_from("pg_catalog.pg_class")),
        ("select from information_schema.columns", select_from("information_schema.columns")),
        ("select from pg_settings", select_from("pg_catalog.pg_settings")),
        ("select from pg_authid", select_from("pg_catalog.pg_authid")),
        ("select from pg_stats", select_from("pg_catalog.pg_stats")),
        ("select from pg_stat_activity", select_from("pg_catalog.pg_stat_activity")),
        (
            "select pg_table_is_visible(oid)",
            function("pg_catalog.pg_table_is_visible", true, Volatility::Stable),
        ),
        ("select pg_table_size(oid)", function("pg_catalog.pg_table_size", true, Volatility::Volatile)),
    ]
}

fn functions() -> Vec<(&'static str, Facts)> {
    vec![
        ("select now()", function("pg_catalog.now", true, Volatility::Stable)),
        ("select random()", function("pg_catalog.random", true, Volatility::Volatile)),
        ("select pg_sleep(1)", function("pg_catalog.pg_sleep", true, Volatility::Volatile)),
        (
            "select pg_read_file('/etc/passwd')",
            function("pg_catalog.pg_read_file", true, Volatility::Volatile),
        ),
        ("select table_to_xml('customers')", function("pg_catalog.table_to_xml", true, Volatility::Stable)),
        ("select pg_advisory_lock(1)", function("pg_catalog.pg_advisory_lock", true, Volatility::Volatile)),
        ("select customer_email(1)", function("public.customer_email", false, Volatility::Stable)),
        ("select dblink('...')", function("public.dblink", false, Volatility::Volatile)),
    ]
}

fn writing() -> Vec<(&'static str, Facts)> {
    vec![
        ("update orders set status where id", update()),
        ("update orders set note where id", write("update", "orders", &["note"], true)),
        ("update orders set status", write("update", "orders", &["status"], false)),
        ("update orders set status where true", tautology(update())),
        ("update customers set name where id", write("update", "customers", &["name"], true)),
        ("insert into tickets", write("insert", "tickets", &["subject"], false)),
        ("insert into a table with rewrite rules", ruled(write("insert", "tickets", &["subject"], false))),
        ("delete from orders where id", write("delete", "orders", &[], true)),
        ("delete from tickets where id", write("delete", "tickets", &[], true)),
        ("delete from tickets", write("delete", "tickets", &[], false)),
        (
            "with d as (delete from tickets) select",
            wrapping("select", Class::Read, write("delete", "tickets", &[], false)),
        ),
        ("merge into tickets", write("merge", "tickets", &["subject"], true)),
        (
            "copy tickets from stdin",
            Facts { kind: "copy".into(), ..write("insert", "tickets", &["subject"], false) },
        ),
        ("explain update orders set status where id", wrapping("explain", Class::Read, update())),
        (
            "explain analyze update orders set status where id",
            analyze(wrapping("explain", Class::Read, update())),
        ),
        (
            "update pg_class",
            Facts {
                tables: vec![table("pg_catalog.pg_class", Access::Update, &["oid"], &["relname"])],
                ..update()
            },
        ),
        ("truncate tickets", Facts { kind: "truncate".into(), ..write("delete", "tickets", &[], false) }),
    ]
}

fn definitions() -> Vec<(&'static str, Facts)> {
    vec![
        ("create table", statement("create_table", Class::Ddl)),
        (
            "drop table orders",
            Facts {
                tables: vec![table("public.orders", Access::Define, &[], &[])],
                ..statement("drop_table", Class::Ddl)
            },
        ),
        (
            "alter table pg_class",
            Facts {
                tables: vec![table("pg_catalog.pg_class", Access::Define, &[], &[])],
                ..statement("alter_table", Class::Ddl)
            },
        ),
        ("select ... into t", Facts { kind: "select_into".into(), class: Class::Ddl, ..select(&["name"]) }),
        ("create function", statement("create_function", Class::Ddl)),
        ("create extension dblink", statement("create_extension", Class::Ddl)),
        ("grant", statement("grant", Class::Ddl)),
        ("alter system", statement("alter_system", Class::Ddl)),
        ("vacuum", statement("vacuum", Class::Utility)),
    ]
}

fn outside() -> Vec<(&'static str, Facts)> {
    vec![
        (
            "copy orders to '/tmp/f'",
            to(Destination::ServerFile, wrapping("copy", Class::Read, select_from("public.orders"))),
        ),
        (
            "copy orders to program",
            to(Destination::ServerProgram, wrapping("copy", Class::Read, select_from("public.orders"))),
        ),
        ("do", statement("do", Class::Utility)),
        ("call p()", statement("call", Class::Utility)),
        ("prepare p as select", wrapping("prepare", Class::Session, select_from("public.orders"))),
        ("execute p, a select", wrapping("execute", Class::Read, select_from("public.orders"))),
        ("execute p, an update", wrapping("execute", Class::Write, update())),
        ("prepare p as update", wrapping("prepare", Class::Write, update())),
        (
            "FunctionCall of random",
            Facts {
                kind: "function_call".into(),
                class: Class::Utility,
                ..function("pg_catalog.random", true, Volatility::Volatile)
            },
        ),
        ("lock orders", statement("lock", Class::Utility)),
        ("listen c", to_channel("listen")),
        ("notify c", to_channel("notify")),
        ("prepare transaction", statement("prepare_transaction", Class::Utility)),
        ("commit prepared", statement("commit_prepared", Class::Utility)),
        ("a statement nobody thought of", statement("unknown", Class::Unknown)),
    ]
}

fn session() -> Vec<(&'static str, Facts)> {
    vec![
        ("begin", statement("begin", Class::Transaction)),
        ("rollback", statement("rollback", Class::Transaction)),
        ("show search_path", setting("search_path", "show", &[])),
        ("set application_name", setting("application_name", "set", &["x"])),
        ("set statement_timeout = 0", setting("statement_timeout", "set", &["0"])),
        ("reset statement_timeout", setting("statement_timeout", "reset", &[])),
        ("set client_encoding = 'UTF8'", setting("client_encoding", "set", &["UTF8"])),
        ("set client_encoding = 'SJIS'", setting("client_encoding", "set", &["SJIS"])),
        ("set standard_conforming_strings = off", setting("standard_conforming_strings", "set", &["off"])),
        ("reset standard_conforming_strings", setting("standard_conforming_strings", "reset", &[])),
        ("set search_path = evil", setting("search_path", "set", &["evil"])),
        ("set role postgres", setting("role", "set", &["postgres"])),
        ("reset session authorization", setting("session_authorization", "reset", &[])),
        ("set row_security = off", setting("row_security", "set", &["off"])),
        ("reset all", setting("all", "reset", &[])),
        ("discard all", statement("discard_all", Class::Session)),
    ]
}

fn update() -> Facts {
    write("update", "orders", &["status"], true)
}

fn tautology(mut facts: Facts) -> Facts {
    facts.condition.tautology = true;
    facts
}

fn ruled(mut facts: Facts) -> Facts {
    facts.tables[0].has_rules = true;
    facts
}

fn to(destination: Destination, facts: Facts) -> Facts {
    Facts { destinations: vec![destination], ..facts }
}

fn to_channel(kind: &str) -> Facts {
    let facts = to(Destination::Channel, statement(kind, Class::Session));
    Facts { channels: vec!["c".into()], ..facts }
}

fn analyze(facts: Facts) -> Facts {
    Facts { explain_analyze: true, ..facts }
}

pub(super) fn statement(kind: &str, class: Class) -> Facts {
    Facts {
        kind: kind.into(),
        class,
        inner: Vec::new(),
        tables: Vec::new(),
        functions: Vec::new(),
        outputs: Vec::new(),
        condition: Condition::default(),
        limit: LimitFact { present: false, rows: -1 },
        settings: Vec::new(),
        destinations: Vec::new(),
        explain_analyze: false,
        locks_rows: false,
        parse_ok: true,
        channels: Vec::new(),
        unresolved: Vec::new(),
    }
}

fn table(key: &str, access: Access, read: &[&str], written: &[&str]) -> TableFact {
    let (schema, name) = key.split_once('.').unwrap();
    let texts = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    TableFact {
        key: RelationKey::new(schema, name),
        schema: schema.into(),
        name: name.into(),
        kind: RelationKind::Table,
        access,
        system: matches!(schema, "pg_catalog" | "information_schema"),
        via_view: String::new(),
        columns_read: texts(read),
        columns_filtered: Vec::new(),
        columns_written: texts(written),
        tags: Vec::new(),
        tags_read: Vec::new(),
        tags_written: Vec::new(),
        row_estimate: -1,
        has_triggers: false,
        has_rules: false,
    }
}

fn rows_of(tables: Vec<TableFact>) -> Facts {
    Facts { tables, destinations: vec![Destination::Client], ..statement("select", Class::Read) }
}

pub(super) fn select(columns: &[&str]) -> Facts {
    rows_of(vec![table("public.customers", Access::Read, columns, &[])])
}

fn select_from(key: &str) -> Facts {
    rows_of(vec![table(key, Access::Read, &["id"], &[])])
}

pub(super) fn write(kind: &str, name: &str, columns: &[&str], bounded: bool) -> Facts {
    let access = match kind {
        "insert" => Access::Insert,
        "delete" => Access::Delete,
        _ => Access::Update,
    };
    let read: &[&str] = if kind == "insert" { &[] } else { &["id"] };
    let columns_of = |condition: bool| if condition { vec!["id".to_owned()] } else { Vec::new() };
    Facts {
        tables: vec![table(&format!("public.{name}"), access, read, columns)],
        condition: Condition { present: bounded, tautology: false, columns: columns_of(bounded) },
        destinations: vec![Destination::Table],
        ..statement(kind, Class::Write)
    }
}

fn function(key: &str, builtin: bool, volatility: Volatility) -> Facts {
    let fact = FunctionFact {
        key: key.into(),
        builtin,
        volatility,
        security_definer: false,
        languages: vec![if builtin { "internal".into() } else { "sql".into() }],
    };
    Facts { functions: vec![fact], ..statement("select", Class::Read) }
}

fn setting(name: &str, action: &str, values: &[&str]) -> Facts {
    let kind = if action == "show" { "show" } else { "set" };
    let class = if action == "show" { Class::Transaction } else { Class::Session };
    let values = values.iter().map(|value| (*value).to_owned()).collect();
    Facts {
        settings: vec![SettingFact { name: name.into(), action: action.into(), values }],
        ..statement(kind, class)
    }
}

fn wrapping(kind: &str, class: Class, inside: Facts) -> Facts {
    let inner = vec![Inner { kind: inside.kind.clone(), class: inside.class }];
    Facts { kind: kind.into(), class: class.max(inside.class), inner, ..inside }
}

fn through_view() -> Facts {
    let view = TableFact { kind: RelationKind::View, ..table("public.contacts", Access::Read, &["id"], &[]) };
    let base =
        TableFact { via_view: "public.contacts".into(), ..table("hr.payroll", Access::Read, &["iban"], &[]) };
    rows_of(vec![base, view])
}
