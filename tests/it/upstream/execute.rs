//! Statements from BEGIN to COMMIT on a real PostgreSQL.

use portcullis::gate::RunMode;
use portcullis::upstream::RunError;

use super::stand::Stand;

const PEOPLE: &str = "
    CREATE TABLE people (id int PRIMARY KEY, name text, ssn text UNIQUE);
    INSERT INTO people SELECT g, 'p' || g, '000-' || g FROM generate_series(1, 20) g;
    CREATE TABLE log (id int);
    CREATE FUNCTION purge() RETURNS int LANGUAGE sql AS 'DELETE FROM public.log RETURNING 1';
    INSERT INTO log SELECT generate_series(1, 9);";

fn code(error: &RunError) -> &str {
    let RunError::Server { sqlstate, .. } = error else { panic!("{error:?}") };
    sqlstate
}

#[tokio::test]
async fn a_read_gives_typed_columns_rows_and_a_settled_receipt() {
    let stand = Stand::with(PEOPLE).await;
    let result = stand
        .read("SELECT id, name, NULL AS nothing FROM log JOIN people USING (id) ORDER BY 1 LIMIT 2")
        .await;
    let result = result.unwrap();
    let names: Vec<_> = result.columns.iter().map(|column| (column.name.as_str(), column.type_oid)).collect();
    assert_eq!(names, [("id", 23), ("name", 25), ("nothing", 25)]);
    assert_eq!(result.rows[1], [Some("2".to_owned()), Some("p2".to_owned()), None]);
    assert_eq!((result.rows.len(), result.truncated, result.tag.as_str()), (2, false, "SELECT 2"));
    assert_eq!(stand.settled(), ["ok::2"]);
}

#[tokio::test]
async fn a_read_is_cut_at_what_was_asked_for_and_at_the_identitys_ceiling() {
    let stand = Stand::with(PEOPLE).await;
    let result = stand.run("SELECT id FROM log", RunMode::Read { max_rows: 4 }).await.unwrap();
    assert_eq!((result.rows.len(), result.truncated, result.tag.as_str()), (4, true, "SELECT 4"));
    let exact = stand.run("SELECT id FROM log", RunMode::Read { max_rows: 9 }).await.unwrap();
    assert_eq!((exact.rows.len(), exact.truncated), (9, false));
    let mode = RunMode::Read { max_rows: u64::MAX };
    let ceiling = stand.run("SELECT generate_series(1, 5000)", mode).await.unwrap();
    assert_eq!((ceiling.rows.len(), ceiling.truncated), (1000, true));
}

#[tokio::test]
async fn a_read_can_write_nothing_and_leaves_nothing_behind() {
    let stand = Stand::with(PEOPLE).await;
    for sql in
        ["DELETE FROM log", "SELECT purge()", "WITH d AS (DELETE FROM log RETURNING 1) SELECT 1 FROM d"]
    {
        assert_eq!(code(&stand.read(sql).await.unwrap_err()), "25006", "{sql}");
    }
    assert_eq!(stand.number("SELECT count(*) FROM log").await, 9);
}

#[tokio::test]
async fn a_write_within_its_bound_is_committed_and_beyond_it_rolled_back() {
    let stand = Stand::with(PEOPLE).await;
    let result = stand.write("UPDATE log SET id = id + 100 WHERE id < 4 RETURNING id", 3).await.unwrap();
    assert_eq!((result.affected, result.rows.len(), result.tag.as_str()), (3, 3, "UPDATE 3"));
    let error = stand.write("DELETE FROM log", 8).await.unwrap_err();
    assert_eq!(error.to_string(), "9 rows would be affected, and at most 8 may be; nothing was changed");
    assert_eq!(stand.number("SELECT count(*) FROM log").await, 9);
    assert_eq!(stand.number("SELECT count(*) FROM log WHERE id > 100").await, 3);
    assert_eq!(stand.settled(), ["ok::3", "stopped::0"]);
}

#[tokio::test]
async fn rows_that_the_tag_does_not_count_are_bounded_all_the_same() {
    let stand = Stand::with(PEOPLE).await;
    for sql in [
        "WITH d AS (DELETE FROM log RETURNING 1) SELECT 1",
        "WITH d AS (DELETE FROM log RETURNING 1) UPDATE people SET name = 'x' WHERE id = 1",
        "SELECT purge()",
        "UPDATE people SET name = purge()::text WHERE id = 1",
        "CREATE TABLE copied AS SELECT id FROM log",
    ] {
        let error = stand.write(sql, 2).await.unwrap_err();
        assert!(matches!(error, RunError::TooManyAffected { affected: 9.., allowed: 2 }), "{sql}: {error}");
    }
    assert_eq!(code(&stand.write("TRUNCATE log", 2).await.unwrap_err()), "0A000");
    assert_eq!(stand.number("SELECT count(*) FROM log").await, 9);
    assert_eq!(stand.number("SELECT count(*) FROM pg_class WHERE relname = 'copied'").await, 0);
}

