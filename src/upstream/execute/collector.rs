//! What one statement gave: rows by their release, the command tag, notices. Bounded.

use bytes::Bytes;

use crate::gate::{Course, Gate, InForce, RunMode, Shown, Step};
use crate::mask::detect::Findings;
use crate::mask::{Field, Release, Stop};
use crate::policy::Limits;
use crate::protocol::backend::ErrorFields;
use crate::protocol::body::{Body, BodyError};
use crate::protocol::frame::Frame;
use crate::protocol::results::row_description;
use crate::protocol::run::Run;

use super::{ResultColumn, RunError, RunResult};

/// The result of a statement, as it grows.
#[derive(Debug)]
pub(super) struct Collector {
    release: Release,
    most_rows: u64,
    bytes: u64,
    described: bool,
    course: Option<Course>,
    in_force: Option<InForce>,
    result: RunResult,
}

/// Why a row was not taken.
#[derive(Debug)]
pub(super) enum Refused {
    Stop(Stop),
    Body(BodyError),
}

impl Collector {
    /// A result that is held against `release`, and that is cut where a read has as many rows as its caller wants or
    /// the ceilings allow. A write's rows are not cut: one too many stops it.
    pub(super) fn new(release: Release, limits: Limits, decision_id: &str, mode: RunMode) -> Self {
        let most_rows = match mode {
            RunMode::Read { max_rows } => max_rows.min(limits.rows.unwrap_or(u64::MAX)),
            RunMode::Write { .. } => u64::MAX,
        };
        let result = RunResult {
            decision_id: decision_id.to_owned(),
            columns: Vec::new(),
            rows: Vec::new(),
            truncated: false,
            tag: String::new(),
            affected: 0,
            notices: Vec::new(),
        };
        Self { release, most_rows, bytes: 0, described: false, course: None, in_force: None, result }
    }

    /// The same, which goes on by `course`.
    pub(super) fn on(self, course: Option<Course>) -> Self {
        Self { course, ..self }
    }

    /// What the result goes on by.
    pub(super) fn course(&self) -> Option<&Course> {
        self.course.as_ref()
    }

    /// Takes in that the result was let go on from outside.
    pub(super) fn resumed(&mut self, course: Course) {
        self.course = Some(course);
    }

    /// What `gate` has to be asked before a row may be taken.
    pub(super) fn step(&mut self, row: &Frame, gate: &Gate) -> Option<Step> {
        let course = self.course.as_ref()?;
        if self.in_force.as_ref().is_none_or(|known| known.generation != gate.generation()) {
            self.in_force = Some(gate.rules_in_force());
        }
        let in_force = self.in_force.as_ref()?;
        let is_due = || in_force.asks_result && self.release.before_step(&Run::of(row)) == 0;
        if course.is_by(in_force) && !is_due() {
            return None;
        }
        let columns = self.result.columns.iter().map(|column| column.name.clone()).collect();
        let shown = Shown { columns, rows: self.release.rows(), bytes: self.release.bytes() };
        Some(Step { course: course.clone(), shown: Some(shown) })
    }

    /// Takes in that the result may go on.
    pub(super) fn goes_on(&mut self, course: Course) {
        self.course = Some(course);
        self.release.stepped();
    }

    /// Takes a RowDescription.
    pub(super) fn describe(&mut self, body: Bytes) -> Result<(), Refused> {
        let columns = row_description(body).map_err(Refused::Body)?;
        let fields: Vec<_> = columns
            .iter()
            .map(|column| Field {
                name: column.name.clone(),
                table_oid: column.table_oid,
                column: column.number,
                type_oid: column.type_oid,
                format: column.format,
            })
            .collect();
        self.release.describe(&fields).map_err(Refused::Stop)?;
        self.described = true;
        self.result.columns = fields
            .into_iter()
            .map(|Field { name, table_oid, column, type_oid, format: _ }| ResultColumn {
                name,
                type_oid,
                table_oid,
                column,
            })
            .collect();
        Ok(())
    }

    /// Takes a DataRow, if there is still room for it.
    pub(super) fn row(&mut self, frame: &Frame) -> Result<(), Refused> {
        if u64::try_from(self.result.rows.len()).is_ok_and(|rows| rows >= self.most_rows) {
            self.result.truncated = true;
            return Ok(());
        }
        let (released, stop) = self.release.run(Run::of(frame));
        if let Some(stop) = stop {
            return Err(Refused::Stop(stop));
        }
        self.bytes = self.bytes.saturating_add(u64::try_from(released.size()).unwrap_or(u64::MAX));
        if self.bytes > MOST_BYTES {
            return Err(Refused::Stop(Stop::Bytes { bytes: MOST_BYTES }));
        }
        let row = values(released.into_bytes().freeze(), self.result.columns.len()).map_err(Refused::Body)?;
        self.result.rows.push(row);
        Ok(())
    }

