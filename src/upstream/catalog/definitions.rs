//! The constant SQL, and what its rows mean.
//!
//! One round trip a kind, all within one read-only snapshot of the server. The session's search_path is empty, so
//! that types, collations and views print with every name qualified. Rows are taken up one by one: a large database has
//! hundreds of thousands.

use std::collections::{HashMap, HashSet};
use std::fmt::{self, Write as _};
use std::pin::pin;
use std::sync::Arc;

use futures_util::TryStreamExt as _;
use sha2::{Digest as _, Sha256};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error, Row};

use crate::catalog::{
    Column, Function, FunctionResult, Operator, Relation, RelationKey, RelationKind, Role, RowPolicy,
    RowSecurity, Snapshot, Type as DataType, Volatility,
};

use super::super::target::Target;
use super::{LoadError, rows};

/// Everything that a snapshot holds, as one load found it.
#[derive(Debug)]
pub(super) struct Definitions {
    server_version_num: u32,
    relations: Vec<Relation>,
    functions: Vec<Function>,
    operators: Vec<Operator>,
    roles: Vec<Role>,
    types: Vec<DataType>,
}

/// What is done about a view whose tables another session has locked: PostgreSQL locks them as well when it puts the
/// view into words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Locked {
    /// It is waited for, as long as [`PARAMETERS`] allow.
    Awaited,
    /// Its definition is empty, so that no statement which reads the view can be understood.
    LeftOut,
}

impl Definitions {
    /// Reads them by `client`, whose parameters are [`PARAMETERS`], in the transaction that it is in.
    pub(super) async fn load(client: &Client, target: &Target, locked: Locked) -> Result<Self, LoadError> {
        let leave_out = [(&(locked == Locked::LeftOut) as &(dyn ToSql + Sync), Type::BOOL)];
        let users: Vec<&str> =
            target.settings().credentials().map(|credential| credential.user.as_str()).collect();
        let users = [(&users as &(dyn ToSql + Sync), Type::TEXT_ARRAY)];
        let mut columns = Columns::default();
        let (version, relations, has_columns, functions, operators, policies, roles, types) = tokio::join!(
            client.query_typed_one(SERVER_VERSION, &[]),
            each(client, RELATIONS, &leave_out, relation),
            each(client, COLUMNS, &[], |row| columns.take(row)),
            each(client, FUNCTIONS, &[], function),
            client.query_typed(rows::OPERATORS, &[]),
            client.query_typed(rows::POLICIES, &leave_out),
            client.query_typed(rows::ROLES, &users),
            each(client, rows::TYPES, &[], rows::data_type),
        );
        // In this order: behind the first that fails, the others fail for that alone.
        let (version, relations, _) = (version?, relations?, has_columns?);
        let (functions, operators, policies, roles) = (functions?, operators?, policies?, roles?);
        let types = types?;
        Ok(Self {
            server_version_num: version.try_get::<_, i32>(0)?.try_into().unwrap_or(0),
            relations: assemble(relations, columns, rows::policies(&policies)?),
            functions,
            operators: rows::operators(&operators)?,
            roles: rows::roles(&roles)?,
            types,
        })
    }

    /// Equal for equal definitions. Row estimates are left out: ANALYZE changes no definition.
    pub(super) fn digest(&self) -> [u8; 32] {
        let mut text = Hashed(Sha256::new());
        let written = self.relations.iter().try_for_each(|relation| {
            let Relation {
                oid,
                schema,
                name,
                kind,
                columns,
                primary_key,
                parents,
                definition,
                row_estimate: _,
                has_triggers,
                has_rules,
                row_security,
                comment,
                stamp,
            } = relation;
            write!(text, "{oid} {schema:?} {name:?} {kind:?} {columns:?} {primary_key:?} {parents:?}")?;
            write!(text, "{definition:?} {has_triggers} {has_rules} {row_security:?} {comment:?} {stamp}")
        });
        let written = written.and_then(|()| {
            write!(text, "{} {:?}", self.server_version_num, self.functions)?;
            write!(text, "{:?}", self.types)?;
            write!(text, "{:?} {:?}", self.operators, self.roles)
        });
        debug_assert!(written.is_ok(), "a hash takes everything");
        text.0.finalize().into()
    }

    pub(super) fn into_snapshot(self, version: u64, search_path: Vec<String>) -> Snapshot {
        Snapshot::new(version, self.server_version_num, search_path, self.relations, self.functions)
            .with_operators(self.operators)
            .with_roles(self.roles)
            .with_types(self.types)
    }
}

/// A hash of text that is never there as a whole.
struct Hashed(Sha256);

impl fmt::Write for Hashed {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.update(text);
        Ok(())
    }
}

