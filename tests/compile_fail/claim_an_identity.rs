//! An `Identity` is made by proving to be it.
use portcullis::identity::{Identity, Kind, Limits, Proof};

fn claim() -> Identity {
    Identity {
        name: "root".into(), //~ E0451
        kind: Kind::Human,
        owner: None,
        groups: vec![],
        limits: Limits::default(),
        proof: Proof::Token,
        vouched: None,
    }
}

fn main() {}
