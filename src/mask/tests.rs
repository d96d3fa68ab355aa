//! The rewrite by its text, on a catalog made by hand; what a server makes of it is shown in `tests/it/masks.rs`.

use std::sync::Arc;

use pg_query::protobuf::RawStmt;

use crate::catalog::{Column, Relation, RelationKey, RelationKind, RowSecurity, Snapshot};
use crate::sql::analyze::SHALLOW_STACK_BYTES;
use crate::sql::{Facts, Item, Naming, Statement, analyze_shallow};

use super::governance::{Governance, Governed};
use super::survey::{Survey, digest};
use super::{Aggregate, GroupRelease, Mask, Masks, Refusal, Rewritten, Strategy, proof, rewrite};

fn column(name: &str, number: i16, type_oid: u32, type_name: &str) -> Column {
    Column {
        name: name.into(),
        number,
        type_oid,
        type_name: type_name.into(),
        base_type_oid: type_oid,
        base_type_kind: 'b',
        base_type_category: if type_oid == 25 || type_oid == 1043 { 'S' } else { 'N' },
        collation: None,
        not_null: false,
        generated: false,
        comment: None,
        security_labels: Vec::new(),
    }
}

fn relation(oid: u32, name: &str, kind: RelationKind, definition: Option<&str>) -> Relation {
    Relation {
        oid,
        schema: "app".into(),
        name: name.into(),
        kind,
        columns: vec![
            column("id", 1, 23, "integer"),
            column("ssn", 2, 25, "text"),
            column("pin", 3, 1043, "character varying(3)"),
        ],
        primary_key: if kind == RelationKind::Table { vec!["id".into()] } else { Vec::new() },
        parents: Vec::new(),
        definition: definition.map(str::to_owned),
        row_estimate: -1,
        has_triggers: false,
        has_rules: false,
        row_security: RowSecurity::default(),
        comment: None,
        stamp: 0,
    }
}

fn catalog(relations: Vec<Relation>) -> Snapshot {
    Snapshot::new(1, 150_000, vec!["app".into()], relations, Vec::new())
}

fn people() -> Relation {
    relation(7, "people", RelationKind::Table, None)
}

fn masks(relation: &str, strategy: Strategy) -> Masks {
    let mut masks = Masks::default();
    masks.add(RelationKey::new("app", relation), "ssn".into(), strategy);
    masks
}

fn redact() -> Strategy {
    Strategy::Redact { value: "***".into() }
}

fn parse(sql: &str) -> RawStmt {
    pg_query::parse(sql, 0).unwrap().protobuf.stmts.remove(0)
}

fn run(sql: &str, masks: &Masks, catalog: &Snapshot) -> Result<Rewritten, Refusal> {
    let item =
        Item { range: 0..sql.len(), tree: parse(sql), facts: Facts::empty().into(), naming: Naming::Nothing };
    rewrite(sql, &item, masks, catalog)
}

fn sent(sql: &str, strategy: Strategy) -> String {
    run(sql, &masks("people", strategy), &catalog(vec![people()])).unwrap().sql
}

#[test]
fn a_masked_column_becomes_a_constant_of_its_own_type_that_the_planner_can_not_fold() {
    assert_eq!(
        sent("SELECT ssn FROM people", redact()),
        "SELECT ssn FROM (SELECT CASE WHEN id IS NULL THEN NULL::text ELSE '***'::text END AS ssn \
         FROM app.people) people"
    );
    assert_eq!(
        sent("SELECT p.ssn FROM ONLY people p", Strategy::Null),
        "SELECT p.ssn FROM (SELECT NULL::text AS ssn FROM ONLY app.people) p"
    );
}

#[test]
fn a_partial_mask_shows_null_and_short_values_alike() {
    let sql = sent("SELECT ssn FROM people", Strategy::Partial { first: 0, last: 4 });
    assert!(sql.contains("ELSE '****'::pg_catalog.text END"), "{sql}");
    assert!(sql.contains("OPERATOR(pg_catalog.>) 4") && sql.contains("pg_catalog.repeat("), "{sql}");
}

#[test]
fn only_columns_that_the_statement_names_are_read() {
    let sql = sent("SELECT count(*) FROM people WHERE id > 1", redact());
    assert_eq!(sql, "SELECT count(*) FROM (SELECT id FROM app.people) people WHERE id > 1");
}

