//! What the ledger holds, line by line.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

/// One thing that happened, before it is chained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// When.
    pub at: Timestamp,
    /// Ties the records of one decision together: 128 random bits, lower-case hexadecimal; empty where there
    /// was no decision.
    pub decision_id: SmolStr,
    /// The session's id; empty outside sessions.
    pub session_id: SmolStr,
    /// Who; empty before authentication.
    pub identity: SmolStr,
    /// Who answers for the identity; empty without an owner.
    pub owner: SmolStr,
    /// `wire`, `mcp`, `console` or `gateway`.
    pub door: SmolStr,
    /// Where the client called from, `address:port`; empty where unknown.
    pub client: SmolStr,
    /// The database's name in the configuration; empty where none is meant.
    pub database: SmolStr,
    /// What happened.
    pub event: Event,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Event {
    /// The gateway started; `version` and where the chain stood.
    Started {
        /// The gateway's version.
        version: String,
    },
    /// A session was opened for an authenticated identity.
    SessionOpened {
        /// The upstream role it was given; empty for the database's own credential.
        role: String,
        /// `application_name` or the MCP client's name, as claimed.
        application: String,
    },
    /// A session ended.
    SessionClosed {
        /// Why.
        reason: String,
    },
    /// A login or session was refused.
    Refused {
        /// As claimed by the client.
        claimed_identity: String,
        /// Why, for the operator; the client may have been told less.
        reason: String,
    },
    /// A peer broke the protocol.
    Malformed {
        /// What it sent, shortened, without row data.
        context: String,
    },
    /// One address was refused so often that the rest of a minute was counted, not kept one by one.
    Flood {
        /// How many logins, malformed messages and wrong cancels.
        count: u64,
        /// When the minute began.
        since: Timestamp,
        /// What the last of them was.
        last: String,
    },
    /// A statement was decided. Written before it leaves.
    Decided(Box<StatementRecord>),
    /// What became of a statement.
    Settled {
        /// `ok`, `error`, `aborted`, `skipped`, `cancelled`, `stopped` or `unknown`.
        outcome: String,
        /// The server's command tag, for example `SELECT 3`; empty without one.
        tag: String,
        /// The SQLSTATE of a failure; empty without one.
        sqlstate: String,
        /// Rows that the client got.
        rows: u64,
        /// From decision to end, in milliseconds.
        duration_ms: u64,
        /// Why the gateway stopped it; empty where it did not.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        why: String,
        /// In how many values each detector has found something; of COPY in text, in how many lines.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        found: BTreeMap<SmolStr, u64>,
    },
    /// A person voted on a request for approval, or it ended otherwise.
    ApprovalChanged {
        /// The request.
        approval_id: String,
        /// Where it stands now: `pending`, `approved`, `denied`, `expired`, `withdrawn` or `spent`.
        state: String,
        /// Who; empty where nobody did. Of one that is still pending: whose yes was not the last that is needed.
        by: String,
        /// What they said.
        note: String,
        /// Which seats are filled by whom, and which are open; empty where one yes is enough.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        progress: String,
    },
    /// A client asked to cancel.
    Cancel {
        /// Whether its key was right.
        accepted: bool,
    },
    /// What decisions were made on, once, by its digest: the facts of a statement, or who asked in which session. Written
    /// before or soon after the first record that names it.
    Document {
        /// SHA-256, in lower-case hexadecimal.
        digest: SmolStr,
        /// What it is the digest of.
        document: serde_json::Value,
    },
    /// A rule asks for attention. What it is about is allowed or denied all the same.
    Alert {
        /// The rule.
        rule: String,
        /// What happened.
        message: String,
        /// Where it was sent; empty for the log.
        sink: String,
    },
    /// A part of the gateway changed state: policies reloaded or refused, a disk failed.
    Gateway {
        /// What.
        what: String,
    },
}

/// A decided statement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatementRecord {
    /// `query`, `prepare`, `bind` or `tool`.
    pub via: SmolStr,
    /// The exact text as it came in.
    pub statement: String,
    /// The text as it leaves, where it differs; empty otherwise.
    pub sent: String,
    /// Bind values as text; `None` is NULL. Binary values are in hexadecimal behind `\x`.
    pub parameters: Vec<Option<String>>,
    /// SHA-256 over the facts document, in lower-case hexadecimal; empty without facts.
    pub facts_digest: SmolStr,
    /// The command, as in the facts.
    pub command: SmolStr,
    /// `allow`, `deny` or `escalate`.
    pub decision: SmolStr,
    /// The rule that decided; empty for a plain allow.
    pub rule: SmolStr,
    /// The reason that was given; empty for a plain allow.
    pub message: String,
    /// The rulebook's revision.
    pub revision: SmolStr,
    /// The approval that it runs on, or waits for; empty without one.
    pub approval_id: SmolStr,
    /// Masked columns, `schema.table.column`, among the relations it touches.
    pub masked: Arc<[String]>,
    /// Those of them whose true values its aggregates see, of groups that are large enough.
    #[serde(default = "none", skip_serializing_if = "is_none")]
    pub released: Arc<[String]>,
    /// The detectors that its result is looked through by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub detect: Vec<SmolStr>,
    /// Row filters of the relations it touches, with the session's values: `public.orders by tenant: {"acme"}`.
    #[serde(default = "none", skip_serializing_if = "is_none")]
    pub row_filters: Arc<[String]>,
    /// Most rows that its result may have; `None` without a ceiling.
    pub max_rows: Option<u64>,
    /// Most bytes of row data that its result may have; `None` without a ceiling.
    pub max_bytes: Option<u64>,
    /// Longest time that it may take, in milliseconds; `None` without a ceiling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_time_ms: Option<u64>,
    /// The labels of what it reads.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// The place of the rule that decided, `file:line` of the rulebook; empty where no rule did.
    #[serde(default, skip_serializing_if = "SmolStr::is_empty")]
    pub place: SmolStr,
    /// What else the decision was made on; `None` where the rulebook was not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Box<Evidenced>>,
}

/// What a decision was made on besides its statement's facts: with them, and the rulebook of its revision, it can be made
/// again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidenced {
    /// When, in seconds since 1970-01-01.
    pub judged_at: i64,
    /// The digest of who asked in which session: an [`Event::Document`].
    pub session: SmolStr,
    /// What differs from one statement to the next and is not in its record: an object with those of `name`, `tool`,
    /// `arguments`, `batch`, `approvals`, `parameters`, `budget` and `labels` that there were. What no rule reads of the
    /// last three is not looked up.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub rest: serde_json::Value,
}

fn is_empty(document: &serde_json::Value) -> bool {
    document.as_object().is_none_or(serde_json::Map::is_empty)
}

/// Records from before there were such name none.
fn none() -> Arc<[String]> {
    [].into()
}

fn is_none(names: &Arc<[String]>) -> bool {
    names.is_empty()
}
