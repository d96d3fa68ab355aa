//! Whole sessions between a client and a server that say whatever they like: one of which the gate lets everything pass
//! whose facts it can tell, and an unjudged one, of which it lets everything pass. Each step of an input is one byte, of which the highest bit says who speaks and the others how
//! many of the bytes behind it they say.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, OnceLock};
use std::task::{Context as Waking, Poll, Waker};

use bytes::BytesMut;
use portcullis::approval::Desk;
use portcullis::audit::{Ledger, Sink};
use portcullis::catalog::Snapshot;
use portcullis::clock::{Clock, SystemClock};
use portcullis::gate::{CatalogError, Catalogs, Connect, Context, Door, Gate, Parts, Rules, Silent, Workers};
use portcullis::identity::Identity;
use portcullis::identity::directory::Directory;
use portcullis::policy;
use portcullis::protocol::frame::Leg;
use portcullis::protocol::run::{Frames, Piece};
use portcullis::store::Store;
use portcullis::wire::session::{Limits, Session};

/// Nobody's bytes may make the session panic, hang, or say what is no message.
pub(super) fn run(data: &[u8]) {
    static STAGE: OnceLock<Stage> = OnceLock::new();
    let stage = STAGE.get_or_init(Stage::new);
    for party in &stage.parties {
        play(Play::new(stage, party), data);
    }
}

fn play(mut play: Play, data: &[u8]) {
    let mut rest = data;
    while let Some((&step, tail)) = rest.split_first() {
        let (said, tail) = tail.split_at(usize::from(step & 0x7f).min(tail.len()));
        rest = tail;
        let side = if step & 0x80 == 0 { &mut play.client } else { &mut play.server };
        side.said.extend_from_slice(said);
        let goes_on = play.settle();
        play.check();
        if !goes_on {
            return;
        }
    }
}

struct Stage {
    gate: Gate,
    parties: [Party; 2],
}

/// Somebody with a session.
struct Party {
    who: Identity,
    context: Arc<Context>,
}

struct Play {
    gate: &'static Gate,
    who: &'static Identity,
    session: Session,
    client: Side,
    server: Side,
}

/// One side: what it has said, and what it was told.
struct Side {
    said: BytesMut,
    frames: Frames,
    told: BytesMut,
    heard: Frames,
}

impl Play {
    fn new(stage: &'static Stage, party: &'static Party) -> Self {
        let side = |says, hears| Side {
            said: BytesMut::new(),
            frames: Frames::new(says).within(1 << 20),
            told: BytesMut::new(),
            heard: Frames::new(hears),
        };
        Self {
            gate: &stage.gate,
            who: &party.who,
            session: Session::new(Arc::clone(&party.context), &[], Limits::default()),
            client: side(Leg::Frontend, Leg::Backend),
            server: side(Leg::Backend, Leg::Frontend),
        }
    }

    /// Lets everything run that can. False once the session must end.
    fn settle(&mut self) -> bool {
        loop {
            match (self.step_client(), self.step_server()) {
                (Some(false), Some(false)) => return true,
                (Some(_), Some(_)) => {}
                (None, _) | (_, None) => return false,
            }
        }
    }

    fn step_client(&mut self) -> Option<bool> {
        if !self.session.wants_client() {
            return Some(false);
        }
        match self.client.frames.next(&mut self.client.said).ok()? {
            None => return Some(false),
            Some(Piece::Run(run)) => self.session.client_run(run),
            Some(Piece::Frame(frame)) => self.session.client(&frame).ok()?,
        }
        if let Some(question) = self.session.take_question() {
            let answer = ready(question.put(self.gate, self.who, &Silent));
            self.session.answer(answer);
        }
        Some(true)
    }

    fn step_server(&mut self) -> Option<bool> {
        match self.server.frames.next(&mut self.server.said).ok()? {
            None => return Some(false),
            Some(Piece::Run(run)) => self.session.server_run(run).ok()?,
            Some(Piece::Frame(frame)) => self.session.server(&frame).ok()?,
        }
        Some(true)
    }

    /// Both sides are told whole messages only, but for data that is still on its way.
    fn check(&mut self) {
        self.client.told.unsplit(self.session.client_bytes().split());
        self.server.told.unsplit(self.session.outbox().take());
        for side in [&mut self.client, &mut self.server] {
            while side.heard.next(&mut side.told).expect("what we say are messages").is_some() {}
            assert!(side.told.is_empty(), "a message breaks off: {:?}", side.told);
        }
        assert_eq!(self.client.heard.is_midway(), self.session.is_midway());
        assert_eq!(self.server.heard.is_midway(), self.session.is_copying());
    }
}

impl Stage {
    fn new() -> Self {
        let directory = Arc::new(Directory::default().trusting());
        let sources = [
            (
                "session.rego",
                "package portcullis.session\nallow := true\nunjudged if input.identity.name == \"dba\"\n",
            ),
            ("statement.rego", "package portcullis.statement\nallow if input.statement.class != \"ddl\"\n"),
            ("approval.rego", "package portcullis.approval\neligible := true\n"),
        ]
        .map(|(path, text)| policy::Source::file(path, text));
        let policy = policy::Snapshot::build(&sources, &directory.to_data()).expect("a rulebook");
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let gate = Gate::new(Parts {
            catalogs: Arc::new(Empty),
            rules: Rules {
                policy: policy.with_strangers(Directory::stranger_data()),
                directory: Arc::clone(&directory),
            },
            desk: Desk::new(Store::in_memory().expect("a store"), Arc::clone(&clock)).expect("a desk"),
            ledger: Ledger::inline(Nowhere),
            clock,
            workers: Workers::inline(),
            console_url: String::new(),
        })
        .unwrap();
        let parties =
            ["ana", "dba"].map(|name| Party::new(&gate, directory.believe(name).expect("an identity")));
        assert_eq!(parties.each_ref().map(|party| party.context.is_unjudged()), [false, true]);
        Self { gate, parties }
    }
}

impl Party {
    fn new(gate: &Gate, who: Identity) -> Self {
        let connect = Connect {
            door: Door::Wire,
            database: "shop".into(),
            client: String::new(),
            application: String::new(),
            settings: Vec::new(),
            tls: false,
        };
        let proof = ready(gate.admit(&who, connect, &Silent)).expect("a session");
        let context = Arc::clone(proof.context());
        Self { who, context }
    }
}

fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Waking::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("nothing here waits"),
    }
}

#[derive(Debug)]
struct Nowhere;

impl Sink for Nowhere {
    fn append(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug)]
struct Empty;

impl Catalogs for Empty {
    fn current(&self, _: &str) -> Option<Arc<Snapshot>> {
        Some(Arc::new(Snapshot::new(1, 150_000, vec!["public".into()], Vec::new(), Vec::new())))
    }

    fn refresh<'a>(
        &'a self,
        _: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<Arc<Snapshot>, CatalogError>> + Send + 'a>> {
        Box::pin(async {
            Ok(Arc::new(Snapshot::new(1, 150_000, vec!["public".into()], Vec::new(), Vec::new())))
        })
    }

    fn names(&self) -> Vec<String> {
        vec!["shop".into()]
    }

    fn roles(&self, _: &str) -> Option<&[String]> {
        Some(&[])
    }
}
