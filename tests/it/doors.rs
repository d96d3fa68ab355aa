//! The wire door before a real PostgreSQL: what people and programs see, and what they don't.

mod attacks;
mod decisions;
mod groups;
mod keyed;
mod limits;
mod names;
mod read_only;
mod redefined;
mod tiers;
mod unjudged;

use portcullis::approval::{Request, State, Vote};
use portcullis::audit::Event;
use portcullis::gate::{Approve, Door, Silent};
use tokio_postgres::error::SqlState;

use crate::support::gateway::Stand;

const HIDDEN_EMAIL: &str = "hidden@masked.invalid";

#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_read_shows_masks_in_the_declared_types() {
    let stand = Stand::start().await;
    let client = stand.wire("ana").await;
    let rows = client
        .query("SELECT id, name, email, ssn FROM customers WHERE id <= $1 ORDER BY id", &[&3_i32])
        .await
        .unwrap();
    assert_eq!(rows.len(), 3);
    for row in &rows {
        assert_eq!(row.get::<_, &str>("ssn"), "***-**-****");
        assert_eq!(row.get::<_, &str>("email"), HIDDEN_EMAIL);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_read_in_clear_reads_in_clear() {
    let stand = Stand::start().await;
    let client = stand.wire("dora").await;
    let row = client.query_one("SELECT email FROM customers WHERE id = 1", &[]).await.unwrap();
    assert_ne!(row.get::<_, &str>("email"), HIDDEN_EMAIL);
    let row = client.query_one("SELECT current_user::text", &[]).await.unwrap();
    assert_eq!(row.get::<_, &str>(0), "portcullis_full");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denial_says_which_rule_and_the_session_goes_on() {
    let stand = Stand::start().await;
    let client = stand.wire("support-bot").await;
    for (statement, rule) in [
        ("DROP TABLE customers", "ddl"),
        ("DELETE FROM orders", "delete"),
        ("SELECT * FROM hr.payroll", "scope"),
        ("COPY orders TO '/tmp/x'", "server"),
        ("SELECT pg_read_file('/etc/passwd')", "function"),
        ("DO $$ BEGIN END $$", "do"),
        ("SET search_path = hr", "setting"),
    ] {
        let error = client.simple_query(statement).await.unwrap_err();
        let error = error.as_db_error().unwrap_or_else(|| panic!("{statement}: {error}"));
        assert_eq!(error.code(), &SqlState::INSUFFICIENT_PRIVILEGE, "{statement}: {error}");
        let detail = error.detail().unwrap_or_default().to_lowercase();
        assert!(detail.contains("rule"), "{statement}: {detail} ({rule})");
    }
    client.simple_query("SELECT 1").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn text_that_is_no_sql_is_a_syntax_error() {
    let stand = Stand::start().await;
    let client = stand.wire("ana").await;
    let error = client.simple_query("SELEC 1").await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::SYNTAX_ERROR));
    assert!(error.as_db_error().unwrap().message().contains("at or near \"SELEC\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denial_inside_a_transaction_aborts_it_and_nothing_of_it_stays() {
    let stand = Stand::start().await;
    let client = stand.wire("dora").await;
    client.simple_query("BEGIN").await.unwrap();
    let denied = client.simple_query("DELETE FROM orders").await.unwrap_err();
    assert_eq!(denied.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE));
    let aborted = client.simple_query("SELECT 1").await.unwrap_err();
    assert_eq!(aborted.code(), Some(&SqlState::IN_FAILED_SQL_TRANSACTION));
    client.simple_query("ROLLBACK").await.unwrap();
    client.simple_query("SELECT 1").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_denied_statement_denies_its_whole_string() {
    let stand = Stand::start().await;
    let client = stand.wire("support-bot").await;
    let error = client.simple_query("SELECT 1; DROP TABLE customers").await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_and_an_unknown_user_get_the_same_answer() {
    let stand = Stand::start().await;
    let mut messages = Vec::new();
    for user in ["ana", "nobody"] {
        let mut config = stand.wire_config("ana");
        config.user(user).password("wrong");
        let error = config.connect(tokio_postgres::NoTls).await.err().unwrap();
        assert_eq!(error.code(), Some(&SqlState::INVALID_PASSWORD), "{error}");
        messages.push(error.as_db_error().unwrap().message().replace(user, "USER"));
    }
    assert_eq!(messages[0], messages[1]);
    let refused = |entry: &&portcullis::audit::Entry| matches!(entry.record.event, Event::Refused { .. });
    for _ in 0..PATIENCE {
        if stand.ledger().iter().filter(refused).count() == 2 {
            return;
        }
        settle().await;
    }
    panic!("the ledger never named both refusals");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_database_is_named_and_refused() {
    let stand = Stand::start().await;
    let mut config = stand.wire_config("ana");
    config.dbname("nowhere");
    let error = config.connect(tokio_postgres::NoTls).await.err().unwrap();
    assert!(error.as_db_error().unwrap().message().contains("`nowhere`"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_risky_write_waits_for_a_person_and_then_runs() {
    let stand = Stand::start().await;
    let client = stand.wire("support-bot").await;
    let update = async { client.execute(UPDATE, &[&"shipped", &7_i32]).await };
    let approve = async {
        let request = pending(&stand).await;
        assert_eq!(request.statement, UPDATE);
        assert!(request.parameters[0].as_deref().unwrap().contains("\"shipped\""));
        assert!(request.parameters[1].as_deref().unwrap().ends_with("(7)"));
        decide(&stand, "priya", &request, Vote::Approve, "ok").await.unwrap();
        request
    };
    let (changed, request) = tokio::join!(update, approve);
    assert_eq!(changed.unwrap(), 1);
    assert_eq!(stand.gateway.gate().desk().request(&request.id).unwrap().state, State::Spent);
    let row = client.query_one("SELECT status FROM orders WHERE id = 7", &[]).await.unwrap();
    assert_eq!(row.get::<_, &str>(0), "shipped");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_write_does_not_run_and_says_who_refused_it() {
    let stand = Stand::start().await;
    let client = stand.wire("support-bot").await;
    let before = client.query_one("SELECT status FROM orders WHERE id = 7", &[]).await.unwrap();
    let update = async { client.execute(UPDATE, &[&"returned", &7_i32]).await };
    let refuse = async {
        let request = pending(&stand).await;
        decide(&stand, "priya", &request, Vote::Deny, "not today").await.unwrap();
    };
    let (changed, ()) = tokio::join!(update, refuse);
    let error = changed.unwrap_err();
    let message = error.as_db_error().unwrap().message();
    assert!(message.contains("priya") && message.contains("not today"), "{message}");
    let after = client.query_one("SELECT status FROM orders WHERE id = 7", &[]).await.unwrap();
    assert_eq!(before.get::<_, &str>(0), after.get::<_, &str>(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_the_owner_nor_the_agent_nor_an_outsider_can_approve() {
    let stand = Stand::start().await;
    let client = stand.wire("support-bot").await;
    let update = async { client.execute(UPDATE, &[&"shipped", &7_i32]).await };
    let votes = async {
        let request = pending(&stand).await;
        for name in ["ana", "support-bot", "dora"] {
            assert!(decide(&stand, name, &request, Vote::Approve, "me").await.is_err(), "{name} approved");
        }
        decide(&stand, "priya", &request, Vote::Deny, "enough").await.unwrap();
    };
    let (changed, ()) = tokio::join!(update, votes);
    assert!(changed.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_withdraws_its_request() {
    let stand = Stand::start().await;
    let (client, connection) = stand.wire_config("support-bot").connect(tokio_postgres::NoTls).await.unwrap();
    let socket = tokio::spawn(connection);
    let update = client.execute(UPDATE, &[&"shipped", &7_i32]);
    let request = async {
        let request = pending(&stand).await;
        socket.abort();
        request
    };
    let (changed, request) = tokio::join!(update, request);
    assert!(changed.unwrap_err().is_closed());
    let gone = |request: &Request| request.state == State::Withdrawn;
    wait_for(&stand, &request, gone).await;
    assert!(decide(&stand, "priya", &request, Vote::Approve, "late").await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_ends_the_wait_of_a_held_statement() {
    let stand = Stand::start().await;
    let client = stand.wire("support-bot").await;
    let cancel = client.cancel_token();
    let update = async { client.execute(UPDATE, &[&"shipped", &7_i32]).await };
    let cancelling = async {
        let request = pending(&stand).await;
        cancel.cancel_query(tokio_postgres::NoTls).await.unwrap();
        wait_for(&stand, &request, |request| request.state == State::Withdrawn).await;
    };
    let (changed, ()) = tokio::join!(update, cancelling);
    assert_eq!(changed.unwrap_err().code(), Some(&SqlState::QUERY_CANCELED));
    client.simple_query("SELECT 1").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_ends_a_running_statement() {
    let stand = Stand::start().await;
    let client = stand.wire("dora").await;
    let cancel = client.cancel_token();
    let long = async { client.simple_query("SELECT count(*) FROM orders a, orders b, orders c").await };
    let cancelling = async {
        loop {
            settle().await;
            cancel.cancel_query(tokio_postgres::NoTls).await.unwrap();
        }
    };
    let result = tokio::select! { result = long => result, () = cancelling => unreachable!() };
    assert_eq!(result.unwrap_err().code(), Some(&SqlState::QUERY_CANCELED));
}

#[tokio::test(flavor = "multi_thread")]
async fn more_rows_than_allowed_stop_with_an_error_that_says_so() {
    let stand = Stand::start().await;
    let client = stand.wire("support-bot").await;
    for attempt in 0..2 {
        let error = match attempt {
            0 => client.simple_query("SELECT id FROM orders").await.unwrap_err(),
            _ => client.query("SELECT id FROM orders", &[]).await.unwrap_err(),
        };
        assert!(error.as_db_error().unwrap().message().contains("500 rows"), "{error:?}");
        client.simple_query("SELECT 1").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_rules_hold_without_a_restart_and_broken_ones_do_not() {
    let stand = Stand::start().await;
    let client = stand.wire("ana").await;
    client.simple_query("SELECT id FROM products LIMIT 1").await.unwrap();
    let rule = stand.home.path().join("policies/statement/extra.rego");
    std::fs::write(&rule, "package portcullis.statement\n\ndeny contains ").unwrap();
    announced(&stand, "refused").await;
    client.simple_query("SELECT id FROM products LIMIT 1").await.unwrap();
    std::fs::write(&rule, NO_PRODUCTS).unwrap();
    announced(&stand, "replaced").await;
    let error = client.simple_query("SELECT id FROM products LIMIT 1").await.unwrap_err();
    assert_eq!(error.as_db_error().unwrap().message(), "no products today");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_statement_does_not_outlive_the_masks_it_was_prepared_under() {
    let stand = Stand::start().await;
    let client = stand.wire("ana").await;
    let statement = client.prepare("SELECT city FROM customers WHERE id = $1").await.unwrap();
    client.query_one(&statement, &[&1_i32]).await.unwrap();
    let labels = stand.home.path().join("policies/data/labels.json");
    let text = std::fs::read_to_string(&labels).unwrap();
    std::fs::write(&labels, text.replace("\"ssn\": ", "\"city\": \"ssn\", \"ssn\": ")).unwrap();
    announced(&stand, "replaced").await;
    let error = client.query_one(&statement, &[&1_i32]).await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::FEATURE_NOT_SUPPORTED), "{error:?}");
    let row = client.query_one("SELECT city FROM customers WHERE id = 1", &[]).await.unwrap();
    assert_eq!(row.get::<_, &str>(0), "***-**-****");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_can_keep_bind_values_out_of_the_ledger() {
    let stand = Stand::start().await;
    let client = stand.wire("ana").await;
    let rule = stand.home.path().join("policies/statement/extra.rego");
    std::fs::write(&rule, "package portcullis.statement\n\nredact contains \"parameters\"\n").unwrap();
    announced(&stand, "replaced").await;
    let name = "Zebedee-who-is-nobody";
    client.query("SELECT id FROM customers WHERE name = $1", &[&name]).await.unwrap();
    client.query("SELECT id FROM hr.payroll WHERE name = $1", &[&name]).await.unwrap_err();
    settle().await;
    let text = format!("{:?}", stand.ledger());
    assert!(text.contains("(redacted by the rulebook)"));
    assert!(!text.contains("Zebedee") && !text.contains("5a65626564"), "{text}");
}

const NO_PRODUCTS: &str = r#"package portcullis.statement

deny contains {"rule": "no_products", "message": "no products today", "hint": ""} if {
	some table in input.statement.tables
	table.key == "public.products"
}
"#;

const UPDATE: &str = "UPDATE orders SET status = $1 WHERE id = $2";

/// The request that waits, once it does.
pub(crate) async fn pending(stand: &Stand) -> Request {
    for _ in 0..PATIENCE {
        let requests = stand.gateway.gate().desk().requests(10).unwrap();
        if let Some(request) = requests.into_iter().find(|request| request.state == State::Pending) {
            return request;
        }
        settle().await;
    }
    panic!("no request came to the desk");
}

async fn wait_for(stand: &Stand, request: &Request, done: impl Fn(&Request) -> bool) {
    for _ in 0..PATIENCE {
        if done(&stand.gateway.gate().desk().request(&request.id).unwrap()) {
            return;
        }
        settle().await;
    }
    panic!("request {} did not change as expected", request.id);
}

pub(crate) async fn announced(stand: &Stand, what: &str) {
    for _ in 0..PATIENCE {
        let told = |event: &Event| matches!(event, Event::Gateway { what: said } if said.contains(what));
        if stand.ledger().iter().any(|entry| told(&entry.record.event)) {
            return;
        }
        settle().await;
    }
    panic!("the ledger never said `{what}`");
}

pub(crate) async fn decide(
    stand: &Stand,
    name: &str,
    request: &Request,
    vote: Vote,
    note: &str,
) -> Result<Request, String> {
    let gate = stand.gateway.gate();
    let who = gate.authenticate(&stand.secrets[name], Door::Console, "").unwrap();
    let act = Approve { id: request.id.clone(), vote, note: note.to_owned(), client: String::new() };
    let proof = gate.admit(&who, act, &Silent).await.map_err(|denial| format!("{denial:?}"))?;
    gate.decide(&who, proof).map_err(|error| error.to_string())
}

/// Lets other tasks get on; every caller repeats until what it waits for is there.
pub(crate) async fn settle() {
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
}

/// How often to look before giving up: far more than any of these takes.
const PATIENCE: usize = 1500;
