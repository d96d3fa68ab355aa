//! `escalate`: how many people of which groups must say yes. Strict: what is not understood is an error, and an error is a
//! deny.

use std::collections::BTreeSet;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::answer::{Answer, PolicyError};
use super::input::{ApprovalEvidence, IdentityInput};
use super::places::Places;
use super::quorum::{Asker, Person, satisfied};
use super::{Effect, Reason};

/// What one entry of `escalate` asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Escalation {
    /// The rule's name.
    pub rule: String,
    /// Why it asks.
    pub message: String,
    /// What the requester can do about it.
    pub hint: String,
    /// Who must say yes; never empty.
    pub seats: Vec<Seat>,
    /// How long the request may stay open for it, in seconds.
    pub ttl_s: u64,
    /// Whether an agent's owner counts as the requester, and so fills no seat.
    pub exclude_owner: bool,
    /// What a yes is bound to.
    pub bind_to: BindTo,
}

/// So many people of these groups.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seat {
    /// Members of any of these groups, ordered; never empty.
    pub groups: Vec<String>,
    /// How many different people; at least one.
    pub count: u32,
}

/// What a yes is bound to, besides who asks, on whose behalf, where and by which role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BindTo {
    /// The text and every byte of its bind values.
    Statement,
    /// The text alone: once, with any bind values.
    Text,
}

/// Which approval a statement needs: every one of these escalations must be satisfied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requirement {
    /// The escalations; never empty.
    pub escalations: Vec<Escalation>,
}

impl Seat {
    /// Whether a member of `groups` fits.
    #[must_use]
    pub fn fits(&self, groups: &[&str]) -> bool {
        self.groups.iter().any(|group| groups.contains(&group.as_str()))
    }
}

impl Escalation {
    /// One that a member of any of `groups` satisfies, and that binds to the statement.
    #[must_use]
    pub fn by_one(rule: &str, message: &str, groups: &[&str], ttl_s: u64) -> Self {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        Self {
            rule: rule.to_owned(),
            message: message.to_owned(),
            hint: String::new(),
            seats: vec![Seat { groups, count: 1 }],
            ttl_s,
            exclude_owner: true,
            bind_to: BindTo::Statement,
        }
    }

    /// Whether `other` asks for the same, however it words it.
    fn asks_as(&self, other: &Self) -> bool {
        self.rule == other.rule
            && self.seats == other.seats
            && self.exclude_owner == other.exclude_owner
            && self.bind_to == other.bind_to
    }

    fn reason(&self, places: &Places) -> Reason {
        let reason = Reason::new(&self.rule, &*self.message, &*self.hint);
        Reason { place: places.of(&self.rule, &self.message), ..reason }
    }
}

impl Requirement {
    /// The groups of all seats, ordered.
    #[must_use]
    pub fn groups(&self) -> Vec<String> {
        let seats = self.escalations.iter().flat_map(|escalation| &escalation.seats);
        let groups: BTreeSet<&String> = seats.flat_map(|seat| &seat.groups).collect();
        groups.into_iter().cloned().collect()
    }

    /// How long the request stays open, in seconds: the shortest time of all.
    #[must_use]
    pub fn ttl_s(&self) -> u64 {
        self.escalations.iter().map(|escalation| escalation.ttl_s).min().unwrap_or(0)
    }

    /// What the approval is bound to: the text alone only where all say so.
    #[must_use]
    pub fn bind_to(&self) -> BindTo {
        let text = self.escalations.iter().all(|escalation| escalation.bind_to == BindTo::Text);
        if text { BindTo::Text } else { BindTo::Statement }
    }

    /// Both at once.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        for escalation in other.escalations {
            if !self.escalations.contains(&escalation) {
                self.escalations.push(escalation);
            }
        }
        self
    }

    /// Whether `other` asks for the same approvals, in whatever words.
    #[must_use]
    pub fn asks_as(&self, other: &Self) -> bool {
        let within = |one: &Self, all: &Self| {
            let known = |asked: &Escalation| all.escalations.iter().any(|other| other.asks_as(asked));
            one.escalations.iter().all(known)
        };
        within(self, other) && within(other, self)
    }
}

