//! Access tokens of issuers at the MCP door: which are good, whom they make, and what they are good for.

mod endpoint;
mod issuer;
mod keys;
mod people;
mod provider;

use std::path::Path;

use portcullis::config::{McpSettings, Settings};
use portcullis::control::oidc::IssuerSettings;
use portcullis::jws::{Algorithm, PrivateKey};
use reqwest::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use crate::support::gateway::Stand;
use issuer::{Issuer, Key, Mood, RESOURCE, signed_by, unsigned, with};

/// A gateway that takes tokens of these issuers, by their names; `ana` is `u-ana` at `corp`.
async fn gateway(issuers: &[(&str, &Issuer)]) -> Stand {
    gateway_with(issuers, |_, _| {}).await
}

async fn gateway_with(issuers: &[(&str, &Issuer)], change: impl FnOnce(&Path, &mut Settings)) -> Stand {
    let issuers = issuers.iter().map(|(name, issuer)| IssuerSettings {
        // Tests don't wait for an interval to pass.
        refetch: std::time::Duration::ZERO,
        ..IssuerSettings::new(name, &issuer.url, RESOURCE)
    });
    let issuers: Vec<IssuerSettings> = issuers.collect();
    Stand::start_with(|home, settings| {
        settings.mcp_door =
            McpSettings { public_url: RESOURCE.to_owned(), issuers, ..McpSettings::default() };
        add(home, "ana", "oidc = { issuer = \"corp\", subject = \"u-ana\" }\n");
        change(home, settings);
    })
    .await
}

/// Adds `text` at the end of an identity's file, which is its `[auth]`.
fn add(home: &Path, name: &str, text: &str) {
    let path = home.join("agents").join(format!("{name}.toml"));
    let before = std::fs::read_to_string(&path).unwrap();
    std::fs::write(path, before + text).unwrap();
}

fn initialize() -> Value {
    let client = json!({"name": "test", "version": "1"});
    let params = json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client});
    json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params})
}

fn calls(tool: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": tool, "arguments": {}}})
}

async fn post(stand: &Stand, token: &str, body: &Value) -> Response {
    let url = format!("http://{}/mcp", stand.gateway.addresses().mcp);
    let request = reqwest::Client::builder().no_proxy().build().unwrap().post(url);
    let request = request.header(CONTENT_TYPE, "application/json").bearer_auth(token);
    let request = request.header("accept", "application/json, text/event-stream");
    request.body(body.to_string()).send().await.unwrap()
}

/// What becomes of a token: `ok`, or the status and the message of its refusal.
async fn fate(stand: &Stand, token: &str) -> String {
    let answer = post(stand, token, &initialize()).await;
    let status = answer.status();
    let challenge = answer.headers().get(WWW_AUTHENTICATE).cloned();
    let body = answer.text().await.unwrap();
    if status == StatusCode::OK {
        return "ok".to_owned();
    }
    let body: Value = serde_json::from_str(&body).unwrap();
    if status == StatusCode::UNAUTHORIZED {
        let challenge = challenge.unwrap().to_str().unwrap().to_owned();
        assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
        assert!(challenge.contains(METADATA), "{challenge}");
    }
    assert!(!body["hint"].as_str().unwrap().is_empty());
    format!("{} {}", status.as_u16(), body["message"].as_str().unwrap())
}

