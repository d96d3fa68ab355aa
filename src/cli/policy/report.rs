//! What a replay has found: differences in groups, one witness each.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::super::output::{Output, cut, one_line};
use super::difference::{Change, Difference};
use super::recorded::{Missing, Recorded};

/// Everything that a replay has found.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// Decisions that were looked at.
    pub(super) decisions: usize,
    /// Those that the gateway made without the rulebook, and would again.
    pub(super) not_asked: usize,
    /// Those whose rulebook is not in the archive: their masks and row filters were not compared.
    pub(super) without_base: usize,
    groups: BTreeMap<Key, Group>,
    indeterminate: BTreeMap<Missing, Unknown>,
    sessions: BTreeSet<(String, String)>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    change: Change,
    rule: String,
    identity: String,
    database: String,
    /// The digest of the statement's facts; empty for what is about the identity.
    facts: String,
}

#[derive(Debug)]
struct Group {
    count: usize,
    place: String,
    before: Value,
    after: Value,
    witness: Witness,
}

#[derive(Debug)]
struct Unknown {
    count: usize,
    witness: Witness,
}

#[derive(Debug)]
struct Witness {
    decision_id: String,
    at: String,
    statement: String,
}

impl Witness {
    fn of(recorded: &Recorded) -> Self {
        Self {
            decision_id: recorded.record.decision_id.to_string(),
            at: recorded.record.at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            statement: recorded.statement.statement.clone(),
        }
    }

    fn document(&self) -> Value {
        json!({ "decision_id": self.decision_id, "at": self.at, "statement": self.statement })
    }
}

impl Report {
    /// Notes differences of one decision.
    pub(super) fn note(&mut self, found: impl IntoIterator<Item = Difference>, recorded: &Recorded) {
        for Difference { change, rule, place, before, after } in found {
            let facts = match change.is_of_identity() {
                true => String::new(),
                false => recorded.statement.facts_digest.to_string(),
            };
            let (identity, database) =
                (recorded.record.identity.to_string(), recorded.record.database.to_string());
            let key = Key { change, rule, identity, database, facts };
            let witness = || Witness::of(recorded);
            let group = self.groups.entry(key);
            group.or_insert_with(|| Group { count: 0, place, before, after, witness: witness() }).count += 1;
        }
    }

    /// Notes a decision that can't be made again.
    pub(super) fn indeterminate(&mut self, missing: Missing, recorded: &Recorded) {
        let unknown = self.indeterminate.entry(missing);
        unknown.or_insert_with(|| Unknown { count: 0, witness: Witness::of(recorded) }).count += 1;
    }

    /// Whether a decision is the first of its session under its revision.
    pub(super) fn is_new_session(&mut self, recorded: &Recorded) -> bool {
        let session = recorded.statement.input.as_deref().map(|input| input.session.to_string());
        self.sessions.insert((session.unwrap_or_default(), recorded.statement.revision.to_string()))
    }

    pub(super) fn differs(&self) -> bool {
        !self.groups.is_empty()
    }

    pub(super) fn is_indeterminate(&self) -> bool {
        !self.indeterminate.is_empty()
    }

    /// As docs/policy.md has it.
    pub(super) fn document(&self) -> Value {
        let groups = self.groups.iter().map(|(key, group)| {
            json!({
                "change": key.change, "rule": key.rule, "place": group.place, "identity": key.identity,
                "database": key.database, "facts_digest": key.facts, "count": group.count,
                "before": group.before, "after": group.after, "witness": group.witness.document(),
            })
        });
        let indeterminate = self.indeterminate.iter().map(|(missing, unknown)| {
            json!({ "why": missing.why(), "count": unknown.count, "witness": unknown.witness.document() })
        });
        json!({
            "decisions": self.decisions, "not_asked": self.not_asked, "without_base": self.without_base,
            "differences": groups.collect::<Vec<_>>(), "indeterminate": indeterminate.collect::<Vec<_>>(),
        })
    }

    /// In words, at most 80 columns wide.
    pub(super) fn tell(&self, output: &mut Output) -> std::io::Result<()> {
        for (key, group) in &self.groups {
            let rule =
                if key.rule.is_empty() { String::new() } else { format!("  {} {}", key.rule, group.place) };
            output.line(format_args!("{}{}", key.change.words(), rule.trim_end()))?;
            output.line(format_args!(
                "  {} x  {} on {}",
                group.count,
                one_line(&key.identity),
                key.database
            ))?;
            output.line(format_args!("  {}", cut(&one_line(&group.witness.statement), WIDTH)))?;
            if key.rule.is_empty() {
                output.line(format_args!("  - {}", cut(&one_line(&group.before.to_string()), WIDTH - 2)))?;
                output.line(format_args!("  + {}", cut(&one_line(&group.after.to_string()), WIDTH - 2)))?;
            }
            output
                .line(format_args!("  decision {} at {}\n", group.witness.decision_id, group.witness.at))?;
        }
        for (missing, unknown) in &self.indeterminate {
            output.line(format_args!("indeterminate\n  {} x  {}", unknown.count, missing.why()))?;
            output.line(format_args!("  {}", cut(&one_line(&unknown.witness.statement), WIDTH)))?;
            let Witness { decision_id, at, .. } = &unknown.witness;
            output.line(format_args!("  decision {decision_id} at {at}\n"))?;
        }
        let unknown: usize = self.indeterminate.values().map(|unknown| unknown.count).sum();
        output.line(format_args!(
            "{} decisions: {} groups of differences, {unknown} indeterminate, {} not the rulebook's",
            self.decisions,
            self.groups.len(),
            self.not_asked
        ))?;
        if self.without_base > 0 {
            output.line(format_args!(
                "{} were held against their record alone, since their rulebook is not in the\narchive: masks and row filters of these were not compared",
                self.without_base
            ))?;
        }
        Ok(())
    }
}

const WIDTH: usize = 76;
