//! What each identity has had so far, and what it has read: over all its sessions, by both doors, across restarts.
//!
//! Counting is in memory, by the minute. What changed is written to the store every second and at the end, so that a
//! process that is killed forgets a second at most.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::policy::input::{Budget, Spent};
use crate::store::{Schema, Store, StoreError};

/// The accounts of all identities.
#[derive(Debug, Clone)]
pub(super) struct Budgets {
    accounts: Arc<Mutex<HashMap<SmolStr, Account>>>,
    store: Store,
}

/// What one identity has had.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
struct Account {
    /// Of the last hour, oldest first: minutes since 1970-01-01.
    minutes: VecDeque<(i64, Spent)>,
    /// Days since 1970-01-01, UTC.
    day: i64,
    today: Spent,
    /// When something with that label was read last, in seconds since 1970-01-01.
    labels: BTreeMap<String, i64>,
    #[serde(skip)]
    is_changed: bool,
}

/// The labels of what an identity has read, ordered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Read {
    /// In the last hour.
    pub(super) hour: Vec<String>,
    /// Since midnight, UTC.
    pub(super) day: Vec<String>,
}

impl Budgets {
    /// The accounts as the store has them.
    pub(super) fn open(store: Store) -> Result<Self, StoreError> {
        store.migrate(&SCHEMA)?;
        let accounts = store.read(|tx| {
            let mut accounts = HashMap::new();
            let mut rows = tx.prepare("SELECT identity, account FROM budgets")?;
            let rows = rows.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
            for row in rows {
                let (identity, account) = row?;
                match serde_json::from_str::<Account>(&account) {
                    Ok(account) => drop(accounts.insert(identity.into(), account)),
                    Err(error) => {
                        tracing::error!(identity, %error, "budget.unreadable: it begins at nothing")
                    }
                }
            }
            Ok::<_, StoreError>(accounts)
        })?;
        Ok(Self { accounts: Arc::new(Mutex::new(accounts)), store })
    }

    /// What `identity` has had by `now`.
    pub(super) fn of(&self, identity: &str, now: Timestamp) -> Budget {
        self.accounts().get(identity).map(|account| account.budget(now)).unwrap_or_default()
    }

    /// What `identity` has read by `now`.
    pub(super) fn read_by(&self, identity: &str, now: Timestamp) -> Read {
        self.accounts().get(identity).map(|account| account.read(now)).unwrap_or_default()
    }

    /// Adds to what `identity` has had.
    pub(super) fn add(&self, identity: &SmolStr, spent: Spent, now: Timestamp) {
        self.change(identity, now, |account| account.add(spent, now));
    }

    /// Notes that `identity` reads what has these labels.
    pub(super) fn label(&self, identity: &SmolStr, labels: &[String], now: Timestamp) {
        if !labels.is_empty() {
            self.change(identity, now, |account| {
                account.labels.extend(labels.iter().map(|label| (label.clone(), now.as_second())));
            });
        }
    }

    fn change(&self, identity: &SmolStr, now: Timestamp, change: impl FnOnce(&mut Account)) {
        let mut accounts = self.accounts();
        if accounts.len() >= MOST_ACCOUNTS && !accounts.contains_key(identity) {
            accounts.retain(|_, account| account.day >= day(now));
        }
        let account = accounts.entry(identity.clone()).or_default();
        change(account);
        account.is_changed = true;
    }

    /// Writes what changed since the last time. What can't be written is tried again the next time.
    pub(super) fn flush(&self) -> Result<(), StoreError> {
        let changed: Vec<(SmolStr, String)> = {
            let mut accounts = self.accounts();
            let changed = accounts.iter_mut().filter(|(_, account)| account.is_changed);
            let written = |(identity, account): (&SmolStr, &mut Account)| {
                account.is_changed = false;
                Some((identity.clone(), serde_json::to_string(account).ok()?))
            };
            changed.filter_map(written).collect()
        };
        if changed.is_empty() {
            return Ok(());
        }
        let written = self.store.write(|tx| {
            let mut insert = tx.prepare("INSERT OR REPLACE INTO budgets VALUES (?1, ?2)")?;
            for (identity, account) in &changed {
                insert.execute((identity.as_str(), account))?;
            }
            Ok::<_, StoreError>(())
        });
        if written.is_err() {
            let mut accounts = self.accounts();
            let unwritten = changed.iter().map(|(identity, _)| identity.as_str()).collect::<BTreeSet<_>>();
            let again = accounts.iter_mut().filter(|(identity, _)| unwritten.contains(identity.as_str()));
            again.for_each(|(_, account)| account.is_changed = true);
        }
        written
    }

