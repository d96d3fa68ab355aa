//! What the engine would take and then crash, hang, reach out, or quietly leave a rule undefined: each by every way
//! that a rule can be written.

use std::collections::BTreeSet;

use super::*;
use crate::policy::vocabulary::BUILTINS;

/// Builtins that no rulebook may use, with what calls them.
const FORBIDDEN: [&str; 15] = [
    "bits.lsh(1, 4000000000)",
    "bits.and(1, 2)",
    "json.patch({}, [])",
    "net.cidr_expand(\"10.0.0.0/8\")",
    "net.lookup_ip_addr(\"example.com\")",
    "numbers.range(1, 30000000)",
    "numbers.range_step(1, 30000000, 1)",
    "opa.runtime()",
    "http.send({\"method\": \"get\", \"url\": \"http://127.0.0.1\"})",
    "rand.intn(\"x\", 2)",
    "time.now_ns()",
    "trace(\"x\")",
    "units.parse(\"9e400g\")",
    "units.parse_bytes(\"9e400gb\")",
    "uuid.rfc4122(\"x\")",
];

fn taken(rules: &str) -> bool {
    build(&[("statement.rego", &format!("package portcullis.statement\n{rules}\n"))]).is_ok()
}

#[test]
fn a_forbidden_builtin_is_refused_wherever_it_stands() {
    for call in FORBIDDEN {
        let (name, _) = call.split_once('(').unwrap();
        for rules in [
            format!("allow if {call}"),
            format!("allow if not {call}"),
            format!("allow if {{ x := {call}; x }}"),
            format!("allow if {{ some x in {call}; x }}"),
            format!("allow if {{ every x in {call} {{ x }} }}"),
            format!("allow if {{ [1 | {call}] == [] }}"),
            format!("allow if {{ {{x | x := {call}}} == set() }}"),
            format!("allow if {{ {{\"a\": y | y := {call}}} == {{}} }}"),
            format!("allow if {{ count([{call}]) == 1 }}"),
            format!("allow if {{ {{\"a\": {call}}}.a }}"),
            format!("allow if data.lists[{call}]"),
            format!("allow := {call} if true"),
            format!("allow if false\nelse := {call}"),
            format!("default allow := {call}"),
            format!("f(x) := {call}\nallow if f(1)"),
            format!("allow := true\ndeny contains {call} if true"),
            format!("allow if -{call} == 1"),
            format!("allow if {call} in [1]"),
        ] {
            let refusal = build(&[("statement.rego", &format!("package portcullis.statement\n{rules}\n"))]);
            let refusal = refusal.expect_err(&rules).to_string();
            // What begins with a dot in the grammar's eyes, or can't be a default, the parser refuses by itself.
            assert!(refusal.contains(name) || refusal.contains("default"), "{rules}\n{refusal}");
        }
    }
}

#[test]
fn a_builtin_does_not_hide_behind_a_rule_an_import_or_a_local_of_its_name() {
    for rules in [
        "time := {\"now_ns\": 1}\nallow if time.now_ns() > 0",
        "time(x) := x\nallow if time.now_ns() > 0",
        "bits contains 1\nallow if bits.lsh(1, 4000000000) > 0",
        "http.send := 1\nallow if http.send({})",
        "count(x) := 0\nallow if count([1]) == 0",
        "startswith(x, y) := true\nallow if startswith(\"a\", \"b\")",
        "import data.lists as time\nallow if time.now_ns() > 0",
        "import input.identity as bits\nallow if bits.lsh(1, 4000000000) > 0",
        "allow if { time := {\"now_ns\": 1}; time.now_ns() > 0 }",
        "f(time) := time.now_ns()\nallow if f(1)",
        "allow if { some time in [1]; time.now_ns() }",
        "allow if data.time.now_ns()",
        "allow if input.time.now_ns()",
        "allow if data.portcullis.statement.time.now_ns()",
    ] {
        assert!(!taken(rules), "{rules}");
    }
    let refusal = refused("time := 1\nallow := true");
    assert!(
        refusal.starts_with("statement.rego:2: `time` is how the names of builtins like `time."),
        "{refusal}"
    );
    let refusal = refused("count(x) := 0\nallow := true");
    assert!(refusal.starts_with("statement.rego:2: `count` is the name of a builtin: rename"), "{refusal}");
}

