//! What `check_sql` says is what happens: over everybody's tricks, and over what real clients send.

use serde_json::{Value, json};

use portcullis::cli::demo::shop;

use crate::support::gateway::{Agent, Stand};

#[tokio::test(flavor = "multi_thread")]
async fn the_verdict_is_what_query_and_execute_then_do() {
    let stand = Stand::start().await;
    let mut wrong = Vec::new();
    let mut counted = [0_u32; 3];
    for who in ["support-bot", "ana"] {
        let agent = stand.mcp(who).await;
        for (sql, params) in corpus() {
            let check =
                agent.call("check_sql", json!({"sql": sql, "params": params, "database": shop::NAME})).await;
            let tool = if check["tool"] == "query" { "query" } else { "execute" };
            let done = done(&agent, tool, &sql, &params).await;
            let verdict = check["verdict"].as_str().unwrap_or("none");
            let (at, fits) = match verdict {
                "allow" => {
                    (0, ["ok", "error"].contains(&done["status"].as_str().unwrap()) && !is_refused(&done))
                }
                "needs_approval" => (1, done["status"] == "pending_approval"),
                "deny" => {
                    (2, is_refused(&done) && is_refused(&self::done(&agent, "query", &sql, &params).await))
                }
                // A text that is no call at all, for both.
                _ => (2, done["error"]["code"] == check["error"]["code"]),
            };
            counted[at] += 1;
            if !fits {
                wrong.push(format!("{who}: {sql}\n  check {check}\n  {tool} {done}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {counted:?}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(counted.iter().all(|count| *count > 5), "all verdicts are there: {counted:?}");
}

/// Whether nothing ran, because somebody said no.
fn is_refused(answer: &Value) -> bool {
    let ran = ["database_error", "limit", "time_limit", "hidden_plan"];
    match answer["status"].as_str() {
        Some("denied") => true,
        Some("error") => !ran.contains(&answer["error"]["code"].as_str().unwrap_or_default()),
        _ => false,
    }
}

async fn done(agent: &Agent, tool: &'static str, sql: &str, params: &Value) -> Value {
    let mut arguments = json!({"sql": sql, "params": params, "database": shop::NAME});
    if tool == "execute" {
        arguments["reason"] = json!("asked by check_sql");
        arguments["wait_s"] = json!(0);
    }
    agent.call(tool, arguments).await
}

/// Every so many of them: each that names what is not there makes the catalog load again.
fn corpus() -> Vec<(String, Value)> {
    let reads = lines(include_str!("../../attacks/reads.sql")).step_by(9);
    let writes = lines(include_str!("../../attacks/writes.sql"));
    let mut all: Vec<(String, Value)> =
        reads.chain(writes).map(|line| (line.to_owned(), json!([]))).collect();
    for line in include_str!("../../benign/captured.jsonl").lines().step_by(6) {
        let line: Value = serde_json::from_str(line).unwrap();
        all.push((line["sql"].as_str().unwrap().to_owned(), line["parameters"].clone()));
    }
    all
}

fn lines(text: &'static str) -> impl Iterator<Item = &'static str> {
    text.lines().filter(|line| !line.is_empty() && !line.starts_with("--") && !line.contains("pg_sleep"))
}
