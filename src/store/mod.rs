//! Durable state, one handle: an embedded SQLite database in the state folder.
//!
//! The room owns the file, its rights and the connection; it knows nothing of what is kept. Each room above
//! keeps its own tables, described by a [`Schema`], and writes its own SQL inside [`Store::read`] and
//! [`Store::write`]. Nothing here is ever held across an await: calls are synchronous and short.
//!
//! ```
//! use portcullis::store::{Schema, Store, StoreError};
//!
//! const NOTES: Schema = Schema { room: "notes", steps: &["CREATE TABLE notes (text TEXT NOT NULL) STRICT"] };
//! let store = Store::in_memory()?;
//! store.migrate(&NOTES)?;
//! store.write(|tx| Ok::<_, StoreError>(tx.execute("INSERT INTO notes VALUES ('hello')", [])?))?;
//! # Ok::<(), StoreError>(())
//! ```

use std::fs::{DirBuilder, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};

/// A handle on the store; cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    connection: Arc<Mutex<Connection>>,
}

/// The tables of one room, as the steps that lead to them. A step that was released never changes: append.
#[derive(Debug, Clone, Copy)]
pub struct Schema {
    /// The room's name.
    pub room: &'static str,
    /// SQL scripts, run once each, in order.
    pub steps: &'static [&'static str],
}

/// Why the store can't be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file or its folder can't be made.
    #[error("the store `{path}` can't be made")]
    File {
        /// Which.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// SQLite can't open the file.
    #[error("the store `{path}` can't be opened; if it is damaged, restore it from a backup")]
    Open {
        /// Which.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// A newer program wrote the store.
    #[error(
        "the store's `{room}` tables are of version {found}; this program knows {known}: use a newer one"
    )]
    Newer {
        /// Whose tables.
        room: &'static str,
        /// The version in the file.
        found: u32,
        /// The newest version known here.
        known: u32,
    },
    /// A statement failed.
    #[error("the store failed")]
    Sql(#[from] rusqlite::Error),
}

impl Store {
    /// Opens the store at `path`, and makes it (mode 0600, in a folder of mode 0700) if it isn't there.
    ///
    /// # Errors
    /// Names the file and what failed.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        make_private(path).map_err(|source| StoreError::File { path: path.to_owned(), source })?;
        let connection = Connection::open(path).and_then(configured);
        let connection = connection.map_err(|source| StoreError::Open { path: path.to_owned(), source })?;
        Ok(Self { connection: Arc::new(Mutex::new(connection)) })
    }

    /// A store that lives as long as its last handle: for simulations and tests.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn in_memory() -> Result<Self, StoreError> {
        let connection = configured(Connection::open_in_memory()?)?;
        Ok(Self { connection: Arc::new(Mutex::new(connection)) })
    }

    /// Brings a room's tables to their newest version, all or nothing.
    ///
    /// # Errors
    /// When a newer program wrote them, or a step fails.
    pub fn migrate(&self, schema: &Schema) -> Result<(), StoreError> {
        self.write(|tx| {
            tx.execute_batch(VERSIONS)?;
            let found: Option<u32> = tx
                .query_row("SELECT version FROM schema_version WHERE room = ?1", [schema.room], |row| {
                    row.get(0)
                })
                .optional()?;
            let found = found.unwrap_or(0);
            let known = u32::try_from(schema.steps.len()).unwrap_or(u32::MAX);
            if found > known {
                return Err(StoreError::Newer { room: schema.room, found, known });
            }
            for step in schema.steps.iter().skip(usize::try_from(found).unwrap_or(usize::MAX)) {
                tx.execute_batch(step)?;
            }
            tx.execute("INSERT OR REPLACE INTO schema_version VALUES (?1, ?2)", (schema.room, known))?;
            Ok(())
        })
    }

    /// Reads, seeing one state throughout.
    ///
    /// # Errors
    /// What `work` says, or that SQLite failed.
    pub fn read<T, E: From<StoreError>>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut connection = self.lock();
        let tx = connection.transaction_with_behavior(TransactionBehavior::Deferred);
        let tx = tx.map_err(StoreError::Sql)?;
        work(&tx)
    }

    /// Writes, all or nothing: an error from `work` rolls back. Durable once this returns.
    ///
    /// # Errors
    /// What `work` says, or that SQLite failed.
    pub fn write<T, E: From<StoreError>>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut connection = self.lock();
        let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate);
        let tx = tx.map_err(StoreError::Sql)?;
        let value = work(&tx)?;
        tx.commit().map_err(StoreError::Sql)?;
        Ok(value)
    }

    /// A panic inside `work` rolls its transaction back on the way out, so a poisoned lock hides nothing.
    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes the file before SQLite does, because SQLite would make it readable to others. Its side files (`-wal`,
/// `-shm`) take the rights of the file.
fn make_private(path: &Path) -> std::io::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    file.set_permissions(PermissionsExt::from_mode(0o600))
}