    /// Takes the command tag.
    pub(super) fn complete(&mut self, tag: String) {
        self.result.affected = affected(&tag, self.described);
        self.result.tag = tag;
    }

    /// Notes that the server has more rows than were fetched.
    pub(super) fn suspended(&mut self) {
        self.result.tag = format!("SELECT {}", self.result.rows.len());
    }

    /// Takes a notice: its text only where the statement touches nothing governed.
    pub(super) fn notice(&mut self, notice: &ErrorFields) {
        if self.result.notices.len() >= MOST_NOTICES {
            return;
        }
        let message = self.release.detectors().masked(notice.message());
        let message = if self.governed() { NOTICE_WITHHELD } else { &message };
        let text: String = format!("{}: {message}", notice.severity()).chars().take(NOTICE_CHARS).collect();
        self.result.notices.push(text);
    }

    /// What the caller may know of an error of the server's.
    pub(super) fn server_error(&self, error: &ErrorFields) -> RunError {
        let sqlstate = error.sqlstate().to_owned();
        if self.governed() {
            return RunError::Server { sqlstate, message: ERROR_WITHHELD.to_owned(), hint: String::new() };
        }
        let masked = |text: &str| self.release.detectors().masked(text).into_owned();
        RunError::Server { sqlstate, message: masked(error.message()), hint: masked(error.hint()) }
    }

    /// Rows affected by the command tag.
    pub(super) fn affected(&self) -> u64 {
        self.result.affected
    }

    /// Replaces the tag's number by what the server counted.
    pub(super) fn count(&mut self, affected: u64) {
        self.result.affected = affected;
    }

    /// What was found in the values.
    pub(super) fn findings(&self) -> Option<&Findings> {
        self.release.findings()
    }

    /// Rows let go so far.
    pub(super) fn rows(&self) -> u64 {
        self.release.rows()
    }

    /// The newest row, of which nothing is kept.
    pub(super) fn take_row(&mut self) -> Option<Vec<Option<String>>> {
        self.result.rows.pop()
    }

    /// The notices that were not taken yet.
    pub(super) fn take_notices(&mut self) -> Vec<String> {
        std::mem::take(&mut self.result.notices)
    }

    /// The result's columns.
    pub(super) fn columns(&self) -> &[ResultColumn] {
        &self.result.columns
    }

    /// The command tag; empty before there is one.
    pub(super) fn tag(&self) -> &str {
        &self.result.tag
    }

    /// Bytes of row data.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn into_result(self) -> RunResult {
        self.result
    }

    fn governed(&self) -> bool {
        self.release.plan().governed
    }
}

/// The number at the end of a tag. That of SELECT counts rows that were read, unless there were none to read: then it is
/// a CREATE TABLE AS.
fn affected(tag: &str, described: bool) -> u64 {
    let mut words = tag.split(' ');
    match words.next() {
        Some("INSERT" | "UPDATE" | "DELETE" | "MERGE" | "COPY") => {}
        Some("SELECT") if !described => {}
        _ => return 0,
    }
    words.next_back().and_then(|count| count.parse().ok()).unwrap_or(0)
}

/// The values of a released DataRow, in text format. What is not UTF-8 (a database in SQL_ASCII) is shown as U+FFFD.
fn values(frame: Bytes, columns: usize) -> Result<Vec<Option<String>>, BodyError> {
    let field = "a row";
    let mut body = Body::new(frame);
    body.take(HEADER_BYTES, field)?;
    let count = body.count(LENGTH_BYTES, field)?;
    if count != columns {
        return Err(BodyError::Invalid { field: "the row's number of columns" });
    }
    let text = |value: Option<Bytes>| value.map(|value| String::from_utf8_lossy(&value).into_owned());
    let values = (0..count).map(|_| body.value(field).map(text)).collect::<Result<_, _>>()?;
    body.end()?;
    Ok(values)
}

