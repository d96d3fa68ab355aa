//! What rules read of a session, its past and its values, and what they demand besides yes and no: by both doors.

use std::fs;

use portcullis::audit::{Event, StatementRecord};
use serde_json::json;
use tokio_postgres::{Client, NoTls};

use crate::faults::until;
use crate::support::gateway::Stand;
use crate::wire_sim::rig::query;

/// A stand with one more file in its rulebook, an add-on of the statement's decision point.
async fn with(rules: &str) -> Stand {
    with_files(&[("extra.rego", &format!("package portcullis.statement.extra\n{rules}\n"))]).await
}

async fn with_files(files: &[(&str, &str)]) -> Stand {
    Stand::start_with(|home, _| {
        for (path, text) in files {
            fs::write(home.join("policies").join(path), text).unwrap();
        }
    })
    .await
}

/// The SQLSTATE and all words of an error.
fn words(error: &tokio_postgres::Error) -> String {
    error.as_db_error().map_or_else(
        || error.to_string(),
        |error| {
            let (detail, hint) = (error.detail().unwrap_or_default(), error.hint().unwrap_or_default());
            format!("{} {} {detail} {hint}", error.code().code(), error.message())
        },
    )
}

async fn refused(client: &Client, sql: &str) -> String {
    words(&client.simple_query(sql).await.expect_err(sql))
}

