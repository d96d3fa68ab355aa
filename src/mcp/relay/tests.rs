use super::*;

use axum::http::HeaderMap;
use axum::routing::any;
use axum::{Json, Router};

const TOKEN: &str = "secret-token";

/// A stand-in for a gateway on a free loopback port; returns its URL.
async fn gateway(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}

/// A gateway that answers a request with the headers that came with it.
fn echo() -> Router {
    Router::new().route(
        "/mcp",
        any(async |headers: HeaderMap, body: String| {
            if body.is_empty() {
                return (StatusCode::NOT_ACCEPTABLE, HeaderMap::new(), Json(Value::Null));
            }
            let message: Value = serde_json::from_str(&body).unwrap();
            let header = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
            let seen = json!({
                "authorization": header("authorization"),
                "session": header("mcp-session-id"),
                "version": header("mcp-protocol-version"),
                "protocolVersion": "2025-06-18",
            });
            let answer = json!({"jsonrpc": "2.0", "id": message["id"], "result": seen});
            let mut opened = HeaderMap::new();
            if message["method"] == "initialize" {
                opened.insert("mcp-session-id", "s1".parse().unwrap());
            }
            (StatusCode::OK, opened, Json(answer))
        }),
    )
}

/// Sends `input` through the relay, and returns the lines that come out.
async fn relayed(input: &str, url: &str) -> Result<Vec<Value>, RelayError> {
    let (output, mut reader) = tokio::io::duplex(1024 * 1024);
    pump(input.as_bytes(), output, url, TOKEN).await?;
    let mut text = String::new();
    reader.read_to_string(&mut text).await.unwrap();
    Ok(text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

#[tokio::test]
async fn the_token_goes_to_this_machine_only() {
    for url in [
        "http://example.com/mcp",
        "https://127.0.0.1/mcp",
        "http://127.0.0.1.example.com/mcp",
        "http://localhost@example.com/mcp",
        "http://10.0.0.1/mcp",
        "not a url",
    ] {
        let error = pump(&b""[..], tokio::io::sink(), url, TOKEN).await.unwrap_err();
        assert!(matches!(error, RelayError::Url { .. }), "{url}: {error}");
        assert!(!format!("{error} {error:?}").contains(TOKEN), "{url}");
    }
    let error = pump(&b""[..], tokio::io::sink(), "http://127.0.0.1:1/mcp", "a\r\nb").await.unwrap_err();
    assert!(matches!(error, RelayError::Token), "{error}");
}

#[tokio::test]
async fn a_gateway_that_is_down_is_named_at_once() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    drop(listener);
    let error = relayed("", &url).await.unwrap_err();
    assert!(matches!(error, RelayError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains(&url) && error.to_string().contains("portcullis serve"));
}

#[tokio::test]
async fn a_wrong_token_and_a_wrong_server_are_told_apart() {
    let status = |code: u16| {
        let code = StatusCode::from_u16(code).unwrap();
        Router::new().route("/mcp", any(async move || code))
    };
    let error = relayed("", &gateway(status(401)).await).await.unwrap_err();
    assert!(error.to_string().contains("portcullis agent rotate"), "{error}");
    for code in [200, 302, 404, 500] {
        let error = relayed("", &gateway(status(code)).await).await.unwrap_err();
        assert!(matches!(error, RelayError::NoGateway { status, .. } if status == code), "{error}");
    }
}

#[tokio::test]
async fn a_session_is_kept_for_the_messages_after_initialize() {
    let url = gateway(echo()).await;
    let input = concat!(
        r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18"}}"#,
        "\n\n",
        r#"{"jsonrpc":"2.0","id":2,"method":"tools/list"}"#,
        "\n"
    );
    let lines = relayed(input, &url).await.unwrap();
    assert_eq!(lines[0]["result"]["session"], Value::Null);
    assert_eq!(lines[1]["id"], 2);
    assert_eq!(lines[1]["result"]["session"], "s1");
    assert_eq!(lines[1]["result"]["version"], "2025-06-18");
    assert_eq!(lines[1]["result"]["authorization"], format!("Bearer {TOKEN}"));
}

#[tokio::test]
async fn a_stateless_message_carries_its_own_version() {
    let url = gateway(echo()).await;
    let input = r#"{"jsonrpc":"2.0","id":"a","method":"server/discover","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#;
    let lines = relayed(input, &url).await.unwrap();
    assert_eq!(lines[0]["result"]["version"], "2026-07-28");
    assert_eq!(lines[0]["result"]["session"], Value::Null);
}

#[tokio::test]
async fn what_is_no_json_gets_an_error_and_the_relay_goes_on() {
    let url = gateway(echo()).await;
    let lines =
        relayed("nonsense\n{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"ping\"}\n", &url).await.unwrap();
    assert_eq!(lines[0]["error"]["code"], PARSE_ERROR);
    assert_eq!(lines[1]["id"], 7);
}

#[tokio::test]
async fn a_request_that_the_gateway_refuses_still_gets_an_answer() {
    let refusing = Router::new().route(
        "/mcp",
        any(async |body: String| {
            let code = if body.is_empty() { 406 } else { 401 };
            let body = json!({"message": "the token was replaced", "hint": "rotate it"});
            (StatusCode::from_u16(code).unwrap(), Json(body))
        }),
    );
    let url = gateway(refusing).await;
    let lines = relayed("{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"ping\"}\n", &url).await.unwrap();
    assert_eq!(lines[0]["id"], 7);
    let message = lines[0]["error"]["message"].as_str().unwrap();
    assert!(message.contains("401") && message.contains("the token was replaced; rotate it"), "{message}");
}

/// A gateway with sessions of its own: it knows those that it has opened, and no others.
fn with_sessions(name: &'static str) -> Router {
    Router::new().route(
        "/mcp",
        any(async move |headers: HeaderMap, body: String| {
            // A restart closes connections too.
            let mut answered = HeaderMap::from_iter([(http::header::CONNECTION, "close".parse().unwrap())]);
            if body.is_empty() {
                return (StatusCode::NOT_ACCEPTABLE, answered, Json(Value::Null));
            }
            let message: Value = serde_json::from_str(&body).unwrap();
            let opens = message["method"] == "initialize";
            if !opens && headers.get("mcp-session-id").is_none_or(|session| session != name) {
                return (
                    StatusCode::NOT_FOUND,
                    answered,
                    Json(json!({"message": "there is no such session"})),
                );
            }
            if opens {
                answered.insert("mcp-session-id", name.parse().unwrap());
            }
            if message.get("id").is_none() {
                return (StatusCode::ACCEPTED, answered, Json(Value::Null));
            }
            let result = json!({"gateway": name, "protocolVersion": message["params"]["protocolVersion"]});
            (StatusCode::OK, answered, Json(json!({"jsonrpc": "2.0", "id": message["id"], "result": result})))
        }),
    )
}

#[tokio::test]
async fn a_session_outlives_a_restart_of_the_gateway() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let url = format!("http://{address}/mcp");
    let first = tokio::spawn(async move { axum::serve(listener, with_sessions("first")).await.unwrap() });
    let (mut client, relay) = tokio::io::duplex(64 * 1024);
    let (input, output) = tokio::io::split(relay);
    let relay = tokio::spawn(async move { pump(input, output, &url, TOKEN).await });
    let opening = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2025-06-18"}});
    let calls = |id: i64| format!("{}\n", json!({"jsonrpc": "2.0", "id": id, "method": "tools/list"}));
    client.write_all(format!("{opening}\n{}", calls(2)).as_bytes()).await.unwrap();
    let (reader, mut writer) = tokio::io::split(client);
    let mut lines = tokio::io::BufReader::new(reader).lines();
    let mut next =
        async || -> Value { serde_json::from_str(&lines.next_line().await.unwrap().unwrap()).unwrap() };
    assert_eq!(
        [next().await["id"].clone(), next().await["result"]["gateway"].clone()],
        [json!(1), json!("first")]
    );

    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    // Nothing listens now, so this call waits for a gateway.
    writer.write_all(calls(3).as_bytes()).await.unwrap();
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    tokio::spawn(async move { axum::serve(listener, with_sessions("second")).await.unwrap() });
    let answer = next().await;
    assert_eq!([&answer["id"], &answer["result"]["gateway"]], [&json!(3), &json!("second")], "{answer}");
    writer.write_all(calls(4).as_bytes()).await.unwrap();
    assert_eq!(next().await["result"]["gateway"], "second");
    writer.shutdown().await.unwrap();
    drop(lines);
    relay.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_gateway_that_stays_away_is_named_and_nothing_was_sent() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    drop(listener);
    let mut gateway = Gateway::new(&url, TOKEN).unwrap();
    gateway.last_pause = Duration::ZERO;
    let why = gateway.deliver(&json!({"jsonrpc": "2.0", "id": 1, "method": "ping"})).await.unwrap_err();
    assert!(
        why.contains(&url) && why.contains("nothing was sent") && why.contains("portcullis serve"),
        "{why}"
    );
}

#[tokio::test]
async fn a_call_that_breaks_off_is_not_repeated_and_says_that_it_may_have_run() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    let heard = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let read = stream.read(&mut [0; 1024]).await.unwrap();
        drop((stream, listener));
        read
    });
    let gateway = Gateway::new(&url, TOKEN).unwrap();
    let why = gateway.deliver(&json!({"jsonrpc": "2.0", "id": 1, "method": "ping"})).await.unwrap_err();
    assert!(heard.await.unwrap() > 0);
    assert!(why.contains("may have run"), "{why}");
}

