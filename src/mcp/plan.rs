//! The database's plan for a statement, as far as it tells nothing that its caller may not know: numbers, and the
//! relations that the statement itself names.

use serde_json::{Map, Value, json};

use crate::sql::Facts;
use crate::sql::facts::TableFact;

use super::text;

/// What `EXPLAIN (FORMAT JSON)` printed, cut down; `None` where it is no such plan.
pub(super) fn of(printed: &str, facts: &Facts) -> Option<Value> {
    let printed: Value = serde_json::from_str(printed).ok()?;
    let root = printed.get(0)?.get("Plan")?;
    let mut scans = Vec::new();
    collect(root, facts, &mut scans);
    let more = scans.len() > MOST_SCANS;
    scans.truncate(MOST_SCANS);
    let mut plan = Map::new();
    plan.insert("estimated_rows".to_owned(), number(root, "Plan Rows"));
    plan.insert("estimated_cost".to_owned(), number(root, "Total Cost"));
    if let Some(ran) = root.get("Actual Rows") {
        plan.insert("actual_rows".to_owned(), ran.clone());
        let top = |name: &str| printed.get(0).map_or(Value::Null, |all| number(all, name));
        plan.insert("planning_ms".to_owned(), top("Planning Time"));
        plan.insert("execution_ms".to_owned(), top("Execution Time"));
    }
    plan.insert("scans".to_owned(), Value::Array(scans));
    if more {
        plan.insert("truncated".to_owned(), json!(true));
    }
    if let Some(hint) = hint(root, facts) {
        plan.insert("hint".to_owned(), json!(hint));
    }
    Some(Value::Object(plan))
}

/// Every node that reads a relation, outermost first.
fn collect(node: &Value, facts: &Facts, scans: &mut Vec<Value>) {
    if let Some(name) = node.get("Relation Name").and_then(Value::as_str)
        && scans.len() <= MOST_SCANS
    {
        let mut scan = Map::new();
        // What a view reads is the view's own business, and its indexes are too.
        if let Some(table) = named(facts, name) {
            scan.insert("table".to_owned(), json!(text::name(table.key.as_str())));
            if let Some(index) = node.get("Index Name").and_then(Value::as_str) {
                scan.insert("index".to_owned(), json!(text::name(index)));
            }
        }
        scan.insert("how".to_owned(), json!(kind(node)));
        scan.insert("estimated_rows".to_owned(), number(node, "Plan Rows"));
        for (from, to) in [("Actual Rows", "actual_rows"), ("Actual Loops", "loops")] {
            if let Some(value) = node.get(from).filter(|value| value.is_number()) {
                scan.insert(to.to_owned(), value.clone());
            }
        }
        scans.push(Value::Object(scan));
    }
    for inner in node.get("Plans").and_then(Value::as_array).into_iter().flatten() {
        collect(inner, facts, scans);
    }
}

fn hint(node: &Value, facts: &Facts) -> Option<String> {
    let here = node.get("Relation Name").and_then(Value::as_str).and_then(|name| named(facts, name));
    if kind(node) == "Seq Scan"
        && node.get("Filter").is_some()
        && let Some(table) = here.filter(|table| table.row_estimate >= MANY_ROWS)
    {
        return Some(format!(
            "it reads all of `{}` (about {} rows) and keeps a part: filter on an indexed column if there is one",
            text::name(table.key.as_str()),
            table.row_estimate
        ));
    }
    let inner = node.get("Plans").and_then(Value::as_array);
    inner.into_iter().flatten().find_map(|inner| hint(inner, facts))
}

/// The relation of this name that the statement itself names.
fn named<'a>(facts: &'a Facts, name: &str) -> Option<&'a TableFact> {
    facts.tables.iter().find(|table| table.name == name && table.via_view.is_empty())
}

/// A node's kind, which is one of PostgreSQL's words.
fn kind(node: &Value) -> &str {
    let kind = node.get("Node Type").and_then(Value::as_str).unwrap_or_default();
    let is_word = kind.chars().all(|character| character.is_ascii_alphabetic() || character == ' ');
    if is_word { kind } else { "" }
}

fn number(node: &Value, name: &str) -> Value {
    node.get(name).filter(|value| value.is_number()).cloned().unwrap_or(Value::Null)
}

const MOST_SCANS: usize = 20;
/// From here on a scan of a whole table is worth a word.
const MANY_ROWS: i64 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(tables: Value) -> Facts {
        let mut all = serde_json::to_value(Facts::empty()).unwrap();
        all["tables"] = tables;
        serde_json::from_value(all).unwrap()
    }

    fn table(name: &str, via_view: &str) -> Value {
        json!({"key": format!("public.{name}"), "schema": "public", "name": name, "kind": "table", "access": "read",
            "system": false, "via_view": via_view, "columns_read": [], "columns_filtered": [], "columns_written": [],
            "tags": [], "tags_read": [], "tags_written": [], "row_estimate": 50_000, "has_triggers": false,
            "has_rules": false})
    }

    #[test]
    fn a_plan_names_what_the_statement_names_and_nothing_else() {
        let scan = |name: &str| {
            json!({"Node Type": "Seq Scan", "Relation Name": name, "Plan Rows": 7, "Total Cost": 1.5,
                "Filter": "(secret = 'x')", "Index Name": "ix", "Output": ["secret"], "Rows Removed by Filter": 9})
        };
        let join = json!([{"Plan": {"Node Type": "Hash Join", "Plan Rows": 5, "Total Cost": 12.5,
            "Hash Cond": "(a.secret = b.secret)", "Plans": [scan("orders"), scan("hidden")]}}]);
        let facts = facts(json!([table("orders", ""), table("hidden", "public.v")]));
        let plan = of(&join.to_string(), &facts).unwrap();
        assert_eq!((&plan["estimated_rows"], &plan["estimated_cost"]), (&json!(5), &json!(12.5)));
        assert_eq!(plan["scans"][0]["table"], "public.orders");
        assert_eq!(plan["scans"][1], json!({"how": "Seq Scan", "estimated_rows": 7}));
        assert!(plan["hint"].as_str().unwrap().contains("public.orders"));
        let text = plan.to_string();
        assert!(!text.contains("secret") && !text.contains("hidden") && !text.contains("Removed"), "{text}");
    }

    #[test]
    fn what_is_no_plan_is_none() {
        for text in ["", "{}", "[]", "[{\"Plan\": 1}", "Seq Scan on t"] {
            assert_eq!(of(text, &facts(json!([]))), None, "{text}");
        }
    }
}
