//! Where lines go: [`Sink`] is the ledger's disk, [`Memory`] one that a simulation can read and break.

use std::fmt::Debug;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

/// A place that keeps lines.
pub trait Sink: Debug + Send {
    /// Keeps `lines` (whole lines, each with its newline) durably, all or nothing. After an error none of them
    /// is left, or what is left is cut off before anything else is kept.
    ///
    /// # Errors
    /// When it can't.
    fn append(&mut self, lines: &[u8]) -> io::Result<()>;
}

/// A sink in memory; clones share the lines. It can be told to fail, as a full disk does.
#[derive(Debug, Clone, Default)]
pub struct Memory(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    text: String,
    failing: bool,
}

impl Memory {
    /// Makes every following append fail, or work again.
    pub fn fail(&self, failing: bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).failing = failing;
    }

    /// Every line that was kept, each with its newline.
    #[must_use]
    pub fn text(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).text.clone()
    }
}

impl Sink for Memory {
    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.failing {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let lines = std::str::from_utf8(lines).map_err(io::Error::other)?;
        kept.text.push_str(lines);
        Ok(())
    }
}
