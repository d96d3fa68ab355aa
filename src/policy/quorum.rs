//! Who fills which seat: people who said yes, matched to the seats of escalations. Pure.
//!
//! One person fills one seat of an escalation at most, and may fill one in each of several. Who sits where is not fixed: a
//! member of two groups moves over when somebody comes who fits into the one seat only, so that the order of votes never
//! decides whether they are enough.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::escalation::{Escalation, Seat};

/// Somebody who said yes, or could.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person<'a> {
    /// The name: two entries of one name are one person.
    pub name: &'a str,
    /// The groups that count.
    pub groups: Vec<&'a str>,
}

/// On whose request people decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asker<'a> {
    /// Who asks: fills no seat.
    pub name: &'a str,
    /// Who answers for the asker: fills no seat of an escalation that excludes owners. Empty without an owner.
    pub owner: &'a str,
}

/// How far approvals have come.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Progress {
    /// How many seats there are, of all escalations.
    pub needed: usize,
    /// How many of them are filled.
    pub filled: usize,
    /// The seats, escalation by escalation, one entry a person.
    pub seats: Vec<SeatProgress>,
}

/// One seat, for one person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeatProgress {
    /// The rule whose escalation it belongs to.
    pub rule: String,
    /// Who fits: members of any of these groups.
    pub groups: Vec<String>,
    /// Whether the owner of who asks fits not.
    pub exclude_owner: bool,
    /// Who fills it; empty while it is open.
    pub by: String,
}

impl Progress {
    /// Whether every seat is filled. Without any seat nothing is ever complete.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.needed > 0 && self.filled == self.needed
    }

    /// The seats that nobody fills yet.
    pub fn open(&self) -> impl Iterator<Item = &SeatProgress> {
        self.seats.iter().filter(|seat| seat.by.is_empty())
    }
}

/// `1 of 2: dba ✓ dora, security open`.
impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}: ", self.filled, self.needed)?;
        for (index, seat) in self.seats.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{}", seat.groups.join(" or "))?;
            match seat.by.as_str() {
                "" => write!(f, " open")?,
                by => write!(f, " ✓ {by}")?,
            }
        }
        Ok(())
    }
}

/// Which seats of `escalations` the yes of `people` fills: as many as can be.
#[must_use]
pub fn satisfied(escalations: &[Escalation], asker: Asker<'_>, people: &[Person<'_>]) -> Progress {
    let mut progress = Progress::default();
    for escalation in escalations {
        let candidates = candidates(escalation, asker, people);
        let seats = single(escalation);
        let taken = matched(&seats, &candidates);
        for (seat, by) in seats.into_iter().zip(taken) {
            let by = by.and_then(|at| candidates.get(at)).map(|person| person.name.to_owned());
            progress.needed += 1;
            progress.filled += usize::from(by.is_some());
            progress.seats.push(SeatProgress {
                rule: escalation.rule.clone(),
                groups: seat.groups.clone(),
                exclude_owner: escalation.exclude_owner,
                by: by.unwrap_or_default(),
            });
        }
    }
    progress
}

/// Whether the yes of `newcomer` would fill a seat of `escalations` that `people` leave open.
#[must_use]
pub fn helps<'a>(
    escalations: &[Escalation],
    asker: Asker<'_>,
    people: &[Person<'a>],
    newcomer: &Person<'a>,
) -> bool {
    let with: Vec<Person<'a>> = people.iter().chain([newcomer]).cloned().collect();
    satisfied(escalations, asker, &with).filled > satisfied(escalations, asker, people).filled
}

/// Those of `people` who may fill a seat of `escalation`, each once.
fn candidates<'p, 'a>(
    escalation: &Escalation,
    asker: Asker<'_>,
    people: &'p [Person<'a>],
) -> Vec<&'p Person<'a>> {
    let excluded = |name: &str| {
        name.is_empty() || name == asker.name || (escalation.exclude_owner && name == asker.owner)
    };
    let mut candidates: Vec<&Person<'_>> = Vec::new();
    for person in people {
        let known = candidates.iter().any(|candidate| candidate.name == person.name);
        if !known && !excluded(person.name) {
            candidates.push(person);
        }
    }
    candidates
}

/// Every seat as often as it has places.
fn single(escalation: &Escalation) -> Vec<&Seat> {
    let places = |seat: &Seat| usize::try_from(seat.count).unwrap_or(usize::MAX);
    escalation.seats.iter().flat_map(|seat| std::iter::repeat_n(seat, places(seat))).collect()
}

