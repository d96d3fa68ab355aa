//! Definitions that change between the judging of a statement and its running: the gateway's catalog is of before, the
//! database is of now, and nothing but the guard stands between. The rulebook here allows everything but the sight of
//! social security numbers, and the upstream role may read all of them.

use std::fs;

use portcullis::cli::demo::cluster::Cluster;
use serde_json::json;
use tokio_postgres::error::ErrorPosition;
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::support::gateway::{Agent, Stand};
use crate::support::{newest_shop_cluster, shop_cluster};
use crate::wire_real::Raw;
use crate::wire_sim::rig::{message, query, sync};

/// What is done past the gateway to a schema `$S`, and a statement that was innocent before.
struct Change {
    name: &'static str,
    before: &'static str,
    change: &'static str,
    statement: &'static str,
}

const CHANGES: [Change; 8] = [
    Change {
        name: "a rename swap",
        before: "",
        change: "ALTER TABLE $S.orders RENAME TO before; ALTER TABLE $S.people RENAME TO orders;
                 ALTER TABLE $S.orders RENAME COLUMN ssn TO status",
        statement: "SELECT lower(o.status) AS x FROM $S.orders o",
    },
    Change {
        name: "columns that swap their names",
        before: "",
        change:
            "ALTER TABLE $S.people RENAME COLUMN ssn TO x; ALTER TABLE $S.people RENAME COLUMN name TO ssn;
                 ALTER TABLE $S.people RENAME COLUMN x TO name",
        statement: "SELECT lower(name) AS x FROM $S.people",
    },
    Change {
        name: "a column that was not there",
        before: "",
        change: "ALTER TABLE $S.orders ADD COLUMN ssn text; UPDATE $S.orders SET ssn = p.ssn FROM $S.people p",
        statement: "SELECT row_to_json(o)::text AS x FROM $S.orders o",
    },
    Change {
        name: "a view that is replaced",
        before: "CREATE VIEW $S.brief AS SELECT id, status AS s FROM $S.orders",
        change: "CREATE OR REPLACE VIEW $S.brief AS SELECT id, ssn AS s FROM $S.people",
        statement: "SELECT lower(s) AS x FROM $S.brief",
    },
    Change {
        name: "a view below a view that is replaced",
        before: "CREATE VIEW $S.inside AS SELECT id, status AS s FROM $S.orders;
                 CREATE VIEW $S.brief AS SELECT s FROM $S.inside",
        change: "CREATE OR REPLACE VIEW $S.inside AS SELECT id, ssn AS s FROM $S.people",
        statement: "SELECT lower(s) AS x FROM $S.brief",
    },
    Change {
        name: "a view that was a table",
        before: "",
        change: "DROP TABLE $S.orders; CREATE VIEW $S.orders AS SELECT id, ssn AS status FROM $S.people",
        statement: "SELECT lower(status) AS x FROM $S.orders",
    },
    Change {
        name: "a function that is replaced",
        before: "CREATE FUNCTION $S.tag(int) RETURNS text LANGUAGE sql STABLE AS 'SELECT status FROM $S.orders'",
        change: "CREATE OR REPLACE FUNCTION $S.tag(int) RETURNS text LANGUAGE sql STABLE AS 'SELECT ssn FROM $S.people'",
        statement: "SELECT $S.tag(id) AS x FROM $S.people",
    },
    Change {
        name: "a function that fits better",
        before: "CREATE FUNCTION $S.tag(bigint) RETURNS text LANGUAGE sql STABLE AS 'SELECT status FROM $S.orders'",
        change: "CREATE FUNCTION $S.tag(int) RETURNS text LANGUAGE sql STABLE AS 'SELECT ssn FROM $S.people'",
        statement: "SELECT $S.tag(id) AS x FROM $S.people",
    },
];

/// By which ways a statement can be on its way when the change comes.
const FORMS: [Form; 7] =
    [Form::Simple, Form::Prepared, Form::Named, Form::Cursor, Form::Copy, Form::Pipeline, Form::Tool];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// A Query.
    Simple,
    /// A Bind of what was prepared before by a Parse.
    Prepared,
    /// An EXECUTE of what was prepared before by PREPARE.
    Named,
    /// DECLARE and FETCH.
    Cursor,
    /// COPY to the client.
    Copy,
    /// Parse to Execute in one series.
    Pipeline,
    /// An MCP tool.
    Tool,
}

