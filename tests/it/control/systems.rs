//! What other systems are asked and told: OPA, decision logs, alerts, and a candidate rulebook beside.

use std::io::Read as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use portcullis::control::{
    BundleSettings, DelegateSettings, Endpoint, LogSettings, Origin, ShadowSettings, Sink, Token,
};
use serde_json::{Value, json};

use crate::faults::until;
use crate::support::gateway::Stand;

/// A server that keeps what it is sent, and answers as it is told to.
struct Other {
    url: String,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    sent: Vec<(String, HeaderMap, Vec<u8>)>,
    answer: Option<(u16, Value)>,
}

impl Other {
    async fn start() -> Self {
        let shared = Arc::new(Mutex::new(Shared::default()));
        let router = Router::new().fallback(keep).with_state(Arc::clone(&shared));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, shared }
    }

    /// From now on; nothing is ever answered by status 0.
    fn answers(&self, status: u16, body: Value) {
        self.shared.lock().unwrap().answer = Some((status, body));
    }

    fn sent(&self) -> Vec<(String, HeaderMap, Vec<u8>)> {
        self.shared.lock().unwrap().sent.clone()
    }

    /// All events of decision logs.
    fn events(&self) -> Vec<Value> {
        let unpacked = |(path, headers, body): (String, HeaderMap, Vec<u8>)| {
            assert_eq!((path.as_str(), &headers["content-encoding"]), ("/logs", &"gzip".parse().unwrap()));
            let mut text = String::new();
            flate2::read::GzDecoder::new(body.as_slice()).read_to_string(&mut text).unwrap();
            serde_json::from_str::<Vec<Value>>(&text).unwrap()
        };
        self.sent().into_iter().flat_map(unpacked).collect()
    }
}

async fn keep(
    State(shared): State<Arc<Mutex<Shared>>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, String) {
    let answer = {
        let mut shared = shared.lock().unwrap();
        shared.sent.push((uri.path().to_owned(), headers, body.to_vec()));
        shared.answer.clone().unwrap_or((200, json!({})))
    };
    if answer.0 == 0 {
        std::future::pending::<()>().await;
    }
    (StatusCode::from_u16(answer.0).unwrap(), answer.1.to_string())
}

/// What `ana` is told who runs `sql`; empty where it runs.
async fn run(stand: &Stand, sql: &str) -> String {
    match stand.wire("ana").await.simple_query(sql).await {
        Ok(_) => String::new(),
        Err(error) => format!("{:?}", error.as_db_error().unwrap()),
    }
}

