//! What is wrong with a configuration, and where.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A configuration that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is not there, or may not be read.
    #[error("configuration `{}` can't be read", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// Something in the file is wrong.
    #[error("{place}: {what}; {allowed}")]
    Invalid {
        /// Where.
        place: Place,
        /// What is wrong.
        what: String,
        /// What would be right.
        allowed: String,
    },
}

/// A place in a file, counted from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: PathBuf,
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file.display(), self.line, self.column)
    }
}

/// A file's text, for turning spans into places.
#[derive(Debug)]
pub(super) struct Document<'a> {
    pub(super) path: &'a Path,
    pub(super) text: &'a str,
}

impl Document<'_> {
    /// An error at `span`.
    pub(super) fn refuse(
        &self,
        span: Range<usize>,
        what: impl Into<String>,
        allowed: impl Into<String>,
    ) -> ConfigError {
        ConfigError::Invalid { place: self.place(span.start), what: what.into(), allowed: allowed.into() }
    }

    /// What the TOML reader refused, in our words where it is about keys.
    pub(super) fn refuse_toml(&self, error: &toml::de::Error) -> ConfigError {
        let (what, allowed) = explain(error.message());
        self.refuse(error.span().unwrap_or(0..0), what, allowed)
    }

    fn place(&self, offset: usize) -> Place {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line = before.matches('\n').count().saturating_add(1);
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count().saturating_add(1);
        Place { file: self.path.to_owned(), line, column }
    }
}

/// Splits serde's message into what is wrong and what is allowed. Serde puts names in backticks.
fn explain(message: &str) -> (String, String) {
    let message = message.trim();
    let mut names = message.split('`').skip(1).step_by(2);
    if let Some(rest) = message.strip_prefix("unknown field") {
        let key = names.next().unwrap_or_default();
        let known: Vec<&str> = names.collect();
        let suggestion =
            nearest(key, &known).map(|name| format!("did you mean `{name}`? ")).unwrap_or_default();
        let allowed = if known.is_empty() { rest.to_owned() } else { known.join(", ") };
        return (format!("unknown key `{key}`"), format!("{suggestion}allowed here: {allowed}"));
    }
    if message.starts_with("missing field") {
        let key = names.next().unwrap_or_default();
        return (format!("key `{key}` is missing"), format!("add `{key} = ...`"));
    }
    if message.starts_with("unknown variant") {
        let value = names.next().unwrap_or_default();
        let known: Vec<String> = names.map(|name| format!("\"{name}\"")).collect();
        return (format!("unknown value \"{value}\""), format!("allowed here: {}", known.join(", ")));
    }
    if let Some((what, expected)) = message.rsplit_once(", expected ") {
        return (what.to_owned(), format!("expected {expected}"));
    }
    (message.to_owned(), "see the configuration reference in README.md".to_owned())
}

/// The known name that is most like `name`, if any is like it at all.
pub(super) fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    known
        .iter()
        .map(|candidate| (distance(name, candidate), *candidate))
        .min()
        .filter(|(distance, candidate)| *distance <= candidate.chars().count().div_ceil(3))
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's distance, in characters.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (line, a) in left.chars().enumerate() {
        let mut diagonal = line;
        let mut previous = line.saturating_add(1);
        if let Some(first) = row.first_mut() {
            *first = previous;
        }
        for (cell, b) in row.iter_mut().skip(1).zip(&right) {
            let above = *cell;
            let cost = diagonal.saturating_add(usize::from(a != *b));
            *cell = cost.min(above.saturating_add(1)).min(previous.saturating_add(1));
            diagonal = above;
            previous = *cell;
        }
    }
    row.last().copied().unwrap_or_default()
}
