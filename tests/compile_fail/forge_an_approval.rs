//! An `Approval` is made by the desk when somebody says yes.
use portcullis::approval::{Approval, ApprovalId};

fn forge(id: ApprovalId) -> Approval {
    Approval { id, votes: vec![] } //~ E0451
}

fn main() {}
