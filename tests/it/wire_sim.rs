//! Wire sessions without sockets: the pure session, a real gate on an in-memory ledger and store, and a
//! PostgreSQL that is made of a few rules. `transcripts` plays flows byte by byte, `random` plays many at once
//! in a random order that a seed repeats,
//! and `cuts` ends and bends what they say at every byte.

mod cuts;
mod messages;
mod postgres;
mod random;
mod records;
pub(crate) mod rig;
mod states;
mod transcripts;
