//! The desk: requests for approval, and what people said to them.
//!
//! A request is bound to a digest of exactly what was asked ([`Digest`]), is spent at most once, expires, and
//! is never decided by who asked. The desk keeps it in the store, so it survives a restart. The room does not
//! judge: who may decide is policy's business, and the gate asks it.

pub mod desk;
pub mod request;
mod table;
#[cfg(test)]
mod tests;

pub use desk::{Desk, DeskError, Resolution};
pub use request::{Approval, ApprovalId, Digest, NewRequest, Request, State, Vote};
