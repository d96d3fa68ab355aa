//! The wait for people, and what holds afterwards.

use jiff::Timestamp;
use smol_str::SmolStr;

use crate::approval::desk::Resolution;
use crate::approval::{Approval, ApprovalId, DeskError, Digest, NewRequest, Request, ToolCall};
use crate::identity::Identity;
use crate::policy::input::ApprovalEvidence;
use crate::policy::{BindTo, Requirement};

use super::admit::exact;
use super::journal::{Scene, approval_changed};
use super::judge::{Case, Verdict, Via};
use super::terms::PARTS;
use super::{Denial, DenialKind, Gate, Hold, Parameters, Patience, Tell};

/// A string that may run, with the approval that it runs on.
#[derive(Debug)]
pub(super) struct Passed {
    pub(super) verdict: Verdict,
    pub(super) approval: Option<Approval>,
}

/// What an escalation needs besides the case.
pub(super) struct Errand<'a> {
    /// Who asks.
    pub(super) who: &'a Identity,
    /// How to speak to the requester.
    pub(super) tell: &'a dyn Tell,
    /// The decision's id.
    pub(super) decision_id: &'a SmolStr,
    /// Who and where, for the ledger.
    pub(super) scene: &'a Scene,
    /// What the requester says it is for.
    pub(super) purpose: &'a str,
}

/// Bind values as they came in.
#[derive(Debug, Clone, Copy)]
pub(super) enum Values<'a> {
    /// There can't be any.
    None,
    /// Of a Bind or a FunctionCall.
    Bound(&'a Parameters),
    /// Of a tool's call: a list for each statement.
    Called(&'a [Vec<Option<String>>]),
}

impl Values<'_> {
    /// Those of statement `index` alone.
    pub(super) fn of(self, index: usize) -> Self {
        match self {
            Self::Called(lists) => Self::Called(lists.get(index..=index).unwrap_or_default()),
            Self::None | Self::Bound(_) => self,
        }
    }

    /// The bytes of the (first) statement's value called `$number`, as text in either format where its type is one of text; `None` where
    /// there is none, and `Some(None)` where it is NULL.
    pub(super) fn text(&self, number: usize) -> Option<Option<&[u8]>> {
        let index = number.checked_sub(1)?;
        match self {
            Self::None => None,
            Self::Bound(parameters) => parameters.values.get(index).map(|value| value.as_deref()),
            Self::Called(lists) => {
                let value = lists.first()?.get(index)?;
                Some(value.as_deref().map(str::as_bytes))
            }
        }
    }

    /// Every byte that decides what they do.
    fn exact(self) -> Vec<u8> {
        match self {
            Self::None => Vec::new(),
            Self::Bound(parameters) => exact(parameters),
            Self::Called([only]) => serde_json::to_vec(only).unwrap_or_default(),
            Self::Called(lists) => serde_json::to_vec(lists).unwrap_or_default(),
        }
    }
}

impl Gate {
    /// Judges `case`; where that needs a human, waits for one and judges again with the approval as evidence.
    pub(super) async fn pass(&self, case: &Case<'_>, errand: &Errand<'_>) -> Result<Passed, Denial> {
        let verdict = self.judge(case, &[]).await?;
        let Some(requirement) = verdict.requirement() else {
            return Ok(Passed { verdict, approval: None });
        };
        if case.via == Via::Prepare {
            return Ok(Passed { verdict, approval: None });
        }
        let approval = self.approval(case, &verdict, requirement, errand).await;
        let approval = approval.map_err(|denial| verdict.denied_as(denial))?;
        let verdict = self.judge(case, &evidence(&approval)).await?;
        self.still_approved(&verdict, &approval, errand)?;
        self.still_as_approved(&verdict, &approval)?;
        if !self.desk.spend(&approval).map_err(|error| desk_denial(&error))? {
            return Err(not_approved(format!("approval {} can't be used any more", approval.id())));
        }
        self.journal.note(
            errand.scene,
            errand.decision_id,
            approval_changed(approval.id(), "spent", &approval.by(), &approval.note()),
        );
        Ok(Passed { verdict, approval: Some(approval) })
    }

