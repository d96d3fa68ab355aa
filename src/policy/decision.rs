//! What a rulebook says, merged: error > deny > escalate > allow > none, and none is deny.
//!
//! What the packages may declare; everything else in them must be read by one of these, so that nothing
//! misspelt is left unread:
//!
//! | package | declaration | entries |
//! |---|---|---|
//! | `portcullis.statement` | `allow` | a boolean, or a set that is not empty |
//! | | `deny contains` | `{"rule", "message", "hint"}`; with `"public": false` for the ledger only |
//! | | `escalate contains` | `{"rule", "message", "hint"}`, with `"ttl_s"` and `"groups"`, `"count"` or `"seats"`, and perhaps `"exclude_owner"`, `"bind_to"`, as [`super::Escalation`] |
//! | | `mask contains` | `{"relation", "column", "type", ...}`, as [`crate::mask::Strategy`] |
//! | | `detect contains` | `{"detector", "keep_last", "row_bytes", "beyond"}`, as [`crate::mask::detect::Wanted`] |
//! | | `limit contains` | any of `{"rows": n, "bytes": n, "time_ms": n}` |
//! | | `alert contains` | `{"rule", "message", "hint"}`, with `"sink"` for one of those in the configuration |
//! | | `label contains` | a text: what the session, and the identity, have read from now on (`input.labels`) |
//! | | `redact contains` | `"parameters"`: bind values are kept out of the ledger |
//! | | `oblige contains` | `"end_session"`: once this is answered, the session ends |
//! | `portcullis.bind` | `deny`, `escalate`, `limit`, `alert`, `label`, `redact`, `oblige` | as above, asked with those of `portcullis.statement` where values are known |
//! | `portcullis.result` | `deny`, `alert`, `label` | as above, asked before the first row and while rows go on; a deny ends the result |
//! | `portcullis.connect` | `allow`, `deny`, `alert` | as above, asked before anybody has proved anything |
//! | `portcullis.session` | `allow`, `deny contains`, `alert contains` | as above |
//! | | `lifetime_s contains` | a number: after so many seconds the session ends; the least counts |
//! | | `setting contains` | `{"name", "value"}`: a setting that the server's session begins with |
//! | | `role :=` | the name of an upstream role that `input.roles` offers |
//! | | `read_only :=` | `true`: the server's session is READ ONLY, and no statement makes it anything else |
//! | | `unjudged :=` | `true`: at the wire door, statements that are not understood may run too |
//! | | `allow_replication :=` | `true`: an unjudged session may ask for `replication` |
//! | | `row_values contains` | `{"filter", "values": [..]}`, or `{"filter", "all": true}` where the filter can be lifted |
//! | `portcullis.row_filter` | `define contains` | `{"name", "relation", "using", "by", "lifted"}`, as [`crate::mask::rows::RowFilter`] |
//! | `portcullis.approval` | `eligible`, `deny contains` | as `allow` and `deny` above |
//! | | `missing contains` | `{"rule", "message", "hint"}`: why a request stays open although all seats are filled |
//!
//! Two masks on one column leave the stricter, ceilings leave the smaller, and all escalations must be
//! satisfied, each by different people for its seats. Several values for one row filter leave what all of them name, and none leaves
//! no rows. A field too many or too few, a value of another type, or a mask that
//! does not exist is an error, and an error is a deny.
//!
//! An unjudged session is put to `portcullis.statement` all the same, with what is known: at worst a statement of
//! kind and class `unknown` whose `parse_ok` is false. It holds only where nothing is masked for the identity: any
//! answer with a mask or a detector is then a deny, by the rule `unjudged_with_masks`.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Requirement;
use crate::mask::{Detectors, Masks, RowGrants};

