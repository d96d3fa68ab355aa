//! THE GATE: the only door to a governed database.
//!
//! Every act of every identity passes [`Gate::admit`]: facts, policy, on escalation the desk, a second decision
//! with the approval as evidence, the ledger, and only then an [`Authorized`]. Nothing goes up without a proof,
//! no row comes down without a release. Whatever fails inside is a [`Denial`].

pub mod act;
pub mod authorized;
pub mod denial;
pub mod names;
pub mod ports;
pub mod preview;
pub mod withheld;
pub mod workers;

mod admit;
mod budget;
mod call;
mod complete;
mod connect;
mod course;
mod decide;
mod decline;
mod definitions;
mod escalate;
mod evidence;
mod fetch;
mod flood;
mod journal;
mod judge;
mod knock;
mod memory;
mod page;
mod pinned;
mod rows;
mod shape;
mod sight;
mod survey;
mod terms;
mod unjudged;
mod values;
mod vote;
mod withdraw;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use tokio::sync::watch;

use crate::approval::{Desk, DeskError, Request};
use crate::audit::{Event, Ledger, LedgerError};
use crate::clock::Clock;
use crate::identity::directory::Directory;
use crate::identity::vouched::{NobodyError, Testimony};
use crate::identity::{Identity, Kind};
use crate::policy;
use crate::runs::Runs;
use crate::store::StoreError;

use budget::Budgets;
use evidence::Documents;
use journal::{Journal, NONE, Scene, Unwelcome, voted};
use memory::Memory;

pub use act::{
    Act, Approve, Bind, Call, Connect, Context, Door, Fetch, PURPOSE, Page, Parameters, Prepare, Query, Run,
    RunMode,
};
pub use authorized::{Authorized, Outcome, Prepared, Receipt, RunStep, Running};
pub use course::{Course, InForce, Shown, Step};
pub use denial::{Denial, DenialKind, Missing};
pub use knock::{Encrypted, Knock};
pub use names::{NameChange, Names};
pub use ports::{CatalogError, Catalogs, Delegate, Heard, Hold, Listener, Patience, Raised, Silent, Tell};
pub use preview::{ColumnAccess, Explanation, Foreseen, Opening, RelationAccess};
pub use sight::Sight;
pub use withheld::Withheld;
pub use workers::Workers;

/// The gate. One a process, shared by all doors.
#[derive(Debug)]
pub struct Gate {
    catalogs: Arc<dyn Catalogs>,
    rules: ArcSwap<Rules>,
    /// How often they were replaced.
    generation: AtomicU64,
    /// Stepped after each time.
    replaced: watch::Sender<u64>,
    desk: Desk,
    journal: Journal,
    clock: Arc<dyn Clock>,
    workers: Workers,
    memory: Memory,
    budgets: Budgets,
    runs: Runs,
    documents: Documents,
    delegate: Option<Arc<dyn Delegate>>,
    listener: Option<Arc<dyn Listener>>,
    console_url: String,
}

/// Rulebook and identities in force: one immutable thing, replaced as a whole.
#[derive(Debug)]
pub struct Rules {
    /// The rulebook, which holds the identities as data too.
    pub policy: policy::Snapshot,
    /// The identities.
    pub directory: Arc<Directory>,
}

/// What a gate is built from.
#[derive(Debug)]
pub struct Parts {
    /// Where catalogs come from.
    pub catalogs: Arc<dyn Catalogs>,
    /// The rules to start with.
    pub rules: Rules,
    /// The approval desk.
    pub desk: Desk,
    /// The ledger.
    pub ledger: Ledger,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where statements are analysed.
    pub workers: Workers,
    /// The console's address as people reach it, without a slash at the end.
    pub console_url: String,
}

impl Gate {
    /// Builds the gate. What each identity has had is kept where the desk keeps its requests.
    ///
    /// # Errors
    /// When the store can't be used.
    pub fn new(parts: Parts) -> Result<Self, StoreError> {
        let journal = Journal::new(parts.ledger, Arc::clone(&parts.clock));
        let budgets = Budgets::open(parts.desk.store().clone())?;
        let runs = Runs::new(parts.desk.store().clone(), Arc::clone(&parts.clock))?;
        Ok(Self {
            catalogs: parts.catalogs,
            rules: ArcSwap::from_pointee(parts.rules),
            generation: AtomicU64::new(0),
            replaced: watch::Sender::new(0),
            desk: parts.desk,
            journal,
            clock: parts.clock,
            workers: parts.workers,
            memory: Memory::new(),
            budgets,
            runs,
            documents: Documents::default(),
            delegate: None,
            listener: None,
            console_url: parts.console_url,
        })
    }