    /// An approval for exactly this case: one that is there already, or one that is waited for.
    async fn approval(
        &self,
        case: &Case<'_>,
        verdict: &Verdict,
        requirement: Requirement,
        errand: &Errand<'_>,
    ) -> Result<Approval, Denial> {
        let digest = digest(case, errand, requirement.bind_to());
        let reusable = errand.tell.patience() != Patience::UntilDecided;
        if reusable && let Some(approval) = self.desk.approved(&digest).map_err(|e| desk_denial(&e))? {
            errand.tell.found(approval.id());
            return Ok(approval);
        }
        let request = self
            .desk
            .open(new_request(case, verdict, requirement, errand, digest))
            .map_err(|error| desk_denial(&error))?;
        // From here on somebody could decide on it. Whatever ends this call before the wait is on record, a cancel
        // or a failing ledger, takes the request back: nobody would wait for what is decided.
        let mut withdrawal = Withdrawal { gate: self, errand, id: &request.id, armed: true };
        let asked = approval_changed(&request.id, "pending", "", &request.message);
        self.journal
            .append(errand.scene, errand.decision_id, asked)
            .await
            .map_err(|error| Denial::from(&error))?;
        withdrawal.armed = !reusable;
        let resolution = self.wait(&request, errand).await;
        withdrawal.armed &= resolution.is_err();
        self.resolved(&request, resolution.map_err(|error| desk_denial(&error))?)
    }

    async fn wait(&self, request: &Request, errand: &Errand<'_>) -> Result<Resolution, DeskError> {
        errand.tell.held(&self.hold(request));
        let patience = match errand.tell.patience() {
            Patience::UntilDecided => None,
            Patience::AtMost(time) => Some(time),
        };
        let heard = |request: &Request| errand.tell.held(&self.hold(request));
        self.desk.wait_and_hear(&request.id, patience, heard).await
    }

    fn hold(&self, request: &Request) -> Hold {
        Hold {
            approval_id: request.id.clone(),
            rule: request.rule.clone(),
            message: request.message.clone(),
            groups: request.open_groups(),
            progress: if request.is_plain() { String::new() } else { request.standing() },
            expires_at: request.expires_at,
            url: self.review_url(&request.id),
        }
    }

    fn resolved(&self, request: &Request, resolution: Resolution) -> Result<Approval, Denial> {
        match resolution {
            Resolution::Approved(approval) => Ok(approval),
            Resolution::Denied { by, note } => {
                Err(not_approved(format!("`{by}` refused approval {}: {note}", request.id)))
            }
            Resolution::Expired => {
                Err(not_approved(format!("nobody decided on approval {} in time", request.id)))
            }
            Resolution::Withdrawn => Err(not_approved(format!("approval {} was withdrawn", request.id))),
            Resolution::Spent => Err(not_approved(format!("approval {} was used already", request.id))),
            Resolution::StillPending => {
                // Somebody may have said yes meanwhile.
                let request = self.desk.request(&request.id).map_err(|error| desk_denial(&error))?;
                Err(pending(&request, self.review_url(&request.id)))
            }
        }
    }

    /// Whether the rulebook is content with these approvals now. One that no longer counts is taken back, so that who asks
    /// can ask anew.
    fn still_approved(
        &self,
        verdict: &Verdict,
        approval: &Approval,
        errand: &Errand<'_>,
    ) -> Result<(), Denial> {
        let Some(requirement) = verdict.requirement() else { return Ok(()) };
        let lost = self.lost(&requirement, approval);
        let why = match (lost, approval.votes()) {
            (Some(lost), _) => lost,
            (None, [_]) => format!(
                "the rulebook now asks for an approval by {}, and `{}` is not in there",
                requirement.groups().join(", "),
                approval.by()
            ),
            (None, _) => format!(
                "the rulebook now asks for approvals by {}, and those of `{}` are not enough",
                requirement.groups().join(", "),
                approval.by()
            ),
        };
        if self.desk.revoke(approval).map_err(|error| desk_denial(&error))? {
            let withdrawn = approval_changed(approval.id(), "withdrawn", "", &why);
            self.journal.note(errand.scene, errand.decision_id, withdrawn);
        }
        Err(not_approved(why))
    }

