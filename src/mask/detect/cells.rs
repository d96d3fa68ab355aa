//! The rows of one result on their way: each cell is looked through by its type, as far as it has arrived.

use std::mem;

use bytes::{Buf as _, BytesMut};

use super::scanner::{Scanner, Style, blot};
use super::types::{Binary, MOST_NUMBER, Treatment, treatment};
use super::{Beyond, Detector, Detectors, Findings, Kinds};

/// What a result's description says of a column's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// The type's OID.
    pub type_oid: u32,
    /// Whether values come in binary format.
    pub is_binary: bool,
}

/// Why no row may follow. What has begun to leave was overwritten to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// A row is not made as its description says, or begins in one message and ends in another.
    Malformed,
    /// A row holds more text than may be looked through.
    TooLong,
}

/// The state of one result: between which cells, and what of them is held back.
#[derive(Debug)]
pub struct Cells {
    detectors: Detectors,
    layout: Layout,
    /// The end of what has arrived, which is not decided yet.
    pub(super) held: BytesMut,
    place: Place,
    /// Bytes of the message that are still to come.
    message: usize,
    /// Cells of the row that are still to come.
    cells: usize,
    /// Which of the result's columns comes next.
    column: usize,
    /// The array that the next length is of, if it is not a cell's: bytes that are still to come, and what they hold.
    array: Option<(usize, Style)>,
    /// Bytes of text in this row that were looked through.
    scanned: u64,
    broken: Option<Broken>,
    findings: Findings,
}

/// What messages hold.
#[derive(Debug)]
enum Layout {
    /// Rows, by the treatment of each column.
    Rows(Vec<Treatment>),
    /// Lines of COPY.
    Lines,
    /// Rows of COPY in binary format, behind a head.
    Tuples { is_headed: bool },
}

/// What comes next.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// A message's type and length.
    Message,
    /// The head of COPY in binary format, up to the length of its extension.
    Head,
    /// The number of cells.
    Count,
    /// A cell's length, or that of an array's element.
    Length,
    /// The head of an array of so many bytes.
    Array(Style, usize),
    /// So many bytes that pass as they are.
    Plain(usize),
    /// So many bytes of a text.
    Text(Scanner, Style, usize),
    /// A number of so many bytes.
    Number(Binary, usize),
    /// So many bytes that are overwritten.
    Blot(Style, usize),
}

impl Cells {
    /// A result that is looked through for what `detectors` want. Until it is described, every cell is packed bytes.
    #[must_use]
    pub fn new(detectors: Detectors) -> Self {
        Self {
            detectors,
            layout: Layout::Rows(Vec::new()),
            held: BytesMut::new(),
            place: Place::Message,
            message: 0,
            cells: 0,
            column: 0,
            array: None,
            scanned: 0,
            broken: None,
            findings: Findings::default(),
        }
    }

    /// What is looked for.
    #[must_use]
    pub fn detectors(&self) -> Detectors {
        self.detectors
    }

    /// How often what was found.
    #[must_use]
    pub fn findings(&self) -> &Findings {
        &self.findings
    }

    /// Rows of these columns follow.
    pub fn rows(&mut self, columns: impl Iterator<Item = Column>) {
        self.layout = Layout::Rows(columns.map(treatment).collect());
    }

    /// COPY data follows, in binary format or as lines.
    pub fn copy(&mut self, is_binary: bool) {
        self.layout = if is_binary { Layout::Tuples { is_headed: false } } else { Layout::Lines };
    }

    /// Looks through a value that comes alone.
    pub fn value(&mut self, value: &mut [u8]) {
        let mut scanner = Scanner::new(Style::Packed);
        scanner.scan(&self.detectors, value, 0);
        self.findings.add(scanner.found());
    }

    /// Looks through messages as far as they have arrived, and overwrites what is found. Gives what may leave, which
    /// ends with a whole message if `arrived` does, and why nothing may follow it.
    pub fn pass(&mut self, arrived: BytesMut) -> (BytesMut, Option<Broken>) {
        let mut bytes = match self.held.is_empty() {
            true => arrived,
            false => {
                let mut bytes = mem::take(&mut self.held);
                bytes.extend_from_slice(&arrived);
                bytes
            }
        };
        let mut at = 0;
        while let Some(passed) = self.step(bytes.get_mut(at..).unwrap_or_default()) {
            at += passed;
            if let Some(broken) = self.broken.filter(|_| matches!(self.place, Place::Message)) {
                bytes.truncate(at);
                return (bytes, Some(broken));
            }
        }
        self.held = bytes.split_off(at);
        (bytes, None)
    }

