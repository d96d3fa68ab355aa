//! Masks: what an identity sees instead of a governed column.
//!
//! Masking happens at the source: [`rewrite::rewrite`] replaces each governed table by a subselect that gives the mask
//! under the governed column's name, and names the column itself only where the mask is computed from it, so predicates,
//! joins, aggregates and errors see only the mask, but for aggregates that policy releases. [`verify`] then
//! checks the result before its first row leaves, and rows reach a client only as [`release::Released`].
//! The room never asks policy and never talks to a server.

mod aggregates;
mod columns;
mod copy;
pub mod detect;
mod expression;
mod governance;
mod grouping;
mod groups;
mod guard;
mod held;
mod key;
mod proof;
mod reads;
pub mod release;
mod returning;
pub mod rewrite;
pub mod rows;
mod scope;
pub mod selector;
pub mod strategy;
mod survey;
#[cfg(test)]
mod tests;
pub mod verify;
mod views;
mod walk;
mod wrapper;
mod writes;

pub use aggregates::{Aggregate, GroupRelease};
pub use detect::Detectors;
pub use governance::Governed;
pub use guard::Guard;
pub use held::NOT_IN_FORCE;
pub use key::Key;
pub use release::{Release, Released, STEP_BYTES, STEP_ROWS, Stop};
pub use rewrite::{Plan, Refusal, Rewritten, rewrite, rewrite_as};
pub use rows::{RowFilters, RowGrants, RowValues, Rows};
pub use selector::Selector;
pub use strategy::{Mask, Masks, Strategy};
pub use verify::{Field, Mismatch};
