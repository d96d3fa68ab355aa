//! A certified OpenID provider before the gateway: what it issues gets in, by both grants that agents use.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis::config::McpSettings;
use portcullis::control::oidc::IssuerSettings;
use reqwest::{Response, StatusCode, Url};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use super::issuer::RESOURCE;
use super::{add, fate};
use crate::support::gateway::Stand;

/// The provider, as a process.
struct Provider {
    url: String,
    port: u16,
    process: Child,
}

impl Provider {
    /// Starts it with a new key; `None`, with the reason printed, where it is not installed.
    #[expect(clippy::print_stdout, reason = "whoever runs the test should know what it left out")]
    async fn start(port: u16, key: &str) -> Option<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let installed = root.join("target/clients/oidc");
        if !installed.join("node_modules/oidc-provider").exists() {
            println!("skipped: no provider below target/clients/oidc; scripts/oidc_provider.sh installs it");
            return None;
        }
        let mut process = Command::new("node")
            .arg(root.join("tests/clients/oidc_provider.mjs"))
            .args([&port.to_string(), key, RESOURCE])
            .current_dir(installed)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        while let Some(line) = lines.next_line().await.unwrap() {
            if line == "ready" {
                // It says more, and would end if nobody heard it.
                tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
                return Some(Self { url: format!("http://127.0.0.1:{port}"), port, process });
            }
        }
        panic!("the provider ended before it was ready");
    }

    async fn stop(mut self) -> u16 {
        self.process.kill().await.unwrap();
        self.port
    }

    /// The access token that a request at the token endpoint gives.
    async fn token(&self, form: &[(&str, &str)]) -> String {
        let request = posted(&format!("{}/token", self.url), form);
        let answer = request.send().await.unwrap();
        let body: Value = answer.json().await.unwrap();
        body["access_token"].as_str().unwrap_or_else(|| panic!("{body}")).to_owned()
    }

    /// A token of a workload's own, for `resource`.
    async fn workload(&self, resource: &str) -> String {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", "meter-app"),
            ("client_secret", "of-a-test"),
            ("scope", "sql:read"),
            ("resource", resource),
        ];
        self.token(&form).await
    }

    /// A token of `person`, who signs in and agrees, by code and PKCE, as an agent's client has it done.
    async fn person(&self, person: &str) -> String {
        let verifier = "of-a-test-of-a-test-of-a-test-of-a-test-of-a-test";
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier));
        let query = [
            ("client_id", "desk-app"),
            ("response_type", "code"),
            ("redirect_uri", CALLBACK),
            ("scope", "openid sql:read"),
            ("resource", RESOURCE),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ];
        let mut page = Page::default();
        let start = Url::parse_with_params(&format!("{}/auth", self.url), query).unwrap();
        let login = page.follow(start).await;
        let consent = page.submit(login, &[("prompt", "login"), ("login", person), ("password", "x")]).await;
        let done = page.submit(consent, &[("prompt", "consent")]).await;
        let code = done.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned();
        let form = [
            ("grant_type", "authorization_code"),
            ("client_id", "desk-app"),
            ("code", &code),
            ("redirect_uri", CALLBACK),
            ("code_verifier", verifier),
            ("resource", RESOURCE),
        ];
        self.token(&form).await
    }
}

/// A browser's cookies.
#[derive(Default)]
struct Page(BTreeMap<String, String>);

impl Page {
    /// Opens `url` and goes where it leads; returns where that ends: at a form, or back at the client.
    async fn follow(&mut self, mut url: Url) -> Url {
        while !url.as_str().starts_with(CALLBACK) {
            let answer = browser().get(url.clone()).header("cookie", self.cookies()).send().await.unwrap();
            match self.leads_to(&url, &answer) {
                Some(next) => url = next,
                None => break,
            }
        }
        url
    }

    async fn submit(&mut self, form: Url, fields: &[(&str, &str)]) -> Url {
        let request = posted(form.as_str(), fields).header("cookie", self.cookies());
        let answer = request.send().await.unwrap();
        let next = self.leads_to(&form, &answer);
        self.follow(next.unwrap_or_else(|| panic!("{form} answers {}", answer.status()))).await
    }

    fn leads_to(&mut self, url: &Url, answer: &Response) -> Option<Url> {
        for cookie in answer.headers().get_all("set-cookie") {
            let (name, value) = cookie.to_str().unwrap().split(';').next().unwrap().split_once('=').unwrap();
            self.0.insert(name.to_owned(), value.to_owned());
        }
        let location = answer.headers().get("location")?.to_str().unwrap();
        Some(url.join(location).unwrap())
    }

    fn cookies(&self) -> String {
        let pairs: Vec<String> = self.0.iter().map(|(name, value)| format!("{name}={value}")).collect();
        pairs.join("; ")
    }
}