    /// Whose yes no longer counts, because they are gone or no longer in the group that it counted by.
    fn lost(&self, requirement: &Requirement, approval: &Approval) -> Option<String> {
        let rules = self.rules();
        let asked = requirement.groups();
        approval.votes().iter().find_map(|ballot| {
            let active = rules.directory.agent(&ballot.by).filter(|agent| !agent.disabled());
            let Some(agent) = active else {
                return Some(format!("`{}` said yes, but is no longer active", ballot.by));
            };
            let left: Vec<&str> = ballot
                .groups
                .iter()
                .filter(|group| asked.contains(group) && !agent.groups().contains(group))
                .map(String::as_str)
                .collect();
            (!left.is_empty())
                .then(|| format!("`{}` said yes, but is no longer in {}", ballot.by, left.join(", ")))
        })
    }

    /// Whether what would run now is what the approvers saw; if not, says what differs.
    fn still_as_approved(&self, verdict: &Verdict, approval: &Approval) -> Result<(), Denial> {
        let request = self.desk.request(approval.id()).map_err(|error| desk_denial(&error))?;
        let approved = request.facts.get("terms").cloned().unwrap_or_default();
        let now = verdict.terms();
        let differing: Vec<&str> =
            PARTS.into_iter().filter(|part| approved.get(part) != now.get(part)).collect();
        if differing.is_empty() {
            return Ok(());
        }
        Err(Denial::because(
            DenialKind::Changed,
            "changed_since_approval",
            format!("what would run is no longer what was approved: {} changed", differing.join(", ")),
            "ask again, so that the approver sees what would run now",
        ))
    }

    /// Where people decide on a request.
    #[must_use]
    pub fn review_url(&self, id: &ApprovalId) -> String {
        format!("{}/approvals/{id}", self.console_url)
    }
}

/// Withdraws a request when nobody waits for it any more while it is open.
struct Withdrawal<'a> {
    gate: &'a Gate,
    errand: &'a Errand<'a>,
    id: &'a ApprovalId,
    armed: bool,
}

impl Drop for Withdrawal<'_> {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        match self.gate.desk.withdraw(self.id) {
            Ok(()) => self.gate.journal.note(
                self.errand.scene,
                self.errand.decision_id,
                approval_changed(self.id, "withdrawn", "", "nobody waits for it any more"),
            ),
            Err(error) => tracing::error!(approval_id = %self.id, %error, "approval.withdraw_failed"),
        }
    }
}

/// Everybody who said yes, as evidence for the rulebook.
pub(super) fn evidence(approval: &Approval) -> Vec<ApprovalEvidence> {
    let id = approval.id().as_str();
    let given = approval.votes().iter().map(|ballot| ApprovalEvidence::new(id, &ballot.by, &ballot.groups));
    given.collect()
}

/// Binds an approval to who asks, on whose behalf, where, and to every byte of what: of its bind values only where the
/// rulebook does not bind to the text alone. Only a statement that is prepared has values beside its text.
fn digest(case: &Case<'_>, errand: &Errand<'_>, bind_to: BindTo) -> Digest {
    let prepared = match case.via {
        Via::Bind | Via::Tool(_) => true,
        Via::Query | Via::Prepare | Via::Fetch | Via::Call => false,
    };
    let (values, any_values): (Vec<u8>, &[&[u8]]) = match bind_to {
        BindTo::Text if prepared => (Vec::new(), &[b"any values"]),
        BindTo::Text | BindTo::Statement => (case.values.exact(), &[]),
    };
    // A tool that may affect so many rows was approved to affect so many.
    let ceiling = match case.arguments.max_affected {
        most @ 0.. if matches!(case.via, Via::Tool(_)) => Some(format!("at most {most} rows")),
        _ => None,
    };
    let parts: [&[u8]; 7] = [
        errand.who.name().as_bytes(),
        errand.who.owner().unwrap_or_default().as_bytes(),
        case.context.door().as_str().as_bytes(),
        case.context.database().as_bytes(),
        case.context.role().unwrap_or_default().as_bytes(),
        case.statement.as_bytes(),
        &values,
    ];
    // Parts that no other digest has, so that none is mistaken for the other.
    Digest::of(
        parts.into_iter().chain(any_values.iter().copied()).chain(ceiling.as_deref().map(str::as_bytes)),
    )
}

