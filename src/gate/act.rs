//! What an identity can want. [`Act`] is sealed: a new way to reach a database is a change in this file.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use smol_str::SmolStr;

use crate::approval::{ApprovalId, Vote};
use crate::identity::Identity;
use crate::mask::RowGrants;
use crate::policy::input::SessionFacts;
use crate::sql::Statement;

use super::authorized::{Clearance, PrepareClearance, QueryClearance, RunClearance};
use super::definitions::Redefined;
use super::journal::Scene;
use super::rows::Filtered;
use super::unjudged::Unjudged;
use super::{Authorized, Course, Denial, Gate, Names, Prepared, Tell};

/// Something that an identity wants, and that [`super::Gate::admit`] may allow.
#[expect(private_bounds, reason = "the private supertrait seals it: no other module can add an act")]
pub trait Act: Judged + Debug + Send + 'static {
    /// What the proof carries besides the act: made by the gate only.
    type Grant: Debug + Send;
}

/// How the gate judges an act. Private to the gate, so that [`Act`] is closed.
pub(super) trait Judged: Sized {
    /// Judges the act and writes the ledger.
    fn judged(
        self,
        gate: &Gate,
        who: &Identity,
        tell: &dyn Tell,
    ) -> impl Future<Output = Result<Authorized<Self>, Denial>> + Send
    where
        Self: Act;
}

/// Which door somebody came in by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Door {
    /// The PostgreSQL wire protocol.
    Wire,
    /// MCP tools.
    Mcp,
    /// The people's console and its API.
    Console,
}

impl Door {
    /// The word that policy, ledger and approvals use.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Wire => "wire",
            Self::Mcp => "mcp",
            Self::Console => "console",
        }
    }
}

/// Where statements of one session are judged and run. Made by admitting a [`Connect`] only.
#[derive(Debug)]
pub struct Context {
    pub(super) session_id: SmolStr,
    pub(super) door: Door,
    pub(super) client: String,
    pub(super) application: String,
    pub(super) database: SmolStr,
    pub(super) role: Option<String>,
    pub(super) settings: Vec<(String, String)>,
    pub(super) unjudged: Option<Unjudged>,
    pub(super) filtered: Filtered,
    pub(super) read_only: bool,
    /// Whether its transaction has changed definitions.
    pub(super) redefined: Redefined,
    /// How it came about.
    pub(super) origin: Origin,
    /// The labels of what was read in it.
    pub(super) labels: Mutex<BTreeSet<String>>,
    /// What rules of a revision were shown of all this, by its digest in the ledger.
    pub(super) shown: Mutex<Option<(SmolStr, SmolStr)>>,
    /// Where, for the ledger.
    pub(super) scene: Scene,
}

/// How a session came about.
#[derive(Debug, Clone, Default)]
pub(super) struct Origin {
    pub(super) tls: bool,
    pub(super) proof: &'static str,
    pub(super) purpose: String,
    /// In seconds since 1970-01-01.
    pub(super) opened: i64,
    pub(super) lifetime: Option<Duration>,
    /// What the client asked to set.
    pub(super) asked: Vec<(String, String)>,
}

impl Context {
    /// The session's id: 128 random bits, lower-case hexadecimal.
    #[must_use]
    pub fn session_id(&self) -> &str {
        &self.session_id
    }

    /// The door.
    #[must_use]
    pub fn door(&self) -> Door {
        self.door
    }

    /// The client's `address:port`; empty where unknown.
    #[must_use]
    pub fn client(&self) -> &str {
        &self.client
    }

    /// `application_name` or the MCP client's name, as claimed.
    #[must_use]
    pub fn application(&self) -> &str {
        &self.application
    }

    /// The database's name in the configuration.
    #[must_use]
    pub fn database(&self) -> &str {
        &self.database
    }

    /// The upstream role's name in the configuration; `None` is the database's own credential.
    #[must_use]
    pub fn role(&self) -> Option<&str> {
        self.role.as_deref()
    }

    /// What the session begins with: what the client may set at start-up, exactly as admitted, and over it what the
    /// rulebook chooses; name and value, each name once. In a judged session nothing of it is what the gateway pins; in an
    /// unjudged one it is all that the client asked for, and holds `replication` only where the rulebook allows that.
    #[must_use]
    pub fn settings(&self) -> &[(String, String)] {
        &self.settings
    }

    /// Whether the server's session must be READ ONLY, besides all that is judged.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// The row filters with the values that the server's session must be given at start-up.
    #[must_use]
    pub fn rows(&self) -> &RowGrants {
        &self.filtered.pinned
    }

    /// How long the session may last; `None` leaves that to the configuration.
    #[must_use]
    pub fn lifetime(&self) -> Option<Duration> {
        self.origin.lifetime
    }

    /// As rules read it.
    pub(super) fn facts(&self) -> SessionFacts<'_> {
        SessionFacts {
            address: address(&self.client),
            tls: self.origin.tls,
            proof: self.origin.proof,
            application: &self.application,
            role: self.role().unwrap_or_default(),
            purpose: &self.origin.purpose,
            opened: self.origin.opened,
        }
    }

    /// The labels of what was read in it, ordered.
    pub(super) fn labels(&self) -> Vec<String> {
        self.labels.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Notes that what has these labels is read in it.
    pub(super) fn label(&self, labels: &[String]) {
        if !labels.is_empty() {
            let mut known = self.labels.lock().unwrap_or_else(PoisonError::into_inner);
            known.extend(labels.iter().cloned());
        }
    }

    /// Whether statements that are not understood may run too, because nothing is masked for the identity.
    #[must_use]
    pub fn is_unjudged(&self) -> bool {
        self.unjudged.is_some()
    }
}

