//! What no rulebook can allow, because the door could not carry it out.

use std::sync::Arc;

use crate::policy::{Decision, Limits};
use crate::sql::facts::Class;
use crate::sql::{Analysis, Item};

use super::judge::{Case, Via, ends_session};
use super::{Denial, DenialKind};

/// How many statements a string may hold, and which. In an unjudged session it is PostgreSQL that says so.
pub(super) fn structure(case: &Case<'_>, analysis: &Analysis) -> Result<(), Denial> {
    if case.context.is_unjudged() {
        return Ok(());
    }
    let single = match case.via {
        Via::Query | Via::Fetch | Via::Call => return Ok(()),
        Via::Prepare | Via::Bind => analysis.items().len() <= 1,
        // Each of its statements came with values of its own.
        Via::Tool(_) => analysis.items().len() == case.parameters.len() && !case.parameters.is_empty(),
    };
    if !single {
        let message = match analysis.items().len() {
            0 => "there is no statement",
            _ => "cannot insert multiple commands into a prepared statement",
        };
        return Err(Denial::because(DenialKind::Syntax, "one_statement", message, "send one at a time"));
    }
    let controls_transaction = |item: &Item| TRANSACTION_CONTROL.contains(&item.facts.kind.as_str());
    if matches!(case.via, Via::Tool(_)) && analysis.items().iter().any(controls_transaction) {
        return Err(Denial::because(
            DenialKind::Policy,
            "transaction_in_tool",
            "a tool runs its statement in a transaction of its own",
            "send the statement without BEGIN, COMMIT or ROLLBACK",
        ));
    }
    Ok(())
}

/// A ceiling is enforced on the result, after the server has run the whole string: too late for a write in it.
pub(super) fn limited_batch(
    case: &Case<'_>,
    analysis: &Analysis,
    decisions: &[Arc<Decision>],
) -> Result<(), Denial> {
    // A tool's statements are sent one by one.
    if case.context.is_unjudged() || matches!(case.via, Via::Tool(_)) {
        return Ok(());
    }
    // Time is kept while the string runs.
    let limited = |Limits { rows, bytes, time_ms: _ }: Limits| rows.is_some() || bytes.is_some();
    let limited = decisions.iter().any(|decision| limited(decision.limits));
    let writes = analysis.items().iter().any(|item| item.facts.class >= Class::Write);
    if analysis.items().len() > 1 && limited && writes {
        return Err(Denial::because(
            DenialKind::Policy,
            "limited_batch",
            "your row limits can't be kept when reads and writes are sent in one string",
            "send the statements one at a time",
        ));
    }
    Ok(())
}

/// Nothing runs behind a statement that ends its session, and the server would run the whole string.
pub(super) fn ends_last(decisions: &[Arc<Decision>]) -> Result<(), Denial> {
    let Some((_, before)) = decisions.split_last() else { return Ok(()) };
    if !ends_session(before) {
        return Ok(());
    }
    Err(Denial::because(
        DenialKind::Policy,
        "end_session",
        "the rulebook ends the session with a statement that others stand behind",
        "send it alone",
    ))
}

const TRANSACTION_CONTROL: [&str; 9] = [
    "begin",
    "commit",
    "rollback",
    "savepoint",
    "release",
    "rollback_to",
    "prepare_transaction",
    "commit_prepared",
    "rollback_prepared",
];
