//! A PostgreSQL made of a few rules: enough of the protocol, of transactions and of a pipeline's abort to tell
//! whether the gateway keeps the two sides in step. It answers as PostgreSQL 15 was seen to answer.

use std::collections::{HashMap, VecDeque};

use bytes::{BufMut, Bytes, BytesMut};
use portcullis::protocol::backend::{ErrorFields, Severity, ready_for_query};
use portcullis::protocol::frame::{Frame, Leg, put, put_cstr};
use portcullis::protocol::frontend::{Message, Target};
use portcullis::sql::Statement;
use portcullis::upstream::outbox::NEVER_PARSES;

pub(super) const CUSTOMERS: u32 = 16_385;
pub(super) const ORDERS: u32 = 16_386;
/// What stands in the masked column: nobody with a mask may ever see it.
pub(super) const CANARY: &str = "078-05-1120";

/// The server of one session.
#[derive(Debug, Default)]
pub(super) struct FakePostgres {
    /// What has arrived and was not worked on.
    pub(super) input: BytesMut,
    /// What was answered and is not yet there.
    pub(super) output: VecDeque<Frame>,
    /// Every text that arrived, in order: with a Query as `true`.
    pub(super) texts: Vec<(bool, String)>,
    /// How many UPDATEs ran.
    pub(super) updates: usize,
    /// Every write that was committed.
    pub(super) committed: Vec<String>,
    written: Vec<String>,
    block: Option<Block>,
    statements: HashMap<String, String>,
    portals: HashMap<String, Portal>,
    skipping: bool,
    copying: Option<Copying>,
    /// Whether it streams for replication.
    streaming: bool,
    listening: bool,
    /// What it has to tell before it is ready again.
    notified: bool,
    /// How many functions were called by their OID.
    pub(super) calls: usize,
    is_dead: bool,
    /// Whether definitions have changed, so that the next guard fails.
    pub(super) is_redefined: bool,
    /// How many guards have failed.
    pub(super) refused: usize,
    /// Whether a guard holds in the transaction.
    is_guarded: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Block {
    Open,
    Failed,
}

#[derive(Debug, Clone)]
struct Portal {
    sql: String,
    sent: usize,
}

/// A COPY FROM STDIN, and whether it came by a Query.
#[derive(Debug)]
struct Copying {
    sql: String,
    simple: bool,
}

type Failure = ErrorFields;

impl FakePostgres {
    /// Works on one message, if one is whole. True if it did.
    pub(super) fn step(&mut self) -> bool {
        if self.is_dead {
            return false;
        }
        let Some(frame) = Frame::decode_within(Leg::Frontend, LONGEST, &mut self.input).unwrap() else {
            return false;
        };
        let message = Message::parse(&frame).unwrap();
        if self.streaming {
            self.stream(&message);
            return true;
        }
        if self.copying.is_some() {
            self.copy(&message);
            return true;
        }
        match message {
            Message::Terminate => {}
            Message::Sync => {
                self.skipping = false;
                self.end_implicit();
                self.ready();
            }
            _ if self.skipping => {}
            Message::Query { sql } => self.query(&text_of(&sql)),
            Message::FunctionCall(_) => {
                self.calls += 1;
                self.send(b'V', |body| body.put_i32(-1));
                self.end_implicit();
                self.ready();
            }
            Message::Flush | Message::CopyData | Message::CopyDone | Message::CopyFail { .. } => {}
            Message::Parse { .. }
            | Message::Bind(_)
            | Message::Describe(_)
            | Message::Execute { .. }
            | Message::Close(_)
            | Message::Password => {
                if let Err(failure) = self.extended(&message) {
                    self.fail(&failure);
                    self.skipping = true;
                }
            }
        }
        true
    }

    /// How many statements it keeps prepared.
    pub(super) fn prepared(&self) -> usize {
        self.statements.len()
    }