#[test]
fn a_quote_in_a_mask_stays_inside_its_literal() {
    let sql = sent("SELECT ssn FROM people", Strategy::Redact { value: "a'; DROP TABLE x --\\".into() });
    let survey = Survey::of(&parse(&sql)).unwrap();
    assert!(survey.texts.contains("a'; DROP TABLE x --\\"), "{sql}");
}

#[test]
fn a_domain_is_masked_by_null_whatever_the_strategy() {
    let mut people = people();
    people.columns[1].type_oid = 99_999;
    let catalog = catalog(vec![people]);
    let sql = run("SELECT ssn FROM people", &masks("people", redact()), &catalog).unwrap().sql;
    assert_eq!(sql, "SELECT ssn FROM (SELECT NULL::text AS ssn FROM app.people) people");
}

#[test]
fn a_generated_column_of_a_masked_table_is_masked_too() {
    let mut people = people();
    people.columns[2].generated = true;
    let rewritten =
        run("SELECT pin FROM people", &masks("people", redact()), &catalog(vec![people])).unwrap();
    assert_eq!(rewritten.sql, "SELECT pin FROM (SELECT NULL::varchar(3) AS pin FROM app.people) people");
    assert!(rewritten.plan.forbidden.contains(&(7, 3)));
}

#[test]
fn a_masked_primary_key_is_not_what_ties_the_mask_to_the_row() {
    let mut people = people();
    people.primary_key = vec!["ssn".into()];
    let sql = run("SELECT ssn FROM people", &masks("people", redact()), &catalog(vec![people])).unwrap().sql;
    assert!(sql.contains("CASE WHEN tableoid OPERATOR(pg_catalog.=) '0'::pg_catalog.oid THEN"), "{sql}");
}

#[test]
fn masks_hold_for_children_and_for_the_parents_that_show_them() {
    let mut child = relation(8, "child", RelationKind::Table, None);
    child.parents = vec![RelationKey::new("app", "people")];
    let catalog = catalog(vec![people(), child]);
    for masked in ["people", "child"] {
        for read in ["people", "child"] {
            let rewritten =
                run(&format!("SELECT ssn FROM {read}"), &masks(masked, redact()), &catalog).unwrap();
            assert!(rewritten.sql.contains("'***'"), "{masked} {read}: {}", rewritten.sql);
        }
    }
}

#[test]
fn a_view_that_can_not_be_looked_into_is_refused() {
    let definitions = [None, Some("SELEC"), Some("SELECT 1; SELECT 2"), Some("SELECT ssn FROM app.gone")];
    for definition in definitions {
        let view = relation(9, "v", RelationKind::View, definition);
        let refusal =
            run("SELECT * FROM v", &masks("people", redact()), &catalog(vec![people(), view])).unwrap_err();
        assert!(refusal.what.contains("`app.v`") || refusal.what.contains("`app.gone`"), "{refusal}");
    }
}

#[test]
fn views_that_read_each_other_in_a_circle_are_refused() {
    let a = relation(9, "a", RelationKind::View, Some("SELECT * FROM app.b"));
    let b = relation(10, "b", RelationKind::View, Some("SELECT * FROM app.a"));
    let refusal = run("SELECT * FROM a", &masks("people", redact()), &catalog(vec![people(), a, b]));
    assert!(refusal.is_err());
}

#[test]
fn a_relation_that_nobody_knows_is_refused_beside_a_masked_one() {
    let refusal =
        run("SELECT * FROM people, pg_temp.x", &masks("people", redact()), &catalog(vec![people()]));
    assert!(refusal.unwrap_err().what.contains("`pg_temp.x`"));
}

#[test]
fn a_masked_table_that_only_the_facts_know_of_is_refused() {
    let catalog = catalog(vec![people()]);
    let sql = "DROP TABLE people";
    let mut facts = Facts::empty();
    facts.tables.push(crate::sql::facts::TableFact {
        key: RelationKey::new("app", "people"),
        schema: "app".into(),
        name: "people".into(),
        kind: RelationKind::Table,
        access: crate::sql::facts::Access::Define,
        system: false,
        via_view: String::new(),
        columns_read: Vec::new(),
        columns_filtered: Vec::new(),
        columns_written: Vec::new(),
        tags: Vec::new(),
        tags_read: Vec::new(),
        tags_written: Vec::new(),
        row_estimate: -1,
        has_triggers: false,
        has_rules: false,
    });
    let item = Item { range: 0..sql.len(), tree: parse(sql), facts: facts.into(), naming: Naming::Nothing };
    assert!(rewrite(sql, &item, &masks("people", redact()), &catalog).is_err());
}

