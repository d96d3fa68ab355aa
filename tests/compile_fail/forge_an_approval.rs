//! An `Approval` is made by the desk when somebody says yes.
use portcullis::approval::{Approval, ApprovalId};

fn forge(id: ApprovalId) -> Approval {
    Approval { id, by: "priya".into(), groups: vec![], note: String::new(), at: Default::default() } //~ E0451
}

fn main() {}