    /// An administrator ends the session.
    pub(super) fn die(&mut self) {
        self.is_dead = true;
        let mut out = BytesMut::new();
        let message = "terminating connection due to administrator command";
        ErrorFields::new(Severity::Fatal, "57P01", message).put_error(&mut out);
        self.output.push_back(Frame::decode(Leg::Backend, &mut out).unwrap().unwrap());
    }

    fn query(&mut self, sql: &str) {
        let own = sql.split_inclusive(';').take_while(|part| part.starts_with("EXECUTE __portcullis_guard_"));
        let own: usize = own.map(str::len).sum();
        self.texts.push((true, sql[own..].to_owned()));
        self.statements.remove("");
        self.portals.remove("");
        if sql == NEVER_PARSES {
            self.fail(&syntax_error());
            return self.ready();
        }
        if sql.starts_with("start_replication") {
            self.streaming = true;
            self.send(b'W', |body| body.put_slice(&[0, 0, 0]));
            return self.send(b'd', |body| body.put_slice(b"w a change"));
        }
        let parts: Vec<&str> = sql.split(';').map(str::trim).filter(|part| !part.is_empty()).collect();
        if parts.is_empty() {
            self.send(b'I', |_| {});
        }
        for part in parts {
            // A guard that the gateway executes in front of the text.
            let prepared = part.strip_prefix("EXECUTE __portcullis_guard_");
            let part = prepared
                .map_or(part, |number| &self.statements[&format!("__portcullis_guard_{number}")])
                .to_owned();
            let part = part.as_str();
            if is_copy_in(part) {
                self.send(b'G', |body| body.put_slice(&[0, 0, 0]));
                self.copying = Some(Copying { sql: part.to_owned(), simple: true });
                return;
            }
            let columns = columns(part);
            if !columns.is_empty() {
                self.describe(&columns);
            }
            let mut portal = Portal { sql: part.to_owned(), sent: 0 };
            if let Err(failure) = self.run(&mut portal, 0) {
                self.fail(&failure);
                return self.ready();
            }
        }
        self.end_implicit();
        self.ready();
    }

    fn extended(&mut self, message: &Message) -> Result<(), Failure> {
        match message {
            Message::Parse { name, sql, .. } => {
                let sql = text_of(sql);
                if !is_guard(&sql) {
                    self.texts.push((false, sql.clone()));
                }
                if name.is_empty() {
                    self.statements.remove(name);
                }
                if sql == NEVER_PARSES {
                    return Err(syntax_error());
                }
                self.check_block(&sql)?;
                if self.statements.contains_key(name) {
                    return Err(error("42P05", "prepared statement already exists"));
                }
                self.statements.insert(name.clone(), sql);
                self.send(b'1', |_| {});
            }
            Message::Bind(bind) => {
                let Some(sql) = self.statements.get(&bind.statement).cloned() else {
                    return Err(error("26000", &format!("prepared statement \"{}\" ...", bind.statement)));
                };
                self.check_block(&sql)?;
                if !bind.portal.is_empty() && self.portals.contains_key(&bind.portal) {
                    return Err(error("42P03", "cursor already exists"));
                }
                self.portals.insert(bind.portal.clone(), Portal { sql, sent: 0 });
                self.send(b'2', |_| {});
            }
            Message::Describe(Target::Portal(name)) => {
                let portal = self.portals.get(name).ok_or_else(|| error("34000", "no portal"))?;
                let columns = columns(&portal.sql);
                self.describe(&columns);
            }
            Message::Describe(Target::Statement(name)) => {
                let sql = self.statements.get(name).ok_or_else(|| error("26000", "no statement"))?;
                let columns = columns(sql);
                self.send(b't', |body| body.put_u16(0));
                self.describe(&columns);
            }
            Message::Execute { portal, max_rows } => {
                self.execute(portal, usize::try_from(*max_rows).unwrap())?
            }
            Message::Close(Target::Statement(name)) => {
                self.statements.remove(name);
                self.send(b'3', |_| {});
            }
            Message::Close(Target::Portal(name)) => {
                self.portals.remove(name);
                self.send(b'3', |_| {});
            }
            Message::Query { .. }
            | Message::Sync
            | Message::Flush
            | Message::Terminate
            | Message::CopyData
            | Message::CopyDone
            | Message::CopyFail { .. }
            | Message::FunctionCall(_)
            | Message::Password => panic!("the gateway sent {message:?}"),
        }
        Ok(())
    }

