//! A database of 10,000 tables with 200,000 columns: what its catalog takes in time and memory. `make figures` runs it;
//! it starts a server of its own.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "it prints figures, and can't without a server"
)]

use std::fs;
use std::sync::Arc;
use tokio::time::Instant;

use portcullis::catalog::Snapshot;
use portcullis::cli::demo::cluster::Cluster;
use portcullis::gate::Catalogs as _;
use portcullis::mask::{Governed, Masks, Selector, Strategy, rewrite_as};
use portcullis::sql::{Statement, analyze};
use portcullis::upstream::{DatabaseSettings, RoleSettings, Upstream};

#[tokio::main]
async fn main() {
    // A test run passes arguments of its own and wants no figures.
    if !std::env::args().any(|word| word == "--bench") {
        return;
    }
    let cluster = Cluster::start_with(&["fsync=off", "max_locks_per_transaction=1000"]).await.unwrap();
    for batch in 0..10 {
        cluster.execute_sql("postgres", &TABLES.replace("$batch", &batch.to_string())).await.unwrap();
    }
    cluster.execute_sql("postgres", "ANALYZE").await.unwrap();
    let role = RoleSettings {
        name: String::new(),
        user: cluster.superuser().into(),
        password: cluster.password().into(),
    };
    let settings =
        DatabaseSettings::new("large".into(), "127.0.0.1".into(), cluster.port(), "postgres".into(), role);
    let upstream = Upstream::new(vec![settings]);

    let before = resident_kb("VmRSS");
    let begun = Instant::now();
    let snapshot = upstream.refresh("large").await.unwrap();
    row("first load", begun);
    let columns: usize = snapshot.relations().map(|relation| relation.columns.len()).sum();
    println!("| relations, columns | {}, {columns} |", snapshot.relations().count());
    println!("| memory kept | {} MB |", (resident_kb("VmRSS") - before) / 1000);
    println!("| memory at its peak | {} MB |", (resident_kb("VmHWM") - before) / 1000);
    let begun = Instant::now();
    upstream.refresh("large").await.unwrap();
    row("load of what is known already", begun);
    cluster.execute_sql("postgres", "ALTER TABLE s1.t_1_7 ADD another text").await.unwrap();
    let begun = Instant::now();
    let changed = upstream.refresh("large").await.unwrap();
    row("load after a change", begun);
    println!("| memory kept of both | {} MB |", (resident_kb("VmRSS") - before) / 1000);
    println!("| memory at its peak | {} MB |", (resident_kb("VmHWM") - before) / 1000);
    let thread = std::thread::Builder::new().stack_size(32 << 20);
    thread.spawn(move || statements(&changed)).unwrap().join().unwrap();
    cluster.stop().await.unwrap();
}

fn statements(snapshot: &Arc<Snapshot>) {
    let mut masks = Masks::default();
    let patterns = r#"[{"column": "c3"}, {"relation": "s1.*", "column": "c5"}, {"relation": "*.t_2_*", "column": "c*7"}]"#;
    for selector in serde_json::from_str::<Vec<Selector>>(patterns).unwrap() {
        masks.select(selector, Strategy::Null);
    }
    let begun = Instant::now();
    let governed = Governed::new(&masks, snapshot);
    row("three masks by pattern, worked out", begun);
    for name in ["first", "second"] {
        let text = "SELECT a.c1, b.c3 FROM s1.t_1_7 a JOIN s2.t_2_8 b ON a.c1 = b.c1 WHERE a.c5 = 'x'";
        let begun = Instant::now();
        let analysis = analyze(&Statement::new(text.as_bytes(), 1 << 20).unwrap(), snapshot).unwrap();
        let [item] = analysis.items() else { panic!("one statement") };
        assert_eq!(item.facts.unresolved, []);
        rewrite_as(text, item, &governed, snapshot).unwrap();
        row(&format!("facts and rewrite of the {name} statement"), begun);
    }
}

fn row(what: &str, begun: Instant) {
    println!("| {what} | {:.1} ms |", begun.elapsed().as_secs_f64() * 1e3);
}

fn resident_kb(field: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// A thousand tables of twenty columns, of which some have comments.
const TABLES: &str = "
CREATE SCHEMA s$batch;
DO $do$
BEGIN
  FOR n IN 1..1000 LOOP
    EXECUTE format('CREATE TABLE s$batch.t_$batch_%s (id int PRIMARY KEY, c1 bigint, c2 text, c3 varchar(40), c4 numeric(10,2),
      c5 text, c6 text, c7 date, c8 timestamptz, c9 jsonb, c10 uuid, c11 bool, c12 text[], c13 int, c14 int, c15 real, c16 text,
      c17 text, created_at timestamptz, updated_at timestamptz)', n);
    EXECUTE format('COMMENT ON COLUMN s$batch.t_$batch_%s.c5 IS ''What somebody wrote''', n);
  END LOOP;
END $do$";
