//! The desk's tests: every step that a request can take, and every one that it can't.

mod tiers;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use jiff::Timestamp;

use crate::clock::{ManualClock, SystemClock};
use crate::policy::{Escalation, Reason, Requirement};
use crate::store::Store;

use super::table;
use super::{ApprovalId, Desk, DeskError, Digest, NewRequest, Request, Resolution, State, ToolCall, Vote};

const TTL: Duration = Duration::from_secs(300);

struct Room {
    desk: Desk,
    clock: Arc<ManualClock>,
}

fn room() -> Room {
    room_on(Store::in_memory().unwrap())
}

fn room_on(store: Store) -> Room {
    let clock = Arc::new(ManualClock::starting_at(Timestamp::from_second(1_800_000_000).unwrap()));
    Room { desk: Desk::new(store, clock.clone()).unwrap(), clock }
}

fn ask(door: &str, statement: &str) -> NewRequest {
    NewRequest {
        digest: Digest::of([statement.as_bytes()]),
        requester: "bot".into(),
        requester_kind: "agent".into(),
        owner: "olga".into(),
        requester_groups: vec!["agents".into()],
        door: door.into(),
        database: "shop".into(),
        statement: statement.into(),
        parameters: vec![Some("7".into()), None],
        call: ToolCall::default(),
        purpose: "ticket 12".into(),
        rule: "write_in_scope".into(),
        message: "writes need a second pair of eyes".into(),
        facts: serde_json::json!({"kind": "update"}),
        revision: "r1".into(),
        requirement: asking(vec![Escalation::by_one("write_in_scope", "m", &["dba"], TTL.as_secs())]),
    }
}

fn asking(escalations: Vec<Escalation>) -> Requirement {
    Requirement { escalations }
}

/// The rulebook misses nothing.
fn nothing(_: &Request) -> Vec<Reason> {
    Vec::new()
}

fn dba() -> Vec<String> {
    vec!["dba".into()]
}

impl Room {
    fn open(&self) -> Request {
        self.desk.open(ask("wire", "UPDATE t SET x = 1")).unwrap()
    }

    /// A fresh request, brought to `state` by the ways that lead there.
    fn brought_to(&self, state: State) -> Request {
        let request = self.open();
        let id = &request.id;
        match state {
            State::Pending => {}
            State::Approved => {
                drop(self.desk.vote(id, "dana", &dba(), Vote::Approve, "fine", nothing).unwrap())
            }
            State::Denied => drop(self.desk.vote(id, "dana", &dba(), Vote::Deny, "no", nothing).unwrap()),
            State::Expired => self.clock.advance(TTL),
            State::Withdrawn => self.desk.withdraw(id).unwrap(),
            State::Spent => {
                drop(self.desk.vote(id, "dana", &dba(), Vote::Approve, "fine", nothing).unwrap());
                let approval = self.desk.approved(&request.digest).unwrap().unwrap();
                assert!(self.desk.spend(&approval).unwrap());
            }
        }
        self.request(id)
    }

    fn request(&self, id: &ApprovalId) -> Request {
        self.desk.request(id).unwrap()
    }

    fn state(&self, id: &ApprovalId) -> State {
        self.request(id).state
    }
}

#[test]
fn a_request_is_kept_as_it_was_made() {
    let room = room();
    let made = room.open();
    let kept = room.request(&made.id);
    assert_eq!(serde_json::to_value(&kept).unwrap(), serde_json::to_value(&made).unwrap());
    assert_eq!(kept.expires_at.duration_since(kept.created_at).as_secs(), 300);
    assert_eq!((kept.state, kept.parameters), (State::Pending, vec![Some("7".into()), None]));
}

