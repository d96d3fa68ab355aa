//! Keeps hidden objects hidden: a statement that names one is refused in the very words, and with the very
//! fields, that a statement gets which names nothing that exists.

use std::borrow::Borrow;

use crate::gate::{Denial, DenialKind, Explanation, Missing, RelationAccess};
use crate::sql::facts::{Access, Facts, TableFact};

/// `denial` as it may be shown to somebody who has `access`.
pub(super) fn denial(denial: Denial, facts: &[impl Borrow<Facts>], access: &[RelationAccess]) -> Denial {
    let tells = match denial.kind {
        DenialKind::Policy | DenialKind::Unresolved(_) | DenialKind::Mask => names_hidden(facts, access),
        DenialKind::Syntax
        | DenialKind::Pending { .. }
        | DenialKind::NotApproved
        | DenialKind::Changed
        | DenialKind::Stale
        | DenialKind::Database
        | DenialKind::UnknownApproval
        | DenialKind::Unavailable
        | DenialKind::Overloaded => false,
    };
    if !tells {
        return denial;
    }
    let decision_id = denial.decision_id;
    let mut concealed = Denial::because(DenialKind::Unresolved(Missing::Other), RULE, MESSAGE, HINT);
    concealed.decision_id = decision_id;
    concealed
}

/// Whether what `explanation` tells must be kept from somebody who has `access`.
pub(super) fn must_hide(explanation: &Explanation, access: &[RelationAccess]) -> bool {
    explanation.verdict == "deny" && names_hidden(&explanation.facts, access)
}

fn names_hidden(facts: &[impl Borrow<Facts>], access: &[RelationAccess]) -> bool {
    facts.iter().map(Borrow::borrow).any(|facts: &Facts| {
        let unresolved = |what: &str| matches!(what, "relation" | "column");
        facts.unresolved.iter().any(|missing| unresolved(&missing.what))
            || facts.tables.iter().any(|table| is_hidden(facts, table, access))
    })
}

fn is_hidden(facts: &Facts, table: &TableFact, access: &[RelationAccess]) -> bool {
    let is_new = facts.kind.starts_with("create_") && table.access == Access::Define;
    if table.system || is_new {
        return false;
    }
    let Some(visible) = access.iter().find(|relation| relation.key == table.key.as_str()) else {
        return true;
    };
    let mut named = table.columns_read.iter().chain(&table.columns_filtered).chain(&table.columns_written);
    named.any(|name| !visible.columns.iter().any(|column| &column.name == name))
}

/// The rule's name in such a refusal.
pub(super) const RULE: &str = "not_found_or_not_permitted";
/// What is wrong.
pub(super) const MESSAGE: &str =
    "a table or column that the statement names was not found, or you may not use it";
/// What would work.
pub(super) const HINT: &str = "`search_schema` lists the tables and columns that you can use";
