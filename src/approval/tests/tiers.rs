//! Requests that need several people: in any order, at the same time, over restarts, and never by one person twice.

use crate::policy::{BindTo, Seat};

use super::*;

/// One of `dba` and one of `security`, neither of them the agent's owner.
fn two_groups() -> Escalation {
    let seat = |group: &str| Seat { groups: vec![group.into()], count: 1 };
    Escalation {
        seats: vec![seat("dba"), seat("security")],
        ..Escalation::by_one("big_write", "m", &["dba"], TTL.as_secs())
    }
}

fn groups(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

impl Room {
    fn open_for(&self, escalations: Vec<Escalation>) -> Request {
        let requirement = asking(escalations);
        self.desk.open(NewRequest { requirement, ..ask("wire", "UPDATE t SET x = 1") }).unwrap()
    }

    fn yes(&self, request: &Request, by: &str, of: &[&str]) -> Result<Request, DeskError> {
        self.desk.vote(&request.id, by, &groups(of), Vote::Approve, "", nothing)
    }
}

#[test]
fn the_last_needed_yes_approves_in_any_order_and_until_then_it_shows_who_is_missing() {
    for turned in [false, true] {
        let room = room();
        let request = room.open_for(vec![two_groups()]);
        assert_eq!(request.standing(), "0 of 2: dba open, security open");
        let mut voters = [("dora", "dba"), ("sam", "security")];
        if turned {
            voters.reverse();
        }
        let first = room.yes(&request, voters[0].0, &[voters[0].1]).unwrap();
        assert_eq!((first.state, first.progress.filled, first.decided_by.as_str()), (State::Pending, 1, ""));
        assert_eq!(first.open_groups(), [voters[1].1]);
        assert_eq!(room.desk.approved(&request.digest).unwrap(), None);
        let second = room.yes(&request, voters[1].0, &[voters[1].1]).unwrap();
        assert_eq!((second.state, second.decided_by.as_str()), (State::Approved, voters[1].0));
        assert_eq!(second.standing(), "2 of 2: dba ✓ dora, security ✓ sam");
        let approval = room.desk.approved(&request.digest).unwrap().unwrap();
        assert_eq!(approval.by(), format!("{}, {}", voters[0].0, voters[1].0));
        assert!(room.desk.spend(&approval).unwrap() && !room.desk.spend(&approval).unwrap());
        assert!(matches!(room.yes(&request, "carl", &["dba"]), Err(DeskError::Closed { .. })));
    }
}

#[test]
fn nobody_votes_twice_by_whatever_groups_and_nobody_takes_a_no_back() {
    let room = room();
    let request = room.open_for(vec![two_groups()]);
    room.yes(&request, "dora", &["dba", "security"]).unwrap();
    for (vote, of) in [(Vote::Approve, "security"), (Vote::Approve, "dba"), (Vote::Deny, "dba")] {
        let twice = room.desk.vote(&request.id, "dora", &groups(&[of]), vote, "again", nothing).unwrap_err();
        let words =
            format!("`dora` has voted on approval request `{}` already: one person has one vote", request.id);
        assert_eq!(twice.to_string(), words);
    }
    assert_eq!(room.request(&request.id).votes.len(), 1);
    // She moves over for somebody who fits into one seat only.
    assert_eq!(room.yes(&request, "dan", &["dba"]).unwrap().state, State::Approved);
}

#[test]
fn a_yes_that_fills_no_seat_is_not_taken_and_the_owner_fills_none() {
    let room = room();
    let request = room.open_for(vec![two_groups()]);
    room.yes(&request, "dora", &["dba"]).unwrap();
    for (by, of) in [("dan", &["dba"][..]), ("eve", &["guests"]), ("eve", &[]), ("olga", &["security"])] {
        let refused = room.yes(&request, by, of).unwrap_err();
        assert!(matches!(refused, DeskError::NoSeat { .. }), "{by}: {refused}");
        assert!(refused.to_string().contains("security open"), "{refused}");
    }
    assert!(matches!(room.yes(&request, "bot", &["security"]), Err(DeskError::OwnRequest { .. })));
    let lifted = room.open_for(vec![Escalation { exclude_owner: false, ..two_groups() }]);
    room.yes(&lifted, "olga", &["security"]).unwrap();
}

#[test]
fn a_no_ends_it_at_once_also_of_somebody_whose_seat_is_taken() {
    let room = room();
    let request = room.open_for(vec![two_groups()]);
    room.yes(&request, "dora", &["dba"]).unwrap();
    let denied = room.desk.vote(&request.id, "dan", &dba(), Vote::Deny, "not today", nothing).unwrap();
    assert_eq!((denied.state, denied.decided_by.as_str()), (State::Denied, "dan"));
    assert!(matches!(
        room.yes(&request, "sam", &["security"]),
        Err(DeskError::Closed { state: State::Denied, .. })
    ));
    assert_eq!(room.desk.approved(&request.digest).unwrap(), None);
}

#[test]
fn a_request_lapses_between_two_votes() {
    let room = room();
    let request = room.open_for(vec![two_groups()]);
    room.yes(&request, "dora", &["dba"]).unwrap();
    room.clock.advance(TTL);
    let late = room.yes(&request, "sam", &["security"]).unwrap_err();
    assert!(matches!(late, DeskError::Closed { state: State::Expired, .. }), "{late}");
    assert_eq!(room.request(&request.id).progress.filled, 1);
}

#[test]
fn several_escalations_have_the_shortest_time_and_one_person_may_serve_them_all() {
    let room = room();
    let quick = Escalation::by_one("quick", "m", &["dba", "ops"], 60);
    let request = room.open_for(vec![two_groups(), quick]);
    assert_eq!(request.expires_at.duration_since(request.created_at).as_secs(), 60);
    assert_eq!(request.groups, ["dba", "ops", "security"]);
    let first = room.yes(&request, "dora", &["dba"]).unwrap();
    assert_eq!(first.standing(), "2 of 3: dba ✓ dora, security open, dba or ops ✓ dora");
    assert_eq!(room.yes(&request, "sam", &["security"]).unwrap().state, State::Approved);
}

#[test]
fn votes_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.db");
    let request = {
        let room = room_on(Store::open(&path).unwrap());
        let request = room.open_for(vec![two_groups()]);
        room.desk.vote(&request.id, "dora", &dba(), Vote::Approve, "seen", nothing).unwrap();
        room.request(&request.id)
    };
    let room = room_on(Store::open(&path).unwrap());
    assert_eq!(
        serde_json::to_value(room.request(&request.id)).unwrap(),
        serde_json::to_value(&request).unwrap()
    );
    assert!(matches!(room.yes(&request, "dora", &["security"]), Err(DeskError::VotedAlready { .. })));
    let approved = room.yes(&request, "sam", &["security"]).unwrap();
    assert_eq!((approved.state, approved.votes[0].note.as_str()), (State::Approved, "seen"));
}

