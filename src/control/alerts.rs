//! Alerts to other systems: each named sink is a webhook, or the log. The ledger has every alert whatever happens here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Endpoint;
use super::http::{Ask, Bounds, HttpError, Remote};
use crate::clock::Clock;
use crate::gate::Raised;

/// Where alerts of one name go.
#[derive(Debug, Clone)]
pub enum Sink {
    /// To the log alone.
    Log,
    /// To a server, as JSON by POST.
    Webhook(Endpoint),
}

/// All sinks by their names.
#[derive(Debug)]
pub struct Alerts {
    sinks: BTreeMap<String, Option<mpsc::Sender<Value>>>,
    dropped: Arc<AtomicU64>,
    clock: Arc<dyn Clock>,
}

impl Alerts {
    /// Starts what delivers; it ends by `shutdown`.
    ///
    /// # Errors
    /// When a server's address or its authorities can't be used.
    pub fn start(
        settings: &BTreeMap<String, Sink>,
        clock: Arc<dyn Clock>,
        tasks: &mut JoinSet<()>,
        shutdown: &CancellationToken,
    ) -> Result<Self, HttpError> {
        let dropped = Arc::new(AtomicU64::new(0));
        let mut sinks = BTreeMap::new();
        for (name, sink) in settings {
            let sender = match sink {
                Sink::Log => None,
                Sink::Webhook(endpoint) => {
                    let remote = Remote::new(endpoint)?;
                    let (sender, receiver) = mpsc::channel(WAITING);
                    let work =
                        deliver(name.clone(), remote, receiver, Arc::clone(&dropped), shutdown.clone());
                    tasks.spawn(work);
                    Some(sender)
                }
            };
            sinks.insert(name.clone(), sender);
        }
        Ok(Self { sinks, dropped, clock })
    }

    /// Sends an alert on its way. What does not fit is counted, not waited for.
    pub(super) fn alerted(&self, raised: &Raised<'_>) {
        let Raised { identity, database, decision_id, rule, message, hint, place, sink } = raised;
        if sink.is_empty() {
            return;
        }
        let Some(known) = self.sinks.get(*sink) else {
            tracing::error!(sink, rule, "alert.no_such_sink: it is in the log and the ledger only");
            return;
        };
        let Some(sender) = known else { return };
        let body = json!({
            "text": format!("{rule}: {message} (by `{identity}` on `{database}`)"),
            "rule": rule, "message": message, "hint": hint, "place": place,
            "identity": identity, "database": database, "decision_id": decision_id,
            "sink": sink, "at": self.clock.now().to_string(),
        });
        if sender.try_send(body).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Delivers one sink's alerts in their order, each as often as it takes within bounds.
async fn deliver(
    sink: String,
    remote: Remote,
    mut queue: mpsc::Receiver<Value>,
    dropped: Arc<AtomicU64>,
    shutdown: CancellationToken,
) {
    loop {
        let body = tokio::select! {
            () = shutdown.cancelled() => return,
            body = queue.recv() => body,
        };
        let Some(mut body) = body else { return };
        let lost = dropped.swap(0, Ordering::Relaxed);
        if let Some(fields) = body.as_object_mut().filter(|_| lost > 0) {
            fields.insert("lost_before".to_owned(), lost.into());
        }
        let body = Bytes::from(body.to_string());
        for (at, pause) in PAUSES.into_iter().enumerate() {
            let why = match post(&remote, body.clone()).await {
                Ok(()) => break,
                Err(why) => why,
            };
            tracing::error!(sink, error = why, attempt = at + 1, "alert.undelivered");
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
}

async fn post(remote: &Remote, body: Bytes) -> Result<(), String> {
    let headers = vec![(CONTENT_TYPE, "application/json".to_owned())];
    let ask = Ask { headers, body: Some(body), ..Ask::default() };
    let answer = remote.ask(ask, BOUNDS).await.map_err(|error| error.to_string())?;
    if answer.status.is_success() { Ok(()) } else { Err(format!("its server answers {}", answer.status)) }
}

/// Alerts that may wait for one sink.
const WAITING: usize = 1024;

/// After each failure of one alert; then it is given up, and stays in the ledger.
const PAUSES: [Duration; 4] =
    [Duration::from_millis(500), Duration::from_secs(2), Duration::from_secs(8), Duration::ZERO];

const BOUNDS: Bounds = Bounds { time: Duration::from_secs(10), bytes: 64 << 10 };
