//! What goes up: proofs, spent by value, become frames. Pure: no socket, no clock.

use std::sync::Arc;

use bytes::BytesMut;

use crate::flow::append;
use crate::gate::{
    Authorized, Bind, Call, Fetch, Parameters, Prepare, Prepared, Query, Receipt, RunStep, Running,
};
use crate::mask::Guard;
use crate::protocol::frame::{put, put_cstr};
use crate::protocol::run;
use crate::sql::Statement;

/// Bytes for one upstream connection, in order.
#[derive(Debug, Default)]
pub struct Outbox {
    buffer: BytesMut,
}

/// A portal that was sent for.
#[derive(Debug)]
pub struct Bound {
    /// Its running state.
    pub running: Running,
    /// Whether a Close and a Parse of our own stand before the Bind, because another text runs than the one that
    /// was prepared.
    pub is_prepared_anew: bool,
}

/// SQL of our own: constant, closed, and the only SQL that needs no proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum House {
    /// `BEGIN READ ONLY`.
    BeginReadOnly,
    /// `BEGIN`.
    Begin,
    /// `COMMIT`.
    Commit,
    /// `ROLLBACK`.
    Rollback,
    /// `DISCARD ALL`.
    DiscardAll,
    /// How many rows this transaction has changed so far, in whatever way; NULL where the server doesn't count.
    RowsChanged,
    /// The id of this transaction, which gets one by that.
    TransactionId,
}

impl House {
    /// The text.
    #[must_use]
    pub fn sql(self) -> &'static str {
        match self {
            Self::BeginReadOnly => "BEGIN READ ONLY",
            Self::Begin => "BEGIN",
            Self::Commit => "COMMIT",
            Self::Rollback => "ROLLBACK",
            Self::DiscardAll => "DISCARD ALL",
            Self::RowsChanged => ROWS_CHANGED,
            Self::TransactionId => "SELECT pg_catalog.pg_current_xact_id()",
        }
    }
}

const ROWS_CHANGED: &str = "\
    SELECT pg_catalog.sum(n_tup_ins OPERATOR(pg_catalog.+) n_tup_upd OPERATOR(pg_catalog.+) n_tup_del) \
    FROM pg_catalog.pg_stat_xact_user_tables \
    WHERE pg_catalog.current_setting('track_counts') OPERATOR(pg_catalog.=) 'on'";

/// A portal or statement name that is never defined upstream: binding it fails at exactly that point.
pub const NEVER_DEFINED: &str = "__portcullis_denied";

/// The name of a statement that we prepare ourselves. Clients can't use it: it begins as only our names do.
const OWN_STATEMENT: &str = "__portcullis_own";

/// The name of the portal in which guards run.
const GUARD_PORTAL: &str = "__portcullis_guard";

/// A text that PostgreSQL's raw parser refuses in every transaction state.
pub const NEVER_PARSES: &str = "portcullis denied";

impl Outbox {
    /// An empty outbox.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sends a Query behind the guards that are prepared as `guards`. Returns one running state a statement, in order,
    /// and how many characters stand before the text.
    pub fn query(&mut self, proof: Authorized<Query>, guards: &[String]) -> (Vec<Running>, usize) {
        let (act, clearance) = proof.spend();
        let (sql, running) = clearance.split();
        // Messages of the extended protocol, once executed, don't go together with a Query on every server.
        let before: String = guards.iter().map(|name| format!("EXECUTE {name};")).collect();
        self.frame(b'Q', |body| {
            body.extend_from_slice(before.as_bytes());
            put_text(body, cleared(&act.sql, &sql));
        });
        (running, before.len())
    }

    /// Sends a Parse. The statement is usable once the server has confirmed it.
    pub fn prepare(&mut self, proof: Authorized<Prepare>) -> (Arc<Prepared>, Receipt) {
        let (act, clearance) = proof.spend();
        let (prepared, receipt) = clearance.split();
        self.parse(&act.name, cleared(&act.sql, prepared.sql()), &act.parameter_types);
        (prepared, receipt)
    }

