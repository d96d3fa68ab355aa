//! Who may see what.

use crate::approval::{Request, State};
use crate::audit::Record;
use crate::identity::{Identity, Kind};

/// Whether `who` may see `request`: people who asked for it, own the agent that did, have voted, or may be
/// asked to.
pub(super) fn sees(who: &Identity, request: &Request) -> bool {
    let concerned =
        request.requester == who.name() || request.owner == who.name() || request.has_vote_of(who.name());
    who.kind() == Kind::Human && (concerned || shares(who.groups(), &request.groups))
}

/// Whether `who` should be offered to decide. Whether they may is the gate's to say, when they do.
pub(super) fn is_asked(who: &Identity, request: &Request) -> bool {
    request.state == State::Pending
        && request.requester != who.name()
        && !request.has_vote_of(who.name())
        && shares(who.groups(), &request.groups)
}

/// Whether `who` may see all of the ledger.
pub(super) fn audits_all(who: &Identity, auditors: &[String]) -> bool {
    shares(who.groups(), auditors)
}

/// Whether `record` tells of what `who` or an agent of theirs did.
pub(super) fn answers_for(who: &Identity, record: &Record) -> bool {
    record.identity == who.name() || record.owner == who.name()
}

fn shares(groups: &[String], others: &[String]) -> bool {
    groups.iter().any(|group| others.contains(group))
}
