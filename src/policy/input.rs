//! The documents that the rulebook reads. Every field is always present.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::identity::Kind;
use crate::identity::agent::Claims;
use crate::sql::Facts;

/// The input of `portcullis.statement`, and of `portcullis.bind` where values are known.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct StatementInput<'a> {
    /// Who asks.
    pub identity: IdentityInput<'a>,
    /// The database's name in the configuration.
    pub database: &'a str,
    /// `wire` or `mcp`.
    pub door: &'a str,
    /// `query` (simple protocol), `prepare`, `bind`, `fetch` (an Execute of a cursor), `function_call` or `tool`.
    pub via: &'a str,
    /// The name that the client gives the prepared statement, or the cursor; empty where there is none.
    pub name: &'a str,
    /// The MCP tool's name; empty at the wire door.
    pub tool: &'a str,
    /// What the tool was called with, besides the statement and its values.
    pub arguments: Arguments<'a>,
    /// In which session.
    pub session: SessionFacts<'a>,
    /// What the statement would do.
    pub statement: &'a Facts,
    /// The statement's place among those sent together.
    pub batch: Batch,
    /// Approvals that were given for exactly this statement.
    pub approvals: &'a [ApprovalEvidence],
    /// Bind values, where the door decoded them; `known` is false where it did not.
    pub bind: BindInput<'a>,
    /// What the identity has had so far.
    pub budget: Budget,
    /// The labels of what was read so far, as `label` rules gave them.
    pub labels: LabelsInput<'a>,
    /// Whether the session is unjudged: then `statement` may be one that was not understood.
    pub unjudged: bool,
    /// When.
    pub time: Time,
}

impl<'a> StatementInput<'a> {
    /// A query string of one `statement`, of which nothing else is known.
    #[must_use]
    pub fn plain(
        identity: IdentityInput<'a>,
        database: &'a str,
        door: &'a str,
        statement: &'a Facts,
        time: Time,
    ) -> Self {
        Self {
            identity,
            database,
            door,
            via: "query",
            name: "",
            tool: "",
            arguments: Arguments::default(),
            session: SessionFacts::default(),
            statement,
            batch: Batch { index: 0, size: 1 },
            approvals: &[],
            bind: BindInput::default(),
            budget: Budget::default(),
            labels: LabelsInput::default(),
            unjudged: false,
            time,
        }
    }
}

/// An identity as policy sees it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct IdentityInput<'a> {
    /// Its name. One person has one, by whatever way they come.
    pub name: &'a str,
    /// Its file is `data.agents[file]`. As `name`, but for whom an issuer vouches: many may come by one file, as members of
    /// a group, or as an agent on behalf of different people.
    pub file: &'a str,
    /// What sort of principal.
    pub kind: Kind,
    /// Who answers for it; empty without an owner.
    pub owner: &'a str,
    /// Its groups: its file's, and those that its token's issuer was allowed to confer.
    pub groups: &'a [String],
    /// On whose behalf: its owner, the owner's owner, and so on; empty without an owner. Whoever is last answers for all.
    pub delegation: Vec<&'a str>,
    /// What its file says of it under `[claims]`, or whoever vouched for it: a name with one text or several.
    pub claims: &'a Claims,
}

impl<'a> IdentityInput<'a> {
    /// An identity of which nothing is known but its name and kind.
    #[must_use]
    pub fn named(name: &'a str, kind: Kind) -> Self {
        Self { name, file: name, kind, owner: "", groups: &[], delegation: Vec::new(), claims: &NO_CLAIMS }
    }
}

static NO_CLAIMS: Claims = Claims::new();

/// What a tool was called with.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
pub struct Arguments<'a> {
    /// What the agent says that it is for; empty where the tool takes no reason.
    pub reason: &'a str,
    /// Most rows that it wants; -1 where it does not say.
    pub max_rows: i64,
    /// Most rows that may be changed; -1 where it does not say.
    pub max_affected: i64,
}

impl Default for Arguments<'_> {
    fn default() -> Self {
        Self { reason: "", max_rows: -1, max_affected: -1 }
    }
}

/// How a session came about. At the MCP door every call has one of its own.
#[derive(Debug, Clone, Copy, Default, Serialize, JsonSchema)]
pub struct SessionFacts<'a> {
    /// The client's IP address; empty where it is not known.
    pub address: &'a str,
    /// Whether the client came by TLS.
    pub tls: bool,
    /// How the identity proved itself: `scram`, `token`, `certificate`, `oidc` or `trust`; empty where nobody did.
    pub proof: &'a str,
    /// `application_name` or the MCP client's name, as claimed.
    pub application: &'a str,
    /// The upstream role's name in the configuration; empty for the database's own credential.
    pub role: &'a str,
    /// What the client says that it is for: the setting `portcullis.purpose` of a start-up packet, or the header
    /// `Portcullis-Purpose`; empty where it does not say.
    pub purpose: &'a str,
    /// When it was opened, in seconds since 1970-01-01.
    pub opened: i64,
}

/// What an identity has had so far, in all its sessions and by both doors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Budget {
    /// In the last 60 seconds, to the minute.
    pub minute: Spent,
    /// In the last 60 minutes, to the minute.
    pub hour: Spent,
    /// Since midnight, UTC.
    pub day: Spent,
}

