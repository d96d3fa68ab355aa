//! The identities in force.
