//! A real gate over a small rulebook, and clients whose every step a test decides on.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use portcullis::approval::{ApprovalId, Desk, Vote};
use portcullis::audit::{Ledger, Memory};
use portcullis::catalog::{Column, Relation, RelationKind, RowSecurity, Snapshot};
use portcullis::clock::{Clock, ManualClock};
use portcullis::gate::{
    Approve, CatalogError, Catalogs, Connect, Context, Door, Gate, Hold, Parts, Patience, Rules, Tell,
    Workers,
};
use portcullis::identity::Identity;
use portcullis::identity::directory::{AgentSource, Directory};
use portcullis::identity::token::TokenDigest;
use portcullis::policy;
use portcullis::protocol::frame::{Frame, FrameError, Leg, put, put_cstr};
use portcullis::protocol::run::{Frames, Piece};
use portcullis::store::Store;
use portcullis::wire::session::{Answer, Limits, Session, Violation};

use super::messages::Seen;
use super::postgres::{CUSTOMERS, FakePostgres, ORDERS};

/// Everything behind the sessions of one test.
pub(super) struct Rig {
    pub(super) gate: Arc<Gate>,
    pub(super) disk: Memory,
    pub(super) clock: Arc<ManualClock>,
}

impl Rig {
    pub(super) fn new() -> Self {
        let clock = Arc::new(ManualClock::starting_at("2026-01-05T10:00:00Z".parse().unwrap()));
        let disk = Memory::default();
        let agents: Vec<AgentSource> = AGENTS
            .iter()
            .map(|(name, kind)| AgentSource {
                path: format!("{name}.toml"),
                text: format!(
                    "name = \"{name}\"\nkind = \"{kind}\"\ngroups = [\"all\"]\n{}[auth]\ntoken_sha256 = \"{}\"\n",
                    if *kind == "agent" { "owner = \"ana\"\n" } else { "" },
                    TokenDigest::of(&token(name)),
                ),
            })
            .collect();
        let directory = Directory::build(&agents).unwrap();
        let sources: Vec<policy::Source> =
            RULEBOOK.iter().map(|(path, text)| policy::Source::file(*path, *text)).collect();
        let policy = policy::Snapshot::build(&sources, &directory.to_data()).unwrap();
        let shared: Arc<dyn Clock> = clock.clone();
        let gate = Gate::new(Parts {
            catalogs: Arc::new(FixedCatalog(catalog())),
            rules: Rules { policy, directory: Arc::new(directory) },
            desk: Desk::new(Store::in_memory().unwrap(), shared.clone()).unwrap(),
            ledger: Ledger::inline(disk.clone()),
            clock: shared,
            workers: Workers::inline(),
            console_url: "http://127.0.0.1:8433".into(),
        })
        .unwrap();
        Self { gate: Arc::new(gate), disk, clock }
    }

    pub(super) fn identity(&self, name: &str) -> Identity {
        self.gate.authenticate(&token(name), Door::Wire, "").unwrap()
    }

    /// A session of `name`, with a PostgreSQL of its own.
    pub(super) fn client(&self, name: &str) -> Client {
        let who = self.identity(name);
        let context = self.context(&who);
        Client {
            gate: self.gate.clone(),
            who: Arc::new(who),
            session: Session::new(context, &[], Limits::default()),
            postgres: FakePostgres::default(),
            frames: Frames::new(Leg::Frontend),
            input: BytesMut::new(),
            server_frames: Frames::new(Leg::Backend),
            wire: BytesMut::new(),
            arrived: BytesMut::new(),
            served: 0,
            seen: Seen::default(),
            output: BytesMut::new(),
            judging: None,
            holds: Arc::default(),
            held: Vec::new(),
        }
    }

    /// Lets `name` decide on a request, as the console does.
    pub(super) fn vote(&self, name: &str, id: &ApprovalId, vote: Vote) -> bool {
        let who = self.identity(name);
        let act = Approve { id: id.clone(), vote, note: "because".into(), client: String::new() };
        let proof = ready(self.gate.admit(&who, act, &Holds::default()));
        proof.is_ok_and(|proof| self.gate.decide(&who, proof).is_ok())
    }