fn configured(connection: Connection) -> rusqlite::Result<Connection> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    Ok(connection)
}

const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
const VERSIONS: &str = "CREATE TABLE IF NOT EXISTS schema_version \
                        (room TEXT PRIMARY KEY, version INTEGER NOT NULL) STRICT";

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Schema = Schema { room: "t", steps: &["CREATE TABLE t (x INTEGER NOT NULL) STRICT"] };
    const TWO: Schema = Schema {
        room: "t",
        steps: &["CREATE TABLE t (x INTEGER NOT NULL) STRICT", "ALTER TABLE t ADD COLUMN y TEXT"],
    };

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn only_its_owner_can_read_the_file_its_side_files_and_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/portcullis.db");
        let store = Store::open(&path).unwrap();
        store.migrate(&ONE).unwrap();
        assert_eq!(mode(&folder.path().join("state")), 0o700);
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(&folder.path().join("state/portcullis.db-wal")), 0o600);
    }

    #[test]
    fn what_was_written_is_there_after_a_restart_and_steps_run_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.db");
        let store = Store::open(&path).unwrap();
        store.migrate(&ONE).unwrap();
        store.write(|tx| Ok::<_, StoreError>(tx.execute("INSERT INTO t VALUES (7)", [])?)).unwrap();
        drop(store);
        let store = Store::open(&path).unwrap();
        store.migrate(&TWO).unwrap();
        store.migrate(&TWO).unwrap();
        let (x, y): (i64, Option<String>) = store
            .read(|c| {
                Ok::<_, StoreError>(c.query_row("SELECT x, y FROM t", [], |r| Ok((r.get(0)?, r.get(1)?)))?)
            })
            .unwrap();
        assert_eq!((x, y), (7, None));
    }

    #[test]
    fn tables_of_a_newer_program_are_refused() {
        let store = Store::in_memory().unwrap();
        store.migrate(&TWO).unwrap();
        let error = store.migrate(&ONE).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the store's `t` tables are of version 2; this program knows 1: use a newer one"
        );
    }

    #[test]
    fn an_error_and_a_panic_roll_back() {
        let store = Store::in_memory().unwrap();
        store.migrate(&ONE).unwrap();
        let failed: Result<(), StoreError> = store.write(|tx| {
            tx.execute("INSERT INTO t VALUES (1)", [])?;
            tx.execute("INSERT INTO t VALUES (NULL)", [])?;
            Ok(())
        });
        failed.unwrap_err();
        let other = store.clone();
        let panicked = std::thread::spawn(move || {
            other.write(|tx| -> Result<(), StoreError> {
                tx.execute("INSERT INTO t VALUES (2)", [])?;
                panic!("a bug")
            })
        });
        panicked.join().unwrap_err();
        let count: i64 = store
            .read(|c| Ok::<_, StoreError>(c.query_row("SELECT count(*) FROM t", [], |row| row.get(0))?))
            .unwrap();
        assert_eq!(count, 0);
    }

    #[test]
    fn a_file_that_is_no_database_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.db");
        std::fs::write(&path, "this is a shopping list, and not a short one: milk, bread").unwrap();
        let error = Store::open(&path).unwrap_err();
        assert!(error.to_string().contains("s.db"), "{error}");
    }
}
