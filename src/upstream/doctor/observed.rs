//! What a server says about a role, by constant SQL, one query a kind.
//!
//! All of it is read from catalogs that everybody may read, in the role's own session: it shows what whoever logs in
//! that way really is. Rights are taken from access lists and not from `has_..._privilege`, to which a superuser has
//! everything: so each right is seen with whom it was granted to, which a REVOKE has to name, and nothing hides behind
//! another right. `taker` are the roles whose rights the role has or can take, and PUBLIC, which is oid 0 without a name.

use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error, Row};

use crate::gate::Withheld;

use super::kind::Kind;

/// What was seen.
#[derive(Debug, Clone, Default)]
pub(super) struct Observed {
    /// The role itself.
    pub(super) user: String,
    /// Its own attributes, and every role whose rights it has or can take.
    pub(super) roles: Vec<Role>,
    pub(super) owned: Vec<Owned>,
    pub(super) grants: Vec<(Kind, Grant)>,
    pub(super) columns: Vec<ColumnGrant>,
}

/// The role, or one that it is a member of.
#[derive(Debug, Clone, Default)]
pub(super) struct Role {
    pub(super) name: String,
    /// The names of findings that are attributes.
    pub(super) attributes: Vec<String>,
    /// Whether `initdb` has made it.
    pub(super) is_first: bool,
    /// How it is a member; `None` is the role itself.
    pub(super) membership: Option<Membership>,
}

/// The first step on the way to a role.
#[derive(Debug, Clone, Default)]
pub(super) struct Membership {
    /// The role that it is a member of directly.
    pub(super) group: String,
    /// Who has granted that, where the server keeps them apart.
    pub(super) grantors: Vec<String>,
}

/// Something that a role owns.
#[derive(Debug, Clone)]
pub(super) struct Owned {
    /// As in `table public.orders`.
    pub(super) object: String,
    pub(super) owner: String,
}

/// A right in an access list.
#[derive(Debug, Clone)]
pub(super) struct Grant {
    pub(super) privilege: String,
    /// As GRANT writes it: `SCHEMA public`.
    pub(super) object: String,
    /// `None` is PUBLIC.
    pub(super) grantee: Option<String>,
    /// Where it is not the owner.
    pub(super) grantor: Option<String>,
}

/// A right to read masked columns of one relation.
#[derive(Debug, Clone)]
pub(super) struct ColumnGrant {
    /// The relation, and in `privilege` the whole or one column of it.
    pub(super) grant: Grant,
    /// The masked columns that it covers, quoted where they must be.
    pub(super) masked: Vec<String>,
    /// The other columns, where it covers all.
    pub(super) rest: Vec<String>,
}

impl Observed {
    /// Reads everything of the role that `client` has logged in as. `withheld` are columns that it has no use for.
    pub(super) async fn read(client: &Client, withheld: &[Withheld]) -> Result<Self, Error> {
        client.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        let user = client.query_typed_one("SELECT SESSION_USER::pg_catalog.text", &[]).await?.try_get(0)?;
        let roles = client.query_typed(ROLES, &[]).await?;
        let owned = client.query_typed(OWNED, &[]).await?;
        let mut grants = Vec::new();
        for (kind, sql) in GRANTS {
            for row in client.query_typed(sql, &[]).await? {
                grants.push((*kind, grant(&row)?));
            }
        }
        Ok(Self {
            user,
            roles: roles.iter().map(role).collect::<Result<_, _>>()?,
            owned: owned
                .iter()
                .map(|row| Ok(Owned { object: row.try_get("object")?, owner: row.try_get("owner")? }))
                .collect::<Result<_, Error>>()?,
            grants,
            columns: columns(client, withheld).await?,
        })
    }
}

async fn columns(client: &Client, withheld: &[Withheld]) -> Result<Vec<ColumnGrant>, Error> {
    let each = || withheld.iter().flat_map(|of| of.columns.iter().map(move |column| (of, column)));
    let schemas: Vec<&str> = each().map(|(of, _)| of.schema.as_str()).collect();
    let tables: Vec<&str> = each().map(|(of, _)| of.relation.as_str()).collect();
    let names: Vec<&str> = each().map(|(_, column)| column.as_str()).collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let arrays = [
        (&schemas as _, Type::TEXT_ARRAY),
        (&tables as _, Type::TEXT_ARRAY),
        (&names as _, Type::TEXT_ARRAY),
    ];
    let rows = client.query_typed(COLUMNS, &arrays).await?;
    let column = |row: &Row| {
        Ok(ColumnGrant { grant: grant(row)?, masked: row.try_get("masked")?, rest: row.try_get("rest")? })
    };
    rows.iter().map(column).collect()
}

