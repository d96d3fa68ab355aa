//! The rulebook: Rego over facts. Input in, decision out; no I/O, no clock, no state.
//!
//! A [`Snapshot`] holds policies, their data and the identities as one immutable thing; a decision uses one
//! snapshot from start to end. Everything that goes wrong in here is a deny with a reason.
//!
//! Decision points are Rego packages: `portcullis.session` (which upstream role), `portcullis.statement` (every
//! way a statement arrives), `portcullis.approval` (who may approve) and `portcullis.row_filter` (which rows anybody is
//! given by value). What a package may declare is written
//! down at [`decision`].

mod answer;
mod cache;
pub mod coverage;
pub mod decision;
pub mod deps;
pub mod input;
pub mod lint;
mod load;
mod nesting;
mod projection;
mod rows;
pub mod snapshot;
mod syntax;
pub mod testing;
mod tree;
mod vet;
mod vocabulary;

pub use decision::{ApprovalDecision, Decision, Effect, Limits, Reason, Requirement, SessionDecision};
pub use input::{ApprovalInput, SessionInput, StatementInput};
pub use projection::Digested;
pub use snapshot::{RulebookError, Snapshot, Source};
pub use vocabulary::input_schemas;

#[cfg(test)]
mod tests;
