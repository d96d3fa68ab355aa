//! Everything that is no query.

use super::shop::{clear, facts, shown, table, tables};
use crate::sql::facts::Class::{self, Ddl, Read, Session, Transaction, Utility, Write};
use crate::sql::facts::{Access, Destination, SettingFact};

#[test]
fn every_command_has_its_kind_and_class() {
    for (sql, kind, class) in COMMANDS {
        let facts = clear(sql);
        assert_eq!((facts.kind.as_str(), facts.class), (kind, class), "{sql}");
    }
}

#[test]
fn commands_list_the_relations_that_they_touch() {
    for (sql, expected) in [
        ("DROP TABLE flags, hr.payroll", vec!["define hr.payroll", "define public.flags"]),
        ("ALTER TABLE flags DROP COLUMN id", vec!["define public.flags"]),
        ("TRUNCATE flags", vec!["delete public.flags"]),
        ("TRUNCATE events", vec!["delete public.events", "delete public.events_2026"]),
        ("CREATE TABLE hr.x AS SELECT ssn FROM customers", vec!["define hr.x", "read public.customers"]),
        ("CREATE TABLE x AS TABLE customers", vec!["read public.customers", "define public.x"]),
        ("CREATE VIEW v AS SELECT ssn FROM customers", vec!["read public.customers", "define public.v"]),
        ("CREATE TABLE t (LIKE customers)", vec!["define public.customers", "define public.t"]),
        ("CREATE TABLE t () INHERITS (customers)", vec!["define public.customers", "define public.t"]),
        ("GRANT SELECT ON customers TO x", vec!["define public.customers"]),
        ("COMMENT ON COLUMN customers.ssn IS 'x'", vec!["define public.customers"]),
        ("CREATE TABLE t (id text REFERENCES customers)", vec!["define public.customers", "define public.t"]),
        ("ALTER TABLE flags INHERIT customers", vec!["define public.customers", "define public.flags"]),
        (
            "CREATE TABLE t PARTITION OF events FOR VALUES IN (1)",
            vec!["define public.events", "define public.events_2026", "define public.t"],
        ),
        ("DROP POLICY p ON customers", vec!["define public.customers"]),
        ("LOCK customers", vec!["maintain public.customers"]),
        ("ANALYZE customers", vec!["maintain public.customers"]),
        ("DROP TABLE IF EXISTS gone", vec!["define public.gone"]),
        ("DECLARE c CURSOR FOR TABLE customers", vec!["read public.customers"]),
        ("PREPARE p AS SELECT ssn FROM customers", vec!["read public.customers"]),
    ] {
        assert_eq!(tables(&clear(sql)), expected, "{sql}");
    }
    assert_eq!(facts("DROP TABLE gone").unresolved.len(), 1);
}

#[test]
fn functions_inside_definitions_are_listed() {
    for sql in [
        "ALTER TABLE flags ADD COLUMN x text DEFAULT pg_read_file('/etc/passwd')",
        "ALTER TABLE flags ALTER COLUMN id TYPE text USING pg_read_file(id)",
        "ALTER TABLE flags ALTER COLUMN id SET DEFAULT pg_read_file('x')",
        "ALTER TABLE flags ADD CHECK (pg_read_file(id) = 'x')",
        "CREATE TABLE t (id text DEFAULT pg_read_file('x'))",
        "CREATE TABLE t (id text, CHECK (pg_read_file(id) = 'x'))",
        "CREATE INDEX ON flags (pg_read_file(id))",
        "CREATE INDEX ON flags (id) WHERE pg_read_file(id) = 'x'",
    ] {
        let keys: Vec<_> = clear(sql).functions.into_iter().map(|function| function.key).collect();
        assert_eq!(keys, ["pg_catalog.pg_read_file"], "{sql}");
    }
}

#[test]
fn copy_says_where_data_goes() {
    use Destination::{Client, ServerFile, ServerProgram, Table};
    for (sql, class, expected) in [
        ("COPY customers TO STDOUT", Read, vec![Client]),
        ("COPY customers (id) FROM STDIN", Write, vec![Client, Table]),
        ("COPY customers TO '/tmp/x'", Read, vec![ServerFile]),
        ("COPY customers FROM PROGRAM 'id'", Write, vec![Table, ServerProgram]),
        ("COPY (SELECT ssn FROM customers) TO STDOUT", Read, vec![Client]),
        ("COPY (DELETE FROM customers RETURNING ssn) TO STDOUT", Write, vec![Client]),
    ] {
        let facts = clear(sql);
        assert_eq!((facts.kind.as_str(), facts.class), ("copy", class), "{sql}");
        let mut expected = expected;
        expected.sort();
        assert_eq!(facts.destinations, expected, "{sql}");
    }
    let all = clear("COPY customers TO STDOUT");
    assert_eq!(table(&all, "public.customers", Access::Read).columns_read.len(), 5);
    let some = clear("COPY customers (id, ssn) FROM STDIN WHERE city = 'x'");
    let customers = table(&some, "public.customers", Access::Insert);
    assert_eq!(customers.columns_written, ["id", "ssn"]);
    assert_eq!(customers.columns_filtered, ["city"]);
}

