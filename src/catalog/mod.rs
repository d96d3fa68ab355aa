//! What a governed database holds: relations, columns and functions, as one immutable [`Snapshot`].
//!
//! The room holds data and look-ups only. It never talks to a server (`upstream` loads snapshots) and never
//! decides anything. Names are compared byte by byte, as PostgreSQL stored them: folding of unquoted names
//! has already happened in the grammar.

mod rows;
mod tags;
mod types;

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

pub use rows::{Role, RowPolicy, RowSecurity};
pub use tags::tags;
pub use types::Type;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A relation's name as facts, policies and configuration write it: `schema.table`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct RelationKey(String);

impl RelationKey {
    /// The key of `name` in `schema`.
    #[must_use]
    pub fn new(schema: &str, name: &str) -> Self {
        Self(format!("{schema}.{name}"))
    }

    /// The key as text, `schema.table`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for RelationKey {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RelationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `pg_class.relkind`, in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RelationKind {
    /// An ordinary table (`r`).
    Table,
    /// A partitioned table (`p`).
    PartitionedTable,
    /// A view (`v`).
    View,
    /// A materialized view (`m`).
    MaterializedView,
    /// A foreign table (`f`).
    ForeignTable,
    /// A sequence (`S`).
    Sequence,
    /// Anything else that has rows or columns: a composite type, an index, a TOAST table.
    Other,
}

/// One column of a relation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// The column's name.
    pub name: String,
    /// `pg_attribute.attnum`, from 1.
    pub number: i16,
    /// The type's OID.
    pub type_oid: u32,
    /// The type as `format_type(atttypid, atttypmod)` prints it with an empty search_path, for example
    /// `character varying(20)` or `app.mood`: safe to put behind `::`. Shared by all columns of the type.
    pub type_name: Arc<str>,
    /// The OID of the type under all domains; equal to `type_oid` where the type is no domain.
    pub base_type_oid: u32,
    /// `pg_type.typtype` of the base type: `b` base, `c` composite, `e` enum, `r` range, `m` multirange.
    pub base_type_kind: char,
    /// `pg_type.typcategory` of the base type: `A` array, `N` numeric, `S` string, ...
    pub base_type_category: char,
    /// The schema-qualified, quoted collation, where it is not the type's default.
    pub collation: Option<Arc<str>>,
    /// Whether the column is declared NOT NULL.
    pub not_null: bool,
    /// Whether the column is generated (`GENERATED ALWAYS AS (...) STORED`).
    pub generated: bool,
    /// The column's comment.
    pub comment: Option<String>,
    /// Its SECURITY LABELs, of all providers.
    pub security_labels: Vec<String>,
}

/// One relation with all its columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// `pg_class.oid`.
    pub oid: u32,
    /// The schema's name.
    pub schema: String,
    /// The relation's name.
    pub name: String,
    /// What kind of relation it is.
    pub kind: RelationKind,
    /// Its columns by number; dropped ones are left out.
    pub columns: Vec<Column>,
    /// The names of the primary key's columns, in key order; empty without one.
    pub primary_key: Vec<String>,
    /// Relations that this one inherits from or is a partition of.
    pub parents: Vec<RelationKey>,
    /// A view's definition as `pg_get_viewdef` prints it with an empty search_path.
    /// Empty, so that it can't be read, while a table below it is locked.
    pub definition: Option<String>,
    /// `pg_class.reltuples`; `-1` where never analysed.
    pub row_estimate: i64,
    /// Whether user triggers are installed on it.
    pub has_triggers: bool,
    /// Whether rewrite rules other than a view's own are installed on it.
    pub has_rules: bool,
    /// Its row-level security.
    pub row_security: RowSecurity,
    /// The relation's comment.
    pub comment: Option<String>,
    /// The sum of the ids of the transactions that wrote its columns, and of a view the one of its definition: another
    /// whenever one of these is.
    pub stamp: i64,
}

impl Relation {
    /// The relation's key, `schema.name`.
    #[must_use]
    pub fn key(&self) -> RelationKey {
        RelationKey::new(&self.schema, &self.name)
    }

    /// The column called `name`.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// Whether the relation lives in `pg_catalog` or `information_schema`.
    #[must_use]
    pub fn is_system(&self) -> bool {
        self.schema == "pg_catalog" || self.schema == "information_schema"
    }
}

/// `pg_proc.provolatile`, in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Volatility {
    /// Same arguments, same result, for ever.
    Immutable,
    /// Same within one statement.
    Stable,
    /// May change anything.
    Volatile,
    /// The function is not in the catalog snapshot.
    Unknown,
}