#[tokio::test(flavor = "multi_thread")]
async fn no_form_of_a_statement_outlives_the_definitions_it_was_judged_by() {
    outlives(&open().await).await;
}

/// Newer servers know more of series of messages: they end a transaction that one has begun at its Sync only.
#[tokio::test(flavor = "multi_thread")]
async fn nor_on_the_newest_server() {
    let Some(cluster) = newest_shop_cluster().await else { return };
    let stand = open_on(cluster, |_| {}).await;
    outlives(&stand).await;
    let mut raw = Raw::session(&stand, "ana").await;
    let read = "SELECT id FROM public.orders LIMIT 1";
    for (sent, told) in [
        (read, "T D C(SELECT 1) Z(I)"),
        ("BEGIN", "C(BEGIN) Z(T)"),
        (read, "T D C(SELECT 1) Z(T)"),
        ("SAVEPOINT s", "C(SAVEPOINT) Z(T)"),
        ("SELECT 1 / 0 FROM public.orders", "E(22012) Z(E)"),
        (read, "E(25P02) Z(E)"),
        ("ROLLBACK TO s", "C(ROLLBACK) Z(T)"),
        (read, "T D C(SELECT 1) Z(T)"),
        ("COMMIT", "C(COMMIT) Z(I)"),
        ("VACUUM public.orders", "C(VACUUM) Z(I)"),
        ("SELECT 1 AS a; SELECT id FROM public.products LIMIT 1", "T D C(SELECT 1) T D C(SELECT 1) Z(I)"),
        ("UPDATE public.orders SET status = 'paid' WHERE id = 1", "C(UPDATE 1) Z(I)"),
    ] {
        let heard = raw.ask(&query(sent)).await;
        assert!(
            heard.starts_with(told.split(' ').next().unwrap()) && heard.ends_with(told),
            "{sent}: {heard}"
        );
    }
}

