//! A gate with an MCP door on a free port, and clients that hold every answer against its tool's schema.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

use rmcp::model::{
    CallToolRequestParams, ClientCapabilities, ClientConfig, ElicitRequestParams, ElicitResult,
    ElicitationAction, ErrorData, Implementation, ProgressNotificationParam, ProtocolVersion,
    ResourceUpdatedNotificationParam,
};
use rmcp::service::{ClientLifecycleMode, NotificationContext, RequestContext, RunningService, ServiceError};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{ClientHandler, RoleClient, serve_client_with_lifecycle};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use portcullis::approval::{ApprovalId, Desk, Digest, NewRequest, ToolCall, Vote};
use portcullis::audit::{Ledger, Memory};
use portcullis::clock::{Clock, SystemClock};
use portcullis::gate::{Approve, Catalogs as _, Door, Gate, Parts, Rules, Silent, Workers};
use portcullis::identity::directory::{AgentSource, Directory};
use portcullis::identity::token::Token;
use portcullis::mcp;
use portcullis::policy::snapshot::Source;
use portcullis::policy::{Escalation, Requirement, Snapshot};
use portcullis::store::Store;
use portcullis::upstream::{DatabaseSettings, RoleSettings, Upstream};

use crate::support::Database;

pub(super) const MAX_SESSIONS: usize = 3;
pub(super) const MAX_CALLS: usize = 2;

/// The eras, and how a client of each begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Era {
    /// `initialize`, then a session.
    Session,
    /// Every request by itself, since 2026-07-28.
    Stateless,
    /// The client asks which of them the server speaks.
    Negotiated,
}

impl Era {
    pub(super) const ALL: [Self; 3] = [Self::Session, Self::Stateless, Self::Negotiated];

    fn lifecycle(self) -> ClientLifecycleMode {
        let preferred_versions = vec![ProtocolVersion::V_2026_07_28];
        match self {
            Self::Session => ClientLifecycleMode::Initialize,
            Self::Stateless => ClientLifecycleMode::Discover { preferred_versions },
            Self::Negotiated => ClientLifecycleMode::Auto { preferred_versions, legacy_version: None },
        }
    }
}

/// A gate and its MCP door. `robin` and `mallory` are agents of `dana`; `priya` approves.
pub(super) struct Stand {
    pub(super) url: String,
    pub(super) gate: Arc<Gate>,
    upstream: Arc<Upstream>,
    databases: Vec<DatabaseSettings>,
    pub(super) ledger: Memory,
    pub(super) shutdown: CancellationToken,
    pub(super) tokens: Tokens,
}

impl Stand {
    /// A door to two databases that nobody can reach.
    pub(super) async fn door_only() -> Self {
        let scope = "[scope.shop]\nwrite = [\"public.*\"]\n[scope.crm]\nread = [\"public.*\"]\n";
        Self::start(vec![unreachable("shop"), unreachable("crm")], scope).await
    }

    /// A door to so many databases that nobody can reach, `db_000` and so on.
    pub(super) async fn with_databases(count: usize) -> Self {
        let names: Vec<String> = (0..count).map(|number| format!("db_{number:03}")).collect();
        let scope: String =
            names.iter().map(|name| format!("[scope.{name}]\nread = [\"public.*\"]\n")).collect();
        Self::start(names.iter().map(|name| unreachable(name)).collect(), &scope).await
    }

    /// A door to `databases` under the rulebook that ships; `scope` is the TOML of both agents' scope.
    pub(super) async fn start(databases: Vec<DatabaseSettings>, scope: &str) -> Self {
        Self::start_with(databases, scope, &[], |_| {}).await
    }

    /// As [`Stand::start`], with `more` rules, a file each, after `change` was made to the door's settings.
    pub(super) async fn start_with(
        databases: Vec<DatabaseSettings>,
        scope: &str,
        more: &[(&str, &str)],
        change: impl FnOnce(&mut mcp::Settings),
    ) -> Self {
        let tokens: Tokens =
            ["dana", "priya", "robin", "mallory"].map(|name| (name, Token::generate())).into();
        let rules = rules(directory(&tokens, scope), more);
        Self::open(databases, rules, tokens, Store::in_memory().unwrap(), change).await
    }

