//! The people's window: approvals, sessions and the ledger, as pages without scripts and as a JSON API.

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;

use crate::gate::Gate;

/// What an operator may set about the console.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The ledger's folder.
    pub ledger_dir: PathBuf,
}

/// The console's HTTP service.
pub fn router(_gate: Arc<Gate>, _settings: Settings) -> Router {
    Router::new()
}
