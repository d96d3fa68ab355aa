//! Values on their way out and in again, through real PostgreSQL.

use std::fmt::Write as _;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use super::stand::{Client, Era, Stand};

const SCHEMA: &str = "
    ALTER ROLE SERVICE SET datestyle = 'German, DMY';
    ALTER ROLE SERVICE SET intervalstyle = 'sql_standard';
    ALTER ROLE SERVICE SET bytea_output = 'escape';
    ALTER ROLE SERVICE SET timezone = 'Asia/Kolkata';
    ALTER ROLE SERVICE SET extra_float_digits = 0;
    CREATE TYPE mood AS ENUM ('sad', 'ok', 'a \"b\", {c}');
    CREATE TYPE pair AS (a int, b text);
    CREATE TYPE price_range AS RANGE (subtype = numeric);
    CREATE DOMAIN small AS int CHECK (VALUE < 100);
    CREATE DOMAIN smalls AS small[];
    CREATE TABLE kept (id int PRIMARY KEY, tags text[], grid int[], docs jsonb[], doc jsonb, moods mood[], note text);
    INSERT INTO kept VALUES (1, '{a,\"b,c\"}', '{{1,2},{3,4}}', '{\"{\\\"k\\\": 1}\"}', '[1]', '{sad,ok}', 'n');
";