    /// Passes what comes next, as far as it is there; `None` if more has to arrive first.
    fn step(&mut self, bytes: &mut [u8]) -> Option<usize> {
        match self.place {
            Place::Message => self.message_begins(bytes),
            Place::Head => self.head(bytes),
            Place::Count => self.count(bytes),
            Place::Length => self.length(bytes),
            Place::Array(style, left) => self.array_begins(bytes, style, left),
            Place::Plain(left) => {
                let there = left.min(bytes.len());
                (there > 0).then(|| self.passed(there, left, Place::Plain))
            }
            Place::Blot(style, left) => {
                let there = left.min(bytes.len());
                blot(style, bytes.get_mut(..there)?);
                (there > 0).then(|| self.passed(there, left, |left| Place::Blot(style, left)))
            }
            Place::Number(kind, left) => {
                let value = bytes.get_mut(..left)?;
                if self.detectors.wants(Detector::Card) && kind.mask(value) {
                    self.findings.add_card();
                } else if kind == Binary::Unknown {
                    self.value(value);
                }
                Some(self.passed(left, left, Place::Plain))
            }
            Place::Text(scanner, style, left) => self.text(bytes, scanner, style, left),
        }
    }

    fn message_begins(&mut self, bytes: &[u8]) -> Option<usize> {
        let &[_, length @ ..] = bytes.first_chunk::<5>()?;
        self.message = usize::try_from(u32::from_be_bytes(length)).ok()?.saturating_sub(4);
        self.scanned = 0;
        self.place = match self.layout {
            Layout::Rows(_) | Layout::Tuples { is_headed: true } => Place::Count,
            Layout::Tuples { is_headed: false } => Place::Head,
            Layout::Lines if self.message == 0 => Place::Message,
            Layout::Lines => Place::Text(Scanner::new(Style::Mixed), Style::Mixed, self.message),
        };
        Some(5)
    }

    /// A signature, flags, and an extension behind its length.
    fn head(&mut self, mut bytes: &[u8]) -> Option<usize> {
        if self.message < COPY_HEAD {
            return Some(self.malformed());
        }
        bytes = bytes.get(COPY_HEAD - 4..COPY_HEAD)?;
        let extension = usize::try_from(bytes.get_u32()).unwrap_or(usize::MAX);
        self.layout = Layout::Tuples { is_headed: true };
        self.message -= COPY_HEAD;
        self.cells = 0;
        self.place = match extension {
            0 => Place::Count,
            // Nobody has ever defined one.
            _ => return Some(self.malformed() + COPY_HEAD),
        };
        Some(COPY_HEAD)
    }

    fn count(&mut self, mut bytes: &[u8]) -> Option<usize> {
        if self.message < 2 {
            return Some(self.malformed());
        }
        bytes = bytes.get(..2)?;
        let count = bytes.get_i16();
        self.message -= 2;
        self.column = 0;
        // The end of COPY is a row of -1 cells.
        let is_trailer = count == -1 && matches!(self.layout, Layout::Tuples { .. });
        self.cells = if is_trailer { 0 } else { usize::from(count.cast_unsigned()) };
        self.next_cell();
        Some(2)
    }

    fn length(&mut self, mut bytes: &[u8]) -> Option<usize> {
        if self.message < 4 || self.array.is_some_and(|(left, _)| left < 4) {
            return Some(self.malformed());
        }
        bytes = bytes.get(..4)?;
        let length = bytes.get_i32();
        self.message -= 4;
        let treatment = match self.array {
            Some((left, style)) => {
                self.array = Some((left.saturating_sub(4), style));
                Treatment::Text(style)
            }
            None => self.next_treatment(),
        };
        let most = self.array.map_or(self.message, |(left, _)| left);
        match usize::try_from(length) {
            Ok(length) if length > most => return Some(self.malformed() + 4),
            Ok(0) | Err(_) if length >= -1 => self.next_cell(),
            Ok(length) => {
                self.place = match treatment {
                    Treatment::Number(kind) if length <= MOST_NUMBER => Place::Number(kind, length),
                    Treatment::Text(style) => Place::Text(Scanner::new(style), style, length),
                    Treatment::Array(style) => Place::Array(style, length),
                    Treatment::Number(Binary::Unknown) => {
                        Place::Text(Scanner::new(Style::Packed), Style::Packed, length)
                    }
                    Treatment::Pass | Treatment::Number(_) => Place::Plain(length),
                }
            }
            Err(_) => return Some(self.malformed() + 4),
        }
        Some(4)
    }

