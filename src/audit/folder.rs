//! The ledger's folder: numbered segments that are only ever added to, and a lock that one writer holds.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::chain::{self, Fault, Head};
use super::ledger::{Durability, OpenError, Settings};
use super::sink::Sink;
use super::verify::VerifyError;

/// The folder, opened for writing.
#[derive(Debug)]
pub(super) struct Folder {
    settings: Settings,
    number: u32,
    file: File,
    /// The bytes of the newest segment that are known to be good.
    size: u64,
    /// Whether more than `size` bytes may be in it: a write failed half-way.
    torn: bool,
    /// Held until the folder is dropped; the operating system lets go of it when the process dies.
    _lock: File,
}

/// What opening found.
#[derive(Debug)]
pub(super) struct Found {
    /// Where the chain stands.
    pub(super) head: Head,
    /// Bytes of an incomplete last line that were cut off, and of which segment.
    pub(super) cut: Option<(PathBuf, u64)>,
}

impl Folder {
    /// Takes the folder's lock, checks the newest segment, cuts off an incomplete last line.
    pub(super) fn open(settings: &Settings) -> Result<(Self, Found), OpenError> {
        let folder = &settings.folder;
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| OpenError::Io { path, source }
        };
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed(folder))?;
        let lock = locked(folder)?;
        let segments = segments(folder).map_err(failed(folder))?;
        let number = segments.last().map_or(1, |(number, _)| *number);
        let path = segment_path(folder, number);
        let file = opened(&path).and_then(|file| synced(folder, file)).map_err(failed(&path))?;
        let (head, size) = position(&segments)?;
        let length = file.metadata().map_err(failed(&path))?.len();
        let mut cut = None;
        if length > size {
            file.set_len(size).and_then(|()| file.sync_data()).map_err(failed(&path))?;
            cut = Some((path, length - size));
        }
        let opened = Self { settings: settings.clone(), number, file, size, torn: false, _lock: lock };
        Ok((opened, Found { head, cut }))
    }

    /// Whether the file that is written is still where everybody looks for it. A folder that was moved away or
    /// removed takes lines without any error, and nobody would ever read them.
    fn in_place(&self) -> io::Result<()> {
        let path = segment_path(&self.settings.folder, self.number);
        let written = self.file.metadata()?;
        let same = |found: fs::Metadata| (found.dev(), found.ino()) == (written.dev(), written.ino());
        if fs::metadata(&path).is_ok_and(same) {
            return Ok(());
        }
        let what = format!("`{}` was moved away or removed: put it back, or start again", path.display());
        Err(io::Error::other(what))
    }

    fn mend(&mut self) -> io::Result<()> {
        if self.torn {
            self.file.set_len(self.size)?;
            self.torn = false;
        }
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        let number = self.number.saturating_add(1);
        let file = opened(&segment_path(&self.settings.folder, number))?;
        self.file = synced(&self.settings.folder, file)?;
        self.number = number;
        self.size = 0;
        Ok(())
    }
}

impl Sink for Folder {
    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        self.in_place()?;
        self.mend()?;
        if self.size >= self.settings.segment_bytes {
            self.rotate()?;
        }
        self.torn = true;
        let written = self.file.write_all(lines).and_then(|()| match self.settings.durability {
            Durability::Fsync => self.file.sync_data(),
            Durability::Os => Ok(()),
        });
        if let Err(error) = written {
            // A disk that can't even cut off the torn end is asked again before the next write.
            return Err(self.mend().err().unwrap_or(error));
        }
        self.torn = false;
        self.size += u64::try_from(lines.len()).unwrap_or(u64::MAX);
        Ok(())
    }
}

/// The folder's segments with their numbers, in order. Other files are left alone.
pub(super) fn segments(folder: &Path) -> io::Result<Vec<(u32, PathBuf)>> {
    let mut found = Vec::new();
    for entry in folder.read_dir()? {
        let path = entry?.path();
        let name =
            path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(EXTENSION));
        let number = name.filter(|name| name.len() >= 6).and_then(|name| name.parse::<u32>().ok());
        if let Some(number) = number {
            found.push((number, path));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// The lines of one segment, in order, without their newlines. Bytes after the last newline end it with
/// [`Fault::Torn`].
pub(super) struct Lines {
    reader: BufReader<File>,
    path: PathBuf,
    line: u64,
}

impl Lines {
    pub(super) fn of(path: &Path) -> Result<Self, VerifyError> {
        let file = File::open(path).map_err(|error| VerifyError::io(path, 0, &error))?;
        Ok(Self { reader: BufReader::new(file), path: path.to_owned(), line: 0 })
    }

    /// The next line, and its number from 1.
    pub(super) fn next(&mut self) -> Result<Option<(u64, String)>, VerifyError> {
        let mut bytes = Vec::new();
        self.line += 1;
        let read = self.reader.read_until(b'\n', &mut bytes);
        let read = read.map_err(|error| VerifyError::io(&self.path, self.line, &error))?;
        if read == 0 {
            return Ok(None);
        }
        if bytes.pop() != Some(b'\n') {
            return Err(self.fault(Fault::Torn));
        }
        let text = String::from_utf8(bytes)
            .map_err(|error| self.fault(Fault::Unreadable { why: error.utf8_error().to_string() }))?;
        Ok(Some((self.line, text)))
    }

    /// `fault`, with where it is.
    pub(super) fn fault(&self, fault: Fault) -> VerifyError {
        VerifyError { file: self.path.clone(), line: self.line, why: fault }
    }
}

/// Where the chain stands, and how many bytes of the newest segment are whole lines. The newest segment that
/// has lines is checked from end to end; older ones are for `audit verify`.
fn position(segments: &[(u32, PathBuf)]) -> Result<(Head, u64), OpenError> {
    for (place, (number, path)) in segments.iter().enumerate().rev() {
        let (head, size) = segment_end(path, *number == 1)?;
        let newest = place + 1 == segments.len();
        if let Some(head) = head {
            return Ok((head, if newest { size } else { 0 }));
        }
    }
    Ok((Head::genesis(), 0))
}

/// The head after a segment's last whole line (`None` without one), and the length of its whole lines.
fn segment_end(path: &Path, first: bool) -> Result<(Option<Head>, u64), OpenError> {
    let mut lines = Lines::of(path)?;
    let mut head = first.then(Head::genesis);
    let mut size = 0;
    loop {
        let line = match lines.next() {
            Ok(Some((_, line))) => line,
            Err(VerifyError { why: Fault::Torn, .. }) | Ok(None) => break,
            Err(error) => return Err(error.into()),
        };
        let mut current = match head {
            Some(head) => head,
            None => chain::before(&line).map_err(|fault| lines.fault(fault))?,
        };
        chain::check(&line, &mut current).map_err(|fault| lines.fault(fault))?;
        head = Some(current);
        size += u64::try_from(line.len() + 1).unwrap_or(u64::MAX);
    }
    Ok((head.filter(|_| size > 0), size))
}

fn locked(folder: &Path) -> Result<File, OpenError> {
    let path = folder.join("lock");
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = file.map_err(|source| OpenError::Io { path: path.clone(), source })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked { folder: folder.to_owned() }),
        Err(TryLockError::Error(source)) => Err(OpenError::Io { path, source }),
    }
}

fn opened(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

/// A new file is there after a crash only if its folder was synced.
fn synced(folder: &Path, file: File) -> io::Result<File> {
    File::open(folder)?.sync_all()?;
    Ok(file)
}

fn segment_path(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("{number:06}{EXTENSION}"))
}

const EXTENSION: &str = ".jsonl";