fn role(row: &Row) -> Result<Role, Error> {
    let group: Option<String> = row.try_get("via")?;
    let grantors = row.try_get("grantors")?;
    Ok(Role {
        name: row.try_get("role")?,
        attributes: row.try_get("attributes")?,
        is_first: row.try_get("is_first")?,
        membership: group.map(|group| Membership { group, grantors }),
    })
}

fn grant(row: &Row) -> Result<Grant, Error> {
    Ok(Grant {
        privilege: row.try_get("privilege")?,
        object: row.try_get("object")?,
        grantee: row.try_get("grantee")?,
        grantor: row.try_get("grantor")?,
    })
}

/// Nothing is inherited from a membership that can neither be inherited, nor set, nor granted on (PostgreSQL 16 keeps
/// these apart; before, each can). The roles that PostgreSQL brings are findings of their own, and not looked into.
macro_rules! held {
    ($sql:literal) => {
        concat!(
            "
WITH RECURSIVE held (role, via) AS (
    SELECT r.oid, 0::pg_catalog.oid FROM pg_catalog.pg_roles r WHERE r.rolname = SESSION_USER
    UNION
    SELECT m.roleid, CASE WHEN h.via = 0 THEN m.roleid ELSE h.via END
      FROM held h
      JOIN pg_catalog.pg_roles r ON r.oid = h.role AND r.rolname !~ '^pg_'
      JOIN pg_catalog.pg_auth_members m ON m.member = h.role
     CROSS JOIN LATERAL pg_catalog.to_jsonb(m) j
     WHERE m.admin_option OR COALESCE((j ->> 'inherit_option')::pg_catalog.bool, true)
        OR COALESCE((j ->> 'set_option')::pg_catalog.bool, true)
), taker (oid, name) AS (
    SELECT DISTINCT r.oid, r.rolname::pg_catalog.text
      FROM held h JOIN pg_catalog.pg_roles r ON r.oid = h.role WHERE r.rolname !~ '^pg_'
    UNION ALL SELECT 0, NULL
)",
            $sql
        )
    };
}

/// As [`held!`], for functions that a taker may execute: `p` is the function, `n` its schema, `a` the grant.
macro_rules! functions {
    ($condition:literal) => {
        concat!(
            held!(
                "
SELECT a.privilege_type AS privilege, 'ROUTINE ' || p.oid::pg_catalog.regprocedure::pg_catalog.text AS object,
       t.name AS grantee,
       CASE WHEN a.grantor <> p.proowner THEN pg_catalog.pg_get_userbyid(a.grantor)::pg_catalog.text END AS grantor
  FROM pg_catalog.pg_proc p
  JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
  JOIN pg_catalog.pg_language l ON l.oid = p.prolang
 CROSS JOIN LATERAL pg_catalog.aclexplode(COALESCE(p.proacl, pg_catalog.acldefault('f', p.proowner))) a
  JOIN taker t ON t.oid = a.grantee
 WHERE a.grantee <> p.proowner AND "
            ),
            $condition,
            " ORDER BY object, grantee"
        )
    };
}

const ROLES: &str = held!(
    "
SELECT r.rolname::pg_catalog.text AS role, v.rolname::pg_catalog.text AS via, r.oid = 10 AS is_first,
       pg_catalog.array_remove(ARRAY[
           CASE WHEN r.rolsuper THEN 'superuser' END, CASE WHEN r.rolreplication THEN 'replication' END,
           CASE WHEN r.rolbypassrls THEN 'bypassrls' END, CASE WHEN r.rolcreaterole THEN 'createrole' END,
           CASE WHEN r.rolcreatedb THEN 'createdb' END], NULL) AS attributes,
       ARRAY(SELECT DISTINCT g.rolname::pg_catalog.text
               FROM pg_catalog.pg_auth_members m
               JOIN pg_catalog.pg_roles s ON s.oid = m.member AND s.rolname = SESSION_USER
               JOIN pg_catalog.pg_roles g ON g.oid = m.grantor
              WHERE m.roleid = h.via
                AND pg_catalog.current_setting('server_version_num')::pg_catalog.int4 >= 160000
              ORDER BY 1) AS grantors
  FROM held h
  JOIN pg_catalog.pg_roles r ON r.oid = h.role
  LEFT JOIN pg_catalog.pg_roles v ON v.oid = h.via
 ORDER BY via NULLS FIRST, role"
);

