//! EXPLAIN.

use pg_query::NodeEnum;
use pg_query::protobuf::{DefElem, ExplainStmt, Node};

use crate::sql::facts::{Class, Destination};

use super::scope::{Column, Sources};
use super::{Outline, Walker};

impl Walker<'_> {
    /// EXPLAIN folds in the facts of what it explains, whether it runs it or not: planning alone runs
    /// immutable functions, and the plan shows estimates of every column that it names.
    pub(super) fn explain_command(&mut self, node: &NodeEnum) -> Option<Outline> {
        let NodeEnum::ExplainStmt(explain) = node else { return None };
        self.explain_analyze = runs(explain);
        if let Some(query) = explain.query.as_deref() {
            self.inner_statement(query);
        }
        self.destinations.insert(Destination::Client);
        let plan = vec![Column::new("QUERY PLAN", Sources::new())];
        Some(Outline::with("explain", Class::Read, plan))
    }
}

/// Whether EXPLAIN would run the statement: of several ANALYZE options the last one counts.
fn runs(explain: &ExplainStmt) -> bool {
    let mut runs = false;
    for option in &explain.options {
        let Some(NodeEnum::DefElem(option)) = option.node.as_ref() else { continue };
        if option.defname == "analyze" {
            runs = is_on(option);
        }
    }
    runs
}

/// An option's value as `defGetBoolean` reads it; what it would refuse counts as on.
pub(super) fn is_on(option: &DefElem) -> bool {
    let Some(value) = option.arg.as_deref() else { return true };
    let word = super::utility::word(value).to_ascii_lowercase();
    !matches!(word.as_str(), "off" | "false" | "0")
}

/// The option called `name`, the last of several.
pub(super) fn option<'o>(options: &'o [Node], name: &str) -> Option<&'o DefElem> {
    let mut all = options.iter().filter_map(|option| match option.node.as_ref() {
        Some(NodeEnum::DefElem(option)) => Some(&**option),
        Some(_) | None => None,
    });
    all.rfind(|option| option.defname == name)
}