/// One function, aggregate or procedure; overloads share a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// `pg_proc.oid`.
    pub oid: u32,
    /// The schema's name.
    pub schema: String,
    /// The function's name.
    pub name: String,
    /// Declared volatility.
    pub volatility: Volatility,
    /// Whether it runs with its owner's rights.
    pub security_definer: bool,
    /// The language's name: `internal`, `c`, `sql`, `plpgsql`, ...
    pub language: String,
    /// Whether it returns a set.
    pub returns_set: bool,
    /// `pg_proc.prokind`: `f` function, `p` procedure, `a` aggregate, `w` window.
    pub kind: char,
    /// What it gives in FROM.
    pub result: FunctionResult,
    /// The id of the transaction that wrote it.
    pub stamp: i64,
}

/// The columns that a function in FROM has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FunctionResult {
    /// One column, called as its alias or else the function itself is.
    Plain,
    /// Those of its OUT parameters, `column2` where the second has no name.
    Named(Vec<String>),
    /// Those of the relation or composite type with this `pg_class.oid`.
    Row(u32),
    /// Its call says, or nobody: `record`, or a type that depends on its arguments.
    Unknown,
}

/// An operator outside `pg_catalog`, and the function that it calls; overloads share a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    /// The schema's name.
    pub schema: String,
    /// The operator's name: `<=>`.
    pub name: String,
    /// The schema of its function.
    pub function_schema: String,
    /// The name of its function.
    pub function: String,
}

/// The settings of every judged session in which masks find the key of hashes.
///
/// A client may not touch them, and can't find them: PostgreSQL lists no setting that no module has defined, and their
/// names follow from the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySettings {
    /// The one with HMAC's inner block, in hexadecimal.
    pub inner: String,
    /// The one with its outer block.
    pub outer: String,
}

impl Default for KeySettings {
    fn default() -> Self {
        Self { inner: "portcullis.inner".to_owned(), outer: "portcullis.outer".to_owned() }
    }
}

/// One state of a database's definitions, immutable once built.
///
/// Two snapshots with equal [`Snapshot::version`] hold equal definitions.
#[derive(Debug, Clone)]
pub struct Snapshot {
    version: u64,
    server_version_num: u32,
    search_path: Vec<String>,
    key_settings: KeySettings,
    roles: Vec<Role>,
    relations: BTreeMap<RelationKey, Arc<Relation>>,
    relations_by_oid: HashMap<u32, Arc<Relation>>,
    functions: HashMap<String, Vec<Function>>,
    operators: Vec<Operator>,
    types: HashMap<u32, Type>,
    children: HashMap<RelationKey, Vec<RelationKey>>,
}

/// Schemas that PostgreSQL searches before `search_path` unless it names them.
const IMPLICIT_FIRST: &str = "pg_catalog";

impl Snapshot {
    /// Builds a snapshot. `version` must grow whenever a definition changed; `search_path` is the pinned one
    /// of the gateway's sessions, without `pg_catalog` and `pg_temp`.
    #[must_use]
    pub fn new(
        version: u64,
        server_version_num: u32,
        search_path: Vec<String>,
        relations: Vec<Relation>,
        functions: Vec<Function>,
    ) -> Self {
        let mut by_name: HashMap<String, Vec<Function>> = HashMap::new();
        for function in functions {
            by_name.entry(function.name.clone()).or_default().push(function);
        }
        let mut children: HashMap<RelationKey, Vec<RelationKey>> = HashMap::new();
        for relation in &relations {
            for parent in &relation.parents {
                children.entry(parent.clone()).or_default().push(relation.key());
            }
        }
        let relations: BTreeMap<_, _> =
            relations.into_iter().map(|relation| (relation.key(), Arc::new(relation))).collect();
        let relations_by_oid =
            relations.values().map(|relation| (relation.oid, Arc::clone(relation))).collect();
        Self {
            version,
            server_version_num,
            search_path,
            key_settings: KeySettings::default(),
            roles: Vec::new(),
            relations,
            relations_by_oid,
            functions: by_name,
            operators: Vec::new(),
            types: HashMap::new(),
            children,
        }
    }

    /// The same, of sessions that have the key of hashes in `settings`.
    #[must_use]
    pub fn keyed(self, settings: KeySettings) -> Self {
        Self { key_settings: settings, ..self }
    }

    /// The same, with what is known of `roles`.
    #[must_use]
    pub fn with_roles(self, roles: Vec<Role>) -> Self {
        Self { roles, ..self }
    }

    /// The same, with `operators`, those of `pg_catalog` left out.
    #[must_use]
    pub fn with_operators(self, operators: Vec<Operator>) -> Self {
        Self { operators, ..self }
    }

    /// The same, with `types`, PostgreSQL's own left out.
    #[must_use]
    pub fn with_types(self, types: Vec<Type>) -> Self {
        Self { types: types.into_iter().map(|known| (known.oid, known)).collect(), ..self }
    }

    /// The same, with whatever `older` has equal relations for in its memory: two snapshots of a large database take
    /// little more than one.
    #[must_use]
    pub fn sharing(mut self, older: &Self) -> Self {
        for (key, relation) in &mut self.relations {
            if let Some(same) = older.relations.get(key).filter(|known| *known == relation) {
                *relation = Arc::clone(same);
                self.relations_by_oid.insert(same.oid, Arc::clone(same));
            }
        }
        self
    }