fn new_request(
    case: &Case<'_>,
    verdict: &Verdict,
    requirement: Requirement,
    errand: &Errand<'_>,
    digest: Digest,
) -> NewRequest {
    let reason = verdict.escalation();
    let facts: Vec<_> = verdict.analysis.items().iter().map(|item| &item.facts).collect();
    NewRequest {
        digest,
        requester: errand.who.name().to_owned(),
        requester_kind: super::kind_word(errand.who.kind()).to_owned(),
        owner: errand.who.owner().unwrap_or_default().to_owned(),
        requester_groups: errand.who.groups().to_vec(),
        door: case.context.door().as_str().to_owned(),
        database: case.context.database().to_owned(),
        statement: shown(case, verdict),
        parameters: case.parameters.concat(),
        call: called(case),
        purpose: errand.purpose.to_owned(),
        rule: reason.map(|reason| reason.rule.clone()).unwrap_or_default(),
        message: reason.map(|reason| reason.message.clone()).unwrap_or_default(),
        facts: serde_json::json!({ "statements": facts, "terms": verdict.terms() }),
        revision: verdict.revision.to_string(),
        requirement,
    }
}

/// How a tool was called, for approvers and for running it once it is approved.
fn called(case: &Case<'_>) -> ToolCall {
    let Via::Tool(tool) = case.via else { return ToolCall::default() };
    let several = case.parameters.len() > 1;
    ToolCall {
        tool: tool.to_owned(),
        key: case.key.to_owned(),
        max_affected: u64::try_from(case.arguments.max_affected).ok(),
        counts: if several { case.parameters.iter().map(Vec::len).collect() } else { Vec::new() },
    }
}

/// The text as the approver reads it: what it runs by name belongs to it.
fn shown(case: &Case<'_>, verdict: &Verdict) -> String {
    let mut text = case.statement.as_str().to_owned();
    for named in verdict.runs() {
        text.push_str("\n-- which is prepared as:\n");
        text.push_str(named);
    }
    text
}

fn pending(request: &Request, url: String) -> Denial {
    let expires_at: Timestamp = request.expires_at;
    let kind = DenialKind::Pending { approval_id: request.id.clone(), expires_at, url };
    let hint = match request.is_plain() {
        true => format!("it waits for approval by: {}", request.groups.join(", ")),
        false => format!("it waits for approvals, {}", request.standing()),
    };
    Denial::because(kind, &request.rule, request.message.clone(), hint)
}

fn not_approved(message: String) -> Denial {
    Denial::because(DenialKind::NotApproved, "not_approved", message, "")
}

pub(super) fn desk_denial(error: &DeskError) -> Denial {
    match error {
        DeskError::TooMany { .. } => Denial::because(
            DenialKind::Overloaded,
            "too_many_requests",
            error.to_string(),
            "wait until some are decided",
        ),
        DeskError::Unknown { .. } => {
            Denial::because(DenialKind::UnknownApproval, "unknown_approval", error.to_string(), "")
        }
        DeskError::Closed { .. }
        | DeskError::NotSpent { .. }
        | DeskError::OwnRequest { .. }
        | DeskError::VotedAlready { .. }
        | DeskError::NoSeat { .. }
        | DeskError::NoteMissing
        | DeskError::NoteTooLong { .. } => not_approved(error.to_string()),
        DeskError::Store(_) => super::unavailable(error),
    }
}
