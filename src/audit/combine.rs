//! Flat combining: whoever appends while nobody writes becomes the writer, and writes what the others queue meanwhile
//! along with its own. No thread has to be woken for a record that nobody else is in the way of.
//!
//! Notes only join the queue. They leave with the next record that somebody waits for, or, where none comes, with the
//! sweeper: a thread that looks after them a moment later.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread::{self, Thread};
use std::time::Duration;

use tokio::sync::oneshot;

use super::writer::{Health, Item, Writer};
use super::{LedgerError, Record};

/// A writer that belongs to whoever needs it.
#[derive(Debug)]
pub(super) struct Combiner {
    queue: Mutex<Queue>,
    writer: Mutex<Option<Writer>>,
    health: Health,
    sweeper: OnceLock<Thread>,
    /// Whether the sweeper knows that there is something to look after.
    alarmed: AtomicBool,
}

#[derive(Debug, Default)]
struct Queue {
    items: Vec<Item>,
    waiting: Vec<Waiting>,
    /// Whether somebody has the writer; whoever sets it must serve the queue.
    is_served: bool,
    /// Whether the sweeper shall go on serving: `is_served` stays set meanwhile.
    is_handed_over: bool,
    is_closed: bool,
}

type Answer<T> = oneshot::Sender<Result<T, LedgerError>>;

#[derive(Debug)]
enum Waiting {
    /// For the item at this place of the batch.
    Record(usize, Answer<u64>),
    Flush(Answer<()>),
    Close(Answer<()>),
}

/// What can be asked of the writer besides records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// To keep what was given before.
    Flush,
    /// The same, and to stop.
    Close,
}

/// What somebody who queued something has to do next.
enum Turn<T> {
    /// To serve the queue; the place is that of the own item.
    Serve(usize),
    Wait(oneshot::Receiver<Result<T, LedgerError>>),
}

