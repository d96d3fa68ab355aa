//! Many clients, people, a clock and a disk, stepped in a random order. After every step the promises are held
//! against what really happened; a failure prints the seed that repeats it.

use std::collections::HashSet;

use portcullis::approval::Vote;
use portcullis::upstream::outbox::NEVER_PARSES;

use super::postgres::CANARY;
use super::rig::{Client, Rig, bind, close, describe, execute, message, minutes, parse, query, run, sync};

#[test]
fn whatever_happens_the_promises_hold() {
    for seed in 1..=SEEDS {
        World::new(seed).play();
    }
}

struct World {
    seed: u64,
    step: usize,
    rig: Rig,
    random: Random,
    actors: Vec<Actor>,
    approvals: usize,
    /// Every text that a durable record allows, and how much of the ledger was read for it.
    allowed: HashSet<String>,
    read: usize,
}

struct Actor {
    client: Client,
    masked: bool,
    to_send: usize,
    outgoing: Vec<u8>,
    series: usize,
    readies: usize,
    checked: usize,
    holds_seen: usize,
    gone: bool,
}

impl World {
    fn new(seed: u64) -> Self {
        let rig = Rig::new();
        let actors = ["bot", "few", "cron", "bot"]
            .into_iter()
            .map(|name| Actor {
                client: rig.client(name),
                masked: name != "cron",
                to_send: 6,
                outgoing: Vec::new(),
                series: 0,
                readies: 0,
                checked: 0,
                holds_seen: 0,
                gone: false,
            })
            .collect();
        let random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        Self { seed, step: 0, rig, random, actors, approvals: 0, allowed: HashSet::new(), read: 0 }
    }

    fn play(mut self) {
        for step in 0..STEPS {
            self.step = step;
            let actor = self.random.below(self.actors.len());
            if !self.actors[actor].gone {
                self.act(actor);
                self.check(actor);
            }
        }
        self.rest();
    }

    fn act(&mut self, at: usize) {
        let choice = self.random.below(100);
        match choice {
            0..15 => self.write(at),
            15..30 => self.deliver(at),
            30..45 => self.feed(at),
            45..58 => drop(self.actors[at].client.judge()),
            58..68 => drop(self.actors[at].client.flush()),
            68..90 => self.serve(at),
            90..94 => self.vote(at),
            94 => self.rig.clock.advance(minutes(2)),
            95 => self.rig.disk.fail(true),
            96..98 => self.rig.disk.fail(false),
            98 => drop(self.actors[at].client.cancel()),
            _ if self.random.below(8) == 0 => self.actors[at].gone = true,
            _ => {}
        }
    }

    fn write(&mut self, at: usize) {
        let (bytes, series) = exchange(self.random.below(EXCHANGES));
        let actor = &mut self.actors[at];
        if actor.to_send > 0 {
            actor.to_send -= 1;
            actor.outgoing.extend_from_slice(&bytes);
            actor.series += series;
        }
    }

    fn deliver(&mut self, at: usize) {
        let count = self.random.below(40) + 1;
        let actor = &mut self.actors[at];
        let count = count.min(actor.outgoing.len());
        let bytes: Vec<u8> = actor.outgoing.drain(..count).collect();
        actor.client.input.extend_from_slice(&bytes);
    }

    fn feed(&mut self, at: usize) {
        let fed = self.actors[at].client.feed();
        assert!(fed.is_ok(), "{}: {fed:?}", self.place(at));
    }

    fn serve(&mut self, at: usize) {
        let served = self.actors[at].client.serve();
        assert!(served.is_ok(), "{}: {served:?}", self.place(at));
    }

    fn vote(&mut self, at: usize) {
        let Some(hold) = self.actors[at].client.held.get(self.actors[at].holds_seen) else { return };
        let id = hold.approval_id.clone();
        self.actors[at].holds_seen += 1;
        let vote = if self.random.below(3) == 0 { Vote::Deny } else { Vote::Approve };
        if self.rig.vote("priya", &id, vote) && vote == Vote::Approve {
            self.approvals += 1;
        }
    }

    /// Holds every promise against what happened so far.
    fn check(&mut self, at: usize) {
        self.read_ledger();
        let place = self.place(at);
        let actor = &mut self.actors[at];
        for (_, text) in &actor.client.postgres.texts[actor.checked..] {
            // ROLLBACK is always possible, with a full disk too; then COMMIT becomes one.
            let ours = text == NEVER_PARSES || text.eq_ignore_ascii_case("rollback");
            // The statements of one string have a record each.
            let known = ours || text.split(';').all(|part| self.allowed.contains(part.trim()));
            assert!(known, "{place}: no record allows `{text}`");
        }
        actor.checked = actor.client.postgres.texts.len();
        let session = actor.client.session.client_bytes().split();
        actor.client.output.extend_from_slice(&session);
        let leaked = actor.client.output.windows(CANARY.len()).any(|window| window == CANARY.as_bytes());
        let shown = String::from_utf8_lossy(&actor.client.output);
        assert!(!(actor.masked && leaked), "{place}: a masked value left: {shown}");
        actor.readies += actor.client.heard().matches("Z(").count();
        assert!(actor.readies <= actor.series, "{place}: a ReadyForQuery too many");
        let updates: usize = self.actors.iter().map(|actor| actor.client.postgres.updates).sum();
        assert!(updates <= self.approvals, "{place}: {updates} updates on {} approvals", self.approvals);
    }

