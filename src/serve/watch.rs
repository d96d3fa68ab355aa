//! What goes on while the doors are open: rules are read again, catalogs too, and requests lapse.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::config::Settings;
use crate::gate::{Gate, Rules};
use crate::tls::client::Client;
use crate::tls::server::Certificates;
use crate::upstream::Upstream;

use super::archive;
use super::rules::{Keeper, Look};
use super::systems::ShadowKeeper;

/// Hears every SIGHUP, which asks for everything to be read again. Without anybody who hears it, it would end the
/// process.
#[derive(Debug)]
pub(super) struct Hangups(Option<Signal>);

impl Hangups {
    /// From now on. Must be called within a runtime.
    pub(super) fn new() -> Self {
        let hangups = signal(SignalKind::hangup());
        Self(
            hangups
                .inspect_err(|error| tracing::error!(%error, "signal.failed: only changed files are noticed"))
                .ok(),
        )
    }

    /// The next one; never where signals can't be had.
    async fn next(&mut self) {
        match &mut self.0 {
            Some(hangups) => drop(hangups.recv().await),
            None => std::future::pending().await,
        }
    }
}

/// Puts changed policies, bundles and identities in force, and on SIGHUP those that are there. What can't be used leaves
/// its last good version, loudly.
pub(super) fn rules(
    gate: Arc<Gate>,
    mut keeper: Keeper,
    mut shadow: Option<ShadowKeeper>,
    settings: &Settings,
    mut hangups: Hangups,
    shutdown: CancellationToken,
) -> impl Future<Output = ()> + Send + use<> {
    let mut folders = Folders::new(&[&settings.policy_path, &settings.agents_path]);
    let state = settings.state_path.clone();
    keep_revision(&gate, &state, &gate.rules());
    async move {
        let bundles = Arc::clone(keeper.bundles());
        let mut ticks = ticker(POLICIES_EVERY);
        loop {
            let asked = tokio::select! {
                () = shutdown.cancelled() => return,
                () = hangups.next() => true,
                () = folders.changed() => false,
                () = bundles.changed() => false,
                _ = ticks.tick() => false,
            };
            for news in bundles.take_news() {
                gate.announce(&news);
            }
            let looked = tokio::task::spawn_blocking(move || {
                let look = if asked || settled(&keeper) { keeper.look(asked) } else { Look::default() };
                let said = shadow.as_mut().and_then(|shadow| shadow.look(&keeper));
                (keeper, shadow, look, said)
            });
            let Ok((back, beside, look, said)) = looked.await else {
                tracing::error!("rules.unwatched: looking for changed rules failed; restart the gateway");
                gate.announce("looking for changed rules failed: changes are not noticed until a restart");
                return;
            };
            (keeper, shadow) = (back, beside);
            put_in_force(&gate, &state, look);
            if let Some(said) = said {
                tracing::info!("{said}");
                gate.announce(&said);
            }
        }
    }
}

fn put_in_force(gate: &Gate, state: &Path, look: Look) {
    if let Some(rules) = look.rules {
        keep_revision(gate, state, &rules);
        tracing::info!(revision = rules.policy.revision(), "rules.replaced");
        gate.replace_rules(rules);
    }
    for refusal in look.refusals {
        tracing::error!(error = refusal, "rules.refused: the last good rules stay in force");
        gate.announce(&refusal);
    }
}

/// Keeps the rulebook, so that what it decides can be explained later. It decides also where that fails.
fn keep_revision(gate: &Gate, state: &Path, rules: &Rules) {
    if let Err(error) = archive::keep(state, &rules.policy) {
        let revision = rules.policy.revision();
        tracing::error!(%error, revision, "rules.unkept: their decisions can't be explained later");
        gate.announce(&format!("the rules of revision {revision} could not be kept: {error}"));
    }
}

/// Whether something changed, and then stayed as it is for a moment: a folder that is being written is no rulebook yet.
fn settled(keeper: &Keeper) -> bool {
    if !keeper.is_stale() {
        return false;
    }
    let mut before = keeper.found();
    for _ in 0..LOOKS {
        std::thread::sleep(SETTLE);
        let now = keeper.found();
        if now == before {
            return true;
        }
        before = now;
    }
    false
}

/// Notices at once when something below folders changes. What it misses (network file systems, links that lead
/// elsewhere now) the next tick finds.
struct Folders {
    changed: Arc<Notify>,
    _watcher: Option<RecommendedWatcher>,
}

impl Folders {
    fn new(folders: &[&Path]) -> Self {
        let changed = Arc::new(Notify::new());
        let told = Arc::clone(&changed);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| !event.kind.is_access()) {
                told.notify_one();
            }
        });
        let watched = watcher.and_then(|mut watcher| {
            let named = folders.iter().filter(|folder| **folder != Path::new(""));
            named.into_iter().try_for_each(|folder| watcher.watch(folder, RecursiveMode::Recursive))?;
            Ok(watcher)
        });
        let watcher = watched.inspect_err(|error| {
            tracing::warn!(%error, "folders.unwatched: changes are noticed within seconds instead of at once");
        });
        Self { changed, _watcher: watcher.ok() }
    }

    async fn changed(&mut self) {
        self.changed.notified().await;
    }
}

