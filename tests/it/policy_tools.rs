//! `portcullis policy` as its users see it: words, documents and exit codes.

mod checking;
mod evaluating;
mod handbook;
mod replaying;
mod testing;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// What a run left.
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ran {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}\n{}", self.out, self.err))
    }
}

/// A folder with a rulebook in `policies`, and the program in it.
struct Desk {
    folder: tempfile::TempDir,
}

impl Desk {
    /// A rulebook that allows everything, and `files` besides.
    fn open(files: &[(&str, &str)]) -> Self {
        let desk = Self { folder: tempfile::tempdir().unwrap() };
        desk.write("policies/statement.rego", "package portcullis.statement\n\nallow := true\n");
        desk.write("policies/session.rego", "package portcullis.session\n\nallow := true\n");
        desk.write("policies/approval.rego", "package portcullis.approval\n\neligible := true\n");
        files.iter().for_each(|(path, text)| desk.write(&format!("policies/{path}"), text));
        desk
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Runs `portcullis policy` with `arguments`.
    fn run(&self, arguments: &[&str]) -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
        command.arg("policy").args(arguments).current_dir(&self.folder).env_remove("PORTCULLIS_LOG");
        let output = command.output().unwrap();
        Ran {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// The rulebook that ships.
fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("policies")
}
