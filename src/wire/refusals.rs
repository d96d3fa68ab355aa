//! What clients are told when something is refused: the one place where a [`Denial`] gets its SQLSTATE.

use crate::gate::names::RESERVED;
use crate::gate::{Denial, DenialKind, Hold, Missing, Names};
use crate::mask::{Mismatch, Stop};
use crate::protocol::backend::{ErrorFields, Severity};
use crate::protocol::body::BodyError;
use crate::protocol::sqlstate;
use crate::sql::StatementError;

/// A denial, as an ErrorResponse: message, rule and decision, what would work.
#[must_use]
pub fn denied(denial: &Denial) -> ErrorFields {
    refused(denial, Severity::Error)
}

/// A denial that ends the session.
#[must_use]
pub fn fatally_denied(denial: &Denial) -> ErrorFields {
    refused(denial, Severity::Fatal)
}

/// The rulebook does not let a client go on to prove who it is.
#[must_use]
pub fn unwelcome(denial: &Denial) -> ErrorFields {
    let message = denial.reason().map_or("", |reason| reason.message.as_str());
    let hint = denial.reason().map_or("", |reason| reason.hint.as_str());
    fatal(sqlstate::INVALID_AUTHORIZATION_SPECIFICATION, message).with_hint(hint)
}

/// A commit that became a rollback, as a warning beside its result.
#[must_use]
pub fn undone(denial: &Denial) -> ErrorFields {
    let why = denial.reason().map_or("", |reason| reason.message.as_str());
    let hint = denial.reason().map_or("", |reason| reason.hint.as_str());
    let message = format!("the transaction was rolled back, not committed: {why}");
    ErrorFields::new(Severity::Warning, sqlstate::WARNING, message)
        .with_detail(detail(denial))
        .with_hint(hint)
}

/// A statement that waits, as a NoticeResponse.
#[must_use]
pub fn held(hold: &Hold) -> ErrorFields {
    let message = format!("statement waits for approval {}: {}", hold.approval_id, hold.message);
    let groups = hold.groups.join(", ");
    let who = match hold.progress.as_str() {
        "" => format!("{groups} may approve until {}", hold.expires_at),
        progress => format!("{progress}; {groups} may approve until {}", hold.expires_at),
    };
    let hint = if hold.url.is_empty() { who } else { format!("{} ({who})", hold.url) };
    ErrorFields::new(Severity::Notice, sqlstate::SUCCESSFUL_COMPLETION, message)
        .with_detail(format!("rule {}", hold.rule))
        .with_hint(hint)
}

/// A result that was stopped.
#[must_use]
pub fn stopped(stop: &Stop) -> ErrorFields {
    let (code, hint) = match stop {
        Stop::Refused { rule, message, hint } => {
            return ErrorFields::new(Severity::Error, sqlstate::INSUFFICIENT_PRIVILEGE, message)
                .with_detail(format!("rule {rule}"))
                .with_hint(hint);
        }
        Stop::Time { .. } => (
            sqlstate::QUERY_CANCELED,
            "ask for less at once; the gateway keeps this limit, whatever a session sets",
        ),
        Stop::Rows { .. } | Stop::Bytes { .. } => {
            (sqlstate::CONFIGURATION_LIMIT_EXCEEDED, "add a LIMIT, or ask for fewer columns or rows")
        }
        Stop::Mismatch(_) => (
            sqlstate::FEATURE_NOT_SUPPORTED,
            "a definition changed while the statement was on its way: prepare it again",
        ),
        Stop::TooLong { .. } => (sqlstate::CONFIGURATION_LIMIT_EXCEEDED, "ask for fewer or shorter columns"),
        Stop::Undescribed | Stop::Unreadable => (sqlstate::FEATURE_NOT_SUPPORTED, ""),
    };
    ErrorFields::new(Severity::Error, code, stop.to_string()).with_hint(hint)
}

/// A statement that did not run, because a definition changed under it; the transaction may have changed it itself.
#[must_use]
pub fn redefined() -> ErrorFields {
    let message = Mismatch::Redefined.to_string();
    ErrorFields::new(Severity::Error, sqlstate::SERIALIZATION_FAILURE, message)
        .with_detail("nothing of it ran")
        .with_hint("try again; if this transaction has changed the definition, commit it first")
}