/// What `take` makes of each row of `sql`, in order.
async fn each<T>(
    client: &Client,
    sql: &str,
    parameters: &[(&(dyn ToSql + Sync), Type)],
    mut take: impl FnMut(&Row) -> Result<T, Error>,
) -> Result<Vec<T>, Error> {
    let parameters = parameters.iter().map(|(value, of_type)| (*value, of_type.clone()));
    let mut rows = pin!(client.query_typed_raw(sql, parameters).await?);
    let mut all = Vec::new();
    while let Some(row) = rows.try_next().await? {
        all.push(take(&row)?);
    }
    Ok(all)
}

/// The columns of all relations, by OID. Columns are many and types are few: a type's name is kept once.
#[derive(Debug, Default)]
struct Columns {
    of: HashMap<u32, Vec<Column>>,
    words: HashSet<Arc<str>>,
}

impl Columns {
    fn take(&mut self, row: &Row) -> Result<(), Error> {
        let column = column(row, &mut self.words)?;
        self.of.entry(row.try_get("relation")?).or_default().push(column);
        Ok(())
    }
}

/// `word`, kept once.
fn once(word: &str, words: &mut HashSet<Arc<str>>) -> Arc<str> {
    if let Some(known) = words.get(word) {
        return Arc::clone(known);
    }
    let new: Arc<str> = Arc::from(word);
    words.insert(Arc::clone(&new));
    new
}

/// Gives every relation its columns and policies, and turns the OIDs of its parents into keys.
fn assemble(
    relations: Vec<(Relation, Vec<u32>)>,
    mut columns: Columns,
    mut policies_of: HashMap<u32, Vec<RowPolicy>>,
) -> Vec<Relation> {
    let are_parents: HashSet<u32> =
        relations.iter().flat_map(|(_, parents)| parents.iter().copied()).collect();
    let keys: HashMap<u32, RelationKey> = relations
        .iter()
        .filter(|(relation, _)| are_parents.contains(&relation.oid))
        .map(|(relation, _)| (relation.oid, relation.key()))
        .collect();
    let whole = |(mut relation, parents): (Relation, Vec<u32>)| {
        relation.columns = columns.of.remove(&relation.oid).unwrap_or_default();
        relation.columns.shrink_to_fit();
        relation.parents = parents.iter().filter_map(|parent| keys.get(parent).cloned()).collect();
        relation.row_security.policies = policies_of.remove(&relation.oid).unwrap_or_default();
        relation
    };
    relations.into_iter().map(whole).collect()
}

/// A relation without its columns and policies, and the OIDs of its parents.
fn relation(row: &Row) -> Result<(Relation, Vec<u32>), Error> {
    let relation = Relation {
        oid: row.try_get("oid")?,
        schema: row.try_get("schema")?,
        name: row.try_get("name")?,
        kind: relation_kind(letter(row, "kind")?),
        columns: Vec::new(),
        primary_key: row.try_get("primary_key")?,
        parents: Vec::new(),
        definition: row.try_get("definition")?,
        row_estimate: row.try_get("row_estimate")?,
        has_triggers: row.try_get("has_triggers")?,
        has_rules: row.try_get("has_rules")?,
        row_security: RowSecurity {
            enabled: row.try_get("row_security")?,
            owner: row.try_get("owner")?,
            policies: Vec::new(),
        },
        comment: row.try_get("comment")?,
        stamp: row.try_get("stamp")?,
    };
    Ok((relation, row.try_get("parents")?))
}

fn column(row: &Row, words: &mut HashSet<Arc<str>>) -> Result<Column, Error> {
    let collation: Option<&str> = row.try_get("collation")?;
    Ok(Column {
        name: row.try_get("name")?,
        number: row.try_get("number")?,
        type_oid: row.try_get("type_oid")?,
        type_name: once(row.try_get("type_name")?, words),
        base_type_oid: row.try_get("base_type_oid")?,
        base_type_kind: letter(row, "base_type_kind")?,
        base_type_category: letter(row, "base_type_category")?,
        collation: collation.map(|collation| once(collation, words)),
        not_null: row.try_get("not_null")?,
        generated: row.try_get("generated")?,
        comment: row.try_get("comment")?,
        security_labels: row.try_get("security_labels")?,
    })
}

fn function(row: &Row) -> Result<Function, Error> {
    Ok(Function {
        oid: row.try_get("oid")?,
        schema: row.try_get("schema")?,
        name: row.try_get("name")?,
        volatility: volatility(letter(row, "volatility")?),
        security_definer: row.try_get("security_definer")?,
        language: row.try_get("language")?,
        returns_set: row.try_get("returns_set")?,
        kind: letter(row, "kind")?,
        result: result(row)?,
        stamp: row.try_get("stamp")?,
    })
}

