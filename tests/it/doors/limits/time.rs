//! Time limits of statements, and lifetimes of sessions.

use portcullis::approval::State;
use serde_json::json;
use tokio_postgres::SimpleQueryMessage;
use tokio_postgres::error::SqlState;

use super::{rule, stand, stand_with, until_closed, whys};
use crate::doors::pending;
use crate::wire_real::Raw;
use crate::wire_sim::rig::{bind, execute, message, parse, query, run, sync, word};

const LIMIT: &str = "limit contains {\"time_ms\": 300} if not input.statement.kind in {\"set\", \"begin\"}\n";

const FUNCTIONS: &str = "
    CREATE FUNCTION naps() RETURNS int LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(60); RETURN 1; END $$;
    CREATE FUNCTION planned(int) RETURNS int LANGUAGE plpgsql IMMUTABLE
        AS $$ BEGIN PERFORM pg_sleep(60); RETURN 1; END $$;
    CREATE FUNCTION stubborn() RETURNS int LANGUAGE plpgsql AS $$
    BEGIN
        FOR nap IN 1..12 LOOP
            BEGIN PERFORM pg_sleep(2); EXCEPTION WHEN query_canceled THEN NULL; END;
        END LOOP;
        RETURN 1;
    END $$;
    GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO PUBLIC;
";