    fn context(&self, who: &Identity) -> Arc<Context> {
        let connect = Connect {
            door: Door::Wire,
            database: "shop".into(),
            client: "127.0.0.1:1".into(),
            application: "psql".into(),
            settings: Vec::new(),
            tls: false,
        };
        let proof = ready(self.gate.admit(who, connect, &Holds::default())).unwrap();
        proof.context().clone()
    }
}

/// One client with its session and its server.
pub(super) struct Client {
    gate: Arc<Gate>,
    who: Arc<Identity>,
    pub(super) session: Session,
    pub(super) postgres: FakePostgres,
    frames: Frames,
    /// What the client has sent and the session has not taken.
    pub(super) input: BytesMut,
    server_frames: Frames,
    /// What the server has sent and is still on its way.
    pub(super) wire: BytesMut,
    arrived: BytesMut,
    /// How many bytes have come from the server.
    pub(super) served: usize,
    /// Every kind of message that the session has taken in.
    pub(super) seen: Seen,
    /// What the client has got.
    pub(super) output: BytesMut,
    judging: Option<Pin<Box<dyn Future<Output = Answer>>>>,
    holds: Arc<Holds>,
    pub(super) held: Vec<Hold>,
}

impl Client {
    /// Sends `bytes`, lets everything run until nothing moves, and returns what came back as text.
    pub(super) fn exchange(&mut self, bytes: &[u8]) -> String {
        self.input.extend_from_slice(bytes);
        self.settle();
        self.heard()
    }

    /// Lets everything run until nothing moves.
    pub(super) fn settle(&mut self) {
        for _ in 0..10_000 {
            let moved = self.feed().unwrap() | self.judge() | self.flush() | self.serve(usize::MAX).unwrap();
            if !moved {
                return;
            }
        }
        panic!("the session never comes to rest");
    }

    /// As [`Client::settle`], with a peer who may break the protocol: then the session ends.
    pub(super) fn settle_or_end(&mut self) -> Result<(), Violation> {
        for _ in 0..10_000 {
            let moved = self.feed()? | self.judge() | self.flush() | self.serve(usize::MAX)?;
            if !moved {
                return Ok(());
            }
        }
        panic!("the session never comes to rest");
    }

    /// Hands the client's messages to the session, as far as it wants any.
    pub(super) fn feed(&mut self) -> Result<bool, Violation> {
        let mut moved = false;
        while self.session.wants_client() {
            let Some(piece) = self.frames.next(&mut self.input).map_err(no_frame)? else { break };
            self.seen.client(&piece);
            match piece {
                Piece::Run(run) => self.session.client_run(run),
                Piece::Frame(frame) => self.session.client(&frame)?,
            }
            moved = true;
            if let Some(question) = self.session.take_question() {
                let (gate, who, holds) = (self.gate.clone(), self.who.clone(), self.holds.clone());
                self.judging = Some(Box::pin(async move { question.put(&gate, &who, &*holds).await }));
            }
        }
        Ok(moved)
    }

    /// Polls the gate once.
    pub(super) fn judge(&mut self) -> bool {
        if !self.session.is_asking() {
            self.judging = None;
        }
        let Some(judging) = &mut self.judging else { return false };
        let polled = judging.as_mut().poll(&mut std::task::Context::from_waker(Waker::noop()));
        let mut moved = false;
        for hold in self.holds.take() {
            self.session.held(&hold);
            self.held.push(hold);
            moved = true;
        }
        if let Poll::Ready(answer) = polled {
            self.judging = None;
            self.session.answer(answer);
            moved = true;
        }
        moved
    }

    /// Moves what the session has for the server.
    pub(super) fn flush(&mut self) -> bool {
        let bytes = self.session.outbox().take();
        self.postgres.input.extend_from_slice(&bytes);
        !bytes.is_empty()
    }

    /// Lets the server work on one message, and hands over what has come of its answers, `most` bytes of them.
    pub(super) fn serve(&mut self, most: usize) -> Result<bool, Violation> {
        let worked = self.postgres.step();
        for frame in self.postgres.output.drain(..) {
            frame.put(&mut self.wire);
        }
        let count = most.min(self.wire.len());
        let bytes = self.wire.split_to(count);
        self.arrive(&bytes)?;
        Ok(worked || count > 0)
    }

