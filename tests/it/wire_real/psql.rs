//! psql, where it is installed: as people use it, and beside a psql that goes past the gateway.

use std::io::Write as _;
use std::process::Stdio;

use portcullis::cli::demo::shop;
use tokio::process::Command;

use crate::support::gateway::{Stand, UPSTREAM_PASSWORD};

#[tokio::test(flavor = "multi_thread")]
async fn backslash_commands_show_what_they_show_without_the_gateway() {
    let stand = Stand::start().await;
    let mut differences = Vec::new();
    let (commands, script) = (COMMANDS.join("\n"), script(&COMMANDS));
    for (user, role) in [("ana", shop::SERVICE_USER), ("dora", shop::FULL_USER)] {
        let gate = psql(&stand.wire_address(), user, &stand.secrets[user], script.path()).await;
        let direct = (String::from("127.0.0.1"), stand.cluster.port());
        let direct = psql(&direct, role, UPSTREAM_PASSWORD, script.path()).await;
        assert!(direct.lines().count() > COMMANDS.len(), "{direct}\n{commands}");
        differences
            .extend(first_difference(&gate, &direct).map(|difference| format!("{user}: {difference}")));
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_rolls_back_to_the_savepoint_that_psql_sets() {
    let stand = Stand::start().await;
    let script = script(&[
        "\\set ON_ERROR_ROLLBACK on",
        "BEGIN;",
        "SELECT 1/0;",
        "DROP TABLE customers;",
        "SELECT 'still ' || 'there';",
        "COMMIT;",
    ]);
    let shown = psql(&stand.wire_address(), "ana", &stand.secrets["ana"], script.path()).await;
    for part in ["division by zero", "rule ddl", "still there", "COMMIT"] {
        assert!(shown.contains(part), "no `{part}` in {shown}");
    }
}

/// Everything that psql prints for a script, errors in their place.
async fn psql(address: &(String, u16), user: &str, password: &str, script: &std::path::Path) -> String {
    let (host, port) = address;
    let output = Command::new("sh")
        .args(["-c", "exec psql -X -h \"$1\" -p \"$2\" -U \"$3\" -d shop <\"$4\" 2>&1", "psql"])
        .args([host.as_str(), &port.to_string(), user])
        .arg(script)
        .env("PGPASSWORD", password)
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn script(lines: &[&str]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all((lines.join("\n") + "\n").as_bytes()).unwrap();
    file
}

fn first_difference(gate: &str, direct: &str) -> Option<String> {
    let mut lines = gate.lines().zip(direct.lines());
    match lines.find(|(gate, direct)| gate != direct) {
        Some((gate, direct)) => Some(format!("`{gate}` where PostgreSQL gives `{direct}`")),
        None if gate.len() != direct.len() => Some("one of them ends early".to_owned()),
        None => None,
    }
}

/// What people type all day.
const COMMANDS: [&str; 69] = [
    r"\d",
    r"\d customers",
    r"\d+ customers",
    r"\d+ customer_overview",
    r"\d hr.payroll",
    r"\d orders_placed",
    r"\d orders_id_seq",
    r"\dt",
    r"\dt+",
    r"\dt *.*",
    r"\dv+",
    r"\dm+",
    r"\di+",
    r"\ds+",
    r"\df+",
    r"\df *.*cust*",
    r"\sf customer_by_email",
    r"\sv+ customer_overview",
    r"\da",
    r"\du+",
    r"\dn+",
    r"\l",
    r"\l+",
    r"\dp",
    r"\ddp",
    r"\dT+",
    r"\dx+",
    r"\dy+",
    r"\dRp+",
    r"\dRs",
    r"\db+",
    r"\dD",
    r"\dC",
    r"\dc+",
    r"\do+ =",
    r"\dO+",
    r"\dF+",
    r"\dFd",
    r"\dFp",
    r"\dFt",
    r"\dL+",
    r"\dX",
    r"\dA+",
    r"\dAc",
    r"\drds",
    r"\dconfig work_mem",
    r"\des+",
    r"\dew+",
    r"\det+",
    r"\dE+",
    r"\dP+",
    r"\dl",
    r"\dd",
    r"\encoding",
    r"SELECT id, name, price FROM products ORDER BY id LIMIT 2 \gdesc",
    r"SELECT count(*) AS n FROM products \gset",
    r"\echo :n",
    r"SELECT category, stock > 250 AS high, count(*) FROM products GROUP BY 1, 2 ORDER BY 1, 2 \crosstabview category high count",
    r"SELECT 'SELECT 1 AS a', 'SELECT 2 AS b' \gexec",
    r"SELECT 1 \; SELECT 2;",
    r"\copy (SELECT id, name FROM products ORDER BY id LIMIT 5) TO STDOUT (FORMAT csv, HEADER)",
    r"\set FETCH_COUNT 2",
    r"SELECT id, name FROM products ORDER BY id;",
    r"\unset FETCH_COUNT",
    r"SELECT 1/0;",
    r"\errverbose",
    r"\x",
    r"SELECT id, name FROM products ORDER BY id LIMIT 2;",
    r"EXPLAIN (COSTS off) SELECT * FROM products WHERE id = 1;",
];
