//! Masks of columns by what they are, on a real catalog.

use portcullis::catalog::RelationKey;
use portcullis::mask::{Governed, Masks, Selector, Strategy};
use serde_json::{Value, json};

use super::schema;
use crate::support::Database;

const SCHEMA: &str = r#"
CREATE SCHEMA app; CREATE SCHEMA hr; SET search_path = app;
CREATE DOMAIN mail AS text CHECK (VALUE LIKE '%@%');
CREATE TABLE people (id int PRIMARY KEY, "Work_Email" mail, others mail[], born date, note text);
CREATE TABLE hr.staff (id int, email varchar(80), wage numeric(10,2), bonus numeric);
CREATE TABLE parts (id int, note text) PARTITION BY RANGE (id);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10);
CREATE VIEW directory AS SELECT id, "Work_Email" AS email FROM people;
COMMENT ON COLUMN people.note IS 'What she said. @pii';
COMMENT ON COLUMN parts_1.note IS '@pii';
COMMENT ON COLUMN people.born IS 'not @pii_free';
SET allow_system_table_mods = on;
INSERT INTO pg_catalog.pg_seclabel (objoid, classoid, objsubid, provider, label)
  SELECT 'app.people'::regclass, 'pg_class'::regclass, attnum, 'test', 'MASKED: born' FROM pg_attribute
   WHERE attrelid = 'app.people'::regclass AND attname = 'born';
"#;

#[tokio::test]
async fn columns_are_masked_by_name_type_tag_and_security_label() {
    let database = Database::with(SCHEMA).await;
    let catalog = schema::load(&database).await;
    let governed = |selector: Value| -> Vec<String> {
        let selector: Selector = serde_json::from_value(selector).unwrap();
        selector.check().unwrap();
        let mut masks = Masks::default();
        masks.select(selector, Strategy::Null);
        let governed = Governed::new(&masks, &catalog);
        let all =
            ["app.directory", "app.parts", "app.parts_1", "app.people", "hr.staff", "pg_catalog.pg_class"];
        let keys = all.iter().map(|key| key.split_once('.').unwrap());
        keys.flat_map(|(schema, name)| {
            let key = RelationKey::new(schema, name);
            governed.columns_of(&key).map(|column| format!("{key}.{column}")).collect::<Vec<_>>()
        })
        .collect()
    };
    assert_eq!(
        governed(json!({"column": "*email*"})),
        ["app.directory.email", "app.people.Work_Email", "hr.staff.email"]
    );
    assert_eq!(governed(json!({"relation": "hr.*", "column": "*email*"})), ["hr.staff.email"]);
    assert_eq!(
        governed(json!({"data_type": "app.mail"})),
        ["app.directory.email", "app.people.Work_Email", "app.people.others"]
    );
    assert_eq!(governed(json!({"data_type": "numeric"})), ["hr.staff.bonus", "hr.staff.wage"]);
    assert_eq!(
        governed(json!({"tag": "pii"})),
        ["app.parts.note", "app.parts_1.note", "app.people.note"],
        "a partition's word holds for what shows its rows"
    );
    assert_eq!(governed(json!({"security_label": "masked:*"})), ["app.people.born"]);
    assert_eq!(governed(json!({"column": "rel*"})), Vec::<String>::new(), "PostgreSQL's own are left alone");
    assert_eq!(
        governed(json!({"column": "note", "tag": "pii", "relation": "app.parts"})),
        Vec::<String>::new()
    );
}

#[tokio::test]
async fn a_column_that_is_named_and_selected_has_the_stricter_mask() {
    let database = Database::with(SCHEMA).await;
    let catalog = schema::load(&database).await;
    let mut masks = Masks::default();
    masks.add(RelationKey::new("hr", "staff"), "email".into(), Strategy::Email);
    masks.select(serde_json::from_value(json!({"column": "email"})).unwrap(), Strategy::Null);
    let sent = super::strategies::rewritten(&catalog, &masks, "SELECT email FROM hr.staff").unwrap().sql;
    assert!(sent.contains("NULL") && !sent.contains("sha256"), "{sent}");
}
