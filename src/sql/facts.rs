//! The facts document: what policy reads about one statement. Every field is always present; what is not
//! known is said in `unresolved`, because an absent field would make a deny rule fail open.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalog::{RelationKey, RelationKind, Volatility};

/// What a statement would do, as far as the grammar and the catalog can tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Facts {
    /// The command in lower snake case: `select`, `insert`, `update`, `delete`, `merge`, `copy`, `explain`,
    /// `begin`, `commit`, `rollback`, `savepoint`, `release`, `rollback_to`, `prepare_transaction`, `set`,
    /// `reset`, `show`, `declare_cursor`, `fetch`, `close_cursor`, `create_table`, `drop_table`, ...; `empty`
    /// for an empty string and `unknown` for a node that the analyser does not know.
    pub kind: String,
    /// The weightiest class of the statement and everything inside it.
    pub class: Class,
    /// Statements inside this one that act by themselves: data-modifying CTEs, what EXPLAIN or DECLARE or COPY
    /// wraps. The statement itself is not listed.
    pub inner: Vec<Inner>,
    /// Relations that it touches, one entry per relation and access, ordered.
    pub tables: Vec<TableFact>,
    /// Functions, aggregates and procedures that it calls by name, ordered.
    pub functions: Vec<FunctionFact>,
    /// Its output columns in order; empty where it returns no rows.
    pub outputs: Vec<OutputFact>,
    /// The WHERE clause of the weakest UPDATE, DELETE or MERGE in it; of the outermost SELECT otherwise.
    pub condition: Condition,
    /// The outermost LIMIT.
    pub limit: LimitFact,
    /// Settings that it reads or changes by SET, RESET, SHOW or a start of transaction.
    pub settings: Vec<SettingFact>,
    /// Where its data goes.
    pub destinations: Vec<Destination>,
    /// Notification channels that it listens to, leaves or notifies; `*` for UNLISTEN of all.
    pub channels: Vec<String>,
    /// Whether EXPLAIN would run what it explains; `false` for anything else.
    pub explain_analyze: bool,
    /// Whether rows are locked (`FOR UPDATE`, `FOR SHARE`, ...).
    pub locks_rows: bool,
    /// Whether the text was parsed; `false` only in an unjudged session.
    pub parse_ok: bool,
    /// What could not be understood or found; a statement with any entry here is denied by the gate itself,
    /// unless its session is unjudged.
    pub unresolved: Vec<Unresolved>,
}

impl Facts {
    /// The facts of an empty string: it does nothing.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            kind: "empty".to_owned(),
            class: Class::Transaction,
            inner: Vec::new(),
            tables: Vec::new(),
            functions: Vec::new(),
            outputs: Vec::new(),
            condition: Condition::default(),
            limit: LimitFact::default(),
            settings: Vec::new(),
            destinations: Vec::new(),
            channels: Vec::new(),
            explain_analyze: false,
            locks_rows: false,
            parse_ok: true,
            unresolved: Vec::new(),
        }
    }

    /// The facts of a text that could not be read: nothing is known of it but that.
    #[must_use]
    pub fn unknown(why: &str) -> Self {
        let unread = Unresolved { what: "statement".to_owned(), name: String::new(), why: why.to_owned() };
        Self {
            kind: "unknown".to_owned(),
            class: Class::Unknown,
            parse_ok: false,
            unresolved: vec![unread],
            ..Self::empty()
        }
    }
}

/// What weight a statement has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// No effect at all: an empty string, COMMIT, SHOW.
    Transaction,
    /// Reads rows.
    Read,
    /// Changes the session: SET, RESET, DISCARD, LISTEN, cursors are `read`.
    Session,
    /// Changes rows.
    Write,
    /// Changes definitions or rights.
    Ddl,
    /// Anything else that PostgreSQL knows: VACUUM, LOCK, CALL, DO, ...
    Utility,
    /// Not understood.
    Unknown,
}

/// A statement inside another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Inner {
    /// As [`Facts::kind`].
    pub kind: String,
    /// As [`Facts::class`].
    pub class: Class,
}

