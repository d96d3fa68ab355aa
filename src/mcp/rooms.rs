//! What all tool calls share: the gate, the back door, seats for each identity, and which approvals are being
//! used right now.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::task::TaskTracker;

use crate::approval::ApprovalId;
use crate::catalog::Snapshot;
use crate::gate::{
    Authorized, Catalogs as _, Connect, Context, Denial, DenialKind, Door, Gate, PURPOSE, RunMode, Tell,
};
use crate::identity::Identity;
use crate::upstream::execute::ResultColumn;
use crate::upstream::{BeginError, Fate, FateError, Lease, Upstream};

use super::Settings;
use super::caller::Caller;
use super::changes::Ears;
use super::cursors::Cursors;
use super::links::{ReviewLinks, Shown};
use super::seal::Seal;
use super::sessions::Sessions;
use super::values::Kind;

/// What all tool calls share.
#[derive(Debug)]
pub(super) struct Rooms {
    pub(super) gate: Arc<Gate>,
    upstream: Arc<Upstream>,
    sessions: Arc<Sessions>,
    max_calls: usize,
    /// What goes on when its client leaves.
    pub(super) tasks: TaskTracker,
    seats: Mutex<HashMap<String, Arc<Semaphore>>>,
    claims: Arc<Claims>,
    keys: Arc<Mutex<HashSet<(String, String)>>>,
    /// Results of which agents have had a part.
    pub(super) cursors: Arc<Cursors>,
    pub(super) seal: Seal,
    pub(super) ears: Ears,
    listeners: Mutex<HashMap<String, Arc<Semaphore>>>,
    shown: Shown,
    pub(super) review_links: ReviewLinks,
}

/// Held while a call may run what its key stands for.
#[derive(Debug)]
pub(super) struct KeyClaim {
    keys: Arc<Mutex<HashSet<(String, String)>>>,
    key: (String, String),
}

/// Approvals that some call is about to use, is using, or waits for.
#[derive(Debug, Default)]
struct Claims(Mutex<HashMap<ApprovalId, usize>>);

/// Held while a call may use an approval. Other calls then know that its outcome is still to come.
#[derive(Debug)]
pub(super) struct Claim {
    claims: Arc<Claims>,
    id: ApprovalId,
}

impl Rooms {
    pub(super) fn new(
        gate: Arc<Gate>,
        upstream: Arc<Upstream>,
        sessions: Arc<Sessions>,
        settings: &Settings,
    ) -> Self {
        let cursors = Cursors::new(Arc::clone(&gate), settings.cursors);
        Self {
            gate,
            upstream,
            sessions,
            max_calls: settings.max_calls,
            seats: Mutex::default(),
            claims: Arc::default(),
            keys: Arc::default(),
            cursors,
            seal: Seal::new(),
            ears: Ears::default(),
            listeners: Mutex::default(),
            shown: Shown::default(),
            review_links: settings.review_links,
            tasks: settings.tasks.clone(),
        }
    }

    /// The rulebook ends the sessions of whoever made `visit`.
    pub(super) fn end(&self, visit: &mut Visit) {
        visit.reason = ENDED_BY_RULES;
        self.end_sessions(&visit.identity);
    }

    /// The rulebook ends the sessions of `who`.
    pub(super) fn end_sessions(&self, who: &Identity) {
        self.sessions.end(who.name());
        self.cursors.end(who.name());
    }

    /// A seat for one call of `who`; `None` when all are taken.
    pub(super) fn seat(&self, who: &Identity) -> Option<OwnedSemaphorePermit> {
        taken(&self.seats, who, self.max_calls)
    }

    /// A seat for one subscription of `who`; `None` when all are taken.
    pub(super) fn listener(&self, who: &Identity) -> Option<OwnedSemaphorePermit> {
        taken(&self.listeners, who, MOST_LISTENERS)
    }

    /// The versions of all databases' definitions, by name.
    pub(super) fn definitions(&self) -> watch::Receiver<BTreeMap<String, u64>> {
        self.upstream.definitions()
    }

    /// Whether the link to `id`'s review is shown for the first time: it is, by this call.
    pub(super) fn show_once(&self, id: &ApprovalId) -> bool {
        self.shown.note(id)
    }

    /// Marks `id` as in use until the claim is dropped.
    pub(super) fn claim(&self, id: &ApprovalId) -> Claim {
        let mut claims = locked(&self.claims.0);
        let count = claims.entry(id.clone()).or_default();
        *count = count.saturating_add(1);
        Claim { claims: Arc::clone(&self.claims), id: id.clone() }
    }

    /// As [`Rooms::claim`], if no other call has a claim on `id`.
    pub(super) fn claim_alone(&self, id: &ApprovalId) -> Option<Claim> {
        let mut claims = locked(&self.claims.0);
        if claims.contains_key(id) {
            return None;
        }
        claims.insert(id.clone(), 1);
        Some(Claim { claims: Arc::clone(&self.claims), id: id.clone() })
    }

    /// Marks `key` of `who` as in use until the claim is dropped; `None` if it is already.
    pub(super) fn claim_key(&self, who: &str, key: &str) -> Option<KeyClaim> {
        let key = (who.to_owned(), key.to_owned());
        locked(&self.keys).insert(key.clone()).then(|| KeyClaim { keys: Arc::clone(&self.keys), key })
    }

    /// What became of a transaction that nobody heard the end of.
    pub(super) async fn fate(&self, database: &str, transaction: u64) -> Result<Fate, FateError> {
        self.upstream.fate(database, transaction).await
    }

