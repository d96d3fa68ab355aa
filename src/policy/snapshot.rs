//! Policies, data and identities as one immutable thing, and the decisions it makes.

use super::{ApprovalDecision, ApprovalInput, Decision, SessionDecision, SessionInput, StatementInput};

/// One file of a rulebook: `.rego` or `.json`.
#[derive(Debug, Clone)]
pub struct Source {
    /// The path below the rulebook's folder, with `/`.
    pub path: String,
    /// The text.
    pub text: String,
}

/// A rulebook that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {what}")]
pub struct RulebookError {
    /// The file below the rulebook's folder.
    pub file: String,
    /// The line, from 1; 0 where none applies.
    pub line: usize,
    /// What is wrong and what would be right.
    pub what: String,
}

/// A rulebook in force.
#[derive(Debug)]
pub struct Snapshot {
    revision: String,
}

impl Snapshot {
    /// Builds a snapshot from a rulebook's files and the identities (`data.agents`). Test files
    /// (`*_test.rego`) are left out.
    ///
    /// # Errors
    /// Names the first file and line that can't be used.
    pub fn build(sources: &[Source], agents: &serde_json::Value) -> Result<Self, RulebookError> {
        let _ = (sources, agents);
        Ok(Self { revision: String::new() })
    }

    /// The digest over policies, data and identities.
    #[must_use]
    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// Decides on one statement. Whatever goes wrong is a deny.
    #[must_use]
    pub fn decide(&self, input: &StatementInput<'_>) -> Decision {
        let _ = input;
        Decision {
            effect: super::Effect::Deny,
            reasons: Vec::new(),
            masks: crate::mask::Masks::default(),
            limits: super::Limits::default(),
            revision: self.revision.clone(),
        }
    }

    /// Decides whether an identity may use a database, and by which upstream role.
    #[must_use]
    pub fn session(&self, input: &SessionInput<'_>) -> SessionDecision {
        let _ = input;
        SessionDecision { allow: false, reasons: Vec::new(), role: None, revision: self.revision.clone() }
    }

    /// Decides whether a person may decide on a request.
    #[must_use]
    pub fn approval(&self, input: &ApprovalInput<'_>) -> ApprovalDecision {
        let _ = input;
        ApprovalDecision { eligible: false, reasons: Vec::new(), revision: self.revision.clone() }
    }
}
