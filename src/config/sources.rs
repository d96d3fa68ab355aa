//! The folders that a gateway is told to obey: the rulebook's files and the identities' files, as text.
//!
//! Both are read strictly: a file that would be skipped could be a rule that was meant to deny.

use std::io;
use std::path::{Path, PathBuf};

use crate::identity::directory::AgentSource;
use crate::policy::Source;

/// A folder that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SourcesError {
    /// A folder or file can't be read.
    #[error("`{}` can't be read", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// A file has no business there.
    #[error("`{}` has no business here; allowed are {allowed}", path.display())]
    Stray {
        /// Which.
        path: PathBuf,
        /// What may be there.
        allowed: &'static str,
    },
    /// A file is YAML.
    #[error("`{}` is YAML, which is not read: write it as JSON", path.display())]
    Yaml {
        /// Which.
        path: PathBuf,
    },
    /// There is too much of something.
    #[error("`{}` is too much: {what}", path.display())]
    TooMuch {
        /// Which folder or file.
        path: PathBuf,
        /// Of what.
        what: &'static str,
    },
    /// There is nothing.
    #[error("`{}` holds no {wanted}", path.display())]
    Nothing {
        /// Which folder.
        path: PathBuf,
        /// What should be there.
        wanted: &'static str,
    },
}

/// Every policy (`.rego`) and data file (`.json`) below `folder`, ordered by path.
///
/// # Errors
/// When something can't be read, is of another sort, or there is no policy.
pub fn rulebook(folder: &Path) -> Result<Vec<Source>, SourcesError> {
    let files = walk(folder, MAX_DEPTH, &["rego", "json"], "`.rego`, `.json` and `.md` files")?;
    let sources = files.into_iter().map(|(path, text)| Source::file(path, text)).collect::<Vec<_>>();
    if !sources.iter().any(|source| source.path.ends_with(".rego")) {
        return Err(SourcesError::Nothing { path: folder.to_owned(), wanted: "policy (`.rego`)" });
    }
    Ok(sources)
}

/// Every identity's file (`.toml`) in `folder`, ordered by name. There may be none yet.
///
/// # Errors
/// When something can't be read or is of another sort.
pub fn agents(folder: &Path) -> Result<Vec<AgentSource>, SourcesError> {
    let files = walk(folder, 0, &["toml"], "`NAME.toml` and `.md` files")?;
    Ok(files.into_iter().map(|(path, text)| AgentSource { path, text }).collect())
}

/// Files with one of `extensions` in `folder` and folders down to `depth` below it, with their text.
fn walk(
    folder: &Path,
    depth: usize,
    extensions: &[&str],
    allowed: &'static str,
) -> Result<Vec<(String, String)>, SourcesError> {
    let mut found = Vec::new();
    let mut open = vec![(folder.to_owned(), String::new(), depth)];
    while let Some((folder, prefix, depth)) = open.pop() {
        let unreadable = |source| SourcesError::Unreadable { path: folder.clone(), source };
        for entry in std::fs::read_dir(&folder).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
                return Err(SourcesError::Stray { path, allowed });
            };
            // Editors and version control leave hidden files and folders.
            if name.starts_with('.') {
                continue;
            }
            let place = format!("{prefix}{name}");
            if path.is_dir() {
                let Some(below) = depth.checked_sub(1) else {
                    return Err(SourcesError::Stray { path, allowed });
                };
                open.push((path, format!("{place}/"), below));
                continue;
            }
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("md") => {}
                Some(extension) if extensions.contains(&extension) => found.push((place, read(&path)?)),
                Some("yaml" | "yml") => return Err(SourcesError::Yaml { path }),
                _ => return Err(SourcesError::Stray { path, allowed }),
            }
            if found.len() > MAX_FILES {
                return Err(SourcesError::TooMuch { path: folder, what: "more than 10000 files" });
            }
        }
    }
    found.sort();
    Ok(found)
}

fn read(path: &Path) -> Result<String, SourcesError> {
    let unreadable = |source| SourcesError::Unreadable { path: path.to_owned(), source };
    if std::fs::metadata(path).map_err(unreadable)?.len() > MAX_BYTES {
        return Err(SourcesError::TooMuch { path: path.to_owned(), what: "more than 16 MiB" });
    }
    std::fs::read_to_string(path).map_err(unreadable)
}

/// A link back to a parent folder ends here.
const MAX_DEPTH: usize = 8;
const MAX_FILES: usize = 10_000;
const MAX_BYTES: u64 = 16 << 20;