/// The escalations of an answer.
pub(super) fn read(answer: &Answer<'_>) -> Result<Vec<Escalation>, PolicyError> {
    let written: Vec<Written> = answer.set("escalate")?;
    if written.len() > MOST_ESCALATIONS {
        return Err(answer.malformed("escalate", format!("more than {MOST_ESCALATIONS} for one statement")));
    }
    let read = |written: Written| written.read().map_err(|why| answer.malformed("escalate", why));
    written.into_iter().map(read).collect()
}

/// What happens to a statement that has `escalations` and these `approvals`, and why. One that nobody can ever approve is
/// denied at once.
pub(super) fn decide(
    escalations: Vec<Escalation>,
    electorate: &Electorate<'_>,
    approvals: &[ApprovalEvidence],
    places: &Places,
) -> (Effect, Vec<Reason>) {
    let reasons: BTreeSet<Reason> = escalations.iter().map(|escalation| escalation.reason(places)).collect();
    let reasons: Vec<Reason> = reasons.into_iter().collect();
    if satisfied(&escalations, electorate.asker, &electorate.given(approvals)).is_complete() {
        return (Effect::Allow, reasons);
    }
    match satisfied(&escalations, electorate.asker, &electorate.everybody()).open().next() {
        None => (Effect::Escalate(Requirement { escalations }), reasons),
        Some(seat) => (Effect::Deny, vec![nobody(&seat.rule, &seat.groups)]),
    }
}

fn nobody(rule: &str, groups: &[String]) -> Reason {
    let groups = groups.join(" or ");
    Reason::new(
        "nobody_can_approve",
        format!("`{rule}` needs an approval by {groups}, and nobody is left there who could give it"),
        format!(
            "whoever keeps the identities can add people to {groups}; who asks never counts, nor does an owner"
        ),
    )
}

/// Who may say yes to what `asker` asks, by the identities' files as they are now.
#[derive(Debug, Clone, Copy)]
pub(super) struct Electorate<'a> {
    agents: &'a Value,
    asker: Asker<'a>,
}

impl<'a> Electorate<'a> {
    /// That of `identity`. Who answers for it is in `agents`, unless it is one of many behind a file.
    pub(super) fn of(agents: &'a Value, identity: &IdentityInput<'a>) -> Self {
        let IdentityInput { name, owner, .. } = *identity;
        let filed = agents.get(name).and_then(|file| file.get("owner")).and_then(Value::as_str);
        Self { agents, asker: Asker { name, owner: filed.unwrap_or(owner) } }
    }

    /// `evidence`, with the groups that its people have now: none for those who are no active people any more.
    pub(super) fn as_of_now(&self, evidence: &[ApprovalEvidence]) -> Vec<ApprovalEvidence> {
        let now = |approval: &ApprovalEvidence| {
            let groups = self.groups(&approval.by).into_iter().map(str::to_owned).collect();
            ApprovalEvidence { groups_now: groups, ..approval.clone() }
        };
        evidence.iter().map(now).collect()
    }

    /// Who said yes, by the groups that they had then and still have.
    fn given<'e>(&self, evidence: &'e [ApprovalEvidence]) -> Vec<Person<'e>> {
        let kept = |approval: &'e ApprovalEvidence| {
            let now = self.groups(&approval.by);
            let groups = approval.groups.iter().map(String::as_str).filter(|group| now.contains(group));
            Person { name: &approval.by, groups: groups.collect() }
        };
        evidence.iter().map(kept).collect()
    }

    /// All active people.
    fn everybody(&self) -> Vec<Person<'a>> {
        let names = self.agents.as_object().into_iter().flatten().map(|(name, _)| name.as_str());
        names.map(|name| Person { name, groups: self.groups(name) }).collect()
    }

    /// The groups of `name` now; none unless it is an active person.
    fn groups(&self, name: &str) -> Vec<&'a str> {
        let file = self.agents.get(name).filter(|file| {
            file.get("disabled") == Some(&Value::Bool(false))
                && file.get("kind").and_then(Value::as_str) == Some("human")
        });
        let groups = file.and_then(|file| file.get("groups")).and_then(Value::as_array);
        groups.into_iter().flatten().filter_map(Value::as_str).collect()
    }
}

