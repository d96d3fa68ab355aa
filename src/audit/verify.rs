//! Reading a ledger back: the whole chain, held against itself, or its last lines.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read, Seek, SeekFrom};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::chain::{self, Entry, Fault, Head};
use super::folder::{Lines, segments};

/// A chain that holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// How many records it has.
    pub records: u64,
    /// How many of them had their text redacted.
    pub redacted: u64,
    /// The first record's number; 0 in an empty ledger.
    pub first: u64,
    /// The last record's number; 0 in an empty ledger.
    pub last: u64,
    /// The last record's hash: keep it elsewhere, and a later run proves that nothing before it changed.
    pub head_hash: String,
}

impl Verified {
    /// What a chain that holds does not prove, in whole sentences.
    #[must_use]
    pub fn unproven() -> &'static [&'static str] {
        &UNPROVEN
    }
}

/// Where a ledger doesn't hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}:{line}: {why}", file.display())]
pub struct VerifyError {
    /// The segment.
    pub file: PathBuf,
    /// The line in it, from 1; 0 where the file itself is at fault.
    pub line: u64,
    /// What is wrong.
    pub why: Fault,
}

impl VerifyError {
    pub(super) fn io(file: &Path, line: u64, error: &std::io::Error) -> Self {
        Self { file: file.to_owned(), line, why: Fault::Unreadable { why: error.to_string() } }
    }
}

/// Holds every record of the ledger in `folder` against the one before it. Needs no running gateway.
///
/// # Errors
/// Names the first line that doesn't hold.
pub fn verify(folder: &Path) -> Result<Verified, VerifyError> {
    let mut head = Head::genesis();
    let mut redacted = 0;
    let segments = segments(folder).map_err(|error| VerifyError::io(folder, 0, &error))?;
    for (expected, (number, path)) in (1..).zip(&segments) {
        if *number != expected {
            let why = Fault::OutOfOrder { expected: expected.into(), found: (*number).into() };
            return Err(VerifyError { file: path.clone(), line: 0, why });
        }
        let mut lines = Lines::of(path)?;
        while let Some((_, line)) = lines.next()? {
            let entry = chain::check(&line, &mut head).map_err(|fault| lines.fault(fault))?;
            redacted += u64::from(entry.redacted);
        }
    }
    let Head { sequence, hash } = head;
    Ok(Verified { records: sequence, redacted, first: sequence.min(1), last: sequence, head_hash: hash })
}

/// The last records of the ledger in `folder` that `wanted` picks, `most` at most, oldest first. Reads from
/// the end, and may run beside a writer: a line that is being written is left out. The content of each line is
/// checked, its place in the chain is not ([`verify`] does that).
///
/// # Errors
/// Names the line that can't be read.
pub fn tail(folder: &Path, most: usize, wanted: impl Fn(&Entry) -> bool) -> Result<Vec<Entry>, VerifyError> {
    let mut kept = VecDeque::new();
    let segments = segments(folder).map_err(|error| VerifyError::io(folder, 0, &error))?;
    'segments: for (_, path) in segments.iter().rev() {
        let mut lines = Backwards::of(path).map_err(|error| VerifyError::io(path, 0, &error))?;
        while kept.len() < most {
            let line = lines.next().map_err(|error| VerifyError::io(path, 0, &error))?;
            let Some(line) = line else { continue 'segments };
            let unreadable = |why| VerifyError { file: path.clone(), line: 0, why };
            let text = String::from_utf8(line)
                .map_err(|error| unreadable(Fault::Unreadable { why: error.to_string() }))?;
            let entry = chain::read(&text).map_err(unreadable)?;
            if wanted(&entry) {
                kept.push_front(entry);
            }
        }
        break;
    }
    Ok(kept.into())
}

/// Shows `see` every record of the ledger in `folder`, oldest first, until it has seen enough. May run beside a writer: a
/// line that is being written is left out. As with [`tail`], no line's place in the chain is checked.
///
/// # Errors
/// Names the line that can't be read.
pub fn each(folder: &Path, mut see: impl FnMut(Entry) -> ControlFlow<()>) -> Result<(), VerifyError> {
    for (_, path) in segments(folder).map_err(|error| VerifyError::io(folder, 0, &error))? {
        let file = File::open(&path).map_err(|error| VerifyError::io(&path, 0, &error))?;
        let mut lines = BufReader::new(file);
        for number in 1.. {
            let mut line = String::new();
            lines.read_line(&mut line).map_err(|error| VerifyError::io(&path, number, &error))?;
            let Some(line) = line.strip_suffix('\n') else { break };
            let entry =
                chain::read(line).map_err(|why| VerifyError { file: path.clone(), line: number, why })?;
            if see(entry).is_break() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// A file's whole lines, last first.
struct Backwards {
    file: File,
    /// Everything before this offset is still to be read.
    unread: u64,
    /// What was read and not given out: ends with a newline, or is empty.
    buffer: Vec<u8>,
}

impl Backwards {
    fn of(path: &Path) -> std::io::Result<Self> {
        let file = File::open(path)?;
        let unread = file.metadata()?.len();
        let mut lines = Self { file, unread, buffer: Vec::new() };
        while !lines.buffer.contains(&b'\n') && lines.fetch()? {}
        let whole = lines.buffer.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        lines.buffer.truncate(whole);
        Ok(lines)
    }

    fn next(&mut self) -> std::io::Result<Option<Vec<u8>>> {
        if self.buffer.pop().is_none() {
            if !self.fetch()? {
                return Ok(None);
            }
            self.buffer.pop();
        }
        loop {
            if let Some(at) = self.buffer.iter().rposition(|byte| *byte == b'\n') {
                return Ok(Some(self.buffer.split_off(at + 1)));
            }
            if !self.fetch()? {
                return Ok(Some(std::mem::take(&mut self.buffer)));
            }
        }
    }

    /// Puts the chunk before what was read in front of it; false at the start of the file.
    fn fetch(&mut self) -> std::io::Result<bool> {
        let length = self.unread.min(CHUNK.max(u64::try_from(self.buffer.len()).unwrap_or(CHUNK)));
        if length == 0 {
            return Ok(false);
        }
        self.unread -= length;
        self.file.seek(SeekFrom::Start(self.unread))?;
        let mut chunk = Vec::new();
        Read::by_ref(&mut self.file).take(length).read_to_end(&mut chunk)?;
        chunk.append(&mut self.buffer);
        self.buffer = chunk;
        Ok(true)
    }
}

const CHUNK: u64 = 64 * 1024;
const UNPROVEN: [&str; 3] = [
    "It does not prove that the newest records are all there: whoever can write the files can cut the end off. \
     Keep the head hash somewhere else to find that.",
    "It does not prove that the chain is the original one: whoever can write the files can compute all of it \
     anew. Keep the head hash somewhere else to find that too.",
    "It does not prove what a redacted record said, only that its text was there and what it was held to be.",
];
