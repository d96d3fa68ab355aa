//! What there is little of: policies of row-level security, the roles that they are for, operators.

use std::collections::HashMap;

use tokio_postgres::{Error, Row};

use crate::catalog::{Operator, Role, RowPolicy, Type};

use super::definitions::letter;

/// Every policy, by the OID of its relation.
pub(super) fn policies(rows: &[Row]) -> Result<HashMap<u32, Vec<RowPolicy>>, Error> {
    let mut of: HashMap<u32, Vec<RowPolicy>> = HashMap::new();
    for row in rows {
        of.entry(row.try_get("relation")?).or_default().push(RowPolicy {
            name: row.try_get("name")?,
            permissive: row.try_get("permissive")?,
            command: letter(row, "command")?,
            roles: row.try_get("roles")?,
            using: row.try_get("using")?,
            check: row.try_get("check")?,
            comment: row.try_get("comment")?,
            stamp: row.try_get("stamp")?,
        });
    }
    Ok(of)
}

/// The gateway's own roles.
pub(super) fn roles(rows: &[Row]) -> Result<Vec<Role>, Error> {
    let role = |row: &Row| {
        Ok(Role {
            name: row.try_get("name")?,
            unbound: row.try_get("unbound")?,
            member_of: row.try_get("member_of")?,
        })
    };
    rows.iter().map(role).collect()
}

/// The operators of extensions and users.
pub(super) fn operators(rows: &[Row]) -> Result<Vec<Operator>, Error> {
    let operator = |row: &Row| {
        Ok(Operator {
            schema: row.try_get("schema")?,
            name: row.try_get("name")?,
            function_schema: row.try_get("function_schema")?,
            function: row.try_get("function")?,
        })
    };
    rows.iter().map(operator).collect()
}

/// One type of the database's own.
pub(super) fn data_type(row: &Row) -> Result<Type, Error> {
    Ok(Type {
        oid: row.try_get("oid")?,
        name: row.try_get("name")?,
        kind: letter(row, "kind")?,
        element: row.try_get("element")?,
        delimiter: letter(row, "delimiter")?,
        base: row.try_get("base")?,
    })
}

/// Types of users and extensions, without those of tables' rows: these are as many as there are tables.
pub(super) const TYPES: &str = "
SELECT t.oid, pg_catalog.format_type(t.oid, NULL) AS name, t.typtype AS kind,
       CASE WHEN e.typarray = t.oid THEN t.typelem ELSE 0 END AS element, COALESCE(e.typdelim, ',') AS delimiter,
       t.typbasetype AS base
  FROM pg_catalog.pg_type t
  JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
  LEFT JOIN pg_catalog.pg_type e ON e.oid = t.typelem
  LEFT JOIN pg_catalog.pg_class c ON c.oid = CASE WHEN e.typarray = t.oid THEN e.typrelid ELSE t.typrelid END
 WHERE t.oid >= 16384 AND t.typtype IN ('b', 'c', 'd', 'e', 'r', 'm') AND n.nspname !~ '^pg_(toast|temp)'
   AND (c.oid IS NULL OR c.relkind = 'c')
 ORDER BY t.oid";

pub(super) const OPERATORS: &str = "
SELECT n.nspname AS schema, o.oprname AS name, f.nspname AS function_schema, p.proname AS function
  FROM pg_catalog.pg_operator o
  JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
  JOIN pg_catalog.pg_proc p ON p.oid = o.oprcode
  JOIN pg_catalog.pg_namespace f ON f.oid = p.pronamespace
 WHERE n.nspname !~ '^pg_(toast|temp|catalog$)'
 ORDER BY o.oid";

/// `$1` leaves out the words of policies on relations that somebody has locked, which newer servers would wait for: such
/// a policy counts as another than it was.
pub(super) const POLICIES: &str = "
SELECT p.polrelid AS relation, p.polname AS name, p.polpermissive AS permissive, p.polcmd AS command,
       CASE WHEN 0 = ANY (p.polroles) THEN '{public}'::pg_catalog.text[]
            ELSE ARRAY(SELECT r.rolname::pg_catalog.text FROM pg_catalog.pg_roles r
                        WHERE r.oid = ANY (p.polroles) ORDER BY r.rolname) END AS roles,
       COALESCE(CASE WHEN NOT l.locked THEN pg_catalog.pg_get_expr(p.polqual, p.polrelid) END, '') AS using,
       COALESCE(CASE WHEN NOT l.locked THEN pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid) END, '') AS check,
       COALESCE(d.description, '') AS comment,
       p.xmin::pg_catalog.text::pg_catalog.int8 AS stamp
  FROM pg_catalog.pg_policy p
 CROSS JOIN LATERAL (
       SELECT $1 AND EXISTS (SELECT FROM pg_catalog.pg_locks k
                              WHERE k.locktype = 'relation' AND k.relation = p.polrelid
                                AND k.mode = 'AccessExclusiveLock') AS locked) l
  LEFT JOIN pg_catalog.pg_description d
         ON d.objoid = p.oid AND d.classoid = 'pg_catalog.pg_policy'::pg_catalog.regclass
 ORDER BY p.polrelid, p.polname";

/// `$1` has the names of the roles. What a role can become counts as what it is.
pub(super) const ROLES: &str = "
SELECT u.rolname AS name,
       EXISTS (SELECT FROM pg_catalog.pg_roles r
                WHERE (r.rolsuper OR r.rolbypassrls) AND pg_catalog.pg_has_role(u.oid, r.oid, 'MEMBER')) AS unbound,
       ARRAY(SELECT r.rolname::pg_catalog.text FROM pg_catalog.pg_roles r
              WHERE pg_catalog.pg_has_role(u.oid, r.oid, 'MEMBER') ORDER BY r.rolname) AS member_of
  FROM pg_catalog.pg_roles u
 WHERE u.rolname = ANY ($1)
 ORDER BY u.rolname";