    /// The treatment of the next cell.
    fn next_treatment(&mut self) -> Treatment {
        let column = self.column;
        self.cells = self.cells.saturating_sub(1);
        self.column = column.saturating_add(1);
        match &self.layout {
            Layout::Rows(columns) => columns.get(column).copied().unwrap_or(UNKNOWN),
            Layout::Lines | Layout::Tuples { .. } => Treatment::Number(Binary::Unknown),
        }
    }

    /// The number of dimensions, flags, the elements' type, and two numbers for each dimension.
    fn array_begins(&mut self, bytes: &[u8], style: Style, left: usize) -> Option<usize> {
        if left < ARRAY_HEAD {
            return Some(self.malformed());
        }
        let dimensions = usize::try_from(u32::from_be_bytes(*bytes.first_chunk()?)).ok()?;
        let head = dimensions.saturating_mul(8).saturating_add(ARRAY_HEAD);
        if head > left {
            return Some(self.malformed());
        }
        self.array = Some((left, style));
        Some(self.passed(0, head, Place::Plain))
    }

    fn text(&mut self, bytes: &mut [u8], mut scanner: Scanner, style: Style, left: usize) -> Option<usize> {
        let room = self.detectors.row_bytes().saturating_sub(self.scanned);
        let room = usize::try_from(room).unwrap_or(usize::MAX).min(left);
        let there = room.min(bytes.len());
        let text = bytes.get_mut(..there)?;
        let decided = scanner.scan(&self.detectors, text, left - there);
        if matches!(self.layout, Layout::Lines) && decided == left && text.last() != Some(&b'\n') {
            self.broken = Some(Broken::Malformed);
        }
        if there == room && room < left {
            self.findings.add(scanner.found());
            if self.detectors.beyond == Beyond::Stop {
                self.broken = self.broken.or(Some(Broken::TooLong));
            }
            self.scanned = self.detectors.row_bytes();
            return Some(self.passed(decided, left, |left| Place::Blot(style, left)));
        }
        self.place = Place::Text(scanner, style, left);
        if decided == 0 {
            return None;
        }
        self.scanned = self.scanned.saturating_add(u64::try_from(decided).unwrap_or(u64::MAX));
        if decided == left {
            self.findings.add(scanner.found());
        }
        Some(self.passed(decided, left, |left| Place::Text(scanner, style, left)))
    }

    /// Notes that `there` bytes have passed of the `left` that come next; the others come at `rest`.
    fn passed(&mut self, there: usize, left: usize, rest: impl FnOnce(usize) -> Place) -> usize {
        self.message = self.message.saturating_sub(there);
        self.array = self.array.map(|(left, style)| (left.saturating_sub(there), style));
        match left - there {
            0 => self.next_cell(),
            left => self.place = rest(left),
        }
        there
    }

    fn next_cell(&mut self) {
        self.array = self.array.filter(|(left, _)| *left > 0);
        self.place = match (self.cells, self.message) {
            _ if self.array.is_some() => Place::Length,
            (0, 0) => Place::Message,
            (0, _) => {
                self.malformed();
                return;
            }
            _ => Place::Length,
        };
    }

    /// Overwrites the rest of the message, and lets none follow.
    fn malformed(&mut self) -> usize {
        self.broken = Some(Broken::Malformed);
        (self.cells, self.array) = (0, None);
        self.place = match self.message {
            0 => Place::Message,
            left => Place::Blot(Style::Stars, left),
        };
        0
    }
}

impl Findings {
    fn add_card(&mut self) {
        let mut card = Kinds::default();
        card.add(Detector::Card);
        self.add(card);
    }
}

/// How values of a column are looked through of which nothing is known.
const UNKNOWN: Treatment = Treatment::Text(Style::Packed);
/// The number of dimensions, flags, the elements' type.
const ARRAY_HEAD: usize = 12;
/// The signature, flags, and the extension's length.
const COPY_HEAD: usize = 11 + 4 + 4;
