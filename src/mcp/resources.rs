//! Resources: databases and their tables as `pg://` addresses, told exactly as far as `search_schema` tells them. An
//! address that is wrong, of nothing, or of something hidden gets one and the same error.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use rmcp::model::{
    CacheScope, ErrorData, ListResourceTemplatesResult, ListResourcesResult, ReadResourceResult, Resource,
    ResourceContents, ResourceTemplate,
};
use serde_json::{Value, json};

use crate::gate::{Denial, DenialKind, RelationAccess, Silent};

use super::caller::Caller;
use super::rooms::Rooms;
use super::seal::Bound;
use super::text::{NAME, NOTICE, clean};
use super::tools::search::{Detail, describe, within_budget};

/// The addresses of tables, for clients that fill them in.
pub(super) const TEMPLATE: &str = "pg://{database}/{schema}/{table}";

/// The databases that `caller` may use, a page of them: the cursor of one page leads to the next.
pub(super) fn list(
    rooms: &Rooms,
    caller: &Caller,
    cursor: Option<&str>,
) -> Result<ListResourcesResult, ErrorData> {
    let bound = Bound { who: caller.identity.name(), purpose: "resources", about: "" };
    let after = match cursor {
        None => String::new(),
        Some(cursor) => rooms.seal.open(bound, cursor).ok_or_else(|| {
            ErrorData::invalid_params(
                "the cursor is not of this list, or too old: begin again without it",
                None,
            )
        })?,
    };
    let mut databases = rooms.databases(&caller.identity);
    databases.retain(|database| *database > after);
    let more = databases.len() > PAGE;
    databases.truncate(PAGE);
    let next = databases.last().filter(|_| more).map(|last| rooms.seal.close(bound, last));
    let resources = databases.iter().map(|database| {
        Resource::new(Place::Database(database).uri(), database)
            .with_description("The tables and views of this database that you can use.")
            .with_mime_type(JSON)
    });
    let mut list = ListResourcesResult::with_all_items(resources.collect())
        .with_ttl_ms(TTL_MS)
        .with_cache_scope(CacheScope::Private);
    list.next_cursor = next;
    Ok(list)
}

/// How tables are addressed.
pub(super) fn templates() -> ListResourceTemplatesResult {
    let table = ResourceTemplate::new(TEMPLATE, "table")
        .with_title("A table's columns")
        .with_description(
            "Columns with types, keys and comments, what of them is masked, and what you may write.",
        )
        .with_mime_type(JSON);
    ListResourceTemplatesResult::with_all_items(vec![table])
        .with_ttl_ms(TTL_MS)
        .with_cache_scope(CacheScope::Private)
}

/// What `caller` may know of what is at `uri`.
pub(super) async fn read(rooms: &Rooms, caller: &Caller, uri: &str) -> Result<ReadResourceResult, ErrorData> {
    let (database, table) = parse(uri).ok_or_else(|| unknown(uri))?;
    let (database, access) = sight(rooms, caller, &database).await.map_err(|denial| refused(&denial, uri))?;
    let mut told = match table {
        None => tables(&database, &access),
        Some((schema, table)) => {
            let key = format!("{schema}.{table}");
            let relation = access.iter().find(|relation| relation.key == key).ok_or_else(|| unknown(uri))?;
            describe(relation, Detail::Full)
        }
    };
    if let Some(fields) = told.as_object_mut() {
        fields.insert("database".to_owned(), json!(database));
        fields.insert("content_trust".to_owned(), json!("untrusted"));
        fields.insert("notice".to_owned(), json!(NOTICE));
    }
    let contents = ResourceContents::text(told.to_string(), uri).with_mime_type(JSON);
    Ok(ReadResourceResult::new(vec![contents]).with_ttl_ms(TTL_MS).with_cache_scope(CacheScope::Private))
}

/// Whether `uri` is an address as ours are, of whatever there may or may not be.
pub(super) fn is_address(uri: &str) -> bool {
    parse(uri).is_some()
}

/// The database in an address as ours are.
pub(super) fn database_of(uri: &str) -> Option<String> {
    parse(uri).map(|(database, _)| database)
}

/// The relations that `caller` may use in `database`, and the database's name: an empty one is the only one there is.
pub(super) async fn sight(
    rooms: &Rooms,
    caller: &Caller,
    database: &str,
) -> Result<(String, Vec<RelationAccess>), Denial> {
    let (visit, _) = rooms.visit(caller, database, &Silent).await?;
    let access = rooms.gate.access(&caller.identity, visit.context()).await?;
    Ok((visit.context().database().to_owned(), access))
}

