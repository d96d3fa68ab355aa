//! The desk itself. All but waiting is synchronous: the store is a local file, and these calls are rare.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::store::Store;

use super::{Approval, ApprovalId, Digest, NewRequest, Request, Vote};

/// Takes requests, lets requesters wait, and keeps what people said.
#[derive(Debug, Clone)]
pub struct Desk {
    _store: Store,
    _clock: Arc<dyn Clock>,
}

/// Why the desk can't do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// There is no such request, or it isn't yours to see.
    #[error("there is no approval request `{id}`")]
    Unknown {
        /// The id asked for.
        id: String,
    },
    /// The request is no longer open.
    #[error("approval request `{id}` is {state:?} already")]
    Closed {
        /// The request.
        id: ApprovalId,
        /// Where it stands.
        state: super::State,
    },
    /// Too many requests of this identity are open.
    #[error("`{requester}` has {open} approval requests open, the most that are allowed")]
    TooMany {
        /// Who asks.
        requester: String,
        /// How many are open.
        open: usize,
    },
    /// The store failed.
    #[error("the approval store failed")]
    Store(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Where waiting for a decision ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// Somebody said yes.
    Approved(Approval),
    /// Somebody said no.
    Denied {
        /// Who.
        by: String,
        /// What they said.
        note: String,
    },
    /// The request's time ran out.
    Expired,
    /// The request was withdrawn.
    Withdrawn,
    /// The waiting time is over; the request is still open.
    StillPending,
}

impl Desk {
    /// Opens a request, or returns the open or approved, unspent one with the same digest.
    ///
    /// # Errors
    /// When the store fails, or the requester has too many open.
    pub fn open(&self, new: NewRequest) -> Result<Request, DeskError> {
        Err(DeskError::Unknown { id: new.requester })
    }

    /// The approval of an approved, unspent, unexpired request with this digest.
    ///
    /// # Errors
    /// When the store fails.
    pub fn approved(&self, digest: &Digest) -> Result<Option<Approval>, DeskError> {
        let _ = digest;
        Ok(None)
    }

    /// Waits until the request is decided, lapses, or `patience` is over (`None`: until it lapses).
    ///
    /// # Errors
    /// When the store fails, or the request is unknown.
    pub async fn wait(&self, id: &ApprovalId, patience: Option<Duration>) -> Result<Resolution, DeskError> {
        let _ = patience;
        Err(DeskError::Unknown { id: id.to_string() })
    }

    /// Records what `by` (member of `groups`) says. Whether they may was decided before. Never lets the
    /// requester decide.
    ///
    /// # Errors
    /// When the request is unknown or closed, `by` asked for it, or the store fails.
    pub fn vote(
        &self,
        id: &ApprovalId,
        by: &str,
        groups: &[String],
        vote: Vote,
        note: &str,
    ) -> Result<Request, DeskError> {
        let _ = (by, groups, vote, note);
        Err(DeskError::Unknown { id: id.to_string() })
    }

    /// Spends an approval: true for exactly one caller, once, before it expires.
    ///
    /// # Errors
    /// When the store fails.
    pub fn spend(&self, approval: &Approval) -> Result<bool, DeskError> {
        let _ = approval;
        Ok(false)
    }

    /// Withdraws an open request; nothing happens to one that is decided.
    ///
    /// # Errors
    /// When the store fails.
    pub fn withdraw(&self, id: &ApprovalId) -> Result<(), DeskError> {
        let _ = id;
        Ok(())
    }

    /// Withdraws every open request that came by the wire: their sessions died with the last process.
    ///
    /// # Errors
    /// When the store fails.
    pub fn sweep_orphans(&self) -> Result<usize, DeskError> {
        Ok(0)
    }

    /// Keeps what became of a spent request's statement.
    ///
    /// # Errors
    /// When the store fails.
    pub fn record_outcome(&self, id: &ApprovalId, outcome: serde_json::Value) -> Result<(), DeskError> {
        let _ = (id, outcome);
        Ok(())
    }

    /// One request.
    ///
    /// # Errors
    /// When the store fails, or it is unknown.
    pub fn request(&self, id: &ApprovalId) -> Result<Request, DeskError> {
        Err(DeskError::Unknown { id: id.to_string() })
    }

    /// The newest `limit` requests, newest first.
    ///
    /// # Errors
    /// When the store fails.
    pub fn requests(&self, limit: usize) -> Result<Vec<Request>, DeskError> {
        let _ = limit;
        Ok(Vec::new())
    }
}