/// Why the newest decision was a deny, as the ledger has it.
fn recorded(stand: &Stand) -> String {
    let decided = stand.ledger().into_iter().rev().find_map(|entry| match entry.record.event {
        portcullis::audit::Event::Decided(statement) => Some(format!("{statement:?}")),
        _ => None,
    });
    decided.unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opa_server_decides_and_no_answer_is_a_deny() {
    let opa = Other::start().await;
    let settings = DelegateSettings {
        endpoint: Endpoint { token: Some(Token::new("of-opa")), ..Endpoint::new(&opa.url) },
        path: "acme/pg".to_owned(),
        timeout: Duration::from_millis(400),
        reads: ["identity", "statement", "database"].map(|path| vec![path.to_owned()]).to_vec(),
    };
    let stand = Stand::start_with(|_, stand| stand.control.delegate = Some(settings)).await;
    opa.answers(200, json!({ "result": { "allow": true } }));
    assert_eq!(run(&stand, "SELECT 1").await, "");
    let (path, headers, body) = opa.sent().pop().unwrap();
    assert_eq!(
        (path.as_str(), &headers["authorization"]),
        ("/v1/data/acme/pg", &"Bearer of-opa".parse().unwrap())
    );
    let asked: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(asked["input"]["identity"]["name"], "ana");
    assert_eq!(asked["input"]["statement"]["kind"], "select");
    assert!(asked["input"].get("time").is_none(), "more than it is to see");
    let before = opa.sent().len();
    assert_eq!(run(&stand, "SELECT 1").await, "");
    assert_eq!(opa.sent().len(), before, "the same is remembered");

    let deny = json!([{ "rule": "not_now", "message": "not on Mondays", "hint": "" }]);
    opa.answers(200, json!({ "result": { "allow": true, "deny": deny } }));
    assert!(run(&stand, "SELECT 2, 2").await.contains("not on Mondays"));
    for (number, (status, body, why)) in [
        (200, json!({}), "no document"),
        (200, json!({ "result": true }), "its result is a boolean"),
        (200, json!({ "result": { "allow": true, "masks": [] } }), "declares `masks`"),
        (200, json!({ "result": { "allow": "yes" } }), "neither a boolean nor a set"),
        (500, json!({ "result": { "allow": true } }), "it answers 500"),
        (302, json!({ "result": { "allow": true } }), "it answers 302"),
        (0, json!({}), "within 400 ms"),
    ]
    .into_iter()
    .enumerate()
    {
        opa.answers(status, body);
        // Each a statement of its own, so that nothing is remembered.
        let columns = vec!["1"; number + 3].join(", ");
        let told = run(&stand, &format!("SELECT {columns}")).await;
        assert!(told.contains("42501"), "{why}: {told}");
        let recorded = recorded(&stand);
        assert!(told.contains(why) || recorded.contains(why), "{why}\n{told}\n{recorded}");
    }
    opa.answers(200, json!({ "result": { "allow": true } }));
    assert_eq!(run(&stand, "SELECT 1, 1, 1").await, "", "what failed is not remembered");
}

fn fast() -> (Duration, Duration) {
    (Duration::from_millis(50), Duration::from_millis(100))
}

fn log_settings(url: &str) -> LogSettings {
    LogSettings {
        endpoint: Endpoint::new(url),
        labels: [("id".to_owned(), json!("gate-1"))].into_iter().collect(),
        every: fast(),
        buffer: 100,
        chunk_bytes: 32_768,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn decision_logs_arrive_masked_even_after_their_server_was_away() {
    let server = Other::start().await;
    server.answers(503, json!({}));
    let settings = log_settings(&server.url);
    let stand = Stand::start_with(|home, stand| {
        stand.control.decision_log = Some(settings);
        std::fs::write(
            home.join("policies/log.rego"),
            "package system.log\n\nmask contains \"/input/session\"\n\n\
             mask contains {\"op\": \"upsert\", \"path\": \"/input/identity/name\", \"value\": \"somebody\"} if input.input.identity.name == \"ana\"\n\n\
             drop if input.input.statement.kind == \"show\"\n",
        )
        .unwrap();
    })
    .await;
    assert_eq!(run(&stand, "SHOW work_mem").await, "");
    assert_eq!(run(&stand, "SELECT 1").await, "");
    until("it was tried twice", async || server.sent().len() > 1).await;
    server.shared.lock().unwrap().sent.clear();
    server.answers(200, json!({}));
    until("they arrive", async || !server.events().is_empty()).await;
    let events = server.events();
    let select = events.iter().find(|event| event["input"]["statement"]["kind"] == "select").unwrap();
    assert_eq!(select["path"], "portcullis/statement");
    assert_eq!(select["labels"]["id"], "gate-1");
    assert_eq!(select["input"]["identity"]["name"], "somebody");
    assert!(select["input"].get("session").is_none());
    assert_eq!(
        (&select["erased"], &select["masked"]),
        (&json!(["/input/session"]), &json!(["/input/identity/name"]))
    );
    assert_eq!(select["result"]["effect"]["effect"], "allow");
    assert!(select["bundles"]["portcullis"]["revision"].is_string());
    assert!(events.iter().all(|event| event["input"]["statement"]["kind"] != "show"), "dropped");
    let id = select["decision_id"].as_str().unwrap();
    assert!(stand.ledger().iter().any(|entry| entry.record.decision_id == id), "tied to the ledger");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_can_not_be_masked_goes_without_what_it_would_show() {
    let server = Other::start().await;
    let settings = log_settings(&server.url);
    let stand = Stand::start_with(|home, stand| {
        stand.control.decision_log = Some(settings);
        let rule = "package system.log\n\nmask contains {\"op\": \"blur\", \"path\": \"/input\"}\n";
        std::fs::write(home.join("policies/log.rego"), rule).unwrap();
    })
    .await;
    assert_eq!(run(&stand, "SELECT 1").await, "");
    until("it arrives", async || !server.events().is_empty()).await;
    for event in server.events() {
        assert!(event.get("input").is_none() && event.get("result").is_none(), "{event}");
        assert_eq!(event["erased"], json!(["/input", "/result"]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_log_drops_and_holds_up_nobody() {
    let server = Other::start().await;
    server.answers(0, json!({}));
    let settings = LogSettings { buffer: 1, ..log_settings(&server.url) };
    let stand = Stand::start_with(|_, stand| stand.control.decision_log = Some(settings)).await;
    for _ in 0..20 {
        assert_eq!(run(&stand, "SELECT 1").await, "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_reach_their_sink_and_an_unknown_sink_loses_none() {
    let server = Other::start().await;
    server.answers(500, json!({}));
    let sink =
        Sink::Webhook(Endpoint { token: Some(Token::new("of-the-pager")), ..Endpoint::new(&server.url) });
    let stand = Stand::start_with(|home, stand| {
        stand.control.alerts.insert("pager".to_owned(), sink);
        let alert = |sink: &str| {
            format!(
                "alert contains {{\"rule\": \"seen_{sink}\", \"message\": \"a read\", \"hint\": \"\", \"sink\": \"{sink}\"}} if input.statement.kind == \"select\"\n\n"
            )
        };
        let rules = format!("package portcullis.statement.alerts\n\n{}{}", alert("pager"), alert("nowhere"));
        std::fs::write(home.join("policies/alerts.rego"), rules).unwrap();
    })
    .await;
    assert_eq!(run(&stand, "SELECT 1").await, "");
    until("it is tried", async || !server.sent().is_empty()).await;
    server.answers(200, json!({}));
    until("it is tried again", async || server.sent().len() > 1).await;
    let (_, headers, body) = server.sent().pop().unwrap();
    assert_eq!(headers["authorization"], "Bearer of-the-pager");
    let alert: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((&alert["rule"], &alert["identity"]), (&json!("seen_pager"), &json!("ana")));
    assert_eq!(alert["database"], "shop");
    assert!(alert["place"].as_str().unwrap().starts_with("alerts.rego:"), "{alert}");
    assert!(!alert["decision_id"].as_str().unwrap().is_empty());
    let ledger = format!("{:?}", stand.ledger());
    assert!(ledger.contains("seen_pager") && ledger.contains("seen_nowhere"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_decides_beside_and_its_differences_are_told_once() {
    let next = tempfile::tempdir().unwrap();
    let stand = Stand::start_with(|home, stand| {
        crate::support::gateway::copy_folder(&home.join("policies"), next.path());
        let rule = "package portcullis.statement.freeze\n\ndeny contains {\"rule\": \"freeze\", \"message\": \"no\", \"hint\": \"\"} if input.statement.kind == \"select\"\n";
        std::fs::write(next.path().join("freeze.rego"), rule).unwrap();
        let bundle = BundleSettings {
            name: "shadow".to_owned(),
            origin: Origin::Path(next.path().to_owned()),
            grants: true,
            verification: None,
            poll: fast(),
            required: false,
        };
        stand.control.shadow = Some(ShadowSettings { bundle, replaces: None, sample: 1.0 });
    })
    .await;
    let told = |part: &str| format!("{:?}", stand.ledger()).matches(part).count();
    until("there is a candidate", async || told("decides beside the rules in force") == 1).await;
    for _ in 0..5 {
        assert_eq!(run(&stand, "SELECT 1").await, "", "nothing is denied because of it");
    }
    let difference = "for `ana`, the candidate would deny what is not denied now by the rule `freeze`";
    until("it is told", async || told(difference) == 1).await;
    assert_eq!(run(&stand, "SHOW work_mem").await, "");
    // A candidate that can't be used is said to be none.
    std::fs::write(next.path().join("freeze.rego"), "package portcullis.statement.freeze\n\ndeny contains")
        .unwrap();
    until("it is refused", async || told("the candidate can't be used") == 1).await;
    assert_eq!(run(&stand, "SELECT 1").await, "");
    assert_eq!(told(difference), 1);
}
