//! The MCP door as clients meet it: tokens, sessions, both eras of the protocol, and every answer held against the
//! schema that its tool promises.

mod changes;
mod checked;
mod connections;
mod governed;
mod hidden;
mod injection;
mod links;
mod once;
mod pages;
mod resources;
mod shop;
mod stand;
mod surface;
mod tasks;
mod values;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HOST, ORIGIN, WWW_AUTHENTICATE};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use portcullis::mcp::relay::{self, RelayError};

use stand::{Era, Stand};

const ACCEPT: (&str, &str) = ("accept", "application/json, text/event-stream");

fn initialize() -> Value {
    let client = json!({"name": "test", "version": "1"});
    let params = json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client});
    json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params})
}

async fn post(stand: &Stand, headers: &[(&str, &str)], body: &Value) -> Response {
    let mut request = reqwest::Client::new().post(&stand.url).header(CONTENT_TYPE, "application/json");
    for (name, value) in [ACCEPT].iter().chain(headers) {
        request = request.header(*name, *value);
    }
    request.body(body.to_string()).send().await.unwrap()
}

/// Opens a session, and returns its id.
async fn session(stand: &Stand, bearer: &str) -> String {
    let opened = post(stand, &[("authorization", bearer)], &initialize()).await;
    assert_eq!(opened.status(), StatusCode::OK);
    opened.headers()["mcp-session-id"].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_request_without_a_good_token_is_told_what_to_do() {
    let stand = Stand::door_only().await;
    let long = format!("Bearer {}", "x".repeat(10_000));
    let cases = [
        (None, "has no token"),
        (Some("Basic cm9iaW46eA=="), "not a bearer token"),
        (Some("Bearer wrong"), "not one of this gateway's"),
        (Some(long.as_str()), "not a bearer token"),
    ];
    for (header, problem) in cases {
        let headers: Vec<_> = header.map(|value| ("authorization", value)).into_iter().collect();
        let answer = post(&stand, &headers, &initialize()).await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
        assert!(answer.headers()[WWW_AUTHENTICATE].to_str().unwrap().starts_with("Bearer "));
        assert!(answer.headers().get("mcp-session-id").is_none());
        let body: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        assert!(body["message"].as_str().unwrap().contains(problem), "{body}");
        assert!(body["hint"].as_str().unwrap().contains("Authorization: Bearer"), "{body}");
    }
    let refused = stand.ledger.text().matches("\"refused\"").count();
    assert_eq!(refused, 4, "{}", stand.ledger.text());
}

#[tokio::test]
async fn two_tokens_are_no_token() {
    let stand = Stand::door_only().await;
    let (good, wrong) = (stand.bearer("robin"), "Bearer wrong".to_owned());
    for pair in [[&good, &wrong], [&wrong, &good], [&good, &good]] {
        let headers = pair.map(|value| (AUTHORIZATION.as_str(), value.as_str()));
        assert_eq!(post(&stand, &headers, &initialize()).await.status(), StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn a_session_is_of_no_use_to_another_identity() {
    let stand = Stand::door_only().await;
    let (robin, mallory) = (stand.bearer("robin"), stand.bearer("mallory"));
    let id = session(&stand, &robin).await;
    let list = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/list"});
    let as_mallory = [("authorization", mallory.as_str()), ("mcp-session-id", id.as_str())];
    let as_robin = [("authorization", robin.as_str()), ("mcp-session-id", id.as_str())];
    let never_given = [("authorization", robin.as_str()), ("mcp-session-id", "0000")];
    let stolen = post(&stand, &as_mallory, &list).await;
    let unknown = post(&stand, &never_given, &list).await;
    assert_eq!(stolen.status(), StatusCode::NOT_FOUND);
    assert_eq!(stolen.text().await.unwrap(), unknown.text().await.unwrap());
    assert_eq!(post(&stand, &as_robin, &list).await.status(), StatusCode::OK);

    let both = [as_robin[1], ("mcp-session-id", "0000"), as_mallory[0]];
    assert_eq!(post(&stand, &both, &list).await.status(), StatusCode::NOT_FOUND);
    let http = reqwest::Client::new();
    for method in [http.get(&stand.url), http.delete(&stand.url)] {
        let answer = method
            .header("accept", "text/event-stream")
            .header(AUTHORIZATION, &mallory)
            .header("mcp-session-id", &id)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), StatusCode::NOT_FOUND);
    }
    assert_eq!(post(&stand, &as_robin, &list).await.status(), StatusCode::OK, "the session still stands");
}

#[tokio::test]
async fn a_gateway_that_stops_ends_streams_and_begins_nothing() {
    let stand = Stand::door_only().await;
    let robin = stand.bearer("robin");
    let id = session(&stand, &robin).await;
    let stream = reqwest::Client::new().get(&stand.url).header(AUTHORIZATION, &robin);
    let stream = stream.header("accept", "text/event-stream").header("mcp-session-id", &id);
    let stream = stream.send().await.unwrap();
    assert_eq!(stream.status(), StatusCode::OK);
    stand.shutdown.cancel();
    stream.text().await.unwrap();
    let answer = post(&stand, &[("authorization", &robin)], &initialize()).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.headers()["retry-after"], "5");
    assert!(answer.text().await.unwrap().contains("nothing new begins"));
}

#[tokio::test]
async fn the_oldest_session_makes_room() {
    let stand = Stand::door_only().await;
    let robin = stand.bearer("robin");
    let first = session(&stand, &robin).await;
    let mut last = String::new();
    for _ in 0..stand::MAX_SESSIONS {
        last = session(&stand, &robin).await;
    }
    let list = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/list"});
    let first = post(&stand, &[("authorization", &robin), ("mcp-session-id", &first)], &list).await;
    let last = post(&stand, &[("authorization", &robin), ("mcp-session-id", &last)], &list).await;
    assert_eq!((first.status(), last.status()), (StatusCode::NOT_FOUND, StatusCode::OK));
}

#[tokio::test]
async fn a_web_page_cannot_reach_the_door() {
    let stand = Stand::door_only().await;
    let robin = stand.bearer("robin");
    let port = stand.url.split(':').nth(2).unwrap().split('/').next().unwrap();
    for origin in ["http://evil.example", "null", "http://localhost.evil.example", "https://127.0.0.1.evil"] {
        let answer =
            post(&stand, &[("authorization", &robin), (ORIGIN.as_str(), origin)], &initialize()).await;
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{origin}");
    }
    for host in ["evil.example", "localhost.evil.example", "10.0.0.1:8432"] {
        let answer = post(&stand, &[("authorization", &robin), (HOST.as_str(), host)], &initialize()).await;
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{host}");
    }
    for (name, value) in [
        (ORIGIN, "http://localhost:3000".to_owned()),
        (ORIGIN, format!("http://127.0.0.1:{port}")),
        (HOST, format!("localhost:{port}")),
        (HOST, "gateway.example".to_owned()),
    ] {
        let answer = post(&stand, &[("authorization", &robin), (name.as_str(), &value)], &initialize()).await;
        assert_eq!(answer.status(), StatusCode::OK, "{name}: {value}");
    }
}

#[tokio::test]
async fn a_body_beyond_the_cap_is_refused() {
    let stand = Stand::door_only().await;
    let robin = stand.bearer("robin");
    let mut body = initialize();
    body["params"]["padding"] = json!("x".repeat(2 * 1024 * 1024));
    let answer = post(&stand, &[("authorization", &robin)], &body).await;
    assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let ledger = stand.ledger.text();
    assert!(ledger.contains("\"malformed\"") && ledger.contains("HTTP 413"), "{ledger}");
}

#[tokio::test]
async fn both_eras_list_the_same_tools_for_the_caller_alone() {
    let stand = Stand::door_only().await;
    let mut lists = Vec::new();
    for era in Era::ALL {
        let client = stand.client("robin", era).await;
        let list = client.list_tools(None).await.unwrap();
        if era == Era::Stateless {
            let list = serde_json::to_value(&list).unwrap();
            assert_eq!(list["cacheScope"], "private", "{list}");
        }
        lists.push(list.tools);
        assert!(client.peer_info().unwrap().instructions.as_ref().unwrap().contains("my_access"));
    }
    assert_eq!(lists[0].len(), 7);
    assert_eq!(lists[0], lists[1]);
    assert_eq!(lists[0], lists[2]);
}

#[tokio::test]
async fn arguments_that_do_not_fit_are_named_in_the_envelope() {
    let stand = Stand::door_only().await;
    let client = stand.client("robin", Era::Stateless).await;
    let long = "x".repeat(300_000);
    let cases = [
        ("query", json!({"sql": "SELECT 1", "max_rows": 1001}), "`max_rows` is 1001"),
        ("query", json!({"sql": "SELECT 1", "max_rows": 0}), "from 1 to 1000"),
        ("query", json!({"sql": "SELECT 1", "max_rows": -1}), "-1"),
        ("query", json!({"sql": "SELECT 1", "max_bytes": 99_999_999}), "`max_bytes`"),
        ("query", json!({"sql": "SELECT 1", "limit": 5}), "unknown field `limit`"),
        ("query", json!({}), "missing field `sql`"),
        ("query", json!({"sql": null}), "missing field `sql`"),
        ("query", json!({"sql": ["SELECT 1"]}), "expected a string"),
        ("query", json!({"sql": "SELECT \u{0}1"}), "NUL"),
        ("query", json!({"sql": long}), "at most 262144"),
        ("query", json!({"sql": "SELECT $1", "params": [1e300]}), "$1"),
        ("execute", json!({"sql": "DELETE FROM t"}), "missing field `reason`"),
        ("execute", json!({"sql": "DELETE FROM t", "reason": " \n "}), "`reason` must say why"),
        ("execute", json!({"sql": "DELETE FROM t", "reason": "x", "wait_s": 46}), "`wait_s` is 46"),
        ("approval_status", json!({"wait_s": 3600}), "`wait_s`"),
        ("search_schema", json!({"detail": "everything"}), "unknown variant"),
    ];
    for (tool, arguments, expected) in cases {
        let (answer, is_error) = client.call(tool, arguments.clone()).await;
        assert!(is_error, "{tool}");
        assert_eq!(answer["status"], "error");
        assert_eq!(answer["error"]["code"], "invalid_argument", "{answer}");
        assert!(answer["error"]["message"].as_str().unwrap().contains(expected), "{expected}: {answer}");
    }
}

#[tokio::test]
async fn an_unknown_tool_is_a_protocol_error() {
    let stand = Stand::door_only().await;
    let client = stand.client("robin", Era::Stateless).await;
    let error = client.try_call("drop_table\u{202e}", json!({})).await.unwrap_err();
    assert!(error.to_string().contains("there is no tool `drop_table`"), "{error}");
}

#[tokio::test]
async fn somebody_elses_approval_is_an_unknown_one() {
    let stand = Stand::door_only().await;
    let id = stand.request_of("mallory");
    let client = stand.client("robin", Era::Stateless).await;
    for tool in ["approval_status", "run_approved"] {
        let mut answers = Vec::new();
        for id in [id.as_str(), "00000000000000000000000000000000", "' OR 1=1"] {
            let (answer, is_error) = client.call(tool, json!({"approval_id": id})).await;
            assert!(is_error);
            assert_eq!(answer["error"]["code"], "unknown_approval");
            answers.push(answer);
        }
        assert_eq!(answers[0], answers[1]);
        assert_eq!(answers[0], answers[2]);
    }
    let (answer, _) = client.call("approval_status", json!({})).await;
    assert_eq!(answer["approvals"], json!([]));
    let owner = stand.client("mallory", Era::Stateless).await;
    let (answer, is_error) = owner.call("approval_status", json!({"approval_id": id})).await;
    assert!(!is_error);
    assert_eq!(answer["status"], "pending_approval");
    assert_eq!(answer["approval"]["state"], "pending");
}

#[tokio::test]
async fn one_identity_cannot_take_all_seats() {
    let stand = Stand::door_only().await;
    let id = stand.request_of("robin");
    let (robin, mallory) =
        (stand.client("robin", Era::Stateless).await, stand.client("mallory", Era::Session).await);
    let wait = || robin.call("approval_status", json!({"approval_id": id, "wait_s": 45}));
    let crowd = async {
        robin.heard(stand::MAX_CALLS).await;
        let (answer, is_error) = robin.call("my_access", json!({})).await;
        assert!(is_error);
        assert_eq!(answer["error"]["code"], "overloaded", "{answer}");
        assert!(!mallory.call("my_access", json!({})).await.1, "others have seats of their own");
        stand.vote(&id, "priya");
    };
    let (first, second, ()) = tokio::join!(wait(), wait(), crowd);
    for (answer, is_error) in [first, second] {
        assert!(!is_error);
        assert_eq!(answer["approval"]["state"], "denied", "{answer}");
        assert_eq!(answer["approval"]["approver_note"], "not today");
    }
    assert!(!robin.call("my_access", json!({})).await.1, "the seats are free again");
}

#[tokio::test]
async fn nothing_is_no_statement_and_no_tool_allows_it() {
    let stand = Stand::door_only().await;
    let robin = stand.client("robin", Era::Stateless).await;
    for tool in ["check_sql", "query"] {
        for sql in ["", " \n\t"] {
            let (answer, is_error) = robin.call(tool, json!({ "sql": sql })).await;
            assert!(is_error && answer.get("verdict").is_none(), "{tool}: {answer}");
            assert_eq!(answer["error"]["code"], "invalid_argument", "{tool}: {answer}");
        }
    }
}

#[tokio::test]
async fn the_relay_stops_at_once_when_it_cannot_work() {
    let stand = Stand::door_only().await;
    let error = relay::pump(&b""[..], tokio::io::sink(), &stand.url, "pcl_wrong").await.unwrap_err();
    assert!(matches!(error, RelayError::Unauthorized { .. }), "{error}");
    assert!(!format!("{error:?}").contains("pcl_wrong"));
    let elsewhere = stand.url.replace("/mcp", "/other");
    let error =
        relay::pump(&b""[..], tokio::io::sink(), &elsewhere, &stand.token("robin")).await.unwrap_err();
    assert!(matches!(error, RelayError::NoGateway { status: 404, .. }), "{error}");
}

#[tokio::test]
async fn both_eras_pass_through_the_relay() {
    let stand = Stand::door_only().await;
    for era in Era::ALL {
        let client = stand.relayed_client("robin", era).await;
        assert_eq!(client.list_tools(None).await.unwrap().tools.len(), 7, "{era:?}");
        let (answer, is_error) = client.call("my_access", json!({})).await;
        assert!(!is_error, "{answer}");
        assert_eq!(answer["identity"]["name"], "robin");
        assert_eq!(answer["identity"]["owner"], "dana");
    }
}
