//! `Act` is sealed: what the gate does not know can't be admitted.
use portcullis::gate::Act;

#[derive(Debug)]
struct Anything;

impl Act for Anything { //~ E0277
    type Grant = ();
}

fn main() {}
