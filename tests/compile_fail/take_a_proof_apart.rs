//! What a proof grants (the SQL as it leaves) stays inside the gateway.
use portcullis::gate::{Authorized, Bind, Query};

fn open(proof: Authorized<Query>) {
    proof.spend(); //~ E0624
}

fn swap(mut proof: Authorized<Bind>, other: Bind) {
    proof.act = other; //~ E0616
}

fn main() {}