/// What REASSIGN OWNED would give to somebody else; not what only says what will be owned.
const OWNED: &str = held!(
    "
SELECT DISTINCT i.type || ' ' || i.identity AS object, r.rolname::pg_catalog.text AS owner
  FROM held h
  JOIN pg_catalog.pg_roles r ON r.oid = h.role
  JOIN pg_catalog.pg_shdepend d
    ON d.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND d.refobjid = h.role AND d.deptype = 'o'
  JOIN pg_catalog.pg_database b ON b.datname = pg_catalog.current_database() AND d.dbid IN (0, b.oid)
 CROSS JOIN LATERAL pg_catalog.pg_identify_object(d.classid, d.objid, d.objsubid) i
 WHERE i.identity IS NOT NULL
   AND d.classid NOT IN ('pg_catalog.pg_default_acl'::pg_catalog.regclass,
                         'pg_catalog.pg_user_mapping'::pg_catalog.regclass)
 ORDER BY object"
);

const GRANTS: &[(Kind, &str)] = &[
    (Kind::CreateInSchema, CREATE_IN_SCHEMA),
    (Kind::CreateInDatabase, CREATE_IN_DATABASE),
    (Kind::ServerFunctions, SERVER_FUNCTIONS),
    (Kind::OtherConnections, OTHER_CONNECTIONS),
    (Kind::SecurityDefiner, SECURITY_DEFINER),
    (Kind::UntrustedLanguage, UNTRUSTED_LANGUAGE),
    (Kind::ForeignServer, FOREIGN_SERVERS),
    (Kind::SqlFromText, SQL_FROM_TEXT),
    (Kind::LargeObjects, LARGE_OBJECTS),
    (Kind::Temporary, TEMPORARY),
];

const CREATE_IN_SCHEMA: &str = held!(
    "
SELECT a.privilege_type AS privilege, 'SCHEMA ' || pg_catalog.quote_ident(n.nspname) AS object, t.name AS grantee,
       CASE WHEN a.grantor <> n.nspowner THEN pg_catalog.pg_get_userbyid(a.grantor)::pg_catalog.text END AS grantor
  FROM pg_catalog.pg_namespace n
 CROSS JOIN LATERAL pg_catalog.aclexplode(COALESCE(n.nspacl, pg_catalog.acldefault('n', n.nspowner))) a
  JOIN taker t ON t.oid = a.grantee
 WHERE a.privilege_type = 'CREATE' AND a.grantee <> n.nspowner AND n.nspname !~ '^pg_(toast|temp)'
 ORDER BY object, grantee"
);

macro_rules! database {
    ($privilege:literal) => {
        concat!(
            held!(
                "
SELECT a.privilege_type AS privilege, 'DATABASE ' || pg_catalog.quote_ident(d.datname) AS object, t.name AS grantee,
       CASE WHEN a.grantor <> d.datdba THEN pg_catalog.pg_get_userbyid(a.grantor)::pg_catalog.text END AS grantor
  FROM pg_catalog.pg_database d
 CROSS JOIN LATERAL pg_catalog.aclexplode(COALESCE(d.datacl, pg_catalog.acldefault('d', d.datdba))) a
  JOIN taker t ON t.oid = a.grantee
 WHERE d.datname = pg_catalog.current_database() AND a.grantee <> d.datdba AND a.privilege_type = "
            ),
            $privilege,
            " ORDER BY grantee"
        )
    };
}

const CREATE_IN_DATABASE: &str = database!("'CREATE'");
const TEMPORARY: &str = database!("'TEMPORARY'");

/// What `initdb` or an extension has taken from PUBLIC, and somebody has given back.
const SERVER_FUNCTIONS: &str = functions!(
    "EXISTS (
       SELECT FROM pg_catalog.pg_init_privs i
        WHERE i.objoid = p.oid AND i.classoid = 'pg_catalog.pg_proc'::pg_catalog.regclass
          AND NOT EXISTS (SELECT FROM pg_catalog.aclexplode(i.initprivs) x WHERE x.grantee IN (0, a.grantee)))"
);

const OTHER_CONNECTIONS: &str = functions!(
    "EXISTS (
       SELECT FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
        WHERE d.objid = p.oid AND d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.deptype = 'e'
          AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
          AND e.extname IN ('dblink', 'http', 'pg_net', 'plproxy'))"
);

/// Of other owners. A trigger's function can't be called.
const SECURITY_DEFINER: &str = functions!(
    "p.prosecdef AND n.nspname NOT IN ('pg_catalog', 'information_schema')
     AND p.prorettype NOT IN ('pg_catalog.trigger'::pg_catalog.regtype, 'pg_catalog.event_trigger'::pg_catalog.regtype)
     AND p.proowner NOT IN (SELECT oid FROM taker)"
);

const UNTRUSTED_LANGUAGE: &str = functions!(
    "NOT l.lanpltrusted AND l.lanname NOT IN ('internal', 'c')
     AND p.prorettype NOT IN ('pg_catalog.trigger'::pg_catalog.regtype, 'pg_catalog.event_trigger'::pg_catalog.regtype)"
);

