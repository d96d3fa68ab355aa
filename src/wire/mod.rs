//! Door 1: the PostgreSQL wire protocol. psql, drivers and programs connect as if this were PostgreSQL.
//!
//! [`startup`], [`session`], [`portals`] and [`replies`] are pure state machines over frames; [`drive`] is the
//! only file that awaits. The room names the gate and the outbox, never policy.

pub mod drive;
pub mod listener;
mod portals;
pub mod refusals;
pub mod replies;
pub mod session;
pub mod startup;
