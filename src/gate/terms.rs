//! What an approver says yes to besides the text.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::mask::Detectors;
use crate::policy::Limits;

use super::judge::Verdict;

impl Verdict {
    /// The parts that hold beside a request: if one of [`PARTS`] changes, the yes no longer holds.
    pub(super) fn terms(&self) -> Value {
        let limits: Vec<Limits> = self.rulings.iter().map(|ruling| ruling.decision.limits).collect();
        let masked: Vec<&Arc<[String]>> = self.rulings.iter().map(|ruling| &ruling.masked).collect();
        let detect: Vec<Detectors> = self.rulings.iter().map(|ruling| ruling.decision.detect).collect();
        let filters: Vec<&Arc<[String]>> = self.rulings.iter().map(|ruling| &ruling.filters).collect();
        let released: Vec<_> = self.rulings.iter().map(|ruling| &ruling.rewritten.plan.released).collect();
        json!({
            "sent": self.sql(),
            "limits": limits,
            "masked": masked,
            "released": released,
            "row_filters": filters,
            "detect": detect,
            "runs": self.runs(),
        })
    }

    /// What is looked for in its results.
    pub(super) fn detectors(&self) -> Detectors {
        self.rulings.iter().fold(Detectors::default(), |all, ruling| all.and(ruling.decision.detect))
    }
}

/// The names of the parts.
pub(super) const PARTS: [&str; 7] = ["sent", "limits", "masked", "released", "row_filters", "detect", "runs"];
