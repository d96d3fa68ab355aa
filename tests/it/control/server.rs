//! A server of bundles, as simple as they come: one bundle, its ETag, and a note of every request.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Response, StatusCode};
use axum::routing::get;

/// A server that goes away when this is dropped.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    task: tokio::task::JoinHandle<()>,
}

struct Shared {
    status: StatusCode,
    bundle: Vec<u8>,
    version: u32,
    asked: Vec<HeaderMap>,
}

impl Server {
    pub(super) async fn start(bundle: Vec<u8>) -> Self {
        let shared = Shared { status: StatusCode::OK, bundle, version: 1, asked: Vec::new() };
        let shared = Arc::new(Mutex::new(shared));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/bundle.tar.gz", get(answer)).with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, shared, task }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/bundle.tar.gz", self.address)
    }

    pub(super) fn publish(&self, bundle: Vec<u8>) {
        let mut shared = self.shared.lock().unwrap();
        shared.bundle = bundle;
        shared.version += 1;
    }

    pub(super) fn answer_only(&self, status: StatusCode) {
        self.shared.lock().unwrap().status = status;
    }

    /// The headers of all requests so far.
    pub(super) fn asked(&self) -> Vec<HeaderMap> {
        self.shared.lock().unwrap().asked.clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(State(shared): State<Arc<Mutex<Shared>>>, headers: HeaderMap) -> Response<Body> {
    let mut shared = shared.lock().unwrap();
    let etag = format!("\"v{}\"", shared.version);
    let known = headers.get("if-none-match").is_some_and(|known| known.to_str().unwrap() == etag);
    shared.asked.push(headers);
    let answer = Response::builder().header("etag", &etag);
    match (shared.status, known) {
        (StatusCode::OK, true) => answer.status(StatusCode::NOT_MODIFIED).body(Body::empty()),
        (StatusCode::OK, false) => answer.body(Body::from(shared.bundle.clone())),
        (other, _) => answer.status(other).header("location", "/elsewhere").body(Body::empty()),
    }
    .unwrap()
}