/// Rows: where a request stands. Columns: what is tried. Cells: where it stands then.
#[test]
fn every_step_from_every_state() {
    use State::{Approved, Denied, Expired, Pending, Spent, Withdrawn};
    //                from       approve   deny     withdraw   spend    wait till its end
    let table = [
        (Pending, [Approved, Denied, Withdrawn, Pending, Expired]),
        (Approved, [Approved, Approved, Approved, Spent, Expired]),
        (Denied, [Denied, Denied, Denied, Denied, Denied]),
        (Expired, [Expired, Expired, Expired, Expired, Expired]),
        (Withdrawn, [Withdrawn, Withdrawn, Withdrawn, Withdrawn, Withdrawn]),
        (Spent, [Spent, Spent, Spent, Spent, Spent]),
    ];
    for (from, [approved, denied, withdrawn, spent, lapsed]) in table {
        let after = |step: &dyn Fn(&Room, &Request)| {
            let room = room();
            let request = room.brought_to(from);
            step(&room, &request);
            room.state(&request.id)
        };
        let vote = |vote| {
            after(&|room: &Room, request: &Request| {
                let voted = room.desk.vote(&request.id, "dora", &dba(), vote, "because", nothing);
                assert_eq!(voted.is_ok(), from == Pending, "{from}: {voted:?}");
            })
        };
        assert_eq!(vote(Vote::Approve), approved, "{from}, approve");
        assert_eq!(vote(Vote::Deny), denied, "{from}, deny");
        assert_eq!(
            after(&|room, request| room.desk.withdraw(&request.id).unwrap()),
            withdrawn,
            "{from}, withdraw"
        );
        let spend = |room: &Room, request: &Request| {
            if let Some(approval) = room.desk.approved(&request.digest).unwrap() {
                room.desk.spend(&approval).unwrap();
            }
        };
        assert_eq!(after(&spend), spent, "{from}, spend");
        assert_eq!(after(&|room, _| room.clock.advance(TTL)), lapsed, "{from}, lapse");
    }
}

#[test]
fn nobody_decides_on_what_they_asked_for() {
    let room = room();
    let request = room.open();
    for vote in [Vote::Approve, Vote::Deny] {
        let refused = room.desk.vote(&request.id, "bot", &dba(), vote, "yes", nothing).unwrap_err();
        assert!(matches!(refused, DeskError::OwnRequest { .. }), "{refused}");
        room.desk.vote(&request.id, "", &dba(), vote, "yes", nothing).unwrap_err();
    }
    assert_eq!(room.state(&request.id), State::Pending);
}

#[test]
fn the_table_itself_refuses_a_verdict_of_the_requester() {
    let store = Store::in_memory().unwrap();
    let room = room_on(store.clone());
    room.open();
    let forged: Result<usize, crate::store::StoreError> = store.write(|tx| {
        Ok(tx.execute("UPDATE approval_request SET state = 'approved', decided_by = requester", [])?)
    });
    assert!(forged.is_err());
}

#[test]
fn a_denial_needs_a_reason_and_a_reason_has_an_end() {
    let room = room();
    let id = room.open().id;
    for note in ["", "  \n\t "] {
        let refused = room.desk.vote(&id, "dana", &dba(), Vote::Deny, note, nothing).unwrap_err();
        assert!(matches!(refused, DeskError::NoteMissing), "{refused}");
    }
    let long = "x".repeat(4001);
    let refused = room.desk.vote(&id, "dana", &dba(), Vote::Approve, &long, nothing).unwrap_err();
    assert!(matches!(refused, DeskError::NoteTooLong { length: 4001, most: 4000 }), "{refused}");
    let denied = room.desk.vote(&id, "dana", &dba(), Vote::Deny, " too broad ", nothing).unwrap();
    assert_eq!((denied.decided_by.as_str(), denied.decision_note.as_str()), ("dana", "too broad"));
}

#[test]
fn an_agent_that_repeats_itself_gets_the_same_request_and_a_wire_session_its_own() {
    let room = room();
    let first = room.desk.open(ask("mcp", "DELETE FROM t WHERE id = 1")).unwrap();
    assert_eq!(room.desk.open(ask("mcp", "DELETE FROM t WHERE id = 1")).unwrap().id, first.id);
    drop(room.desk.vote(&first.id, "dana", &dba(), Vote::Approve, "", nothing).unwrap());
    assert_eq!(room.desk.open(ask("mcp", "DELETE FROM t WHERE id = 1")).unwrap().id, first.id);

    assert_ne!(room.desk.open(ask("mcp", "DELETE FROM t WHERE id = 2")).unwrap().id, first.id);
    assert_ne!(room.desk.open(ask("wire", "DELETE FROM t WHERE id = 1")).unwrap().id, first.id);
    let mut other = ask("mcp", "DELETE FROM t WHERE id = 1");
    other.requester = "other-bot".into();
    assert_ne!(room.desk.open(other).unwrap().id, first.id);
    assert_ne!(room.open().id, room.open().id);

    let approval = room.desk.approved(&first.digest).unwrap().unwrap();
    assert!(room.desk.spend(&approval).unwrap());
    assert_ne!(room.desk.open(ask("mcp", "DELETE FROM t WHERE id = 1")).unwrap().id, first.id);
}

