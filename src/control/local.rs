//! Bundles on disk: as a file, as a folder, and the last good one of each in the state folder.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crate::policy::bundle::{self, MAX_PACKED};

/// The packed bundle at `path`, which is a `.tar.gz` or a folder with what would be in it.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, String> {
    let unreadable = |error: io::Error| format!("`{}` can't be read: {error}", path.display());
    if !fs::metadata(path).map_err(unreadable)?.is_dir() {
        return read_bounded(path).map_err(unreadable);
    }
    let mut files = BTreeMap::new();
    let mut open = vec![(path.to_owned(), String::new(), MAX_DEPTH)];
    let mut total = 0_usize;
    while let Some((folder, prefix, depth)) = open.pop() {
        for entry in fs::read_dir(&folder).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            if name.starts_with('.') && !DOT_FILES.contains(&name.as_str()) {
                continue;
            }
            let place = format!("{prefix}{name}");
            if path.is_dir() {
                let below = depth.checked_sub(1);
                let below = below.ok_or_else(|| format!("`{}` lies too deep", path.display()))?;
                open.push((path, format!("{place}/"), below));
                continue;
            }
            let bytes = read_bounded(&path).map_err(unreadable)?;
            total = total.saturating_add(bytes.len());
            if total > MAX_PACKED || files.len() >= MAX_FILES {
                return Err(format!(
                    "`{}` is too much: 64 MiB and 10000 files are allowed",
                    folder.display()
                ));
            }
            files.insert(place, bytes);
        }
    }
    bundle::pack(&files).map_err(|error| error.to_string())
}

/// Puts `bytes` at `path`: whole or not at all, and on disk when this returns.
pub(super) fn keep(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let beside = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    File::open(folder)?.sync_all()
}

/// What [`keep`] left at `path`; `None` where it never did.
pub(super) fn kept(path: &Path) -> Result<Option<Vec<u8>>, String> {
    match read_bounded(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("`{}` can't be read: {error}", path.display())),
    }
}

/// One byte more than allowed is enough to refuse it later, with the reader's own words.
fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(MAX_PACKED).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Hidden files that mean something; editors and version control leave others.
const DOT_FILES: [&str; 2] = [".manifest", ".signatures.json"];
const MAX_DEPTH: usize = 8;
const MAX_FILES: usize = 10_000;
