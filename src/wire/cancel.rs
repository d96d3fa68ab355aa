//! CancelRequests: a client's own process number and key, and the way to the session that they name.
//!
//! Whoever can connect can send one, so a key is compared in constant time, and an address that guesses wrong is
//! not listened to for a while.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use subtle::ConstantTimeEq as _;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::identity::Identity;

/// All sessions that can be cancelled.
#[derive(Debug, Default)]
pub(super) struct Cancels {
    entries: Mutex<Entries>,
    guesses: Mutex<HashMap<Source, Guesses>>,
}

#[derive(Debug, Default)]
struct Entries {
    /// By process number: servers give them, and two of them may give the same.
    sessions: HashMap<u32, Vec<Entry>>,
    /// Whether the gateway stops, so that no session may begin.
    is_closed: bool,
}

/// A session that can be cancelled, for as long as this lives.
#[derive(Debug)]
pub(super) struct Registration {
    cancels: Arc<Cancels>,
    process: u32,
    key: Key,
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

/// A session's key: random bytes, as many as its protocol has.
#[derive(Clone)]
struct Key(Vec<u8>);

#[derive(Debug)]
struct Entry {
    key: Key,
    way: Way,
}

/// An address; `None` for all those that are too many to be told apart.
type Source = Option<IpAddr>;

/// Wrong keys from one address, in its current minute.
#[derive(Debug)]
struct Guesses {
    since: Instant,
    wrong: u32,
}

impl Cancels {
    /// Registers a session that speaks protocol 3.`minor`, under its server's process number, which the client may
    /// compare with what `pg_backend_pid()` says, and a key of our own.
    pub(super) fn register(
        self: &Arc<Self>,
        who: Arc<Identity>,
        session_id: &str,
        process: u32,
        minor: u16,
    ) -> Registration {
        let (sender, requests) = mpsc::channel(1);
        let way = Way { who, session_id: session_id.to_owned(), requests: sender };
        let key = Key::generate(minor);
        let mut entries = self.entries();
        if !entries.is_closed {
            entries.sessions.entry(process).or_default().push(Entry { key: key.clone(), way });
        }
        drop(entries);
        Registration { cancels: Arc::clone(self), process, key, requests }
    }

    /// Forgets all sessions, those to come too, and so tells each of them that the gateway stops.
    pub(super) fn close(&self) {
        let mut entries = self.entries();
        entries.is_closed = true;
        entries.sessions.clear();
    }

    /// The way to the session, if the key is its own, and its bearer has not guessed too often.
    pub(super) fn find(&self, client: &str, process: u32, key: &[u8], now: Instant) -> Option<Way> {
        let source = source(client);
        if !self.listens_to(source, now) {
            return None;
        }
        let entries = self.entries();
        let mut known = entries.sessions.get(&process).into_iter().flatten();
        let found = known.find(|entry| bool::from(entry.key.0.ct_eq(key))).map(|entry| entry.way.clone());
        drop(entries);
        if found.is_none() {
            self.guessed_wrong(source, now);
        }
        found
    }

    fn listens_to(&self, source: Source, now: Instant) -> bool {
        let mut guesses = self.guesses();
        let source = if guesses.contains_key(&source) { source } else { crowded(&guesses, source) };
        match guesses.get(&source) {
            Some(minute) if now.duration_since(minute.since) >= MINUTE => {
                guesses.remove(&source);
                true
            }
            Some(minute) => minute.wrong < MOST_WRONG,
            None => true,
        }
    }