#[tokio::test]
async fn a_statement_cant_leave_its_transaction_from_within() {
    let stand = Stand::with(
        "CREATE TABLE log (id int);
         CREATE PROCEDURE sneak() LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.log VALUES (1); COMMIT; END'",
    )
    .await;
    for sql in ["CALL sneak()", "DO 'BEGIN INSERT INTO public.log VALUES (1); COMMIT; END'"] {
        let error = stand.run(sql, RunMode::Write { max_affected: None }).await.unwrap_err();
        assert_eq!(code(&error), "2D000", "{sql}");
    }
    assert_eq!(stand.number("SELECT count(*) FROM log").await, 0);
}

#[tokio::test]
async fn copy_to_and_from_the_client_is_refused_and_does_not_hang() {
    let stand = Stand::with(PEOPLE).await;
    for sql in ["COPY log FROM STDIN", "COPY log TO STDOUT"] {
        let error = stand.run(sql, RunMode::Write { max_affected: None }).await.unwrap_err();
        assert_eq!(code(&error), "0A000", "{sql}");
    }
    assert_eq!(stand.number("SELECT count(*) FROM log").await, 9);
}

#[tokio::test]
async fn what_fails_at_commit_has_failed() {
    let stand = Stand::with("CREATE TABLE t (id int UNIQUE DEFERRABLE INITIALLY DEFERRED)").await;
    let error = stand.write("INSERT INTO t VALUES (1), (1)", 2).await.unwrap_err();
    assert_eq!(code(&error), "23505");
    assert_eq!(stand.number("SELECT count(*) FROM t").await, 0);
    assert_eq!(stand.settled(), ["error:23505:0"]);
}

#[tokio::test]
async fn an_error_keeps_its_words_unless_the_statement_touches_masked_columns() {
    let stand = Stand::with(PEOPLE).await;
    let open = stand.read("SELECT id / 0 FROM log").await.unwrap_err();
    assert_eq!(open.to_string(), "division by zero (22012)");
    let governed = stand.read("SELECT name::int FROM people").await.unwrap_err();
    assert_eq!(code(&governed), "22P02");
    assert!(!governed.to_string().contains("p1"), "{governed}");
    assert!(governed.to_string().contains("withheld"), "{governed}");
    let masked = stand.read("SELECT DISTINCT ssn FROM people").await.unwrap();
    assert_eq!(masked.rows, [[Some("***".to_owned())]]);
}

#[tokio::test]
async fn notices_come_along_bounded() {
    let stand = Stand::with(
        "CREATE FUNCTION chat(n int) RETURNS int LANGUAGE plpgsql AS
         'BEGIN FOR i IN 1..n LOOP RAISE NOTICE ''%'', repeat(''x'', 5000); END LOOP; RETURN n; END'",
    )
    .await;
    let result = stand.read("SELECT chat(200)").await.unwrap();
    assert_eq!(result.notices.len(), 50);
    assert!(result.notices.iter().all(|notice| notice.starts_with("NOTICE: xxx") && notice.len() <= 1000));
}

#[tokio::test]
async fn a_result_too_big_to_hold_is_stopped() {
    let stand = Stand::with("").await;
    for sql in ["SELECT repeat('x', 100000000)", "SELECT repeat('x', 1000000) FROM generate_series(1, 90)"] {
        let error = stand.read(sql).await.unwrap_err();
        assert!(matches!(error, RunError::Stopped(_)), "{sql}: {error}");
    }
    assert_eq!(stand.settled(), ["stopped::0", "stopped::0"]);
}

#[tokio::test]
async fn a_connection_that_breaks_before_commit_has_changed_nothing() {
    let stand = Stand::with(PEOPLE).await;
    let error = stand
        .run(
            "DELETE FROM log WHERE pg_terminate_backend(pg_backend_pid())",
            RunMode::Write { max_affected: None },
        )
        .await
        .unwrap_err();
    assert!(matches!(&error, RunError::Broken(_)), "{error}");
    assert_eq!(stand.number("SELECT count(*) FROM log").await, 9);
}