    /// Bytes come from the server.
    pub(super) fn arrive(&mut self, bytes: &[u8]) -> Result<(), Violation> {
        self.arrived.extend_from_slice(bytes);
        self.served += bytes.len();
        let mut heard = Ok(());
        while heard.is_ok()
            && !self.session.is_paused()
            && let Some(piece) = self.server_frames.next(&mut self.arrived).map_err(no_frame)?
        {
            self.seen.server(&piece);
            heard = match piece {
                Piece::Run(run) => self.session.server_run(run),
                Piece::Frame(frame) => self.session.server(&frame),
            };
            while let Some(step) = self.session.take_step() {
                self.session.stepped(ready(self.gate.goes_on(&self.who, step)));
            }
        }
        let bytes = self.session.client_bytes().split();
        self.output.extend_from_slice(&bytes);
        heard
    }

    /// The user presses Ctrl-C.
    pub(super) fn cancel(&mut self) -> bool {
        self.session.cancelled()
    }

    /// Whether a statement waits for a person.
    pub(super) fn waits(&self) -> bool {
        self.judging.is_some()
    }

    /// What the client got since it was last asked, one word a message.
    pub(super) fn heard(&mut self) -> String {
        let bytes = self.session.client_bytes().split();
        self.output.extend_from_slice(&bytes);
        let mut words = Vec::new();
        while let Some(frame) = Frame::decode(Leg::Backend, &mut self.output).unwrap() {
            words.push(word(&frame));
        }
        assert!(self.output.is_empty() || self.session.is_midway(), "half a frame was sent");
        words.join(" ")
    }
}

fn no_frame(error: FrameError) -> Violation {
    Violation::Client { what: error.to_string() }
}

/// One message in a word: its type, with the status of Z, the SQLSTATE of E and the tag of C.
pub(crate) fn word(frame: &Frame) -> String {
    let field = |kind: u8| {
        let found = frame.body.split(|&byte| byte == 0).rfind(|field| field.first() == Some(&kind));
        found.map(|field| String::from_utf8_lossy(&field[1..]).into_owned()).unwrap_or_default()
    };
    match frame.tag {
        b'Z' => format!("Z({})", frame.body[0] as char),
        b'E' => format!("E({})", field(b'C')),
        b'C' => format!("C({})", String::from_utf8_lossy(&frame.body[..frame.body.len() - 1])),
        tag => (tag as char).to_string(),
    }
}

#[derive(Default)]
struct Holds(Mutex<Vec<Hold>>);

impl Holds {
    fn take(&self) -> Vec<Hold> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Tell for Holds {
    fn held(&self, hold: &Hold) {
        self.0.lock().unwrap().push(hold.clone());
    }

    fn patience(&self) -> Patience {
        Patience::UntilDecided
    }
}

/// The output of a future that needs nothing to happen first.
pub(super) fn ready<T>(future: impl Future<Output = T>) -> T {
    let mut future = Box::pin(future);
    match future.as_mut().poll(&mut std::task::Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("this was to be ready at once"),
    }
}

// What clients send.

pub(crate) fn query(sql: &str) -> Vec<u8> {
    message(b'Q', |body| put_cstr(body, sql))
}

pub(crate) fn parse(name: &str, sql: &str) -> Vec<u8> {
    message(b'P', |body| {
        put_cstr(body, name);
        put_cstr(body, sql);
        body.put_u16(0);
    })
}

pub(crate) fn bind(portal: &str, statement: &str) -> Vec<u8> {
    message(b'B', |body| {
        put_cstr(body, portal);
        put_cstr(body, statement);
        body.put_slice(&[0; 6]);
    })
}

pub(crate) fn describe(kind: u8, name: &str) -> Vec<u8> {
    message(b'D', |body| {
        body.put_u8(kind);
        put_cstr(body, name);
    })
}

pub(crate) fn close(kind: u8, name: &str) -> Vec<u8> {
    message(b'C', |body| {
        body.put_u8(kind);
        put_cstr(body, name);
    })
}

pub(crate) fn execute(portal: &str, max_rows: u32) -> Vec<u8> {
    message(b'E', |body| {
        put_cstr(body, portal);
        body.put_u32(max_rows);
    })
}

pub(crate) fn sync() -> Vec<u8> {
    message(b'S', |_| {})
}

pub(crate) fn message(tag: u8, fill: impl FnOnce(&mut BytesMut)) -> Vec<u8> {
    let mut out = BytesMut::new();
    put(&mut out, tag, fill);
    out.to_vec()
}

/// Parse, Bind and Execute of one unnamed statement.
pub(crate) fn run(sql: &str) -> Vec<u8> {
    [parse("", sql), bind("", ""), execute("", 0)].concat()
}

pub(super) fn minutes(count: u64) -> Duration {
    Duration::from_secs(count * 60)
}

#[derive(Debug)]
struct FixedCatalog(Arc<Snapshot>);

impl Catalogs for FixedCatalog {
    fn current(&self, _: &str) -> Option<Arc<Snapshot>> {
        Some(self.0.clone())
    }

