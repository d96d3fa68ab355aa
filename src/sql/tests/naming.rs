//! What statements do by name.

use super::shop::{clear, facts, item};
use crate::sql::facts::Class;
use crate::sql::naming::with_prepared;
use crate::sql::{Facts, Naming};

fn naming(sql: &str) -> Naming {
    item(sql).naming
}

#[test]
fn what_a_statement_does_by_name_is_told() {
    let name = || "x".to_owned();
    let executes = |wrapped| Naming::Executes { name: name(), wrapped };
    let declares = |holds| Naming::Declares { name: name(), holds };
    for (sql, expected) in [
        ("SELECT 1", Naming::Nothing),
        ("EXECUTE x(1)", executes(false)),
        ("EXPLAIN ANALYZE EXECUTE x", executes(true)),
        ("CREATE TABLE t AS EXECUTE x", executes(true)),
        ("EXPLAIN CREATE TABLE t AS EXECUTE x", executes(true)),
        ("DEALLOCATE PREPARE x", Naming::Deallocates { name: Some(name()) }),
        ("DEALLOCATE ALL", Naming::Deallocates { name: None }),
        ("DEALLOCATE \"all\"", Naming::Deallocates { name: Some("all".to_owned()) }),
        ("DECLARE x CURSOR FOR SELECT 1", declares(false)),
        ("DECLARE x BINARY SCROLL CURSOR WITH HOLD FOR SELECT 1", declares(true)),
        ("FETCH 2 FROM x", Naming::Fetches { name: name() }),
        ("MOVE ABSOLUTE -1 IN x", Naming::Fetches { name: name() }),
        ("CLOSE x", Naming::Closes { name: Some(name()) }),
        ("CLOSE ALL", Naming::Closes { name: None }),
        ("DISCARD ALL", Naming::Discards),
        ("DISCARD PLANS", Naming::Nothing),
        ("EXPLAIN DECLARE x CURSOR FOR SELECT 1", Naming::Nothing),
    ] {
        assert_eq!(naming(sql), expected, "{sql}");
    }
}

#[test]
fn the_statement_inside_a_prepare_is_cut_out_by_its_bytes() {
    for (sql, inside) in [
        ("PREPARE x AS SELECT 1 AS a", " SELECT 1 AS a"),
        ("PREPARE x (numeric(10, 2), int) AS SELECT $1", " SELECT $1"),
        ("prepare \"as\" /* as */ as-- as\nselect 'as'", "-- as\nselect 'as'"),
        ("PREPARE \"\u{e9}\" AS WITH a AS (SELECT 1) TABLE a", " WITH a AS (SELECT 1) TABLE a"),
    ] {
        let Naming::Prepares { inside: at, .. } = naming(sql) else { panic!("{sql}") };
        assert_eq!(&sql[at..], inside, "{sql}");
    }
}

#[test]
fn names_are_cut_as_postgresql_cuts_them() {
    let Naming::Executes { name, .. } = naming(&format!("EXECUTE {}", "n".repeat(70))) else { panic!() };
    assert_eq!(name, "n".repeat(63));
}

#[test]
fn as_long_as_nobody_knows_its_name_a_statement_is_not_understood() {
    for sql in ["EXECUTE x", "EXPLAIN EXECUTE x", "CREATE TABLE t AS EXECUTE x", "FETCH x", "MOVE x"] {
        assert_eq!(facts(sql).unresolved.len(), 1, "{sql}");
    }
}

#[test]
fn what_runs_by_name_has_the_facts_of_what_it_runs() {
    let update = clear("UPDATE customers SET name = 'x' WHERE id = 1");
    let executed = facts("EXECUTE x(1)").running(&update);
    assert!(executed.unresolved.is_empty());
    assert_eq!((executed.kind.as_str(), executed.class), ("execute", Class::Write));
    assert_eq!(executed.inner[0].kind, "update");
    assert_eq!((executed.tables, executed.condition), (update.tables, update.condition));

    let select = clear("SELECT name FROM customers");
    assert_eq!(facts("EXECUTE x").running(&select).outputs, select.outputs);
    let explained = facts("EXPLAIN ANALYZE EXECUTE x").running(&select);
    assert_eq!((explained.class, explained.explain_analyze), (Class::Read, true));
    assert_ne!(explained.outputs, select.outputs);

    let unknown = Facts::unknown("is in another encoding");
    let runs_unknown = facts("EXECUTE x").running(&unknown);
    assert!(!runs_unknown.parse_ok && runs_unknown.class == Class::Unknown);
    assert_eq!(runs_unknown.unresolved, unknown.unresolved);
}

#[test]
fn an_explained_execute_becomes_what_it_explains() {
    let select = item("SELECT name FROM customers");
    let explained = with_prepared(&item("EXPLAIN (VERBOSE) EXECUTE x").tree, &select.tree);
    let direct = item("EXPLAIN (VERBOSE) SELECT name FROM customers").tree;
    let text = |tree| {
        let tree = pg_query::protobuf::ParseResult { version: 0, stmts: vec![tree] };
        pg_query::deparse(&tree, pg_query::DeparseOptions::default()).unwrap()
    };
    assert_eq!(text(explained), text(direct));
}

#[test]
fn channels_are_told_by_name() {
    for (sql, channel) in [
        ("LISTEN jobs", "jobs"),
        ("NOTIFY \"Jobs\", 'x'", "Jobs"),
        ("UNLISTEN jobs", "jobs"),
        ("UNLISTEN *", "*"),
    ] {
        assert_eq!(clear(sql).channels, [channel], "{sql}");
    }
    assert!(clear("SELECT 1").channels.is_empty());
}