    /// The gateway as it is after a restart: all that it only remembered is gone.
    pub(super) async fn restarted(self, scope: &str) -> Self {
        let store = self.gate.desk().store().clone();
        let rules = rules(directory(&self.tokens, scope), &[]);
        Self::open(self.databases, rules, self.tokens, store, |_| {}).await
    }

    async fn open(
        databases: Vec<DatabaseSettings>,
        rules: Rules,
        tokens: Tokens,
        store: Store,
        change: impl FnOnce(&mut mcp::Settings),
    ) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let ledger = Memory::default();
        let upstream = Arc::new(Upstream::new(databases.clone()));
        let gate = Arc::new(
            Gate::new(Parts {
                catalogs: Arc::clone(&upstream) as _,
                rules,
                desk: Desk::new(store, Arc::clone(&clock)).unwrap(),
                ledger: Ledger::inline(ledger.clone()),
                clock,
                workers: Workers::start(1, 64).unwrap(),
                console_url: "http://127.0.0.1:8433".to_owned(),
            })
            .unwrap(),
        );
        let shutdown = CancellationToken::new();
        let mut settings = mcp::Settings {
            shutdown: shutdown.clone(),
            hosts: vec!["gateway.example".to_owned()],
            max_sessions: MAX_SESSIONS,
            max_calls: MAX_CALLS,
            ..mcp::Settings::default()
        };
        change(&mut settings);
        let app = mcp::router(Arc::clone(&gate), Arc::clone(&upstream), settings);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        let service = app.into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, service).await.unwrap() });
        Self { url, gate, upstream, databases, ledger, shutdown, tokens }
    }

    /// Loads the definitions of a database again.
    pub(super) async fn look_again(&self, database: &str) {
        self.upstream.refresh(database).await.unwrap();
    }

    /// Makes another token for `who`, which is good from the next change of rules on.
    pub(super) fn rotate(&mut self, who: &'static str) {
        self.tokens.insert(who, Token::generate());
    }

    /// Takes `who` away, from the next change of rules on.
    pub(super) fn remove(&mut self, who: &str) {
        self.tokens.remove(who);
    }

    /// What a request of the newest era is answered with, by its HTTP status.
    pub(super) async fn status_of(&self, method: &str, bearer: &str) -> reqwest::StatusCode {
        let meta = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": {"_meta": meta}});
        let request = reqwest::Client::new()
            .post(&self.url)
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .header("mcp-protocol-version", "2026-07-28")
            .header("mcp-method", method)
            .header("authorization", bearer)
            .body(body.to_string());
        request.send().await.unwrap().status()
    }

    /// Puts other rules in force, for other agents than `without`.
    pub(super) fn replace(&self, scope: &str, more: &[(&str, &str)], without: &[&str]) {
        let tokens = self.tokens.iter().filter(|(name, _)| !without.contains(name));
        self.gate.replace_rules(rules(directory(tokens, scope), more));
    }

    /// Gives both agents another scope.
    pub(super) fn rescope(&self, scope: &str) {
        self.put_in_force(directory(&self.tokens, scope));
    }

    /// Puts the rulebook that ships in force again, for other identities.
    pub(super) fn put_in_force(&self, directory: Directory) {
        self.gate.replace_rules(rules(directory, &[]));
    }

    /// The events of this kind in the ledger, oldest first.
    pub(super) fn events(&self, kind: &str) -> Vec<Value> {
        let text = self.ledger.text();
        let events = text.lines().map(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            line.pointer("/record/event").expect("every line holds an event").clone()
        });
        events.filter(|event| event["kind"] == kind).collect()
    }

    /// A door to a fresh database, as [`fresh`] makes it.
    pub(super) async fn before(schema: &str, scope: &str) -> (Self, Database) {
        let (shop, database) = fresh(schema).await;
        (Self::start(vec![shop], scope).await, database)
    }

    pub(super) fn token(&self, who: &str) -> String {
        self.tokens[who].reveal().to_owned()
    }

    pub(super) fn bearer(&self, who: &str) -> String {
        format!("Bearer {}", self.token(who))
    }

    /// A client over HTTP.
    pub(super) async fn client(&self, who: &str, era: Era) -> Client {
        self.able_client(who, era, ClientCapabilities::default()).await
    }

    /// A client over HTTP that says it can do more.
    pub(super) async fn able_client(&self, who: &str, era: Era, capabilities: ClientCapabilities) -> Client {
        let log = Log { capabilities, ..Log::default() };
        let config =
            StreamableHttpClientTransportConfig::with_uri(self.url.as_str()).auth_header(self.token(who));
        let transport = StreamableHttpClientTransport::from_config(config);
        Client::begin(log, |log| serve_client_with_lifecycle(log, transport, era.lifecycle())).await
    }

    /// A client that speaks lines to the relay, as one does over stdio.
    pub(super) async fn relayed_client(&self, who: &str, era: Era) -> Client {
        let (client, relay) = tokio::io::duplex(1024 * 1024);
        let (input, output) = tokio::io::split(relay);
        let (url, token) = (self.url.clone(), self.token(who));
        tokio::spawn(async move { mcp::relay::pump(input, output, &url, &token).await.unwrap() });
        let transport = tokio::io::split(client);
        Client::begin(Log::default(), |log| serve_client_with_lifecycle(log, transport, era.lifecycle()))
            .await
    }

    /// A request for approval that `who` made.
    pub(super) fn request_of(&self, who: &str) -> String {
        let new = NewRequest {
            digest: Digest::of([who.as_bytes()]),
            requester: who.to_owned(),
            requester_kind: "agent".to_owned(),
            owner: "dana".to_owned(),
            requester_groups: Vec::new(),
            door: "mcp".to_owned(),
            database: "shop".to_owned(),
            statement: "DELETE FROM t".to_owned(),
            parameters: Vec::new(),
            call: ToolCall::default(),
            purpose: "test".to_owned(),
            rule: "write".to_owned(),
            message: "writes need approval".to_owned(),
            facts: json!({}),
            revision: String::new(),
            requirement: Requirement {
                escalations: vec![Escalation::by_one("write", "m", &["approvers"], 600)],
            },
        };
        self.gate.desk().open(new).unwrap().id.to_string()
    }

    /// `who` refuses a request, whatever the rulebook thinks of it.
    pub(super) fn vote(&self, id: &str, who: &str) {
        let id = ApprovalId::parse(id).unwrap();
        let groups = ["approvers".to_owned()];
        self.gate.desk().vote(&id, who, &groups, Vote::Deny, "not today", |_| Vec::new()).unwrap();
    }

    /// `who` decides on a request, as the console lets them.
    pub(super) async fn decide(&self, who: &str, id: &str, vote: Vote, note: &str) {
        let identity = self.gate.authenticate(&self.token(who), Door::Console, "").unwrap();
        let id = ApprovalId::parse(id).unwrap();
        let act = Approve { id, vote, note: note.to_owned(), client: String::new() };
        let proof = self.gate.admit(&identity, act, &Silent).await.unwrap();
        self.gate.decide(&identity, proof).unwrap();
    }
}

