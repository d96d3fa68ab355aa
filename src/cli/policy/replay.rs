//! `portcullis policy replay`: what another rulebook would have said to what was asked.

use std::ops::ControlFlow;
use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use jiff::{SignedDuration, Timestamp, civil, tz::TimeZone};

use crate::clock::{Clock as _, SystemClock};
use crate::config::{self, sources};
use crate::policy::deps;

use super::super::exit::Exit;
use super::super::output::Output;
use super::recorded::{self, Documents, Missing, Reads, Recorded};
use super::report::Report;
use super::revisions::Revisions;
use super::{Rulebook, difference, usable};

/// Says what another rulebook would have decided otherwise
///
/// Every decision in the ledger is made again twice: by the rulebook of its revision, which the gateway keeps in its
/// state folder, and by the one in `--against`, with the identities of that time. Where the ledger lacks something that
/// the other rulebook reads, the decision is counted as indeterminate, never as the same.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  portcullis policy replay --against policies --since 7d
  portcullis policy replay --against policies --ledger recorded/ledger --json

Exit codes: 0 nothing differs, 1 something does, 3 it can't be told")]
pub(in crate::cli) struct Replay {
    /// The other rulebook's folder
    #[arg(long, value_name = "DIR")]
    against: PathBuf,

    /// Only decisions since then: `2026-11-20`, `2026-11-20T12:00:00Z`, or so long ago: `90m`, `24h`, `7d`
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<Since>,

    /// The gateway's configuration, which says where the ledger is
    #[arg(short, long, value_name = "FILE", default_value = "portcullis.toml")]
    config: PathBuf,

    /// The ledger's folder itself; revisions lie beside it
    #[arg(long, value_name = "DIR")]
    ledger: Option<PathBuf>,

    /// Counts what is indeterminate as different
    #[arg(long)]
    strict: bool,

    /// Answers in JSON
    #[arg(long)]
    json: bool,
}

impl Replay {
    pub(super) fn run(self, output: &mut Output) -> anyhow::Result<Exit> {
        let report = match usable(self.replay(output), output) {
            Ok(report) => report,
            Err(exit) => return Ok(exit),
        };
        if self.json {
            output.json(&report.document())?;
        } else {
            report.tell(output)?;
        }
        let differs = report.differs() || (self.strict && report.is_indeterminate());
        Ok(if differs { Exit::Failed } else { Exit::Ok })
    }

    fn replay(&self, output: &mut Output) -> anyhow::Result<Report> {
        let ledger = match &self.ledger {
            Some(ledger) => ledger.clone(),
            None => config::folders(&self.config)?.ledger,
        };
        if !ledger.is_dir() {
            bail!("there is no ledger in `{}`", ledger.display());
        }
        let agents = Rulebook { folder: None, config: self.config.clone() }.agents()?;
        let candidate = sources::rulebook(&self.against)?;
        let reads = Reads::of(&deps::of(&candidate, &agents)?);
        let documents = Documents::read(&ledger)?;
        let mut revisions = Revisions::new(&ledger, candidate, agents);
        let since = self.since.map(|since| since.from(SystemClock.now()));
        let mut report = Report::default();
        recorded::each(&ledger, |recorded| {
            if since.is_none_or(|since| recorded.record.at >= since) {
                again(&recorded, &documents, &reads, &mut revisions, &mut report)?;
                if report.decisions.is_multiple_of(PROGRESS) {
                    output.progress(format_args!("{} decisions", report.decisions))?;
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
        output.progress("")?;
        Ok(report)
    }
}

/// Makes one decision again.
fn again(
    recorded: &Recorded,
    documents: &Documents,
    reads: &Reads,
    revisions: &mut Revisions,
    report: &mut Report,
) -> anyhow::Result<()> {
    report.decisions += 1;
    let statement = &recorded.statement;
    // These run whatever a rulebook says.
    if matches!(statement.command.as_str(), "rollback" | "rollback_to") {
        return Ok(());
    }
    let pair = revisions.pair(&statement.revision)?;
    let input = match recorded.input(documents, &pair.candidate, reads) {
        Ok(input) => input,
        Err(Missing::NotAsked) if statement.decision == "deny" => {
            report.not_asked += 1;
            return Ok(());
        }
        Err(missing) => {
            report.indeterminate(missing, recorded);
            return Ok(());
        }
    };
    let Some(after) = pair.candidate.rehearse("statement", &input, false) else { return Ok(()) };
    let before = pair.base.as_ref().and_then(|base| {
        // Each rulebook looks at the clocks that it reads.
        let input = recorded.input(documents, base, &Reads::default()).ok()?;
        base.rehearse("statement", &input, false)
    });
    if before.is_none() {
        report.without_base += 1;
    }
    let changes = difference::of(recorded, before.as_ref(), &after);
    report.note(changes, recorded);
    if let Some(base) = &pair.base
        && report.is_new_session(recorded)
    {
        report.note(difference::of_rows(base, &pair.candidate, &input), recorded);
    }
    Ok(())
}

/// A point in time, or a span before now.
#[derive(Debug, Clone, Copy)]
enum Since {
    At(Timestamp),
    Ago(SignedDuration),
}

impl Since {
    fn from(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::Ago(span) => now.checked_sub(span).unwrap_or(Timestamp::MIN),
        }
    }
}

fn since(text: &str) -> Result<Since, String> {
    let unit = |letter: &str, seconds: i64| {
        let count: i64 = text.strip_suffix(letter)?.parse().ok()?;
        Some(Since::Ago(SignedDuration::from_secs(count.checked_mul(seconds)?)))
    };
    let ago = [("s", 1), ("m", 60), ("h", 3600), ("d", 86_400)];
    if let Some(since) = ago.iter().find_map(|(letter, seconds)| unit(letter, *seconds)) {
        return Ok(since);
    }
    let day = || text.parse::<civil::Date>().ok()?.to_zoned(TimeZone::UTC).ok().map(|day| day.timestamp());
    let at = text.parse::<Timestamp>().ok().or_else(day);
    at.map(Since::At)
        .ok_or_else(|| "write `2026-11-20`, `2026-11-20T12:00:00Z`, `90m`, `24h` or `7d`".to_owned())
}

/// Decisions between two looks at a screen.
const PROGRESS: usize = 500;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_day_a_moment_or_a_span() {
        let now: Timestamp = "2026-11-20T12:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("2026-11-19", "2026-11-19T00:00:00Z"),
            ("2026-11-19T10:00:00Z", "2026-11-19T10:00:00Z"),
            ("90m", "2026-11-20T10:30:00Z"),
            ("24h", "2026-11-19T12:00:00Z"),
            ("7d", "2026-11-13T12:00:00Z"),
        ] {
            assert_eq!(since(text).unwrap().from(now), expected.parse::<Timestamp>().unwrap(), "{text}");
        }
        for text in ["", "yesterday", "d", "7w", "99999999999999999d"] {
            assert!(since(text).is_err(), "{text}");
        }
    }
}
