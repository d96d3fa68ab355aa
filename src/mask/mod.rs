//! Masks: what an identity sees instead of a governed column.
//!
//! Masking happens at the source: [`rewrite::rewrite`] replaces each governed table by a subselect that never
//! names the governed column, so predicates, joins, aggregates and errors see only the mask. [`verify`] then
//! checks the result before its first row leaves, and rows reach a client only as [`release::Released`].
//! The room never asks policy and never talks to a server.

pub mod release;
pub mod rewrite;
pub mod strategy;
pub mod verify;

pub use release::{Release, Released, Stop};
pub use rewrite::{Plan, Refusal, Rewritten, rewrite};
pub use strategy::{Masks, Strategy};
pub use verify::{Field, Mismatch};
