//! Conditions that restrict nothing.

use super::shop::clear;

#[test]
fn conditions_that_always_hold_are_seen_through() {
    for condition in [
        "true",
        "1=1",
        "'a'='a'",
        "id=id",
        "customers.id = id",
        "1 < 2",
        "2 <> 1",
        "NOT false",
        "NOT (1=2)",
        "NOT (NOT true)",
        "id = '5' OR true",
        "true OR id = '5'",
        "1=1 AND 'a'='a' AND id=id",
        "ssn IS NULL OR ssn IS NOT NULL",
        "id = '1' OR ssn IS NULL OR ssn IS NOT NULL",
        "id > '0' OR id <= '0'",
        "id = '1' OR id <> '1'",
        "id = '1' OR NOT (id = '1')",
        "id IN (SELECT id FROM customers)",
        "EXISTS (SELECT 1)",
        "true IS TRUE",
        "(1=1) IS NOT FALSE",
        "1 IS NOT NULL",
        "name LIKE '%'",
        "name ILIKE '%%'",
        "1 IN (3, 2, 1)",
        "id IN ('7', id)",
        "2 BETWEEN 1 AND 3",
        "1+1 = 2",
        "-1 < 0",
        "'t'::bool",
        "1::bool",
        "id IS NOT DISTINCT FROM id",
        "coalesce(true, id = '1')",
        "id::text = id::text",
        "1 = ANY (ARRAY[1, 2])",
        "id || 'x' = id || 'x'",
    ] {
        for sql in [
            format!("DELETE FROM customers WHERE {condition}"),
            format!("UPDATE customers SET name = 'x' WHERE {condition}"),
        ] {
            let facts = clear(&sql);
            assert!(facts.condition.present && facts.condition.tautology, "{sql}");
        }
    }
}

#[test]
fn conditions_that_restrict_are_not_called_tautologies() {
    for condition in [
        "id = '5'",
        "id = ssn",
        "false",
        "1=2",
        "1=1 AND id = '5'",
        "id = '5' OR ssn = '6'",
        "ssn IS NULL OR name IS NOT NULL",
        "id > '0' OR id < '9'",
        "id IN (SELECT customer_id FROM orders)",
        "id IN (SELECT id FROM customers WHERE city = 'Oslo')",
        "id IN (SELECT id FROM customers LIMIT 1)",
        "EXISTS (SELECT 1 FROM flags)",
        "EXISTS (SELECT 1 WHERE false)",
        "name LIKE 'a%'",
        "name NOT LIKE '%'",
        "id NOT IN ('7', id)",
        "id <> id",
        "id = $1",
        "NULL",
        "id BETWEEN '1' AND '3'",
        "upper(id) = id",
    ] {
        let sql = format!("DELETE FROM customers WHERE {condition}");
        let facts = clear(&sql);
        assert!(facts.condition.present && !facts.condition.tautology, "{sql}");
    }
}