const NOTICE_WITHHELD: &str = "text withheld, because the statement touches masked columns";
const ERROR_WITHHELD: &str = "the database refused the statement; details are withheld because it touches masked columns or filtered rows";
/// A result is held in memory as a whole, whatever the ceilings say.
pub(super) const MOST_BYTES: u64 = 64 * 1024 * 1024;
const MOST_NOTICES: usize = 50;
const NOTICE_CHARS: usize = 1000;
/// Tag and length.
const HEADER_BYTES: usize = 5;
const LENGTH_BYTES: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mask::Plan;

    const ONE_COLUMN: &[u8] = b"\0\x01n\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0";

    fn collector(mode: RunMode, plan: Plan, rows: Option<u64>) -> Collector {
        let limits = Limits { rows, ..Limits::default() };
        let mut collector = Collector::new(Release::new(plan, rows, None), limits, "d", mode);
        collector.describe(Bytes::from_static(ONE_COLUMN)).unwrap();
        collector
    }

    fn row(body: &'static [u8]) -> Frame {
        Frame::new(b'D', body)
    }

    #[test]
    fn a_read_is_cut_where_its_caller_or_its_ceiling_says_and_a_write_is_stopped() {
        let null = row(b"\0\x01\xff\xff\xff\xff");
        for (mode, ceiling) in
            [(RunMode::Read { max_rows: 1 }, None), (RunMode::Read { max_rows: 9 }, Some(1))]
        {
            let mut collector = collector(mode, Plan::default(), ceiling);
            collector.row(&null).unwrap();
            collector.row(&null).unwrap();
            let result = collector.into_result();
            assert_eq!((result.rows, result.truncated), (vec![vec![None]], true));
        }
        let mut write = collector(RunMode::Write { max_affected: None }, Plan::default(), Some(1));
        write.row(&null).unwrap();
        assert!(matches!(write.row(&null), Err(Refused::Stop(Stop::Rows { rows: 1 }))));
    }

    #[test]
    fn values_are_text_or_null_and_a_row_of_another_shape_is_refused() {
        let mut collector = collector(RunMode::Read { max_rows: 9 }, Plan::default(), None);
        collector.row(&row(b"\0\x01\0\0\0\x02hi")).unwrap();
        assert!(matches!(collector.row(&row(b"\0\0")), Err(Refused::Body(_))));
        assert!(matches!(collector.row(&row(b"\0\x01\0\0\0\x09hi")), Err(Refused::Body(_))));
        assert_eq!(collector.into_result().rows, [[Some("hi".to_owned())]]);
    }

    #[test]
    fn rows_without_a_description_are_stopped() {
        let mode = RunMode::Read { max_rows: 9 };
        let mut collector =
            Collector::new(Release::new(Plan::default(), None, None), Limits::default(), "d", mode);
        assert!(matches!(collector.row(&row(b"\0\0")), Err(Refused::Stop(Stop::Undescribed))));
    }

    #[test]
    fn the_words_of_the_server_are_withheld_where_columns_are_governed() {
        let said = Bytes::from_static(b"SNOTICE\0VNOTICE\0C23505\0Mssn 123 is taken\0Htry 124\0\0");
        let said = ErrorFields::parse(said).unwrap();
        let mode = RunMode::Read { max_rows: 9 };
        let mut open = collector(mode, Plan::default(), None);
        let mut governed = collector(mode, Plan { governed: true, ..Plan::default() }, None);
        for collector in [&mut open, &mut governed] {
            for _ in 0..MOST_NOTICES + 1 {
                collector.notice(&said);
            }
        }
        assert_eq!(governed.server_error(&said).to_string(), format!("{ERROR_WITHHELD} (23505)"));
        assert!(matches!(open.server_error(&said), RunError::Server { hint, .. } if hint == "try 124"));
        let (open, governed) = (open.into_result().notices, governed.into_result().notices);
        assert_eq!((open.len(), open[0].as_str()), (MOST_NOTICES, "NOTICE: ssn 123 is taken"));
        assert_eq!(governed[0], format!("NOTICE: {NOTICE_WITHHELD}"));
    }

    #[test]
    fn affected_rows_are_those_that_a_tag_counts_as_changed() {
        assert_eq!(affected("INSERT 0 3", false), 3);
        assert_eq!(affected("UPDATE 12", true), 12);
        assert_eq!(affected("SELECT 5", true), 0);
        assert_eq!(affected("SELECT 5", false), 5, "CREATE TABLE AS");
        assert_eq!(affected("CREATE TABLE", false), 0);
        assert_eq!(affected("", false), 0);
    }
}