    fn execute(&mut self, name: &str, max_rows: usize) -> Result<(), Failure> {
        let mut portal = self.portals.get(name).cloned().ok_or_else(|| error("34000", "no portal"))?;
        if is_copy_in(&portal.sql) {
            self.send(b'G', |body| body.put_slice(&[0, 0, 0]));
            self.copying = Some(Copying { sql: portal.sql, simple: false });
            return Ok(());
        }
        let ran = self.run(&mut portal, max_rows);
        if let Some(kept) = self.portals.get_mut(name) {
            *kept = portal;
        }
        ran
    }

    /// Runs a statement: its rows, its effect, its tag.
    fn run(&mut self, portal: &mut Portal, max_rows: usize) -> Result<(), Failure> {
        let sql = portal.sql.clone();
        self.check_block(&sql)?;
        let words: Vec<String> = sql.split_whitespace().take(2).map(str::to_lowercase).collect();
        match words.first().map(String::as_str).unwrap_or_default() {
            "" => self.send(b'I', |_| {}),
            "begin" => {
                self.block = Some(Block::Open);
                self.complete("BEGIN");
            }
            "savepoint" => self.complete("SAVEPOINT"),
            // The locks of what came behind the savepoint are gone.
            "rollback" if words.get(1).is_some_and(|word| word == "to") => {
                self.is_guarded = false;
                self.complete("ROLLBACK");
            }
            "commit" | "rollback" => {
                let failed = self.block == Some(Block::Failed) || words[0] == "rollback";
                self.block = None;
                self.end(!failed);
                self.complete(if failed { "ROLLBACK" } else { "COMMIT" });
            }
            "select" if sql.contains("'boom'") => {
                let value = if sql.contains("customers") { CANARY } else { "boom" };
                let message = format!("invalid input syntax for type integer: \"{value}\"");
                return Err(error("22P02", &message).with_detail(format!("Key (ssn)=({value})")));
            }
            "select" if sql.contains("'remark'") => {
                let mut out = BytesMut::new();
                ErrorFields::new(Severity::Notice, "00000", "a remark").put_notice(&mut out);
                self.output.push_back(Frame::decode(Leg::Backend, &mut out).unwrap().unwrap());
                return self.select(portal, max_rows);
            }
            "set" => {
                self.send(b'S', |body| body.put_slice(b"TimeZone\0UTC\0"));
                self.complete("SET");
            }
            "listen" => {
                self.listening = true;
                self.complete("LISTEN");
            }
            "notify" => {
                self.notified = self.listening;
                self.complete("NOTIFY");
            }
            "select" if is_guard(&sql) && std::mem::take(&mut self.is_redefined) => {
                self.refused += 1;
                return Err(error("22012", "division by zero"));
            }
            "select" if is_guard(&sql) => {
                self.is_guarded = true;
                self.complete("SELECT 0");
            }
            "select" => return self.select(portal, max_rows),
            "copy" => self.copy_out(&sql),
            "insert" | "update" | "delete" => {
                self.written.push(sql.clone());
                self.updates += usize::from(words[0] == "update");
                let zero = if words[0] == "insert" { " 0" } else { "" };
                self.complete(&format!("{}{zero} 1", words[0].to_uppercase()));
            }
            _ => return Err(error("0A000", &format!("this PostgreSQL can't: {sql}"))),
        }
        Ok(())
    }