/// What a function gives in FROM: by the rules of PostgreSQL's `get_call_result_type`.
fn result(row: &Row) -> Result<FunctionResult, Error> {
    let outputs: Vec<String> = row.try_get("outputs")?;
    let row_type: u32 = row.try_get("row_type")?;
    Ok(match (letter(row, "result_kind")?, outputs.as_slice()) {
        ('c', _) => FunctionResult::Row(row_type),
        ('b' | 'e' | 'r' | 'm' | 'v', [name]) if !name.is_empty() => FunctionResult::Named(outputs),
        ('b' | 'e' | 'r' | 'm' | 'v', _) => FunctionResult::Plain,
        // A record with OUT parameters.
        ('p', [_, _, ..]) => {
            let name = |(place, name): (usize, String)| {
                if name.is_empty() { format!("column{}", place + 1) } else { name }
            };
            FunctionResult::Named(outputs.into_iter().enumerate().map(name).collect())
        }
        _ => FunctionResult::Unknown,
    })
}

/// A value of PostgreSQL's type `"char"`: one byte.
pub(super) fn letter(row: &Row, name: &str) -> Result<char, Error> {
    row.try_get::<_, i8>(name).map(|byte| char::from(byte.cast_unsigned()))
}

fn relation_kind(relkind: char) -> RelationKind {
    match relkind {
        'r' => RelationKind::Table,
        'p' => RelationKind::PartitionedTable,
        'v' => RelationKind::View,
        'm' => RelationKind::MaterializedView,
        'f' => RelationKind::ForeignTable,
        'S' => RelationKind::Sequence,
        _ => RelationKind::Other,
    }
}

fn volatility(provolatile: char) -> Volatility {
    match provolatile {
        'i' => Volatility::Immutable,
        's' => Volatility::Stable,
        'v' => Volatility::Volatile,
        _ => Volatility::Unknown,
    }
}

/// Nothing of the session is anybody else's to choose. An empty search_path makes every name print qualified.
///
/// Whoever has locked a table may be waiting for this very load: the lock is not waited for as long as for an answer.
/// Constants print the same for whoever prints them.
pub(super) const PARAMETERS: [(&str, &str); 12] = [
    ("application_name", "portcullis/catalog"),
    ("client_encoding", "UTF8"),
    ("standard_conforming_strings", "on"),
    ("search_path", ""),
    ("quote_all_identifiers", "off"),
    ("datestyle", "ISO, MDY"),
    ("intervalstyle", "postgres"),
    ("timezone", "UTC"),
    ("extra_float_digits", "1"),
    ("statement_timeout", "20s"),
    ("lock_timeout", "500ms"),
    ("default_transaction_read_only", "on"),
];

/// All queries see the same state. The transaction ends with the connection.
pub(super) const ONE_SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

const SERVER_VERSION: &str = "SELECT pg_catalog.current_setting('server_version_num')::pg_catalog.int4";

/// Relations that a statement can name. Those of other sessions (`pg_temp_N`) and TOAST tables are left out, so
/// that a statement which names one does not resolve. Users can't make a schema whose name begins with `pg_`.
///
/// `$1` leaves out the definitions of views that somebody's lock stands before, held or waited for.
const RELATIONS: &str = "
WITH locked AS MATERIALIZED (
    SELECT r.ev_class AS view
      FROM pg_catalog.pg_locks l
      JOIN pg_catalog.pg_depend d
        ON d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = l.relation
       AND d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
      JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid
     WHERE $1 AND l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock'
       AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
), written AS MATERIALIZED (
    SELECT a.attrelid AS relation, pg_catalog.sum(a.xmin::pg_catalog.text::pg_catalog.int8) AS columns
      FROM pg_catalog.pg_attribute a
     WHERE a.attnum > 0
     GROUP BY a.attrelid
)
SELECT c.oid, n.nspname AS schema, c.relname AS name, c.relkind AS kind,
       c.reltuples::pg_catalog.int8 AS row_estimate, c.relrowsecurity AS row_security,
       pg_catalog.pg_get_userbyid(c.relowner)::pg_catalog.text AS owner, d.description AS comment,
       EXISTS (SELECT FROM pg_catalog.pg_trigger t
                WHERE t.tgrelid = c.oid AND NOT t.tgisinternal) AS has_triggers,
       EXISTS (SELECT FROM pg_catalog.pg_rewrite r
                WHERE r.ev_class = c.oid AND r.rulename <> '_RETURN') AS has_rules,
       CASE WHEN c.relkind IN ('v', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
            THEN CASE WHEN c.oid IN (SELECT view FROM locked) THEN '' ELSE pg_catalog.pg_get_viewdef(c.oid) END
       END AS definition,
       ARRAY(SELECT i.inhparent FROM pg_catalog.pg_inherits i
              WHERE i.inhrelid = c.oid ORDER BY i.inhseqno) AS parents,
       ARRAY(SELECT a.attname::pg_catalog.text
               FROM pg_catalog.pg_index x
              CROSS JOIN LATERAL pg_catalog.unnest(x.indkey::pg_catalog.int2[]) WITH ORDINALITY k (attnum, place)
               JOIN pg_catalog.pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = k.attnum
              WHERE x.indrelid = c.oid AND x.indisprimary AND k.place <= x.indnkeyatts
              ORDER BY k.place) AS primary_key,
       (COALESCE(w.columns, 0) + COALESCE(v.xmin::pg_catalog.text::pg_catalog.int8, 0))::pg_catalog.int8 AS stamp
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_description d
         ON d.objoid = c.oid AND d.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objsubid = 0
  LEFT JOIN written w ON w.relation = c.oid
  LEFT JOIN pg_catalog.pg_rewrite v ON v.ev_class = c.oid AND v.rulename = '_RETURN'
 WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'c') AND n.nspname !~ '^pg_(toast|temp)'
 ORDER BY c.oid";

