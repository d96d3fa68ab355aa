//! The rulebooks that were in force, in the state folder: records of the ledger name them by their revisions.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use crate::policy::Snapshot;
use crate::policy::archive::Archive;

/// Writes the rulebook down, if it is not there: whole or not at all.
///
/// # Errors
/// When the disk can't take it.
pub(super) fn keep(state: &Path, policy: &Snapshot) -> io::Result<()> {
    let path = place(state, policy.revision());
    if path.exists() {
        return Ok(());
    }
    let folder = state.join(FOLDER);
    fs::create_dir_all(&folder)?;
    let half = path.with_extension("new");
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&half)?;
    let mut packed = GzEncoder::new(file, Compression::default());
    serde_json::to_writer(&mut packed, &policy.archive())?;
    let mut file = packed.finish()?;
    file.flush()?;
    file.sync_all()?;
    fs::rename(&half, &path)?;
    File::open(&folder)?.sync_all()
}

/// The rulebook of `revision` as it was in force.
///
/// # Errors
/// When it is not there, or can't be read.
pub fn load(state: &Path, revision: &str) -> io::Result<Archive> {
    let is_revision = !revision.is_empty() && revision.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_revision {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("`{revision}` is no revision")));
    }
    let packed = File::open(place(state, revision))?;
    let mut text = Vec::new();
    GzDecoder::new(packed).take(MOST_BYTES).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

fn place(state: &Path, revision: &str) -> PathBuf {
    state.join(FOLDER).join(format!("{revision}.json.gz"))
}

const FOLDER: &str = "revisions";

/// The largest rulebook that is read again.
const MOST_BYTES: u64 = 1 << 30;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::policy::Source;

    fn snapshot(statement: &str) -> Snapshot {
        let sources = [
            Source::file("statement.rego", format!("package portcullis.statement\n{statement}\n")),
            Source::file("session.rego", "package portcullis.session\nallow := true\n"),
            Source::file("approval.rego", "package portcullis.approval\neligible := true\n"),
            Source::file("statement_test.rego", "package portcullis.statement_test\ntest_it := true\n"),
        ];
        Snapshot::build(&sources, &json!({"ana": {"kind": "human", "disabled": false}})).unwrap()
    }

    #[test]
    fn a_rulebook_is_restored_as_it_was() {
        let state = tempfile::tempdir().unwrap();
        let policy = snapshot("allow if input.door == \"wire\"");
        keep(state.path(), &policy).unwrap();
        keep(state.path(), &policy).unwrap();
        let archive = load(state.path(), policy.revision()).unwrap();
        assert_eq!(archive.sources.len(), 3, "tests decide nothing");
        assert_eq!(archive.restore().unwrap().revision(), policy.revision());
    }

    #[test]
    fn an_archive_that_was_changed_is_not_restored() {
        let policy = snapshot("allow := true");
        let mut archive = policy.archive();
        archive.sources[0].text.push_str("# one more line\n");
        assert!(archive.restore().unwrap_err().what.contains("the archive was changed"));
    }

    #[test]
    fn only_revisions_are_looked_for() {
        let state = tempfile::tempdir().unwrap();
        for name in ["", "../ledger", "abc/def", "zz"] {
            assert_eq!(load(state.path(), name).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
        assert_eq!(load(state.path(), "0123456789abcdef").unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