const SCOPE: &str = "
[scope.shop]
read = [\"public.*\"]
write = [\"public.kept\"]
[approval]
groups = [\"approvers\"]
";

async fn stand() -> (Stand, crate::support::Database, Client) {
    let (stand, database) = Stand::before(SCHEMA, SCOPE).await;
    let client = stand.client("robin", Era::Stateless).await;
    (stand, database, client)
}

/// The type, a value as PostgreSQL reads it, the type's name as it is shown, and the value as it is shown.
fn corners() -> Vec<(&'static str, &'static str, &'static str, Value)> {
    vec![
        ("bool", "true", "boolean", json!(true)),
        ("int2", "-32768", "smallint", json!(-32768)),
        ("int8", "9007199254740991", "bigint", json!(9_007_199_254_740_991_i64)),
        ("int8", "-9223372036854775808", "bigint", json!("-9223372036854775808")),
        ("numeric", "12345678901234567890.10", "numeric", json!("12345678901234567890.10")),
        ("numeric", "NaN", "numeric", json!("NaN")),
        ("float8", "0.1", "double precision", json!(0.1)),
        ("float8", "1e300", "double precision", json!("1e+300")),
        ("float4", "16777217", "real", json!(16_777_216.0)),
        ("float8", "-Infinity", "double precision", json!("-Infinity")),
        ("oid", "4294967295", "oid", json!(4_294_967_295_u32)),
        ("bytea", "\\x00ff", "bytea", json!("\\x00ff")),
        (
            "uuid",
            "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
            "uuid",
            json!("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        ),
        ("inet", "10.0.0.1/8", "inet", json!("10.0.0.1/8")),
        ("date", "2026-02-01", "date", json!("2026-02-01")),
        ("timestamp", "2026-02-01 03:04:05.6", "timestamp without time zone", json!("2026-02-01T03:04:05.6")),
        (
            "timestamptz",
            "2026-02-01 00:00:00+00",
            "timestamp with time zone",
            json!("2026-02-01T05:30:00+05:30"),
        ),
        ("timestamptz", "infinity", "timestamp with time zone", json!("infinity")),
        (
            "timestamptz",
            "0044-03-15 00:00:00+00 BC",
            "timestamp with time zone",
            json!("0044-03-15 05:53:28+05:53:28 BC"),
        ),
        ("timetz", "03:04:05-07", "time with time zone", json!("03:04:05-07:00")),
        ("interval", "1 year -2 days 03:04:05.6", "interval", json!("P1Y-2DT3H4M5.6S")),
        ("json", "{\"a\": [1, null]}", "json", json!({"a": [1, null]})),
        ("jsonb", "12345678901234567890", "jsonb", json!("12345678901234567890")),
        ("int4range", "[1,5]", "int4range", json!("[1,6)")),
        ("int4multirange", "{[1,2],[4,5]}", "int4multirange", json!("{[1,3),[4,6)}")),
        ("int4[]", "{{1,NULL},{3,4}}", "integer[]", json!([[1, null], [3, 4]])),
        ("int4[]", "[0:1]={1,2}", "integer[]", json!("[0:1]={1,2}")),
        ("numeric[]", "{1.10,NaN}", "numeric[]", json!(["1.10", "NaN"])),
        (
            "text[]",
            "{\"NULL\",NULL,\"\",\"a,b\",\"{}\",\"\\\"\\\\\"}",
            "text[]",
            json!(["NULL", null, "", "a,b", "{}", "\"\\"]),
        ),
        (
            "timestamptz[]",
            "{2026-02-01 00:00:00+00}",
            "timestamp with time zone[]",
            json!(["2026-02-01T05:30:00+05:30"]),
        ),
        ("bytea[]", "{\"\\\\x00\"}", "bytea[]", json!(["\\x00"])),
        ("box[]", "{(1,1),(0,0);(2,2),(1,1)}", "box[]", json!("{(1,1),(0,0);(2,2),(1,1)}")),
        ("mood", "a \"b\", {c}", "mood", json!("a \"b\", {c}")),
        ("mood[]", "{sad,\"a \\\"b\\\", {c}\"}", "mood[]", json!(["sad", "a \"b\", {c}"])),
        ("pair", "(1,\"x y\")", "pair", json!("(1,\"x y\")")),
        ("pair[]", "{\"(1,x)\"}", "pair[]", json!(["(1,x)"])),
        ("price_range", "[1.0,2.5)", "price_range", json!("[1.0,2.5)")),
        ("small", "7", "integer", json!(7)),
        ("small[]", "{7,NULL}", "small[]", json!([7, null])),
        ("smalls", "{7}", "small[]", json!([7])),
        ("regtype", "integer", "regtype", json!("integer")),
        ("int2vector", "1 2", "int2vector", json!("1 2")),
        ("xid8", "18446744073709551615", "xid8", json!("18446744073709551615")),
    ]
}

#[tokio::test]
async fn every_type_is_shown_exactly_whatever_the_server_is_set_to_and_can_be_passed_back() {
    let (_stand, _database, client) = stand().await;
    for (kind, text, name, expected) in corners() {
        let sql = format!("SELECT $1::{kind} AS v");
        let (answer, is_error) = client.call("query", json!({"sql": sql, "params": [text]})).await;
        assert!(!is_error, "{kind}: {answer}");
        assert_eq!(answer["rows"], json!([[expected]]), "{kind} {text}");
        let shown = answer["columns"][0]["type"].as_str().unwrap();
        assert_eq!(shown.trim_start_matches("public."), name, "{answer}");
        assert_eq!(answer["columns"][0].get("encoding").is_some(), kind.starts_with("bytea"), "{answer}");
        let same = same(&client, kind, text, &expected).await;
        assert_eq!(same["rows"], json!([[true]]), "{kind} {text}: {same}");
    }
}

/// Whether the server takes `shown` for the value that `text` is.
async fn same(client: &Client, kind: &str, text: &str, shown: &Value) -> Value {
    let equal = if kind == "json" { "::text::jsonb" } else { "" };
    let sql = match kind {
        "box[]" | "xid8" => format!("SELECT ($1::{kind})::text = ($2::{kind})::text"),
        _ => format!("SELECT ($1::{kind}){equal} IS NOT DISTINCT FROM ($2::{kind}){equal}"),
    };
    client.call("query", json!({"sql": sql, "params": [text, shown]})).await.0
}

#[tokio::test]
async fn made_up_values_come_back_as_they_went_in() {
    let (_stand, _database, client) = stand().await;
    let mut runner = TestRunner::deterministic();
    let item = prop_oneof![Just(None), "[^\0]{0,6}".prop_map(Some), "[{}\",\\\\ NUL]{0,6}".prop_map(Some)];
    let texts = prop::collection::vec(item, 0..6);
    let numbers = prop::collection::vec(prop::option::of(any::<i64>()), 0..6);
    let floats = prop::collection::vec(-1e15..1e15_f64, 0..6);
    for _ in 0..40 {
        let texts = texts.new_tree(&mut runner).unwrap().current();
        let numbers = numbers.new_tree(&mut runner).unwrap().current();
        let floats = floats.new_tree(&mut runner).unwrap().current();
        let document = json!({"k": texts.first(), "n": floats.first(), "a": [texts.last()]});
        let document: Value = serde_json::from_str(&document.to_string()).unwrap();
        let big: Vec<Value> = numbers.iter().map(|n| json!(n.map(|n| n.to_string()))).collect();
        let sql = "SELECT $1::text[], $2::int8[], $3::numeric[], $4::float8[]";
        let params = json!([texts, numbers, big, floats]);
        let (answer, is_error) = client.call("query", json!({"sql": sql, "params": params})).await;
        assert!(!is_error, "{params}: {answer}");
        let row = &answer["rows"][0];
        if answer["columns"][0].get("neutralised").is_none() {
            assert_eq!(row[0], params[0], "{answer}");
        }
        let digits = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let all = |list: &Value| list.as_array().unwrap().iter().map(digits).collect::<Vec<_>>();
        assert_eq!(all(&row[1]), all(&params[1]));
        assert_eq!(row[2], params[2]);
        for (sent, back) in floats.iter().zip(row[3].as_array().unwrap()) {
            assert_eq!(back.as_f64(), Some(*sent), "{answer}");
        }
        if !document.to_string().contains("\\u0000") {
            let (answer, _) =
                client.call("query", json!({"sql": "SELECT $1::jsonb", "params": [document]})).await;
            assert!(answer["rows"].is_array(), "{answer}");
        }
    }
}

#[tokio::test]
async fn lists_are_arrays_where_an_array_is_wanted_and_documents_where_a_document_is() {
    let (_stand, _database, client) = stand().await;
    for (condition, params) in [
        ("id = ANY ($1)", json!([[1, 2]])),
        ("tags = $1", json!([["a", "b,c"]])),
        ("tags && $1", json!([["b,c"]])),
        ("kept.grid = $1", json!([[[1, 2], [3, 4]]])),
        ("docs = $1", json!([[{"k": 1}]])),
        ("doc = $1", json!([[1]])),
        ("moods @> $1", json!([["ok"]])),
        ("doc <> $1", json!([{"a": 1}])),
        ("cardinality($1::text[]) = 2", json!([["x", null]])),
    ] {
        let sql = format!("SELECT id FROM kept WHERE {condition}");
        let (answer, is_error) = client.call("query", json!({"sql": sql, "params": params})).await;
        assert!(!is_error, "{condition}: {answer}");
        assert_eq!(answer["rows"], json!([[1]]), "{condition}");
    }
    let sql = "SELECT $1::text = '{1}'";
    let (answer, _) = client.call("query", json!({"sql": sql, "params": [[1]]})).await;
    assert_eq!(answer["rows"], json!([[false]]), "a list that nobody wants is JSON text: {answer}");
    let sql = "SELECT array_append($1, 3)";
    let (answer, is_error) = client.call("query", json!({"sql": sql, "params": [[1]]})).await;
    assert!(is_error && answer["error"]["hint"].as_str().unwrap().contains("$1::int[]"), "{answer}");
}

#[tokio::test]
async fn an_approver_reads_the_array_that_the_database_gets() {
    let (stand, _database, client) = stand().await;
    let sql = "INSERT INTO kept (id, tags, docs) VALUES ($1, $2, $3)";
    let write = json!({"sql": sql, "params": [2, ["x", "y"], [[1]]], "reason": "r", "wait_s": 0});
    let (answer, _) = client.call("execute", write).await;
    assert_eq!(answer["status"], "pending_approval", "{answer}");
    let request = stand.gate.desk().requests(1).unwrap().remove(0);
    let texts = ["2", r#"{"x","y"}"#, r#"{"[1]"}"#].map(|text| Some(text.to_owned()));
    assert_eq!(request.parameters, texts);
}

#[tokio::test]
async fn characters_that_hide_are_shown_and_flagged() {
    let (_stand, _database, client) = stand().await;
    let mut hidden = String::new();
    for code in [0x202e_u32, 0x200b, 0xe0041, 0x1b, 0x9b, 0xfeff] {
        write!(hidden, "<{}>", char::from_u32(code).unwrap()).unwrap();
    }
    let sql = "SELECT $1::text AS a, 'line\nbreak\t' AS b, 1 AS \"n\u{202e}\", jsonb_build_object('k', $1::text) AS d";
    let (answer, _) = client.call("query", json!({"sql": sql, "params": [hidden]})).await;
    let shown = "<\\u{202e}><\\u{200b}><\\u{e0041}><\\u{1b}><\\u{9b}><\\u{feff}>";
    assert_eq!(answer["rows"], json!([[shown, "line\nbreak\t", 1, {"k": shown}]]), "{answer}");
    let flags: Vec<bool> =
        answer["columns"].as_array().unwrap().iter().map(|c| c["neutralised"] == json!(true)).collect();
    assert_eq!(flags, [true, false, false, true]);
    assert_eq!(answer["columns"][2]["name"], "n\\u{202e}");
    assert_eq!(answer["content_trust"], "untrusted");
}
