//! What goes on while the doors are open: rules are read again, catalogs too, and requests lapse.

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::config::Settings;
use crate::config::sources;
use crate::gate::Gate;
use crate::tls::client::Client;
use crate::tls::server::Certificates;
use crate::upstream::Upstream;

use super::load_rules;

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

/// Puts changed policies and identities in force, and on SIGHUP those that are there. A broken file leaves the last good
/// state, loudly. `seen` is what the files were like before the rules in force were read.
pub(super) async fn rules(
    gate: Arc<Gate>,
    settings: Settings,
    mut seen: Fingerprint,
    mut hangups: Hangups,
    shutdown: CancellationToken,
) {
    let mut ticks = ticker(RULES_EVERY);
    while let Some(asked) = tick_or_hangup(&mut ticks, &mut hangups, &shutdown).await {
        let now = fingerprint(&settings);
        if now == seen && !asked {
            continue;
        }
        seen = now;
        match load_rules(&settings) {
            Ok(rules) => {
                tracing::info!(revision = rules.policy.revision(), "rules.replaced");
                gate.replace_rules(rules);
            }
            Err(error) => {
                tracing::error!(%error, "rules.refused: the last good rules stay in force");
                gate.announce(&format!("changed rules refused, the last good ones stay in force: {error}"));
            }
        }
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
    let mut ticks = ticker(RULES_EVERY);
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

/// Texts by their paths.
pub(super) type Fingerprint = Vec<(String, String)>;

/// Everything that rules are made of, or why it can't be read.
pub(super) fn fingerprint(settings: &Settings) -> Fingerprint {
    let policies = sources::rulebook(&settings.policy_path).map_err(|error| error.to_string());
    let agents = sources::agents(&settings.agents_path).map_err(|error| error.to_string());
    let unreadable = |error: String| vec![(String::new(), error)];
    let policies = policies.map(|all| all.into_iter().map(|s| (s.path, s.text)).collect());
    let agents = agents.map(|all| all.into_iter().map(|s| (s.path, s.text)).collect());
    let mut all: Vec<_> = policies.unwrap_or_else(unreadable);
    all.extend(agents.unwrap_or_else(unreadable));
    all
}

/// How often policies and identities are looked at.
const RULES_EVERY: Duration = Duration::from_secs(1);

/// How often a ledger that failed is tried again.
const LEDGER_EVERY: Duration = Duration::from_secs(1);

/// How often lapsed requests are looked for.
const DESK_EVERY: Duration = Duration::from_secs(1);
