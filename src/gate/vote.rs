//! Who may say what to a request: asked before a vote, and once more when the last seat is filled.

use crate::approval::{DeskError, Request, State, Vote};
use crate::identity::{Identity, Kind};
use crate::policy::input::{IdentityInput, OpenSeatInput, VoteInput};
use crate::policy::{ApprovalDecision, ApprovalInput, Reason};

use super::escalate::desk_denial;
use super::{Approve, Denial, DenialKind, Gate, Rules};

impl Gate {
    /// The groups by which `who` may decide on a request.
    pub(super) fn eligible(&self, who: &Identity, act: &Approve) -> Result<Vec<String>, Denial> {
        let request = self.desk.request(&act.id).map_err(|error| desk_denial(&error))?;
        let rules = self.rules();
        let groups = rules.agent(who.principal())?.groups.to_vec();
        if request.state == State::Pending && request.has_vote_of(who.name()) {
            let twice = DeskError::VotedAlready { id: request.id, by: who.name().to_owned() };
            return Err(desk_denial(&twice));
        }
        let decision = self.approval_decision(&rules, who, &request, act.vote)?;
        if !decision.eligible {
            let reasons = if decision.reasons.is_empty() { vec![not_eligible()] } else { decision.reasons };
            return Err(Denial::of(DenialKind::Policy, reasons));
        }
        let is_of_use = act.vote == Vote::Deny || request.is_helped_by(who.name(), &groups);
        if request.state == State::Pending && !is_of_use {
            return Err(no_seat(&request, who.name()));
        }
        Ok(groups)
    }

    /// What the rulebook still misses in `request`, whose seats the yes of `who` has filled.
    pub(super) fn missing(&self, who: &Identity, request: &Request) -> Vec<Reason> {
        let rules = self.rules();
        match self.approval_decision(&rules, who, request, Vote::Approve) {
            Ok(decision) => decision.missing.into_iter().map(|reason| self.shown(request, reason)).collect(),
            Err(denial) => denial.reasons,
        }
    }

    /// `reason` in words that everybody may read: what is for the ledger only goes there.
    fn shown(&self, request: &Request, reason: Reason) -> Reason {
        if !reason.private {
            return reason;
        }
        let what = format!("approval {} misses `{}`: {}", request.id, reason.rule, reason.message);
        self.announce(&what);
        Reason {
            message: "the rulebook does not say what; the operator of the gateway finds it in the ledger"
                .to_owned(),
            hint: String::new(),
            ..reason
        }
    }

    fn approval_decision(
        &self,
        rules: &Rules,
        who: &Identity,
        request: &Request,
        vote: Vote,
    ) -> Result<ApprovalDecision, Denial> {
        let approver = rules.agent(who.principal())?;
        let requester = IdentityInput {
            name: &request.requester,
            kind: super::kind_of(&request.requester_kind),
            owner: if answers_for(rules, request, who.name()) { who.name() } else { &request.owner },
            groups: &request.requester_groups,
            ..IdentityInput::named(&request.requester, Kind::Agent)
        };
        let open = request.progress.open().map(|seat| OpenSeatInput {
            rule: &seat.rule,
            groups: &seat.groups,
            exclude_owner: seat.exclude_owner,
        });
        let votes = request.votes.iter().map(|ballot| VoteInput {
            by: &ballot.by,
            groups: &ballot.groups,
            unix: ballot.at.as_second(),
        });
        Ok(rules.policy.approval(&ApprovalInput {
            approver,
            requester,
            groups: &request.groups,
            open_seats: &open.collect::<Vec<_>>(),
            votes: &votes.collect::<Vec<_>>(),
            database: &request.database,
            vote: vote.as_str(),
            time: self.time(),
        }))
    }
}

/// Whether `name` answers for who asks: as the person that an agent acts for, or as the owner in the agent's own file.
fn answers_for(rules: &Rules, request: &Request, name: &str) -> bool {
    let agent = request.requester.split_once('/').and_then(|(agent, _)| rules.directory.agent(agent));
    request.owner == name || agent.is_some_and(|agent| agent.owner() == Some(name))
}

/// Nobody's yes is counted where it changes nothing: it would look like consent to what others have agreed to.
fn no_seat(request: &Request, name: &str) -> Denial {
    let owns = request.owner == name;
    let why = if owns { "you answer for who asks" } else { "the seats that you could fill are filled" };
    Denial::because(
        DenialKind::Policy,
        "no_seat",
        format!("your yes would not count, because {why}: {}", request.standing()),
        format!("it needs somebody else in {}; you can still say no", request.open_groups().join(" or ")),
    )
}

fn not_eligible() -> Reason {
    Reason {
        rule: "not_eligible".to_owned(),
        message: "you may not decide on this request".to_owned(),
        ..Reason::default()
    }
}
