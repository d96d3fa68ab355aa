//! One binary for all integration tests: linking is what takes the time.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "tests"
)]

mod cells;
mod cli;
mod clients;
mod compile_fail;
mod conformance;
mod console;
mod control;
mod cookbook;
mod doctor;
mod doors;
mod facts;
mod faults;
mod fuzz;
mod house;
mod identity;
mod ledger;
mod masks;
mod mcp;
mod oidc;
mod parity;
mod policy_tools;
mod rows;
mod rulebook;
mod support;
mod tour;
mod transparent;
mod upstream;
mod wire_real;
mod wire_sim;
