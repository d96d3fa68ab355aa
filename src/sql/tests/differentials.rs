//! Statements that another parser was seen to misread, each in a way that would have let data out or a write
//! through. Here the grammar is PostgreSQL's own, and these stay as they are.

use super::shop::{analysis, clear, read, shown, tables, unresolved};
use crate::sql::AnalyzeError;
use crate::sql::facts::Class;

#[test]
fn end_is_a_column_label_and_hides_no_second_statement() {
    let analysis = analysis("SELECT 1 END; DELETE FROM customers").unwrap();
    let kinds: Vec<_> = analysis.items().iter().map(|item| item.facts.kind.as_str()).collect();
    assert_eq!(kinds, ["select", "delete"]);
    assert_eq!(shown(&analysis.items()[0].facts), ["end<-"]);
    let insert =
        super::shop::analysis("INSERT INTO flags VALUES (1) RETURNING 1 END; DROP TABLE flags").unwrap();
    assert_eq!(insert.items()[1].facts.kind, "drop_table");
}

#[test]
fn end_in_a_list_hides_no_table_and_no_column() {
    assert_eq!(read("SELECT ssn END FROM customers"), ["ssn"]);
    let facts = clear("UPDATE customers SET city=city RETURNING id END, ssn");
    assert_eq!(shown(&facts), ["end<-customers.id", "ssn<-customers.ssn"]);
}

#[test]
fn copy_from_stdin_swallows_nothing() {
    let analysis = analysis("COPY flags FROM STDIN; DELETE FROM customers").unwrap();
    assert_eq!(analysis.items()[1].facts.kind, "delete");
}

#[test]
fn only_is_no_table() {
    for sql in ["SELECT ssn FROM ONLY customers", "SELECT ssn FROM ONLY (customers)"] {
        assert_eq!(tables(&clear(sql)), ["read public.customers"], "{sql}");
    }
    assert_eq!(tables(&clear("DELETE FROM ONLY customers WHERE id = '1'")), ["delete public.customers"]);
    assert_eq!(tables(&clear("UPDATE ONLY customers SET id = '1'")), ["update public.customers"]);
}

#[test]
fn table_is_a_query_wherever_it_stands() {
    for sql in [
        "SELECT 1, 2, 3, 4, 5 UNION TABLE customers",
        "DECLARE c CURSOR FOR TABLE customers",
        "EXPLAIN TABLE customers",
        "COPY (TABLE customers) TO STDOUT",
    ] {
        assert_eq!(read(sql).len(), 5, "{sql}");
    }
}

#[test]
fn unicode_names_are_names() {
    assert_eq!(read(r#"SELECT id, U&"ss\006E" FROM customers"#), ["id", "ssn"]);
    assert_eq!(read(r#"SELECT U&"ss!006E" UESCAPE '!' FROM customers"#), ["ssn"]);
}

#[test]
fn words_behind_a_value_are_operators_not_names() {
    assert_eq!(shown(&clear("SELECT ssn ISNULL FROM customers")), ["<-customers.ssn"]);
    assert_eq!(shown(&clear("SELECT ssn NOTNULL FROM customers")), ["<-customers.ssn"]);
}

#[test]
fn names_fold_by_ascii_and_quotes_keep_them() {
    assert_eq!(read("SELECT SSN FROM CUSTOMERS"), ["ssn"]);
    assert_eq!(unresolved("SELECT \"SSN\" FROM customers"), ["column SSN"]);
    // The Kelvin sign folds to `k` in Unicode, never in PostgreSQL.
    assert_eq!(unresolved("SELECT 1 FROM \u{212a}ustomers").len(), 1);
}

#[test]
fn a_literal_stays_a_literal() {
    let sql = r"SELECT id, 'a\'' || ssn FROM customers --' FROM customers";
    assert_eq!(read(sql), ["id"]);
    assert_eq!(read("SELECT id, $q$ ssn; DROP TABLE x $q$ FROM customers"), ["id"]);
    assert_eq!(read("SELECT id /* /* ssn */ , ssn */ FROM customers"), ["id"]);
}

#[test]
fn select_into_is_no_read() {
    assert_eq!(clear("SELECT ssn INTO leak FROM customers").class, Class::Ddl);
    assert_eq!(clear("WITH a AS (SELECT 1) SELECT * INTO leak FROM a UNION SELECT 2").class, Class::Ddl);
}

#[test]
fn every_statement_has_its_own_bytes() {
    for (sql, expected) in [
        ("SELECT 1; SELECT 2", vec!["SELECT 1", " SELECT 2"]),
        ("SELECT 1;", vec!["SELECT 1"]),
        (
            "/* ä; */ SELECT 'ö'; -- ü;\n DELETE FROM flags;",
            vec!["/* ä; */ SELECT 'ö'", " -- ü;\n DELETE FROM flags"],
        ),
        ("SELECT ';' AS \"ß;\";;SELECT $x$;$x$ ;  ", vec!["SELECT ';' AS \"ß;\"", "SELECT $x$;$x$ "]),
        ("", vec![]),
        (" ; -- nothing\n;", vec![]),
    ] {
        let analysis = analysis(sql).unwrap();
        let texts: Vec<_> = analysis.items().iter().map(|item| sql[item.range.clone()].trim()).collect();
        let expected: Vec<_> = expected.into_iter().map(str::trim).collect();
        assert_eq!(texts.len(), expected.len(), "{sql}");
        for (text, expected) in texts.iter().zip(expected) {
            assert!(expected.ends_with(text), "{sql}: {text:?} for {expected:?}");
            // What is sent alone is the same statement.
            assert_eq!(super::shop::analysis(text).unwrap().items().len(), 1, "{text}");
        }
    }
}

#[test]
fn what_the_grammar_refuses_keeps_the_grammars_words() {
    let error = analysis("selec 1").unwrap_err();
    assert_eq!(error, AnalyzeError::Syntax { message: "syntax error at or near \"selec\"".into() });
    assert_eq!(error.to_string(), "syntax error at or near \"selec\"");
    assert!(matches!(analysis("SELECT 'open"), Err(AnalyzeError::Syntax { .. })));
}
