//! Several packages on one decision point, and what each may say.

use super::*;
use crate::policy::Digested;
use crate::policy::input::{BindInput, Budget, LabelsInput, Parameter, Spent, ZoneTime};

const ADD_ON: &str = "package portcullis.statement.security\n";
const GRANTING: &str =
    "# METADATA\n# title: Break glass\n# custom:\n#   grants: true\npackage portcullis.statement.glass\n";

/// A rulebook that allows nothing by itself, with one more file.
fn with(base: &str, path: &str, text: &str) -> Result<Snapshot, RulebookError> {
    build(&[("statement.rego", &format!("package portcullis.statement\n{base}\n")), (path, text)])
}

fn effect(snapshot: &Snapshot) -> Effect {
    decide_as(snapshot, identity("bot", Kind::Agent), &[]).effect
}

#[test]
fn an_add_on_takes_away_and_the_base_still_gives() {
    let deny = format!("{ADD_ON}{DENY} if input.database == \"shop\"");
    let both = with("allow := true", "security.rego", &deny).unwrap();
    let decision = decide_as(&both, identity("bot", Kind::Agent), &[]);
    assert_eq!((&decision.effect, first_rule(&decision)), (&Effect::Deny, "no"));
    assert_eq!(decision.reasons[0].place, "security.rego:2");
    let limits = format!(
        "{ADD_ON}limit contains {{\"rows\": 3}}\nmask contains {{\"relation\": \"public.t\", \"column\": \"a\", \"type\": \"null\"}}"
    );
    let both = with("allow := true\nlimit contains {\"rows\": 9}", "security.rego", &limits).unwrap();
    let decision = decide_as(&both, identity("bot", Kind::Agent), &[]);
    assert_eq!((decision.effect, decision.limits.rows, decision.masks.len()), (Effect::Allow, Some(3), 1));
}

#[test]
fn only_what_is_marked_and_let_may_give() {
    let refused = with("allow := false", "security.rego", &format!("{ADD_ON}allow := true")).unwrap_err();
    assert_eq!((refused.file.as_str(), refused.line), ("security.rego", 2));
    assert!(refused.what.contains("is an add-on"), "{}", refused.what);
    let glass = with("allow := false", "glass.rego", &format!("{GRANTING}allow := true")).unwrap();
    assert_eq!(effect(&glass), Effect::Allow);
    let denied = with(&format!("allow := false\n{DENY}"), "glass.rego", &format!("{GRANTING}allow := true"));
    assert_eq!(effect(&denied.unwrap()), Effect::Deny, "a deny anywhere is a deny");
}

#[test]
fn a_bundle_that_may_not_grant_grants_nothing_whatever_it_says() {
    let bundle = |text: &str, grants: bool| {
        let file = |path: &str, text: &str| Source::file(path, text);
        let sources = [
            file("session.rego", SESSION),
            file("approval.rego", APPROVAL),
            file("statement.rego", "package portcullis.statement\nallow := false\n"),
            Source { bundle: "acme".to_owned(), grants, ..Source::file("glass.rego", text) },
        ];
        Snapshot::build(&sources, &agents())
    };
    let session = "# METADATA\n# custom:\n#   grants: true\npackage portcullis.session.x\n";
    for text in [
        format!("{GRANTING}allow := true"),
        "package portcullis.statement\nallow := true".to_owned(),
        // One more definition of a rule that the base goes by.
        format!("package portcullis.statement\n{DENY} if not is_exempt\nis_exempt := true"),
        "package portcullis.session\nunjudged := true".to_owned(),
        "package portcullis.approval\neligible := true".to_owned(),
        "package portcullis.connect\nallow := true".to_owned(),
        format!("{session}role := \"full\""),
        format!("{session}row_values contains {{\"filter\": \"tenant\", \"all\": true}}"),
        format!("{session}setting contains {{\"name\": \"app.tenant\", \"value\": \"1\"}}"),
        format!("{ADD_ON}redact contains \"parameters\""),
    ] {
        let refused = bundle(&text, false).unwrap_err();
        assert!(refused.what.contains("this bundle may not"), "{text}: {refused}");
        assert!(refused.file.starts_with("acme:"), "{refused}");
    }
    assert_eq!(effect(&bundle(&format!("{GRANTING}allow := true"), true).unwrap()), Effect::Allow);
    assert_eq!(effect(&bundle(&format!("{ADD_ON}{DENY}"), false).unwrap()), Effect::Deny);
}

