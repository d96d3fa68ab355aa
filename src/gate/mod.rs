//! THE GATE: the only door to a governed database.
//!
//! Every act of every identity passes [`Gate::admit`]: facts, policy, on escalation the desk, a second decision
//! with the approval as evidence, the ledger, and only then an [`Authorized`]. Nothing goes up without a proof,
//! no row comes down without a release. Whatever fails inside is a [`Denial`].

pub mod act;
pub mod authorized;
pub mod denial;
pub mod ports;

use std::sync::Arc;

use crate::approval::{Desk, DeskError, Request};
use crate::identity::Identity;
use crate::sql::{Facts, Statement};

pub use act::{Act, Approve, Bind, Connect, Context, Door, Parameters, Prepare, Query, Run, RunMode};
pub use authorized::{Authorized, Outcome, Prepared, Receipt, Running};
pub use denial::{Denial, DenialKind};
pub use ports::{CatalogError, Catalogs, Hold, Patience, Tell};

/// The gate. One a process, shared by all doors.
#[derive(Debug)]
pub struct Gate {
    desk: Desk,
}

/// What would happen to a statement, without running it.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Explanation {
    /// `allow`, `deny` or `escalate`.
    pub verdict: String,
    /// The reasons, most important first.
    pub reasons: Vec<crate::policy::Reason>,
    /// The facts of each statement in the string; empty if it can't be parsed.
    pub facts: Vec<Facts>,
    /// Masked columns among the relations it touches, `schema.table.column`.
    pub masked: Vec<String>,
    /// The text as it would be sent; empty if it wouldn't be.
    pub sent: String,
    /// Who could approve it; empty unless the verdict is `escalate`.
    pub approvers: Vec<String>,
    /// The rulebook's revision.
    pub revision: String,
}

/// What an identity may do with one relation.
#[derive(Debug, Clone, serde::Serialize)]
pub struct RelationAccess {
    /// `schema.table`.
    pub key: String,
    /// `table`, `view`, ...
    pub kind: crate::catalog::RelationKind,
    /// The relation's comment; empty without one.
    pub comment: String,
    /// Rows by the catalog's estimate; -1 where unknown.
    pub row_estimate: i64,
    /// Its columns, without those that are hidden from the identity.
    pub columns: Vec<ColumnAccess>,
    /// What may be done besides reading: `insert`, `update`, `delete`, each `allow` or `escalate`.
    pub write: std::collections::BTreeMap<String, String>,
}

/// What an identity sees of one column.
#[derive(Debug, Clone, serde::Serialize)]
pub struct ColumnAccess {
    /// Its name.
    pub name: String,
    /// Its type, as PostgreSQL prints it.
    pub type_name: String,
    /// Whether it is declared NOT NULL.
    pub not_null: bool,
    /// Whether it is part of the primary key.
    pub primary_key: bool,
    /// `read` or `masked`.
    pub access: String,
    /// Its comment; empty without one.
    pub comment: String,
}

impl Gate {
    /// The only door. Judges `act` for `who`; on escalation tells `tell` and waits.
    ///
    /// # Errors
    /// Every failure is a [`Denial`].
    pub async fn admit<A: Act>(
        &self,
        who: &Identity,
        act: A,
        tell: &dyn Tell,
    ) -> Result<Authorized<A>, Denial> {
        let _ = (who, act, tell);
        Err(Denial::because(DenialKind::Unavailable, "gate", "not built yet", ""))
    }

    /// Says what would happen to `sql`, without running it and without asking anybody.
    pub async fn explain(&self, who: &Identity, context: &Arc<Context>, sql: &Statement) -> Explanation {
        let _ = (who, context, sql);
        Explanation {
            verdict: "deny".into(),
            reasons: Vec::new(),
            facts: Vec::new(),
            masked: Vec::new(),
            sent: String::new(),
            approvers: Vec::new(),
            revision: String::new(),
        }
    }

    /// Every relation that `who` may read or write, hidden ones left out, ordered by key.
    ///
    /// # Errors
    /// When there is no catalog.
    pub async fn access(
        &self,
        who: &Identity,
        context: &Arc<Context>,
    ) -> Result<Vec<RelationAccess>, Denial> {
        let _ = (who, context);
        Ok(Vec::new())
    }

    /// The names of the databases that `who` may open a session on.
    #[must_use]
    pub fn databases(&self, who: &Identity) -> Vec<String> {
        let _ = who;
        Vec::new()
    }

    /// The identity that `token` proves. `None` is recorded in the ledger as a refused login.
    #[must_use]
    pub fn authenticate(&self, token: &str, door: Door, client: &str) -> Option<Identity> {
        let _ = (token, door, client);
        None
    }

    /// The identity directory as it is now: for the wire door's SCRAM exchange.
    #[must_use]
    pub fn directory(&self) -> Arc<crate::identity::directory::Directory> {
        Arc::new(crate::identity::directory::Directory::default())
    }

    /// Carries out an admitted decision on a request.
    ///
    /// # Errors
    /// When the request is closed already, or the store fails.
    pub fn decide(&self, who: &Identity, proof: Authorized<Approve>) -> Result<Request, DeskError> {
        let _ = who;
        let (act, ()) = proof.spend();
        self.desk.request(&act.id)
    }

    /// The desk, for reading requests.
    #[must_use]
    pub fn desk(&self) -> &Desk {
        &self.desk
    }

    /// Keeps a refused login or session in the ledger.
    pub fn refused(&self, door: Door, client: &str, claimed_identity: &str, database: &str, reason: &str) {
        let _ = (door, client, claimed_identity, database, reason);
    }

    /// Keeps a peer's broken protocol in the ledger.
    pub fn malformed(&self, door: Door, client: &str, who: Option<&Identity>, context: &str) {
        let _ = (door, client, who, context);
    }

    /// Keeps a CancelRequest in the ledger.
    pub fn cancel(&self, client: &str, who: Option<&Identity>, session_id: &str, accepted: bool) {
        let _ = (client, who, session_id, accepted);
    }

    /// Keeps the end of a session in the ledger.
    pub fn closed(&self, who: &Identity, context: &Context, reason: &str) {
        let _ = (who, context, reason);
    }
}
