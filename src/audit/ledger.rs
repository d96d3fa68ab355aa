//! The handle: records go in, receipts come out.
//!
//! Where a record must be on disk, a thread of its own writes and syncs, for everybody who waits at that moment. Where
//! the operating system's word is enough, whoever appends writes (see `combine`).

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use super::Record;
use super::chain::Head;
use super::combine::{Asked, Combiner};
use super::folder::Folder;
use super::sink::Sink;
use super::verify::VerifyError;
use super::writer::{Health, Item, Writer, gateway};

/// A handle on the ledger; cheap to clone.
#[derive(Debug, Clone)]
pub struct Ledger {
    way: Way,
    health: Health,
}

/// Where the ledger is, and how safe its records are.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The folder of the segments; made (mode 0700) if it isn't there.
    pub folder: PathBuf,
    /// When a record counts as kept.
    pub durability: Durability,
    /// A segment of this size, in bytes, is followed by a new one.
    pub segment_bytes: u64,
}

impl Settings {
    /// A ledger in `folder` with segments of 64 MiB.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>, durability: Durability) -> Self {
        Self { folder: folder.into(), durability, segment_bytes: 64 << 20 }
    }
}

/// When a record counts as kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// Once the disk says so: it survives a power failure.
    #[default]
    Fsync,
    /// Once the operating system has it: it survives a crash of the gateway only. Notes of the last moment don't.
    Os,
}

/// Proof that a record is on disk (or handed to the operating system, with `durability = "os"`).
#[derive(Debug)]
#[must_use]
pub struct Receipt {
    sequence: u64,
}

impl Receipt {
    /// The record's number in the chain, from 1.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }
}

/// Why a record could not be kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// The disk refused.
    #[error("the ledger can't be written: {why}")]
    Write {
        /// What the operating system said.
        why: String,
    },
    /// The writer is gone.
    #[error("the ledger is closed")]
    Closed,
    /// Too many records are waiting.
    #[error("the ledger is too busy: {waiting} records are waiting")]
    Busy {
        /// How many.
        waiting: usize,
    },
}

/// Why a ledger could not be opened for writing.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process writes it.
    #[error("the ledger `{}` is in use by another gateway: stop that one, or give this one a state folder of its own", folder.display())]
    Locked {
        /// The folder.
        folder: PathBuf,
    },
    /// The operating system refused.
    #[error("the ledger's `{}` can't be used", path.display())]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// What it said.
        source: std::io::Error,
    },
    /// The newest segment doesn't hold: nothing is written behind it.
    #[error("the ledger is damaged; move its folder away, keep it as evidence, and start with a new one")]
    Damaged(#[from] VerifyError),
    /// The first record could not be kept.
    #[error("the ledger can't be written")]
    Write(#[from] LedgerError),
}

impl Ledger {
    /// Opens the ledger in a folder and starts its writer. An incomplete last line, as a crash leaves it, is
    /// cut off, and a record says so; `now` is that record's time.
    ///
    /// # Errors
    /// When another process writes it, its newest segment is damaged, or the disk refuses.
    pub fn open(settings: &Settings, now: Timestamp) -> Result<Self, OpenError> {
        let (folder, found) = Folder::open(settings)?;
        let health = Health::default();
        let mut writer = Writer::new(Box::new(folder), found.head, health.clone());
        if let Some((path, bytes)) = found.cut {
            let file = path.file_name().unwrap_or_default().to_string_lossy();
            let what = format!("cut {bytes} bytes of an incomplete last line off `{file}`");
            writer.commit(&mut vec![Item::note(gateway(now, what))?])?;
        }
        let threadless = |source| OpenError::Io { path: settings.folder.clone(), source };
        if settings.durability == Durability::Os {
            let combiner = Combiner::start(writer).map_err(threadless)?;
            return Ok(Self { way: Way::Combine(combiner), health });
        }
        let (queue, messages) = mpsc::channel(QUEUE);
        std::thread::Builder::new()
            .name("ledger".to_owned())
            .spawn(move || run(writer, messages))
            .map_err(threadless)?;
        Ok(Self { way: Way::Thread(queue), health })
    }

    /// A new ledger whose every record is kept within the call, without a thread: for simulations. A future of
    /// [`Ledger::append`] is ready when it is first polled.
    #[must_use]
    pub fn inline(sink: impl Sink + 'static) -> Self {
        let health = Health::default();
        let writer = Writer::new(Box::new(sink), Head::genesis(), health.clone());
        Self { way: Way::Inline(Arc::new(Mutex::new(writer))), health }
    }

    /// Appends `record` and returns once it is durable. What could not be kept before is kept first.
    ///
    /// # Errors
    /// When it could not be made durable; then the statement must not leave.
    pub async fn append(&self, record: Record) -> Result<Receipt, LedgerError> {
        let item = Item::record(record)?;
        match &self.way {
            Way::Inline(writer) => {
                let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
                writer.commit(&mut vec![item]).map(|sequence| Receipt { sequence })
            }
            Way::Combine(combiner) => combiner.append(item).await.map(|sequence| Receipt { sequence }),
            Way::Thread(queue) => {
                let (answer, answered) = oneshot::channel();
                send(queue, Message::Append(item, answer))?;
                answered.await.unwrap_or(Err(LedgerError::Closed))
            }
        }
    }

    /// Appends `record` without waiting, for what has happened already (outcomes). If it can't be kept now, it
    /// is held and kept before the next record that is, or, where too many are held, counted, and the count is
    /// kept. Until then [`Ledger::failure`] says so, and no [`Ledger::append`] succeeds before that.
    pub fn note(&self, record: Record) {
        let at = record.at;
        if let Err(error) = Item::note(record).and_then(|item| self.hand_over(item)) {
            self.health.fail(error);
            self.health.lose(at);
        }
    }

    /// Returns once everything that was given before is durable.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub async fn flush(&self) -> Result<(), LedgerError> {
        self.ask(Asked::Flush).await
    }

    /// Keeps what was given before, stops the writer and lets go of the folder. Whatever comes later is refused.
    ///
    /// # Errors
    /// When something could not be made durable.
    pub async fn close(&self) -> Result<(), LedgerError> {
        self.ask(Asked::Close).await
    }

    /// What is wrong with the ledger now, if anything.
    #[must_use]
    pub fn failure(&self) -> Option<LedgerError> {
        self.health.failure()
    }

    fn hand_over(&self, note: Item) -> Result<(), LedgerError> {
        match &self.way {
            Way::Inline(writer) => {
                let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
                // The failure is in `health`, and the note is owed.
                drop(writer.commit(&mut vec![note]));
                Ok(())
            }
            Way::Combine(combiner) => combiner.note(note),
            Way::Thread(queue) => send(queue, Message::Note(note)),
        }
    }

    async fn ask(&self, what: Asked) -> Result<(), LedgerError> {
        match &self.way {
            Way::Combine(combiner) => combiner.ask(what),
            Way::Inline(writer) => settle(&mut writer.lock().unwrap_or_else(PoisonError::into_inner)),
            Way::Thread(queue) => {
                let (answer, answered) = oneshot::channel();
                let message = match what {
                    Asked::Flush => Message::Flush(answer),
                    Asked::Close => Message::Close(answer),
                };
                queue.send(message).await.map_err(|_closed| LedgerError::Closed)?;
                answered.await.unwrap_or(Err(LedgerError::Closed))
            }
        }
    }
}

