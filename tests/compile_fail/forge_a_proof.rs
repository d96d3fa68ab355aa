//! An `Authorized` can't be built outside the gate.
use portcullis::gate::{Approve, Authorized};

fn forge(act: Approve) -> Authorized<Approve> {
    Authorized { act, grant: Vec::new() } //~ E0451
}

fn main() {}
