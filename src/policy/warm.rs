//! A first decision of each point before a rulebook is in force: it pays for what is prepared on first use, and finds
//! rules that don't end.

use serde_json::{Map, Value, json};

use super::Snapshot;
use super::vocabulary::input_schemas;

impl Snapshot {
    /// Asks each decision point once, about an input in which everything is empty.
    ///
    /// # Errors
    /// Names the decision point whose rules don't end, or crash. That they decline such an input is no error.
    pub fn warm(&self) -> Result<(), String> {
        for (package, schema) in input_schemas() {
            let Some(point) = package.strip_prefix("portcullis.") else { continue };
            let input = example(schema, schema, MAX_DEPTH);
            match self.ask(point, &input) {
                Err(error) if FATAL.iter().any(|word| error.to_string().contains(word)) => {
                    return Err(format!("`{package}` can't decide: {error}"));
                }
                Ok(_) | Err(_) => {}
            }
        }
        Ok(())
    }
}

/// An input of the decision point `package` in which everything is there and empty; `null` if there is no such point.
pub(super) fn empty_input(package: &str) -> Value {
    let schema = input_schemas().find(|(point, _)| *point == package).map(|(_, schema)| schema);
    schema.map_or(Value::Null, |schema| example(schema, schema, MAX_DEPTH))
}

/// The emptiest value that a JSON Schema describes.
fn example(root: &Value, schema: &Value, depth: usize) -> Value {
    let Some(below) = depth.checked_sub(1) else { return Value::Null };
    if let Some(to) = schema.get("$ref").and_then(Value::as_str).and_then(|to| to.strip_prefix('#')) {
        return example(root, root.pointer(to).unwrap_or(&Value::Null), below);
    }
    if let Some(first) = schema.get("enum").and_then(|values| values.get(0)).or_else(|| schema.get("const")) {
        return first.clone();
    }
    let choices = ["anyOf", "oneOf"].iter().find_map(|word| schema.get(word)?.get(0));
    if let Some(choice) = choices {
        return example(root, choice, below);
    }
    let kind = schema.get("type");
    match kind.and_then(|kind| kind.as_str().or_else(|| kind.get(0)?.as_str())) {
        Some("object") => {
            let fields = schema.get("properties").and_then(Value::as_object);
            let empty = |(name, field): (&String, &Value)| (name.clone(), example(root, field, below));
            Value::Object(
                fields.map(|fields| fields.iter().map(empty).collect::<Map<_, _>>()).unwrap_or_default(),
            )
        }
        Some("array") => json!([]),
        Some("string") => json!(""),
        Some("integer" | "number") => json!(0),
        Some("boolean") => json!(false),
        _ => Value::Null,
    }
}

/// What the engine says of rules that don't end, and we of an engine that crashed.
const FATAL: [&str; 2] = ["time limit", "panicked"];

const MAX_DEPTH: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_example_has_every_field_of_its_schema() {
        for (package, schema) in input_schemas() {
            let input = example(schema, schema, MAX_DEPTH);
            let wanted = schema.pointer("/properties").unwrap().as_object().unwrap();
            for name in wanted.keys() {
                assert!(input.get(name).is_some(), "{package}: {name}");
            }
        }
    }
}
