//! Shadow mode: a candidate rulebook that decides beside the one in force, off the requester's path, and whose differences
//! are told. Nothing runs, and nothing is denied, because of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{BundleSettings, Origin};
use crate::gate::Heard;
use crate::policy::{Decision, Effect, Snapshot};

/// What the configuration says of shadow mode.
#[derive(Debug, Clone)]
pub struct ShadowSettings {
    /// Where the candidate comes from.
    pub bundle: BundleSettings,
    /// The bundle in whose place it would be; `None` where it would be the whole rulebook.
    pub replaces: Option<String>,
    /// Of decisions that are remembered, which share is compared too: from 0 to 1. New ones always are.
    pub sample: f64,
}

/// The candidate, and what waits to be put to it.
#[derive(Debug)]
pub struct Shadow {
    candidate: Arc<ArcSwapOption<Snapshot>>,
    sample: f64,
    queue: mpsc::Sender<Job>,
    dropped: Arc<AtomicU64>,
}

/// Puts what was heard to the candidate, one after the other.
#[derive(Debug)]
pub struct Comparer {
    candidate: Arc<ArcSwapOption<Snapshot>>,
    queue: mpsc::Receiver<Job>,
    dropped: Arc<AtomicU64>,
}

/// A difference, as it is counted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Difference {
    kind: &'static str,
    identity: String,
    rule: String,
}

#[derive(Debug)]
struct Job {
    decision_id: String,
    input: Value,
    active: Box<Decision>,
}

impl ShadowSettings {
    /// The folder of a whole rulebook, if that is what the candidate is.
    #[must_use]
    pub fn folder(&self) -> Option<&std::path::Path> {
        match &self.bundle.origin {
            Origin::Path(path) if self.replaces.is_none() && path.is_dir() => Some(path),
            Origin::Path(_) | Origin::Url(_) => None,
        }
    }
}

impl Shadow {
    /// Both ends. There is no candidate yet.
    #[must_use]
    pub fn new(sample: f64) -> (Self, Comparer) {
        let (sender, receiver) = mpsc::channel(WAITING);
        let (candidate, dropped) = (Arc::new(ArcSwapOption::empty()), Arc::new(AtomicU64::new(0)));
        let comparer =
            Comparer { candidate: Arc::clone(&candidate), queue: receiver, dropped: Arc::clone(&dropped) };
        (Self { candidate, sample, queue: sender, dropped }, comparer)
    }

    /// Puts another candidate beside the rules in force.
    pub fn replace(&self, candidate: Option<Snapshot>) {
        self.candidate.store(candidate.map(Arc::new));
    }

    /// Takes note of a decision. What does not fit into the queue is counted, not waited for.
    pub(super) fn heard(&self, heard: &Heard<'_>) {
        let chosen = heard.is_fresh || (self.sample > 0.0 && rand::random::<f64>() < self.sample);
        // What people approved was judged before, without their yes.
        if !chosen
            || heard.decision_id.is_empty()
            || !heard.input.approvals.is_empty()
            || self.candidate.load().is_none()
        {
            return;
        }
        let Ok(place) = self.queue.try_reserve() else {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let Ok(input) = serde_json::to_value(heard.input) else { return };
        let decision_id = heard.decision_id.to_owned();
        place.send(Job { decision_id, input, active: Box::new(heard.decision.clone()) });
    }
}

impl Comparer {
    /// Compares until `shutdown`; `tell` gets each difference in words: the first time at once, then with a count at most
    /// once a minute.
    pub async fn run(mut self, tell: impl Fn(String), shutdown: CancellationToken) {
        let mut minute = tokio::time::interval(MINUTE);
        let mut counted: BTreeMap<Difference, u64> = BTreeMap::new();
        loop {
            let job = tokio::select! {
                () = shutdown.cancelled() => return,
                _ = minute.tick() => {
                    for (difference, count) in std::mem::take(&mut counted) {
                        if count > 0 {
                            tell(format!("{} ({count} more times within a minute)", difference.words()));
                        }
                    }
                    let dropped = self.dropped.swap(0, Ordering::Relaxed);
                    if dropped > 0 {
                        tracing::warn!(dropped, "shadow.dropped: decisions came faster than they are compared");
                    }
                    continue;
                }
                job = self.queue.recv() => job,
            };
            let (Some(job), Some(candidate)) = (job, self.candidate.load_full()) else { continue };
            let decision_id = job.decision_id.clone();
            let compared = tokio::task::spawn_blocking(move || {
                let shadow = candidate.decide_document(&job.input);
                differences(&job.input, &job.active, &shadow)
            });
            for difference in compared.await.unwrap_or_default() {
                let Difference { kind, identity, rule } = &difference;
                tracing::info!(kind, identity, rule, decision_id, "shadow.difference");
                match counted.get_mut(&difference) {
                    Some(count) => *count = count.saturating_add(1),
                    None => {
                        tell(format!("{} (first by decision `{decision_id}`)", difference.words()));
                        counted.insert(difference, 0);
                    }
                }
            }
        }
    }
}

impl Difference {
    fn words(&self) -> String {
        let Self { kind, identity, rule } = self;
        let by = if rule.is_empty() { String::new() } else { format!(" by the rule `{rule}`") };
        format!("shadow: for `{identity}`, the candidate {kind}{by}")
    }
}

/// In what `shadow` is otherwise than `active`.
fn differences(input: &Value, active: &Decision, shadow: &Decision) -> Vec<Difference> {
    let identity = input.pointer("/identity/name").and_then(Value::as_str).unwrap_or_default();
    let rule =
        |decision: &Decision| decision.reasons.first().map(|reason| reason.rule.clone()).unwrap_or_default();
    let difference = |kind, rule| Difference { kind, identity: identity.to_owned(), rule };
    let mut found = Vec::new();
    match (&active.effect, &shadow.effect) {
        (Effect::Allow, Effect::Allow) => {}
        (Effect::Allow | Effect::Escalate(_), Effect::Deny) => {
            found.push(difference("would deny what is not denied now", rule(shadow)));
        }
        (Effect::Deny | Effect::Escalate(_), Effect::Allow) => {
            found.push(difference("would allow what is stopped now", rule(active)));
        }
        (Effect::Allow | Effect::Deny, Effect::Escalate(_)) => {
            found.push(difference("would ask for approval", rule(shadow)));
        }
        (Effect::Deny, Effect::Deny) if rule(active) != rule(shadow) => {
            found.push(difference("would deny for another reason", rule(shadow)));
        }
        (Effect::Escalate(one), Effect::Escalate(other)) if one != other => {
            found.push(difference("would ask others for approval", rule(shadow)));
        }
        (Effect::Deny, Effect::Deny) | (Effect::Escalate(_), Effect::Escalate(_)) => {}
    }
    let both_run = active.effect != Effect::Deny && shadow.effect != Effect::Deny;
    if both_run && (active.masks != shadow.masks || active.detect != shadow.detect) {
        found.push(difference("would mask otherwise", String::new()));
    }
    if both_run && active.limits != shadow.limits {
        found.push(difference("would limit otherwise", String::new()));
    }
    found
}

/// Decisions that may wait to be compared.
const WAITING: usize = 256;

const MINUTE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::policy::Source;

