//! The bundles of the configuration: what was delivered last, what is in force, what went wrong.
//!
//! A delivery is a candidate until [`Bundles::in_force`] says that it was taken; only then it becomes the last good one,
//! which is kept on disk for a start without its server.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::policy::bundle::Bundle;

use super::poll::{Found, Source};
use super::{BundleSettings, HttpError, Origin, local};

/// All bundles of the configuration, in its order.
#[derive(Debug)]
pub struct Bundles {
    slots: Vec<Slot>,
    clock: Arc<dyn Clock>,
    changed: Notify,
    news: Mutex<Vec<String>>,
}

/// A bundle that arrived whole, and may be put in force.
#[derive(Debug)]
pub struct Delivery {
    /// What it holds.
    pub bundle: Bundle,
    /// Whether the configuration lets it grant.
    pub grants: bool,
    packed: Vec<u8>,
    digest: [u8; 32],
}

/// What there is of one bundle.
#[derive(Debug, Clone)]
pub struct Held {
    /// Its name.
    pub name: String,
    /// What was delivered last, whether or not it can be used.
    pub newest: Option<Arc<Delivery>>,
    /// The last good one of an earlier run.
    pub kept: Option<Arc<Delivery>>,
}

/// How a bundle fares, for people and monitoring.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BundleStatus {
    /// Its name.
    pub name: String,
    /// The revision in force, in the words of its manifest; `None` where none is in force.
    pub revision: Option<String>,
    /// Since when that is in force.
    pub since: Option<Timestamp>,
    /// What its server calls the version that was delivered last.
    pub etag: Option<String>,
    /// When it was last looked for and found, changed or not.
    pub last_success: Option<Timestamp>,
    /// What is wrong with the newest one, if anything is.
    pub last_error: Option<String>,
}

/// There is nothing to start with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "bundle `{name}` is not there, and none of an earlier run is kept: {why}. \
     Mend that, or write `required = false` to start without it"
)]
pub struct MissingBundle {
    name: String,
    why: String,
}

#[derive(Debug)]
struct Slot {
    settings: BundleSettings,
    source: Source,
    /// Where the last good one is kept.
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    newest: Option<Arc<Delivery>>,
    kept: Option<Arc<Delivery>>,
    active: Option<Arc<Delivery>>,
    etag: Option<String>,
    since: Option<Timestamp>,
    last_success: Option<Timestamp>,
    /// Why it could not be looked for, the last time.
    unreached: Option<String>,
    /// Why the newest one is not in force.
    refused: Option<String>,
}

impl Bundles {
    /// The bundles of `settings`; the last good ones are kept in `folder`. Asks nobody yet.
    ///
    /// # Errors
    /// When a server's address or its authorities can't be used.
    pub fn new(settings: &[BundleSettings], folder: &Path, clock: Arc<dyn Clock>) -> Result<Self, HttpError> {
        let slot = |settings: &BundleSettings| {
            Ok(Slot {
                source: Source::new(&settings.origin)?,
                path: folder.join(format!("{}.tar.gz", settings.name)),
                settings: settings.clone(),
                state: Mutex::default(),
            })
        };
        let slots = settings.iter().map(slot).collect::<Result<_, HttpError>>()?;
        Ok(Self { slots, clock, changed: Notify::new(), news: Mutex::default() })
    }

    /// Looks for each bundle once, and for what is kept of it.
    ///
    /// # Errors
    /// When a bundle that is required is neither delivered nor kept.
    pub async fn first(&self) -> Result<(), MissingBundle> {
        futures_util::future::join_all(self.slots.iter().map(|slot| self.first_look(slot))).await;
        self.slots.iter().try_for_each(|slot| slot.suffices())
    }

    /// A server that hangs delays no start for which there is something else.
    async fn first_look(&self, slot: &Slot) {
        slot.recall();
        if slot.state().kept.is_none() {
            self.look(slot).await;
        } else if tokio::time::timeout(FIRST_PATIENCE, self.look(slot)).await.is_err() {
            let name = &slot.settings.name;
            tracing::warn!(bundle = name, "bundle.slow: the last good one is used until it comes");
        }
    }

    /// What can be had without asking any server: files, folders, and what is kept.
    ///
    /// # Errors
    /// As [`Bundles::first`].
    pub fn at_hand(&self) -> Result<(), MissingBundle> {
        for slot in &self.slots {
            if let Origin::Path(path) = &slot.settings.origin {
                self.delivered(slot, local::read(path).map(|packed| Found::New { packed, etag: None }));
            }
            slot.recall();
            slot.suffices()?;
        }
        Ok(())
    }

