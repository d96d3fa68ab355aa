//! The desk's table: the only SQL of the room.

use jiff::Timestamp;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, Statement, Transaction, named_params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::policy::{Progress, Reason};
use crate::store::Schema;

use super::{ApprovalId, Ballot, Digest, Request, State, Vote};

/// Times are milliseconds since 1970; lists and documents are JSON.
pub(super) const SCHEMA: Schema = Schema { room: "approval", steps: &[REQUESTS, VOTES, CALL] };

/// As it was before votes were rows of their own.
#[cfg(test)]
pub(super) const FIRST_SCHEMA: Schema = Schema { room: "approval", steps: &[REQUESTS] };

const REQUESTS: &str = "CREATE TABLE approval_request (
        id TEXT PRIMARY KEY,
        digest TEXT NOT NULL,
        requester TEXT NOT NULL,
        requester_kind TEXT NOT NULL,
        owner TEXT NOT NULL,
        requester_groups TEXT NOT NULL,
        door TEXT NOT NULL,
        database TEXT NOT NULL,
        statement TEXT NOT NULL,
        parameters TEXT NOT NULL,
        purpose TEXT NOT NULL,
        rule TEXT NOT NULL,
        message TEXT NOT NULL,
        facts TEXT NOT NULL,
        revision TEXT NOT NULL,
        groups TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        expires_at INTEGER NOT NULL,
        state TEXT NOT NULL
            CHECK (state IN ('pending', 'approved', 'denied', 'expired', 'withdrawn', 'spent')),
        decided_by TEXT NOT NULL DEFAULT '',
        decided_by_groups TEXT NOT NULL DEFAULT '[]',
        decision_note TEXT NOT NULL DEFAULT '',
        decided_at INTEGER,
        outcome TEXT NOT NULL DEFAULT 'null',
        CHECK (state IN ('pending', 'expired', 'withdrawn') OR decided_by NOT IN ('', requester))
    ) STRICT;
    CREATE INDEX approval_request_by_digest ON approval_request (digest);
    CREATE INDEX approval_request_by_time ON approval_request (created_at);
    CREATE INDEX approval_request_open ON approval_request (requester, expires_at)
        WHERE state IN ('pending', 'approved');";

/// Votes become rows of their own; a request from before needed one yes of any of its groups.
const VOTES: &str = "
    ALTER TABLE approval_request ADD COLUMN requirement TEXT NOT NULL DEFAULT '{\"escalations\": []}';
    ALTER TABLE approval_request ADD COLUMN missing TEXT NOT NULL DEFAULT '[]';
    UPDATE approval_request SET requirement = json_object('escalations', json_array(json_object(
        'rule', rule, 'message', message, 'hint', '',
        'seats', json_array(json_object('groups', json(groups), 'count', 1)),
        'ttl_s', (expires_at - created_at) / 1000,
        'exclude_owner', json('false'), 'bind_to', 'statement')));
    CREATE TABLE approval_vote (
        request_id TEXT NOT NULL REFERENCES approval_request (id),
        voter TEXT NOT NULL CHECK (voter != ''),
        groups TEXT NOT NULL,
        vote TEXT NOT NULL CHECK (vote IN ('approve', 'deny')),
        note TEXT NOT NULL,
        at INTEGER NOT NULL,
        UNIQUE (request_id, voter)
    ) STRICT;
    CREATE TRIGGER approval_vote_of_requester BEFORE INSERT ON approval_vote
        WHEN NEW.voter = (SELECT requester FROM approval_request WHERE id = NEW.request_id)
        BEGIN SELECT RAISE(ABORT, 'nobody votes on a request of their own'); END;
    INSERT INTO approval_vote (request_id, voter, groups, vote, note, at)
        SELECT id, decided_by, decided_by_groups, iif(state = 'denied', 'deny', 'approve'), decision_note, decided_at
          FROM approval_request WHERE decided_by != '' AND decided_at IS NOT NULL ORDER BY decided_at;";

/// How a tool was called.
const CALL: &str = "ALTER TABLE approval_request ADD COLUMN call TEXT NOT NULL DEFAULT '{}';";

/// Ends every open request whose time is over.
pub(super) fn lapse(tx: &Transaction<'_>, now: Timestamp) -> rusqlite::Result<usize> {
    tx.execute(
        "UPDATE approval_request SET state = 'expired'
          WHERE state IN ('pending', 'approved') AND expires_at <= ?1",
        [now.as_millisecond()],
    )
}

