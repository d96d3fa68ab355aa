//! Aggregates that policy releases, on a real server: of groups that are large enough they are the true ones, and
//! nothing else of the column comes out.

use std::sync::Arc;

use portcullis::catalog::{RelationKey, Snapshot};
use portcullis::mask::{Aggregate, GroupRelease, Mask, Masks, Strategy};
use tokio_postgres::Client;

use super::strategies::rewritten;
use super::{outcome, schema};
use crate::support::Database;

const SCHEMA: &str = r#"
CREATE SCHEMA app; SET search_path = app;
CREATE TYPE pair AS (a int, b int);
CREATE TABLE staff (id int PRIMARY KEY, dept text, age int, hired date, salary int, bonus numeric(10,2), tax numeric,
  rate float8, part real, ssn text, home pair, secret int);
INSERT INTO staff SELECT i, CASE WHEN i <= 5 THEN 'big' WHEN i <= 7 THEN 'small' ELSE 'one' END, 30 + i % 3,
  date '2020-01-15' + 20 * i, 770000 + i * i, 8800.25 + i, 9900.5 + i, 6600.125 + i, 5500.5 + i, 'CANARY' || i,
  ROW(NULL, NULL)::pair, 440000 + i FROM generate_series(1, 8) i;
INSERT INTO staff (id, dept) VALUES (9, 'big'), (10, 'small');
CREATE TABLE deep (id int PRIMARY KEY, wage int);
INSERT INTO deep SELECT i, 330000 + i FROM generate_series(1, 4) i;
CREATE TABLE odd (id int PRIMARY KEY, dept text, rate float8, part real, tax numeric, salary int);
INSERT INTO odd SELECT i, 'all', 1e300, 3e38, ('9e' || 100000 + i)::numeric, 770000 + i FROM generate_series(1, 4) i;
CREATE TABLE people (id int, dept text, salary int);
CREATE TABLE managers (car text) INHERITS (people);
INSERT INTO people SELECT i, 'p', 770000 + i FROM generate_series(1, 2) i;
INSERT INTO managers SELECT i, 'p', 770100 + i, 'c' FROM generate_series(3, 5) i;
CREATE TABLE pay (id int, dept text, salary int) PARTITION BY RANGE (id);
CREATE TABLE pay_1 PARTITION OF pay FOR VALUES FROM (0) TO (3);
CREATE TABLE pay_2 PARTITION OF pay FOR VALUES FROM (3) TO (9);
INSERT INTO pay SELECT i, 'q', 770200 + i FROM generate_series(1, 5) i;
CREATE TABLE branches (id int, dept text, salary int);
CREATE TABLE shops (sign text) INHERITS (branches);
INSERT INTO branches SELECT i, 'b', 770300 + i FROM generate_series(1, 5) i;
CREATE VIEW by_dept AS SELECT dept, avg(salary) AS mean, count(*) AS n FROM staff GROUP BY dept;
CREATE VIEW plain AS SELECT id, dept, salary FROM staff;
CREATE VIEW many AS SELECT s.id, s.dept, s.salary FROM staff s, generate_series(1, 100) g;
CREATE MATERIALIZED VIEW stored AS SELECT s.id, s.salary FROM staff s, generate_series(1, 100) g;
CREATE FUNCTION reveal(staff) RETURNS int LANGUAGE sql AS 'SELECT $1.salary';
CREATE FUNCTION five(int) RETURNS SETOF int LANGUAGE sql IMMUTABLE AS 'SELECT $1 FROM generate_series(1, 5)';
CREATE FUNCTION twice(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2';
CREATE OPERATOR @# (RIGHTARG = int, FUNCTION = five);
"#;

const MASKED: &str = r#"
SET search_path = app;
UPDATE staff SET salary = 0, bonus = 0, tax = 0, rate = 0, part = 0, ssn = '***', home = NULL, secret = NULL;
UPDATE odd SET rate = 0, part = 0, tax = 0, salary = 0;
UPDATE people SET salary = 0; UPDATE pay SET salary = 0; UPDATE branches SET salary = 0;
REFRESH MATERIALIZED VIEW stored;
"#;

/// Statements, and what the database itself says to a statement that gives no more than may be known.
const RELEASED: &[(&str, &str)] = &[
    (
        "SELECT dept, avg(salary), sum(salary), count(salary) FROM staff GROUP BY dept ORDER BY dept",
        "SELECT dept, CASE WHEN dept = 'big' THEN avg(salary) END AS avg, CASE WHEN dept = 'big' THEN sum(salary) END AS sum, \
         CASE WHEN dept = 'big' THEN count(salary) END AS count FROM staff GROUP BY dept ORDER BY dept",
    ),
    ("SELECT avg(salary) FROM staff", "SELECT avg(salary) FROM staff"),
    ("SELECT avg(s.salary)::int FROM staff AS s", "SELECT avg(salary)::int FROM staff"),
    ("SELECT avg(staff.salary) AS mean FROM app.staff", "SELECT avg(salary) AS mean FROM staff"),
    ("SELECT avg(app.staff.salary) FROM app.staff", "SELECT avg(salary) FROM staff"),
    ("SELECT pg_catalog.avg(salary) FROM ONLY staff", "SELECT avg(salary) FROM staff"),
    (
        "SELECT CASE WHEN true THEN 1.5 ELSE avg(salary) END, COALESCE(sum(salary), 0) FROM staff",
        "SELECT CASE WHEN true THEN 1.5 ELSE avg(salary) END, COALESCE(sum(salary), 0) FROM staff",
    ),
    (
        "SELECT stddev(salary), stddev_pop(salary), stddev_samp(salary), variance(salary), var_pop(salary), var_samp(salary) FROM staff",
        "SELECT stddev(salary), stddev_pop(salary), stddev_samp(salary), variance(salary), var_pop(salary), var_samp(salary) FROM staff",
    ),
    (
        "SELECT avg(bonus), sum(bonus), stddev(bonus), avg(tax), sum(tax), avg(rate), sum(rate), avg(part), sum(part) FROM staff",
        "SELECT avg(bonus), sum(bonus), stddev(bonus), avg(tax), sum(tax), avg(rate), sum(rate), avg(part), sum(part) FROM staff",
    ),
    ("SELECT count(ssn), count(home) FROM staff", "SELECT count(ssn), count(home) FROM staff"),
    // A mask that denies reading and releases nothing but this.
    ("SELECT avg(wage) FROM deep", "SELECT avg(wage) FROM deep"),
    // Groups of one, by whatever way there.
    (
        "SELECT id, avg(salary) FROM staff GROUP BY id ORDER BY id",
        "SELECT id, NULL AS avg FROM staff ORDER BY id",
    ),
    ("SELECT avg(salary) FROM staff WHERE id = 1", "SELECT NULL AS avg"),
    ("SELECT sum(salary) FROM staff WHERE id IN (1, 2)", "SELECT NULL AS sum"),
    ("SELECT count(salary) FROM staff WHERE false", "SELECT NULL AS count"),
    // Rows without a value make no group larger.
    ("SELECT avg(salary) FROM staff WHERE dept = 'small'", "SELECT NULL AS avg"),
    (
        "SELECT id, (SELECT avg(s.salary) FROM staff s WHERE s.id = o.id) FROM staff o ORDER BY id",
        "SELECT id, NULL AS avg FROM staff ORDER BY id",
    ),
    (
        "SELECT g, (SELECT sum(salary) FROM staff WHERE id = g) FROM generate_series(1, 9) g",
        "SELECT g, NULL AS sum FROM generate_series(1, 9) g",
    ),
    ("SELECT avg(salary) FROM staff WHERE id IN (SELECT 1 FROM generate_series(1, 9))", "SELECT NULL AS avg"),
    ("SELECT avg(salary) FROM staff GROUP BY ctid", "SELECT NULL AS avg FROM staff"),
    ("SELECT dept FROM staff GROUP BY dept HAVING count(salary) < 3", "SELECT dept FROM staff WHERE false"),
    (
        "SELECT generate_series(1, 2) AS g, avg(salary) FROM staff WHERE id = 1",
        "SELECT g, NULL AS avg FROM generate_series(1, 2) g",
    ),
    // What else the statement asks for sees the mask, which is 0.
    (
        "SELECT avg(salary), max(salary), min(salary) FROM staff",
        "SELECT avg(salary), 0 AS max, 0 AS min FROM staff",
    ),
    ("SELECT avg(salary), sum(salary + 0) FROM staff", "SELECT avg(salary), 0 AS sum FROM staff"),
    ("SELECT avg(salary), sum(secret) FROM staff", "SELECT avg(salary), NULL AS sum FROM staff"),
    ("SELECT avg(salary) FROM staff WHERE salary = 0", "SELECT avg(salary) FROM staff"),
    ("SELECT avg(salary) FROM staff WHERE salary > 770000", "SELECT NULL AS avg"),
    ("SELECT salary, avg(salary) FROM staff GROUP BY salary", "SELECT 0 AS salary, avg(salary) FROM staff"),
    (
        "SELECT avg(salary), (SELECT max(s.salary) FROM staff s) FROM staff",
        "SELECT avg(salary), 0 AS max FROM staff",
    ),
    ("SELECT count(salary), count(*) FROM staff", "SELECT count(salary), count(*) FROM staff"),
    // Where it stands in a larger statement.
    (
        "SELECT * FROM (SELECT dept, avg(salary) FROM staff GROUP BY 1) s WHERE avg > 770000",
        "SELECT dept, avg(salary) FROM staff WHERE dept = 'big' GROUP BY 1",
    ),
    (
        "WITH x AS (SELECT dept, sum(salary) AS total FROM staff GROUP BY dept) SELECT total FROM x ORDER BY total",
        "SELECT sum(salary) AS total FROM staff WHERE dept = 'big' UNION ALL SELECT NULL UNION ALL SELECT NULL",
    ),
    (
        "WITH x AS (SELECT * FROM odd) SELECT avg(salary) FROM staff WHERE id IN (SELECT x.id FROM x)",
        "SELECT avg(salary) FROM staff WHERE id <= 4",
    ),
    (
        "SELECT 1 AS n, avg(salary) FROM staff UNION ALL SELECT 2, avg(salary) FROM staff WHERE id = 1 ORDER BY n",
        "SELECT 1 AS n, avg(salary) FROM staff UNION ALL SELECT 2, NULL",
    ),
    (
        "SELECT dept FROM staff GROUP BY dept HAVING avg(salary) > 770000 ORDER BY avg(salary)",
        "SELECT 'big' AS dept",
    ),
    (
        "SELECT dept, avg(salary) FROM staff GROUP BY dept ORDER BY avg(salary) DESC NULLS LAST, dept",
        "SELECT dept, CASE WHEN dept = 'big' THEN avg(salary) END AS avg FROM staff GROUP BY dept ORDER BY dept",
    ),
    (
        "SELECT date_trunc('year', hired)::date AS y, sum(salary) FROM staff WHERE hired IS NOT NULL GROUP BY y",
        "SELECT date_trunc('year', hired)::date AS y, sum(salary) FROM staff WHERE hired IS NOT NULL GROUP BY y",
    ),
    (
        "SELECT dept, rank() OVER (ORDER BY avg(salary)) FROM staff WHERE dept = 'big' GROUP BY dept",
        "SELECT 'big' AS dept, 1 AS rank",
    ),
    ("COPY (SELECT avg(salary) FROM staff) TO STDOUT", "COPY (SELECT avg(salary) FROM staff) TO STDOUT"),
    (
        "SELECT dept, mean FROM by_dept WHERE dept = 'big'",
        "SELECT dept, avg(salary) AS mean FROM staff WHERE dept = 'big' GROUP BY dept",
    ),
    ("SELECT count(mean) FROM by_dept", "SELECT 1::bigint AS count"),
    ("SELECT avg(salary) FROM people", "SELECT avg(salary) FROM people"),
    ("SELECT avg(salary) FROM ONLY people", "SELECT NULL AS avg"),
    ("SELECT avg(salary) FROM managers", "SELECT avg(salary) FROM managers"),
    ("SELECT avg(salary) FROM pay", "SELECT avg(salary) FROM pay"),
    ("SELECT avg(salary) FROM pay_1", "SELECT NULL AS avg"),
    // Nothing overflows, and so no error tells what a small group holds.
    (
        "SELECT stddev(rate), sum(part), var_pop(tax), sum(tax), count(rate) FROM odd",
        "SELECT NULL AS stddev, NULL AS sum, NULL AS var_pop, NULL AS sum, NULL AS count",
    ),
];

/// Statements that see nothing but masks.
const MASKED_STILL: &[&str] = &[
    // A row that weighs more than once.
    "SELECT avg(s.salary) FROM staff s, generate_series(1, 5) WHERE s.id = 1",
    "SELECT avg(s.salary) FROM staff s CROSS JOIN (VALUES (1), (2), (3), (4), (5)) v(n) WHERE s.id = 1",
    "SELECT avg(s.salary) FROM staff s JOIN staff t ON true WHERE s.id = 1",
    "SELECT avg(s.salary) FROM staff s JOIN LATERAL generate_series(1, s.id + 9) g ON true WHERE s.id = 1",
    "SELECT avg(s.salary) FROM generate_series(1, 5) g LEFT JOIN staff s ON s.id = 1",
    "SELECT avg(a.salary) FROM staff a NATURAL JOIN (SELECT id FROM staff) b",
    "SELECT id, avg(salary) FROM staff GROUP BY id, generate_series(1, 5) * 0 ORDER BY 1",
    "SELECT id, generate_series(1, 5) * 0 AS g, avg(salary) FROM staff GROUP BY id, g ORDER BY 1",
    "SELECT id, generate_series(1, 5) * 0, avg(salary) FROM staff GROUP BY 1, 2 ORDER BY 1",
    "SELECT id, unnest(ARRAY[1, 1, 1, 1]), avg(salary) FROM staff GROUP BY 1, 2 ORDER BY 1",
    "SELECT id, five(id), avg(salary) FROM staff GROUP BY 1, 2 ORDER BY 1",
    "SELECT @# id, avg(salary) FROM staff GROUP BY 1 ORDER BY 1",
    "SELECT id, avg(salary) FROM staff GROUP BY id, five(age) ORDER BY 1",
    "SELECT id, avg(salary) FROM staff GROUP BY id, (SELECT 1) ORDER BY 1",
    "SELECT id, regexp_split_to_table('a,a,a,a', ',') AS r, avg(salary) FROM staff GROUP BY id, r ORDER BY 1",
    "SELECT avg(salary) FROM many WHERE id = 1",
    "SELECT avg(salary) FROM stored WHERE id = 1",
    "SELECT avg(salary) FROM plain",
    "SELECT avg(salary) FROM (SELECT salary FROM staff UNION ALL SELECT salary FROM staff) s",
    "SELECT avg(salary) FROM (SELECT salary FROM staff ORDER BY id LIMIT 4) s",
    "SELECT avg(salary) FROM (SELECT * FROM staff) s",
    "WITH s AS (SELECT * FROM staff) SELECT avg(salary) FROM s",
    "WITH staff AS (SELECT * FROM app.staff, generate_series(1, 9)) SELECT avg(salary) FROM staff WHERE id = 1",
    "WITH RECURSIVE r AS (SELECT id, salary, 1 AS n FROM staff WHERE id = 1 UNION ALL SELECT id, salary, n + 1 FROM r WHERE n < 9) SELECT avg(salary) FROM r",
    "SELECT avg(salary) FROM staff TABLESAMPLE BERNOULLI (100)",
    "SELECT avg(salary) FROM staff TABLESAMPLE SYSTEM (100) REPEATABLE (1)",
    // Arguments that choose a row of the group.
    "SELECT avg(salary) FILTER (WHERE id = 1) FROM staff",
    "SELECT avg(CASE WHEN id = 1 THEN salary END) FROM staff",
    "SELECT sum(salary + 0), sum(salary * (id = 1)::int), sum(-salary), sum(salary::bigint) FROM staff",
    "SELECT sum(DISTINCT salary), count(DISTINCT salary) FROM staff",
    "SELECT avg(salary ORDER BY id) FROM staff",
    "SELECT avg(salary) OVER (PARTITION BY id) FROM staff ORDER BY id",
    "SELECT sum(salary) OVER (ORDER BY id ROWS 1 PRECEDING) FROM staff ORDER BY id",
    "SELECT sum(salary) OVER w FROM staff WINDOW w AS (ORDER BY id) ORDER BY id",
    "SELECT avg((SELECT salary)) FROM staff",
    "SELECT avg((staff).salary) FROM staff",
    "SELECT avg(salary(staff)) FROM staff",
    "SELECT avg(COALESCE(salary, 1)) FROM staff",
    // Other aggregates.
    "SELECT min(salary), max(salary), array_agg(salary), string_agg(salary::text, ',') FROM staff",
    "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY salary), mode() WITHIN GROUP (ORDER BY salary) FROM staff",
    "SELECT json_agg(salary), bit_and(salary), regr_sxx(salary, id), covar_pop(salary, id) FROM staff",
    "SELECT any_value FROM (SELECT (array_agg(salary))[1] AS any_value FROM staff) s",
    "SELECT max(ssn), avg(secret), sum(id) FROM staff",
    "SELECT min(ssn) FROM staff",
    // Grouping that counts rows again.
    "SELECT dept, avg(salary) FROM staff GROUP BY ROLLUP (dept) ORDER BY 1",
    "SELECT dept, id, avg(salary) FROM staff GROUP BY CUBE (dept, id) ORDER BY 1, 2",
    "SELECT dept, avg(salary) FROM staff GROUP BY GROUPING SETS ((dept), (dept), ()) ORDER BY 1",
    // Whole rows beside it would hold the truth.
    "SELECT avg(salary), (SELECT count(x) FROM (SELECT staff.*) x) FROM staff GROUP BY staff.*",
    "SELECT avg(salary), array_agg(staff) FROM staff",
    "SELECT avg(salary), json_agg(row_to_json(staff)) FROM staff",
    "SELECT avg(salary), json_agg(s.*) FROM staff s",
    "SELECT avg(salary), json_agg((SELECT to_json(s))) FROM staff s",
    "SELECT avg(salary), max(s::text) FROM staff s",
    "SELECT avg(salary), count(DISTINCT s) FROM staff s",
    "SELECT avg(e) FROM staff AS s(a, b, c, d, e)",
    "SELECT avg(salary), bool_and(s IS NULL) FROM staff s",
    // The aggregate belongs to a query around it.
    "SELECT (SELECT avg(s.salary) FROM generate_series(1, 3)) FROM staff s",
    "SELECT (SELECT avg(s.salary)) FROM staff s WHERE s.id = 1",
    "SELECT id FROM staff o WHERE (SELECT avg(o.salary) FROM staff s) > 770000",
    "SELECT salary FROM staff ORDER BY salary",
    "SELECT count(*) FROM staff WHERE salary > 770010",
    "TABLE staff",
    "COPY (SELECT avg(s.salary) FROM staff s, generate_series(1, 9) WHERE s.id = 1) TO STDOUT",
    // One mask releases, and the other, of a child, doesn't.
    "SELECT avg(salary) FROM branches",
];

/// Statements that are not sent.
const REFUSED: &[&str] = &[
    r#"SELECT avg(salary), max("portcullis true 5") FROM staff"#,
    r#"SELECT avg(salary) FROM staff WHERE "portcullis true 5" = 770001"#,
    r#"SELECT avg(salary) FROM staff GROUP BY "portcullis true 5""#,
    r#"SELECT avg(salary), (SELECT staff."portcullis true 5") FROM staff"#,
    r#"SELECT avg(salary), (SELECT max(x) FROM (SELECT "portcullis true 5" AS x) y) FROM staff"#,
    r#"SELECT avg(salary) FROM staff ORDER BY U&"portcullis\0020true 5""#,
    r#"SELECT avg(salary), "portcullis true 5"(staff.id) FROM staff"#,
    r#"SELECT avg(salary) AS "portcullis true 5" FROM staff"#,
    r#"SELECT avg("portcullis true 5".salary) FROM staff AS "portcullis true 5""#,
    "EXPLAIN SELECT avg(salary) FROM staff",
    "EXPLAIN (ANALYZE) SELECT dept FROM staff GROUP BY dept HAVING avg(salary) > 1",
    "EXPLAIN SELECT mean FROM by_dept",
    "INSERT INTO odd (id, salary) SELECT 99, avg(salary) FROM staff",
    "CREATE TABLE kept AS SELECT avg(salary) FROM staff",
    "SELECT avg(salary) INTO kept FROM staff",
    "SELECT max(wage), avg(wage) FROM deep",
    "SELECT avg(wage) FROM deep WHERE wage > 0",
    "SELECT reveal(staff), avg(salary) FROM staff GROUP BY staff.*",
];

#[tokio::test]
async fn released_aggregates_are_true_for_groups_that_are_large_enough() {
    let world = World::start().await;
    let mut wrong = Vec::new();
    for (statement, truth) in RELEASED {
        match rewritten(&world.catalog, &world.masks, statement) {
            Err(refusal) => wrong.push(format!("{statement}\n  refused: {refusal}")),
            Ok(sent) => {
                let actual = outcome(&world.real, &sent.sql).await;
                let reference = outcome(&world.real, truth).await;
                if actual != reference || actual.is_err() || sent.plan.released.is_empty() {
                    wrong.push(format!(
                        "{statement}\n  sent {}\n  gave {actual:?}\n  want {reference:?}",
                        sent.sql
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn whatever_else_asks_for_a_released_column_sees_the_mask() {
    let world = World::start().await;
    let mut wrong = Vec::new();
    for statement in MASKED_STILL {
        match rewritten(&world.catalog, &world.masks, statement) {
            Err(refusal) => wrong.push(format!("{statement}\n  refused: {refusal}")),
            Ok(sent) => {
                let actual = outcome(&world.real, &sent.sql).await;
                let reference = outcome(&world.copy, statement).await;
                if actual != reference || sent.sql.contains("portcullis true") {
                    wrong.push(format!(
                        "{statement}\n  sent {}\n  gave {actual:?}\n  want {reference:?}",
                        sent.sql
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn nobody_names_the_truth_and_no_plan_or_write_tells_of_it() {
    let world = World::start().await;
    for statement in REFUSED {
        let sent = rewritten(&world.catalog, &world.masks, statement);
        assert!(sent.is_err(), "{statement}: {sent:?}");
    }
}

#[tokio::test]
async fn released_aggregates_keep_their_types_and_parameters() {
    let world = World::start().await;
    for statement in [
        "SELECT count(salary), sum(salary), avg(salary), stddev(salary) FROM staff WHERE dept = $1",
        "SELECT sum(bonus), avg(bonus), sum(rate), var_pop(rate), sum(part), avg(part), sum(tax) FROM staff WHERE age > $1",
        "SELECT dept, avg(salary) FROM staff GROUP BY dept HAVING avg(salary) > $1",
    ] {
        let sent = rewritten(&world.catalog, &world.masks, statement).unwrap();
        let actual = world.real.prepare(&sent.sql).await.unwrap();
        let reference = world.copy.prepare(statement).await.unwrap();
        let columns = |prepared: &tokio_postgres::Statement| -> Vec<String> {
            prepared.columns().iter().map(|column| format!("{} {}", column.name(), column.type_())).collect()
        };
        assert_eq!(columns(&actual), columns(&reference), "{statement}");
        assert_eq!(actual.params(), reference.params(), "{statement}");
        let from = |column: &tokio_postgres::Column| {
            (column.table_oid().unwrap_or_default(), column.column_id().unwrap_or_default())
        };
        assert!(actual.columns().iter().all(|column| !sent.plan.forbidden.contains(&from(column))));
    }
}

#[tokio::test]
async fn a_cursor_over_released_aggregates_gives_no_more() {
    let world = World::start().await;
    let cursor = "DECLARE c CURSOR FOR SELECT dept, avg(salary) FROM staff GROUP BY dept ORDER BY dept";
    let sent = rewritten(&world.catalog, &world.masks, cursor).unwrap().sql;
    let rows = outcome(&world.real, &format!("{sent}; FETCH ALL FROM c")).await.unwrap().join("\n");
    assert!(rows.contains("dept=Some(\"big\") avg=Some(\"770011."), "{rows}");
    assert!(
        rows.contains("dept=Some(\"one\") avg=None") && rows.contains("dept=Some(\"small\") avg=None"),
        "{rows}"
    );
}

/// A released aggregate reads its column; without the right to do so it is refused, and the mask alone never is.
#[tokio::test]
async fn only_released_aggregates_need_the_right_to_read_the_column() {
    let world = World::start().await;
    world
        .real
        .batch_execute(
            "DO $$ BEGIN CREATE ROLE groups_reader; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;
             GRANT USAGE ON SCHEMA app TO groups_reader; GRANT SELECT (id, dept) ON app.staff TO groups_reader;
             SET ROLE groups_reader",
        )
        .await
        .unwrap();
    let run = async |statement: &str| {
        outcome(&world.real, &rewritten(&world.catalog, &world.masks, statement).unwrap().sql).await
    };
    assert!(run("SELECT max(salary) FROM staff").await.is_ok());
    assert!(run("SELECT avg(salary) FROM staff").await.unwrap_err().starts_with("42501"));
}

/// A database with pay in it, a copy of it with masks in its place, and masks that release aggregates.
struct World {
    real: Client,
    copy: Client,
    catalog: Arc<Snapshot>,
    masks: Masks,
    _databases: [Database; 2],
}

impl World {
    async fn start() -> Self {
        let databases = [Database::with(SCHEMA).await, Database::with(SCHEMA).await];
        databases[1].execute(MASKED).await;
        let [real, copy] = [databases[0].connect().await, databases[1].connect().await];
        for client in [&real, &copy] {
            client.batch_execute("SET search_path = app, pg_temp; SET extra_float_digits = 1").await.unwrap();
        }
        let catalog = schema::load(&databases[0]).await;
        Self { real, copy, catalog, masks: masks(), _databases: databases }
    }
}

fn masks() -> Masks {
    use Aggregate::{Avg, Count, Stddev, StddevPop, StddevSamp, Sum, VarPop, VarSamp, Variance};
    let redact = || Strategy::Redact { value: "***".into() };
    let all = [Avg, Count, Stddev, StddevPop, StddevSamp, Sum, VarPop, VarSamp, Variance];
    let release = Some(GroupRelease { aggregates: all.into_iter().collect(), min_rows: 3 });
    let mut masks = Masks::default();
    let mut add = |table: &str, column: &str, strategy: Strategy, release: &Option<GroupRelease>| {
        let mask = Mask { strategy, release: release.clone() };
        masks.add(RelationKey::new("app", table), column.into(), mask);
    };
    for column in ["salary", "bonus", "tax", "rate", "part", "ssn", "home"] {
        add("staff", column, redact(), &release);
    }
    add("staff", "secret", Strategy::Null, &None);
    add("deep", "wage", Strategy::Deny, &release);
    for column in ["rate", "part", "tax", "salary"] {
        add("odd", column, redact(), &release);
    }
    for table in ["people", "pay", "stored", "branches"] {
        add(table, "salary", redact(), &release);
    }
    add("shops", "salary", redact(), &None);
    masks
}
