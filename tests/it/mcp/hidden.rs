//! What is hidden is not told from what does not exist: by no tool, no refusal, no plan and no error of the database's.

use serde_json::{Value, json};

use portcullis::approval::Vote;

use super::stand::{Client, Era, Stand};

const SCHEMA: &str = "
    CREATE SCHEMA hr;
    CREATE TABLE hr.payroll (id int PRIMARY KEY, salary int);
    INSERT INTO hr.payroll SELECT n, n * 100 FROM generate_series(1, 50) n;
    CREATE TABLE customers (id int PRIMARY KEY, name text, ssn text NOT NULL);
    INSERT INTO customers SELECT n, 'name ' || n, 'x' FROM generate_series(1, 50) n;
    CREATE TABLE orders (id int PRIMARY KEY, status text, payee int);
    INSERT INTO orders SELECT n, 'new', n FROM generate_series(1, 50) n;
    CREATE TABLE hr.bonus (id int PRIMARY KEY, order_id int REFERENCES orders);
    INSERT INTO hr.bonus VALUES (1, 1);
    CREATE VIEW overview AS SELECT o.id, o.status, p.salary > 2000 AS rich
        FROM orders o JOIN hr.payroll p ON p.id = o.payee;
    CREATE FUNCTION public.pay_of(int) RETURNS int LANGUAGE sql AS 'SELECT salary FROM hr.payroll WHERE id = $1';
    CREATE FUNCTION public.watch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF NEW.status = 'raise' THEN RAISE EXCEPTION 'row % of hr.payroll says no', NEW.id; END IF;
        IF NEW.status = 'notice' THEN RAISE NOTICE 'looked into hr.payroll'; RAISE NOTICE 'plain words'; END IF;
        RETURN NEW; END $$;
    CREATE TRIGGER watch BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION public.watch();
    GRANT INSERT, UPDATE, DELETE ON orders, customers TO SERVICE;
";