    /// What `rules` say to a statement of `ana`.
    fn decided(rules: &str) -> Decision {
        let sources = [
            Source::file("statement.rego", format!("package portcullis.statement\n\n{rules}\n")),
            Source::file("session.rego", "package portcullis.session\n\nallow := true\n"),
            Source::file("approval.rego", "package portcullis.approval\n\neligible := true\n"),
        ];
        let agents = json!({ "ana": {
            "kind": "human", "disabled": false, "owner": "", "groups": [],
            "limits": { "rows": 0, "bytes": 0, "statement_timeout_ms": 0 }, "approval": { "groups": [] },
        } });
        Snapshot::build(&sources, &agents).unwrap().decide_document(&input())
    }

    fn input() -> Value {
        json!({ "identity": { "name": "ana", "kind": "human" }, "statement": { "unresolved": [] } })
    }

    fn kinds(active: &str, shadow: &str) -> Vec<(&'static str, String)> {
        let found = differences(&input(), &decided(active), &decided(shadow));
        assert!(found.iter().all(|difference| difference.identity == "ana"));
        found.into_iter().map(|difference| (difference.kind, difference.rule)).collect()
    }

    const ALLOW: &str = "allow := true";

    fn deny(rule: &str) -> String {
        format!("{ALLOW}\n\ndeny contains {{\"rule\": \"{rule}\", \"message\": \"no\", \"hint\": \"\"}}")
    }

    #[test]
    fn each_difference_has_a_kind_and_a_rule_and_the_same_has_none() {
        assert_eq!(kinds(ALLOW, ALLOW), []);
        assert_eq!(kinds(&deny("a"), &deny("a")), []);
        let one = |kind, rule: &str| vec![(kind, rule.to_owned())];
        assert_eq!(kinds(ALLOW, &deny("a")), one("would deny what is not denied now", "a"));
        assert_eq!(kinds(&deny("a"), ALLOW), one("would allow what is stopped now", "a"));
        assert_eq!(kinds(&deny("a"), &deny("b")), one("would deny for another reason", "b"));
        let limit = format!("{ALLOW}\n\nlimit contains {{\"rows\": 5}}");
        assert_eq!(kinds(ALLOW, &limit), one("would limit otherwise", ""));
        let mask = format!(
            "{ALLOW}\n\nmask contains {{\"relation\": \"public.t\", \"column\": \"c\", \"type\": \"null\"}}"
        );
        assert_eq!(kinds(ALLOW, &mask), one("would mask otherwise", ""));
        let broken = format!("{ALLOW}\n\ndeny contains \"no object\"");
        assert_eq!(kinds(ALLOW, &broken), one("would deny what is not denied now", "policy_error"));
    }
}
