//! Tools against a real database.