fn unreachable(name: &str) -> DatabaseSettings {
    let role = RoleSettings { name: String::new(), user: "nobody".to_owned(), password: "pw".to_owned() };
    DatabaseSettings::new(name.to_owned(), "127.0.0.1".to_owned(), 1, name.to_owned(), role)
}

/// The identities of a stand.
pub(super) type Tokens = BTreeMap<&'static str, Token>;

/// `robin` and `mallory` are agents of `dana`, with this scope; `priya` approves. Who has no token is not there.
pub(super) fn directory<'a>(
    tokens: impl IntoIterator<Item = (&'a &'static str, &'a Token)>,
    scope: &str,
) -> Directory {
    let agent = |(name, token): (&&str, &Token)| {
        let (kind, more) = match *name {
            "dana" => ("human", "groups = [\"analysts\", \"approvers\"]"),
            "priya" => ("human", "groups = [\"approvers\"]"),
            _ => ("agent", "owner = \"dana\"\ngroups = [\"support\"]"),
        };
        let scope = if kind == "agent" { scope } else { "" };
        let digest = token.digest();
        let text = format!(
            "name = \"{name}\"\nkind = \"{kind}\"\n{more}\n[auth]\ntoken_sha256 = \"{digest}\"\n{scope}"
        );
        AgentSource { path: format!("{name}.toml"), text }
    };
    Directory::build(&tokens.into_iter().map(agent).collect::<Vec<_>>()).unwrap()
}

