//! A no, as data. Doors turn it into an ErrorResponse, a tool result or a page; the words are the same.

use jiff::Timestamp;

use crate::approval::ApprovalId;
use crate::policy::{Decision, Reason};

use super::evidence::Evidence;

/// Why an act was not admitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// What sort of no it is.
    pub kind: DenialKind,
    /// Ties the answer to the ledger; empty where no decision was made.
    pub decision_id: String,
    /// The reasons, most important first; never empty.
    pub reasons: Vec<Reason>,
    /// What is not for the client; rarely anything.
    pub aside: Option<Box<Aside>>,
}

/// What a denial says to the gateway itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Aside {
    /// Reasons that are for the ledger only, most important first.
    pub(super) unshown: Vec<Reason>,
    /// Whether the rulebook keeps bind values out of the ledger.
    pub(super) redact_parameters: bool,
    /// Whether the session ends once this is answered.
    pub(super) ends_session: bool,
    /// What was decided on, where the rulebook was asked.
    pub(super) evidence: Option<Evidence>,
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
        let reason =
            Reason { rule: rule.to_owned(), message: message.into(), hint: hint.into(), ..Reason::default() };
        Self::of(kind, vec![reason])
    }

    /// A denial with several reasons, most important first. Where all are for the ledger only, the answer says that.
    #[must_use]
    pub fn of(kind: DenialKind, reasons: Vec<Reason>) -> Self {
        let (unshown, mut reasons): (Vec<_>, Vec<_>) = reasons.into_iter().partition(|reason| reason.private);
        if reasons.is_empty() {
            reasons.push(Reason {
                rule: "policy".to_owned(),
                message: "the rulebook does not allow this".to_owned(),
                hint: "the operator of the gateway finds the reason by the decision's id".to_owned(),
                ..Reason::default()
            });
        }
        let aside = (!unshown.is_empty()).then(|| Box::new(Aside { unshown, ..Aside::default() }));
        Self { kind, decision_id: String::new(), reasons, aside }
    }

    /// The same denial of what was decided on `evidence`.
    pub(super) fn on(mut self, evidence: Evidence, decision: &Decision) -> Self {
        let aside = self.aside.get_or_insert_default();
        aside.redact_parameters = decision.redact_parameters;
        aside.ends_session = decision.ends_session;
        aside.evidence = Some(evidence);
        self
    }

    /// The same denial, which ends the session too where something that was judged with it `ends` that.
    pub(super) fn ending(mut self, ends: bool) -> Self {
        if ends {
            self.aside.get_or_insert_default().ends_session = true;
        }
        self
    }

    /// The same denial, which has `reasons` that only the ledger hears of.
    pub(super) fn though(mut self, reasons: Vec<Reason>) -> Self {
        self.aside.get_or_insert_default().unshown.extend(reasons);
        self
    }

    /// What was decided on, where the rulebook was asked.
    pub(super) fn evidence(&self) -> Option<&Evidence> {
        self.aside.as_ref()?.evidence.as_ref()
    }

    /// Whether the rulebook keeps bind values out of the ledger; `None` where it was not asked, or could not say.
    pub(super) fn redacts(&self) -> Option<bool> {
        let is_error = self.reasons.iter().any(|reason| reason.rule == "policy_error");
        let aside = self.aside.as_ref().filter(|aside| aside.evidence.is_some() && !is_error)?;
        Some(aside.redact_parameters)
    }

    /// Whether the session ends once this is answered.
    #[must_use]
    pub fn ends_session(&self) -> bool {
        self.aside.as_ref().is_some_and(|aside| aside.ends_session)
    }

    fn unshown(&self) -> &[Reason] {
        self.aside.as_ref().map(|aside| aside.unshown.as_slice()).unwrap_or_default()
    }

    /// The reason for the ledger: one that is for it only comes first.
    pub(super) fn recorded(&self) -> Option<&Reason> {
        self.unshown().first().or_else(|| self.reason())
    }

    /// All reasons, those for the ledger only too: for whoever keeps the rulebook.
    #[must_use]
    pub fn every_reason(&self) -> Vec<Reason> {
        match self.unshown() {
            [] => self.reasons.clone(),
            unshown => {
                let shown = self.reasons.iter().filter(|reason| !reason.place.is_empty());
                unshown.iter().chain(shown).cloned().collect()
            }
        }
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
