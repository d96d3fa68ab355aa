//! Coverage in words and as a document.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::policy::coverage::Coverage;

use super::super::output::Output;

/// Every file with lines that nothing came to, and the sum.
pub(super) fn tell(coverage: &Coverage, output: &mut Output) -> std::io::Result<()> {
    for (path, lines) in coverage.files().filter(|(_, lines)| !lines.not_covered.is_empty()) {
        let missed = ranges(&lines.not_covered);
        let missed: Vec<String> = missed.into_iter().map(|(first, last)| range(first, last)).collect();
        output.line(format_args!("not covered  {path}: {}", missed.join(", ")))?;
    }
    output.line(format_args!("coverage {:.1} %", coverage.percent()))
}

/// `{"percent", "files": {path: {"percent", "covered": [[first, last]], "not_covered": [[first, last]]}}}`.
pub(super) fn document(coverage: &Coverage) -> Value {
    let files = coverage.files().map(|(path, lines)| {
        let lines = json!({
            "percent": lines.percent(), "covered": ranges(&lines.covered),
            "not_covered": ranges(&lines.not_covered),
        });
        (path.to_owned(), lines)
    });
    json!({ "percent": coverage.percent(), "files": files.collect::<Map<_, _>>() })
}

/// Lines that follow each other, as first and last.
fn ranges(lines: &BTreeSet<usize>) -> Vec<(usize, usize)> {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for line in lines {
        match ranges.last_mut() {
            Some((_, last)) if last.saturating_add(1) == *line => *last = *line,
            _ => ranges.push((*line, *line)),
        }
    }
    ranges
}

fn range(first: usize, last: usize) -> String {
    if first == last { first.to_string() } else { format!("{first}-{last}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_follow_each_other_are_one_range() {
        assert_eq!(ranges(&BTreeSet::from([1, 2, 3, 5, 7, 8])), [(1, 3), (5, 5), (7, 8)]);
        assert_eq!(ranges(&BTreeSet::new()), []);
        assert_eq!((range(1, 3), range(5, 5)), ("1-3".to_owned(), "5".to_owned()));
    }
}