#[test]
fn one_requester_cant_flood_the_desk_and_others_are_not_held_up() {
    let room = room();
    let opened: Vec<Request> = (0..32).map(|_| room.open()).collect();
    let refused = room.desk.open(ask("wire", "one more")).unwrap_err();
    assert_eq!(refused.to_string(), "`bot` has 32 approval requests open, the most that are allowed");
    let mut other = ask("wire", "one more");
    other.requester = "carl".into();
    room.desk.open(other).unwrap();
    room.desk.withdraw(&opened[0].id).unwrap();
    room.open();
    room.desk.open(ask("wire", "one more")).unwrap_err();
    room.clock.advance(TTL);
    room.open();
}

#[test]
fn an_approval_is_spent_once_however_many_try() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.db");
    let room = room_on(Store::open(&path).unwrap());
    let request = room.brought_to(State::Approved);
    let wins = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            // A desk of its own connection each: the store decides, not a lock in this process.
            let desk = room_on(Store::open(&path).unwrap()).desk;
            let (wins, digest) = (&wins, &request.digest);
            for _ in 0..4 {
                let desk = desk.clone();
                scope.spawn(move || {
                    let Some(approval) = desk.approved(digest).unwrap() else { return };
                    wins.fetch_add(usize::from(desk.spend(&approval).unwrap()), Ordering::SeqCst);
                });
            }
        }
    });
    assert_eq!(wins.load(Ordering::SeqCst), 1);
    assert_eq!(room.state(&request.id), State::Spent);
}

#[test]
fn an_approval_that_lapsed_before_it_was_spent_is_worth_nothing() {
    let room = room();
    let request = room.brought_to(State::Approved);
    let approval = room.desk.approved(&request.digest).unwrap().unwrap();
    room.clock.advance(TTL);
    assert!(!room.desk.spend(&approval).unwrap());
    assert_eq!(room.desk.approved(&request.digest).unwrap(), None);
    assert_eq!(room.state(&request.id), State::Expired);
}

#[test]
fn requests_and_verdicts_survive_a_restart_and_orphans_are_swept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.db");
    let (wire, mcp, approved) = {
        let room = room_on(Store::open(&path).unwrap());
        let mcp = room.desk.open(ask("mcp", "UPDATE u SET x = 1")).unwrap();
        let approved = room.brought_to(State::Approved);
        (room.open(), mcp, approved)
    };
    let room = room_on(Store::open(&path).unwrap());
    assert_eq!(room.desk.sweep_orphans().unwrap(), 1);
    assert_eq!(room.state(&wire.id), State::Withdrawn);
    assert_eq!(room.state(&mcp.id), State::Pending);
    let approval = room.desk.approved(&approved.digest).unwrap().unwrap();
    assert_eq!((approval.by().as_str(), approval.note().as_str()), ("dana", "fine"));
    assert_eq!(approval.votes()[0].groups, dba());
    assert!(room.desk.spend(&approval).unwrap());
}

#[test]
fn an_outcome_belongs_to_a_spent_request_only() {
    for unspent in [State::Pending, State::Approved, State::Denied, State::Expired, State::Withdrawn] {
        let room = room();
        let request = room.brought_to(unspent);
        let refused = room.desk.record_outcome(&request.id, &serde_json::json!({})).unwrap_err();
        assert!(matches!(refused, DeskError::NotSpent { state, .. } if state == unspent), "{refused}");
    }
    let room = room();
    let spent = room.brought_to(State::Spent);
    room.desk.record_outcome(&spent.id, &serde_json::json!({"status": "ok"})).unwrap();
    assert_eq!(room.request(&spent.id).outcome, serde_json::json!({"status": "ok"}));
}