/// Bytes that are no statement.
#[must_use]
pub fn no_statement(error: &StatementError) -> ErrorFields {
    let code = match error {
        StatementError::NotUtf8 { .. } | StatementError::Nul { .. } => sqlstate::CHARACTER_NOT_IN_REPERTOIRE,
        StatementError::TooLong { .. } => sqlstate::PROGRAM_LIMIT_EXCEEDED,
    };
    ErrorFields::new(Severity::Error, code, error.to_string())
}

/// A prepared statement that this session has not made, in PostgreSQL's words.
#[must_use]
pub fn unknown_statement(name: &str) -> ErrorFields {
    let message = match name {
        "" => "unnamed prepared statement does not exist".to_owned(),
        name => format!("prepared statement \"{name}\" does not exist"),
    };
    ErrorFields::new(Severity::Error, sqlstate::INVALID_SQL_STATEMENT_NAME, message)
}

/// A portal that this session has not made, in PostgreSQL's words.
#[must_use]
pub fn unknown_portal(name: &str) -> ErrorFields {
    let message = format!("portal \"{name}\" does not exist");
    ErrorFields::new(Severity::Error, sqlstate::INVALID_CURSOR_NAME, message)
}

/// A name that belongs to the gateway.
#[must_use]
pub fn reserved_name(name: &str) -> ErrorFields {
    let message = format!("`{name}`: names that begin with `{RESERVED}` belong to the gateway");
    ErrorFields::new(Severity::Error, sqlstate::INVALID_NAME, message).with_hint("choose another name")
}

/// More statements or portals than a session may keep.
#[must_use]
pub fn too_many_names() -> ErrorFields {
    let message = "this session keeps too many prepared statements or portals";
    ErrorFields::new(Severity::Error, sqlstate::CONFIGURATION_LIMIT_EXCEEDED, message)
        .with_hint("close those that are no longer needed")
}

/// A name that PostgreSQL would cut in the middle of a character.
#[must_use]
pub fn unusable_name(name: &str) -> ErrorFields {
    let message = format!("`{name}`: PostgreSQL cuts names after 63 bytes, which is within a character here");
    ErrorFields::new(Severity::Error, sqlstate::INVALID_NAME, message).with_hint("choose a shorter name")
}

/// A message whose body is not what its type says.
#[must_use]
pub fn malformed(error: &BodyError) -> ErrorFields {
    ErrorFields::new(Severity::Error, sqlstate::PROTOCOL_VIOLATION, error.to_string())
}

/// A statement that was cancelled while it waited.
#[must_use]
pub fn cancelled() -> ErrorFields {
    let message = "canceling statement due to user request";
    ErrorFields::new(Severity::Error, sqlstate::QUERY_CANCELED, message)
}

/// The end when the gateway stops, in PostgreSQL's words.
#[must_use]
pub fn shutdown() -> ErrorFields {
    fatal(sqlstate::ADMIN_SHUTDOWN, "terminating connection due to administrator command")
}

/// The end of a session whose client was silent for too long, in PostgreSQL's words.
#[must_use]
pub fn idle() -> ErrorFields {
    fatal(sqlstate::IDLE_SESSION_TIMEOUT, "terminating connection due to idle-session timeout")
}

/// The end of a session that has lasted as long as it may.
#[must_use]
pub fn expired() -> ErrorFields {
    fatal(sqlstate::ADMIN_SHUTDOWN, "terminating connection: the session has lasted as long as it may")
        .with_hint("connect again")
}

/// The end of a session that the rulebook ends, by `rule`.
#[must_use]
pub fn ended(rule: &str) -> ErrorFields {
    fatal(sqlstate::ADMIN_SHUTDOWN, format!("the rulebook ends this session: {rule}"))
        .with_hint("what was not committed is rolled back")
}

/// The end of a session that the rules in force would not have opened.
#[must_use]
pub fn no_longer(denial: &Denial) -> ErrorFields {
    let why = denial.reason().map_or("", |reason| reason.message.as_str());
    fatal(sqlstate::ADMIN_SHUTDOWN, format!("the rules changed, and end this session: {why}"))
        .with_detail(detail(denial))
}

/// The end of a session whose server does not let go of a statement after its time is over.
#[must_use]
pub fn overtime() -> ErrorFields {
    fatal(
        sqlstate::QUERY_CANCELED,
        "terminating connection: a statement takes longer than it may, and could not be cancelled",
    )
}