/// What was had in a span of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Spent {
    /// Statements that were allowed.
    pub statements: u64,
    /// Statements that were denied.
    pub denied: u64,
    /// Rows that the client got, and rows that its writes changed.
    pub rows: u64,
    /// Bytes of row data that the client got.
    pub bytes: u64,
}

/// The labels of what was read, ordered.
#[derive(Debug, Clone, Copy, Default, Serialize, JsonSchema)]
pub struct LabelsInput<'a> {
    /// In this session. At the MCP door, where each call stands alone: by the identity, in the last 60 minutes.
    pub session: &'a [String],
    /// By the identity, since midnight, UTC.
    pub day: &'a [String],
}

/// A statement's place in a simple query of several.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
pub struct Batch {
    /// From 0.
    pub index: usize,
    /// How many there are.
    pub size: usize,
}

/// An approval as evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ApprovalEvidence {
    /// The request's id.
    pub id: String,
    /// Who approved.
    pub by: String,
    /// The approver's groups at that time.
    pub groups: Vec<String>,
    /// The approver's groups now: none for somebody who is gone or disabled. An approval counts by what is in both.
    pub groups_now: Vec<String>,
}

impl ApprovalEvidence {
    /// The yes of `by`, a member of `groups` then. Which groups they have now is for the rulebook's snapshot to say.
    #[must_use]
    pub fn new(id: &str, by: &str, groups: &[String]) -> Self {
        Self { id: id.to_owned(), by: by.to_owned(), groups: groups.to_vec(), groups_now: Vec::new() }
    }
}

/// Bind values.
#[derive(Debug, Clone, Copy, Default, Serialize, JsonSchema)]
pub struct BindInput<'a> {
    /// Whether there are values: false for what is only prepared, or runs by a name.
    pub known: bool,
    /// One text (or null) a parameter, as approvers read it: what is binary in hexadecimal, with its likely readings.
    pub values: &'a [Option<String>],
    /// The values by their types.
    pub parameters: &'a [Parameter],
}

/// One bind value.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Parameter {
    /// From 1, as in `$1`.
    pub index: usize,
    /// The type as PostgreSQL calls it (`int4`, `text`, `timestamptz`, ...); empty where the client leaves it to the
    /// server.
    pub type_name: String,
    /// Whether `value` is what the server will read: false where the type is not known (tools never say it), or is not
    /// decoded, or has other ways to write the same value than this one. Rules should take such a value for the worst.
    pub known: bool,
    /// Whether it is NULL.
    pub null: bool,
    /// A boolean, a number (integers of up to 64 bits, floating point), an array of these, or a text: of numerics,
    /// dates and all else as PostgreSQL writes it. Where it is not known the text as it came, or the empty text.
    pub value: serde_json::Value,
}

/// The time of the decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Time {
    /// Seconds since 1970-01-01, UTC. Whoever reads it decides anew each second; the other fields change less often.
    pub unix: i64,
    /// UTC: `2026-11-20`.
    pub date: String,
    /// UTC: from 0 to 23.
    pub hour: i8,
    /// From 0 to 59.
    pub minute: i8,
    /// UTC: from 1 (Monday) to 7.
    pub weekday: i8,
    /// The same elsewhere, by the names of the IANA time zones that the rulebook reads: `input.time.zones["Europe/Berlin"]`.
    pub zones: BTreeMap<String, ZoneTime>,
}

/// The time of the decision by the clocks of a time zone, daylight saving included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ZoneTime {
    /// `2026-11-20`.
    pub date: String,
    /// From 0 to 23.
    pub hour: i8,
    /// From 0 to 59.
    pub minute: i8,
    /// From 1 (Monday) to 7.
    pub weekday: i8,
}

impl Time {
    /// The time `now`, and by the clocks of `zones`.
    #[must_use]
    pub fn at(now: Timestamp, zones: &[TimeZone]) -> Self {
        let of = |zone: &TimeZone| -> ZoneTime {
            let there = zone.to_datetime(now);
            ZoneTime {
                date: there.date().to_string(),
                hour: there.hour(),
                minute: there.minute(),
                weekday: there.date().weekday().to_monday_one_offset(),
            }
        };
        let named = |zone: &TimeZone| Some((zone.iana_name()?.to_owned(), of(zone)));
        let ZoneTime { date, hour, minute, weekday } = of(&TimeZone::UTC);
        let zones = zones.iter().filter_map(named).collect();
        Self { unix: now.as_second(), date, hour, minute, weekday, zones }
    }
}

/// The input of `portcullis.connect`: what is known before anybody has proved anything.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ConnectInput<'a> {
    /// `wire`, `mcp` or `console`.
    pub door: &'a str,
    /// From where.
    pub client: ClientInput<'a>,
    /// How the connection is encrypted.
    pub tls: TlsInput<'a>,
    /// The protocol: `3.0` or `3.2` at the wire door, `http` elsewhere.
    pub protocol: &'a str,
    /// Who the client claims to be; empty where it proves that by a token.
    pub user: &'a str,
    /// The database that it asks for; empty where it does not say yet.
    pub database: &'a str,
    /// `application_name`, or the user agent, as claimed.
    pub application: &'a str,
    /// What the client sets when it connects, `options` included; `replication` among it.
    pub settings: Vec<SettingInput<'a>>,
    /// When.
    pub time: Time,
}

