//! The tour is a test that users can run. Here: it passes, and it notices when a rule no longer holds.

use std::path::Path;
use std::process::{Command, Output};

#[test]
fn the_tour_passes() {
    let tour = walk(None);
    let said = transcript(&tour);
    assert_eq!(tour.status.code(), Some(0), "{said}");
    assert!(said.contains("expectations hold.") && !said.contains('✗'), "{said}");
    assert!(said.contains("hidden@masked.invalid"), "{said}");
}

#[test]
fn a_mask_that_is_gone_is_noticed_and_nothing_leaks_all_the_same() {
    let tour = walk(Some(("data/labels.json", "\"ssn\": \"ssn\",", "")));
    let said = transcript(&tour);
    assert_eq!(tour.status.code(), Some(3), "{said}");
    assert!(said.contains("✗ NOT SO: e-mails and social security numbers are not"), "{said}");
    // The upstream role lacks the column: PostgreSQL is the second wall.
    assert!(said.contains("the database refused the statement"), "{said}");
    assert!(!said.contains("442-27-1988"), "{said}");
}

#[test]
fn a_rule_that_no_longer_denies_is_noticed() {
    let tour = walk(Some((
        "statement/writes.rego",
        "kind in {\"update\", \"delete\", \"merge\"}\n\tnot input.statement.condition.present",
        "kind in {\"merge\"}\n\tnot input.statement.condition.present",
    )));
    let said = transcript(&tour);
    assert_eq!(tour.status.code(), Some(3), "{said}");
    assert!(said.contains("✗ NOT SO: denied by rule `no_where`"), "{said}");
}

#[test]
fn an_owner_who_may_approve_is_noticed() {
    let tour =
        walk(Some(("data/rulebook.json", "\"owner_may_approve\": false", "\"owner_may_approve\": true")));
    let said = transcript(&tour);
    assert_eq!(tour.status.code(), Some(3), "{said}");
    assert!(said.contains("✗ NOT SO: an owner can't approve for their agent"), "{said}");
}

#[test]
fn a_broken_rulebook_does_not_start() {
    let tour = walk(Some(("approval.rego", "eligible if in_groups", "eligible if if")));
    let said = String::from_utf8(tour.stderr).unwrap();
    assert_eq!(tour.status.code(), Some(1), "{said}");
    assert!(said.contains("approval.rego:"), "{said}");
}

/// Runs the tour, with `replacement` of a text in one of the shipped rulebook's files.
fn walk(replacement: Option<(&str, &str, &str)>) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command.args(["demo", "--tour"]);
    if let Some((file, from, to)) = replacement {
        // Without its tests, which would keep the changed rulebook from being put in force.
        copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("policies"), folder.path());
        let path = folder.path().join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file} has no `{from}`");
        std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
        command.arg("--policies").arg(folder.path());
    }
    command.output().unwrap()
}

fn transcript(tour: &Output) -> String {
    let part = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}\n{}", part(&tour.stdout), part(&tour.stderr))
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else if !entry.file_name().to_string_lossy().ends_with("_test.rego") {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
