//! A rulebook as it was in force, written down: with it a decision can be made again.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::snapshot::{RulebookError, Snapshot, Source};

/// Everything that decisions of one revision were made by, except tests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Archive {
    /// The revision, as records name it.
    pub revision: String,
    /// The files.
    pub sources: Vec<Source>,
    /// `data.agents`.
    pub agents: Value,
    /// What policy goes by for identities without a file; null where there are none.
    pub stranger: Value,
}

impl Archive {
    /// The rulebook again, which decides as it did.
    ///
    /// # Errors
    /// When it is not what it says it is, or can't be used by this version of the gateway.
    pub fn restore(self) -> Result<Snapshot, RulebookError> {
        let snapshot = Snapshot::build(&self.sources, &self.agents)?;
        if snapshot.revision() != self.revision {
            return Err(RulebookError {
                file: "(archive)".to_owned(),
                line: 0,
                what: format!(
                    "these files are of revision {}, not of {}: the archive was changed",
                    snapshot.revision(),
                    self.revision
                ),
            });
        }
        Ok(match self.stranger.is_null() {
            true => snapshot,
            false => snapshot.with_strangers(self.stranger),
        })
    }
}
