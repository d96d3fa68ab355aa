use super::*;
use serde_json::json;

fn kind(oid: u32) -> Kind {
    Kind::of(oid, None)
}

fn value(oid: u32, text: &str) -> Value {
    let mut cells = Cells::new(vec![kind(oid)]);
    cells.row(&[Some(text.to_owned())]).remove(0)
}

#[test]
fn numbers_are_json_numbers_only_where_json_holds_them_exactly() {
    assert_eq!(value(23, "-12"), json!(-12));
    assert_eq!(value(20, "9007199254740991"), json!(9_007_199_254_740_991_i64));
    assert_eq!(value(20, "9007199254740993"), json!("9007199254740993"));
    assert_eq!(value(20, "-9223372036854775808"), json!("-9223372036854775808"));
    assert_eq!(value(1700, "1.10"), json!("1.10"));
    assert_eq!(value(1700, "NaN"), json!("NaN"));
    assert_eq!(value(701, "0.1"), json!(0.1));
    for word in ["NaN", "Infinity", "-Infinity"] {
        assert_eq!(value(701, word), json!(word));
    }
    assert_eq!(value(16, "t"), json!(true));
}

#[test]
fn arrays_are_json_arrays_of_what_their_elements_are() {
    assert_eq!(value(1016, "{1,NULL,9007199254740993}"), json!([1, null, "9007199254740993"]));
    assert_eq!(value(1000, "{{t,f},{f,NULL}}"), json!([[true, false], [false, null]]));
    assert_eq!(value(3807, r#"{"{\"a\": [1]}",NULL}"#), json!([{"a": [1]}, null]));
    assert_eq!(value(1185, r#"{"2026-01-02 03:04:05+00"}"#), json!(["2026-01-02T03:04:05+00:00"]));
    assert_eq!(value(1007, "[0:1]={1,2}"), json!("[0:1]={1,2}"), "JSON has no lower bounds");
    assert_eq!(value(1020, "{(1,1),(0,0);(2,2),(1,1)}"), json!("{(1,1),(0,0);(2,2),(1,1)}"), "no commas");
    assert_eq!((kind(1007).name.as_str(), kind(1001).encoding()), ("integer[]", Some("hex")));
}

#[test]
fn times_are_iso_8601_where_that_has_words_for_them() {
    for (oid, text, expected) in [
        (1184, "2026-01-02 03:04:05+00", "2026-01-02T03:04:05+00:00"),
        (1184, "2026-01-02 03:04:05.123456-07", "2026-01-02T03:04:05.123456-07:00"),
        (1184, "2026-01-02 03:04:05+05:30", "2026-01-02T03:04:05+05:30"),
        (1184, "1800-01-02 03:04:05-07:52:58", "1800-01-02 03:04:05-07:52:58"),
        (1184, "infinity", "infinity"),
        (1114, "2026-01-02 03:04:05", "2026-01-02T03:04:05"),
        (1114, "0044-03-15 00:00:00 BC", "0044-03-15 00:00:00 BC"),
        (1114, "12026-01-02 03:04:05", "12026-01-02 03:04:05"),
        (1266, "03:04:05+02", "03:04:05+02:00"),
        (1082, "2026-01-02", "2026-01-02"),
        (1083, "03:04:05", "03:04:05"),
        (1184, "Fri Jan 02 03:04:05 2026 UTC", "Fri Jan 02 03:04:05 2026 UTC"),
    ] {
        assert_eq!(value(oid, text), json!(expected), "{text}");
    }
}

#[test]
fn the_rest_is_text_as_postgresql_prints_it_and_types_have_names() {
    for (oid, text) in [(17, "\\x00ff"), (3908, "[1,)"), (99_999, "(1,2)"), (1186, "P1DT2H")] {
        assert_eq!(value(oid, text), json!(text));
    }
    assert_eq!((kind(1700).name.as_str(), kind(99_999).name.as_str()), ("numeric", "oid 99999"));
    assert_eq!((kind(17).encoding(), kind(25).encoding()), (Some("hex"), None));
}

#[test]
fn what_cannot_be_seen_is_made_visible_and_the_column_says_so() {
    let mut cells = Cells::new(vec![kind(25), kind(3802), kind(1009)]);
    let plain = ["a\nb\tc \\u{202e} ❤\u{fe0f}", r#"{"k": "line\nbreak"}"#, "{a}"];
    let row = cells.row(&plain.map(|text| Some(text.to_owned())));
    assert_eq!(row, [json!(plain[0]), json!({"k": "line\nbreak"}), json!(["a"])]);
    assert!((0..3).all(|index| !cells.is_neutralised(index)));
    let hidden = ["a\u{202e}b", r#"{"k\u200b": "\u001b[2J"}"#, "{\"x\u{e0041}\"}"];
    let row = cells.row(&hidden.map(|text| Some(text.to_owned())));
    let expected = [json!("a\\u{202e}b"), json!({"k\\u{200b}": "\\u{1b}[2J"}), json!(["x\\u{e0041}"])];
    assert_eq!(row, expected);
    assert!((0..3).all(|index| cells.is_neutralised(index)));
}

#[test]
fn keys_that_would_become_one_lose_nothing() {
    let text = "{\"a\u{200b}\": 1, \"a\\\\u{200b}\": 2}";
    assert_eq!(value(3802, text), json!("{\"a\\u{200b}\": 1, \"a\\\\u{200b}\": 2}"));
}
