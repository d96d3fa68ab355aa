//! The fuzzers' corpus, replayed: every input that ever mattered, without a fuzzer.

use std::fs;
use std::path::Path;

#[path = "../../fuzz/targets.rs"]
mod targets;

/// One of the fuzzers' bodies.
type Target = fn(&[u8]);

#[test]
fn the_whole_corpus_is_taken_without_a_panic() {
    let all: [(&str, Target); 7] = [
        ("startup", targets::startup),
        ("frontend", targets::frontend),
        ("backend", targets::backend),
        ("statement", targets::statement),
        ("scram", targets::scram),
        ("greeting", targets::greeting),
        ("session", targets::session),
    ];
    for (name, target) in all {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
        let inputs: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(inputs.len() >= 4, "{name} has {} inputs", inputs.len());
        for input in inputs {
            let whole = fs::read(&input).unwrap();
            // Cut anywhere, too: bytes arrive as they please.
            for length in (0..=whole.len()).rev().step_by(whole.len() / 16 + 1) {
                target(&whole[..length]);
            }
        }
    }
}