const METADATA: &str =
    "resource_metadata=\"https://gate.example.com/.well-known/oauth-protected-resource/mcp\"";

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "one table of all ways in which a token can be wrong")]
async fn only_a_good_token_for_this_gateway_gets_in() {
    let (key, edwards, foreign) = (Key::es256("k1"), Key::ed25519("k2"), Key::es256("k1"));
    let corp = Issuer::start(&[&key, &edwards]).await;
    let stand = gateway(&[("corp", &corp)]).await;
    let good = corp.claims("u-ana");
    let now = good["iat"].as_i64().unwrap();
    let claims = |more: Value| key.token(&key.header(), &with(good.clone(), more));
    let header = |more: Value| key.token(&with(key.header(), more), &good);
    let secret = PrivateKey::parse(Algorithm::Hs256, &key.pem).unwrap();
    let token = claims(json!({}));
    let (head, signature) = token.rsplit_once('.').unwrap();
    let half = &signature[..signature.len() / 8 * 4];
    let other_claims = unsigned(&key.header(), &with(good.clone(), json!({"sub": "u-dora"})));
    const UNSIGNED: &str = "401 the token is signed by an algorithm that is not allowed for its issuer";
    const NO_KEY: &str =
        "401 the token is signed by a key that its issuer does not have, or has for something else";
    const BROKEN: &str = "401 the token's signature does not hold";
    const NOT_OURS: &str =
        "401 the token is not for this gateway: its audience is not `https://gate.example.com/mcp`";
    const NO_ISSUER: &str = "401 the token's issuer is not one of this gateway's";
    const CRITICAL: &str = "401 the token has critical extensions, which are not known here";
    const TYPE: &str = "401 the token is of another type than an access token";
    for (what, token, said) in [
        ("a good one", token.clone(), "ok"),
        ("by Ed25519", edwards.token(&edwards.header(), &good), "ok"),
        ("of the type JWT", header(json!({"typ": "JWT"})), "ok"),
        ("without a type", header(json!({"typ": null})), "ok"),
        ("for several", claims(json!({"aud": ["https://other.example", RESOURCE]})), "ok"),
        ("a little late", claims(json!({"exp": now - 30})), "ok"),
        ("a little early", claims(json!({"nbf": now + 30, "iat": now + 30})), "ok"),
        // How it is signed.
        ("alg none", format!("{}.", unsigned(&json!({"alg": "none"}), &good)), UNSIGNED),
        ("alg None", format!("{}.", unsigned(&json!({"alg": "None", "kid": "k1"}), &good)), UNSIGNED),
        (
            "HS256 by the public key",
            signed_by(&secret, &json!({"alg": "HS256", "kid": "k1"}), &good),
            UNSIGNED,
        ),
        ("HS256 said to be ES256", signed_by(&secret, &key.header(), &good), BROKEN),
        ("by somebody else's key of the same id", foreign.token(&key.header(), &good), BROKEN),
        ("the key's id is that of a key of another kind", header(json!({"kid": "k2"})), NO_KEY),
        ("the algorithm is of another kind of key", header(json!({"alg": "EdDsa"})), UNSIGNED),
        ("the algorithm is another of the same kind", header(json!({"alg": "ES384"})), NO_KEY),
        ("EdDSA with a key for ES256", header(json!({"alg": "EdDSA"})), NO_KEY),
        ("an unknown key", header(json!({"kid": "k9"})), NO_KEY),
        (
            "a key of its own",
            foreign.token(&with(key.header(), json!({"jwk": foreign.listed, "kid": "x"})), &good),
            NO_KEY,
        ),
        ("keys elsewhere", header(json!({"jku": "http://127.0.0.1:1/keys", "kid": "x"})), NO_KEY),
        ("half a signature", format!("{head}.{half}"), BROKEN),
        ("no signature", format!("{head}."), BROKEN),
        ("other claims", format!("{other_claims}.{signature}"), BROKEN),
        // What it is.
        ("critical", header(json!({"crit": ["x"]})), CRITICAL),
        ("nothing critical", header(json!({"crit": []})), CRITICAL),
        ("unencoded", header(json!({"b64": false})), CRITICAL),
        ("an identity token's type", header(json!({"typ": "logout+jwt"})), TYPE),
        (
            "encrypted",
            format!("{token}.x.y"),
            "401 the token can't be read: it is encrypted; the gateway takes signed tokens",
        ),
        ("two parts", head.to_owned(), "401 the token can't be read: it is no signed token of three parts"),
        ("padded", format!("{token}="), "401 the token can't be read: it is no signed token of three parts"),
        ("too long", claims(json!({"x": "x".repeat(17_000)})), "401 the token is longer than 16384 bytes"),
        // For whom, by whom, when.
        ("for another resource", claims(json!({"aud": "https://other.example/mcp"})), NOT_OURS),
        ("for a longer name", claims(json!({"aud": format!("{RESOURCE}/x")})), NOT_OURS),
        ("for the client itself", claims(json!({"aud": "some-app"})), NOT_OURS),
        ("for nobody", claims(json!({"aud": []})), NOT_OURS),
        (
            "for whom is not said",
            claims(json!({"aud": null})),
            "401 the token's claim `aud` is missing, or is not of the form that it must have",
        ),
        ("of another issuer", claims(json!({"iss": "https://evil.example"})), NO_ISSUER),
        ("of an issuer with a slash", claims(json!({"iss": format!("{}/", corp.url)})), NO_ISSUER),
        ("of no issuer", claims(json!({"iss": null})), NO_ISSUER),
        ("of two issuers", claims(json!({"iss": [corp.url]})), NO_ISSUER),
        ("expired", claims(json!({"exp": now - 61})), "401 the token has expired"),
        (
            "without an end",
            claims(json!({"exp": null})),
            "401 the token's claim `exp` is missing, or is not of the form that it must have",
        ),
        (
            "with an end in words",
            claims(json!({"exp": "never"})),
            "401 the token's claim `exp` is missing, or is not of the form that it must have",
        ),
        (
            "not yet",
            claims(json!({"nbf": now + 3600})),
            "401 the token is not good yet: by its issuer's clock, its time is still to come",
        ),
        (
            "of tomorrow",
            claims(json!({"iat": now + 3600})),
            "401 the token is not good yet: by its issuer's clock, its time is still to come",
        ),
        (
            "about nobody",
            claims(json!({"sub": ""})),
            "401 the token's claim `sub` is missing, or is not of the form that it must have",
        ),
        // Who comes is nobody here: no other token would help.
        (
            "of somebody unknown",
            claims(json!({"sub": "u-eve"})),
            "403 no identity's file is for `corp:u-eve`",
        ),
        (
            "of who acts, unknown",
            claims(json!({"act": {"sub": "bot"}})),
            "403 no identity's file is for `corp:bot`, which acts for `corp:u-ana`",
        ),
        (
            "of who acts, unreadable",
            claims(json!({"act": "bot"})),
            "401 the token's claim `act` is missing, or is not of the form that it must have",
        ),
        (
            "of who acts, elsewhere",
            claims(json!({"act": {"sub": "bot", "iss": "https://evil.example"}})),
            "401 the token's claim `act` is missing, or is not of the form that it must have",
        ),
    ] {
        assert_eq!(fate(&stand, &token).await, said, "{what}");
    }
    assert_eq!(fate(&stand, &stand.secrets["ana"]).await, "ok", "the gateway's own tokens work beside");
    let ledger = serde_json::to_string(&stand.ledger()).unwrap();
    assert!(!ledger.contains(head), "no token is in the ledger");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_headers_are_no_token() {
    let key = Key::es256("k1");
    let corp = Issuer::start(&[&key]).await;
    let stand = gateway(&[("corp", &corp)]).await;
    let token = format!("Bearer {}", corp.token(&key, "u-ana", json!({})));
    let own = format!("Bearer {}", stand.secrets["ana"]);
    let url = format!("http://{}/mcp", stand.gateway.addresses().mcp);
    for pair in [[&token, &own], [&own, &token], [&token, &token]] {
        let request = reqwest::Client::new().post(&url).header(CONTENT_TYPE, "application/json");
        let request = request.header("authorization", pair[0]).header("authorization", pair[1]);
        let request = request.header("accept", "application/json, text/event-stream");
        let answer = request.body(initialize().to_string()).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    }
    assert_eq!(corp.asked(), 0, "nothing of them was even looked at");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_can_t_be_trusted_for_its_keys_is_asked_no_further() {
    let key = Key::es256("k1");
    let names = ["down", "moved", "huge", "liar", "elsewhere", "inside", "far"];
    let mut issuers = Vec::new();
    for name in names {
        issuers.push((name, Issuer::start(&[&key]).await));
    }
    let own = Issuer::start(&[&key]).await;
    let by_name = |wanted: &str| &issuers.iter().find(|(name, _)| *name == wanted).unwrap().1;
    by_name("down").is(Mood::Down);
    by_name("moved").is(Mood::Moved);
    by_name("huge").is(Mood::Huge);
    by_name("liar").says("issuer", &own.url);
    by_name("elsewhere").says("jwks_uri", "http://192.0.2.1/keys");
    by_name("inside").says("jwks_uri", "file:///etc/passwd");
    by_name("far").says("jwks_uri", "https://127.0.0.1:1/keys");
    let mut all: Vec<(&str, &Issuer)> = issuers.iter().map(|(name, issuer)| (*name, issuer)).collect();
    all.push(("corp", &own));
    let stand = gateway(&all).await;
    for name in names {
        let said = fate(&stand, &by_name(name).token(&key, "u-ana", json!({}))).await;
        assert_eq!(said, format!("503 the keys of issuer `{name}` can't be had right now"));
    }
    for name in names {
        let asked = by_name(name).asked();
        assert_eq!(asked, usize::from(name == "huge"), "{name}");
    }
    let answer = post(&stand, &by_name("down").token(&key, "u-ana", json!({})), &initialize()).await;
    assert_eq!(answer.headers()["retry-after"], "5");
    // What was down comes back.
    by_name("down").is(Mood::Good);
    let said = fate(&stand, &by_name("down").token(&key, "u-ana", json!({}))).await;
    assert_eq!(
        said, "403 no identity's file is for `down:u-ana`",
        "its keys are there, and ana is of `corp`"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_find_out_where_to_get_a_token() {
    let key = Key::es256("k1");
    let corp = Issuer::start(&[&key]).await;
    let stand = gateway(&[("corp", &corp)]).await;
    let origin = format!("http://{}", stand.gateway.addresses().mcp);
    for path in ["", "/mcp"] {
        let url = format!("{origin}/.well-known/oauth-protected-resource{path}");
        let answer = reqwest::get(url).await.unwrap();
        assert_eq!(answer.headers()["access-control-allow-origin"], "*");
        let document: Value = answer.json().await.unwrap();
        assert_eq!(
            document,
            json!({
                "resource": RESOURCE, "authorization_servers": [corp.url], "resource_name": "Portcullis",
                "scopes_supported": ["sql:read", "sql:write"], "bearer_methods_supported": ["header"],
            })
        );
    }
    let answer = reqwest::Client::new().post(format!("{origin}/mcp")).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(
        answer.headers()[WWW_AUTHENTICATE],
        format!("Bearer realm=\"portcullis\", scope=\"sql:read\", {METADATA}")
    );
    let without = Stand::start().await;
    let url = format!("http://{}/.well-known/oauth-protected-resource/mcp", without.gateway.addresses().mcp);
    let answer = reqwest::get(url).await.unwrap();
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
    assert!(answer.text().await.unwrap().contains("takes no access tokens"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scope_that_would_help_is_named_and_only_then() {
    let key = Key::es256("k1");
    let corp = Issuer::start(&[&key]).await;
    let stand = gateway(&[("corp", &corp)]).await;
    let token = |scope: Value| corp.token(&key, "u-ana", json!({ "scope": scope }));
    let reads = token(json!("openid sql:read"));
    let both = corp.token(&key, "u-ana", json!({ "scope": null, "scp": ["sql:read", "sql:write"] }));
    let batch = json!([{"jsonrpc": "2.0", "id": 3, "method": "ping"}, calls("execute")]);
    for (token, body, wanted) in [
        (&reads, calls("execute"), "sql:read sql:write"),
        (&reads, calls("run_approved"), "sql:read sql:write"),
        (&reads, batch, "sql:read sql:write"),
        (&token(json!("sql:write")), calls("query"), "sql:write sql:read"),
        (&token(json!("sql:reads")), calls("my_access"), "sql:read"),
        (&token(Value::Null), calls("my_access"), "sql:read"),
        (&token(json!("")), calls("execute"), "sql:write"),
    ] {
        let answer = post(&stand, token, &body).await;
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{body}");
        let challenge = answer.headers()[WWW_AUTHENTICATE].to_str().unwrap().to_owned();
        assert!(challenge.contains("error=\"insufficient_scope\""), "{challenge}");
        assert!(challenge.contains(&format!("scope=\"{wanted}\"")), "{challenge}");
        assert!(challenge.contains(METADATA), "{challenge}");
    }
    // A header that says something else opens nothing.
    for (token, body) in
        [(&reads, calls("query")), (&reads, calls("no_such_tool")), (&both, calls("execute"))]
    {
        let answer = post(&stand, token, &body).await;
        assert_ne!(answer.status(), StatusCode::FORBIDDEN, "{body}");
    }
    assert_eq!(fate(&stand, &token(Value::Null)).await, "ok", "any good token may say hello");
    // What policy denies no scope mends: it is an answer, not a 403.
    let agent = stand.mcp_by(&both).await;
    let answer = agent.call("query", json!({"sql": "SELECT * FROM hr.payroll"})).await;
    assert_eq!(answer["status"], "denied", "{answer}");
}