/// What was decided on statements, in order.
async fn decided(stand: &Stand) -> Vec<StatementRecord> {
    stand.gateway.gate().close_ledger().await.unwrap();
    let records = stand.ledger().into_iter().filter_map(|entry| match entry.record.event {
        Event::Decided(statement) => Some(*statement),
        _ => None,
    });
    records.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_who_may_not_knock_is_asked_for_a_password() {
    let blocked = "package portcullis.connect.nets\ndeny contains {\"rule\": \"nets\", \"message\": \"not from here\", \"hint\": \"use the VPN\"} if input.application == \"\"\n";
    let stand = with_files(&[("nets.rego", blocked)]).await;
    let mut config = stand.wire_config("ana");
    let error = config.connect(NoTls).await.map(drop).unwrap_err();
    assert_eq!(words(&error), "28000 not from here  use the VPN");
    config.application_name("psql");
    config.connect(NoTls).await.map(drop).unwrap();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let mcp = format!("http://{}/mcp", stand.gateway.addresses().mcp);
    let answer = http.post(&mcp).bearer_auth(&stand.secrets["ana"]).send().await.unwrap();
    assert_eq!(answer.status(), 403);
    assert!(answer.text().await.unwrap().contains("not from here"));
    let console = format!("http://{}/api/v1/approvals", stand.gateway.addresses().console);
    let answer = http.get(&console).bearer_auth(&stand.secrets["ana"]).send().await.unwrap();
    assert_eq!(answer.status(), 403);
    stand.gateway.gate().close_ledger().await.unwrap();
    let refusals = stand.ledger().into_iter().filter_map(|entry| match entry.record.event {
        Event::Refused { reason, .. } => Some((entry.record.door.to_string(), reason)),
        _ => None,
    });
    let refusals: Vec<_> = refusals.collect();
    let of = |door: &str| (door.to_owned(), "nets: not from here".to_owned());
    assert_eq!(refusals, [of("wire"), of("mcp"), of("console")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn why_a_session_is_refused_is_the_ledgers_to_say() {
    let rules = "package portcullis.session.nets\ndeny contains {\"rule\": \"nets\", \"message\": \"not from here\"}\n";
    let stand = with_files(&[("nets.rego", rules)]).await;
    let error = stand.wire_config("ana").connect(NoTls).await.map(drop).unwrap_err();
    assert!(
        words(&error).starts_with("3D000 database `shop` does not exist or is not yours"),
        "{}",
        words(&error)
    );
    stand.gateway.gate().close_ledger().await.unwrap();
    let refusals = stand.ledger().into_iter().filter_map(|entry| match entry.record.event {
        Event::Refused { reason, .. } => Some(reason),
        _ => None,
    });
    assert_eq!(refusals.collect::<Vec<_>>(), ["nets: not from here (nets.rego:2)"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reason_for_the_ledger_only_is_in_no_answer() {
    let rules = "deny contains {\"rule\": \"honey\", \"message\": \"touched the honey table\", \"hint\": \"call security\", \"public\": false} if {\n\tsome table in input.statement.tables\n\ttable.key == \"public.tickets\"\n}";
    let stand = with(rules).await;
    let client = stand.wire("ana").await;
    let said = refused(&client, "SELECT id FROM tickets").await;
    assert!(said.starts_with("42501 the rulebook does not allow this"), "{said}");
    let agent = stand.mcp("support-bot").await;
    let answered = agent.call("query", json!({"sql": "SELECT id FROM tickets"})).await.to_string();
    let checked = agent.call("check_sql", json!({"sql": "SELECT id FROM tickets"})).await.to_string();
    for said in [said, answered, checked] {
        assert!(!said.contains("honey") && !said.contains("security"), "{said}");
    }
    let records = decided(&stand).await;
    let denied: Vec<_> = records.iter().map(|record| (record.rule.as_str(), record.place.as_str())).collect();
    assert_eq!(denied, [("honey", "extra.rego:2"); 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_read_decides_what_may_be_written() {
    let rules = "label contains \"tickets\" if {\n\tsome table in input.statement.tables\n\ttable.key == \"public.tickets\"\n}\n\
        deny contains {\"rule\": \"tainted\", \"message\": \"you have read tickets\", \"hint\": \"\"} if {\n\t\"tickets\" in input.labels.session\n\tsome table in input.statement.tables\n\ttable.key == \"public.products\"\n}\n\
        deny contains {\"rule\": \"tainted_day\", \"message\": \"you have read tickets today\", \"hint\": \"\"} if {\n\t\"tickets\" in input.labels.day\n\tsome table in input.statement.tables\n\ttable.key == \"public.orders\"\n}";
    let stand = with(rules).await;
    let (one, other) = (stand.wire("ana").await, stand.wire("ana").await);
    one.simple_query("SELECT id FROM products LIMIT 1").await.unwrap();
    assert!(refused(&one, "SELECT id FROM tickets t, nothing_there").await.starts_with("42P01"));
    one.simple_query("SELECT id FROM products LIMIT 1").await.expect("what was denied was not read");
    one.simple_query("SELECT id FROM tickets LIMIT 1").await.unwrap();
    assert!(refused(&one, "SELECT id FROM products").await.contains("you have read tickets"));
    other.simple_query("SELECT id FROM products").await.expect("another session");
    assert!(refused(&other, "SELECT id FROM orders").await.contains("today"), "but the same day");
    // At the MCP door a call has no session: what was read follows the identity.
    let agent = stand.mcp("support-bot").await;
    assert_eq!(agent.call("query", json!({"sql": "SELECT id FROM products LIMIT 1"})).await["status"], "ok");
    assert_eq!(agent.call("query", json!({"sql": "SELECT id FROM tickets LIMIT 1"})).await["status"], "ok");
    let answer =
        stand.mcp("support-bot").await.call("query", json!({"sql": "SELECT id FROM products"})).await;
    assert!(answer.to_string().contains("you have read tickets"), "{answer}");
    let records = decided(&stand).await;
    let labelled = records.iter().filter(|record| record.labels == ["tickets"]).count();
    assert_eq!(labelled, 2, "only what ran has labels");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_is_one_for_all_sessions_doors_and_restarts() {
    let rules = "deny contains {\"rule\": \"budget\", \"message\": sprintf(\"you had %d rows today\", [input.budget.day.rows]), \"hint\": \"\"} if input.budget.day.rows >= 5";
    let stand = with(rules).await;
    let client = stand.wire("support-bot").await;
    client.simple_query("SELECT id FROM products ORDER BY id LIMIT 3").await.unwrap();
    let agent = stand.mcp("support-bot").await;
    let sql = "SELECT id FROM products ORDER BY id LIMIT 2";
    assert_eq!(agent.call("query", json!({"sql": sql})).await["status"], "ok");
    let answer = agent.call("query", json!({"sql": sql})).await;
    assert!(answer.to_string().contains("you had 5 rows today"), "{answer}");
    assert!(refused(&client, sql).await.contains("you had 5 rows today"));
    stand.wire("ana").await.simple_query(sql).await.expect("somebody else's budget");
    drop((client, agent));
    let stand = stand.restart().await;
    let client = stand.wire("support-bot").await;
    assert!(refused(&client, sql).await.contains("you had 5 rows today"), "after a restart");
    client.simple_query("ROLLBACK").await.expect("the way out is always open");
}

/// A portal that is never closed, and a connection that is dropped in the middle of a result, are no ways around.
#[tokio::test(flavor = "multi_thread")]
async fn rows_count_however_the_result_ends() {
    let rules = "deny contains {\"rule\": \"budget\", \"message\": sprintf(\"you had %d rows today\", [input.budget.day.rows]), \"hint\": \"\"} if input.budget.day.rows >= 2";
    let stand = with(rules).await;
    let mut client = stand.wire("support-bot").await;
    let transaction = client.transaction().await.unwrap();
    let portal = transaction.bind("SELECT id FROM products ORDER BY id", &[]).await.unwrap();
    assert_eq!(transaction.query_portal(&portal, 2).await.unwrap().len(), 2);
    let other = stand.wire("support-bot").await;
    assert!(refused(&other, "SELECT 1").await.contains("you had 2 rows today"), "while it is open");

    let stand = with(rules).await;
    let mut raw = crate::wire_real::Raw::session(&stand, "support-bot").await;
    raw.send(&query("SELECT id FROM products ORDER BY id")).await;
    let first = raw.frame().await.unwrap();
    assert_eq!(first.tag, b'T');
    drop(raw);
    let other = stand.wire("support-bot").await;
    until("it is counted", async || other.simple_query("SELECT 1").await.is_err()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purpose_and_what_a_session_begins_with_come_from_where_it_is_opened() {
    let statement = "deny contains {\"rule\": \"purpose\", \"message\": \"say what it is for\", \"hint\": \"-c portcullis.purpose=support\"} if {\n\tinput.session.purpose != \"support\"\n}";
    let session = "# METADATA\n# custom:\n#   grants: true\npackage portcullis.session.time\nsetting contains {\"name\": \"lock_timeout\", \"value\": \"7s\"}\n";
    let extra = format!("package portcullis.statement.extra\n{statement}\n");
    let stand = with_files(&[("extra.rego", &extra), ("time.rego", session)]).await;
    assert!(refused(&stand.wire("ana").await, "SELECT 1").await.contains("say what it is for"));
    let mut config = stand.wire_config("ana");
    config.options("-c portcullis.purpose=support -c lock_timeout=1s");
    let (client, connection) = config.connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    let row = client.query_one("SHOW lock_timeout", &[]).await.unwrap();
    assert_eq!(row.get::<_, &str>(0), "7s", "what the rulebook chooses stands over what the client asks for");
    for way_around in ["SET portcullis.purpose = 'x'", "SELECT set_config('portcullis.purpose', 'x', false)"]
    {
        assert!(refused(&client, way_around).await.starts_with("42501"), "{way_around}");
    }
    let mut config = stand.wire_config("ana");
    config.options(format!("-c portcullis.purpose={}", "x".repeat(300)));
    assert!(words(&config.connect(NoTls).await.map(drop).unwrap_err()).contains("at most 200 characters"));
}

#[tokio::test(flavor = "multi_thread")]
async fn values_are_judged_by_their_types_in_text_and_binary() {
    let bind = "package portcullis.bind\ndeny contains {\"rule\": \"large\", \"message\": sprintf(\"$%d is %v\", [value.index, value.value]), \"hint\": \"\"} if {\n\tsome value in input.bind.parameters\n\tvalue.known\n\tis_number(value.value)\n\tvalue.value > 100\n}\n\
        deny contains {\"rule\": \"unknown\", \"message\": sprintf(\"$%d is not known\", [value.index]), \"hint\": \"\"} if {\n\tsome value in input.bind.parameters\n\tnot value.known\n}\n";
    let stand = with_files(&[("bind.rego", bind)]).await;
    let client = stand.wire("ana").await;
    // This driver lets the server describe the types, and sends values in binary.
    let statement =
        client.prepare("SELECT id FROM products WHERE id = $1 AND price > $2::float8").await.unwrap();
    client.query(&statement, &[&100_i32, &1.5_f64]).await.unwrap();
    let error = client.query(&statement, &[&101_i32, &1.5_f64]).await.unwrap_err();
    assert!(words(&error).contains("$1 is 101"), "{}", words(&error));
    let error = client.query(&statement, &[&1_i32, &1e9_f64]).await.unwrap_err();
    assert!(words(&error).contains("$2 is 1000000000"), "{}", words(&error));
    client.query(&statement, &[&None::<i32>, &1.5_f64]).await.expect("NULL is known, and no number");
    client.simple_query("SELECT id FROM products WHERE id = 101").await.expect("a literal is no value");
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_the_ledger_must_not_have_are_in_none_of_its_records() {
    let rules = "# METADATA\n# custom:\n#   grants: true\npackage portcullis.statement.quiet\nredact contains \"parameters\" if input.bind.known\n";
    let stand = with_files(&[("quiet.rego", rules)]).await;
    let agent = stand.mcp("support-bot").await;
    let secret = "4111111111111111";
    for sql in [
        "UPDATE orders SET status = $1 WHERE id = 7",
        "UPDATE orders SET quantity = $1::int WHERE id = 7",
        "UPDATE orders SET statu = $1 WHERE id = 7",
        "UPDATE orders SET status = $1 WHERE",
        "UPDATE orders SET status = $1 WHERE id = 7; SELECT 1",
    ] {
        agent.call("execute", json!({"sql": sql, "params": [secret], "reason": "to try", "wait_s": 0})).await;
    }
    let records = decided(&stand).await;
    assert_eq!(records.len(), 5);
    for record in &records {
        let written = serde_json::to_string(record).unwrap();
        assert!(!written.contains(secret), "{written}");
        assert_eq!(record.parameters.len(), 1, "{written}");
    }
    let waiting = records.iter().find(|record| record.decision == "escalate").unwrap();
    assert!(!waiting.facts_digest.is_empty() && waiting.input.is_some(), "it can be explained");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_is_on_record_and_changes_nothing() {
    let rules = "alert contains {\"rule\": \"watched\", \"message\": sprintf(\"%s reads tickets\", [input.identity.name]), \"hint\": \"\", \"sink\": \"pager\"} if {\n\tsome table in input.statement.tables\n\ttable.key == \"public.tickets\"\n}";
    let stand = with(rules).await;
    let client = stand.wire("ana").await;
    for _ in 0..2 {
        client.simple_query("SELECT id FROM tickets LIMIT 1").await.unwrap();
    }
    stand.gateway.gate().close_ledger().await.unwrap();
    let entries = stand.ledger();
    let alerts: Vec<_> = entries
        .iter()
        .filter_map(|entry| match &entry.record.event {
            Event::Alert { rule, message, sink } => Some((rule.as_str(), message.as_str(), sink.as_str())),
            _ => None,
        })
        .collect();
    assert_eq!(alerts, [("watched", "ana reads tickets", "pager"); 2], "a remembered decision alerts too");
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_stand_for_those_above_them() {
    let rules = "deny contains {\"rule\": \"depth\", \"message\": concat(\" for \", array.concat([input.identity.name], input.identity.delegation)), \"hint\": \"\"} if count(input.identity.delegation) > 1";
    let stand = Stand::start_with(|home, _| {
        let extra = format!("package portcullis.statement.extra\n{rules}\n");
        fs::write(home.join("policies/extra.rego"), extra).unwrap();
        let bot = fs::read_to_string(home.join("agents/support-bot.toml")).unwrap();
        let (head, _) = bot.rsplit_once("[auth]").unwrap();
        let below = head.replace("name = \"support-bot\"", "name = \"helper\"\nparent = \"support-bot\"");
        fs::write(home.join("agents/helper.toml"), below).unwrap();
    })
    .await;
    let gate = stand.gateway.gate();
    stand.wire("support-bot").await.simple_query("SELECT 1").await.unwrap();
    let statement = portcullis::sql::Statement::new(b"SELECT 1", 100).unwrap();
    let explained = gate.evaluate("helper", "shop", &statement).await;
    assert_eq!(explained.reasons[0].message, "helper for support-bot for ana");
}
