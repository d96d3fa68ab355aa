//! The rulebook that ships: its own tests, and who may do what as one table.

use std::fs;
use std::path::{Path, PathBuf};

use portcullis::identity::directory::{AgentSource, Directory};
use portcullis::policy::{Snapshot, Source};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn files(root: &Path, folder: &Path, into: &mut Vec<(String, String)>) {
    let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            files(root, &path, into);
        } else {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            into.push((name, fs::read_to_string(&path).unwrap()));
        }
    }
}

fn shipped_rulebook() -> Vec<Source> {
    let root = folder("policies");
    let mut found = Vec::new();
    files(&root, &root, &mut found);
    found.into_iter().map(|(path, text)| Source { path, text }).collect()
}

fn shipped_agents() -> Directory {
    let root = folder("agents");
    let mut found = Vec::new();
    files(&root, &root, &mut found);
    let sources: Vec<_> = found.into_iter().map(|(path, text)| AgentSource { path, text }).collect();
    Directory::build(&sources).unwrap()
}

fn shipped() -> Snapshot {
    Snapshot::build(&shipped_rulebook(), &shipped_agents().to_data()).unwrap()
}

#[test]
fn the_shipped_rulebook_loads() {
    let snapshot = shipped();
    assert_eq!(snapshot.revision().len(), 16);
    assert_eq!(snapshot.revision(), shipped().revision());
}
