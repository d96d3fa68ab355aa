//! `policy explain` and `policy replay` over what a gateway has recorded, and the example for CI.

use serde_json::json;

use super::*;
use crate::support::gateway::{Stand, copy_folder};

/// What a gateway left: its state, and the rulebook that was in force.
struct Left {
    home: tempfile::TempDir,
}

impl Left {
    /// After support-bot has asked a few things.
    async fn behind() -> Self {
        let Stand { gateway, home, .. } = {
            let stand = Stand::start().await;
            let client = stand.wire("support-bot").await;
            for sql in [
                "SELECT id, name FROM customers",
                "SELECT id, name FROM customers",
                "SELECT count(*) FROM orders",
                "DROP TABLE orders",
                "LISTEN jobs",
                "nonsense",
            ] {
                drop(client.simple_query(sql).await);
            }
            client.query("SELECT name FROM customers WHERE id = $1", &[&1_i32]).await.unwrap();
            drop(client);
            stand
        };
        gateway.stop().await;
        Self { home }
    }

    fn ledger(&self) -> String {
        self.home.path().join("state/ledger").to_str().unwrap().to_owned()
    }

    /// A copy of the rulebook with `more` in a file of its own.
    fn candidate(&self, more: &str) -> Desk {
        let desk = Desk::open(&[]);
        let policies = desk.folder.path().join("policies");
        fs::remove_dir_all(&policies).unwrap();
        copy_folder(&self.home.path().join("policies"), &policies);
        if !more.is_empty() {
            desk.write("policies/statement/more.rego", &format!("package portcullis.statement\n\n{more}\n"));
        }
        desk
    }

    fn replay(&self, desk: &Desk, more: &[&str]) -> Ran {
        let ledger = self.ledger();
        let arguments = ["replay", "--against", "policies", "--ledger", &ledger];
        desk.run(&arguments.iter().chain(more).copied().collect::<Vec<_>>())
    }

    /// The id of the decision on `sql`.
    fn decision(&self, sql: &str) -> String {
        let entries = portcullis::audit::tail(Path::new(&self.ledger()), 1000, |_| true).unwrap();
        let decided = entries.iter().find(|entry| match &entry.record.event {
            portcullis::audit::Event::Decided(record) => record.statement == sql,
            _ => false,
        });
        decided.unwrap_or_else(|| panic!("{sql}")).record.decision_id.to_string()
    }
}

const NO_CUSTOMERS: &str = r#"deny contains {"rule": "no_customers", "message": "customers are closed", "hint": ""} if {
	input.identity.name == "support-bot"
	some table in input.statement.tables
	table.key == "public.customers"
}"#;

