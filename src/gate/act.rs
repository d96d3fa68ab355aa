//! What an identity can want. [`Act`] is sealed: a new way to reach a database is a change in this file.

use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use smol_str::SmolStr;

use crate::approval::{ApprovalId, Vote};
use crate::identity::Identity;
use crate::mask::RowGrants;
use crate::sql::Statement;

use super::authorized::{Clearance, PrepareClearance, QueryClearance};
use super::definitions::Redefined;
use super::journal::Scene;
use super::rows::Filtered;
use super::unjudged::Unjudged;
use super::{Authorized, Denial, Gate, Names, Prepared, Tell};

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
    /// Where, for the ledger.
    pub(super) scene: Scene,
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

    /// What the client may set at start-up, exactly as admitted: name and value, each name once. In a judged session
    /// nothing of it is what the gateway pins; in an unjudged one it is all that the client asked for, and holds
    /// `replication` only where the rulebook allows that.
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

    /// Whether statements that are not understood may run too, because nothing is masked for the identity.
    #[must_use]
    pub fn is_unjudged(&self) -> bool {
        self.unjudged.is_some()
    }
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
    /// What the client sets at start-up, `replication` included: name and value, each name once, not judged yet.
    pub settings: Vec<(String, String)>,
}

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

/// To run one statement from parse to result, by an MCP tool.
#[derive(Debug)]
pub struct Run {
    /// Where.
    pub context: Arc<Context>,
    /// What; exactly one statement.
    pub sql: Statement,
    /// The values in text form; `None` is NULL.
    pub parameters: Vec<Option<String>>,
    /// The tool's name.
    pub tool: String,
    /// What the agent says it is for; empty where the tool takes no reason.
    pub purpose: String,
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
    type Grant = Clearance;
}

impl Act for Approve {
    /// The approver's groups as they were when the gate judged.
    type Grant = Vec<String>;
}
