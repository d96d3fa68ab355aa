//! What a model is told when what was admitted did not run, or not to its end.

use crate::mask::Stop;
use crate::upstream::{BeginError, ConnectError, RunError};

use super::conceal::Asker;
use super::envelope::{Envelope, Refusal};
use super::once::UNKNOWN;
use super::text::{MESSAGE, NAME, NOTICE, clean};

/// A failed run. The server's words may hold row values, so they stand beside our message, not in it.
pub(super) fn of_run(error: &RunError, asker: &Asker<'_>) -> Envelope {
    let (code, hint) = match error {
        RunError::Server { sqlstate, message, hint } => {
            return server_error(sqlstate, message, hint, asker);
        }
        RunError::TooManyAffected { .. } => {
            ("too_many_affected", "narrow the WHERE clause, or raise `max_affected` if you mean them all")
        }
        RunError::Stopped(Stop::Time { .. }) => {
            ("time_limit", "ask for less at once: narrow the WHERE clause, or aggregate; it was rolled back")
        }
        RunError::Stopped(Stop::Refused { rule, message, hint }) => {
            let refusal = Refusal::new("policy", clean(message, MESSAGE), clean(hint, MESSAGE));
            return Envelope::error(&Refusal { rule: clean(rule, NAME), ..refusal });
        }
        RunError::Stopped(_) => ("limit", "select fewer rows or columns, or aggregate"),
        RunError::Broken(_) => ("connection_broken", "try again"),
        RunError::Unwitnessed(_) => ("unavailable", "try again later"),
        RunError::Unknown(_) => (UNKNOWN, "look at the data before you repeat it"),
    };
    Envelope::error(&Refusal::new(code, error.to_string(), hint))
}

fn server_error(sqlstate: &str, message: &str, hint: &str, asker: &Asker<'_>) -> Envelope {
    let advice = match sqlstate {
        "25006" => "`query` runs in a read-only transaction: use `execute` for what changes something",
        "57014" => {
            "it took too long or was cancelled: narrow it, aggregate less, or filter on indexed columns"
        }
        "22P02" if message.starts_with("malformed array literal") => {
            "a JSON list was sent as JSON text: say that it is an array where it stands, as in `$1::int[]`"
        }
        "40001" | "40P01" => "it collided with another transaction: try again",
        "55P03" => "a lock is held by somebody else: try again later",
        _ => "correct the statement; `search_schema` with detail `full` shows the columns and their types",
    };
    let refusal = Refusal::new(
        "database_error",
        format!(
            "the database refused the statement (SQLSTATE {}), and it was rolled back; its own words are in \
             `database_message`",
            clean(sqlstate, SQLSTATE)
        ),
        advice,
    );
    Envelope::error(&refusal)
        .with("sqlstate", clean(sqlstate, SQLSTATE))
        .with("database_message", asker.heard(message).unwrap_or_else(|| WITHHELD.to_owned()))
        .with_some("database_hint", (!hint.is_empty()).then(|| asker.heard(hint)).flatten())
        .with("content_trust", "untrusted")
        .with("notice", NOTICE)
}

/// No statement was sent.
pub(super) fn unbegun(error: &BeginError, database: &str) -> Envelope {
    match error {
        BeginError::Connect(error) => unreachable(error, database),
        BeginError::Broken(error) => {
            tracing::warn!(%error, database, "mcp.database_unavailable");
            no_database(database)
        }
    }
}

/// The address and the server's words stay in the operator's log.
fn unreachable(error: &ConnectError, database: &str) -> Envelope {
    tracing::warn!(error = %error, database, "mcp.database_unavailable");
    no_database(database)
}

fn no_database(database: &str) -> Envelope {
    let message = format!("database `{database}` can't be reached by the gateway; nothing ran");
    Envelope::error(&Refusal::new("database_unavailable", message, "try again later, or tell the operator"))
}

/// In the place of words that name what is not the caller's.
pub(super) const WITHHELD: &str = "(withheld: it names what you may not see)";
const SQLSTATE: usize = 5;
