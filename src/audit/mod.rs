//! The ledger: what everyone asked for and what became of it, as hash-chained JSON lines.
//!
//! A decision is durable before its statement leaves. One process writes; anyone can verify. The room never
//! decides, and its failure is a denial: [`Ledger::append`] returns a result that the gate must look at.
//! It is not logging: `tracing` may lose a line, the ledger may not.

pub mod ledger;
pub mod record;

pub use ledger::{Ledger, LedgerError, Receipt};
pub use record::{Event, Record, StatementRecord};
