//! Replication through the gateway, by PostgreSQL's own clients: a rulebook that allows it gets all of it.

use std::path::Path;
use std::process::Output;
use std::time::Duration;

use portcullis::cli::demo::cluster::{Cluster, Installation};
use tokio::process::Command;

use super::stand::AllowAll;

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_a_walsender_are_answered_as_the_server_would() {
    let stand = stand().await;
    for mode in ["database", "true"] {
        let commands =
            ["IDENTIFY_SYSTEM", "SHOW wal_segment_size", "TIMELINE_HISTORY 77", "nonsense", "SELECT 1"];
        for command in commands {
            let mut said = Vec::new();
            for port in [stand.server(), stand.gateway()] {
                let connection = format!("{} dbname=open replication={mode}", host(port));
                let output = run("psql", &["-XAt", "-d", &connection, "-c", command]).await;
                said.push(without_position(&text(&output)));
            }
            assert_eq!(said[1], said[0], "{command} with replication={mode}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pg_recvlogical_streams_changes() {
    let stand = stand().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("changes");
    let connection = format!("{} dbname=open", host(stand.gateway()));
    let slot = ["-d", &connection, "--slot", "through_the_gateway"];
    let made = run("pg_recvlogical", &[&slot[..], &["--create-slot", "-P", "test_decoding"]].concat()).await;
    assert!(made.status.success(), "{}", text(&made));
    stand.ask("INSERT INTO t VALUES (1, 'one'), (2, 'two')").await;
    let end = stand.ask("SELECT pg_current_wal_insert_lsn()").await;
    stand.ask("INSERT INTO t VALUES (3, 'three')").await;
    let streaming = ["--start", "--no-loop", "--endpos", &end, "-f", file.to_str().unwrap()];
    let streamed = run("pg_recvlogical", &[&slot[..], &streaming].concat()).await;
    assert!(streamed.status.success(), "{}", text(&streamed));
    let changes = std::fs::read_to_string(&file).unwrap();
    assert!(changes.contains("INSERT: id[integer]:2 name[text]:'two'"), "{changes}");
    let dropped = run("pg_recvlogical", &[&slot[..], &["--drop-slot"]].concat()).await;
    assert!(dropped.status.success(), "{}", text(&dropped));
}

#[tokio::test(flavor = "multi_thread")]
async fn pg_receivewal_streams_the_log_itself() {
    let stand = stand().await;
    let folder = tempfile::tempdir().unwrap();
    stand.ask("SELECT pg_create_physical_replication_slot('kept', true)").await;
    let segment = stand.ask("SELECT pg_walfile_name(pg_current_wal_lsn())").await;
    let end = stand.ask("INSERT INTO t VALUES (1, 'one'); SELECT pg_switch_wal()").await;
    stand.ask("INSERT INTO t VALUES (2, 'two'); CHECKPOINT").await;
    let into = folder.path().to_str().unwrap();
    let start = ["-D", into, "-d", &host(stand.gateway()), "--slot", "kept", "--no-loop", "--endpos", &end];
    let received = run("pg_receivewal", &start).await;
    assert!(received.status.success(), "{}", text(&received));
    let names: Vec<String> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(names.iter().any(|name| name.starts_with(&segment)), "{names:?} without {segment}");
}

async fn stand() -> AllowAll {
    let settings = ["wal_level=logical", "max_wal_senders=4", "max_replication_slots=4"];
    let cluster = Cluster::start_with(&settings).await.unwrap();
    AllowAll::before(cluster, "CREATE TABLE t (id int PRIMARY KEY, name text)").await
}

fn host(port: u16) -> String {
    format!("host=127.0.0.1 port={port} user=postgres")
}

async fn run(program: &str, arguments: &[&str]) -> Output {
    let installed = tokio::task::spawn_blocking(Installation::find).await.unwrap().unwrap().program(program);
    let program = if installed.exists() { installed.as_path() } else { Path::new(program) };
    let output = Command::new(program).args(arguments).kill_on_drop(true).output();
    tokio::time::timeout(PATIENCE, output).await.unwrap().unwrap()
}

fn text(output: &Output) -> String {
    [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat()
}

/// The log's position moves by itself.
fn without_position(text: &str) -> String {
    text.split('|').filter(|field| !field.contains('/') || field.contains(' ')).collect::<Vec<_>>().join("|")
}

const PATIENCE: Duration = Duration::from_secs(60);
