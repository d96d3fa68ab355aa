//! Decision logs in OPA's format: gzipped JSON arrays, POSTed to `/logs` of a server.
//!
//! They are copies: the ledger is the record. What does not fit into the buffer is counted and dropped, and nobody waits. The
//! rulebook's `system.log` says what is masked or left out; where it can't say, an event goes without input and result.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::bundles::Bundles;
use super::http::{Ask, Bounds, HttpError, Remote};
use super::{Endpoint, poll};
use crate::clock::Clock;
use crate::gate::{Gate, Heard};
use crate::policy::{Edit, Editing};

/// What the configuration says of decision logs.
#[derive(Debug, Clone)]
pub struct LogSettings {
    /// The server, without `/logs`.
    pub endpoint: Endpoint,
    /// Sent with every event, as the server's users know this gateway by.
    pub labels: Map<String, Value>,
    /// The shortest and the longest time between two uploads.
    pub every: (Duration, Duration),
    /// Events that may wait.
    pub buffer: usize,
    /// The most bytes of one upload, packed.
    pub chunk_bytes: usize,
}

/// Where events begin their way.
#[derive(Debug)]
pub struct Shipping {
    queue: mpsc::Sender<Value>,
    dropped: Arc<AtomicU64>,
    clock: Arc<dyn Clock>,
}

/// Masks, packs and uploads.
#[derive(Debug)]
pub struct Shipper {
    settings: LogSettings,
    remote: Remote,
    queue: mpsc::Receiver<Value>,
    dropped: Arc<AtomicU64>,
}

impl Shipping {
    /// Both ends.
    ///
    /// # Errors
    /// When the server's address or its authorities can't be used.
    pub fn new(settings: &LogSettings, clock: Arc<dyn Clock>) -> Result<(Self, Shipper), HttpError> {
        let (sender, receiver) = mpsc::channel(settings.buffer);
        let dropped = Arc::new(AtomicU64::new(0));
        let remote = Remote::new(&settings.endpoint)?;
        let settings = settings.clone();
        let shipper = Shipper { settings, remote, queue: receiver, dropped: Arc::clone(&dropped) };
        Ok((Self { queue: sender, dropped, clock }, shipper))
    }

    /// Takes note of a decision.
    pub(super) fn heard(&self, heard: &Heard<'_>) {
        if heard.decision_id.is_empty() {
            return;
        }
        let Ok(place) = self.queue.try_reserve() else {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let mut input = serde_json::to_value(heard.input).unwrap_or_default();
        if let Some(fields) = input.as_object_mut().filter(|_| heard.decision.redact_parameters) {
            fields.remove("bind");
        }
        place.send(json!({
            "decision_id": heard.decision_id,
            "path": "portcullis/statement",
            "input": input,
            "result": heard.decision,
            "requested_by": heard.input.session.address,
            "timestamp": self.clock.now().to_string(),
            "bundles": { "portcullis": { "revision": heard.decision.revision } },
        }));
    }
}

impl Shipper {
    /// Ships until `shutdown`, by the masks of the rulebook that `gate` has in force; what waits then gets one more try.
    pub async fn run(mut self, gate: Arc<Gate>, bundles: Arc<Bundles>, shutdown: CancellationToken) {
        let mut failures = 0;
        let mut packed = Vec::new();
        while !shutdown.is_cancelled() {
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(poll::pause(self.settings.every, failures)) => {}
            }
            if packed.is_empty() {
                packed = pack(self.take(&gate, &bundles), self.settings.chunk_bytes);
            }
            let uploaded = tokio::time::timeout(PATIENCE, self.upload(&mut packed)).await;
            let late = || Err("its server does not answer".to_owned());
            failures = match uploaded.unwrap_or_else(|_| late()) {
                Ok(()) => 0,
                Err(why) => {
                    tracing::error!(error = why, "decision_log.undelivered: it is tried again");
                    failures.saturating_add(1)
                }
            };
        }
    }

    /// What waits, as it may be sent.
    fn take(&mut self, gate: &Gate, bundles: &Bundles) -> Vec<Value> {
        let rules = gate.rules();
        let revisions =
            bundles.status().into_iter().filter_map(|status| Some((status.name, status.revision?)));
        let revisions: Vec<(String, String)> = revisions.collect();
        let mut events = Vec::new();
        while events.len() < EVENTS {
            let Ok(mut event) = self.queue.try_recv() else { break };
            if let Some(fields) = event.as_object_mut() {
                fields.insert("labels".to_owned(), Value::Object(self.settings.labels.clone()));
            }
            if let Some(Value::Object(known)) = event.get_mut("bundles") {
                let revisions = revisions.iter();
                known.extend(
                    revisions.map(|(name, revision)| (name.clone(), json!({ "revision": revision }))),
                );
            }
            match rules.policy.edits(&event) {
                Ok(Editing::Drop) => {}
                Ok(Editing::Mask(edits)) => {
                    mask(&mut event, &edits);
                    events.push(event);
                }
                Err(why) => {
                    tracing::error!(
                        error = why,
                        "decision_log.unmasked: an event goes without input and result"
                    );
                    strip(&mut event, &why);
                    events.push(event);
                }
            }
        }
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            tracing::warn!(dropped, "decision_log.dropped: the buffer is full; the ledger has them");
        }
        events
    }

    /// Uploads what is packed, in its order; what was delivered is taken out.
    async fn upload(&self, packed: &mut Vec<Vec<u8>>) -> Result<(), String> {
        while let Some(bytes) = packed.first() {
            let headers =
                vec![(CONTENT_TYPE, "application/json".to_owned()), (CONTENT_ENCODING, "gzip".to_owned())];
            let ask = Ask { path: "logs".to_owned(), headers, body: Some(Bytes::from(bytes.clone())) };
            let answer = self.remote.ask(ask, BOUNDS).await.map_err(|error| error.to_string())?;
            if !answer.status.is_success() {
                return Err(format!("its server answers {}", answer.status));
            }
            packed.remove(0);
        }
        Ok(())
    }
}