/// The answer of `portcullis.statement` for one statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// What happens.
    pub effect: Effect,
    /// Why, most important first; never empty unless the effect is `Allow`.
    pub reasons: Vec<Reason>,
    /// What the identity sees instead of governed columns of the whole database.
    pub masks: Arc<Masks>,
    /// What is looked for in the values of the result.
    pub detect: Detectors,
    /// Ceilings.
    pub limits: Limits,
    /// What operators should hear about; it changes nothing for the requester.
    pub alerts: Vec<Alert>,
    /// What has been read once it runs, ordered.
    pub labels: Vec<String>,
    /// Whether bind values are kept out of the ledger.
    pub redact_parameters: bool,
    /// Whether the session ends once this is answered, whatever the answer is.
    pub ends_session: bool,
    /// The rulebook's revision: a digest over policies, data and identities.
    pub revision: String,
}

/// What happens to a statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "effect", rename_all = "snake_case")]
pub enum Effect {
    /// It runs.
    Allow,
    /// It doesn't.
    Deny,
    /// It runs once enough people have said yes.
    Escalate(Requirement),
}

/// One rule's reason.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Reason {
    /// The rule's name, for example `ddl_by_agent`.
    pub rule: String,
    /// What is wrong, naming the object.
    pub message: String,
    /// What would work, or whom to ask; empty where nothing would.
    pub hint: String,
    /// Whether it is for the ledger only.
    #[serde(skip)]
    pub private: bool,
    /// The rule's place, as `file:line` of the rulebook; empty where no rule says so.
    #[serde(skip)]
    pub place: String,
}

/// What operators should hear about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Alert {
    /// What.
    pub reason: Reason,
    /// The sink's name in the configuration; empty for the log.
    pub sink: String,
}

/// Ceilings of one statement, the smallest of all that apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Limits {
    /// Most rows.
    pub rows: Option<u64>,
    /// Most bytes of row data.
    pub bytes: Option<u64>,
    /// Longest time from the yes to the end, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_ms: Option<u64>,
}

impl Limits {
    /// The smaller of each.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let smaller = |one: Option<u64>, two: Option<u64>| one.into_iter().chain(two).min();
        Self {
            rows: smaller(self.rows, other.rows),
            bytes: smaller(self.bytes, other.bytes),
            time_ms: smaller(self.time_ms, other.time_ms),
        }
    }
}

/// The answer of `portcullis.session`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SessionDecision {
    /// Whether the identity may use the database at all.
    pub allow: bool,
    /// Why not.
    pub reasons: Vec<Reason>,
    /// The upstream role by its name in the configuration; `None` is the database's own credential.
    pub role: Option<String>,
    /// Whether statements that are not understood may run too.
    pub unjudged: bool,
    /// Whether its transactions are READ ONLY. Means nothing in an unjudged session, whose client may set anything.
    pub read_only: bool,
    /// Whether an unjudged session may be one of replication.
    pub allow_replication: bool,
    /// After how many seconds it ends; `None` leaves that to the configuration.
    pub lifetime_s: Option<u64>,
    /// Settings that the server's session begins with, each name once, ordered.
    pub settings: Vec<(String, String)>,
    /// What operators should hear about.
    pub alerts: Vec<Alert>,
    /// The database's row filters with this identity's values.
    #[serde(skip)]
    pub rows: RowGrants,
    /// The rulebook's revision.
    pub revision: String,
}

/// The answer of `portcullis.approval` for one person and one request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ApprovalDecision {
    /// Whether this person may decide on this request.
    pub eligible: bool,
    /// Why not.
    pub reasons: Vec<Reason>,
    /// What is still missing where all seats are filled: the request stays open. Where the rulebook failed, that it did.
    pub missing: Vec<Reason>,
    /// The rulebook's revision.
    pub revision: String,
}

/// The answer of `portcullis.connect`, or of `portcullis.result`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Consent {
    /// Why not; empty where nothing speaks against it.
    pub reasons: Vec<Reason>,
    /// What operators should hear about.
    pub alerts: Vec<Alert>,
    /// What has been read, ordered; always empty for a connection.
    pub labels: Vec<String>,
}
