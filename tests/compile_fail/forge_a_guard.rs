//! Only the rewrite makes a guard, so no other SQL goes up as one.

use portcullis::mask::Guard;
use portcullis::upstream::Outbox;

fn forge(outbox: &mut Outbox) {
    outbox.prepare_guard("g", &Guard("DROP TABLE customers".into())); //~ E0423
}

fn main() {}