/// The IP address of an `address:port`; all of it where it has another form.
pub(super) fn address(client: &str) -> &str {
    let address = client.rsplit_once(':').map_or(client, |(address, _)| address);
    address.trim_start_matches('[').trim_end_matches(']')
}

/// To open a session on a database.
#[derive(Debug)]
pub struct Connect {
    /// By which door.
    pub door: Door,
    /// The database's name in the configuration.
    pub database: String,
    /// The client's `address:port`; empty where unknown.
    pub client: String,
    /// `application_name` or the MCP client's name, as claimed.
    pub application: String,
    /// What the client sets at start-up, `replication` included: name and value, each name once, not judged yet. What it
    /// is for is among it, as [`PURPOSE`].
    pub settings: Vec<(String, String)>,
    /// Whether the client came by TLS.
    pub tls: bool,
}

/// The setting by which a client says what its session is for. It stays in the gateway.
pub const PURPOSE: &str = "portcullis.purpose";

/// To run a simple-protocol query string of any number of statements.
#[derive(Debug)]
pub struct Query {
    /// Where.
    pub context: Arc<Context>,
    /// What.
    pub sql: Statement,
    /// What names mean to it.
    pub names: Names,
}

/// To define a prepared statement. Nothing runs.
#[derive(Debug)]
pub struct Prepare {
    /// Where.
    pub context: Arc<Context>,
    /// What; exactly one statement, or an empty string.
    pub sql: Statement,
    /// The statement's name; empty for the unnamed one.
    pub name: String,
    /// OIDs of the parameter types that the client gives; 0 leaves one to the server.
    pub parameter_types: Vec<u32>,
    /// What names mean to it.
    pub names: Names,
}

/// Bind values as the client sent them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parameters {
    /// Format codes: none (all text), one for all, or one each; 0 is text, 1 binary.
    pub formats: Vec<i16>,
    /// The values; `None` is NULL.
    pub values: Vec<Option<Bytes>>,
    /// Format codes of the result columns, counted as `formats`.
    pub result_formats: Vec<i16>,
}

impl Parameters {
    /// The format code of value `index`: 0 is text, 1 binary.
    #[must_use]
    pub fn format(&self, index: usize) -> i16 {
        match self.formats.as_slice() {
            [] => 0,
            [all] => *all,
            each => each.get(index).copied().unwrap_or(0),
        }
    }
}

/// To make a portal of a prepared statement, and run it.
#[derive(Debug)]
pub struct Bind {
    /// Where.
    pub context: Arc<Context>,
    /// Which statement.
    pub prepared: Arc<Prepared>,
    /// The statement's name, as upstream knows it.
    pub statement_name: String,
    /// The portal's name; empty for the unnamed one.
    pub portal: String,
    /// The values.
    pub parameters: Parameters,
    /// What names mean to it.
    pub names: Names,
}

/// To run a cursor that SQL has declared by an Execute, as FETCH does.
#[derive(Debug)]
pub struct Fetch {
    /// Where.
    pub context: Arc<Context>,
    /// The cursor's name.
    pub portal: String,
    /// Most rows to fetch; 0 is all.
    pub max_rows: u32,
    /// What names mean to it.
    pub names: Names,
}

/// To call a function by a FunctionCall.
#[derive(Debug)]
pub struct Call {
    /// Where.
    pub context: Arc<Context>,
    /// `pg_proc.oid` of the function.
    pub function: u32,
    /// The values; the only result format says how the result comes.
    pub parameters: Parameters,
}

/// To run statements from parse to result, by an MCP tool: all in one transaction.
#[derive(Debug)]
pub struct Run {
    /// Where.
    pub context: Arc<Context>,
    /// What; a read is exactly one statement.
    pub sql: Statement,
    /// The values of each statement, in order: in text form, `None` is NULL.
    pub parameters: Vec<Vec<Option<String>>>,
    /// The tool's name.
    pub tool: String,
    /// What the agent says it is for; empty where the tool takes no reason.
    pub purpose: String,
    /// The caller's key, which stands for this run for ever; empty without one.
    pub key: String,
    /// In which transaction.
    pub mode: RunMode,
}

/// In which kind of transaction a [`Run`] runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunMode {
    /// `BEGIN READ ONLY`; at most so many rows are fetched.
    Read {
        /// Most rows that the caller wants; the statement's ceiling may be lower.
        max_rows: u64,
    },
    /// `BEGIN`, rolled back if more rows are affected.
    Write {
        /// Most rows that may be affected.
        max_affected: Option<u64>,
    },
}

/// To go on with the result of a [`Run`], of which a part was sent before: the next page of a cursor.
#[derive(Debug)]
pub struct Page {
    /// What the result goes on by.
    pub course: Course,
    /// From where it is asked for now, `address:port`; empty where unknown.
    pub client: String,
    /// Most rows that the caller wants this time.
    pub max_rows: u64,
}

/// To decide on a request for approval.
#[derive(Debug)]
pub struct Approve {
    /// Which.
    pub id: ApprovalId,
    /// Yes or no.
    pub vote: Vote,
    /// Why; required for a no.
    pub note: String,
    /// The approver's `address:port`; empty where unknown.
    pub client: String,
}

impl Act for Connect {
    type Grant = Arc<Context>;
}

impl Act for Query {
    type Grant = QueryClearance;
}

impl Act for Prepare {
    type Grant = PrepareClearance;
}

impl Act for Bind {
    type Grant = Clearance;
}

impl Act for Fetch {
    type Grant = Clearance;
}

impl Act for Call {
    type Grant = Clearance;
}

impl Act for Run {
    type Grant = RunClearance;
}

impl Act for Page {
    /// What the result goes on by from now on.
    type Grant = Course;
}

impl Act for Approve {
    /// The approver's groups as they were when the gate judged.
    type Grant = Vec<String>;
}
