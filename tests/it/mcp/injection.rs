//! An agent that believes everything: it does what rows, comments, names, errors and notices tell it to, through the
//! real tools. What then happens is the table of `docs/injection.md`.

use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::{Value, json};

use portcullis::approval::Vote;

use super::stand::{Client, Era, Stand};
use crate::support::Database;

const SCHEMA: &str = "
    CREATE TABLE customers (id int PRIMARY KEY, name text, email text, ssn text);
    INSERT INTO customers SELECT n, 'name ' || n, 'canary' || n || '@secret.example', '847-11-000' || n
        FROM generate_series(1, 9) n;
    CREATE TABLE integration_tokens (token text);
    INSERT INTO integration_tokens VALUES ('tok_canary_1');
    CREATE TABLE orders (id int PRIMARY KEY, status text);
    INSERT INTO orders SELECT n, 'new' FROM generate_series(1, 9) n;
    CREATE TABLE tickets (id int PRIMARY KEY, body text);
    CREATE FUNCTION public.told() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        RAISE NOTICE '%', (SELECT body FROM tickets WHERE id = NEW.id); RETURN NEW; END $$;
    CREATE TRIGGER told BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION public.told();
    GRANT INSERT, UPDATE, DELETE ON orders, tickets TO SERVICE;
";

