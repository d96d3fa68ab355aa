//! Facts, held against a real PostgreSQL and against anything that may be typed.

mod second_reader;

use std::sync::Arc;

use portcullis::catalog::Snapshot;
use portcullis::gate::Catalogs as _;
use portcullis::sql::{Analysis, AnalyzeError, Facts, Statement, analyze};
use portcullis::upstream::{DatabaseSettings, RoleSettings, Upstream};
use proptest::prelude::*;

use crate::support::Database;

/// Whatever a result is described with, the facts must have said before: the same columns in the same order.
#[tokio::test]
async fn outputs_are_what_the_server_describes() {
    let database = Database::with(SHOP).await;
    let snapshot = snapshot(&database).await;
    let client = database.connect().await;
    for sql in QUERIES {
        let facts = only(&snapshot, sql);
        assert_eq!(facts.unresolved, [], "{sql}");
        let described = client.prepare(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        let actual: Vec<&str> = described.columns().iter().map(tokio_postgres::Column::name).collect();
        let planned: Vec<&str> = facts.outputs.iter().map(|output| shown(&output.name)).collect();
        assert_eq!(planned, actual, "{sql}");
    }
}

/// The server knows which base column a plain output comes from; the facts must list it.
#[tokio::test]
async fn sources_hold_every_origin_that_the_server_knows() {
    let database = Database::with(SHOP).await;
    let snapshot = snapshot(&database).await;
    let client = database.connect().await;
    for sql in QUERIES {
        let facts = only(&snapshot, sql);
        let described = client.prepare(sql).await.unwrap();
        for (column, output) in described.columns().iter().zip(&facts.outputs) {
            let (Some(table), Some(number)) = (column.table_oid(), column.column_id()) else { continue };
            let Some(relation) = snapshot.relation_by_oid(table) else { continue };
            let Some(origin) = relation.columns.iter().find(|column| column.number == number) else {
                continue;
            };
            let origin = format!("{}.{}", relation.key(), origin.name);
            assert!(output.sources.contains(&origin), "{sql}: {origin} not in {:?}", output.sources);
        }
    }
}

/// Wrapped into a view, a query leaves its dependencies in `pg_depend`, after PostgreSQL's own resolution of
/// names: every column there must be among those that are read.
#[tokio::test]
async fn columns_read_hold_everything_that_the_server_depends_on() {
    let database = Database::with(SHOP).await;
    let snapshot = snapshot(&database).await;
    let client = database.connect().await;
    let mut checked = 0;
    for sql in QUERIES.iter().chain(&TWISTED) {
        let wrapped = format!("CREATE VIEW probe AS SELECT EXISTS ({sql}) AS answer");
        if client.batch_execute(&wrapped).await.is_err() {
            assert!(!TWISTED.contains(sql), "{sql}");
            continue;
        }
        let facts = only(&snapshot, sql);
        assert_eq!(facts.unresolved, [], "{sql}");
        for row in client.query(DEPENDENCIES, &[]).await.unwrap() {
            let (table, column): (String, String) = (row.get(0), row.get(1));
            let mut entries = facts.tables.iter().filter(|entry| entry.key.as_str() == table);
            let read = entries.any(|entry| entry.columns_read.contains(&column));
            assert!(read, "{sql}: {table}.{column} is not among those read");
            checked += 1;
        }
        client.batch_execute("DROP VIEW probe").await.unwrap();
    }
    assert!(checked > 150, "{checked}");
}

#[tokio::test]
async fn every_system_view_has_the_columns_that_the_snapshot_says() {
    let database = Database::with("").await;
    let snapshot = snapshot(&database).await;
    let client = database.connect().await;
    let views: Vec<String> =
        snapshot.relations().filter(|it| it.is_system()).map(|it| it.key().to_string()).collect();
    assert!(views.len() > 100);
    for view in views.iter().filter(|view| view.contains("pg_stat") || view.contains("information_schema")) {
        let sql = format!("SELECT * FROM {view}");
        let facts = only(&snapshot, &sql);
        assert_eq!((facts.unresolved.len(), facts.tables.len()), (0, 1), "{sql}");
        assert_eq!(facts.outputs.len(), client.prepare(&sql).await.unwrap().columns().len(), "{sql}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Statements put together from words that matter never crash the analyser; each is one with its own
    /// bytes, which alone give the same facts; and every field is always there.
    #[test]
    fn any_words_are_understood_or_refused(words in prop::collection::vec(prop::sample::select(WORDS.to_vec()), 1..24)) {
        let sql = words.join(" ");
        let snapshot = Arc::new(Snapshot::new(1, 150_000, vec!["public".into()], Vec::new(), Vec::new()));
        let Ok(analysis) = analysis(&snapshot, &sql) else { return Ok(()) };
        for item in analysis.items() {
            let alone = &sql[item.range.clone()];
            prop_assert_eq!(&only(&snapshot, alone), &*item.facts, "{}", alone);
            let document = serde_json::to_value(&item.facts).unwrap();
            prop_assert_eq!(document.as_object().unwrap().len(), 15);
        }
    }

    #[test]
    fn any_text_is_understood_or_refused(sql in "\\PC{0,80}") {
        let snapshot = Arc::new(Snapshot::new(1, 150_000, vec!["public".into()], Vec::new(), Vec::new()));
        if let Ok(analysis) = analysis(&snapshot, &sql) {
            for item in analysis.items() {
                prop_assert!(sql.get(item.range.clone()).is_some());
            }
        }
    }
}

fn only(snapshot: &Arc<Snapshot>, sql: &str) -> Facts {
    let analysis = analysis(snapshot, sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    assert_eq!(analysis.items().len(), 1, "{sql}");
    (*analysis.items()[0].facts).clone()
}

/// Runs the analyser on a stack as it asks for.
fn analysis(snapshot: &Arc<Snapshot>, sql: &str) -> Result<Analysis, AnalyzeError> {
    let statement = Statement::new(sql.as_bytes(), Statement::WIRE_CAP).unwrap();
    let snapshot = Arc::clone(snapshot);
    let thread = std::thread::Builder::new().stack_size(32 * 1024 * 1024);
    thread.spawn(move || analyze(&statement, &snapshot)).unwrap().join().unwrap()
}

fn shown(name: &str) -> &str {
    if name.is_empty() { "?column?" } else { name }
}

async fn snapshot(database: &Database) -> Arc<Snapshot> {
    let settings = DatabaseSettings::new(
        "shop".into(),
        "127.0.0.1".into(),
        database.cluster.port(),
        database.name.clone(),
        RoleSettings {
            name: String::new(),
            user: database.cluster.superuser().into(),
            password: database.cluster.password().into(),
        },
    );
    Upstream::new(vec![settings]).refresh("shop").await.unwrap()
}

const SHOP: &str = "
    CREATE TABLE customers (id text PRIMARY KEY, name text, email text, ssn text, city text);
    CREATE TABLE orders (id text, customer_id text, total text, note text);
    CREATE TABLE flags (id text PRIMARY KEY, active text);
    CREATE SCHEMA hr;
    CREATE TABLE hr.payroll (id text, customer_id text, salary text, dropped text);
    ALTER TABLE hr.payroll DROP COLUMN dropped;
    CREATE TABLE events (id text, body text) PARTITION BY LIST (id);
    CREATE TABLE events_rest PARTITION OF events DEFAULT;
    CREATE VIEW oslo AS SELECT c.id, c.name, c.ssn AS number FROM customers c WHERE c.city = 'Oslo';
    CREATE VIEW nested AS SELECT o.*, upper(o.number) AS loud FROM oslo o;
    ALTER VIEW nested RENAME COLUMN loud TO shout;
    CREATE MATERIALIZED VIEW totals AS SELECT customer_id, max(total) AS most FROM orders GROUP BY 1;
    CREATE TYPE place AS (street text, town text);
    CREATE TABLE people (gone int, id text, home place);
    ALTER TABLE people DROP COLUMN gone;
    CREATE VIEW housed AS SELECT home, id FROM people WHERE (home).town > 'a';
    CREATE FUNCTION split(whole text, OUT head text, OUT tail text) LANGUAGE sql AS 'SELECT whole, whole';
    CREATE FUNCTION lodgers() RETURNS SETOF people LANGUAGE sql AS 'SELECT * FROM people';
    CREATE FUNCTION distance(text, text) RETURNS int LANGUAGE sql AS 'SELECT 1';
    CREATE OPERATOR <=> (FUNCTION = distance, LEFTARG = text, RIGHTARG = text);";

const QUERIES: [&str; 103] = [
    "SELECT * FROM customers",
    "SELECT",
    "TABLE flags",
    "SELECT FROM flags",
    "SELECT c.*, o.* FROM customers c JOIN orders o ON o.customer_id = c.id",
    "SELECT * FROM customers NATURAL JOIN orders",
    "SELECT * FROM customers JOIN orders USING (id)",
    "SELECT * FROM customers LEFT JOIN orders USING (id) JOIN flags USING (id)",
    "SELECT * FROM customers FULL JOIN (orders JOIN flags USING (id)) USING (id)",
    "SELECT * FROM (customers JOIN orders USING (id)) j",
    "SELECT j.* FROM (customers JOIN orders USING (id)) AS j (a, b, c)",
    "SELECT j.* FROM flags a JOIN flags b USING (id) AS j",
    "SELECT * FROM customers c (a, b), flags",
    "SELECT * FROM hr.payroll",
    "SELECT * FROM oslo NATURAL JOIN customers",
    "SELECT * FROM nested",
    "SELECT shout FROM nested n",
    "SELECT * FROM nested n (a)",
    "SELECT * FROM totals",
    "SELECT * FROM events",
    "SELECT * FROM ONLY events_rest",
    "SELECT * FROM customers TABLESAMPLE system (1) REPEATABLE (2)",
    "SELECT count(*), max(ssn), sum(length(name)) OVER () FROM customers GROUP BY ssn, name",
    "SELECT 1::int, '1'::varchar(3), 'x'::text, 1::int8, date '2020-01-01', interval '1 day', true, NULL, 1.5",
    "SELECT 'x'::char(3), 'x'::\"char\", '1'::interval(2), 1::numeric(10, 2), CAST(1 AS bit(3)), interval '1' year",
    "SELECT 'a' || 'b', -1, 1 + 1, NOT true, 'a' LIKE 'b', 1 BETWEEN 1 AND 2, now() AT TIME ZONE 'utc'",
    "SELECT CASE WHEN true THEN 1 END, CASE WHEN true THEN 1 ELSE length(id) END, coalesce(id, ssn) FROM customers",
    "SELECT ARRAY[1], ARRAY(SELECT 1), (ARRAY[1, 2])[1], ROW(1, 2), 1 IN (SELECT 1)",
    "SELECT (SELECT id FROM flags), (SELECT id AS x FROM flags), EXISTS (SELECT 1), (SELECT count(*) FROM flags)",
    "SELECT (SELECT f.id || 'x' FROM flags f), (SELECT c FROM customers c), (SELECT array_agg(f) FROM flags f)",
    "SELECT extract(year FROM now()), overlay('abc' PLACING 'x' FROM 1), position('a' IN 'b'), trim(both 'x' FROM 'y')",
    "SELECT substring('abc' FROM 1 FOR 2), substring('abc' SIMILAR 'x' ESCAPE 'y'), normalize('x'), 'x' IS NORMALIZED",
    "SELECT current_user, session_user, current_date, current_time, current_timestamp, localtime, localtimestamp",
    "SELECT current_catalog, current_schema, current_role, user, current_time(2), localtimestamp(0)",
    "SELECT nullif(1, 2), greatest(1, 2), least(1, 2), COLLATION FOR ('x'), GROUPING(id) FROM flags GROUP BY id",
    "SELECT xmlelement(name a, 'x'), xmlforest(id AS b), xmlconcat(NULL), xmlpi(name a) FROM flags",
    "SELECT id ISNULL, id NOTNULL, id IS DISTINCT FROM 'x', id::text COLLATE \"C\", id COLLATE \"C\" FROM flags",
    "SELECT 'x' AS \"Weird Name\", U&\"\\0069d\" FROM flags",
    "SELECT id \"end\", active END FROM flags",
    "SELECT pg_catalog.lower('x'), \"lower\"('X'), a[1], a[1:2], (a)[1] FROM (SELECT ARRAY[1, 2] a) s",
    "VALUES (1, 2), (3, 4)",
    "VALUES (1) UNION SELECT 2",
    "SELECT id FROM flags UNION ALL SELECT note FROM orders ORDER BY id",
    "(SELECT id AS a FROM flags) INTERSECT (SELECT id FROM orders)",
    "WITH a AS (SELECT id FROM flags) SELECT * FROM a",
    "WITH a (x, y) AS (SELECT id, active FROM flags) SELECT *, a.x, a FROM a",
    "WITH customers AS (SELECT 1 AS one) SELECT * FROM customers",
    "WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 5) SELECT * FROM r",
    "WITH RECURSIVE r AS (SELECT id, active FROM flags UNION ALL SELECT id, active FROM r)
     SEARCH DEPTH FIRST BY id SET o CYCLE id SET c USING p SELECT * FROM r",
    "WITH RECURSIVE r AS (SELECT id FROM flags UNION ALL SELECT id FROM r)
     CYCLE id SET c TO 'y' DEFAULT 'n' USING p SELECT * FROM r",
    "WITH RECURSIVE a AS (SELECT id FROM flags UNION SELECT ssn FROM customers ORDER BY 1 LIMIT 3) SELECT * FROM a",
    "WITH d AS (DELETE FROM flags RETURNING *) SELECT * FROM d",
    "WITH d AS (UPDATE flags SET active = 'x' RETURNING id AS i, active) SELECT d.*, 1 FROM d",
    "INSERT INTO flags VALUES ('1') RETURNING *, id || 'x' AS y",
    "INSERT INTO flags AS f VALUES ('1') ON CONFLICT (id) DO UPDATE SET active = excluded.active || f.active RETURNING f.active",
    "INSERT INTO flags SELECT id, ssn FROM customers",
    "UPDATE flags f SET active = '1' FROM orders o WHERE o.id = f.id RETURNING f.*, o.note",
    "UPDATE flags SET (id, active) = (SELECT id, ssn FROM customers LIMIT 1) RETURNING *",
    "DELETE FROM flags f USING orders o WHERE o.id = f.id RETURNING *",
    "MERGE INTO flags f USING orders o ON f.id = o.id WHEN MATCHED THEN DELETE",
    "SELECT * FROM generate_series(1, 2)",
    "SELECT * FROM generate_series(1, 2) g",
    "SELECT * FROM generate_series(1, 2) g (x)",
    "SELECT * FROM generate_series(1, 2) WITH ORDINALITY",
    "SELECT * FROM generate_series(1, 2) WITH ORDINALITY AS t (a, b)",
    "SELECT * FROM unnest(ARRAY[1])",
    "SELECT * FROM unnest(ARRAY[1], ARRAY['a']) u",
    "SELECT * FROM unnest(ARRAY[1], ARRAY['a']) u (a, b)",
    "SELECT * FROM ROWS FROM (generate_series(1, 2), unnest(ARRAY['a'])) r",
    "SELECT * FROM ROWS FROM (generate_series(1, 2), json_to_record('{}') AS (a int, b text)) WITH ORDINALITY",
    "SELECT * FROM json_to_recordset('[]') AS x (a int, b text)",
    "SELECT * FROM json_each('{}'), jsonb_each_text('{}') e",
    "SELECT * FROM json_array_elements('[]'), jsonb_array_elements_text('[]') x",
    "SELECT * FROM jsonb_object_keys('{}') k, jsonb_path_query('{}', '$'), regexp_matches('a', 'b')",
    "SELECT * FROM string_to_table('a', 'b'), current_setting('x'), now(), version(), current_user, current_date d",
    "SELECT * FROM pg_options_to_table(ARRAY['a=b']), pg_partition_tree('events'), pg_partition_ancestors('events')",
    "SELECT * FROM pg_timezone_names(), aclexplode(ARRAY[]::aclitem[]), generate_subscripts(ARRAY[1], 1)",
    "SELECT c FROM customers c",
    "SELECT (c).* FROM customers c",
    "SELECT (c).ssn, c.*::text, row_to_json(c), ssn(c), count(c) FROM customers c GROUP BY c.id, c",
    "SELECT customers FROM customers",
    "SELECT public.customers.*, customers.name FROM customers",
    "SELECT f.* FROM flags f, LATERAL (SELECT f.id AS z) l",
    "SELECT l.* FROM flags f LEFT JOIN LATERAL (SELECT f.id, o.note FROM orders o) l ON true",
    "SELECT * FROM flags CROSS JOIN LATERAL (VALUES (flags.id), ('x')) v (q)",
    "SELECT * FROM (SELECT 1 AS a, 2) s, (TABLE flags) t",
    "SELECT DISTINCT ON (id) id, active FROM flags ORDER BY id, active DESC",
    "SELECT rank() OVER w, lag(id) OVER w FROM flags WINDOW w AS (PARTITION BY active ORDER BY id)",
    "SELECT count(*) FILTER (WHERE id = '1'), string_agg(id, ',' ORDER BY id) FROM flags",
    "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY length(id)) FROM flags GROUP BY ROLLUP (id), CUBE (active)",
    "SELECT ctid, xmin, tableoid, flags.cmax FROM flags",
    "SELECT x.id, y FROM (SELECT * FROM customers) x, (SELECT f FROM flags f) y",
    "SELECT (y.f).id FROM (SELECT f FROM flags f) y",
    "EXPLAIN SELECT 1",
    "SELECT * FROM customers ORDER BY id FETCH FIRST 3 ROWS WITH TIES",
    "SELECT relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace",
    "SELECT (home).*, (p.home).*, (p).* FROM people p",
    "SELECT (x.b).*, a FROM people AS x (a, b)",
    "SELECT h.*, (h.home).* FROM housed h JOIN people p USING (id)",
    "SELECT home, (split(id)).*, (ROW(1, id)).*, (lodgers()).* FROM people",
    "SELECT * FROM jsonb_populate_record(NULL::place, '{}') p, json_populate_recordset(NULL::public.place, '[]')",
    "SELECT regtype('int4'), tsquery('a'), pg_catalog.regclass('flags'), tsquery(id) FROM flags",
    "SELECT id <=> active, id OPERATOR(public.<=>) 'x' FROM flags ORDER BY id <=> 'y'",
];

/// Names that mean something else than a first look suggests.
const TWISTED: [&str; 25] = [
    "SELECT 1 FROM customers WHERE EXISTS (SELECT 1 FROM orders o JOIN flags f ON o.note = ssn)",
    "SELECT (SELECT ssn FROM flags) FROM customers",
    "SELECT (SELECT id FROM flags LIMIT 1) FROM customers",
    "SELECT (SELECT s.ssn FROM (SELECT ssn) s) FROM customers",
    "SELECT (SELECT x.y FROM (VALUES (ssn)) x (y)) FROM customers",
    "SELECT 1 FROM customers c, LATERAL (SELECT c.ssn UNION SELECT 'x') s",
    "SELECT 1 FROM customers c, generate_series(1, length(c.ssn))",
    "SELECT 1 FROM customers ssn WHERE ssn.ssn = 'x'",
    "SELECT ssn FROM customers ssn",
    "SELECT name FROM flags name",
    "WITH flags AS (SELECT ssn AS id FROM customers) SELECT * FROM flags JOIN public.flags f USING (id)",
    "WITH a AS (WITH b AS (SELECT ssn FROM customers) SELECT * FROM b) SELECT (SELECT ssn) FROM a",
    "SELECT (WITH w AS (SELECT c.ssn) SELECT ssn FROM w) FROM customers c",
    "SELECT max(id) FROM customers GROUP BY name HAVING max(ssn) > 'a' ORDER BY min(city)",
    "SELECT id AS ssn FROM customers ORDER BY ssn || 'x'",
    "SELECT id AS ssn FROM customers GROUP BY ssn, id",
    "SELECT count(*) FROM customers GROUP BY CASE WHEN ssn = 'x' THEN 1 END",
    "SELECT 1 FROM customers c NATURAL LEFT JOIN flags JOIN LATERAL (SELECT c.ssn) z (q) ON q = email",
    "SELECT j.a FROM (customers c CROSS JOIN flags f) AS j (a, b, c, d)",
    "SELECT d FROM (customers c CROSS JOIN flags f) AS j (a, b, c, d)",
    "SELECT a FROM customers AS x (b, a, ssn, name)",
    "SELECT row_to_json(r) FROM (SELECT c FROM customers c) r",
    "SELECT 1 FROM oslo, nested WHERE oslo.number = nested.shout",
    "SELECT sum(length(ssn)) OVER (w ROWS 1 PRECEDING) FROM customers WINDOW w AS (ORDER BY email)",
    "SELECT 1 FROM customers WHERE (id, ssn) IN (SELECT id, note FROM orders) AND city LIKE ANY (ARRAY[email])",
];

const DEPENDENCIES: &str = "
    SELECT n.nspname || '.' || c.relname, a.attname::text
      FROM pg_depend d
      JOIN pg_rewrite r ON r.oid = d.objid AND d.classid = 'pg_rewrite'::regclass
      JOIN pg_class c ON c.oid = d.refobjid AND d.refclassid = 'pg_class'::regclass AND c.relkind <> 'c'
      JOIN pg_namespace n ON n.oid = c.relnamespace
      JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = d.refobjsubid
     WHERE r.ev_class = 'public.probe'::regclass AND d.refobjid <> r.ev_class AND d.refobjsubid > 0";

const WORDS: [&str; 60] = [
    "SELECT",
    "FROM",
    "WHERE",
    "INSERT",
    "INTO",
    "VALUES",
    "UPDATE",
    "SET",
    "DELETE",
    "MERGE",
    "USING",
    "ON",
    "WITH",
    "RECURSIVE",
    "AS",
    "(",
    ")",
    "(",
    ")",
    ",",
    ",",
    "*",
    "*",
    "=",
    "+",
    "t",
    "a",
    "b",
    "t.a",
    "a.*",
    "1",
    "'x'",
    "$1",
    "NULL",
    "AND",
    "OR",
    "NOT",
    "JOIN",
    "LATERAL",
    "UNION",
    "ALL",
    "RETURNING",
    "GROUP BY",
    "ORDER BY",
    "LIMIT",
    "CASE",
    "WHEN",
    "THEN",
    "END",
    "f(",
    "EXPLAIN",
    "COPY",
    "TO",
    "STDOUT",
    "CREATE TABLE",
    "DROP TABLE",
    ";",
    "BEGIN",
    "x",
    "TABLE",
];