const SCOPE: &str = "
[scope.shop]
read = [\"public.customers(id, name)\", \"public.orders\", \"public.overview\"]
write = [\"public.orders\", \"public.customers(id, name)\"]
[approval]
groups = [\"approvers\"]
";

async fn stand() -> (Stand, crate::support::Database, Client) {
    let (stand, database) = Stand::before(SCHEMA, SCOPE).await;
    let client = stand.client("robin", Era::Stateless).await;
    // The catalog is there: what loads it is not what is compared.
    client.call("my_access", json!({})).await;
    (stand, database, client)
}

/// An answer without what differs from call to call, and with `name` as `NAME`.
fn told(answer: &Value, name: &str) -> String {
    let mut answer = answer.clone();
    for field in ["decision_id", "elapsed_ms", "expires_at", "approval_id"] {
        answer.as_object_mut().unwrap().remove(field);
    }
    answer.to_string().replace(name, "NAME")
}

/// Statements that name `@`, a schema that can't be seen included where there is one.
const STATEMENTS: [&str; 19] = [
    "SELECT * FROM @",
    "SELECT count(*) FROM @ p JOIN orders o ON o.payee = p.id",
    "SELECT id FROM orders WHERE EXISTS (SELECT FROM @ p WHERE p.id = orders.id)",
    "WITH p AS (SELECT * FROM @) SELECT * FROM p",
    "SELECT * FROM @ FOR UPDATE",
    "EXPLAIN SELECT * FROM @",
    "EXPLAIN ANALYZE DELETE FROM @ WHERE id = 1",
    "INSERT INTO @ VALUES (1, 2)",
    "INSERT INTO orders SELECT id, 'x', salary FROM @",
    "UPDATE @ SET salary = 1 WHERE id = 1",
    "UPDATE orders SET status = 'x' FROM @ p WHERE p.id = orders.id AND orders.id = 1",
    "DELETE FROM @ WHERE id = 1",
    "MERGE INTO @ p USING orders o ON p.id = o.id WHEN MATCHED THEN DELETE",
    "TRUNCATE @",
    "DROP TABLE @",
    "CREATE TABLE @ (id int)",
    "CREATE INDEX ON @ (id)",
    "COPY @ TO STDOUT",
    "TABLE @; SELECT 1",
];

#[tokio::test]
async fn a_hidden_table_and_an_absent_one_get_the_same_answer_from_every_tool() {
    let (_stand, _database, client) = stand().await;
    for statement in STATEMENTS {
        let mut answers = Vec::new();
        for name in ["payroll", "absence"] {
            let sql = statement.replace('@', &format!("hr.{name}"));
            let mut all = Vec::new();
            for (tool, arguments) in [
                ("query", json!({"sql": sql})),
                ("execute", json!({"sql": sql, "reason": "r", "wait_s": 0})),
                ("check_sql", json!({"sql": sql, "plan": "estimate"})),
            ] {
                let (answer, _) = client.call(tool, arguments).await;
                assert!(answer["status"] != "pending_approval", "{tool} {sql}: {answer}");
                all.push(told(&answer, name));
            }
            answers.push(all);
        }
        assert_eq!(answers[0], answers[1], "{statement}");
    }
    for (tool, argument) in [
        ("my_access", "table"),
        ("search_schema", "text"),
        ("search_schema", "schema"),
        ("query", "database"),
    ] {
        let mut answers = Vec::new();
        for name in ["payroll", "absence", "hr.payroll"] {
            let mut arguments = json!({argument: name});
            if tool == "query" {
                arguments["sql"] = json!("SELECT 1");
            }
            answers.push(told(&client.call(tool, arguments).await.0, name));
        }
        assert_eq!(answers[0], answers[1], "{tool} {argument}");
        assert_eq!(answers[0], answers[2], "{tool} {argument}");
    }
}

#[tokio::test]
async fn a_hidden_column_and_an_absent_one_get_the_same_answer() {
    let (_stand, _database, client) = stand().await;
    for statement in [
        "SELECT @ FROM customers",
        "SELECT c.@ FROM customers c",
        "SELECT id FROM customers WHERE @ = 'x'",
        "SELECT id FROM customers ORDER BY @",
        "SELECT count(*) FROM customers GROUP BY @",
        "SELECT id FROM orders JOIN customers c USING (id) WHERE c.@ IS NULL",
        "UPDATE customers SET @ = 'x' WHERE id = 1",
        "INSERT INTO customers (id, @) VALUES (999, 'x')",
        "UPDATE customers SET name = @ WHERE id = 1",
        "DELETE FROM orders USING customers c WHERE c.@ = 'x' AND orders.id = 1",
    ] {
        let mut answers = Vec::new();
        for name in ["ssn", "nix"] {
            let sql = statement.replace('@', name);
            for (tool, arguments) in [
                ("query", json!({"sql": sql})),
                ("execute", json!({"sql": sql, "reason": "r", "wait_s": 0})),
                ("check_sql", json!({"sql": sql})),
            ] {
                answers.push(told(&client.call(tool, arguments).await.0, name));
            }
        }
        let (hidden, absent) = answers.split_at(3);
        assert_eq!(hidden, absent, "{statement}");
    }
}

#[tokio::test]
async fn a_function_that_is_not_cleared_and_an_absent_one_get_the_same_answer() {
    let (_stand, _database, client) = stand().await;
    let mut answers = Vec::new();
    for name in ["pay_of", "nix_of"] {
        for sql in [format!("SELECT {name}(1)"), format!("SELECT id FROM orders WHERE public.{name}(id) > 1")]
        {
            for tool in ["query", "check_sql"] {
                answers.push(told(&client.call(tool, json!({"sql": sql})).await.0, name));
            }
        }
    }
    assert_eq!(answers[..4], answers[4..]);
}

#[tokio::test]
async fn a_refusal_names_what_was_not_found_and_what_would_work() {
    let (_stand, _database, client) = stand().await;
    let (answer, _) = client.call("query", json!({"sql": "SELECT * FROM hr.payroll"})).await;
    assert_eq!(answer["denial"]["message"], "`payroll` was not found, or you may not use it", "{answer}");
    let (answer, _) = client.call("query", json!({"sql": "SELECT * FROM customers WHERE id = 1"})).await;
    assert_eq!(answer["denial"]["suggested_sql"], "SELECT id, name FROM customers WHERE id = 1", "{answer}");
    let sql = answer["denial"]["suggested_sql"].as_str().unwrap();
    let (works, _) = client.call("query", json!({"sql": sql})).await;
    assert_eq!(works["rows"], json!([[1, "name 1"]]));
    let (answer, _) = client.call("check_sql", json!({"sql": "SELECT c.* FROM public.customers c"})).await;
    assert_eq!(answer["suggested_sql"], "SELECT c.id, c.name FROM public.customers c", "{answer}");
    for sql in
        ["SELECT * FROM hr.payroll", "SELECT * FROM customers WHERE ssn = 'x'", "SELECT *, 1 FROM customers"]
    {
        let (answer, _) = client.call("query", json!({"sql": sql})).await;
        assert_eq!(answer["denial"].get("suggested_sql"), None, "{sql}");
    }
}

#[tokio::test]
async fn what_stands_behind_a_view_is_never_told() {
    let (_stand, _database, client) = stand().await;
    let (answer, is_error) =
        client.call("query", json!({"sql": "SELECT * FROM overview WHERE id = 30"})).await;
    assert!(!is_error, "{answer}");
    assert_eq!(answer["rows"], json!([[30, "new", false]]), "its mask holds behind the view");
    for (tool, arguments) in [
        ("check_sql", json!({"sql": "SELECT * FROM overview", "plan": "estimate"})),
        ("query", json!({"sql": "EXPLAIN SELECT * FROM overview"})),
        ("query", json!({"sql": "EXPLAIN (VERBOSE, FORMAT JSON) SELECT * FROM overview"})),
        ("query", json!({"sql": "EXPLAIN (ANALYZE) SELECT * FROM overview"})),
        ("query", json!({"sql": "UPDATE overview SET status = 'x' WHERE id = 1"})),
        ("execute", json!({"sql": "INSERT INTO overview VALUES (1)", "reason": "r", "wait_s": 0})),
        ("check_sql", json!({"sql": "DELETE FROM overview WHERE id = 1"})),
        ("my_access", json!({"table": "overview"})),
        ("search_schema", json!({"text": "overview", "detail": "full"})),
    ] {
        let (answer, _) = client.call(tool, arguments.clone()).await;
        let text = answer.to_string();
        assert!(!text.contains("payroll") && !text.contains("salary"), "{tool} {arguments}: {text}");
    }
    let (answer, _) =
        client.call("check_sql", json!({"sql": "SELECT * FROM overview", "plan": "estimate"})).await;
    assert!(answer["plan"]["estimated_rows"].is_u64(), "{answer}");
    let (answer, _) = client.call("query", json!({"sql": "EXPLAIN SELECT * FROM orders"})).await;
    assert!(
        answer["rows"][0][0].as_str().unwrap().contains("orders"),
        "a plan of one's own is shown: {answer}"
    );
}

/// What the database says to an approved write.
async fn approved(stand: &Stand, client: &Client, sql: &str) -> Value {
    let (pending, _) = client.call("execute", json!({"sql": sql, "reason": "r", "wait_s": 0})).await;
    let id = pending["approval_id"].as_str().unwrap_or_else(|| panic!("{sql}: {pending}"));
    stand.decide("priya", id, Vote::Approve, "ok").await;
    client.call("run_approved", json!({"approval_id": id})).await.0
}

#[tokio::test]
async fn the_databases_own_words_name_nothing_hidden() {
    let (stand, _database, client) = stand().await;
    for sql in [
        "DELETE FROM orders WHERE id = 1",
        "UPDATE orders SET status = 'raise' WHERE id = 2",
        "UPDATE customers SET id = 2 WHERE id = 1",
        "INSERT INTO customers (id, name) VALUES (100, 'x')",
    ] {
        let answer = approved(&stand, &client, sql).await;
        assert_eq!(answer["error"]["code"], "database_error", "{sql}: {answer}");
        let text = answer.to_string();
        for hidden in ["payroll", "bonus", "ssn"] {
            assert!(!text.contains(hidden), "{sql}: {text}");
        }
        assert_eq!(answer["content_trust"], "untrusted", "{answer}");
    }
    let answer = approved(&stand, &client, "UPDATE orders SET status = 'notice' WHERE id = 3").await;
    assert_eq!(answer["status"], "ok", "{answer}");
    let notices: Vec<&str> = answer["notices"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(notices[0].starts_with("(withheld") && notices[1].contains("plain words"), "{notices:?}");
    let answer = approved(&stand, &client, "INSERT INTO orders (id, status) VALUES (1, 'x')").await;
    let message = answer["database_message"].as_str().unwrap();
    assert!(message.contains("orders_pkey"), "what is one's own is told: {message}");
}

#[tokio::test]
async fn a_rule_about_what_is_visible_says_so() {
    let (_stand, _database, client) = stand().await;
    for (sql, rule) in [
        ("UPDATE orders SET status = 'x'", "no_where"),
        ("DELETE FROM customers WHERE id = 1", "delete_scope"),
        ("DROP TABLE orders", "ddl"),
        ("SELECT pg_read_file('x')", "function"),
        ("INSERT INTO overview (id) VALUES (1)", "write_scope"),
    ] {
        let (answer, _) = client.call("execute", json!({"sql": sql, "reason": "r", "wait_s": 0})).await;
        assert_eq!(answer["denial"]["rule"], rule, "{sql}: {answer}");
        let (answer, _) = client.call("check_sql", json!({"sql": sql})).await;
        assert_eq!(
            (&answer["verdict"], &answer["reasons"][0]["rule"]),
            (&json!("deny"), &json!(rule)),
            "{answer}"
        );
    }
}