#[test]
fn settings_are_listed_with_their_values() {
    let set = |name: &str, action: &str, values: &[&str]| SettingFact {
        name: name.into(),
        action: action.into(),
        values: values.iter().map(|value| (*value).to_owned()).collect(),
    };
    for (sql, expected) in [
        ("SET work_mem = '1MB'", set("work_mem", "set", &["1MB"])),
        ("SET LOCAL Work_Mem TO 64", set("work_mem", "set_local", &["64"])),
        ("SET search_path = a, \"B\"", set("search_path", "set", &["a", "B"])),
        ("SET app.tenant = 'x'", set("app.tenant", "set", &["x"])),
        ("SET TIME ZONE 'UTC'", set("timezone", "set", &["UTC"])),
        ("SET TIME ZONE LOCAL", set("timezone", "reset", &[])),
        ("SET NAMES 'UTF8'", set("client_encoding", "set", &["UTF8"])),
        ("SET ROLE admin", set("role", "set", &["admin"])),
        ("SET LOCAL ROLE admin", set("role", "set_local", &["admin"])),
        ("RESET ROLE", set("role", "reset", &[])),
        ("SET SESSION AUTHORIZATION admin", set("session_authorization", "set", &["admin"])),
        ("RESET SESSION AUTHORIZATION", set("session_authorization", "reset", &[])),
        ("SET work_mem TO DEFAULT", set("work_mem", "reset", &[])),
        ("SET work_mem FROM CURRENT", set("work_mem", "set", &[])),
        ("RESET ALL", set("all", "reset", &[])),
        ("SHOW ALL", set("all", "show", &[])),
        ("SHOW TimeZone", set("timezone", "show", &[])),
        ("SET TRANSACTION READ WRITE", set("transaction_read_only", "set_local", &["off"])),
        ("BEGIN READ WRITE", set("transaction_read_only", "set_local", &["off"])),
        ("BEGIN ISOLATION LEVEL SERIALIZABLE", set("transaction_isolation", "set_local", &["serializable"])),
        (
            "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
            set("default_transaction_read_only", "set", &["off"]),
        ),
        ("SELECT set_config('JIT', 'off', false)", set("jit", "set", &["off"])),
        ("SELECT pg_catalog.set_config('jit', $1, false)", set("jit", "set", &[])),
        ("SELECT set_config('j' || 'it', 'off', false)", set("?", "set", &["off"])),
        ("SELECT set_config('jit'::text, 'off', false)", set("?", "set", &["off"])),
        ("SELECT set_config(new_value => 'jit', setting_name => 'role')", set("?", "set", &[])),
        ("SET TRANSACTION SNAPSHOT 'x'", set("transaction snapshot", "set_local", &["x"])),
    ] {
        assert_eq!(facts(sql).settings, [expected], "{sql}");
    }
}

#[test]
fn explain_folds_in_what_it_explains() {
    for (sql, runs) in [
        ("EXPLAIN DELETE FROM customers", false),
        ("EXPLAIN ANALYZE DELETE FROM customers", true),
        ("EXPLAIN (ANALYZE) DELETE FROM customers", true),
        ("EXPLAIN (ANALYZE off) DELETE FROM customers", false),
        ("EXPLAIN (ANALYZE off, ANALYZE on) DELETE FROM customers", true),
        ("EXPLAIN (ANALYZE on, ANALYZE off) DELETE FROM customers", false),
        ("EXPLAIN (analyze 'OFF') DELETE FROM customers", false),
        ("EXPLAIN (\"analyze\" 1) DELETE FROM customers", true),
        ("EXPLAIN (ANALYZE 0, VERBOSE) DELETE FROM customers", false),
    ] {
        let facts = clear(sql);
        assert_eq!(
            (facts.kind.as_str(), facts.class, facts.explain_analyze),
            ("explain", Write, runs),
            "{sql}"
        );
        assert_eq!(facts.inner[0].kind, "delete");
        assert_eq!(shown(&facts), ["QUERY PLAN<-"]);
        assert_eq!(tables(&facts), ["delete public.customers"]);
    }
    assert_eq!(clear("EXPLAIN ANALYZE CREATE TABLE x AS SELECT 1").class, Ddl);
}

#[test]
fn a_call_lists_its_procedure() {
    let facts = clear("CALL close_year()");
    assert_eq!(facts.functions[0].key, "public.close_year");
    assert_eq!(super::shop::unresolved("CALL gone()"), ["function gone"]);
}

