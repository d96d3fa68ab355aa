//! A write from BEGIN to COMMIT: all its statements in one transaction, each with checks of its own, and all of it
//! undone where one of them fails.

use std::sync::Arc;

use crate::gate::{Authorized, Gate, Outcome, Receipt, Run, RunMode, RunStep, Running};
use crate::identity::Identity;
use crate::sql::Facts;
use crate::store::StoreError;

use super::super::Link;
use super::collector::Collector;
use super::conversation::{Conversation, Overseer, refused, tag_counts_all};
use super::{RunError, RunResult};

/// Who must know the transaction's id before COMMIT is sent, so that the database can be asked later what became of it.
pub trait Witness: Sync {
    /// Notes it. COMMIT is not sent if that fails.
    ///
    /// # Errors
    /// When it can't be noted durably.
    fn note(&self, transaction: u64) -> Result<(), StoreError>;
}

/// What a write did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The result of each statement, in order.
    pub results: Vec<RunResult>,
    /// Rows affected by all of them.
    pub affected: u64,
}

/// A statement that ran, in a transaction that is still open.
#[derive(Debug)]
struct Ran {
    receipt: Receipt,
    collector: Collector,
    facts: Arc<Facts>,
}

/// Runs the statements of an admitted write in one transaction, in order. The link is used up: drop it afterwards. If
/// this future is dropped, a statement may still be running.
///
/// It is rolled back if more rows are affected than its mode allows, by all statements together. What counts is the
/// command tag of INSERT, UPDATE, DELETE and MERGE; where rows can change without being in a tag (a data-modifying WITH, a
/// function that is called), the server's own count of this transaction.
///
/// `gate` is asked on behalf of `who` whether results may go on, as it is at the wire door.
///
/// # Errors
/// See [`RunError`].
pub async fn write(
    link: &mut Link,
    proof: Authorized<Run>,
    gate: &Gate,
    who: &Identity,
    witness: Option<&dyn Witness>,
) -> Result<Written, RunError> {
    let allowed = match proof.act().mode {
        RunMode::Write { max_affected } => max_affected,
        RunMode::Read { .. } => Some(0),
    };
    let steps = proof.into_steps();
    let mut transaction = Transaction {
        conversation: Conversation::on(link, Overseer { gate, who }),
        ran: Vec::new(),
        allowed,
    };
    let done = transaction.perform(steps, witness).await;
    transaction.conversation.part(done.as_ref().err()).await;
    transaction.settle(done)
}

/// The transaction of one write.
#[derive(Debug)]
struct Transaction<'a> {
    conversation: Conversation<'a>,
    ran: Vec<Ran>,
    allowed: Option<u64>,
}

impl Transaction<'_> {
    /// Runs `steps` and commits; returns how many rows are affected.
    async fn perform(&mut self, steps: Vec<RunStep>, witness: Option<&dyn Witness>) -> Result<u64, RunError> {
        let mut steps = steps.into_iter();
        let mut ready = self.conversation.begin(RunMode::Write { max_affected: self.allowed }).await;
        for step in steps.by_ref() {
            if ready.is_err() {
                step.skip(&Outcome::Skipped);
                continue;
            }
            ready = self.step(step).await;
        }
        ready?;
        let affected = self.affected().await?;
        if let Some(witness) = witness {
            let transaction = self.conversation.transaction().await?;
            witness.note(transaction).map_err(RunError::Unwitnessed)?;
        }
        if let Some(last) = self.ran.last() {
            self.conversation.commit(&last.collector).await?;
        }
        Ok(affected)
    }

    async fn step(&mut self, step: RunStep) -> Result<(), RunError> {
        if let Some(guard) = step.guard()
            && let Err(error) = self.conversation.hold(guard).await
        {
            let is_stopped = matches!(error, RunError::Stopped(_));
            step.skip(&if is_stopped { error.outcome() } else { Outcome::Skipped });
            return Err(error);
        }
        let Running { release, receipt, facts, limits, ends_session: _, course, change: _, warning: _ } =
            self.conversation.outbox().run(step, 0);
        let mode = RunMode::Write { max_affected: self.allowed };
        let mut collector = Collector::new(release, limits, receipt.decision_id(), mode).on(course);
        let done = match self.allowed.filter(|_| facts.kind == "truncate") {
            Some(_) => {
                self.conversation.outbox().take();
                Err(refused(
                    "TRUNCATE does not tell how many rows it removes",
                    "use DELETE, or set no limit on affected rows",
                ))
            }
            None => self.conversation.within(limits.time_ms).run_in_time(&mut collector).await,
        };
        let receipt = receipt.with_findings(collector.findings());
        self.ran.push(Ran { receipt, collector, facts });
        done?;
        match self.allowed {
            Some(allowed) if self.tagged() > allowed => {
                Err(RunError::TooManyAffected { affected: self.tagged(), allowed })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Rows affected so far, by the command tags.
    fn tagged(&self) -> u64 {
        self.ran.iter().fold(0, |sum: u64, ran| sum.saturating_add(ran.collector.affected()))
    }

    /// Rows affected by all, if there may be so many.
    async fn affected(&mut self) -> Result<u64, RunError> {
        let tagged = self.tagged();
        let Some(allowed) = self.allowed else { return Ok(tagged) };
        if self.ran.iter().all(|ran| tag_counts_all(&ran.facts)) {
            return Ok(tagged);
        }
        let affected = self.conversation.rows_changed().await?.max(tagged);
        if affected > allowed { Err(RunError::TooManyAffected { affected, allowed }) } else { Ok(affected) }
    }

    /// Tells the ledger what became of each statement.
    fn settle(self, done: Result<u64, RunError>) -> Result<Written, RunError> {
        let last = self.ran.len().saturating_sub(1);
        match done {
            Ok(affected) => {
                let only = self.ran.len() == 1;
                let result = |mut ran: Ran| {
                    if only {
                        ran.collector.count(affected);
                    }
                    let bytes = ran.collector.bytes();
                    let result = ran.collector.into_result();
                    let rows = u64::try_from(result.rows.len()).unwrap_or(u64::MAX);
                    ran.receipt.settle(&Outcome::Completed { tag: result.tag.clone() }, rows, bytes);
                    result
                };
                Ok(Written { results: self.ran.into_iter().map(result).collect(), affected })
            }
            Err(error) => {
                let is_unknown = matches!(error, RunError::Unknown(_));
                for (index, ran) in self.ran.into_iter().enumerate() {
                    let outcome =
                        if index == last || is_unknown { error.outcome() } else { Outcome::RolledBack };
                    ran.receipt.settle(&outcome, 0, 0);
                }
                Err(error)
            }
        }
    }
}
