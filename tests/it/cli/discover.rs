//! `portcullis discover` on a real database: labels with reasons, and never a value.

use std::path::Path;

use serde_json::{Value, json};

use super::Place;
use crate::support::Database;
use crate::support::gateway::copy_folder;

const SCHEMA: &str = r#"
    CREATE DOMAIN note AS text;
    CREATE TABLE people (
        id int PRIMARY KEY, contact text, account varchar(40), remarks note, "homePhone" text, birth date,
        salary numeric, email_verified boolean, payment bigint, doc jsonb, title text);
    INSERT INTO people SELECT n, 'user' || n || '@example.com', 'DE89370400440532013000',
        CASE WHEN n % 10 = 0 THEN 'card 4111 1111 1111 1111' ELSE 'none' END, NULL, '2000-01-01', 1, true,
        4111111111111111, jsonb_build_object('iban', 'GB29NWBK60161331926819'), 'Dr'
        FROM generate_series(1, 50) n;
    CREATE TABLE "odd ""name" (ssn text);
    INSERT INTO "odd ""name" VALUES ('078-05-1120');
    CREATE TABLE locked_up (passport text, free text);
    INSERT INTO locked_up VALUES ('078-05-1120', '078-05-1120');
    CREATE TABLE big (mail_to text);
    INSERT INTO big SELECT 'a' || n || '@example.com' FROM generate_series(1, 40000) n;
    ANALYZE;
    CREATE ROLE d_finder LOGIN PASSWORD 'pw';
    GRANT SELECT ON people, "odd ""name", big TO d_finder;
"#;

#[tokio::test(flavor = "multi_thread")]
async fn labels_are_proposed_with_reasons_and_without_a_value() {
    let database = Database::with(SCHEMA).await;
    let url = format!("postgres://d_finder@127.0.0.1:{}/{}", database.cluster.port(), database.name);
    let place = Place::new(&url, "pw");
    let ran = place.run(&["discover", "--database", "shop", "--rows", "40", "--out", "proposed.json"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let proposed: Value = serde_json::from_str(&place.read("proposed.json")).unwrap();
    let expected = json!({"shop": {
        "public.big": {"mail_to": "email"},
        "public.locked_up": {"passport": "national_id"},
        "public.odd \"name": {"ssn": "ssn"},
        "public.people": {
            "contact": "email", "account": "bank_account", "homePhone": "phone", "birth": "birth", "salary": "salary",
            "payment": "card", "doc": "bank_account",
        },
    }});
    assert_eq!(proposed, expected);
    for line in [
        "public.people.contact    email          40 of 40 values hold what looks like an e-mail address",
        "public.people.remarks    (some values)  4 of 40 values hold what looks like a payment card's number",
        "public.locked_up.passport  national_id    its name; its values were not looked at",
    ] {
        let words: Vec<&str> = line.split("  ").filter(|word| !word.is_empty()).map(str::trim).collect();
        let said = ran.out.lines().any(|line| words.iter().all(|word| line.contains(word)));
        assert!(said, "{line}\n{}", ran.out);
    }
    let json = place.run(&["discover", "--database", "shop", "--json"]);
    let document: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(document["labels"], expected);
    for value in ["example.com", "4111", "DE89", "GB29", "078-05"] {
        assert!(
            ![&ran.out, &ran.err, &json.out, &json.err].into_iter().any(|text| text.contains(value)),
            "{value}"
        );
    }
    let again = place.run(&["discover", "--database", "shop", "--out", "proposed.json"]);
    assert!(
        again.code == Some(1) && again.err.contains("proposed.json"),
        "a file that is there stays: {}",
        again.err
    );
    let nobody = place.run(&["discover", "--database", "shop", "--role", "full"]);
    assert!(nobody.code == Some(1) && nobody.err.contains("no role `full`"), "{}", nobody.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_has_the_form_that_the_rulebook_reads() {
    let database = Database::with(
        "CREATE TABLE people (id int, ssn text); INSERT INTO people VALUES (1, '078-05-1120');
         CREATE ROLE d_reader LOGIN PASSWORD 'pw'; GRANT SELECT ON people TO d_reader",
    )
    .await;
    let url = format!("postgres://d_reader@127.0.0.1:{}/{}", database.cluster.port(), database.name);
    let place = Place::new(&url, "pw");
    place.agent("zoe", "kind = \"human\"\n[scope.shop]\nread = [\"public.people\"]\n");
    let eval = ["eval", "--as", "zoe", "--database", "shop", "SELECT ssn FROM people"];
    assert!(!place.run(&eval).out.contains("masked"), "nothing is labelled yet");
    let policies = place.folder.path().join("policies");
    copy_folder(&Path::new(env!("CARGO_MANIFEST_DIR")).join("policies"), &policies);
    let shipped = place.read("portcullis.toml");
    let ours = shipped.lines().map(|line| match line.trim().starts_with("path = ") {
        true => "path = \"policies\"",
        false => line,
    });
    place.write("portcullis.toml", &ours.collect::<Vec<_>>().join("\n"));
    std::fs::remove_file(policies.join("data/labels.json")).unwrap();
    assert_eq!(place.run(&["discover", "-d", "shop", "--out", "policies/data/labels.json"]).code, Some(0));
    let masked = place.run(&eval).out;
    assert!(masked.contains("masked     public.people.ssn"), "{masked}");
}
