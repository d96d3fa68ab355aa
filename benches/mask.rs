//! What it costs to look through results: rows, one by one, and text by the megabyte. `cargo bench --bench mask` prints
//! a table.

#![expect(clippy::unwrap_used, reason = "a benchmark that can't be set up has nothing to measure")]

use bytes::{BufMut as _, BytesMut};
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use portcullis::mask::detect::{ALL, Cells, Column, Detector, Wanted};
use portcullis::mask::verify::Field;
use portcullis::mask::{Detectors, Plan, Release};
use portcullis::protocol::frame::Leg;
use portcullis::protocol::results::Format;
use portcullis::protocol::run::{Frames, Piece, Run};

fn main() {
    divan::main();
}

/// Rows that nobody looks through: what [`Release`] costs by itself.
#[divan::bench]
fn rows_as_they_are(bencher: Bencher<'_, '_>) {
    rows(bencher, Detectors::default(), &TEXTS);
}

/// Rows of numbers and dates in text format.
#[divan::bench]
fn rows_without_text(bencher: Bencher<'_, '_>) {
    rows(bencher, as_shipped(), &[(23, "4711"), (1082, "2024-02-29"), (16, "t"), (23, "17")]);
}

/// Rows of four short texts.
#[divan::bench]
fn rows_of_texts(bencher: Bencher<'_, '_>) {
    rows(bencher, as_shipped(), &TEXTS);
}

/// The same, with every detector.
#[divan::bench]
fn rows_of_texts_by_all(bencher: Bencher<'_, '_>) {
    rows(bencher, Detectors::all(), &TEXTS);
}

/// The same, and one of the texts is a card number.
#[divan::bench]
fn rows_with_a_card(bencher: Bencher<'_, '_>) {
    let [first, second, third, _] = TEXTS;
    rows(bencher, as_shipped(), &[first, second, third, (25, "4111 1111 1111 1111")]);
}

#[divan::bench(args = ALL.map(Detector::as_str))]
fn prose_by(bencher: Bencher<'_, '_>, detector: &str) {
    megabyte(bencher, only(detector), PROSE);
}

#[divan::bench]
fn prose_as_shipped(bencher: Bencher<'_, '_>) {
    megabyte(bencher, as_shipped(), PROSE);
}

#[divan::bench]
fn prose_by_all(bencher: Bencher<'_, '_>) {
    megabyte(bencher, Detectors::all(), PROSE);
}

#[divan::bench]
fn json_as_shipped(bencher: Bencher<'_, '_>) {
    megabyte(bencher, as_shipped(), JSON);
}

#[divan::bench]
fn numbers_as_shipped(bencher: Bencher<'_, '_>) {
    megabyte(bencher, as_shipped(), NUMBERS);
}

#[divan::bench]
fn base64_as_shipped(bencher: Bencher<'_, '_>) {
    megabyte(bencher, as_shipped(), BASE64);
}

/// A thousand rows in one run.
fn rows(bencher: Bencher<'_, '_>, detectors: Detectors, cells: &[(u32, &str)]) {
    let mut bytes = BytesMut::new();
    for _ in 0..ROWS {
        let start = bytes.len();
        bytes.extend_from_slice(b"D\0\0\0\0");
        bytes.put_u16(u16::try_from(cells.len()).unwrap());
        for (_, text) in cells {
            bytes.put_u32(u32::try_from(text.len()).unwrap());
            bytes.extend_from_slice(text.as_bytes());
        }
        let length = u32::try_from(bytes.len() - start - 1).unwrap().to_be_bytes();
        bytes.get_mut(start + 1..start + 5).unwrap().copy_from_slice(&length);
    }
    let field = |(type_oid, _): &(u32, &str)| Field {
        name: String::new(),
        table_oid: 0,
        column: 0,
        type_oid: *type_oid,
        format: Format::Text,
    };
    let fields: Vec<Field> = cells.iter().map(field).collect();
    let ready = || {
        let mut release = Release::new(Plan::default(), None, None).looked_through(detectors);
        release.describe(&fields).unwrap();
        (release, run(bytes.clone()))
    };
    bencher
        .with_inputs(ready)
        .counter(ItemsCount::new(ROWS))
        .bench_values(|(mut release, run)| release.run(black_box(run)));
}

fn run(mut bytes: BytesMut) -> Run {
    match Frames::new(Leg::Backend).next(&mut bytes).unwrap().unwrap() {
        Piece::Run(run) => run,
        Piece::Frame(_) => unreachable!("rows are a run"),
    }
}

/// One text of a megabyte, in one message, in pieces of 64 kB as they come off a socket.
fn megabyte(bencher: Bencher<'_, '_>, detectors: Detectors, text: &str) {
    let size = 1_000_000_u32;
    let mut bytes = BytesMut::new();
    bytes.put_u8(b'D');
    bytes.put_u32(size + 10);
    bytes.put_u16(1);
    bytes.put_u32(size);
    bytes.extend(text.bytes().cycle().take(size.try_into().unwrap()));
    let ready = || {
        let mut cells = Cells::new(detectors);
        cells.rows(std::iter::once(Column { type_oid: 25, is_binary: false }));
        let pieces: Vec<BytesMut> = bytes.chunks(64 * 1024).map(BytesMut::from).collect();
        (cells, pieces)
    };
    bencher.with_inputs(ready).counter(BytesCount::new(size)).bench_values(|(mut cells, pieces)| {
        pieces.into_iter().map(|piece| cells.pass(black_box(piece)).0.len()).sum::<usize>()
    });
}

fn as_shipped() -> Detectors {
    ["card", "iban", "ssn", "jwt", "api_key", "private_key"]
        .into_iter()
        .fold(Detectors::default(), |all, name| all.and(only(name)))
}

fn only(name: &str) -> Detectors {
    let mut detectors = Detectors::default();
    let wanted = Wanted { detector: name.parse().unwrap(), keep_last: None, row_bytes: None, beyond: None };
    detectors.add(&wanted).unwrap();
    detectors
}

const ROWS: usize = 1000;
const TEXTS: [(u32, &str); 4] =
    [(25, "Ada Lovelace"), (25, "Berlin, DE"), (1043, "shipped 2024-02-29"), (25, "the usual")];
const PROSE: &str = "It was on a dreary night of November, that I beheld the accomplishment of my toils. With an anxiety \
                     that almost amounted to agony, I collected the instruments of life around me, at 1 o'clock. ";
const JSON: &str = r#"{"id": 48213, "customer": {"name": "Ada", "city": "Turin"}, "items": [{"sku": "A-17", "n": 2, "price": 12.5}], "at": "2024-02-29T10:15:00Z"},"#;
const NUMBERS: &str =
    "1732137875123456,42,3.1415926535,2024-02-29 10:15:00,0017,5500000000000000,98765432109876,";
const BASE64: &str = "TWFuIGlzIGRpc3Rpbmd1aXNoZWQsIG5vdCBvbmx5IGJ5IGhpcyByZWFzb24sIGJ1dCBieSB0aGlzIHNpbmd1bGFyIHBhc3Npb24gZnJvbSBvdGhlciBhbmltYWxz";
