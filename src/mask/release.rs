//! The only way for a row to a client: through a [`Release`], which holds the result against its plan and the
//! statement's ceilings.

use bytes::{Bytes, BytesMut};

use super::detect::{Broken, Cells, Column, Findings};
use super::verify::{Field, Mismatch, verify};
use super::{Detectors, Plan};
use crate::protocol::results::Format;
use crate::protocol::run::Run;

/// Row data that may leave. Made by [`Release::run`] only.
#[derive(Debug)]
#[must_use]
pub struct Released(BytesMut);

impl Released {
    /// The bytes to send: of DataRow or CopyData messages, as far as they have arrived.
    #[must_use]
    pub fn into_bytes(self) -> BytesMut {
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
    /// The statement's time is over.
    #[error("the statement takes longer than {ms} ms, the longest that this identity may take for one")]
    Time {
        /// The limit, in milliseconds.
        ms: u64,
    },
    /// The rulebook says no to what is still to come.
    #[error("{message}")]
    Refused {
        /// The rule.
        rule: String,
        /// Why.
        message: String,
        /// What would work; empty where nothing would.
        hint: String,
    },
    /// A row can't be looked through.
    #[error(
        "a row is not made as its description says, so it can't be looked through for what you may not see"
    )]
    Unreadable,
    /// A row holds more text than is looked through.
    #[error(
        "a row holds more than the {bytes} bytes of text that are looked through for what you may not see"
    )]
    TooLong {
        /// How many bytes are.
        bytes: u64,
    },
}

/// What has left since the last step; `None` before the first one.
#[derive(Debug, Default)]
struct Since(Option<(u64, u64)>);

/// The state of one result on its way out.
#[derive(Debug)]
pub struct Release {
    plan: Plan,
    max_rows: Option<u64>,
    max_bytes: Option<u64>,
    described: bool,
    rows: u64,
    /// Bytes of the messages that have begun to leave, where there is a ceiling.
    announced: u64,
    /// Bytes that have left.
    bytes: u64,
    /// Since the last step.
    since: Since,
    /// What looks through the rows, where anything is looked for.
    cells: Option<Box<Cells>>,
}

impl Release {
    /// A result that is held against `plan`, of at most `max_rows` rows and `max_bytes` bytes of row data.
    #[must_use]
    pub fn new(plan: Plan, max_rows: Option<u64>, max_bytes: Option<u64>) -> Self {
        Self {
            plan,
            max_rows,
            max_bytes,
            described: false,
            rows: 0,
            announced: 0,
            bytes: 0,
            since: Since::default(),
            cells: None,
        }
    }

    /// A result about which nothing was planned, because nothing is masked: its rows need no description.
    #[must_use]
    pub fn unplanned(max_rows: Option<u64>, max_bytes: Option<u64>) -> Self {
        let plan = Plan { verbatim: true, ..Plan::default() };
        Self { described: true, ..Self::new(plan, max_rows, max_bytes) }
    }

    /// With `detectors`, which look through every value before it leaves.
    #[must_use]
    pub fn looked_through(self, detectors: Detectors) -> Self {
        Self { cells: (!detectors.is_empty()).then(|| Box::new(Cells::new(detectors))), ..self }
    }

    /// What is looked for.
    #[must_use]
    pub fn detectors(&self) -> Detectors {
        self.cells.as_ref().map_or_else(Detectors::default, |cells| cells.detectors())
    }

    /// What was found so far; `None` where nothing is looked for.
    #[must_use]
    pub fn findings(&self) -> Option<&Findings> {
        self.cells.as_ref().map(|cells| cells.findings())
    }

    /// Checks the result's description; rows may follow.
    ///
    /// # Errors
    /// When the result is not as planned; then no row leaves.
    pub fn describe(&mut self, fields: &[Field]) -> Result<(), Stop> {
        verify(fields, &self.plan)?;
        if let Some(cells) = &mut self.cells {
            let column = |field: &Field| Column {
                type_oid: field.type_oid,
                is_binary: field.format == Format::Binary,
            };
            cells.rows(fields.iter().map(column));
        }
        self.described = true;
        Ok(())
    }

    /// Notes that COPY data follows, which has no description: its rows were made by a rewritten query.
    pub fn copy_out(&mut self, format: Format) {
        self.described = true;
        if let Some(cells) = &mut self.cells {
            cells.copy(format == Format::Binary);
        }
    }

