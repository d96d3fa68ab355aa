//! MCP's own test suite, its inspector, and real clients by the SDKs of others. `scripts/clients.sh` installs them below
//! `target/clients`; where that can't be done, these tests say so and pass.

mod conformance;
mod inspector;
mod registry;
mod sdks;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Output;

use tokio::process::Command;

/// What a set of clients is run by.
#[derive(Debug)]
pub(crate) struct Clients {
    home: PathBuf,
}

impl Clients {
    /// Installs `sets`, if they are not there; `None`, with the reason printed, where that can't be done.
    #[expect(clippy::print_stdout, reason = "whoever runs the test should know what it left out")]
    pub(crate) async fn with(sets: &[&str]) -> Option<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let lock = Path::new(env!("CARGO_TARGET_TMPDIR")).join("clients.lock");
        let lock = tokio::task::spawn_blocking(move || {
            File::create(lock).and_then(|file| file.lock().map(|()| file))
        });
        let lock = lock.await.unwrap().unwrap();
        let installed = Command::new(root.join("scripts/clients.sh")).args(sets).output().await.unwrap();
        drop(lock);
        if installed.status.code() == Some(3) {
            println!("skipped: {}", String::from_utf8_lossy(&installed.stderr));
            return None;
        }
        assert!(installed.status.success(), "{}", said(&installed));
        Some(Self { home: root.join("target/clients") })
    }

    /// The folder of one set.
    pub(crate) fn folder(&self, set: &str) -> PathBuf {
        self.home.join(set)
    }

    /// The Python that has the SDK.
    pub(crate) fn python(&self) -> Command {
        let mut command = Command::new(self.home.join("mcp-python/bin/python"));
        command.env("NO_PROXY", "127.0.0.1,localhost").kill_on_drop(true);
        command
    }

    /// A script, or an installed program, run by the installed Node.js.
    pub(crate) fn node(&self, script: impl AsRef<Path>) -> Command {
        let mut command = Command::new(self.home.join("node22/node_modules/.bin/node"));
        command.arg(self.home.join(script)).env("NO_PROXY", "127.0.0.1,localhost").kill_on_drop(true);
        command
    }
}

/// All that a program printed.
pub(crate) fn said(output: &Output) -> String {
    let part = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}\n{}", part(&output.stdout), part(&output.stderr))
}

/// A file of this repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Its text.
pub(crate) fn text(path: &str) -> String {
    fs::read_to_string(repository(path)).unwrap()
}
