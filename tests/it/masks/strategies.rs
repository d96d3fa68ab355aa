//! What every strategy makes of values of every type, by the server itself: the ends of what a type holds included, where
//! a mask that fails would tell.

use std::sync::Arc;

use portcullis::catalog::{RelationKey, Snapshot};
use portcullis::mask::{Key, Masks, Refusal, Rewritten, Strategy, rewrite};
use portcullis::sql::{Statement, analyze};
use serde_json::{Value, json};
use tokio_postgres::Client;

use super::schema;
use crate::support::Database;

/// A type, a mask, and what it makes of values; None is NULL. `~` stands before what a value has to match.
type Case = (&'static str, Value, &'static [(Option<&'static str>, Option<&'static str>)]);

#[expect(clippy::too_many_lines, reason = "a table, one type and strategy a line")]
fn cases() -> Vec<Case> {
    let without = |paths: Value| json!({"type": "without", "paths": paths});
    let expression = |sql: &str| json!({"type": "expression", "sql": sql});
    vec![
        (
            "text",
            json!({"type": "partial", "first": 2, "last": 1}),
            &[
                (Some("abcdef"), Some("ab***f")),
                (Some("abc"), Some("***")),
                (Some(""), Some("***")),
                (None, Some("***")),
                (Some("äöüßé"), Some("äö**é")),
            ],
        ),
        (
            "varchar(4)",
            json!({"type": "partial", "first": 1}),
            &[(Some("wxyz"), Some("w***")), (None, Some("*"))],
        ),
        ("int", json!({"type": "partial", "last": 4}), &[(Some("12345"), None)]),
        (
            "smallint",
            json!({"type": "round", "places": -3}),
            &[
                (Some("1499"), Some("1000")),
                (Some("-1500"), Some("-2000")),
                (Some("32767"), Some("32767")),
                (Some("-32768"), Some("-32768")),
                (None, None),
            ],
        ),
        (
            "bigint",
            json!({"type": "round", "places": -15}),
            &[(Some("9223372036854775807"), Some("9223000000000000000"))],
        ),
        (
            "numeric(4,2)",
            json!({"type": "round", "places": 0}),
            &[
                (Some("99.99"), Some("99.99")),
                (Some("-99.99"), Some("-99.99")),
                (Some("12.34"), Some("12.00")),
            ],
        ),
        (
            "numeric",
            json!({"type": "round", "places": 1}),
            &[(Some("1.25"), Some("1.3")), (Some("NaN"), Some("NaN")), (Some("Infinity"), Some("Infinity"))],
        ),
        (
            "double precision",
            json!({"type": "round", "places": 1}),
            &[
                (Some("2.25"), Some("2.3")),
                (Some("-Infinity"), Some("-1.79769313486231e+308")),
                (Some("1.7976931348623157e308"), Some("1.79769313486231e+308")),
            ],
        ),
        (
            "real",
            json!({"type": "round", "places": 0}),
            &[(Some("3.4028235e38"), Some("3.40282e+38")), (Some("NaN"), Some("3.40282e+38"))],
        ),
        (
            "int",
            json!({"type": "bucket", "width": 10000}),
            &[
                (Some("49999"), Some("40000")),
                (Some("-1"), Some("-10000")),
                (Some("-2147483648"), Some("-2147483648")),
                (None, None),
            ],
        ),
        (
            "date",
            json!({"type": "truncate", "unit": "month"}),
            &[
                (Some("1971-03-17"), Some("1971-03-01")),
                (Some("infinity"), None),
                (Some("5874897-12-31"), None),
                (Some("4713-01-01 BC"), None),
            ],
        ),
        (
            "timestamp",
            json!({"type": "truncate", "unit": "hour"}),
            &[(Some("2024-02-29 13:14:15.5"), Some("2024-02-29 13:00:00")), (Some("-infinity"), None)],
        ),
        // Cut in UTC: this session's time zone would make it the day before.
        (
            "timestamptz",
            json!({"type": "truncate", "unit": "day"}),
            &[(Some("2024-03-01 00:30:00+00"), Some("2024-02-29 19:00:00-05"))],
        ),
        ("text", json!({"type": "truncate", "unit": "day"}), &[(Some("x"), None)]),
        (
            "text",
            json!({"type": "email"}),
            &[
                (Some("ann@example.com"), Some("u66dd608c307c@masked.invalid")),
                (Some("bob@example.com"), Some("uacaee9b14419@masked.invalid")),
                (None, None),
            ],
        ),
        (
            "text",
            json!({"type": "hash"}),
            &[(
                Some("ann@example.com"),
                Some("66dd608c307c923bb444ae3c403cd6e230f5bcd351b3dc5e70cbf76cbce4d1cf"),
            )],
        ),
        ("varchar(8)", json!({"type": "hash"}), &[(Some("ann"), Some("~"))]),
        ("uuid", json!({"type": "hash"}), &[(Some("b0b3c1d0-0000-4000-8000-000000000001"), Some("~-"))]),
        ("smallint", json!({"type": "hash"}), &[(Some("32767"), Some("~")), (Some("-32768"), Some("~"))]),
        ("int", json!({"type": "hash"}), &[(Some("-2147483648"), Some("~"))]),
        ("bigint", json!({"type": "hash"}), &[(Some("-9223372036854775808"), Some("~"))]),
        ("numeric(3,2)", json!({"type": "hash"}), &[(Some("9.99"), Some("~.00"))]),
        ("numeric(2,2)", json!({"type": "hash"}), &[(Some("0.99"), None)]),
        ("bytea", json!({"type": "hash"}), &[(Some("\\x00ff"), Some("~\\x"))]),
        ("date", json!({"type": "hash"}), &[(Some("2000-01-01"), None)]),
        (
            "jsonb",
            without(json!([["card"], ["home", "street"]])),
            &[
                (
                    Some(r#"{"card": "4111", "home": {"street": "x", "town": "y"}}"#),
                    Some(r#"{"home": {"town": "y"}}"#),
                ),
                (Some(r#"{"home": [{"street": "x"}], "n": 1}"#), Some(r#"{"n": 1}"#)),
                (Some(r#"{"home": "street"}"#), Some(r#"{"home": "street"}"#)),
                (Some(r#"[{"card": "4111"}]"#), None),
                (Some("5"), Some("5")),
                (None, None),
            ],
        ),
        ("json", without(json!([["card"]])), &[(Some(r#"{"card": 1}"#), None)]),
        ("text", expression("upper(left(value, 1)) || '.'"), &[(Some("ann"), Some("A.")), (None, None)]),
        ("int", expression("CASE WHEN value > 10 THEN 'many' ELSE 'few' END"), &[]),
        (
            "varchar(3)",
            expression("CASE WHEN value LIKE 'a%' THEN 'a...' ELSE coalesce(value, 'none') END"),
            &[(Some("abc"), Some("a..")), (None, Some("non"))],
        ),
        ("text[]", json!({"type": "hash"}), &[(Some("{a}"), None)]),
        ("inet", json!({"type": "redact", "value": "-"}), &[(Some("10.0.0.1"), Some("0.0.0.0"))]),
        ("interval", json!({"type": "redact", "value": "-"}), &[(Some("3 days"), Some("00:00:00"))]),
    ]
}

#[tokio::test]
async fn every_strategy_gives_a_value_of_the_columns_own_type_and_never_fails() {
    let world = World::start().await;
    let mut wrong = Vec::new();
    for (at, (kind, strategy, values)) in cases().into_iter().enumerate() {
        if values.is_empty() {
            continue;
        }
        let table = format!("t{at}");
        let sent =
            world.rewrite(&table, &strategy, &format!("SELECT secret FROM {table} ORDER BY id")).unwrap().sql;
        for (value, expected) in values {
            let actual = world.masked(&table, &sent, *value).await;
            let fits = match (&actual, expected) {
                (Ok(Some(actual)), Some(pattern)) if pattern.starts_with('~') => {
                    actual.contains(&pattern[1..]) && Some(actual.as_str()) != *value
                }
                (Ok(actual), expected) => actual.as_deref() == *expected,
                (Err(_), _) => false,
            };
            if !fits {
                wrong.push(format!("{kind} {strategy} of {value:?}: {actual:?}, not {expected:?}\n  {sent}"));
            }
        }
        let described = world.client.prepare(&sent).await.unwrap();
        let plain = world.client.prepare(&format!("SELECT secret FROM {table}")).await.unwrap();
        assert_eq!(described.columns()[0].type_(), plain.columns()[0].type_(), "{kind} {strategy}");
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn equal_values_have_equal_hashes_so_that_joins_still_work() {
    let world = World::start().await;
    world
        .client
        .batch_execute(
            "CREATE TABLE a (id int, secret text); CREATE TABLE b (id int, secret varchar(40));
             INSERT INTO a VALUES (1, 'one'), (2, 'two'), (3, NULL); INSERT INTO b VALUES (9, 'two'), (8, 'three'), (7, NULL)",
        )
        .await
        .unwrap();
    let mut masks = Masks::default();
    for table in ["a", "b"] {
        masks.add(RelationKey::new("app", table), "secret".into(), Strategy::Hash);
    }
    let catalog = load(&world.database).await;
    let same_type =
        "SELECT x.id, count(*) FROM a x JOIN a y ON x.secret = y.secret GROUP BY x.id ORDER BY x.id";
    let sent = rewritten(&catalog, &masks, same_type).unwrap().sql;
    let rows = world.client.query(&sent, &[]).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.get::<_, i32>(0)).collect::<Vec<_>>(), [1, 2]);
    let sent = rewritten(&catalog, &masks, "SELECT secret FROM a WHERE secret = 'two'").unwrap().sql;
    assert!(world.client.query(&sent, &[]).await.unwrap().is_empty(), "what is compared is the hash");
}

#[tokio::test]
async fn without_the_key_a_hash_fails_instead_of_being_one_under_no_key() {
    let world = World::start().await;
    let at = cases().iter().position(|(kind, mask, _)| *kind == "text" && mask["type"] == "hash").unwrap();
    let table = format!("t{at}");
    let sent =
        world.rewrite(&table, &json!({"type": "hash"}), &format!("SELECT secret FROM {table}")).unwrap().sql;
    world.client.batch_execute(&format!("INSERT INTO {table} (secret) VALUES ('x')")).await.unwrap();
    let keyless = world.database.connect().await;
    keyless.batch_execute("SET search_path = app").await.unwrap();
    let error = keyless.query(&sent, &[]).await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "42704", "{error:?}");
}

#[tokio::test]
async fn a_denied_column_can_be_left_out_and_nothing_else() {
    let world = World::start().await;
    let denied = json!({"type": "deny"});
    for sql in [
        "SELECT secret FROM t0",
        "SELECT * FROM t0",
        "SELECT t0.* FROM t0",
        "SELECT t0 FROM t0",
        "SELECT count(t0) FROM t0",
        "SELECT row_to_json(x) FROM t0 AS x",
        "SELECT id FROM t0 WHERE secret = 'x'",
        "SELECT id FROM t0 ORDER BY t0.secret",
        "SELECT id FROM t0 AS x (id, other) WHERE other = 'x'",
        "SELECT (SELECT secret) FROM t0",
        "SELECT EXISTS (SELECT FROM t1 WHERE t1.id = t0.id AND t0.secret = 'x') FROM t0",
        "WITH w AS (SELECT * FROM t0) SELECT id FROM w",
        "COPY t0 TO STDOUT",
        "COPY t0 (secret) TO STDOUT",
        "COPY (SELECT secret FROM t0) TO STDOUT",
        "INSERT INTO t0 (id) VALUES (99) RETURNING secret",
        "INSERT INTO t0 (id) VALUES (99) RETURNING *",
    ] {
        match world.rewrite("t0", &denied, sql) {
            Err(refusal) => assert!(refusal.what.contains("secret"), "{sql}: {refusal}"),
            Ok(rewritten) => panic!("{sql} passed as {}", rewritten.sql),
        }
    }
    for sql in [
        "SELECT id FROM t0",
        "SELECT count(*) FROM t0 WHERE id > 0",
        "COPY t0 (id) TO STDOUT",
        "SELECT t1.secret FROM t1 JOIN t0 ON t0.id = t1.id",
        "INSERT INTO t0 (id) VALUES (98) RETURNING id",
    ] {
        let rewritten =
            world.rewrite("t0", &denied, sql).unwrap_or_else(|refusal| panic!("{sql}: {refusal}"));
        assert!(!rewritten.plan.verbatim, "{sql}");
        assert!(
            world.client.batch_execute(&format!("BEGIN; {}; ROLLBACK", rewritten.sql)).await.is_ok()
                || sql.starts_with("COPY")
        );
    }
}

#[test]
fn what_an_expression_may_not_hold_is_refused_with_the_reason() {
    for (sql, reason) in [
        ("upper(name)", "nothing but `value`"),
        ("t.value", "nothing but `value`"),
        ("'fixed'", "does not read `value`"),
        ("md5(value)", "`md5` can't be called"),
        ("pg_sleep(1) || value", "`pg_sleep` can't be called"),
        ("app.upper(value)", "other schemas"),
        ("value::int", "casts to text"),
        ("1 / value", "operator `/`"),
        ("value OPERATOR(app.||) 'x'", "other schemas"),
        ("(SELECT value)", "more than functions"),
        ("value FROM pg_authid", "not one SQL expression"),
        ("value, value", "not one SQL expression"),
        ("value) || (value", "not one SQL expression"),
        ("value; DROP TABLE t", "not one SQL expression"),
        ("value AS x", "not one SQL expression"),
        ("*", "nothing but `value`"),
        ("count(value) OVER ()", "`count` can't be called"),
        ("upper(DISTINCT value)", "`upper` can't be called"),
        ("value COLLATE \"C\"", "more than functions"),
        ("$1 || value", "more than functions"),
        ("", "not one SQL expression"),
    ] {
        let strategy: Strategy = serde_json::from_value(json!({"type": "expression", "sql": sql})).unwrap();
        let error = strategy.check().expect_err(sql);
        assert!(error.contains(reason), "{sql}: {error}");
    }
    for (strategy, reason) in [
        (json!({"type": "partial"}), "`first` or `last`"),
        (json!({"type": "round", "places": 16}), "-15 to 15"),
        (json!({"type": "without", "paths": [[]]}), "at least one key"),
    ] {
        let strategy: Strategy = serde_json::from_value(strategy).unwrap();
        assert!(strategy.check().unwrap_err().contains(reason), "{strategy:?}");
    }
    for wrong in [json!({"type": "bucket", "width": 0}), json!({"type": "truncate", "unit": "minute"})] {
        serde_json::from_value::<Strategy>(wrong).unwrap_err();
    }
}

struct World {
    database: Database,
    client: Client,
    catalog: Arc<Snapshot>,
}

impl World {
    async fn start() -> Self {
        let database = Database::with("CREATE SCHEMA app").await;
        let tables: Vec<String> = cases()
            .iter()
            .enumerate()
            .map(|(at, (kind, ..))| {
                format!("CREATE TABLE app.t{at} (id int GENERATED BY DEFAULT AS IDENTITY, secret {kind})")
            })
            .collect();
        database.execute(&tables.join(";")).await;
        let client = database.connect().await;
        let key = Key::of(&[7; 32], "shop")
            .settings()
            .map(|(name, value)| format!("SET {name} = '{value}'"))
            .join(";");
        let settings = "SET search_path = app, pg_temp; SET TimeZone = '-05'; SET extra_float_digits = 1";
        client.batch_execute(&format!("{settings}; {key}")).await.unwrap();
        let catalog = load(&database).await;
        Self { database, client, catalog }
    }

    fn rewrite(&self, table: &str, strategy: &Value, sql: &str) -> Result<Rewritten, Refusal> {
        let strategy: Strategy = serde_json::from_value(strategy.clone()).unwrap();
        strategy.check().unwrap();
        let mut masks = Masks::default();
        masks.add(RelationKey::new("app", table), "secret".into(), strategy);
        rewritten(&self.catalog, &masks, sql)
    }

    /// What `sent` shows while `value` is all that the table holds.
    async fn masked(&self, table: &str, sent: &str, value: Option<&str>) -> Result<Option<String>, String> {
        let literal = value.map_or("NULL".to_owned(), |value| format!("'{}'", value.replace('\'', "''")));
        let insert = format!("TRUNCATE {table}; INSERT INTO {table} (secret) VALUES ({literal})");
        self.client.batch_execute(&insert).await.unwrap();
        let messages = self.client.simple_query(sent).await.map_err(|error| format!("{error:?}"))?;
        let row = messages.iter().find_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => Some(row.get(0).map(str::to_owned)),
            _ => None,
        });
        row.ok_or_else(|| "no row".to_owned())
    }
}

async fn load(database: &Database) -> Arc<Snapshot> {
    let names = Key::of(&[7; 32], "shop").setting_names();
    Arc::new(Snapshot::clone(&*schema::load(database).await).keyed(names))
}

pub(super) fn rewritten(catalog: &Snapshot, masks: &Masks, sql: &str) -> Result<Rewritten, Refusal> {
    let statement = Statement::new(sql.as_bytes(), Statement::AGENT_CAP).unwrap();
    let analysis = analyze(&statement, catalog).unwrap_or_else(|error| panic!("{sql}: {error}"));
    let [item] = analysis.items() else { panic!("{sql}: not one statement") };
    rewrite(sql, item, masks, catalog)
}
