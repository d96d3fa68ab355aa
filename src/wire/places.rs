//! How many sessions each identity and each database has, and no more than it may have.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::protocol::backend::ErrorFields;
use crate::protocol::sqlstate;

use super::Settings;
use super::refusals::fatal;

/// The places of all sessions.
#[derive(Debug)]
pub(super) struct Places {
    identities: Arc<Count>,
    databases: Arc<Count>,
}

/// A session's place, for as long as this lives.
#[derive(Debug)]
pub(super) struct Place {
    _identity: Seat,
    _database: Seat,
}

/// One place under one name.
#[derive(Debug)]
struct Seat {
    count: Arc<Count>,
    name: String,
}

#[derive(Debug)]
struct Count {
    most: Option<usize>,
    taken: Mutex<HashMap<String, usize>>,
}

impl Places {
    pub(super) fn new(settings: &Settings) -> Self {
        let count = |most| Arc::new(Count { most, taken: Mutex::default() });
        Self {
            identities: count(settings.max_connections_per_identity),
            databases: count(settings.max_connections_per_database),
        }
    }

    /// A place for a session of `identity` on `database`.
    ///
    /// # Errors
    /// What the client is told where there is none.
    pub(super) fn take(&self, identity: &str, database: &str) -> Result<Place, ErrorFields> {
        let full = |what: &str, name: &str| {
            let message = format!("too many connections for {what} \"{name}\"");
            fatal(sqlstate::TOO_MANY_CONNECTIONS, message).with_hint("close those that are no longer needed")
        };
        Ok(Place {
            _identity: self.identities.take(identity).ok_or_else(|| full("role", identity))?,
            _database: self.databases.take(database).ok_or_else(|| full("database", database))?,
        })
    }
}

impl Count {
    fn take(self: &Arc<Self>, name: &str) -> Option<Seat> {
        if let Some(most) = self.most {
            let mut taken = self.taken();
            let here = taken.get(name).copied().unwrap_or(0);
            if here >= most {
                return None;
            }
            taken.insert(name.to_owned(), here.saturating_add(1));
        }
        Some(Seat { count: Arc::clone(self), name: name.to_owned() })
    }

    fn leave(&self, name: &str) {
        let mut taken = self.taken();
        match taken.get_mut(name) {
            Some(here) if *here > 1 => *here -= 1,
            Some(_) | None => drop(taken.remove(name)),
        }
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if self.count.most.is_some() {
            self.count.leave(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(identity: Option<usize>, database: Option<usize>) -> Places {
        Places::new(&Settings {
            max_connections_per_identity: identity,
            max_connections_per_database: database,
            ..Settings::default()
        })
    }

    #[test]
    fn a_place_that_is_left_can_be_taken_again() {
        let places = places(Some(2), Some(3));
        let (one, _two) = (places.take("ana", "shop").unwrap(), places.take("ana", "shop").unwrap());
        assert_eq!(
            places.take("ana", "shop").unwrap_err().message(),
            "too many connections for role \"ana\""
        );
        let _dora = places.take("dora", "shop").unwrap();
        let full = places.take("priya", "shop").unwrap_err();
        assert_eq!(
            (full.sqlstate(), full.message()),
            ("53300", "too many connections for database \"shop\"")
        );
        assert!(places.take("priya", "bank").is_ok(), "a refused place is not counted");
        drop(one);
        assert!(places.take("ana", "shop").is_ok());
        assert_eq!(places.databases.taken().len(), 1, "names without sessions are forgotten");
    }

    #[test]
    fn without_a_limit_nothing_is_counted() {
        let places = places(None, None);
        let all: Vec<Place> = (0..1000).map(|_| places.take("ana", "shop").unwrap()).collect();
        assert!(places.identities.taken().is_empty());
        drop(all);
    }
}
