//! One session after its start-up, as a pure state machine: frames, answers and holds in; client bytes, upstream
//! bytes and questions for the gate out.
//!
//! The client's messages are taken one at a time. A Query, Parse or Bind opens an [`Ask`]; until its
//! [`Answer`] is there, [`Session::wants_client`] is false. What the gate admits goes up by spending the proof;
//! what it denies is replaced by a message that must fail at that very point, so that order, abort and
//! ReadyForQuery stay PostgreSQL's own. (Dropping a denied message would make PostgreSQL commit the rest of the
//! pipeline.) The session never awaits, never reads a clock, never names policy.

mod client;
mod ending;
mod guarded;
mod names;
mod server;
mod steps;
mod time;

use std::collections::HashSet;
use std::sync::Arc;

use bytes::BytesMut;

use crate::gate::{
    Authorized, Bind, Call, Context, Course, Denial, Fetch, Gate, Hold, InForce, Prepare, Prepared, Query,
    Receipt, Step, Tell,
};
use crate::identity::Identity;
use crate::mask::{Detectors, Stop};
use crate::protocol::backend::{ErrorFields, ready_for_query};
use crate::protocol::results::TransactionStatus;
use crate::protocol::sqlstate;
use crate::sql::Statement;
use crate::upstream::{Bound, Outbox};

pub use server::check_setting;
pub use time::{Task, Work};

use ending::{Ending, OBLIGED};
use steps::Parked;
use time::Time;

use super::guards::Guards;
use super::portals::{Flow, PortalId, Portals};
use super::refusals;
use super::replies::{Kind, Replies};

/// A session that has been opened.
#[derive(Debug)]
pub struct Session {
    context: Arc<Context>,
    outbox: Outbox,
    client: BytesMut,
    /// Words of our own that wait for the end of the row that is on its way to the client.
    aside: BytesMut,
    /// Whether the client has got a part of a row.
    is_midway: bool,
    /// Whether the server has got a part of a CopyData message.
    is_copying: bool,
    question: Option<Ask>,
    asking: Option<Asking>,
    replies: Replies<Owed>,
    portals: Portals,
    guards: Guards,
    limits: Limits,
    status: TransactionStatus,
    mode: Mode,
    /// Whether extended-protocol messages were sent since the last ReadyForQuery.
    in_series: bool,
    /// Whether the client waits behind an Execute until it has ended.
    holding: bool,
    /// Whether the client waits until the server has caught up.
    draining: bool,
    /// A result was stopped: nothing goes to the client until the server's error takes this one's place.
    stop: Option<ErrorFields>,
    /// Whether the stopped result is still coming, and should be cancelled.
    cancel: bool,
    /// Whether a governed statement ran in this transaction: what its COMMIT complains about is withheld too.
    governed: bool,
    time: Time,
    /// The rules in force; `None` where nobody tells.
    in_force: Option<InForce>,
    /// What waits for the gate to say that it may go on.
    parked: Option<Parked>,
    /// What the gate is to be asked about it.
    step: Option<Step>,
    /// Whether the rulebook ends the session, and how soon.
    ending: Option<Ending>,
    /// What is looked for in whatever the server says: all that was looked for in a result of this session.
    detectors: Detectors,
    /// Whether the server has told the client that it ends the session.
    goodbye: bool,
    /// Channels that a LISTEN of this session was allowed.
    channels: HashSet<String>,
    /// Settings under which what the client sends can't be read. Only in an unjudged session there are any.
    unreadable: HashSet<String>,
    notes: Vec<String>,
}

/// What one session may make the gateway keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest statement, in bytes.
    pub statement_bytes: usize,
    /// Most prepared statements.
    pub statements: usize,
    /// Most portals.
    pub portals: usize,
}

impl Default for Limits {
    /// More than any driver's statement cache, and portals likewise, of which one series may make many.
    fn default() -> Self {
        Self { statement_bytes: Statement::WIRE_CAP, statements: 10_000, portals: 10_000 }
    }
}

/// An act that the gate must judge before the session goes on.
#[derive(Debug)]
pub enum Ask {
    /// A simple query string.
    Query(Query),
    /// A statement to prepare.
    Prepare(Prepare),
    /// A portal to make.
    Bind(Bind),
    /// A cursor to run.
    Fetch(Fetch),
    /// A function to call.
    Call(Call),
    /// A portal that is to go on although the rules are others by now.
    Resume(Box<Step>),
}