    /// Sends a Bind. Where the gate lets another text run than the one that was prepared (a rollback in the place of a
    /// commit), a statement of our own is bound instead.
    pub fn bind(&mut self, proof: Authorized<Bind>) -> Bound {
        let (act, clearance) = proof.spend();
        let (sql, running) = clearance.split();
        let is_prepared_anew = sql != act.prepared.sql();
        let statement = if is_prepared_anew { OWN_STATEMENT } else { act.statement_name.as_str() };
        if is_prepared_anew {
            self.close_statement(OWN_STATEMENT);
            self.parse(OWN_STATEMENT, sql.as_bytes(), &[]);
        }
        self.frame(b'B', |body| {
            put_cstr(body, &act.portal);
            put_cstr(body, statement);
            put_parameters(body, &act.parameters);
            put_formats(body, &act.parameters.result_formats);
        });
        Bound { running, is_prepared_anew }
    }

    /// Sends an Execute of a cursor.
    pub fn fetch(&mut self, proof: Authorized<Fetch>) -> Running {
        let (act, clearance) = proof.spend();
        let (_, running) = clearance.split();
        self.execute(&act.portal, act.max_rows);
        running
    }

    /// Sends a FunctionCall.
    pub fn call(&mut self, proof: Authorized<Call>) -> Running {
        let (act, clearance) = proof.spend();
        let (_, running) = clearance.split();
        self.frame(b'F', |body| {
            body.extend_from_slice(&act.function.to_be_bytes());
            put_parameters(body, &act.parameters);
            let result = act.parameters.result_formats.first().copied().unwrap_or(0);
            body.extend_from_slice(&result.to_be_bytes());
        });
        running
    }

    /// Sends Parse, Bind, Describe, Execute and Sync of one statement, all unnamed and in text format.
    /// `max_rows` 0 fetches all.
    pub fn run(&mut self, step: RunStep, max_rows: u32) -> Running {
        let (sql, parameters, running) = step.split();
        self.parse("", sql.as_bytes(), &[]);
        self.frame(b'B', |body| {
            put_cstr(body, "");
            put_cstr(body, "");
            put_formats(body, &[]);
            put_count(body, parameters.len());
            for value in &parameters {
                put_value(body, value.as_deref().map(str::as_bytes));
            }
            put_formats(body, &[]);
        });
        self.describe_portal("");
        self.execute("", max_rows);
        self.sync();
        running
    }

    /// Sends a Close and a Parse of a guard, which is known by `name` from then on.
    pub fn prepare_guard(&mut self, name: &str, guard: &Guard) {
        self.close_statement(name);
        self.parse(name, guard.sql().as_bytes(), &[]);
    }

    /// Runs a guard that was prepared as `name`: Bind, Execute and Close of a portal of our own.
    pub fn run_guard(&mut self, name: &str) {
        self.frame(b'B', |body| {
            put_cstr(body, GUARD_PORTAL);
            put_cstr(body, name);
            put_formats(body, &[]);
            put_count(body, 0);
            put_formats(body, &[]);
        });
        self.execute(GUARD_PORTAL, 0);
        self.close_portal(GUARD_PORTAL);
    }

    /// Sends our own constant SQL as a Query.
    pub fn house(&mut self, house: House) {
        self.frame(b'Q', |body| put_cstr(body, house.sql()));
    }

    /// Sends a Query that must fail, in the place of a denied one.
    pub fn refuse_query(&mut self) {
        self.frame(b'Q', |body| put_cstr(body, NEVER_PARSES));
    }

    /// Sends a Parse that must fail, in the place of a denied one.
    pub fn refuse_parse(&mut self, name: &str) {
        self.parse(name, NEVER_PARSES.as_bytes(), &[]);
    }

    /// Sends a Bind that must fail, in the place of a denied Bind, Describe or Execute.
    pub fn refuse_portal(&mut self) {
        self.frame(b'B', |body| {
            put_cstr(body, "");
            put_cstr(body, NEVER_DEFINED);
            put_formats(body, &[]);
            put_count(body, 0);
            put_formats(body, &[]);
        });
    }

    /// Sends a Describe of a prepared statement.
    pub fn describe_statement(&mut self, name: &str) {
        self.target(b'D', b'S', name);
    }

