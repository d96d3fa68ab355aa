//! The back door against a real PostgreSQL.

mod catalog;
mod connect;
mod execute;
mod newest;
mod noticed;
mod pool;
mod secure;
mod stand;
mod timeouts;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use portcullis::cli::demo::cluster::{Cluster, ClusterError};

use crate::support::{Database, cluster};

#[tokio::test]
async fn a_fresh_cluster_starts_asks_for_the_password_and_leaves_nothing_behind() {
    let cluster = Cluster::start().await.unwrap();
    let client = cluster.connect("postgres").await.unwrap();
    let row = client.query_one("SELECT current_user::text, inet_server_port()", &[]).await.unwrap();
    assert_eq!(row.get::<_, &str>(0), "postgres");
    let guess = tokio_postgres::Config::new()
        .host("127.0.0.1")
        .port(cluster.port())
        .user("postgres")
        .password("guess")
        .connect(tokio_postgres::NoTls)
        .await;
    assert_eq!(guess.err().unwrap().code().unwrap().code(), "28P01");
    let folder = cluster.socket_dir();
    for private in [folder.as_path(), folder.parent().unwrap()] {
        assert_eq!(fs::metadata(private).unwrap().permissions().mode() & 0o777, 0o700, "{private:?}");
    }
    cluster.stop().await.unwrap();
    assert!(!folder.parent().unwrap().exists());
}

#[tokio::test]
async fn a_dropped_cluster_leaves_nothing_behind() {
    let folder = {
        let cluster = Cluster::start().await.unwrap();
        cluster.socket_dir()
    };
    assert!(!folder.parent().unwrap().exists());
}

#[tokio::test]
async fn every_database_is_fresh() {
    let one = Database::with("CREATE TABLE t ()").await;
    let two = Database::with("").await;
    assert!(two.connect().await.batch_execute("SELECT FROM t").await.is_err());
    assert!(one.connect().await.batch_execute("SELECT FROM t").await.is_ok());
}

#[tokio::test]
async fn refused_sql_is_reported_in_words() {
    let error = cluster().await.execute_sql("postgres", "SELEKT 1").await.unwrap_err();
    assert!(matches!(error, ClusterError::Sql { .. }));
    assert_eq!(
        error.to_string(),
        "database `postgres` of the throw-away cluster refused: syntax error at or near \"SELEKT\""
    );
}
