//! INSERT, UPDATE, DELETE, MERGE, and statements inside others.

use super::shop::{clear, facts, shown, table, tables, unresolved};
use crate::sql::facts::{Access, Class, Inner};

#[test]
fn an_insert_lists_what_it_writes_and_returns() {
    let some = clear("INSERT INTO customers (id, name) VALUES ('1', 'a') RETURNING id, ssn");
    assert_eq!((some.kind.as_str(), some.class), ("insert", Class::Write));
    let customers = table(&some, "public.customers", Access::Insert);
    assert_eq!(customers.columns_written, ["id", "name"]);
    assert_eq!(customers.columns_read, ["id", "ssn"]);
    assert_eq!(shown(&some), ["id<-customers.id", "ssn<-customers.ssn"]);
    let all = clear("INSERT INTO flags SELECT id, ssn FROM customers");
    assert_eq!(table(&all, "public.flags", Access::Insert).columns_written, ["active", "id"]);
    assert_eq!(tables(&all), ["read public.customers", "insert public.flags"]);
    assert!(all.outputs.is_empty());
    let defaults = clear("INSERT INTO flags DEFAULT VALUES");
    assert_eq!(table(&defaults, "public.flags", Access::Insert).columns_written, ["active", "id"]);
    assert_eq!(unresolved("INSERT INTO flags (nothing) VALUES (1)"), ["column nothing"]);
}

#[test]
fn on_conflict_is_an_update_too() {
    let facts = clear(
        "INSERT INTO flags AS f (id, active) SELECT id, ssn FROM customers
         ON CONFLICT (id) DO UPDATE SET active = excluded.active WHERE f.active = 'x'",
    );
    assert_eq!(tables(&facts), ["read public.customers", "insert public.flags", "update public.flags"]);
    assert_eq!(table(&facts, "public.flags", Access::Update).columns_written, ["active"]);
    assert_eq!(table(&facts, "public.flags", Access::Insert).columns_filtered, ["active", "id"]);
    let nothing = clear("INSERT INTO flags VALUES (1) ON CONFLICT DO NOTHING");
    assert_eq!(tables(&nothing), ["insert public.flags"]);
}

#[test]
fn an_update_lists_what_it_sets_and_by_what() {
    let facts = clear(
        "UPDATE customers c SET name = c.ssn, (city, email) = (SELECT note, total FROM orders WHERE id = c.id)
         FROM flags f WHERE f.id = c.id RETURNING *",
    );
    let customers = table(&facts, "public.customers", Access::Update);
    assert_eq!(customers.columns_written, ["city", "email", "name"]);
    assert_eq!(customers.columns_filtered, ["id"]);
    assert!(customers.columns_read.contains(&"ssn".to_owned()));
    assert_eq!(facts.outputs.len(), 7);
    assert_eq!(tables(&facts), ["update public.customers", "read public.flags", "read public.orders"]);
    assert_eq!(unresolved("UPDATE customers SET nothing = 1"), ["column nothing"]);
}

#[test]
fn a_delete_lists_its_condition() {
    let facts = clear("DELETE FROM customers c USING orders o WHERE o.customer_id = c.id AND c.ssn = '1'");
    let customers = table(&facts, "public.customers", Access::Delete);
    assert_eq!(customers.columns_filtered, ["id", "ssn"]);
    assert_eq!(facts.condition.columns, ["customer_id", "id", "ssn"]);
    assert!(facts.condition.present && !facts.condition.tautology);
    assert!(!clear("DELETE FROM customers").condition.present);
    assert!(clear("DELETE FROM customers WHERE CURRENT OF c").condition.present);
}

#[test]
fn a_merge_is_as_strong_as_its_weakest_action() {
    let merge =
        |on: &str, when: &str| clear(&format!("MERGE INTO customers c USING orders o ON {on} {when}"));
    let facts = merge(
        "c.id = o.customer_id",
        "WHEN MATCHED AND c.ssn = '1' THEN DELETE
        WHEN MATCHED THEN UPDATE SET name = o.note WHEN NOT MATCHED THEN INSERT (id) VALUES (o.id)",
    );
    assert_eq!(
        tables(&facts),
        [
            "insert public.customers",
            "update public.customers",
            "delete public.customers",
            "read public.orders"
        ]
    );
    assert_eq!(table(&facts, "public.customers", Access::Update).columns_written, ["name"]);
    assert_eq!(table(&facts, "public.customers", Access::Insert).columns_written, ["id"]);
    assert_eq!(table(&facts, "public.customers", Access::Update).columns_filtered, ["id", "ssn"]);
    assert!(facts.condition.present && !facts.condition.tautology);
    assert!(merge("true", "WHEN MATCHED THEN DELETE").condition.tautology);
    assert!(!merge("true", "WHEN MATCHED AND c.id = '1' THEN DELETE").condition.tautology);
}

#[test]
fn a_merge_that_deletes_what_the_source_lacks_has_no_condition() {
    let sql = "MERGE INTO flags USING orders ON flags.id = orders.id WHEN NOT MATCHED BY SOURCE THEN DELETE";
    assert!(!super::shop::facts_on(170_000, sql).condition.present);
}

#[test]
fn statements_inside_a_with_count() {
    let facts = clear("WITH gone AS (DELETE FROM customers RETURNING ssn) SELECT * FROM gone");
    assert_eq!((facts.kind.as_str(), facts.class), ("select", Class::Write));
    assert_eq!(facts.inner, [Inner { kind: "delete".into(), class: Class::Write }]);
    assert_eq!(shown(&facts), ["ssn<-customers.ssn"]);
    assert!(!facts.condition.present);
    let unused = clear("WITH x AS (UPDATE flags SET active = '1' WHERE true) SELECT 1");
    assert!(unused.condition.present && unused.condition.tautology);
    let weakest = clear("WITH a AS (DELETE FROM flags), b AS (DELETE FROM orders WHERE id = '1') SELECT 1");
    assert!(!weakest.condition.present);
    let other_way = clear("WITH a AS (DELETE FROM flags WHERE id = '1') DELETE FROM orders");
    assert!(!other_way.condition.present);
    assert_eq!(other_way.inner.len(), 1);
}

#[test]
fn old_and_new_are_known_from_18_on() {
    let sql = "UPDATE customers SET name = 'x' WHERE id = '1' RETURNING old.ssn, new.name";
    assert_eq!(unresolved(sql), ["column new.name", "column old.ssn"]);
    let facts = super::shop::facts_on(180_000, sql);
    assert_eq!(shown(&facts), ["ssn<-customers.ssn", "name<-customers.name"]);
    assert_eq!(facts.unresolved, []);
}

#[test]
fn a_missing_target_is_unresolved() {
    for sql in
        ["INSERT INTO gone VALUES (1)", "UPDATE gone SET a = 1", "DELETE FROM gone", "COPY gone FROM STDIN"]
    {
        assert!(facts(sql).unresolved.iter().any(|entry| entry.what == "relation"), "{sql}");
    }
    // A CTE is no target: PostgreSQL looks past it.
    let facts = clear("WITH flags AS (SELECT 1) DELETE FROM flags WHERE active = 'x'");
    assert_eq!(tables(&facts), ["delete public.flags"]);
}
