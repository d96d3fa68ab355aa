//! Masks on a real server: what a statement gives after the rewrite is what the statement itself gives on a copy
//! of the database whose masked columns were really overwritten, and no true value comes out in any way.

mod cases;
mod random;
mod schema;
mod selectors;
mod strategies;

use std::sync::Arc;

use portcullis::catalog::{RelationKey, Snapshot};
use portcullis::mask::{Masks, Refusal, Rewritten, Strategy, rewrite};
use portcullis::sql::{Statement, analyze};
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::support::Database;

/// What must never come out, as text.
const CANARIES: [&str; 7] = ["CANARY", "canary", "7700", "8800", "1971-", "9900", "Y1ND"];

#[tokio::test]
async fn a_masked_statement_gives_what_it_would_give_on_masked_data() {
    let world = World::start().await;
    let mut wrong = Vec::new();
    for statement in cases::SAME {
        match world.rewrite(statement) {
            Err(refusal) => wrong.push(format!("{statement}\n  refused: {refusal}")),
            Ok(rewritten) => {
                let actual = outcome(&world.real, &rewritten.sql).await;
                let reference = outcome(&world.copy, statement).await;
                if actual != reference || actual.is_err() {
                    wrong.push(format!(
                        "{statement}\n  sent {}\n  gave {actual:?}\n  want {reference:?}",
                        rewritten.sql
                    ));
                }
                wrong.extend(leak(statement, &actual));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn what_can_not_be_masked_is_refused_with_a_reason_that_names_it() {
    let world = World::start().await;
    let mut wrong = Vec::new();
    for (statement, named) in cases::REFUSED {
        match world.rewrite(statement) {
            Ok(rewritten) => wrong.push(format!("{statement}\n  passed as {}", rewritten.sql)),
            Err(refusal) if !refusal.what.contains(named) || refusal.hint.is_empty() => {
                wrong.push(format!("{statement}\n  {named} is missing in: {refusal} ({})", refusal.hint));
            }
            Err(_) => {}
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn what_the_server_then_refuses_tells_nothing() {
    let world = World::start().await;
    let mut wrong = Vec::new();
    for statement in cases::FAILING {
        let Ok(rewritten) = world.rewrite(statement) else { continue };
        let actual = outcome(&world.real, &rewritten.sql).await;
        if actual.is_ok() {
            wrong.push(format!("{statement}\n  sent {}\n  gave {actual:?}", rewritten.sql));
        }
        wrong.extend(leak(statement, &actual));
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn returning_does_not_tell_whether_a_masked_column_is_null() {
    let world = World::start().await;
    let sql = "INSERT INTO customers (id, name) VALUES (100, 'new') RETURNING *";
    let outcome = outcome(&world.real, &world.rewrite(sql).unwrap().sql).await.unwrap().join("\n");
    assert!(
        outcome.contains("ssn=Some(\"it's hidden\")") && outcome.contains("card=Some(\"****"),
        "{outcome}"
    );
}

/// The copy holds the masks' own values, and statistics of them: a plan over the masks looks there as it does here.
#[tokio::test]
async fn a_plan_over_masks_tells_nothing_of_what_they_hide() {
    let world = World::start().await;
    let statement = "EXPLAIN (VERBOSE) SELECT iban, count(*) FROM hr.payroll WHERE salary > 5 AND iban = 'Y1ND' GROUP BY 1";
    let sql = world.rewrite(statement).unwrap().sql;
    let mut plans = Vec::new();
    for client in [&world.real, &world.copy] {
        client.batch_execute("VACUUM FULL ANALYZE hr.payroll").await.unwrap();
        plans.push(outcome(client, &sql).await.unwrap());
    }
    assert_eq!(plans[0], plans[1]);
    assert!(plans[0].join("\n").contains("Filter"), "{:?}", plans[0]);
}

/// The subselect in place of a table is pulled up: what reads no masked column has the plan that it would have without.
#[tokio::test]
async fn a_query_that_reads_no_masked_column_keeps_its_plan() {
    let world = World::start().await;
    world.real.batch_execute(MANY).await.unwrap();
    for statement in [
        "SELECT name FROM customers WHERE id = 700",
        "SELECT id, name FROM customers WHERE id BETWEEN 10 AND 20 ORDER BY id LIMIT 5",
        "SELECT name, amount FROM customers JOIN orders o ON o.customer_id = customers.id WHERE o.id = 3",
        "SELECT region, count(*) FROM customers GROUP BY region",
        "SELECT DISTINCT ON (region) region, id FROM customers ORDER BY region, id",
        "SELECT o.id FROM orders o LEFT JOIN customers ON customers.id = o.customer_id",
        "SELECT id FROM customers WHERE EXISTS (SELECT FROM orders o WHERE o.customer_id = customers.id)",
        "SELECT name, rank() OVER (PARTITION BY region ORDER BY id) FROM customers",
        "SELECT count(*) FROM customers",
        "SELECT kind FROM events WHERE id = 9",
    ] {
        // A subselect's columns print with its name.
        let plan = async |sql: &str| {
            let plan = outcome(&world.real, &format!("EXPLAIN {sql}")).await.unwrap();
            plan.join("\n").replace("customers.", "").replace("events.", "")
        };
        let rewritten = world.rewrite(statement).unwrap();
        assert!(rewritten.plan.governed, "{statement}");
        assert_eq!(plan(&rewritten.sql).await, plan(statement).await, "{statement}");
    }
}

/// Enough rows for indexes to be worth it.
const MANY: &str = "
    INSERT INTO customers (id, name, region) SELECT i, 'name' || i, 'r' || i % 7 FROM generate_series(100, 5000) i;
    ANALYZE";

#[tokio::test]
async fn a_statement_without_masked_tables_is_sent_as_it_came() {
    let world = World::start().await;
    for statement in cases::UNTOUCHED {
        let rewritten = world.rewrite(statement).unwrap();
        assert_eq!(&rewritten.sql, statement);
        assert!(rewritten.plan.verbatim && !rewritten.plan.governed, "{statement}");
        assert!(!rewritten.plan.forbidden.is_empty());
    }
}

#[tokio::test]
async fn a_rewritten_read_describes_no_column_of_a_masked_one() {
    let world = World::start().await;
    for statement in cases::SAME {
        let Ok(rewritten) = world.rewrite(statement) else { continue };
        if rewritten.plan.arity.is_none() {
            continue;
        }
        let Ok(prepared) = world.real.prepare(&rewritten.sql).await else { continue };
        assert_eq!(rewritten.plan.arity, Some(prepared.columns().len()), "{statement}");
        for column in prepared.columns() {
            let origin = (column.table_oid().unwrap_or_default(), column.column_id().unwrap_or_default());
            assert!(!rewritten.plan.forbidden.contains(&origin), "{statement}: {}", column.name());
        }
        if let Ok(reference) = world.copy.prepare(statement).await {
            let types = |prepared: &tokio_postgres::Statement| -> Vec<String> {
                prepared.columns().iter().map(|column| column.type_().to_string()).collect()
            };
            assert_eq!(types(&prepared), types(&reference), "{statement}");
        }
    }
}

#[tokio::test]
async fn masked_reads_need_no_right_to_read_what_they_mask() {
    let world = World::start().await;
    world.real.batch_execute(schema::READER).await.unwrap();
    let mut wrong = Vec::new();
    for statement in cases::SAME.iter().filter(|statement| is_plain_read(statement)) {
        let rewritten = world.rewrite(statement).unwrap();
        let actual = outcome(&world.real, &rewritten.sql).await;
        let reference = outcome(&world.copy, statement).await;
        if actual != reference {
            wrong.push(format!("{statement}\n  gave {actual:?}\n  want {reference:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn a_cursor_gives_masked_rows_and_still_says_where_a_write_goes() {
    let world = World::start().await;
    let run = [
        "DECLARE x CURSOR FOR SELECT * FROM customers ORDER BY id FOR UPDATE",
        "FETCH 2 FROM x",
        "UPDATE customers SET name = 'moved' WHERE CURRENT OF x RETURNING *",
        "MOVE FORWARD 1 IN x",
        "FETCH FORWARD ALL FROM x",
    ];
    let rewritten: Vec<String> = run.iter().map(|statement| world.rewrite(statement).unwrap().sql).collect();
    let actual = outcome(&world.real, &rewritten.join(";")).await;
    assert_eq!(actual, outcome(&world.copy, &run.join(";")).await);
    assert!(actual.is_ok() && leak("cursor", &actual).is_none(), "{actual:?}");
}

#[tokio::test]
async fn parameters_beside_masks_keep_their_types() {
    let world = World::start().await;
    for statement in [
        "SELECT id FROM customers WHERE ssn = $1 AND pin = $2 AND tags @> $3 AND balance IN ($4, $5)",
        "SELECT COALESCE($1, birth), mood = $2, email || $3 FROM customers WHERE code < $4 AND notes @> $5",
        "UPDATE customers SET name = $1 WHERE id = $2 RETURNING ssn || $3",
    ] {
        let rewritten = world.rewrite(statement).unwrap();
        let actual = world.real.prepare(&rewritten.sql).await.unwrap();
        let reference = world.copy.prepare(statement).await.unwrap();
        let names = |types: &[tokio_postgres::types::Type]| -> Vec<String> {
            types.iter().map(ToString::to_string).collect()
        };
        assert_eq!(names(actual.params()), names(reference.params()), "{statement}");
    }
}

/// Whether it neither writes nor locks.
fn is_plain_read(statement: &str) -> bool {
    ["SELECT", "WITH", "TABLE", "VALUES", "("].iter().any(|start| statement.starts_with(start))
        && !["FOR UPDATE", "FOR SHARE", "DELETE"].iter().any(|word| statement.contains(word))
}

/// A database with secrets, a copy of it with masks in their place, and the masks.
struct World {
    real: Client,
    copy: Client,
    catalog: Arc<Snapshot>,
    masks: Masks,
    _databases: [Database; 2],
}

impl World {
    async fn start() -> Self {
        let databases = [Database::with(schema::SCHEMA).await, Database::with(schema::SCHEMA).await];
        databases[1].execute(schema::MASKED).await;
        let [real, copy] = [databases[0].connect().await, databases[1].connect().await];
        for client in [&real, &copy] {
            client.batch_execute("SET search_path = app, pg_temp; SET extra_float_digits = 1").await.unwrap();
        }
        let catalog = schema::load(&databases[0]).await;
        Self { real, copy, catalog, masks: masks(), _databases: databases }
    }

    fn rewrite(&self, text: &str) -> Result<Rewritten, Refusal> {
        let statement = Statement::new(text.as_bytes(), Statement::AGENT_CAP).unwrap();
        let analysis = analyze(&statement, &self.catalog).unwrap_or_else(|error| panic!("{text}: {error}"));
        let [item] = analysis.items() else { panic!("{text}: not one statement") };
        rewrite(text, item, &self.masks, &self.catalog)
    }
}

fn masks() -> Masks {
    let redact = |value: &str| Strategy::Redact { value: value.into() };
    let mut masks = Masks::default();
    for (schema, table, column, strategy) in [
        ("app", "customers", "ssn", redact("it's hidden")),
        ("app", "customers", "email", redact("hidden@example.invalid")),
        ("app", "customers", "pin", redact("-")),
        ("app", "customers", "balance", redact("-")),
        ("app", "customers", "birth", redact("-")),
        ("app", "customers", "tags", redact("-")),
        ("app", "customers", "notes", redact("-")),
        ("app", "customers", "card", Strategy::Partial { first: 0, last: 4 }),
        ("app", "customers", "mood", redact("-")),
        ("app", "customers", "code", redact("zz")),
        ("app", "customers", "phone", Strategy::Null),
        ("app", "customers", "nick", redact("-")),
        ("app", "customers", "home", redact("-")),
        ("app", "Odd \"T", "s\"sn", redact("q'\"\\")),
        ("hr", "payroll", "iban", redact("x")),
        ("hr", "payroll", "salary", redact("-")),
        ("app", "events", "secret", redact("x")),
        ("app", "staff", "secret", redact("x")),
        ("app", "clear_view", "title", redact("x")),
        ("app", "both_view", "who", redact("x")),
        ("app", "kept", "ssn", redact("it's hidden")),
    ] {
        masks.add(RelationKey::new(schema, table), column.into(), strategy);
    }
    masks
}

/// Rows as text with their names, or the SQLSTATE; whatever it does is undone. An error counts with its message.
async fn outcome(client: &Client, sql: &str) -> Result<Vec<String>, String> {
    client.batch_execute("BEGIN").await.unwrap();
    let result = match sql.starts_with("COPY") {
        true => copy_out(client, sql).await,
        false => client.simple_query(sql).await.map(|messages| messages.iter().map(render).collect()),
    };
    client.batch_execute("ROLLBACK").await.unwrap();
    result.map_err(|error| match error.as_db_error() {
        Some(error) => {
            format!("{} {} {:?}", error.code().code(), error.message(), error.detail().unwrap_or_default())
        }
        None => error.to_string(),
    })
}

async fn copy_out(client: &Client, sql: &str) -> Result<Vec<String>, tokio_postgres::Error> {
    let body = axum::body::Body::from_stream(client.copy_out(sql).await?);
    let bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    Ok(String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect())
}

fn render(message: &SimpleQueryMessage) -> String {
    match message {
        SimpleQueryMessage::Row(row) => {
            let cell = |at: usize| format!("{}={:?}", row.columns()[at].name(), row.get(at));
            (0..row.len()).map(cell).collect::<Vec<_>>().join(" ")
        }
        SimpleQueryMessage::CommandComplete(rows) => format!("{rows} rows"),
        SimpleQueryMessage::RowDescription(columns) => {
            columns.iter().map(|column| column.name().to_owned()).collect::<Vec<_>>().join(",")
        }
        _ => String::new(),
    }
}

fn leak(statement: &str, outcome: &Result<Vec<String>, String>) -> Option<String> {
    let text = format!("{outcome:?}");
    let canary = CANARIES.iter().find(|canary| text.contains(*canary))?;
    Some(format!("{statement}\n  leaks {canary}: {text}"))
}