    fn guessed_wrong(&self, source: Source, now: Instant) {
        let mut guesses = self.guesses();
        if guesses.len() >= MOST_SOURCES {
            guesses.retain(|_, minute| now.duration_since(minute.since) < MINUTE);
        }
        let source = crowded(&guesses, source);
        let minute = guesses.entry(source).or_insert(Guesses { since: now, wrong: 0 });
        minute.wrong = minute.wrong.saturating_add(1);
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn guesses(&self) -> MutexGuard<'_, HashMap<Source, Guesses>> {
        self.guesses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registration {
    /// The process number that the client is told.
    pub(super) fn process(&self) -> u32 {
        self.process
    }

    /// The key that the client is told.
    pub(super) fn key(&self) -> &[u8] {
        &self.key.0
    }

    /// The next wish to cancel; `None` once the gateway stops.
    pub(super) fn poll_request(&mut self, waking: &mut Context<'_>) -> Poll<Option<Request>> {
        self.requests.poll_recv(waking)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut entries = self.cancels.entries();
        if let Some(known) = entries.sessions.get_mut(&self.process) {
            known.retain(|entry| entry.key.0 != self.key.0);
            if known.is_empty() {
                entries.sessions.remove(&self.process);
            }
        }
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

impl Key {
    /// Exactly 4 bytes in protocol 3.0, and as many as PostgreSQL 18 has from 3.2 on.
    fn generate(minor: u16) -> Self {
        match minor {
            0 | 1 => Self(rand::random::<[u8; 4]>().to_vec()),
            _ => Self(rand::random::<[u8; 32]>().to_vec()),
        }
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({} bytes)", self.0.len())
    }
}

/// The address of `client`, which is `address:port`. Whoever has one IPv6 address has a /64 of them.
fn source(client: &str) -> Source {
    match client.parse().map(|client: SocketAddr| client.ip().to_canonical()) {
        Ok(IpAddr::V6(address)) => Some(IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64))),
        Ok(address @ IpAddr::V4(_)) => Some(address),
        Err(_) => None,
    }
}

/// The source by which a new address counts: with all others, where there are too many.
fn crowded(guesses: &HashMap<Source, Guesses>, source: Source) -> Source {
    if guesses.len() >= MOST_SOURCES && !guesses.contains_key(&source) { None } else { source }
}

/// Wrong keys that an address may present in a minute. A client that cancels too late is among them: its session
/// is gone.
const MOST_WRONG: u32 = 30;
const MINUTE: Duration = Duration::from_secs(60);
/// Addresses that are told apart.
const MOST_SOURCES: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::directory::Directory;

    fn somebody() -> Arc<Identity> {
        Arc::new(Directory::default().trusting().believe("ana").unwrap())
    }

    #[test]
    fn a_key_has_the_length_of_its_protocol_and_opens_one_session_of_those_with_its_number() {
        let cancels = Arc::new(Cancels::default());
        let short = cancels.register(somebody(), "s1", 7, 0);
        let long = cancels.register(somebody(), "s2", 7, 2);
        assert_eq!((short.key().len(), long.key().len()), (4, 32));
        let found = |process, key: &[u8]| {
            cancels.find("192.0.2.1:1", process, key, Instant::now()).map(|way| way.session_id)
        };
        assert_eq!(found(short.process(), short.key()), Some("s1".to_owned()));
        assert_eq!(found(long.process(), long.key()), Some("s2".to_owned()));
        assert_eq!(found(8, short.key()), None, "another number");
        assert_eq!(found(long.process(), &long.key()[..4]), None, "a part of a key is none");
        assert_eq!(found(short.process(), b""), None);
        let (process, key) = (short.process(), short.key().to_vec());
        drop(short);
        assert_eq!(found(process, &key), None, "a session that is over");
        assert_eq!(found(long.process(), long.key()), Some("s2".to_owned()));
    }

    #[test]
    fn an_address_that_guesses_is_not_listened_to_for_a_minute() {
        let cancels = Arc::new(Cancels::default());
        let session = cancels.register(somebody(), "s", 7, 0);
        let start = Instant::now();
        let present =
            |client: &str, key: &[u8]| cancels.find(client, session.process(), key, start).is_some();
        for port in 0..MOST_WRONG {
            assert!(!present(&format!("192.0.2.1:{port}"), b"wrong"));
        }
        assert!(!present("192.0.2.1:9", session.key()), "the right key comes too late");
        assert!(present("192.0.2.2:9", session.key()), "another address");
        assert!(cancels.find("192.0.2.1:9", session.process(), session.key(), start + MINUTE).is_some());
    }

    #[test]
    fn guessing_from_everywhere_takes_no_more_memory() {
        let (cancels, now) = (Cancels::default(), Instant::now());
        for address in 0..10_000_u32 {
            let client = format!("{}:1", std::net::Ipv4Addr::from(address));
            assert!(cancels.find(&client, 1, b"wrong", now).is_none());
        }
        assert!(cancels.guesses().len() <= MOST_SOURCES + 1);
    }
}
