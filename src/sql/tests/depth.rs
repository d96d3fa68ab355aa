//! Long and deep statements: understood, or refused with a reason; never a crash.

use super::shop::{analysis, clear, outputs, shop};
use crate::sql::analyze::SHALLOW_STACK_BYTES;
use crate::sql::{AnalyzeError, Statement, analyze_shallow};

#[test]
fn sixty_of_anything_is_nothing_special() {
    let sum = vec!["id"; 60].join(" + ");
    assert_eq!(outputs(&format!("SELECT {sum} FROM customers")), ["<-customers.id"]);
    let joins: String = (0..60).map(|n| format!(" JOIN flags f{n} ON f{n}.id = c.id")).collect();
    assert_eq!(clear(&format!("SELECT c.id FROM customers c{joins}")).tables.len(), 2);
    let nested = format!("{}SELECT id FROM flags{}", "SELECT id FROM (".repeat(60), ") s".repeat(60));
    assert_eq!(outputs(&nested), ["id<-flags.id"]);
    let wide = vec!["ssn"; 1_600].join(", ");
    assert_eq!(outputs(&format!("SELECT {wide} FROM customers")).len(), 1_600);
    let union = vec!["SELECT id FROM flags"; 60].join(" UNION ALL ");
    assert_eq!(outputs(&union), ["id<-flags.id"]);
}

#[test]
fn a_thousand_levels_are_understood() {
    let sum = vec!["id"; 1_000].join(" + ");
    assert_eq!(outputs(&format!("SELECT {sum} FROM customers")), ["<-customers.id"]);
    let sql = format!("SELECT {}id{} FROM flags", "-(".repeat(500), ")".repeat(500));
    assert_eq!(outputs(&sql), ["<-flags.id"]);
    let or = vec!["id = '1'"; 5_000].join(" OR ");
    assert!(clear(&format!("DELETE FROM flags WHERE {or}")).condition.present);
}

#[test]
fn the_arms_of_a_case_are_a_list() {
    // pgjdbc's getUDTs has an arm for every type of the database.
    let arms = "WHEN id = '1' AND id <> '2' THEN 2002 ".repeat(2_000);
    assert_eq!(outputs(&format!("SELECT CASE {arms} ELSE 2001 END AS kind FROM flags")), ["kind<-flags.id"]);
    assert_eq!(outputs(&format!("SELECT CASE {arms} END AS end, 1 AS case FROM flags")).len(), 2);
}

#[test]
fn what_is_too_deep_or_too_much_is_refused_with_a_reason() {
    let parentheses = format!("SELECT {}1{}", "(".repeat(100_000), ")".repeat(100_000));
    let too_deep = Err(AnalyzeError::GaveUp { why: "it is nested too deep".into() });
    assert_eq!(analysis(&parentheses).map(drop), too_deep);
    for terms in [2_000, 4_000, 100_000] {
        let sum = format!("SELECT {}", vec!["1"; terms].join("+"));
        assert_eq!(analysis(&sum).map(drop), too_deep, "{terms}");
    }
    for (open, close) in SHAPES {
        for levels in [100, 200, 300, 400, 600, 800, 1_000, 2_000, 5_000, 20_000] {
            let sql = format!("SELECT {}1{}", open.repeat(levels), close.repeat(levels));
            let outcome = analysis(&sql).map(drop);
            assert!(levels < 2_000 || outcome == too_deep, "{open} {levels}: {outcome:?}");
        }
    }
}

#[test]
fn columns_that_double_at_each_step_end_in_a_refusal() {
    let mut sql = "WITH a0 AS (SELECT * FROM customers)".to_owned();
    for n in 1..40 {
        sql += &format!(", a{n} AS (SELECT x.*, y.* FROM a{} x, a{} y)", n - 1, n - 1);
    }
    sql += " SELECT 1 FROM a39";
    assert!(matches!(analysis(&sql), Err(AnalyzeError::GaveUp { .. })));
}

#[test]
fn recursion_within_recursion_ends_in_a_refusal() {
    let mut sql = "SELECT id FROM customers".to_owned();
    for n in 0..40 {
        sql = format!(
            "WITH RECURSIVE r{n}(a) AS (SELECT ssn FROM customers UNION SELECT a FROM ({sql}) s(a), r{n}) SELECT a FROM r{n}"
        );
    }
    assert!(matches!(analysis(&sql), Err(AnalyzeError::GaveUp { .. })));
}