    /// Lets the value go that a FunctionCall gives: the body of its response, which begins with the value's length.
    #[must_use]
    pub fn value(&mut self, body: Bytes) -> Bytes {
        let Some(cells) = &mut self.cells else { return body };
        let mut body = BytesMut::from(body);
        cells.value(body.get_mut(VALUE_HEAD..).unwrap_or_default());
        body.freeze()
    }

    /// Lets rows go, as far as they have arrived: all of them, or those before the first that may not leave, and why
    /// that may not. A row that has begun to leave is let go to its end.
    pub fn run(&mut self, mut run: Run) -> (Released, Option<Stop>) {
        let stop = match self.fitting(&run) {
            Ok(()) => None,
            Err((count, stop)) => {
                run.keep(count);
                Some(stop)
            }
        };
        self.rows = self.rows.saturating_add(run.begun());
        self.bytes = self.bytes.saturating_add(u64::try_from(run.len()).unwrap_or(u64::MAX));
        self.since.add(&run);
        let Some(cells) = &mut self.cells else { return (Released(run.into_bytes()), stop) };
        let (bytes, broken) = cells.pass(run.into_bytes());
        let broken = broken.map(|broken| match broken {
            Broken::Malformed => Stop::Unreadable,
            Broken::TooLong => Stop::TooLong { bytes: cells.detectors().row_bytes() },
        });
        (Released(bytes), broken.or(stop))
    }

    /// Counts the rows of a run. Otherwise how many of them may leave, and why the next one may not.
    fn fitting(&mut self, run: &Run) -> Result<(), (u64, Stop)> {
        if run.begun() == 0 {
            return Ok(());
        }
        if !self.described {
            return Err((0, Stop::Undescribed));
        }
        let most = self.max_rows.map_or(u64::MAX, |rows| rows.saturating_sub(self.rows));
        if let Some(max) = self.max_bytes {
            for (count, size) in (0..most).zip(run.sizes()) {
                self.announced = self.announced.saturating_add(u64::try_from(size).unwrap_or(u64::MAX));
                if self.announced > max {
                    return Err((count, Stop::Bytes { bytes: max }));
                }
            }
        }
        match self.max_rows.filter(|_| run.begun() > most) {
            Some(rows) => Err((most, Stop::Rows { rows })),
            None => Ok(()),
        }
    }

    /// How many of the messages that begin in `run` may leave before the next step is due: one each [`STEP_ROWS`] rows
    /// or [`STEP_BYTES`] bytes, and one before the first of all.
    #[must_use]
    pub fn before_step(&self, run: &Run) -> u64 {
        let Some((rows, mut bytes)) = self.since.0 else { return 0 };
        let mut count = 0;
        for size in run.sizes() {
            if rows.saturating_add(count) >= STEP_ROWS || bytes >= STEP_BYTES {
                break;
            }
            bytes = bytes.saturating_add(u64::try_from(size).unwrap_or(u64::MAX));
            count += 1;
        }
        count
    }

    /// Notes that a step was taken.
    pub fn stepped(&mut self) {
        self.since = Since(Some((0, 0)));
    }

    /// Whether a description was checked, so that rows may leave.
    #[must_use]
    pub fn is_described(&self) -> bool {
        self.described
    }

    /// Rows let go so far.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Bytes of row data let go so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What the result is held against.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }
}

impl Since {
    fn add(&mut self, run: &Run) {
        if let Some((rows, bytes)) = &mut self.0 {
            *rows = rows.saturating_add(run.begun());
            *bytes = bytes.saturating_add(u64::try_from(run.len()).unwrap_or(u64::MAX));
        }
    }
}