    /// Sends a Describe of a portal.
    pub fn describe_portal(&mut self, name: &str) {
        self.target(b'D', b'P', name);
    }

    /// Sends an Execute of a portal that a proof has made. `max_rows` 0 fetches all.
    pub fn execute(&mut self, portal: &str, max_rows: u32) {
        self.frame(b'E', |body| {
            put_cstr(body, portal);
            body.extend_from_slice(&max_rows.to_be_bytes());
        });
    }

    /// Sends a Close of a prepared statement.
    pub fn close_statement(&mut self, name: &str) {
        self.target(b'C', b'S', name);
    }

    /// Sends a Close of a portal.
    pub fn close_portal(&mut self, name: &str) {
        self.target(b'C', b'P', name);
    }

    /// Sends a Sync.
    pub fn sync(&mut self) {
        self.frame(b'S', |_| {});
    }

    /// Sends a Flush.
    pub fn flush(&mut self) {
        self.frame(b'H', |_| {});
    }

    /// Sends a Terminate.
    pub fn terminate(&mut self) {
        self.frame(b'X', |_| {});
    }

    /// Sends COPY data of an admitted `COPY ... FROM STDIN`, as far as it has arrived.
    pub fn copy_data(&mut self, data: run::Run) {
        append(&mut self.buffer, data.into_bytes());
    }

    /// Ends COPY data.
    pub fn copy_done(&mut self) {
        self.frame(b'c', |_| {});
    }

    /// Fails a COPY.
    pub fn copy_fail(&mut self, why: &str) {
        self.frame(b'f', |body| put_cstr(body, why));
    }

    /// Whether nothing waits to be sent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// How many bytes wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Takes everything that waits.
    pub fn take(&mut self) -> BytesMut {
        std::mem::take(&mut self.buffer)
    }

    fn parse(&mut self, name: &str, sql: &[u8], parameter_types: &[u32]) {
        self.frame(b'P', |body| {
            put_cstr(body, name);
            put_text(body, sql);
            put_count(body, parameter_types.len());
            for oid in parameter_types {
                body.extend_from_slice(&oid.to_be_bytes());
            }
        });
    }

    fn target(&mut self, tag: u8, kind: u8, name: &str) {
        self.frame(tag, |body| {
            body.extend_from_slice(&[kind]);
            put_cstr(body, name);
        });
    }

    fn frame(&mut self, tag: u8, fill: impl FnOnce(&mut BytesMut)) {
        if self.buffer.is_empty() {
            self.buffer.reserve(ROOM);
        }
        put(&mut self.buffer, tag, fill);
    }
}

/// Room for the messages of a small statement, so that they cost one allocation.
const ROOM: usize = 512;

/// What goes up for `statement`: the text that was cleared, or its own bytes where nobody could read them.
fn cleared<'a>(statement: &'a Statement, sql: &'a str) -> &'a [u8] {
    if statement.is_unread() { statement.as_bytes() } else { sql.as_bytes() }
}

fn put_text(body: &mut BytesMut, text: &[u8]) {
    body.extend_from_slice(text);
    body.extend_from_slice(&[0]);
}

fn put_parameters(body: &mut BytesMut, parameters: &Parameters) {
    put_formats(body, &parameters.formats);
    put_count(body, parameters.values.len());
    for value in &parameters.values {
        put_value(body, value.as_deref());
    }
}

fn put_count(body: &mut BytesMut, count: usize) {
    body.extend_from_slice(&u16::try_from(count).unwrap_or(u16::MAX).to_be_bytes());
}

fn put_formats(body: &mut BytesMut, formats: &[i16]) {
    put_count(body, formats.len());
    for format in formats {
        body.extend_from_slice(&format.to_be_bytes());
    }
}

fn put_value(body: &mut BytesMut, value: Option<&[u8]>) {
    match value {
        None => body.extend_from_slice(&(-1_i32).to_be_bytes()),
        Some(value) => {
            body.extend_from_slice(&i32::try_from(value.len()).unwrap_or(i32::MAX).to_be_bytes());
            body.extend_from_slice(value);
        }
    }
}
