//! Facts and times as people say them.

use jiff::Timestamp;
use serde_json::Value;

use crate::sql::Facts;
use crate::sql::facts::{Access, TableFact};

/// What the statements of a request would do, a sentence each; none where the facts can't be read.
pub(super) fn facts(document: &Value) -> Vec<String> {
    let statements =
        document.get("statements").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let facts = statements.iter().filter_map(|facts| serde_json::from_value::<Facts>(facts.clone()).ok());
    facts.flat_map(|facts| sentences(&facts)).collect()
}

/// `2026-11-20 10:15:03 UTC`.
pub(super) fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// How far `at` is from `now`: `in 4 min`, `2 h ago`.
pub(super) fn distance(at: Timestamp, now: Timestamp) -> String {
    let seconds = at.as_second().saturating_sub(now.as_second());
    let amount = match seconds.unsigned_abs() {
        seconds @ 0..=119 => format!("{seconds} s"),
        seconds @ 120..=7199 => format!("{} min", seconds / 60),
        seconds @ 7200..=172_799 => format!("{} h", seconds / 3600),
        seconds => format!("{} days", seconds / 86_400),
    };
    if seconds < 0 { format!("{amount} ago") } else { format!("in {amount}") }
}

/// `1 line, 33 bytes`: so that a statement that goes on far below is noticed.
pub(super) fn extent(text: &str) -> String {
    let lines = text.lines().count().max(1);
    let word = if lines == 1 { "line" } else { "lines" };
    format!("{lines} {word}, {} bytes", text.len())
}

fn sentences(facts: &Facts) -> Vec<String> {
    let mut sentences: Vec<String> = facts.tables.iter().filter(|table| !table.system).map(touches).collect();
    if facts.tables.iter().any(|table| matches!(table.access, Access::Update | Access::Delete)) {
        sentences.push(condition(facts));
    }
    for table in facts.tables.iter().filter(|table| table.access != Access::Read) {
        if table.has_triggers || table.has_rules {
            sentences.push(format!(
                "{} has triggers or rules, which may do more than the statement says.",
                table.key
            ));
        }
    }
    for function in &facts.functions {
        if function.security_definer {
            sentences.push(format!("It calls {}, which runs with its owner's rights.", function.key));
        } else if !function.builtin {
            sentences.push(format!("It calls {}, which is not PostgreSQL's own.", function.key));
        }
    }
    if facts.explain_analyze {
        sentences.push("EXPLAIN ANALYZE runs the statement that it explains.".to_owned());
    }
    sentences
}

fn touches(table: &TableFact) -> String {
    let key = &table.key;
    let columns = |columns: &[String]| match columns {
        [] => String::new(),
        columns => format!(" ({})", columns.join(", ")),
    };
    let rows = match table.row_estimate {
        0.. => format!(", which has about {} rows", grouped(table.row_estimate)),
        _ => String::new(),
    };
    match table.access {
        Access::Read => format!("It reads {key}{}{rows}.", columns(&table.columns_read)),
        Access::Insert => format!("It adds rows to {key}{}{rows}.", columns(&table.columns_written)),
        Access::Update => format!("It changes rows of {key}{}{rows}.", columns(&table.columns_written)),
        Access::Delete => format!("It removes rows of {key}{rows}."),
        Access::Define => format!("It changes the definition of {key}, or rights on it."),
        Access::Maintain => format!("It locks or maintains {key}."),
    }
}

fn condition(facts: &Facts) -> String {
    let condition = &facts.condition;
    match (condition.present, condition.tautology) {
        (false, _) => "There is no WHERE: it touches every row.".to_owned(),
        (true, true) => "Its WHERE holds for every row.".to_owned(),
        (true, false) if condition.columns.is_empty() => "Its WHERE names no column.".to_owned(),
        (true, false) => format!("Its WHERE picks rows by {}.", condition.columns.join(", ")),
    }
}

/// `100,000`.
fn grouped(number: i64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_times_and_extents_read_well() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let at = |seconds: i64| distance(Timestamp::from_second(1_800_000_000 + seconds).unwrap(), now);
        assert_eq!(
            [at(90), at(300), at(-7200), at(-200_000)],
            ["in 90 s", "in 5 min", "2 h ago", "2 days ago"]
        );
        assert_eq!(time(now), "2027-01-15 08:00:00 UTC");
        assert_eq!((extent("a\nb"), extent("")), ("2 lines, 3 bytes".into(), "1 line, 0 bytes".into()));
    }

    #[test]
    fn a_delete_without_where_is_said_plainly() {
        let mut facts = Facts::empty();
        facts.tables.push(TableFact {
            key: crate::catalog::RelationKey::new("public", "orders"),
            schema: "public".into(),
            name: "orders".into(),
            kind: crate::catalog::RelationKind::Table,
            access: Access::Delete,
            system: false,
            via_view: String::new(),
            columns_read: Vec::new(),
            columns_filtered: Vec::new(),
            columns_written: Vec::new(),
            tags: Vec::new(),
            tags_read: Vec::new(),
            tags_written: Vec::new(),
            row_estimate: 100_000,
            has_triggers: true,
            has_rules: false,
        });
        assert_eq!(
            self::facts(&serde_json::json!({ "statements": [facts] })),
            [
                "It removes rows of public.orders, which has about 100,000 rows.",
                "There is no WHERE: it touches every row.",
                "public.orders has triggers or rules, which may do more than the statement says.",
            ]
        );
        assert!(self::facts(&Value::Null).is_empty());
    }
}
