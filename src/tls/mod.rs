//! TLS on both legs: rustls with ring, and nothing else.
//!
//! The room builds configurations and judges certificates. It opens no socket and knows no protocol of PostgreSQL's.

pub mod client;
pub mod end_point;
