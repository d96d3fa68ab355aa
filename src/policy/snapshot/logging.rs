//! What a rulebook keeps out of decision logs: OPA's `data.system.log.mask` and `data.system.log.drop`.

use serde::Deserialize;
use serde_json::Value;

use super::Snapshot;

/// What is done to an event before it is sent.
#[derive(Debug, Clone, PartialEq)]
pub enum Editing {
    /// It is not sent.
    Drop,
    /// These are carried out, one after the other.
    Mask(Vec<Edit>),
}

/// One change to an event.
#[derive(Debug, Clone, PartialEq)]
pub struct Edit {
    /// A JSON pointer into the event, below `/input` or `/result`.
    pub path: String,
    /// What stands there instead; `None` removes it.
    pub value: Option<Value>,
}

/// An entry of `mask`, as OPA has it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Pointer(String),
    Operation {
        op: Operation,
        path: String,
        #[serde(default)]
        value: Value,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Operation {
    Remove,
    Upsert,
}

impl Snapshot {
    /// What the rulebook does to `event`, an event of a decision log. Without a package `system.log`, nothing.
    ///
    /// # Errors
    /// When it can't say: then nobody may see what the event holds.
    pub fn edits(&self, event: &Value) -> Result<Editing, String> {
        let said = self.ask("log", event).map_err(|error| error.to_string())?;
        let of = |name: &str| said.get(name).and_then(|values| values.get(0));
        match of("drop") {
            None | Some(Value::Bool(false)) => {}
            Some(Value::Bool(true)) => return Ok(Editing::Drop),
            Some(other) => return Err(format!("`system.log.drop` is `{other}` instead of a boolean")),
        }
        let entries = of("mask").cloned().unwrap_or_else(|| Value::Array(Vec::new()));
        let entries: Vec<Written> = serde_json::from_value(entries).map_err(|error| {
            format!("`system.log.mask` holds neither a pointer nor {{\"op\", \"path\", \"value\"}}: {error}")
        })?;
        let edits = entries.into_iter().map(|entry| {
            let (path, value) = match entry {
                Written::Pointer(path) | Written::Operation { op: Operation::Remove, path, .. } => {
                    (path, None)
                }
                Written::Operation { op: Operation::Upsert, path, value } => (path, Some(value)),
            };
            let below = ["/input", "/result"].into_iter().filter_map(|part| path.strip_prefix(part));
            let fits = below.into_iter().any(|rest| rest.is_empty() || rest.starts_with('/'));
            if fits {
                Ok(Edit { path, value })
            } else {
                Err(format!(
                    "`system.log.mask` names `{path}`, which is neither below `/input` nor below `/result`"
                ))
            }
        });
        edits.collect::<Result<_, _>>().map(Editing::Mask)
    }
}
