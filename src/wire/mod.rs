//! Door 1: the PostgreSQL wire protocol. psql, drivers and programs connect as if this were PostgreSQL.
//!
//! [`startup`], [`session`] with its `portals`, [`replies`] and [`refusals`] are pure state machines and tables
//! over frames; [`listener`], `handshake`, `drive` and `cancel` are the files that await. The room names the gate and the
//! outbox, never policy.

mod cancel;
mod deadlines;
mod drive;
mod guards;
mod handshake;
mod lanes;
pub mod listener;
mod places;
mod portals;
pub mod refusals;
pub mod replies;
pub mod session;
mod settings;
pub mod startup;
mod stopwatch;
mod stream;

pub use listener::Wire;
pub use settings::Settings;
pub use startup::Auth;
