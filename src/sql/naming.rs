//! What a statement has to do with the names of its session: of prepared statements, and of cursors.
//!
//! Such a statement does what its name stands for, which its text does not say. Whoever keeps the session's names
//! completes its facts by [`Facts::running`]; as long as nobody does, it names something unknown and is denied.

use pg_query::protobuf::{DiscardMode, Node, RawStmt, Token};
use pg_query::{NodeEnum, scan_tokens};

use super::facts::{Facts, Inner};

/// What a statement does by names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Naming {
    /// Nothing: most statements.
    #[default]
    Nothing,
    /// PREPARE.
    Prepares {
        /// The name.
        name: String,
        /// Where the statement inside begins: bytes within the text.
        inside: usize,
    },
    /// EXECUTE, by itself, explained, or into a new table.
    Executes {
        /// The name.
        name: String,
        /// Whether another statement stands around it.
        wrapped: bool,
    },
    /// DEALLOCATE.
    Deallocates {
        /// The name; `None` is all.
        name: Option<String>,
    },
    /// DECLARE.
    Declares {
        /// The name.
        name: String,
        /// Whether the cursor outlives its transaction.
        holds: bool,
    },
    /// FETCH or MOVE.
    Fetches {
        /// The name.
        name: String,
    },
    /// CLOSE.
    Closes {
        /// The name; `None` is all.
        name: Option<String>,
    },
    /// DISCARD ALL.
    Discards,
}

/// What `node` does by names; `text` is its own.
pub(super) fn of(node: &Node, text: &str) -> Naming {
    match node.node.as_ref() {
        Some(NodeEnum::PrepareStmt(prepare)) => {
            Naming::Prepares { name: prepare.name.clone(), inside: inside(text).unwrap_or(text.len()) }
        }
        Some(NodeEnum::DeallocateStmt(deallocate)) => {
            Naming::Deallocates { name: named(&deallocate.name, deallocate.isall) }
        }
        Some(NodeEnum::DeclareCursorStmt(declare)) => Naming::Declares {
            name: declare.portalname.clone(),
            holds: declare.options & CURSOR_OPT_HOLD != 0,
        },
        Some(NodeEnum::FetchStmt(fetch)) => Naming::Fetches { name: fetch.portalname.clone() },
        Some(NodeEnum::ClosePortalStmt(close)) => {
            Naming::Closes { name: named(&close.portalname, close.portalname.is_empty()) }
        }
        Some(NodeEnum::DiscardStmt(discard)) if discard.target() == DiscardMode::DiscardAll => {
            Naming::Discards
        }
        _ => executed(node, false),
    }
}

/// The EXECUTE that `node` is or holds.
fn executed(node: &Node, wrapped: bool) -> Naming {
    match node.node.as_ref() {
        Some(NodeEnum::ExecuteStmt(execute)) => Naming::Executes { name: execute.name.clone(), wrapped },
        Some(NodeEnum::ExplainStmt(explain)) => within(explain.query.as_deref()),
        Some(NodeEnum::CreateTableAsStmt(create)) => within(create.query.as_deref()),
        _ => Naming::Nothing,
    }
}

fn within(query: Option<&Node>) -> Naming {
    query.map(|query| executed(query, true)).unwrap_or_default()
}

/// `tree` with what `prepared` holds in the place of the EXECUTE in it.
#[must_use]
pub fn with_prepared(tree: &RawStmt, prepared: &RawStmt) -> RawStmt {
    let mut tree = tree.clone();
    if let Some((place, query)) = tree.stmt.as_deref_mut().and_then(execute_in).zip(prepared.stmt.as_deref())
    {
        *place = query.clone();
    }
    tree
}

fn execute_in(node: &mut Node) -> Option<&mut Node> {
    match &node.node {
        Some(NodeEnum::ExecuteStmt(_)) => return Some(node),
        Some(NodeEnum::ExplainStmt(_) | NodeEnum::CreateTableAsStmt(_)) => {}
        _ => return None,
    }
    match &mut node.node {
        Some(NodeEnum::ExplainStmt(explain)) => execute_in(explain.query.as_deref_mut()?),
        Some(NodeEnum::CreateTableAsStmt(create)) => execute_in(create.query.as_deref_mut()?),
        _ => None,
    }
}

impl Facts {
    /// The facts of a statement that runs by name what `named` are the facts of: both together.
    #[must_use]
    pub fn running(mut self, named: &Self) -> Self {
        self.unresolved.retain(|thing| !matches!(thing.what.as_str(), PREPARED | CURSOR));
        self.unresolved.extend(named.unresolved.iter().cloned());
        self.parse_ok &= named.parse_ok;
        self.class = self.class.max(named.class);
        self.inner.push(Inner { kind: named.kind.clone(), class: named.class });
        self.inner.extend(named.inner.iter().cloned());
        self.tables.extend(named.tables.iter().cloned());
        self.functions.extend(named.functions.iter().cloned());
        self.functions.sort();
        self.functions.dedup();
        if self.kind == "execute" {
            self.outputs.clone_from(&named.outputs);
            self.limit = named.limit.clone();
        }
        self.condition = named.condition.clone();
        self.settings.extend(named.settings.iter().cloned());
        self.destinations.extend(&named.destinations);
        self.destinations.sort();
        self.destinations.dedup();
        self.locks_rows |= named.locks_rows;
        self
    }
}

/// Where the statement inside a PREPARE begins: behind the AS that stands in no parentheses. The name before it
/// can't be an unquoted AS.
fn inside(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for token in scan_tokens(text).ok()? {
        let kind = token.token();
        if kind == Token::As && depth == 0 {
            return usize::try_from(token.end).ok();
        }
        depth += usize::from(kind == Token::Ascii40);
        depth = depth.saturating_sub(usize::from(kind == Token::Ascii41));
    }
    None
}

fn named(name: &str, all: bool) -> Option<String> {
    Some(name.to_owned()).filter(|_| !all)
}

/// What facts call the name of a prepared statement that nobody has completed them by.
pub(super) const PREPARED: &str = "prepared statement";
/// Likewise the name of a cursor.
pub(super) const CURSOR: &str = "cursor";

/// PostgreSQL's bit in the options of DECLARE.
const CURSOR_OPT_HOLD: i32 = 0x20;