/// Certificates that can be read again.
#[derive(Debug)]
pub(super) enum Certified {
    /// The wire door's, and those of its clients' authorities.
    Door(Arc<Certificates>),
    /// What a database is known by and knows us by.
    Database {
        /// Its name.
        name: String,
        /// TLS towards it.
        tls: Client,
    },
}

impl Certified {
    /// Everything in `settings` that has certificates.
    pub(super) fn all(settings: &Settings) -> Vec<Self> {
        let door = settings.wire_door.certificates.clone().map(Self::Door);
        let databases = settings.databases.iter().filter_map(|database| {
            let tls = database.tls.clone()?;
            Some(Self::Database { name: database.name.clone(), tls })
        });
        door.into_iter().chain(databases).collect()
    }

    fn owner(&self) -> String {
        match self {
            Self::Door(_) => "the wire door".to_owned(),
            Self::Database { name, .. } => format!("database `{name}`"),
        }
    }

    fn fingerprint(&self) -> [u8; 32] {
        match self {
            Self::Door(certificates) => certificates.fingerprint(),
            Self::Database { tls, .. } => tls.fingerprint(),
        }
    }

    fn reload(&self) -> Result<(), String> {
        match self {
            Self::Door(certificates) => certificates.reload().map_err(|error| explained(&error)),
            Self::Database { tls, .. } => tls.reload().map_err(|error| explained(&error)),
        }
    }
}

/// Reads certificates again when their files change, and on SIGHUP. Broken files leave those before in force, loudly;
/// sessions go on either way.
pub(super) async fn certificates(
    gate: Arc<Gate>,
    certified: Certified,
    mut hangups: Hangups,
    shutdown: CancellationToken,
) {
    let mut seen = certified.fingerprint();
    let mut ticks = ticker(CERTIFICATES_EVERY);
    let owner = certified.owner();
    while let Some(asked) = tick_or_hangup(&mut ticks, &mut hangups, &shutdown).await {
        let now = certified.fingerprint();
        if now == seen && !asked {
            continue;
        }
        seen = now;
        match certified.reload() {
            Ok(()) => {
                tracing::info!(owner, "certificates.replaced");
                gate.announce(&format!("the certificates of {owner} were read again"));
            }
            Err(why) => {
                tracing::error!(owner, error = why, "certificates.refused: those before stay in force");
                let what =
                    format!("changed certificates refused, those of {owner} before stay in force: {why}");
                gate.announce(&what);
            }
        }
    }
}

fn explained(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error} ({source})"),
        None => error.to_string(),
    }
}

/// Keeps the catalog of one database as the database is.
pub(super) async fn catalog(upstream: Arc<Upstream>, database: String, shutdown: CancellationToken) {
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = upstream.watch(&database) => {}
    }
}

/// Tries a ledger that failed until it works, and keeps what was counted of floods.
pub(super) async fn ledger(gate: Arc<Gate>, shutdown: CancellationToken) {
    let mut ticks = ticker(LEDGER_EVERY);
    while tick(&mut ticks, &shutdown).await {
        gate.settle_floods();
        gate.mend_ledger().await;
    }
}

/// Writes down what identities have had.
pub(super) async fn budgets(gate: Arc<Gate>, shutdown: CancellationToken) {
    let mut ticks = ticker(BUDGETS_EVERY);
    while tick(&mut ticks, &shutdown).await {
        if let Err(error) = gate.settle_budgets() {
            tracing::error!(%error, "budgets.failed: they are tried again");
        }
    }
}

/// Lets requests for approval lapse when their time is over.
pub(super) async fn desk(gate: Arc<Gate>, shutdown: CancellationToken) {
    let mut ticks = ticker(DESK_EVERY);
    while tick(&mut ticks, &shutdown).await {
        if let Err(error) = gate.desk().tick() {
            tracing::error!(%error, "desk.failed");
        }
    }
}

fn ticker(every: Duration) -> tokio::time::Interval {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Waits for the next tick; false once the gateway shuts down.
async fn tick(ticks: &mut tokio::time::Interval, shutdown: &CancellationToken) -> bool {
    tokio::select! {
        () = shutdown.cancelled() => false,
        _ = ticks.tick() => true,
    }
}

/// Waits for the next tick or SIGHUP, and says whether it was that; `None` once the gateway shuts down.
async fn tick_or_hangup(
    ticks: &mut tokio::time::Interval,
    hangups: &mut Hangups,
    shutdown: &CancellationToken,
) -> Option<bool> {
    tokio::select! {
        going_on = tick(ticks, shutdown) => going_on.then_some(false),
        () = hangups.next() => Some(true),
    }
}

/// How often policies and identities are looked at, whether or not the operating system says that they changed.
const POLICIES_EVERY: Duration = Duration::from_secs(2);

/// How long they must stay as they are to be taken as written.
const SETTLE: Duration = Duration::from_millis(100);

/// How often they are looked at until they stay as they are; the next tick goes on.
const LOOKS: usize = 20;

/// How often certificates are looked at.
const CERTIFICATES_EVERY: Duration = Duration::from_secs(1);

/// How often a ledger that failed is tried again.
const LEDGER_EVERY: Duration = Duration::from_secs(1);

/// How often what identities have had is written down: so much is forgotten if the process is killed.
const BUDGETS_EVERY: Duration = Duration::from_secs(1);

/// How often lapsed requests are looked for.
const DESK_EVERY: Duration = Duration::from_secs(1);
