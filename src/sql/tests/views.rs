//! Views: listed themselves, and opened.

use super::shop::{clear, shown, table, tables, unresolved};
use crate::sql::facts::Access;

#[test]
fn a_view_is_listed_with_what_lies_behind_the_columns_that_are_used() {
    let facts = clear("SELECT name FROM oslo");
    assert_eq!(tables(&facts), ["read public.customers", "read public.oslo"]);
    assert_eq!(table(&facts, "public.oslo", Access::Read).columns_read, ["name"]);
    let customers = table(&facts, "public.customers", Access::Read);
    assert_eq!(customers.via_view, "public.oslo");
    assert_eq!(customers.columns_read, ["city", "name"]);
    assert_eq!(customers.columns_filtered, ["city"]);
    assert_eq!(shown(&facts), ["name<-customers.name,oslo.name"]);
    // The view's own WHERE is not the statement's.
    assert!(!facts.condition.present);
}

#[test]
fn a_renamed_column_keeps_its_source() {
    let facts = clear("SELECT * FROM oslo WHERE number = '1'");
    assert_eq!(shown(&facts)[2], "number<-customers.ssn,oslo.number");
    assert!(table(&facts, "public.customers", Access::Read).columns_filtered.contains(&"ssn".to_owned()));
}

#[test]
fn views_upon_views_are_opened_to_the_ground() {
    let facts = clear("SELECT upper FROM nested");
    assert_eq!(tables(&facts), ["read public.customers", "read public.nested", "read public.oslo"]);
    assert_eq!(table(&facts, "public.oslo", Access::Read).via_view, "public.nested");
    assert!(shown(&facts)[0].contains("customers.ssn"));
    assert!(facts.functions.iter().any(|function| function.key == "pg_catalog.upper"));
}

#[test]
fn a_table_that_the_statement_names_too_is_not_only_behind_a_view() {
    let facts = clear("SELECT c.ssn, o.name FROM oslo o, customers c");
    assert_eq!(table(&facts, "public.customers", Access::Read).via_view, "");
    let reversed = clear("SELECT c.ssn, o.name FROM customers c, oslo o");
    assert_eq!(table(&reversed, "public.customers", Access::Read).via_view, "");
}

#[test]
fn writing_a_view_writes_what_lies_behind() {
    let facts = clear("UPDATE oslo SET number = '1' WHERE name = 'x'");
    let customers = table(&facts, "public.customers", Access::Update);
    assert_eq!(
        (customers.columns_written.as_slice(), customers.via_view.as_str()),
        (&["ssn".to_owned()][..], "public.oslo")
    );
    assert_eq!(table(&facts, "public.oslo", Access::Update).columns_written, ["number"]);
    assert!(
        tables(&clear("DELETE FROM oslo WHERE id = '1'")).contains(&"delete public.customers".to_owned())
    );
    assert!(tables(&clear("INSERT INTO oslo VALUES ('1')")).contains(&"insert public.customers".to_owned()));
}

#[test]
fn a_view_that_can_not_be_read_is_unresolved() {
    assert_eq!(unresolved("SELECT id FROM broken"), ["relation public.broken"]);
}