/// An entry as the rulebook writes it: `groups` and perhaps `count`, or `seats`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    rule: String,
    message: String,
    #[serde(default)]
    hint: String,
    ttl_s: u64,
    #[serde(default, deserialize_with = "given")]
    groups: Option<BTreeSet<String>>,
    #[serde(default, deserialize_with = "given")]
    count: Option<u32>,
    #[serde(default, deserialize_with = "given")]
    seats: Option<Vec<WrittenSeat>>,
    #[serde(default, deserialize_with = "given")]
    exclude_owner: Option<bool>,
    #[serde(default, deserialize_with = "given")]
    bind_to: Option<BindTo>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenSeat {
    groups: BTreeSet<String>,
    #[serde(default, deserialize_with = "given")]
    count: Option<u32>,
}

/// A field that may be left out, but not be null: what a rule meant to say and did not is not what goes without saying.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl Written {
    fn read(self) -> Result<Escalation, String> {
        if self.ttl_s == 0 || self.ttl_s > MAX_TTL_S {
            return Err(format!("`ttl_s` must be from 1 to {MAX_TTL_S}"));
        }
        let seats = match (self.groups, self.count, self.seats) {
            (Some(groups), count, None) => vec![WrittenSeat { groups, count }],
            (None, None, Some(seats)) => seats,
            (None, _, None) => return Err("it must say `groups` or `seats`".to_owned()),
            (Some(_), _, Some(_)) | (None, Some(_), Some(_)) => {
                return Err("`groups` and `count` stand in each seat where there are `seats`".to_owned());
            }
        };
        let seats = seats.into_iter().map(WrittenSeat::read).collect::<Result<Vec<_>, _>>()?;
        let people = seats.iter().fold(0_u32, |all, seat| all.saturating_add(seat.count));
        if people == 0 || people > MOST_PEOPLE {
            return Err(format!("it must ask for 1 to {MOST_PEOPLE} people, not for {people}"));
        }
        Ok(Escalation {
            rule: self.rule,
            message: self.message,
            hint: self.hint,
            seats,
            ttl_s: self.ttl_s,
            exclude_owner: self.exclude_owner.unwrap_or(true),
            bind_to: self.bind_to.unwrap_or(BindTo::Statement),
        })
    }
}

impl WrittenSeat {
    fn read(self) -> Result<Seat, String> {
        let count = self.count.unwrap_or(1);
        if count == 0 {
            return Err("`count` must be at least 1".to_owned());
        }
        if self.groups.is_empty() || self.groups.contains("") {
            return Err("`groups` must name at least one group".to_owned());
        }
        Ok(Seat { groups: self.groups.into_iter().collect(), count })
    }
}

/// Longest time that a request for approval may stay open: a week.
const MAX_TTL_S: u64 = 7 * 24 * 3600;

/// People that one escalation may ask for.
const MOST_PEOPLE: u32 = 10;