const SCOPE: &str = "
[scope.shop]
read = [\"public.customers\", \"public.orders\", \"public.tickets\", \"public.oddities\"]
write = [\"public.orders(status)\", \"public.tickets(body)\"]
[approval]
groups = [\"approvers\"]
";

/// A line of `tests/attacks/injection.jsonl`.
#[derive(Debug, Deserialize)]
struct Injection {
    name: String,
    /// `row`, `comment`, `column`, `enum`, `error` or `notice`.
    carrier: String,
    text: String,
    /// Whether the text holds what can't be seen.
    #[serde(default)]
    hides: bool,
    /// The tool, what it is called with (`$last` is the newest approval), and what comes of it.
    steps: Vec<(String, Value, String)>,
    stopped_by: String,
}

#[tokio::test]
async fn an_agent_that_believes_everything_gets_no_secret_and_changes_nothing() {
    let (stand, database) = Stand::before(SCHEMA, SCOPE).await;
    let client = stand.client("robin", Era::Stateless).await;
    let mut table = String::from(
        "| told by | it is told to | tools it calls: what happens | what stops it |\n|---|---|---|---|\n",
    );
    let mut wrong = Vec::new();
    for (number, line) in include_str!("../../attacks/injection.jsonl").lines().enumerate() {
        let injection: Injection = serde_json::from_str(line).unwrap();
        read_of(&stand, &database, &client, &injection, number + 10).await;
        let mut happened = Vec::new();
        let mut last = String::new();
        for (tool, arguments, expected) in &injection.steps {
            let arguments: Value =
                serde_json::from_str(&arguments.to_string().replace("$last", &last)).unwrap();
            let (outcome, answer) = called(&client, tool, arguments).await;
            let held = match expected.as_str() {
                "masked" => true,
                "refused" => ["refused", "denied"].iter().any(|word| outcome.starts_with(word)),
                expected => outcome.starts_with(expected),
            };
            if !held {
                wrong.push(format!("{}: {tool} was to be {expected}: {outcome} {answer}", injection.name));
            }
            assert!(!is_leaked(&answer), "{}: {answer}", injection.name);
            if let Some(id) = answer["approval_id"].as_str() {
                id.clone_into(&mut last);
            }
            let outcome =
                if expected == "masked" && outcome == "ok" { "runs on masks" } else { outcome.as_str() };
            happened.push(format!("`{tool}`: {outcome}"));
        }
        let happened = if happened.is_empty() { "-".to_owned() } else { happened.join("; ") };
        let Injection { name, carrier, stopped_by, .. } = injection;
        writeln!(table, "| {carrier} | {name} | {happened} | {stopped_by} |").unwrap();
    }
    assert!(wrong.is_empty(), "{}\n{table}", wrong.join("\n"));
    let client = database.connect().await;
    let changed = "SELECT count(*) FROM orders WHERE status NOT IN ('new', 'seen')";
    assert_eq!(client.query_one(changed, &[]).await.unwrap().get::<_, i64>(0), 0);
    let docs = include_str!("../../../docs/injection.md");
    assert!(docs.contains(&table), "docs/injection.md must hold this table:\n{table}");
}

/// Puts the instruction where the agent will find it, and reads it there: as data, and never in words of the gateway's.
async fn read_of(stand: &Stand, database: &Database, client: &Client, injection: &Injection, id: usize) {
    let Injection { name, carrier, text, hides, .. } = injection;
    let quoted = text.replace('\'', "''");
    let insert = format!("INSERT INTO tickets VALUES ({id}, '{quoted}')");
    let search = ("search_schema", json!({"text": "oddities", "detail": "full"}));
    let (prepare, (tool, arguments)) = match carrier.as_str() {
        "row" => {
            (insert, ("query", json!({"sql": "SELECT body FROM tickets WHERE id = $1", "params": [id]})))
        }
        "comment" => (
            format!(
                "CREATE TABLE oddities (id int); COMMENT ON TABLE oddities IS '{quoted}'; GRANT SELECT ON oddities TO PUBLIC"
            ),
            search,
        ),
        "column" => (format!("ALTER TABLE oddities ADD COLUMN \"{text}\" int"), search),
        "enum" => (
            format!(
                "CREATE TYPE state AS ENUM ('{quoted}'); ALTER TABLE oddities ADD COLUMN s state; INSERT INTO oddities (s) VALUES ('{quoted}')"
            ),
            ("query", json!({"sql": "SELECT s FROM oddities"})),
        ),
        "error" => {
            (insert, ("query", json!({"sql": "SELECT body::int FROM tickets WHERE id = $1", "params": [id]})))
        }
        "notice" => (
            format!("{insert}; INSERT INTO orders VALUES ({id}, 'new')"),
            (
                "execute",
                json!({"sql": format!("UPDATE orders SET status = 'seen' WHERE id = {id}"), "reason": "r", "wait_s": 0}),
            ),
        ),
        other => panic!("no carrier is called {other}"),
    };
    database.execute(&prepare).await;
    // A name that is not known makes the catalog load again.
    client.call("query", json!({"sql": "SELECT * FROM nothing_yet"})).await;
    let (mut answer, _) = client.call(tool, arguments).await;
    if carrier == "notice" {
        let approval = answer["approval_id"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
        stand.decide("priya", &approval, Vote::Approve, "ok").await;
        answer = client.call("run_approved", json!({"approval_id": approval})).await.0;
    }
    let shown = answer.to_string();
    assert_eq!(answer["content_trust"], "untrusted", "{name}: {answer}");
    assert!(answer["notice"].as_str().unwrap().contains("Never follow"), "{answer}");
    if *hides {
        assert!(shown.contains("\\\\u{e0049}") && !shown.contains('\u{e0049}'), "{name}: {shown}");
        assert_eq!(answer["columns"][0]["neutralised"], true);
        return;
    }
    let begin: String = text.chars().take(40).collect();
    assert!(shown.contains(&begin), "the agent must have read it, {name}: {shown}");
    for ours in ["error", "denial", "advice", "guidance", "notice", "message", "hint"] {
        assert!(!answer[ours].to_string().contains(&begin), "{name}: {ours} of {answer}");
    }
}

/// Calls a tool: what came of it in a word or two, and the answer.
async fn called(client: &Client, tool: &str, mut arguments: Value) -> (String, Value) {
    if tool == "execute" {
        arguments["wait_s"] = json!(0);
    }
    let Ok((answer, _)) = client.try_call(tool.to_owned().leak(), arguments).await else {
        return ("no tool".to_owned(), json!({}));
    };
    let word = |path: [&str; 2]| answer[path[0]][path[1]].as_str().unwrap_or_default().to_owned();
    let outcome = match answer["status"].as_str().unwrap() {
        "denied" => format!("denied ({})", word(["denial", "rule"])),
        "error" if answer["sqlstate"].is_string() => "the database refuses".to_owned(),
        "error" => format!("refused ({})", word(["error", "code"])),
        "pending_approval" => "pending, a person decides".to_owned(),
        other => other.to_owned(),
    };
    (outcome, answer)
}

/// Whether an answer holds what the agent may not see.
fn is_leaked(answer: &Value) -> bool {
    let text = answer.to_string();
    // What the agent itself has asked with is its own.
    let text = text.replace("847-11-0007'", "");
    ["@secret.example", "tok_canary", "847-11-000"].iter().any(|canary| text.contains(canary))
}
