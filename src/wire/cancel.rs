//! CancelRequests: a client's own process number and key, and the way to the session that they name.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use subtle::ConstantTimeEq as _;
use tokio::sync::{mpsc, oneshot};

use crate::identity::Identity;

/// All sessions that can be cancelled.
#[derive(Debug, Default)]
pub(super) struct Cancels(Mutex<HashMap<u32, Entry>>);

/// A session that can be cancelled, for as long as this lives.
#[derive(Debug)]
pub(super) struct Registration {
    cancels: Arc<Cancels>,
    process: u32,
    key: u32,
    requests: mpsc::Receiver<Request>,
}

/// A wish to cancel. Dropping it tells the client that it was served.
pub(super) type Request = oneshot::Sender<()>;

/// Where a CancelRequest leads.
#[derive(Debug, Clone)]
pub(super) struct Way {
    /// Whose session it is.
    pub(super) who: Arc<Identity>,
    /// Its id.
    pub(super) session_id: String,
    requests: mpsc::Sender<Request>,
}

#[derive(Debug)]
struct Entry {
    key: u32,
    way: Way,
}

impl Cancels {
    /// Registers a session under a random process number and key.
    pub(super) fn register(self: &Arc<Self>, who: Arc<Identity>, session_id: &str) -> Registration {
        let (sender, requests) = mpsc::channel(1);
        let way = Way { who, session_id: session_id.to_owned(), requests: sender };
        let key = rand::random();
        let mut entries = self.entries();
        let process = loop {
            // Clients print it as a signed number: it stays positive.
            let process = rand::random::<u32>() >> 1;
            if process != 0 && !entries.contains_key(&process) {
                break process;
            }
        };
        entries.insert(process, Entry { key, way });
        drop(entries);
        Registration { cancels: Arc::clone(self), process, key, requests }
    }

    /// The way to the session, if the key is its own.
    pub(super) fn find(&self, process: u32, key: &[u8]) -> Option<Way> {
        let entries = self.entries();
        let entry = entries.get(&process)?;
        bool::from(entry.key.to_be_bytes().as_slice().ct_eq(key)).then(|| entry.way.clone())
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<u32, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registration {
    /// The process number that the client is told.
    pub(super) fn process(&self) -> u32 {
        self.process
    }

    /// The key that the client is told.
    pub(super) fn key(&self) -> u32 {
        self.key
    }

    /// The next wish to cancel.
    pub(super) fn poll_request(&mut self, waking: &mut Context<'_>) -> Poll<Option<Request>> {
        self.requests.poll_recv(waking)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.cancels.entries().remove(&self.process);
    }
}

impl Way {
    /// Hands in a wish to cancel, and returns once it was served. One that comes while another waits is the same.
    pub(super) async fn cancel(&self) {
        let (request, served) = oneshot::channel();
        if self.requests.try_send(request).is_ok() {
            // The session drops its end when it is done, or when it ends itself.
            drop(served.await);
        }
    }
}
