//! An issuer on this machine, which does whatever a test wants it to.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis::clock::{Clock, SystemClock};
use portcullis::jws::{Algorithm, PrivateKey};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PublicKeyData as _};
use serde_json::{Value, json};

/// What the tokens of these tests must be meant for.
pub(super) const RESOURCE: &str = "https://gate.example.com/mcp";

/// An issuer with its server.
#[derive(Debug, Clone)]
pub(super) struct Issuer {
    pub(super) url: String,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    document: Mutex<Value>,
    keys: Mutex<Vec<Value>>,
    mood: Mutex<Mood>,
    asked: AtomicUsize,
}

/// How a server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    Good,
    /// With 503.
    Down,
    /// Sends everybody elsewhere.
    Moved,
    /// With keys of a megabyte.
    Huge,
}

/// A key that signs, and how its issuer lists it.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) id: &'static str,
    pub(super) private: PrivateKey,
    pub(super) listed: Value,
    pub(super) pem: String,
}

impl Issuer {
    /// Starts a server that lists `keys`.
    pub(super) async fn start(keys: &[&Key]) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let document = json!({ "issuer": url, "jwks_uri": format!("{url}/keys") });
        let state = Arc::new(State {
            document: Mutex::new(document),
            keys: Mutex::default(),
            mood: Mutex::new(Mood::Good),
            asked: AtomicUsize::new(0),
        });
        let issuer = Self { url, state: Arc::clone(&state) };
        issuer.lists(keys);
        let app = axum::Router::new().fallback(move |uri: Uri| {
            let answer = answer(&state, uri.path());
            async move { answer }
        });
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        issuer
    }

    /// From now on it has these keys.
    pub(super) fn lists(&self, keys: &[&Key]) {
        *self.state.keys.lock().unwrap() = keys.iter().map(|key| key.listed.clone()).collect();
    }

    /// From now on its document says this of itself.
    pub(super) fn says(&self, field: &str, value: &str) {
        self.state.document.lock().unwrap()[field] = json!(value);
    }

    pub(super) fn is(&self, mood: Mood) {
        *self.state.mood.lock().unwrap() = mood;
    }

    /// How often it was asked for its keys.
    pub(super) fn asked(&self) -> usize {
        self.state.asked.load(Ordering::SeqCst)
    }

    /// The claims of a good token.
    pub(super) fn claims(&self, subject: &str) -> Value {
        let now = SystemClock.now().as_second();
        json!({
            "iss": self.url, "aud": RESOURCE, "sub": subject, "client_id": "some-app", "iat": now, "exp": now + 300,
            "scope": "sql:read sql:write",
        })
    }

    /// A good token with `more` claims; `null` takes one away.
    pub(super) fn token(&self, key: &Key, subject: &str, more: Value) -> String {
        key.token(&key.header(), &with(self.claims(subject), more))
    }
}

fn answer(state: &State, path: &str) -> Response {
    let keys = json!({ "keys": *state.keys.lock().unwrap() });
    if path == "/keys" {
        state.asked.fetch_add(1, Ordering::SeqCst);
    }
    let mood = *state.mood.lock().unwrap();
    match (mood, path) {
        (Mood::Down, _) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        (Mood::Moved, _) => (StatusCode::FOUND, [("location", "/moved/keys")]).into_response(),
        (_, "/.well-known/openid-configuration") => {
            axum::Json(state.document.lock().unwrap().clone()).into_response()
        }
        (Mood::Huge, "/keys") => Body::from(format!("{keys}{}", " ".repeat(1024 * 1024))).into_response(),
        (_, "/keys") => axum::Json(keys).into_response(),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

impl Key {
    pub(super) fn es256(id: &'static str) -> Self {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let point = pair.der_bytes();
        let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..]));
        let listed = json!({ "kty": "EC", "crv": "P-256", "kid": id, "use": "sig", "x": x, "y": y });
        Self::of(id, Algorithm::Es256, &pair, listed)
    }

    pub(super) fn ed25519(id: &'static str) -> Self {
        let pair = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let x = URL_SAFE_NO_PAD.encode(pair.der_bytes());
        Self::of(id, Algorithm::EdDsa, &pair, json!({ "kty": "OKP", "crv": "Ed25519", "kid": id, "x": x }))
    }

    fn of(id: &'static str, algorithm: Algorithm, pair: &KeyPair, listed: Value) -> Self {
        let private = PrivateKey::parse(algorithm, &pair.serialize_pem()).unwrap();
        Self { id, private, listed, pem: pair.public_key_pem() }
    }

    pub(super) fn header(&self) -> Value {
        json!({ "alg": self.private.algorithm().name(), "kid": self.id, "typ": "at+jwt" })
    }

    /// A token by this key, whatever the header says.
    pub(super) fn token(&self, header: &Value, claims: &Value) -> String {
        signed_by(&self.private, header, claims)
    }
}

pub(super) fn signed_by(key: &PrivateKey, header: &Value, claims: &Value) -> String {
    let signed = unsigned(header, claims);
    let signature = URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes()).unwrap());
    format!("{signed}.{signature}")
}

pub(super) fn unsigned(header: &Value, claims: &Value) -> String {
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()))
}

/// `document` with `more` fields; `null` takes one away.
pub(super) fn with(mut document: Value, more: Value) -> Value {
    let Value::Object(more) = more else { return document };
    let fields = document.as_object_mut().unwrap();
    for (name, value) in more {
        match value {
            Value::Null => drop(fields.remove(&name)),
            value => drop(fields.insert(name, value)),
        }
    }
    document
}