    fn read_ledger(&mut self) {
        let text = self.rig.disk.text();
        for line in text[self.read..].lines() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            collect(&line, &mut self.allowed);
        }
        self.read = text.len();
    }

    /// No more faults: everything that is under way must come to its end.
    fn rest(&mut self) {
        self.rig.disk.fail(false);
        for _ in 0..100 {
            let mut moved = false;
            for at in 0..self.actors.len() {
                if self.actors[at].gone {
                    continue;
                }
                let left = std::mem::take(&mut self.actors[at].outgoing);
                self.actors[at].client.input.extend_from_slice(&left);
                self.actors[at].client.settle();
                moved |= self.actors[at].client.waits();
                self.vote(at);
                self.check(at);
            }
            if !moved {
                break;
            }
            self.rig.clock.advance(minutes(1));
            // A vote that the full disk refused is not given again: its request lapses.
            self.rig.gate.desk().tick().unwrap();
        }
        for at in 0..self.actors.len() {
            let place = self.place(at);
            let actor = &self.actors[at];
            if !actor.gone {
                assert_eq!(actor.readies, actor.series, "{place}: a ReadyForQuery is missing");
                assert!(actor.client.session.is_idle(), "{place}: something is still under way");
            }
        }
    }

    fn place(&self, at: usize) -> String {
        format!("seed {} step {} client {at}", self.seed, self.step)
    }
}

/// One thing that a client does, and how many ReadyForQuery it may expect.
fn exchange(choice: usize) -> (Vec<u8>, usize) {
    let update = "update orders set status = 'done' where id = '1'";
    let insert = "insert into orders (id, status) values ('9', 'new')";
    let ssn = "select id, ssn from customers";
    let copied = message(b'd', |body| body.extend_from_slice(b"1\tnew\n"));
    let done = message(b'c', |_| {});
    let flush = message(b'H', |_| {});
    match choice {
        0 => (query(ssn), 1),
        1 => (query(update), 1),
        2 => (query("drop table orders"), 1),
        3 => ([run(insert), run("drop table orders"), run(insert), sync()].concat(), 1),
        4 => ([run(ssn), describe(b'P', ""), flush, run(ssn), sync()].concat(), 1),
        5 => ([parse("a", ssn), describe(b'S', "a"), bind("p", "a"), execute("p", 2), sync()].concat(), 1),
        6 => ([bind("", "a"), execute("", 0), execute("p", 0), close(b'P', "p"), sync()].concat(), 1),
        7 => ([close(b'S', "a"), parse("a", update), bind("", "a"), execute("", 0), sync()].concat(), 1),
        8 => ([query("begin"), query(insert)].concat(), 2),
        9 => (query("commit"), 1),
        10 => (query("rollback"), 1),
        11 => ([run("select id from orders where id = 'boom'"), run(update), sync()].concat(), 1),
        12 => (query("select ssn from customers where name = 'boom'; select id from orders"), 1),
        13 => ([run("begin"), run(insert), run("commit"), sync(), run(ssn), sync()].concat(), 2),
        14 => ([parse("", ssn), sync(), query(ssn), bind("", ""), sync()].concat(), 3),
        15 => ([run("copy orders from stdin"), copied, done, sync()].concat(), 1),
        16 => (query("copy customers to stdout"), 1),
        _ => ([message(b'F', |body| body.extend_from_slice(&[0; 10])), sync()].concat(), 2),
    }
}

/// Every text in a decision to allow.
fn collect(line: &serde_json::Value, allowed: &mut HashSet<String>) {
    let decided = find(&line["record"], "decision");
    // A statement that will have to wait when it is bound may be prepared: nothing runs then.
    let allows = |decided: &serde_json::Value| match decided["via"].as_str() {
        Some("prepare") => decided["decision"] != "deny",
        _ => decided["decision"] == "allow",
    };
    if decided.is_some_and(allows) {
        let texts = ["statement", "sent"].map(|field| line["text"][field].as_str());
        allowed.extend(texts.into_iter().flatten().map(|text| text.trim().to_owned()));
    }
}

/// The innermost object that has `field` as a text.
fn find<'a>(value: &'a serde_json::Value, field: &str) -> Option<&'a serde_json::Value> {
    let members = value.as_object()?;
    if members.get(field).is_some_and(serde_json::Value::is_string) {
        return Some(value);
    }
    members.values().find_map(|member| find(member, field))
}

/// xorshift64*: small, and the same on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(high).unwrap() % bound
    }
}

const SEEDS: u64 = 40;
const STEPS: usize = 1500;
const EXCHANGES: usize = 18;
