//! The archive of a bundle: gzip around tar, read to its last byte, within bounds that are checked before anything is kept.

use std::collections::BTreeMap;
use std::io::{self, Read as _};

use flate2::bufread::GzDecoder;
use flate2::{Compression, GzBuilder};

use super::BundleError;

/// The files of a bundle by their paths, without a leading `/` or `./`.
pub(super) type Files = BTreeMap<String, Vec<u8>>;

/// Unpacks `packed`.
pub(super) fn unpack(packed: &[u8]) -> Result<Files, BundleError> {
    let tar = inflate(packed)?;
    let mut rest = tar.as_slice();
    let files = entries(&mut rest)?;
    if rest.iter().any(|byte| *byte != 0) {
        return Err(BundleError::Archive("goes on behind its end".to_owned()));
    }
    if !tar.ends_with(&[0; BLOCK]) {
        return Err(BundleError::Archive("has no end: it is cut off".to_owned()));
    }
    Ok(files)
}

/// The files in `tar`, of which is left what stands behind its end.
fn entries(tar: &mut &[u8]) -> Result<Files, BundleError> {
    let mut files = Files::new();
    let mut archive = tar::Archive::new(tar);
    for entry in archive.entries().map_err(|error| broken(&error))? {
        let mut entry = entry.map_err(|error| broken(&error))?;
        let kind = entry.header().entry_type();
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if kind.is_dir() || kind.is_pax_global_extensions() {
            continue;
        }
        if !kind.is_file() {
            return Err(refused(&path, "is a link or a device: a bundle holds plain files only"));
        }
        let name = plain(&path)?;
        let size = entry.size();
        if size > MAX_FILE {
            return Err(BundleError::TooMuch { what: format!("`{path}`"), limit: "16 MiB" });
        }
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).map_err(|error| broken(&error))?;
        if u64::try_from(bytes.len()).ok() != Some(size) {
            return Err(BundleError::Archive(format!("ends within `{path}`: it is cut off")));
        }
        if files.insert(name, bytes).is_some() {
            return Err(refused(&path, "is there twice"));
        }
        if files.len() > MAX_FILES {
            return Err(BundleError::TooMuch { what: "the archive".to_owned(), limit: "10000 files" });
        }
    }
    Ok(files)
}

/// Packs files, in this order: the same files are the same bytes, whenever and wherever they are packed.
pub(super) fn pack(files: &[(&str, &[u8])]) -> Result<Vec<u8>, BundleError> {
    let gzip = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    let mut archive = tar::Builder::new(gzip);
    let packed = files.iter().try_for_each(|(path, bytes)| {
        let mut header = tar::Header::new_gnu();
        header.set_size(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_entry_type(tar::EntryType::Regular);
        archive.append_data(&mut header, path, *bytes)
    });
    let packed = packed.and_then(|()| archive.into_inner()).and_then(|gzip| gzip.finish());
    packed.map_err(|error| BundleError::Archive(format!("can't be made: {error}")))
}

/// A path as it is known by: `/` and `./` before it mean nothing.
pub(super) fn plain(path: &str) -> Result<String, BundleError> {
    let mut rest = path;
    while let Some(shorter) = rest.strip_prefix('/').or_else(|| rest.strip_prefix("./")) {
        rest = shorter;
    }
    let odd = |part: &str| part.is_empty() || part == "." || part == "..";
    if rest.split('/').any(odd) || rest.contains(|letter: char| letter == '\\' || letter.is_control()) {
        return Err(refused(path, "is no path for a file: no `..`, no empty parts, no control characters"));
    }
    if rest.len() > MAX_PATH {
        return Err(BundleError::TooMuch { what: format!("the path `{path}`"), limit: "512 bytes" });
    }
    Ok(rest.to_owned())
}

fn inflate(packed: &[u8]) -> Result<Vec<u8>, BundleError> {
    if packed.len() > MAX_PACKED {
        return Err(BundleError::TooMuch { what: "the archive".to_owned(), limit: "64 MiB" });
    }
    if !packed.starts_with(&[0x1f, 0x8b]) {
        return Err(BundleError::Archive("is not gzip: a bundle is a `.tar.gz`".to_owned()));
    }
    let mut gzip = GzDecoder::new(packed).take(MAX_UNPACKED + 1);
    let mut tar = Vec::new();
    gzip.read_to_end(&mut tar).map_err(|error| broken(&error))?;
    if u64::try_from(tar.len()).unwrap_or(u64::MAX) > MAX_UNPACKED {
        return Err(BundleError::TooMuch { what: "the unpacked archive".to_owned(), limit: "256 MiB" });
    }
    match gzip.into_inner().into_inner() {
        [] => Ok(tar),
        behind => Err(BundleError::Archive(format!("has {} bytes behind its end", behind.len()))),
    }
}

fn broken(error: &io::Error) -> BundleError {
    let cut_off = error.kind() == io::ErrorKind::UnexpectedEof;
    BundleError::Archive(if cut_off { "is cut off".to_owned() } else { format!("is damaged: {error}") })
}

fn refused(path: &str, why: &str) -> BundleError {
    BundleError::File { path: path.to_owned(), why: why.to_owned() }
}

/// The most bytes of a packed bundle.
pub const MAX_PACKED: usize = 64 << 20;

const MAX_UNPACKED: u64 = 256 << 20;

/// As in the rulebook's folder.
const MAX_FILE: u64 = 16 << 20;
const MAX_FILES: usize = 10_000;
const MAX_PATH: usize = 512;

/// The unit of a tar; its end is made of such blocks of zeros.
const BLOCK: usize = 512;
