//! Text -> tree -> facts.

use std::ops::Range;
use std::sync::Arc;

use pg_query::protobuf::{ParseResult, RawStmt};

use crate::catalog::Snapshot;

use super::{Facts, Naming, Statement, naming, nesting, walk};

/// A statement string, parsed and understood as far as possible.
#[derive(Debug, Clone)]
pub struct Analysis {
    statement: Statement,
    items: Vec<Item>,
    shallow: bool,
}

/// One statement of the string.
#[derive(Debug, Clone)]
pub struct Item {
    /// Its bytes within the statement's text, without the semicolon.
    pub range: Range<usize>,
    /// Its tree.
    pub tree: RawStmt,
    /// What it would do.
    pub facts: Arc<Facts>,
    /// What it does by names.
    pub naming: Naming,
}

/// Why there are no facts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnalyzeError {
    /// PostgreSQL's grammar refuses the text; the message is the grammar's own.
    #[error("{message}")]
    Syntax {
        /// For example ``syntax error at or near "selec"``.
        message: String,
    },
    /// The analyser gave up for a reason of its own.
    #[error("the statement could not be analysed: {why}")]
    GaveUp {
        /// Why.
        why: String,
    },
}

/// Parses `statement` and resolves it against `catalog`.
///
/// Recursive: call it on a thread with a stack of 32 MiB.
///
/// # Errors
/// When the grammar refuses the text, or the tree is too deep.
pub fn analyze(statement: &Statement, catalog: &Snapshot) -> Result<Analysis, AnalyzeError> {
    if statement.is_unread() {
        return Err(unread());
    }
    let parsed = parse(statement.as_str())?;
    let deep = understood(statement, parsed, catalog, Depth::Any)?;
    deep.ok_or_else(|| AnalyzeError::GaveUp { why: "it was thought to be shallow".to_owned() })
}

/// As [`analyze`], for a statement that needs no more than [`SHALLOW_STACK_BYTES`] of stack, on any thread: most do.
/// `None` where it may need more, because it is long, nests deep, or reads a view.
///
/// # Errors
/// As [`analyze`].
pub fn analyze_shallow(statement: &Statement, catalog: &Snapshot) -> Option<Result<Analysis, AnalyzeError>> {
    if statement.is_unread() {
        return Some(Err(unread()));
    }
    let text = statement.as_str();
    if text.len() > MOST_SHALLOW_BYTES || nesting::exact(text)? > MOST_SHALLOW_NESTING {
        return None;
    }
    match parse(text) {
        Ok(parsed) => understood(statement, parsed, catalog, Depth::Shallow).transpose(),
        Err(error) => Some(Err(error)),
    }
}

/// The tree of `statement`, where it is one for any thread.
pub(super) fn parsed_shallow(statement: &Statement) -> Option<ParseResult> {
    let text = statement.as_str();
    if statement.is_unread()
        || text.len() > MOST_SHALLOW_BYTES
        || nesting::exact(text)? > MOST_SHALLOW_NESTING
    {
        return None;
    }
    parse(text).ok()
}

/// The facts of every statement; `None` if they can't be found within `depth`.
fn understood(
    statement: &Statement,
    parsed: ParseResult,
    catalog: &Snapshot,
    depth: Depth,
) -> Result<Option<Analysis>, AnalyzeError> {
    let mut items = Vec::with_capacity(parsed.stmts.len());
    for tree in parsed.stmts {
        let range = range_of(&tree, statement.as_str())?;
        let Some(node) = tree.stmt.as_deref() else {
            return Err(AnalyzeError::GaveUp { why: "the grammar gave no tree".to_owned() });
        };
        let Some(facts) = walk::facts_of(node, catalog, depth)? else { return Ok(None) };
        let naming = naming::of(node, statement.as_str().get(range.clone()).unwrap_or_default());
        items.push(Item { range, tree, facts: Arc::new(facts), naming });
    }
    let shallow = depth == Depth::Shallow;
    Ok(Some(Analysis { statement: statement.clone(), items, shallow }))
}

fn unread() -> AnalyzeError {
    AnalyzeError::GaveUp { why: "it is not for reading".to_owned() }
}

/// How much stack there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// 32 MiB.
    Any,
    /// What a statement within the shallow bounds needs; definitions of views have no such bounds.
    Shallow,
}

/// The trees of `text`.
///
/// The crate walks the tree once more for a summary of its own; should that ever panic, the statement is
/// refused and the process lives on.
pub(super) fn parse(text: &str) -> Result<ParseResult, AnalyzeError> {
    if nesting::bound(text).is_some_and(|bound| bound > nesting::MAX_NESTING) {
        return Err(AnalyzeError::GaveUp { why: "it is nested too deep".to_owned() });
    }
    let parsed = std::panic::catch_unwind(|| pg_query::parse(text, 0).map(|parsed| parsed.protobuf));
    match parsed {
        Ok(Ok(parsed)) => Ok(parsed),
        Ok(Err(pg_query::Error::Parse(message))) => Err(AnalyzeError::Syntax { message }),
        Ok(Err(error)) => Err(AnalyzeError::GaveUp { why: error.to_string() }),
        Err(_) => Err(AnalyzeError::GaveUp { why: "the parser failed".to_owned() }),
    }
}

/// The bytes of one statement. Its length is 0 where it runs to the end of the text.
fn range_of(tree: &RawStmt, text: &str) -> Result<Range<usize>, AnalyzeError> {
    let start = usize::try_from(tree.stmt_location).unwrap_or(usize::MAX);
    let length = usize::try_from(tree.stmt_len).unwrap_or(usize::MAX);
    let end = if length == 0 { text.len() } else { start.saturating_add(length) };
    match text.get(start..end) {
        Some(_) => Ok(start..end),
        None => Err(AnalyzeError::GaveUp { why: "the grammar gave a place outside the text".to_owned() }),
    }
}

impl Analysis {
    /// What is known of a statement string that can't be read: that it is one.
    #[must_use]
    pub fn unknown(statement: &Statement, why: &str) -> Self {
        Self::of_call(statement, Facts::unknown(why))
    }

    /// What is known by `facts` of something that is no SQL, or that nobody reads; `statement` is how it is shown.
    #[must_use]
    pub fn of_call(statement: &Statement, facts: Facts) -> Self {
        let range = 0..statement.as_str().len();
        let facts = Arc::new(facts);
        let item = Item { range, tree: RawStmt::default(), facts, naming: Naming::Nothing };
        Self { statement: statement.clone(), items: vec![item], shallow: true }
    }

    /// The same text with other items: completed by what its names stand for.
    #[must_use]
    pub fn with_items(&self, items: Vec<Item>) -> Self {
        Self { statement: self.statement.clone(), items, shallow: self.shallow }
    }

    /// The text as it came in.
    #[must_use]
    pub fn statement(&self) -> &Statement {
        &self.statement
    }

    /// Whether the statement, and its rewrite too, needs no more than [`SHALLOW_STACK_BYTES`] of stack.
    #[must_use]
    pub fn is_shallow(&self) -> bool {
        self.shallow
    }

    /// The statements in order; none for an empty string.
    #[must_use]
    pub fn items(&self) -> &[Item] {
        &self.items
    }
}

/// The stack that a shallow statement needs at most, with room to spare: half of what threads of the runtime have.
pub const SHALLOW_STACK_BYTES: usize = 1024 * 1024;

/// Longest statement, in bytes, that may be shallow.
const MOST_SHALLOW_BYTES: usize = 16 * 1024;
/// Tokens that nest, at most, in a shallow statement.
pub(super) const MOST_SHALLOW_NESTING: usize = 24;