    /// What there is of each bundle.
    #[must_use]
    pub fn held(&self) -> Vec<Held> {
        let held = |slot: &Slot| {
            let state = slot.state();
            let name = slot.settings.name.clone();
            Held { name, newest: state.newest.clone(), kept: state.kept.clone() }
        };
        self.slots.iter().map(held).collect()
    }

    /// Notes which deliveries are in force now, and keeps them.
    pub fn in_force(&self, active: &[Arc<Delivery>]) {
        for slot in &self.slots {
            let found = active.iter().find(|delivery| delivery.bundle.name() == slot.settings.name);
            let mut state = slot.state();
            let same = match (&state.active, found) {
                (Some(one), Some(two)) => one.digest == two.digest,
                (None, None) => true,
                (Some(_), None) | (None, Some(_)) => false,
            };
            if same {
                continue;
            }
            state.active = found.cloned();
            state.since = Some(self.clock.now());
            let Some(delivery) = found else { continue };
            if state.newest.as_ref().is_some_and(|newest| newest.digest == delivery.digest) {
                state.refused = None;
            }
            if let Err(error) = local::keep(&slot.path, &delivery.packed) {
                let name = &slot.settings.name;
                tracing::error!(bundle = name, %error, "bundle.unkept: a start without its source would not have it");
            }
        }
    }

    /// Notes why the newest delivery of `name` is not in force.
    pub fn refused(&self, name: &str, why: &str) {
        if let Some(slot) = self.slots.iter().find(|slot| slot.settings.name == name) {
            slot.state().refused = Some(why.to_owned());
        }
    }

    /// Waits until something was delivered, or could not be.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// What went wrong since this was last asked: once for each thing that did.
    #[must_use]
    pub fn take_news(&self) -> Vec<String> {
        std::mem::take(&mut *self.news.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How each bundle fares.
    #[must_use]
    pub fn status(&self) -> Vec<BundleStatus> {
        let status = |slot: &Slot| {
            let state = slot.state();
            let manifest = state.active.as_ref().map(|delivery| delivery.bundle.manifest());
            BundleStatus {
                name: slot.settings.name.clone(),
                revision: manifest.map(|manifest| manifest.revision.clone()),
                since: state.since,
                etag: state.etag.clone(),
                last_success: state.last_success,
                last_error: state.refused.clone().or_else(|| state.unreached.clone()),
            }
        };
        self.slots.iter().map(status).collect()
    }

    /// Looks for each bundle again and again, until `shutdown`.
    pub fn spawn(self: &Arc<Self>, tasks: &mut JoinSet<()>, shutdown: &CancellationToken) {
        for at in 0..self.slots.len() {
            let (bundles, shutdown) = (Arc::clone(self), shutdown.clone());
            tasks.spawn(async move {
                let Some(slot) = bundles.slots.get(at) else { return };
                let mut failures = 0;
                loop {
                    let pause = super::poll::pause(slot.settings.poll, failures);
                    tokio::select! {
                        () = shutdown.cancelled() => return,
                        () = tokio::time::sleep(pause) => {}
                    }
                    failures = if bundles.look(slot).await { 0 } else { failures.saturating_add(1) };
                }
            });
        }
    }

    /// Looks for a bundle once; false where that failed.
    async fn look(&self, slot: &Slot) -> bool {
        let etag = slot.state().etag.clone();
        let found = slot.source.find(etag.as_deref()).await;
        self.delivered(slot, found)
    }

    fn delivered(&self, slot: &Slot, found: Result<Found, String>) -> bool {
        let found = match found {
            Ok(found) => found,
            Err(why) => {
                let said = slot.state().unreached.replace(why.clone());
                return self.failed(slot, said.as_deref(), &why);
            }
        };
        let mut state = slot.state();
        state.unreached = None;
        state.last_success = Some(self.clock.now());
        let Found::New { packed, etag } = found else { return true };
        state.etag = etag;
        let digest: [u8; 32] = Sha256::digest(&packed).into();
        let is = |one: &Option<Arc<Delivery>>| one.as_ref().is_some_and(|one| one.digest == digest);
        if is(&state.newest) {
            if is(&state.active) {
                state.refused = None;
            }
            return true;
        }
        drop(state);
        match slot.open(packed, digest) {
            Ok(delivery) => {
                let mut state = slot.state();
                state.newest = Some(Arc::new(delivery));
                state.refused = None;
                drop(state);
                self.changed.notify_one();
                true
            }
            Err(why) => {
                let said = slot.state().refused.replace(why.clone());
                self.failed(slot, said.as_deref(), &why)
            }
        }
    }

    /// Says what went wrong, unless it was `said` already.
    fn failed(&self, slot: &Slot, said: Option<&str>, why: &str) -> bool {
        if said != Some(why) {
            let name = &slot.settings.name;
            tracing::error!(bundle = name, error = why, "bundle.refused: the last good one stays in force");
            let mut news = self.news.lock().unwrap_or_else(PoisonError::into_inner);
            news.push(format!("bundle `{name}` refused, the last good one stays in force: {why}"));
            self.changed.notify_one();
        }
        false
    }
}

impl Slot {
    /// Reads what is kept of a bundle. The keys of now must hold for it too.
    fn recall(&self) {
        let kept = local::kept(&self.path).and_then(|packed| {
            let Some(packed) = packed else { return Ok(None) };
            let digest = Sha256::digest(&packed).into();
            self.open(packed, digest).map(|delivery| Some(Arc::new(delivery)))
        });
        match kept {
            Ok(kept) => self.state().kept = kept,
            Err(error) => {
                let name = &self.settings.name;
                tracing::error!(bundle = name, error, "bundle.kept_unusable: it is as if there were none");
            }
        }
    }

    /// Whether there is something to start with.
    fn suffices(&self) -> Result<(), MissingBundle> {
        let state = self.state();
        if state.newest.is_some() || state.kept.is_some() || !self.settings.required {
            return Ok(());
        }
        let why = state.refused.clone().or_else(|| state.unreached.clone());
        let why = why.unwrap_or_else(|| "it was never fetched".to_owned());
        Err(MissingBundle { name: self.settings.name.clone(), why })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self, packed: Vec<u8>, digest: [u8; 32]) -> Result<Delivery, String> {
        let settings = &self.settings;
        let bundle = Bundle::read(&settings.name, &packed, settings.verification.as_ref());
        let bundle = bundle.map_err(|error| error.to_string())?;
        Ok(Delivery { bundle, grants: settings.grants, packed, digest })
    }
}

impl PartialEq for Delivery {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest && self.bundle.name() == other.bundle.name()
    }
}

/// How long a start waits for a bundle of which it has an earlier one.
const FIRST_PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::super::Origin;
    use super::*;
    use crate::policy::Source as Rule;
    use crate::policy::bundle::{Plan, build};
    use std::sync::atomic::{AtomicI64, Ordering};

