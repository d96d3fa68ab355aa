//! Only the gate mints.
use portcullis::gate::{Approve, Authorized};

fn mint(act: Approve) -> Authorized<Approve> {
    Authorized::mint(act, Vec::new()) //~ E0624
}

fn main() {}
