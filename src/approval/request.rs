//! A request for approval and its life.

use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

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
    /// Who may decide: members of any of these groups.
    pub groups: Vec<String>,
    /// How long it stays open, in seconds.
    pub ttl_s: u64,
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
    /// Bind values as text; `None` is NULL.
    pub parameters: Vec<Option<String>>,
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
    /// When it was made.
    pub created_at: Timestamp,
    /// When it lapses.
    pub expires_at: Timestamp,
    /// Where it stands.
    pub state: State,
    /// Who decided; empty while nobody has.
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
    /// Nobody has decided.
    Pending,
    /// Somebody said yes; the statement has not run yet.
    Approved,
    /// Somebody said no.
    Denied,
    /// Its time ran out.
    Expired,
    /// Who asked went away.
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

/// Evidence that somebody said yes to exactly one digest. Made by the desk only, and only while unspent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    pub(super) id: ApprovalId,
    pub(super) by: String,
    pub(super) groups: Vec<String>,
    pub(super) note: String,
    pub(super) at: Timestamp,
}

impl Approval {
    /// The request's id.
    #[must_use]
    pub fn id(&self) -> &ApprovalId {
        &self.id
    }

    /// Who said yes.
    #[must_use]
    pub fn by(&self) -> &str {
        &self.by
    }

    /// Their groups at that time.
    #[must_use]
    pub fn groups(&self) -> &[String] {
        &self.groups
    }

    /// What they said.
    #[must_use]
    pub fn note(&self) -> &str {
        &self.note
    }

    /// When.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        self.at
    }
}
