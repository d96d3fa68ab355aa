//! The one who writes: batches of records, sealed and kept together. Synchronous; the ledger decides on which
//! thread it runs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use smol_str::SmolStr;

use super::chain::{self, Body, Head};
use super::sink::Sink;
use super::{Event, LedgerError, Record};

/// Seals and keeps records, and makes up for those that could not be kept.
#[derive(Debug)]
pub(super) struct Writer {
    sink: Box<dyn Sink>,
    head: Head,
    /// Notes of batches that failed: kept before anything else is.
    owed: Vec<Body>,
    health: Health,
    /// Lines on their way to the sink: kept for its memory.
    lines: Vec<u8>,
}

/// What is wrong with the ledger, shared by the writer and all handles.
#[derive(Debug, Clone, Default)]
pub(super) struct Health(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    failure: Option<LedgerError>,
    /// Notes that nobody could even hold on to and whose loss isn't on record yet, and when the last was made.
    lost: Option<(u64, Timestamp)>,
}

impl Health {
    pub(super) fn failure(&self) -> Option<LedgerError> {
        self.lock().failure.clone()
    }

    pub(super) fn fail(&self, failure: LedgerError) {
        self.lock().failure = Some(failure);
    }

    /// Counts a note that is lost.
    pub(super) fn lose(&self, at: Timestamp) {
        let mut state = self.lock();
        let count = state.lost.map_or(0, |(count, _)| count);
        state.lost = Some((count.saturating_add(1), at));
    }

    /// Everything is kept, and the loss of `recorded` notes is on record.
    fn recover(&self, recorded: u64) {
        let mut state = self.lock();
        state.lost =
            state.lost.filter(|(count, _)| *count > recorded).map(|(count, at)| (count - recorded, at));
        if state.lost.is_none() {
            state.failure = None;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writer {
    pub(super) fn new(sink: Box<dyn Sink>, head: Head, health: Health) -> Self {
        Self { sink, head, owed: Vec::new(), health, lines: Vec::new() }
    }

    /// Keeps what is owed, then the notes and records of this batch, durably: all of it or nothing. Returns the
    /// number of the last one, and leaves the batch empty. On failure the notes are owed, the records are not:
    /// whoever waits for one is told, and its statement does not run.
    pub(super) fn commit(&mut self, batch: &mut Vec<Item>) -> Result<u64, LedgerError> {
        if let Some(failure) = self.health.failure().filter(|_| self.only_adds_to_what_is_owed(batch)) {
            self.owe(batch);
            return Err(failure);
        }
        let lost = self.health.lock().lost;
        let confession = lost.map(|(count, at)| {
            Item::note(gateway(at, format!("{count} outcome records could not be kept and are lost")))
        });
        let confession = confession.transpose()?.map(|item| item.body);
        let mut head = self.head.clone();
        self.lines.clear();
        let owed = self.owed.iter().chain(&confession);
        for body in owed.chain(batch.iter().map(|item| &item.body)) {
            chain::seal(body, &mut head, &mut self.lines);
        }
        if let Err(why) = self.keep() {
            let failure = LedgerError::Write { why };
            self.health.fail(failure.clone());
            self.owe(batch);
            return Err(failure);
        }
        self.head = head;
        self.owed.clear();
        batch.clear();
        self.lines.shrink_to(MOST_SPARE_BYTES);
        self.health.recover(lost.map_or(0, |(count, _)| count));
        Ok(self.head.sequence)
    }

    /// While the disk refuses, it is asked again for those who wait for an answer only: outcomes that stream
    /// in would each seal all that is owed anew.
    fn only_adds_to_what_is_owed(&self, batch: &[Item]) -> bool {
        !self.owed.is_empty() && !batch.is_empty() && batch.iter().all(|item| item.note)
    }

    fn keep(&mut self) -> Result<(), String> {
        if self.lines.is_empty() {
            return Ok(());
        }
        self.sink.append(&self.lines).map_err(|error| error.to_string())
    }

    fn owe(&mut self, batch: &mut Vec<Item>) {
        for item in batch.drain(..).filter(|item| item.note) {
            if self.owed.len() < MOST_OWED {
                self.owed.push(item.body);
            } else {
                self.health.lose(item.body.at);
            }
        }
    }
}

/// One record of a batch.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) body: Body,
    /// Whether it tells of what has happened already, so that it must not be lost.
    pub(super) note: bool,
}

impl Item {
    /// What somebody waits for.
    pub(super) fn record(record: Record) -> Result<Self, LedgerError> {
        Self::of(record, false)
    }

    /// What has happened already.
    pub(super) fn note(record: Record) -> Result<Self, LedgerError> {
        Self::of(record, true)
    }

    fn of(record: Record, note: bool) -> Result<Self, LedgerError> {
        let body = Body::of(record).map_err(|error| LedgerError::Write { why: error.to_string() })?;
        Ok(Self { body, note })
    }
}

/// A record of the gateway itself.
pub(super) fn gateway(at: Timestamp, what: String) -> Record {
    Record {
        at,
        decision_id: SmolStr::default(),
        session_id: SmolStr::default(),
        identity: SmolStr::default(),
        owner: SmolStr::default(),
        door: SmolStr::new_static("gateway"),
        client: SmolStr::default(),
        database: SmolStr::default(),
        event: Event::Gateway { what },
    }
}

/// Notes that are held in memory while the disk refuses.
const MOST_OWED: usize = 1024;
/// Memory for lines that is kept between two batches.
const MOST_SPARE_BYTES: usize = 64 << 10;
