//! Durable state, one handle: an embedded SQLite database in the state folder.

/// A handle on the store; cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {}
