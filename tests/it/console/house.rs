//! A console of its own, with people and a clock, called without a socket.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use jiff::Timestamp;
use portcullis::approval::{ApprovalId, Desk, Digest, NewRequest, State, ToolCall};
use portcullis::audit::{self, Durability, Event, Ledger, Record, StatementRecord};
use portcullis::catalog;
use portcullis::clock::{Clock, ManualClock};
use portcullis::config::sources;
use portcullis::console::{self, Settings};
use portcullis::gate::{CatalogError, Catalogs, Gate, Workers};
use portcullis::gate::{Parts, Rules};
use portcullis::identity::directory::{AgentSource, Directory};
use portcullis::identity::token::TokenDigest;
use portcullis::policy::{Escalation, Requirement, Snapshot};
use portcullis::store::Store;
use serde_json::Value;
use tower::ServiceExt;

pub(super) const HOST: &str = "127.0.0.1:8433";

/// Name, kind, owner, groups. A token is the name behind `token-of-`.
pub(super) const PEOPLE: [(&str, &str, &str, &str); 6] = [
    ("bot", "agent", "ana", "support"),
    ("job", "service", "", "approvers"),
    ("ana", "human", "", "approvers"),
    ("priya", "human", "", "approvers"),
    ("dora", "human", "", "dba"),
    ("zed", "human", "", "guests"),
];

pub(super) struct House {
    pub(super) router: Router,
    pub(super) gate: Arc<Gate>,
    pub(super) ledger: Ledger,
    pub(super) clock: Arc<ManualClock>,
    pub(super) folder: tempfile::TempDir,
}

pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

#[derive(Debug)]
pub(super) struct NoDatabases;

impl Catalogs for NoDatabases {
    fn current(&self, _database: &str) -> Option<Arc<catalog::Snapshot>> {
        None
    }

    fn refresh<'a>(
        &'a self,
        database: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<Arc<catalog::Snapshot>, CatalogError>> + Send + 'a>> {
        Box::pin(async move {
            Err(CatalogError { database: database.to_owned(), why: "there is none".to_owned() })
        })
    }

    fn names(&self) -> Vec<String> {
        Vec::new()
    }

    fn roles(&self, _database: &str) -> Option<&[String]> {
        None
    }
}

pub(super) fn rules(without: &str) -> Rules {
    let mut sources = Vec::new();
    for (name, kind, owner, groups) in PEOPLE.into_iter().filter(|(name, ..)| *name != without) {
        let owner = if owner.is_empty() { String::new() } else { format!("owner = \"{owner}\"\n") };
        let token = TokenDigest::of(&format!("token-of-{name}"));
        let text = format!(
            "name = \"{name}\"\nkind = \"{kind}\"\n{owner}groups = [\"{groups}\"]\n[auth]\ntoken_sha256 = \"{token}\"\n"
        );
        sources.push(AgentSource { path: format!("{name}.toml"), text });
    }
    let directory = Directory::build(&sources).unwrap();
    let rulebook = sources::rulebook(&Path::new(env!("CARGO_MANIFEST_DIR")).join("policies")).unwrap();
    let policy = Snapshot::build(&rulebook, &directory.to_data()).unwrap();
    Rules { policy, directory: Arc::new(directory) }
}

