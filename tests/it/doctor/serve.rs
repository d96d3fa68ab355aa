//! A gateway that does not start by a dangerous role, or does not use it.

use std::collections::{BTreeMap, BTreeSet};

use portcullis::cli::demo::shop;
use portcullis::serve::Gateway;
use portcullis::upstream::{Kind, Upstream};
use tokio_postgres::NoTls;

use crate::support::gateway::Stand;

#[tokio::test(flavor = "multi_thread")]
async fn the_shops_roles_are_not_dangerous() {
    let stand = Stand::start().await;
    let upstream = Upstream::new(stand.settings.databases.clone());
    for seen in upstream.examine(shop::NAME, |_| Vec::new()).await {
        let seen = seen.unwrap();
        assert_eq!(seen.dangers().count(), 0, "{seen}");
        let names: BTreeSet<&str> = seen.findings.iter().map(|finding| finding.kind.name()).collect();
        assert_eq!(names, BTreeSet::from(["large_objects", "sql_from_text"]), "{}", seen.user);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_superusers_credential_is_refused_with_words_that_help_and_used_once_accepted() {
    let stand = Stand::start().await;
    let alter = format!("ALTER ROLE {} SUPERUSER", shop::FULL_USER);
    stand.cluster.execute_sql("postgres", &alter).await.unwrap();
    let mut settings = stand.settings.clone();
    settings.state_path = stand.home.path().join("elsewhere");
    let said = Gateway::start(settings.clone()).await.expect_err("it started").to_string();
    for part in [
        "database `shop`, role `full`, user \"portcullis_full\"",
        "superuser: It passes every check",
        "`portcullis doctor`",
        "under [[database.role]] `full` of `shop`: accept = [\"superuser\"]",
    ] {
        assert!(said.contains(part), "`{part}` in:\n{said}");
    }
    assert!(!said.contains(shop::SERVICE_USER), "{said}");
    // Accepted of another role, or something else, is not accepted.
    for (role, kind) in [("", Kind::Superuser), ("full", Kind::Replication)] {
        settings.databases[0].accepted = BTreeMap::from([(role.to_owned(), BTreeSet::from([kind]))]);
        Gateway::start(settings.clone()).await.expect_err("it started");
    }
    settings.databases[0].accepted = BTreeMap::from([("full".to_owned(), BTreeSet::from([Kind::Superuser]))]);
    Gateway::start(settings).await.unwrap().stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_away_at_the_start_is_examined_before_the_first_session() {
    let stand = Stand::start().await;
    // Nobody gets in while the gateway starts.
    let lock = |login: &str| format!("ALTER ROLE {} {login}", shop::SERVICE_USER);
    stand.cluster.execute_sql("postgres", &lock("NOLOGIN CREATEDB")).await.unwrap();
    let stand = stand.restart().await;
    stand.cluster.execute_sql("postgres", &lock("LOGIN")).await.unwrap();
    let error = stand.wire_config("ana").connect(NoTls).await.err().expect("a session");
    let said = format!("{:?}", error.as_db_error().map(tokio_postgres::error::DbError::message));
    assert!(said.contains("may do more than the gateway lets anybody do"), "{error:?}");
    // Mended, it is used, without another start.
    stand.cluster.execute_sql("postgres", &lock("NOCREATEDB")).await.unwrap();
    stand.wire("ana").await.simple_query("SELECT 1").await.unwrap();
}
