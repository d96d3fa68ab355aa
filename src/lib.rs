//! Portcullis: governed access to PostgreSQL for AI agents and people.
//!
//! One process stands between PostgreSQL and everyone who queries it. People and programs come in by the
//! PostgreSQL wire protocol ([`wire`]), agents by MCP tools ([`mcp`]); both pass one [`gate`].
//!
//! # The house
//!
//! A room imports lower floors only. `tests/house.rs` holds the table below against the code.
//!
//! | floor | rooms |
//! |---|---|
//! | 11 | `cli` |
//! | 10 | `serve` |
//! | 9 | `config` |
//! | 8 | `wire` `mcp` `console` |
//! | 7 | `upstream` `control` |
//! | 6 | `gate` |
//! | 5 | `audit` `approval` |
//! | 4 | `policy` |
//! | 3 | `mask` |
//! | 2 | `store` `sql` `identity` |
//! | 1 | `catalog` `protocol` `jws` `clock` `flow` `tls` `tcp` `telemetry` |

pub mod approval;
pub mod audit;
pub mod catalog;
pub mod cli;
pub mod clock;
pub mod config;
pub mod console;
pub mod control;
pub mod flow;
pub mod gate;
pub mod identity;
pub mod jws;
pub mod mask;
pub mod mcp;
pub mod policy;
pub mod protocol;
pub mod runs;
pub mod serve;
pub mod sql;
pub mod store;
pub mod tcp;
pub mod telemetry;
pub mod tls;
pub mod upstream;
pub mod wire;