/// How a relation is touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Rows are read.
    Read,
    /// Rows are added.
    Insert,
    /// Rows are changed.
    Update,
    /// Rows are removed (TRUNCATE too).
    Delete,
    /// The definition is made, changed or removed, or rights on it are.
    Define,
    /// The relation is locked, vacuumed, analysed, ...
    Maintain,
}

/// One relation and one way in which it is touched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TableFact {
    /// `schema.table`.
    pub key: RelationKey,
    /// The schema's name.
    pub schema: String,
    /// The relation's name.
    pub name: String,
    /// What kind of relation it is.
    pub kind: RelationKind,
    /// How it is touched.
    pub access: Access,
    /// Whether it belongs to `pg_catalog` or `information_schema`.
    pub system: bool,
    /// The view that names it, or the parent that it is a partition or child of, where the statement itself
    /// does not name it; empty otherwise. PostgreSQL asks only for rights on that view or parent.
    pub via_view: String,
    /// Every column whose value may be used in any way: a superset, ordered.
    pub columns_read: Vec<String>,
    /// Columns that may decide which rows are touched: WHERE, JOIN, HAVING, ...: a superset, ordered.
    pub columns_filtered: Vec<String>,
    /// Columns that are assigned, ordered.
    pub columns_written: Vec<String>,
    /// Tags of the relation: words that begin with `@` in its comment, in lower case and without the `@`, ordered.
    pub tags: Vec<String>,
    /// Tags of the columns in `columns_read`, by their comments, ordered.
    pub tags_read: Vec<String>,
    /// Tags of the columns in `columns_written`, by their comments, ordered.
    pub tags_written: Vec<String>,
    /// Rows by the catalog's estimate; `-1` where unknown.
    pub row_estimate: i64,
    /// Whether user triggers are installed.
    pub has_triggers: bool,
    /// Whether rewrite rules are installed.
    pub has_rules: bool,
}

/// One function that is called by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct FunctionFact {
    /// `schema.name`; `?.name` where the catalog has none.
    pub key: String,
    /// Whether every candidate is PostgreSQL's own (`pg_catalog`).
    pub builtin: bool,
    /// The weakest volatility of all candidates.
    pub volatility: Volatility,
    /// Whether any candidate runs with its owner's rights.
    pub security_definer: bool,
    /// The languages of the candidates, ordered.
    pub languages: Vec<String>,
}

/// One output column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OutputFact {
    /// The name that the client sees; empty where PostgreSQL makes one up.
    pub name: String,
    /// `schema.table.column` of every base column whose value may flow into it: a superset, ordered.
    pub sources: Vec<String>,
}

/// A WHERE clause.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Condition {
    /// Whether there is one.
    pub present: bool,
    /// Whether it holds for every row, as far as the analyser can prove (`true`, `1=1`, `id=id`, ...).
    pub tautology: bool,
    /// Columns that it names, ordered.
    pub columns: Vec<String>,
}

/// A LIMIT clause.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct LimitFact {
    /// Whether there is one.
    pub present: bool,
    /// Its value where it is a literal; `-1` otherwise.
    pub rows: i64,
}

/// One setting that a statement touches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SettingFact {
    /// The setting's name in lower case; `all` for RESET ALL and SHOW ALL, `$1` where a bind value names it, `?` where
    /// it is worked out otherwise.
    pub name: String,
    /// `set`, `set_local`, `reset` or `show`.
    pub action: String,
    /// The values, as literals; empty where none or not literal.
    pub values: Vec<String>,
}

/// Where data goes besides tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Destination {
    /// To the client, as rows or COPY data.
    Client,
    /// Into a table.
    Table,
    /// Into or out of a file on the server.
    ServerFile,
    /// Into or out of a program on the server.
    ServerProgram,
    /// Into a notification channel.
    Channel,
}

/// Something that the analyser could not understand or find.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Unresolved {
    /// `relation`, `column`, `function`, `node`, `statement`, ...
    pub what: String,
    /// Its name, as the statement writes it.
    pub name: String,
    /// Why, as a clause that can follow the name: `does not exist or is not visible`.
    pub why: String,
}