/// A desk of its own connection each: the store decides, not a lock in this process.
#[test]
fn of_many_who_vote_in_the_same_moment_as_many_count_as_there_are_seats() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.db");
    let room = room_on(Store::open(&path).unwrap());
    let three = Escalation { seats: vec![Seat { groups: groups(&["dba"]), count: 3 }], ..two_groups() };
    let request = room.open_for(vec![three]);
    let (taken, deciding) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for voter in 0..8 {
            let desk = room_on(Store::open(&path).unwrap()).desk;
            let (id, taken, deciding) = (&request.id, &taken, &deciding);
            scope.spawn(move || {
                for _ in 0..2 {
                    let name = format!("voter-{voter}");
                    let Ok(after) = desk.vote(id, &name, &dba(), Vote::Approve, "", nothing) else {
                        continue;
                    };
                    taken.fetch_add(1, Ordering::SeqCst);
                    deciding.fetch_add(usize::from(after.state == State::Approved), Ordering::SeqCst);
                }
            });
        }
    });
    assert_eq!((taken.load(Ordering::SeqCst), deciding.load(Ordering::SeqCst)), (3, 1));
    let after = room.request(&request.id);
    assert_eq!((after.state, after.votes.len()), (State::Approved, 3));
}

#[test]
fn what_the_rulebook_misses_keeps_it_open_and_one_more_voice_asks_again() {
    let room = room();
    let request = room.open_for(vec![two_groups()]);
    room.yes(&request, "dora", &["dba"]).unwrap();
    let two = |request: &Request| {
        assert!(request.progress.is_complete(), "asked when all seats are filled only");
        let reason = Reason { rule: "duty".into(), message: "nobody on duty".into(), ..Reason::default() };
        if request.votes.len() < 3 { vec![reason] } else { Vec::new() }
    };
    let vote = |by: &str, of: &[&str]| room.desk.vote(&request.id, by, &groups(of), Vote::Approve, "", two);
    let full = vote("sam", &["security"]).unwrap();
    assert_eq!((full.state, full.missing.len()), (State::Pending, 1));
    assert_eq!(full.standing(), "2 of 2: dba ✓ dora, security ✓ sam; still missing: nobody on duty");
    assert_eq!(full.open_groups(), ["dba", "security"]);
    for (by, of) in [("eve", "guests"), ("olga", "dba")] {
        assert!(matches!(vote(by, &[of]), Err(DeskError::NoSeat { .. })), "{by}");
    }
    let more = vote("dan", &["dba"]).unwrap();
    assert_eq!((more.state, more.missing.len(), more.votes.len()), (State::Approved, 0, 3));
}

