//! Long results page by page: cursors, whose they are, and what ends them.

use serde_json::{Value, json};

use portcullis::approval::Vote;
use portcullis::mcp;

use super::shop::{Shop, until};
use super::stand::{Client, Era};

const ALL: &str = "SELECT id, name, price FROM items ORDER BY id";

/// Reads to the end by pages of `wish`; the pages.
async fn pages(client: &Client, first: Value, wish: Value) -> Vec<Value> {
    let (page, is_error) = client.call("query", merged(&first, &wish)).await;
    assert!(!is_error, "{page}");
    let mut pages = vec![page];
    while let Some(word) = pages[pages.len() - 1].get("next_cursor") {
        let (page, is_error) = client.call("query", merged(&json!({"cursor": word}), &wish)).await;
        assert!(!is_error, "{page}");
        pages.push(page);
    }
    pages
}

fn merged(one: &Value, other: &Value) -> Value {
    let fields = |value: &Value| value.as_object().cloned().unwrap();
    Value::Object(fields(one).into_iter().chain(fields(other)).collect())
}

fn ids(pages: &[Value]) -> Vec<i64> {
    let rows = pages.iter().flat_map(|page| page["rows"].as_array().unwrap());
    rows.map(|row| row[0].as_i64().unwrap()).collect()
}

fn word(page: &Value) -> &str {
    page["next_cursor"].as_str().unwrap_or_else(|| panic!("no cursor: {page}"))
}

/// The first page of all items, of ten rows.
async fn begun(client: &Client) -> Value {
    let (page, is_error) = client.call("query", json!({"sql": ALL, "max_rows": 10})).await;
    assert!(!is_error, "{page}");
    assert_eq!(page["truncated"], true);
    page
}

async fn next(client: &Client, word: &str) -> (Value, bool) {
    client.call("query", json!({"cursor": word, "max_rows": 10})).await
}

#[tokio::test]
async fn pages_make_up_the_whole_result_in_every_era() {
    let shop = Shop::open().await;
    for era in Era::ALL {
        let client = shop.stand.client("robin", era).await;
        let all = pages(&client, json!({"sql": ALL}), json!({"max_rows": 100})).await;
        assert_eq!(all.len(), 3, "{era:?}");
        assert_eq!(ids(&all), (1..=250).collect::<Vec<_>>());
        let last = &all[2];
        assert_eq!((&last["truncated"], &last["row_count"]), (&json!(false), &json!(50)));
        for page in &all {
            assert_eq!(
                page["columns"][2],
                json!({"name": "price", "type": "numeric(10,2)", "masked": false})
            );
            assert_eq!(page["decision_id"], all[0]["decision_id"]);
            assert_eq!(page["content_trust"], "untrusted");
            assert!(page["elapsed_ms"].is_u64());
        }
        assert!(all[0]["advice"].as_str().unwrap().contains("`next_cursor`"));
    }
}

