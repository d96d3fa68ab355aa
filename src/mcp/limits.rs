//! How many requests an identity may make: as many at once as in a minute, and then as they come back.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// What each identity has left.
#[derive(Debug)]
pub(super) struct Rates {
    per_minute: f64,
    left: Mutex<HashMap<String, Left>>,
}

#[derive(Debug, Clone, Copy)]
struct Left {
    requests: f64,
    at: Instant,
}

impl Rates {
    pub(super) fn new(per_minute: u32) -> Self {
        Self { per_minute: f64::from(per_minute.max(1)), left: Mutex::default() }
    }

    /// Takes one request of `who`.
    ///
    /// # Errors
    /// When none is left: how long it takes until one is.
    pub(super) fn take(&self, who: &str, now: Instant) -> Result<(), Duration> {
        let mut all = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST && !all.contains_key(who) {
            // Whoever has all of theirs back need not be remembered.
            all.retain(|_, left| self.refilled(*left, now) < self.per_minute);
        }
        let full = Left { requests: self.per_minute, at: now };
        let left = all.entry(who.to_owned()).or_insert(full);
        let requests = self.refilled(*left, now);
        if requests < 1.0 {
            *left = Left { requests, at: now };
            return Err(Duration::from_secs_f64((1.0 - requests) * MINUTE_S / self.per_minute));
        }
        *left = Left { requests: requests - 1.0, at: now };
        Ok(())
    }

    fn refilled(&self, left: Left, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(left.at).as_secs_f64();
        (left.requests + passed * self.per_minute / MINUTE_S).min(self.per_minute)
    }
}

const MINUTE_S: f64 = 60.0;
/// Identities that are remembered before those who have made no request lately are forgotten.
const MOST: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(rates: &Rates, who: &str, now: Instant, times: usize) -> usize {
        (0..times).filter(|_| rates.take(who, now).is_ok()).count()
    }

    #[test]
    fn a_minutes_requests_may_come_at_once_and_come_back_in_a_minute() {
        let (rates, start) = (Rates::new(60), Instant::now());
        assert_eq!(taken(&rates, "robin", start, 100), 60);
        assert_eq!(taken(&rates, "mallory", start, 100), 60, "everybody has their own");
        let wait = rates.take("robin", start).unwrap_err();
        assert!(wait <= Duration::from_secs(1) && wait > Duration::from_millis(900), "{wait:?}");
        assert_eq!(taken(&rates, "robin", start + Duration::from_secs(10), 100), 10);
        assert_eq!(taken(&rates, "robin", start + Duration::from_secs(3600), 100), 60, "and never more");
    }

    #[test]
    fn refusals_cost_nothing_and_those_who_rest_are_forgotten() {
        let (rates, start) = (Rates::new(1), Instant::now());
        assert_eq!(taken(&rates, "robin", start, 1000), 1);
        assert_eq!(taken(&rates, "robin", start + Duration::from_secs(60), 1), 1);
        for number in 0..=MOST {
            taken(&rates, &number.to_string(), start, 1);
        }
        taken(&rates, "late", start + Duration::from_secs(61), 1);
        assert!(rates.left.lock().unwrap().len() <= 2, "{}", rates.left.lock().unwrap().len());
    }
}