#[test]
fn packages_that_disagree_on_a_value_decide_nothing() {
    let glass =
        "# METADATA\n# custom:\n#   grants: true\npackage portcullis.session.glass\nrole := \"full\"\n";
    let session = |base: &str| {
        let sources = [
            source("session.rego", &format!("package portcullis.session\nallow := true\n{base}\n")),
            source("glass.rego", glass),
            source("statement.rego", OPEN),
            source("approval.rego", APPROVAL),
        ];
        let roles = ["full".to_owned(), "other".to_owned()];
        Snapshot::build(&sources, &agents()).unwrap().session(&SessionInput {
            identity: identity("bot", Kind::Agent),
            database: "shop",
            door: "wire",
            roles: &roles,
            settings: Vec::new(),
            session: SessionFacts::default(),
            time: time(),
        })
    };
    assert_eq!(session("").role.as_deref(), Some("full"));
    assert_eq!(session("role := \"full\"").role.as_deref(), Some("full"));
    let torn = session("role := \"other\"");
    assert!(!torn.allow && torn.reasons[0].message.contains("several values"), "{:?}", torn.reasons);
}

#[test]
fn a_name_below_a_point_is_one_name_and_no_declaration() {
    for (package, says) in [
        ("portcullis.statement.deny", "is a package too"),
        ("portcullis.statement.a.b", ""),
        ("other.statement", "is not the rulebook's"),
    ] {
        let base = format!("allow := true\n{DENY} if false");
        let text = format!("package {package}\nx := 1\n");
        match with(&base, "x.rego", &text) {
            Ok(_) => assert!(says.is_empty(), "{package}"),
            Err(refused) => assert!(!says.is_empty() && refused.what.contains(says), "{package}: {refused}"),
        }
    }
    let misspelt = with("allow := true", "security.rego", &format!("{ADD_ON}denies contains 1")).unwrap_err();
    assert!(misspelt.what.contains("nothing reads `denies`"), "{misspelt}");
}

#[test]
fn values_are_asked_about_where_they_are_known_and_nowhere_else() {
    let bind = "package portcullis.bind\ndeny contains {\"rule\": \"large\", \"message\": \"m\", \"hint\": \"\"} if {\n\tsome value in input.bind.parameters\n\tvalue.known\n\tvalue.value > 100\n}\n";
    let snapshot = with("allow := true", "bind.rego", bind).unwrap();
    assert!(snapshot.wants().parameters && !snapshot.wants().budget);
    let facts = facts();
    let decided = |known: bool, value: i64| {
        let parameters =
            [Parameter { index: 1, type_name: "int4".into(), known: true, null: false, value: json!(value) }];
        let bind = BindInput { known, values: &[], parameters: &parameters };
        let plain = StatementInput::plain(identity("bot", Kind::Agent), "shop", "wire", &facts, time());
        snapshot.decide(&StatementInput { via: "bind", bind, ..plain }).effect
    };
    assert_eq!(decided(true, 101), Effect::Deny);
    assert_eq!(decided(true, 100), Effect::Allow);
    assert_eq!(decided(false, 101), Effect::Allow, "nothing is bound yet");
    let giving = with("allow := true", "bind.rego", "package portcullis.bind\nallow := true\n").unwrap_err();
    assert!(giving.what.contains("nothing reads `allow`"), "{giving}");
}

#[test]
fn a_reason_may_be_for_the_ledger_only() {
    let rules = "allow := true\ndeny contains {\"rule\": \"honey\", \"message\": \"m\", \"hint\": \"\", \"public\": false}";
    let decision = decide(rules);
    assert!(decision.reasons[0].private && decision.reasons[0].place.ends_with(":3"));
    for wrong in ["\"public\": 0", "\"secret\": true"] {
        let rules = format!(
            "allow := true\ndeny contains {{\"rule\": \"r\", \"message\": \"m\", \"hint\": \"\", {wrong}}}"
        );
        assert_eq!(first_rule(&decide(&rules)), "policy_error", "{wrong}");
    }
}

#[test]
fn the_place_of_a_reason_is_that_of_the_rule_whose_words_it_has() {
    let rules = "allow := true\n\
        deny contains {\"rule\": \"r\", \"message\": \"no tool\", \"hint\": \"\"} if input.tool == \"x\"\n\
        deny contains {\"rule\": \"r\", \"message\": sprintf(\"not `%s` here\", [input.database]), \"hint\": \"\"} if input.database == \"shop\"\n\
        deny contains {\"rule\": name, \"message\": \"m\", \"hint\": \"\"} if { some name in [\"made_up\"] }";
    let decision = decide(rules);
    let places: Vec<_> =
        decision.reasons.iter().map(|reason| (reason.rule.as_str(), reason.place.as_str())).collect();
    assert_eq!(places, [("made_up", ""), ("r", "statement.rego:4")]);
}