#[tokio::test]
async fn what_a_gateway_says_of_its_own_accord_reaches_the_client() {
    let changed = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;
    let own = Router::new().route(
        "/mcp",
        axum::routing::get(async move |headers: HeaderMap| {
            if headers.get("mcp-session-id").is_none_or(|session| session != "only") {
                return (StatusCode::NOT_ACCEPTABLE, HeaderMap::new(), String::new());
            }
            let kind = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(EVENT_STREAM))]);
            (StatusCode::OK, kind, format!("data: {changed}\n\n"))
        })
        .post(async |body: String| {
            let message: Value = serde_json::from_str(&body).unwrap();
            let result = json!({"protocolVersion": message["params"]["protocolVersion"]});
            let session = HeaderMap::from_iter([(SESSION, HeaderValue::from_static("only"))]);
            (session, Json(json!({"jsonrpc": "2.0", "id": message["id"], "result": result})))
        }),
    );
    let url = gateway(own).await;
    let (mut client, relay) = tokio::io::duplex(64 * 1024);
    let (input, output) = tokio::io::split(relay);
    let relay = tokio::spawn(async move { pump(input, output, &url, TOKEN).await });
    let opening = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2025-06-18"}});
    client.write_all(format!("{opening}\n").as_bytes()).await.unwrap();
    let (reader, mut writer) = tokio::io::split(client);
    let mut lines = tokio::io::BufReader::new(reader).lines();
    let heard = [lines.next_line().await.unwrap().unwrap(), lines.next_line().await.unwrap().unwrap()];
    assert!(heard[0].contains("\"id\":1"), "{heard:?}");
    assert_eq!(
        serde_json::from_str::<Value>(&heard[1]).unwrap(),
        serde_json::from_str::<Value>(changed).unwrap()
    );
    writer.shutdown().await.unwrap();
    relay.await.unwrap().unwrap();
}
