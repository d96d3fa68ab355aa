//! Wire sessions without sockets: the pure session, a real gate on an in-memory ledger and store, and a
//! PostgreSQL that is made of a few rules. `transcripts` plays flows byte by byte, `random` plays many at once
//! in a random order that a seed repeats.

mod postgres;
mod random;
pub(crate) mod rig;
mod transcripts;
