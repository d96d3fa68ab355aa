//! `portcullis demo`: a throw-away PostgreSQL with sample data, and the gateway before it.

pub mod cluster;
pub mod shop;
