//! A no, as data. Doors turn it into an ErrorResponse, a tool result or a page; the words are the same.

use jiff::Timestamp;

use crate::approval::ApprovalId;
use crate::policy::Reason;

/// Why an act was not admitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// What sort of no it is.
    pub kind: DenialKind,
    /// Ties the answer to the ledger; empty where no decision was made.
    pub decision_id: String,
    /// The reasons, most important first; never empty.
    pub reasons: Vec<Reason>,
    /// Whether the rulebook keeps bind values out of the ledger.
    pub redact_parameters: bool,
}

impl Denial {
    /// A denial with one reason.
    #[must_use]
    pub fn because(
        kind: DenialKind,
        rule: &str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        let reason = Reason { rule: rule.to_owned(), message: message.into(), hint: hint.into() };
        Self::of(kind, vec![reason])
    }

    /// A denial with several reasons, most important first.
    #[must_use]
    pub fn of(kind: DenialKind, reasons: Vec<Reason>) -> Self {
        Self { kind, decision_id: String::new(), reasons, redact_parameters: false }
    }

    /// The most important reason.
    #[must_use]
    pub fn reason(&self) -> Option<&Reason> {
        self.reasons.first()
    }
}

/// What a statement names that isn't there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// A table or view.
    Relation,
    /// A column.
    Column,
    /// A function.
    Function,
    /// A prepared statement.
    Statement,
    /// A cursor.
    Cursor,
    /// Anything else, or something that could not be understood.
    Other,
}

impl Missing {
    /// What the analyser calls `what` in `crate::sql::facts::Unresolved`.
    pub(super) fn of(what: &str) -> Self {
        match what {
            "relation" => Self::Relation,
            "column" => Self::Column,
            "function" => Self::Function,
            "prepared statement" => Self::Statement,
            "cursor" => Self::Cursor,
            _ => Self::Other,
        }
    }
}

/// The sorts of no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DenialKind {
    /// The rulebook says no.
    Policy,
    /// The text is not SQL.
    Syntax,
    /// The statement names what doesn't exist, or what this identity can't see.
    Unresolved(Missing),
    /// The statement touches a governed column in a way that can't be masked.
    Mask,
    /// It waits for approval, and the caller did not want to wait longer.
    Pending {
        /// The request.
        approval_id: ApprovalId,
        /// When the request lapses.
        expires_at: Timestamp,
        /// Where people decide on it.
        url: String,
    },
    /// Somebody said no, or nobody said anything in time, or the request was withdrawn.
    NotApproved,
    /// What was approved is no longer what would run.
    Changed,
    /// A prepared statement no longer fits the rulebook or the catalog: prepare it again.
    Stale,
    /// There is no such database, or it is not this identity's to use.
    Database,
    /// There is no such approval request.
    UnknownApproval,
    /// The gateway itself can't do its work (ledger, store, catalog): nothing runs.
    Unavailable,
    /// Too much at once.
    Overloaded,
}
