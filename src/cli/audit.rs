//! `portcullis audit`: the ledger, read where it lies. Works without a gateway, and beside one.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::audit::{self, Entry, Event, Verified};
use crate::config;

use super::exit::Exit;
use super::output::{Output, cut, one_line};

/// Reads the ledger: its last records, or whether the whole chain holds
#[derive(Debug, Subcommand)]
pub(super) enum Audit {
    Tail(Tail),
    Verify(Verify),
}

/// Prints the last records, oldest first
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  portcullis audit tail -n 20
  portcullis audit tail --who support-bot --json | jq .event")]
pub(super) struct Tail {
    #[command(flatten)]
    ledger: LedgerArguments,

    /// How many
    #[arg(short = 'n', long, default_value_t = 10)]
    lines: usize,

    /// Only of this identity
    #[arg(long, value_name = "NAME")]
    who: Option<String>,

    /// One JSON object a line, as in the ledger
    #[arg(long)]
    json: bool,
}

/// Holds every record against the one before it
///
/// Proves offline that no record was changed, removed or put in between. Says also what it can't prove.
#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 the chain holds, 3 it is broken: the message names the place")]
pub(super) struct Verify {
    #[command(flatten)]
    ledger: LedgerArguments,

    /// The head hash that you kept: the chain must still hold that record
    #[arg(long, value_name = "HASH")]
    head: Option<String>,

    /// Answers in JSON
    #[arg(long)]
    json: bool,
}

/// Where the ledger is.
#[derive(Debug, Args)]
struct LedgerArguments {
    /// The gateway's configuration, which says where the ledger is
    #[arg(short, long, value_name = "FILE", default_value = "portcullis.toml", conflicts_with = "ledger")]
    config: PathBuf,

    /// The ledger's folder itself
    #[arg(long, value_name = "DIR")]
    ledger: Option<PathBuf>,
}

impl Audit {
    pub(super) fn run(self, output: &mut Output) -> anyhow::Result<Exit> {
        match self {
            Self::Tail(tail) => tail.run(output),
            Self::Verify(verify) => verify.run(output),
        }
    }
}

impl LedgerArguments {
    fn folder(&self) -> anyhow::Result<PathBuf> {
        match &self.ledger {
            Some(folder) => Ok(folder.clone()),
            None => Ok(config::folders(&self.config)?.ledger),
        }
    }
}

impl Tail {
    fn run(self, output: &mut Output) -> anyhow::Result<Exit> {
        let wanted = |entry: &Entry| self.who.as_ref().is_none_or(|who| *who == entry.record.identity);
        for entry in audit::tail(&self.ledger.folder()?, self.lines, wanted)? {
            if self.json {
                output.json(&entry)?;
            } else {
                output.line(line(&entry))?;
            }
        }
        Ok(Exit::Ok)
    }
}

impl Verify {
    fn run(self, output: &mut Output) -> anyhow::Result<Exit> {
        let folder = self.ledger.folder()?;
        let verified = match audit::verify(&folder) {
            Ok(verified) => verified,
            Err(error) if self.json => {
                output.json(&serde_json::json!({ "ok": false, "error": error.to_string() }))?;
                return Ok(Exit::Refused);
            }
            Err(error) => {
                output.complain(&anyhow::Error::new(error).context("the ledger does not hold"));
                return Ok(Exit::Refused);
            }
        };
        if let Some(head) = &self.head
            && audit::tail(&folder, 1, |entry| entry.hash == *head)?.is_empty()
        {
            output.complain(&anyhow::anyhow!(
                "the chain holds in itself, but has no record with hash `{head}`: its end was cut off, or it was written anew"
            ));
            return Ok(Exit::Refused);
        }
        if self.json {
            output.json(&serde_json::json!({ "ok": true, "verified": verified }))?;
        } else {
            let Verified { records, redacted, head_hash, .. } = &verified;
            output.line(format_args!("the chain holds: {records} records, {redacted} of them redacted"))?;
            output.line(format_args!("head {head_hash}"))?;
            for sentence in Verified::unproven() {
                output.remark(sentence)?;
            }
        }
        Ok(Exit::Ok)
    }
}

/// One record as one line.
pub(super) fn line(entry: &Entry) -> String {
    let record = &entry.record;
    let at = record.at.strftime("%Y-%m-%d %H:%M:%S");
    let who = if record.identity.is_empty() { "-" } else { &record.identity };
    format!(
        "{:>6}  {at}  {:7}  {:12}  {}",
        entry.sequence,
        record.door,
        one_line(who),
        summary(&record.event)
    )
}

fn summary(event: &Event) -> String {
    match event {
        Event::Started { version } => format!("gateway {version} started"),
        Event::SessionOpened { role, application } => {
            let role = if role.is_empty() { String::new() } else { format!(" as {}", one_line(role)) };
            format!("session opened{role} {}", cut(&one_line(application), 40))
        }
        Event::SessionClosed { reason } => format!("session closed: {}", one_line(reason)),
        Event::Refused { claimed_identity, reason } => {
            format!("refused `{}`: {}", cut(&one_line(claimed_identity), 40), one_line(reason))
        }
        Event::Malformed { context } => format!("malformed: {}", cut(&one_line(context), 80)),
        Event::Flood { count, since, last } => {
            format!("{count} more since {}: {}", since.strftime("%H:%M:%S"), cut(&one_line(last), 60))
        }
        Event::Decided(decided) => {
            let rule = if decided.rule.is_empty() { String::new() } else { format!(" [{}]", decided.rule) };
            format!("{}{rule} {}", decided.decision, cut(&one_line(&decided.statement), 90))
        }
        Event::Settled { outcome, tag, sqlstate, rows, duration_ms, why, found } => {
            let why = if why.is_empty() { String::new() } else { format!(": {}", cut(&one_line(why), 90)) };
            let detail = if sqlstate.is_empty() { tag } else { sqlstate };
            // The tag counts the rows that were changed; these are the ones that the client was shown.
            let shown = if *rows == 0 { String::new() } else { format!("{rows} rows shown, ") };
            let found: String =
                found.iter().map(|(name, count)| format!(", {count} {name} masked")).collect();
            format!("{outcome} {} ({shown}{duration_ms} ms{found}){why}", one_line(detail))
        }
        Event::ApprovalChanged { approval_id, state, by, note, progress } => {
            let by = if by.is_empty() { String::new() } else { format!(" by {}", one_line(by)) };
            let note =
                if note.is_empty() { String::new() } else { format!(": {}", cut(&one_line(note), 60)) };
            let progress =
                if progress.is_empty() { String::new() } else { format!(" ({})", one_line(progress)) };
            format!("approval {approval_id} {state}{by}{progress}{note}")
        }
        Event::Cancel { accepted: true } => "cancelled".to_owned(),
        Event::Cancel { accepted: false } => "cancel with a wrong key".to_owned(),
        Event::Document { digest, .. } => format!("document {}", cut(digest, 12)),
        Event::Alert { rule, message, sink } => {
            let sink = if sink.is_empty() { String::new() } else { format!(" to {}", one_line(sink)) };
            format!("alert{sink} [{}] {}", one_line(rule), cut(&one_line(message), 90))
        }
        Event::Gateway { what } => cut(&one_line(what), 120),
    }
}