#[test]
fn the_newest_requests_come_first() {
    let room = room();
    let ids: Vec<ApprovalId> = (0..3).map(|_| room.open().id).collect();
    let listed: Vec<ApprovalId> = room.desk.requests(2).unwrap().into_iter().map(|r| r.id).collect();
    assert_eq!(listed, [ids[2].clone(), ids[1].clone()]);
}

#[test]
fn unknown_ids_are_unknown_everywhere() {
    let room = room();
    let id = ApprovalId::random();
    assert!(matches!(room.desk.request(&id), Err(DeskError::Unknown { .. })));
    assert!(matches!(
        room.desk.vote(&id, "dana", &dba(), Vote::Approve, "", nothing),
        Err(DeskError::Unknown { .. })
    ));
    room.desk.withdraw(&id).unwrap();
    let mut context = Context::from_waker(Waker::noop());
    let mut wait = pin!(room.desk.wait(&id, None));
    assert!(matches!(wait.as_mut().poll(&mut context), Poll::Ready(Err(DeskError::Unknown { .. }))));
}

/// Stepped by hand, without a runtime, as a simulation does it.
#[test]
fn waiting_ends_by_votes_and_by_ticks_when_polled_by_hand() {
    let mut context = Context::from_waker(Waker::noop());
    let room = room();
    let request = room.open();
    let mut patient = pin!(room.desk.wait(&request.id, None));
    let mut hasty = pin!(room.desk.wait(&request.id, Some(Duration::from_secs(20))));
    assert!(patient.as_mut().poll(&mut context).is_pending());
    assert!(hasty.as_mut().poll(&mut context).is_pending());
    room.clock.advance(Duration::from_secs(20));
    assert_eq!(room.desk.tick().unwrap(), 0);
    assert!(patient.as_mut().poll(&mut context).is_pending());
    assert!(matches!(hasty.as_mut().poll(&mut context), Poll::Ready(Ok(Resolution::StillPending))));
    drop(room.desk.vote(&request.id, "dana", &dba(), Vote::Approve, "fine", nothing).unwrap());
    let Poll::Ready(Ok(Resolution::Approved(approval))) = patient.as_mut().poll(&mut context) else {
        panic!("the vote did not wake the waiter")
    };
    assert_eq!((approval.id(), approval.by().as_str()), (&request.id, "dana"));

    let lapsing = room.open();
    let mut wait = pin!(room.desk.wait(&lapsing.id, None));
    assert!(wait.as_mut().poll(&mut context).is_pending());
    room.clock.advance(TTL);
    assert_eq!(room.desk.tick().unwrap(), 2);
    assert!(matches!(wait.as_mut().poll(&mut context), Poll::Ready(Ok(Resolution::Expired))));
}

#[tokio::test]
async fn waiting_ends_by_itself_when_patience_is_over() {
    let desk = Desk::new(Store::in_memory().unwrap(), Arc::new(SystemClock)).unwrap();
    let request = desk.open(ask("wire", "UPDATE t SET x = 1")).unwrap();
    for patience in [Duration::ZERO, Duration::from_millis(10)] {
        assert_eq!(desk.wait(&request.id, Some(patience)).await.unwrap(), Resolution::StillPending);
    }
}

#[tokio::test]
async fn a_waiter_on_another_task_hears_of_a_withdrawal_and_of_a_denial() {
    let Room { desk, .. } = room();
    for deny in [false, true] {
        let request = desk.open(ask("wire", "UPDATE t SET x = 1")).unwrap();
        let waiter = tokio::spawn({
            let (desk, id) = (desk.clone(), request.id.clone());
            async move { desk.wait(&id, None).await.unwrap() }
        });
        tokio::task::yield_now().await;
        if deny {
            drop(desk.vote(&request.id, "dana", &dba(), Vote::Deny, "no", nothing).unwrap());
            assert_eq!(waiter.await.unwrap(), Resolution::Denied { by: "dana".into(), note: "no".into() });
        } else {
            desk.withdraw(&request.id).unwrap();
            assert_eq!(waiter.await.unwrap(), Resolution::Withdrawn);
        }
    }
}