#[test]
fn nothing_is_printed_that_mentions_a_masked_table_once_more_than_meant() {
    let catalog = catalog(vec![people()]);
    let masks = masks("people", redact());
    let governed = Governed::new(&masks, &catalog);
    let governance = Governance::new(&governed, &catalog);
    let tree = parse("SELECT 1 FROM app.people");
    assert!(proof::emit(tree.clone(), 0, 0, &governance).unwrap_err().what.contains("was left in it"));
    assert!(proof::emit(tree, 1, 0, &governance).is_ok());
    let bare = parse("SELECT 1 FROM people");
    assert!(proof::emit(bare, 1, 0, &governance).unwrap_err().what.contains("without a schema"));
}

#[test]
fn a_released_aggregate_counts_its_group_first() {
    let mut people = people();
    people.columns[1] = column("ssn", 2, 23, "integer");
    let catalog = catalog(vec![people]);
    let mut masks = Masks::default();
    let release = GroupRelease { aggregates: [Aggregate::Avg].into(), min_rows: 5 };
    let mask = Mask { strategy: Strategy::Null, release: Some(release) };
    masks.add(RelationKey::new("app", "people"), "ssn".into(), mask);
    let rewritten = run("SELECT avg(ssn), sum(ssn) FROM people", &masks, &catalog).unwrap();
    assert_eq!(
        rewritten.sql,
        "SELECT CASE WHEN pg_catalog.count(\"portcullis true 2\") OPERATOR(pg_catalog.>=) 5 \
         THEN pg_catalog.avg(\"portcullis true 2\") END AS avg, sum(ssn) \
         FROM (SELECT NULL::int AS ssn, ssn AS \"portcullis true 2\" FROM app.people) people"
    );
    assert_eq!(*rewritten.plan.released, ["app.people.ssn".to_owned()]);
    let masked = run("SELECT sum(ssn), min(ssn) FROM people", &masks, &catalog).unwrap();
    assert!(!masked.sql.contains("portcullis true") && masked.plan.released.is_empty(), "{}", masked.sql);
}

#[test]
fn nothing_is_printed_in_which_the_truth_stands_outside_a_released_aggregate() {
    let catalog = catalog(vec![people()]);
    let governed = Governed::new(&masks("people", redact()), &catalog);
    let governance = Governance::new(&governed, &catalog);
    let call = "CASE WHEN count(\"portcullis true 2\") >= 5 THEN avg(\"portcullis true 2\") END";
    let from = "FROM (SELECT ssn AS \"portcullis true 2\" FROM app.people) p";
    let emit = |targets: &str, calls: usize| {
        proof::emit(parse(&format!("SELECT {targets} {from}")), 1, calls, &governance)
    };
    emit(call, 1).unwrap();
    for (targets, calls) in [
        (call.to_owned(), 0),
        (call.to_owned(), 2),
        ("\"portcullis true 2\"".to_owned(), 0),
        (format!("{call}, max(\"portcullis true 2\")"), 1),
        ("\"portcullis true 2\", avg(\"portcullis true 2\")".to_owned(), 1),
        ("sum(p.\"portcullis true 2\"), count(p.\"portcullis true 2\")".to_owned(), 1),
    ] {
        let refusal = emit(&targets, calls).unwrap_err();
        assert!(refusal.what.contains("would show what is masked"), "{targets}: {refusal}");
    }
}