    /// A clock that is a year away each time it is looked at, forwards and backwards.
    #[derive(Debug)]
    struct Jumping(AtomicI64);

    impl Clock for Jumping {
        fn now(&self) -> Timestamp {
            let seconds = self.0.fetch_add(1, Ordering::SeqCst);
            let year = if seconds % 2 == 0 { 31_536_000 } else { -31_536_000 };
            Timestamp::from_second(1_700_000_000 + seconds + year).unwrap()
        }
    }

    fn packed(rule: &str) -> Vec<u8> {
        let text = format!("package portcullis.session.a\n\n{rule} := true\n");
        build(&[Rule::file("a.rego", text)], &Plan::named(rule)).unwrap()
    }

    #[tokio::test]
    async fn a_clock_that_jumps_keeps_no_bundle_from_coming_and_brings_none_twice() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a.tar.gz");
        std::fs::write(&path, packed("one")).unwrap();
        let settings = BundleSettings {
            name: "a".to_owned(),
            origin: Origin::Path(path.clone()),
            grants: false,
            verification: None,
            poll: (Duration::from_millis(10), Duration::from_millis(30)),
            required: true,
        };
        let clock = Arc::new(Jumping(AtomicI64::new(0)));
        let bundles = Arc::new(Bundles::new(&[settings], &home.path().join("kept"), clock).unwrap());
        bundles.first().await.unwrap();
        let first = bundles.held().pop().and_then(|held| held.newest).unwrap();
        bundles.in_force(&[Arc::clone(&first)]);
        let since = bundles.status()[0].since;
        bundles.in_force(&[first]);
        assert_eq!(bundles.status()[0].since, since, "the same is in force since then");
        let (mut tasks, shutdown) = (JoinSet::new(), CancellationToken::new());
        bundles.spawn(&mut tasks, &shutdown);
        std::fs::write(&path, packed("two")).unwrap();
        bundles.changed().await;
        bundles.changed().await;
        let newest = bundles.held().pop().and_then(|held| held.newest).unwrap();
        assert_eq!(newest.bundle.manifest().revision, "two");
        shutdown.cancel();
    }
}