async fn outlives(stand: &Stand) {
    let all = || (0..CHANGES.len()).flat_map(|number| FORMS.map(|form| (number, form)));
    for (number, form) in all() {
        admin(stand, &in_schema(number, form, TABLES)).await;
        admin(stand, &in_schema(number, form, CHANGES[number].before)).await;
    }
    let agent = stand.mcp("support-bot").await;
    for (number, form) in all() {
        let Change { name, change, statement, .. } = &CHANGES[number];
        let statement = in_schema(number, form, statement);
        let person = Person { client: stand.wire("ana").await, raw: Raw::session(stand, "ana").await };
        let mut person = person.begin(form, &statement).await;
        let innocent = person.run(&agent, form, &statement).await;
        assert!(innocent.contains("shipped") || innocent.contains("ada"), "{name}, {form:?}: {innocent}");
        admin(stand, &in_schema(number, form, change)).await;
        let refused = person.run(&agent, form, &statement).await;
        assert!(refused.contains("has changed since it was judged"), "{name}, {form:?}: {refused}");
        for attempt in 0..2 {
            let again = person.run(&agent, form, &statement).await;
            // Functions see everything, and this rulebook has nothing against any.
            let is_seen = again.contains(CANARY) && !name.contains("function");
            assert!(!is_seen, "{name}, {form:?}, {attempt}: {again}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_transaction_has_changed_itself_is_not_read_before_it_commits() {
    let stand = open().await;
    admin(&stand, &TABLES.replace("$S", "own")).await;
    admin(&stand, "CREATE VIEW own.brief AS SELECT id, status AS s FROM own.orders").await;
    for (change, statement) in [
        (
            "CREATE OR REPLACE VIEW own.brief AS SELECT id, ssn AS s FROM own.people",
            "SELECT lower(s) FROM own.brief",
        ),
        ("ALTER TABLE own.orders RENAME TO before", "SELECT lower(status) FROM own.orders"),
        ("ALTER TABLE own.people RENAME COLUMN ssn TO clear", "SELECT lower(name) FROM own.people"),
        ("CREATE TEMP VIEW brief AS SELECT ssn AS s FROM own.people", "SELECT lower(s) FROM brief"),
    ] {
        // In a transaction, by either protocol; in one string; in one series.
        let client = stand.wire("ana").await;
        let mut raw = Raw::session(&stand, "ana").await;
        assert_eq!(raw.ask(&query("BEGIN")).await, "C(BEGIN) Z(T)");
        let told = raw.ask(&query(change)).await;
        if told.starts_with("C(") {
            let told = raw.ask(&query(statement)).await;
            assert!(told.starts_with("E(40001)") || told.starts_with("E(42P01)"), "{change}: {told}");
        }
        raw.ask(&query("ROLLBACK")).await;
        let error = client.simple_query(&format!("{change}; {statement}")).await.unwrap_err();
        assert!(!format!("{error:?}").contains(CANARY), "{change}: {error:?}");
        let told = raw.ask(&[series(change), series(statement), sync()].concat()).await;
        assert!(!told.contains(CANARY) && told.contains("E("), "{change}: {told}");
        assert!(raw.ask(&query("SELECT lower(status) FROM own.orders")).await.contains("D"), "{change}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_comes_between_a_bare_name_and_its_table_is_not_read() {
    let stand =
        open_with(|settings| settings.databases[0].search_path = vec!["front".into(), "public".into()]).await;
    admin(&stand, "CREATE SCHEMA front; CREATE TABLE notes (x text); INSERT INTO notes VALUES ('innocent')")
        .await;
    admin(&stand, &TABLES.replace("$S", "own")).await;
    let client = stand.wire("ana").await;
    let read = "SELECT lower(x) FROM notes";
    assert!(format!("{:?}", client.simple_query(read).await).contains("innocent"));
    admin(&stand, "CREATE TABLE front.notes (x text); INSERT INTO front.notes SELECT ssn FROM own.people")
        .await;
    let refused = format!("{:?}", client.simple_query(read).await);
    assert!(refused.contains("has changed since it was judged"), "{refused}");
    // A temporary table never stands in front: the path has it last.
    let raw = &mut Raw::session(&stand, "ana").await;
    raw.ask(&query("CREATE TEMP TABLE orders AS SELECT 'shadow' AS status")).await;
    assert!(!raw.ask(&query("SELECT lower(status) FROM own.orders")).await.contains("shadow"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_role_may_not_read_is_refused_in_the_servers_own_words() {
    let stand = open().await;
    admin(&stand, &TABLES.replace("$S", "own")).await;
    admin(&stand, "ALTER ROLE portcullis_svc NOSUPERUSER; REVOKE ALL ON own.people FROM public").await;
    let client = stand.wire("ana").await;
    let refused = format!("{:?}", client.simple_query("SELECT name FROM own.people").await);
    assert!(refused.contains("42501") && refused.contains("permission denied"), "{refused}");
    assert!(format!("{:?}", client.simple_query("SELECT 1 FROM own.orders").await).contains("42501"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_errors_position_is_one_in_the_clients_own_text() {
    let stand = open().await;
    let client = stand.wire("ana").await;
    for _ in 0..2 {
        let error = client.simple_query("SELECT id, 'x' + 1 FROM public.orders").await.unwrap_err();
        let position = error.as_db_error().unwrap().position();
        assert_eq!(position, Some(&ErrorPosition::Original(12)), "{error:?}");
    }
}

/// Somebody with a statement on its way.
struct Person {
    client: Client,
    raw: Raw,
}

impl Person {
    /// Prepares what is prepared before it runs.
    async fn begin(mut self, form: Form, statement: &str) -> Self {
        let message = match form {
            Form::Prepared => [parse(b"p", statement), sync()].concat(),
            Form::Named => query(&format!("PREPARE p AS {statement}")),
            Form::Simple | Form::Cursor | Form::Copy | Form::Pipeline | Form::Tool => return self,
        };
        let told = self.raw.ask(&message).await;
        assert!(!told.contains("E("), "{told}");
        self
    }

    /// Runs it; everything that comes back, as text.
    async fn run(&mut self, agent: &Agent, form: Form, statement: &str) -> String {
        match form {
            Form::Simple => shown(self.client.simple_query(statement).await),
            Form::Named => self.bytes(&query("EXECUTE p")).await,
            Form::Prepared => self.bytes(&[bound("p"), sync()].concat()).await,
            Form::Pipeline => self.bytes(&[series(statement), sync()].concat()).await,
            Form::Copy => self.bytes(&query(&format!("COPY ({statement}) TO STDOUT"))).await,
            Form::Cursor => {
                let declare = format!("BEGIN; DECLARE c CURSOR FOR {statement}");
                let told = [
                    self.bytes(&query(&declare)).await,
                    self.bytes(&query("FETCH ALL FROM c")).await,
                    self.bytes(&query("ROLLBACK")).await,
                ];
                told.concat()
            }
            Form::Tool => agent.call("query", json!({"sql": statement})).await.to_string(),
        }
    }

    async fn bytes(&mut self, request: &[u8]) -> String {
        self.raw.send(request).await;
        let mut all = String::new();
        loop {
            let frame = self.raw.frame().await.unwrap();
            all.push_str(&String::from_utf8_lossy(&frame.body));
            if frame.tag == b'Z' {
                return all;
            }
        }
    }
}

fn shown(answer: Result<Vec<SimpleQueryMessage>, tokio_postgres::Error>) -> String {
    let Ok(messages) = answer else { return format!("{:?}", answer.unwrap_err()) };
    let row = |message: &SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) => row.get(0).unwrap_or_default().to_owned(),
        _ => String::new(),
    };
    messages.iter().map(row).collect()
}

fn parse(name: &[u8], sql: &str) -> Vec<u8> {
    message(b'P', |body| {
        body.extend_from_slice(&[name, b"\0", sql.as_bytes(), b"\0\0\0"].concat());
    })
}

fn bound(statement: &str) -> Vec<u8> {
    [crate::wire_sim::rig::bind("", statement), crate::wire_sim::rig::execute("", 0)].concat()
}

fn series(sql: &str) -> Vec<u8> {
    [parse(b"", sql), bound("")].concat()
}

fn in_schema(number: usize, form: Form, sql: &str) -> String {
    sql.replace("$S", &format!("s{number}_{}", format!("{form:?}").to_lowercase()))
}

async fn admin(stand: &Stand, sql: &str) {
    stand.cluster.execute_sql("shop", sql).await.unwrap();
}

async fn open() -> Stand {
    open_with(|_| {}).await
}

/// The sample shop, with a rulebook that hides social security numbers and nothing else.
async fn open_with(change: impl FnOnce(&mut portcullis::config::Settings)) -> Stand {
    open_on(shop_cluster().await, change).await
}

async fn open_on(cluster: Cluster, change: impl FnOnce(&mut portcullis::config::Settings)) -> Stand {
    let stand = Stand::start_on(cluster, |home, settings| {
        let policies = home.join("policies");
        fs::remove_dir_all(&policies).unwrap();
        fs::create_dir(&policies).unwrap();
        for (name, rules) in RULES {
            fs::write(policies.join(format!("{name}.rego")), format!("package portcullis.{name}\n{rules}\n"))
                .unwrap();
        }
        change(settings);
    })
    .await;
    admin(&stand, "ALTER ROLE portcullis_svc SUPERUSER").await;
    stand
}

const RULES: [(&str, &str); 3] = [
    ("session", "allow := true"),
    ("approval", "eligible := false"),
    (
        "statement",
        r#"allow := true
mask contains {"column": "ssn", "type": "redact", "value": "***"}
mask contains {"tag": "pii", "type": "redact", "value": "***"}"#,
    ),
];

const TABLES: &str = "
    CREATE SCHEMA $S;
    CREATE TABLE $S.people (id int PRIMARY KEY, name text, ssn text);
    COMMENT ON COLUMN $S.people.ssn IS '@pii';
    INSERT INTO $S.people VALUES (1, 'ada', 'x987-65-4320');
    CREATE TABLE $S.orders (id int PRIMARY KEY, status text);
    INSERT INTO $S.orders VALUES (1, 'shipped')";

const CANARY: &str = "987-65-4320";
