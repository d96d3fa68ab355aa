//! Results of tests as JUnit's XML: a suite a file, a case a test.

use std::fmt::Write as _;

use super::test::{Run, Timed};

/// The whole document.
pub(super) fn document(run: &Run) -> String {
    let mut files: Vec<&str> = run.tests.iter().map(|test| test.result.file.as_str()).collect();
    files.extend(run.todo.iter().map(|test| test.file.as_str()));
    files.sort_unstable();
    files.dedup();
    let mut xml = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n".to_owned();
    for file in files {
        suite(run, file, &mut xml);
    }
    if let Some(missed) = run.missed() {
        let what = format!("coverage is {missed:.1} %, below {:.1} %", run.threshold.unwrap_or(0.0));
        xml.push_str("  <testsuite name=\"coverage\" tests=\"1\" failures=\"1\">\n");
        xml.push_str("    <testcase classname=\"coverage\" name=\"threshold\">\n");
        put(&mut xml, &format!("      <failure message=\"{}\"/>\n", escaped(&what)));
        xml.push_str("    </testcase>\n  </testsuite>\n");
    }
    xml.push_str("</testsuites>\n");
    xml
}

fn suite(run: &Run, file: &str, xml: &mut String) {
    let tests: Vec<&Timed> = run.tests.iter().filter(|test| test.result.file == file).collect();
    let todo: Vec<_> = run.todo.iter().filter(|test| test.file == file).collect();
    let failed = tests.iter().filter(|test| !test.result.passed).count();
    let head = format!(
        "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{failed}\" skipped=\"{}\" time=\"{}\">\n",
        escaped(file),
        tests.len() + todo.len(),
        todo.len(),
        seconds(tests.iter().map(|test| test.micros).sum()),
    );
    put(xml, &head);
    for Timed { result, micros } in tests {
        let case = case(&result.name, file, result.line);
        put(xml, &format!("    <testcase {case} time=\"{}\">\n", seconds(*micros)));
        if !result.passed {
            let line = result.failed_line.unwrap_or(result.line);
            let place = format!("{file}:{line}: {}", result.detail);
            put(xml, &format!("      <failure message=\"{}\"/>\n", escaped(&place)));
        }
        if !result.prints.is_empty() {
            let prints = escaped(&result.prints.join("\n"));
            put(xml, &format!("      <system-out>{prints}</system-out>\n"));
        }
        xml.push_str("    </testcase>\n");
    }
    for test in todo {
        put(xml, &format!("    <testcase {}><skipped/></testcase>\n", case(&test.name, file, test.line)));
    }
    xml.push_str("  </testsuite>\n");
}

fn case(name: &str, file: &str, line: usize) -> String {
    let (package, rule) = name.rsplit_once('.').unwrap_or(("", name));
    format!(
        "classname=\"{}\" name=\"{}\" file=\"{}\" line=\"{line}\"",
        escaped(package),
        escaped(rule),
        escaped(file)
    )
}

fn put(xml: &mut String, text: &str) {
    // Writing to a string can't fail.
    xml.write_str(text).unwrap_or_default();
}

fn seconds(micros: u64) -> String {
    format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

/// `text` for an attribute or an element. Characters that XML has no way to hold are left out.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' => escaped.push_str("&#10;"),
            '\t' => escaped.push('\t'),
            _ if char.is_control() => {}
            _ => escaped.push(char),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_can_not_leave_its_attribute() {
        assert_eq!(escaped("a\"><x y='&'\u{1b}[2K\n"), "a&quot;&gt;&lt;x y='&amp;'[2K&#10;");
        assert_eq!(seconds(1_234_567), "1.234567");
    }
}