impl Ask {
    /// Puts the question to the gate for `who`; `tell` hears of a wait for approval.
    pub async fn put(self, gate: &Gate, who: &Identity, tell: &dyn Tell) -> Answer {
        match self {
            Self::Query(act) => Answer::Query(gate.admit(who, act, tell).await),
            Self::Prepare(act) => Answer::Prepare(Box::new(gate.admit(who, act, tell).await)),
            Self::Bind(act) => Answer::Bind(Box::new(gate.admit(who, act, tell).await)),
            Self::Fetch(act) => Answer::Fetch(Box::new(gate.admit(who, act, tell).await)),
            Self::Call(act) => Answer::Call(Box::new(gate.admit(who, act, tell).await)),
            Self::Resume(step) => Answer::Resume(Box::new(gate.goes_on(who, *step).await)),
        }
    }
}

/// What the gate says.
#[derive(Debug)]
pub enum Answer {
    /// To [`Ask::Query`].
    Query(Result<Authorized<Query>, Denial>),
    /// To [`Ask::Prepare`].
    Prepare(Box<Result<Authorized<Prepare>, Denial>>),
    /// To [`Ask::Bind`].
    Bind(Box<Result<Authorized<Bind>, Denial>>),
    /// To [`Ask::Fetch`].
    Fetch(Box<Result<Authorized<Fetch>, Denial>>),
    /// To [`Ask::Call`].
    Call(Box<Result<Authorized<Call>, Denial>>),
    /// To [`Ask::Resume`].
    Resume(Box<Result<Course, Stop>>),
}

/// Why a session must end at once.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// The client broke the protocol.
    #[error("{what}")]
    Client {
        /// How.
        what: String,
    },
    /// The database broke the protocol.
    #[error("the database broke the protocol: {what}")]
    Server {
        /// How.
        what: String,
    },
    /// A setting was changed on which the reading of statements rests.
    #[error("`{name}` may not be `{value}` behind the gateway")]
    Setting {
        /// The setting.
        name: String,
        /// Its value.
        value: String,
    },
}

/// What the client's messages are at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Taken one by one.
    Normal,
    /// Swallowed up to the next Sync, because something failed: as PostgreSQL does.
    Skipping,
    /// Data of an admitted COPY.
    CopyIn,
    /// Over: the client said goodbye.
    Closed,
}

/// What is put in a denied act's place.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Asking {
    Query,
    Parse { name: String },
    Bind,
    Execute { name: String, max_rows: u32 },
}

/// What is kept with each reply that the server owes.
#[derive(Debug)]
enum Owed {
    Parse(Box<Preparing>),
    Portal(PortalId),
    Query(Vec<Flow>),
    Call(Box<Flow>),
    CloseStatement {
        unnamed: bool,
    },
    ClosePortal {
        unnamed: bool,
    },
    Refused {
        error: ErrorFields,
        unnamed_parse: bool,
    },
    /// The description of a statement.
    Description(Arc<Prepared>),
    /// A message of our own: the client has not sent it and hears nothing of it.
    Own,
    /// A message of our own that makes sure of definitions: should it fail, so does what comes behind it.
    Guard,
    Nothing,
}

/// A Parse that was sent.
#[derive(Debug)]
struct Preparing {
    name: String,
    prepared: Arc<Prepared>,
    receipt: Receipt,
}

impl Session {
    /// A session that is ready for queries, with the settings that the server has reported.
    #[must_use]
    pub fn new(context: Arc<Context>, settings: &[(String, String)], limits: Limits) -> Self {
        let unreadable = settings.iter().filter(|(name, value)| check_setting(name, value).is_err());
        Self {
            unreadable: unreadable.map(|(name, _)| name.clone()).collect(),
            context,
            outbox: Outbox::new(),
            client: BytesMut::new(),
            aside: BytesMut::new(),
            is_midway: false,
            is_copying: false,
            question: None,
            asking: None,
            replies: Replies::default(),
            portals: Portals::default(),
            guards: Guards::default(),
            limits,
            status: TransactionStatus::Idle,
            mode: Mode::Normal,
            in_series: false,
            holding: false,
            draining: false,
            stop: None,
            cancel: false,
            governed: false,
            time: Time::default(),
            in_force: None,
            parked: None,
            step: None,
            ending: None,
            detectors: Detectors::default(),
            goodbye: false,
            channels: HashSet::new(),
            notes: Vec::new(),
        }
    }

