use bytes::{BufMut as _, BytesMut};
use proptest::prelude::*;

use super::*;

/// `text` as it leaves, and what was found in it, with every detector.
fn mask(text: &str) -> (String, Vec<&'static str>) {
    let mut bytes = text.as_bytes().to_vec();
    let found = Detectors::all().mask(&mut bytes);
    (String::from_utf8(bytes).unwrap(), found.into_iter().map(Detector::as_str).collect())
}

#[test]
fn what_looks_like_a_secret_is_overwritten_and_everything_else_stays() {
    let mut wrong = Vec::new();
    for (text, masked, found) in [
        ("card 4111111111111111.", "card ****************.", "card"),
        ("4111-1111-1111-1111", "****-****-****-****", "card"),
        ("4.111111111111111e+15", "*.***************e+15", "card"),
        ("4111 1111 1111 1111 20250101", "**** **** **** **** 20250101", "card"),
        ("12 4111 1111 1111 1111", "12 **** **** **** ****", "card"),
        ("(5555555555554444)", "(****************)", "card"),
        ("378282246310005", "***************", "card"),
        ("30569309025904", "**************", "card"),
        ("3530111333300000", "****************", "card"),
        ("6011111111111117", "****************", "card"),
        ("2223003122003222", "****************", "card"),
        ("4222222222222", "*************", "card"),
        ("card_4111111111111111", "card_****************", "card"),
        ("卡号4111111111111111。", "卡号****************。", "card"),
        ("４111111111111111", "******************", "card"),
        ("4111\u{a0}1111\u{2013}1111 1111", "****\u{a0}****\u{2013}**** ****", "card"),
        ("\\u0034111111111111111", "*********************", "card"),
        ("a\\t4111111111111111\\nb", "a\\t****************\\nb", "card"),
        ("GB29 NWBK 6016 1331 9268 19", "**** **** **** **** **** **", "iban"),
        ("iban de89370400440532013000,", "iban **********************,", "iban"),
        ("NO9386011117947", "***************", "iban"),
        ("ssn 078-05-1120", "ssn ***-**-****", "ssn"),
        ("219 09 9999", "*** ** ****", "ssn"),
        ("+1 (212) 555-0142 is it", "+* (***) ***-**** is it", "phone"),
        ("+4915112345679", "+*************", "phone"),
        ("(212) 555-0142", "(***) ***-****", "phone"),
        ("212-555-0142", "***-***-****", "phone"),
        ("020 7946 0958", "*** **** ****", "phone"),
        ("030/1234567", "***/*******", "phone"),
        ("01 23 45 67 89", "** ** ** ** **", "phone"),
        ("<bob.smith+x@mail.example.com>", "<***.*******@****.*******.***>", "email"),
        ("mailto:bob@x.co.", "mailto:***@*.**.", "email"),
        ("bob@mail.x-y.de-17", "***@****.*-*.**-17", "email"),
        ("https://h/?q=bob@x.com&z", "https://h/?q=***@*.***&z", "email"),
        ("jörg@müller.de", "*****@*******.**", "email"),
        (
            "t=eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln-_ end",
            "t=********************.***************.****** end",
            "jwt",
        ),
        ("AKIAIOSFODNN7EXAMPLE", "********************", "api_key"),
        ("key: sk_live_4eC39HqLyjWDarjtT1zdp7dc;", "key: ********************************;", "api_key"),
        ("xoxb-123456789012-abc", "*********************", "api_key"),
        ("AIzaSyA-1234567890abcdefghijklmnopqrstu", "***************************************", "api_key"),
        (
            "-----BEGIN RSA PRIVATE KEY-----\nMIIB+/=\n-----END RSA PRIVATE KEY----- x",
            "-----BEGIN RSA PRIVATE KEY-----\n*******\n-----END RSA PRIVATE KEY----- x",
            "private_key",
        ),
        (
            "-----BEGIN PRIVATE KEY-----\\nMIIB\\n-----END",
            "-----BEGIN PRIVATE KEY-----\\n****\\n-----END",
            "private_key",
        ),
    ] {
        if mask(text) != (masked.to_owned(), vec![found]) {
            wrong.push((text, mask(text)));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_only_resembles_a_secret_stays() {
    let mut wrong = Vec::new();
    for text in [
        // No Luhn digit, no issuer, part of something longer, a decimal, a time stamp.
        "4111111111111112",
        "1234567890123456789",
        "1111111111111117",
        "0000000000000000",
        "x4111111111111111",
        "41111111111111110000000",
        "0.4111111111111111",
        "4.111111111111112e+15",
        "4.111111111111111e+14",
        "4.111111111111111e-15",
        "1732137875123456",
        "2024-01-02 03:04:05.678901",
        "01-02-2024 10:30",
        "550e8400-e29b-41d4-a716-446655440000",
        "192.168.100.200",
        "GB29 NWBK 6016 1331 9268 18",
        "XX29 NWBK 6016 1331 9268 19",
        "GB29NWBK60161331926819X",
        "000-12-3456",
        "666-12-3456",
        "900-12-3456",
        "178-00-1120",
        "178-05-0000",
        "178-05-11201",
        "1 + 12345",
        "112-555-0142",
        "bob@localhost",
        "@x.com",
        "bob@10.0.0.1",
        "a@b.c",
        "eyJ",
        "eyJust a word",
        "task-4f9a8b7c6d5e4f3a2b1c0d9e8f7a6b5c4d",
        "sk-learn",
        "AKIAIOSFODNN7EXAMPLEX",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END",
        "----- PRIVATE KEY -----",
        "naïve \u{1f600} \\ \\u00 \\",
    ] {
        if mask(text) != (text.to_owned(), vec![]) {
            wrong.push((text, mask(text)));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_last_digits_of_a_card_may_stay() {
    let mut detectors = Detectors::default();
    detectors.add(&wanted("card", Some(4))).unwrap();
    assert_eq!(detectors.masked("4111-1111-1111-1111 x"), "****-****-****-1111 x");
    detectors.add(&wanted("card", None)).unwrap();
    assert_eq!(detectors.masked("4111-1111-1111-1111 x"), "****-****-****-**** x");
    assert!(detectors.add(&wanted("card", Some(5))).is_err());
    assert!(detectors.add(&wanted("iban", Some(1))).is_err());
}

fn wanted(name: &str, keep_last: Option<u8>) -> Wanted {
    Wanted { detector: name.parse().unwrap(), keep_last, row_bytes: None, beyond: None }
}

#[test]
fn a_detector_that_is_not_there_says_which_are() {
    let error = "cards".parse::<Detector>().unwrap_err();
    assert!(error.contains("`cards`") && error.contains("card, iban, ssn"), "{error}");
    let entry = serde_json::json!({"detector": "cards"});
    assert!(serde_json::from_value::<Wanted>(entry).is_err());
}

/// A message of type `tag`.
fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    bytes.put_u32(u32::try_from(body.len() + 4).unwrap());
    bytes.extend_from_slice(body);
    bytes
}

/// A row's body.
fn row(cells: &[Option<&[u8]>]) -> Vec<u8> {
    let mut body = Vec::new();
    body.put_u16(u16::try_from(cells.len()).unwrap());
    for cell in cells {
        match cell {
            None => body.put_i32(-1),
            Some(bytes) => {
                body.put_i32(i32::try_from(bytes.len()).unwrap());
                body.extend_from_slice(bytes);
            }
        }
    }
    body
}

fn text_columns(cells: &mut Cells, types: &[(u32, bool)]) {
    cells.rows(types.iter().map(|&(type_oid, is_binary)| Column { type_oid, is_binary }));
}

/// What leaves of `bytes`, if they arrive in pieces of `step`.
fn passed(mut cells: Cells, bytes: &[u8], step: usize) -> (Vec<u8>, Option<Broken>, Findings) {
    let mut out = Vec::new();
    for piece in bytes.chunks(step) {
        let (some, broken) = cells.pass(BytesMut::from(piece));
        out.extend_from_slice(&some);
        if broken.is_some() {
            return (out, broken, cells.findings().clone());
        }
        assert!(cells.held.len() <= LONGEST);
    }
    assert!(cells.held.is_empty(), "held {:?}", cells.held);
    (out, None, cells.findings().clone())
}

/// As [`passed`], in every way to cut `bytes` evenly; all must give the same.
fn passes(cells: impl Fn() -> Cells, bytes: &[u8]) -> (Vec<u8>, Option<Broken>, Findings) {
    let whole = passed(cells(), bytes, bytes.len());
    for step in 1..bytes.len() {
        assert_eq!(passed(cells(), bytes, step), whole, "in pieces of {step}");
    }
    whole
}

#[test]
fn however_rows_arrive_the_same_leave_and_lengths_stay_true() {
    const TEXT: u32 = 25;
    let card: &[u8] = b"no 4111 1111 1111 1111 or bob@example.com";
    let other: &[u8] =
        b"-----BEGIN PRIVATE KEY-----\nAA\n-----END PRIVATE KEY-----, eyJhbGciOiJIUzI1NiJ9.e30.";
    let int4 = 42_i32.to_be_bytes();
    let numeric: &[u8] = b"\0\x04\0\x03\0\0\0\0\x10\x0f\x04\x57\x04\x57\x04\x57";
    let card8 = 4_111_111_111_111_111_i64.to_be_bytes();
    let bytes = [
        message(
            b'D',
            &row(&[Some(card), None, Some(&int4), Some(b"4111111111111111"), Some(&card8), Some(numeric)]),
        ),
        message(b'D', &row(&[Some(other), Some(b""), Some(&int4), Some(b"17"), None, Some(numeric)])),
    ]
    .concat();
    let cells = || {
        let mut cells = Cells::new(Detectors::all());
        text_columns(
            &mut cells,
            &[(TEXT, false), (TEXT, true), (23, true), (20, false), (20, true), (1700, true)],
        );
        cells
    };
    let (out, broken, findings) = passes(cells, &bytes);
    let zero = b"\0\x04\0\x03\0\0\0\0\0\0\0\0\0\0\0\0";
    let first: &[u8] = b"no **** **** **** **** or ***@*******.***";
    let second: &[u8] =
        b"-----BEGIN PRIVATE KEY-----\n**\n-----END PRIVATE KEY-----, ********************.***.";
    let expected = [
        message(b'D', &row(&[Some(first), None, Some(&int4), Some(&[b'0'; 16]), Some(&[0; 8]), Some(zero)])),
        message(b'D', &row(&[Some(second), Some(b""), Some(&int4), Some(b"17"), None, Some(zero)])),
    ]
    .concat();
    assert_eq!(String::from_utf8_lossy(&out), String::from_utf8_lossy(&expected));
    assert_eq!(broken, None);
    assert_eq!(
        findings.by_name().collect::<Vec<_>>(),
        [("card", 5), ("email", 1), ("jwt", 1), ("private_key", 1)]
    );
}

#[test]
fn a_card_is_found_in_every_type_of_numbers() {
    const FLOAT8: u32 = 701;
    let float = 4_111_111_111_111_111_f64.to_be_bytes();
    let other = 4_111_111_111_111_112_f64.to_be_bytes();
    let types =
        [(FLOAT8, false), (FLOAT8, true), (FLOAT8, true), (1700, false), (1016, false), (FLOAT8, false)];
    let before: [&[u8]; 6] = [
        b"4.111111111111111e+15",
        &float,
        &other,
        b"-4111111111111111.50",
        b"{1,4111111111111111}",
        b"4.5e+15",
    ];
    let after: [&[u8]; 6] = [
        b"0.000000000000000e+15",
        &[0; 8],
        &other,
        b"-0000000000000000.50",
        b"{1,0000000000000000}",
        b"4.5e+15",
    ];
    let cells = || {
        let mut cells = Cells::new(Detectors::all());
        text_columns(&mut cells, &types);
        cells
    };
    let (out, ..) = passes(cells, &message(b'D', &row(&before.map(Some))));
    assert_eq!(out, message(b'D', &row(&after.map(Some))));
}

#[test]
fn a_row_that_lies_about_itself_is_overwritten_and_is_the_last() {
    let good = message(b'D', &row(&[Some(b"one")]));
    for body in [
        &b"\0\x01\0\0\0\x63secret"[..],
        b"\0\x01\xff\xff\xff\xfesecret",
        b"\0\x01\0\0\0\x02sesecret",
        b"\0",
        b"\0\x01\0\0",
    ] {
        let bytes = [good.clone(), message(b'D', body), good.clone()].concat();
        let cells = || Cells::new(Detectors::all());
        let (out, broken, _) = passes(cells, &bytes);
        assert_eq!(broken, Some(Broken::Malformed), "{body:?}");
        assert_eq!(out.len(), good.len() + body.len() + 5, "the message keeps its length");
        let shown = String::from_utf8_lossy(&out);
        assert!(shown.contains("one") && !shown.ends_with("cret"), "{shown}");
    }
}

#[test]
fn what_is_beyond_the_budget_of_a_row_is_overwritten_and_the_next_row_has_its_own() {
    let mut detectors = Detectors::default();
    let beyond = |beyond| Wanted { row_bytes: Some(12), beyond: Some(beyond), ..wanted("card", None) };
    detectors.add(&beyond(Beyond::Redact)).unwrap();
    let bytes = [
        message(b'D', &row(&[Some("five, 4111 é 1".as_bytes()), Some(b"{six, [7]}")])),
        message(b'D', &row(&[Some(b"short"), Some(b"too")])),
    ]
    .concat();
    let cells = |detectors: Detectors| {
        let mut cells = Cells::new(detectors);
        text_columns(&mut cells, &[(25, false), (3802, false)]);
        cells
    };
    let (out, broken, _) = passes(|| cells(detectors), &bytes);
    let expected = [
        message(b'D', &row(&[Some(b"five, **** ** *"), Some(b"{***, [*]}")])),
        message(b'D', &row(&[Some(b"short"), Some(b"too")])),
    ]
    .concat();
    assert_eq!((String::from_utf8_lossy(&out), broken), (String::from_utf8_lossy(&expected), None));
    detectors.add(&beyond(Beyond::Stop)).unwrap();
    let (out, broken, _) = passes(|| cells(detectors), &bytes);
    assert_eq!((out.len(), broken), (expected.len() - 23, Some(Broken::TooLong)));
}

#[test]
fn copied_lines_are_looked_through_one_by_one() {
    let lines = [
        message(b'd', b"1\t4111111111111111\tx\\t4111111111111111\n"),
        message(b'd', b"2,\"a \"\"4111 1111\n"),
        message(b'd', b"1111 1111\"\",\"4111111111111111\"\n"),
        message(b'd', b"{\"c\": 4111111111111111, \"d\": \"4111111111111111\"}\n"),
    ]
    .concat();
    let cells = || {
        let mut cells = Cells::new(Detectors::all());
        cells.copy(false);
        cells
    };
    let (out, broken, _) = passes(cells, &lines);
    let expected = [
        message(b'd', b"1\t1000000000000000\tx\\t1000000000000000\n"),
        message(b'd', b"2,\"a \"\"4111 1111\n"),
        message(b'd', b"1111 1111\"\",\"****************\"\n"),
        message(b'd', b"{\"c\": 1000000000000000, \"d\": \"****************\"}\n"),
    ]
    .concat();
    assert_eq!((String::from_utf8_lossy(&out), broken), (String::from_utf8_lossy(&expected), None));
    let split = [message(b'd', b"4111 1111"), message(b'd', b" 1111 1111\n")].concat();
    let (out, broken, _) = passes(cells, &split);
    assert_eq!((out.len(), broken), (14, Some(Broken::Malformed)), "a line in two messages");
}

#[test]
fn copied_tuples_and_binary_arrays_keep_their_lengths() {
    let array = |texts: &[&str]| {
        let mut array = Vec::new();
        [1_u32, 0, 25, u32::try_from(texts.len()).unwrap(), 1]
            .into_iter()
            .for_each(|number| array.put_u32(number));
        for text in texts {
            array.put_u32(u32::try_from(text.len()).unwrap());
            array.extend_from_slice(text.as_bytes());
        }
        array
    };
    // The lengths 48, 52 and 65 are those of `0`, `4` and `A`.
    let long = |text: &str, size: usize| format!("{text}{}", " ".repeat(size - text.len()));
    let texts = ["4111111111111111", "bob@example.com", "GB29NWBK60161331926819"];
    let hidden = ["****************", "***@*******.***", "**********************"];
    for size in [48, 52, 65, 97, 300] {
        let texts = texts.map(|text| long(text, size));
        let hidden = hidden.map(|text| long(text, size));
        let before = array(&texts.each_ref().map(String::as_str));
        let after = array(&hidden.each_ref().map(String::as_str));
        let head = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
        let messages = |value: &[u8]| {
            let first = [&head[..], &row(&[Some(value), None])].concat();
            [message(b'd', &first), message(b'd', &row(&[Some(value)])), message(b'd', b"\xff\xff")].concat()
        };
        let cells = || {
            let mut cells = Cells::new(Detectors::all());
            cells.copy(true);
            cells
        };
        let (out, broken, _) = passes(cells, &messages(&before));
        assert_eq!((out, broken), (messages(&after), None), "{size}");
    }
}

#[test]
fn the_texts_of_an_array_are_looked_through_one_by_one() {
    let array = |texts: [&[u8]; 3]| {
        let mut array = vec![0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 25, 0, 0, 0, 4, 0, 0, 0, 1];
        for text in texts {
            array.put_u32(u32::try_from(text.len()).unwrap());
            array.extend_from_slice(text);
        }
        array.put_i32(-1);
        array
    };
    // 304 bytes, as a length, end like the digit 0.
    let long = |text: &str| format!("{text}{}", ".".repeat(304 - text.len())).into_bytes();
    let before = array([&long("bob@example.com "), b"4111", b"1111 1111 1111 and 4111111111111111"]);
    let after = array([&long("***@*******.*** "), b"4111", b"1111 1111 1111 and ****************"]);
    let cells = || {
        let mut cells = Cells::new(Detectors::all());
        text_columns(&mut cells, &[(1009, true), (25, true), (1009, true)]);
        cells
    };
    let rows = |array: &[u8], text: &[u8]| {
        let empty = [0; 12];
        let first = message(b'D', &row(&[Some(array), Some(text), Some(&empty)]));
        [first, message(b'D', &row(&[None, None, None]))].concat()
    };
    let (out, broken, _) = passes(cells, &rows(&before, b"a@b.com"));
    assert_eq!((out, broken), (rows(&after, b"*@*.***"), None));
    for lie in
        [&b"\0\0\0\x09\0\0\0\0\0\0\0\x19"[..], b"\0\0\0\0\0\0\0\0\0\0\0\x19\0\0\0\x63secret", b"\0\0\0\x01"]
    {
        let (out, broken, _) = passes(cells, &rows(lie, b"secret"));
        let shown = String::from_utf8_lossy(&out);
        assert_eq!(broken, Some(Broken::Malformed), "{lie:?}");
        assert!(!shown.contains("secret"), "{shown}");
    }
}

#[test]
fn a_value_of_any_length_is_never_held() {
    let piece =
        ["lorem 4111 ipsum-", "bob.@bob_", "4111-1111-", "\\\\u00", "eyJ", "GB29", "+49 ", "\u{1f600}"]
            .concat();
    let pieces = 40_000;
    let mut head = vec![b'D'];
    head.put_u32(u32::try_from(piece.len() * pieces).unwrap() + 10);
    head.put_u16(1);
    head.put_u32(u32::try_from(piece.len() * pieces).unwrap());
    let mut cells = Cells::new(Detectors::all());
    text_columns(&mut cells, &[(25, false)]);
    let mut left = cells.pass(BytesMut::from(&head[..])).0.len();
    for _ in 0..pieces {
        left += cells.pass(BytesMut::from(piece.as_bytes())).0.len();
        assert!(cells.held.len() <= LONGEST, "{} bytes are held", cells.held.len());
    }
    assert_eq!((left, cells.held.len()), (head.len() + piece.len() * pieces, 0));
}

proptest! {
    #[test]
    fn no_way_to_cut_a_text_shows_more_of_it(
        text in "([a-z ]{0,6}|4111 ?1111 ?1111 ?1111|bob@x\\.com|\\\\{1,3}u0034|078-05-1120|\\+49 30 123456|-----BEGIN PRIVATE KEY-----|--|eyJhbGciOiJIUzI1NiJ9\\.|GB29NWBK60161331926819|é|sk-ant-0123456789abcdefghij){0,8}",
        cuts in prop::collection::vec(1_usize..40, 1..12),
    ) {
        let whole = Detectors::all().masked(&text).into_owned();
        prop_assert_eq!(whole.len(), text.len());
        let bytes = message(b'D', &row(&[Some(text.as_bytes())]));
        let mut cells = Cells::new(Detectors::all());
        text_columns(&mut cells, &[(25, false)]);
        let (mut rest, mut out) = (bytes.as_slice(), Vec::new());
        for cut in cuts.iter().cycle() {
            let (piece, behind) = rest.split_at((*cut).min(rest.len()));
            out.extend_from_slice(&cells.pass(BytesMut::from(piece)).0);
            rest = behind;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(out, message(b'D', &row(&[Some(whole.as_bytes())])));
    }
}

/// What leaves of messages with these bodies, cut at `cuts`.
fn cut(mut cells: Cells, bytes: &[u8], cuts: &[usize]) -> (Vec<u8>, Option<Broken>, Findings) {
    let (mut rest, mut out) = (bytes, Vec::new());
    for cut in cuts.iter().cycle() {
        let (piece, behind) = rest.split_at((*cut).min(rest.len()));
        let (some, broken) = cells.pass(BytesMut::from(piece));
        out.extend_from_slice(&some);
        rest = behind;
        if broken.is_some() || rest.is_empty() {
            return (out, broken, cells.findings().clone());
        }
    }
    (out, None, cells.findings().clone())
}

proptest! {
    #[test]
    fn no_bytes_make_a_cut_matter(
        bodies in prop::collection::vec(
            prop_oneof![
                prop::collection::vec(any::<u8>(), 0..40),
                prop::collection::vec(prop_oneof![Just(0_u8), Just(1), Just(4), Just(8), b'0'..=b'9', Just(b'@')], 0..60),
                prop::collection::vec(prop::option::of("[ -~]{0,24}|4111111111111111|a@b\\.cd"), 0..6).prop_map(|cells| {
                    row(&cells.iter().map(|cell| cell.as_ref().map(String::as_bytes)).collect::<Vec<_>>())
                }),
            ],
            1..4,
        ),
        types in prop::collection::vec(
            (prop::sample::select(vec![25_u32, 20, 701, 1700, 1009, 3802, 23, 16_400]), any::<bool>()), 0..6),
        kind in 0..3,
        cuts in prop::collection::vec(1_usize..9, 1..5),
        row_bytes in prop::option::of(1_u64..40),
    ) {
        let tag = if kind == 0 { b'D' } else { b'd' };
        let bytes: Vec<u8> = bodies.iter().flat_map(|body| message(tag, body)).collect();
        let cells = || {
            let limit = Wanted { row_bytes, ..wanted("card", None) };
            let mut detectors = Detectors::all();
            detectors.add(&limit).unwrap();
            let mut cells = Cells::new(detectors);
            match kind {
                0 => text_columns(&mut cells, &types),
                kind => cells.copy(kind == 1),
            }
            cells
        };
        let whole = cut(cells(), &bytes, &[bytes.len()]);
        prop_assert!(whole.0.len() <= bytes.len());
        prop_assert!(whole.1.is_some() || whole.0.len() == bytes.len());
        prop_assert_eq!(cut(cells(), &bytes, &cuts), whole);
    }
}
