//! The tools as clients see them: names, annotations, who is offered them, and schemas that strict clients accept.
//!
//! Input schemas are made from the very types that arguments are read into. Output schemas are written by
//! hand: one envelope, of which only `status` and `decision_id` are required, so that a denial fits it too.
//! They declare every field that is ever sent, in as few words as that takes: clients pay for the list in tokens.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use rmcp::model::{JsonObject, Tool, ToolAnnotations};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::rights::{Needs, Rights};
use super::tools::{access, approvals, check, execute, query, search};

/// What is offered to whom. Whatever the identity lacks is not listed, and calling it is calling nothing.
static OFFERS: LazyLock<Vec<Offer>> = LazyLock::new(|| {
    vec![
        offer::<approvals::StatusArguments>(
            approvals::STATUS,
            Nature::Reads,
            Needs::Nothing,
            approvals::status_fields(),
        ),
        offer::<check::Arguments>(check::TOOL, Nature::Reads, Needs::Nothing, check::fields()),
        offer::<execute::Arguments>(execute::TOOL, Nature::Changes, Needs::Writing, execute::fields()),
        offer::<access::Arguments>(access::TOOL, Nature::Reads, Needs::Nothing, access::fields()),
        offer::<query::Arguments>(query::TOOL, Nature::Reads, Needs::Nothing, query::fields()),
        // Reads may have to be approved too, so who may only read needs it as well.
        offer::<approvals::RunArguments>(
            approvals::RUN,
            Nature::ChangesOnce,
            Needs::Nothing,
            approvals::run_fields(),
        ),
        offer::<search::Arguments>(search::TOOL, Nature::Reads, Needs::Nothing, search::fields()),
    ]
});

/// The tools that are offered to whoever has `rights`, by name.
pub(super) fn offered(rights: &Rights) -> Vec<&'static Tool> {
    OFFERS.iter().filter(|offer| rights.cover(offer.needs)).map(|offer| &offer.tool).collect()
}

/// One tool, whoever it is offered to.
pub(super) fn named(name: &str) -> Option<&'static Tool> {
    entry(name).map(|offer| &offer.tool)
}

/// What one must have to be offered the tool `name`; `None` if there is no such tool.
pub(super) fn needs(name: &str) -> Option<Needs> {
    entry(name).map(|offer| offer.needs)
}

fn entry(name: &str) -> Option<&'static Offer> {
    OFFERS.iter().find(|offer| offer.tool.name == name)
}

/// The schema of `params`: values for `$1`, `$2`, ... in order.
pub(super) fn parameters(_: &mut SchemaGenerator) -> Schema {
    let kinds = ["string", "number", "boolean", "null", "array"].map(|kind| json!({ "type": kind }));
    let mut schema = Schema::default();
    schema.insert("type".to_owned(), json!("array"));
    schema.insert("items".to_owned(), json!({ "anyOf": kinds }));
    schema
}

/// The schemas of fields that need no more than a type: each type, a colon, and the names of its fields.
pub(super) fn plain(fields: &str) -> Value {
    let mut kind = json!({});
    let mut declared = Map::new();
    for word in fields.split_whitespace() {
        match word.strip_suffix(':') {
            Some(name) => kind = json!({ "type": name }),
            None => drop(declared.insert(word.to_owned(), kind.clone())),
        }
    }
    Value::Object(declared)
}

/// A tool, and who is offered it.
#[derive(Debug)]
struct Offer {
    tool: Tool,
    needs: Needs,
}

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

fn offer<A: JsonSchema>(words: Words, nature: Nature, needs: Needs, fields: Value) -> Offer {
    let annotations = ToolAnnotations::new().open_world(false);
    let annotations = match nature {
        Nature::Reads => annotations.read_only(true).destructive(false),
        Nature::Changes => annotations.read_only(false).destructive(true).idempotent(false),
        Nature::ChangesOnce => annotations.read_only(false).destructive(true).idempotent(true),
    };
    let tool = Tool::new(words.name, Cow::Borrowed(words.description), input::<A>())
        .with_title(words.title)
        .with_raw_output_schema(output(fields))
        .with_annotations(annotations);
    Offer { tool, needs }
}

fn input<A: JsonSchema>() -> Arc<JsonObject> {
    let mut settings = SchemaSettings::draft2020_12();
    settings.inline_subschemas = true;
    settings.meta_schema = None;
    let mut schema = settings.into_generator().into_root_schema_for::<A>().to_value();
    make_portable(&mut schema);
    let mut schema = schema.as_object().cloned().unwrap_or_default();
    // The words of the tool say it better.
    schema.remove("description");
    Arc::new(schema)
}

/// Takes out what strict clients stumble over, `title`s of Rust types and formats that only Rust knows, and what tells
/// nobody anything. The names of properties are left alone.
fn make_portable(schema: &mut Value) {
    let Some(object) = schema.as_object_mut() else { return };
    object.remove("title");
    object.remove("format");
    object.retain(|keyword, value| match keyword.as_str() {
        "default" => value != "" && value != &json!([]) && value != &json!(0),
        "minimum" => value != &json!(0),
        _ => true,
    });
    if let Some(properties) = object.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(make_portable);
    }
    if let Some(items) = object.get_mut("items") {
        make_portable(items);
    }
}

fn output(fields: Value) -> Arc<JsonObject> {
    let mut properties = envelope();
    extend(&mut properties, fields);
    let schema = json!({"type": "object", "properties": properties, "required": ["status", "decision_id"]});
    Arc::new(schema.as_object().cloned().unwrap_or_default())
}

/// The fields that any tool may answer with.
fn envelope() -> Value {
    plain("string: status decision_id guidance object: denial error")
}

/// Adds the members of `more` to `fields`.
pub(super) fn extend(fields: &mut Value, more: Value) {
    if let (Some(fields), Value::Object(more)) = (fields.as_object_mut(), more) {
        fields.extend(more);
    }
}

#[cfg(test)]
mod tests;
