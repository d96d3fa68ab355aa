//! The ledger: what everyone asked for and what became of it, as hash-chained JSON lines.
//!
//! A decision is durable before its statement leaves. One process writes; anyone can verify. The room never
//! decides, and its failure is a denial: [`Ledger::append`] returns a result that the gate must look at.
//! It is not logging: `tracing` may lose a line, the ledger may not. The format of a line is at [`chain`].
//!
//! ```
//! use portcullis::audit::{Ledger, Memory};
//!
//! let disk = Memory::default();
//! let ledger = Ledger::inline(disk.clone());
//! disk.fail(true);
//! assert!(ledger.failure().is_none(), "nothing was asked of the disk yet");
//! ```

pub mod chain;
mod combine;
mod folder;
pub mod ledger;
pub mod record;
pub mod sink;
pub mod verify;
mod writer;

pub use chain::{Entry, Fault, hex, redact};
pub use ledger::{Durability, Ledger, LedgerError, OpenError, Receipt, Settings};
pub use record::{Event, Evidenced, Record, StatementRecord};
pub use sink::{Memory, Sink};
pub use verify::{Verified, VerifyError, each, tail, verify};

/// A record for tests: a session's opening, statements and their outcomes by turns.
#[cfg(test)]
fn sample(at: usize) -> Record {
    let mut record = writer::gateway(jiff::Timestamp::UNIX_EPOCH, format!("sample {at}"));
    if at % 2 == 1 {
        record.event = Event::Decided(Box::new(StatementRecord {
            via: "query".into(),
            statement: format!("UPDATE \"café\" SET x = '\t{at}'"),
            sent: String::new(),
            parameters: vec![Some("4111 1111".into()), None, Some(String::new())],
            facts_digest: smol_str::SmolStr::default(),
            command: "update".into(),
            decision: "allow".into(),
            rule: smol_str::SmolStr::default(),
            message: String::new(),
            revision: "r1".into(),
            approval_id: smol_str::SmolStr::default(),
            masked: [].into(),
            released: [].into(),
            detect: Vec::new(),
            row_filters: [].into(),
            max_rows: None,
            max_bytes: None,
            max_time_ms: None,
            labels: Vec::new(),
            place: smol_str::SmolStr::default(),
            input: None,
        }));
    }
    record
}

/// The records of a ledger's text, for tests.
#[cfg(test)]
fn read_all(text: &str) -> Vec<Record> {
    text.lines().map(|line| chain::read(line).expect("a sound line").record).collect()
}
