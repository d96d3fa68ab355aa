//! A requester takes its own request for approval back.

use crate::approval::{ApprovalId, DeskError, State};
use crate::identity::Identity;

use super::journal::{NONE, Scene, approval_changed};
use super::{Door, Gate};

impl Gate {
    /// Takes back the request `id` that `who` made, also where it is approved already, unless its statement was let
    /// through: true if this call took it back. `client` is from where, `address:port`.
    ///
    /// # Errors
    /// When the store fails, or there is no such request of `who`.
    pub fn withdraw(
        &self,
        who: &Identity,
        door: Door,
        client: &str,
        id: &ApprovalId,
    ) -> Result<bool, DeskError> {
        let request = self.desk.request(id)?;
        if request.requester != who.name() {
            return Err(DeskError::Unknown { id: id.to_string() });
        }
        if !matches!(request.state, State::Pending | State::Approved) {
            return Ok(false);
        }
        self.desk.withdraw(id)?;
        // It may have been approved just before: then the approval goes, unless somebody has used it by now.
        let approval = self.desk.approved(&request.digest)?.filter(|approval| approval.id() == id);
        if let Some(approval) = approval {
            self.desk.revoke(&approval)?;
        }
        let taken_back = self.desk.request(id)?.state == State::Withdrawn;
        if taken_back {
            let event = approval_changed(id, "withdrawn", who.name(), "its requester took it back");
            self.journal.note(&Scene::identity(who, door, client), &NONE, event);
        }
        Ok(taken_back)
    }
}