#[test]
fn a_builtin_is_no_value() {
    for rules in [
        "allow if { f := time.now_ns; f }",
        "allow if count == time.now_ns",
        "f(x) := x\nallow if f(bits.lsh)",
        "allow if object.get({}, \"a\", opa.runtime)",
    ] {
        assert!(!taken(rules), "{rules}");
    }
    // Tests may replace functions, but only by what they could call.
    let test = |with: &str| {
        let text = format!("package portcullis.a_test\ntest_a if count([1]) == 1 with count as {with}");
        let sources = [
            source("statement.rego", OPEN),
            source("session.rego", SESSION),
            source("approval.rego", APPROVAL),
            source("a_test.rego", &text),
        ];
        testing::run(&sources).map(drop).map_err(|refusal| refusal.to_string())
    };
    for forbidden in ["bits.lsh", "time.now_ns", "net.cidr_expand", "units.parse_bytes"] {
        let refusal = test(forbidden).unwrap_err();
        assert!(
            refusal.contains(&format!("`{forbidden}` is not a builtin that a rulebook may use")),
            "{refusal}"
        );
    }
    assert_eq!(test("1"), Ok(()));
}

#[test]
fn with_is_for_tests_whatever_it_replaces() {
    for replaced in [
        "input as {}",
        "input.identity.name as \"ana\"",
        "data.agents as {}",
        "data.lists.yes as {}",
        "data.portcullis.statement.safe as true",
        "count as 1",
        "time.now_ns as 5",
    ] {
        for rules in [
            format!("safe := true\nallow if safe with {replaced}"),
            format!("safe := true\nallow if {{ [1 | safe with {replaced}] == [1] }}"),
            format!("safe := true\nallow if {{ every x in [1] {{ x == 1 with {replaced} }} }}"),
            format!("safe := true\nallow if not safe with {replaced}"),
        ] {
            let refusal = refused(&rules);
            assert!(refusal.contains("it belongs into tests"), "{rules}\n{refusal}");
        }
    }
}

