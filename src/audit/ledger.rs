//! The writer.

use super::Record;

/// A handle on the ledger; cheap to clone.
#[derive(Debug, Clone)]
pub struct Ledger {}

/// Proof that a record is on disk (or handed to the operating system, with `durability = "os"`).
#[derive(Debug)]
#[must_use]
pub struct Receipt {
    sequence: u64,
}

impl Receipt {
    /// The record's number in the chain, from 1.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }
}

/// Why a record could not be kept.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LedgerError {
    /// The disk refused.
    #[error("the ledger can't be written: {why}")]
    Write {
        /// What the operating system said.
        why: String,
    },
    /// The writer is gone.
    #[error("the ledger is closed")]
    Closed,
    /// Too many records are waiting.
    #[error("the ledger is too busy: {waiting} records are waiting")]
    Busy {
        /// How many.
        waiting: usize,
    },
}

impl Ledger {
    /// Appends `record` and returns once it is durable.
    ///
    /// # Errors
    /// When it could not be made durable; then the statement must not leave.
    pub async fn append(&self, record: Record) -> Result<Receipt, LedgerError> {
        let _ = record;
        Err(LedgerError::Closed)
    }

    /// Appends `record` without waiting, for what has happened already (outcomes). A failure shows in
    /// [`Ledger::failure`] and fails the next [`Ledger::append`].
    pub fn note(&self, record: Record) {
        drop(record);
    }

    /// What is wrong with the ledger now, if anything.
    #[must_use]
    pub fn failure(&self) -> Option<LedgerError> {
        None
    }
}
