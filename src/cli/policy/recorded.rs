//! Decisions as the ledger holds them, with their inputs put together again.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::Path;

use anyhow::Context as _;
use jiff::Timestamp;
use serde_json::{Value, json};
use smol_str::SmolStr;

use crate::audit::{self, Entry, Event, Record, StatementRecord};
use crate::policy::{Snapshot, rehearse};

/// Documents by their digests.
#[derive(Debug, Default)]
pub(super) struct Documents(HashMap<SmolStr, Value>);

/// A decided statement.
#[derive(Debug)]
pub(super) struct Recorded {
    pub(super) record: Record,
    pub(super) statement: StatementRecord,
    /// Whether its text and values were redacted later.
    pub(super) redacted: bool,
}

/// Why an input can't be put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Missing {
    /// The record has none: the rulebook was not asked.
    NotAsked,
    /// A document that the record names is not in the ledger.
    Document,
    /// Bind values were redacted.
    Values,
    /// Something that no rule read at that time, and so was not looked up.
    NotLookedUp(&'static str),
}

impl Missing {
    /// In words.
    pub(super) fn why(self) -> String {
        match self {
            Self::NotAsked => "decided by the gateway itself, without the rulebook".to_owned(),
            Self::Document => "its facts or its session are not in the ledger".to_owned(),
            Self::Values => "its bind values were redacted, and rules read them".to_owned(),
            Self::NotLookedUp(field) => format!("`{field}` was read by no rule at that time, and is now"),
        }
    }
}

impl Documents {
    /// Every document of the ledger in `folder`.
    pub(super) fn read(folder: &Path) -> anyhow::Result<Self> {
        let mut documents = Self::default();
        audit::each(folder, |entry| {
            if let Event::Document { digest, document } = entry.record.event {
                documents.0.insert(digest, document);
            }
            ControlFlow::Continue(())
        })
        .with_context(|| format!("the ledger `{}` can't be read", folder.display()))?;
        Ok(documents)
    }
}

/// Shows `see` every decided statement in `folder`, oldest first.
pub(super) fn each(
    folder: &Path,
    mut see: impl FnMut(Recorded) -> anyhow::Result<ControlFlow<()>>,
) -> anyhow::Result<()> {
    let mut failed = None;
    audit::each(folder, |entry| match recorded(entry).map(&mut see) {
        None => ControlFlow::Continue(()),
        Some(Ok(flow)) => flow,
        Some(Err(error)) => {
            failed = Some(error);
            ControlFlow::Break(())
        }
    })
    .with_context(|| format!("the ledger `{}` can't be read", folder.display()))?;
    failed.map_or(Ok(()), Err)
}

fn recorded(entry: Entry) -> Option<Recorded> {
    let Entry { record, redacted, .. } = entry;
    let Event::Decided(statement) = &record.event else { return None };
    let statement = StatementRecord::clone(statement);
    Some(Recorded { statement, record, redacted })
}

impl Recorded {
    /// What the decision was made on, as a rulebook that reads `reads` has to see it.
    pub(super) fn input(
        &self,
        documents: &Documents,
        policy: &Snapshot,
        reads: &Reads,
    ) -> Result<Value, Missing> {
        let statement = &self.statement;
        let evidence = statement.input.as_deref().ok_or(Missing::NotAsked)?;
        let facts = documents.0.get(&statement.facts_digest).ok_or(Missing::Document)?;
        let session = documents.0.get(&evidence.session).ok_or(Missing::Document)?;
        let rest = |name: &str| evidence.rest.get(name);
        let is_hidden = self.redacted || statement.parameters.iter().flatten().any(|value| value == REDACTED);
        if is_hidden && reads.touches("input.bind") && !statement.parameters.is_empty() {
            return Err(Missing::Values);
        }
        for (path, name) in [("input.budget", "budget"), ("input.labels", "labels")] {
            if reads.touches(path) && rest(name).is_none() {
                return Err(Missing::NotLookedUp(path));
            }
        }
        let is_bound = !statement.parameters.is_empty();
        if reads.touches("input.bind.parameters") && is_bound && rest("parameters").is_none() {
            return Err(Missing::NotLookedUp("input.bind.parameters"));
        }
        let at = Timestamp::from_second(evidence.judged_at).unwrap_or(self.record.at);
        let runs_by_name = matches!(statement.command.as_str(), "execute" | "fetch" | "move");
        let own = json!({
            "via": statement.via,
            "statement": facts,
            "batch": { "index": 0, "size": 1 },
            "arguments": { "reason": "", "max_rows": -1, "max_affected": -1 },
            "bind": {
                "known": statement.via != "prepare" && !runs_by_name,
                "values": statement.parameters,
                "parameters": rest("parameters").cloned().unwrap_or_else(|| json!([])),
            },
            "time": policy.time(at),
        });
        let mut input = rehearse::empty_input("statement");
        if let Some(fields) = input.as_object_mut() {
            for document in [session, &own, &evidence.rest] {
                let known = document.as_object().into_iter().flatten();
                fields.extend(known.map(|(name, value)| (name.clone(), value.clone())));
            }
            fields.remove("parameters");
        }
        Ok(input)
    }
}

/// What the decisions of a rulebook on statements read.
#[derive(Debug, Default)]
pub(super) struct Reads(Vec<String>);

impl Reads {
    /// What `points` say, of the decision points that are asked about statements.
    pub(super) fn of(points: &[crate::policy::deps::PointDependencies]) -> Self {
        let asked = points
            .iter()
            .filter(|point| point.package.ends_with(".statement") || point.package.ends_with(".bind"));
        Self(asked.flat_map(|point| point.input.iter().cloned()).collect())
    }

    fn touches(&self, path: &str) -> bool {
        self.0.iter().any(|read| crate::policy::deps::touches(read, path))
    }
}

/// What stands in place of a bind value that the rulebook keeps out of the ledger.
const REDACTED: &str = "(redacted by the rulebook)";