#[derive(Debug, Clone)]
enum Way {
    Thread(mpsc::Sender<Message>),
    Combine(Arc<Combiner>),
    Inline(Arc<Mutex<Writer>>),
}

type Answer<T> = oneshot::Sender<Result<T, LedgerError>>;

#[derive(Debug)]
enum Message {
    Append(Item, Answer<Receipt>),
    Note(Item),
    Flush(Answer<()>),
    Close(Answer<()>),
}

/// A full queue is an error, not a wait: the disk has stopped, and whoever asks should hear so.
fn send(queue: &mpsc::Sender<Message>, message: Message) -> Result<(), LedgerError> {
    queue.try_send(message).map_err(|error| match error {
        mpsc::error::TrySendError::Full(_) => LedgerError::Busy { waiting: QUEUE },
        mpsc::error::TrySendError::Closed(_) => LedgerError::Closed,
    })
}

/// The writer's thread: whatever waits is kept together, by one write and one sync. Ends when the ledger is
/// closed or all handles are gone.
fn run(mut writer: Writer, mut messages: mpsc::Receiver<Message>) {
    let mut waiting = Vec::with_capacity(MOST_TOGETHER);
    while messages.blocking_recv_many(&mut waiting, MOST_TOGETHER) > 0 {
        let mut batch = Batch::default();
        waiting.drain(..).for_each(|message| batch.add(message));
        if batch.closing.is_empty() {
            batch.commit(&mut writer);
            continue;
        }
        messages.close();
        while let Ok(message) = messages.try_recv() {
            batch.add(message);
        }
        let closing = std::mem::take(&mut batch.closing);
        batch.commit(&mut writer);
        let result = settle(&mut writer);
        // The folder's lock must be free before anybody hears that it is.
        drop(writer);
        closing.into_iter().for_each(|answer| tell(answer, result.clone()));
        return;
    }
}

#[derive(Default)]
struct Batch {
    items: Vec<Item>,
    /// Who waits for which item, counted from 0.
    receipts: Vec<(usize, Answer<Receipt>)>,
    flushes: Vec<Answer<()>>,
    closing: Vec<Answer<()>>,
}

impl Batch {
    fn add(&mut self, message: Message) {
        match message {
            Message::Append(item, answer) => {
                self.receipts.push((self.items.len(), answer));
                self.items.push(item);
            }
            Message::Note(item) => self.items.push(item),
            Message::Flush(answer) => self.flushes.push(answer),
            Message::Close(answer) => self.closing.push(answer),
        }
    }

    fn commit(mut self, writer: &mut Writer) {
        let count = self.items.len();
        let last = writer.commit(&mut self.items);
        for (place, answer) in self.receipts {
            let behind = u64::try_from(count - 1 - place).unwrap_or(0);
            tell(answer, last.clone().map(|last| Receipt { sequence: last - behind }));
        }
        if !self.flushes.is_empty() {
            let result = settle(writer);
            self.flushes.into_iter().for_each(|answer| tell(answer, result.clone()));
        }
    }
}

/// Adds nothing, but tries again to keep what is owed.
fn settle(writer: &mut Writer) -> Result<(), LedgerError> {
    writer.commit(&mut Vec::new()).map(drop)
}

/// Whoever stopped waiting doesn't need the answer; the record is kept all the same.
fn tell<T>(answer: Answer<T>, result: Result<T, LedgerError>) {
    drop(answer.send(result));
}

/// Records that may wait for the writer.
const QUEUE: usize = 8192;
/// Records that are kept by one write.
const MOST_TOGETHER: usize = 256;
