//! What a statement would really do, read with PostgreSQL's own grammar (libpg_query).
//!
//! [`Statement`] is text that has passed the door's caps. [`analyze()`] turns it into an [`Analysis`]: the tree,
//! and for each statement its [`Facts`], resolved against a catalog snapshot. The room never decides and never
//! rewrites. What it does not understand it says so (`unresolved`, `parse_ok`), and the gate denies it.
//!
//! Parsing is recursive: run [`analyze()`] on a thread with a stack of 32 MiB (the gate has a pool of them). Most
//! statements are shallow; [`analyze_shallow()`] takes those on any thread.

pub mod analyze;
pub mod facts;
pub mod naming;
mod nesting;
pub mod parameters;
pub mod star;
pub mod statement;
mod walk;

#[cfg(test)]
mod tests;

pub use analyze::{Analysis, AnalyzeError, Item, analyze, analyze_shallow};
pub use facts::Facts;
pub use naming::Naming;
pub use statement::{Statement, StatementError};
