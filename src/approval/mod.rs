//! The desk: requests for approval, and what people said to them.
//!
//! A request is bound to a digest of exactly what was asked ([`Digest`]), is spent at most once, expires, and
//! is never decided by who asked. It is approved once every seat of its escalations is filled, by a person each, and ends
//! with the first no. The desk keeps it in the store with every vote, so it survives a restart. The room does not
//! judge: who may decide is policy's business, and the gate asks it; which votes fill which seats is counted by policy's own
//! [`crate::policy::quorum`].

pub mod desk;
pub mod request;
mod table;
#[cfg(test)]
mod tests;

pub use desk::{Desk, DeskError, Resolution};
pub use request::{Approval, ApprovalId, Ballot, Digest, NewRequest, Request, State, ToolCall, Vote};
