//! Arrays between PostgreSQL's text form, `{1,NULL,"a b"}`, and JSON.
//!
//! An array whose subscripts don't begin at 1 (`[0:1]={1,2}`) has no JSON form that says so: it stays text.

use serde_json::Value;

/// `text` as a JSON array, in which `element` reads what is not NULL; `None` where it is no array, or one that JSON
/// can't say.
pub(super) fn read(text: &str, element: &dyn Fn(&str) -> Value) -> Option<Value> {
    let mut reader = Reader { rest: text, element };
    let value = reader.array(MOST_DIMENSIONS)?;
    reader.rest.is_empty().then_some(value)
}

struct Reader<'a> {
    rest: &'a str,
    element: &'a dyn Fn(&str) -> Value,
}

impl Reader<'_> {
    fn take(&mut self, wanted: char) -> Option<()> {
        self.rest = self.rest.strip_prefix(wanted)?;
        Some(())
    }

    fn array(&mut self, dimensions: u8) -> Option<Value> {
        let inner = dimensions.checked_sub(1)?;
        self.take('{')?;
        let mut items = Vec::new();
        if self.take('}').is_some() {
            return Some(Value::Array(items));
        }
        loop {
            items.push(match self.rest.chars().next()? {
                '{' => self.array(inner)?,
                '"' => self.quoted()?,
                _ => self.plain()?,
            });
            match self.take('}') {
                Some(()) => return Some(Value::Array(items)),
                None => self.take(',')?,
            }
        }
    }

    fn quoted(&mut self) -> Option<Value> {
        self.take('"')?;
        let mut text = String::new();
        let mut characters = self.rest.char_indices();
        loop {
            match characters.next()? {
                (at, '"') => {
                    self.rest = self.rest.get(at.saturating_add(1)..)?;
                    return Some((self.element)(&text));
                }
                (_, '\\') => text.push(characters.next()?.1),
                (_, other) => text.push(other),
            }
        }
    }

    fn plain(&mut self) -> Option<Value> {
        let end = self.rest.find(['}', ','])?;
        let (text, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest;
        match text {
            "NULL" => Some(Value::Null),
            text => Some((self.element)(text)),
        }
    }
}

/// A JSON array as PostgreSQL reads one: every element quoted, so that none is taken for NULL or for a brace.
///
/// Objects, and arrays in which not every element is an array of the same length, are no dimensions: they stand as
/// JSON text, which is what an array of documents holds.
pub(in super::super) fn write(items: &[Value], documents: bool) -> String {
    let mut text = String::from("{");
    let nested = !documents && is_rectangular(items);
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        match item {
            Value::Null => text.push_str("NULL"),
            Value::Array(inner) if nested => text.push_str(&write(inner, documents)),
            Value::String(inner) if !documents => quote(inner, &mut text),
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
                quote(&item.to_string(), &mut text);
            }
        }
    }
    text.push('}');
    text
}

fn is_rectangular(items: &[Value]) -> bool {
    let mut lengths = items.iter().map(|item| item.as_array().map(Vec::len));
    match lengths.next() {
        Some(Some(first)) => lengths.all(|length| length == Some(first)),
        Some(None) | None => false,
    }
}

fn quote(text: &str, into: &mut String) {
    into.push('"');
    for character in text.chars() {
        if matches!(character, '"' | '\\') {
            into.push('\\');
        }
        into.push(character);
    }
    into.push('"');
}

/// PostgreSQL's `MAXDIM`.
const MOST_DIMENSIONS: u8 = 6;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn texts(text: &str) -> Option<Value> {
        read(text, &|element| json!(element))
    }

    #[test]
    fn elements_are_told_from_null_braces_and_commas() {
        let text = r#"{a,NULL,"NULL","","a,b","{x}","say \"hi\"","back\\slash",ä}"#;
        let expected = json!(["a", null, "NULL", "", "a,b", "{x}", "say \"hi\"", "back\\slash", "ä"]);
        assert_eq!(texts(text), Some(expected));
        assert_eq!(texts("{}"), Some(json!([])));
        assert_eq!(texts("{{1,2},{3,NULL}}"), Some(json!([["1", "2"], ["3", null]])));
    }

    #[test]
    fn what_json_cannot_say_or_is_no_array_is_left_to_the_caller() {
        for text in ["[0:1]={1,2}", "", "{", "{1", "{1,2}x", "{\"a}", "{{{{{{{1}}}}}}}", "1,2", "{1,,2"] {
            assert_eq!(texts(text), None, "{text}");
        }
    }

    #[test]
    fn json_arrays_become_literals_whatever_their_elements_hold() {
        assert_eq!(write(&[json!(1), json!(null), json!("NULL")], false), r#"{"1",NULL,"NULL"}"#);
        assert_eq!(write(&[json!([1, 2]), json!([3, 4])], false), r#"{{"1","2"},{"3","4"}}"#);
        assert_eq!(write(&[json!({"a": 1})], false), r#"{"{\"a\":1}"}"#);
        assert_eq!(write(&[json!([1]), json!("x")], true), r#"{"[1]","\"x\""}"#);
        assert_eq!(write(&[], false), "{}");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(items in proptest::collection::vec(proptest::option::of(".*"), 0..8)) {
            let items: Vec<Value> = items.into_iter().map(|item| json!(item)).collect();
            prop_assert_eq!(texts(&write(&items, false)), Some(Value::Array(items)));
        }

        #[test]
        fn nothing_that_a_server_may_send_is_too_much(text in "[{}\",\\\\NUL1 ]{0,60}") {
            let _ = texts(&text);
        }
    }
}
