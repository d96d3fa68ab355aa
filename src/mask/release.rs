//! The only way for a row to a client: through a [`Release`], which holds the result against its plan and the
//! statement's ceilings.

use bytes::Bytes;

use super::Plan;
use super::verify::{Field, Mismatch, verify};

/// Row data that may leave. Made by [`Release::row`] only.
#[derive(Debug)]
#[must_use]
pub struct Released(Bytes);

impl Released {
    /// The bytes to send: a whole DataRow or CopyData frame.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.0
    }

    /// How many bytes there are.
    #[must_use]
    pub fn size(&self) -> usize {
        self.0.len()
    }
}

/// Why no further row may leave.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    /// The result is not what was planned.
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
    /// Rows came before any description was verified.
    #[error("rows arrived before their description was checked")]
    Undescribed,
    /// The statement's row ceiling is reached.
    #[error("the result has more than {rows} rows, the most that this identity may read at once")]
    Rows {
        /// The ceiling.
        rows: u64,
    },
    /// The statement's byte ceiling is reached.
    #[error("the result has more than {bytes} bytes, the most that this identity may read at once")]
    Bytes {
        /// The ceiling.
        bytes: u64,
    },
}

/// The state of one result on its way out.
#[derive(Debug)]
pub struct Release {
    plan: Plan,
    max_rows: Option<u64>,
    max_bytes: Option<u64>,
    described: bool,
    rows: u64,
    bytes: u64,
}

impl Release {
    /// A result that is held against `plan`, of at most `max_rows` rows and `max_bytes` bytes of row data.
    #[must_use]
    pub fn new(plan: Plan, max_rows: Option<u64>, max_bytes: Option<u64>) -> Self {
        Self { plan, max_rows, max_bytes, described: false, rows: 0, bytes: 0 }
    }

    /// A result about which nothing was planned, because nothing is masked: its rows need no description.
    #[must_use]
    pub fn unplanned(max_rows: Option<u64>, max_bytes: Option<u64>) -> Self {
        let plan = Plan { verbatim: true, ..Plan::default() };
        Self { described: true, ..Self::new(plan, max_rows, max_bytes) }
    }

    /// Checks the result's description; rows may follow.
    ///
    /// # Errors
    /// When the result is not as planned; then no row leaves.
    pub fn describe(&mut self, fields: &[Field]) -> Result<(), Stop> {
        verify(fields, &self.plan)?;
        self.described = true;
        Ok(())
    }

    /// Notes that COPY data follows, which has no description: its rows were made by a rewritten query.
    pub fn copy_out(&mut self) {
        self.described = true;
    }

    /// Lets one whole DataRow or CopyData frame go.
    ///
    /// # Errors
    /// When no description was checked, or a ceiling is reached.
    pub fn row(&mut self, frame: Bytes) -> Result<Released, Stop> {
        if !self.described {
            return Err(Stop::Undescribed);
        }
        if let Some(rows) = self.max_rows.filter(|&rows| self.rows >= rows) {
            return Err(Stop::Rows { rows });
        }
        let bytes = self.bytes.saturating_add(u64::try_from(frame.len()).unwrap_or(u64::MAX));
        if let Some(bytes) = self.max_bytes.filter(|&max| bytes > max) {
            return Err(Stop::Bytes { bytes });
        }
        self.rows = self.rows.saturating_add(1);
        self.bytes = bytes;
        Ok(Released(frame))
    }

    /// Rows let go so far.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// What the result is held against.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_row_leaves_before_its_description_was_checked() {
        let mut release = Release::new(Plan::default(), None, None);
        assert_eq!(release.row(Bytes::from_static(b"D")).unwrap_err(), Stop::Undescribed);
    }

    #[test]
    fn the_row_after_the_ceiling_stops_the_result() {
        let mut release = Release::new(Plan::default(), Some(1), None);
        release.describe(&[]).unwrap();
        assert_eq!(release.row(Bytes::from_static(b"D")).unwrap().size(), 1);
        assert_eq!(release.row(Bytes::from_static(b"D")).unwrap_err(), Stop::Rows { rows: 1 });
        assert_eq!(release.rows(), 1);
    }

    #[test]
    fn the_byte_ceiling_counts_whole_frames() {
        let mut release = Release::new(Plan::default(), None, Some(3));
        release.describe(&[]).unwrap();
        assert_eq!(release.row(Bytes::from_static(b"ab")).unwrap().size(), 2);
        assert_eq!(release.row(Bytes::from_static(b"cd")).unwrap_err(), Stop::Bytes { bytes: 3 });
    }
}
