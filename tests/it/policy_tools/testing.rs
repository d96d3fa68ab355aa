//! `policy test`: results, the line that failed, coverage.

use super::*;

const RULES: &str = r#"package portcullis.statement

allow := true

deny contains {"rule": "night", "message": "m", "hint": "h"} if input.time.hour < 6

deny contains {"rule": "weekend", "message": "m", "hint": "h"} if {
	input.time.weekday > 5
	not input.identity.kind == "human"
}
"#;

const TESTS: &str = r#"package portcullis.statement_test

import data.portcullis.statement.deny

rules(time) := found if {
	found := {entry.rule | some entry in deny} with input as {"time": time, "identity": {"kind": "agent"}}
}

test_night if rules({"hour": 3, "weekday": 1}) == {"night"}

test_day if rules({"hour": 12, "weekday": 1}) == set()
"#;

fn tested(more: &str) -> Desk {
    Desk::open(&[("statement.rego", RULES), ("statement_test.rego", &format!("{TESTS}{more}"))])
}

#[test]
fn passing_tests_are_counted_and_named_when_asked_for() {
    let desk = tested("\ntodo_test_weekend if false\n");
    let ran = desk.run(&["test"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    assert!(ran.out.starts_with("2 passed, 0 failed, 1 to do  ("), "{}", ran.out);
    let named = desk.run(&["test", "-v"]).out;
    assert!(named.contains("pass  portcullis.statement_test.test_night  ("), "{named}");
    assert!(
        named.contains("todo  portcullis.statement_test.todo_test_weekend  statement_test.rego:13"),
        "{named}"
    );
    let ran = desk.run(&["test", "-r", "day$"]);
    assert!(ran.out.starts_with("1 passed, 0 failed, 0 to do"), "{}", ran.out);
}

#[test]
fn a_failed_test_names_the_line_that_was_not_true_and_what_was_printed() {
    let desk = tested(
        r#"
test_wrong if {
	found := rules({"hour": 3, "weekday": 7})
	print("found", found)
	count(found) > 0
	found == {"night"}
	count(found) == 1
}

test_type if startswith(1, "x")

test_value := 5
"#,
    );
    let ran = desk.run(&["test"]);
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    let out = &ran.out;
    for said in [
        "FAIL  portcullis.statement_test.test_wrong  (",
        "      statement_test.rego:17: not true: `found == {\"night\"}`\n",
        "      statement_test.rego:15: found {\"night\", \"weekend\"}\n",
        "      statement_test.rego:21: `startswith` expects string argument",
        "      statement_test.rego:23: the rule is not a boolean: a test is `test_name if { ... }`",
        "2 passed, 3 failed, 0 to do  (",
    ] {
        assert!(out.contains(said), "{said}\n{out}");
    }
    let json = desk.run(&["test", "--format", "json"]).json();
    assert_eq!((&json["ok"], &json["passed"], &json["failed"]), (&false.into(), &2.into(), &3.into()));
    let wrong = json["tests"].as_array().unwrap().iter().find(|test| test["line"] == 13).unwrap();
    assert_eq!((&wrong["outcome"], &wrong["failed_line"]), (&"fail".into(), &17.into()));
    let junit = desk.run(&["test", "--format", "junit"]).out;
    assert!(
        junit.contains("<testsuite name=\"statement_test.rego\" tests=\"5\" failures=\"3\" skipped=\"0\"")
    );
    assert!(junit.contains("statement_test.rego:17: not true: `found == {&quot;night&quot;}`"), "{junit}");
}

#[test]
fn two_tests_of_one_name_hide_nothing() {
    let ran = tested("\ntest_day if false\n").run(&["test"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.out.contains("there is another test of this name"), "{}", ran.out);
}

#[test]
fn lines_that_no_test_comes_to_are_named() {
    let desk = tested("");
    let ran = desk.run(&["test", "--threshold", "100"]);
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    for said in [
        "not covered  approval.rego: 3\n",
        "not covered  session.rego: 3\n",
        "not covered  statement.rego: 3, 7, 9\n",
        "coverage is 28.6 %, below 100.0 %\n",
    ] {
        assert!(ran.out.contains(said), "{said}\n{}", ran.out);
    }
    assert_eq!(desk.run(&["test", "--threshold", "28"]).code, Some(0));
    let json = desk.run(&["test", "--coverage", "--format", "json"]).json();
    let file = &json["coverage"]["files"]["statement.rego"];
    assert_eq!(file["not_covered"], serde_json::json!([[3, 3], [7, 7], [9, 9]]));
    assert!(json["coverage"]["files"].get("statement_test.rego").is_none());
}

#[test]
fn what_can_not_be_loaded_is_3_and_no_tests_are_no_success() {
    let ran = tested("\ntest_x if data.nosuch.y\n").run(&["test"]);
    assert_eq!(ran.code, Some(3), "{}", ran.out);
    assert!(ran.err.contains("statement_test.rego:13: there is no document `data.nosuch`"), "{}", ran.err);
    let ran = Desk::open(&[]).run(&["test"]);
    assert_eq!(ran.code, Some(1), "nothing was tested");
    assert!(ran.err.contains("there are no tests"), "{}", ran.err);
    let ran = tested("").run(&["test", "-r", "nosuch"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("no test's name matches `nosuch`"), "{}", ran.err);
    let ran = tested("").run(&["test", "elsewhere"]);
    assert_eq!(ran.code, Some(3));
}

#[test]
fn the_shipped_rulebook_passes_its_own_tests_and_they_cover_it() {
    let desk = Desk::open(&[]);
    let ran = desk.run(&["test", shipped().to_str().unwrap(), "--threshold", "100"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    desk.write("portcullis.toml", &format!("[policy]\npath = {:?}\n", shipped()));
    let configured = desk.run(&["test"]);
    assert_eq!(configured.code, Some(0), "{}{}", configured.out, configured.err);
    assert!(!configured.out.starts_with("0 passed"), "{}", configured.out);
}
