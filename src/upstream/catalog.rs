//! Loads catalog snapshots with constant SQL, over tokio-postgres.
//!
//! A `Shelf` holds the newest snapshot of one database. Whoever asks for a refresh gets a snapshot whose load began
//! after the question; askers who wait at the same time share one load, failures included, and loads keep a distance.
//! So a flood of statements that name unknown tables costs the server a few loads a second, and no more. Where the
//! definitions are found to be those of the newest snapshot still, a load ends there.

mod definitions;
mod fingerprint;
mod rows;
pub(super) mod session;
mod watch;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::watch::Sender;
use tokio::sync::{Mutex, Notify};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_postgres::error::SqlState;

use crate::catalog::Snapshot;
use crate::gate::CatalogError;
use crate::mask::Key;

use super::handshake::Failure;
use super::target::Target;
use definitions::{Definitions, Locked, ONE_SNAPSHOT, PARAMETERS};
use fingerprint::Fingerprint;

/// The newest snapshot of one database, and at most one load at a time.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    newest: ArcSwapOption<Snapshot>,
    /// How often definitions were said to have changed; and how often when the newest snapshot's load began.
    changes: AtomicU64,
    changes_seen: AtomicU64,
    /// Whether anybody has asked for a snapshot since it was last looked at, and who waits for that.
    used: AtomicBool,
    first_use: Notify,
    loads: Mutex<Loads>,
    /// The versions of all databases' newest snapshots, by name.
    versions: Sender<BTreeMap<String, u64>>,
}

#[derive(Debug, Default)]
struct Loads {
    last_begun: Option<Instant>,
    last_finished: Option<Finished>,
    version: u64,
    digest: Option<[u8; 32]>,
    read: Option<Read>,
}

/// The newest snapshot, when it was read, and what its definitions come to.
#[derive(Debug)]
struct Read {
    at: Instant,
    fingerprint: Fingerprint,
    snapshot: Arc<Snapshot>,
}

#[derive(Debug)]
struct Finished {
    begun: Instant,
    outcome: Result<Arc<Snapshot>, CatalogError>,
}

impl Shelf {
    /// The newest snapshot, if one was ever loaded.
    pub(super) fn newest(&self) -> Option<Arc<Snapshot>> {
        // Most find it set: a statement of one thread takes nothing from those of others.
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
            self.first_use.notify_one();
        }
        self.newest.load_full()
    }

    /// One that notes its snapshots' versions, beside those of other databases, in `versions`.
    pub(super) fn new(versions: Sender<BTreeMap<String, u64>>) -> Self {
        Self { versions, ..Self::default() }
    }

    /// Loads a first snapshot, and keeps it true while anybody uses it, for ever.
    pub(super) async fn watch(&self, target: &Target) {
        if let Err(error) = self.refresh(target).await {
            tracing::error!(%error, "catalog.failed: statements that need it are denied");
        }
        watch::watch(self, target).await;
    }

    /// Whether anybody has used it since this was last asked.
    fn was_used(&self) -> bool {
        self.used.swap(false, Ordering::Relaxed)
    }

    /// Returns when somebody uses it.
    async fn use_of_it(&self) {
        while !self.was_used() {
            self.first_use.notified().await;
        }
    }

    /// Whether the newest snapshot has these definitions, and was read not too long ago.
    async fn is_of(&self, fingerprint: &Fingerprint) -> bool {
        self.loads.lock().await.known().is_some_and(|known| known.fingerprint == *fingerprint)
    }

    /// Notes that definitions may have changed just now.
    pub(super) fn expire(&self) {
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    /// Whether definitions may have changed since the load of the newest snapshot began.
    pub(super) fn is_expired(&self) -> bool {
        self.changes.load(Ordering::Acquire) != self.changes_seen.load(Ordering::Acquire)
    }

    /// A snapshot whose load began after this call. Dropping the future harms nobody: the next who waits loads.
    pub(super) async fn refresh(&self, target: &Target) -> Result<Arc<Snapshot>, CatalogError> {
        let asked = Instant::now();
        let mut loads = self.loads.lock().await;
        if let Some(finished) = loads.last_finished.as_ref().filter(|finished| finished.begun >= asked) {
            return finished.outcome.clone();
        }
        if let Some(last_begun) = loads.last_begun {
            sleep_until(last_begun + DISTANCE).await;
        }
        let begun = Instant::now();
        let changes = self.changes.load(Ordering::Acquire);
        loads.last_begun = Some(begun);
        let outcome = self.load(target, &mut loads).await;
        if outcome.is_ok() {
            self.changes_seen.store(changes, Ordering::Release);
        }
        loads.last_finished = Some(Finished { begun, outcome: outcome.clone() });
        outcome
    }

    async fn load(&self, target: &Target, loads: &mut Loads) -> Result<Arc<Snapshot>, CatalogError> {
        let database = target.settings();
        let error =
            |error: LoadError| CatalogError { database: database.name.clone(), why: error.in_words() };
        let at = Instant::now();
        let found = timeout(DEADLINE, read(target, loads.known())).await;
        let found = found.unwrap_or(Err(LoadError::Late(DEADLINE))).map_err(error)?;
        let (definitions, fingerprint) = match found {
            Found::Same(snapshot) => return Ok(snapshot),
            Found::Other(definitions, fingerprint) => (definitions, fingerprint),
        };
        let digest = definitions.digest();
        if loads.digest != Some(digest) {
            loads.digest = Some(digest);
            loads.version = loads.version.saturating_add(1);
        }
        let key_settings = database.mask_key.as_ref().map(Key::setting_names).unwrap_or_default();
        let mut snapshot =
            definitions.into_snapshot(loads.version, database.search_path.clone()).keyed(key_settings);
        if let Some(older) = self.newest.load().as_deref() {
            snapshot = snapshot.sharing(older);
        }
        let snapshot = Arc::new(snapshot);
        self.newest.store(Some(Arc::clone(&snapshot)));
        self.versions.send_if_modified(|versions| {
            versions.insert(database.name.clone(), loads.version) != Some(loads.version)
        });
        let kept = |fingerprint| Read { at, fingerprint, snapshot: Arc::clone(&snapshot) };
        loads.read = fingerprint.map(kept);
        Ok(snapshot)
    }
}

