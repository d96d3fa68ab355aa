//! The PostgreSQL server binaries of this machine, and the account that they run as.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::ClusterError;

/// A folder with `initdb` and `postgres`, ready to be run.
#[derive(Debug, Clone)]
pub struct Installation {
    bin: PathBuf,
    version: Version,
}

/// A server version, for example `15.18`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The major version.
    pub major: u32,
    /// The minor version; 0 for a development version.
    pub minor: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl Version {
    /// Reads what `postgres --version` prints: `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`.
    fn parse(printed: &str) -> Option<Self> {
        let number =
            printed.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
        let (major, minor) = number.split_once('.').unwrap_or((number, "0"));
        Some(Self { major: leading_number(major)?, minor: leading_number(minor).unwrap_or(0) })
    }
}

impl Installation {
    /// The newest PostgreSQL server on `PATH`, where `pg_config` points, or in the folders of the usual
    /// distributions.
    ///
    /// # Errors
    /// When there is none.
    pub fn find() -> Result<Self, ClusterError> {
        Self::newest(&candidates()).ok_or(ClusterError::NoServer)
    }

    /// The server's version.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Where the program `name` of this installation is, if it has it.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }

    /// A command that runs `program` of this installation in `folder`, as the folder's owner, in a process group
    /// of its own: a Ctrl-C in the terminal is ours to handle, not the server's.
    pub(super) fn command(&self, program: &str, folder: &Path) -> Result<Command, ClusterError> {
        let owner = fs::metadata(folder).map_err(ClusterError::io("read the temporary folder"))?;
        let mut command = Command::new(self.bin.join(program));
        command.current_dir(folder).env("LC_ALL", "C").process_group(0);
        for name in READ_BY_SERVER {
            command.env_remove(name);
        }
        if current_user()? == ROOT {
            command.uid(owner.uid()).gid(owner.gid());
        }
        Ok(command)
    }

    fn newest(folders: &BTreeSet<PathBuf>) -> Option<Self> {
        folders.iter().filter_map(|bin| Self::at(bin)).max_by_key(|found| found.version)
    }

    /// The server whose programs are in `bin`, if they are.
    #[must_use]
    pub fn at(bin: &Path) -> Option<Self> {
        if !bin.join("initdb").is_file() {
            return None;
        }
        let output = Command::new(bin.join("postgres")).arg("--version").output().ok()?;
        let version = Version::parse(&String::from_utf8_lossy(&output.stdout))?;
        Some(Self { bin: bin.to_owned(), version })
    }
}

/// Who the server runs as, where we are root and it would refuse: `(uid, gid)` of `postgres`, or else of `nobody`.
/// `None` where we are an ordinary user already.
pub(super) fn unprivileged_owner() -> Result<Option<(u32, u32)>, ClusterError> {
    if current_user()? != ROOT {
        return Ok(None);
    }
    let accounts = fs::read_to_string("/etc/passwd").map_err(ClusterError::io("read `/etc/passwd`"))?;
    ["postgres", "nobody"]
        .iter()
        .find_map(|name| account(&accounts, name))
        .map(Some)
        .ok_or(ClusterError::NoAccount)
}

/// Our own user: the owner of whatever we make.
fn current_user() -> Result<u32, ClusterError> {
    let made = tempfile::tempfile().map_err(ClusterError::io("make a temporary file"))?;
    Ok(made.metadata().map_err(ClusterError::io("read a temporary file"))?.uid())
}

fn account(accounts: &str, name: &str) -> Option<(u32, u32)> {
    let mut fields = accounts
        .lines()
        .map(|line| line.split(':'))
        .find_map(|mut fields| (fields.next() == Some(name)).then_some(fields))?;
    let uid = fields.nth(1)?.parse().ok()?;
    let gid = fields.next()?.parse().ok()?;
    (uid != ROOT).then_some((uid, gid))
}

/// Every folder that may hold server binaries, links resolved: `initdb` looks for its files beside itself.
fn candidates() -> BTreeSet<PathBuf> {
    let beside = PARENTS
        .iter()
        .flat_map(|parent| fs::read_dir(parent).into_iter().flatten().flatten())
        .map(|version| version.path().join("bin"));
    let folders = on_path().into_iter().chain(from_pg_config()).chain(beside);
    folders
        .filter_map(|folder| fs::canonicalize(folder.join("postgres")).ok())
        .filter_map(|postgres| postgres.parent().map(Path::to_owned))
        .collect()
}

#[expect(clippy::disallowed_methods, reason = "programs are looked for along PATH, as a shell would")]
fn on_path() -> Vec<PathBuf> {
    std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default()
}

fn from_pg_config() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").output().ok()?;
    Some(PathBuf::from(String::from_utf8(output.stdout).ok()?.trim()))
}

fn leading_number(text: &str) -> Option<u32> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.get(..end)?.parse().ok()
}

const ROOT: u32 = 0;

/// Folders with one child a version, and the binaries in that child's `bin`.
const PARENTS: [&str; 6] = [
    "/usr/lib/postgresql",
    "/usr", // `/usr/pgsql-16/bin`
    "/opt/homebrew/opt",
    "/usr/local/opt",
    "/home/linuxbrew/.linuxbrew/opt",
    "/Applications/Postgres.app/Contents/Versions",
];

/// Variables that would change what the server does.
const READ_BY_SERVER: [&str; 5] = ["PGDATA", "PGPORT", "PGDATESTYLE", "PGCLIENTENCODING", "PGOPTIONS"];

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn install(folder: &Path, version: &str) -> PathBuf {
        fs::create_dir_all(folder).unwrap();
        for (name, text) in [
            ("initdb", String::new()),
            ("postgres", format!("#!/bin/sh\necho 'postgres (PostgreSQL) {version}'\n")),
        ] {
            fs::write(folder.join(name), text).unwrap();
            fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
        folder.to_owned()
    }

    #[test]
    fn versions_are_read_as_the_distributions_print_them() {
        let version = |major, minor| Some(Version { major, minor });
        assert_eq!(Version::parse("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"), version(15, 18));
        assert_eq!(Version::parse("postgres (PostgreSQL) 19devel"), version(19, 0));
        assert_eq!(Version::parse("postgres (PostgreSQL) 18beta1"), version(18, 0));
        assert_eq!(Version::parse("postgres: command not found"), None);
    }

    #[test]
    fn the_newest_version_wins_and_10_is_newer_than_9() {
        let folder = tempfile::tempdir().unwrap();
        let folders = BTreeSet::from([
            install(&folder.path().join("9"), "9.6.24"),
            install(&folder.path().join("10"), "10.3"),
            folder.path().join("missing"),
        ]);
        assert_eq!(Installation::newest(&folders).unwrap().version(), Version { major: 10, minor: 3 });
    }

    #[test]
    fn a_folder_without_initdb_is_no_installation() {
        let folder = tempfile::tempdir().unwrap();
        let bin = install(&folder.path().join("client-only"), "17.1");
        fs::remove_file(bin.join("initdb")).unwrap();
        assert!(Installation::newest(&BTreeSet::from([bin])).is_none());
    }

    #[test]
    fn accounts_are_found_by_their_whole_name_and_root_never_is() {
        let accounts = "root:x:0:0::/:/bin/sh\nnobody2:x:5:6::/:\nnobody:x:65534:65533::/:\ntoor:x:0:0::/:\n";
        assert_eq!(account(accounts, "nobody"), Some((65534, 65533)));
        assert_eq!(account(accounts, "postgres"), None);
        assert_eq!(account(accounts, "toor"), None);
    }
}