#[test]
fn labels_alerts_limits_and_obligations_are_read_strictly() {
    let decision = decide(
        "allow := true\nlabel contains \"pii\"\nlabel contains \"a\"\noblige contains \"end_session\"\n\
         limit contains {\"time_ms\": 500}\nlimit contains {\"time_ms\": 900, \"rows\": 7}\n\
         alert contains {\"rule\": \"r\", \"message\": \"m\", \"hint\": \"\", \"sink\": \"pager\"}",
    );
    assert_eq!(
        (&decision.effect, &decision.labels[..]),
        (&Effect::Allow, &["a".to_owned(), "pii".into()][..])
    );
    assert_eq!((decision.limits.time_ms, decision.limits.rows), (Some(500), Some(7)));
    assert!(decision.ends_session && decision.alerts[0].sink == "pager");
    for wrong in [
        "label contains \"\"",
        "label contains 1",
        "label contains \"a\\nb\"",
        "oblige contains \"dance\"",
        "limit contains {\"time_ms\": 0}",
        "limit contains {\"cost\": 1}",
        "alert contains {\"rule\": \"r\", \"message\": \"m\", \"hint\": \"\", \"sink\": 1}",
    ] {
        assert_eq!(first_rule(&decide(&format!("allow := true\n{wrong}"))), "policy_error", "{wrong}");
    }
}

#[test]
fn clocks_are_those_of_the_zones_that_rules_name() {
    let snapshot = rulebook(
        "allow if input.time.zones[\"Europe/Berlin\"].hour == 9\nlabel contains \"x\" if input.time.zones[\"America/New_York\"].weekday == 1",
    );
    let at = |text: &str| snapshot.time(text.parse().unwrap());
    // Central European Summer Time began on 2026-03-29, Eastern Daylight Time on 2026-03-08.
    let winter = at("2026-03-27T08:30:00Z");
    let summer = at("2026-03-30T07:30:00Z");
    assert_eq!(winter.zones["Europe/Berlin"].hour, 9);
    assert_eq!(summer.zones["Europe/Berlin"].hour, 9);
    let new_york = ZoneTime { date: "2026-03-30".into(), hour: 3, minute: 30, weekday: 1 };
    assert_eq!((summer.zones.len(), &summer.zones["America/New_York"]), (2, &new_york));
    for (wrong, says) in [
        ("allow if input.time.zones[\"Berlin\"].hour == 9", "there is no time zone `Berlin`"),
        ("allow if input.time.zones[input.database].hour == 9", "by its name, written out"),
        ("allow if { some zone in input.time.zones\n zone.hour == 9 }", "by its name, written out"),
    ] {
        assert!(refused(wrong).contains(says), "{wrong}: {}", refused(wrong));
    }
}

#[test]
fn budgets_and_labels_are_what_the_input_says() {
    let snapshot = rulebook(
        "allow if { input.budget.day.rows < 10\n not \"pii\" in input.labels.session\n not \"web\" in input.labels.day }",
    );
    assert!(snapshot.wants().budget && snapshot.wants().labels);
    let facts = facts();
    let decided = |rows: u64, session: &[&str], day: &[&str]| {
        let owned = |labels: &[&str]| labels.iter().map(|label| (*label).to_owned()).collect::<Vec<_>>();
        let (session, day) = (owned(session), owned(day));
        let spent = Spent { rows, ..Spent::default() };
        let plain = StatementInput::plain(identity("bot", Kind::Agent), "shop", "wire", &facts, time());
        let input = StatementInput {
            budget: Budget { day: spent, ..Budget::default() },
            labels: LabelsInput { session: &session, day: &day },
            ..plain
        };
        snapshot.decide(&input).effect
    };
    assert_eq!(decided(9, &["a"], &[]), Effect::Allow);
    assert_eq!(decided(10, &[], &[]), Effect::Deny);
    assert_eq!(decided(0, &["pii"], &[]), Effect::Deny);
    assert_eq!(decided(0, &[], &["web"]), Effect::Deny);
}

#[test]
fn what_stands_behind_a_character_that_ends_the_file_is_not_left_out() {
    for (text, line) in [
        ("allow := true\n\u{0}\ndeny contains 1", 3),
        ("allow := true # \rdeny contains 1\n", 2),
        ("allow := true\u{b}", 2),
    ] {
        let said = refused(text);
        assert!(said.contains(&format!("statement.rego:{line}: a control character")), "{said}");
    }
    assert_eq!(decide("allow := true\r\n\tused := 1\r\nallow if used == 2\r\n").effect, Effect::Allow);
}

