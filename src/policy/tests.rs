//! The merge and the vetting, each with ways around it.

mod approvals;
mod detect;
mod elsewhere;
mod packages;
mod rows;
mod traps;
mod unjudged;

use serde_json::{Value, json};

use super::input::{ApprovalEvidence, IdentityInput, SessionFacts, Time};
use super::*;
use crate::catalog::RelationKey;
use crate::identity::Kind;
use crate::mask::Masks;
use crate::mask::Strategy;
use crate::sql::Facts;

/// A rulebook that allows everything, to be made stricter by a test.
const OPEN: &str = "package portcullis.statement\nallow := true\n";
const SESSION: &str = "package portcullis.session\nallow := true\n";
const APPROVAL: &str = "package portcullis.approval\neligible := true\n";

fn time() -> Time {
    Time::at(jiff::Timestamp::UNIX_EPOCH, &[])
}

fn agents() -> Value {
    let file = |kind: &str, rows: u64, disabled: bool| json!({"kind": kind, "disabled": disabled, "limits": {"rows": rows, "bytes": 0, "statement_timeout_ms": 0}});
    let with = |kind: &str, rows: u64, disabled: bool, groups: &[&str]| {
        let mut file = file(kind, rows, disabled);
        file["groups"] = json!(groups);
        file
    };
    let mut agents = json!({
        "bot": file("agent", 500, false),
        "ana": with("human", 0, false, &["a", "b", "c", "owners"]),
        "priya": with("human", 0, false, &["approvers", "c"]),
        "gone": with("human", 0, true, &["approvers", "ghosts"]),
        "cron": with("service", 0, false, &["approvers", "ghosts"]),
    });
    agents["bot"]["owner"] = json!("ana");
    agents
}

fn source(path: &str, text: &str) -> Source {
    Source::file(path, text)
}

fn build(files: &[(&str, &str)]) -> Result<Snapshot, RulebookError> {
    let mut sources = vec![source("session.rego", SESSION), source("approval.rego", APPROVAL)];
    sources.push(source("data/lists.json", "{\"yes\": {\"x\": 1}}"));
    sources.extend(files.iter().map(|(path, text)| source(path, text)));
    Snapshot::build(&sources, &agents())
}

/// A rulebook whose `portcullis.statement` is `rules`.
fn rulebook(rules: &str) -> Snapshot {
    build(&[("statement.rego", &format!("package portcullis.statement\n{rules}\n"))]).unwrap()
}

/// Why `rules` can't be `portcullis.statement`; line 1 is the package.
fn refused(rules: &str) -> String {
    build(&[("statement.rego", &format!("package portcullis.statement\n{rules}\n"))]).unwrap_err().to_string()
}

fn facts() -> Facts {
    serde_json::from_value(json!({
        "kind": "select", "class": "read", "inner": [], "tables": [], "functions": [], "outputs": [],
        "condition": {"present": false, "tautology": false, "columns": []},
        "limit": {"present": false, "rows": -1}, "settings": [], "destinations": [], "channels": [],
        "explain_analyze": false, "locks_rows": false, "parse_ok": true, "unresolved": [],
    }))
    .unwrap()
}

fn identity<'a>(name: &'a str, kind: Kind) -> IdentityInput<'a> {
    IdentityInput::named(name, kind)
}

fn decide_as(snapshot: &Snapshot, who: IdentityInput<'_>, approvals: &[ApprovalEvidence]) -> Decision {
    let facts = facts();
    snapshot
        .decide(&StatementInput { approvals, ..StatementInput::plain(who, "shop", "wire", &facts, time()) })
}

fn decide(rules: &str) -> Decision {
    decide_as(&rulebook(rules), identity("bot", Kind::Agent), &[])
}

fn first_rule(decision: &Decision) -> &str {
    decision.reasons.first().map_or("", |reason| reason.rule.as_str())
}