/// What opens a level, and what closes it. Some do so without parentheses, and some across commas or AND.
const SHAPES: [(&str, &str); 18] = [
    ("(SELECT ", ")"),
    ("(SELECT * FROM (SELECT ", ") s)"),
    ("upper(", ")"),
    ("ARRAY[", "]"),
    ("NOT ", ""),
    ("- ", ""),
    ("CASE WHEN 1 = 2 AND true THEN ", " END"),
    ("CASE WHEN 1 = 2 OR true THEN 1 ELSE ", " END"),
    ("1 IN (2, ", ")"),
    ("(1, ", ")"),
    ("", " BETWEEN 1 AND 2 IS NULL"),
    ("", " AT LOCAL"),
    ("", " OPERATOR(pg_catalog.+) 1"),
    ("", "::text"),
    ("", " IS NULL"),
    ("", " COLLATE \"C\""),
    ("1 FROM flags a JOIN (SELECT ", ") b ON true AND true"),
    ("EXISTS (VALUES (", "))"),
];

/// Threads of the runtime have twice the stack that this test has.
#[test]
fn a_shallow_statement_needs_little_stack_whatever_its_shape() {
    let mut taken = 0;
    for (open, close) in SHAPES {
        for levels in 1..60 {
            let sql = format!("SELECT {}1{}", open.repeat(levels), close.repeat(levels));
            let Some(outcome) = shallow(&sql) else { break };
            assert!(
                outcome.is_ok() || levels > 20 || close.contains("BETWEEN"),
                "{open} {levels}: {outcome:?}"
            );
            taken += 1;
        }
    }
    assert!(taken > 100, "{taken} statements are shallow");
    let wide = vec!["ssn"; 1_600].join(", ");
    let many = "UPDATE flags SET id = '1' WHERE id = '2';".repeat(200);
    for sql in [
        format!("SELECT {wide} FROM customers"),
        many,
        "SELECT 1".into(),
        String::new(),
        " \t\n\u{b}\u{c}\r".repeat(500),
    ] {
        assert!(matches!(shallow(&sql), Some(Ok(_))), "{}", &sql[..sql.len().min(50)]);
    }
}

#[test]
fn what_is_long_or_deep_or_reads_a_view_is_not_shallow() {
    for sql in [
        format!("SELECT '{}'", "x".repeat(20_000)),
        format!("SELECT {}1{}", "(".repeat(60), ")".repeat(60)),
        format!("SELECT {}1", "- ".repeat(60)),
        format!("SELECT 1 {}", "UNION SELECT 1 ".repeat(60)),
        "SELECT * FROM oslo".into(),
        "SELECT 1; SELECT 2 WHERE EXISTS (SELECT 1 FROM oslo)".into(),
        "SELECT 'unterminated".into(),
    ] {
        assert!(shallow(&sql).is_none(), "{}", &sql[..sql.len().min(50)]);
    }
}

#[test]
fn a_shallow_statement_has_the_same_facts_on_any_thread() {
    for sql in
        ["SELECT id, ssn FROM customers WHERE id = '1'", "DELETE FROM flags", "selec 1", "SELECT nothing"]
    {
        let facts = |analysis: Result<crate::sql::Analysis, AnalyzeError>| {
            analysis
                .map(|analysis| analysis.items().iter().map(|item| item.facts.clone()).collect::<Vec<_>>())
        };
        assert_eq!(shallow(sql).map(facts), Some(facts(analysis(sql))), "{sql}");
    }
}

/// Analyses `sql` on as much stack as a shallow statement may need.
fn shallow(sql: &str) -> Option<Result<crate::sql::Analysis, AnalyzeError>> {
    let statement = Statement::new(sql.as_bytes(), Statement::WIRE_CAP).unwrap();
    let thread = std::thread::Builder::new().stack_size(SHALLOW_STACK_BYTES);
    let work = move || analyze_shallow(&statement, &shop(150_018));
    thread.spawn(work).unwrap().join().unwrap()
}