/// Rows between two steps of a result.
pub const STEP_ROWS: u64 = 1000;
/// Bytes of row data between two steps of a result: a row that has begun leaves to its end.
pub const STEP_BYTES: u64 = 1 << 20;
/// The length of a FunctionCall's value.
const VALUE_HEAD: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::frame::{Frame, Leg};
    use crate::protocol::run::{Frames, Piece};

    /// DataRow messages with these bodies, in one run.
    fn rows(bodies: &[&'static [u8]]) -> Run {
        let mut bytes = BytesMut::new();
        bodies.iter().for_each(|body| Frame::new(b'D', *body).put(&mut bytes));
        match Frames::new(Leg::Backend).next(&mut bytes) {
            Ok(Some(Piece::Run(run))) => run,
            other => panic!("no run: {other:?}"),
        }
    }

    #[test]
    fn no_row_leaves_before_its_description_was_checked() {
        let mut release = Release::new(Plan::default(), None, None);
        let (released, stop) = release.run(rows(&[b"x", b"y"]));
        assert_eq!((released.size(), stop), (0, Some(Stop::Undescribed)));
    }

    /// What leaves of a server's bytes, cut in pieces of `step`.
    fn leaves(mut release: Release, bytes: &[u8], step: usize) -> (Vec<u8>, u64, Option<Stop>) {
        let (mut frames, mut buffer, mut out) = (Frames::new(Leg::Backend), BytesMut::new(), Vec::new());
        for slice in bytes.chunks(step) {
            buffer.extend_from_slice(slice);
            while let Some(Piece::Run(run)) = frames.next(&mut buffer).unwrap() {
                let (released, stop) = release.run(run);
                out.extend_from_slice(&released.into_bytes());
                if stop.is_some() {
                    return (out, release.rows(), stop);
                }
            }
        }
        (out, release.rows(), None)
    }

    #[test]
    fn however_a_server_sends_a_secret_it_does_not_leave() {
        let row = |text: &str| {
            let mut body = BytesMut::from(&b"\0\x01\0\0\0"[..]);
            body.extend_from_slice(&[u8::try_from(text.len()).unwrap()]);
            body.extend_from_slice(text.as_bytes());
            Frame::new(b'D', body).to_bytes()
        };
        let secrets = [row("a 4111 1111 1111 1111"), row("x"), row("4111111111111111"), row("y")].concat();
        let release = |most| {
            let mut release = Release::new(Plan::default(), most, None).looked_through(Detectors::all());
            let (type_oid, format) = (25, Format::Text);
            release
                .describe(&[Field { name: "t".into(), table_oid: 0, column: 0, type_oid, format }])
                .unwrap();
            release
        };
        let hidden = [row("a **** **** **** ****"), row("x"), row("****************"), row("y")];
        for step in 1..=secrets.len() {
            assert_eq!(
                leaves(release(None), &secrets, step),
                (hidden.concat(), 4, None),
                "in pieces of {step}"
            );
            let (out, rows, stop) = leaves(release(Some(3)), &secrets, step);
            assert_eq!(
                (out, stop),
                (hidden[..3].concat(), Some(Stop::Rows { rows: 3 })),
                "in pieces of {step}"
            );
            assert_eq!(rows, 3);
        }
    }

    #[test]
    fn the_row_after_the_ceiling_stops_the_result() {
        let mut release = Release::new(Plan::default(), Some(3), None);
        release.describe(&[]).unwrap();
        let (released, stop) = release.run(rows(&[b"one", b"two"]));
        assert_eq!((released.size(), stop), (16, None));
        let (released, stop) = release.run(rows(&[b"three", b"four", b"five"]));
        assert_eq!((released.size(), stop), (10, Some(Stop::Rows { rows: 3 })));
        assert_eq!(release.rows(), 3);
    }

    #[test]
    fn the_byte_ceiling_counts_whole_messages() {
        let mut release = Release::new(Plan::default(), None, Some(16));
        release.describe(&[]).unwrap();
        let (released, stop) = release.run(rows(&[b"one", b"two", b""]));
        assert_eq!((released.size(), stop), (16, Some(Stop::Bytes { bytes: 16 })));
    }

    #[test]
    fn a_row_that_is_longer_than_the_ceiling_does_not_begin_to_leave() {
        let mut release = Release::new(Plan::default(), None, Some(1_000_000));
        release.describe(&[]).unwrap();
        let mut head = BytesMut::from(&b"D\x3f\xff\xff\xffabc"[..]);
        let Ok(Some(Piece::Run(run))) = Frames::new(Leg::Backend).next(&mut head) else { panic!("no run") };
        let (released, stop) = release.run(run);
        assert_eq!((released.size(), stop), (0, Some(Stop::Bytes { bytes: 1_000_000 })));
    }
}
