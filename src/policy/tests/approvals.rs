//! Approvals as evidence: what lifts an escalation, and what does not.

use serde_json::{Value, json};

use super::super::input::VoteInput;
use super::*;

/// Like [`escalate`], with more fields.
fn asks(rule: &str, more: &Value) -> String {
    let mut entry = json!({"rule": rule, "message": "m", "hint": "h", "ttl_s": 60});
    for (field, value) in more.as_object().unwrap() {
        entry[field] = value.clone();
    }
    format!("escalate contains {entry}")
}

fn bot() -> IdentityInput<'static> {
    identity("bot", Kind::Agent)
}

fn waits(decision: &Decision) -> bool {
    matches!(decision.effect, Effect::Escalate(_))
}

#[test]
fn an_approval_lifts_escalations_only_and_only_a_fitting_one() {
    let ask = rulebook(&asking(&[escalate("ask", r#"["approvers", "dba"]"#)]));
    assert_eq!(decide_as(&ask, bot(), &[approval("priya", &["approvers"])]).effect, Effect::Allow);
    for wrong in [
        approval("priya", &["others"]),
        approval("priya", &[]),
        approval("priya", &["dba"]),
        approval("bot", &["approvers"]),
        approval("cron", &["approvers"]),
        approval("gone", &["approvers"]),
        approval("nobody", &["approvers"]),
    ] {
        let decision = decide_as(&ask, bot(), std::slice::from_ref(&wrong));
        assert!(waits(&decision), "{wrong:?}");
    }
    let own = rulebook(&asking(&[escalate("ask", r#"["c"]"#)]));
    let own = decide_as(&own, identity("priya", Kind::Human), &[approval("priya", &["c"])]);
    assert!(waits(&own), "nobody approves for themselves");
    let denied = rulebook(&asking(&[escalate("ask", r#"["approvers"]"#), DENY.to_owned()]));
    assert_eq!(decide_as(&denied, bot(), &[approval("priya", &["approvers"])]).effect, Effect::Deny);
}

#[test]
fn a_group_counts_that_somebody_had_when_they_said_yes_and_still_has() {
    let ask = rulebook(&asking(&[escalate("ask", r#"["approvers", "c"]"#)]));
    assert_eq!(decide_as(&ask, bot(), &[approval("priya", &["c"])]).effect, Effect::Allow);
    // Then in `dba`, now in `approvers`: neither was seen by both.
    assert!(waits(&decide_as(&ask, bot(), &[approval("priya", &["dba"])])));
}

#[test]
fn every_escalation_must_be_satisfied_by_one_person_or_by_several() {
    let both = asking(&[
        asks("one", &json!({"groups": ["a"], "exclude_owner": false})),
        asks("two", &json!({"groups": ["c"], "exclude_owner": false})),
    ]);
    let decision = decide(&both);
    let Effect::Escalate(requirement) = &decision.effect else { panic!("{decision:?}") };
    assert_eq!((requirement.groups(), requirement.ttl_s()), (vec!["a".into(), "c".into()], 60));
    let snapshot = rulebook(&both);
    assert_eq!(decide_as(&snapshot, bot(), &[approval("ana", &["a", "c"])]).effect, Effect::Allow);
    let split = [approval("ana", &["a"]), approval("priya", &["c"])];
    assert_eq!(decide_as(&snapshot, bot(), &split).effect, Effect::Allow);
    assert!(waits(&decide_as(&snapshot, bot(), &split[..1])));
}

#[test]
fn two_seats_need_two_people() {
    let two =
        rulebook(&asking(&[asks("two", &json!({"groups": ["c"], "count": 2, "exclude_owner": false}))]));
    let (ana, priya) = (approval("ana", &["c"]), approval("priya", &["c"]));
    assert!(waits(&decide_as(&two, bot(), &[ana.clone(), ana.clone()])), "one person twice");
    assert_eq!(decide_as(&two, bot(), &[ana, priya]).effect, Effect::Allow);
}

#[test]
fn an_owner_counts_as_who_asks_unless_the_rule_lifts_that() {
    let ana = [approval("ana", &["c"])];
    let excluded = rulebook(&asking(&[asks("ask", &json!({"groups": ["c"]}))]));
    assert!(waits(&decide_as(&excluded, bot(), &ana)));
    let lifted = rulebook(&asking(&[asks("ask", &json!({"groups": ["c"], "exclude_owner": false}))]));
    assert_eq!(decide_as(&lifted, bot(), &ana).effect, Effect::Allow);
}

#[test]
fn what_nobody_can_approve_is_denied_at_once_and_says_which_seat() {
    let denied = |more: Value| {
        let decision = decide(&asking(&[asks("ask", &more)]));
        assert_eq!(
            (decision.effect.clone(), first_rule(&decision)),
            (Effect::Deny, "nobody_can_approve"),
            "{more}"
        );
        decision.reasons[0].message.clone()
    };
    assert!(denied(json!({"groups": ["ghosts"]})).contains("`ask` needs an approval by ghosts"));
    assert!(denied(json!({"groups": ["owners"]})).contains("owners"), "their only member owns the agent");
    assert!(denied(json!({"groups": ["approvers"], "count": 2})).contains("approvers"));
    let seats = json!({"seats": [{"groups": ["approvers"]}, {"groups": ["c"]}]});
    assert!(denied(seats).contains("approval by c,"), "priya can't fill both");
}

#[test]
fn the_rulebook_sees_every_approval_with_the_groups_of_then_and_now() {
    let rules = asking(&[asks("ask", &json!({"groups": ["c", "gone"], "count": 2, "exclude_owner": false}))])
        + r#"
        deny contains {"rule": concat("+", groups), "message": "m", "hint": "h"} if {
            some approval in input.approvals
            groups := [approval.by, concat(",", approval.groups), concat(",", approval.groups_now)]
        }"#;
    let decision =
        decide_as(&rulebook(&rules), bot(), &[approval("priya", &["c"]), approval("gone", &["gone"])]);
    let mut seen: Vec<&str> = decision.reasons.iter().map(|reason| reason.rule.as_str()).collect();
    seen.sort_unstable();
    assert_eq!(seen, ["gone+gone+", "priya+c+approvers,c"]);
}

#[test]
fn the_rulebook_says_what_is_missing_and_an_error_is_missing_too() {
    let missing = |approval: &str| {
        let approval = format!("package portcullis.approval\neligible := true\n{approval}\n");
        let files = [
            Source::file("session.rego", SESSION),
            Source::file("statement.rego", OPEN),
            Source::file("approval.rego", approval),
        ];
        let vote = VoteInput { by: "priya", groups: &["c".to_owned()], unix: 7 };
        let decision = Snapshot::build(&files, &agents()).unwrap().approval(&ApprovalInput {
            approver: identity("priya", Kind::Human),
            requester: bot(),
            groups: &["c".into()],
            open_seats: &[],
            votes: &[vote],
            database: "shop",
            vote: "approve",
            time: time(),
        });
        decision.missing.into_iter().map(|reason| reason.rule).collect::<Vec<_>>()
    };
    assert_eq!(missing(""), [] as [&str; 0]);
    let two_votes = r#"missing contains {"rule": "one_more", "message": "m", "hint": ""} if {
        count(input.open_seats) == 0
        count(input.votes) < 2
    }"#;
    assert_eq!(missing(two_votes), ["one_more"]);
    assert_eq!(missing(&two_votes.replace("< 2", "< 1")), [] as [&str; 0]);
    for wrong in [
        r#"missing contains "something""#,
        r#"missing contains {"rule": "r", "hint": "h"}"#,
        r#"missing contains {"rule": "r", "message": "m", "hint": "h"} if startswith(input.votes[0].unix, "x")"#,
    ] {
        assert_eq!(missing(wrong), ["policy_error"], "{wrong}");
    }
}
