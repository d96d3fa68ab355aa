//! PostgreSQL's frontend/backend protocol, version 3: bytes only, no I/O, no decisions.
//! Source: PostgreSQL documentation, chapter "Frontend/Backend Protocol".

pub mod backend;
pub mod frame;
pub mod frontend;
pub mod sqlstate;
pub mod startup;