const COLUMNS: &str = "
WITH RECURSIVE below (domain, type) AS (
    SELECT t.oid, t.typbasetype FROM pg_catalog.pg_type t WHERE t.typtype = 'd'
    UNION ALL
    SELECT b.domain, t.typbasetype FROM below b JOIN pg_catalog.pg_type t ON t.oid = b.type WHERE t.typtype = 'd'
), base (domain, type) AS (
    SELECT b.domain, b.type FROM below b JOIN pg_catalog.pg_type t ON t.oid = b.type WHERE t.typtype <> 'd'
)
SELECT c.oid AS relation, a.attname AS name, a.attnum AS number, a.atttypid AS type_oid,
       pg_catalog.format_type(a.atttypid, a.atttypmod) AS type_name,
       bt.oid AS base_type_oid, bt.typtype AS base_type_kind, bt.typcategory AS base_type_category,
       CASE WHEN a.attcollation <> 0 AND a.attcollation <> t.typcollation
            THEN pg_catalog.quote_ident(cn.nspname) || '.' || pg_catalog.quote_ident(co.collname) END AS collation,
       a.attnotnull AS not_null, a.attgenerated <> '' AS generated, d.description AS comment,
       COALESCE(s.labels, '{}') AS security_labels
  FROM pg_catalog.pg_attribute a
  JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
  LEFT JOIN base b ON b.domain = a.atttypid
  JOIN pg_catalog.pg_type bt ON bt.oid = COALESCE(b.type, a.atttypid)
  LEFT JOIN pg_catalog.pg_collation co ON co.oid = a.attcollation
  LEFT JOIN pg_catalog.pg_namespace cn ON cn.oid = co.collnamespace
  LEFT JOIN pg_catalog.pg_description d
         ON d.objoid = c.oid AND d.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objsubid = a.attnum
  LEFT JOIN (SELECT l.objoid, l.objsubid, pg_catalog.array_agg(l.label ORDER BY l.provider) AS labels
               FROM pg_catalog.pg_seclabel l
              WHERE l.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass
              GROUP BY l.objoid, l.objsubid) s
         ON s.objoid = c.oid AND s.objsubid = a.attnum
 WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'c') AND n.nspname !~ '^pg_(toast|temp)'
   AND a.attnum > 0 AND NOT a.attisdropped
 ORDER BY c.oid, a.attnum";

const FUNCTIONS: &str = "
SELECT p.oid, n.nspname AS schema, p.proname AS name, p.provolatile AS volatility,
       p.prosecdef AS security_definer, l.lanname AS language, p.proretset AS returns_set, p.prokind AS kind,
       CASE WHEN t.oid = 'pg_catalog.void'::pg_catalog.regtype THEN 'v' ELSE t.typtype END AS result_kind,
       t.typrelid AS row_type,
       ARRAY(SELECT COALESCE(p.proargnames[a.place], '')
               FROM pg_catalog.unnest(p.proargmodes) WITH ORDINALITY a (mode, place)
              WHERE a.mode IN ('o', 'b', 't') ORDER BY a.place) AS outputs,
       p.xmin::pg_catalog.text::pg_catalog.int8 AS stamp
  FROM pg_catalog.pg_proc p
  JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
  JOIN pg_catalog.pg_language l ON l.oid = p.prolang
  JOIN pg_catalog.pg_type t ON t.oid = p.prorettype
 WHERE n.nspname !~ '^pg_(toast|temp)'
 ORDER BY p.oid";