/// A greatest matching (H. W. Kuhn, 1955): who sits on each seat, as places in `people`.
fn matched(seats: &[&Seat], people: &[&Person<'_>]) -> Vec<Option<usize>> {
    let mut taken = vec![None; seats.len()];
    for person in 0..people.len() {
        let mut tried = vec![false; seats.len()];
        seat(person, seats, people, &mut taken, &mut tried);
    }
    taken
}

/// Seats `person` on a free seat, or on one whose holder can move on; false where there is none. It goes as deep as there
/// are seats.
fn seat(
    person: usize,
    seats: &[&Seat],
    people: &[&Person<'_>],
    taken: &mut [Option<usize>],
    tried: &mut [bool],
) -> bool {
    let fits = |seat: &Seat| people.get(person).is_some_and(|person| seat.fits(&person.groups));
    let mut fitting: Vec<usize> =
        (0..seats.len()).filter(|at| seats.get(*at).is_some_and(|s| fits(s))).collect();
    // Free ones first: nobody moves without need.
    fitting.sort_by_key(|at| taken.get(*at).is_some_and(Option::is_some));
    for at in fitting {
        match tried.get_mut(at) {
            Some(tried) if !*tried => *tried = true,
            Some(_) | None => continue,
        }
        let holder = taken.get(at).copied().flatten();
        if holder.is_none_or(|holder| seat(holder, seats, people, taken, tried)) {
            if let Some(place) = taken.get_mut(at) {
                *place = Some(person);
            }
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::policy::BindTo;

    fn escalation(seats: &[(&[&str], u32)]) -> Escalation {
        let seat = |(groups, count): &(&[&str], u32)| Seat {
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            count: *count,
        };
        Escalation {
            rule: "big_write".to_owned(),
            message: "m".to_owned(),
            hint: "h".to_owned(),
            seats: seats.iter().map(seat).collect(),
            ttl_s: 60,
            exclude_owner: true,
            bind_to: BindTo::Statement,
        }
    }

    fn person<'a>(name: &'a str, groups: &[&'a str]) -> Person<'a> {
        Person { name, groups: groups.to_vec() }
    }

    const BOT: Asker<'_> = Asker { name: "bot", owner: "ana" };

    #[test]
    fn each_seat_is_named_with_who_fills_it() {
        let both = [escalation(&[(&["dba"], 1), (&["security", "ciso"], 1)])];
        let words = |people: &[Person<'_>]| satisfied(&both, BOT, people).to_string();
        assert_eq!(words(&[]), "0 of 2: dba open, security or ciso open");
        let dora = person("dora", &["dba"]);
        assert_eq!(words(std::slice::from_ref(&dora)), "1 of 2: dba ✓ dora, security or ciso open");
        let sam = person("sam", &["ciso"]);
        assert_eq!(words(&[dora, sam]), "2 of 2: dba ✓ dora, security or ciso ✓ sam");
    }

    #[test]
    fn a_member_of_both_groups_moves_over_but_fills_one_seat_only() {
        let both = [escalation(&[(&["dba"], 1), (&["security"], 1)])];
        let dora = person("dora", &["dba", "security"]);
        assert_eq!(satisfied(&both, BOT, &[dora.clone(), dora.clone()]).filled, 1);
        let dan = person("dan", &["dba"]);
        assert!(helps(&both, BOT, std::slice::from_ref(&dora), &dan));
        let together = satisfied(&both, BOT, &[dora.clone(), dan.clone()]);
        assert_eq!(together.to_string(), "2 of 2: dba ✓ dan, security ✓ dora");
        assert!(!helps(&both, BOT, &[dora, dan.clone()], &person("eve", &["dba"])));
        assert!(!helps(&both, BOT, std::slice::from_ref(&dan), &person("eve", &["dba"])));
    }

    #[test]
    fn one_person_serves_several_escalations() {
        let two = [escalation(&[(&["dba"], 1)]), escalation(&[(&["dba", "security"], 1)])];
        let dora = satisfied(&two, BOT, &[person("dora", &["dba"])]);
        assert!(dora.is_complete());
        assert_eq!(dora.to_string(), "2 of 2: dba ✓ dora, dba or security ✓ dora");
    }

    #[test]
    fn who_asks_fills_no_seat_and_an_owner_only_where_it_is_said() {
        let mut one = [escalation(&[(&["dba"], 1)])];
        assert!(!satisfied(&one, BOT, &[person("bot", &["dba"])]).is_complete());
        assert!(!satisfied(&one, BOT, &[person("ana", &["dba"])]).is_complete());
        assert!(!satisfied(&one, Asker { name: "bot", owner: "" }, &[person("", &["dba"])]).is_complete());
        one[0].exclude_owner = false;
        assert!(satisfied(&one, BOT, &[person("ana", &["dba"])]).is_complete());
        assert!(!satisfied(&one, BOT, &[person("bot", &["dba"])]).is_complete());
    }

    #[test]
    fn without_seats_nothing_is_complete() {
        assert!(!satisfied(&[], BOT, &[person("dora", &["dba"])]).is_complete());
    }

    /// The most seats that can be filled, by trying everything.
    fn by_trying(seats: &[&Seat], people: &[&Person<'_>], used: &mut Vec<usize>) -> usize {
        let Some((first, rest)) = seats.split_first() else { return 0 };
        let mut most = by_trying(rest, people, used);
        for (at, person) in people.iter().enumerate() {
            if !used.contains(&at) && first.fits(&person.groups) {
                used.push(at);
                most = most.max(1 + by_trying(rest, people, used));
                used.pop();
            }
        }
        most
    }

    const GROUPS: [&str; 4] = ["a", "b", "c", "d"];
    const NAMES: [&str; 7] = ["ana", "bot", "carl", "dora", "eve", "finn", "gus"];

    fn some_groups() -> impl Strategy<Value = Vec<&'static str>> {
        proptest::sample::subsequence(GROUPS.to_vec(), 0..=4)
    }

    fn some_escalation() -> impl Strategy<Value = Escalation> {
        let seat = (proptest::sample::subsequence(GROUPS.to_vec(), 1..=3), 1_u32..3);
        (proptest::collection::vec(seat, 1..4), any::<bool>()).prop_map(|(seats, exclude_owner)| {
            let seats: Vec<(&[&str], u32)> =
                seats.iter().map(|(groups, count)| (groups.as_slice(), *count)).collect();
            Escalation { exclude_owner, ..escalation(&seats) }
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

        /// As many seats as any way of seating people fills, and nobody where they may not sit.
        #[test]
        fn as_many_seats_are_filled_as_can_be(
            escalations in proptest::collection::vec(some_escalation(), 1..3),
            voters in proptest::collection::vec((0..NAMES.len(), some_groups()), 0..7),
        ) {
            let people: Vec<Person<'_>> = voters.iter().map(|(name, groups)| person(NAMES[*name], groups)).collect();
            let progress = satisfied(&escalations, BOT, &people);
            let mut seats = progress.seats.iter();
            for escalation in &escalations {
                let may: Vec<&Person<'_>> = candidates(escalation, BOT, &people);
                let single = single(escalation);
                let own: Vec<&SeatProgress> = seats.by_ref().take(single.len()).collect();
                let mut seated: Vec<&str> = own.iter().map(|seat| seat.by.as_str()).filter(|by| !by.is_empty()).collect();
                prop_assert_eq!(seated.len(), by_trying(&single, &may, &mut Vec::new()));
                for (seat, shown) in single.iter().zip(&own) {
                    let sits = people.iter().find(|person| person.name == shown.by);
                    prop_assert!(shown.by.is_empty() || sits.is_some_and(|person| seat.fits(&person.groups)));
                }
                seated.sort_unstable();
                seated.dedup();
                prop_assert_eq!(seated.len(), own.iter().filter(|seat| !seat.by.is_empty()).count(), "somebody sits twice");
                let excluded = if escalation.exclude_owner { &["bot", "ana"][..] } else { &["bot"] };
                prop_assert!(!excluded.iter().any(|name| seated.contains(name)));
            }
            prop_assert_eq!(progress.filled, progress.seats.iter().filter(|seat| !seat.by.is_empty()).count());
        }

        /// In whatever order people vote, the same number of seats is filled.
        #[test]
        fn the_order_of_votes_decides_nothing(
            escalations in proptest::collection::vec(some_escalation(), 1..3),
            voters in proptest::sample::subsequence(NAMES.to_vec(), 0..=7).prop_flat_map(|names| {
                let groups = proptest::collection::vec(some_groups(), names.len());
                (Just(names), groups)
            }).prop_map(|(names, groups)| names.into_iter().zip(groups).collect::<Vec<_>>()),
            turn in 0_usize..7,
        ) {
            let mut people: Vec<Person<'_>> = voters.iter().map(|(name, groups)| person(name, groups)).collect();
            let before = satisfied(&escalations, BOT, &people).filled;
            let turn = turn.min(people.len());
            people.rotate_left(turn);
            prop_assert_eq!(before, satisfied(&escalations, BOT, &people).filled);
            people.reverse();
            prop_assert_eq!(before, satisfied(&escalations, BOT, &people).filled);
        }
    }
}
