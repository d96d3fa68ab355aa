//! Whom a token makes, and where that is seen: by policy, by approvers, in the ledger and at the database.

use serde_json::{Value, json};

use portcullis::audit::Event;

use super::issuer::{Issuer, Key};
use super::{add, calls, gateway_with, initialize, post};
use crate::support::gateway::Stand;

/// `support-bot` is a client of `corp`, analysts come by a group, and the task is in `ticket`.
async fn stand(corp: &Issuer) -> Stand {
    gateway_with(&[("corp", corp)], |home, settings| {
        add(home, "support-bot", "oidc = { issuer = \"corp\", client = \"support-app\" }\n");
        let analyst = "name = \"analyst\"\nkind = \"human\"\n[scope.shop]\nread = [\"public.*\"]\n\
                       [auth]\noidc = { issuer = \"corp\", group = \"analysts\" }\n";
        std::fs::write(home.join("agents/analyst.toml"), analyst).unwrap();
        let corp = &mut settings.mcp_door.issuers[0];
        corp.groups = [("Data Analysts", "analysts"), ("DBA", "dba"), ("PII", "pii_readers")]
            .map(|(theirs, ours)| (theirs.to_owned(), ours.to_owned()))
            .into();
        corp.task_claim = Some("ticket".to_owned());
        corp.claims = ["department".to_owned()].into();
    })
    .await
}

