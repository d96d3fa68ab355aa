//! PostgreSQL's frontend/backend protocol, version 3: bytes only, no I/O, no decisions.
//! Source: PostgreSQL documentation, chapter "Frontend/Backend Protocol".
//!
//! A [`frame`] is cut from a stream under a cap on its length, and row data leaves it as a [`run`]; [`frontend`] and [`startup`] read what clients
//! send, [`backend`] writes what they get, [`results`] reads what a server sends. Every count and length is
//! checked against the bytes that are there: a peer's numbers never decide how much is allocated.

pub mod backend;
pub mod body;
pub mod frame;
pub mod frontend;
pub mod results;
pub mod run;
pub mod sqlstate;
pub mod startup;