    /// Takes in what the gate says to the open question. An answer to a withdrawn question is dropped.
    pub fn answer(&mut self, answer: Answer) {
        let Some(asking) = self.asking.take() else { return };
        let denial = match answer {
            Answer::Query(Ok(proof)) => return self.send_query(proof),
            Answer::Query(Err(denial)) => denial,
            Answer::Prepare(answer) => match *answer {
                Ok(proof) => return self.send_parse(proof),
                Err(denial) => denial,
            },
            Answer::Bind(answer) => match *answer {
                Ok(proof) => return self.send_bind(proof),
                Err(denial) => denial,
            },
            Answer::Fetch(answer) => match *answer {
                Ok(proof) => return self.send_fetch(proof),
                Err(denial) => denial,
            },
            Answer::Call(answer) => match *answer {
                Ok(proof) => return self.send_call(proof),
                Err(denial) => denial,
            },
            Answer::Resume(answer) => return self.resumed(asking, *answer),
        };
        self.may_end(&denial, asking == Asking::Query);
        self.refuse(asking, refusals::denied(&denial));
    }

    /// Tells the client that the statement of the open question waits for approval.
    pub fn held(&mut self, hold: &Hold) {
        if self.asking.is_some() {
            let out = if self.is_midway { &mut self.aside } else { &mut self.client };
            refusals::held(hold).put_notice(out);
        }
    }

    /// The client wants to cancel. True if that ended an open question; false if what runs upstream is meant.
    pub fn cancelled(&mut self) -> bool {
        let Some(asking) = self.asking.take() else { return false };
        self.question = None;
        self.refuse(asking, refusals::cancelled());
        true
    }

    /// Whether the next client frame may be handed in.
    #[must_use]
    pub fn wants_client(&self) -> bool {
        match self.mode {
            Mode::CopyIn => self.parked.is_none(),
            Mode::Closed => false,
            Mode::Normal | Mode::Skipping if self.is_last() => false,
            Mode::Normal | Mode::Skipping => {
                self.asking.is_none() && !self.replies.is_closed() && !self.holding && !self.draining
            }
        }
    }

    /// The act to hand to the gate, once.
    pub fn take_question(&mut self) -> Option<Ask> {
        self.question.take()
    }

    /// Whether a question is open: if not, whoever still works on one may drop it.
    #[must_use]
    pub fn is_asking(&self) -> bool {
        self.asking.is_some()
    }

    /// Whether what runs upstream should be cancelled, because its result was stopped. True once.
    pub fn take_cancel(&mut self) -> bool {
        std::mem::take(&mut self.cancel)
    }

