//! Builds every room once, and owns start and shutdown.
