//! The one who writes: batches of records, sealed and kept together. Synchronous; the ledger decides on which
//! thread it runs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::chain::{self, Head};
use super::sink::Sink;
use super::{Event, LedgerError, Record};

/// Seals and keeps records, and makes up for those that could not be kept.
#[derive(Debug)]
pub(super) struct Writer {
    sink: Box<dyn Sink>,
    head: Head,
    /// Notes of batches that failed: kept before anything else is.
    owed: Vec<Record>,
    health: Health,
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
        Self { sink, head, owed: Vec::new(), health }
    }

    /// Keeps what is owed, then the notes and records of this batch, durably: all of it or nothing. Returns the
    /// number of the last one. On failure the notes are owed, the records are not: whoever waits for one is
    /// told, and its statement does not run.
    pub(super) fn commit(&mut self, batch: Vec<Item>) -> Result<u64, LedgerError> {
        if let Some(failure) = self.health.failure().filter(|_| self.only_adds_to_what_is_owed(&batch)) {
            self.owe(batch);
            return Err(failure);
        }
        let lost = self.health.lock().lost;
        let confession = lost.map(|(count, at)| {
            gateway(at, format!("{count} outcome records could not be kept and are lost"))
        });
        let mut head = self.head.clone();
        let records = self.owed.iter().chain(&confession).chain(batch.iter().map(|item| &item.record));
        if let Err(why) = lines(records, &mut head).and_then(|lines| self.keep(&lines)) {
            let failure = LedgerError::Write { why };
            self.health.fail(failure.clone());
            self.owe(batch);
            return Err(failure);
        }
        self.head = head;
        self.owed.clear();
        self.health.recover(lost.map_or(0, |(count, _)| count));
        Ok(self.head.sequence)
    }

    /// While the disk refuses, it is asked again for those who wait for an answer only: outcomes that stream
    /// in would each seal all that is owed anew.
    fn only_adds_to_what_is_owed(&self, batch: &[Item]) -> bool {
        !self.owed.is_empty() && !batch.is_empty() && batch.iter().all(|item| item.note)
    }

    fn keep(&mut self, lines: &[u8]) -> Result<(), String> {
        if lines.is_empty() {
            return Ok(());
        }
        self.sink.append(lines).map_err(|error| error.to_string())
    }

    fn owe(&mut self, batch: Vec<Item>) {
        for item in batch.into_iter().filter(|item| item.note) {
            if self.owed.len() < MOST_OWED {
                self.owed.push(item.record);
            } else {
                self.health.lose(item.record.at);
            }
        }
    }
}

/// One record of a batch.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) record: Record,
    /// Whether it tells of what has happened already, so that it must not be lost.
    pub(super) note: bool,
}

/// A record of the gateway itself.
pub(super) fn gateway(at: Timestamp, what: String) -> Record {
    Record {
        at,
        decision_id: String::new(),
        session_id: String::new(),
        identity: String::new(),
        owner: String::new(),
        door: "gateway".to_owned(),
        client: String::new(),
        database: String::new(),
        event: Event::Gateway { what },
    }
}

fn lines<'a>(records: impl Iterator<Item = &'a Record>, head: &mut Head) -> Result<Vec<u8>, String> {
    let mut lines = Vec::new();
    for record in records {
        let line = chain::seal(record, head).map_err(|error| error.to_string())?;
        lines.extend_from_slice(line.as_bytes());
    }
    Ok(lines)
}

/// Notes that are held in memory while the disk refuses.
const MOST_OWED: usize = 1024;
