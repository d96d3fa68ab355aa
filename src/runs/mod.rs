//! What must run at most once: statements that were approved, or that came with a key of their caller's.
//!
//! A run is begun here before anything of it is sent, and its transaction's id is noted before COMMIT is. So after a
//! crash there are three cases, and none of them is a guess: no record or no id, then nothing was committed; an id, then
//! the database knows what became of it; an outcome, then that is the answer, for ever.
//!
//! ```
//! # use std::sync::Arc;
//! use portcullis::clock::SystemClock;
//! use portcullis::runs::{NewRun, Runs};
//! use portcullis::store::Store;
//!
//! let runs = Runs::new(Store::in_memory()?, Arc::new(SystemClock))?;
//! let new = NewRun { principal: "robin", key: "invoice-17", database: "shop", digest: "9f86", ..NewRun::default() };
//! let id = runs.begin(&new)?;
//! runs.note(&id, 7_331)?;
//! assert_eq!(runs.by_key("robin", "invoice-17")?.unwrap().transaction, Some(7_331));
//! # Ok::<(), portcullis::store::StoreError>(())
//! ```

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, named_params};
use serde_json::Value;

use crate::clock::Clock;
use crate::store::{Schema, Store, StoreError};

/// All runs that are on record. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Runs {
    store: Store,
    clock: Arc<dyn Clock>,
}

/// A run that is about to begin.
#[derive(Debug, Clone, Copy, Default)]
pub struct NewRun<'a> {
    /// Who asked.
    pub principal: &'a str,
    /// The caller's key; empty without one. Only its principal can name it.
    pub key: &'a str,
    /// The approval that it spends; empty without one.
    pub approval: &'a str,
    /// The database's name in the configuration.
    pub database: &'a str,
    /// What the key stands for: a digest of the call.
    pub digest: &'a str,
}

/// The id of a run, unique for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunId(i64);

/// A run as it is on record.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept {
    /// Its id.
    pub id: RunId,
    /// The database's name in the configuration.
    pub database: String,
    /// What its key stands for.
    pub digest: String,
    /// The transaction's id (`xid8`), if COMMIT may have been sent.
    pub transaction: Option<u64>,
    /// What was answered, if it was known.
    pub outcome: Option<Value>,
}

impl Runs {
    /// The runs in `store`.
    ///
    /// # Errors
    /// When the store fails.
    pub fn new(store: Store, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        store.migrate(&SCHEMA)?;
        Ok(Self { store, clock })
    }

    /// Begins a run: from here on its key and its approval lead to it. What is older than [`KEPT_DAYS`] is forgotten.
    ///
    /// # Errors
    /// When the store fails, or the principal's key or the approval is taken.
    pub fn begin(&self, new: &NewRun<'_>) -> Result<RunId, StoreError> {
        let now = self.clock.now();
        self.store.write(|tx| {
            forget_old(tx, now)?;
            tx.execute(
                "INSERT INTO run (principal, key, approval, database, digest, at)
                 VALUES (:principal, nullif(:key, ''), nullif(:approval, ''), :database, :digest, :at)",
                named_params! {
                    ":principal": new.principal,
                    ":key": new.key,
                    ":approval": new.approval,
                    ":database": new.database,
                    ":digest": new.digest,
                    ":at": now.as_millisecond(),
                },
            )?;
            Ok(RunId(tx.last_insert_rowid()))
        })
    }

    /// Notes in which transaction it runs. To be called before COMMIT is sent, and COMMIT not to be sent if it fails.
    ///
    /// # Errors
    /// When the store fails, or there is no such run.
    pub fn note(&self, id: &RunId, transaction: u64) -> Result<(), StoreError> {
        self.update("UPDATE run SET xid = ?2 WHERE id = ?1", id, &transaction.to_string())
    }

    /// Keeps what became of it.
    ///
    /// # Errors
    /// When the store fails, or there is no such run.
    pub fn settle(&self, id: &RunId, outcome: &Value) -> Result<(), StoreError> {
        self.update("UPDATE run SET outcome = ?2 WHERE id = ?1", id, &outcome.to_string())
    }

    /// Forgets a run of which nothing is left in the database: its key may be used again.
    ///
    /// # Errors
    /// When the store fails.
    pub fn forget(&self, id: &RunId) -> Result<(), StoreError> {
        self.store.write(|tx| {
            tx.execute("DELETE FROM run WHERE id = ?1", [id.0])?;
            Ok(())
        })
    }

    /// The run that `principal` gave `key`.
    ///
    /// # Errors
    /// When the store fails.
    pub fn by_key(&self, principal: &str, key: &str) -> Result<Option<Kept>, StoreError> {
        let select = "SELECT * FROM run WHERE principal = ?1 AND key = ?2";
        self.store.read(|connection| one(connection, select, [principal, key]))
    }

    /// The run that has spent `approval`.
    ///
    /// # Errors
    /// When the store fails.
    pub fn by_approval(&self, approval: &str) -> Result<Option<Kept>, StoreError> {
        self.store.read(|connection| one(connection, "SELECT * FROM run WHERE approval = ?1", [approval]))
    }

