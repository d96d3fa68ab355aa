//! Where a data file's document stands below `data`.

use serde_json::{Map, Value};

use super::load::{AGENTS, ANSWER, error};
use super::snapshot::{RulebookError, Source};
use super::vocabulary::ROOT;

/// Puts the document of `source` where its path says: `data/DIR/NAME.json` of the rulebook's folder at
/// `data.DIR.NAME`; `DIR/data.json`, as OPA does, merged into `data.DIR`.
pub(super) fn place(data: &mut Map<String, Value>, source: &Source) -> Result<(), RulebookError> {
    let wrong = |what: String| error(source, 0, what);
    let (folders, mut document) = read(source)?;
    for folder in folders.iter().rev() {
        document = Value::Object(Map::from_iter([((*folder).to_owned(), document)]));
    }
    let Value::Object(fields) = document else {
        return Err(wrong(
            "this file is merged into `data`, so it holds an object: `{\"NAME\": ...}`".to_owned(),
        ));
    };
    if let Some(reserved) = fields.keys().find(|root| RESERVED_ROOTS.contains(&root.as_str())) {
        return Err(wrong(format!("`data.{reserved}` can't be a document: {RESERVED}")));
    }
    merge(data, fields, "data").map_err(|twice| wrong(format!("`{twice}` is in another data file already")))
}

/// The document of `source`, and the names below `data` that lead to it.
pub(super) fn read(source: &Source) -> Result<(Vec<&str>, Value), RulebookError> {
    let path = place_of(source).ok_or_else(|| error(source, 0, misplaced(source).to_owned()))?;
    let value = serde_json::from_str(&source.text)
        .map_err(|problem| error(source, problem.line(), problem.to_string()))?;
    Ok((path, value))
}

/// What may not grant has documents of its own: one more entry in a list that rules go by would be a grant too.
pub(super) fn apart(sources: &[&Source]) -> Result<(), RulebookError> {
    let roots = |source: &Source| -> Vec<String> {
        match read(source) {
            Ok((folders, document)) => match (folders.first(), document) {
                (Some(root), _) => vec![(*root).to_owned()],
                (None, Value::Object(fields)) => fields.into_iter().map(|(name, _)| name).collect(),
                (None, _) => Vec::new(),
            },
            Err(_) => Vec::new(),
        }
    };
    let documents = || sources.iter().filter(|source| source.path.ends_with(".json"));
    if documents().all(|source| source.grants) {
        return Ok(());
    }
    let granted: Vec<String> =
        documents().filter(|source| source.grants).flat_map(|source| roots(source)).collect();
    for source in documents().filter(|source| !source.grants) {
        if let Some(root) = roots(source).iter().find(|root| granted.contains(root)) {
            return Err(error(
                source,
                0,
                format!(
                    "`data.{root}` belongs to the rulebook, and this bundle may not grant: choose another name"
                ),
            ));
        }
    }
    Ok(())
}

/// The names below `data` that lead to a file's document; `None` where it has no place.
fn place_of(source: &Source) -> Option<Vec<&str>> {
    let path = source.path.strip_suffix(".json")?;
    if let Some(own) = path.strip_prefix("data/").filter(|_| source.bundle.is_empty()) {
        let names: Vec<&str> = own.split('/').collect();
        return names.iter().all(|name| is_identifier(name)).then_some(names);
    }
    if path == "data" {
        return Some(Vec::new());
    }
    let names: Vec<&str> = path.strip_suffix("/data")?.split('/').collect();
    names.iter().all(|name| !name.is_empty() && !matches!(*name, "." | "..")).then_some(names)
}

fn misplaced(source: &Source) -> &'static str {
    match source.bundle.as_str() {
        "" => {
            "a data file is `data/NAME.json`, read as `data.NAME` (names are made of a-z, 0-9 and `_`), \
             or `DIR/data.json`, read as `data.DIR`"
        }
        _ => "a bundle's data file is `DIR/data.json`, read as `data.DIR`, or `data.json`",
    }
}

/// Adds what `from` holds to `into`, object by object. Gives the path of what both hold.
fn merge(into: &mut Map<String, Value>, from: Map<String, Value>, at: &str) -> Result<(), String> {
    for (name, value) in from {
        let below = format!("{at}.{name}");
        match (into.get_mut(&name), value) {
            (None, value) => drop(into.insert(name, value)),
            (Some(Value::Object(there)), Value::Object(value)) => merge(there, value, &below)?,
            (Some(_), _) => return Err(below),
        }
    }
    Ok(())
}

fn is_identifier(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|byte| byte.is_ascii_lowercase() || byte == b'_')
        && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

/// Data roots that no data file may take. Data beside rules would silently win over them.
const RESERVED_ROOTS: &[&str] = &[AGENTS, ROOT, ANSWER, "system"];
const RESERVED: &str =
    "`data.agents`, `data.portcullis` and `data.system` belong to the gateway: choose another name";

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(files: &[(&str, &str, &str)]) -> Result<Value, String> {
        let mut data = Map::new();
        for (bundle, path, text) in files {
            let source = Source { bundle: (*bundle).to_owned(), grants: false, ..Source::file(*path, *text) };
            place(&mut data, &source).map_err(|error| error.to_string())?;
        }
        Ok(Value::Object(data))
    }

    #[test]
    fn files_stand_where_their_folders_say() {
        let files = [
            ("", "data/lists.json", "[1]"),
            ("", "data/org/teams.json", "{\"a\": 1}"),
            ("", "org/data.json", "{\"people\": {\"b\": 2}}"),
            ("", "data.json", "{\"org\": {\"c\": 3}}"),
            ("central", "data/tags/data.json", "{\"d\": 4}"),
        ];
        let all = serde_json::json!({
            "lists": [1],
            "org": {"teams": {"a": 1}, "people": {"b": 2}, "c": 3},
            "data": {"tags": {"d": 4}},
        });
        assert_eq!(placed(&files), Ok(all));
    }

    #[test]
    fn one_place_has_one_file_and_the_gateway_s_places_none() {
        let refused = |files: &[(&str, &str, &str)], part: &str| {
            let error = placed(files).unwrap_err();
            assert!(error.contains(part), "{error}");
        };
        refused(
            &[("", "data/a.json", "{\"x\": 1}"), ("b", "data.json", "{\"a\": {\"x\": 1}}")],
            "b:data.json:0: `data.a.x`",
        );
        refused(&[("", "data/a.json", "1"), ("", "data/a/b.json", "1")], "`data.a` is in another");
        refused(&[("", "data.json", "{\"agents\": {}}")], "`data.agents` can't be a document");
        refused(&[("b", "portcullis/statement/data.json", "{\"deny\": []}")], "`data.portcullis` can't");
        refused(&[("b", "system/log/data.json", "{}")], "`data.system` can't");
        refused(&[("", "data.json", "[]")], "holds an object");
        refused(&[("b", "data/lists.json", "{}")], "a bundle's data file is `DIR/data.json`");
        refused(&[("", "lists.json", "{}")], "a data file is `data/NAME.json`");
    }
}
