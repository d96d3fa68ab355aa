//! Steps by real clients, through a gateway with the recipe in its rulebook.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use portcullis::approval::Vote;
use portcullis::audit::Event;
use portcullis::cli::demo::cluster::Cluster;
use portcullis::cli::demo::shop;
use portcullis::identity::token::Credentials;
use portcullis::upstream::Upstream;
use serde_json::{Map, Value, json};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use super::judged::Bench;
use super::recipe::Recipe;
use super::script::{Entrance, Script, Step};
use super::transcript::Transcript;
use crate::doors::{decide, pending};
use crate::support::gateway::{Agent, Stand, copy_folder};

/// Does what the recipe's script says; the transcript, and the cluster for the next one.
pub(super) async fn play(recipe: &Recipe, cluster: Cluster) -> (String, Cluster) {
    let script = &recipe.script;
    cluster.execute_sql(shop::NAME, &script.setup).await.unwrap();
    let mut secrets = BTreeMap::new();
    let mut stand = Stand::start_on(cluster, |home, _| {
        copy_folder(&recipe.folder, &home.join("policies").join(&recipe.name));
        set_data(script, home);
        for (name, text) in &script.agents {
            let credentials = Credentials::generate();
            let (scram, token) = (&credentials.scram, &credentials.token_sha256);
            let auth = format!("\n[auth]\nscram = \"{scram}\"\ntoken_sha256 = \"{token}\"\n");
            fs::write(home.join("agents").join(format!("{name}.toml")), format!("{text}{auth}")).unwrap();
            secrets.insert(name.clone(), credentials.secret.reveal().to_owned());
        }
    })
    .await;
    stand.secrets.append(&mut secrets);
    if script.row_filters {
        apply_row_filters(&stand).await;
    }
    let transcript = Play::of(&stand).await.all(&script.step).await;
    let Stand { gateway, cluster, .. } = stand;
    gateway.stop().await;
    cluster.execute_sql(shop::NAME, &script.undo).await.unwrap();
    (transcript, cluster)
}

/// What the script says otherwise than the data files of the rulebook and the recipe.
fn set_data(script: &Script, home: &Path) {
    for (name, fields) in &script.data {
        let own = home.join("policies").join(name).join("data.json");
        let path = if own.exists() { own } else { home.join("policies/data").join(format!("{name}.json")) };
        let mut document: Map<String, Value> =
            serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        document.extend(fields.clone());
        fs::write(&path, Value::Object(document).to_string()).unwrap();
    }
}

async fn apply_row_filters(stand: &Stand) {
    let upstream = Upstream::new(stand.settings.databases.clone());
    let rules = portcullis::serve::load_rules(&stand.settings).unwrap();
    let filters = rules.policy.row_filters(shop::NAME).unwrap();
    let plan = upstream.plan_rows(shop::NAME, &filters).await.unwrap();
    stand.cluster.execute_sql(shop::NAME, &plan.script()).await.unwrap();
}

/// A script on its way.
struct Play<'a> {
    stand: &'a Stand,
    bench: Bench,
    transcript: Transcript,
    /// Sessions that stay open: by who, for what, by which application.
    sessions: BTreeMap<[String; 3], Client>,
    agents: BTreeMap<String, Agent>,
    heard: Vec<String>,
}

impl<'a> Play<'a> {
    async fn of(stand: &'a Stand) -> Self {
        Self {
            stand,
            bench: Bench::of(stand).await,
            transcript: Transcript::default(),
            sessions: BTreeMap::new(),
            agents: BTreeMap::new(),
            heard: Vec::new(),
        }
    }

    async fn all(mut self, steps: &[Step]) -> String {
        for step in steps {
            if step.at.is_some() {
                let heard = self.bench.judge(step, &mut self.transcript);
                self.heard.extend(heard);
                continue;
            }
            self.transcript.prompt(step);
            for turn in 1..=step.times {
                let said = match step.door {
                    Entrance::Wire => self.wire(step).await,
                    Entrance::Tools => self.tool(step).await,
                };
                if turn == step.times {
                    self.transcript.line(&said);
                }
            }
        }
        drop((self.sessions, self.agents));
        self.stand.gateway.gate().close_ledger().await.unwrap();
        self.heard.extend(recorded(self.stand));
        self.transcript.aside(&self.heard);
        self.transcript.text()
    }

    async fn wire(&mut self, step: &Step) -> String {
        let mut said = Transcript::default();
        let key = [step.who.clone(), step.purpose.clone(), step.application.clone()];
        if !self.sessions.contains_key(&key) {
            match connect(self.stand, step).await {
                Ok(client) => drop(self.sessions.insert(key.clone(), client)),
                Err(error) => {
                    failed(&error, &mut said);
                    return said.text();
                }
            }
        }
        let mut closed = false;
        let mut outcome = Box::pin(run(&self.sessions[&key], step));
        let answer = match step.votes.as_slice() {
            [] => outcome.as_mut().await,
            votes => tokio::select! {
                biased;
                answer = &mut outcome => answer,
                request = pending(self.stand) => {
                    said.line(&format!("NOTICE:  waits: {}", request.standing()));
                    for vote in votes {
                        said.line(&voted(self.stand, &request, vote).await);
                    }
                    match tokio::time::timeout(PATIENCE, &mut outcome).await {
                        Ok(answer) => answer,
                        Err(_) => panic!("it still waits after these votes:\n{}", said.text()),
                    }
                }
            },
        };
        drop(outcome);
        match answer {
            Ok(shown) => said.line(&shown),
            // Whether a client still reads the last words of a session depends on when it looks.
            Err(error) if error.is_closed() || is_fatal(&error) => closed = true,
            Err(error) => failed(&error, &mut said),
        }
        if closed {
            said.line("server closed the connection");
            drop(self.sessions.remove(&key));
        }
        said.text()
    }

