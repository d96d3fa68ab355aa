//! Time, as a thing that is handed in: rooms ask a [`Clock`], so a test can hold time still or make it jump.

use std::fmt::Debug;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::Timestamp;

/// Where a room gets the time from.
pub trait Clock: Debug + Send + Sync {
    /// The wall-clock time, UTC.
    fn now(&self) -> Timestamp;
}

/// The machine's own clock.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place where the machine's clock is read")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// A clock that moves only when it is told to: for simulations and tests.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that stands at `start`, to the millisecond.
    #[must_use]
    pub fn starting_at(start: Timestamp) -> Self {
        Self(AtomicI64::new(start.as_millisecond()))
    }

    /// Moves the clock forward by `step`, in whole milliseconds.
    pub fn advance(&self, step: Duration) {
        let step_ms = i64::try_from(step.as_millis()).unwrap_or(i64::MAX);
        self.0.fetch_add(step_ms, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(self.0.load(Ordering::SeqCst)).unwrap_or(Timestamp::MAX)
    }
}

/// Whole milliseconds from `start` to `end`, never negative.
#[must_use]
pub fn elapsed_ms(start: Timestamp, end: Timestamp) -> u64 {
    u64::try_from(end.as_millisecond().saturating_sub(start.as_millisecond())).unwrap_or(0)
}
