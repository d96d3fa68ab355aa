//! What higher rooms plug into the gate.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use crate::approval::ApprovalId;
use crate::catalog::Snapshot;
use crate::policy::{Decision, StatementInput};

/// Where the gate gets catalog snapshots from.
pub trait Catalogs: Debug + Send + Sync {
    /// The newest snapshot of `database`, if one was ever loaded.
    fn current(&self, database: &str) -> Option<Arc<Snapshot>>;

    /// Loads `database`'s catalog again. Several callers at once share one load.
    fn refresh<'a>(
        &'a self,
        database: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<Arc<Snapshot>, CatalogError>> + Send + 'a>>;

    /// Whether the newest snapshot of `database` may be older than its definitions: whoever relies on them loads it
    /// again. A catalog that never changes never is.
    fn is_expired(&self, _database: &str) -> bool {
        false
    }

    /// Notes that the definitions of `database` may have changed just now.
    fn expire(&self, _database: &str) {}

    /// The names of all databases in the configuration.
    fn names(&self) -> Vec<String>;

    /// The names of the upstream roles configured for `database`; `None` if there is no such database.
    fn roles(&self, database: &str) -> Option<&[String]>;

    /// The PostgreSQL user of sessions on `database` by the upstream role called `role`, or by the database's own
    /// credential; `None` where clients choose it.
    fn user(&self, _database: &str, _role: Option<&str>) -> Option<&str> {
        None
    }
}

/// Why there is no catalog.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the catalog of `{database}` can't be read: {why}")]
pub struct CatalogError {
    /// The database's name in the configuration.
    pub database: String,
    /// What failed.
    pub why: String,
}

/// Somebody else who decides on statements, where the configuration says so.
pub trait Delegate: Debug + Send + Sync {
    /// What they say to the `input` of `portcullis.statement`, as far as they are to see it: an object of its declarations,
    /// sets as arrays. The error says why there is no answer, in words for the ledger; it is a deny.
    fn ask<'a>(
        &'a self,
        input: &'a Value,
    ) -> Pin<Box<dyn Future<Output = Result<Value, String>> + Send + 'a>>;
}

/// Who hears of every decision, and tells others. Must not block.
pub trait Listener: Debug + Send + Sync {
    /// A statement was decided on.
    fn heard(&self, heard: &Heard<'_>);

    /// A rule has raised an alert.
    fn alerted(&self, alert: &Raised<'_>);
}

/// A decision on a statement.
#[derive(Debug, Clone, Copy)]
pub struct Heard<'a> {
    /// Ties it to the ledger; empty where nobody asked for the statement to run.
    pub decision_id: &'a str,
    /// What was asked.
    pub input: &'a StatementInput<'a>,
    /// The answer.
    pub decision: &'a Decision,
    /// Whether it was worked out now, not remembered.
    pub is_fresh: bool,
}

/// What operators should hear about.
#[derive(Debug, Clone, Copy)]
pub struct Raised<'a> {
    /// Who did it; empty before anybody proved to be somebody.
    pub identity: &'a str,
    /// The database's name in the configuration; empty where none is meant.
    pub database: &'a str,
    /// Ties it to the ledger; empty outside decisions on statements.
    pub decision_id: &'a str,
    /// The rule.
    pub rule: &'a str,
    /// What happened.
    pub message: &'a str,
    /// What to do.
    pub hint: &'a str,
    /// The rule's `file:line`.
    pub place: &'a str,
    /// The sink's name in the configuration; empty for the log.
    pub sink: &'a str,
}

/// How the gate speaks to the requester while a statement waits.
pub trait Tell: Send + Sync {
    /// The statement waits for approval; told again whenever somebody said yes and others still have to. Must not block.
    fn held(&self, hold: &Hold);

    /// An approval that is there already is about to be used. Must not block.
    fn found(&self, _approval: &ApprovalId) {}

    /// How long the requester waits.
    fn patience(&self) -> Patience;
}

/// A statement that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// The request.
    pub approval_id: ApprovalId,
    /// The rule that asks for approval.
    pub rule: String,
    /// Why.
    pub message: String,
    /// Who may decide: members of any of these groups, who fit into a seat that is open.
    pub groups: Vec<String>,
    /// Which seats are filled, and which are open: `1 of 2: dba ✓ dora, security open`. Empty where one yes is enough.
    pub progress: String,
    /// When the request lapses.
    pub expires_at: Timestamp,
    /// Where people decide on it; empty without a console.
    pub url: String,
}

/// How long a requester waits for a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Until it is decided or lapses; dropping the future of `admit` withdraws the request.
    UntilDecided,
    /// At most so long; the request stays open afterwards.
    AtMost(Duration),
}

/// A requester who can't be told anything and does not wait: for acts that are never escalated.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Tell for Silent {
    fn held(&self, _hold: &Hold) {}

    fn patience(&self) -> Patience {
        Patience::AtMost(Duration::ZERO)
    }
}
