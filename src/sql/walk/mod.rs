//! The walk from a statement's tree to its facts.
//!
//! It is an allow-list: every node kind and every field that carries meaning is named in here, and whatever is
//! not named becomes an `unresolved` entry, which the gate denies. Sets of columns are supersets: where two
//! readings are possible, both are taken.
//!
//! Three decisions about relations that a statement touches without naming them:
//! - A view is listed itself, with the columns that are used; its base relations are listed with `via_view`.
//!   PostgreSQL's own views (`pg_catalog`, `information_schema`) are listed but not opened.
//! - Reading or writing a parent (without ONLY) touches its partitions and inheritance children: they are
//!   listed with the same access and columns, and with the parent as `via_view`.
//! - Touching a child lists the child alone: as in PostgreSQL, rights on a parent say nothing about a direct
//!   use of its child. Masks of a parent do govern the child; that is the mask room's work.

mod ddl;
mod ddl_expressions;
mod ddl_objects;
mod dml;
mod explain;
mod expression;
mod figure;
mod from;
mod function_range;
mod functions;
mod json;
mod merge;
mod names;
mod operators;
mod scope;
mod select;
mod tautology;
mod touch;
mod transaction;
mod unnest;
mod utility;
mod with;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::rc::Rc;

use pg_query::NodeEnum;
use pg_query::protobuf::Node;

use crate::catalog::{RelationKey, Snapshot};

use super::AnalyzeError;
use super::analyze::Depth;
use super::facts::{
    Access, Class, Condition, Destination, Facts, FunctionFact, Inner, LimitFact, OutputFact, SettingFact,
    Unresolved,
};
use scope::{Column, Ctes, Sources};
use touch::Touch;

/// The facts of one statement; `None` if they can't be found within `depth`.
pub(super) fn facts_of(tree: &Node, catalog: &Snapshot, depth: Depth) -> Result<Option<Facts>, AnalyzeError> {
    let mut walker = Walker::new(catalog, depth);
    let outline = walker.statement(tree);
    if walker.is_too_deep {
        return Ok(None);
    }
    walker.finish(outline).map(Some)
}

/// What a statement is, besides what it touches.
#[derive(Debug)]
struct Outline {
    kind: String,
    class: Class,
    outputs: Vec<Column>,
}

impl Outline {
    fn new(kind: &str, class: Class) -> Self {
        Self { kind: kind.to_owned(), class, outputs: Vec::new() }
    }

    fn with(kind: &str, class: Class, outputs: Vec<Column>) -> Self {
        Self { kind: kind.to_owned(), class, outputs }
    }
}

/// Collects facts while it walks one statement.
#[derive(Debug)]
struct Walker<'c> {
    catalog: &'c Snapshot,
    touches: BTreeMap<(RelationKey, Access), Touch>,
    functions: BTreeMap<String, FunctionFact>,
    inner: Vec<Inner>,
    settings: Vec<SettingFact>,
    destinations: BTreeSet<Destination>,
    channels: Vec<String>,
    unresolved: BTreeSet<Unresolved>,
    explain_analyze: bool,
    locks_rows: bool,
    /// The weightiest class of anything found inside.
    heaviest: Class,
    /// The condition of the weakest modifying part.
    weakest: Option<Condition>,
    outermost: Condition,
    limit: LimitFact,
    /// Column names met since the naming of a condition began.
    named: Option<BTreeSet<String>>,
    /// The views that are open, outermost first.
    views: Vec<RelationKey>,
    /// What each column of an opened view may hold.
    opened: HashMap<RelationKey, Rc<Vec<Sources>>>,
    stack: Depth,
    /// Whether there was more to see than the stack allows.
    is_too_deep: bool,
    depth: usize,
    steps: usize,
    gave_up: Option<String>,
}

impl<'c> Walker<'c> {
    fn new(catalog: &'c Snapshot, stack: Depth) -> Self {
        Self {
            catalog,
            touches: BTreeMap::new(),
            functions: BTreeMap::new(),
            inner: Vec::new(),
            settings: Vec::new(),
            destinations: BTreeSet::new(),
            channels: Vec::new(),
            unresolved: BTreeSet::new(),
            explain_analyze: false,
            locks_rows: false,
            heaviest: Class::Transaction,
            weakest: None,
            outermost: Condition::default(),
            limit: LimitFact { present: false, rows: -1 },
            named: None,
            views: Vec::new(),
            opened: HashMap::new(),
            stack,
            is_too_deep: false,
            depth: 0,
            steps: 0,
            gave_up: None,
        }
    }

    /// What one statement is; what it touches is collected.
    fn statement(&mut self, tree: &Node) -> Outline {
        let Some(node) = tree.node.as_ref() else {
            return Outline::new("empty", Class::Transaction);
        };
        if !self.enter(1) {
            return Outline::new("unknown", Class::Unknown);
        }
        let outline = self.query(node, &Ctes::None, true).unwrap_or_else(|| self.command(node));
        self.depth -= 1;
        outline
    }

