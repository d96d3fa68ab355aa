//! The outbox takes proofs and our own constant SQL, never text.
use portcullis::upstream::{House, Outbox};

fn text(outbox: &mut Outbox) {
    outbox.query("DELETE FROM customers", &[]); //~ E0308
}

fn house(outbox: &mut Outbox) {
    outbox.house(House::Custom("DELETE FROM customers")); //~ E0599
}

fn raw(outbox: &mut Outbox) {
    outbox.buffer.extend_from_slice(b"Q"); //~ E0616
}

fn main() {}
