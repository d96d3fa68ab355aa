//! Prepared statements and portals, with their proofs.