fn approval(by: &str, groups: &[&str]) -> ApprovalEvidence {
    let groups: Vec<String> = groups.iter().map(|group| (*group).to_owned()).collect();
    ApprovalEvidence::new("1", by, &groups)
}

const DENY: &str = r#"deny contains {"rule": "no", "message": "m", "hint": "h"}"#;

fn escalate(rule: &str, groups: &str) -> String {
    format!(
        r#"escalate contains {{"rule": "{rule}", "message": "m", "hint": "h", "groups": {groups}, "ttl_s": 60}}"#
    )
}

/// Rules that allow nothing by themselves.
fn asking(rules: &[String]) -> String {
    format!("allow := false\n{}", rules.join("\n"))
}

#[test]
fn nothing_said_is_a_deny() {
    assert_eq!(first_rule(&decide("allow if input.tool == \"x\"")), "default_deny");
    assert_eq!(decide("allow := false").effect, Effect::Deny);
    assert_eq!(decide("allow contains 1 if false").effect, Effect::Deny);
    assert_eq!(decide("allow contains 1").effect, Effect::Allow);
    assert_eq!(decide("allow := true").effect, Effect::Allow);
}

#[test]
fn a_deny_beats_an_escalation_beats_an_allow() {
    let escalate = escalate("ask", r#"["approvers"]"#);
    let decision = decide(&format!("allow := true\n{escalate}\n{DENY}"));
    assert_eq!((decision.effect.clone(), first_rule(&decision)), (Effect::Deny, "no"));
    let decision = decide(&format!("allow := true\n{escalate}"));
    let escalation = Escalation { hint: "h".into(), ..Escalation::by_one("ask", "m", &["approvers"], 60) };
    let requirement = Requirement { escalations: vec![escalation] };
    assert_eq!((decision.effect.clone(), first_rule(&decision)), (Effect::Escalate(requirement), "ask"));
}

#[test]
fn an_error_beats_everything() {
    // Strict builtins: with OPA's own semantics `not 1/0` would be true, and a bad argument no error.
    for rule in [
        "allow := true\ndeny contains 1 if startswith(input.batch.size, \"x\")",
        "allow if not startswith(input.batch.size, \"x\")",
        "allow := true\nallow := false",
        "allow := \"yes\"",
        "allow := true\ndeny contains 1",
        "allow := true\ndeny contains {\"rule\": \"r\", \"hint\": \"h\"}",
        "allow := true\ndeny contains {\"rule\": \"r\", \"message\": \"m\", \"hint\": \"h\", \"more\": 1}",
        "allow := true\nmask contains {\"relation\": \"a.b\", \"column\": \"c\", \"type\": \"blur\"}",
        "allow := true\nmask contains {\"relation\": \"b\", \"column\": \"c\", \"type\": \"null\"}",
        "allow := true\nmask contains {\"relation\": \"a.b\", \"type\": \"null\"}",
        "allow := true\nlimit contains {\"row\": 1}",
        "allow := true\nlimit contains {\"rows\": -1}",
        "allow := true\nlimit contains {}",
        "allow := true\nescalate contains {\"rule\": \"r\", \"message\": \"m\", \"hint\": \"h\", \"groups\": [\"g\"], \"ttl_s\": 0}",
    ] {
        let decision = decide(rule);
        assert_eq!(
            (decision.effect.clone(), first_rule(&decision)),
            (Effect::Deny, "policy_error"),
            "{rule}"
        );
    }
}

#[test]
fn an_endless_rule_ends_as_a_deny() {
    let numbers: Vec<String> = (0..120).map(|number| number.to_string()).collect();
    let rule = format!(
        "allow if {{ n := [{}]\nsome a in n\nsome b in n\nsome c in n\nsome d in n\na + b + c + d == -1 }}",
        numbers.join(",")
    );
    assert_eq!(first_rule(&decide(&rule)), "policy_error");
}

#[test]
fn what_could_not_be_understood_is_denied_whatever_the_rulebook_says() {
    let mut facts = facts();
    facts.unresolved.push(crate::sql::facts::Unresolved {
        what: "relation".into(),
        name: "t".into(),
        why: "does not exist".into(),
    });
    let snapshot = rulebook("allow := true");
    let bot = identity("bot", Kind::Agent);
    let decision = snapshot.decide(&StatementInput {
        via: "tool",
        tool: "query",
        ..StatementInput::plain(bot, "shop", "mcp", &facts, time())
    });
    assert_eq!(first_rule(&decision), "unresolved");
}

#[test]
fn an_identity_that_changed_since_its_login_is_denied() {
    let snapshot = rulebook("allow := true");
    for who in [identity("nobody", Kind::Human), identity("gone", Kind::Human), identity("bot", Kind::Human)]
    {
        let decision = decide_as(&snapshot, who, &[]);
        assert_eq!((decision.effect.clone(), first_rule(&decision)), (Effect::Deny, "identity"));
    }
}

#[test]
fn the_strictest_mask_and_the_smallest_ceiling_hold() {
    let decision = decide(
        r#"allow := true
        mask contains {"relation": "public.customers", "column": "ssn", "type": "partial", "last": 4}
        mask contains {"relation": "public.customers", "column": "ssn", "type": "redact", "value": "x"}
        limit contains {"rows": 700}
        limit contains {"bytes": 10}
        limit contains {"rows": 900, "bytes": 20}"#,
    );
    let mut masks = Masks::default();
    masks.add(RelationKey::new("public", "customers"), "ssn".into(), Strategy::Redact { value: "x".into() });
    assert_eq!(*decision.masks, masks);
    assert_eq!(
        decision.limits,
        Limits { rows: Some(500), bytes: Some(10), time_ms: None },
        "500 rows are in the file"
    );
}

#[test]
fn a_mask_may_be_for_columns_by_what_they_are() {
    let decision = decide(
        r#"allow := true
        mask contains {"column": "*email*", "type": "email"}
        mask contains {"relation": "hr.*", "data_type": "numeric", "type": "round", "places": -3}
        mask contains {"tag": "pii", "type": "null"}"#,
    );
    assert_eq!(decision.masks.len(), 3);
    assert!(!decision.masks.is_empty());
}

#[test]
fn what_a_mask_releases_is_part_of_it() {
    let decided = |release: &str| {
        let mask = r#""relation": "public.staff", "column": "salary", "type": "null""#;
        decide(&format!("allow := true\nmask contains {{{mask}{release}}}")).masks
    };
    let key = RelationKey::new("public", "staff");
    let masks = decided(r#", "release": {"aggregates": ["avg", "stddev_pop"], "min_rows": 5}"#);
    let release = masks.release(&key, "salary").unwrap();
    assert_eq!((release.min_rows, release.aggregates.len()), (5, 2));
    assert_eq!(decided("").release(&key, "salary"), None);
    assert_ne!(masks, decided(""));
    assert_ne!(masks, decided(r#", "release": {"aggregates": ["avg", "stddev_pop"], "min_rows": 6}"#));
}

#[test]
fn a_mask_with_a_mistake_denies_and_says_which() {
    for (mask, said) in [
        (r#"{"column": "*", "type": "null"}"#, "a mask needs `column`"),
        (r#"{"relation": "t", "column": "c", "type": "null"}"#, "`t` is not `schema.table`"),
        (r#"{"column": 1, "type": "null"}"#, "expected a string"),
        (r#"{"column": "c", "tags": "x", "type": "redact", "value": ""}"#, "unknown field `tags`"),
        (r#"{"column": "c", "type": "blur"}"#, "unknown variant `blur`"),
        (
            r#"{"column": "c", "type": "expression", "sql": "pg_read_file(value)"}"#,
            "`pg_read_file` can't be called",
        ),
        (r#"{"column": "c"}"#, "missing field `type`"),
        (
            r#"{"column": "c", "type": "null", "release": {"aggregates": ["max"], "min_rows": 5}}"#,
            "`release`: unknown variant `max`",
        ),
        (
            r#"{"column": "c", "type": "null", "release": {"aggregates": ["avg"], "min_rows": 1}}"#,
            "`min_rows` must be at least 2, not 1",
        ),
        (r#"{"column": "c", "type": "null", "release": ["avg"]}"#, "`release`: "),
        (r#"{"column": "c", "type": "null", "released": {}}"#, "unknown field `released`"),
    ] {
        let decision = decide(&format!("allow := true\nmask contains {mask}"));
        assert_eq!(decision.effect, Effect::Deny, "{mask}");
        let message = &decision.reasons[0].message;
        assert!(message.contains(said), "{mask}: {message}");
    }
}

#[test]
fn a_rulebook_with_a_mistake_is_refused_with_its_place() {
    for (rules, said) in [
        ("allow := ", "statement.rego:"),
        ("allow if x", "statement.rego:2: "),
        (
            "default allow := false\ndefault allow := true",
            "statement.rego:3: `portcullis.statement.allow` has two defaults",
        ),
        ("deny contains 1", "(rulebook):0: nothing declares `portcullis.statement.allow`"),
        ("allow := true\nmasks contains 1", "statement.rego:3: nothing reads `masks`"),
        ("allow := true\nrow_filter contains 1", "statement.rego:3: nothing reads `row_filter`"),
        ("allow := true\ndeny := true", "statement.rego:3: `deny` is a set"),
        ("allow := true\nmask[x] := 1 if some x in [1]", "statement.rego:3: `mask` is a set"),
        ("allow if data.labels", "statement.rego:2: there is no document `data.labels`"),
        ("allow if data.portcullis.lib.x", "statement.rego:2: there is no rule `portcullis.lib.x`"),
        ("allow if data.portcullis.session", "statement.rego:2: there is no rule `portcullis.session`"),
        ("allow if data", "statement.rego:2: `data` as a whole"),
        (
            "allow if data.agents.ana.x\ndeny contains data.lists.no.x",
            "statement.rego:3: there is no `data.lists.no`",
        ),
        (
            "allow if input.identity.nmae == \"x\"",
            "statement.rego:2: no input of `portcullis.statement` has `input.identity.nmae`",
        ),
        ("allow if input.roles", "statement.rego:2: no input"),
        ("allow if input.tool == \"\" with input.tool as \"\"", "statement.rego:2: `with` replaces"),
    ] {
        let refusal = refused(rules);
        assert!(refusal.starts_with(said), "{rules}\n{refusal}");
    }
}

/// The engine leaves rules of an imported package undefined, where the package has several files: a deny that is
/// read that way never fires.
#[test]
fn a_rule_is_not_read_by_way_of_its_package() {
    fn files(reading: &str) -> [(&str, &str); 3] {
        [
            ("lib.rego", "package portcullis.lib\nbad if true\nf(x) := x"),
            ("more.rego", "package portcullis.lib\nworse if true"),
            ("statement.rego", reading),
        ]
    }
    for (reading, said) in [
        (
            "import data.portcullis.lib\nallow if not lib.worse",
            "statement.rego:3: `lib.worse` reads a rule of an imported package",
        ),
        ("import data.portcullis as all\nallow if not all.lib.worse", "statement.rego:3: `all.lib.worse`"),
        (
            "import data.portcullis.lib.worse as allow\nallow if true",
            "statement.rego:1: the import `allow` has the name of a rule",
        ),
    ] {
        let text = format!("package portcullis.statement\n{reading}\n");
        let refusal = build(&files(&text)).unwrap_err().to_string();
        assert!(refusal.starts_with(said), "{refusal}");
    }
    let sound = "package portcullis.statement\nimport data.portcullis.lib\nimport data.portcullis.lib.worse\n\
        allow if lib.f(worse)\ndeny contains {\"rule\": \"worse\", \"message\": \"\", \"hint\": \"\"} if data.portcullis.lib.worse";
    let snapshot = build(&files(sound)).unwrap();
    assert_eq!(first_rule(&decide_as(&snapshot, identity("bot", Kind::Agent), &[])), "worse");
    let mut clash = files(sound).to_vec();
    clash.push((
        "other.rego",
        "package portcullis.statement\nimport data.portcullis.lib.bad as worse\nalert contains 1 if worse",
    ));
    assert!(build(&clash).unwrap_err().to_string().contains("is another one in"));
}

#[test]
fn builtins_that_reach_out_or_run_away_are_refused() {
    for call in [
        "http.send({})",
        "opa.runtime()",
        "rand.intn(\"x\", 2)",
        "uuid.rfc4122(\"x\")",
        "bits.lsh(1, 4000000000)",
        "net.cidr_expand(\"10.0.0.0/8\")",
        "numbers.range(1, 30000000)",
        "time.now_ns()",
        "units.parse_bytes(\"9e400gb\")",
        "sprintf(\"%099999999d\", [1])",
        "sprintf(input.tool, [1])",
        "walk(input)",
        "nosuch(1)",
        "data.portcullis.nosuch(1)",
    ] {
        for rule in [
            format!("allow if {call}"),
            format!("allow if {{ some x in [y | y := {call}]; x }}"),
            format!("f(x) := {call}\nallow if f(1)"),
        ] {
            let refusal = build(&[("statement.rego", &format!("package portcullis.statement\n{rule}\n"))]);
            assert!(refusal.is_err(), "{rule}");
        }
    }
}

#[test]
fn recursion_is_refused_before_it_can_crash_the_process() {
    for rules in [
        "f(x) := f(x + 1)\nallow if f(1)",
        "f(x) := g(x)\ng(x) := f(x)\nallow if f(1)",
        "f(x) := [y | y := data.portcullis.statement.f(x)]\nallow if f(1)",
        "a if b\nb if a\nallow if a",
        "import data.portcullis.statement as me\nf(x) := me.f(x)\nallow if f(1)",
    ] {
        let refusal = refused(rules);
        assert!(refusal.contains("can't be recursive"), "{rules}\n{refusal}");
    }
}

#[test]
fn data_can_shadow_no_rule() {
    let open = ("statement.rego", OPEN);
    for path in
        ["data/portcullis.json", "data/portcullis/statement.json", "data/agents.json", "data/agents/ana.json"]
    {
        let refusal = build(&[open, (path, "{\"allow\": true}")]).unwrap_err();
        assert!(refusal.to_string().contains("belong to the gateway"), "{path}: {refusal}");
    }
    for path in ["labels.json", "data/a b.json", "data/.json", "data/../x.json", "data/X.json", "notes.txt"] {
        assert!(build(&[open, (path, "{}")]).is_err(), "{path}");
    }
    let refusal = build(&[open, ("data/a.json", "{}"), ("data/a/b.json", "{}"), ("data/a.json", "{}")]);
    assert!(refusal.is_err());
    let refusal = build(&[open, ("data/a.json", "{\n  \"x\": }")]).unwrap_err();
    assert_eq!((refusal.file.as_str(), refusal.line), ("data/a.json", 2));
    let packages = build(&[open, ("other.rego", "package agents\nx := 1")]).unwrap_err();
    assert!(
        packages.to_string().starts_with("other.rego:1: the package `agents` is not the rulebook's"),
        "{packages}"
    );
    let answer = build(&[open, ("other.rego", "package portcullis_answer\nstatement := {}")]);
    assert!(answer.is_err());
    let rule_and_package = build(&[
        open,
        ("a.rego", "package portcullis\nstatement := 1"),
        ("b.rego", "package portcullis.x\ny := 1"),
    ]);
    assert!(rule_and_package.is_err());
}

#[test]
fn the_revision_names_policies_data_and_identities() {
    let open = ("statement.rego", OPEN);
    let one = build(&[open, ("data/a.json", "{}")]).unwrap();
    let same = build(&[("data/a.json", "{}"), open]).unwrap();
    let data = build(&[open, ("data/a.json", "{ }")]).unwrap();
    let moved = build(&[open, ("data/b.json", "{}")]).unwrap();
    let tested =
        build(&[open, ("data/a.json", "{}"), ("a_test.rego", "package portcullis.a_test\ntest_a if true")]);
    assert_eq!(one.revision(), same.revision());
    assert_eq!(one.revision(), tested.unwrap().revision(), "tests are no part of it");
    assert_ne!(one.revision(), data.revision());
    assert_ne!(one.revision(), moved.revision());
}

#[test]
fn a_session_gets_a_role_that_the_configuration_offers() {
    let session = |rules: &str, roles: &[&str]| {
        let roles: Vec<String> = roles.iter().map(|role| (*role).to_owned()).collect();
        let sources = [
            source("statement.rego", OPEN),
            source("approval.rego", APPROVAL),
            source("session.rego", &format!("package portcullis.session\n{rules}\n")),
        ];
        let snapshot = Snapshot::build(&sources, &agents()).unwrap();
        let who = identity("bot", Kind::Agent);
        snapshot.session(&SessionInput {
            identity: who,
            database: "shop",
            door: "wire",
            roles: &roles,
            settings: Vec::new(),
            session: SessionFacts::default(),
            time: time(),
        })
    };
    assert!(session("allow := true", &[]).allow);
    assert_eq!(session("allow := true\nrole := \"full\"", &["full"]).role.as_deref(), Some("full"));
    for (rules, roles) in [
        ("allow := true\nrole := \"full\"", &[][..]),
        ("allow := true\nrole := 1", &["1"]),
        ("allow if input.door == \"x\"\nrole := \"full\"", &["full"]),
        (&format!("allow := true\n{DENY}"), &[]),
    ] {
        let decision = session(rules, roles);
        assert!(!decision.allow && decision.role.is_none() && !decision.reasons.is_empty(), "{rules}");
    }
}

#[test]
fn only_another_person_decides_whatever_the_rulebook_says() {
    let snapshot = rulebook("allow := true");
    let eligible = |approver: &str, kind: Kind, requester: &str| {
        snapshot.approval(&ApprovalInput {
            approver: identity(approver, kind),
            requester: identity(requester, Kind::Agent),
            groups: &[],
            open_seats: &[],
            votes: &[],
            database: "shop",
            vote: "approve",
            time: time(),
        })
    };
    assert!(eligible("priya", Kind::Human, "bot").eligible);
    for (approver, kind, requester) in [
        ("bot", Kind::Agent, "cron"),
        ("cron", Kind::Service, "bot"),
        ("priya", Kind::Human, "priya"),
        ("gone", Kind::Human, "bot"),
        ("bot", Kind::Human, "cron"),
        ("nobody", Kind::Human, "bot"),
    ] {
        let decision = eligible(approver, kind, requester);
        assert!(!decision.eligible && !decision.reasons.is_empty(), "{approver} for {requester}");
    }
}

#[test]
fn a_rulebooks_tests_are_found_and_run() {
    let sources = [
        source("statement.rego", OPEN),
        source("session.rego", SESSION),
        source("approval.rego", APPROVAL),
        source(
            "statement_test.rego",
            "package portcullis.statement_test\nimport data.portcullis.statement.allow\n\
             test_good if allow\ntest_bad if not allow\nhelper := 1\n\
             test_mock if input.x == 1 with input as {\"x\": 1}\ntest_data if data.agents.a with data.agents as {\"a\": 1}",
        ),
    ];
    let results = testing::run(&sources).unwrap();
    let short: Vec<_> = results.iter().map(|test| (test.name.as_str(), test.passed, test.line)).collect();
    assert_eq!(
        short,
        [
            ("portcullis.statement_test.test_bad", false, 4),
            ("portcullis.statement_test.test_data", true, 7),
            ("portcullis.statement_test.test_good", true, 3),
            ("portcullis.statement_test.test_mock", true, 6),
        ]
    );
}
