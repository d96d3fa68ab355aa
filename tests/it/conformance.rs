//! psql's whole output, direct and through a gateway that allows everything: nobody can tell them apart.
//!
//! The scripts in `tests/conformance` go through what PostgreSQL can do in a session. PostgreSQL's own suite, and
//! those of its drivers, run by `make conformance`.

mod judged;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use portcullis::cli::demo::cluster::{Cluster, Installation};
use portcullis::config;
use portcullis::serve::Gateway;

use crate::support;

macro_rules! scripts {
    ($($name:ident)+) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                same_as_direct(concat!(stringify!($name), ".sql")).await;
            }
        )+

        #[test]
        fn every_script_is_run() {
            let listed = [$(concat!(stringify!($name), ".sql")),+];
            let mut there: Vec<String> = fs::read_dir(scripts())
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .filter(|name| name.ends_with(".sql"))
                .collect();
            there.sort();
            assert_eq!(listed.as_slice(), there);
        }
    };
}

scripts!(copying definitions prepared procedures sessions transactions types);

/// Runs a script on a fresh database direct and on another one through the gateway, and compares what psql prints.
async fn same_as_direct(script: &str) {
    let cluster = trusting_cluster().await;
    // The gateway calls the second one by the first one's name.
    for database in [NAME, THROUGH] {
        cluster.execute_sql("postgres", &format!("CREATE DATABASE {database}")).await.unwrap();
    }
    let home = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(config::load(&written(home.path(), ALLOW_ALL, cluster.port())).unwrap())
        .await
        .unwrap();
    let direct = psql(script, cluster.port()).await;
    let through = psql(script, gateway.addresses().wire.port()).await;
    for line in ["FATAL:  no pg_hba.conf entry", "connection refused"] {
        assert!(!direct.contains(line), "{direct}");
    }
    assert!(direct == through, "{}", differences(&direct, &through));
    gateway.stop().await;
    cluster.stop().await.unwrap();
}

/// A cluster that believes every name on loopback.
async fn trusting_cluster() -> Cluster {
    let cluster = support::fresh_cluster().await;
    cluster.trust_everyone().await.unwrap();
    cluster
}

fn written(home: &Path, policies: &str, upstream: u16) -> PathBuf {
    let policies = Path::new(env!("CARGO_MANIFEST_DIR")).join(policies);
    let text = format!(
        r#"wire.listen = "127.0.0.1:0"
wire.auth = "trust"
mcp.listen = "127.0.0.1:0"
console.listen = "127.0.0.1:0"
policy.path = "{}"
ledger.durability = "os"

[[database]]
name = "{NAME}"
url = "postgres://postgres@127.0.0.1:{upstream}/{THROUGH}"
upstream_user = "same"
password_file = "password"
"#,
        policies.display()
    );
    fs::create_dir(home.join("agents")).unwrap();
    fs::write(home.join("password"), "unasked for").unwrap();
    let file = home.join("portcullis.toml");
    fs::write(&file, text).unwrap();
    file
}

/// What psql prints on both outputs, but for the port and the ids of processes.
async fn psql(script: &str, port: u16) -> String {
    let program = Installation::find().unwrap().program("psql");
    let words = format!(
        "exec '{}' -X -a -q -h 127.0.0.1 -p {port} -U postgres -d {NAME} -f {script} 2>&1",
        program.display()
    );
    let run = move || {
        let mut shell = Command::new("sh");
        shell.args(["-c", &words]).current_dir(scripts());
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PG")) {
            shell.env_remove(name);
        }
        shell.env("PGCONNECT_TIMEOUT", "20").output().unwrap()
    };
    let printed = tokio::task::spawn_blocking(run).await.unwrap().stdout;
    let text = String::from_utf8_lossy(&printed).replace(&format!("port {port} "), "port ");
    text.lines()
        .map(|line| line.split_once("process with PID ").map_or(line, |(before, _)| before).to_owned() + "\n")
        .collect()
}

/// The first lines that differ, with what leads up to them.
fn differences(direct: &str, through: &str) -> String {
    let (direct, through): (Vec<&str>, Vec<&str>) = (direct.lines().collect(), through.lines().collect());
    let same = direct.iter().zip(&through).take_while(|(direct, through)| direct == through).count();
    let lines = |lines: &[&str], from: usize, count: usize| {
        lines.iter().skip(from).take(count).map(|line| format!("{line}\n")).collect::<String>()
    };
    format!(
        "after these lines:\n{}direct:\n{}through the gateway:\n{}",
        lines(&direct, same.saturating_sub(4), same.min(4)),
        lines(&direct, same, 12),
        lines(&through, same, 12)
    )
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance")
}

const ALLOW_ALL: &str = "examples/policies/allow-all";
const NAME: &str = "conformance";
const THROUGH: &str = "conformance_through";
