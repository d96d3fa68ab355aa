//! Loads catalog snapshots with constant SQL, over tokio-postgres.
