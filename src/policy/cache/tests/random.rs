//! Rulebooks that are made up: whatever they read of whatever input, what is remembered is what would be decided.

use super::*;

/// A condition on one field of the input, held against the value that it has in one of two asks.
#[derive(Debug, Clone)]
struct Condition {
    path: &'static str,
    value: Value,
    form: usize,
}

impl Condition {
    fn text(&self) -> String {
        let Self { path, value, form } = self;
        match (form, path.rsplit_once('.')) {
            (0, _) => format!("input.{path} == {value}"),
            (1, _) => format!("not input.{path} == {value}"),
            (2, _) => format!("same(input.{path}, {value})"),
            (3, _) => format!("json.marshal(input.{path}) == json.marshal({value})"),
            (4, _) => format!("input.{path} in [{value}]"),
            (5, Some((parent, last))) if !last.contains(']') => {
                format!("{{ part := input.{parent}; part.{last} == {value} }}")
            }
            _ => format!("input.{path} != {value}"),
        }
    }

    /// In the body of a rule; a part that is given a name stands there by itself.
    fn lines(&self) -> String {
        self.text().trim_start_matches("{ ").trim_end_matches(" }").replace("; ", "\n\t")
    }
}

/// The value at `path` of an ask's input.
fn value_at(ask: &Ask, path: &str) -> Value {
    let input = serde_json::to_value(ask.input()).unwrap();
    let pointer = path
        .replace("[\"", ".")
        .replace("\"]", "")
        .split('.')
        .fold(String::new(), |all, part| format!("{all}/{}", part.replace('/', "~1")));
    input.pointer(&pointer).unwrap_or_else(|| panic!("{path}")).clone()
}

fn condition() -> impl Strategy<Value = Condition> {
    (prop::sample::select(&FIELDS[..]), any::<bool>(), 0..7_usize).prop_map(
        |((path, _), from_other, form)| {
            let ask = if from_other { other() } else { plain() };
            Condition { path, value: value_at(&ask, path), form }
        },
    )
}

fn rule() -> impl Strategy<Value = String> {
    let heads = [
        "allow",
        "deny contains {\"rule\": \"d\", \"message\": sprintf(\"%v\", [input.PATH]), \"hint\": \"\"}",
        "limit contains {\"rows\": 7}",
        "label contains \"l\"",
        "alert contains {\"rule\": \"a\", \"message\": sprintf(\"%v\", [input.PATH]), \"hint\": \"\"}",
        "mask contains {\"relation\": \"public.t\", \"column\": \"id\", \"type\": \"null\"}",
        "oblige contains \"end_session\"",
    ];
    (prop::sample::select(heads.to_vec()), prop::collection::vec(condition(), 1..3)).prop_map(
        |(head, conditions)| {
            let head = head.replace("PATH", conditions[0].path);
            let body: Vec<String> = conditions.iter().map(Condition::lines).collect();
            // One name stands for one part only.
            let body = match body.iter().filter(|lines| lines.contains("part :=")).count() {
                0 | 1 => body,
                _ => body[..1].to_vec(),
            };
            format!("{head} if {{\n\t{}\n}}\n", body.join("\n\t"))
        },
    )
}

/// One ask, each of whose fields is that of one of two. What is in every key is rarely the other's: asks must meet in
/// memory.
fn ask() -> impl Strategy<Value = Ask> {
    prop::collection::vec(0..32_u8, FIELDS.len()).prop_map(|choices| {
        let (mut ask, from) = (plain(), other());
        for ((path, change), choice) in FIELDS.iter().zip(choices) {
            if choice < if ALWAYS.contains(path) { 1 } else { 16 } {
                change(&mut ask, &from);
            }
        }
        ask
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_remembered_is_what_would_be_decided(
        rules in prop::collection::vec(rule(), 1..6),
        asks in prop::collection::vec(ask(), 40),
    ) {
        let rules = format!("default allow := false\nsame(a, b) if a == b\nused if same(1, 1)\nallow if {{ used\n false }}\n{}", rules.join(""));
        hold_to(&rulebook(&rules), &asks, &rules);
    }
}
