//! Views over governed tables: the definition takes the view's place, with its tables masked.

use pg_query::protobuf::{Alias, SelectStmt, String as Name};
use pg_query::{Node, NodeEnum};

use crate::catalog::Relation;

use super::governance::definition;
use super::reads::Rewriter;
use super::survey::Survey;
use super::wrapper::{self, Wanted};
use super::{Refusal, walk};

/// The definition of `view`, masked, under `alias` with the columns that the catalog knows.
pub(super) fn inline(
    rewriter: &mut Rewriter<'_>,
    view: &Relation,
    wanted: &Wanted,
    alias: Alias,
) -> Result<(Box<SelectStmt>, Alias), Refusal> {
    if rewriter.depth >= DEEPEST {
        return Err(opaque(view));
    }
    let mut select = definition(view)?;
    let survey = Survey::of(&select).map_err(|_| opaque(view))?;
    let mut inner = Rewriter::new(rewriter.governance, &survey, rewriter.depth.saturating_add(1));
    inner.select(&mut select)?;
    rewriter.expected = rewriter.expected.saturating_add(inner.expected);
    let released = inner.released;
    rewriter.released.absorb(released);
    let masks = rewriter.governance.masks(&view.key());
    match masks.is_empty() {
        true => Ok((select, columns_of(view, alias))),
        false => {
            let outer = rewriter.governance.subselect(view, wanted, true)?;
            Ok((masked_itself(view, outer, select), alias))
        }
    }
}

/// The refusal of a view that can't be looked into.
pub(super) fn opaque(view: &Relation) -> Refusal {
    Refusal {
        what: format!(
            "`{}` may show masked columns, or rows that are not yours, of the tables below it",
            view.key()
        ),
        hint: "read those tables instead; the operator can name the masked columns of this relation itself"
            .to_owned(),
    }
}

/// A view whose own columns are masked too: its subselect, over the definition in its place.
fn masked_itself(
    view: &Relation,
    mut select: Box<SelectStmt>,
    definition: Box<SelectStmt>,
) -> Box<SelectStmt> {
    let alias = columns_of(view, Alias { aliasname: view.name.clone(), colnames: Vec::new() });
    select.from_clause = vec![wrapper::from_item(definition, alias)];
    select
}

fn columns_of(view: &Relation, mut alias: Alias) -> Alias {
    let given = walk::names(&alias.colnames).len();
    let others = view
        .columns
        .iter()
        .skip(given)
        .map(|column| Node { node: Some(NodeEnum::String(Name { sval: column.name.clone() })) });
    alias.colnames.extend(others);
    alias
}

/// Views below views below views: deeper than any that people write.
const DEEPEST: usize = 32;
