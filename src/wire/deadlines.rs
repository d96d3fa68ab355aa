//! How long a session may be silent, and how long it may last.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use super::drive::End;
use super::settings::Settings;
use super::stopwatch::later;

/// The deadlines of one session. Without any, they cost nothing.
#[derive(Debug)]
pub(super) struct Deadlines {
    idle: Option<Idle>,
    end: Option<Pin<Box<Sleep>>>,
}

#[derive(Debug)]
struct Idle {
    most: Duration,
    /// The last time that something happened.
    since: Instant,
    alarm: Pin<Box<Sleep>>,
}

impl Deadlines {
    /// Those of the configuration, of which a `lifetime` of the rulebook's may come before.
    pub(super) fn new(settings: &Settings, lifetime: Option<Duration>) -> Self {
        let alarm = |after: Duration| Box::pin(sleep_until(later(Instant::now(), after)));
        let idle = |most| Idle { most, since: Instant::now(), alarm: alarm(most) };
        let end = settings.session_timeout.into_iter().chain(lifetime).min();
        Self { idle: settings.idle_timeout.map(idle), end: end.map(alarm) }
    }

    /// Ready when the session must end. To be called whenever its task wakes up; `is_waiting` says whether nothing but
    /// its client could go on.
    pub(super) fn poll(&mut self, waking: &mut Context<'_>, is_waiting: bool) -> Poll<End> {
        if let Some(end) = &mut self.end
            && end.as_mut().poll(waking).is_ready()
        {
            return Poll::Ready(End::Expired);
        }
        match &mut self.idle {
            Some(idle) => idle.poll(waking, is_waiting).map(|()| End::Idle),
            None => Poll::Pending,
        }
    }
}

impl Idle {
    fn poll(&mut self, waking: &mut Context<'_>, is_waiting: bool) -> Poll<()> {
        if self.alarm.as_mut().poll(waking).is_pending() {
            // Somebody else woke the session up.
            self.since = Instant::now();
            return Poll::Pending;
        }
        loop {
            let due = self.since + self.most;
            if is_waiting && due <= Instant::now() {
                return Poll::Ready(());
            }
            let next = if is_waiting { due } else { Instant::now() + self.most };
            self.alarm.as_mut().reset(next);
            if self.alarm.as_mut().poll(waking).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn a_session_that_is_silent_ends() {
        let settings = Settings { idle_timeout: Some(Duration::from_millis(5)), ..Settings::default() };
        let mut deadlines = Deadlines::new(&settings, None);
        assert!(matches!(poll_fn(|waking| deadlines.poll(waking, true)).await, End::Idle));
    }

    #[tokio::test]
    async fn silence_is_counted_from_the_last_time_that_something_happened() {
        let settings = Settings { idle_timeout: Some(Duration::from_secs(1_000)), ..Settings::default() };
        let mut deadlines = Deadlines::new(&settings, None);
        let begin = Instant::now();
        assert!(poll_fn(|waking| Poll::Ready(deadlines.poll(waking, true).is_pending())).await);
        assert!(deadlines.idle.unwrap().since >= begin);
    }

    #[tokio::test]
    async fn a_session_that_works_is_not_idle_but_ends_all_the_same() {
        let [idle, end] = [1, 30].map(|millis| Some(Duration::from_millis(millis)));
        let settings = Settings { idle_timeout: idle, session_timeout: end, ..Settings::default() };
        let mut deadlines = Deadlines::new(&settings, None);
        assert!(matches!(poll_fn(|waking| deadlines.poll(waking, false)).await, End::Expired));
    }

    #[tokio::test]
    async fn the_shorter_of_two_lifetimes_counts_and_one_beyond_all_clocks_is_none() {
        let [long, short] = [Duration::from_secs(1_000), Duration::from_millis(1)];
        for (configured, ruled) in
            [(Some(long), Some(short)), (Some(short), Some(long)), (None, Some(short)), (Some(short), None)]
        {
            let settings = Settings { session_timeout: configured, ..Settings::default() };
            let mut deadlines = Deadlines::new(&settings, ruled);
            assert!(matches!(poll_fn(|waking| deadlines.poll(waking, false)).await, End::Expired));
        }
        let mut endless = Deadlines::new(&Settings::default(), Some(Duration::MAX));
        assert!(poll_fn(|waking| Poll::Ready(endless.poll(waking, true).is_pending())).await);
    }
}
