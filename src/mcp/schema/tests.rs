use crate::gate::Opening;

use super::*;

/// Walks a schema, and calls `look` with every subschema and where it stands.
fn walk(schema: &Value, path: &str, look: &mut impl FnMut(&Value, &str)) {
    look(schema, path);
    for (name, part) in schema["properties"].as_object().into_iter().flatten() {
        walk(part, &format!("{path}.{name}"), look);
    }
    if let Some(items) = schema.get("items") {
        walk(items, &format!("{path}[]"), look);
    }
    for part in schema["anyOf"].as_array().into_iter().flatten() {
        walk(part, &format!("{path}|"), look);
    }
}

/// Everything that anybody is offered.
fn all() -> Vec<&'static Tool> {
    OFFERS.iter().map(|offer| &offer.tool).collect()
}

fn names(read_only: bool) -> Vec<&'static str> {
    let opening = Opening { database: "shop".to_owned(), read_only };
    offered(&Rights { openings: vec![opening] }).iter().map(|tool| tool.name.as_ref()).collect()
}

#[test]
fn whoever_may_write_is_offered_all_tools_in_order() {
    let expected =
        ["approval_status", "check_sql", "execute", "my_access", "query", "run_approved", "search_schema"];
    assert_eq!(names(false), expected);
    assert!(named("query").is_some() && named("QUERY").is_none());
}

#[test]
fn whoever_may_only_read_is_not_offered_what_writes() {
    let expected = ["approval_status", "check_sql", "my_access", "query", "run_approved", "search_schema"];
    assert_eq!(names(true), expected);
    assert_eq!(needs("execute"), Some(Needs::Writing));
    assert_eq!(needs("drop_table"), None);
}

#[test]
fn strict_clients_accept_every_schema() {
    for tool in all() {
        let input = Value::Object((*tool.input_schema).clone());
        assert_eq!(input["additionalProperties"], false, "{}", tool.name);
        let output = Value::Object((**tool.output_schema.as_ref().unwrap()).clone());
        assert_eq!(output["required"], json!(["status", "decision_id"]), "{}", tool.name);
        for schema in [input, output] {
            walk(&schema, &tool.name, &mut |part, path| {
                assert!(part.is_object(), "{path} is {part}");
                let kinds = ["string", "integer", "number", "boolean", "object", "array", "null"];
                let is_plain = part["type"].as_str().is_some_and(|kind| kinds.contains(&kind));
                assert!(is_plain || part.get("anyOf").is_some(), "{path} has no plain type: {part}");
                for unportable in ["format", "$ref", "title", "oneOf", "$schema"] {
                    assert!(part.get(unportable).is_none(), "{path} has {unportable}");
                }
            });
        }
    }
}

#[test]
fn every_argument_is_described_and_what_is_required_has_no_default() {
    for tool in all() {
        let input = Value::Object((*tool.input_schema).clone());
        let required = input["required"].as_array().cloned().unwrap_or_default();
        for (name, argument) in input["properties"].as_object().into_iter().flatten() {
            assert!(argument["description"].is_string(), "{}.{name}", tool.name);
            let is_required = required.contains(&json!(name));
            assert!(!is_required || argument.get("default").is_none(), "{}.{name}", tool.name);
        }
    }
}

#[test]
fn hosts_are_told_which_tools_change_something() {
    for tool in all() {
        let hints = tool.annotations.as_ref().unwrap();
        let changes = ["execute", "run_approved"].contains(&tool.name.as_ref());
        assert_eq!(hints.read_only_hint, Some(!changes), "{}", tool.name);
        assert_eq!(hints.destructive_hint, Some(changes), "{}", tool.name);
        assert_eq!(hints.open_world_hint, Some(false), "{}", tool.name);
        assert!(tool.title.is_some(), "{}", tool.name);
    }
}

#[test]
fn the_whole_list_costs_a_model_little() {
    let size = serde_json::to_string(&all()).unwrap().len();
    let tokens = size.div_ceil(BYTES_A_TOKEN);
    println!("the list of all tools: {size} bytes, about {tokens} tokens");
    for tool in all() {
        println!("{:>6} bytes: {}", serde_json::to_string(tool).unwrap().len(), tool.name);
    }
    assert!(tokens <= MOST_TOKENS, "{tokens} tokens");
}

/// What one token comes to in text of this sort: counted once with the vocabulary `o200k` it was 4.1 bytes.
const BYTES_A_TOKEN: usize = 4;
const MOST_TOKENS: usize = 3000;