/// Carries out `edits`, and notes in the event which were.
fn mask(event: &mut Value, edits: &[Edit]) {
    let (mut erased, mut masked) = (Vec::new(), Vec::new());
    for edit in edits {
        let Some((above, name)) = edit.path.rsplit_once('/') else { continue };
        let name = name.replace("~1", "/").replace("~0", "~");
        let done = match (event.pointer_mut(above), &edit.value) {
            (Some(Value::Object(fields)), None) => fields.remove(&name).is_some(),
            (Some(Value::Object(fields)), Some(value)) => {
                fields.insert(name, value.clone());
                true
            }
            (Some(Value::Array(items)), value) => {
                match name.parse().ok().and_then(|at: usize| items.get_mut(at)) {
                    Some(item) => {
                        *item = value.clone().unwrap_or_default();
                        true
                    }
                    None => false,
                }
            }
            (Some(_) | None, _) => false,
        };
        match (done, &edit.value) {
            (true, None) => erased.push(edit.path.clone()),
            (true, Some(_)) => masked.push(edit.path.clone()),
            (false, _) => {}
        }
    }
    let Some(fields) = event.as_object_mut() else { return };
    for (name, paths) in [("erased", erased), ("masked", masked)] {
        if !paths.is_empty() {
            fields.insert(name.to_owned(), json!(paths));
        }
    }
}

/// Leaves nothing of an event but what ties it to the ledger.
fn strip(event: &mut Value, why: &str) {
    let Some(fields) = event.as_object_mut() else { return };
    fields.remove("input");
    fields.remove("result");
    fields.insert("erased".to_owned(), json!(["/input", "/result"]));
    fields.insert("error".to_owned(), json!({ "message": why }));
}

/// Packs events into uploads of at most `limit` bytes. An event that is larger by itself goes without input and result.
fn pack(mut events: Vec<Value>, limit: usize) -> Vec<Vec<u8>> {
    if events.is_empty() {
        return Vec::new();
    }
    let Ok(packed) = gzip(&events) else { return Vec::new() };
    if packed.len() <= limit {
        return vec![packed];
    }
    if let [only] = events.as_mut_slice() {
        strip(only, "the event is larger than an upload");
        return gzip(&events).map(|packed| vec![packed]).unwrap_or_default();
    }
    let rest = events.split_off(events.len() / 2);
    let mut all = pack(events, limit);
    all.extend(pack(rest, limit));
    all
}

fn gzip(events: &[Value]) -> std::io::Result<Vec<u8>> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(serde_json::to_string(events)?.as_bytes())?;
    gzip.finish()
}

/// The most events that are packed at once.
const EVENTS: usize = 10_000;

/// For all that is packed at once; a shutdown waits no longer either.
const PATIENCE: Duration = Duration::from_secs(8);

const BOUNDS: Bounds = Bounds { time: Duration::from_secs(8), bytes: 64 << 10 };

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn unpacked(uploads: &[Vec<u8>]) -> Vec<Value> {
        let unpack = |packed: &Vec<u8>| {
            let mut text = String::new();
            flate2::read::GzDecoder::new(packed.as_slice()).read_to_string(&mut text).unwrap();
            serde_json::from_str::<Vec<Value>>(&text).unwrap()
        };
        uploads.iter().flat_map(unpack).collect()
    }

    #[test]
    fn uploads_keep_to_their_size_and_lose_nothing_but_what_can_not_be_sent() {
        let noise = |length: usize| (0..length).map(|_| rand::random_range('a'..='z')).collect::<String>();
        let mut events: Vec<Value> =
            (0..50).map(|id| json!({ "decision_id": id, "input": noise(300) })).collect();
        events.push(json!({ "decision_id": 50, "input": noise(9000), "result": {} }));
        let uploads = pack(events.clone(), 4096);
        assert!(uploads.len() > 3 && uploads.iter().all(|upload| upload.len() <= 4096));
        let mut arrived = unpacked(&uploads);
        let large = arrived.pop().unwrap();
        assert_eq!(arrived, events[..50]);
        assert_eq!((&large["decision_id"], &large["erased"]), (&json!(50), &json!(["/input", "/result"])));
        assert!(large.get("input").is_none() && large.get("result").is_none());
        assert!(pack(Vec::new(), 4096).is_empty());
    }

    #[test]
    fn edits_follow_their_pointers() {
        let mut event =
            json!({ "input": { "a/b": 1, "list": [1, 2], "text": "x", "deep": { "c": 1 } }, "result": {} });
        let edit = |path: &str, value: Option<Value>| Edit { path: path.to_owned(), value };
        let edits = [
            edit("/input/a~1b", None),
            edit("/input/list/1", None),
            edit("/input/list/7", None),
            edit("/input/deep/c", Some(json!("***"))),
            edit("/input/deep/new", Some(json!(0))),
            edit("/input/nowhere/at/all", None),
            edit("/input/text/below", Some(json!(0))),
            edit("/result", None),
        ];
        mask(&mut event, &edits);
        assert_eq!(
            event,
            json!({
                "input": { "list": [1, null], "text": "x", "deep": { "c": "***", "new": 0 } },
                "erased": ["/input/a~1b", "/input/list/1", "/result"],
                "masked": ["/input/deep/c", "/input/deep/new"],
            })
        );
    }
}