/// An end to the session.
#[must_use]
pub fn fatal(sqlstate: &str, message: impl Into<String>) -> ErrorFields {
    ErrorFields::new(Severity::Fatal, sqlstate, message)
}

/// Whether `name` belongs to the gateway.
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    Names::is_reserved(name)
}

fn refused(denial: &Denial, severity: Severity) -> ErrorFields {
    let (message, hint) = match denial.reason() {
        Some(reason) => (reason.message.as_str(), reason.hint.as_str()),
        None => ("the statement was refused", ""),
    };
    ErrorFields::new(severity, code(&denial.kind), message).with_detail(detail(denial)).with_hint(hint)
}

fn detail(denial: &Denial) -> String {
    let rule = denial.reason().map_or("", |reason| reason.rule.as_str());
    match denial.decision_id.as_str() {
        "" => format!("rule {rule}"),
        decision => format!("rule {rule}, decision {decision}"),
    }
}

fn code(kind: &DenialKind) -> &'static str {
    match kind {
        DenialKind::Policy
        | DenialKind::Mask
        | DenialKind::Pending { .. }
        | DenialKind::NotApproved
        | DenialKind::Changed => sqlstate::INSUFFICIENT_PRIVILEGE,
        DenialKind::Syntax => sqlstate::SYNTAX_ERROR,
        DenialKind::Unresolved(Missing::Column) => sqlstate::UNDEFINED_COLUMN,
        DenialKind::Unresolved(Missing::Function) => sqlstate::UNDEFINED_FUNCTION,
        DenialKind::Unresolved(Missing::Statement) => sqlstate::INVALID_SQL_STATEMENT_NAME,
        DenialKind::Unresolved(Missing::Cursor) => sqlstate::INVALID_CURSOR_NAME,
        DenialKind::Unresolved(Missing::Relation | Missing::Other) => sqlstate::UNDEFINED_TABLE,
        DenialKind::Stale => sqlstate::FEATURE_NOT_SUPPORTED,
        DenialKind::Database => sqlstate::INVALID_CATALOG_NAME,
        DenialKind::UnknownApproval => sqlstate::UNDEFINED_OBJECT,
        DenialKind::Unavailable => sqlstate::SYSTEM_ERROR,
        DenialKind::Overloaded => sqlstate::INSUFFICIENT_RESOURCES,
    }
}

/// What stands in for the error of a statement that touches masked columns: PostgreSQL's own message and detail
/// can carry row values (`Key (ssn)=(...) already exists`).
pub const WITHHELD: &str = "the database refused the statement; details are withheld because it touches masked columns or filtered rows";

/// What stands in for the text of a notice in such a transaction, for the same reason.
pub const NOTICE_WITHHELD: &str = "the database has a notice; its text is withheld because the transaction touches masked columns or filtered rows";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denial_names_its_rule_its_decision_and_what_would_work() {
        let mut denial =
            Denial::because(DenialKind::Policy, "ddl_by_agent", "agents may not DROP", "ask a DBA");
        denial.decision_id = "d1".into();
        let mut out = bytes::BytesMut::new();
        denied(&denial).put_error(&mut out);
        let text = String::from_utf8_lossy(&out).into_owned();
        for part in ["42501", "agents may not DROP", "rule ddl_by_agent, decision d1", "ask a DBA"] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn every_sort_of_no_has_its_sqlstate() {
        let table = [
            (DenialKind::Policy, "42501"),
            (DenialKind::Mask, "42501"),
            (DenialKind::NotApproved, "42501"),
            (DenialKind::Changed, "42501"),
            (DenialKind::Syntax, "42601"),
            (DenialKind::Unresolved(Missing::Relation), "42P01"),
            (DenialKind::Unresolved(Missing::Column), "42703"),
            (DenialKind::Unresolved(Missing::Function), "42883"),
            (DenialKind::Stale, "0A000"),
            (DenialKind::Database, "3D000"),
            (DenialKind::Unavailable, "58000"),
            (DenialKind::Overloaded, "53000"),
        ];
        for (kind, code) in table {
            assert_eq!(denied(&Denial::because(kind, "r", "m", "")).sqlstate(), code);
        }
    }
}