    /// A statement that reads or changes rows; `None` for any other.
    fn query(&mut self, node: &NodeEnum, ctes: &Ctes, outermost: bool) -> Option<Outline> {
        if let NodeEnum::SelectStmt(select) = node {
            return Some(self.select_statement(select, ctes, outermost));
        }
        self.modification(node, None, ctes)
    }

    /// Anything but a query: a command that manages a session, a transaction, definitions or the server.
    fn command(&mut self, node: &NodeEnum) -> Outline {
        let known = self
            .transaction_command(node)
            .or_else(|| self.explain_command(node))
            .or_else(|| self.utility_command(node))
            .or_else(|| self.ddl_command(node))
            .or_else(|| self.ddl_object_command(node));
        known.unwrap_or_else(|| {
            self.unresolved("statement", &node_name(node), "is a statement that Portcullis does not know");
            Outline::new("unknown", Class::Unknown)
        })
    }

    /// Walks a statement inside another, and lists it as such.
    fn inner_statement(&mut self, tree: &Node) -> Outline {
        let outline = self.statement(tree);
        self.list_inner(&outline.kind, outline.class);
        outline
    }

    fn list_inner(&mut self, kind: &str, class: Class) {
        self.heaviest = self.heaviest.max(class);
        self.inner.push(Inner { kind: kind.to_owned(), class });
    }

    fn finish(self, outline: Outline) -> Result<Facts, AnalyzeError> {
        if let Some(why) = self.gave_up {
            return Err(AnalyzeError::GaveUp { why });
        }
        let outputs = outline.outputs.iter().map(output_fact).collect::<Vec<_>>();
        let mut destinations = self.destinations;
        if !outputs.is_empty() {
            destinations.insert(Destination::Client);
        }
        let writes = self.weakest.is_some();
        Ok(Facts {
            kind: outline.kind,
            class: outline.class.max(self.heaviest),
            inner: self.inner,
            tables: touch::table_facts(self.touches, self.catalog),
            functions: self.functions.into_values().collect(),
            outputs,
            condition: if writes { self.weakest.unwrap_or_default() } else { self.outermost },
            limit: self.limit,
            settings: self.settings,
            destinations: destinations.into_iter().collect(),
            channels: self.channels,
            explain_analyze: self.explain_analyze,
            locks_rows: self.locks_rows,
            parse_ok: true,
            unresolved: self.unresolved.into_iter().collect(),
        })
    }

    fn unresolved(&mut self, what: &str, name: &str, why: &str) {
        let why = match self.views.last() {
            Some(view) => format!("{why} (in view `{view}`)"),
            None => why.to_owned(),
        };
        self.unresolved.insert(Unresolved { what: what.to_owned(), name: name.to_owned(), why });
    }

    /// A node that the walk has no words for.
    fn unknown_node(&mut self, node: &NodeEnum) {
        self.unresolved("node", &node_name(node), "is SQL that Portcullis does not understand yet");
    }

    /// Reports a node that `snapshot`'s server would read as something else.
    fn needs_server(&mut self, name: &str, major: u32) {
        if self.catalog.server_version_num() < major * 10_000 {
            self.unresolved("node", name, &format!("needs PostgreSQL {major}"));
        }
    }

    /// Goes one level down at a cost of `steps`; `false` where the walk has to end. The budget bounds what a
    /// small statement can cost: doubling column lists, nested recursive CTEs, views upon views.
    fn enter(&mut self, steps: usize) -> bool {
        self.steps = self.steps.saturating_add(steps);
        if self.gave_up.is_none() {
            if self.depth >= MAX_DEPTH {
                self.gave_up = Some(format!("it is nested more than {MAX_DEPTH} levels deep"));
            } else if self.steps > MAX_STEPS {
                self.gave_up = Some("it would take too long to understand".to_owned());
            }
        }
        if self.gave_up.is_some() {
            return false;
        }
        self.depth += 1;
        true
    }
}

fn output_fact(column: &Column) -> OutputFact {
    let sources: BTreeSet<String> =
        column.sources.iter().map(|source| format!("{}.{}", source.key, source.column)).collect();
    OutputFact { name: column.name.to_string(), sources: sources.into_iter().collect() }
}

/// The name of a node's kind, without printing the node.
fn node_name(node: &NodeEnum) -> String {
    struct Head(String);
    impl std::fmt::Write for Head {
        fn write_str(&mut self, text: &str) -> std::fmt::Result {
            let end = text.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(text.len());
            self.0.push_str(text.get(..end).unwrap_or_default());
            if end < text.len() { Err(std::fmt::Error) } else { Ok(()) }
        }
    }
    let mut head = Head(String::new());
    // The error is how the writer stops after the first word.
    let _stopped = write!(head, "{node:?}").is_err();
    head.0
}

/// Levels that the walk goes down; the stack of 32 MiB holds several times as many.
const MAX_DEPTH: usize = 2_500;

/// Nodes and columns that the walk visits.
const MAX_STEPS: usize = 1_000_000;
