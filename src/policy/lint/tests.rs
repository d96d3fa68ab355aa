//! Each warning, and what looks like it and is none.

use serde_json::json;

use super::*;

/// What is found in `portcullis.statement` with these rules, from line 2, as `line check`. Rules that deny are tested.
fn found(rules: &str) -> Vec<String> {
    let source = |path: &str, text: &str| Source::file(path, text);
    let sources = [
        source("statement.rego", &format!("package portcullis.statement\n{rules}\n")),
        source("session.rego", "package portcullis.session\nallow := true\n"),
        source("approval.rego", "package portcullis.approval\neligible := true\n"),
        source("data/grants.json", r#"{"a": {"role": "x"}}"#),
        source("data/names.json", r#"["a"]"#),
    ];
    let findings = check(&sources, &json!({}));
    let others = findings.into_iter().filter(|finding| finding.check != "untested-rule");
    others.map(|finding| format!("{} {}", finding.line, finding.check)).collect()
}

fn finding(rules: &str) -> Finding {
    let text = format!("package portcullis.statement\n{rules}\n");
    let sources = [
        Source::file("statement.rego", text),
        Source::file("session.rego", "package portcullis.session\nallow := true\n"),
        Source::file("approval.rego", "package portcullis.approval\neligible := true\n"),
        Source::file("data/grants.json", r#"{"a": {"role": "x"}}"#),
    ];
    check(&sources, &json!({})).into_iter().next().unwrap()
}

const NO: &str = r#"{"rule": "no", "message": "", "hint": ""}"#;

#[test]
fn looking_through_a_document_is_flagged_and_asking_it_is_not() {
    for rules in [
        "allow if {\nsome row in data.grants\nrow.role == input.identity.name\n}",
        "allow if {\nsome row in data.grants\ninput.identity.name == row.role\n}",
        "allow if {\nsome name, row in data.grants\nname == input.identity.name; row.role\n}",
        "allow if {\nrow := 1\ndata.grants[_].role == input.identity.name; row\n}",
        "import data.grants as g\nallow if {\ninput.identity.name == g[_].role\n}",
        "allow if count([1 |\nsome row in data.grants\nrow.role == input.identity.name]) > 0",
        "allow if {\nevery x in [1] { some row in data.grants\nrow.role == input.identity.name; x }\n}",
    ] {
        let found = found(rules);
        assert!(found.len() == 1 && found[0].ends_with(" linear-scan"), "{rules}\n{found:?}");
    }
    assert_eq!(
        found("allow if {\nsome name, agent in data.agents\nagent.kind == \"human\"; name\n}"),
        ["3 linear-scan"]
    );
    for rules in [
        "allow if data.grants[input.identity.name].role == \"x\"",
        "allow if {\nsome table in input.statement.tables\ntable.key == \"a.b\"\n}",
        "allow if {\nsome row in data.grants\nsome table in input.statement.tables\nrow.role != table.key\n}",
        "allow if input.identity.name in data.names",
        "allow if {\nsome x in [1]\nx == 1\n}",
    ] {
        assert!(found(rules).is_empty(), "{rules}\n{:?}", found(rules));
    }
    let said = finding("allow if {\n\tsome row in data.grants\n\trow.role == input.identity.name\n}");
    assert_eq!(said.text, "row.role == input.identity.name");
    assert_eq!(said.what, "`row.role == input.identity.name` is held against every entry of `data.grants`");
    assert!(said.instead.ends_with("write `data.grants[input.identity.name]`"), "{}", said.instead);
}

#[test]
fn a_restricting_rule_that_an_absent_entry_takes_away_is_flagged() {
    for rules in [
        format!("allow := true\ndeny contains {NO} if data.grants[input.identity.name].max > 3"),
        format!(
            "allow := true\ndeny contains {NO} if {{ x := data.grants[input.identity.name]; x.role != \"y\" }}"
        ),
        format!("allow := true\ndeny contains {NO} if {{ some x in data.grants[input.database]; x.bad }}"),
        format!(
            "allow := true\ndeny contains {NO} if {{ every x in data.grants[input.database] {{ x != 1 }} }}"
        ),
        format!("allow := true\ndeny contains {NO} if startswith(data.grants[input.database].role, \"x\")"),
        format!("allow := true\ndeny contains {NO} if input.statement.tables[0].schema == \"hr\""),
        "allow := true\nlimit contains {\"rows\": data.grants[input.identity.name].rows}".to_owned(),
        "allow := true\nmask contains data.grants[input.identity.name] if input.door == \"mcp\"".to_owned(),
        "allow := true\nescalate contains {\"rule\": data.grants[input.door]} if input.door == \"mcp\""
            .to_owned(),
    ] {
        assert_eq!(found(&rules), ["3 absent-guard"], "{rules}");
    }
    for rules in [
        format!("allow := true\ndeny contains {NO} if data.grants[input.identity.name]"),
        format!("allow := true\ndeny contains {NO} if not data.grants[input.identity.name]"),
        format!("allow := true\ndeny contains {NO} if not data.grants[input.identity.name].max > 3"),
        format!("allow := true\ndeny contains {NO} if input.identity.kind == \"agent\""),
        format!("allow := true\ndeny contains {NO} if object.get(data.grants, input.door, {{}}) == {{}}"),
        format!(
            "allow := true\ndeny contains {NO} if {{ data.grants[input.door].max; data.grants[input.door].max > 3 }}"
        ),
        format!("allow := true\ndeny contains {NO} if {{ count([x | x := data.grants[input.door]]) == 0 }}"),
        "allow if data.grants[input.identity.name].max > 3".to_owned(),
    ] {
        assert!(found(&rules).is_empty(), "{rules}\n{:?}", found(&rules));
    }
    let said =
        finding(&format!("allow := true\ndeny contains {NO} if data.grants[input.identity.name].max > 3"));
    assert!(said.instead.contains("`object.get(data.grants, input.identity.name, ...)`"), "{}", said.instead);
}

#[test]
fn conditions_that_are_always_the_same_are_flagged() {
    for (rules, expected) in [
        ("allow if { true; input.door }", "2 constant-condition"),
        ("allow if { 1 == 1 }", "2 constant-condition"),
        ("allow if { input.door\n\"wire\" }", "3 constant-condition"),
        ("allow if { some x in [1, 2]\nx != input.batch.size }", "3 not-equals-in-loop"),
        ("allow if { input.identity.name != data.names[_] }", "2 not-equals-in-loop"),
        ("allow if input.door\nallow if input.door", "3 duplicate-rule"),
        ("allow if input.door\ntest_x if true", "3 test-outside-test-file"),
        ("allow if { print(1) }", "2 print"),
        ("allow if sprintf(\"%s %s\", [input.door]) == \"\"", "2 sprintf-arguments"),
        ("allow if sprintf(\"%d%%\", [1, 2]) == \"\"", "2 sprintf-arguments"),
        ("allow if regex.match(`(`, input.door)", "2 invalid-regex"),
        ("allow if regex.replace(input.door, `[`, \"\") == \"\"", "2 invalid-regex"),
        ("import data.grants\nallow if input.door", "2 unused-import"),
    ] {
        assert!(found(rules).iter().any(|found| found == expected), "{rules}\n{:?}", found(rules));
    }
    for rules in [
        "allow if { some table in input.statement.tables\ntable.access != \"read\" }",
        "allow if false",
        "allow if not input.identity.name in data.names",
        "allow if input.door == \"wire\"\nallow if input.door == \"mcp\"",
        "allow if sprintf(\"%s 100%%\", [input.door]) == \"\"",
        "allow if regex.match(`(?i)^a$`, input.door)",
        "import data.grants\nallow if grants[input.door]",
    ] {
        assert!(found(rules).is_empty(), "{rules}\n{:?}", found(rules));
    }
}

#[test]
fn a_comment_silences_one_warning_where_it_stands() {
    let rule = "row.role == input.identity.name";
    let scan = |before: &str, behind: &str| {
        found(&format!("allow if {{\nsome row in data.grants\n{before}{rule}{behind}\n}}"))
    };
    assert!(scan("", " # check: ignore linear-scan").is_empty());
    assert!(scan("# check: ignore linear-scan, print\n", "").is_empty());
    assert_eq!(scan("", " # check: ignore print").len(), 1);
    assert_eq!(scan("# check: ignore linear-scan\n\n", "").len(), 1);
    assert_eq!(found("# check: ignore refused\nallow if nosuch"), ["3 refused"], "errors stay");
}

#[test]
fn every_error_is_named_and_not_the_first_alone() {
    let wrong = "allow if input.zzz\ndeny := true\nallow if nosuch(1)\nallow if data.nosuch\nother := 1";
    let lines = found(wrong);
    let refused: Vec<_> = lines.iter().filter(|line| line.ends_with("refused")).collect();
    assert_eq!(refused, ["2 refused", "3 refused", "4 refused", "5 refused"]);
    let unread = [
        Source::file("a.rego", "package portcullis.statement\nallow if ("),
        Source::file("b.rego", "package portcullis.session\nallow :="),
        Source::file("data/x.json", "{\n]"),
    ];
    let findings = check(&unread, &json!({}));
    let places: Vec<_> =
        findings.iter().map(|one| (one.file.as_str(), one.line, one.text.as_str())).collect();
    assert_eq!(places[0].0, "a.rego");
    assert!(places.iter().any(|place| place.0 == "b.rego"), "{places:?}");
    assert!(places.contains(&("data/x.json", 2, "]")), "{places:?}");
}