impl Combiner {
    /// Takes `writer`, and starts the sweeper. It ends when the combiner is closed or dropped.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub(super) fn start(writer: Writer, health: Health) -> std::io::Result<Arc<Self>> {
        let combiner = Arc::new(Self {
            queue: Mutex::default(),
            writer: Mutex::new(Some(writer)),
            health,
            sweeper: OnceLock::new(),
            alarmed: AtomicBool::new(false),
        });
        let weak = Arc::downgrade(&combiner);
        let sweeper = thread::Builder::new().name("ledger".to_owned()).spawn(move || sweep(&weak))?;
        // Nobody else has the combiner yet, so it is not set.
        drop(combiner.sweeper.set(sweeper.thread().clone()));
        Ok(combiner)
    }

    /// Keeps `item`, and everything that was queued before; returns its number.
    pub(super) async fn append(&self, item: Item) -> Result<u64, LedgerError> {
        let turn = {
            let mut queue = self.queue();
            let place = queue.push(item)?;
            queue.turn(place, |answer| Waiting::Record(place, answer))
        };
        match turn {
            Turn::Serve(place) => self.serve(Some(place)).unwrap_or(Err(LedgerError::Closed)),
            Turn::Wait(answered) => answered.await.unwrap_or(Err(LedgerError::Closed)),
        }
    }

    /// Queues a note; what can't be queued is counted as lost.
    pub(super) fn note(&self, record: Record) {
        let at = record.at;
        if let Err(error) = self.queue().push(Item { record, note: true }) {
            self.health.fail(error);
            self.health.lose(at);
        } else if !self.alarmed.swap(true, Ordering::AcqRel) {
            self.wake_sweeper();
        }
    }

    /// Does what is asked, and returns once everything that was given before is kept.
    pub(super) async fn ask(&self, what: Asked) -> Result<(), LedgerError> {
        let (answer, answered) = oneshot::channel();
        let serves = {
            let mut queue = self.queue();
            if queue.is_closed {
                return Err(LedgerError::Closed);
            }
            queue.is_closed = what == Asked::Close;
            queue.waiting.push(match what {
                Asked::Flush => Waiting::Flush(answer),
                Asked::Close => Waiting::Close(answer),
            });
            !std::mem::replace(&mut queue.is_served, true)
        };
        if serves {
            self.serve(None);
        }
        answered.await.unwrap_or(Err(LedgerError::Closed))
    }

    /// Writes until nobody waits, or hands over to the sweeper: nobody has to write for the others for ever. Returns
    /// what became of the item at `own` of the first batch.
    fn serve(&self, own: Option<usize>) -> Option<Result<u64, LedgerError>> {
        let service = Service(self);
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut batch = Vec::new();
        let outcome = service.round(&mut writer, &mut batch, own);
        for _ in 1..MOST_ROUNDS {
            if service.is_over() {
                return outcome;
            }
            service.round(&mut writer, &mut batch, None);
        }
        if !service.is_over() {
            self.queue().is_handed_over = true;
            self.wake_sweeper();
        }
        outcome
    }

    /// What the sweeper does when it wakes.
    fn look_after(&self) {
        self.alarmed.store(false, Ordering::Release);
        let (is_owed, is_served) = {
            let mut queue = self.queue();
            let is_served = queue.is_served && !std::mem::take(&mut queue.is_handed_over);
            let is_owed = !(queue.items.is_empty() && queue.waiting.is_empty());
            queue.is_served = is_served || is_owed;
            (is_owed, is_served)
        };
        match (is_owed, is_served) {
            (false, _) => {}
            (true, false) => drop(self.serve(None)),
            // Who serves now may have taken the batch already, and need not come back for notes.
            (true, true) => {
                self.alarmed.store(true, Ordering::Release);
                self.wake_sweeper();
            }
        }
    }

    fn wake_sweeper(&self) {
        if let Some(sweeper) = self.sweeper.get() {
            sweeper.unpark();
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn push(&mut self, item: Item) -> Result<usize, LedgerError> {
        if self.is_closed {
            return Err(LedgerError::Closed);
        }
        if self.items.len() >= MOST_QUEUED {
            return Err(LedgerError::Busy { waiting: MOST_QUEUED });
        }
        self.items.push(item);
        Ok(self.items.len() - 1)
    }

    fn turn<T>(&mut self, place: usize, waiting: impl FnOnce(Answer<T>) -> Waiting) -> Turn<T> {
        if !std::mem::replace(&mut self.is_served, true) {
            return Turn::Serve(place);
        }
        let (answer, answered) = oneshot::channel();
        self.waiting.push(waiting(answer));
        Turn::Wait(answered)
    }
}

/// The time during which somebody serves the queue. Should the writing panic, nobody waits for it in vain.
struct Service<'a>(&'a Combiner);

impl Service<'_> {
    /// Keeps what is queued and tells those who wait for it. `batch` is empty before and after.
    fn round(
        &self,
        writer: &mut Option<Writer>,
        batch: &mut Vec<Item>,
        own: Option<usize>,
    ) -> Option<Result<u64, LedgerError>> {
        let waiting = {
            let mut queue = self.0.queue();
            std::mem::swap(&mut queue.items, batch);
            std::mem::take(&mut queue.waiting)
        };
        let count = batch.len();
        let kept = match writer {
            Some(writer) => writer.commit(batch),
            None => Err(LedgerError::Closed),
        };
        batch.clear();
        let number = |place: usize| {
            let behind = u64::try_from(count.saturating_sub(place + 1)).unwrap_or(0);
            kept.clone().map(|last| last.saturating_sub(behind))
        };
        // The folder's lock must be free before anybody hears that it is.
        if waiting.iter().any(|waiting| matches!(waiting, Waiting::Close(_))) {
            *writer = None;
        }
        for waiting in waiting {
            // Whoever stopped waiting doesn't need the answer; the record is kept all the same.
            match waiting {
                Waiting::Record(place, answer) => drop(answer.send(number(place))),
                Waiting::Flush(answer) | Waiting::Close(answer) => {
                    drop(answer.send(kept.clone().map(drop)));
                }
            }
        }
        own.map(number)
    }

    /// Ends the service if nobody waits; notes stay in the queue.
    fn is_over(&self) -> bool {
        let mut queue = self.0.queue();
        queue.is_served = !queue.waiting.is_empty();
        !queue.is_served
    }
}