    fn accounts(&self) -> MutexGuard<'_, HashMap<SmolStr, Account>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Account {
    fn add(&mut self, spent: Spent, now: Timestamp) {
        let (minute, today) = (minute(now), day(now));
        match self.minutes.back_mut() {
            // A clock that goes back finds the last minute open: nothing is counted as less than it is.
            Some((last, sum)) if *last >= minute => *sum = plus(*sum, spent),
            _ => self.minutes.push_back((minute, spent)),
        }
        while self.minutes.front().is_some_and(|(first, _)| *first <= minute - HOUR) {
            self.minutes.pop_front();
        }
        if self.day < today {
            (self.day, self.today) = (today, Spent::default());
        }
        self.today = plus(self.today, spent);
        self.labels.retain(|_, last| *last >= now.as_second() - LONGEST_S);
    }

    fn budget(&self, now: Timestamp) -> Budget {
        let minute = minute(now);
        let since = |first: i64| {
            let within = self.minutes.iter().filter(|(at, _)| *at > first);
            within.fold(Spent::default(), |sum, (_, spent)| plus(sum, *spent))
        };
        Budget {
            minute: since(minute - 1),
            hour: since(minute - HOUR),
            day: if self.day >= day(now) { self.today } else { Spent::default() },
        }
    }

    fn read(&self, now: Timestamp) -> Read {
        let since = |first: i64| -> Vec<String> {
            self.labels.iter().filter(|(_, last)| **last >= first).map(|(label, _)| label.clone()).collect()
        };
        Read { hour: since(now.as_second() - HOUR * 60), day: since(day(now) * DAY_S) }
    }
}

fn plus(one: Spent, other: Spent) -> Spent {
    Spent {
        statements: one.statements.saturating_add(other.statements),
        denied: one.denied.saturating_add(other.denied),
        rows: one.rows.saturating_add(other.rows),
        bytes: one.bytes.saturating_add(other.bytes),
    }
}

fn minute(now: Timestamp) -> i64 {
    now.as_second().div_euclid(60)
}

fn day(now: Timestamp) -> i64 {
    now.as_second().div_euclid(DAY_S)
}

const SCHEMA: Schema = Schema {
    room: "budgets",
    steps: &["CREATE TABLE budgets (identity TEXT PRIMARY KEY, account TEXT NOT NULL) STRICT"],
};

/// Minutes.
const HOUR: i64 = 60;
/// Seconds.
const DAY_S: i64 = 24 * 60 * 60;
/// How long a label is remembered.
const LONGEST_S: i64 = 2 * DAY_S;
/// Identities that are told apart; those of earlier days make room.
const MOST_ACCOUNTS: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn rows(rows: u64) -> Spent {
        Spent { statements: 1, rows, ..Spent::default() }
    }

    fn opened() -> Budgets {
        Budgets::open(Store::in_memory().unwrap()).unwrap()
    }

    #[test]
    fn rows_count_in_their_minute_hour_and_day() {
        let (budgets, ana) = (opened(), SmolStr::new("ana"));
        let midnight = 86_400 * 20;
        budgets.add(&ana, rows(5), at(midnight - 30));
        budgets.add(&ana, rows(7), at(midnight + 10));
        let had = budgets.of("ana", at(midnight + 20));
        assert_eq!((had.minute.rows, had.hour.rows, had.day.rows), (7, 12, 7));
        assert_eq!((had.minute.statements, had.hour.statements), (1, 2));
        let later = budgets.of("ana", at(midnight + 3_700));
        assert_eq!((later.minute.rows, later.hour.rows, later.day.rows), (0, 0, 7));
        assert_eq!(budgets.of("ben", at(midnight)), Budget::default());
    }

    #[test]
    fn a_clock_that_goes_back_forgets_nothing() {
        let (budgets, ana) = (opened(), SmolStr::new("ana"));
        let noon = 86_400 * 20 + 43_200;
        budgets.add(&ana, rows(5), at(noon));
        budgets.add(&ana, rows(7), at(noon - 86_400));
        let had = budgets.of("ana", at(noon - 86_400));
        assert_eq!((had.hour.rows, had.day.rows), (12, 12));
    }

    #[test]
    fn accounts_and_labels_survive_a_restart() {
        let store = Store::in_memory().unwrap();
        let (now, ana) = (at(86_400 * 20 + 600), SmolStr::new("ana"));
        {
            let budgets = Budgets::open(store.clone()).unwrap();
            budgets.add(&ana, rows(5), now);
            budgets.label(&ana, &["sensitive".to_owned()], now);
            budgets.flush().unwrap();
            budgets.add(&ana, rows(1), now);
        }
        let budgets = Budgets::open(store).unwrap();
        assert_eq!(budgets.of("ana", now).day.rows, 5, "what was not written is lost, and nothing else");
        let read = Read { hour: vec!["sensitive".into()], day: vec!["sensitive".into()] };
        assert_eq!(budgets.read_by("ana", now), read);
        assert_eq!(budgets.read_by("ana", at(86_400 * 20 + 600 + 3_601)).hour, Vec::<String>::new());
    }
}
