//! A request for approval and its life.

use std::collections::BTreeSet;
use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::policy::quorum::{self, Asker, Person, Progress};
use crate::policy::{BindTo, Reason, Requirement};

/// A request's id: 128 random bits in lower-case hexadecimal, unguessable.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct ApprovalId(String);

impl ApprovalId {
    /// A new id.
    #[must_use]
    pub fn random() -> Self {
        Self(format!("{:032x}", rand::random::<u128>()))
    }

    /// Takes `text` as an id, if it has the form of one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let fits = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        fits.then(|| Self(text.to_owned()))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ApprovalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What an approval is bound to: a SHA-256 over all parts, each length-prefixed, in lower-case hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest(String);

impl Digest {
    /// The digest of `parts`, in order.
    #[must_use]
    pub fn of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part);
        }
        Self(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Takes the text of a stored digest.
    #[must_use]
    pub fn stored(text: String) -> Self {
        Self(text)
    }

    /// The digest as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How a tool was called that wants to run something: what the approval is for besides text and values.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ToolCall {
    /// The tool's name; empty where it was no tool.
    pub tool: String,
    /// The caller's key of the run; empty without one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub key: String,
    /// Most rows that may be affected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_affected: Option<u64>,
    /// Where there are several statements, how many of the values belong to each; else empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub counts: Vec<usize>,
}

impl ToolCall {
    /// What people call each of `values` bind values: `$1`, or `$1 of statement 2` where there are several statements.
    #[must_use]
    pub fn labels(&self, values: usize) -> Vec<String> {
        if self.counts.is_empty() {
            return (1..=values).map(|value| format!("${value}")).collect();
        }
        let of = |(count, statement): (&usize, usize)| {
            (1..=*count).map(move |value| format!("${value} of statement {statement}"))
        };
        self.counts.iter().zip(1..).flat_map(of).take(values).collect()
    }

    /// `values` as a list for each statement.
    #[must_use]
    pub fn lists(&self, values: &[Option<String>]) -> Vec<Vec<Option<String>>> {
        if self.counts.is_empty() {
            return vec![values.to_vec()];
        }
        let mut rest = values.iter().cloned();
        self.counts.iter().map(|count| rest.by_ref().take(*count).collect()).collect()
    }
}

/// A request that is about to be made.
#[derive(Debug, Clone)]
pub struct NewRequest {
    /// What it is bound to.
    pub digest: Digest,
    /// Who asks.
    pub requester: String,
    /// `agent`, `human` or `service`.
    pub requester_kind: String,
    /// Who answers for the requester; empty without an owner.
    pub owner: String,
    /// The requester's groups.
    pub requester_groups: Vec<String>,
    /// `wire` or `mcp`.
    pub door: String,
    /// The database's name in the configuration.
    pub database: String,
    /// The exact text.
    pub statement: String,
    /// Bind values as text; `None` is NULL. Binary values are shown in hexadecimal.
    pub parameters: Vec<Option<String>>,
    /// How a tool was called; empty at other doors.
    pub call: ToolCall,
    /// What the requester says it is for; empty where the door has no way to say it.
    pub purpose: String,
    /// The rule that asks for approval.
    pub rule: String,
    /// Why.
    pub message: String,
    /// The facts document, as JSON.
    pub facts: serde_json::Value,
    /// The rulebook's revision at the time of asking.
    pub revision: String,
    /// Whose yes it needs, and how long it stays open.
    pub requirement: Requirement,
}

/// A request as the desk keeps it.
#[derive(Debug, Clone, Serialize)]
pub struct Request {
    /// Its id.
    pub id: ApprovalId,
    /// What it is bound to.
    pub digest: Digest,
    /// Who asks.
    pub requester: String,
    /// `agent`, `human` or `service`.
    pub requester_kind: String,
    /// Who answers for the requester; empty without an owner.
    pub owner: String,
    /// The requester's groups at the time of asking.
    pub requester_groups: Vec<String>,
    /// `wire` or `mcp`.
    pub door: String,
    /// The database's name in the configuration.
    pub database: String,
    /// The exact text.
    pub statement: String,
    /// Bind values as text, of all statements one after the other; `None` is NULL.
    pub parameters: Vec<Option<String>>,
    /// How a tool was called; empty at other doors.
    pub call: ToolCall,
    /// What the requester says it is for.
    pub purpose: String,
    /// The rule that asks for approval.
    pub rule: String,
    /// Why.
    pub message: String,
    /// The facts document, as JSON.
    pub facts: serde_json::Value,
    /// The rulebook's revision at the time of asking.
    pub revision: String,
    /// Who may decide: members of any of these groups.
    pub groups: Vec<String>,
    /// Whose yes it needs: every escalation's seats must be filled.
    pub requirement: Requirement,
    /// What people said, in order.
    pub votes: Vec<Ballot>,
    /// Which seats are filled, by the groups that voters had when they voted.
    pub progress: Progress,
    /// What the rulebook still misses although all seats are filled.
    pub missing: Vec<Reason>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it lapses.
    pub expires_at: Timestamp,
    /// Where it stands.
    pub state: State,
    /// Who decided, by the last yes that was needed or by a no; empty while nobody has.
    pub decided_by: String,
    /// The groups of who decided, at that time.
    pub decided_by_groups: Vec<String>,
    /// What they said; empty while nobody has.
    pub decision_note: String,
    /// When; `None` while nobody has.
    pub decided_at: Option<Timestamp>,
    /// What became of the statement after it was spent, as JSON (an MCP result envelope); null before.
    pub outcome: serde_json::Value,
}