impl House {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::starting_at(Timestamp::from_second(1_800_000_000).unwrap()));
        let shared: Arc<dyn Clock> = clock.clone();
        let ledger_dir: PathBuf = folder.path().join("ledger");
        let ledger = Ledger::open(&audit::Settings::new(&ledger_dir, Durability::Os), shared.now()).unwrap();
        let gate = Arc::new(
            Gate::new(Parts {
                catalogs: Arc::new(NoDatabases),
                rules: rules(""),
                desk: Desk::new(Store::in_memory().unwrap(), Arc::clone(&shared)).unwrap(),
                ledger: ledger.clone(),
                clock: Arc::clone(&shared),
                workers: Workers::inline(),
                console_url: format!("http://{HOST}"),
            })
            .unwrap(),
        );
        let settings = Settings::new(ledger_dir, HOST.parse().unwrap(), &format!("http://{HOST}"), shared);
        Self { router: console::router(Arc::clone(&gate), settings), gate, ledger, clock, folder }
    }

    /// An open request of `bot`, whose owner is ana, for approvers to decide on.
    pub(super) fn ask(&self, statement: &str) -> ApprovalId {
        self.ask_with(statement, |_| {})
    }

    pub(super) fn ask_with(&self, statement: &str, change: impl FnOnce(&mut NewRequest)) -> ApprovalId {
        let mut new = NewRequest {
            digest: Digest::of([statement.as_bytes()]),
            requester: "bot".into(),
            requester_kind: "agent".into(),
            owner: "ana".into(),
            requester_groups: vec!["support".into()],
            door: "mcp".into(),
            database: "shop".into(),
            statement: statement.into(),
            parameters: Vec::new(),
            call: ToolCall::default(),
            purpose: "ticket 12".into(),
            rule: "write_in_scope".into(),
            message: "this changes rows".into(),
            facts: Value::Null,
            revision: "r1".into(),
            requirement: Requirement {
                escalations: vec![Escalation::by_one("write_in_scope", "m", &["approvers"], 600)],
            },
        };
        change(&mut new);
        self.gate.desk().open(new).unwrap().id
    }

    pub(super) fn state(&self, id: &ApprovalId) -> State {
        self.gate.desk().request(id).unwrap().state
    }

    pub(super) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, 10 << 20).await.unwrap();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    pub(super) async fn get(&self, path: &str, cookie: &str) -> Answer {
        let request = Request::get(path).header(header::HOST, HOST).header(header::COOKIE, cookie);
        self.send(request.body(Body::empty()).unwrap()).await
    }

    pub(super) async fn post(&self, path: &str, cookie: &str, form: &str) -> Answer {
        let request = Request::post(path)
            .header(header::HOST, HOST)
            .header(header::ORIGIN, format!("http://{HOST}"))
            .header(header::COOKIE, cookie)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.send(request.body(Body::from(form.to_owned())).unwrap()).await
    }

    pub(super) async fn api(
        &self,
        method: Method,
        path: &str,
        name: &str,
        body: Value,
    ) -> (StatusCode, Value) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, HOST)
            .header(header::AUTHORIZATION, format!("Bearer token-of-{name}"))
            .header(header::CONTENT_TYPE, "application/json");
        let answer = self.send(request.body(Body::from(body.to_string())).unwrap()).await;
        (answer.status, serde_json::from_str(&answer.body).unwrap_or_default())
    }

    pub(super) async fn api_get(&self, path: &str, name: &str) -> (StatusCode, Value) {
        self.api(Method::GET, path, name, Value::Null).await
    }

    /// Signs in; returns the cookie.
    pub(super) async fn sign_in(&self, name: &str) -> String {
        let answer = self.post("/login", "", &format!("token=token-of-{name}&next=/approvals")).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.body);
        let cookie = answer.headers[header::SET_COOKIE].to_str().unwrap();
        for part in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=28800"] {
            assert!(cookie.contains(part), "{cookie}");
        }
        cookie.split(';').next().unwrap().to_owned()
    }

    pub(super) async fn form_token(&self, cookie: &str) -> String {
        let page = self.get("/approvals", cookie).await.body;
        let at = page.find("name=\"form_token\" value=\"").unwrap() + 25;
        page[at..at + 64].to_owned()
    }

    pub(super) async fn records(&self) -> Vec<Event> {
        self.ledger.flush().await.unwrap();
        let entries = audit::tail(&self.folder.path().join("ledger"), 100, |_| true).unwrap();
        entries.into_iter().map(|entry| entry.record.event).collect()
    }
}

pub(super) fn decided(statement: &str, identity: &str, owner: &str) -> Record {
    Record {
        at: Timestamp::from_second(1_800_000_000).unwrap(),
        decision_id: "d".into(),
        session_id: "".into(),
        identity: identity.into(),
        owner: owner.into(),
        door: "mcp".into(),
        client: "".into(),
        database: "shop".into(),
        event: Event::Decided(Box::new(StatementRecord {
            via: "tool".into(),
            statement: statement.into(),
            sent: String::new(),
            parameters: Vec::new(),
            facts_digest: "".into(),
            command: "select".into(),
            decision: "allow".into(),
            rule: "".into(),
            message: String::new(),
            revision: "r1".into(),
            approval_id: "".into(),
            masked: [].into(),
            released: [].into(),
            detect: Vec::new(),
            row_filters: [].into(),
            max_rows: None,
            max_bytes: None,
            max_time_ms: None,
            labels: Vec::new(),
            place: String::new().into(),
            input: None,
        })),
    }
}
