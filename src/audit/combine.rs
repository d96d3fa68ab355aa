//! Combining: whoever appends queues its record, lets its neighbours queue theirs, and then writes all that is queued
//! at once, unless another has done so meanwhile. Nobody has to be woken for a record, and many leave in one write.
//!
//! Notes only join the queue. They leave with the next record that somebody waits for, or, where none comes, with the
//! sweeper: a thread that looks after what is left a moment later.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::Poll;
use std::thread::{self, Thread};
use std::time::Duration;

use super::LedgerError;
use super::writer::{Item, Writer};

/// A writer that belongs to whoever needs it.
#[derive(Debug)]
pub(super) struct Combiner {
    queue: Mutex<Queue>,
    /// None once the ledger is closed. Whoever holds it settles every batch that it takes before it lets go.
    writer: Mutex<Option<Writer>>,
    sweeper: OnceLock<Thread>,
    /// Whether the sweeper knows that there is something to look after.
    alarmed: AtomicBool,
}

#[derive(Debug, Default)]
struct Queue {
    items: Vec<Item>,
    batch: Arc<Batch>,
    is_closed: bool,
}

/// What leaves in one write.
#[derive(Debug, Default)]
struct Batch {
    /// The number of the record before its first, once it is kept.
    kept: OnceLock<Result<u64, LedgerError>>,
}

/// What can be asked of the writer besides records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// To keep what was given before.
    Flush,
    /// The same, and to stop.
    Close,
}