pub(super) fn insert(tx: &Transaction<'_>, request: &Request) -> rusqlite::Result<()> {
    tx.execute(
        "INSERT INTO approval_request
           (id, digest, requester, requester_kind, owner, requester_groups, door, database, statement,
            parameters, call, purpose, rule, message, facts, revision, groups, requirement, created_at, expires_at, state)
         VALUES
           (:id, :digest, :requester, :requester_kind, :owner, :requester_groups, :door, :database, :statement,
            :parameters, :call, :purpose, :rule, :message, :facts, :revision, :groups, :requirement, :created_at,
            :expires_at, :state)",
        named_params! {
            ":id": request.id.as_str(),
            ":digest": request.digest.as_str(),
            ":requester": request.requester,
            ":requester_kind": request.requester_kind,
            ":owner": request.owner,
            ":requester_groups": json(&request.requester_groups)?,
            ":door": request.door,
            ":database": request.database,
            ":statement": request.statement,
            ":parameters": json(&request.parameters)?,
            ":call": json(&request.call)?,
            ":purpose": request.purpose,
            ":rule": request.rule,
            ":message": request.message,
            ":facts": json(&request.facts)?,
            ":revision": request.revision,
            ":groups": json(&request.groups)?,
            ":requirement": json(&request.requirement)?,
            ":created_at": request.created_at.as_millisecond(),
            ":expires_at": request.expires_at.as_millisecond(),
            ":state": request.state.as_str(),
        },
    )?;
    Ok(())
}

pub(super) fn by_id(connection: &Connection, id: &ApprovalId) -> rusqlite::Result<Option<Request>> {
    one(connection, "SELECT * FROM approval_request WHERE id = ?1", [id.as_str()])
}

/// An open (pending or approved) request of `requester` by `door` with this digest.
pub(super) fn open_twin(
    connection: &Connection,
    requester: &str,
    door: &str,
    digest: &Digest,
) -> rusqlite::Result<Option<Request>> {
    one(
        connection,
        "SELECT * FROM approval_request
          WHERE digest = ?1 AND requester = ?2 AND door = ?3 AND state IN ('pending', 'approved')
          ORDER BY state, created_at DESC LIMIT 1",
        (digest.as_str(), requester, door),
    )
}

pub(super) fn approved(connection: &Connection, digest: &Digest) -> rusqlite::Result<Option<Request>> {
    one(
        connection,
        "SELECT * FROM approval_request WHERE digest = ?1 AND state = 'approved' ORDER BY decided_at LIMIT 1",
        [digest.as_str()],
    )
}

pub(super) fn count_open(connection: &Connection, requester: &str) -> rusqlite::Result<u32> {
    connection.query_row(
        "SELECT count(*) FROM approval_request WHERE requester = ?1 AND state IN ('pending', 'approved')",
        [requester],
        |row| row.get(0),
    )
}

pub(super) fn newest(connection: &Connection, limit: u32) -> rusqlite::Result<Vec<Request>> {
    let mut select =
        connection.prepare("SELECT * FROM approval_request ORDER BY created_at DESC, rowid DESC LIMIT ?1")?;
    let requests: rusqlite::Result<Vec<Request>> = select.query_map([limit], request)?.collect();
    let mut votes = connection.prepare(VOTES_OF)?;
    requests?.into_iter().map(|request| counted(&mut votes, request)).collect()
}

/// Keeps what somebody said.
pub(super) fn insert_vote(tx: &Transaction<'_>, id: &ApprovalId, ballot: &Ballot) -> rusqlite::Result<()> {
    tx.execute(
        "INSERT INTO approval_vote (request_id, voter, groups, vote, note, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        (
            id.as_str(),
            &ballot.by,
            json(&ballot.groups)?,
            ballot.vote.as_str(),
            &ballot.note,
            ballot.at.as_millisecond(),
        ),
    )?;
    Ok(())
}

/// Keeps what is missing although all seats are filled.
pub(super) fn set_missing(tx: &Transaction<'_>, id: &ApprovalId, missing: &[Reason]) -> rusqlite::Result<()> {
    tx.execute("UPDATE approval_request SET missing = ?2 WHERE id = ?1", (id.as_str(), json(missing)?))?;
    Ok(())
}

/// Ends a pending request by the vote that decides; false if it was not pending.
pub(super) fn decide(
    tx: &Transaction<'_>,
    id: &ApprovalId,
    state: State,
    last: &Ballot,
) -> rusqlite::Result<bool> {
    let changed = tx.execute(
        "UPDATE approval_request
            SET state = ?2, decided_by = ?3, decided_by_groups = ?4, decision_note = ?5, decided_at = ?6,
                missing = '[]'
          WHERE id = ?1 AND state = 'pending'",
        (id.as_str(), state.as_str(), &last.by, json(&last.groups)?, &last.note, last.at.as_millisecond()),
    )?;
    Ok(changed == 1)
}