    fn select(&mut self, portal: &mut Portal, max_rows: usize) -> Result<(), Failure> {
        assert!(self.is_guarded || !is_masked(&portal.sql), "it reads without a guard: {}", portal.sql);
        let rows = ROWS - portal.sent;
        let wanted = if max_rows == 0 { rows } else { rows.min(max_rows) };
        let columns = columns(&portal.sql);
        for _ in 0..wanted {
            self.send(b'D', |body| {
                body.put_u16(u16::try_from(columns.len()).unwrap());
                for column in &columns {
                    body.put_i32(i32::try_from(column.value.len()).unwrap());
                    body.put_slice(column.value.as_bytes());
                }
            });
        }
        portal.sent += wanted;
        if max_rows != 0 && wanted == max_rows {
            self.send(b's', |_| {});
        } else {
            self.complete(&format!("SELECT {wanted}"));
        }
        Ok(())
    }

    fn copy_out(&mut self, sql: &str) {
        assert!(self.is_guarded || !is_masked(sql), "it reads without a guard: {sql}");
        let value = if is_masked(sql) { "***" } else { CANARY };
        self.send(b'H', |body| body.put_slice(&[0, 0, 0]));
        for _ in 0..ROWS {
            self.send(b'd', |body| body.put_slice(format!("1\t{value}\n").as_bytes()));
        }
        self.send(b'c', |_| {});
        self.complete(&format!("COPY {ROWS}"));
    }

    /// Replication: every word of the client's is answered, until it has done.
    fn stream(&mut self, message: &Message) {
        match message {
            Message::CopyData => self.send(b'd', |body| body.put_slice(b"k and on")),
            Message::CopyDone => {
                self.streaming = false;
                self.send(b'c', |_| {});
                self.complete("START_STREAMING");
                self.complete("START_REPLICATION");
                self.ready();
            }
            Message::Terminate => {}
            Message::Query { .. }
            | Message::Sync
            | Message::Flush
            | Message::CopyFail { .. }
            | Message::Parse { .. }
            | Message::Bind(_)
            | Message::Describe(_)
            | Message::Execute { .. }
            | Message::Close(_)
            | Message::FunctionCall(_)
            | Message::Password => panic!("PostgreSQL would end the session on {message:?} in replication"),
        }
    }

    fn copy(&mut self, message: &Message) {
        match message {
            Message::CopyData | Message::Sync | Message::Flush | Message::Terminate => {}
            Message::CopyDone => {
                let Some(copying) = self.copying.take() else { return };
                self.written.push(copying.sql);
                self.complete("COPY 1");
                if copying.simple {
                    self.end_implicit();
                    self.ready();
                }
            }
            Message::CopyFail { .. } => {
                let simple = self.copying.take().is_some_and(|copying| copying.simple);
                self.fail(&error("57014", "COPY from stdin failed"));
                if simple {
                    self.ready();
                } else {
                    self.skipping = true;
                }
            }
            Message::Query { .. }
            | Message::Parse { .. }
            | Message::Bind(_)
            | Message::Describe(_)
            | Message::Execute { .. }
            | Message::Close(_)
            | Message::FunctionCall(_)
            | Message::Password => panic!("PostgreSQL would end the session on {message:?} during COPY"),
        }
    }

    fn check_block(&self, sql: &str) -> Result<(), Failure> {
        let word = sql.split_whitespace().next().unwrap_or_default().to_lowercase();
        if self.block == Some(Block::Failed) && !matches!(word.as_str(), "commit" | "rollback" | "") {
            return Err(error("25P02", "current transaction is aborted"));
        }
        Ok(())
    }

    fn fail(&mut self, failure: &Failure) {
        match self.block {
            Some(_) => self.block = Some(Block::Failed),
            None => self.end(false),
        }
        let mut out = BytesMut::new();
        failure.put_error(&mut out);
        self.output.push_back(Frame::decode(Leg::Backend, &mut out).unwrap().unwrap());
    }

