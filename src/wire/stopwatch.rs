//! The clock of the statement that the server works on: by it, its time is over.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use super::session::{Session, Task};

/// Measures how long the server works. Where no time is limited, it costs nothing.
#[derive(Debug, Default)]
pub(super) struct Stopwatch {
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    what: Task,
    since: Instant,
    alarm: Pin<Box<Sleep>>,
    reminders: u32,
}

impl Stopwatch {
    /// Looks at what the server works on, and tells the session when the time of that is over. Ready when telling it
    /// did not help. To be called between what one message of the client starts and what the next one does.
    pub(super) fn poll(&mut self, waking: &mut Context<'_>, session: &mut Session) -> Poll<()> {
        let work = session.work();
        if self.running.as_ref().map(|running| running.what) != work.map(|work| work.what) {
            if let Some(Running { what, since, .. }) = self.running.take() {
                session.worked(what, since.elapsed());
            }
            self.running = work.map(|work| {
                let since = Instant::now();
                let alarm = Box::pin(sleep_until(later(since, work.limit.saturating_sub(work.spent))));
                Running { what: work.what, since, alarm, reminders: 0 }
            });
        }
        let Some(running) = &mut self.running else { return Poll::Pending };
        while running.alarm.as_mut().poll(waking).is_ready() {
            if running.reminders == MOST_REMINDERS {
                return Poll::Ready(());
            }
            running.reminders += 1;
            session.time_is_over();
            running.alarm.as_mut().reset(later(Instant::now(), REMIND_EVERY));
        }
        Poll::Pending
    }
}

/// `after` from `now`; as good as never where that is beyond what a clock can say.
pub(super) fn later(now: Instant, after: Duration) -> Instant {
    now.checked_add(after).unwrap_or_else(|| now + FOREVER)
}

/// A function that catches one cancel catches the next one too.
const MOST_REMINDERS: u32 = 5;
const REMIND_EVERY: Duration = Duration::from_secs(1);
/// Thirty years.
const FOREVER: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);