async fn application_name(agent: &crate::support::gateway::Agent) -> String {
    let sql = "SELECT current_setting('application_name')";
    let answer = agent.call("query", json!({ "sql": sql })).await;
    answer["rows"][0][0].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_an_agent_and_a_task_are_known_at_both_ends() {
    let key = Key::es256("k1");
    let corp = Issuer::start(&[&key]).await;
    let stand = stand(&corp).await;
    let by_act =
        json!({"act": {"sub": "support-app"}, "ticket": "T-42\n", "department": "care", "groups": ["PII"]});
    let agent = stand.mcp_by(&corp.token(&key, "u-ana", by_act)).await;
    assert!(application_name(&agent).await.starts_with("portcullis:support-bot/ana:T-42:"));
    let me = agent.call("my_access", json!({})).await;
    assert_eq!(me["identity"]["name"], "support-bot/ana", "{me}");
    assert_eq!((&me["identity"]["owner"], &me["identity"]["groups"]), (&json!("ana"), &json!(["support"])));
    let ssn = agent.call("query", json!({"sql": "SELECT ssn FROM customers LIMIT 1"})).await;
    assert_eq!(ssn["columns"][0]["masked"], true, "the person's group shows the agent nothing: {ssn}");
    let beyond = agent.call("query", json!({"sql": "SELECT name FROM employees"})).await;
    assert_eq!(beyond["status"], "denied", "what ana may read, and her agent may not: {beyond}");

    let ledger = stand.ledger();
    let ran = |entry: &&portcullis::audit::Entry| entry.record.identity == "support-bot/ana";
    let first = ledger.iter().find(ran).unwrap();
    assert_eq!(first.record.owner, "ana");
    let documents = ledger.iter().filter_map(|entry| match &entry.record.event {
        Event::Document { document, .. } => Some(document),
        _ => None,
    });
    let mut sessions = documents.filter(|document| document["identity"]["name"] == "support-bot/ana");
    let identity = &sessions.next().unwrap()["identity"];
    assert_eq!(identity["delegation"], json!(["ana"]));
    assert_eq!(
        identity["claims"],
        json!({
            "client": ["some-app"], "department": ["care"], "issuer": ["corp"], "subject": ["u-ana"],
            "task": ["T-42"],
        })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn members_of_a_group_are_told_apart_and_get_only_what_is_mapped() {
    let key = Key::es256("k1");
    let corp = Issuer::start(&[&key]).await;
    let stand = stand(&corp).await;
    let token = |subject: &str, groups: Value| corp.token(&key, subject, json!({ "groups": groups }));
    let lee = stand.mcp_by(&token("lee@corp", json!(["Data Analysts", "pii_readers", "analysts"]))).await;
    assert!(application_name(&lee).await.starts_with("portcullis:corp:lee@corp:"));
    let me = lee.call("my_access", json!({})).await;
    assert_eq!(me["identity"]["groups"], json!(["analysts"]), "groups by our own names confer nothing");
    let sql = json!({"sql": "SELECT ssn FROM customers LIMIT 1"});
    assert_eq!(lee.call("query", sql.clone()).await["columns"][0]["masked"], true);
    let kim = stand.mcp_by(&token("kim@corp", json!(["Data Analysts", "PII"]))).await;
    assert_eq!(kim.call("query", sql.clone()).await["columns"][0]["masked"], false);
    assert_eq!(
        lee.call("query", sql).await["columns"][0]["masked"],
        true,
        "one's groups are not the other's"
    );
    let none = post(&stand, &token("max@corp", json!(["analysts"])), &initialize()).await;
    assert_eq!(none.status(), 403);
    assert!(none.text().await.unwrap().contains("no identity's file is for `corp:max@corp`"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_of_no_use_to_another_person_by_the_same_file() {
    let key = Key::es256("k1");
    let corp = Issuer::start(&[&key]).await;
    let stand = stand(&corp).await;
    let token = |subject: &str, more: Value| corp.token(&key, subject, more);
    let group = json!({"groups": ["Data Analysts"]});
    let lee = token("lee", group.clone());
    let opened = post(&stand, &lee, &initialize()).await;
    let session = opened.headers()["mcp-session-id"].to_str().unwrap().to_owned();
    let url = format!("http://{}/mcp", stand.gateway.addresses().mcp);
    let ask = async |token: &str| {
        let request = reqwest::Client::new().post(&url).bearer_auth(token).header("mcp-session-id", &session);
        let request = request.header("content-type", "application/json");
        let request = request.header("accept", "application/json, text/event-stream");
        request.body(calls("my_access").to_string()).send().await.unwrap().status().as_u16()
    };
    assert_eq!(ask(&token("kim", group.clone())).await, 404);
    assert_eq!(ask(&stand.secrets["ana"]).await, 404);
    let as_agent = json!({"groups": ["Data Analysts"], "act": {"sub": "support-app"}});
    assert_eq!(ask(&token("lee", as_agent)).await, 404, "an agent's session is not its person's");
    let later = json!({"groups": ["Data Analysts"], "jti": "another token"});
    assert_eq!(ask(&token("lee", later)).await, 200, "a new token of the same person is the same person's");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_lets_an_agent_ask_can_t_approve_it_nor_see_what_it_asks_for_others() {
    let key = Key::es256("k1");
    let corp = Issuer::start(&[&key]).await;
    let stand = stand(&corp).await;
    let act = json!({"act": {"sub": "support-app"}, "groups": ["Data Analysts"]});
    let for_ana = stand.mcp_by(&corp.token(&key, "u-ana", act.clone())).await;
    let write =
        json!({"sql": "UPDATE orders SET status = 'shipped' WHERE id = 7", "reason": "T-1", "wait_s": 0});
    let asked = for_ana.call("execute", write).await;
    assert_eq!(asked["status"], "pending_approval", "{asked}");
    let id = asked["approval_id"].as_str().unwrap();
    // The same agent, for somebody else: no such request.
    let for_lee = stand.mcp_by(&corp.token(&key, "lee", act)).await;
    let status = json!({ "approval_id": id, "wait_s": 0 });
    assert_ne!(for_lee.call("approval_status", status.clone()).await["status"], "ok");
    assert_ne!(for_lee.call("run_approved", json!({ "approval_id": id })).await["status"], "ok");
    let decide = async |who: &str| {
        let url = format!("http://{}/api/v1/approvals/{id}/approve", stand.gateway.addresses().console);
        let request = reqwest::Client::new().post(url).bearer_auth(&stand.secrets[who]);
        let answer = request.json(&json!({ "note": "fine" })).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let (status, said) = decide("ana").await;
    assert_eq!(status, 403, "{said}");
    assert!(said.contains("you own `support-bot/ana`"), "{said}");
    let (status, said) = decide("priya").await;
    assert_eq!(status, 200, "{said}");
    let ran = for_ana.call("run_approved", json!({ "approval_id": id })).await;
    assert_eq!((&ran["status"], &ran["rows_affected"]), (&json!("ok"), &json!(1)), "{ran}");
}
