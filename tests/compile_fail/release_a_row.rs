//! Rows reach a client only as `Released`, which a `Release` makes.
use portcullis::mask::Released;

fn release(row: Vec<u8>) -> Released {
    Released(row) //~ E0423
}

fn main() {}
