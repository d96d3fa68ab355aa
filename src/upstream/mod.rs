//! The back door: the only room that opens a socket to a governed database.
//!
//! Statements leave through an [`Outbox`], which takes proofs by value; the bytes it holds reach a socket by a
//! [`Link`] only. Our own constant SQL is the closed enum [`House`].

pub mod catalog;
pub mod connect;
pub mod discover;
pub mod doctor;
pub mod execute;
pub mod fate;
pub mod greeting;
mod handshake;
mod keys;
pub mod link;
mod opening;
pub mod outbox;
mod parameters;
mod pool;
pub mod rls;
mod route;
pub mod settings;
mod socket;
mod target;
mod timeout;

pub use connect::{ConnectError, Upstream};
pub use discover::Suspect;
pub use doctor::{Examination, ExamineError, Finding, Kind, Severity};
pub use execute::{Next, Parked, Reader, Row, RunError, RunResult, Witness, Written, execute, write};
pub use fate::{Fate, FateError};
pub use link::{Canceller, Link, LinkError};
pub use opening::BeginError;
pub use outbox::{Bound, House, Outbox};
pub use pool::Lease;
pub use rls::{RowError, RowPlan, Step};
pub use settings::{CONNECT_TIMEOUT, ChannelBinding, DatabaseSettings, RoleSettings, UpstreamUser};
