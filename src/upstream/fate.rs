//! What became of a transaction whose COMMIT nobody heard the answer to.

use std::time::Duration;

use tokio::time::timeout;

use super::Upstream;
use super::catalog::{LoadError, session};
use super::target::Target;

/// What the database says of a transaction by its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It was committed.
    Committed,
    /// It was rolled back, or its session ended before COMMIT: nothing of it is left.
    RolledBack,
    /// It still runs.
    InProgress,
    /// The database no longer knows, or never knew it.
    Unknown,
}

/// Why the database could not be asked.
#[derive(Debug, thiserror::Error)]
#[error("database `{database}` can't be asked what became of transaction {transaction}: {why}")]
pub struct FateError {
    /// The database's name in the configuration.
    pub database: String,
    /// The transaction's id.
    pub transaction: u64,
    /// What failed, in words.
    pub why: String,
}

impl Upstream {
    /// What became of `transaction` (an `xid8`) on `database`.
    ///
    /// # Errors
    /// When there is no such database, or it doesn't answer.
    pub async fn fate(&self, database: &str, transaction: u64) -> Result<Fate, FateError> {
        let failed = |why: String| FateError { database: database.to_owned(), transaction, why };
        let target = self.target(database).ok_or_else(|| failed("there is no such database".to_owned()))?;
        match timeout(DEADLINE, ask(target, transaction)).await {
            Ok(asked) => asked.map_err(|error| failed(error.in_words())),
            Err(_) => Err(failed(LoadError::Late(DEADLINE).in_words())),
        }
    }
}

async fn ask(target: &Target, transaction: u64) -> Result<Fate, LoadError> {
    let credential = target.settings().credentials().next();
    let Some(credential) = credential else { return Ok(Fate::Unknown) };
    let client = session::open(target, credential, &[]).await?;
    // A server that was restored from a copy may be behind: to that, the transaction lies in the future.
    let row = client.query_one(STATUS, &[&transaction.to_string()]).await?;
    let status: Option<String> = row.try_get(0)?;
    Ok(match status.as_deref() {
        Some("committed") => Fate::Committed,
        Some("aborted") => Fate::RolledBack,
        Some("in progress") => Fate::InProgress,
        _ => Fate::Unknown,
    })
}

/// `pg_xact_status` fails for what lies in the future, so that is not asked.
const STATUS: &str = "\
    SELECT CASE WHEN $1::pg_catalog.text::pg_catalog.xid8 \
        OPERATOR(pg_catalog.<) pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot()) \
    THEN pg_catalog.pg_xact_status($1::pg_catalog.text::pg_catalog.xid8) END";

const DEADLINE: Duration = Duration::from_secs(10);