/// A fresh database called `shop`, in which the superuser has run `schema`: in it `SERVICE` is the gateway's own role
/// there, which may read all tables.
pub(super) async fn fresh(schema: &str) -> (DatabaseSettings, Database) {
    let database = Database::with("").await;
    let user = format!("svc_{}", database.name);
    let (create, schema) =
        (format!("CREATE ROLE {user} LOGIN PASSWORD 'pw'"), schema.replace("SERVICE", &user));
    let grants = format!(
        "DO $$ DECLARE name text; BEGIN
            FOR name IN SELECT nspname FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema)' LOOP
                EXECUTE format('GRANT USAGE ON SCHEMA %I TO {user}', name);
                EXECUTE format('GRANT SELECT ON ALL TABLES IN SCHEMA %I TO {user}', name);
            END LOOP;
         END $$"
    );
    for step in [create, schema, grants] {
        database.execute(&step).await;
    }
    let shop = DatabaseSettings::new(
        "shop".to_owned(),
        "127.0.0.1".to_owned(),
        database.cluster.port(),
        database.name.clone(),
        RoleSettings { name: String::new(), user, password: "pw".to_owned() },
    );
    (shop, database)
}

/// What a client heard besides answers, and what it says it can do. Asked to show a link, it says at once that somebody has
/// agreed.
#[derive(Debug, Clone, Default)]
pub(super) struct Log {
    progress: watch::Sender<Vec<String>>,
    news: watch::Sender<Vec<String>>,
    links: watch::Sender<Vec<String>>,
    capabilities: ClientCapabilities,
}

impl Log {
    fn note(&self, news: &str) {
        self.news.send_modify(|heard| heard.push(news.to_owned()));
    }
}

impl ClientHandler for Log {
    fn get_info(&self) -> ClientConfig {
        ClientConfig::new(self.capabilities.clone(), Implementation::new("test", "1"))
    }

    async fn on_progress(&self, progress: ProgressNotificationParam, _: NotificationContext<RoleClient>) {
        self.progress.send_modify(|heard| heard.push(progress.message.unwrap_or_default()));
    }

    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.note("tools");
    }

    async fn on_prompt_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.note("prompts");
    }

    async fn on_resource_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.note("resources");
    }

    async fn on_resource_updated(
        &self,
        updated: ResourceUpdatedNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        self.note(&updated.uri);
    }

    async fn create_elicitation(
        &self,
        request: ElicitRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        let ElicitRequestParams::UrlElicitationParams { url, .. } = request else {
            panic!("a form is never asked for: {request:?}");
        };
        self.links.send_modify(|shown| shown.push(url));
        Ok(ElicitResult::new(ElicitationAction::Accept))
    }
}

/// A connected client.
pub(super) struct Client {
    service: RunningService<RoleClient, Log>,
    schemas: BTreeMap<String, Value>,
    log: Log,
}

impl Client {
    async fn begin<F, E>(log: Log, connect: impl FnOnce(Log) -> F) -> Self
    where
        F: Future<Output = Result<RunningService<RoleClient, Log>, E>>,
        E: std::fmt::Debug,
    {
        let service = connect(log.clone()).await.unwrap();
        let tools = service.list_all_tools().await.unwrap();
        let schema =
            |tool: &rmcp::model::Tool| Value::Object((**tool.output_schema.as_ref().unwrap()).clone());
        let schemas = tools.iter().map(|tool| (tool.name.to_string(), schema(tool))).collect();
        Self { service, schemas, log }
    }

    /// Calls a tool; the answer's object, and whether it counts as an error.
    pub(super) async fn call(&self, tool: &'static str, arguments: Value) -> (Value, bool) {
        self.try_call(tool, arguments).await.unwrap()
    }