/// The engine keeps imports by package: what another file imports is read all the same.
#[test]
fn an_import_of_another_file_is_seen_wherever_its_name_is_used() {
    let snapshot = build(&[
        ("statement.rego", "package portcullis.statement\nallow := true\n"),
        ("lib.rego", "package portcullis.lib\nlate if input.session.application == \"bad\"\n"),
        ("a.rego", "package portcullis.statement.x\nimport data.portcullis.lib.late as is_late\nalert contains {\"rule\": \"r\", \"message\": \"m\"} if is_late\n"),
        ("b.rego", &format!("package portcullis.statement.x\n{DENY} if is_late\n")),
    ])
    .unwrap();
    let facts = std::sync::Arc::new(facts());
    let digested = Digested::new(std::sync::Arc::clone(&facts));
    let by = |application| {
        let plain = StatementInput::plain(identity("bot", Kind::Agent), "shop", "wire", &facts, time());
        let session = SessionFacts { application, ..SessionFacts::default() };
        snapshot.recall_or_decide(&StatementInput { session, ..plain }, &digested).effect.clone()
    };
    assert_eq!((by("good"), by("bad")), (Effect::Allow, Effect::Deny));
    let circle = build(&[
        ("statement.rego", "package portcullis.statement\nallow := true\n"),
        ("a.rego", "package portcullis.statement.x\nimport data.portcullis.lib.f as g\nx := 1\n"),
        ("b.rego", &format!("package portcullis.statement.x\n{DENY} if g(1)\n")),
        (
            "lib.rego",
            "package portcullis.lib\nimport data.portcullis.statement.x.deny as d\nf(n) if count(d) == n\n",
        ),
    ]);
    assert!(circle.unwrap_err().what.contains("refers to itself"));
}

#[test]
fn a_bundle_that_may_not_grant_adds_to_nobody_elses_documents() {
    let built = |path: &str, text: &str, grants: bool| {
        let sources = [
            source("session.rego", SESSION),
            source("approval.rego", APPROVAL),
            source("statement.rego", OPEN),
            source("data/lists.json", "{\"yes\": {\"x\": 1}}"),
            Source { bundle: "acme".to_owned(), grants, ..Source::file(path, text) },
        ];
        Snapshot::build(&sources, &agents()).map(drop).map_err(|error| error.what)
    };
    for (path, text) in [
        ("lists/data.json", "{\"no\": 1}"),
        ("data.json", "{\"lists\": {\"yes\": {\"y\": 1}}}"),
        ("lists/yes/data.json", "{\"y\": 1}"),
    ] {
        assert!(built(path, text, false).unwrap_err().contains("`data.lists` belongs to"), "{path}");
        assert_eq!(built(path, text, true), Ok(()), "{path}");
    }
    assert_eq!(built("acme/data.json", "{\"no\": 1}", false), Ok(()));
    let log = built("log.rego", "package system.log\nmask contains \"/input/bind\"\n", false);
    assert!(log.unwrap_err().contains("decision logs"));
}

#[test]
fn rules_that_nobody_would_ask_are_refused() {
    for (path, text) in [
        ("x.rego", format!("package portcullis.statement.x.y\n{DENY}\n")),
        ("x.rego", format!("package portcullis.statment\n{DENY}\n")),
        ("x.rego", format!("package portcullis.lib\n{DENY}\n")),
    ] {
        let said = with("allow := true", path, &text).unwrap_err();
        assert!(said.what.contains("nobody asks the package"), "{said}");
    }
    let said = with("allow := true", "x_test.rego", &format!("{ADD_ON}{DENY}\n")).unwrap_err();
    assert!(said.what.contains("tests are left out") && said.line == 1, "{said}");
}

#[test]
fn a_chain_of_rules_that_the_engine_can_not_follow_is_refused() {
    let chain = |length: usize| {
        let links = (0..length).map(|at| format!("r{at} if r{}\n", at + 1));
        format!("allow if r0\n{}r{length} := true", links.collect::<String>())
    };
    assert_eq!(decide(&chain(50)).effect, Effect::Allow);
    assert!(refused(&chain(700)).contains("more than 100 rules"), "{}", refused(&chain(700)));
}

#[test]
fn a_misspelt_field_is_found_behind_an_import_too() {
    let said = refused("import input.identity as who\nallow if who.nmae == \"ana\"");
    assert!(said.contains("no input of"), "{said}");
}
