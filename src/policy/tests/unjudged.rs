//! Sessions in which statements that are not understood may run.

use super::*;

fn decide(rules: &str, unjudged: bool, statement: &Facts) -> Decision {
    rulebook(rules).decide(&StatementInput {
        unjudged,
        ..StatementInput::plain(identity("bot", Kind::Agent), "shop", "wire", statement, time())
    })
}

fn session(rules: &str) -> SessionDecision {
    let sources = [
        source("statement.rego", OPEN),
        source("approval.rego", APPROVAL),
        source("session.rego", &format!("package portcullis.session\n{rules}\n")),
    ];
    let who = identity("bot", Kind::Agent);
    let input = SessionInput {
        identity: who,
        database: "shop",
        door: "wire",
        roles: &[],
        settings: Vec::new(),
        session: SessionFacts::default(),
        time: time(),
    };
    Snapshot::build(&sources, &agents()).unwrap().session(&input)
}

#[test]
fn a_rulebook_grants_it_by_true_and_by_nothing_else() {
    assert!(session("allow := true\nunjudged := true").unjudged);
    assert!(!session("allow := true").unjudged);
    assert!(!session("allow := true\nunjudged := false").unjudged);
    for rules in [
        "allow := true\nunjudged := 1",
        "allow := true\nunjudged := \"true\"",
        "allow if false\nunjudged := true",
    ] {
        let decision = session(rules);
        assert!(!decision.allow && !decision.unjudged, "{rules}");
    }
}

#[test]
fn what_is_not_understood_is_asked_about_only_there() {
    let unknown = Facts::unknown("syntax error");
    assert_eq!(decide("allow := true", true, &unknown).effect, Effect::Allow);
    assert_eq!(decide("allow := true", false, &unknown).effect, Effect::Deny);
    let parsed = "allow if input.statement.parse_ok";
    assert_eq!(decide(parsed, true, &unknown).effect, Effect::Deny);
    assert_eq!(decide(parsed, true, &facts()).effect, Effect::Allow);
}

#[test]
fn a_mask_is_a_deny_there_whatever_else_is_said() {
    let mask = "mask contains {\"relation\": \"public.customers\", \"column\": \"ssn\", \"type\": \"null\"}";
    let denied = format!("allow := true\n{DENY}");
    for rest in ["allow := true", "allow := false", &denied] {
        let rules = format!("{rest}\n{mask}");
        assert_eq!(decide(&rules, true, &facts()).reasons[0].rule, "unjudged_with_masks", "{rest}");
    }
    assert_eq!(decide(&format!("allow := true\n{mask}"), false, &facts()).effect, Effect::Allow);
}