/// Where a request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Not enough people have said yes, and nobody no.
    Pending,
    /// Everybody said yes whose yes it needs; the statement has not run yet.
    Approved,
    /// Somebody said no.
    Denied,
    /// Its time ran out.
    Expired,
    /// Who asked went away, or the approvals no longer count.
    Withdrawn,
    /// Its approval was used for the statement, once.
    Spent,
}

impl State {
    /// The word that ledger, pages and APIs use.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::Expired => "expired",
            Self::Withdrawn => "withdrawn",
            Self::Spent => "spent",
        }
    }

    /// The state that `word` names.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Pending, Self::Approved, Self::Denied, Self::Expired, Self::Withdrawn, Self::Spent]
            .into_iter()
            .find(|state| state.as_str() == word)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a person says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Vote {
    /// Yes.
    Approve,
    /// No.
    Deny,
}

impl Vote {
    /// The word that policy, pages and APIs use.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Deny => "deny",
        }
    }

    /// The vote that `word` names.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Approve, Self::Deny].into_iter().find(|vote| vote.as_str() == word)
    }
}

/// What one person said to one request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ballot {
    /// Who.
    pub by: String,
    /// Their groups at that time.
    pub groups: Vec<String>,
    /// Yes or no.
    pub vote: Vote,
    /// Why; may be empty where it is a yes.
    pub note: String,
    /// When.
    pub at: Timestamp,
}

impl Request {
    /// Whether one yes is enough, and nothing else is missing.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.progress.needed == 1 && self.missing.is_empty()
    }

    /// Where it stands: `1 of 2: dba ✓ dora, security open`, and what is missing besides.
    #[must_use]
    pub fn standing(&self) -> String {
        let mut words = self.progress.to_string();
        for reason in &self.missing {
            words.push_str("; still missing: ");
            words.push_str(&reason.message);
        }
        words
    }

    /// The groups whose members can fill a seat that is open; those of all seats where none is open but something else
    /// is missing.
    #[must_use]
    pub fn open_groups(&self) -> Vec<String> {
        let open: BTreeSet<&String> = self.progress.open().flat_map(|seat| &seat.groups).collect();
        if open.is_empty() { self.groups.clone() } else { open.into_iter().cloned().collect() }
    }

    /// Whether its approval holds for the text with any bind values, not just those that are shown.
    #[must_use]
    pub fn holds_for_any_values(&self) -> bool {
        self.requirement.bind_to() == BindTo::Text
    }

    /// Whether `name` has said something to it.
    #[must_use]
    pub fn has_vote_of(&self, name: &str) -> bool {
        self.votes.iter().any(|ballot| ballot.by == name)
    }

    /// Whether a yes of `name`, a member of `groups`, brings it any further: by a seat, or, where all are filled and
    /// something else is missing, by one more voice.
    #[must_use]
    pub fn is_helped_by(&self, name: &str, groups: &[String]) -> bool {
        let newcomer = Person { name, groups: groups.iter().map(String::as_str).collect() };
        let escalations = &self.requirement.escalations;
        let voices = if self.progress.is_complete() { Vec::new() } else { self.voices() };
        !self.has_vote_of(name) && quorum::helps(escalations, self.asker(), &voices, &newcomer)
    }

    /// Counts again which seats are filled.
    pub(super) fn count(&mut self) {
        self.progress = quorum::satisfied(&self.requirement.escalations, self.asker(), &self.voices());
    }

    /// Everybody who said yes, with their groups then.
    fn voices(&self) -> Vec<Person<'_>> {
        let yes = self.votes.iter().filter(|ballot| ballot.vote == Vote::Approve);
        yes.map(|ballot| Person {
            name: &ballot.by,
            groups: ballot.groups.iter().map(String::as_str).collect(),
        })
        .collect()
    }

    fn asker(&self) -> Asker<'_> {
        Asker { name: &self.requester, owner: &self.owner }
    }
}

/// Evidence that people said yes to exactly one digest. Made by the desk only, and only while unspent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    pub(super) id: ApprovalId,
    pub(super) votes: Vec<Ballot>,
}

impl Approval {
    /// The request's id.
    #[must_use]
    pub fn id(&self) -> &ApprovalId {
        &self.id
    }

    /// What everybody said who said yes, in order.
    #[must_use]
    pub fn votes(&self) -> &[Ballot] {
        &self.votes
    }

    /// Who said yes: `dora, sam`.
    #[must_use]
    pub fn by(&self) -> String {
        let names: Vec<&str> = self.votes.iter().map(|ballot| ballot.by.as_str()).collect();
        names.join(", ")
    }

    /// What they wrote, without those who wrote nothing.
    #[must_use]
    pub fn note(&self) -> String {
        let notes = self.votes.iter().map(|ballot| ballot.note.as_str()).filter(|note| !note.is_empty());
        notes.collect::<Vec<_>>().join("; ")
    }
}