#[tokio::test]
async fn no_row_is_lost_or_doubled_where_bytes_end_a_page() {
    let shop = Shop::open().await;
    let client = shop.client("robin").await;
    let all = pages(&client, json!({"sql": ALL}), json!({"max_bytes": 500, "max_rows": 1000})).await;
    assert!(all.len() > 8, "{} pages", all.len());
    assert!(all.iter().all(|page| page["rows"].to_string().len() <= 500 + 64));
    assert_eq!(ids(&all), (1..=250).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_result_that_just_fits_is_not_cut() {
    let shop = Shop::open().await;
    let client = shop.client("robin").await;
    for (rows, is_cut) in [(249, true), (250, false), (251, false)] {
        let call = json!({"sql": "SELECT id FROM items", "max_rows": rows});
        let (page, _) = client.call("query", call).await;
        assert_eq!(
            (&page["truncated"], page.get("next_cursor").is_some()),
            (&json!(is_cut), is_cut),
            "{rows}"
        );
    }
    let (none, _) = client.call("query", json!({"sql": "SELECT id FROM items WHERE id < 0"})).await;
    assert_eq!((&none["row_count"], &none["truncated"]), (&json!(0), &json!(false)));
    assert_eq!(none["columns"][0]["name"], "id");
}

#[tokio::test]
async fn a_result_is_of_one_moment_whatever_changes_between_its_pages() {
    let shop = Shop::open().await;
    let client = shop.client("robin").await;
    let first = begun(&client).await;
    shop.database.execute("DELETE FROM items WHERE id > 10; INSERT INTO items VALUES (-1, 'new', 1)").await;
    let (page, _) = next(&client, word(&first)).await;
    assert_eq!(ids(&[page]), (11..=20).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_cursor_is_good_once_and_for_its_identity_only_and_all_else_is_answered_alike() {
    let shop = Shop::open().await;
    let (robin, mallory) = (shop.client("robin").await, shop.client("mallory").await);
    let first = begun(&robin).await;
    let (stolen, is_error) = next(&mallory, word(&first)).await;
    assert!(is_error);
    assert_eq!(stolen["error"]["code"], "cursor_closed");
    assert!(stolen["error"]["hint"].as_str().unwrap().contains("run the statement again"), "{stolen}");
    let (second, _) = next(&robin, word(&first)).await;
    assert_eq!(second["rows"][0][0], 11, "whoever tried to steal it has not disturbed it");
    let others = [
        next(&robin, word(&first)).await,
        next(&robin, "0123456789abcdef0123456789abcdef").await,
        next(&robin, "' OR 1 = 1 --").await,
        next(&mallory, word(&second)).await,
    ];
    for (answer, _) in others {
        assert_eq!(answer, stolen);
    }
    assert_eq!(next(&robin, word(&second)).await.0["rows"][0][0], 21);
}

#[tokio::test]
async fn a_cursor_goes_on_with_its_own_statement_and_no_other() {
    let shop = Shop::open().await;
    let client = shop.client("robin").await;
    let mut page = begun(&client).await;
    for other in [
        json!({"sql": "SELECT id, name, price FROM items WHERE id > 5 ORDER BY id"}),
        json!({"sql": "SELECT secret FROM hidden"}),
        json!({"sql": ALL, "params": [1]}),
        json!({"database": "elsewhere"}),
    ] {
        let (answer, is_error) = client.call("query", merged(&json!({"cursor": word(&page)}), &other)).await;
        assert!(is_error);
        assert_eq!(answer["error"]["code"], "invalid_argument", "{other}: {answer}");
        page = answer;
    }
    let same = json!({"cursor": word(&page), "sql": ALL, "database": "shop", "max_rows": 10});
    let (second, _) = client.call("query", same).await;
    assert_eq!(second["rows"][0][0], 11, "{second}");
}

#[tokio::test]
async fn the_oldest_of_ones_own_cursors_makes_room() {
    let shop = Shop::open().await;
    let (robin, mallory) = (shop.client("robin").await, shop.client("mallory").await);
    let others = begun(&mallory).await;
    let mut own = Vec::new();
    for _ in 0..5 {
        own.push(begun(&robin).await);
    }
    until("the oldest transaction is closed", async || shop.in_transaction().await == 5).await;
    assert_eq!(next(&robin, word(&own[0])).await.0["error"]["code"], "cursor_closed");
    for page in &own[1..] {
        assert_eq!(next(&robin, word(page)).await.0["rows"][0][0], 11);
    }
    assert_eq!(next(&mallory, word(&others)).await.0["rows"][0][0], 11);
}

#[tokio::test]
async fn a_cursor_that_rests_too_long_is_closed() {
    let rest = std::time::Duration::ZERO;
    let shop = Shop::with(&[], |door| door.cursors = mcp::Limits { rest, ..mcp::Limits::default() }).await;
    let client = shop.client("robin").await;
    let first = begun(&client).await;
    let (answer, is_error) = next(&client, word(&first)).await;
    assert!(is_error);
    assert_eq!(answer["error"]["code"], "cursor_closed");
    begun(&client).await;
    until("nothing is open", async || shop.in_transaction().await == 0).await;
    let settled = shop.stand.events("settled");
    assert!(settled.iter().all(|event| event["rows"] == 10), "{settled:?}");
}

#[tokio::test]
async fn a_cursor_does_not_outlive_its_identity() {
    let shop = Shop::open().await;
    let client = shop.client("robin").await;
    begun(&client).await;
    assert_eq!(shop.in_transaction().await, 1);
    shop.replace(&[], &["robin"]);
    until("the cursor is closed, although nobody asks", async || shop.in_transaction().await == 0).await;
}

#[tokio::test]
async fn rules_that_are_stricter_by_now_close_a_cursor_and_others_do_not() {
    let shop = Shop::open().await;
    let client = shop.client("robin").await;
    let wider = "package portcullis.statement.wider\n\nlimit contains {\"rows\": 100000}\n";
    let masked = "package portcullis.statement.masked\n\nmask contains {\"relation\": \"public.items\", \"column\": \"name\", \
                  \"type\": \"null\"}\n";
    let denied = "package portcullis.statement.denied\n\ndeny contains {\"rule\": \"no_items\", \"message\": \"items are closed\", \
                  \"hint\": \"\"}\n";
    let fewer = "package portcullis.statement.fewer\n\nlimit contains {\"rows\": 15}\n";
    let asked = "package portcullis.statement.asked\n\nescalate contains {\"rule\": \"ask\", \"message\": \"ask\", \"hint\": \"\", \
                 \"groups\": [\"approvers\"], \"ttl_s\": 60}\n";
    for (rule, expected) in
        [(masked, "masked changed"), (denied, "items are closed"), (fewer, "limits changed"), (asked, "ask")]
    {
        shop.replace(&[], &[]);
        let first = begun(&client).await;
        shop.replace(&[("statement/other.rego", rule)], &[]);
        let (answer, is_error) = next(&client, word(&first)).await;
        assert!(is_error, "{expected}: {answer}");
        assert_eq!(
            (&answer["status"], &answer["denial"]["code"]),
            (&json!("denied"), &json!("cursor_closed"))
        );
        assert!(answer["denial"]["message"].as_str().unwrap().contains(expected), "{answer}");
        assert!(answer["denial"]["hint"].as_str().unwrap().contains("again"));
        assert_eq!(next(&client, word(&first)).await.0["error"]["code"], "cursor_closed");
    }
    until("every transaction is closed", async || shop.in_transaction().await == 0).await;
    assert_eq!(shop.stand.gate.desk().requests(10).unwrap().len(), 0, "no page asks for approval");
    shop.replace(&[], &[]);
    let first = begun(&client).await;
    shop.replace(&[("statement/other.rego", wider)], &[]);
    let (second, _) = next(&client, word(&first)).await;
    assert_eq!(second["rows"][0][0], 11, "{second}");
}

#[tokio::test]
async fn a_ceiling_on_rows_counts_over_all_pages() {
    let rule = "package portcullis.statement.few\n\nlimit contains {\"rows\": 25}\n";
    let shop = Shop::with(&[("statement/few.rego", rule)], |_| {}).await;
    let client = shop.client("robin").await;
    let all = pages(&client, json!({"sql": ALL}), json!({"max_rows": 10})).await;
    assert_eq!(ids(&all), (1..=25).collect::<Vec<_>>());
    let last = &all[2];
    assert_eq!(last["truncated"], true);
    assert!(last["advice"].as_str().unwrap().contains("more than 25 rows"), "{last}");
}

#[tokio::test]
async fn a_budget_counts_every_page_and_every_page_is_on_record() {
    let rule = "package portcullis.statement.daily\n\ndeny contains {\"rule\": \"daily\", \"message\": \"enough for today\", \
                \"hint\": \"\"} if input.budget.day.rows >= 25\n";
    let shop = Shop::with(&[("statement/daily.rego", rule)], |_| {}).await;
    let client = shop.client("robin").await;
    let first = begun(&client).await;
    let (second, _) = next(&client, word(&first)).await;
    let (third, _) = next(&client, word(&second)).await;
    assert_eq!(ids(std::slice::from_ref(&third)), (21..=30).collect::<Vec<_>>());
    let (answer, is_error) = next(&client, word(&third)).await;
    assert!(is_error);
    assert!(answer["denial"]["message"].as_str().unwrap().contains("enough for today"), "{answer}");
    let decided = shop.stand.events("decided");
    let words: Vec<&Value> = decided.iter().map(|event| &event["decision"]).collect();
    assert_eq!(words, ["allow", "allow", "allow", "deny"], "one for each page");
    let settled = shop.stand.events("settled");
    assert_eq!(settled.len(), 1, "{settled:?}");
    assert_eq!((&settled[0]["outcome"], &settled[0]["rows"]), (&json!("stopped"), &json!(30)));
}

#[tokio::test]
async fn one_approval_covers_the_whole_result_and_is_spent_by_its_first_page() {
    let rule = "package portcullis.statement.asked\n\nimport data.portcullis.lib\n\nescalate contains {\"rule\": \"ask\", \
                \"message\": \"a person must see this\", \"hint\": \"\", \"groups\": [\"approvers\"], \"ttl_s\": 600}\n";
    let shop = Shop::with(&[("statement/asked.rego", rule)], |_| {}).await;
    let client = shop.client("robin").await;
    let approve = async {
        let id = client.held().await;
        shop.stand.decide("priya", &id, Vote::Approve, "fine").await;
    };
    let (first, ()) = tokio::join!(begun(&client), approve);
    let (second, is_error) = next(&client, word(&first)).await;
    assert!(!is_error, "{second}");
    assert_eq!(ids(std::slice::from_ref(&second)), (11..=20).collect::<Vec<_>>());
    assert_eq!(shop.stand.gate.desk().requests(10).unwrap().len(), 1);
    let again = json!({"sql": ALL, "max_rows": 10});
    let call = client.call("query", again);
    let deny = async {
        until("it is asked for anew", async || shop.stand.gate.desk().requests(10).unwrap().len() == 2).await;
        let requests = shop.stand.gate.desk().requests(10).unwrap();
        let open = requests.iter().find(|request| request.decided_at.is_none()).unwrap();
        shop.stand.decide("priya", open.id.as_str(), Vote::Deny, "no more").await;
    };
    let ((answer, is_error), ()) = tokio::join!(call, deny);
    assert!(is_error && answer["status"] == "denied", "the approval was spent: {answer}");
    let (third, is_error) = next(&client, word(&second)).await;
    assert!(!is_error, "the open result goes on by the approval that it began with: {third}");
}

#[tokio::test]
async fn a_row_that_no_answer_holds_is_refused_with_what_would_work() {
    let shop = Shop::open().await;
    let client = shop.client("robin").await;
    for (length, expected) in [(60_000, "`big` 60000"), (3_000_000, "more than 1048576 bytes")] {
        let sql = format!("SELECT id, repeat('x', {length}) AS big FROM items ORDER BY id");
        let (answer, is_error) = client.call("query", json!({"sql": sql})).await;
        assert!(is_error);
        assert_eq!(answer["error"]["code"], "row_too_long", "{answer}");
        assert!(answer["error"]["message"].as_str().unwrap().contains(expected), "{answer}");
        assert!(answer["error"]["hint"].as_str().unwrap().contains("left(col, 200)"), "{answer}");
    }
    let sql =
        "SELECT CASE id WHEN 3 THEN repeat('x', 20000) ELSE 'short' END AS big, id FROM items ORDER BY id";
    let (first, _) = client.call("query", json!({"sql": sql})).await;
    assert_eq!(first["row_count"], 2, "{first}");
    let (none, is_error) = client.call("query", json!({"cursor": word(&first)})).await;
    assert!(!is_error);
    assert_eq!(none["row_count"], 0);
    assert!(none["advice"].as_str().unwrap().contains("raise `max_bytes`"), "{none}");
    let (long, _) =
        client.call("query", json!({"cursor": word(&none), "max_bytes": 40_000, "max_rows": 2})).await;
    assert_eq!((&long["rows"][0][1], &long["rows"][1][1]), (&json!(3), &json!(4)));
    let settled = shop.stand.events("settled");
    assert!(settled.iter().all(|event| event["outcome"] == "stopped" && event["rows"] == 0), "{settled:?}");
}

#[tokio::test]
async fn what_is_wrong_behind_a_page_is_told_by_the_next() {
    let shop = Shop::open().await;
    let client = shop.client("robin").await;
    let long = "SELECT CASE id WHEN 8 THEN repeat('x', 3000000) ELSE repeat('y', 100) END AS big FROM items ORDER BY id";
    let wrong = "SELECT repeat('y', 100 + 0 / (8 - id)) AS big FROM items ORDER BY id";
    for (sql, code) in [(long, "row_too_long"), (wrong, "database_error")] {
        let (first, is_error) = client.call("query", json!({"sql": sql, "max_bytes": 500})).await;
        assert!(!is_error, "{first}");
        assert_eq!(first["row_count"], 4);
        let (second, is_error) = client.call("query", json!({"cursor": word(&first), "max_rows": 3})).await;
        assert!(!is_error, "{second}");
        assert_eq!((&second["row_count"], &second["truncated"]), (&json!(3), &json!(true)));
        let (answer, is_error) = client.call("query", json!({"cursor": word(&second)})).await;
        assert!(is_error);
        assert_eq!(answer["error"]["code"], code, "{answer}");
    }
    until("both are closed", async || shop.in_transaction().await == 0).await;
}

#[tokio::test]
async fn an_error_in_the_middle_of_a_result_ends_it() {
    let shop = Shop::open().await;
    let client = shop.client("robin").await;
    let sql = "SELECT 100 / (15 - id) FROM items ORDER BY id";
    let (first, is_error) = client.call("query", json!({"sql": sql, "max_rows": 5})).await;
    assert!(!is_error, "{first}");
    let (second, _) = client.call("query", json!({"cursor": word(&first), "max_rows": 5})).await;
    let (answer, is_error) = client.call("query", json!({"cursor": word(&second), "max_rows": 5})).await;
    assert!(is_error);
    assert_eq!((&answer["error"]["code"], &answer["sqlstate"]), (&json!("database_error"), &json!("22012")));
    assert_eq!(answer.get("next_cursor"), None);
    until("the transaction is closed", async || shop.in_transaction().await == 0).await;
    let settled = shop.stand.events("settled");
    assert_eq!((&settled[0]["outcome"], &settled[0]["rows"]), (&json!("error"), &json!(10)), "{settled:?}");
}

#[tokio::test]
async fn a_server_that_goes_away_between_pages_is_noticed() {
    let shop = Shop::open().await;
    let client = shop.client("robin").await;
    let (first, _) =
        client.call("query", json!({"sql": "SELECT i.id FROM items i, items j", "max_rows": 1})).await;
    shop.terminate("state = 'idle in transaction'").await;
    let mut page = first;
    let (answer, is_error) = loop {
        // What had come before is still shown.
        let (answer, is_error) = client.call("query", json!({"cursor": word(&page), "max_rows": 1})).await;
        if is_error {
            break (answer, is_error);
        }
        page = answer;
    };
    assert!(is_error);
    assert!(
        ["connection_broken", "database_error"].contains(&answer["error"]["code"].as_str().unwrap()),
        "{answer}"
    );
    begun(&client).await;
}
