//! Notices changes that are made past the gateway, on a connection that is kept for as long as anybody uses the database.
//!
//! Each question asks for the next, dearer one: every second, whether anything was written into the catalog; if so, and
//! from time to time anyway, whether definitions are others; if so, they are read. A `NOTIFY portcullis_catalog` asks at once.
//! Without use there are no questions: the catalog expires, and the next statement has it looked at first.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_postgres::Client;

use super::super::target::Target;
use super::definitions::PARAMETERS;
use super::fingerprint::{Count, Fingerprint};
use super::{DISTANCE, LoadError, Shelf, session};

/// Keeps the newest snapshot of `target` true, for ever.
pub(super) async fn watch(shelf: &Shelf, target: &Target) {
    loop {
        shelf.use_of_it().await;
        let Err(error) = Post::stand(shelf, target).await else { continue };
        tracing::debug!(database = target.settings().name, why = error.in_words(), "catalog.unwatched");
        // Nobody looks, so statements do.
        shelf.expire();
        sleep(REOPEN_AFTER).await;
    }
}

/// The kept connection.
#[derive(Debug)]
struct Post {
    client: Client,
    told: Arc<Notify>,
}

impl Post {
    /// Looks until nobody uses the database any more.
    async fn stand(shelf: &Shelf, target: &Target) -> Result<(), LoadError> {
        let told = Arc::new(Notify::new());
        let client =
            session::open_hearing(target, &target.settings().service, &PARAMETERS, Arc::clone(&told)).await?;
        let post = Self { client, told };
        // A standby has no notifications.
        if let Err(error) = post.client.batch_execute(LISTEN).await {
            tracing::debug!(%error, "catalog.unheard");
        }
        let mut counted = None;
        let (mut looked, mut took) = (Instant::now(), Duration::ZERO);
        let mut used = Instant::now();
        loop {
            // Counted before it is looked at: what comes between shows in the next count.
            let count = answer(Count::ask(&post.client)).await?;
            let mut rest = COUNT_EVERY;
            if counted.as_ref() != Some(&count) || looked.elapsed() >= LOOK_EVERY {
                counted = Some(count);
                looked = Instant::now();
                post.look(shelf, target).await?;
                took = looked.elapsed();
                rest = COUNT_EVERY.max(took.saturating_mul(REST)).min(LOOK_EVERY);
            }
            tokio::select! {
                () = sleep(rest) => {}
                // Anybody on the server can tell, as often as they like.
                () = post.told_after(looked + took.max(DISTANCE)) => counted = None,
            }
            if shelf.was_used() {
                used = Instant::now();
            } else if used.elapsed() >= UNUSED_AFTER {
                shelf.expire();
                return Ok(());
            }
        }
    }

    /// Has definitions read if they are others.
    async fn look(&self, shelf: &Shelf, target: &Target) -> Result<(), LoadError> {
        let fingerprint = answer(Fingerprint::ask(&self.client)).await?;
        if !shelf.is_of(&fingerprint).await {
            shelf.expire();
            if let Err(error) = shelf.refresh(target).await {
                tracing::error!(%error, "catalog.failed: statements that need it are denied");
            }
        }
        Ok(())
    }

    /// Waits until a notification has come, and `time` too.
    async fn told_after(&self, time: Instant) {
        self.told.notified().await;
        sleep_until(time).await;
    }
}

async fn answer<T>(question: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, LoadError> {
    match timeout(DEADLINE, question).await {
        Ok(answer) => answer.map_err(LoadError::Statement),
        Err(_) => Err(LoadError::Late(DEADLINE)),
    }
}

/// What an event trigger may tell: `NOTIFY portcullis_catalog`.
const LISTEN: &str = "LISTEN portcullis_catalog";

/// How often it is asked whether anything was written into the catalog.
const COUNT_EVERY: Duration = Duration::from_secs(1);

/// How often definitions are looked at whatever was counted.
const LOOK_EVERY: Duration = Duration::from_secs(15);

/// After a look it rests so many times as long as that took: temporary tables, which are written into the catalog too,
/// don't make the server busy with questions.
const REST: u32 = 10;

/// How long a database goes unused before questions end.
const UNUSED_AFTER: Duration = Duration::from_secs(60);

/// How long after a lost connection another one is opened.
const REOPEN_AFTER: Duration = Duration::from_millis(500);

/// How long an answer may take.
const DEADLINE: Duration = Duration::from_secs(20);
