//! Logs: one JSON or text line an event on standard error. Never SQL literals or row values above `trace`.
