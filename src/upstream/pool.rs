//! Links that rest between two calls of the same identity, so that a call need not open one.
//!
//! A link is kept under all that it was opened with: the identity, the credential, and every start-up parameter, row
//! filters' values among them. Whoever differs in any of it gets another one. Before it rests it is made as new by
//! constant SQL of ours, whose answers are awaited; one that answers anything else, or on which something had gone
//! wrong, is closed. And one on which a function ran of which that SQL does not undo what it may leave behind is closed
//! too: what a library keeps for its session is beyond `DISCARD ALL`.
//!
//! Links that rest give way: to sessions that would find no place, to other rules, and to time.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use crate::catalog::Volatility;
use crate::protocol::results::{TransactionStatus, command_tag};
use crate::sql::Facts;

use super::{House, Link, LinkError, Outbox};

/// The links of one database that rest.
#[derive(Debug, Default)]
pub(super) struct Pool {
    resting: Mutex<Resting>,
    /// Told whenever a link comes to rest.
    arrivals: Notify,
}

/// All that a link was opened with.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Key {
    /// The identity's name.
    pub(super) identity: String,
    /// The credential's name in the configuration.
    pub(super) role: String,
    /// The start-up parameters, in order.
    pub(super) parameters: Vec<(String, String)>,
}

#[derive(Debug, Default)]
struct Resting {
    /// Of the rules under which they were opened.
    generation: u64,
    /// The oldest first.
    links: Vec<(Arc<Key>, Instant, Link)>,
    /// Whether somebody closes those that have rested for too long.
    is_watched: bool,
}

/// A link that is in use, and rests afterwards.
#[derive(Debug)]
pub struct Lease {
    link: Link,
    home: Weak<Pool>,
    key: Arc<Key>,
    generation: u64,
    is_stained: bool,
}

impl Pool {
    /// A link that was opened with all of `key` under the rules of `generation`, and is still there.
    pub(super) fn take(&self, key: &Key, generation: u64) -> Option<Link> {
        loop {
            let (_, _, mut link) = {
                let mut resting = self.resting();
                resting.renew(generation);
                let same = |(known, _, _): &(Arc<Key>, Instant, Link)| **known == *key;
                let index = resting.links.iter().rposition(same)?;
                resting.links.remove(index)
            };
            if link.is_quiet() {
                return Some(link);
            }
        }
    }

    /// Closes the link that has rested longest. Whether there was one.
    pub(super) fn give_way(&self) -> bool {
        let mut resting = self.resting();
        if resting.links.is_empty() {
            return false;
        }
        drop(resting.links.remove(0));
        true
    }

    /// Closes all of them: one was found dead, so the server may have gone.
    pub(super) fn clear(&self) {
        self.resting().links.clear();
    }

    /// Waits until some link comes to rest.
    pub(super) async fn arrival(&self) {
        self.arrivals.notified().await;
    }

    fn put(self: &Arc<Self>, key: Arc<Key>, generation: u64, link: Link) {
        let starts_watch = {
            let mut resting = self.resting();
            if resting.generation > generation {
                return;
            }
            resting.renew(generation);
            let is_own = |(known, _, _): &&(Arc<Key>, Instant, Link)| known.identity == key.identity;
            if resting.links.iter().filter(is_own).count() >= MOST_OF_ONE {
                return;
            }
            if resting.links.len() >= MOST {
                drop(resting.links.remove(0));
            }
            resting.links.push((key, Instant::now(), link));
            !std::mem::replace(&mut resting.is_watched, true)
        };
        self.arrivals.notify_one();
        if starts_watch {
            tokio::spawn(watch(Arc::downgrade(self)));
        }
    }

    /// Closes what has rested for too long. Whether any rest on.
    fn tidy(&self) -> bool {
        let mut resting = self.resting();
        resting.links.retain(|(_, since, _)| since.elapsed() < LONGEST_REST);
        resting.is_watched = !resting.links.is_empty();
        resting.is_watched
    }

    fn resting(&self) -> MutexGuard<'_, Resting> {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn watch(pool: Weak<Pool>) {
    loop {
        sleep(BETWEEN_LOOKS).await;
        if !pool.upgrade().is_some_and(|pool| pool.tidy()) {
            return;
        }
    }
}

impl Resting {
    /// Closes what was opened under other rules.
    fn renew(&mut self, generation: u64) {
        if self.generation < generation {
            self.generation = generation;
            self.links.clear();
        }
    }
}

impl Lease {
    pub(super) fn new(link: Link, home: &Arc<Pool>, key: Arc<Key>, generation: u64) -> Self {
        Self { link, home: Arc::downgrade(home), key, generation, is_stained: false }
    }

    /// Opens a transaction of `house`.
    pub(super) async fn begin(&mut self, house: House) -> Result<(), LinkError> {
        let mut outbox = Outbox::new();
        outbox.house(house);
        self.link.send(&mut outbox).await?;
        match answered(&mut self.link, "BEGIN").await? {
            TransactionStatus::Active => Ok(()),
            TransactionStatus::Idle | TransactionStatus::Failed => {
                Err(unexpected("it opened no transaction"))
            }
        }
    }