#[test]
fn the_allow_list_names_builtins_that_there_are() {
    let known: BTreeSet<&str> = regorus::unstable::BUILTINS.keys().copied().collect();
    let unknown: Vec<_> = BUILTINS.iter().filter(|name| !known.contains(*name)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn functions_that_come_back_to_themselves_by_any_way_are_refused() {
    for rules in [
        "f(x) := f(x)\nallow if f(1)",
        "f(x) := y if { some y in [z | z := f(x)] }\nallow if f(1)",
        "f(x) := 1 if { every y in [1] { f(y) } }\nallow if f(1)",
        "f(x) := {\"a\": f(x)}\nallow if f(1)",
        "f(x) := 1 if not f(x)\nallow if f(1)",
        "f(x) := 1 if false\nelse := f(x)\nallow if f(1)",
        "f(x) := g(x)\ng(x) := h(x)\nh(x) := f(x)\nallow if f(1)",
        "import data.portcullis.statement.f as g\nf(x) := g(x)\nallow if f(1)",
        "f(x) := data.portcullis.statement[\"f\"](x)\nallow if f(1)",
        "a contains x if some x in a\nallow if 1 in a",
        "a[x] := 1 if a[x]\nallow if a[1]",
        "allow if not allow",
        "default f(x) := 1\nf(x) := f(x - 1) if x > 0\nallow if f(1)",
    ] {
        assert!(!taken(rules), "{rules}");
    }
}

#[test]
fn a_rule_has_one_default_wherever_they_stand() {
    let files = |other: &str| {
        build(&[
            ("a.rego", "package portcullis.statement\ndefault allow := false\n"),
            ("b.rego", &format!("package portcullis.statement\n{other}\n")),
        ])
    };
    let refusal = files("default allow := true").unwrap_err().to_string();
    assert_eq!(refusal, "b.rego:2: `portcullis.statement.allow` has two defaults: keep one");
    assert!(files("allow if input.door == \"wire\"").is_ok());
    assert!(!taken("default f(x) := 1\ndefault f(x) := 2\nallow if f(1)"));
}

/// Rules of one name in two files that say different things at once are an error, and an error is a deny.
#[test]
fn what_contradicts_itself_is_a_deny() {
    let snapshot = build(&[
        ("a.rego", "package portcullis.statement\nallow := true\n"),
        ("b.rego", "package portcullis.statement\nallow := false\n"),
    ]);
    let decision = decide_as(&snapshot.unwrap(), identity("bot", Kind::Agent), &[]);
    assert_eq!((decision.effect.clone(), first_rule(&decision)), (Effect::Deny, "policy_error"));
}

#[test]
fn a_width_in_a_format_is_refused_however_it_comes() {
    for format in [
        "sprintf(\"%099999999d\", [1])",
        "sprintf(\"%*d\", [99999999, 1])",
        "sprintf(\"%.99999999f\", [1])",
        "sprintf(\"% 99999999d\", [1])",
        "sprintf(\"%[1]99999999d\", [1])",
        "sprintf(concat(\"\", [\"%\", \"99999999d\"]), [1])",
        "sprintf(`%099999999d`, [1])",
        "sprintf(input.identity.name, [1])",
    ] {
        assert!(!taken(&format!("allow if {format} == \"\"")), "{format}");
        assert!(!taken("f := \"%099999999d\"\nallow if sprintf(f, [1]) == \"\""));
    }
    assert!(taken("allow if sprintf(\"%s %d %v 100%%\", [\"a\", 1, {}]) == \"\""));
}

#[test]
fn numbers_and_patterns_that_can_not_be_are_a_deny_and_no_crash() {
    for rules in [
        "allow := true\ndeny contains {\"rule\": sprintf(\"%v\", [to_number(\"1e400\")]), \"message\": \"\", \"hint\": \"\"}",
        "allow := true\nlimit contains {\"rows\": to_number(\"1e400\")}",
        "allow := true\nlimit contains {\"rows\": json.unmarshal(\"1e999\")}",
        "allow if regex.match(\"(\", \"x\")",
        "allow if regex.match(\"(((a{100}){100}){100}){100}\", \"x\")",
        "allow if not regex.match(\"(\", \"x\")",
        "allow if 1 / (input.batch.size - 1) == 0",
        "allow if not 1 / (input.batch.size - 1) == 0",
        "allow if not lower(input.batch.size) == \"\"",
    ] {
        if let Ok(snapshot) =
            build(&[("statement.rego", &format!("package portcullis.statement\n{rules}\n"))])
        {
            let decision = decide_as(&snapshot, identity("bot", Kind::Agent), &[]);
            assert_eq!(decision.effect, Effect::Deny, "{rules}");
        }
    }
}

#[test]
fn a_text_that_is_too_long_too_wide_or_too_deep_is_refused() {
    for rules in [
        format!("allow if {}1{}", "(".repeat(5000), ")".repeat(5000)),
        format!("allow if {}1{} == 1", "[\n".repeat(2000), "]\n".repeat(2000)),
        format!("allow if {}1{} == 1", "{\"a\":\n".repeat(2000), "}\n".repeat(2000)),
        format!("allow if {}1{} == 1", "[x |\n x := ".repeat(300), "]\n".repeat(300)),
        format!("allow if {}1{} == 1", "f(\n".repeat(2000), ")".repeat(900)),
        format!("allow if input.identity.name{} == 1", "\n[0]".repeat(3000)),
        format!("allow if input.identity.name{} == 1", "\n.a".repeat(3000)),
        format!("allow if 1{} == 1", "\n+ 1".repeat(3000)),
        format!("allow if 1{}", "\nin [1]".repeat(3000)),
        format!("allow if {}1", "-\n".repeat(3000)),
        format!("allow if \"{}\" == \"\"", "x".repeat(2000)),
        format!("allow := true\n{}", "# x\n".repeat(30_000)),
        format!(
            "allow := true\n{}",
            "# xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n".repeat(19_000)
        ),
    ] {
        assert!(!taken(&rules), "{}", &rules[..30]);
    }
}

#[test]
fn what_would_be_undefined_for_ever_is_refused_with_what_was_meant() {
    for (rules, said) in [
        ("allow if input.identity.nmae == \"x\"", "did you mean `input.identity.name`?"),
        ("allow if input.statment.kind == \"x\"", "did you mean `input.statement.kind`?"),
        ("allow if input.statement.table[_].key == \"x\"", "did you mean `input.statement.tables`?"),
        (
            "helper := true\nallow if data.portcullis.statement.helpr",
            "did you mean `portcullis.statement.helper`?",
        ),
        ("import data.portcullis.nosuch\nallow if nosuch", "there is no rule `portcullis.nosuch`"),
        ("import data.nosuch\nallow if nosuch", "there is no document `data.nosuch`"),
        ("allow if $\"x{1}\" == \"x1\"", ""),
        ("allow if { [p, v] = walk(input); p }", "write `walk(x, [path, value])`"),
        ("allow if { [p, v] := walk(input); p }", "write `walk(x, [path, value])`"),
    ] {
        let refusal = refused(rules);
        assert!(refusal.contains(said), "{rules}\n{refusal}");
    }
    assert!(refused("allow if input.zzz").ends_with("has `input.zzz`"), "nothing is like it");
}

/// A print of something undefined must not take the rule with it.
#[test]
fn printing_changes_no_decision() {
    let decision = decide(&format!("allow := true\n{DENY} if print(data.lists.yes[input.tool], input.door)"));
    assert_eq!(decision.effect, Effect::Deny);
    assert_eq!(decide("allow if print(\"x\")").effect, Effect::Allow);
}