impl Combiner {
    /// Takes `writer`, and starts the sweeper. It ends when the combiner is closed or dropped.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub(super) fn start(writer: Writer) -> std::io::Result<Arc<Self>> {
        let combiner = Arc::new(Self {
            queue: Mutex::default(),
            writer: Mutex::new(Some(writer)),
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
        let (batch, place) = self.queue().push(item)?;
        let left = Left(self);
        for _ in 0..MOST_TURNS {
            let_others_queue().await;
            if batch.kept.get().is_some() || self.try_serve() {
                break;
            }
        }
        std::mem::forget(left);
        let kept = self.settled(&batch)?;
        Ok(kept.saturating_add(place).saturating_add(1))
    }

    /// Queues a note.
    ///
    /// # Errors
    /// When it can't be queued: then it is lost.
    pub(super) fn note(&self, note: Item) -> Result<(), LedgerError> {
        self.queue().push(note)?;
        self.alarm();
        Ok(())
    }

    /// Does what is asked, and returns once everything that was given before is kept.
    pub(super) fn ask(&self, what: Asked) -> Result<(), LedgerError> {
        let batch = {
            let mut queue = self.queue();
            if queue.is_closed {
                return Err(LedgerError::Closed);
            }
            queue.is_closed = what == Asked::Close;
            Arc::clone(&queue.batch)
        };
        let kept = self.settled(&batch).map(drop);
        if what == Asked::Close {
            // The folder's lock is free once this returns.
            *self.writer.lock().map_err(|_| LedgerError::Closed)? = None;
        }
        kept
    }

    /// What became of `batch`: it is written now if nobody did.
    fn settled(&self, batch: &Batch) -> Result<u64, LedgerError> {
        if batch.kept.get().is_none() {
            self.serve();
        }
        batch.kept.get().cloned().unwrap_or(Err(LedgerError::Closed))
    }

    /// Writes what is queued. Should the writing panic, nothing is written any more, and nobody waits for it in vain.
    fn serve(&self) {
        match self.writer.lock() {
            Ok(writer) => self.write(writer),
            Err(_) => {
                let mut queue = self.queue();
                queue.is_closed = true;
                queue.items.clear();
            }
        }
    }

    /// Writes what is queued, unless somebody else writes at this moment.
    fn try_serve(&self) -> bool {
        let free = self.writer.try_lock().ok();
        let is_free = free.is_some();
        free.into_iter().for_each(|writer| self.write(writer));
        is_free
    }

    fn write(&self, mut writer: MutexGuard<'_, Option<Writer>>) {
        let (mut items, batch) = self.queue().take();
        let count = u64::try_from(items.len()).unwrap_or(u64::MAX);
        let kept = match &mut *writer {
            Some(writer) => writer.commit(&mut items).map(|last| last.saturating_sub(count)),
            None => Err(LedgerError::Closed),
        };
        // Nobody else has taken this batch.
        drop(batch.kept.set(kept));
        items.clear();
        self.queue().reuse(items);
    }

    fn alarm(&self) {
        if !self.alarmed.swap(true, Ordering::AcqRel) {
            self.wake_sweeper();
        }
    }

    /// What the sweeper does when it wakes.
    fn look_after(&self) {
        self.alarmed.store(false, Ordering::Release);
        if !self.queue().items.is_empty() {
            self.serve();
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
    /// The batch that `item` leaves with, and its place there.
    fn push(&mut self, item: Item) -> Result<(Arc<Batch>, u64), LedgerError> {
        if self.is_closed {
            return Err(LedgerError::Closed);
        }
        if self.items.len() >= MOST_QUEUED {
            return Err(LedgerError::Busy { waiting: MOST_QUEUED });
        }
        let place = u64::try_from(self.items.len()).unwrap_or(u64::MAX);
        self.items.push(item);
        Ok((Arc::clone(&self.batch), place))
    }

    fn take(&mut self) -> (Vec<Item>, Arc<Batch>) {
        (std::mem::take(&mut self.items), std::mem::take(&mut self.batch))
    }

    /// Keeps the memory of a batch that was written for the next.
    fn reuse(&mut self, items: Vec<Item>) {
        if self.items.is_empty() && items.capacity() <= MOST_SPARE {
            self.items = items;
        }
    }
}

/// Somebody who has queued a record and may go away before it is written. It is kept all the same.
struct Left<'a>(&'a Combiner);

impl Drop for Left<'_> {
    fn drop(&mut self) {
        self.0.alarm();
    }
}

/// What nobody waits for is kept even if nobody closes the ledger.
impl Drop for Combiner {
    fn drop(&mut self) {
        if !self.queue().items.is_empty() {
            self.serve();
        }
        self.wake_sweeper();
    }
}

/// Lets every task that is ready on this thread go first.
async fn let_others_queue() {
    let mut waited = false;
    poll_fn(|waking| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        waking.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
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

/// How often a task lets others go first while somebody else writes, before it waits for them.
const MOST_TURNS: usize = 4;
/// Records that may wait for the writer.
const MOST_QUEUED: usize = 8192;
/// Places for records that are kept between two batches.
const MOST_SPARE: usize = 256;
/// How long a note waits for a record to leave with.
const NOTES_WAIT: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
    use std::time::Duration;

    use super::super::chain::Head;
    use super::super::sink::{Memory, Sink};
    use super::super::writer::Health;
    use super::super::{read_all, sample};
    use super::*;

    /// Whatever a test waits for comes much sooner.
    const LONG: Duration = Duration::from_secs(20);

    fn start(sink: impl Sink + 'static) -> Arc<Combiner> {
        Combiner::start(Writer::new(Box::new(sink), Head::genesis(), Health::default())).unwrap()
    }

    fn record(at: usize) -> Item {
        Item::record(sample(at)).unwrap()
    }

    fn note(combiner: &Combiner, at: usize) {
        combiner.note(Item::note(sample(at)).unwrap()).unwrap();
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
        note(&combiner, 0);
        note(&combiner, 2);
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
            note(&combiner, at);
            assert_eq!(batches.recv_timeout(LONG), Ok(1));
        }
        combiner.ask(Asked::Flush).unwrap();
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
        note(&combiner, 4);
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
        note(&combiner, 0);
        combiner.ask(Asked::Flush).unwrap();
        assert_eq!(read_all(&disk.text()).len(), 1);
        note(&combiner, 2);
        combiner.ask(Asked::Close).unwrap();
        assert_eq!(read_all(&disk.text()).len(), 2);
        assert_eq!(combiner.append(record(1)).await, Err(LedgerError::Closed));
        assert_eq!(combiner.ask(Asked::Flush), Err(LedgerError::Closed));
        assert_eq!(combiner.note(Item::note(sample(4)).unwrap()), Err(LedgerError::Closed));
        assert!(combiner.writer.lock().unwrap().is_none(), "the folder is free");
    }

    #[tokio::test]
    async fn a_note_that_nobody_closed_the_ledger_behind_is_kept() {
        let disk = Memory::default();
        let combiner = start(disk.clone());
        note(&combiner, 0);
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
        let health = Health::default();
        let writer = Writer::new(Box::new(disk.clone()), Head::genesis(), health.clone());
        let combiner = Combiner::start(writer).unwrap();
        disk.fail(true);
        note(&combiner, 0);
        assert!(matches!(combiner.append(record(1)).await, Err(LedgerError::Write { .. })));
        assert!(matches!(combiner.ask(Asked::Flush), Err(LedgerError::Write { .. })));
        assert!(health.failure().is_some());
        disk.fail(false);
        assert_eq!(combiner.append(record(3)).await, Ok(2));
        assert_eq!(read_all(&disk.text()), [sample(0), sample(3)]);
        assert_eq!(health.failure(), None);
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
        assert_eq!(combiner.ask(Asked::Close), Err(LedgerError::Closed));
    }

    #[tokio::test]
    #[expect(clippy::await_holding_lock, reason = "nobody shall write meanwhile")]
    async fn more_than_the_queue_holds_is_refused() {
        let combiner = start(Memory::default());
        let writer = combiner.writer.lock().unwrap();
        for at in 0..MOST_QUEUED {
            note(&combiner, at);
        }
        let busy = LedgerError::Busy { waiting: MOST_QUEUED };
        assert_eq!(combiner.append(record(1)).await, Err(busy.clone()));
        assert_eq!(combiner.note(Item::note(sample(0)).unwrap()), Err(busy));
        drop(writer);
    }

    #[tokio::test]
    async fn a_record_whose_writer_was_dropped_is_kept_a_moment_later() {
        let disk = Memory::default();
        let combiner = start(disk.clone());
        {
            let mut append = std::pin::pin!(combiner.append(record(1)));
            let first = poll_fn(|waking| Poll::Ready(append.as_mut().poll(waking).is_pending())).await;
            assert!(first, "its neighbours go first");
        }
        while disk.text().is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(read_all(&disk.text()), [sample(1)]);
    }

    #[tokio::test]
    async fn neighbours_on_one_thread_leave_in_one_write() {
        let (began, batches) = sync_channel(8);
        let (go_on, gate) = sync_channel(8);
        let disk = Memory::default();
        let combiner = start(Slow { disk: disk.clone(), began, go_on: Mutex::new(gate) });
        go_on.send(()).unwrap();
        let (a, b, c) =
            tokio::join!(combiner.append(record(0)), combiner.append(record(1)), combiner.append(record(2)));
        assert_eq!((a, b, c), (Ok(1), Ok(2), Ok(3)));
        assert_eq!(batches.recv_timeout(LONG), Ok(3));
    }
}
