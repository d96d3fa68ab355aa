//! The last word before rewritten text leaves: it is parsed again, and must be what was meant.
//!
//! The deparser prints for the newest grammar and could lose or change something on the way. So the text is
//! never believed: its tree must equal the tree that was built, and it must mention exactly as many governed
//! relations as the rewrite put there on purpose, and name the truth of a masked column in released aggregates alone.

use pg_query::protobuf::{ParseResult, RawStmt};

use super::governance::Governance;
use super::survey::{Survey, digest};
use super::{Refusal, aggregates, walk};

/// The text of `tree`, proven; `expected` governed mentions and `released` aggregates of true values belong into it.
pub(super) fn emit(
    tree: RawStmt,
    expected: usize,
    released: usize,
    governance: &Governance<'_>,
) -> Result<String, Refusal> {
    let meant = digest(&tree.stmt).map_err(|_| unproven("it can't be walked"))?;
    let tree = ParseResult { version: 0, stmts: vec![RawStmt { stmt_location: 0, stmt_len: 0, ..tree }] };
    let sql = pg_query::deparse(&tree, pg_query::DeparseOptions::default())
        .map_err(|_| unproven("it can't be printed"))?;
    let again = walk::parse(&sql).ok_or_else(|| unproven("what was printed doesn't parse"))?;
    let [printed] = again.as_slice() else { return Err(unproven("it printed as several statements")) };
    if digest(&printed.stmt).ok() != Some(meant) {
        return Err(unproven("it printed as another statement"));
    }
    let survey = Survey::of(&printed.stmt).map_err(|_| unproven("it can't be walked"))?;
    only_aggregates_see_the_truth(&survey, released)?;
    let mut governed = 0_usize;
    for mention in &survey.relations {
        // The rewrite qualifies every relation, so a bare name is a CTE or nothing that we know.
        if mention.schema.is_empty() {
            if survey.ctes.contains(&mention.name) {
                continue;
            }
            return Err(unproven(&format!("relation `{}` was left without a schema", mention.name)));
        }
        if governance.resolve(mention).is_some_and(|relation| governance.is_governed(relation)) {
            governed = governed.saturating_add(1);
        }
    }
    match governed == expected {
        true => Ok(sql),
        false => Err(unproven("a table with masked columns was left in it")),
    }
}

/// Each of them names it twice: to count the group, and for itself.
fn only_aggregates_see_the_truth(survey: &Survey, released: usize) -> Result<(), Refusal> {
    let is_truth = |name: &Option<String>| name.as_deref().is_some_and(aggregates::is_reserved);
    let mut named = 0_usize;
    for reference in survey.references.iter().filter(|reference| reference.fields.iter().any(is_truth)) {
        if !reference.in_call || reference.fields.len() != 1 {
            return Err(unproven("it would show what is masked"));
        }
        named = named.saturating_add(1);
    }
    match named == released.saturating_mul(2) {
        true => Ok(()),
        false => Err(unproven("it would show what is masked")),
    }
}

fn unproven(why: &str) -> Refusal {
    Refusal {
        what: format!("the statement touches masked columns and can't be rewritten soundly: {why}"),
        hint: "write it more plainly, or leave the masked tables out".to_owned(),
    }
}
