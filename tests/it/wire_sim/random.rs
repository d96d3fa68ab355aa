//! Many clients, people, a clock and a disk, stepped in a random order. After every step the promises are held
//! against what really happened; a failure prints the seed that repeats it.

use portcullis::approval::Vote;
use portcullis::protocol::backend::MessageType;
use portcullis::wire::session::Violation;

use super::messages::{Seen, sample};
use super::postgres::CANARY;
use super::records::Records;
use super::rig::{Client, Rig, bind, close, describe, execute, message, minutes, parse, query, run, sync};

#[test]
fn whatever_happens_the_promises_hold() {
    let mut seen = Seen::default();
    for seed in 1..=SEEDS {
        World::new(seed).play(&mut seen);
    }
    seen.assert_everything();
}

struct World {
    seed: u64,
    step: usize,
    rig: Rig,
    random: Random,
    actors: Vec<Actor>,
    approvals: usize,
    records: Records,
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
    fault: Option<Fault>,
    gone: bool,
}

/// Whose fault it is if the session ends before its client wants that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Client,
    /// The server has said what it should not have said: what comes behind it may belong to anything.
    Server,
    /// The server has said why it ends the session.
    Administrator,
}

impl World {
    fn new(seed: u64) -> Self {
        let rig = Rig::new();
        let actors = ["bot", "few", "cron", "dba", "bot"]
            .into_iter()
            .map(|name| Actor {
                client: rig.client(name),
                masked: !["cron", "dba"].contains(&name),
                to_send: 6,
                outgoing: Vec::new(),
                series: 0,
                readies: 0,
                checked: 0,
                holds_seen: 0,
                fault: None,
                gone: false,
            })
            .collect();
        let random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        Self { seed, step: 0, rig, random, actors, approvals: 0, records: Records::default() }
    }

    fn play(mut self, seen: &mut Seen) {
        for step in 0..STEPS {
            self.step = step;
            let actor = self.random.below(self.actors.len());
            if !self.actors[actor].gone {
                self.act(actor);
                self.check(actor);
            }
        }
        self.rest();
        self.actors.iter().for_each(|actor| seen.add(&actor.client.seen));
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
            _ => match self.random.below(24) {
                0..3 => self.actors[at].gone = true,
                3 => self.lie(at),
                4 => self.kill(at),
                5 => self.talk_nonsense(at),
                6..10 => self.actors[at].client.postgres.is_redefined = true,
                _ => {}
            },
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
        self.moved(at, &fed);
    }

    fn serve(&mut self, at: usize) {
        // As the network has it: whole answers, and pieces of them.
        let most = if self.random.below(2) == 0 { usize::MAX } else { self.random.below(30) };
        let served = self.actors[at].client.serve(most);
        self.moved(at, &served);
        let actor = &mut self.actors[at];
        if actor.fault == Some(Fault::Administrator) && actor.client.wire.is_empty() {
            actor.gone = true;
            assert!(actor.client.session.server_said_goodbye(), "{}", self.place(at));
        }
    }

    /// Only who has broken the protocol ends a session.
    fn moved(&mut self, at: usize, moved: &Result<bool, Violation>) {
        if moved.is_err() {
            assert!(self.actors[at].fault.is_some(), "{}: {moved:?}", self.place(at));
            self.actors[at].gone = true;
        }
    }

    /// The client says what no session knows.
    fn lie(&mut self, at: usize) {
        let lies: [&[u8]; 5] =
            [b"p\0\0\0\x06x\0", b"Q\0\0\0\x03", b"?\0\0\0\x04", b"X\0\0\0\x04", b"f\0\0\0\x04"];
        let lie = lies[self.random.below(lies.len())];
        let actor = &mut self.actors[at];
        actor.fault = Some(Fault::Client);
        actor.to_send = 0;
        actor.outgoing.extend_from_slice(lie);
    }

    /// The server ends the session and says so.
    fn kill(&mut self, at: usize) {
        let actor = &mut self.actors[at];
        if actor.fault.is_none() {
            actor.fault = Some(Fault::Administrator);
            actor.client.postgres.die();
        }
    }

    /// The server says something, whether anybody has asked or not.
    fn talk_nonsense(&mut self, at: usize) {
        let kind = MessageType::ALL[self.random.below(MessageType::ALL.len())];
        let actor = &mut self.actors[at];
        // Between two messages: within one it would be a part of that.
        if actor.fault.is_none() && actor.client.wire.is_empty() {
            actor.fault = Some(Fault::Server);
            actor.client.wire.extend_from_slice(&sample(kind));
        }
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
        self.records.read(&self.rig);
        let place = self.place(at);
        let actor = &mut self.actors[at];
        for (_, text) in &actor.client.postgres.texts[actor.checked..] {
            assert!(self.records.allow(text), "{place}: no record allows `{text}`");
        }
        actor.checked = actor.client.postgres.texts.len();
        let session = actor.client.session.client_bytes().split();
        actor.client.output.extend_from_slice(&session);
        let leaked = actor.client.output.windows(CANARY.len()).any(|window| window == CANARY.as_bytes());
        let shown = String::from_utf8_lossy(&actor.client.output);
        assert!(!(actor.masked && leaked), "{place}: a masked value left: {shown}");
        actor.readies += actor.client.heard().matches("Z(").count();
        let honest = actor.fault != Some(Fault::Server);
        assert!(actor.readies <= actor.series || !honest, "{place}: a ReadyForQuery too many");
        let servers = || self.actors.iter().map(|actor| &actor.client.postgres);
        let updates: usize = servers().map(|server| server.updates).sum();
        assert!(updates <= self.approvals, "{place}: {updates} updates on {} approvals", self.approvals);
        let calls: usize = servers().map(|server| server.calls).sum();
        assert!(calls <= self.records.calls, "{place}: {calls} calls on {} records", self.records.calls);
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
                let settled = self.actors[at].client.settle_or_end().map(|()| true);
                self.moved(at, &settled);
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
            if !actor.gone && actor.fault.is_none() {
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
pub(super) fn exchange(choice: usize) -> (Vec<u8>, usize) {
    let update = "update orders set status = 'done' where id = '1'";
    let insert = "insert into orders (id, status) values ('9', 'new')";
    let ssn = "select id, ssn from customers";
    let copied = message(b'd', |body| body.extend_from_slice(b"1\tnew\n"));
    let done = message(b'c', |_| {});
    let flush = message(b'H', |_| {});
    let replicate = "start_replication slot s logical 0/0";
    let failed = message(b'f', |body| body.extend_from_slice(b"no\0"));
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
        17 => ([query("copy orders from stdin"), copied.repeat(20), done].concat(), 1),
        18 => ([run("copy orders from stdin"), copied, failed, sync()].concat(), 1),
        19 => (query("listen c; notify c, 'p'"), 1),
        20 => (query("set timezone = 'UTC'"), 1),
        21 => (query("select id from orders where status = 'remark'"), 1),
        22 => ([query(""), run(""), sync()].concat(), 2),
        23 => ([parse("", insert), bind("", ""), describe(b'P', ""), execute("", 0), sync()].concat(), 1),
        24 => ([query(replicate), copied.repeat(3), done].concat(), 1),
        _ => ([message(b'F', |body| body.extend_from_slice(&[0; 10])), sync()].concat(), 2),
    }
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

const SEEDS: u64 = 60;
const STEPS: usize = 1500;
pub(super) const EXCHANGES: usize = 26;
