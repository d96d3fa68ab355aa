//! Threads with a deep stack, on which statements are parsed, analysed and rewritten: all three recurse.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::Builder;

use tokio::sync::oneshot;

type Job = Box<dyn FnOnce() + Send>;

/// A bounded pool of such threads. Dropping it ends them.
#[derive(Debug)]
pub struct Workers(Mode);

#[derive(Debug)]
enum Mode {
    Pool(SyncSender<Job>),
    Inline,
}

/// Why a job gave no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WorkersError {
    /// Too many jobs wait already.
    #[error("too many statements are being analysed at once")]
    Busy,
    /// The job panicked, or the threads are gone.
    #[error("the analyser failed on this statement")]
    Failed,
}

impl Workers {
    /// A pool of `threads` threads with room for `waiting` jobs.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub fn start(threads: usize, waiting: usize) -> std::io::Result<Self> {
        let (sender, receiver) = sync_channel::<Job>(waiting);
        let receiver = Arc::new(Mutex::new(receiver));
        for number in 0..threads.max(1) {
            let receiver = Arc::clone(&receiver);
            Builder::new()
                .name(format!("analyse-{number}"))
                .stack_size(STACK_BYTES)
                .spawn(move || while next(&receiver).map(|job| job()).is_some() {})?;
        }
        Ok(Self(Mode::Pool(sender)))
    }

    /// Workers that finish each job before [`Workers::run`] returns its future: for simulations.
    #[must_use]
    pub fn inline() -> Self {
        Self(Mode::Inline)
    }

    /// Runs `job`, which needs no deep stack, on this thread.
    ///
    /// # Errors
    /// When `job` panics.
    pub fn here<T>(job: impl FnOnce() -> T) -> Result<T, WorkersError> {
        catch_unwind(AssertUnwindSafe(job)).map_err(|_| WorkersError::Failed)
    }

    /// Runs `job` on a thread with a deep stack and gives its result.
    ///
    /// # Errors
    /// When too many jobs wait, or `job` panics.
    pub async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, WorkersError> {
        match &self.0 {
            Mode::Inline => Builder::new()
                .stack_size(STACK_BYTES)
                .spawn(job)
                .map_err(|_| WorkersError::Busy)?
                .join()
                .map_err(|_| WorkersError::Failed),
            Mode::Pool(sender) => {
                let (answer, result) = oneshot::channel();
                let job: Job = Box::new(move || {
                    if let Ok(value) = catch_unwind(AssertUnwindSafe(job)) {
                        // The asker may have gone away meanwhile; then nobody wants the value.
                        drop(answer.send(value));
                    }
                });
                sender.try_send(job).map_err(|error| match error {
                    TrySendError::Full(_) => WorkersError::Busy,
                    TrySendError::Disconnected(_) => WorkersError::Failed,
                })?;
                result.await.map_err(|_| WorkersError::Failed)
            }
        }
    }
}

fn next(receiver: &Mutex<Receiver<Job>>) -> Option<Job> {
    receiver.lock().ok()?.recv().ok()
}

/// Enough for the deepest tree that the C grammar lets through within the statement caps.
const STACK_BYTES: usize = 32 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_job_that_panics_fails_alone() {
        let workers = Workers::start(1, 4).unwrap();
        assert_eq!(workers.run(|| panic!("as planned")).await, Err::<(), _>(WorkersError::Failed));
        assert_eq!(Workers::here(|| panic!("as planned")), Err::<(), _>(WorkersError::Failed));
        assert_eq!(workers.run(|| 7).await, Ok(7));
    }

    #[tokio::test]
    async fn jobs_beyond_the_queue_are_refused_and_not_kept() {
        let workers = Workers::start(1, 1).unwrap();
        let (release, gate) = sync_channel::<()>(0);
        let (started, running) = sync_channel::<()>(0);
        let first = workers.run(move || {
            started.send(()).unwrap();
            gate.recv().unwrap();
        });
        let mut first = Box::pin(first);
        assert!(Future::poll(first.as_mut(), &mut noop()).is_pending());
        running.recv().unwrap();
        let mut second = Box::pin(workers.run(|| ()));
        assert!(Future::poll(second.as_mut(), &mut noop()).is_pending());
        assert_eq!(workers.run(|| ()).await, Err(WorkersError::Busy));
        release.send(()).unwrap();
        assert_eq!(first.await, Ok(()));
        assert_eq!(second.await, Ok(()));
    }

    fn noop() -> std::task::Context<'static> {
        std::task::Context::from_waker(std::task::Waker::noop())
    }
}