fn posted(url: &str, fields: &[(&str, &str)]) -> reqwest::RequestBuilder {
    let encoded = Url::parse_with_params("http://form/", fields).unwrap();
    let body = encoded.query().unwrap_or_default().to_owned();
    browser().post(url).header("content-type", "application/x-www-form-urlencoded").body(body)
}

fn browser() -> reqwest::Client {
    let plain = reqwest::Client::builder().no_proxy();
    plain.redirect(reqwest::redirect::Policy::none()).build().unwrap()
}

/// A gateway that takes the provider's tokens: `meter` is its client, analysts come by a group.
async fn gateway(provider: &Provider) -> Stand {
    let groups = [("Data Analysts".to_owned(), "analysts".to_owned())].into();
    let issuer = IssuerSettings {
        refetch: std::time::Duration::ZERO,
        groups,
        ..IssuerSettings::new("corp", &provider.url, RESOURCE)
    };
    Stand::start_with(|home, settings| {
        settings.mcp_door =
            McpSettings { public_url: RESOURCE.to_owned(), issuers: vec![issuer], ..McpSettings::default() };
        let scope = "[scope.shop]\nread = [\"public.*\"]\n";
        let meter = format!("name = \"meter\"\nkind = \"service\"\n{scope}[auth]\n");
        std::fs::write(home.join("agents/meter.toml"), meter).unwrap();
        add(home, "meter", "oidc = { issuer = \"corp\", client = \"meter-app\" }\n");
        let analyst = format!("name = \"analyst\"\nkind = \"human\"\n{scope}[auth]\n");
        std::fs::write(home.join("agents/analyst.toml"), analyst).unwrap();
        add(home, "analyst", "oidc = { issuer = \"corp\", group = \"analysts\" }\n");
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certified_provider_s_tokens_get_in_by_both_grants_and_through_a_rotation() {
    let Some(provider) = Provider::start(free_port().await, "one").await else { return };
    let stand = gateway(&provider).await;
    let workload = provider.workload(RESOURCE).await;
    let meter = stand.mcp_by(&workload).await;
    let sql = json!({"sql": "SELECT current_setting('application_name'), count(*) FROM orders"});
    let answer = meter.call("query", sql.clone()).await;
    assert!(answer["rows"][0][0].as_str().unwrap().starts_with("portcullis:meter:"), "{answer}");
    let person = provider.person("lee").await;
    let lee = stand.mcp_by(&person).await;
    let answer = lee.call("query", sql).await;
    assert!(answer["rows"][0][0].as_str().unwrap().starts_with("portcullis:corp:lee:"), "{answer}");
    let elsewhere = provider.workload("https://other.example/mcp").await;
    assert!(fate(&stand, &elsewhere).await.starts_with("401 the token is not for this gateway"));
    let ran: Vec<String> = stand.ledger().iter().map(|entry| entry.record.identity.to_string()).collect();
    assert!(ran.contains(&"meter".to_owned()) && ran.contains(&"corp:lee".to_owned()), "{ran:?}");

    let port = provider.stop().await;
    assert_eq!(fate(&stand, &person).await, "ok", "the provider is down, and its keys are known");
    let provider = Provider::start(port, "two").await.unwrap();
    let renewed = provider.person("lee").await;
    assert_eq!(fate(&stand, &renewed).await, "ok", "a new key");
    let said = fate(&stand, &person).await;
    assert!(said.starts_with("401 the token is signed by a key that its issuer does not have"), "{said}");

    provider.stop().await;
    let stand = stand.restart().await;
    assert_eq!(fate(&stand, &renewed).await, "503 the keys of issuer `corp` can't be had right now");
    let provider = Provider::start(port, "three").await.unwrap();
    assert_eq!(fate(&stand, &provider.workload(RESOURCE).await).await, "ok", "it came back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_finds_its_way_from_the_refusal_to_a_token() {
    let Some(provider) = Provider::start(free_port().await, "one").await else { return };
    let stand = gateway(&provider).await;
    let origin = format!("http://{}", stand.gateway.addresses().mcp);
    let refused = browser().post(format!("{origin}/mcp")).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    let challenge = refused.headers()["www-authenticate"].to_str().unwrap().to_owned();
    let named = challenge.split("resource_metadata=\"").nth(1).unwrap().trim_end_matches('"');
    // The test knows the gateway by another address than its public one.
    let document = named.replace("https://gate.example.com", &origin);
    let document: Value = browser().get(document).send().await.unwrap().json().await.unwrap();
    let server = document["authorization_servers"][0].as_str().unwrap();
    let metadata = format!("{server}/.well-known/openid-configuration");
    let metadata: Value = browser().get(metadata).send().await.unwrap().json().await.unwrap();
    assert_eq!((&metadata["issuer"], &document["resource"]), (&json!(server), &json!(RESOURCE)));
    assert_eq!(fate(&stand, &provider.person("kim").await).await, "ok");
}

async fn free_port() -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().port()
}

const CALLBACK: &str = "http://127.0.0.1/callback";