/// Where a client is.
#[derive(Debug, Clone, Copy, Default, Serialize, JsonSchema)]
pub struct ClientInput<'a> {
    /// Its IP address; empty where it is not known.
    pub address: &'a str,
    /// Its port; 0 where it is not known.
    pub port: u16,
    /// Whether it is on the gateway's own machine.
    pub loopback: bool,
}

/// A connection's encryption.
#[derive(Debug, Clone, Copy, Default, Serialize, JsonSchema)]
pub struct TlsInput<'a> {
    /// Whether there is any.
    pub used: bool,
    /// `TLSv1.2` or `TLSv1.3`; empty without.
    pub version: &'a str,
    /// The name that the client asked for (SNI); empty where it did not say.
    pub server_name: &'a str,
    /// The client's certificate, which one of the configured authorities has vouched for.
    pub certificate: CertificateInput<'a>,
}

/// A client's certificate.
#[derive(Debug, Clone, Copy, Default, Serialize, JsonSchema)]
pub struct CertificateInput<'a> {
    /// Whether it has shown one.
    pub presented: bool,
    /// Its subject, as RFC 4514 writes it; empty without one.
    pub subject: &'a str,
    /// SHA-256 over the certificate, in lower-case hexadecimal; empty without one.
    pub fingerprint: &'a str,
}

/// The input of `portcullis.session`.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct SessionInput<'a> {
    /// Who asks.
    pub identity: IdentityInput<'a>,
    /// The database's name in the configuration.
    pub database: &'a str,
    /// `wire` or `mcp`.
    pub door: &'a str,
    /// The names of the upstream roles that the configuration offers for the database.
    pub roles: &'a [String],
    /// What the client sets when it connects, `options` included; `replication` among it.
    pub settings: Vec<SettingInput<'a>>,
    /// How it came about; its `role` is still empty.
    pub session: SessionFacts<'a>,
    /// When.
    pub time: Time,
}

/// The input of `portcullis.result`: asked before the first row, and again while rows go on.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ResultInput<'a> {
    /// Who asks.
    pub identity: IdentityInput<'a>,
    /// The database's name in the configuration.
    pub database: &'a str,
    /// `wire` or `mcp`.
    pub door: &'a str,
    /// In which session.
    pub session: SessionFacts<'a>,
    /// What the statement does.
    pub statement: &'a Facts,
    /// What comes back.
    pub result: ResultFacts<'a>,
    /// What the identity has had before this statement.
    pub budget: Budget,
    /// The labels of what was read so far.
    pub labels: LabelsInput<'a>,
    /// When.
    pub time: Time,
}

/// A result on its way.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
pub struct ResultFacts<'a> {
    /// Its columns, as the server describes them; empty for COPY.
    pub columns: &'a [ResultColumn],
    /// Rows that the client has got.
    pub rows: u64,
    /// Bytes of row data that the client has got.
    pub bytes: u64,
}

/// A column of a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ResultColumn {
    /// The name that the client sees.
    pub name: String,
    /// Where it comes from, `schema.table.column`, ordered: a superset.
    pub sources: Vec<String>,
}

/// A setting that a client brings.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct SettingInput<'a> {
    /// Its name in lower case, because PostgreSQL does not tell the difference.
    pub name: String,
    /// Its value as the client wrote it.
    pub value: &'a str,
}

/// The input of `portcullis.row_filter`: definitions are the same for everybody, at all times.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct RowFilterInput<'a> {
    /// The database's name in the configuration.
    pub database: &'a str,
}

/// The input of `portcullis.approval`.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ApprovalInput<'a> {
    /// Who wants to decide.
    pub approver: IdentityInput<'a>,
    /// Who asked.
    pub requester: IdentityInput<'a>,
    /// The groups of all seats, as the statement decision said.
    pub groups: &'a [String],
    /// The seats that nobody fills yet, one entry a person; none when it is asked what is still missing.
    pub open_seats: &'a [OpenSeatInput<'a>],
    /// Who has said yes so far, in order; when it is asked what is still missing, this one too.
    pub votes: &'a [VoteInput<'a>],
    /// The database's name in the configuration.
    pub database: &'a str,
    /// `approve` or `deny`.
    pub vote: &'a str,
    /// When.
    pub time: Time,
}

/// A seat that is open.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct OpenSeatInput<'a> {
    /// The rule whose escalation it belongs to.
    pub rule: &'a str,
    /// Who fits: members of any of these groups.
    pub groups: &'a [String],
    /// Whether the owner of who asked fits not.
    pub exclude_owner: bool,
}

/// A yes to a request that is still open.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct VoteInput<'a> {
    /// Who.
    pub by: &'a str,
    /// Their groups at that time.
    pub groups: &'a [String],
    /// When, in seconds since 1970-01-01.
    pub unix: i64,
}
