//! `portcullis approvals`: what waits for a person, and what the person says to it.

use std::collections::BTreeMap;

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use serde::Deserialize as _;
use serde_json::{Value, json};

use crate::approval::{ApprovalId, ToolCall};
use crate::policy::{BindTo, Progress, Requirement};

use super::console::{Console, ConsoleArguments};
use super::exit::Exit;
use super::output::{Output, Table, cut, one_line, visible};
use super::stop::Stop;

/// Lists, shows, approves and denies statements that wait for a person
///
/// Everything goes through the console of a running gateway, with your own token: it decides what you may see and
/// decide on. Who asked for something can't approve it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  export PORTCULLIS_TOKEN=$(cat my-token)
  portcullis approvals watch
  portcullis approvals show 0f3c...
  portcullis approvals approve 0f3c... --note 'checked with finance, ticket 812'
  portcullis approvals list --state denied --json")]
pub(super) struct Approvals {
    #[command(flatten)]
    console: ConsoleArguments,

    /// Answers in JSON
    #[arg(long, global = true)]
    json: bool,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists requests, newest first
    List {
        /// Only those in this state
        #[arg(long, value_enum, default_value_t = StateArgument::Pending)]
        state: StateArgument,
    },
    /// Shows one request with its exact statement
    Show {
        /// Its id
        #[arg(value_parser = approval_id)]
        id: ApprovalId,
    },
    /// Says yes: the statement runs, if it is still what was asked for
    Approve {
        /// Its id
        #[arg(value_parser = approval_id)]
        id: ApprovalId,
        /// Why; it goes into the ledger
        #[arg(long, default_value = "")]
        note: String,
    },
    /// Says no: the requester is told, with your reason
    Deny {
        /// Its id
        #[arg(value_parser = approval_id)]
        id: ApprovalId,
        /// Why; the requester reads it, and it goes into the ledger
        #[arg(long)]
        note: String,
    },
    /// Prints requests as they come and as they are decided, until Ctrl-C
    Watch,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum StateArgument {
    /// Whatever its state
    Any,
    Pending,
    Approved,
    Denied,
    Expired,
    Withdrawn,
    Spent,
}

impl Approvals {
    pub(super) async fn run(self, output: &mut Output) -> anyhow::Result<Exit> {
        let console = self.console.console()?;
        let json = self.json;
        match self.command {
            Command::List { state } => list(&console, state, json, output).await,
            Command::Show { id } => {
                let request = console.get(&format!("approvals/{id}")).await?;
                show(&request, json, output)
            }
            Command::Approve { id, note } => vote(&console, &id, "approve", &note, json, output).await,
            Command::Deny { id, note } => vote(&console, &id, "deny", &note, json, output).await,
            Command::Watch => watch(&console, json, output).await,
        }
    }
}

impl StateArgument {
    fn query(self) -> String {
        match self.to_possible_value() {
            Some(state) if self != Self::Any => format!("approvals?state={}", state.get_name()),
            _ => "approvals".to_owned(),
        }
    }
}

async fn list(
    console: &Console,
    state: StateArgument,
    json: bool,
    output: &mut Output,
) -> anyhow::Result<Exit> {
    let answer = console.get(&state.query()).await?;
    if json {
        output.json(&answer)?;
        return Ok(Exit::Ok);
    }
    let requests = requests(&answer);
    if requests.is_empty() {
        output.remark("nothing here")?;
        return Ok(Exit::Ok);
    }
    let mut table = Table::new(&["ID", "STATE", "WHO", "DATABASE", "RULE", "STATEMENT"]);
    for request in requests {
        let fields = ["id", "state", "requester", "database", "rule"];
        let mut cells: Vec<String> = fields.iter().map(|field| text(request, field).to_owned()).collect();
        if let (Some(state), Some(progress)) = (cells.get_mut(1), several(request)) {
            *state = format!("{state} {} of {}", progress.filled, progress.needed);
        }
        cells.push(cut(&one_line(text(request, "statement")), 60));
        table.row(cells);
    }
    output.line(table)?;
    Ok(Exit::Ok)
}

fn show(request: &Value, json: bool, output: &mut Output) -> anyhow::Result<Exit> {
    if json {
        output.json(request)?;
        return Ok(Exit::Ok);
    }
    for (label, field) in SHOWN {
        let value = text(request, field);
        if !value.is_empty() {
            output.line(format_args!("{label:11} {}", one_line(value)))?;
        }
    }
    for (index, seat) in several(request).iter().flat_map(|progress| &progress.seats).enumerate() {
        let label = if index == 0 { "approvals" } else { "" };
        let by = if seat.by.is_empty() { "open".to_owned() } else { format!("✓ {}", one_line(&seat.by)) };
        let groups = one_line(&seat.groups.join(" or "));
        output.line(format_args!("{label:11} {groups}: {by} (rule {})", one_line(&seat.rule)))?;
    }
    for reason in request.get("missing").and_then(Value::as_array).into_iter().flatten() {
        output.line(format_args!("{:11} {}", "missing", one_line(text(reason, "message"))))?;
    }
    if holds_for_any_values(request) {
        output.line(format_args!("{:11} it holds for any bind values, not only for these", "binds"))?;
    }
    let values = request.get("parameters").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let call = request.get("call").cloned().and_then(|call| serde_json::from_value::<ToolCall>(call).ok());
    let call = call.unwrap_or_default();
    if let Some(most) = call.max_affected {
        output
            .line(format_args!("{:11} it is rolled back if more than {most} rows are affected", "ceiling"))?;
    }
    for (value, label) in values.iter().zip(call.labels(values.len())) {
        let value = value.as_str().map_or_else(|| "NULL".to_owned(), |value| format!("'{}'", visible(value)));
        output.line(format_args!("{label:11} {value}"))?;
    }
    output.line("")?;
    output.line(visible(text(request, "statement")))?;
    Ok(Exit::Ok)
}

async fn vote(
    console: &Console,
    id: &ApprovalId,
    vote: &str,
    note: &str,
    json: bool,
    output: &mut Output,
) -> anyhow::Result<Exit> {
    let request = console.post(&format!("approvals/{id}/{vote}"), &json!({ "note": note })).await?;
    if json {
        output.json(&request)?;
    } else {
        let progress = several(&request).map(|progress| format!(": {}", one_line(&progress.to_string())));
        let state = one_line(text(&request, "state"));
        output.line(format_args!("{id} is {state}{}", progress.unwrap_or_default()))?;
    }
    Ok(Exit::Ok)
}

/// Prints what waits now, and then whatever is new or has changed. The API answers when something happens.
async fn watch(console: &Console, json: bool, output: &mut Output) -> anyhow::Result<Exit> {
    let mut stop = Stop::listen()?;
    let me = console.get("whoami").await?;
    output.remark(format_args!("watching as {}; Ctrl-C ends it", one_line(text(&me, "name"))))?;
    let mut known: BTreeMap<String, (String, usize)> = BTreeMap::new();
    let mut path = "approvals/watch".to_owned();
    loop {
        let answer = tokio::select! {
            () = stop.wait() => return Ok(Exit::Ok),
            answer = console.get(&path) => answer?,
        };
        let first = known.is_empty();
        for request in requests(&answer).iter().rev() {
            let (id, state) = (text(request, "id"), text(request, "state"));
            let now = (state.to_owned(), several(request).map_or(0, |progress| progress.filled));
            let before = known.insert(id.to_owned(), now.clone());
            let news = before != Some(now) && (!first || state == "pending");
            if news && json {
                output.json(request)?;
            } else if news {
                output.line(news_line(request))?;
            }
        }
        let cursor =
            answer.get("cursor").and_then(Value::as_u64).context("the gateway's answer has no cursor")?;
        path = format!("approvals/watch?since={cursor}");
    }
}

fn news_line(request: &Value) -> String {
    let part = |field| one_line(text(request, field));
    let by = match part("decided_by") {
        by if by.is_empty() => String::new(),
        by => format!(" by {by}"),
    };
    let progress = several(request).map(|progress| format!(" ({})", one_line(&progress.to_string())));
    let progress = progress.unwrap_or_default();
    let statement = cut(&part("statement"), 80);
    format!(
        "{}  {}{by}{progress}  {} on {}: {statement}",
        part("id"),
        part("state"),
        part("requester"),
        part("database")
    )
}

/// The requests in a list answer.
fn requests(answer: &Value) -> &[Value] {
    answer.get("approvals").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// Which seats are filled, where one yes is not enough.
fn several(request: &Value) -> Option<Progress> {
    let progress = Progress::deserialize(request.get("progress")?).ok()?;
    (progress.needed > 1).then_some(progress)
}

fn holds_for_any_values(request: &Value) -> bool {
    let requirement = request.get("requirement").map(Requirement::deserialize);
    let values = request.get("parameters").and_then(Value::as_array).is_some_and(|values| !values.is_empty());
    values && requirement.and_then(Result::ok).is_some_and(|asked| asked.bind_to() == BindTo::Text)
}

fn text<'a>(request: &'a Value, field: &str) -> &'a str {
    request.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn approval_id(text: &str) -> Result<ApprovalId, String> {
    ApprovalId::parse(text)
        .ok_or_else(|| "an id has 32 hexadecimal digits, as `portcullis approvals list` shows".into())
}

const SHOWN: [(&str, &str); 14] = [
    ("id", "id"),
    ("state", "state"),
    ("who", "requester"),
    ("kind", "requester_kind"),
    ("owner", "owner"),
    ("door", "door"),
    ("database", "database"),
    ("purpose", "purpose"),
    ("rule", "rule"),
    ("why", "message"),
    ("asked at", "created_at"),
    ("lapses at", "expires_at"),
    ("decided by", "decided_by"),
    ("note", "decision_note"),
];