    fn update(&self, sql: &str, id: &RunId, value: &str) -> Result<(), StoreError> {
        self.store.write(|tx| match tx.execute(sql, (id.0, value))? {
            0 => Err(StoreError::Sql(rusqlite::Error::QueryReturnedNoRows)),
            _ => Ok(()),
        })
    }
}

fn forget_old(tx: &Transaction<'_>, now: Timestamp) -> Result<(), StoreError> {
    let oldest = now.saturating_sub(SignedDuration::from_hours(KEPT_DAYS.saturating_mul(24)));
    let oldest =
        oldest.map_err(|error| StoreError::Sql(rusqlite::Error::ToSqlConversionFailure(error.into())))?;
    tx.execute("DELETE FROM run WHERE at < ?1", [oldest.as_millisecond()])?;
    Ok(())
}

fn one(
    connection: &Connection,
    select: &str,
    parameters: impl rusqlite::Params,
) -> Result<Option<Kept>, StoreError> {
    Ok(connection.query_row(select, parameters, kept).optional()?)
}

fn kept(row: &Row<'_>) -> rusqlite::Result<Kept> {
    let xid: Option<String> = row.get("xid")?;
    let outcome: Option<String> = row.get("outcome")?;
    let unreadable = |column: &str| {
        let why = format!("unreadable `{column}`").into();
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, why)
    };
    Ok(Kept {
        id: RunId(row.get("id")?),
        database: row.get("database")?,
        digest: row.get("digest")?,
        transaction: xid.map(|xid| xid.parse().map_err(|_| unreadable("xid"))).transpose()?,
        outcome: outcome
            .map(|outcome| serde_json::from_str(&outcome).map_err(|_| unreadable("outcome")))
            .transpose()?,
    })
}

/// How long a run is kept, in days.
pub const KEPT_DAYS: i64 = 30;

const SCHEMA: Schema = Schema { room: "runs", steps: &[RUNS] };

/// AUTOINCREMENT: an id is never given twice, so a late note can't reach another run.
const RUNS: &str = "CREATE TABLE run (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        principal TEXT NOT NULL,
        key TEXT,
        approval TEXT UNIQUE,
        database TEXT NOT NULL,
        digest TEXT NOT NULL,
        xid TEXT,
        outcome TEXT,
        at INTEGER NOT NULL,
        UNIQUE (principal, key)
    ) STRICT;
    CREATE INDEX run_by_time ON run (at);";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use serde_json::json;
    use std::time::Duration;

    fn runs() -> (Runs, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::starting_at(Timestamp::UNIX_EPOCH));
        (Runs::new(Store::in_memory().unwrap(), clock.clone()).unwrap(), clock)
    }

    fn keyed<'a>(principal: &'a str, key: &'a str) -> NewRun<'a> {
        NewRun { principal, key, database: "shop", digest: "d", ..NewRun::default() }
    }

    #[test]
    fn a_key_leads_its_principal_to_its_run_and_nobody_else() {
        let (runs, _) = runs();
        let id = runs.begin(&keyed("robin", "k")).unwrap();
        runs.note(&id, u64::MAX).unwrap();
        runs.settle(&id, &json!({"status": "ok"})).unwrap();
        let kept = runs.by_key("robin", "k").unwrap().unwrap();
        assert_eq!((kept.transaction, kept.outcome), (Some(u64::MAX), Some(json!({"status": "ok"}))));
        assert_eq!(runs.by_key("mallory", "k").unwrap(), None);
        assert!(runs.begin(&keyed("mallory", "k")).is_ok());
        assert!(runs.begin(&keyed("robin", "k")).is_err(), "a key is taken once");
    }

    #[test]
    fn runs_without_a_key_or_an_approval_do_not_collide() {
        let (runs, _) = runs();
        let approved = |approval| NewRun { approval, ..keyed("robin", "") };
        runs.begin(&approved("a")).unwrap();
        runs.begin(&approved("b")).unwrap();
        assert!(runs.begin(&approved("a")).is_err(), "an approval is spent once");
        assert_eq!(runs.by_key("robin", "").unwrap(), None);
        assert!(runs.by_approval("b").unwrap().is_some());
    }

    #[test]
    fn what_was_undone_is_forgotten_and_a_late_note_reaches_nobody() {
        let (runs, _) = runs();
        let first = runs.begin(&keyed("robin", "k")).unwrap();
        runs.forget(&first).unwrap();
        runs.begin(&keyed("robin", "k")).unwrap();
        assert!(runs.note(&first, 5).is_err());
        assert_eq!(runs.by_key("robin", "k").unwrap().unwrap().transaction, None);
    }

    #[test]
    fn runs_are_kept_for_a_month() {
        let (runs, clock) = runs();
        runs.begin(&keyed("robin", "old")).unwrap();
        clock.advance(Duration::from_secs(29 * 86_400));
        runs.begin(&keyed("robin", "newer")).unwrap();
        assert!(runs.by_key("robin", "old").unwrap().is_some());
        clock.advance(Duration::from_secs(2 * 86_400));
        runs.begin(&keyed("robin", "newest")).unwrap();
        assert_eq!(runs.by_key("robin", "old").unwrap(), None);
        assert!(runs.by_key("robin", "newer").unwrap().is_some());
    }
}