    /// Notes that nobody may use it again.
    pub fn stain(&mut self) {
        self.is_stained = true;
    }

    /// Notes what runs on it: nobody uses it again if that could leave something behind that can't be undone.
    pub fn runs(&mut self, facts: &Facts) {
        self.is_stained |= !leaves_nothing(facts);
    }

    /// Lets go of it, at once: in a task of its own it is made as new and comes to rest, or the server is told goodbye.
    pub fn give_back(self) {
        let Self { mut link, home, key, generation, is_stained } = self;
        tokio::spawn(async move {
            let renewed = match is_stained {
                true => Ok(Err(unexpected("it may not be used again"))),
                false => timeout(RENEWAL, renew(&mut link)).await,
            };
            match (renewed, home.upgrade()) {
                (Ok(Ok(())), Some(home)) => home.put(key, generation, link),
                (Ok(Ok(()) | Err(_)) | Err(_), _) => part(&mut link).await,
            }
        });
    }
}

impl Deref for Lease {
    type Target = Link;

    fn deref(&self) -> &Link {
        &self.link
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut Link {
        &mut self.link
    }
}

/// Makes a session as it was when it was opened. What start-up has set is what `RESET ALL` goes back to.
async fn renew(link: &mut Link) -> Result<(), LinkError> {
    let mut outbox = Outbox::new();
    outbox.house(House::Rollback);
    outbox.house(House::DiscardAll);
    link.send(&mut outbox).await?;
    for tag in [House::Rollback.sql(), House::DiscardAll.sql()] {
        match answered(link, tag).await? {
            TransactionStatus::Idle => {}
            TransactionStatus::Active | TransactionStatus::Failed => {
                return Err(unexpected("it is still in a transaction"));
            }
        }
    }
    link.release();
    Ok(())
}

/// Says goodbye, as far as the server still listens.
async fn part(link: &mut Link) {
    let mut outbox = Outbox::new();
    outbox.terminate();
    if !matches!(timeout(RENEWAL, link.send(&mut outbox)).await, Ok(Ok(()))) {
        tracing::debug!("a database did not wait for the goodbye");
    }
}

/// The answer to SQL of our own that must complete with `tag`, and what state it has left.
async fn answered(link: &mut Link, tag: &str) -> Result<TransactionStatus, LinkError> {
    let mut is_complete = false;
    loop {
        let frame = link.receive_within(LONGEST_ANSWER).await?;
        let frame = frame.ok_or_else(|| unexpected("it sent a message that is too long"))?;
        match frame.tag {
            b'C' => is_complete = command_tag(frame.body).is_ok_and(|given| given == tag),
            b'N' | b'S' => {}
            b'Z' if is_complete => {
                let status = TransactionStatus::parse(&frame.body);
                return status.map_err(|error| unexpected(&error.to_string()));
            }
            _ => return Err(unexpected(&format!("it did not answer `{tag}`"))),
        }
    }
}

/// Whether `DISCARD ALL` undoes all that a statement may leave in its session. Only what is PostgreSQL's own and computes
/// is known to leave nothing else: a library, or a language, may keep what it likes.
fn leaves_nothing(facts: &Facts) -> bool {
    let is_plain = PLAIN.contains(&facts.kind.as_str()) && facts.unresolved.is_empty();
    let computes = facts.functions.iter().all(|function| {
        let only_computes = match function.volatility {
            Volatility::Immutable | Volatility::Stable => true,
            Volatility::Volatile | Volatility::Unknown => HARMLESS.contains(&function.key.as_str()),
        };
        function.builtin && only_computes
    });
    is_plain && computes
}

fn unexpected(what: &str) -> LinkError {
    LinkError::Protocol { what: what.to_owned() }
}

impl fmt::Debug for Key {
    /// Without the parameters, which hold keys and values.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({} as `{}`)", self.identity, self.role)
    }
}

/// Statements of which the functions say all.
const PLAIN: [&str; 7] = ["select", "explain", "show", "insert", "update", "delete", "merge"];
/// Functions that give another value each time, and leave nothing behind.
const HARMLESS: [&str; 6] = [
    "pg_catalog.clock_timestamp",
    "pg_catalog.gen_random_uuid",
    "pg_catalog.nextval",
    "pg_catalog.pg_sleep",
    "pg_catalog.random",
    "pg_catalog.timeofday",
];
/// Most links of one identity that rest.
const MOST_OF_ONE: usize = 8;
/// Most links of one database that rest.
const MOST: usize = 64;
/// How long a link rests.
const LONGEST_REST: Duration = Duration::from_secs(60);
const BETWEEN_LOOKS: Duration = Duration::from_secs(5);
/// How long a server may take to make a session as new.
const RENEWAL: Duration = Duration::from_secs(5);
/// Longest message that can be part of such an answer, in bytes.
const LONGEST_ANSWER: usize = 64 * 1024;
