//! JSON documents, as far as nothing of them is lost on the way through a parser.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// The document in `text`; `None` where a digit, or one of two equal keys, would be lost, and where it nests too deep.
pub(super) fn read(text: &str) -> Option<Value> {
    if has_long_number(text) {
        return None;
    }
    serde_json::from_str::<Document>(text).ok().map(|document| document.0)
}

/// A document in which no object has a key twice: PostgreSQL's `json` keeps both, and a map one.
struct Document(Value);

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader).map(Self)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON document without repeated keys")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut all = Vec::new();
        while let Some(Document(item)) = items.next_element()? {
            all.push(item);
        }
        Ok(Value::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut all = Map::new();
        while let Some((name, Document(value))) = fields.next_entry::<String, _>()? {
            if all.insert(name, value).is_some() {
                return Err(A::Error::custom("a key is there twice"));
            }
        }
        Ok(Value::Object(all))
    }
}

/// Whether a JSON text holds a number that would lose digits on the way through a double.
fn has_long_number(text: &str) -> bool {
    let mut digits = 0_u32;
    let mut in_string = false;
    let mut escaped = false;
    for byte in text.bytes() {
        if in_string {
            in_string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'0'..=b'9' => digits = digits.saturating_add(1),
            b'e' | b'E' if digits > 0 => return true,
            b'.' => {}
            _ => digits = 0,
        }
        if digits > EXACT_DIGITS {
            return true;
        }
    }
    false
}

/// So many decimal digits always survive a double.
const EXACT_DIGITS: u32 = 15;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn documents_are_parsed_unless_something_would_be_lost() {
        let text = r#"{"a": [1, 0.5, true, null, "12345678901234567890"], "b": {"a": "\u00e4"}}"#;
        assert_eq!(
            read(text),
            Some(json!({"a": [1, 0.5, true, null, "12345678901234567890"], "b": {"a": "ä"}}))
        );
        for text in [
            "{\"a\": 12345678901234567890}",
            "[0.1234567890123456789]",
            "1e400",
            "\"\\\"1e5",
            r#"{"a": 1, "a": 2}"#,
            r#"[{"a": 1, "\u0061": 2}]"#,
            "",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(read(&"[".repeat(100_000)), None);
    }
}