#[test]
fn an_agent_that_asks_again_under_other_rules_starts_again() {
    let room = room();
    let with =
        |escalations| NewRequest { requirement: asking(escalations), ..ask("mcp", "UPDATE t SET x = 1") };
    let first = room.desk.open(with(vec![two_groups()])).unwrap();
    room.yes(&first, "dora", &["dba"]).unwrap();
    let reworded = Escalation { message: "in other words".into(), ..two_groups() };
    assert_eq!(room.desk.open(with(vec![reworded])).unwrap().id, first.id);
    let others = [
        Escalation { exclude_owner: false, ..two_groups() },
        Escalation { bind_to: BindTo::Text, ..two_groups() },
        Escalation::by_one("big_write", "m", &["dba"], 60),
    ];
    let mut last = first.id;
    for other in others {
        let anew = room.desk.open(with(vec![other])).unwrap();
        assert!(anew.id != last && anew.votes.is_empty());
        assert_eq!(room.state(&last), State::Withdrawn);
        last = anew.id;
    }
}

#[test]
fn an_approval_that_no_longer_counts_is_taken_back_once() {
    let room = room();
    let request = room.brought_to(State::Approved);
    let approval = room.desk.approved(&request.digest).unwrap().unwrap();
    assert!(room.desk.revoke(&approval).unwrap());
    assert!(!room.desk.revoke(&approval).unwrap() && !room.desk.spend(&approval).unwrap());
    assert_eq!(room.state(&request.id), State::Withdrawn);
}

#[test]
fn who_waits_hears_of_every_vote_that_leaves_it_open() {
    let mut context = Context::from_waker(Waker::noop());
    let room = room();
    let request = room.open_for(vec![two_groups()]);
    let mut heard = Vec::new();
    {
        let mut wait =
            pin!(room.desk.wait_and_hear(&request.id, None, |request| heard.push(request.standing())));
        assert!(wait.as_mut().poll(&mut context).is_pending());
        room.desk.tick().unwrap();
        assert!(wait.as_mut().poll(&mut context).is_pending());
        room.yes(&request, "dora", &["dba"]).unwrap();
        assert!(wait.as_mut().poll(&mut context).is_pending());
        room.yes(&request, "sam", &["security"]).unwrap();
        assert!(matches!(wait.as_mut().poll(&mut context), Poll::Ready(Ok(Resolution::Approved(_)))));
    }
    assert_eq!(heard, ["1 of 2: dba ✓ dora, security open"]);
}

#[test]
fn the_table_itself_refuses_votes_of_the_requester_and_second_votes() {
    let store = Store::in_memory().unwrap();
    let room = room_on(store.clone());
    let request = room.open_for(vec![two_groups()]);
    let insert = |voter: &str| {
        store.write(|tx| {
            let sql = "INSERT INTO approval_vote VALUES (?1, ?2, '[]', 'approve', '', 0)";
            Ok::<_, crate::store::StoreError>(tx.execute(sql, (request.id.as_str(), voter))?)
        })
    };
    insert("dora").unwrap();
    for voter in ["dora", "bot", ""] {
        assert!(insert(voter).is_err(), "{voter}");
    }
}

/// As the version before votes were rows of their own left them.
#[test]
fn requests_from_before_keep_their_verdicts_and_need_one_yes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.db");
    let store = Store::open(&path).unwrap();
    store.migrate(&table::FIRST_SCHEMA).unwrap();
    let (open, approved) = (ApprovalId::random(), ApprovalId::random());
    for (id, state, by, at) in
        [(&open, "pending", "", None), (&approved, "approved", "dana", Some(1_800_000_001_000_i64))]
    {
        store
            .write(|tx| {
                let sql = "INSERT INTO approval_request VALUES (?1, ?1, 'bot', 'agent', 'olga', '[]', 'mcp', 'shop',
                    'UPDATE t SET x = 1', '[]', '', 'rule', 'why', 'null', 'r', '[\"dba\",\"ops\"]', 1800000000000,
                    1800000300000, ?2, ?3, '[\"dba\"]', 'fine', ?4, 'null')";
                Ok::<_, crate::store::StoreError>(tx.execute(sql, (id.as_str(), state, by, at))?)
            })
            .unwrap();
    }
    drop(store);
    let room = room_on(Store::open(&path).unwrap());
    let kept = room.request(&approved);
    assert_eq!((kept.votes.len(), kept.standing().as_str()), (1, "1 of 1: dba or ops ✓ dana"));
    let approval = room.desk.approved(&kept.digest).unwrap().unwrap();
    assert_eq!((approval.by(), approval.note()), ("dana".into(), "fine".into()));
    assert!(room.desk.spend(&approval).unwrap());
    let kept = room.request(&open);
    assert_eq!((kept.requirement.ttl_s(), kept.groups.as_slice()), (300, groups(&["dba", "ops"]).as_slice()));
    assert_eq!(room.yes(&kept, "olga", &["ops"]).unwrap().state, State::Approved, "as it was asked");
}
