//! What psql's backslash commands and drivers really send, judged by the rulebook that ships.

use std::process::Command;
use std::sync::Arc;

use portcullis::catalog::Snapshot as Catalog;
use portcullis::gate::Catalogs as _;
use portcullis::policy::{Effect, Snapshot};
use portcullis::sql::{Statement, analyze};
use portcullis::upstream::{DatabaseSettings, RoleSettings, Upstream};

use super::{decide, directory, shipped_rulebook};
use crate::support::Database;

const SHOP: &str = "CREATE TABLE customers (id serial PRIMARY KEY, name text NOT NULL, email text UNIQUE, ssn text);
    CREATE TABLE orders (id bigint PRIMARY KEY, customer_id int REFERENCES customers, status text CHECK (status <> ''));
    CREATE INDEX orders_status ON orders (status);
    CREATE VIEW open_orders AS SELECT id, status FROM orders WHERE status = 'open';
    CREATE MATERIALIZED VIEW totals AS SELECT count(*) FROM orders;
    CREATE TABLE logs (at date) PARTITION BY RANGE (at);
    CREATE TABLE logs_2026 PARTITION OF logs FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
    CREATE TYPE mood AS ENUM ('good', 'bad');
    CREATE FUNCTION add(int, int) RETURNS int LANGUAGE sql AS 'SELECT $1 + $2';
    CREATE STATISTICS id_and_status ON id, status FROM orders;
    ALTER TABLE orders ENABLE ROW LEVEL SECURITY;
    CREATE POLICY own ON orders USING (true);
    CREATE PUBLICATION p FOR TABLE orders;
    COMMENT ON TABLE orders IS 'Orders';";

/// Every command that asks the server, but `\\deu`, which shows passwords of other servers.
const COMMANDS: &[&str] = &[
    r"\d",
    r"\d+",
    r"\d orders",
    r"\d+ orders",
    r"\d+ customers",
    r"\d+ open_orders",
    r"\d+ totals",
    r"\d+ logs",
    r"\d logs_2026",
    r"\d customers_id_seq",
    r"\d orders_status",
    r"\dS pg_class",
    r"\da+",
    r"\dA+",
    r"\dAc",
    r"\dAf",
    r"\dAo",
    r"\dAp",
    r"\db+",
    r"\dc+",
    r"\dconfig work_mem",
    r"\dC+",
    r"\dd",
    r"\dD+",
    r"\ddp",
    r"\dE",
    r"\des+",
    r"\det+",
    r"\dew+",
    r"\df+",
    r"\dF+",
    r"\dFd+",
    r"\dFp+",
    r"\dFt+",
    r"\dg+",
    r"\di+",
    r"\dl",
    r"\dL+",
    r"\dm+",
    r"\dn+",
    r"\do+",
    r"\dO+",
    r"\dp",
    r"\dP+",
    r"\drds",
    r"\dRp+",
    r"\dRs",
    r"\ds+",
    r"\dt+",
    r"\dT+",
    r"\du+",
    r"\dv+",
    r"\dx+",
    r"\dX",
    r"\dy+",
    r"\l+",
    r"\sf add",
    r"\sv open_orders",
    r"\z orders",
];

/// What drivers send by themselves to learn about types, tables and the session.
const DRIVERS: &[&str] = &[
    // tokio-postgres
    "SELECT t.typname, t.typtype, t.typelem, r.rngsubtype, t.typbasetype, n.nspname, t.typrelid FROM \
     pg_catalog.pg_type t LEFT OUTER JOIN pg_catalog.pg_range r ON r.rngtypid = t.oid INNER JOIN \
     pg_catalog.pg_namespace n ON t.typnamespace = n.oid WHERE t.oid = $1",
    "SELECT enumlabel FROM pg_catalog.pg_enum WHERE enumtypid = $1 ORDER BY enumsortorder",
    // psycopg
    "SELECT typname AS name, oid, typarray AS array_oid, oid::regtype::text AS regtype, typdelim AS delimiter \
     FROM pg_type t WHERE t.oid = to_regtype($1) ORDER BY t.oid",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "SELECT 1",
    "SELECT pg_catalog.version()",
    "select current_schema()",
    "show standard_conforming_strings",
    "SHOW TRANSACTION ISOLATION LEVEL",
    "select pg_backend_pid()",
    // JDBC
    "SET extra_float_digits = 3",
    "SET application_name = 'x'",
    "SELECT NULL AS table_cat, n.nspname AS table_schem, c.relname, d.description FROM pg_catalog.pg_namespace n, \
     pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_description d ON (c.oid = d.objoid AND d.objsubid = 0) \
     WHERE c.relnamespace = n.oid AND c.relname LIKE 'x'",
    // BI tools
    "SELECT table_schema, table_name, column_name, data_type FROM information_schema.columns",
    "SELECT table_name FROM information_schema.tables WHERE table_schema NOT IN ('pg_catalog')",
    "SELECT name, setting FROM pg_settings",
    "SELECT rolname FROM pg_roles",
    "SELECT schemaname, tablename FROM pg_tables",
    "SELECT datname FROM pg_database WHERE datallowconn AND has_database_privilege(datname, 'CONNECT')",
];

