//! What a client is offered: lists by what the identity may do, cursors that are of use to nobody else, arguments that
//! are named when they do not fit.

use serde_json::{Value, json};

use super::governed::{Shop, shop};
use super::stand::{Client, Era, Stand};

async fn tools(client: &Client) -> Vec<String> {
    let list = client.list_tools(None).await.unwrap();
    list.tools.iter().map(|tool| tool.name.to_string()).collect()
}

#[tokio::test]
async fn who_may_write_nowhere_is_not_offered_what_writes() {
    let Shop { stand, .. } = shop("[scope.shop]\nread = [\"public.*\"]\n").await;
    for era in Era::ALL {
        for who in ["robin", "dana"] {
            let client = stand.client(who, era).await;
            assert!(!tools(&client).await.contains(&"execute".to_owned()), "{who}, {era:?}");
            let mut errors = Vec::new();
            for tool in ["execute", "exekute"] {
                let arguments = json!({"sql": "DELETE FROM orders", "reason": "test"});
                let error = client.try_call_unseen(tool, arguments).await.unwrap_err().to_string();
                errors.push(error.replace("exekute", "execute"));
            }
            assert_eq!(errors[0], errors[1], "calling it is calling nothing");
        }
    }
}

#[tokio::test]
async fn a_search_goes_on_where_it_ended_and_for_nobody_else() {
    let Shop { stand, .. } = shop(super::governed::SCOPE).await;
    let (robin, mallory) =
        (stand.client("robin", Era::Stateless).await, stand.client("mallory", Era::Stateless).await);
    let first = json!({"limit": 1, "detail": "names"});
    let (page, _) = robin.call("search_schema", first.clone()).await;
    assert_eq!((&page["total"], &page["truncated"]), (&json!(2), &json!(true)), "{page}");
    let cursor = page["next_cursor"].as_str().unwrap().to_owned();
    let with = |more: Value| {
        let mut arguments = json!({"detail": "names", "cursor": cursor});
        arguments.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        arguments
    };
    let (rest, _) = robin.call("search_schema", with(json!({}))).await;
    assert_eq!(rest["objects"], json!([{"name": "public.orders", "kind": "table"}]));
    assert_eq!((&rest["truncated"], &rest["total"]), (&json!(false), &json!(2)));
    assert!(rest.get("next_cursor").is_none());

    let mut refusals = Vec::new();
    let tampered = format!("{cursor}A");
    let tries = [
        (&mallory, with(json!({}))),
        (&robin, with(json!({"schema": "public"}))),
        (&robin, with(json!({"text": "o"}))),
        (&robin, json!({"detail": "names", "cursor": tampered})),
        (&robin, json!({"detail": "names", "cursor": "public.customers"})),
    ];
    for (client, arguments) in tries {
        let (answer, is_error) = client.call("search_schema", arguments).await;
        assert!(is_error);
        refusals.push(answer);
    }
    assert_eq!(refusals[0]["error"]["code"], "invalid_argument");
    assert!(refusals[0]["error"]["message"].as_str().unwrap().contains("`cursor`"), "{}", refusals[0]);
    assert!(refusals.iter().all(|refusal| refusal == &refusals[0]), "somebody else's is like any other");
}

#[tokio::test]
async fn an_argument_that_does_not_fit_is_named() {
    let stand = Stand::door_only().await;
    let client = stand.client("robin", Era::Stateless).await;
    let cases = [
        ("query", json!({"sql": 5}), "`sql`: invalid type: integer `5`, expected a string"),
        ("query", json!({"sql": {"text": "SELECT 1"}}), "`sql`: invalid type: map"),
        ("query", json!({"sql": "SELECT 1", "params": "x"}), "`params`: invalid type: string"),
        ("query", json!({"sql": "SELECT 1", "max_rows": "9"}), "`max_rows`: invalid type: string"),
        ("query", json!({"sql": "SELECT 1", "max_rows": 1.5}), "`max_rows`: invalid type: floating point"),
        ("query", json!({"sql": "SELECT 1", "max_bytes": 1e30}), "`max_bytes`"),
        ("execute", json!({"sql": "DELETE FROM t", "reason": ["x"]}), "`reason`: invalid type: sequence"),
        ("search_schema", json!({"limit": -1}), "`limit`: invalid value: integer `-1`"),
        ("search_schema", json!({"detail": "all"}), "`detail`: unknown variant `all`"),
        ("search_schema", json!({"kind": "tables"}), "`kind` is `tables`, and must be one of: table,"),
        ("search_schema", json!({"offset": 1}), "unknown field `offset`"),
        ("my_access", json!({"table": false}), "`table`: invalid type: boolean"),
        ("approval_status", json!({"approval_id": 7}), "`approval_id`: invalid type: integer"),
    ];
    for (tool, arguments, expected) in cases {
        let (answer, is_error) = client.call(tool, arguments).await;
        assert!(is_error, "{tool}");
        assert_eq!(answer["error"]["code"], "invalid_argument", "{answer}");
        assert!(answer["error"]["message"].as_str().unwrap().starts_with(expected), "{expected}: {answer}");
    }
    let nulls = json!({"database": null, "table": null});
    assert!(!client.call("my_access", nulls).await.1, "a null is as good as nothing");
}

#[tokio::test]
async fn my_access_says_in_short_what_one_may_do_and_whom_to_ask() {
    let Shop { stand, .. } = shop(super::governed::SCOPE).await;
    let client = stand.client("robin", Era::Stateless).await;
    let id = stand.request_of("robin");
    stand.request_of("mallory");
    let (answer, _) = client.call("my_access", json!({})).await;
    let summary = json!({
        "readable_tables": 2, "masked_columns": 2, "writable_tables": 0, "writable_with_approval": 1,
    });
    assert_eq!(answer["summary"], summary, "{answer}");
    assert_eq!(answer["read_only"], false);
    assert_eq!(answer["approvers"], json!(["approvers"]));
    assert_eq!(answer["open_approvals"].as_array().unwrap().len(), 1, "one's own only");
    assert_eq!(answer["open_approvals"][0]["approval_id"], id);
    assert_eq!(answer["open_approvals"][0]["statement"], "DELETE FROM t");
    assert!(answer["request_access"].as_str().unwrap().contains("`dana`"));
}