const COMMANDS: [(&str, &str, Class); 75] = [
    ("BEGIN", "begin", Transaction),
    ("START TRANSACTION READ ONLY", "begin", Transaction),
    ("COMMIT AND CHAIN", "commit", Transaction),
    ("END", "commit", Transaction),
    ("ROLLBACK", "rollback", Transaction),
    ("SAVEPOINT a", "savepoint", Transaction),
    ("RELEASE a", "release", Transaction),
    ("ROLLBACK TO a", "rollback_to", Transaction),
    ("PREPARE TRANSACTION 'x'", "prepare_transaction", Utility),
    ("COMMIT PREPARED 'x'", "commit_prepared", Utility),
    ("ROLLBACK PREPARED 'x'", "rollback_prepared", Utility),
    ("SET work_mem = '1MB'", "set", Session),
    ("RESET ALL", "reset", Session),
    ("SHOW work_mem", "show", Transaction),
    ("SET CONSTRAINTS ALL DEFERRED", "set_constraints", Session),
    ("DECLARE c CURSOR FOR SELECT 1", "declare_cursor", Read),
    ("CLOSE c", "close_cursor", Read),
    ("LISTEN a", "listen", Session),
    ("UNLISTEN *", "unlisten", Session),
    ("NOTIFY a, 'x'", "notify", Session),
    ("PREPARE p AS SELECT 1", "prepare", Session),
    ("PREPARE p AS DELETE FROM flags", "prepare", Write),
    ("DEALLOCATE ALL", "deallocate", Session),
    ("DISCARD ALL", "discard_all", Session),
    ("DISCARD TEMP", "discard_temp", Session),
    ("LOCK TABLE flags", "lock", Utility),
    ("VACUUM FULL flags", "vacuum", Utility),
    ("ANALYZE flags (id)", "analyze", Utility),
    ("CLUSTER flags", "cluster", Utility),
    ("REINDEX TABLE flags", "reindex", Utility),
    ("CHECKPOINT", "checkpoint", Utility),
    ("LOAD 'x'", "load", Utility),
    ("CALL close_year()", "call", Utility),
    ("DO $$ BEGIN END $$", "do", Utility),
    ("CREATE TABLE t (id int)", "create_table", Ddl),
    ("CREATE TEMP TABLE t (LIKE flags)", "create_table", Ddl),
    ("CREATE TABLE t AS SELECT 1", "create_table_as", Ddl),
    ("CREATE MATERIALIZED VIEW t AS SELECT 1", "create_materialized_view", Ddl),
    ("CREATE VIEW v AS SELECT ssn FROM customers", "create_view", Ddl),
    ("CREATE UNIQUE INDEX ON flags (id)", "create_index", Ddl),
    ("ALTER TABLE flags ADD COLUMN x int", "alter_table", Ddl),
    ("ALTER TABLE flags RENAME TO f", "alter_table", Ddl),
    ("ALTER TABLE flags RENAME COLUMN id TO i", "alter_table", Ddl),
    ("ALTER TABLE flags SET SCHEMA hr", "alter_table", Ddl),
    ("ALTER VIEW oslo OWNER TO x", "alter_view", Ddl),
    ("DROP TABLE flags", "drop_table", Ddl),
    ("DROP VIEW oslo", "drop_view", Ddl),
    ("DROP INDEX some_index", "drop_index", Ddl),
    ("DROP FUNCTION peek()", "drop_function", Ddl),
    ("DROP SCHEMA hr CASCADE", "drop_schema", Ddl),
    ("DROP TRIGGER t ON flags", "drop_trigger", Ddl),
    ("TRUNCATE flags, orders", "truncate", Ddl),
    ("GRANT SELECT ON flags TO x", "grant", Ddl),
    ("REVOKE ALL ON SCHEMA hr FROM x", "revoke", Ddl),
    ("GRANT a TO b", "grant_role", Ddl),
    ("COMMENT ON COLUMN flags.id IS 'x'", "comment", Ddl),
    ("SECURITY LABEL ON TABLE flags IS 'x'", "security_label", Ddl),
    ("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "create_function", Ddl),
    ("CREATE PROCEDURE f() LANGUAGE sql AS 'SELECT 1'", "create_procedure", Ddl),
    ("CREATE TRIGGER t BEFORE INSERT ON flags EXECUTE FUNCTION peek()", "create_trigger", Ddl),
    ("CREATE RULE r AS ON INSERT TO flags DO NOTHING", "create_rule", Ddl),
    ("CREATE POLICY p ON flags", "create_policy", Ddl),
    ("CREATE EXTENSION dblink", "create_extension", Ddl),
    ("CREATE TYPE mood AS ENUM ('a')", "create_type", Ddl),
    ("CREATE DOMAIN d AS int", "create_domain", Ddl),
    ("CREATE AGGREGATE a(int) (SFUNC = f, STYPE = int)", "create_aggregate", Ddl),
    ("CREATE SCHEMA s CREATE TABLE t (id int)", "create_schema", Ddl),
    ("CREATE ROLE r", "create_role", Ddl),
    ("ALTER ROLE r SET work_mem = '1MB'", "alter_role", Ddl),
    ("ALTER SYSTEM SET work_mem = '1MB'", "alter_system", Ddl),
    ("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO x", "alter_default_privileges", Ddl),
    ("CREATE DATABASE d", "create_database", Ddl),
    ("CREATE SUBSCRIPTION s CONNECTION 'x' PUBLICATION p", "create_subscription", Ddl),
    ("IMPORT FOREIGN SCHEMA s FROM SERVER x INTO hr", "import_foreign_schema", Ddl),
    ("REFRESH MATERIALIZED VIEW flags", "refresh_materialized_view", Utility),
];