#[tokio::test(flavor = "multi_thread")]
async fn whatever_takes_longer_than_it_may_is_ended_and_the_session_goes_on() {
    let stand = stand(LIMIT, FUNCTIONS).await;
    let client = stand.wire("dora").await;
    client.simple_query("SET statement_timeout = 0").await.unwrap();
    let slow = [
        "SELECT pg_sleep(60)",
        "SELECT public.naps()",
        "SELECT 1; SELECT 2; SELECT public.naps()",
        "DO $$ BEGIN PERFORM pg_sleep(60); END $$",
        "SELECT id FROM orders a WHERE public.naps() = a.id",
        "PREPARE p AS SELECT public.naps(); EXECUTE p",
        "EXPLAIN ANALYZE SELECT public.naps()",
    ];
    for sql in slow {
        let error = client.simple_query(sql).await.unwrap_err();
        let error = error.as_db_error().unwrap_or_else(|| panic!("{sql}: {error}"));
        assert_eq!((error.code(), error.severity()), (&SqlState::QUERY_CANCELED, "ERROR"), "{sql}");
        assert!(error.message().contains("longer than 300 ms"), "{sql}: {error}");
        client.simple_query("SELECT 1").await.unwrap();
    }
    for sql in ["SELECT public.naps()", "SELECT public.planned(1)"] {
        let error = client.query(sql, &[]).await.unwrap_err();
        assert!(error.as_db_error().unwrap().message().contains("longer than 300 ms"), "{sql}: {error}");
        client.query("SELECT 1", &[]).await.unwrap();
    }
    let whys = whys(&stand).await;
    assert_eq!(whys.len(), slow.len() + 2, "{whys:?}");
    assert!(whys.iter().all(|why| why.contains("longer than 300 ms")), "{whys:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_has_the_time_of_its_commit_and_of_each_fetch() {
    let stand = stand(
        "limit contains {\"time_ms\": 300} if input.statement.kind in {\"declare_cursor\", \"fetch\"}\n",
        FUNCTIONS,
    )
    .await;
    let declare = "DECLARE c CURSOR WITH HOLD FOR SELECT public.naps()";
    let client = stand.wire("dora").await;
    // The query of a cursor that outlives its transaction runs when that ends.
    client.simple_query(&format!("BEGIN; {declare}")).await.unwrap();
    let error = client.simple_query("COMMIT").await.unwrap_err();
    assert!(error.as_db_error().unwrap().message().contains("longer than 300 ms"), "{error}");
    let error = client.simple_query(declare).await.unwrap_err();
    assert!(error.as_db_error().unwrap().message().contains("longer than 300 ms"), "{error}");
    client.simple_query("BEGIN; DECLARE c CURSOR FOR SELECT public.naps()").await.unwrap();
    let error = client.simple_query("FETCH 1 FROM c").await.unwrap_err();
    assert!(error.as_db_error().unwrap().message().contains("longer than 300 ms"), "{error}");
    let mut raw = Raw::session(&stand, "dora").await;
    // By the extended protocol the Sync is its end.
    assert_eq!(raw.ask(&[run(declare), sync()].concat()).await, "1 2 C(DECLARE CURSOR) E(57014) Z(I)");
    assert_eq!(raw.ask(&query("SELECT 1")).await, "T D C(SELECT 1) Z(I)");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_in_a_pipeline_behind_it_is_skipped_and_what_is_sent_next_is_not_hit() {
    let stand = stand(LIMIT, FUNCTIONS).await;
    let mut raw = Raw::session(&stand, "dora").await;
    let update = run("UPDATE orders SET status = 'returned' WHERE id = 8");
    let series = [update.clone(), run("SELECT public.naps()"), update, sync(), query("SELECT 1")].concat();
    assert_eq!(raw.ask(&series).await, "1 2 C(UPDATE 1) 1 2 E(57014) Z(I)");
    assert_eq!(raw.until_ready().await, "T D C(SELECT 1) Z(I)");
    for _ in 0..20 {
        // Each ends by itself about when its time is over: whichever comes first, the next one is whole.
        let near = raw.ask(&query("SELECT pg_sleep(0.2999)")).await;
        assert!(near == "T D C(SELECT 1) Z(I)" || near == "T E(57014) Z(I)", "{near}");
        assert_eq!(raw.ask(&query("SELECT 1")).await, "T D C(SELECT 1) Z(I)");
        let near = raw.ask(&[run("SELECT pg_sleep(0.2999)"), sync()].concat()).await;
        assert!(near == "1 2 D C(SELECT 1) Z(I)" || near == "1 2 E(57014) Z(I)", "{near}");
        assert_eq!(raw.ask(&[run("SELECT 1"), sync()].concat()).await, "1 2 D C(SELECT 1) Z(I)");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_one_at_a_time_have_no_more_time_together() {
    let stand = stand(LIMIT, "").await;
    let mut raw = Raw::session(&stand, "dora").await;
    raw.ask(&query("BEGIN")).await;
    let sql = "SELECT pg_sleep(0.1) FROM generate_series(1, 50)";
    raw.ask(&[parse("", sql), bind("p", ""), sync()].concat()).await;
    let mut rows = 0;
    while raw.ask(&[execute("p", 1), sync()].concat()).await == "D s Z(T)" {
        rows += 1;
    }
    assert!((1..4).contains(&rows), "{rows}");
    assert_eq!(raw.ask(&query("ROLLBACK")).await, "C(ROLLBACK) Z(I)");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_catches_cancels_ends_its_session() {
    let stand = stand(LIMIT, FUNCTIONS).await;
    let mut raw = Raw::session(&stand, "dora").await;
    raw.send(&query("SELECT public.stubborn()")).await;
    let (words, errors) = until_closed(&mut raw).await;
    assert_eq!(words, "E(57014)", "{errors:?}");
    assert!(errors[0].contains("SFATAL") && errors[0].contains("could not be cancelled"), "{errors:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_whose_client_takes_its_time_is_ended() {
    let notes = "CREATE TABLE notes (note text); GRANT ALL ON notes TO PUBLIC";
    let stand = stand("limit contains {\"time_ms\": 300} if input.statement.kind == \"copy\"\n", notes).await;
    let mut raw = Raw::session(&stand, "dora").await;
    assert_eq!(raw.ask(&query("COPY (SELECT pg_sleep(60)) TO STDOUT")).await, "H E(57014) Z(I)");
    for by_query in [true, false] {
        let mut raw = Raw::session(&stand, "dora").await;
        let copy = "COPY notes FROM STDIN";
        raw.send(&if by_query { query(copy) } else { run(copy) }).await;
        raw.send(&message(b'd', |body| body.extend_from_slice(b"one\n"))).await;
        let mut heard = String::new();
        while !heard.ends_with("E(57014)") {
            heard.push_str(&word(&raw.frame().await.unwrap()));
        }
        let end = if by_query { raw.until_ready().await } else { raw.ask(&sync()).await };
        assert_eq!(end, "Z(I)");
        raw.send(&message(b'd', |body| body.extend_from_slice(b"two\n"))).await;
        assert_eq!(raw.ask(&query("SELECT 1")).await, "T D C(SELECT 1) Z(I)");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_is_told_of_the_limit() {
    let stand = stand(LIMIT, FUNCTIONS).await;
    let agent = stand.mcp("dora").await;
    for (tool, call) in [
        ("query", json!({"sql": "SELECT public.naps()"})),
        ("execute", json!({"sql": "INSERT INTO tickets (id) SELECT public.naps()", "reason": "r"})),
    ] {
        let answer = agent.call(tool, call).await;
        assert_eq!(answer["error"]["code"], "time_limit", "{answer}");
        assert!(answer["error"]["message"].as_str().unwrap().contains("longer than 300 ms"), "{answer}");
    }
    assert_eq!(whys(&stand).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_with_its_lifetime_while_its_statement_waits_or_runs() {
    let held = r#"escalate contains {
	"rule": "held", "message": "", "hint": "", "groups": ["approvers"], "ttl_s": 600,
} if input.statement.kind == "update"
"#;
    let stand = stand_with("", |home| {
        rule(home, "statement", held);
        rule(home, "session", "lifetime_s contains 1\n\nlifetime_s contains 3600\n");
    })
    .await;
    for sql in ["UPDATE orders SET status = 'returned' WHERE id = 7", "SELECT pg_sleep(60)", "BEGIN"] {
        let mut raw = Raw::session(&stand, "dora").await;
        raw.send(&query(sql)).await;
        let (words, errors) = until_closed(&mut raw).await;
        assert!(words.ends_with("E(57P01)"), "{sql}: {words}");
        assert!(errors.last().unwrap().contains("lasted as long as it may"), "{errors:?}");
    }
    let requests = stand.gateway.gate().desk().requests(10).unwrap();
    assert!(requests.iter().all(|request| request.state == State::Withdrawn), "{requests:?}");
    assert_eq!(requests.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_begins_with_the_yes_not_with_the_wait_for_it() {
    let stand = stand(
        &format!(
            "{LIMIT}\nescalate contains {{\"rule\": \"held\", \"message\": \"\", \"hint\": \"\", \
             \"groups\": [\"approvers\"], \"ttl_s\": 600}} if input.statement.kind == \"update\"\n"
        ),
        "",
    )
    .await;
    let client = stand.wire("support-bot").await;
    let approve = async {
        let request = pending(&stand).await;
        tokio::time::sleep(std::time::Duration::from_millis(400)).await;
        crate::doors::decide(&stand, "priya", &request, portcullis::approval::Vote::Approve, "")
            .await
            .unwrap();
    };
    let update = "UPDATE orders SET status = 'returned' WHERE id = 7";
    let (changed, ()) = tokio::join!(client.simple_query(update), approve);
    assert!(matches!(changed.unwrap()[..], [SimpleQueryMessage::CommandComplete(1)]));
}