const SQL_FROM_TEXT: &str = functions!(
    "(n.nspname = 'pg_catalog' AND (p.proname ~ '^(query|cursor|table|schema|database)_to_xml'
                                   OR p.oid IN ('pg_catalog.ts_stat(text)'::pg_catalog.regprocedure,
                                                'pg_catalog.ts_stat(text,text)'::pg_catalog.regprocedure,
                                                'pg_catalog.ts_rewrite(tsquery,text)'::pg_catalog.regprocedure))
      OR EXISTS (
       SELECT FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
        WHERE d.objid = p.oid AND d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.deptype = 'e'
          AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
          AND (e.extname = 'tablefunc' AND p.proname ~ '^(crosstab|connectby)'
               OR e.extname = 'xml2' AND p.proname = 'xpath_table')))"
);

const LARGE_OBJECTS: &str = functions!(
    "n.nspname = 'pg_catalog' AND p.proname IN ('lo_creat', 'lo_create', 'lo_from_bytea', 'lo_put', 'lowrite',
                                               'lo_truncate', 'lo_truncate64', 'lo_unlink')"
);

/// By USAGE and a mapping; a foreign table needs the mapping only, and is governed like any other.
const FOREIGN_SERVERS: &str = held!(
    "
SELECT a.privilege_type AS privilege, 'FOREIGN SERVER ' || pg_catalog.quote_ident(s.srvname) AS object,
       t.name AS grantee,
       CASE WHEN a.grantor <> s.srvowner THEN pg_catalog.pg_get_userbyid(a.grantor)::pg_catalog.text END AS grantor
  FROM pg_catalog.pg_foreign_server s
 CROSS JOIN LATERAL pg_catalog.aclexplode(COALESCE(s.srvacl, pg_catalog.acldefault('S', s.srvowner))) a
  JOIN taker t ON t.oid = a.grantee
 WHERE a.privilege_type = 'USAGE' AND a.grantee <> s.srvowner
   AND EXISTS (SELECT FROM pg_catalog.pg_user_mappings m
                WHERE m.srvid = s.oid AND m.umuser IN (SELECT oid FROM taker))
 ORDER BY object, grantee"
);

/// Granted on the whole relation, or on a column. System columns are needed to find a row again.
const COLUMNS: &str = held!(
    ", relation AS (
    SELECT c.oid, c.relowner, c.relacl, c.relkind,
           pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname) AS object,
           pg_catalog.array_agg(a.attnum) AS masked,
           pg_catalog.array_agg(pg_catalog.quote_ident(a.attname) ORDER BY a.attnum) AS names
      FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.text[]), pg_catalog.unnest($2::pg_catalog.text[]),
                      pg_catalog.unnest($3::pg_catalog.text[])) w (schema, name, attribute)
      JOIN pg_catalog.pg_namespace n ON n.nspname = w.schema
      JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.name
      JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attname = w.attribute AND NOT a.attisdropped
     GROUP BY c.oid, n.nspname
)
SELECT 'SELECT' AS privilege, r.object, t.name AS grantee, r.names AS masked,
       CASE WHEN x.grantor <> r.relowner THEN pg_catalog.pg_get_userbyid(x.grantor)::pg_catalog.text END AS grantor,
       ARRAY(SELECT pg_catalog.quote_ident(a.attname) FROM pg_catalog.pg_attribute a
              WHERE a.attrelid = r.oid AND NOT a.attisdropped AND a.attnum <> ALL (r.masked)
                AND (a.attnum > 0 OR a.attname IN ('ctid', 'tableoid') AND r.relkind IN ('r', 'p'))
              ORDER BY a.attnum < 0, pg_catalog.abs(a.attnum)) AS rest
  FROM relation r
 CROSS JOIN LATERAL pg_catalog.aclexplode(COALESCE(r.relacl, pg_catalog.acldefault('r', r.relowner))) x
  JOIN taker t ON t.oid = x.grantee
 WHERE x.privilege_type = 'SELECT' AND x.grantee <> r.relowner
UNION ALL
SELECT 'SELECT (' || pg_catalog.quote_ident(a.attname) || ')', r.object, t.name,
       ARRAY[pg_catalog.quote_ident(a.attname)],
       CASE WHEN x.grantor <> r.relowner THEN pg_catalog.pg_get_userbyid(x.grantor)::pg_catalog.text END,
       ARRAY[]::pg_catalog.text[]
  FROM relation r
  JOIN pg_catalog.pg_attribute a ON a.attrelid = r.oid AND a.attnum = ANY (r.masked)
 CROSS JOIN LATERAL pg_catalog.aclexplode(a.attacl) x
  JOIN taker t ON t.oid = x.grantee
 WHERE x.privilege_type = 'SELECT' AND x.grantee <> r.relowner
 ORDER BY 2, 3, 1"
);
