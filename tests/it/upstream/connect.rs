//! Opening and cancelling upstream sessions on a real PostgreSQL.

use std::error::Error as _;

use portcullis::gate::RunMode;
use portcullis::upstream::{ConnectError, LinkError, Outbox, RunError};

use super::stand::Stand;

#[tokio::test]
async fn a_session_is_pinned_whatever_its_client_asks_for() {
    let stand = Stand::with(
        "CREATE ROLE svc LOGIN; ALTER ROLE postgres SET search_path = pg_temp;
         ALTER ROLE postgres SET standard_conforming_strings = off;
         ALTER ROLE postgres SET client_encoding = latin1;",
    )
    .await;
    let link = stand.open().await.unwrap();
    let reported = |name| {
        let found = link.parameters().iter().find(|(parameter, _)| parameter == name);
        found.map(|(_, value)| value.as_str())
    };
    assert_eq!(reported("client_encoding"), Some("UTF8"));
    assert_eq!(reported("standard_conforming_strings"), Some("on"));
    assert_eq!(reported("TimeZone"), Some("Asia/Tokyo"));
    assert!(reported("server_version").is_some());
    drop(link);
    let shown = stand
        .read(
            "SELECT current_setting('search_path'), current_setting('application_name'), current_user::text,
                    current_setting('statement_timeout'), current_setting('row_security')",
        )
        .await
        .unwrap();
    let shown: Vec<_> = shown.rows[0].iter().map(|value| value.as_deref().unwrap()).collect();
    assert_eq!(shown, [r#""public", "odd""one", pg_temp"#, "portcullis:ana:te?st", "postgres", "20s", "on"]);
}

#[tokio::test]
async fn a_wrong_password_is_the_gateways_own_trouble_and_says_so() {
    let stand = Stand::altered("", |settings| settings.service.password = "wrong".into()).await;
    let error = stand.open().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "database `shop` refused the gateway's credential (28P01): password authentication failed for user \"postgres\""
    );
}

#[tokio::test]
async fn a_database_that_does_not_exist_is_named() {
    let stand = Stand::altered("", |settings| settings.database = "nowhere".into()).await;
    let error = stand.open().await.unwrap_err();
    let ConnectError::Refused { answer, .. } = error else { panic!("{error}") };
    assert_eq!((answer.sqlstate(), answer.message()), ("3D000", "database \"nowhere\" does not exist"));
}

#[tokio::test]
async fn a_dead_port_a_missing_socket_and_an_unknown_host_are_named() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let dead = listener.local_addr().unwrap().port();
    drop(listener);
    let stand = Stand::altered("", |settings| settings.port = dead).await;
    let error = stand.open().await.unwrap_err();
    assert_eq!(error.to_string(), format!("database `shop` can't be reached at 127.0.0.1:{dead}"));
    assert!(error.source().unwrap().to_string().contains("refused"));
    for host in ["/nowhere", "no.such.host.invalid"] {
        let stand = Stand::altered("", |settings| settings.host = host.into()).await;
        assert!(matches!(stand.open().await, Err(ConnectError::Unreachable { .. })), "{host}");
    }
}

#[tokio::test]
async fn a_unix_socket_will_do() {
    let folder = crate::support::cluster().await.socket_dir();
    let stand = Stand::altered("", |settings| settings.host = folder.to_str().unwrap().to_owned()).await;
    let result = stand.read("SELECT inet_server_addr() IS NULL").await.unwrap();
    assert_eq!(result.rows, [[Some("t".to_owned())]]);
}

#[tokio::test]
async fn a_role_that_may_not_log_in_by_scram_is_not_tried_otherwise() {
    let stand =
        Stand::altered("SET password_encryption = md5; CREATE ROLE old LOGIN PASSWORD 'x';", |settings| {
            settings.service.user = "old".into();
            settings.service.password = "x".into();
        })
        .await;
    let error = stand.open().await.unwrap_err();
    assert!(
        matches!(error, ConnectError::Refused { ref answer, .. } if answer.sqlstate() == "28P01"),
        "{error}"
    );
}

#[tokio::test]
async fn the_end_of_a_connection_is_told_to_its_reader() {
    let stand = Stand::with("").await;
    let mut link = stand.open().await.unwrap();
    let mut outbox = Outbox::new();
    outbox.terminate();
    link.send(&mut outbox).await.unwrap();
    assert!(matches!(link.receive().await, Err(LinkError::Closed)));
    assert!(matches!(link.receive().await, Err(LinkError::Closed)));
}

#[tokio::test]
async fn a_cancel_stops_what_runs_on_its_own_session_only() {
    let stand = Stand::with("").await;
    let victim = stand.open().await.unwrap();
    let bystander = stand.open().await.unwrap();
    let context = std::sync::Arc::clone(victim.context());
    let proof = stand.admit(&context, "SELECT pg_sleep(15)", RunMode::Read { max_rows: 1 }).await;
    let canceller = victim.canceller();
    let running = stand.start(victim, proof);
    bystander.canceller().cancel().await;
    let sleeping =
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(15)%' AND state = 'active'
                    AND application_name LIKE 'portcullis:%'";
    while stand.number(sleeping).await == 0 {}
    canceller.cancel().await;
    let outcome = running.await.unwrap();
    let Err(RunError::Server { sqlstate, .. }) = outcome else { panic!("{outcome:?}") };
    assert_eq!(sqlstate, "57014");
    assert_eq!(stand.settled(), ["error:57014:0"]);
}