#[test]
fn the_survey_finds_a_table_wherever_the_grammar_lets_one_stand() {
    for sql in [
        "CREATE TABLE x (LIKE people)",
        "CREATE TABLE x () INHERITS (people)",
        "CREATE TABLE x (a int REFERENCES people)",
        "CREATE RULE r AS ON INSERT TO x DO ALSO SELECT * FROM people",
        "CREATE TRIGGER t AFTER INSERT ON people EXECUTE FUNCTION f()",
        "GRANT SELECT ON people TO x",
        "VACUUM people",
        "ALTER TABLE x ATTACH PARTITION people DEFAULT",
        "MERGE INTO x USING people ON true WHEN MATCHED THEN DO NOTHING",
        "SELECT 1 FROM a WHERE b > ALL (SELECT c FROM d ORDER BY (SELECT 1 FROM people))",
        "CREATE POLICY p ON x USING (EXISTS (SELECT 1 FROM people))",
    ] {
        let refusal = run(sql, &masks("people", redact()), &catalog(vec![people()]));
        assert!(refusal.is_err(), "{sql}");
    }
}

#[test]
fn trees_are_equal_by_what_they_say_and_not_by_where_it_stands() {
    let sum = |sql: &str| digest(&parse(sql).stmt).unwrap();
    assert_eq!(sum("SELECT  a,b FROM t"), sum("select a , b from t"));
    for other in
        ["SELECT a, c FROM t", "SELECT a, b FROM ONLY t", "SELECT a, b FROM t t", "SELECT a, b FROM t, b"]
    {
        assert_ne!(sum("SELECT a, b FROM t"), sum(other), "{other}");
    }
    assert_ne!(sum("SELECT (a), ARRAY[b, c]"), sum("SELECT ARRAY[a], b, c"));
}

#[test]
fn a_long_or_deep_statement_is_masked_or_refused_and_never_crashes() {
    let deep = || {
        let catalog = catalog(vec![people()]);
        let masks = masks("people", redact());
        for (levels, must_work) in [(60, true), (1_000, false)] {
            let sum = vec!["id"; levels].join(" + ");
            let nested = format!(
                "{}SELECT ssn FROM people{}",
                "SELECT * FROM (".repeat(levels / 4),
                ") s".repeat(levels / 4)
            );
            let signs = format!("SELECT {}id{} FROM people", "-(".repeat(levels), ")".repeat(levels));
            let links =
                format!("SELECT {}ssn{} FROM people", "(SELECT ".repeat(levels / 4), ")".repeat(levels / 4));
            for sql in [format!("SELECT {sum} FROM people"), nested, signs, links] {
                let outcome = run(&sql, &masks, &catalog);
                assert!(outcome.is_ok() || !must_work, "{sql}: {outcome:?}");
            }
        }
        let list = vec!["'x'"; 20_000].join(",");
        assert!(run(&format!("SELECT id FROM people WHERE ssn IN ({list})"), &masks, &catalog).is_ok());
    };
    std::thread::Builder::new().stack_size(32 << 20).spawn(deep).unwrap().join().unwrap();
}

/// Threads of the runtime have twice the stack that this test has.
#[test]
fn the_rewrite_of_a_shallow_statement_needs_little_stack() {
    let catalog = Arc::new(catalog(vec![people()]));
    let mut rewritten = 0;
    for (open, close) in [
        ("(SELECT ssn FROM people WHERE id = ", ")"),
        ("(SELECT max(id) FROM (SELECT * FROM people WHERE id = ", ") s)"),
        ("upper(", ")"),
        ("CASE WHEN id = 2 AND true THEN ", " ELSE 3 END"),
        ("- ", ""),
        ("", "::text"),
        ("EXISTS (SELECT 1 FROM people a JOIN people b USING (id) WHERE a.id = ", ")"),
    ] {
        for levels in 1..50 {
            let sql = format!("SELECT ssn, {}1{} FROM people", open.repeat(levels), close.repeat(levels));
            let catalog = Arc::clone(&catalog);
            let work = move || {
                let statement = Statement::new(sql.as_bytes(), Statement::WIRE_CAP).unwrap();
                let analysis = analyze_shallow(&statement, &catalog)?.unwrap();
                let sent = rewrite(&sql, &analysis.items()[0], &masks("people", redact()), &catalog).unwrap();
                Some(sent.sql)
            };
            let thread = std::thread::Builder::new().stack_size(SHALLOW_STACK_BYTES);
            let Some(sql) = thread.spawn(work).unwrap().join().unwrap() else { break };
            assert!(sql.contains("'***'"), "{sql}");
            rewritten += 1;
        }
    }
    assert!(rewritten > 50, "{rewritten} were shallow");
}
