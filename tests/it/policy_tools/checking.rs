//! `policy check` and `policy deps`.

use super::*;

#[test]
fn all_that_is_wrong_is_said_with_its_line_and_what_to_write() {
    let desk = Desk::open(&[
        (
            "statement.rego",
            "package portcullis.statement\n\nallow if {\n\tsome row in data.grants\n\
             \trow.role == input.identity.nmae\n}\n\nallow if data.grant.x\n",
        ),
        ("data/grants.json", r#"{"a": {"role": "x"}}"#),
    ]);
    let ran = desk.run(&["check"]);
    assert_eq!(ran.code, Some(3), "{}", ran.err);
    for said in [
        "statement.rego:5: error: refused\n    | row.role == input.identity.nmae\n",
        "has `input.identity.nmae`: did you mean\n    `input.identity.name`?\n",
        "statement.rego:5: warning: linear-scan\n",
        "statement.rego:8: error: refused\n    | allow if data.grant.x\n    there is no document `data.grant`",
        "2 errors, 1 warnings in 4 files\n",
    ] {
        assert!(ran.out.contains(said), "{said}\n{}", ran.out);
    }
    assert!(ran.out.lines().all(|line| line.chars().count() <= 80), "{}", ran.out);
    let json = desk.run(&["check", "--json"]).json();
    assert_eq!((&json["ok"], &json["errors"], &json["warnings"]), (&false.into(), &2.into(), &1.into()));
    assert_eq!(json["findings"][0]["file"], "statement.rego");
}

#[test]
fn warnings_are_errors_when_they_are_to_be() {
    let desk = Desk::open(&[("statement.rego", "package portcullis.statement\n\nallow if { 1 == 1 }\n")]);
    assert_eq!(desk.run(&["check"]).code, Some(0));
    assert_eq!(desk.run(&["check", "--strict"]).code, Some(3));
    let ran = desk.run(&["check", "nosuch"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(3), ""));
    assert!(ran.err.contains("`nosuch` can't be read"), "{}", ran.err);
}

/// What ships is held to what others are told.
#[test]
fn the_shipped_rulebook_has_no_warnings() {
    let ran = Desk::open(&[]).run(&["check", shipped().to_str().unwrap(), "--strict"]);
    assert_eq!(ran.code, Some(0), "{}", ran.out);
    assert!(ran.out.starts_with("0 errors, 0 warnings in "), "{}", ran.out);
}

#[test]
fn what_a_decision_point_reads_and_why_it_is_remembered_or_not() {
    let desk = Desk::open(&[
        (
            "statement.rego",
            "package portcullis.statement\n\nimport data.portcullis.lib.night\n\nallow if not night\n\n\
             allow if input.bind.values[0] == data.grants.a.role\n",
        ),
        ("lib.rego", "package portcullis.lib\n\nnight if input.time.unix % 86400 < 3600\n"),
        ("data/grants.json", r#"{"a": {"role": "x"}}"#),
    ]);
    let ran = desk.run(&["deps"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    for said in [
        "portcullis.statement\n  input  input.bind.values\n         input.time.unix\n  data   data.grants.a.role\n",
        "  cache  yes: ",
        "`input.bind.values` is read: a decision is known only for the same bind values\n",
        "`input.time.unix` is read: no decision is known for longer than a second\n",
    ] {
        assert!(ran.out.contains(said), "{said}\n{}", ran.out);
    }
    let json = desk.run(&["deps", "--json"]).json();
    let points = json["points"].as_array().unwrap();
    let point = points.iter().find(|point| point["package"] == "portcullis.statement").unwrap();
    let rules = point["rules"].as_array().unwrap();
    let night = rules.iter().find(|rule| rule["path"] == "portcullis.lib.night").unwrap();
    assert_eq!(night["input"], serde_json::json!(["input.time.unix"]));
    assert_eq!(night["places"], serde_json::json!(["lib.rego:3"]));
    desk.write("policies/statement.rego", "package portcullis.statement\n\nallow if nosuch(1)\n");
    assert_eq!(desk.run(&["deps"]).code, Some(3));
}

/// Figures are not held to anything here: the machine is shared.
#[test]
fn a_bench_measures_misses_and_hits_with_few_and_many_grants() {
    let desk = Desk::open(&[]);
    let shipped = shipped();
    let small = ["--agents", "3", "--tables", "20", "--grants", "2", "--count", "5"];
    let arguments = ["bench", shipped.to_str().unwrap()].into_iter().chain(small);
    let ran = desk.run(&arguments.clone().chain(["--json"]).collect::<Vec<_>>());
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let measured = ran.json()["measured"].clone();
    let sorts: Vec<_> =
        measured.as_array().unwrap().iter().map(|one| (one["what"].clone(), one["grants"].clone())).collect();
    assert_eq!(
        sorts,
        [("miss", 2), ("hit", 2), ("miss", 200), ("hit", 200)]
            .map(|(what, grants)| (what.into(), grants.into()))
    );
    assert!(measured.as_array().unwrap().iter().all(|one| one["median_us"].as_f64().unwrap() > 0.0));
    let ran = desk.run(&arguments.collect::<Vec<_>>());
    assert!(ran.out.starts_with("3 identities, 20 tables, 5 decisions each"), "{}", ran.out);
    assert_eq!(desk.run(&["bench", "--count", "0"]).code, Some(1));
    desk.write("policies/statement.rego", "package portcullis.statement\n\nallow := 1\n");
    let failing = desk.run(&["bench", "--count", "1"]);
    assert!(failing.code == Some(1) && failing.err.contains("a decision fails"), "{}", failing.err);
}