    /// The role called `name`, if it is one that sessions of the gateway have.
    #[must_use]
    pub fn role(&self, name: &str) -> Option<&Role> {
        self.roles.iter().find(|role| role.name == name)
    }

    /// Where masks find the key of hashes.
    #[must_use]
    pub fn key_settings(&self) -> &KeySettings {
        &self.key_settings
    }

    /// Grows whenever a definition changed.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The server's `server_version_num`, for example `150018`.
    #[must_use]
    pub fn server_version_num(&self) -> u32 {
        self.server_version_num
    }

    /// The pinned search path of every session behind the gateway, without `pg_catalog` and `pg_temp`.
    #[must_use]
    pub fn search_path(&self) -> &[String] {
        &self.search_path
    }

    /// The relation that `key` names exactly.
    #[must_use]
    pub fn relation(&self, key: &RelationKey) -> Option<&Arc<Relation>> {
        self.relations.get(key)
    }

    /// The relation whose key is `key`, `schema.table`.
    #[must_use]
    pub fn relation_called(&self, key: &str) -> Option<&Arc<Relation>> {
        self.relations.get(key)
    }

    /// The relation with this `pg_class.oid`.
    #[must_use]
    pub fn relation_by_oid(&self, oid: u32) -> Option<&Arc<Relation>> {
        self.relations_by_oid.get(&oid)
    }

    /// The relation that PostgreSQL would find for `name`, looked up in `schema` or else along
    /// `pg_catalog` and the pinned search path.
    #[must_use]
    pub fn resolve_relation(&self, schema: Option<&str>, name: &str) -> Option<&Arc<Relation>> {
        match schema {
            Some(schema) => self.relation(&RelationKey::new(schema, name)),
            None => self.path().find_map(|schema| self.relation(&RelationKey::new(schema, name))),
        }
    }

    /// The partitions and inheritance children of `key`, one generation.
    pub fn children(&self, key: &RelationKey) -> impl Iterator<Item = &Arc<Relation>> {
        let children = self.children.get(key).map(Vec::as_slice).unwrap_or_default();
        children.iter().filter_map(|child| self.relations.get(child))
    }

    /// Every overload that PostgreSQL would consider for `name`: those in `schema`, or else those of every
    /// schema on the path (overload resolution looks at all of them).
    #[must_use]
    pub fn resolve_functions(&self, schema: Option<&str>, name: &str) -> Vec<&Function> {
        let candidates = self.functions.get(name).map(Vec::as_slice).unwrap_or_default();
        candidates
            .iter()
            .filter(|function| match schema {
                Some(schema) => function.schema == schema,
                None => self.path().any(|schema| schema == function.schema),
            })
            .collect()
    }

    /// Every operator outside `pg_catalog` that PostgreSQL would consider for `name`: those in `schema`, or else those
    /// of every schema on the path.
    #[must_use]
    pub fn resolve_operators(&self, schema: Option<&str>, name: &str) -> Vec<&Operator> {
        let in_reach = |operator: &&Operator| match schema {
            Some(schema) => operator.schema == schema,
            None => self.path().any(|schema| schema == operator.schema),
        };
        self.operators.iter().filter(|operator| operator.name == name).filter(in_reach).collect()
    }

    /// All functions called `name`, in whatever schema.
    pub fn functions_named(&self, name: &str) -> impl Iterator<Item = &Function> {
        self.functions.get(name).into_iter().flatten()
    }

    /// The function with this `pg_proc.oid`.
    #[must_use]
    pub fn function_by_oid(&self, oid: u32) -> Option<&Function> {
        self.functions.values().flatten().find(|function| function.oid == oid)
    }

    /// The type with this `pg_type.oid`; PostgreSQL's own are not among them, nor those of tables' rows.
    #[must_use]
    pub fn type_by_oid(&self, oid: u32) -> Option<&Type> {
        self.types.get(&oid)
    }

    /// The types called `name` in whatever schema; names that need quotes are not found.
    pub fn types_called(&self, name: &str) -> impl Iterator<Item = &Type> {
        let is_called = move |known: &&Type| {
            known.name.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        self.types.values().filter(is_called)
    }

    /// All relations, ordered by key.
    pub fn relations(&self) -> impl Iterator<Item = &Arc<Relation>> {
        self.relations.values()
    }

    /// All functions outside `pg_catalog` and `information_schema`, in no order.
    pub fn user_functions(&self) -> impl Iterator<Item = &Function> {
        self.functions
            .values()
            .flatten()
            .filter(|function| function.schema != "pg_catalog" && function.schema != "information_schema")
    }

    fn path(&self) -> impl Iterator<Item = &str> {
        std::iter::once(IMPLICIT_FIRST).chain(self.search_path.iter().map(String::as_str))
    }
}