    fn end_implicit(&mut self) {
        if self.block.is_none() {
            self.end(true);
        }
    }

    fn end(&mut self, commit: bool) {
        let written = std::mem::take(&mut self.written);
        self.is_guarded = false;
        if commit {
            self.committed.extend(written);
        }
        self.portals.clear();
    }

    fn ready(&mut self) {
        if std::mem::take(&mut self.notified) {
            self.send(b'A', |body| body.put_slice(b"\0\0\0\x01c\0p\0"));
        }
        let status = match self.block {
            None => b'I',
            Some(Block::Open) => b'T',
            Some(Block::Failed) => b'E',
        };
        let mut out = BytesMut::new();
        ready_for_query(&mut out, status);
        self.output.push_back(Frame::decode(Leg::Backend, &mut out).unwrap().unwrap());
    }

    fn describe(&mut self, columns: &[OutputColumn]) {
        if columns.is_empty() {
            return self.send(b'n', |_| {});
        }
        self.send(b'T', |body| {
            body.put_u16(u16::try_from(columns.len()).unwrap());
            for column in columns {
                put_cstr(body, &column.name);
                body.put_u32(column.origin.0);
                body.put_i16(column.origin.1);
                body.put_u32(25);
                body.put_i16(-1);
                body.put_i32(-1);
                body.put_i16(0);
            }
        });
    }

    fn complete(&mut self, tag: &str) {
        self.send(b'C', |body| put_cstr(body, tag));
    }

    fn send(&mut self, tag: u8, fill: impl FnOnce(&mut BytesMut)) {
        let mut out = BytesMut::new();
        put(&mut out, tag, fill);
        let frame = Frame::decode(Leg::Backend, &mut out).unwrap().unwrap();
        self.output.push_back(Frame { tag, body: Bytes::copy_from_slice(&frame.body) });
    }
}

#[derive(Debug, Clone)]
struct OutputColumn {
    name: String,
    origin: (u32, i16),
    value: String,
}

/// The columns of a SELECT's outermost list. A masked `ssn` comes from no table.
fn columns(sql: &str) -> Vec<OutputColumn> {
    let lower = sql.to_lowercase();
    let Some(list) = lower.strip_prefix("select ").and_then(|rest| rest.split(" from ").next()) else {
        return Vec::new();
    };
    let masked = is_masked(sql);
    list.split(',')
        .map(|item| {
            let name = item.trim().rsplit(['.', ' ']).next().unwrap_or_default().trim_matches('"').to_owned();
            match (name.as_str(), masked) {
                ("ssn", false) => OutputColumn { name, origin: (CUSTOMERS, 3), value: CANARY.into() },
                ("ssn", true) => OutputColumn { name, origin: (0, 0), value: "***".into() },
                _ => OutputColumn { name, origin: (0, 0), value: "1".into() },
            }
        })
        .collect()
}

/// Whether the text was rewritten: the mask stands in the column's place.
fn is_masked(sql: &str) -> bool {
    sql.contains("'***'")
}

/// Whether it is the gateway's own check of definitions.
fn is_guard(sql: &str) -> bool {
    sql.starts_with("SELECT 1 WHERE 1 OPERATOR(pg_catalog./) (((SELECT true FROM")
}

/// SQL text as the ledger has it.
fn text_of(sql: &[u8]) -> String {
    Statement::unread(Bytes::copy_from_slice(sql)).as_str().to_owned()
}

fn is_copy_in(sql: &str) -> bool {
    let lower = sql.to_lowercase();
    lower.starts_with("copy") && lower.contains("from stdin")
}

fn syntax_error() -> Failure {
    error("42601", "syntax error at or near \"portcullis\"")
}

fn error(sqlstate: &str, message: &str) -> Failure {
    ErrorFields::new(Severity::Error, sqlstate, message)
}

/// How many rows every table has.
const ROWS: usize = 3;

/// The longest message that PostgreSQL takes.
const LONGEST: usize = 0x3fff_ffff;
