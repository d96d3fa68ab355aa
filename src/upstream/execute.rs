//! One admitted [`Run`] from BEGIN to its end on a link of its own: what MCP tools call.

mod collector;
mod conversation;
mod reader;
mod writes;

use crate::gate::{Authorized, Gate, Outcome, Run, RunMode, Running};
use crate::identity::Identity;
use crate::protocol::sqlstate;

use super::{Link, LinkError};
use collector::Collector;
use conversation::{Conversation, Overseer};
pub use reader::{Next, Parked, Reader, Row};
pub use writes::{Witness, Written, write};

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
    /// The transaction's id could not be noted: nothing was changed.
    #[error("the gateway could not note the transaction before its COMMIT, so it was rolled back")]
    Unwitnessed(#[source] crate::store::StoreError),
    /// The connection broke before COMMIT was sent: nothing was changed.
    #[error("the connection to the database broke before the statement was committed; nothing was changed")]
    Broken(#[source] LinkError),
    /// The connection broke after COMMIT was sent: it may or may not have run.
    #[error("the connection to the database broke while committing; whether the statement ran is unknown")]
    Unknown(#[source] LinkError),
}

/// Runs an admitted read in a transaction of its own, which is not committed. The link is used up: drop it afterwards. If this future is
/// dropped, the statement may still be running: cancel it by the link's [`Canceller`](super::Canceller).
///
/// `gate` is asked on behalf of `who` whether the result may go on, as it is at the wire door.
///
/// # Errors
/// See [`RunError`].
pub async fn execute(
    link: &mut Link,
    proof: Authorized<Run>,
    gate: &Gate,
    who: &Identity,
) -> Result<RunResult, RunError> {
    let max_rows = match proof.act().mode {
        RunMode::Read { max_rows } => max_rows,
        RunMode::Write { .. } => 0,
    };
    let mode = RunMode::Read { max_rows };
    let mut conversation = Conversation::on(link, Overseer { gate, who });
    let mut ready = conversation.begin(mode).await;
    let mut steps = proof.into_steps().into_iter();
    let Some(step) = steps.next() else { return Err(conversation::refused("there is nothing to run", "")) };
    if let (Ok(()), Some(guard)) = (&ready, step.guard()) {
        ready = conversation.hold(guard).await;
    }
    if let Err(error) = ready {
        let is_stopped = matches!(error, RunError::Stopped(_));
        step.skip(&if is_stopped { error.outcome() } else { Outcome::Skipped });
        return Err(error);
    }
    // A tool brings no COMMIT, so nothing weaker ever runs in the place of what it brought.
    let Running { release, receipt, facts: _, limits, ends_session: _, course, change: _, warning: _ } =
        conversation.outbox().run(step, fetched_at_most(max_rows));
    let mut collector = Collector::new(release, limits, receipt.decision_id(), mode).on(course);
    let done = conversation.within(limits.time_ms).run_in_time(&mut collector).await;
    conversation.part(done.as_ref().err()).await;
    let receipt = receipt.with_findings(collector.findings());
    match done {
        Ok(()) => {
            let bytes = collector.bytes();
            let result = collector.into_result();
            let rows = u64::try_from(result.rows.len()).unwrap_or(u64::MAX);
            receipt.settle(&Outcome::Completed { tag: result.tag.clone() }, rows, bytes);
            Ok(result)
        }
        Err(error) => {
            receipt.settle(&error.outcome(), 0, 0);
            Err(error)
        }
    }
}

/// One row more than is wanted tells whether there are more.
fn fetched_at_most(max_rows: u64) -> u32 {
    u32::try_from(max_rows.saturating_add(1)).unwrap_or(MOST_FETCHED).min(MOST_FETCHED)
}

impl RunError {
    /// Whoever wanted it has gone.
    #[must_use]
    pub fn cancelled() -> Self {
        Self::Server {
            sqlstate: sqlstate::QUERY_CANCELED.to_owned(),
            message: "the call was cancelled".to_owned(),
            hint: String::new(),
        }
    }

    /// What the ledger keeps of it.
    fn outcome(&self) -> Outcome {
        match self {
            Self::Server { sqlstate, .. } => Outcome::Failed { sqlstate: sqlstate.clone() },
            Self::TooManyAffected { .. } | Self::Unwitnessed(_) => Outcome::Stopped { stop: None },
            Self::Stopped(stop) => Outcome::Stopped { stop: Some(stop.clone()) },
            Self::Broken(_) => Outcome::Failed { sqlstate: sqlstate::CONNECTION_FAILURE.to_owned() },
            Self::Unknown(_) => Outcome::Unknown,
        }
    }
}

/// The protocol's row limit is a signed number.
const MOST_FETCHED: u32 = i32::MAX.cast_unsigned();
