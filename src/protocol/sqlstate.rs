//! SQLSTATE codes that the gateway itself uses.