impl Drop for Service<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            let mut queue = self.0.queue();
            queue.is_closed = true;
            queue.waiting.clear();
        }
    }
}

/// What nobody waits for is kept even if nobody closes the ledger.
impl Drop for Combiner {
    fn drop(&mut self) {
        if !self.queue().items.is_empty() {
            self.serve(None);
        }
        self.wake_sweeper();
    }
}

fn sweep(combiner: &Weak<Combiner>) {
    loop {
        thread::park();
        // A moment in which more can be queued, and in which most of it leaves with a record.
        thread::park_timeout(NOTES_WAIT);
        let Some(combiner) = combiner.upgrade() else { return };
        combiner.look_after();
        if combiner.queue().is_closed {
            return;
        }
    }
}

/// Records that may wait for the writer.
const MOST_QUEUED: usize = 8192;
/// Batches that one caller writes before it goes on with its own work.
const MOST_ROUNDS: usize = 8;
/// How long a note waits for a record to leave with.
const NOTES_WAIT: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
    use std::time::Duration;

    use super::super::chain::Head;
    use super::super::sink::{Memory, Sink};
    use super::super::{read_all, sample};
    use super::*;

    /// Whatever a test waits for comes much sooner.
    const LONG: Duration = Duration::from_secs(20);

    fn start(sink: impl Sink + 'static) -> Arc<Combiner> {
        let health = Health::default();
        let writer = Writer::new(Box::new(sink), Head::genesis(), health.clone());
        Combiner::start(writer, health).unwrap()
    }

    fn record(at: usize) -> Item {
        Item { record: sample(at), note: false }
    }

    /// A sink that says when a batch comes, and keeps it when it is told to.
    #[derive(Debug)]
    struct Slow {
        disk: Memory,
        began: SyncSender<usize>,
        go_on: Mutex<Receiver<()>>,
    }

    impl Sink for Slow {
        fn append(&mut self, lines: &[u8]) -> io::Result<()> {
            let count = lines.iter().filter(|byte| **byte == b'\n').count();
            self.began.send(count).unwrap();
            self.go_on.lock().unwrap().recv().map_err(io::Error::other)?;
            self.disk.append(lines)
        }
    }

    #[tokio::test]
    async fn a_note_leaves_with_the_next_record_in_one_write_and_before_it() {
        let disk = Memory::default();
        let combiner = start(disk.clone());
        combiner.note(sample(0));
        combiner.note(sample(2));
        assert_eq!(combiner.append(record(1)).await, Ok(3));
        assert_eq!(read_all(&disk.text()), [sample(0), sample(2), sample(1)]);
    }

    #[tokio::test]
    async fn a_note_that_no_record_follows_is_kept_a_moment_later() {
        let (began, batches) = sync_channel(8);
        let (go_on, gate) = sync_channel(8);
        let disk = Memory::default();
        let combiner = start(Slow { disk: disk.clone(), began, go_on: Mutex::new(gate) });
        for at in 0..3 {
            go_on.send(()).unwrap();
            combiner.note(sample(at));
            assert_eq!(batches.recv_timeout(LONG), Ok(1));
        }
        combiner.ask(Asked::Flush).await.unwrap();
        assert_eq!(read_all(&disk.text()).len(), 3);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn who_comes_while_somebody_writes_is_kept_by_them_in_one_write() {
        let (began, batches) = sync_channel(8);
        let (go_on, gate) = sync_channel(8);
        let disk = Memory::default();
        let combiner = start(Slow { disk: disk.clone(), began, go_on: Mutex::new(gate) });
        let append = |at| {
            let combiner = Arc::clone(&combiner);
            tokio::spawn(async move { combiner.append(record(at)).await })
        };
        let first = append(0);
        assert_eq!(batches.recv_timeout(LONG), Ok(1));
        let mut others = Vec::new();
        for at in 1..4 {
            others.push(append(at));
            while combiner.queue().items.len() < at {
                tokio::task::yield_now().await;
            }
        }
        combiner.note(sample(4));
        go_on.send(()).unwrap();
        assert_eq!(batches.recv_timeout(LONG), Ok(4));
        go_on.send(()).unwrap();
        assert_eq!(first.await.unwrap(), Ok(1));
        for (at, other) in others.into_iter().enumerate() {
            assert_eq!(other.await.unwrap(), Ok(at as u64 + 2));
        }
        assert_eq!(read_all(&disk.text()), (0..5).map(sample).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn closing_keeps_every_note_and_refuses_what_comes_later() {
        let disk = Memory::default();
        let combiner = start(disk.clone());
        combiner.note(sample(0));
        combiner.ask(Asked::Flush).await.unwrap();
        assert_eq!(read_all(&disk.text()).len(), 1);
        combiner.note(sample(2));
        combiner.ask(Asked::Close).await.unwrap();
        assert_eq!(read_all(&disk.text()).len(), 2);
        assert_eq!(combiner.append(record(1)).await, Err(LedgerError::Closed));
        assert_eq!(combiner.ask(Asked::Flush).await, Err(LedgerError::Closed));
        combiner.note(sample(4));
        assert_eq!(combiner.health.failure(), Some(LedgerError::Closed), "a lost note is a failure");
        assert!(combiner.writer.lock().unwrap().is_none(), "the folder is free");
    }

    #[tokio::test]
    async fn a_note_that_nobody_closed_the_ledger_behind_is_kept() {
        let disk = Memory::default();
        let combiner = start(disk.clone());
        combiner.note(sample(0));
        // The sweeper may be the last who has it: then it is the one who keeps the note.
        let kept = Arc::downgrade(&combiner);
        drop(combiner);
        while kept.strong_count() > 0 || disk.text().is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(read_all(&disk.text()), [sample(0)]);
    }

    #[tokio::test]
    async fn a_disk_that_refuses_is_an_error_for_those_who_wait_and_owes_the_notes() {
        let disk = Memory::default();
        let combiner = start(disk.clone());
        disk.fail(true);
        combiner.note(sample(0));
        assert!(matches!(combiner.append(record(1)).await, Err(LedgerError::Write { .. })));
        assert!(matches!(combiner.ask(Asked::Flush).await, Err(LedgerError::Write { .. })));
        assert!(combiner.health.failure().is_some());
        disk.fail(false);
        assert_eq!(combiner.append(record(3)).await, Ok(2));
        assert_eq!(read_all(&disk.text()), [sample(0), sample(3)]);
        assert_eq!(combiner.health.failure(), None);
    }

    #[derive(Debug)]
    struct Broken;

    impl Sink for Broken {
        fn append(&mut self, _lines: &[u8]) -> io::Result<()> {
            panic!("as planned")
        }
    }

    #[tokio::test]
    async fn a_writer_that_panics_closes_the_ledger_and_leaves_nobody_waiting() {
        let combiner = start(Broken);
        let first = Arc::clone(&combiner);
        assert!(tokio::spawn(async move { first.append(record(0)).await }).await.is_err());
        assert_eq!(combiner.append(record(1)).await, Err(LedgerError::Closed));
        assert_eq!(combiner.ask(Asked::Close).await, Err(LedgerError::Closed));
    }

    #[tokio::test]
    async fn more_than_the_queue_holds_is_refused() {
        let combiner = start(Memory::default());
        combiner.queue().is_served = true;
        for at in 0..MOST_QUEUED {
            combiner.note(sample(at));
        }
        assert_eq!(combiner.health.failure(), None);
        assert_eq!(combiner.append(record(1)).await, Err(LedgerError::Busy { waiting: MOST_QUEUED }));
        combiner.note(sample(0));
        assert!(combiner.health.failure().is_some());
    }
}
