//! Writes that several people have to agree to, by both doors, and ways around it.

use std::fs;
use std::path::Path;

use portcullis::approval::{Request, State, Vote};
use portcullis::audit::Event;
use serde_json::json;

use super::{announced, decide, pending};
use crate::support::gateway::Stand;
use crate::wire_real::Raw;
use crate::wire_sim::rig::query;

#[tokio::test(flavor = "multi_thread")]
async fn a_write_waits_for_two_people_and_tells_who_has_yet_to_agree() {
    let stand = with_rule(BIG_WRITE).await;
    let mut raw = Raw::session(&stand, "support-bot").await;
    raw.send(&query(UPDATE)).await;
    assert!(
        notice(&mut raw).await.contains("0 of 3: approvers open, dba open, approvers open; approvers, dba")
    );
    let request = pending(&stand).await;
    let first = decide(&stand, "dora", &request, Vote::Approve, "seen").await.unwrap();
    assert_eq!((first.state, first.progress.filled), (State::Pending, 1));
    assert!(
        notice(&mut raw).await.contains("1 of 3: approvers open, dba ✓ dora, approvers open; approvers may")
    );
    let twice = decide(&stand, "dora", &request, Vote::Approve, "again").await.unwrap_err();
    assert!(twice.contains("one person has one vote"), "{twice}");
    decide(&stand, "priya", &request, Vote::Approve, "ok").await.unwrap();
    let rest = raw.until_ready().await;
    assert!(rest.contains("C(UPDATE 1)"), "{rest}");
    let kept = stand.gateway.gate().desk().request(&request.id).unwrap();
    assert_eq!(kept.state, State::Spent);
    assert_eq!(kept.standing(), "3 of 3: approvers ✓ priya, dba ✓ dora, approvers ✓ priya");
    stand.gateway.gate().close_ledger().await.unwrap();
    let changes = changes(&stand);
    let told: Vec<(&str, &str)> =
        changes.iter().map(|(state, by, _)| (state.as_str(), by.as_str())).collect();
    assert_eq!(told, [("pending", ""), ("pending", "dora"), ("approved", "priya"), ("spent", "dora, priya")]);
    assert!(changes[1].2.starts_with("1 of 3: approvers open, dba ✓ dora"), "{changes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_owner_nor_agent_nor_a_second_member_of_a_filled_seat_counts() {
    let stand = with_rule(BIG_WRITE).await;
    let client = stand.wire("support-bot").await;
    let votes = async {
        let request = pending(&stand).await;
        decide(&stand, "priya", &request, Vote::Approve, "ok").await.unwrap();
        for name in ["ana", "support-bot", "priya"] {
            assert!(decide(&stand, name, &request, Vote::Approve, "me").await.is_err(), "{name} approved");
        }
        // A member of a seat that is filled still has a no.
        decide(&stand, "ana", &request, Vote::Deny, "not with my agent").await.unwrap();
        assert!(decide(&stand, "dora", &request, Vote::Approve, "late").await.is_err());
    };
    let (changed, ()) = tokio::join!(client.simple_query(UPDATE), votes);
    let message = changed.unwrap_err().as_db_error().unwrap().message().to_owned();
    assert!(message.contains("`ana` refused") && message.contains("not with my agent"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_yes_of_somebody_who_is_disabled_or_left_the_group_before_the_last_one_is_worth_nothing() {
    for (from, to, why) in [
        ("kind = \"human\"", "kind = \"human\"\ndisabled = true", "`dora` said yes, but is no longer active"),
        ("\"dba\", ", "", "`dora` said yes, but is no longer in dba"),
    ] {
        // Somebody else could fill the seat, so that it is the vote that is missing, not the voter.
        let stand = with_rule_and(BIG_WRITE, |home| {
            let carl = "name = \"carl\"\nkind = \"human\"\ngroups = [\"dba\"]\n";
            fs::write(home.join("agents/carl.toml"), carl).unwrap();
        })
        .await;
        let client = stand.wire("support-bot").await;
        let votes = async {
            let request = pending(&stand).await;
            decide(&stand, "dora", &request, Vote::Approve, "ok").await.unwrap();
            edit(&stand.home.path().join("agents/dora.toml"), from, to);
            announced(&stand, "replaced").await;
            decide(&stand, "priya", &request, Vote::Approve, "ok").await.unwrap();
            request
        };
        let (changed, request) = tokio::join!(client.simple_query(UPDATE), votes);
        let message = changed.unwrap_err().as_db_error().unwrap().message().to_owned();
        assert!(message.contains(why), "{message}");
        assert_eq!(state(&stand, &request), State::Withdrawn);
        assert_eq!(status(&stand, 7).await, "returned");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_that_ask_for_more_between_the_votes_are_not_satisfied_by_less() {
    let stand = with_rule("").await;
    let client = stand.wire("support-bot").await;
    let votes = async {
        let request = pending(&stand).await;
        assert_eq!(request.progress.needed, 1);
        fs::write(stand.home.path().join(EXTRA), BIG_WRITE).unwrap();
        announced(&stand, "replaced").await;
        decide(&stand, "priya", &request, Vote::Approve, "ok").await.unwrap();
        request
    };
    let (changed, request) = tokio::join!(client.simple_query(UPDATE), votes);
    let message = changed.unwrap_err().as_db_error().unwrap().message().to_owned();
    assert!(message.contains("now asks for an approval by approvers, dba"), "{message}");
    assert_eq!(state(&stand, &request), State::Withdrawn);
    assert_eq!(status(&stand, 7).await, "returned");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_reads_who_has_agreed_and_runs_it_once() {
    let stand = with_rule(BIG_WRITE).await;
    let agent = stand.mcp("support-bot").await;
    let write = json!({"sql": UPDATE, "reason": "ticket 4", "wait_s": 0});
    let held = agent.call("execute", write.clone()).await;
    assert_eq!(held["status"], "pending_approval", "{held}");
    assert_eq!(held["progress"], "0 of 3: approvers open, dba open, approvers open");
    let request = pending(&stand).await;
    decide(&stand, "dora", &request, Vote::Approve, "").await.unwrap();
    let asked = json!({"approval_id": request.id});
    let standing = agent.call("approval_status", asked.clone()).await;
    assert_eq!(standing["seats"][1]["by"], "dora", "{standing}");
    assert!(standing["guidance"].as_str().unwrap().contains("Others have yet to approve"), "{standing}");
    let early = agent.call("run_approved", asked.clone()).await;
    assert_eq!(early["status"], "pending_approval", "{early}");
    decide(&stand, "priya", &request, Vote::Approve, "").await.unwrap();
    assert_eq!(agent.call("run_approved", asked.clone()).await["rows_affected"], 1);
    assert_eq!(agent.call("run_approved", asked).await["repeated"], true);
    let again = agent.call("execute", write).await;
    assert_eq!(again["status"], "pending_approval", "what is spent is spent: {again}");
    assert_ne!(again["approval_id"], held["approval_id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_of_the_text_holds_for_other_values_once_and_nowhere_else() {
    let stand = Stand::start_with(|home, settings| {
        let writes = home.join("policies/statement/writes.rego");
        edit(&writes, "\"exclude_owner\":", "\"bind_to\": \"text\",\n\t\"exclude_owner\":");
        let bot = home.join("agents/support-bot.toml");
        edit(
            &bot,
            "[limits]",
            "[scope.copy]\nread = [\"public.orders\"]\nwrite = [\"public.orders(status)\"]\n\n[limits]",
        );
        let mut copy = settings.databases[0].clone();
        copy.name = "copy".to_owned();
        settings.databases.push(copy);
    })
    .await;
    stand
        .cluster
        .execute_sql("shop", "UPDATE orders SET status = 'returned' WHERE id IN (7, 8)")
        .await
        .unwrap();
    let agent = stand.mcp("support-bot").await;
    let write = |database: &str, id: u32| {
        let sql = "UPDATE orders SET status = $1 WHERE id = $2";
        json!({"sql": sql, "params": ["shipped", id], "database": database, "reason": "r", "wait_s": 0})
    };
    assert_eq!(agent.call("execute", write("shop", 7)).await["status"], "pending_approval");
    let request = pending(&stand).await;
    assert!(request.holds_for_any_values());
    decide(&stand, "priya", &request, Vote::Approve, "any order").await.unwrap();
    let elsewhere = agent.call("execute", write("copy", 8)).await;
    assert_eq!(elsewhere["status"], "pending_approval", "another database: {elsewhere}");
    let reworded = json!({"sql": "UPDATE orders SET status = $1 WHERE id = $2 ", "params": ["shipped", 8],
        "database": "shop", "reason": "r", "wait_s": 0});
    let reworded = agent.call("execute", reworded).await;
    assert_eq!(reworded["status"], "pending_approval", "another text: {reworded}");
    let other = agent.call("execute", write("shop", 8)).await;
    assert_eq!(other["rows_affected"], 1, "{other}");
    assert_eq!((status(&stand, 7).await.as_str(), status(&stand, 8).await.as_str()), ("returned", "shipped"));
    let third = agent.call("execute", write("shop", 9)).await;
    assert_eq!(third["status"], "pending_approval", "a second use: {third}");
    let kept = agent.call("run_approved", json!({"approval_id": request.id})).await;
    assert_eq!(kept["repeated"], true, "{kept}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_rulebook_misses_holds_a_write_whose_seats_are_filled() {
    let stand = with_rule_and(BIG_WRITE, |home| {
        fs::write(home.join("policies/extra_approval.rego"), QUORUM_OF_THREE).unwrap();
        edit(&home.join("agents/support-bot.toml"), "owner = \"ana\"", "owner = \"dora\"");
        edit(&home.join("agents/ana.toml"), "\"analysts\"", "\"analysts\", \"dba\"");
    })
    .await;
    let client = stand.wire("support-bot").await;
    let votes = async {
        let request = pending(&stand).await;
        let full = decide(&stand, "ana", &request, Vote::Approve, "").await.unwrap();
        assert_eq!((full.state, full.progress.filled), (State::Pending, 2));
        let full = decide(&stand, "priya", &request, Vote::Approve, "").await.unwrap();
        assert_eq!(full.state, State::Pending);
        let standing = full.standing();
        assert!(standing.contains("still missing: three people must agree"), "{standing}");
        assert!(!standing.contains("canary") && standing.contains("finds it in the ledger"), "{standing}");
        announced(&stand, "canary").await;
        decide(&stand, "dora", &request, Vote::Deny, "no third").await.unwrap();
    };
    let (changed, ()) = tokio::join!(client.simple_query(UPDATE), votes);
    assert!(changed.is_err());
    assert_eq!(status(&stand, 7).await, "returned");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seat_that_nobody_can_fill_is_denied_at_once() {
    let rule = BIG_WRITE.replace("[\"dba\"]", "[\"security\"]");
    let stand = with_rule(&rule).await;
    let client = stand.wire("support-bot").await;
    let error = client.simple_query(UPDATE).await.unwrap_err();
    let message = error.as_db_error().unwrap().message();
    assert!(message.contains("`big_write` needs an approval by security"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_lists_shows_and_casts_votes() {
    let stand = with_rule(BIG_WRITE).await;
    let agent = stand.mcp("support-bot").await;
    agent.call("execute", json!({"sql": UPDATE, "reason": "ticket 4", "wait_s": 0})).await;
    let id = pending(&stand).await.id.to_string();
    let said = approvals(&stand, "dora", &["approve", &id, "--note", "seen"]).await;
    assert_eq!(said, format!("{id} is pending: 1 of 3: approvers open, dba ✓ dora, approvers open\n"));
    let listed = approvals(&stand, "priya", &["list"]).await;
    assert!(listed.contains("pending 1 of 3"), "{listed}");
    let shown = approvals(&stand, "priya", &["show", &id]).await;
    assert!(shown.contains("dba: ✓ dora (rule big_write)"), "{shown}");
    assert!(shown.contains("approvers: open (rule write_needs_approval)"), "{shown}");
    let said = approvals(&stand, "priya", &["approve", &id]).await;
    assert!(said.starts_with(&format!("{id} is approved: 3 of 3: ")), "{said}");
}

/// What `portcullis approvals` prints for `name`.
async fn approvals(stand: &Stand, name: &str, arguments: &[&str]) -> String {
    let token = stand.home.path().join("token");
    fs::write(&token, &stand.secrets[name]).unwrap();
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_portcullis"));
    let url = format!("http://{}", stand.gateway.addresses().console);
    command.args(["approvals", "--url", &url, "--token-file"]).arg(token).args(arguments);
    let ran = command.output().await.unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).unwrap()
}

/// A gateway whose rulebook has `rule` besides; order 7 is `returned`.
async fn with_rule(rule: &str) -> Stand {
    with_rule_and(rule, |_| {}).await
}

async fn with_rule_and(rule: &str, change: impl FnOnce(&Path)) -> Stand {
    let stand = Stand::start_with(|home, _| {
        if !rule.is_empty() {
            fs::write(home.join(EXTRA), rule).unwrap();
        }
        change(home);
    })
    .await;
    stand.cluster.execute_sql("shop", "UPDATE orders SET status = 'returned' WHERE id = 7").await.unwrap();
    stand
}

/// The hint of the next notice.
async fn notice(raw: &mut Raw) -> String {
    loop {
        let frame = raw.frame().await.unwrap();
        if frame.tag == b'N' {
            let hint = frame.body.split(|&byte| byte == 0).find(|field| field.first() == Some(&b'H'));
            return String::from_utf8_lossy(hint.unwrap()).into_owned();
        }
        assert_ne!(frame.tag, b'Z', "there was no notice");
    }
}

/// What the ledger says of requests: state, by whom, progress.
fn changes(stand: &Stand) -> Vec<(String, String, String)> {
    let change = |event: Event| match event {
        Event::ApprovalChanged { state, by, progress, .. } => Some((state, by, progress)),
        _ => None,
    };
    stand.ledger().into_iter().filter_map(|entry| change(entry.record.event)).collect()
}

fn state(stand: &Stand, request: &Request) -> State {
    stand.gateway.gate().desk().request(&request.id).unwrap().state
}

async fn status(stand: &Stand, order: i32) -> String {
    let client = stand.cluster.connect("shop").await.unwrap();
    client.query_one("SELECT status FROM orders WHERE id = $1", &[&order]).await.unwrap().get(0)
}

fn edit(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{} has no {from}", path.display());
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

const UPDATE: &str = "UPDATE orders SET status = 'shipped' WHERE id = 7";
const EXTRA: &str = "policies/statement/extra.rego";

const BIG_WRITE: &str = r#"package portcullis.statement

escalate contains {
	"rule": "big_write",
	"message": "a database administrator and an approver must agree",
	"hint": "",
	"seats": [{"groups": ["dba"]}, {"groups": ["approvers"]}],
	"ttl_s": 600,
} if {
	input.statement.kind == "update"
}
"#;

const QUORUM_OF_THREE: &str = r#"package portcullis.approval

missing contains {"rule": "three", "message": "three people must agree", "hint": ""} if {
	count(input.votes) < 3
}

missing contains {"rule": "unsaid", "message": "canary", "hint": "canary", "public": false} if {
	count(input.votes) < 3
}
"#;