/// Escalations of one statement.
const MOST_ESCALATIONS: usize = 32;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read_one(more: &Value) -> Result<Escalation, String> {
        let mut entry = json!({"rule": "r", "message": "m", "hint": "h", "ttl_s": 60});
        for (field, value) in more.as_object().unwrap() {
            entry[field] = value.clone();
        }
        let answer = json!({"escalate": [[[entry]]]});
        let answer = Answer { point: "statement", value: &answer, places: &Places::default() };
        read(&answer).map(|mut all| all.remove(0)).map_err(|error| error.to_string())
    }

    #[test]
    fn what_may_be_left_out_has_the_strict_meaning() {
        let plain = read_one(&json!({"groups": ["b", "a", "a"]})).unwrap();
        assert_eq!(plain.seats, [Seat { groups: vec!["a".into(), "b".into()], count: 1 }]);
        assert_eq!((plain.exclude_owner, plain.bind_to), (true, BindTo::Statement));
        let full = json!({"seats": [{"groups": ["dba"], "count": 2}, {"groups": ["security"]}],
            "exclude_owner": false, "bind_to": "text"});
        let full = read_one(&full).unwrap();
        assert_eq!(full.seats.iter().map(|seat| seat.count).collect::<Vec<_>>(), [2, 1]);
        assert_eq!((full.exclude_owner, full.bind_to), (false, BindTo::Text));
    }

    #[test]
    fn whatever_is_not_understood_is_malformed() {
        read_one(&json!({"groups": ["a"]})).unwrap();
        for entry in [
            json!({}),
            json!({"groups": []}),
            json!({"groups": [""]}),
            json!({"groups": "dba"}),
            json!({"groups": null}),
            json!({"groups": ["a"], "count": 0}),
            json!({"groups": ["a"], "count": -1}),
            json!({"groups": ["a"], "count": 1.5}),
            json!({"groups": ["a"], "count": null}),
            json!({"groups": ["a"], "count": "2"}),
            json!({"groups": ["a"], "count": 11}),
            json!({"groups": ["a"], "count": 4_294_967_296_u64}),
            json!({"count": 2}),
            json!({"seats": []}),
            json!({"seats": [{"groups": []}]}),
            json!({"seats": [{"groups": ["a"], "count": 0}]}),
            json!({"seats": [{"groups": ["a"], "most": 1}]}),
            json!({"seats": [{"groups": ["a"], "count": 4_294_967_295_u32}, {"groups": ["a"], "count": 2}]}),
            json!({"seats": [{"groups": ["a"], "count": 6}, {"groups": ["b"], "count": 5}]}),
            json!({"seats": [{"groups": ["a"]}], "groups": ["a"]}),
            json!({"seats": [{"groups": ["a"]}], "count": 2}),
            json!({"groups": ["a"], "ttl_s": 0}),
            json!({"groups": ["a"], "ttl_s": 604_801}),
            json!({"groups": ["a"], "exclude_owner": "no"}),
            json!({"groups": ["a"], "exclude_owner": null}),
            json!({"groups": ["a"], "bind_to": "anything"}),
            json!({"groups": ["a"], "bind": "text"}),
        ] {
            let error = read_one(&entry).unwrap_err();
            assert!(error.contains("malformed `escalate`"), "{entry}: {error}");
        }
    }

    #[test]
    fn requirements_unite_and_the_shorter_time_and_the_stricter_binding_hold() {
        let text = Escalation { bind_to: BindTo::Text, ..Escalation::by_one("one", "m", &["b", "a"], 60) };
        let one = Requirement { escalations: vec![text] };
        assert_eq!(one.bind_to(), BindTo::Text);
        let two = Requirement { escalations: vec![Escalation::by_one("two", "m", &["c"], 30)] };
        let both = one.clone().and(two.clone()).and(one.clone());
        assert_eq!((both.escalations.len(), both.ttl_s(), both.bind_to()), (2, 30, BindTo::Statement));
        assert_eq!(both.groups(), ["a", "b", "c"]);
        assert!(both.asks_as(&two.clone().and(one.clone())) && !both.asks_as(&one) && !one.asks_as(&both));
        let reworded = Requirement { escalations: vec![Escalation::by_one("two", "other", &["c"], 90)] };
        assert!(two.asks_as(&reworded));
    }
}
