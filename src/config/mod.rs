//! The configuration: as written, and as meant.
