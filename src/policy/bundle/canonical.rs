//! JSON in the one form that OPA hashes: keys in order, no spaces, strings as Go writes them, numbers as they were written.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt::Write as _;

use serde_json::value::RawValue;

/// A document that keeps the text of its numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    Object(BTreeMap<String, Self>),
    Array(Vec<Self>),
    Text(String),
    /// A number, `true`, `false` or `null`, as written.
    Word(String),
}

impl Node {
    /// Reads one document. Of two fields of one name the last counts, as for every reader of it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let raw: &RawValue = serde_json::from_str(text).map_err(|error| error.to_string())?;
        Self::read(raw, MAX_DEPTH)
    }

    fn read(raw: &RawValue, depth: usize) -> Result<Self, String> {
        let below = depth.checked_sub(1).ok_or_else(|| format!("is nested deeper than {MAX_DEPTH}"))?;
        let text = raw.get();
        let wrong = |error: serde_json::Error| error.to_string();
        Ok(match text.as_bytes().first() {
            Some(b'{') => {
                let fields: BTreeMap<String, &RawValue> = serde_json::from_str(text).map_err(wrong)?;
                let read = |(name, raw)| Self::read(raw, below).map(|node| (name, node));
                Self::Object(fields.into_iter().map(read).collect::<Result<_, _>>()?)
            }
            Some(b'[') => {
                let items: Vec<&RawValue> = serde_json::from_str(text).map_err(wrong)?;
                Self::Array(items.into_iter().map(|raw| Self::read(raw, below)).collect::<Result<_, _>>()?)
            }
            Some(b'"') => Self::Text(serde_json::from_str(text).map_err(wrong)?),
            _ => Self::Word(text.to_owned()),
        })
    }

    /// Adds what `other` holds, object by object. Gives the path of what both hold.
    pub(super) fn merge(&mut self, other: Self) -> Result<(), String> {
        let (Self::Object(into), Self::Object(from)) = (self, other) else {
            return Err(String::new());
        };
        for (name, node) in from {
            match into.entry(name) {
                Entry::Vacant(place) => drop(place.insert(node)),
                Entry::Occupied(mut there) => {
                    let name = there.key().clone();
                    there.get_mut().merge(node).map_err(|below| format!(".{name}{below}"))?;
                }
            }
        }
        Ok(())
    }

    /// The canonical text.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        self.write(&mut text);
        text
    }

    fn write(&self, into: &mut String) {
        match self {
            Self::Object(fields) => {
                into.push('{');
                for (at, (name, node)) in fields.iter().enumerate() {
                    if at > 0 {
                        into.push(',');
                    }
                    quote(name, into);
                    into.push(':');
                    node.write(into);
                }
                into.push('}');
            }
            Self::Array(items) => {
                into.push('[');
                for (at, node) in items.iter().enumerate() {
                    if at > 0 {
                        into.push(',');
                    }
                    node.write(into);
                }
                into.push(']');
            }
            Self::Text(text) => quote(text, into),
            Self::Word(word) => into.push_str(word),
        }
    }
}

/// A string as Go's `encoding/json` writes it without its escapes for HTML.
fn quote(text: &str, into: &mut String) {
    into.push('"');
    for letter in text.chars() {
        match letter {
            '"' => into.push_str("\\\""),
            '\\' => into.push_str("\\\\"),
            '\n' => into.push_str("\\n"),
            '\r' => into.push_str("\\r"),
            '\t' => into.push_str("\\t"),
            '\u{8}' => into.push_str("\\b"),
            '\u{c}' => into.push_str("\\f"),
            // Writing to a string can't fail.
            '\0'..='\u{1f}' | '\u{2028}' | '\u{2029}' => {
                write!(into, "\\u{:04x}", u32::from(letter)).unwrap_or_default();
            }
            _ => into.push(letter),
        }
    }
    into.push('"');
}

/// Deeper documents are refused: each level is read once more than the one above it.
const MAX_DEPTH: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> String {
        Node::parse(text).unwrap().text()
    }

    #[test]
    fn fields_are_in_order_and_numbers_are_as_written() {
        assert_eq!(
            canonical(
                "{ \"b\" : [1.0, 1e3, -0, 123456789012345678901234567890 ], \"a\":{\"z\":null,\"A\":true} }"
            ),
            "{\"a\":{\"A\":true,\"z\":null},\"b\":[1.0,1e3,-0,123456789012345678901234567890]}"
        );
        assert_eq!(canonical("{\"a\": 1, \"a\": 2}"), "{\"a\":2}");
        assert_eq!(canonical(" \"x\" "), "\"x\"");
    }

    #[test]
    fn strings_are_written_as_go_writes_them() {
        assert_eq!(canonical(r#""<a href='x'>&\u00e9\/""#), "\"<a href='x'>&é/\"");
        assert_eq!(canonical(r#""\b\f\n\r\t\u0001\u007f\"\\""#), "\"\\b\\f\\n\\r\\t\\u0001\u{7f}\\\"\\\\\"");
        assert_eq!(canonical("\"\u{2028}\u{1f600}\""), "\"\\u2028\u{1f600}\"");
    }

    #[test]
    fn what_is_no_document_is_refused() {
        for text in ["", "{", "[1,]", "{} {}", "01", "\"\\ud800\""] {
            assert!(Node::parse(text).is_err(), "{text}");
        }
        let deep = "[".repeat(1000) + &"]".repeat(1000);
        assert_eq!(Node::parse(&deep).unwrap_err(), "is nested deeper than 64");
    }
}
