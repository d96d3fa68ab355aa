//! Results of which agents have had a part, each behind a word that goes on with it once.
//!
//! A cursor belongs to the identity that opened it, and to its statement. Every page comes with another word, so a page
//! can't be had twice; a word that was used, has lapsed, was never given out, or is somebody else's is answered alike.
//! What rests here holds a transaction of the database open: it lapses soon, the oldest of an identity's makes room, and
//! what its identity may no longer have is closed as soon as the rules have changed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::gate::Gate;
use crate::identity::Identity;
use crate::sql::Statement;
use crate::upstream::{Parked, Row};

use super::parameters::Lists;
use super::rooms::Visit;

/// All cursors that rest.
#[derive(Debug)]
pub(super) struct Cursors {
    gate: Arc<Gate>,
    limits: Limits,
    resting: Mutex<Resting>,
}

/// How many cursors there are, and how long they last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most cursors of one identity; the oldest is closed for a new one.
    pub most: usize,
    /// How long a cursor rests between two pages.
    pub rest: Duration,
    /// How long a cursor lasts altogether: its transaction keeps the database from clearing old rows away.
    pub life: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { most: 4, rest: Duration::from_secs(60), life: Duration::from_secs(600) }
    }
}

#[derive(Debug, Default)]
struct Resting {
    by_word: HashMap<String, Entry>,
    /// Whether somebody closes those that have lapsed.
    is_watched: bool,
}

#[derive(Debug)]
struct Entry {
    cursor: Cursor,
    since: Instant,
    /// How often rules had been replaced when it was last found to be in order.
    generation: u64,
}

/// A result of which a part was sent.
#[derive(Debug)]
pub(super) struct Cursor {
    /// The rest of it.
    pub(super) parked: Parked,
    /// The session that it belongs to.
    pub(super) visit: Visit,
    /// Who opened it.
    pub(super) owner: Identity,
    /// What is read.
    pub(super) source: Source,
    /// Its columns as they are shown.
    pub(super) columns: Value,
    /// A row that did not fit into the page before.
    pub(super) carried: Option<Row>,
    /// The decision that let it begin.
    pub(super) decision_id: String,
    /// When it was opened.
    pub(super) opened: Instant,
}

/// What a cursor reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    /// The database's name in the configuration.
    pub(super) database: String,
    /// The statement as it was sent.
    pub(super) sql: Statement,
    /// Its parameters.
    pub(super) parameters: Lists,
}

impl Cursors {
    pub(super) fn new(gate: Arc<Gate>, limits: Limits) -> Arc<Self> {
        Arc::new(Self { gate, limits, resting: Mutex::default() })
    }

    /// How long a cursor rests between two pages.
    pub(super) fn rest(&self) -> Duration {
        self.limits.rest
    }

    /// Lets `cursor` rest, and returns the word that goes on with it. The oldest of its owner's makes room.
    pub(super) fn park(self: &Arc<Self>, cursor: Cursor) -> String {
        let word = format!("{:032x}", rand::random::<u128>());
        let generation = self.gate.generation();
        let entry = Entry { cursor, since: Instant::now(), generation };
        let (surplus, starts_watch) = {
            let mut resting = self.resting();
            let surplus = resting.surplus(entry.cursor.owner.name(), self.limits.most);
            resting.by_word.insert(word.clone(), entry);
            (surplus, !std::mem::replace(&mut resting.is_watched, true))
        };
        surplus.into_iter().for_each(Entry::close);
        if starts_watch {
            tokio::spawn(watch(Arc::downgrade(self)));
        }
        word
    }

    /// The cursor behind `word`, if it is `who`'s; the word is of no use any more.
    pub(super) fn take(&self, word: &str, who: &Identity) -> Option<Cursor> {
        let mut resting = self.resting();
        let is_own = resting.by_word.get(word).is_some_and(|entry| entry.cursor.owner == *who);
        if !is_own {
            return None;
        }
        let entry = resting.by_word.remove(word)?;
        drop(resting);
        if entry.has_lapsed(self.limits) {
            entry.close();
            return None;
        }
        Some(entry.cursor)
    }

    /// Closes all cursors of `who`.
    pub(super) fn end(&self, who: &str) {
        let ended = self.resting().remove(|entry| entry.cursor.owner.name() == who);
        ended.into_iter().for_each(Entry::close);
    }

    /// Closes what may not rest any longer. Whether anything rests on.
    fn tidy(&self) -> bool {
        let generation = self.gate.generation();
        let (closed, goes_on) = {
            let mut resting = self.resting();
            let closed = resting
                .remove(|entry| entry.has_lapsed(self.limits) || !entry.is_in_order(&self.gate, generation));
            resting.is_watched = !resting.by_word.is_empty();
            (closed, resting.is_watched)
        };
        closed.into_iter().for_each(Entry::close);
        goes_on
    }

    fn resting(&self) -> MutexGuard<'_, Resting> {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn watch(cursors: Weak<Cursors>) {
    loop {
        sleep(BETWEEN_LOOKS).await;
        if !cursors.upgrade().is_some_and(|cursors| cursors.tidy()) {
            return;
        }
    }
}

impl Resting {
    /// Takes out what makes room for one more cursor of `who`.
    fn surplus(&mut self, who: &str, most: usize) -> Vec<Entry> {
        let own = self.by_word.iter().filter(|(_, entry)| entry.cursor.owner.name() == who);
        let mut own: Vec<(Instant, String)> = own.map(|(word, entry)| (entry.since, word.clone())).collect();
        own.sort();
        let surplus = own.len().saturating_add(1).saturating_sub(most);
        own.iter().take(surplus).filter_map(|(_, word)| self.by_word.remove(word)).collect()
    }

    fn remove(&mut self, mut which: impl FnMut(&mut Entry) -> bool) -> Vec<Entry> {
        self.by_word.extract_if(|_, entry| which(entry)).map(|(_, entry)| entry).collect()
    }
}

impl Entry {
    fn has_lapsed(&self, limits: Limits) -> bool {
        let context = self.cursor.visit.context();
        let life = context.lifetime().map_or(limits.life, |life| life.min(limits.life));
        self.since.elapsed() >= limits.rest || self.cursor.opened.elapsed() >= life
    }

    /// Whether its owner would still get its session, by the rules of `generation`.
    fn is_in_order(&mut self, gate: &Gate, generation: u64) -> bool {
        if self.generation == generation {
            return true;
        }
        self.generation = generation;
        gate.stays(&self.cursor.owner, self.cursor.visit.context()).is_ok()
    }

    fn close(self) {
        self.cursor.parked.finish();
    }
}

const BETWEEN_LOOKS: Duration = Duration::from_secs(1);
