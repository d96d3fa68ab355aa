//! One proof, one send: an `Authorized` can be neither cloned nor used twice.
use portcullis::gate::{Authorized, Query};
use portcullis::upstream::Outbox;

fn clone(proof: &Authorized<Query>) -> Authorized<Query> {
    Authorized::clone(proof) //~ E0277
}

fn twice(outbox: &mut Outbox, proof: Authorized<Query>) {
    outbox.query(proof, &[]);
    outbox.query(proof, &[]); //~ E0382
}

fn main() {}
