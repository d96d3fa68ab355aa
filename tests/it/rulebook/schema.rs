//! What rules can read is published, and what is published is what they can read.

use std::fs;
use std::path::Path;

use portcullis::policy::input_schemas;

#[test]
fn the_published_schemas_of_inputs_are_those_of_this_version() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schema");
    let mut points = 0;
    for (point, schema) in input_schemas() {
        points += 1;
        let mut schema = schema.clone();
        schema["$id"] = format!("{point}/1").into();
        let text = format!("{schema:#}\n");
        let path = folder.join(format!("{point}.json"));
        let actual = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{point}.json"));
        fs::write(&actual, &text).unwrap();
        let published = fs::read_to_string(&path).unwrap_or_default();
        assert!(published == text, "{} must be {}", path.display(), actual.display());
    }
    assert_eq!(points, fs::read_dir(&folder).unwrap().count(), "a schema without a decision point");
}

/// A field that may be missing makes a rule about it silent, and a deny rule that is silent lets pass.
#[test]
fn every_field_of_an_input_is_always_there() {
    for (point, schema) in input_schemas() {
        let definitions =
            schema["$defs"].as_object().into_iter().flatten().map(|(name, schema)| (name.as_str(), schema));
        for (name, schema) in definitions.chain([(point, schema)]) {
            let Some(properties) = schema["properties"].as_object() else { continue };
            let required: Vec<&str> = schema["required"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|field| field.as_str())
                .collect();
            for field in properties.keys() {
                assert!(required.contains(&field.as_str()), "{point}: `{name}.{field}` may be missing");
            }
        }
    }
}