#[tokio::test(flavor = "multi_thread")]
async fn the_same_rulebook_decides_the_same() {
    let left = Left::behind().await;
    let ran = left.replay(&left.candidate(""), &["--strict"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    assert!(ran.out.contains(" decisions: 0 groups of differences, 0 indeterminate, "), "{}", ran.out);
    let json = left.replay(&left.candidate(""), &["--json"]).json();
    assert!(json["decisions"].as_u64().unwrap() >= 6, "{json}");
    assert_eq!((&json["differences"], &json["without_base"]), (&json!([]), &json!(0)));
    assert_eq!(json["not_asked"], 1, "what is no SQL is denied by every rulebook");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_newly_denied_is_grouped_with_a_witness() {
    let left = Left::behind().await;
    let desk = left.candidate(NO_CUSTOMERS);
    let ran = left.replay(&desk, &[]);
    assert_eq!(ran.code, Some(1), "{}{}", ran.out, ran.err);
    for said in [
        "newly denied  no_customers statement/more.rego:3\n",
        "  2 x  support-bot on shop\n  SELECT id, name FROM customers\n",
        "  decision ",
    ] {
        assert!(ran.out.contains(said), "{said}\n{}", ran.out);
    }
    assert!(ran.out.lines().all(|line| line.chars().count() <= 80), "{}", ran.out);
    let json = left.replay(&desk, &["--json"]).json();
    let groups = json["differences"].as_array().unwrap();
    assert!(groups.iter().all(|group| group["change"] == "newly_denied"), "{json}");
    assert!(groups.iter().any(|group| group["count"] == 2 && group["after"] == "deny"), "{json}");
    assert_eq!(left.replay(&desk, &["--since", "2999-01-01"]).code, Some(0), "nothing since then");
    assert_eq!(left.replay(&desk, &["--since", "1h"]).code, Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn other_differences_are_told_apart() {
    let left = Left::behind().await;
    for (rules, change, rule) in [
        ("limit contains {\"rows\": 3}", "limits", ""),
        ("label contains \"seen\"", "labels", ""),
        ("mask contains {\"column\": \"*name*\", \"type\": \"null\"}", "masks", ""),
        ("detect contains {\"detector\": \"email\"}", "detectors", ""),
        (
            "escalate contains {\"rule\": \"ask\", \"message\": \"m\", \"hint\": \"\", \"groups\": [\"approvers\"], \"ttl_s\": 60} if input.statement.class == \"read\"",
            "newly_escalated",
            "ask",
        ),
    ] {
        let ran = left.replay(&left.candidate(rules), &["--json"]);
        assert_eq!(ran.code, Some(1), "{rules}\n{}{}", ran.out, ran.err);
        let groups = ran.json()["differences"].clone();
        let groups = groups.as_array().unwrap();
        assert!(
            groups.iter().all(|group| group["change"] == change && group["rule"] == rule)
                && !groups.is_empty(),
            "{rules}\n{groups:?}"
        );
    }
    let open = left.candidate("");
    open.write("policies/data/channels.json", r#"{"shop": ["jobs"]}"#);
    let groups = left.replay(&open, &["--json"]).json()["differences"].clone();
    let allowed = &groups[0];
    assert_eq!(
        (&allowed["change"], &allowed["rule"]),
        (&json!("newly_allowed"), &json!("channel")),
        "{groups}"
    );
    assert_eq!(allowed["witness"]["statement"], "LISTEN jobs");
    let filtered = left.candidate("");
    let filter = r#"{"shop": {"tenant": {"relation": "public.orders", "using": "id = ANY ($values)"}}}"#;
    filtered.write("policies/data/row_filters.json", filter);
    let groups = left.replay(&filtered, &["--json"]).json()["differences"].clone();
    assert_eq!(
        (&groups[0]["change"], groups.as_array().unwrap().len()),
        (&json!("row_filters"), 1),
        "{groups}"
    );
}

/// What no rule read was not looked up, so nobody can say what a rule that reads it would have decided.
#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_told_is_indeterminate_and_never_the_same() {
    let left = Left::behind().await;
    let busy = left.candidate(
        "deny contains {\"rule\": \"busy\", \"message\": \"\", \"hint\": \"\"} if input.budget.day.rows > 5",
    );
    let ran = left.replay(&busy, &[]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("`input.budget` was read by no rule at that time, and is now"), "{}", ran.out);
    assert_eq!(left.replay(&busy, &["--strict"]).code, Some(1));
    fs::remove_dir_all(left.home.path().join("state/revisions")).unwrap();
    let ran = left.replay(&left.candidate(""), &[]);
    assert!(ran.out.contains("were held against their record alone"), "{}{}", ran.out, ran.err);
    let ran = left.replay(&left.candidate("deny := 1"), &[]);
    assert_eq!(ran.code, Some(3), "{}", ran.out);
    let elsewhere = busy.run(&["replay", "--against", "policies", "--ledger", "nowhere"]);
    assert!(elsewhere.code == Some(3) && elsewhere.err.contains("there is no ledger"), "{}", elsewhere.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorded_decision_is_explained_rule_by_rule() {
    let left = Left::behind().await;
    let desk = Desk::open(&[]);
    let id = left.decision("DROP TABLE orders");
    let ran = desk.run(&["explain", &id, "--ledger", &left.ledger()]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    for said in [
        &format!("decision   {id}\n"),
        "statement  DROP TABLE orders\n",
        "recorded   deny [ddl]  statement/kinds.rego:",
        "again, by the rulebook:\ndeny\n  ddl: DROP TABLE changes definitions or rights",
        "statement.deny held\n",
        "did not hold\n",
    ] {
        assert!(ran.out.contains(said), "{said}\n{}", ran.out);
    }
    let json = desk.run(&["explain", &id[..12], "--ledger", &left.ledger(), "--json"]).json();
    assert_eq!((&json["recorded"]["verdict"], &json["again"]["verdict"]), (&json!("deny"), &json!("deny")));
    assert_eq!(json["again"]["input"]["identity"]["name"], "support-bot");
    assert_eq!(json["again"]["input"]["statement"]["kind"], "drop_table");
    let bound = left.decision("SELECT name FROM customers WHERE id = $1");
    assert_eq!(desk.run(&["explain", &bound, "--ledger", &left.ledger()]).code, Some(0));
    let nobody = desk.run(&["explain", "ffff", "--ledger", &left.ledger()]);
    assert!(nobody.code == Some(1) && nobody.err.contains("holds no decision `ffff`"), "{}", nobody.err);
    let nonsense = desk.run(&["explain", &left.decision("nonsense"), "--ledger", &left.ledger()]);
    assert_eq!(nonsense.code, Some(3));
    assert!(nonsense.out.contains("decided by the gateway itself"), "{}", nonsense.out);
    fs::remove_dir_all(left.home.path().join("state/revisions")).unwrap();
    let gone = desk.run(&["explain", &id, "--ledger", &left.ledger()]);
    assert!(gone.code == Some(3) && gone.out.contains("is not in the archive"), "{}", gone.out);
}

/// The example in `examples/ci`: a pull request passes until a statement that was allowed would be denied.
#[tokio::test(flavor = "multi_thread")]
async fn the_ci_example_fails_because_of_a_newly_denied_statement() {
    let left = Left::behind().await;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/ci/policy.sh");
    let run = |desk: &Desk| {
        let mut command = Command::new(&script);
        command.args(["policies", &left.ledger()]).current_dir(&desk.folder);
        command.env("PORTCULLIS", env!("CARGO_BIN_EXE_portcullis"));
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, out) = run(&left.candidate(""));
    assert_eq!(code, Some(0), "{out}");
    let desk = left.candidate(NO_CUSTOMERS);
    desk.write(
        "policies/statement/more_test.rego",
        "package portcullis.more_test\n\nimport data.portcullis.fixtures_test as fixtures\n\
         import data.portcullis.fixtures_test.agents\nimport data.portcullis.statement.deny\n\n\
         test_customers_are_closed if {\n\
         \tasked := fixtures.ask(\"support-bot\", {\"tables\": [fixtures.table(\"public\", \"customers\", \"read\", {})]})\n\
         \tfound := {reason.rule | some reason in deny} with input as asked with data.agents as agents\n\
         \t\"no_customers\" in found\n}\n",
    );
    let (code, out) = run(&desk);
    assert_eq!(code, Some(1), "{out}");
    assert!(out.contains("newly denied  no_customers"), "{out}");
    assert!(out.contains("coverage 100.0 %"), "its own tests pass: {out}");
}
