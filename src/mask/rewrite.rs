//! The rewrite at the source.

use std::collections::HashSet;
use std::sync::Arc;

use pg_query::protobuf::RawStmt;
use pg_query::{Node, NodeEnum};

use crate::catalog::{Relation, Snapshot};
use crate::sql::facts::Class;
use crate::sql::{Facts, Item};

use super::governance::{Governance, Governed};
use super::reads::{Rewriter, laundering, unknown};
use super::survey::Survey;
use super::{Guard, Masks, guard, held, proof, walk, writes};

/// A statement as it will be sent, and what its result must look like.
#[derive(Debug, Clone)]
pub struct Rewritten {
    /// The SQL to send: the original text where nothing is governed.
    pub sql: String,
    /// What the result is held against.
    pub plan: Plan,
}

/// What is known about a result before it is there.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// How many columns the result must have, where the statement returns rows and the number is known.
    pub arity: Option<usize>,
    /// Whether the statement touches a governed relation: then errors and notices lose row values.
    pub governed: bool,
    /// Whether the text that was sent is the text that came in: then error positions are the client's own.
    pub verbatim: bool,
    /// `(table OID, attnum)` of every column that this identity may not see: no result column may come from one.
    pub forbidden: Arc<HashSet<(u32, i16)>>,
    /// Masked columns of which aggregates see the truth, `schema.table.column`, ordered.
    pub released: Arc<[String]>,
    /// What must run before it, in its transaction, for its definitions to be those that it was judged by.
    pub guard: Option<Guard>,
}

/// Why a statement can't be masked, and so is denied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Refusal {
    /// What can't be done, with the governed column or construct named: ``column `ssn` of `public.customers` is
    /// masked for you and can't decide which rows are written``.
    pub what: String,
    /// What would work instead.
    pub hint: String,
}

/// Rewrites one statement so that governed columns are masked wherever they are read.
///
/// `text` is the exact text of `item`. Recursive: call it on a thread with a stack of 32 MiB, like the parser.
///
/// # Errors
/// Refuses what it can't mask soundly.
pub fn rewrite(text: &str, item: &Item, masks: &Masks, catalog: &Snapshot) -> Result<Rewritten, Refusal> {
    rewrite_as(text, item, &Governed::new(masks, catalog), catalog)
}

/// As [`rewrite`], by masks that were worked out on `catalog` before.
///
/// # Errors
/// As [`rewrite`].
pub fn rewrite_as(
    text: &str,
    item: &Item,
    governed: &Governed,
    catalog: &Snapshot,
) -> Result<Rewritten, Refusal> {
    let forbidden = Arc::clone(governed.forbidden());
    let plan = Plan { arity: arity(&item.facts), verbatim: true, forbidden, ..Plan::default() };
    if governed.is_empty() {
        return Ok(Rewritten { sql: text.to_owned(), plan });
    }
    let governance = Governance::new(governed, catalog);
    let plan = Plan { guard: guard::of(&item.facts, &governance), ..plan };
    let survey = Survey::of(&item.tree.stmt).map_err(|_| unknown("statement"))?;
    let touched = touched(&survey, &item.facts, &governance);
    if let Some(refusal) = held::refusal(governed, item, touched.iter().copied(), catalog) {
        return Err(refusal);
    }
    if !touched.iter().any(|relation| governance.is_governed(relation)) {
        // Rows that are held back are held back by the server itself; what it says of them must not leave.
        let hides = touched.iter().any(|relation| governance.hides_rows(&relation.key()));
        return Ok(Rewritten { sql: text.to_owned(), plan: Plan { governed: hides, ..plan } });
    }
    let mut tree = item.tree.clone();
    let mut rewriter = Rewriter::new(&governance, &survey, 0);
    dispatch(&mut rewriter, &mut tree, &item.facts)?;
    let sql = proof::emit(tree, rewriter.expected, rewriter.released.calls, &governance)?;
    let released = rewriter.released.columns.into_iter().collect();
    Ok(Rewritten { sql, plan: Plan { governed: true, verbatim: false, released, ..plan } })
}

/// The relations that are named, in the tree or by what the facts know about it.
fn touched<'a>(survey: &Survey, facts: &Facts, governance: &Governance<'a>) -> Vec<&'a Arc<Relation>> {
    let by_name = survey.relations.iter().filter_map(|mention| governance.resolve(mention));
    let by_facts = facts.tables.iter().filter_map(|table| governance.catalog().relation(&table.key));
    by_name.chain(by_facts).collect()
}

fn dispatch(rewriter: &mut Rewriter<'_>, tree: &mut RawStmt, facts: &Facts) -> Result<(), Refusal> {
    let Some(node) = &mut tree.stmt else { return Err(unknown("statement")) };
    if rewriter.survey.writes() {
        writes::refuse_governed_names(rewriter.survey, rewriter.governance)?;
    }
    match &mut node.node {
        Some(
            NodeEnum::SelectStmt(_)
            | NodeEnum::InsertStmt(_)
            | NodeEnum::UpdateStmt(_)
            | NodeEnum::DeleteStmt(_)
            | NodeEnum::MergeStmt(_),
        ) => rewriter.statement(node),
        Some(NodeEnum::CopyStmt(copy)) => rewriter.copy(copy),
        Some(NodeEnum::DeclareCursorStmt(cursor)) => {
            walk::one(&mut cursor.query).try_for_each(|query| rewriter.statement(query))
        }
        Some(NodeEnum::ExplainStmt(explain)) => {
            walk::one(&mut explain.query).try_for_each(|query| rewriter.explained(query, facts))
        }
        Some(NodeEnum::CreateTableAsStmt(_)) => Err(laundering("CREATE TABLE AS")),
        Some(NodeEnum::ViewStmt(_)) => Err(laundering("CREATE VIEW")),
        _ => Err(unknown("statement")),
    }
}

impl Rewriter<'_> {
    /// Rewrites what EXPLAIN explains. The plan is then one over the masks: it can tell nothing of columns that the
    /// statement does not read. A mask that is computed from its column does read it, and the planner's row counts
    /// come from what it knows of that column; so do those of a write, whose target is the table itself, and a released
    /// aggregate reads its column.
    fn explained(&mut self, query: &mut Node, facts: &Facts) -> Result<(), Refusal> {
        let reads_masked = facts.tables.iter().any(|table| self.governance.reads_masked(&table.key));
        match &mut query.node {
            Some(NodeEnum::SelectStmt(select)) if !reads_masked && facts.class <= Class::Read => {
                self.select(select)?;
            }
            _ => return Err(telling_plan()),
        }
        match self.released.calls {
            0 => Ok(()),
            _ => Err(telling_plan()),
        }
    }
}

fn telling_plan() -> Refusal {
    Refusal {
        what: "a plan over these masked columns shows what they hold: its constants and row counts"
            .to_owned(),
        hint: "explain a statement that leaves the masked tables out".to_owned(),
    }
}

/// How many columns come back, where that is known: only what reads or writes rows has a fixed number.
fn arity(facts: &Facts) -> Option<usize> {
    let returns_rows = matches!(facts.kind.as_str(), "select" | "insert" | "update" | "delete" | "merge");
    Some(facts.outputs.len()).filter(|&columns| returns_rows && columns > 0)
}
