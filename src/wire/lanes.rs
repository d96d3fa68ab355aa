//! Threads that sessions run on: one a core, each with a runtime of its own.
//!
//! A session wakes up for every message, in both directions. On a thread of its own with its neighbours, that is one
//! wait for all their sockets; were sessions free to move, threads would wake each other to share work that is done
//! sooner than shared.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, available_parallelism};

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::CancellationToken;

/// The threads. They end when this is dropped.
#[derive(Debug)]
pub(super) struct Lanes {
    lanes: Vec<Handle>,
    newest: AtomicUsize,
    end: CancellationToken,
}

impl Lanes {
    /// Starts one thread a core.
    ///
    /// # Errors
    /// When the operating system gives no thread or no way to wait for sockets.
    pub(super) fn start() -> io::Result<Self> {
        let count = available_parallelism().map_or(1, usize::from);
        let end = CancellationToken::new();
        let lanes = (0..count).map(|number| lane(number, end.clone())).collect::<io::Result<_>>()?;
        Ok(Self { lanes, newest: AtomicUsize::new(0), end })
    }

    /// The thread for the next session: each has its turn.
    pub(super) fn next(&self) -> Option<&Handle> {
        let turn = self.newest.fetch_add(1, Ordering::Relaxed);
        self.lanes.get(turn.checked_rem(self.lanes.len())?)
    }
}

impl Drop for Lanes {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

fn lane(number: usize, end: CancellationToken) -> io::Result<Handle> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    thread::Builder::new()
        .name(format!("wire-{number}"))
        .stack_size(STACK_BYTES)
        .spawn(move || runtime.block_on(end.cancelled()))?;
    Ok(handle)
}

/// Small statements are analysed where their session runs.
const STACK_BYTES: usize = 4 * 1024 * 1024;
