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

/// What makes a result that `then` allowed show more, or more of it, than what holds `now`. Ceilings and detectors that
/// were stricter then do no harm.
pub(super) fn differing(then: &Verdict, now: &Verdict) -> Vec<&'static str> {
    let (before, after) = (then.terms(), now.terms());
    let is_same = |part: &&str| before.get(*part) == after.get(*part);
    let mut differing: Vec<&'static str> = SHOWING.into_iter().filter(|part| !is_same(part)).collect();
    let rulings = || then.rulings.iter().zip(&now.rulings);
    if rulings().any(|(then, now)| then.decision.limits.and(now.decision.limits) != then.decision.limits) {
        differing.push("limits");
    }
    if rulings().any(|(then, now)| then.decision.detect.and(now.decision.detect) != then.decision.detect) {
        differing.push("detect");
    }
    differing
}

/// The parts that have to be the same for what is shown to be the same.
const SHOWING: [&str; 5] = ["sent", "masked", "released", "row_filters", "runs"];
/// The names of the parts.
pub(super) const PARTS: [&str; 7] = ["sent", "limits", "masked", "released", "row_filters", "detect", "runs"];
