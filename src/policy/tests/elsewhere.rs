//! Decisions that somebody else makes, read as strictly as our own; and those on connections and results.

use std::sync::Arc;

use super::*;
use crate::policy::input::{Budget, ClientInput, LabelsInput, ResultFacts, TlsInput};
use crate::policy::{Digested, Recalled};

fn delegating(reads: &[&[&str]]) -> Snapshot {
    let owned = |path: &&[&str]| path.iter().map(|part| (*part).to_owned()).collect();
    rulebook("allow := false").delegating(&reads.iter().map(owned).collect::<Vec<_>>())
}

fn settled(answer: Result<&Value, String>) -> Decision {
    let (snapshot, facts) = (delegating(&[&[]]), Arc::new(facts()));
    let input = StatementInput::plain(identity("bot", Kind::Agent), "shop", "wire", &facts, time());
    let Recalled::Open(key) = snapshot.recall(&input, &Digested::new(Arc::clone(&facts))) else {
        panic!("nothing was decided yet")
    };
    Decision::clone(&snapshot.settle(&input, key, answer))
}

#[test]
fn another_engines_answer_is_held_to_the_same_shape() {
    assert_eq!(settled(Ok(&json!({"allow": true}))).effect, Effect::Allow);
    let no = json!({"allow": true, "deny": [{"rule": "no", "message": "m", "hint": ""}]});
    assert_eq!(first_rule(&settled(Ok(&no))), "no");
    let limited = settled(Ok(&json!({"allow": true, "limit": [{"rows": 3}]})));
    assert_eq!(limited.limits.rows, Some(3));
    for wrong in [
        json!(null),
        json!(true),
        json!([]),
        json!({"allow": "yes"}),
        json!({"allow": true, "masks": []}),
        json!({"allow": true, "deny": {"rule": "no"}}),
        json!({"allow": true, "deny": [{"rule": "no"}]}),
    ] {
        assert_eq!(first_rule(&settled(Ok(&wrong))), "policy_error", "{wrong}");
    }
    let silent = settled(Err("no answer within 50 ms".to_owned()));
    assert!(silent.reasons[0].message.contains("no answer within 50 ms"), "{:?}", silent.reasons);
    assert_eq!(first_rule(&settled(Ok(&json!({})))), "default_deny");
}

#[test]
fn what_is_kept_of_another_engines_answers_hangs_on_all_that_it_was_shown() {
    let snapshot = delegating(&[&["identity", "name"], &["statement", "kind"], &["database"]]);
    let facts = Arc::new(facts());
    let digested = Digested::new(Arc::clone(&facts));
    let input = StatementInput::plain(identity("bot", Kind::Agent), "shop", "wire", &facts, time());
    let shown = snapshot.document(&input).unwrap();
    assert_eq!(
        shown,
        json!({"identity": {"name": "bot"}, "statement": {"kind": "select"}, "database": "shop"})
    );
    let Recalled::Open(key) = snapshot.recall(&input, &digested) else { panic!("nothing was decided yet") };
    assert_eq!(snapshot.settle(&input, key, Ok(&json!({"allow": true}))).effect, Effect::Allow);
    assert!(matches!(snapshot.recall(&input, &digested), Recalled::Known(_)));
    let elsewhere = StatementInput { database: "bank", ..input.clone() };
    assert!(matches!(snapshot.recall(&elsewhere, &digested), Recalled::Open(_)));
    let unseen = StatementInput { via: "prepare", ..input };
    assert!(matches!(snapshot.recall(&unseen, &digested), Recalled::Known(_)), "it was not shown that");
}

#[test]
fn a_failure_elsewhere_is_not_kept() {
    let (snapshot, facts) = (delegating(&[&["database"]]), Arc::new(facts()));
    let digested = Digested::new(Arc::clone(&facts));
    let input = StatementInput::plain(identity("bot", Kind::Agent), "shop", "wire", &facts, time());
    for _ in 0..2 {
        let Recalled::Open(key) = snapshot.recall(&input, &digested) else { panic!("a failure was kept") };
        assert_eq!(snapshot.settle(&input, key, Err("down".to_owned())).effect, Effect::Deny);
    }
}

#[test]
fn nobody_else_is_asked_about_an_identity_that_is_gone() {
    let (snapshot, facts) = (delegating(&[&[]]), facts());
    let input = StatementInput::plain(identity("gone", Kind::Human), "shop", "wire", &facts, time());
    assert_eq!(snapshot.document(&input).unwrap_err().effect, Effect::Deny);
}

fn knocks(rules: &str) -> Vec<String> {
    let sources = [
        source("session.rego", SESSION),
        source("approval.rego", APPROVAL),
        source("statement.rego", OPEN),
        source("connect.rego", rules),
    ];
    let consent = Snapshot::build(&sources, &agents()).unwrap().connect(&ConnectInput {
        door: "wire",
        client: ClientInput { address: "192.0.2.7", port: 5, loopback: false },
        tls: TlsInput::default(),
        protocol: "3.0",
        user: "ana",
        database: "shop",
        application: "psql",
        settings: Vec::new(),
        time: time(),
    });
    consent.reasons.into_iter().map(|reason| reason.rule).collect()
}

#[test]
fn a_connection_is_allowed_by_name_or_there_is_no_package_for_it() {
    assert!(
        rulebook("allow := true")
            .connect(&ConnectInput {
                door: "wire",
                client: ClientInput::default(),
                tls: TlsInput::default(),
                protocol: "3.0",
                user: "",
                database: "",
                application: "",
                settings: Vec::new(),
                time: time(),
            })
            .reasons
            .is_empty()
    );
    assert_eq!(knocks("package portcullis.connect\nallow := true\n"), [""; 0]);
    assert_eq!(knocks("package portcullis.connect\nallow if input.tls.used\n"), ["default_deny"]);
    assert_eq!(knocks(&format!("package portcullis.connect\nallow := true\n{DENY}\n")), ["no"]);
    assert_eq!(
        knocks(&format!("package portcullis.connect.nets\n{DENY} if input.user != \"ana\"\n")),
        [""; 0]
    );
    assert_eq!(
        knocks(&format!("package portcullis.connect.nets\n{DENY} if input.user == \"ana\"\n")),
        ["no"]
    );
    assert_eq!(
        knocks("package portcullis.connect\nallow if net.cidr_contains(\"x\", input.client.address)\n"),
        ["policy_error"]
    );
}

#[test]
fn a_result_goes_on_until_a_rule_objects() {
    let build = |rules: &str| {
        let sources = [
            source("session.rego", SESSION),
            source("approval.rego", APPROVAL),
            source("statement.rego", OPEN),
            source("result.rego", rules),
        ];
        Snapshot::build(&sources, &agents()).unwrap()
    };
    let stops = |rules: &str, rows: u64| {
        let facts = facts();
        let consent = build(rules).result(&ResultInput {
            identity: identity("bot", Kind::Agent),
            database: "shop",
            door: "wire",
            session: SessionFacts::default(),
            statement: &facts,
            result: ResultFacts { columns: &[], rows, bytes: 0 },
            budget: Budget::default(),
            labels: LabelsInput::default(),
            time: time(),
        });
        !consent.reasons.is_empty()
    };
    let rules = format!("package portcullis.result\n{DENY} if input.result.rows > 10\n");
    assert!(!stops(&rules, 10) && stops(&rules, 11));
    assert!(stops("package portcullis.result\ndeny contains 1\n", 0), "what is malformed stops it");
}
