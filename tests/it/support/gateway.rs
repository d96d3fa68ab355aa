//! A whole gateway before the sample shop: real PostgreSQL, shipped rulebook, shipped identities, all three doors.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use portcullis::audit::{Durability, Entry};
use portcullis::cli::demo::cluster::Cluster;
use portcullis::cli::demo::shop;
use portcullis::config::Settings;
use portcullis::identity::token::Credentials;
use portcullis::serve::Gateway;
use portcullis::upstream::{DatabaseSettings, RoleSettings};
use rmcp::model::CallToolRequestParams;
use rmcp::service::{RunningService, ServiceError};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{RoleClient, ServiceExt as _};
use serde_json::Value;
use tokio_postgres::{Client, Config, NoTls};

/// A running gateway and all that it needs.
#[derive(Debug)]
pub(crate) struct Stand {
    /// The gateway.
    pub(crate) gateway: Gateway,
    /// Its folders: `policies`, `agents`, `state`.
    pub(crate) home: tempfile::TempDir,
    /// The secret of each identity.
    pub(crate) secrets: BTreeMap<String, String>,
    /// The settings it was started with.
    pub(crate) settings: Settings,
    /// The server behind it.
    pub(crate) cluster: Cluster,
}

impl Stand {
    /// Starts a gateway on a cluster of its own.
    pub(crate) async fn start() -> Self {
        Self::start_with(|_, _| {}).await
    }

    /// Starts a gateway on a cluster of its own, after `change` was made to its home and settings.
    pub(crate) async fn start_with(change: impl FnOnce(&Path, &mut Settings)) -> Self {
        Self::start_on(super::shop_cluster().await, change).await
    }

    /// Starts a gateway on `cluster`, which holds the sample shop, after `change` was made to its home and settings.
    pub(crate) async fn start_on(cluster: Cluster, change: impl FnOnce(&Path, &mut Settings)) -> Self {
        for user in [shop::SERVICE_USER, shop::FULL_USER] {
            let sql = format!("ALTER ROLE {user} PASSWORD '{UPSTREAM_PASSWORD}'");
            cluster.execute_sql("postgres", &sql).await.unwrap();
        }
        let home = tempfile::tempdir().unwrap();
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        copy_folder(&root.join("policies"), &home.path().join("policies"));
        let secrets = identities(&root.join("agents"), &home.path().join("agents"));
        let mut settings = settings(&cluster, home.path());
        change(home.path(), &mut settings);
        let gateway = Gateway::start(settings.clone()).await.unwrap();
        Self { gateway, home, secrets, settings, cluster }
    }

    /// The same gateway, started again on the same state.
    pub(crate) async fn restart(self) -> Self {
        let Self { gateway, home, secrets, settings, cluster } = self;
        gateway.stop().await;
        let gateway = Gateway::start(settings.clone()).await.unwrap();
        Self { gateway, home, secrets, settings, cluster }
    }

    /// A wire session of `name` on the shop.
    pub(crate) async fn wire(&self, name: &str) -> Client {
        let (client, connection) = self.wire_config(name).connect(NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    /// How to open a wire session of `name`.
    pub(crate) fn wire_config(&self, name: &str) -> Config {
        let mut config = Config::new();
        config
            .host("127.0.0.1")
            .port(self.gateway.addresses().wire.port())
            .user(name)
            .password(&self.secrets[name])
            .dbname(shop::NAME);
        config
    }

    /// An MCP session of `name`.
    pub(crate) async fn mcp(&self, name: &str) -> Agent {
        self.mcp_by(&self.secrets[name]).await
    }

    /// An MCP session of whoever has `token`.
    pub(crate) async fn mcp_by(&self, token: &str) -> Agent {
        let url = format!("http://{}/mcp", self.gateway.addresses().mcp);
        let config = StreamableHttpClientTransportConfig::with_uri(url).auth_header(token);
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let transport = StreamableHttpClientTransport::with_client(http, config);
        Agent(().serve(transport).await.unwrap())
    }

    /// Host and port of the wire door.
    pub(crate) fn wire_address(&self) -> (String, u16) {
        let address = self.gateway.addresses().wire;
        (address.ip().to_string(), address.port())
    }

    /// The ledger's newest entries, oldest first.
    pub(crate) fn ledger(&self) -> Vec<Entry> {
        portcullis::audit::tail(&self.home.path().join("state/ledger"), 10_000, |_| true).unwrap()
    }
}

/// An MCP client with a session.
#[derive(Debug)]
pub(crate) struct Agent(RunningService<RoleClient, ()>);

impl Agent {
    /// Calls a tool; its answer, as a model gets it.
    pub(crate) async fn call(&self, tool: &'static str, arguments: Value) -> Value {
        self.try_call(tool, arguments).await.unwrap()
    }

    /// As [`Agent::call`], of a tool that may not be there.
    pub(crate) async fn try_call(&self, tool: &'static str, arguments: Value) -> Result<Value, ServiceError> {
        let arguments = arguments.as_object().cloned().unwrap();
        let parameters = CallToolRequestParams::new(tool).with_arguments(arguments);
        Ok(self.0.call_tool(parameters).await?.structured_content.unwrap())
    }
}

fn settings(cluster: &Cluster, home: &Path) -> Settings {
    let role = |name: &str, user: &str| RoleSettings {
        name: name.to_owned(),
        user: user.to_owned(),
        password: UPSTREAM_PASSWORD.to_owned(),
    };
    let anywhere = "127.0.0.1:0".parse().unwrap();
    Settings {
        wire: anywhere,
        wire_door: portcullis::wire::Settings {
            default_database: Some(shop::NAME.to_owned()),
            ..portcullis::wire::Settings::default()
        },
        mcp: anywhere,
        mcp_door: portcullis::config::McpSettings::default(),
        console: anywhere,
        console_url: String::new(),
        policy_path: home.join("policies"),
        // Tests change data and rules that the shipped tests hold.
        control: portcullis::control::Settings { run_tests: false, ..Default::default() },
        agents_path: home.join("agents"),
        state_path: home.join("state"),
        durability: Durability::Fsync,
        databases: vec![DatabaseSettings {
            roles: vec![role("full", shop::FULL_USER)],
            ..DatabaseSettings::new(
                shop::NAME.to_owned(),
                "127.0.0.1".to_owned(),
                cluster.port(),
                shop::NAME.to_owned(),
                role("", shop::SERVICE_USER),
            )
        }],
    }
}

/// Copies the shipped identities and gives each a secret.
fn identities(from: &Path, to: &Path) -> BTreeMap<String, String> {
    fs::create_dir_all(to).unwrap();
    let mut secrets = BTreeMap::new();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let credentials = Credentials::generate();
        let auth = format!(
            "\n[auth]\nscram = \"{}\"\ntoken_sha256 = \"{}\"\n",
            credentials.scram, credentials.token_sha256
        );
        let text = fs::read_to_string(&path).unwrap() + &auth;
        fs::write(to.join(path.file_name().unwrap()), text).unwrap();
        secrets.insert(name, credentials.secret.reveal().to_owned());
    }
    secrets
}

pub(crate) fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_folder(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

/// Of the gateway's upstream roles, which only the throw-away cluster knows.
pub(crate) const UPSTREAM_PASSWORD: &str = "of-a-throw-away-cluster";
