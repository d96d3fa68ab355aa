//! `search_schema`: the tables and columns that the caller can use, and no others.

use rmcp::model::JsonObject;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::catalog::RelationKind;
use crate::gate::{RelationAccess, Silent};

use super::super::envelope::{Envelope, Refusal, Status};
use super::super::rooms::Rooms;
use super::super::schema::{Words, plain};
use super::super::seal::Bound;
use super::super::text::{COMMENT, NAME as NAME_LENGTH, NOTICE, clean};
use super::{Call, invalid, read, within};

pub(in super::super) const NAME: &str = "search_schema";

pub(in super::super) const TOOL: Words = Words {
    name: NAME,
    title: "Find tables and columns",
    description: "Finds tables and views that you can use, by text in their names, columns or comments. `detail`: \
                  names, summary (column names) or full (types, keys, comments, what is masked).",
};

/// What `search_schema` takes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Arguments {
    /// Text to look for; empty finds all.
    #[serde(default)]
    text: String,
    /// Only these: table, view, materialized_view, ...
    #[serde(default)]
    kind: String,
    /// Only this schema.
    #[serde(default)]
    schema: String,
    /// Needed only where there are several.
    #[serde(default)]
    database: String,
    /// How much to tell.
    #[serde(default)]
    detail: Detail,
    /// Most objects to return.
    #[serde(default = "default_limit")]
    #[schemars(range(min = 1, max = 200))]
    limit: u64,
    /// `next_cursor` of the answer before.
    #[serde(default)]
    cursor: String,
}

/// How much is told of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(extend("type" = "string"))]
pub(in super::super) enum Detail {
    Names,
    #[default]
    Summary,
    Full,
}

/// What it answers with.
pub(in super::super) fn fields() -> Value {
    plain(
        "array: objects integer: total boolean: truncated \
         string: next_cursor database content_trust notice",
    )
}

/// Searches.
pub(super) async fn call(arguments: JsonObject, call: &Call) -> Result<Envelope, Refusal> {
    let arguments: Arguments = read(arguments)?;
    let limit = usize::try_from(within("limit", arguments.limit, 1, MAX_LIMIT)?).unwrap_or(usize::MAX);
    let kind = arguments.kind()?;
    let who = &call.caller.identity;
    let visit = match call.rooms.visit(&call.caller, &arguments.database, &Silent).await {
        Ok((visit, _)) => visit,
        Err(denial) => return Ok(Envelope::denial(&denial, who)),
    };
    let about = arguments.about(visit.context().database());
    let bound = Bound { who: who.name(), purpose: NAME, about: &about };
    let after = arguments.after(&call.rooms, bound)?;
    let access = match call.rooms.gate.access(who, visit.context()).await {
        Ok(access) => access,
        Err(denial) => return Ok(Envelope::denial(&denial, who)),
    };
    let fits = |relation: &&RelationAccess| matches(relation, &arguments, kind);
    let total = access.iter().filter(fits).count();
    let rest: Vec<&RelationAccess> =
        access.iter().filter(fits).filter(|relation| relation.key > after).collect();
    let page = rest.iter().take(limit).map(|relation| describe(relation, arguments.detail));
    let objects = within_budget(page);
    let last = objects.len().checked_sub(1).and_then(|index| rest.get(index));
    let next = last.filter(|_| objects.len() < rest.len());
    Ok(Envelope::new(Status::Ok, "")
        .with("database", visit.context().database())
        .with("truncated", next.is_some())
        .with_some("next_cursor", next.map(|last| call.rooms.seal.close(bound, &last.key)))
        .with("objects", Value::Array(objects))
        .with("total", json!(total))
        .with("content_trust", "untrusted")
        .with("notice", NOTICE))
}

impl Arguments {
    /// The kind that is asked for; `None` for all.
    fn kind(&self) -> Result<Option<RelationKind>, Refusal> {
        if self.kind.is_empty() {
            return Ok(None);
        }
        serde_json::from_value(json!(self.kind)).map(Some).map_err(|_| {
            let kinds = "table, partitioned_table, view, materialized_view, foreign_table, sequence, other";
            invalid(&format!("`kind` is `{}`, and must be one of: {kinds}", name(&self.kind)))
        })
    }

    /// What a cursor is about: everything that says which objects are found.
    fn about(&self, database: &str) -> String {
        json!([database, self.text, self.kind, self.schema]).to_string()
    }

    /// The name that the search goes on after; empty at its beginning.
    fn after(&self, rooms: &Rooms, bound: Bound<'_>) -> Result<String, Refusal> {
        if self.cursor.is_empty() {
            return Ok(String::new());
        }
        rooms
            .seal
            .open(bound, &self.cursor)
            .ok_or_else(|| invalid("`cursor` is not of this search, or too old: search again without it"))
    }
}

/// One relation, as far as the caller may know it.
pub(in super::super) fn describe(relation: &RelationAccess, detail: Detail) -> Value {
    let mut object = json!({"name": name(&relation.key), "kind": relation.kind});
    let Some(fields) = object.as_object_mut() else { return object };
    if detail == Detail::Names {
        return object;
    }
    fields.insert("estimated_rows".to_owned(), json!(relation.row_estimate));
    if !relation.comment.is_empty() {
        fields.insert("comment".to_owned(), json!(clean(&relation.comment, COMMENT)));
    }
    if detail == Detail::Summary {
        let columns: Vec<String> = relation.columns.iter().map(|column| name(&column.name)).collect();
        fields.insert("columns".to_owned(), json!(columns));
        return object;
    }
    fields.insert("write".to_owned(), json!(relation.write));
    fields.insert("columns".to_owned(), json!(relation.columns.iter().map(column).collect::<Vec<_>>()));
    object
}

/// A name without characters that can't be seen.
pub(in super::super) fn name(name: &str) -> String {
    clean(name, NAME_LENGTH)
}

fn column(column: &crate::gate::ColumnAccess) -> Value {
    let mut object = json!({
        "name": name(&column.name),
        "type": name(&column.type_name),
        "access": column.access,
    });
    if let Some(fields) = object.as_object_mut() {
        if column.primary_key {
            fields.insert("primary_key".to_owned(), json!(true));
        }
        if column.not_null {
            fields.insert("not_null".to_owned(), json!(true));
        }
        if !column.comment.is_empty() {
            fields.insert("comment".to_owned(), json!(clean(&column.comment, COMMENT)));
        }
    }
    object
}

fn matches(relation: &RelationAccess, wanted: &Arguments, kind: Option<RelationKind>) -> bool {
    let schema = relation.key.split_once('.').map_or("", |(schema, _)| schema);
    let text = wanted.text.to_lowercase();
    let has = |haystack: &str| haystack.to_lowercase().contains(&text);
    kind.is_none_or(|kind| kind == relation.kind)
        && (wanted.schema.is_empty() || schema == wanted.schema)
        && (text.is_empty()
            || has(&relation.key)
            || has(&relation.comment)
            || relation.columns.iter().any(|column| has(&column.name) || has(&column.comment)))
}

/// As many objects as fit into what clients show; at least one.
pub(in super::super) fn within_budget(objects: impl Iterator<Item = Value>) -> Vec<Value> {
    let mut left = MAX_BYTES;
    let mut fitting = Vec::new();
    for object in objects {
        let size = object.to_string().len();
        if size > left && !fitting.is_empty() {
            break;
        }
        left = left.saturating_sub(size);
        fitting.push(object);
    }
    fitting
}

fn default_limit() -> u64 {
    50
}

const MAX_LIMIT: u64 = 200;
const MAX_BYTES: usize = 20_000;