/// Moves one request from one state to another; false if it was not there.
pub(super) fn step(tx: &Transaction<'_>, id: &ApprovalId, from: State, to: State) -> rusqlite::Result<bool> {
    let changed = tx.execute(
        "UPDATE approval_request SET state = ?3 WHERE id = ?1 AND state = ?2",
        (id.as_str(), from.as_str(), to.as_str()),
    )?;
    Ok(changed == 1)
}

pub(super) fn withdraw_pending_of_door(tx: &Transaction<'_>, door: &str) -> rusqlite::Result<usize> {
    tx.execute(
        "UPDATE approval_request SET state = 'withdrawn' WHERE state = 'pending' AND door = ?1",
        [door],
    )
}

/// Keeps the outcome of a spent request; false if it is not spent.
pub(super) fn set_outcome(
    tx: &Transaction<'_>,
    id: &ApprovalId,
    outcome: &serde_json::Value,
) -> rusqlite::Result<bool> {
    let changed = tx.execute(
        "UPDATE approval_request SET outcome = ?2 WHERE id = ?1 AND state = 'spent'",
        (id.as_str(), json(outcome)?),
    )?;
    Ok(changed == 1)
}

fn request(row: &Row<'_>) -> rusqlite::Result<Request> {
    let id: String = row.get("id")?;
    let state: String = row.get("state")?;
    let decided_at: Option<i64> = row.get("decided_at")?;
    Ok(Request {
        id: ApprovalId::parse(&id).ok_or_else(|| unreadable("id"))?,
        digest: Digest::stored(row.get("digest")?),
        requester: row.get("requester")?,
        requester_kind: row.get("requester_kind")?,
        owner: row.get("owner")?,
        requester_groups: parsed(row, "requester_groups")?,
        door: row.get("door")?,
        database: row.get("database")?,
        statement: row.get("statement")?,
        parameters: parsed(row, "parameters")?,
        call: parsed(row, "call")?,
        purpose: row.get("purpose")?,
        rule: row.get("rule")?,
        message: row.get("message")?,
        facts: parsed(row, "facts")?,
        revision: row.get("revision")?,
        groups: parsed(row, "groups")?,
        requirement: parsed(row, "requirement")?,
        votes: Vec::new(),
        progress: Progress::default(),
        missing: parsed(row, "missing")?,
        created_at: time(row.get("created_at")?)?,
        expires_at: time(row.get("expires_at")?)?,
        state: State::parse(&state).ok_or_else(|| unreadable("state"))?,
        decided_by: row.get("decided_by")?,
        decided_by_groups: parsed(row, "decided_by_groups")?,
        decision_note: row.get("decision_note")?,
        decided_at: decided_at.map(time).transpose()?,
        outcome: parsed(row, "outcome")?,
    })
}

/// The request that `select` finds first, with its votes.
fn one(
    connection: &Connection,
    select: &str,
    parameters: impl rusqlite::Params,
) -> rusqlite::Result<Option<Request>> {
    let found = connection.query_row(select, parameters, request).optional()?;
    let mut votes = connection.prepare(VOTES_OF)?;
    found.map(|request| counted(&mut votes, request)).transpose()
}

/// The votes of one request, in order.
const VOTES_OF: &str = "SELECT * FROM approval_vote WHERE request_id = ?1 ORDER BY rowid";

/// `request` with its votes, and which seats they fill.
fn counted(votes: &mut Statement<'_>, mut request: Request) -> rusqlite::Result<Request> {
    request.votes = votes.query_map([request.id.as_str()], ballot)?.collect::<rusqlite::Result<_>>()?;
    request.count();
    Ok(request)
}

fn ballot(row: &Row<'_>) -> rusqlite::Result<Ballot> {
    let vote: String = row.get("vote")?;
    Ok(Ballot {
        by: row.get("voter")?,
        groups: parsed(row, "groups")?,
        vote: Vote::parse(&vote).ok_or_else(|| unreadable("vote"))?,
        note: row.get("note")?,
        at: time(row.get("at")?)?,
    })
}

fn json<T: Serialize + ?Sized>(value: &T) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

fn parsed<T: DeserializeOwned>(row: &Row<'_>, column: &str) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, Type::Text, Box::new(error)))
}

fn time(milliseconds: i64) -> rusqlite::Result<Timestamp> {
    Timestamp::from_millisecond(milliseconds)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, Type::Integer, Box::new(error)))
}

fn unreadable(column: &str) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, Type::Text, format!("unreadable `{column}`").into())
}
