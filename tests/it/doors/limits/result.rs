//! Results that the rulebook is asked about while they go on, and rules that are replaced meanwhile.

use std::fs;

use portcullis::audit::Event;
use serde_json::json;

use super::{rule, stand_with, until_closed, whys};
use crate::doors::announced;
use crate::support::gateway::Stand;
use crate::wire_real::Raw;
use crate::wire_sim::rig::{bind, execute, message, parse, query, run, sync};

/// Rows leave as long as there are no more than `most` of them, or bytes.
fn at_most(what: &str, most: u64) -> String {
    format!(
        "deny contains {{\"rule\": \"enough\", \"message\": \"that is enough\", \"hint\": \"\"}} if \
         input.result.{what} >= {most}\n"
    )
}

const MANY: &str = "SELECT n FROM generate_series(1, 5000) AS n";

async fn asked(rules: &str) -> Stand {
    stand_with("", |home| rule(home, "result", rules)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_ends_where_the_rulebook_says_so_whichever_way_it_comes() {
    let stand = asked(&at_most("rows", 2000)).await;
    let mut raw = Raw::session(&stand, "dora").await;
    let rows = |heard: &str| heard.split(' ').filter(|word| matches!(*word, "D" | "d")).count();
    let copy = query(&format!("COPY ({MANY}) TO STDOUT"));
    for (way, bytes) in [
        ("a query", query(MANY)),
        ("a series", [run(MANY), sync()].concat()),
        ("the second of two", query(&format!("SELECT 1; {MANY}"))),
        ("copy", copy),
    ] {
        let heard = raw.ask(&bytes).await;
        assert!(heard.ends_with("E(42501) Z(I)"), "{way}");
        let single = usize::from(way.starts_with("the second"));
        assert_eq!(rows(&heard), 2000 + single, "{way}");
    }
    // A portal that is run a part at a time is one result.
    raw.ask(&query("BEGIN")).await;
    raw.ask(&[parse("", MANY), bind("p", ""), sync()].concat()).await;
    let mut all = 0;
    let ended = loop {
        let heard = raw.ask(&[execute("p", 700), sync()].concat()).await;
        all += rows(&heard);
        if !heard.ends_with("s Z(T)") {
            break heard;
        }
    };
    assert_eq!(all, 2000);
    assert!(ended.ends_with("E(42501) Z(E)"), "{ended}");
    raw.ask(&query("ROLLBACK")).await;
    assert_eq!(raw.ask(&query("SELECT 1")).await, "T D C(SELECT 1) Z(I)");
    let whys = whys(&stand).await;
    assert_eq!(whys, vec!["enough: that is enough"; 5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_is_asked_about_before_its_first_row_by_its_columns_and_every_mebibyte() {
    let by_column = "deny contains {\"rule\": \"no_names\", \"message\": \"no names\", \"hint\": \"\"} if {\n\t\
                     some column in input.result.columns\n\tcolumn.name == \"who\"\n\t\
                     \"public.customers.name\" in column.sources\n}\n";
    let stand = asked(&format!("{by_column}{}", at_most("bytes", 3_000_000))).await;
    let mut raw = Raw::session(&stand, "dora").await;
    assert_eq!(raw.ask(&query("SELECT name AS who FROM customers")).await, "T E(42501) Z(I)");
    assert_eq!(
        raw.ask(&[run("SELECT name AS who FROM customers"), sync()].concat()).await,
        "1 2 E(42501) Z(I)"
    );
    assert_eq!(raw.ask(&query("SELECT name AS what FROM customers LIMIT 1")).await, "T D C(SELECT 1) Z(I)");
    let wide = "SELECT repeat('x', 600000) FROM generate_series(1, 50)";
    let heard = raw.ask(&query(wide)).await;
    // Two rows are more than a mebibyte: it is asked about after each second one, or sooner where a row comes in parts.
    let possible = [5, 6].map(|rows| format!("T {}E(42501) Z(I)", "D ".repeat(rows)));
    assert!(possible.contains(&heard), "{heard}");
    // One row that has begun to leave leaves to its end.
    assert_eq!(raw.ask(&query("SELECT repeat('x', 9000000)")).await, "T D C(SELECT 1) Z(I)");
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_of_a_result_are_raised_once_and_its_labels_are_read_by_what_comes_next() {
    let stand = stand_with("", |home| {
        let noted = "alert contains {\"rule\": \"bulk\", \"message\": \"much\", \"hint\": \"\"} if input.result.rows >= 1000\n\n\
                     label contains \"bulk\" if input.result.rows >= 1000\n";
        rule(home, "result", noted);
        let after = "deny contains {\"rule\": \"after\", \"message\": \"not after that\", \"hint\": \"\"} if {\n\t\
                     \"bulk\" in input.labels.session\n\tinput.statement.kind == \"update\"\n}\n";
        rule(home, "statement", after);
    })
    .await;
    let mut raw = Raw::session(&stand, "dora").await;
    let update = query("UPDATE orders SET status = 'returned' WHERE id = 7");
    assert_eq!(raw.ask(&update).await, "C(UPDATE 1) Z(I)");
    assert!(raw.ask(&query(MANY)).await.ends_with("C(SELECT 5000) Z(I)"));
    assert_eq!(raw.ask(&update).await, "E(42501) Z(I)");
    stand.gateway.gate().close_ledger().await.unwrap();
    let alerts = stand.ledger().into_iter().filter(|entry| matches!(entry.record.event, Event::Alert { .. }));
    assert_eq!(alerts.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agents_result_is_asked_about_too() {
    let stand = asked(&at_most("rows", 0)).await;
    let agent = stand.mcp("dora").await;
    let answer = agent.call("query", json!({"sql": "SELECT 1"})).await;
    assert_eq!((&answer["error"]["code"], &answer["error"]["rule"]), (&json!("policy"), &json!("enough")));
}

const NO_SERIES: &str = "deny contains {\"rule\": \"no_series\", \"message\": \"no more of that\", \"hint\": \"\"} if {\n\t\
                         some function in input.statement.functions\n\tcontains(function.key, \"generate_series\")\n}\n";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_denied_by_new_rules_does_not_go_on() {
    let stand = stand_with("CREATE TABLE notes (note text); GRANT ALL ON notes TO PUBLIC", |_| {}).await;
    let mut portal = Raw::session(&stand, "dora").await;
    portal.ask(&query("BEGIN")).await;
    portal.ask(&[parse("", MANY), bind("p", ""), bind("q", ""), execute("p", 1), sync()].concat()).await;
    let mut long = Raw::session(&stand, "dora").await;
    // More than all buffers on the way hold: its client does not read.
    long.send(&query("SELECT n, repeat('x', 10000) FROM generate_series(1, 20000) AS n")).await;
    assert_eq!(long.peek().await, Some(b'T'));
    let mut copy = Raw::session(&stand, "dora").await;
    copy.send(&query("COPY notes FROM STDIN")).await;
    assert_eq!(copy.frame().await.unwrap().tag, b'G');
    let no_copy = "deny contains {\"rule\": \"no_copy\", \"message\": \"no\", \"hint\": \"\"} if input.statement.kind == \"copy\"\n";
    rule(stand.home.path(), "statement", &format!("{NO_SERIES}\n{no_copy}"));
    announced(&stand, "replaced").await;
    for name in ["p", "q"] {
        let heard = portal.ask(&[execute(name, 1), sync()].concat()).await;
        assert!(heard.starts_with("E(42501)") || heard.starts_with("E(25P02)"), "{name}: {heard}");
    }
    let heard = long.until_ready().await;
    assert!(heard.ends_with("E(42501) Z(I)"), "{}", heard.len());
    assert!(heard.matches('D').count() < 20_000);
    copy.send(&message(b'd', |body| body.extend_from_slice(b"one\n"))).await;
    assert_eq!(copy.until_ready().await, "E(42501) Z(I)");
    assert_eq!(copy.ask(&query("SELECT 1")).await, "T D C(SELECT 1) Z(I)");
    portal.ask(&query("ROLLBACK")).await;
    let whys = whys(&stand).await;
    assert!(
        whys.len() >= 3 && whys.iter().all(|why| why.contains("the rules changed while it ran")),
        "{whys:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn masks_and_ceilings_that_are_stricter_now_end_what_was_begun_under_others_and_laxer_ones_do_not() {
    let stand = stand_with("", |_| {}).await;
    let open = async |sql: &str| {
        let mut raw = Raw::session(&stand, "dora").await;
        raw.ask(&query("BEGIN")).await;
        let heard = raw.ask(&[parse("", sql), bind("p", ""), execute("p", 1), sync()].concat()).await;
        assert_eq!(heard, "1 2 D s Z(T)");
        raw
    };
    let (mut masked, mut other) =
        (open("SELECT name FROM customers").await, open("SELECT id FROM orders").await);
    let mask = "mask contains {\"relation\": \"public.customers\", \"column\": \"name\", \"type\": \"redact\", \"value\": \"*\"}\n";
    rule(stand.home.path(), "statement", mask);
    announced(&stand, "replaced").await;
    let next = [execute("p", 1), sync()].concat();
    assert_eq!(masked.ask(&next).await, "E(42501) Z(E)");
    assert_eq!(other.ask(&next).await, "D s Z(T)");
    masked.ask(&query("ROLLBACK")).await;
    // As many as were fetched already.
    rule(stand.home.path(), "statement", &format!("{mask}\nlimit contains {{\"rows\": 2}}\n"));
    let stricter = loop {
        let heard = other.ask(&next).await;
        if heard != "D s Z(T)" {
            break heard;
        }
    };
    assert_eq!(stricter, "E(42501) Z(E)");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_disabled_or_loses_the_database_has_no_session_any_more() {
    for (from, to) in
        [("kind = \"human\"", "kind = \"human\"\ndisabled = true"), ("[scope.shop]", "[scope.other]")]
    {
        let stand = stand_with("", |_| {}).await;
        let mut idle = Raw::session(&stand, "dora").await;
        idle.ask(&query("BEGIN")).await;
        let mut long = Raw::session(&stand, "dora").await;
        long.send(&query("SELECT n, repeat('x', 10000) FROM generate_series(1, 20000) AS n")).await;
        assert_eq!(long.peek().await, Some(b'T'));
        let file = stand.home.path().join("agents/dora.toml");
        fs::write(&file, fs::read_to_string(&file).unwrap().replace(from, to)).unwrap();
        announced(&stand, "replaced").await;
        idle.send(&query("COMMIT")).await;
        let (words, errors) = until_closed(&mut idle).await;
        assert_eq!(words, "E(57P01)", "{errors:?}");
        assert!(errors[0].contains("the rules changed, and end this session"), "{errors:?}");
        let (words, _) = until_closed(&mut long).await;
        assert!(words.matches('D').count() < 20_000, "{to}");
        assert!(!words.contains("C(SELECT"), "{to}");
    }
}
