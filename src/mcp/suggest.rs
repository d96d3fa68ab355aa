//! Statements that would work in the place of refused ones, where one can be worked out that surely does.

use std::fmt::Write as _;
use std::sync::Arc;

use crate::gate::Foreseen;
use crate::sql::Statement;
use crate::sql::star::{Star, is_column, star};

use super::conceal::Asker;
use super::parameters::Lists;

/// What would run in the place of `sql`, which was refused: a `SELECT *` with the columns that the caller may use.
/// It was judged, so that nobody is sent from one refusal to the next.
pub(super) async fn instead(asker: &Asker<'_>, sql: &Statement, parameters: &Lists) -> Option<String> {
    let star = star(sql)?;
    let text = with_columns(asker, sql, &star).await?;
    let rewritten = Statement::new(text.as_bytes(), Statement::AGENT_CAP).ok()?;
    let call = Foreseen { tool: asker.tool, purpose: asker.purpose, parameters };
    let explanation = asker.rooms.gate.foresee(asker.who, asker.context, &rewritten, &call).await;
    (explanation.verdict != "deny").then_some(text)
}

async fn with_columns(asker: &Asker<'_>, sql: &Statement, star: &Star) -> Option<String> {
    let catalog = asker.rooms.catalog(asker.context.database())?;
    let relation = Arc::clone(catalog.resolve_relation(star.schema.as_deref(), &star.name)?);
    let access = asker.rooms.gate.access_to(asker.who, asker.context, &relation).ok()??;
    let mut columns = String::new();
    for column in &access.columns {
        let separator = if columns.is_empty() { "" } else { ", " };
        write!(columns, "{separator}{}{}", star.qualifier, quoted(&column.name)).ok()?;
    }
    let (before, after) = (sql.as_str().get(..star.range.start)?, sql.as_str().get(star.range.end..)?);
    (!columns.is_empty()).then(|| format!("{before}{columns}{after}"))
}

/// A column's name as SQL has it: quoted unless it is surely no keyword.
fn quoted(name: &str) -> String {
    let mut characters = name.chars();
    let head = characters.next().is_some_and(|first| first.is_ascii_lowercase() || first == '_');
    let plain = head && characters.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    let parses = || {
        let trial = Statement::new(format!("SELECT {name} FROM t").as_bytes(), Statement::AGENT_CAP);
        trial.is_ok_and(|trial| is_column(&trial))
    };
    if plain && parses() { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_where_they_must_be() {
        for (name, expected) in [
            ("id", "id"),
            ("a b", "\"a b\""),
            ("Name", "\"Name\""),
            ("order", "\"order\""),
            ("x\"y", "\"x\"\"y\""),
        ] {
            assert_eq!(quoted(name), expected);
        }
    }
}