    async fn tool(&mut self, step: &Step) -> String {
        if !self.agents.contains_key(&step.who) {
            self.agents.insert(step.who.clone(), self.stand.mcp(&step.who).await);
        }
        let mut arguments = step.arguments.clone();
        arguments.insert("sql".to_owned(), json!(step.sql));
        let tool = if step.tool == "execute" { "execute" } else { "query" };
        let answer = self.agents[&step.who].call(tool, Value::Object(arguments)).await;
        answered(&answer, step.quiet)
    }
}

async fn connect(stand: &Stand, step: &Step) -> Result<Client, tokio_postgres::Error> {
    let mut config = stand.wire_config(&step.who);
    if !step.purpose.is_empty() {
        config.options(format!("-c portcullis.purpose={}", step.purpose));
    }
    if !step.application.is_empty() {
        config.application_name(&step.application);
    }
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// Runs a step's statement, and shows what comes.
async fn run(client: &Client, step: &Step) -> Result<String, tokio_postgres::Error> {
    let mut shown = Transcript::default();
    if step.copy {
        let body = axum::body::Body::from_stream(client.copy_out(&step.sql).await?);
        let bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        shown.line(&String::from_utf8_lossy(&bytes));
        return Ok(shown.text());
    }
    if !step.values.is_empty() {
        let values: Vec<(&(dyn tokio_postgres::types::ToSql + Sync), Type)> =
            step.values.iter().map(|value| (value as _, Type::INT4)).collect();
        client.query_typed(&step.sql, &values).await?;
        shown.line("-- done");
        return Ok(shown.text());
    }
    let mut columns: Vec<String> = Vec::new();
    let mut rows = Vec::new();
    for message in client.simple_query(&step.sql).await? {
        match message {
            SimpleQueryMessage::RowDescription(described) => {
                columns = described.iter().map(|column| column.name().to_owned()).collect();
            }
            SimpleQueryMessage::Row(row) => {
                let cells = (0..row.len()).map(|at| row.get(at).unwrap_or_default().to_owned());
                rows.push(cells.collect::<Vec<_>>());
            }
            SimpleQueryMessage::CommandComplete(count) if columns.is_empty() => {
                let rows = if count == 1 { "row" } else { "rows" };
                shown.line(&format!("-- done, {count} {rows}"));
            }
            SimpleQueryMessage::CommandComplete(_) => {
                shown.table(&columns, &rows, step.quiet);
                (columns, rows) = (Vec::new(), Vec::new());
            }
            _ => {}
        }
    }
    Ok(shown.text())
}

async fn voted(stand: &Stand, request: &portcullis::approval::Request, vote: &str) -> String {
    let (who, said, word, note) = match vote.strip_prefix("no ") {
        Some(who) => (who, Vote::Deny, "refuses", "not like this"),
        None => (vote, Vote::Approve, "approves", ""),
    };
    match decide(stand, who, request, said, note).await {
        Ok(after) => format!("-- {who} {word}: {}", after.standing()),
        Err(why) => format!("-- {who} has no vote: {why}"),
    }
}

fn is_fatal(error: &tokio_postgres::Error) -> bool {
    error.as_db_error().is_some_and(|error| error.severity() == "FATAL")
}

fn failed(error: &tokio_postgres::Error, said: &mut Transcript) {
    let Some(error) = error.as_db_error() else {
        said.line(&format!("ERROR:  {error}"));
        return;
    };
    let detail = error.detail().unwrap_or_default();
    let rule = detail.strip_prefix("rule ").unwrap_or(detail);
    let rule = rule.split(", decision").next().unwrap_or_default();
    said.refusal(error.severity(), error.message(), rule, error.hint().unwrap_or_default());
}

/// A tool's answer.
fn answered(answer: &Value, quiet: bool) -> String {
    let mut said = Transcript::default();
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    let refused = [("denial", "DENIED"), ("error", "ERROR")];
    if let Some((no, word)) = refused.iter().find_map(|(name, word)| Some((answer.get(*name)?, *word))) {
        said.refusal(word, &text(&no["message"]), &text(&no["rule"]), &text(&no["hint"]));
    } else if answer["status"] == "pending_approval" {
        said.refusal("PENDING", &text(&answer["message"]), &text(&answer["rule"]), &text(&answer["hint"]));
    } else if let (Some(columns), Some(rows)) = (answer["columns"].as_array(), answer["rows"].as_array()) {
        let columns: Vec<String> = columns.iter().map(|column| text(&column["name"])).collect();
        let cells = |row: &Value| row.as_array().unwrap().iter().map(text).collect::<Vec<_>>();
        let rows: Vec<Vec<String>> = rows.iter().map(cells).collect();
        said.table(&columns, &rows, quiet);
    } else {
        said.line(&format!("{}: {}", text(&answer["status"]), text(&answer["message"])));
    }
    said.text()
}

/// Alerts, labels and refused logins on record, each once.
fn recorded(stand: &Stand) -> Vec<String> {
    let mut lines = Vec::new();
    for entry in stand.ledger() {
        let line = match &entry.record.event {
            Event::Alert { rule, message, .. } => format!("alert {rule}: {message}"),
            Event::Refused { claimed_identity, reason } => format!("refused {claimed_identity}: {reason}"),
            Event::Decided(statement) if !statement.labels.is_empty() => {
                format!("{} has read: {}", entry.record.identity, statement.labels.join(", "))
            }
            _ => continue,
        };
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines.sort();
    lines
}

/// How long a statement may take on which everybody has voted: far more than any does.
const PATIENCE: Duration = Duration::from_secs(20);