/// The queries that psql sends for `commands`, as its own `-E` shows them.
fn queries_of_psql(database: &Database, commands: &[&str]) -> Vec<String> {
    let mut psql = Command::new("psql");
    psql.args(["-X", "-E", "-h", "127.0.0.1", "-p", &database.cluster.port().to_string()])
        .args(["-U", database.cluster.superuser(), &database.name])
        .env("PGPASSWORD", database.cluster.password());
    for command in commands {
        psql.args(["-c", command]);
    }
    let output = psql.output().unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let blocks = shown.split("********* QUERY **********\n").skip(1);
    blocks.map(|block| block.split("**************************").next().unwrap().to_owned()).collect()
}

/// Why `name` may not run `sql`; nothing if it may.
fn complaints(rulebook: &Snapshot, catalog: &Catalog, name: &str, sql: &str) -> Vec<String> {
    let statement = Statement::new(sql.as_bytes(), Statement::WIRE_CAP).unwrap();
    let analysis = analyze(&statement, catalog).unwrap();
    let decisions = analysis.items().iter().map(|item| decide(rulebook, name, &item.facts, &[]));
    let denied =
        decisions.filter(|decision| decision.effect != Effect::Allow).flat_map(|decision| decision.reasons);
    denied.map(|reason| format!("{name}: {}: {}\n{sql}", reason.rule, reason.message)).collect()
}

async fn shop() -> (Database, Arc<Catalog>) {
    let database = Database::with(SHOP).await;
    let (user, password) = (database.cluster.superuser(), database.cluster.password());
    let upstream = Upstream::new(vec![DatabaseSettings::new(
        "shop".into(),
        "127.0.0.1".into(),
        database.cluster.port(),
        database.name.clone(),
        RoleSettings { name: String::new(), user: user.into(), password: password.into() },
    )]);
    let catalog = upstream.refresh("shop").await.unwrap();
    (database, catalog)
}

/// On a thread with the stack that the gate gives the parser.
fn judge_all(catalog: Arc<Catalog>, queries: Vec<String>) -> Vec<String> {
    let judge = move || {
        let rulebook = Snapshot::build(&shipped_rulebook(), &directory().to_data()).unwrap();
        let names = ["support-bot", "ana"];
        let each = queries.iter().flat_map(|sql| names.map(|name| (name, sql)));
        each.flat_map(|(name, sql)| complaints(&rulebook, &catalog, name, sql)).collect()
    };
    std::thread::Builder::new().stack_size(32 << 20).spawn(judge).unwrap().join().unwrap()
}

#[tokio::test]
async fn psqls_backslash_commands_pass_for_agents_and_people() {
    let (database, catalog) = shop().await;
    let queries = queries_of_psql(&database, COMMANDS);
    assert!(queries.len() > COMMANDS.len(), "psql shows its queries: {}", queries.len());
    let complaints = judge_all(catalog, queries);
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[tokio::test]
async fn what_drivers_send_by_themselves_passes() {
    let (_database, catalog) = shop().await;
    let complaints = judge_all(catalog, DRIVERS.iter().map(|&sql| sql.to_owned()).collect());
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// Real facts of what must never pass, whatever it is wrapped in.
#[tokio::test]
async fn ways_out_are_denied_by_real_facts() {
    let (_database, catalog) = shop().await;
    let ways = [
        "SELECT rolpassword FROM pg_authid",
        "TABLE pg_shadow",
        "SELECT most_common_vals FROM pg_stats",
        "SELECT stavalues1 FROM pg_catalog.pg_statistic",
        "SELECT query FROM pg_stat_activity",
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT * FROM pg_ls_dir('.')",
        "SELECT query_to_xml('select * from customers', true, true, '')",
        "SELECT table_to_xml('customers', true, true, '')",
        "SELECT ts_stat('select ssn::tsvector from customers')",
        "SELECT set_config('search_path', 'evil', false)",
        "SELECT set_config(new_value => 'jit', setting_name => 'search_path', is_local => false)",
        "SELECT set_config('jit_but_cut'::varchar(3), 'off', false)",
        "SELECT set_config(name, setting, false) FROM pg_settings",
        "SELECT * FROM (SELECT lo_import('/etc/passwd')) AS hidden",
        "SELECT 1 ORDER BY pg_terminate_backend(1)",
        "WITH gone AS (DELETE FROM orders RETURNING id) SELECT * FROM gone",
        "EXPLAIN ANALYZE DELETE FROM orders WHERE id = 1",
        "COPY customers TO '/tmp/x'",
        "COPY (SELECT 1) TO PROGRAM 'sh'",
        "DO $$ BEGIN DELETE FROM orders; END $$",
        "PREPARE p AS TABLE pg_shadow",
        "NOTIFY c, 'x'",
        "SELECT add(1, 2)",
        "DELETE FROM orders WHERE 1 = 1",
        "UPDATE orders SET status = 'x' WHERE id = id OR true",
        "CREATE TABLE t AS SELECT 1",
        "SELECT 1 INTO t",
        "SET search_path = evil",
        "SET ROLE postgres",
        "SET SESSION AUTHORIZATION postgres",
        "LISTEN c",
        "LOCK orders",
        "PREPARE TRANSACTION 'x'",
        "TRUNCATE orders",
        "GRANT ALL ON orders TO public",
        "ALTER SYSTEM SET archive_command = 'sh'",
    ];
    let queries: Vec<String> = ways.iter().map(|&sql| sql.to_owned()).collect();
    let complaints = judge_all(catalog, queries);
    for sql in ways {
        for name in ["support-bot", "ana"] {
            let denied =
                complaints.iter().any(|each| each.starts_with(name) && each.ends_with(&format!("\n{sql}")));
            assert!(denied, "{name} may run {sql}");
        }
    }
}