    /// The same gate, which asks `delegate` where the rules leave decisions on statements to somebody else.
    #[must_use]
    pub fn with_delegate(self, delegate: Arc<dyn Delegate>) -> Self {
        Self { delegate: Some(delegate), ..self }
    }

    /// The same gate, of whose decisions and alerts `listener` hears.
    #[must_use]
    pub fn with_listener(self, listener: Arc<dyn Listener>) -> Self {
        Self { listener: Some(listener), ..self }
    }

    /// The only door. Judges `act` for `who`; on escalation tells `tell` and waits.
    ///
    /// # Errors
    /// Every failure is a [`Denial`], and every denial is in the ledger.
    pub async fn admit<A: Act>(
        &self,
        who: &Identity,
        act: A,
        tell: &dyn Tell,
    ) -> Result<Authorized<A>, Denial> {
        act.judged(self, who, tell).await
    }

    /// Puts other rules in force, for every decision from now on.
    pub fn replace_rules(&self, rules: Rules) {
        let what = format!("rules replaced: revision {}", rules.policy.revision());
        self.rules.store(Arc::new(rules));
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.journal.note(&Scene::default(), &NONE, Event::Gateway { what });
        self.replaced.send_modify(|times| *times = times.wrapping_add(1));
    }

    /// A number that changes whenever other rules or identities are in force.
    #[must_use]
    pub fn replacements(&self) -> watch::Receiver<u64> {
        self.replaced.subscribe()
    }

    /// Records, durably, that this process is in charge now, and how many orphaned requests it withdrew.
    ///
    /// # Errors
    /// When the ledger can't be written: then no door may open.
    pub async fn started(&self, version: &str, orphans: usize) -> Result<(), LedgerError> {
        let event = Event::Started { version: version.to_owned() };
        self.journal.append(&Scene::default(), &NONE, event).await?;
        if orphans > 0 {
            self.announce(&format!("{orphans} requests of sessions that are gone were withdrawn"));
        }
        Ok(())
    }

    /// Tries a ledger that failed again, so that the gateway recovers although nobody asks for anything.
    pub async fn mend_ledger(&self) {
        let Some(failure) = self.journal.failure() else { return };
        let event = Event::Gateway { what: format!("the ledger works again; it had failed: {failure}") };
        match self.journal.append(&Scene::default(), &NONE, event).await {
            Ok(()) => tracing::info!("ledger.recovered"),
            Err(error) => tracing::debug!(%error, "ledger.still_failing"),
        }
    }

    /// Keeps what was counted of floods whose minute is over.
    pub fn settle_floods(&self) {
        self.journal.settle_floods();
    }

    /// The time that it judges by.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// What is wrong with the ledger now, if anything: then nothing runs.
    #[must_use]
    pub fn ledger_failure(&self) -> Option<LedgerError> {
        self.journal.failure()
    }

    /// Writes what identities have had since the last time.
    ///
    /// # Errors
    /// When the store fails; it is tried again the next time.
    pub fn settle_budgets(&self) -> Result<(), StoreError> {
        self.budgets.flush()
    }

    /// Tells operators, and the ledger, what a rule has raised.
    pub(crate) fn alert(&self, raised: &Raised<'_>) {
        let Raised { identity, database, decision_id, rule, message, sink, .. } = raised;
        tracing::warn!(identity, database, decision_id, rule, message, sink, "policy.alert");
        let event = Event::Alert { rule: (*rule).into(), message: (*message).into(), sink: (*sink).into() };
        self.journal.note(&Scene::of(identity, database), &(*decision_id).into(), event);
        if let Some(listener) = self.listener.as_deref() {
            listener.alerted(raised);
        }
    }

    /// Makes every outcome durable and lets go of the ledger: the last thing before the process ends.
    ///
    /// # Errors
    /// When something could not be made durable.
    pub async fn close_ledger(&self) -> Result<(), LedgerError> {
        self.journal.close().await
    }

    /// Keeps in the ledger that something about the gateway itself changed.
    pub fn announce(&self, what: &str) {
        self.journal.note(&Scene::default(), &NONE, Event::Gateway { what: what.to_owned() });
    }

    /// The rules in force.
    pub(crate) fn rules(&self) -> Arc<Rules> {
        self.rules.load_full()
    }

    /// The identity that `token` proves. `None` is recorded in the ledger as a refused login.
    #[must_use]
    pub fn authenticate(&self, token: &str, door: Door, client: &str) -> Option<Identity> {
        let identity = self.rules().directory.authenticate_token(token);
        if identity.is_none() {
            self.refused(door, client, "", "", "unknown token");
        }
        identity
    }

