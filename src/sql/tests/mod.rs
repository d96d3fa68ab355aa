//! SQL and the facts that it must give, on a small shop without a server.

mod commands;
mod depth;
mod differentials;
mod modifications;
mod naming;
mod queries;
mod shop;
mod tautologies;
mod views;
