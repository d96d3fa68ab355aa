//! What the suite wants to be answered, kept as data in `answers.json`.

use std::collections::BTreeMap;

use rmcp::model::{ErrorData, Tool};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::rounds::Rounds;

/// All of `answers.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Answers {
    tools: Vec<Value>,
    resources: Vec<Value>,
    contents: Vec<Value>,
    resource_templates: Vec<Value>,
    prompts: Vec<Value>,
    messages: BTreeMap<String, Value>,
    /// What a tool asks its client while it runs, before 2026-07-28.
    pub(crate) asks: BTreeMap<String, Ask>,
    /// What a tool or prompt has to be told before it answers, since 2026-07-28.
    pub(crate) rounds: BTreeMap<String, Rounds>,
}

/// A request to the client, and how its answer is told.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ask {
    pub(crate) method: String,
    pub(crate) params: Value,
    pub(crate) says: String,
}

impl Answers {
    /// Reads the file that belongs to this program.
    pub(crate) fn read() -> serde_json::Result<Self> {
        serde_json::from_str(include_str!("answers.json"))
    }

    /// One page of everything called `what`.
    pub(crate) fn list<T: DeserializeOwned>(&self, what: &str) -> Result<T, ErrorData> {
        let items = match what {
            "tools" => self.tools.iter().map(tool).collect(),
            "resources" => self.resources.clone(),
            "resourceTemplates" => self.resource_templates.clone(),
            _ => self.prompts.clone(),
        };
        complete(json!({ (what): items, "ttlMs": 1000, "cacheScope": "private" }))
    }

    /// One tool.
    pub(crate) fn tool(&self, name: &str) -> Option<Tool> {
        typed(tool(self.tools.iter().find(|tool| is(tool, "name", name))?)).ok()
    }

    /// What a tool always answers with.
    pub(crate) fn result(&self, name: &str) -> Option<&Value> {
        self.tools.iter().find(|tool| is(tool, "name", name))?.get("result")
    }

    /// What is at `uri`.
    pub(crate) fn contents(&self, uri: &str) -> Option<Value> {
        if let Some(contents) = self.contents.iter().find(|contents| is(contents, "uri", uri)) {
            return Some(contents.clone());
        }
        let id = uri.strip_prefix("test://template/")?.strip_suffix("/data")?;
        let data = json!({ "id": id, "templateTest": true, "data": format!("Data for ID: {id}") });
        Some(json!({ "uri": uri, "mimeType": "application/json", "text": data.to_string() }))
    }

    /// The messages of a prompt, with `arguments` put in.
    pub(crate) fn messages(&self, prompt: &str, arguments: &Map<String, Value>) -> Option<Value> {
        Some(json!({ "messages": filled(self.messages.get(prompt)?, arguments) }))
    }
}

/// `value` as a result that is one's last word.
pub(crate) fn complete<T: DeserializeOwned>(mut value: Value) -> Result<T, ErrorData> {
    if let Some(fields) = value.as_object_mut() {
        fields.insert("resultType".to_owned(), json!("complete"));
    }
    typed(value)
}

/// `value` as a type of the protocol.
pub(crate) fn typed<T: DeserializeOwned>(value: Value) -> Result<T, ErrorData> {
    serde_json::from_value(value).map_err(|error| ErrorData::internal_error(error.to_string(), None))
}

/// `value` with each `{name}` in its texts replaced by that argument.
pub(crate) fn filled(value: &Value, arguments: &Map<String, Value>) -> Value {
    match value {
        Value::String(text) => {
            let replace = |text: String, (name, value): (&String, &Value)| {
                text.replace(&format!("{{{name}}}"), value.as_str().unwrap_or_default())
            };
            Value::String(arguments.iter().fold(text.clone(), replace))
        }
        Value::Array(items) => items.iter().map(|item| filled(item, arguments)).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| (name.clone(), filled(value, arguments))).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

/// A tool as it is listed: with a schema, and without its answer.
fn tool(entry: &Value) -> Value {
    let mut tool = entry.clone();
    if let Some(fields) = tool.as_object_mut() {
        fields.remove("result");
        fields.entry("inputSchema").or_insert_with(|| json!({ "type": "object", "properties": {} }));
    }
    tool
}

fn is(entry: &Value, field: &str, text: &str) -> bool {
    entry.get(field).is_some_and(|value| value == text)
}