/// What has an address.
#[derive(Debug, Clone, Copy)]
enum Place<'a> {
    Database(&'a str),
    Table { database: &'a str, relation: &'a RelationAccess },
}

impl Place<'_> {
    fn uri(self) -> String {
        let encoded = |name: &str| utf8_percent_encode(name, ESCAPED).to_string();
        match self {
            Self::Database(database) => format!("{SCHEME}{}", encoded(database)),
            Self::Table { database, relation } => {
                let (schema, table) = relation.key.split_once('.').unwrap_or(("", &relation.key));
                format!("{SCHEME}{}/{}/{}", encoded(database), encoded(schema), encoded(table))
            }
        }
    }
}

/// The tables as a list of addresses, as long as one answer may be.
fn tables(database: &str, access: &[RelationAccess]) -> Value {
    let listed = within_budget(access.iter().map(|relation| {
        let uri = Place::Table { database, relation }.uri();
        json!({"name": clean(&relation.key, NAME), "kind": relation.kind, "uri": uri})
    }));
    let truncated = listed.len() < access.len();
    json!({"tables": listed, "truncated": truncated, "total": access.len()})
}

/// A database, and a schema and a table in it where the address goes on.
fn parse(uri: &str) -> Option<(String, Option<(String, String)>)> {
    let path = uri.strip_prefix(SCHEME).filter(|path| uri.len() <= LONGEST && !path.contains(['?', '#']))?;
    let names: Vec<String> = path.split('/').map(decoded).collect::<Option<_>>()?;
    match names.as_slice() {
        [database] => Some((database.clone(), None)),
        [database, schema, table] => Some((database.clone(), Some((schema.clone(), table.clone())))),
        _ => None,
    }
}

fn decoded(name: &str) -> Option<String> {
    let name = percent_decode_str(name).decode_utf8().ok()?;
    (!name.is_empty()).then(|| name.into_owned())
}

fn refused(denial: &Denial, uri: &str) -> ErrorData {
    match denial.kind {
        DenialKind::Unavailable | DenialKind::Overloaded => {
            let message = "the gateway can't look this up now; try again later";
            ErrorData::internal_error(message, None)
        }
        DenialKind::Policy
        | DenialKind::Syntax
        | DenialKind::Unresolved(_)
        | DenialKind::Mask
        | DenialKind::Pending { .. }
        | DenialKind::NotApproved
        | DenialKind::Changed
        | DenialKind::Stale
        | DenialKind::Database
        | DenialKind::UnknownApproval => unknown(uri),
    }
}

fn unknown(uri: &str) -> ErrorData {
    let message = "there is no such resource, or you may not use it";
    ErrorData::resource_not_found(message, Some(json!({ "uri": uri })))
}

const SCHEME: &str = "pg://";
const JSON: &str = "application/json";
/// Databases on one page.
const PAGE: usize = 100;
/// Rights may change at any time, so nobody should rely on what they were for long.
const TTL_MS: u64 = 60_000;
/// Three names of 63 bytes, every byte escaped, fit well.
const LONGEST: usize = 1024;
/// What RFC 3986 leaves unreserved stands for itself.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

#[cfg(test)]
mod tests {
    use super::*;

    fn table(uri: &str) -> Option<(String, String, String)> {
        let (database, table) = parse(uri)?;
        let (schema, table) = table?;
        Some((database, schema, table))
    }

    #[test]
    fn an_address_names_a_database_or_a_table_in_it() {
        assert_eq!(parse("pg://shop"), Some(("shop".into(), None)));
        let expected = ("shop".to_owned(), "public".to_owned(), "Größe / 50%".to_owned());
        assert_eq!(table("pg://shop/public/Gr%C3%B6%C3%9Fe%20%2F%2050%25"), Some(expected));
        assert_eq!(Place::Database("my shop/1").uri(), "pg://my%20shop%2F1");
    }

    #[test]
    fn what_is_no_address_is_none() {
        let long = format!("pg://shop/public/{}", "x".repeat(2000));
        for uri in [
            "",
            "pg:",
            "pg://",
            "pg:///public/orders",
            "pg://shop/public",
            "pg://shop/public/orders/",
            "pg://shop//orders",
            "pg://shop/public/orders/x",
            "pg://shop/public/orders?x=1",
            "pg://shop/public/orders#x",
            "PG://shop",
            "file:///etc/passwd",
            "pg://shop/%ff/orders",
            &long,
        ] {
            assert_eq!(parse(uri), None, "{uri}");
        }
    }
}
