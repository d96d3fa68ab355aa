//! What of a COPY keeps its lines from being looked through.

use pg_query::NodeEnum;
use pg_query::protobuf::CopyStmt;

use super::super::Refusal;
use crate::sql::Item;

/// Refuses a COPY whose delimiter, quote or escape is a letter or digit: a value between two of them looks like part of
/// a longer word.
///
/// # Errors
/// When it is one.
pub fn check_copy(item: &Item) -> Result<(), Refusal> {
    match item.tree.stmt.as_deref().and_then(|node| node.node.as_ref()) {
        Some(NodeEnum::CopyStmt(copy)) if !copy.is_from => check(copy),
        _ => Ok(()),
    }
}

fn check(copy: &CopyStmt) -> Result<(), Refusal> {
    for option in &copy.options {
        let Some(NodeEnum::DefElem(option)) = &option.node else { continue };
        let argument = option.arg.as_deref().and_then(|argument| argument.node.as_ref());
        let Some(NodeEnum::String(text)) = argument else { continue };
        let name = option.defname.as_str();
        if matches!(name, "delimiter" | "quote" | "escape") && text.sval.chars().any(char::is_alphanumeric) {
            return Err(Refusal {
                what: format!(
                    "COPY with `{}` as {name} can't be looked through for what you may not see",
                    text.sval
                ),
                hint: "take a sign that is no letter and no digit".to_owned(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Snapshot;
    use crate::sql::{Statement, analyze};

    #[test]
    fn no_letter_or_digit_stands_between_values() {
        let catalog = Snapshot::new(1, 150_000, Vec::new(), Vec::new(), Vec::new());
        for (options, passes) in [
            ("", true),
            ("(FORMAT csv, DELIMITER ';', QUOTE '~', ESCAPE '|', NULL 'none', HEADER)", true),
            ("(FORMAT csv, DELIMITER 'x')", false),
            ("(FORMAT csv, QUOTE '1')", false),
            ("CSV ESCAPE AS '7'", false),
            ("DELIMITER 'X'", false),
        ] {
            let text = format!("COPY (SELECT 1) TO STDOUT {options}");
            let statement = Statement::new(text.as_bytes(), Statement::AGENT_CAP).unwrap();
            let analysis = analyze(&statement, &catalog).unwrap();
            assert_eq!(check_copy(&analysis.items()[0]).is_ok(), passes, "{options}");
        }
    }
}
