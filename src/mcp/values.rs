//! Values of results: PostgreSQL's text form as JSON, without losing a digit, and without what can't be seen.
//!
//! What JSON can say exactly is JSON: booleans, numbers that a double holds, documents, arrays. All else is text as
//! PostgreSQL prints it, so that it can be passed back as a parameter: `numeric` and long integers, ranges, intervals
//! (ISO 8601), composites. Times are ISO 8601.

pub(super) mod arrays;
mod documents;
mod types;

use std::borrow::Cow;

use serde_json::{Number, Value};

use super::text;
pub(super) use types::Kind;
use types::Shape;

/// The columns of a result, and which of them held what had to be made visible.
#[derive(Debug, Default)]
pub(super) struct Cells {
    kinds: Vec<Kind>,
    neutralised: Vec<bool>,
}

impl Cells {
    /// Columns of these types, in order.
    pub(super) fn new(kinds: Vec<Kind>) -> Self {
        let neutralised = vec![false; kinds.len()];
        Self { kinds, neutralised }
    }

    /// One row.
    pub(super) fn row(&mut self, row: &[Option<String>]) -> Vec<Value> {
        let columns = self.kinds.iter().zip(&mut self.neutralised);
        let cell = |((kind, neutralised), cell): ((&Kind, &mut bool), &Option<String>)| match cell {
            None => Value::Null,
            Some(text) => {
                let (value, changed) = visible(from_text(&kind.shape, text), text);
                *neutralised |= changed;
                value
            }
        };
        columns.zip(row).map(cell).collect()
    }

    /// Whether a value of column `index` is not as the database has it, because characters in it are written as
    /// `\u{...}`.
    pub(super) fn is_neutralised(&self, index: usize) -> bool {
        self.neutralised.get(index).copied().unwrap_or(false)
    }
}

/// A value of a result, by its type.
fn from_text(shape: &Shape, text: &str) -> Value {
    let exact = match shape {
        Shape::Boolean => match text {
            "t" => Some(Value::Bool(true)),
            "f" => Some(Value::Bool(false)),
            _ => None,
        },
        Shape::Integer => {
            text.parse::<i64>().ok().filter(|value| value.unsigned_abs() <= MAX_SAFE).map(Value::from)
        }
        Shape::Float => {
            let float = text.parse::<f64>().ok().filter(|value| value.abs() < EXACT_LIMIT);
            float.and_then(Number::from_f64).map(Value::Number)
        }
        Shape::Document => documents::read(text),
        Shape::Time => iso_8601(text).map(Value::String),
        Shape::Array(element) => arrays::read(text, &|text| from_text(element, text)),
        Shape::Bytes | Shape::Text => None,
    };
    exact.unwrap_or_else(|| Value::String(text.to_owned()))
}

/// `value` with every text in it made visible, and whether anything was changed. Where two keys of a document would
/// become one, all of it is its `text`.
fn visible(value: Value, text: &str) -> (Value, bool) {
    if !text::hides_something(text) && !text.contains("\\u") {
        return (value, false);
    }
    let mut changed = false;
    let shown = shown(value, &mut changed).unwrap_or_else(|| Value::String(text::visible(text).into_owned()));
    (shown, changed)
}

fn shown(value: Value, changed: &mut bool) -> Option<Value> {
    Some(match value {
        Value::String(text) => Value::String(word(text, changed)),
        Value::Array(items) => {
            Value::Array(items.into_iter().map(|item| shown(item, changed)).collect::<Option<_>>()?)
        }
        Value::Object(fields) => {
            let count = fields.len();
            let mut renamed = serde_json::Map::new();
            for (name, value) in fields {
                renamed.insert(word(name, changed), shown(value, changed)?);
            }
            return (renamed.len() == count).then_some(Value::Object(renamed));
        }
        plain @ (Value::Null | Value::Bool(_) | Value::Number(_)) => plain,
    })
}

fn word(text: String, changed: &mut bool) -> String {
    match text::visible(&text) {
        Cow::Borrowed(_) => text,
        Cow::Owned(other) => {
            *changed = true;
            other
        }
    }
}

/// A time as PostgreSQL's `ISO` style prints it, as ISO 8601 writes it: `2026-01-02T03:04:05+00:00`. `None` for what
/// that has no words for: infinities, years before 1 or beyond 9999, offsets with seconds.
fn iso_8601(text: &str) -> Option<String> {
    let (date, time) = match text.split_once(' ') {
        Some((date, time)) => (Some(date), time),
        None => (None, text),
    };
    let digits = |text: &str, form: &str| {
        text.len() == form.len()
            && text.bytes().zip(form.bytes()).all(|(is, wanted)| match wanted {
                b'0' => is.is_ascii_digit(),
                other => is == other,
            })
    };
    if !date.is_none_or(|date| digits(date, "0000-00-00")) {
        return None;
    }
    let (clock, offset) = match time.find(['+', '-']) {
        Some(at) => time.split_at_checked(at)?,
        None => (time, ""),
    };
    let (seconds, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    if !digits(seconds, "00:00:00") || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let minutes = match offset.get(1..) {
        None => "",
        Some(hours) if digits(hours, "00") => ":00",
        Some(exact) if digits(exact, "00:00") => "",
        Some(_) => return None,
    };
    let date = date.map(|date| format!("{date}T")).unwrap_or_default();
    Some(format!("{date}{time}{minutes}"))
}

/// 2^53: longer numbers are text both ways, so that none is taken for an integer that has lost digits.
pub(super) const EXACT_LIMIT: f64 = 9_007_199_254_740_992.0;
/// 2^53 - 1, JavaScript's `MAX_SAFE_INTEGER`.
const MAX_SAFE: u64 = 9_007_199_254_740_991;

#[cfg(test)]
mod tests;
