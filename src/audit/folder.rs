//! The ledger's folder: numbered segments that are only ever added to, and a lock that one writer holds.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::chain::{self, Fault, Head};
use super::ledger::{Durability, OpenError, Settings};
use super::sink::Sink;
use super::verify::VerifyError;

/// The folder, opened for writing.
#[derive(Debug)]
pub(super) struct Folder {
    settings: Settings,
    number: u32,
    segment: Segment,
    /// The bytes of the newest segment that are known to be good.
    size: u64,
    /// Whether more than `size` bytes may be in it: a write failed half-way.
    torn: bool,
    /// When the segment was last seen in its place.
    seen: Option<Instant>,
    /// Held until the folder is dropped; the operating system lets go of it when the process dies.
    _lock: File,
}

/// The file that is written.
#[derive(Debug)]
struct Segment {
    path: PathBuf,
    file: File,
    /// Device and inode: they are the file's for as long as it is open.
    identity: (u64, u64),
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
        let segment = Segment::open(folder, number).map_err(failed(&path))?;
        let (head, size) = position(&segments)?;
        let length = segment.file.metadata().map_err(failed(&path))?.len();
        let mut cut = None;
        if length > size {
            let file = &segment.file;
            file.set_len(size).and_then(|()| file.sync_data()).map_err(failed(&path))?;
            cut = Some((path, length - size));
        }
        let settings = settings.clone();
        let opened = Self { settings, number, segment, size, torn: false, seen: None, _lock: lock };
        Ok((opened, Found { head, cut }))
    }

    /// Whether the file that is written is still where everybody looks for it. A folder that was moved away or
    /// removed takes lines without any error, and nobody would ever read them.
    ///
    /// With `durability = "os"` a look holds for [`LOOK_AGAIN`]: what it guards against is an operator's mistake, and
    /// lines of that moment are still in the file, wherever it was moved. Those who fsync wait long enough to look
    /// each time.
    #[expect(clippy::disallowed_methods, reason = "it paces a look at the disk, and decides nothing else")]
    fn in_place(&mut self) -> io::Result<()> {
        let now = match self.settings.durability {
            Durability::Fsync => None,
            Durability::Os => Some(Instant::now()),
        };
        let since = |(now, seen): (Instant, Instant)| now.saturating_duration_since(seen);
        if now.zip(self.seen).map(since).is_some_and(|age| age < LOOK_AGAIN) {
            return Ok(());
        }
        self.seen = None;
        let Segment { path, identity, .. } = &self.segment;
        if fs::metadata(path).is_ok_and(|found| (found.dev(), found.ino()) == *identity) {
            self.seen = now;
            return Ok(());
        }
        let what = format!("`{}` was moved away or removed: put it back, or start again", path.display());
        Err(io::Error::other(what))
    }

    fn mend(&mut self) -> io::Result<()> {
        if self.torn {
            self.segment.file.set_len(self.size)?;
            self.torn = false;
        }
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        let number = self.number.saturating_add(1);
        self.segment = Segment::open(&self.settings.folder, number)?;
        self.number = number;
        self.size = 0;
        Ok(())
    }
}

impl Segment {
    /// Opens or makes segment `number`.
    fn open(folder: &Path, number: u32) -> io::Result<Self> {
        let path = segment_path(folder, number);
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path)?;
        // A new file is there after a crash only if its folder was synced.
        File::open(folder)?.sync_all()?;
        let found = file.metadata()?;
        Ok(Self { path, file, identity: (found.dev(), found.ino()) })
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
        let file = &mut self.segment.file;
        let written = file.write_all(lines).and_then(|()| match self.settings.durability {
            Durability::Fsync => file.sync_data(),
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

fn segment_path(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("{number:06}{EXTENSION}"))
}

/// How long a look at the segment's place holds where records are not synced.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

const EXTENSION: &str = ".jsonl";