    /// Whether the client said goodbye.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.mode == Mode::Closed
    }

    /// Whether nothing is under way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.asking.is_none() && self.replies.is_empty()
    }

    /// Whether the server itself has told the client why the session ends.
    #[must_use]
    pub fn server_said_goodbye(&self) -> bool {
        self.goodbye
    }

    /// Whether the client has got a part of a row: then it can't be told anything before the rest.
    #[must_use]
    pub fn is_midway(&self) -> bool {
        self.is_midway
    }

    /// Whether the server has got a part of a message: then it can't be told anything before the rest.
    #[must_use]
    pub fn is_copying(&self) -> bool {
        self.is_copying
    }

    /// Whether a transaction is open, or has failed and not ended.
    #[must_use]
    pub fn is_in_transaction(&self) -> bool {
        self.status != TransactionStatus::Idle
    }

    /// Bytes for the server.
    pub fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// Bytes for the client.
    pub fn client_bytes(&mut self) -> &mut BytesMut {
        &mut self.client
    }

    /// What the client did wrong, for the ledger.
    pub fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    fn send_query(&mut self, proof: Authorized<Query>) {
        let guards = self.prepare_guards(&proof.guards());
        let (running, ahead) = self.outbox.query(proof, &guards);
        if running.iter().any(|running| running.ends_session) {
            self.ends_with_string(OBLIGED);
        }
        let mut flows: Vec<Flow> = running.into_iter().map(|running| Flow::behind(running, ahead)).collect();
        self.time_string(&mut flows);
        self.governed |= flows.iter().any(Flow::is_governed);
        self.detectors = flows.iter().fold(self.detectors, |all, flow| all.and(flow.detectors()));
        flows.iter().for_each(|flow| self.guards.sent(flow.facts()));
        let kind = if guards.is_empty() { Kind::Query } else { Kind::GuardedQuery(guards.len()) };
        self.replies.expect(kind, Owed::Query(flows));
    }

    fn send_parse(&mut self, proof: Authorized<Prepare>) {
        let name = proof.act().name.clone();
        let (prepared, receipt) = self.outbox.prepare(proof);
        self.governed |= prepared.plan().governed;
        self.portals.parse_sent(name.clone(), Arc::clone(&prepared));
        self.sent(Kind::Parse, Owed::Parse(Box::new(Preparing { name, prepared, receipt })));
    }

    fn send_bind(&mut self, proof: Authorized<Bind>) {
        let name = proof.act().portal.clone();
        let prepared = Arc::clone(&proof.act().prepared);
        self.send_guards(&proof.guards());
        let is_timed = proof.is_timed();
        if is_timed {
            // By the answers it shows when the server begins with it.
            self.outbox.flush();
        }
        let Bound { running, is_prepared_anew } = self.outbox.bind(proof);
        if is_prepared_anew {
            self.sent(Kind::Close, Owed::Own);
            self.sent(Kind::Parse, Owed::Own);
        }
        self.guards.sent(&running.facts);
        let ends_session = running.ends_session;
        let portal = self.portals.bind_sent(name, prepared, running);
        self.runs(portal);
        self.sent(Kind::Bind, Owed::Portal(portal));
        if is_timed {
            // And when it is done, whenever its client asks for that.
            self.outbox.flush();
        }
        if ends_session {
            self.ends_with_portal(portal);
        }
    }

    /// Notes what holds from now on, because a portal's statement may run.
    fn runs(&mut self, portal: PortalId) {
        let Some(flow) = self.portals.flow_mut(portal) else { return };
        self.governed |= flow.is_governed();
        self.detectors = self.detectors.and(flow.detectors());
        self.time.start(flow);
    }

    /// Notes that a message of the extended protocol was sent.
    fn sent(&mut self, kind: Kind, owed: Owed) {
        self.in_series = true;
        self.replies.expect(kind, owed);
        if self.replies.len() >= MOST_OUTSTANDING && !self.draining {
            // The server keeps its replies until somebody asks for them.
            self.outbox.flush();
            self.draining = true;
        }
    }

    /// Puts what must fail in a refused message's place; `error` will take the server's error's place.
    fn refuse(&mut self, asking: Asking, error: ErrorFields) {
        match asking {
            Asking::Query => self.refuse_query(error),
            Asking::Parse { name } => {
                self.outbox.refuse_parse(&name);
                self.sent(Kind::Refusal, Owed::Refused { error, unnamed_parse: name.is_empty() });
                self.mode = Mode::Skipping;
            }
            Asking::Bind | Asking::Execute { .. } => self.refuse_portal(error),
        }
    }

    fn refuse_query(&mut self, error: ErrorFields) {
        let alone = self.replies.is_empty() && !self.in_series && self.status == TransactionStatus::Idle;
        if alone {
            // Nothing is outstanding and no transaction open: nothing upstream could depend on this failure.
            error.put_error(&mut self.client);
            ready_for_query(&mut self.client, self.status.as_byte());
            self.portals.drop_unnamed_statement();
        } else {
            self.outbox.refuse_query();
            self.replies.expect(Kind::RefusedQuery, Owed::Refused { error, unnamed_parse: false });
        }
    }

    fn refuse_portal(&mut self, error: ErrorFields) {
        self.outbox.refuse_portal();
        self.sent(Kind::Refusal, Owed::Refused { error, unnamed_parse: false });
        self.mode = Mode::Skipping;
    }

    fn ask(&mut self, question: Ask, asking: Asking) {
        self.question = Some(question);
        self.asking = Some(asking);
    }
}

impl Violation {
    /// What the client is told.
    #[must_use]
    pub fn to_fields(&self) -> ErrorFields {
        let code = match self {
            Self::Client { .. } | Self::Server { .. } => sqlstate::PROTOCOL_VIOLATION,
            Self::Setting { .. } => sqlstate::INVALID_PARAMETER_VALUE,
        };
        refusals::fatal(code, self.to_string())
    }
}

/// How many replies may be outstanding before the session waits for the server.
const MOST_OUTSTANDING: usize = 1024;
