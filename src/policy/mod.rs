//! The rulebook: Rego over facts. Input in, decision out; no I/O, no clock, no state.
//!
//! A [`Snapshot`] holds policies, their data and the identities as one immutable thing; a decision uses one
//! snapshot from start to end. Everything that goes wrong in here is a deny with a reason.
//!
//! Decision points are Rego packages: `portcullis.connect` (before anybody has proved anything), `portcullis.session`
//! (on what terms an identity gets a session), `portcullis.statement` (every way a statement arrives), `portcullis.bind`
//! (the values of one), `portcullis.result` (what comes back), `portcullis.approval` (who may approve) and
//! `portcullis.row_filter` (which rows anybody is given by value). A package below one of these by one name is an add-on:
//! it may declare the same, and all is merged. What a package may declare is written down at [`decision`].

mod answer;
pub mod archive;
pub mod bundle;
mod cache;
pub mod coverage;
pub mod decision;
pub mod deps;
mod documents;
pub mod escalation;
mod grants;
pub mod input;
pub mod lint;
mod load;
mod nesting;
mod places;
mod project;
mod projection;
pub mod quorum;
pub mod rehearse;
mod rows;
pub mod snapshot;
mod syntax;
pub mod testing;
pub mod trace;
mod tree;
mod vet;
mod vocabulary;
mod warm;
mod zones;

pub use decision::{Alert, ApprovalDecision, Consent, Decision, Effect, Limits, Reason, SessionDecision};
pub use escalation::{BindTo, Escalation, Requirement, Seat};
pub use input::{ApprovalInput, ConnectInput, ResultInput, SessionInput, StatementInput};
pub use projection::{Digested, Reads, Wants};
pub use quorum::{Asker, Person, Progress, SeatProgress};
pub use snapshot::logging::{Edit, Editing};
pub use snapshot::{DecisionKey, Recalled, RulebookError, Snapshot, Source};
pub use vocabulary::input_schemas;

#[cfg(test)]
mod tests;
