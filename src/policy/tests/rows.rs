//! Row filters: definitions are read strictly, and so are the values of an identity.

use super::*;
use crate::mask::RowGrants;

const TENANT: &str = r#"{"name": "tenant", "relation": "public.orders", "using": "tenant = ANY ($values)", "by": "rls", "lifted": true}"#;

fn book(definitions: &str, session: &str) -> Snapshot {
    let sources = [
        source("statement.rego", OPEN),
        source("approval.rego", APPROVAL),
        source("session.rego", &format!("package portcullis.session\nallow := true\n{session}\n")),
        source("row_filter.rego", &format!("package portcullis.row_filter\n{definitions}\n")),
    ];
    Snapshot::build(&sources, &agents()).unwrap()
}

fn granted(definitions: &str, session: &str) -> Result<RowGrants, String> {
    let decision = book(definitions, session).session(&SessionInput {
        identity: identity("bot", Kind::Agent),
        database: "shop",
        door: "wire",
        roles: &[],
        settings: Vec::new(),
        session: SessionFacts::default(),
        time: time(),
    });
    match decision.reasons.first() {
        None => Ok(decision.rows),
        Some(reason) => Err(format!("{}: {}", reason.rule, reason.message)),
    }
}

fn settings(session: &str) -> Vec<String> {
    let rows = granted(&format!("define contains {TENANT}"), session).unwrap();
    rows.settings().into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}

#[test]
fn definitions_are_of_a_database() {
    let book = book(&format!("define contains {TENANT} if input.database == \"shop\""), "");
    assert_eq!(book.row_filters("shop").unwrap().iter().count(), 1);
    assert!(book.row_filters("bank").unwrap().is_empty());
}

#[test]
fn a_rulebook_without_definitions_has_no_filters() {
    assert!(rulebook("allow := true").row_filters("shop").unwrap().is_empty());
}

#[test]
fn an_identity_has_what_all_entries_name_and_nothing_without_one() {
    assert_eq!(settings(""), ["portcullis.rows_tenant=", "portcullis.lift_tenant=off"]);
    let one = r#"row_values contains {"filter": "tenant", "values": ["a", "b"]}"#;
    assert_eq!(settings(one)[0], r#"portcullis.rows_tenant={"a","b"}"#);
    let two = format!("{one}\nrow_values contains {{\"filter\": \"tenant\", \"values\": [\"b\", \"c\"]}}");
    assert_eq!(settings(&two)[0], r#"portcullis.rows_tenant={"b"}"#);
    let all = r#"row_values contains {"filter": "tenant", "all": true}"#;
    assert_eq!(settings(all)[1], "portcullis.lift_tenant=on");
    assert_eq!(settings(&format!("{all}\n{one}"))[1], "portcullis.lift_tenant=off", "the narrower weighs");
}

#[test]
fn what_is_malformed_opens_nothing() {
    let change = |from: &str, to: &str| format!("define contains {}", TENANT.replace(from, to));
    for (definitions, said) in [
        (change("\"lifted\": true", "\"lifted\": true, \"more\": 1"), "unknown field `more`"),
        (change(", \"lifted\": true", ""), "missing field `lifted`"),
        (change("\"rls\"", "\"view\""), "unknown variant `view`"),
        (change("\"tenant\", \"rel", "\"Ten ant\", \"rel"), "no name for a row filter"),
        (change("public.orders", "orders"), "`orders` is not `schema.table`"),
        (change("= ANY ($values)", "= 'a'"), "`using` of `tenant`"),
        (
            format!("{}\n{}", change("", ""), change("public.orders", "public.more")),
            "two row filters named `tenant`",
        ),
    ] {
        let error = granted(&definitions, "").unwrap_err();
        assert!(error.starts_with("policy_error") && error.contains(said), "{definitions}: {error}");
    }
}

#[test]
fn values_that_are_malformed_open_nothing() {
    for (entry, said) in [
        (r#"{"filter": "tenant"}"#, "has either `values`, or `all`"),
        (r#"{"filter": "tenant", "all": false}"#, "has either `values`, or `all`"),
        (r#"{"filter": "tenant", "all": true, "values": ["a"]}"#, "has either `values`, or `all`"),
        (r#"{"filter": "tenant", "values": [1]}"#, "expected a string"),
        (r#"{"filter": "tenant", "values": "a"}"#, "expected a sequence"),
        (r#"{"filter": "tenant", "values": ["a\u0000b"]}"#, "holds a NUL"),
        (r#"{"filter": "tenant", "value": ["a"]}"#, "unknown field `value`"),
        (r#"{"filter": "region", "values": ["a"]}"#, "there is no row filter `region`"),
    ] {
        let session = format!("row_values contains {entry}");
        let error = granted(&format!("define contains {TENANT}"), &session).unwrap_err();
        assert!(error.starts_with("policy_error") && error.contains(said), "{entry}: {error}");
    }
    let fixed = format!("define contains {}", TENANT.replace("true", "false"));
    let error = granted(&fixed, r#"row_values contains {"filter": "tenant", "all": true}"#).unwrap_err();
    assert!(error.contains("can't be lifted"), "{error}");
}

#[test]
fn a_misspelt_declaration_is_refused_when_the_rulebook_loads() {
    let files = [
        ("statement.rego", OPEN),
        ("row_filter.rego", "package portcullis.row_filter\ndefines contains {}\n"),
    ];
    assert!(build(&files).unwrap_err().to_string().contains("nothing reads `defines`"));
}
