//! A secret of the gateway's own, in a file that only its user can read.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crate::audit::hex;

/// The 32 bytes in `path`, as 64 hexadecimal digits; made at random where there is no such file.
///
/// # Errors
/// When the file can't be read or made, or holds something else.
pub(super) fn read_or_make(path: &Path) -> io::Result<[u8; 32]> {
    match fs::read_to_string(path) {
        Ok(text) => parse(text.trim()).ok_or_else(|| {
            let what = format!("`{}` must hold 64 hexadecimal digits and nothing else", path.display());
            io::Error::new(io::ErrorKind::InvalidData, what)
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(path),
        Err(error) => Err(error),
    }
}

/// Written beside its place and moved there whole: a gateway that stops half-way leaves no half of a secret.
fn make(path: &Path) -> io::Result<[u8; 32]> {
    let secret: [u8; 32] = rand::random();
    let digits = hex(&secret);
    let beside = path.with_extension("new");
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    writeln!(file, "{digits}")?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    Ok(secret)
}

fn parse(digits: &str) -> Option<[u8; 32]> {
    if digits.len() != 64 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut secret = [0; 32];
    for (at, byte) in secret.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(at * 2..at * 2 + 2)?, 16).ok()?;
    }
    Some(secret)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_secret_is_made_once_and_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mask.key");
        let made = read_or_make(&path).unwrap();
        assert_eq!(read_or_make(&path).unwrap(), made);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_no_secret_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mask.key");
        for text in ["", "abc", &"g".repeat(64), &"0".repeat(66)] {
            fs::write(&path, text).unwrap();
            assert!(read_or_make(&path).unwrap_err().to_string().contains("64 hexadecimal digits"), "{text}");
            assert_eq!(fs::read_to_string(&path).unwrap(), *text);
        }
    }
}
