//! What a rulebook wants looked for in results.

use super::*;

#[test]
fn detectors_add_up_and_the_stricter_of_two_holds() {
    let none = decide("allow := true");
    assert!(none.detect.is_empty());
    let decision = decide(
        r#"allow := true
detect contains {"detector": "card", "keep_last": 4, "row_bytes": 1000}
detect contains {"detector": "card", "keep_last": 2, "beyond": "stop"}
detect contains {"detector": "iban", "row_bytes": 70000000}"#,
    );
    assert_eq!(decision.effect, Effect::Allow);
    let detect = serde_json::to_value(decision.detect).unwrap();
    let expected = json!([
        {"detector": "card", "keep_last": 2, "row_bytes": 1000, "beyond": "stop"},
        {"detector": "iban", "row_bytes": 1000, "beyond": "stop"},
    ]);
    assert_eq!(detect, expected);
}

#[test]
fn a_detector_with_a_mistake_denies_and_says_which() {
    for (entry, why) in [
        (r#"{"detector": "cards"}"#, "cards"),
        (r#"{"name": "card"}"#, "name"),
        (r#"{"detector": "card", "keep_last": 5}"#, "4 at most"),
        (r#"{"detector": "ssn", "keep_last": 2}"#, "`ssn`"),
        (r#"{"detector": "card", "row_bytes": 0}"#, "at least 1"),
        (r#"{"detector": "card", "beyond": "pass"}"#, "pass"),
        (r#""card""#, "card"),
    ] {
        let decision = decide(&format!("allow := true\ndetect contains {entry}"));
        assert_eq!((&decision.effect, first_rule(&decision)), (&Effect::Deny, "policy_error"), "{entry}");
        assert!(decision.reasons[0].message.contains(why), "{entry}: {}", decision.reasons[0].message);
    }
}

#[test]
fn detectors_are_no_company_for_what_is_not_understood() {
    let snapshot = rulebook("allow := true\ndetect contains {\"detector\": \"card\"}");
    let unknown = Facts::unknown("syntax error");
    let decision = snapshot.decide(&StatementInput {
        unjudged: true,
        ..StatementInput::plain(identity("bot", Kind::Agent), "shop", "wire", &unknown, time())
    });
    assert_eq!((&decision.effect, first_rule(&decision)), (&Effect::Deny, "unjudged_with_masks"));
}
