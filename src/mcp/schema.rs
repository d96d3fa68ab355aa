//! The tools as clients see them: names, annotations, and schemas that strict clients accept.
//!
//! Input schemas are made from the very types that arguments are read into. Output schemas are written by
//! hand: one envelope, of which only `status` and `decision_id` are required, so that a denial fits it too.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use rmcp::model::{JsonObject, Tool, ToolAnnotations};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::tools::{access, approvals, check, execute, query, search};

/// All tools, by name.
pub(super) fn all() -> &'static [Tool] {
    &TOOLS
}

/// One tool.
pub(super) fn named(name: &str) -> Option<&'static Tool> {
    TOOLS.iter().find(|tool| tool.name == name)
}

/// The schema of `params`: values for `$1`, `$2`, ... in order.
pub(super) fn parameters(_: &mut SchemaGenerator) -> Schema {
    let kinds =
        ["string", "number", "boolean", "null", "array", "object"].map(|kind| json!({ "type": kind }));
    let mut schema = Schema::default();
    schema.insert("type".to_owned(), json!("array"));
    schema.insert("items".to_owned(), json!({ "anyOf": kinds }));
    schema
}

static TOOLS: LazyLock<Vec<Tool>> = LazyLock::new(|| {
    vec![
        tool::<approvals::StatusArguments>(approvals::STATUS, Nature::Reads, approvals::status_fields()),
        tool::<check::Arguments>(check::TOOL, Nature::Reads, check::fields()),
        tool::<execute::Arguments>(execute::TOOL, Nature::Changes, execute::fields()),
        tool::<access::Arguments>(access::TOOL, Nature::Reads, access::fields()),
        tool::<query::Arguments>(query::TOOL, Nature::Reads, query::fields()),
        tool::<approvals::RunArguments>(approvals::RUN, Nature::ChangesOnce, execute::fields()),
        tool::<search::Arguments>(search::TOOL, Nature::Reads, search::fields()),
    ]
});

/// The words of one tool.
#[derive(Debug, Clone, Copy)]
pub(super) struct Words {
    /// Its name.
    pub(super) name: &'static str,
    /// Its name for people.
    pub(super) title: &'static str,
    /// What it does, for models.
    pub(super) description: &'static str,
}

/// What a host may think of a tool.
#[derive(Debug, Clone, Copy)]
enum Nature {
    Reads,
    Changes,
    ChangesOnce,
}

fn tool<A: JsonSchema>(words: Words, nature: Nature, fields: Value) -> Tool {
    let annotations = ToolAnnotations::with_title(words.title).open_world(false);
    let annotations = match nature {
        Nature::Reads => annotations.read_only(true).destructive(false).idempotent(true),
        Nature::Changes => annotations.read_only(false).destructive(true).idempotent(false),
        Nature::ChangesOnce => annotations.read_only(false).destructive(true).idempotent(true),
    };
    Tool::new(words.name, Cow::Borrowed(words.description), input::<A>())
        .with_title(words.title)
        .with_raw_output_schema(output(fields))
        .with_annotations(annotations)
}

fn input<A: JsonSchema>() -> Arc<JsonObject> {
    let mut settings = SchemaSettings::draft2020_12();
    settings.inline_subschemas = true;
    settings.meta_schema = None;
    let mut schema = settings.into_generator().into_root_schema_for::<A>().to_value();
    make_portable(&mut schema);
    Arc::new(schema.as_object().cloned().unwrap_or_default())
}

/// Takes out what strict clients stumble over: `title`s of Rust types, and formats that only Rust knows. The
/// names of properties are left alone.
fn make_portable(schema: &mut Value) {
    let Some(object) = schema.as_object_mut() else { return };
    object.remove("title");
    object.remove("format");
    if let Some(properties) = object.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(make_portable);
    }
    if let Some(items) = object.get_mut("items") {
        make_portable(items);
    }
}

fn output(fields: Value) -> Arc<JsonObject> {
    let mut properties = envelope();
    if let Value::Object(fields) = fields {
        properties.extend(fields);
    }
    let schema = json!({"type": "object", "properties": properties, "required": ["status", "decision_id"]});
    Arc::new(schema.as_object().cloned().unwrap_or_default())
}

/// The fields that any tool may answer with.
fn envelope() -> Map<String, Value> {
    let words = ["code", "message", "hint"].map(|word| (word.to_owned(), json!({"type": "string"})));
    let refusal = json!({"type": "object", "properties": Map::from_iter(words)});
    let statuses = ["ok", "denied", "needs_approval", "pending_approval", "running", "error"];
    let fields = json!({
        "status": {"type": "string", "enum": statuses},
        "decision_id": {"type": "string"},
        "denial": refusal,
        "error": refusal,
        "content_trust": {"type": "string", "enum": ["untrusted"]},
        "notice": {"type": "string"},
    });
    fields.as_object().cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests;
