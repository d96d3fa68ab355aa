//! The one place that prints.

use std::fmt::{Display, Write as _};
use std::io::{self, IsTerminal as _, Write as _};

use serde::Serialize;

/// Standard output for results, standard error for what is said about them.
#[derive(Debug, Default)]
pub(super) struct Output {}

impl Output {
    /// A result line. Untrusted parts of it must have gone through [`visible`].
    pub(super) fn line(&mut self, text: impl Display) -> io::Result<()> {
        writeln!(io::stdout().lock(), "{text}")
    }

    /// A result as one line of JSON.
    pub(super) fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        let mut out = io::stdout().lock();
        serde_json::to_writer(&mut out, value)?;
        out.write_all(b"\n")
    }

    /// A result as bytes.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        io::stdout().lock().write_all(bytes)
    }

    /// Something about the result, for the person who looks on.
    pub(super) fn remark(&mut self, text: impl Display) -> io::Result<()> {
        writeln!(io::stderr().lock(), "{text}")
    }

    /// How far long work is, on one line that is written over; nothing where nobody looks on. An empty text ends it.
    pub(super) fn progress(&mut self, text: impl Display) -> io::Result<()> {
        let mut err = io::stderr().lock();
        if !err.is_terminal() {
            return Ok(());
        }
        write!(err, "\r{:<40}\r", text.to_string())?;
        err.flush()
    }

    /// An error with its causes. There is nobody left to tell if this fails.
    pub(super) fn complain(&mut self, error: &anyhow::Error) {
        let said: String = error.chain().map(ToString::to_string).collect::<Vec<_>>().join(": ");
        drop(writeln!(io::stderr().lock(), "portcullis: {}", visible(&said)));
    }
}

/// Columns as wide as they must be, two spaces between them. The last one is not padded.
#[derive(Debug)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with `heads`.
    pub(super) fn new(heads: &[&str]) -> Self {
        Self { rows: vec![heads.iter().map(|head| (*head).to_owned()).collect()] }
    }

    /// Adds a row. Cells become one visible line each.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| one_line(&cell)).collect());
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for (index, row) in self.rows.iter().enumerate() {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                write!(line, "{cell:width$}  ")?;
            }
            let end = if index.saturating_add(1) == self.rows.len() { "" } else { "\n" };
            write!(f, "{}{end}", line.trim_end())?;
        }
        Ok(())
    }
}

/// `text` with everything that a terminal would obey, or that would hide what it says, made visible: control
/// characters but line breaks and tabs, and the marks that reorder or vanish. A statement that waits for an
/// approver must not be able to paint over itself.
pub(super) fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for char in text.chars() {
        let plain = matches!(char, '\n' | '\t') || !(char.is_control() || is_invisible(char));
        if plain {
            shown.push(char);
        } else {
            shown.extend(char.escape_unicode());
        }
    }
    shown
}

/// `text` as [`visible`], in one line.
pub(super) fn one_line(text: &str) -> String {
    visible(&text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// At most `length` characters of `text`, with an ellipsis where some are missing.
pub(super) fn cut(text: &str, length: usize) -> String {
    if text.chars().count() <= length {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(length.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// Unicode's marks for direction, joining and variation, which show nothing themselves.
fn is_invisible(char: char) -> bool {
    matches!(u32::from(char),
        0x00ad | 0x034f | 0x061c | 0x115f..=0x1160 | 0x17b4..=0x17b5 | 0x180b..=0x180f | 0x200b..=0x200f
        | 0x2028..=0x202e | 0x2060..=0x206f | 0x3164 | 0xfe00..=0xfe0f | 0xfeff | 0xffa0 | 0xfff0..=0xfff8
        | 0xe0000..=0xe0fff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_can_not_paint_over_itself() {
        assert_eq!(visible("SELECT 1;\n\tx"), "SELECT 1;\n\tx");
        assert_eq!(visible("DROP\u{1b}[2K\rSELECT"), "DROP\\u{1b}[2K\\u{d}SELECT");
        assert_eq!(visible("a\u{202e}b\u{200b}c\u{e0041}"), "a\\u{202e}b\\u{200b}c\\u{e0041}");
        assert_eq!(visible("Zoë 東京"), "Zoë 東京");
        assert_eq!(one_line("a\n  b\u{9b}31m"), "a b\\u{9b}31m");
    }

    #[test]
    fn tables_line_up_and_long_texts_are_cut() {
        let mut table = Table::new(&["ID", "WHAT"]);
        table.row(["7".into(), "two\nlines".into()]);
        table.row(["12345".into(), "x".into()]);
        assert_eq!(table.to_string(), "ID     WHAT\n7      two lines\n12345  x");
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(cut("äöü", 3), "äöü");
    }
}