    /// The identity that a verified token makes here. Where it makes none, that is recorded in the ledger as a refused
    /// login.
    ///
    /// # Errors
    /// When no identity's file is for who came, or one that is needed is disabled.
    pub fn vouch(&self, testimony: &Testimony, door: Door, client: &str) -> Result<Identity, NobodyError> {
        let refused = |error: &NobodyError| {
            self.refused(door, client, &testimony.name(), "", &error.to_string());
        };
        self.rules().directory.vouch(testimony).inspect_err(refused)
    }

    /// The identity directory in force: for the wire door's SCRAM exchange.
    #[must_use]
    pub fn directory(&self) -> Arc<Directory> {
        Arc::clone(&self.rules().directory)
    }

    /// Carries out an admitted decision on a request.
    ///
    /// # Errors
    /// When the request is closed already, `who` has voted already, somebody else took the last fitting seat, or the store
    /// fails.
    pub fn decide(&self, who: &Identity, proof: Authorized<Approve>) -> Result<Request, DeskError> {
        let (act, groups) = proof.spend();
        let missing = |request: &Request| self.missing(who, request);
        let request = self.desk.vote(&act.id, who.name(), &groups, act.vote, &act.note, missing)?;
        let scene = Scene::identity(who, Door::Console, &act.client);
        self.journal.note(&scene, &NONE, voted(&request, who.name(), &act.note));
        Ok(request)
    }

    /// What must run at most once, for doors that are asked for it again.
    #[must_use]
    pub fn once(&self) -> &Runs {
        &self.runs
    }

    /// The desk, for reading requests.
    #[must_use]
    pub fn desk(&self) -> &Desk {
        &self.desk
    }

    /// Keeps a refused login or session in the ledger.
    pub fn refused(&self, door: Door, client: &str, claimed_identity: &str, database: &str, reason: &str) {
        let what = Unwelcome::Refused { claimed_identity, reason };
        self.journal.note_unwelcome(&Scene::stranger(door, client, database), what);
    }

    /// Keeps a peer's broken protocol in the ledger.
    pub fn malformed(&self, door: Door, client: &str, who: Option<&Identity>, context: &str) {
        let scene = scene(door, client, who);
        self.journal.note_unwelcome(&scene, Unwelcome::Malformed { context });
    }

    /// Keeps a CancelRequest in the ledger.
    pub fn cancel(&self, client: &str, who: Option<&Identity>, session_id: &str, accepted: bool) {
        let scene = scene(Door::Wire, client, who).in_session(session_id);
        match accepted {
            true => self.journal.note(&scene, &NONE, Event::Cancel { accepted }),
            false => self.journal.note_unwelcome(&scene, Unwelcome::WrongCancel),
        }
    }

    /// Keeps the end of a session in the ledger.
    pub fn closed(&self, who: &Identity, context: &Context, reason: &str) {
        let event = Event::SessionClosed { reason: reason.to_owned() };
        self.journal.note(&Scene::session(who, context), &NONE, event);
    }
}

fn scene(door: Door, client: &str, who: Option<&Identity>) -> Scene {
    match who {
        Some(who) => Scene::identity(who, door, client),
        None => Scene::stranger(door, client, ""),
    }
}

/// The word for a kind of identity, as approvals show it.
fn kind_word(kind: Kind) -> &'static str {
    match kind {
        Kind::Agent => "agent",
        Kind::Human => "human",
        Kind::Service => "service",
    }
}

/// The kind that a word is for.
fn kind_of(word: &str) -> Kind {
    let kinds = [Kind::Agent, Kind::Human, Kind::Service];
    kinds.into_iter().find(|kind| kind_word(*kind) == word).unwrap_or(Kind::Agent)
}

/// The denial when a part of the gateway can't do its work.
fn unavailable(error: &dyn std::error::Error) -> Denial {
    tracing::error!(%error, "gate.unavailable");
    Denial::because(
        DenialKind::Unavailable,
        "gateway",
        "the gateway can't keep its records, so it lets nothing run",
        "tell the operator of the gateway; ROLLBACK still works",
    )
}

impl From<&LedgerError> for Denial {
    fn from(error: &LedgerError) -> Self {
        tracing::error!(%error, "ledger.failed");
        Self::because(
            DenialKind::Unavailable,
            "ledger",
            "the gateway can't write its ledger, so it lets nothing run",
            "its operator must free or repair the ledger's disk, then it goes on by itself; ROLLBACK works",
        )
    }
}