    pub(super) async fn try_call(
        &self,
        tool: &'static str,
        arguments: Value,
    ) -> Result<(Value, bool), ServiceError> {
        let arguments = arguments.as_object().cloned().unwrap();
        let result =
            self.service.call_tool(CallToolRequestParams::new(tool).with_arguments(arguments)).await?;
        let answer = result.structured_content.clone().expect("clients show models nothing else");
        fits(&self.schemas[tool], &answer, tool);
        let declared = self.schemas[tool]["properties"].as_object().unwrap();
        for field in answer.as_object().unwrap().keys() {
            assert!(declared.contains_key(field), "{tool} does not declare `{field}`: {answer}");
        }
        let is_error = result.is_error == Some(true);
        assert_eq!(is_error, ["denied", "error"].contains(&answer["status"].as_str().unwrap()), "{answer}");
        let text = result.content.first().and_then(|content| content.as_text()).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&text.text).unwrap(), answer, "both forms say the same");
        Ok((answer, is_error))
    }

    /// Waits until all of these were told, and returns what was told since it was last asked for.
    pub(super) async fn hears(&self, news: &[&str]) -> Vec<String> {
        let mut log = self.log.news.subscribe();
        let all = |heard: &Vec<String>| news.iter().all(|news| heard.iter().any(|heard| heard == news));
        log.wait_for(all).await.unwrap();
        self.log.news.send_replace(Vec::new())
    }

    /// The links that a person was shown.
    pub(super) fn links(&self) -> Vec<String> {
        self.log.links.borrow().clone()
    }

    /// As [`Client::call`], for a tool that may not be listed.
    pub(super) async fn try_call_unseen(
        &self,
        tool: &'static str,
        arguments: Value,
    ) -> Result<Value, ServiceError> {
        let arguments = arguments.as_object().cloned().unwrap();
        let result =
            self.service.call_tool(CallToolRequestParams::new(tool).with_arguments(arguments)).await?;
        Ok(result.structured_content.unwrap_or_default())
    }

    /// Ends the connection without waiting for answers.
    pub(super) async fn hang_up(self) {
        self.service.cancel().await.unwrap();
    }

    /// Waits for this many progress notifications, and returns their messages.
    pub(super) async fn heard(&self, count: usize) -> Vec<String> {
        self.log.progress.subscribe().wait_for(|heard| heard.len() >= count).await.unwrap().clone()
    }

    /// Waits until the client is told that a statement is held, and returns the approval's id.
    pub(super) async fn held(&self) -> String {
        let id = |message: &String| {
            Some(message.split_once("held for approval ")?.1.split(' ').next()?.to_owned())
        };
        let mut log = self.log.progress.subscribe();
        let heard = log.wait_for(|heard| heard.iter().any(|message| id(message).is_some())).await.unwrap();
        heard.iter().rev().find_map(id).unwrap()
    }
}

impl Deref for Client {
    type Target = RunningService<RoleClient, Log>;

    fn deref(&self) -> &Self::Target {
        &self.service
    }
}

/// Holds `value` against `schema`: the keywords that our schemas use, and no others.
fn fits(schema: &Value, value: &Value, path: &str) {
    let is_type = match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("boolean") => value.is_boolean(),
        other => panic!("{path}: unexpected type {other:?}"),
    };
    assert!(is_type, "{path} is no {}: {value}", schema["type"]);
    if let Some(allowed) = schema["enum"].as_array() {
        assert!(allowed.contains(value), "{path}: {value} is not among {allowed:?}");
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        assert!(value.get(name.as_str().unwrap()).is_some(), "{path} lacks {name}: {value}");
    }
    for (name, part) in schema["properties"].as_object().into_iter().flatten() {
        if let Some(value) = value.get(name) {
            fits(part, value, &format!("{path}.{name}"));
        }
    }
    if let (Some(part), Some(items)) = (schema.get("items"), value.as_array()) {
        for (index, item) in items.iter().enumerate() {
            fits(part, item, &format!("{path}[{index}]"));
        }
    }
}

/// The rulebook that ships with `more` files, for all who have a token.
fn rules(directory: Directory, more: &[(&str, &str)]) -> Rules {
    let mut sources = rulebook();
    sources.extend(more.iter().map(|(path, text)| Source::file((*path).to_owned(), (*text).to_owned())));
    let policy = Snapshot::build(&sources, &directory.to_data()).unwrap();
    Rules { policy, directory: Arc::new(directory) }
}

/// The rulebook that ships.
fn rulebook() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    let mut folders = vec![root.clone()];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let text = std::fs::read_to_string(&path).unwrap();
                let below = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                sources.push(Source::file(below, text));
            }
        }
    }
    sources.sort_by(|one, other| one.path.cmp(&other.path));
    sources
}