    fn refresh<'a>(
        &'a self,
        _: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<Arc<Snapshot>, CatalogError>> + Send + 'a>> {
        Box::pin(async { Ok(self.0.clone()) })
    }

    fn names(&self) -> Vec<String> {
        vec!["shop".into()]
    }

    fn roles(&self, database: &str) -> Option<&[String]> {
        (database == "shop").then_some(&[])
    }
}

fn catalog() -> Arc<Snapshot> {
    let relations = vec![
        table(CUSTOMERS, "customers", &["id", "name", "ssn"]),
        table(ORDERS, "orders", &["id", "status"]),
    ];
    Arc::new(Snapshot::new(1, 150_000, vec!["public".into()], relations, Vec::new()))
}

fn table(oid: u32, name: &str, columns: &[&str]) -> Relation {
    let column = |(place, name): (usize, &&str)| Column {
        name: (*name).into(),
        number: i16::try_from(place + 1).unwrap(),
        type_oid: 25,
        type_name: "text".into(),
        base_type_oid: 25,
        base_type_kind: 'b',
        base_type_category: 'S',
        collation: None,
        not_null: false,
        generated: false,
        comment: None,
        security_labels: Vec::new(),
    };
    Relation {
        oid,
        schema: "public".into(),
        name: name.into(),
        kind: RelationKind::Table,
        columns: columns.iter().enumerate().map(column).collect(),
        primary_key: vec!["id".into()],
        parents: Vec::new(),
        definition: None,
        row_estimate: 5,
        has_triggers: false,
        has_rules: false,
        row_security: RowSecurity::default(),
        comment: None,
        stamp: 0,
    }
}

fn token(name: &str) -> String {
    format!("pct_{name}_0123456789abcdef0123456789abcdef")
}

const AGENTS: [(&str, &str); 6] = [
    ("bot", "agent"),
    ("few", "agent"),
    ("ana", "human"),
    ("priya", "human"),
    ("cron", "service"),
    ("dba", "service"),
];

const RULEBOOK: [(&str, &str); 3] = [
    (
        "session.rego",
        "package portcullis.session\nallow := true\nunjudged if input.identity.name == \"dba\"\n",
    ),
    (
        "statement.rego",
        r#"package portcullis.statement

allow if input.statement.class != "ddl"

deny contains {"rule": "no_ddl", "message": "definitions stay as they are", "hint": "ask a DBA"} if {
	input.statement.class == "ddl"
}

escalate contains {
	"rule": "updates_wait",
	"message": "a person looks at updates",
	"hint": "",
	"groups": ["all"],
	"ttl_s": 600,
} if {
	input.statement.kind == "update"
}

mask contains {"relation": "public.customers", "column": "ssn", "type": "redact", "value": "***"} if {
	input.identity.kind == "agent"
}

limit contains {"rows": 2} if input.identity.name == "few"
"#,
    ),
    ("approval.rego", "package portcullis.approval\neligible := true\n"),
];
