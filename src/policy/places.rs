//! Where rules give their reasons. The engine does not say which of several rules has put an entry into a set, but an
//! entry names its rule, and its words are those of one of the places that do.

use std::collections::BTreeMap;

use serde_json::Value;

/// Places of entries by the name of the rule that they give.
#[derive(Debug, Default)]
pub(super) struct Places(BTreeMap<String, Vec<Place>>);

#[derive(Debug)]
struct Place {
    /// `file:line`.
    at: String,
    /// What its message says whatever the input is, in order; `None` where it is made up otherwise.
    words: Option<Vec<String>>,
}

impl Places {
    /// Reads the engine's JSON form of all modules.
    pub(super) fn read(tree: &str) -> Self {
        let mut places = Self::default();
        let modules: Vec<Value> = serde_json::from_str(tree).unwrap_or_default();
        for module in &modules {
            let file = module.pointer("/source/file").and_then(Value::as_str).unwrap_or_default();
            let rules = module.pointer("/ast/rules").and_then(Value::as_array);
            for rule in rules.into_iter().flatten() {
                places.add(file, rule);
            }
        }
        places
    }

    /// The place of the entry that names `rule` and says `message`, as `file:line`; empty where none is known.
    pub(super) fn of(&self, rule: &str, message: &str) -> String {
        let places = self.0.get(rule).map(Vec::as_slice).unwrap_or_default();
        let says = |place: &&Place| place.words.as_ref().is_some_and(|words| holds(message, words));
        let found = places.iter().find(says);
        let found = found.or_else(|| places.iter().find(|place| place.words.is_none()));
        found.or(places.first()).map(|place| place.at.clone()).unwrap_or_default()
    }

    fn add(&mut self, file: &str, rule: &Value) -> Option<()> {
        let head = rule.pointer("/Spec/head/Set")?;
        let line = head.pointer("/span/line")?.as_u64()?;
        let fields = head.pointer("/key/Object/fields")?.as_array()?;
        let field = |name: &str| {
            fields.iter().find_map(|field| {
                let field = field.as_array()?;
                (text(field.get(1)?)? == name).then(|| field.get(2)).flatten()
            })
        };
        let name = text(field("rule")?)?;
        let place = Place { at: format!("{file}:{line}"), words: field("message").and_then(words) };
        self.0.entry(name.to_owned()).or_default().push(place);
        Some(())
    }
}

/// What a message says whatever the input is: a literal, or the format of a `sprintf`.
fn words(message: &Value) -> Option<Vec<String>> {
    if let Some(literal) = text(message) {
        return Some(vec![literal.to_owned()]);
    }
    let call = message.get("Call")?;
    let function = call.pointer("/fcn/Var/value")?.as_str()?;
    let format = text(call.pointer("/params/0")?).filter(|_| function == "sprintf")?;
    let mut parts = format.split('%').map(str::to_owned);
    let first = parts.next().into_iter();
    // What follows a `%` begins with its verb.
    Some(first.chain(parts.map(|part| part.chars().skip(1).collect())).collect())
}

/// Whether `message` holds `words` in this order, beginning with the first and ending with the last.
fn holds(message: &str, words: &[String]) -> bool {
    let [first, between @ .., last] = words else {
        return words.first().is_some_and(|only| only == message);
    };
    let Some(mut rest) =
        message.strip_prefix(first.as_str()).and_then(|rest| rest.strip_suffix(last.as_str()))
    else {
        return false;
    };
    between.iter().all(|word| match rest.split_once(word.as_str()) {
        Some((_, behind)) => {
            rest = behind;
            true
        }
        None => false,
    })
}

fn text(node: &Value) -> Option<&str> {
    let literal = node.get("String").or_else(|| node.get("RawString"))?;
    literal.get("value")?.as_str()
}
