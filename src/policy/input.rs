//! The documents that the rulebook reads. Every field is always present.

use schemars::JsonSchema;
use serde::Serialize;

use crate::identity::Kind;
use crate::sql::Facts;

/// The input of `portcullis.statement`.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct StatementInput<'a> {
    /// Who asks.
    pub identity: IdentityInput<'a>,
    /// The database's name in the configuration.
    pub database: &'a str,
    /// `wire` or `mcp`.
    pub door: &'a str,
    /// `query` (simple protocol), `prepare`, `bind` or `tool`.
    pub via: &'a str,
    /// The MCP tool's name; empty at the wire door.
    pub tool: &'a str,
    /// What the statement would do.
    pub statement: &'a Facts,
    /// The statement's place among those sent together.
    pub batch: Batch,
    /// Approvals that were given for exactly this statement.
    pub approvals: &'a [ApprovalEvidence],
    /// Bind values as text, where the door decoded them; `known` is false where it did not.
    pub bind: BindInput<'a>,
    /// Whether the session is unjudged: then `statement` may be one that was not understood.
    pub unjudged: bool,
    /// When.
    pub time: Time,
}

/// An identity as policy sees it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct IdentityInput<'a> {
    /// Its name; its file is `data.agents[name]`.
    pub name: &'a str,
    /// What sort of principal.
    pub kind: Kind,
    /// Who answers for it; empty without an owner.
    pub owner: &'a str,
    /// Its groups.
    pub groups: &'a [String],
}

/// A statement's place in a simple query of several.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
pub struct Batch {
    /// From 0.
    pub index: usize,
    /// How many there are.
    pub size: usize,
}

/// An approval as evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ApprovalEvidence {
    /// The request's id.
    pub id: String,
    /// Who approved.
    pub by: String,
    /// The approver's groups at that time.
    pub groups: Vec<String>,
    /// The approver's groups now: none for somebody who is gone or disabled. An approval counts by what is in both.
    pub groups_now: Vec<String>,
}

impl ApprovalEvidence {
    /// The yes of `by`, a member of `groups` then. Which groups they have now is for the rulebook's snapshot to say.
    #[must_use]
    pub fn new(id: &str, by: &str, groups: &[String]) -> Self {
        Self { id: id.to_owned(), by: by.to_owned(), groups: groups.to_vec(), groups_now: Vec::new() }
    }
}

/// Bind values.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct BindInput<'a> {
    /// Whether `values` holds them.
    pub known: bool,
    /// One text (or null) a parameter.
    pub values: &'a [Option<String>],
}

/// The time of the decision, UTC.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
pub struct Time {
    /// Seconds since 1970-01-01.
    pub unix: i64,
    /// From 0 to 23.
    pub hour: i8,
    /// From 1 (Monday) to 7.
    pub weekday: i8,
}

/// The input of `portcullis.session`.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct SessionInput<'a> {
    /// Who asks.
    pub identity: IdentityInput<'a>,
    /// The database's name in the configuration.
    pub database: &'a str,
    /// `wire` or `mcp`.
    pub door: &'a str,
    /// The names of the upstream roles that the configuration offers for the database.
    pub roles: &'a [String],
    /// What the client sets when it connects, `options` included; `replication` among it.
    pub settings: Vec<SettingInput<'a>>,
    /// When.
    pub time: Time,
}

/// A setting that a client brings.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct SettingInput<'a> {
    /// Its name in lower case, because PostgreSQL does not tell the difference.
    pub name: String,
    /// Its value as the client wrote it.
    pub value: &'a str,
}

/// The input of `portcullis.row_filter`: definitions are the same for everybody, at all times.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct RowFilterInput<'a> {
    /// The database's name in the configuration.
    pub database: &'a str,
}

/// The input of `portcullis.approval`.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ApprovalInput<'a> {
    /// Who wants to decide.
    pub approver: IdentityInput<'a>,
    /// Who asked.
    pub requester: IdentityInput<'a>,
    /// The groups of all seats, as the statement decision said.
    pub groups: &'a [String],
    /// The seats that nobody fills yet, one entry a person; none when it is asked what is still missing.
    pub open_seats: &'a [OpenSeatInput<'a>],
    /// Who has said yes so far, in order; when it is asked what is still missing, this one too.
    pub votes: &'a [VoteInput<'a>],
    /// The database's name in the configuration.
    pub database: &'a str,
    /// `approve` or `deny`.
    pub vote: &'a str,
    /// When.
    pub time: Time,
}

/// A seat that is open.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct OpenSeatInput<'a> {
    /// The rule whose escalation it belongs to.
    pub rule: &'a str,
    /// Who fits: members of any of these groups.
    pub groups: &'a [String],
    /// Whether the owner of who asked fits not.
    pub exclude_owner: bool,
}

/// A yes to a request that is still open.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct VoteInput<'a> {
    /// Who.
    pub by: &'a str,
    /// Their groups at that time.
    pub groups: &'a [String],
    /// When, in seconds since 1970-01-01.
    pub unix: i64,
}
