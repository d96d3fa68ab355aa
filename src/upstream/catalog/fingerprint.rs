//! Whether definitions are still those that were read: two questions, each a fraction of the cost of reading them.

use tokio_postgres::{Client, Error};

/// What the definitions of a database come to: another whenever one of them is. Estimates of rows count by their order of
/// magnitude only, and tables of a session's own not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fingerprint(String);

impl Fingerprint {
    /// As of the transaction that `client` is in, or of now.
    pub(super) async fn ask(client: &Client) -> Result<Self, Error> {
        client.query_typed_one(FINGERPRINT, &[]).await?.try_get(0).map(Self)
    }
}

/// How much was ever written into the catalog: another soon after something was. It says so of temporary tables too, and
/// not at once: sessions hand their counts in when they are idle, so it replaces no [`Fingerprint`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Count(String);

impl Count {
    /// As of now.
    pub(super) async fn ask(client: &Client) -> Result<Self, Error> {
        client.query_typed_one(COUNT, &[]).await?.try_get(0).map(Self)
    }
}

const COUNT: &str = "
SELECT pg_catalog.string_agg(pg_catalog.concat_ws('+', pg_catalog.pg_stat_get_tuples_inserted(c),
                             pg_catalog.pg_stat_get_tuples_updated(c), pg_catalog.pg_stat_get_tuples_deleted(c)), ' ')
  FROM pg_catalog.unnest('{pg_catalog.pg_namespace, pg_catalog.pg_class, pg_catalog.pg_attribute, pg_catalog.pg_type,
                           pg_catalog.pg_proc, pg_catalog.pg_operator, pg_catalog.pg_rewrite, pg_catalog.pg_policy, pg_catalog.pg_trigger,
                           pg_catalog.pg_inherits, pg_catalog.pg_index, pg_catalog.pg_description,
                           pg_catalog.pg_seclabel, pg_catalog.pg_collation, pg_catalog.pg_language,
                           pg_catalog.pg_auth_members, pg_catalog.pg_authid}'::pg_catalog.regclass[]) c";

/// Of everything that `definitions` and `rows` look at: which row versions there are. PostgreSQL writes a new version
/// for each change; only a table's estimates are written in place.
const FINGERPRINT: &str = "
WITH named AS MATERIALIZED (
    SELECT n.oid, n.xmin AS written FROM pg_catalog.pg_namespace n WHERE n.nspname !~ '^pg_(toast|temp)'
), shown AS MATERIALIZED (
    SELECT c.oid, c.xmin AS written, c.reltuples FROM pg_catalog.pg_class c
     WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'c') AND c.relnamespace IN (SELECT oid FROM named)
), versions (kind, id, part, written) AS (
    SELECT 1, oid, 0::pg_catalog.int8, written FROM named
    UNION ALL
    SELECT 2, oid, pg_catalog.length(reltuples::pg_catalog.int8::pg_catalog.text), written FROM shown
    UNION ALL
    SELECT 3, attrelid, attnum, xmin FROM pg_catalog.pg_attribute
     WHERE attnum > 0 AND attrelid IN (SELECT oid FROM shown)
    UNION ALL
    SELECT 4, oid, 0, xmin FROM pg_catalog.pg_type WHERE typnamespace IN (SELECT oid FROM named)
    UNION ALL
    SELECT 5, oid, 0, xmin FROM pg_catalog.pg_proc WHERE pronamespace IN (SELECT oid FROM named)
    UNION ALL
    SELECT 6, oid, 0, xmin FROM pg_catalog.pg_rewrite WHERE ev_class IN (SELECT oid FROM shown)
    UNION ALL
    SELECT 7, oid, 0, xmin FROM pg_catalog.pg_policy
    UNION ALL
    SELECT 8, oid, 0, xmin FROM pg_catalog.pg_trigger
     WHERE NOT tgisinternal AND tgrelid IN (SELECT oid FROM shown)
    UNION ALL
    SELECT 9, inhrelid, inhseqno, xmin FROM pg_catalog.pg_inherits
    UNION ALL
    SELECT 10, indexrelid, 0, xmin FROM pg_catalog.pg_index
     WHERE indisprimary AND indrelid IN (SELECT oid FROM shown)
    UNION ALL
    SELECT 11, objoid, objsubid, xmin FROM pg_catalog.pg_description
    UNION ALL
    SELECT 12, objoid, objsubid, xmin FROM pg_catalog.pg_seclabel
    UNION ALL
    SELECT 13, oid, 0, xmin FROM pg_catalog.pg_collation
    UNION ALL
    SELECT 14, oid, 0, xmin FROM pg_catalog.pg_language
    UNION ALL
    SELECT 15, oid, 0, xmin FROM pg_catalog.pg_operator
    UNION ALL
    SELECT 16, roleid, member::pg_catalog.int8, xmin FROM pg_catalog.pg_auth_members
)
SELECT pg_catalog.concat_ws(' ', pg_catalog.count(*), pg_catalog.sum(pg_catalog.hashint8extended(
           written::pg_catalog.text::pg_catalog.int8,
           (id::pg_catalog.int8 << 24) # (part << 8) # kind::pg_catalog.int8)),
       (SELECT pg_catalog.sum(pg_catalog.hashtextextended(r::pg_catalog.text, 0)) FROM pg_catalog.pg_roles r))
  FROM versions";
