//! The people's window: approvals, sessions and the ledger, as pages without scripts and as a JSON API.