impl Loads {
    /// What was read last, unless it is time to read it again whatever it comes to.
    fn known(&self) -> Option<&Read> {
        self.read.as_ref().filter(|read| read.at.elapsed() < READ_EVERY)
    }
}

/// What a look at the catalog found.
#[derive(Debug)]
enum Found {
    /// What was known already.
    Same(Arc<Snapshot>),
    /// These definitions; without a fingerprint where some are left out, so that they are read again.
    Other(Definitions, Option<Fingerprint>),
}

/// Reads the catalog unless its fingerprint is the `known` one; again where something in it was dropped meanwhile. PostgreSQL's
/// functions that put definitions into words look at the catalog as it is now, not as it was when the statement began.
/// They also wait for locks: what stays locked is left out then, as its owner may be a session that waits for this very
/// load.
async fn read(target: &Target, known: Option<&Read>) -> Result<Found, LoadError> {
    let mut locked = Locked::Awaited;
    for _ in 1..MOST_READS {
        match read_once(target, known, locked).await {
            Err(error) if error.is_locked_out() => locked = Locked::LeftOut,
            Err(error) if error.is_of_a_moment() => tracing::debug!(why = error.in_words(), "catalog.moved"),
            read => return read,
        }
    }
    read_once(target, known, locked).await
}

async fn read_once(target: &Target, known: Option<&Read>, locked: Locked) -> Result<Found, LoadError> {
    let client = session::open(target, &target.settings().service, &PARAMETERS).await?;
    client.batch_execute(ONE_SNAPSHOT).await?;
    let fingerprint = Fingerprint::ask(&client).await?;
    if let Some(known) = known.filter(|known| known.fingerprint == fingerprint) {
        return Ok(Found::Same(Arc::clone(&known.snapshot)));
    }
    let definitions = Definitions::load(&client, target, locked).await?;
    Ok(Found::Other(definitions, (locked == Locked::Awaited).then_some(fingerprint)))
}

/// Why a question of the gateway's own has no answer.
#[derive(Debug)]
pub(super) enum LoadError {
    /// There was no session.
    Open(Failure),
    /// A statement failed.
    Statement(tokio_postgres::Error),
    /// There was no answer within this time.
    Late(Duration),
}

impl LoadError {
    /// Whether something that was there when the statement began was gone when it was looked at.
    fn is_of_a_moment(&self) -> bool {
        let Self::Statement(error) = self else { return false };
        let moved = [SqlState::INTERNAL_ERROR, SqlState::UNDEFINED_TABLE, SqlState::UNDEFINED_OBJECT];
        let gone = [SqlState::UNDEFINED_COLUMN, SqlState::UNDEFINED_FUNCTION, SqlState::INVALID_SCHEMA_NAME];
        error.code().is_some_and(|code| moved.contains(code) || gone.contains(code))
    }

    /// Whether somebody else's lock was waited for in vain.
    fn is_locked_out(&self) -> bool {
        matches!(self, Self::Statement(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE))
    }

    /// The server's own words, or else the whole chain of causes: the outermost says only that something failed.
    pub(super) fn in_words(&self) -> String {
        match self {
            Self::Open(Failure::Io(error)) => chain(error),
            Self::Open(Failure::Tls(what) | Failure::Protocol(what)) => what.clone(),
            Self::Open(Failure::Refused(answer)) => format!("{} ({})", answer.message(), answer.sqlstate()),
            Self::Statement(error) => match error.as_db_error() {
                Some(server) => format!("{} ({})", server.message(), server.code().code()),
                None => chain(error),
            },
            Self::Late(deadline) => format!("it took longer than {} s", deadline.as_secs()),
        }
    }
}

impl From<Failure> for LoadError {
    fn from(failure: Failure) -> Self {
        Self::Open(failure)
    }
}

impl From<tokio_postgres::Error> for LoadError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Statement(error)
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        words = format!("{words}: {source}");
        cause = source.source();
    }
    words
}

/// Loads of one database begin at least so far apart.
const DISTANCE: Duration = Duration::from_millis(200);

/// How often a catalog is read that changes while it is read.
const MOST_READS: u8 = 10;
/// How often definitions are read whatever they come to: estimates of rows change without a trace.
const READ_EVERY: Duration = Duration::from_secs(300);
/// A load takes tens of milliseconds, seconds with hundreds of thousands of columns; a server that needs longer than this is not well.
const DEADLINE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_waits_for_use_is_woken_by_it_and_by_nothing_else() {
        let shelf = Arc::new(Shelf::default());
        let waiting = tokio::spawn({
            let shelf = Arc::clone(&shelf);
            async move { shelf.use_of_it().await }
        });
        shelf.expire();
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished() && shelf.is_expired());
        assert!(shelf.newest().is_none());
        waiting.await.unwrap();
        assert!(!shelf.was_used(), "one use is seen once");
    }
}