    /// Whether some call may be using `id`.
    pub(super) fn is_claimed(&self, id: &ApprovalId) -> bool {
        locked(&self.claims.0).contains_key(id)
    }

    /// The types of a result's columns: as their tables declare them, where they are a table's.
    pub(super) fn kinds(&self, database: &str, columns: &[ResultColumn]) -> Vec<Kind> {
        let catalog = self.catalog(database);
        let kind = |column: &ResultColumn| {
            let kind = Kind::of(column.type_oid, catalog.as_deref());
            let relation = catalog.as_deref().and_then(|catalog| catalog.relation_by_oid(column.table_oid));
            let declared = relation
                .and_then(|relation| relation.columns.iter().find(|known| known.number == column.column));
            match declared {
                Some(declared) => kind.called(&declared.type_name),
                None => kind,
            }
        };
        columns.iter().map(kind).collect()
    }

    /// The newest catalog of `database`, if one was ever loaded.
    pub(super) fn catalog(&self, database: &str) -> Option<Arc<Snapshot>> {
        self.upstream.current(database)
    }

    /// The catalog of a database that `who` may use, loaded if it has to be; of the only one where no name is given.
    pub(super) async fn loaded_catalog(&self, who: &Identity, database: &str) -> Option<Arc<Snapshot>> {
        let mut databases = self.databases(who);
        databases.retain(|name| database.is_empty() || name == database);
        let [database] = databases.as_slice() else { return None };
        match self.catalog(database) {
            Some(catalog) => Some(catalog),
            None => self.upstream.refresh(database).await.ok(),
        }
    }

    /// Opens a session of `caller` on `database`; without a name on the only one there is. No connection is
    /// opened yet: [`Rooms::begin`] does that.
    pub(super) async fn visit(
        &self,
        caller: &Caller,
        database: &str,
        tell: &dyn Tell,
    ) -> Result<(Visit, Authorized<Connect>), Denial> {
        let database = match database {
            "" => self.only_database(&caller.identity).inspect_err(|_| {
                let reason = "no database was named, and it is not clear which is meant";
                self.gate.refused(Door::Mcp, &caller.client, caller.identity.name(), "", reason);
            })?,
            name => name.to_owned(),
        };
        let connect = Connect {
            door: Door::Mcp,
            database,
            client: caller.client.clone(),
            application: caller.application.clone(),
            settings: match caller.purpose.as_str() {
                "" => Vec::new(),
                purpose => vec![(PURPOSE.to_owned(), purpose.to_owned())],
            },
            tls: false,
        };
        let proof = self.gate.admit(&caller.identity, connect, tell).await?;
        let context = Arc::clone(proof.context());
        let visit =
            Visit { gate: Arc::clone(&self.gate), identity: caller.identity.clone(), context, reason: ENDED };
        Ok((visit, proof))
    }

    /// Begins a transaction of `mode` upstream, as `proof` allows it; `generation` was read before that was made.
    pub(super) async fn begin(
        &self,
        proof: Authorized<Connect>,
        who: &Identity,
        generation: u64,
        mode: RunMode,
    ) -> Result<Lease, BeginError> {
        self.upstream.begin(proof, who, generation, mode).await
    }

    /// The databases that `who` may use by this door.
    pub(super) fn databases(&self, who: &Identity) -> Vec<String> {
        self.gate.databases(who, Door::Mcp)
    }

    pub(super) fn only_database(&self, who: &Identity) -> Result<String, Denial> {
        let databases = self.databases(who);
        let hint = match databases.as_slice() {
            [only] => return Ok(only.clone()),
            [] => "this identity has no database: ask its owner for a scope".to_owned(),
            several => format!("pass `database` as one of: {}", several.join(", ")),
        };
        Err(Denial::because(DenialKind::Database, "which_database", "no database was named", hint))
    }
}

/// A session on a database, for one tool call. Its end is kept in the ledger when it is dropped.
#[derive(Debug)]
pub(super) struct Visit {
    gate: Arc<Gate>,
    identity: Identity,
    context: Arc<Context>,
    reason: &'static str,
}

impl Visit {
    /// Where statements of the session are judged.
    pub(super) fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// The same, which the rulebook ends.
    pub(super) fn ending(self) -> Self {
        let mut visit = self;
        visit.reason = ENDED_BY_RULES;
        visit
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.gate.closed(&self.identity, &self.context, self.reason);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut claims = locked(&self.claims.0);
        let left = claims.get_mut(&self.id).map_or(0, |count| {
            *count = count.saturating_sub(1);
            *count
        });
        if left == 0 {
            claims.remove(&self.id);
        }
    }
}

impl Drop for KeyClaim {
    fn drop(&mut self) {
        locked(&self.keys).remove(&self.key);
    }
}

/// A seat of `who`'s `most`, if one is free.
fn taken(
    seats: &Mutex<HashMap<String, Arc<Semaphore>>>,
    who: &Identity,
    most: usize,
) -> Option<OwnedSemaphorePermit> {
    let mut seats = locked(seats);
    let own = seats.entry(who.name().to_owned()).or_insert_with(|| Arc::new(Semaphore::new(most)));
    Arc::clone(own).try_acquire_owned().ok()
}

/// The maps stay whole whatever panicked while they were locked: every change is one call.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Subscriptions that one identity may have open.
const MOST_LISTENERS: usize = 8;
/// Why most visits end.
const ENDED: &str = "the tool call ended";
const ENDED_BY_RULES: &str = "the rulebook ends this session";
