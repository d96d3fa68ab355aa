//! The identities in force.

/// All identities, as loaded from `agents/*.toml`: immutable, replaced as a whole.
#[derive(Debug, Default)]
pub struct Directory {}
