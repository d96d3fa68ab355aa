//! SELECT: names, scopes, lineage.

use super::shop::{clear, facts, facts_on, filtered, outputs, read, table, tables, unresolved};
use crate::sql::facts::{Access, Class, Condition, Destination, LimitFact};

#[test]
fn a_plain_select_names_its_table_columns_condition_and_limit() {
    let facts = clear("SELECT name, ssn FROM customers WHERE id = 7 LIMIT 10");
    assert_eq!((facts.kind.as_str(), facts.class), ("select", Class::Read));
    let customers = table(&facts, "public.customers", Access::Read);
    assert_eq!(customers.columns_read, ["id", "name", "ssn"]);
    assert_eq!(customers.columns_filtered, ["id"]);
    assert_eq!(facts.condition, Condition { present: true, tautology: false, columns: vec!["id".into()] });
    assert_eq!(facts.limit, LimitFact { present: true, rows: 10 });
    assert_eq!(facts.destinations, [Destination::Client]);
}

#[test]
fn outputs_have_postgresqls_names_and_every_source() {
    for (sql, expected) in [
        (
            "SELECT * FROM orders",
            vec![
                "id<-orders.id",
                "customer_id<-orders.customer_id",
                "total<-orders.total",
                "note<-orders.note",
            ],
        ),
        (
            "SELECT o.*, 1 FROM orders o",
            vec![
                "id<-orders.id",
                "customer_id<-orders.customer_id",
                "total<-orders.total",
                "note<-orders.note",
                "<-",
            ],
        ),
        ("TABLE flags", vec!["id<-flags.id", "active<-flags.active"]),
        ("SELECT upper(ssn) || name FROM customers", vec!["<-customers.name,customers.ssn"]),
        ("SELECT upper(ssn) FROM customers", vec!["upper<-customers.ssn"]),
        (
            "SELECT ssn::int, '1'::int, 1::text AS t FROM customers",
            vec!["ssn<-customers.ssn", "int4<-", "t<-"],
        ),
        ("SELECT CASE WHEN ssn = '1' THEN 1 END FROM customers", vec!["case<-customers.ssn"]),
        (
            "SELECT CASE WHEN ssn = '1' THEN 1 ELSE id END FROM customers",
            vec!["id<-customers.id,customers.ssn"],
        ),
        ("SELECT EXISTS (SELECT FROM customers WHERE ssn = '1')", vec!["exists<-customers.ssn"]),
        (
            "SELECT (SELECT max(ssn) FROM customers c WHERE c.id = o.customer_id) FROM orders o",
            vec!["max<-customers.id,customers.ssn,orders.customer_id"],
        ),
        (
            "SELECT ARRAY(SELECT ssn FROM customers), ARRAY[1], ROW(1, 2)",
            vec!["array<-customers.ssn", "array<-", "row<-"],
        ),
        (
            "SELECT coalesce(ssn, name), greatest(id, 1), nullif(city, 'x') FROM customers",
            vec![
                "coalesce<-customers.name,customers.ssn",
                "greatest<-customers.id",
                "nullif<-customers.city",
            ],
        ),
        (
            "SELECT current_user, current_date, session_user",
            vec!["current_user<-", "current_date<-", "session_user<-"],
        ),
        ("VALUES (1, 2), (3, 4)", vec!["column1<-", "column2<-"]),
        ("SELECT id FROM customers UNION SELECT total FROM orders", vec!["id<-customers.id,orders.total"]),
        ("SELECT FROM customers", vec![]),
        (
            "SELECT sum(total) OVER (PARTITION BY customer_id ORDER BY id) FROM orders",
            vec!["sum<-orders.customer_id,orders.id,orders.total"],
        ),
        (
            "SELECT ssn COLLATE \"C\", ssn IS NULL, NOT true FROM customers",
            vec!["ssn<-customers.ssn", "<-customers.ssn", "<-"],
        ),
        ("SELECT extract(year FROM now())", vec!["extract<-"]),
        ("SELECT a.id FROM flags AS a(flag, id)", vec!["id<-flags.active"]),
    ] {
        assert_eq!(outputs(sql), expected, "{sql}");
    }
}

#[test]
fn joins_merge_the_columns_that_using_and_natural_find() {
    for (sql, expected) in [
        (
            "SELECT * FROM flags JOIN hr.payroll USING (id)",
            vec![
                "id<-hr.payroll.id,flags.id",
                "active<-flags.active",
                "customer_id<-hr.payroll.customer_id",
                "salary<-hr.payroll.salary",
            ],
        ),
        ("SELECT * FROM flags NATURAL JOIN flags f", vec!["id<-flags.id", "active<-flags.active"]),
        (
            "SELECT j.* FROM (flags a JOIN flags b USING (id)) AS j(x)",
            vec!["x<-flags.id", "active<-flags.active", "active<-flags.active"],
        ),
        ("SELECT j.* FROM flags a JOIN flags b USING (id) AS j", vec!["id<-flags.id"]),
        (
            "SELECT a.*, b.id FROM flags a JOIN orders b ON a.id = b.id",
            vec!["id<-flags.id", "active<-flags.active", "id<-orders.id"],
        ),
        (
            "SELECT * FROM flags, LATERAL (SELECT flags.active) s",
            vec!["id<-flags.id", "active<-flags.active", "active<-flags.active"],
        ),
        (
            "SELECT * FROM flags f CROSS JOIN (SELECT 1 AS one) s",
            vec!["id<-flags.id", "active<-flags.active", "one<-"],
        ),
    ] {
        assert_eq!(outputs(sql), expected, "{sql}");
    }
    assert_eq!(filtered("SELECT 1 FROM customers JOIN orders USING (id)"), ["id"]);
    assert_eq!(filtered("SELECT 1 FROM customers c JOIN orders o ON c.ssn = o.note"), ["ssn"]);
}

#[test]
fn whole_rows_count_as_all_columns() {
    let all = ["city", "email", "id", "name", "ssn"];
    for sql in [
        "SELECT c FROM customers c",
        "SELECT customers FROM customers",
        "SELECT c.*::text FROM customers c",
        "SELECT row_to_json(c) FROM customers c",
        "SELECT count(c.*) FROM customers c",
        "SELECT ROW(c.*) FROM customers c",
        "SELECT 1 FROM customers c WHERE c IS NOT NULL",
        "SELECT array_agg(x) FROM (SELECT * FROM customers) x",
        "SELECT lower(c) FROM customers c",
        "SELECT public.customers.* FROM customers",
    ] {
        assert_eq!(read(sql), all, "{sql}");
    }
}

#[test]
fn functional_notation_reads_the_column() {
    assert!(read("SELECT ssn(c) FROM customers c").contains(&"ssn".to_owned()));
    assert!(read("SELECT ssn(customers) FROM customers").contains(&"ssn".to_owned()));
    assert!(read("SELECT ssn(c.*) FROM customers c").contains(&"ssn".to_owned()));
    assert_eq!(read("SELECT (c).ssn FROM customers c"), ["ssn"]);
    assert_eq!(outputs("SELECT (c).* FROM flags c"), ["id<-flags.id", "active<-flags.active"]);
    assert_eq!(unresolved("SELECT gone(c) FROM customers c"), ["function gone"]);
    // A function in column's clothes: the row flows into it.
    let facts = clear("SELECT c.peek FROM customers c");
    assert_eq!(facts.functions[0].key, "public.peek");
    assert_eq!(facts.outputs[0].sources.len(), 5);
}

#[test]
fn filters_are_everything_that_decides_which_rows_there_are() {
    for sql in [
        "SELECT id FROM customers WHERE ssn = '1'",
        "SELECT id FROM customers ORDER BY ssn",
        "SELECT id, ssn FROM customers ORDER BY 2",
        "SELECT id, ssn AS x FROM customers ORDER BY x",
        "SELECT count(*) FROM customers GROUP BY ssn",
        "SELECT count(*), ssn AS x FROM customers GROUP BY x",
        "SELECT count(*) FROM customers GROUP BY GROUPING SETS ((ssn), ())",
        "SELECT count(*) FROM customers GROUP BY ROLLUP (ssn)",
        "SELECT count(*) FROM customers HAVING max(ssn) = '1'",
        "SELECT DISTINCT ON (ssn) id FROM customers",
        "SELECT 1 FROM orders LIMIT (SELECT max(ssn)::int FROM customers)",
        "SELECT 1 FROM orders WHERE note IN (SELECT ssn FROM customers)",
        "SELECT 1 FROM orders o WHERE EXISTS (SELECT 1 FROM customers c WHERE c.ssn = o.note)",
        "SELECT 1 FROM (SELECT ssn AS x FROM customers) s WHERE x = '1'",
        "WITH s AS (SELECT ssn AS x FROM customers) SELECT 1 FROM s WHERE x = '1'",
        "SELECT 1 FROM customers a JOIN customers b USING (ssn)",
        "WITH RECURSIVE r AS (SELECT 1 UNION SELECT 2 LIMIT (SELECT max(ssn)::int FROM customers)) SELECT 1",
        "SELECT 1 FROM orders o JOIN LATERAL (SELECT ssn FROM customers) c ON c.ssn = o.note",
    ] {
        assert!(filtered(sql).contains(&"ssn".to_owned()), "{sql}");
    }
}

#[test]
fn a_cte_shadows_a_table_only_after_its_definition() {
    let facts = clear("WITH customers AS (SELECT ssn FROM customers) SELECT * FROM customers");
    assert_eq!(tables(&facts), ["read public.customers"]);
    assert_eq!(facts.outputs[0].sources, ["public.customers.ssn"]);
    let shadowed = clear("WITH customers AS (SELECT 1 AS ssn) SELECT ssn FROM customers");
    assert_eq!(tables(&shadowed), Vec::<String>::new());
    let qualified = clear("WITH customers AS (SELECT 1 AS ssn) SELECT ssn FROM public.customers");
    assert_eq!(tables(&qualified), ["read public.customers"]);
    let out_of_reach = clear("SELECT * FROM (WITH flags AS (SELECT 1) SELECT * FROM flags) s, flags");
    assert_eq!(tables(&out_of_reach), ["read public.flags"]);
}

#[test]
fn a_recursive_cte_carries_what_its_rounds_add() {
    let sql = "WITH RECURSIVE r(a, b) AS (SELECT id, name FROM customers
        UNION ALL SELECT b, ssn FROM r, customers) SELECT a FROM r";
    assert_eq!(outputs(sql), ["a<-customers.id,customers.name,customers.ssn"]);
    let search = "WITH RECURSIVE r AS (SELECT id FROM flags UNION ALL SELECT id FROM r)
        SEARCH DEPTH FIRST BY id SET o CYCLE id SET c USING p SELECT * FROM r";
    assert_eq!(outputs(search).len(), 4);
    let forward = "WITH RECURSIVE a AS (SELECT * FROM b), b AS (SELECT 1) SELECT * FROM a";
    assert_eq!(unresolved(forward)[..1], ["relation b".to_owned()]);
}

#[test]
fn a_subquery_sees_its_siblings_only_by_lateral() {
    // `total` inside the subquery is not that of orders to its left.
    assert_eq!(unresolved("SELECT 1 FROM orders, (SELECT total) s"), ["column total"]);
    assert_eq!(outputs("SELECT s.x FROM orders, LATERAL (SELECT total AS x) s"), ["x<-orders.total"]);
    // ON sees its own two sides and the query around, so `name` is that of customers.
    let sql = "SELECT 1 FROM customers WHERE EXISTS (SELECT 1 FROM orders o JOIN flags f ON o.note = name)";
    assert!(filtered(sql).contains(&"name".to_owned()));
}

#[test]
fn functions_in_from_give_their_columns_or_say_that_they_are_not_known() {
    assert_eq!(outputs("SELECT * FROM generate_series(1, 3)"), ["generate_series<-"]);
    assert_eq!(outputs("SELECT * FROM generate_series(1, 3) n"), ["n<-"]);
    assert_eq!(outputs("SELECT n FROM generate_series(1, 3) n"), ["n<-"]);
    assert_eq!(
        outputs("SELECT * FROM json_each('{}') WITH ORDINALITY"),
        ["key<-", "value<-", "ordinality<-"]
    );
    assert_eq!(outputs("SELECT * FROM peek() AS p(a int, b int)"), ["a<-", "b<-"]);
    assert_eq!(
        outputs("SELECT * FROM ROWS FROM (generate_series(1,2), json_each('{}')) AS r"),
        ["generate_series<-", "key<-", "value<-"]
    );
    assert_eq!(
        outputs("SELECT u.ssn FROM customers c, unnest(ARRAY[c]) u")[0].matches("customers.").count(),
        5
    );
    for lexemes in ["'a:1'::tsvector", "'a:1'::pg_catalog.tsvector", "to_tsvector('a')"] {
        let sql = format!("SELECT * FROM unnest({lexemes})");
        assert_eq!(outputs(&sql), ["lexeme<-", "positions<-", "weights<-"]);
    }
    assert_eq!(outputs("SELECT * FROM unnest('{}'::flags[]) f"), ["id<-", "active<-"]);
    assert_eq!(outputs("SELECT * FROM unnest('{}'::public.flags[], '{1}'::int[])").len(), 3);
    assert_eq!(outputs("SELECT u.* FROM flags f, unnest(ARRAY[f]) u").len(), 2);
    assert_eq!(outputs("SELECT * FROM unnest(ARRAY[null::flags])").len(), 2);
    assert_eq!(outputs("SELECT * FROM unnest('{a}'::text[]) word"), ["word<-"]);
    assert_eq!(unresolved("SELECT * FROM peek()"), ["column *"]);
    assert_eq!(outputs("SELECT p.anything FROM peek(7) p"), ["anything<-"]);
    let facts = clear("SELECT s.x FROM customers c, peek(c.ssn) s");
    assert_eq!(facts.outputs[0].sources, ["public.customers.ssn"]);
}

#[test]
fn functions_are_listed_with_every_candidate() {
    let facts = clear("SELECT lower(name), peek() FROM customers");
    let keys: Vec<_> =
        facts.functions.iter().map(|function| (function.key.as_str(), function.builtin)).collect();
    assert_eq!(keys, [("pg_catalog.lower", true), ("public.lower", false), ("public.peek", false)]);
    assert!(facts.functions[2].security_definer);
    assert_eq!(unresolved("SELECT hidden()"), ["function hidden"]);
    assert_eq!(facts_keys("SELECT hidden()"), ["?.hidden"]);
    assert_eq!(facts_keys("SELECT hr.hidden()"), ["hr.hidden"]);
    assert_eq!(facts_keys("SELECT 1 FROM customers ORDER BY peek()"), ["public.peek"]);
    assert_eq!(
        facts_keys("SELECT count(*) FILTER (WHERE peek()) FROM customers"),
        ["pg_catalog.count", "public.peek"]
    );
}

fn facts_keys(sql: &str) -> Vec<String> {
    facts(sql).functions.into_iter().map(|function| function.key).collect()
}

#[test]
fn names_that_do_not_exist_are_said_to_be_unresolved() {
    for (sql, expected) in [
        ("SELECT 1 FROM nowhere", "relation nowhere"),
        ("SELECT 1 FROM pg_temp.customers", "relation pg_temp.customers"),
        ("SELECT 1 FROM payroll", "relation payroll"),
        ("SELECT salary FROM customers", "column salary"),
        ("SELECT c.salary FROM customers c", "column c.salary"),
        ("SELECT customers.id FROM customers c", "column customers.id"),
        ("SELECT hr.customers.id FROM customers", "column hr.customers.id"),
        ("SELECT hr.customers.* FROM customers", "column hr.customers.*"),
        ("SELECT 1 FROM customers ORDER BY salary", "column salary"),
        ("SELECT 1 FROM customers JOIN flags USING (name)", "column name"),
        ("SELECT id OPERATOR(public.+) 1 FROM flags", "operator public.+"),
        ("SELECT id <==> '[1]' FROM flags", "operator <==>"),
        ("SELECT id %% '[1]' FROM flags", "operator %%"),
        ("SELECT id OPERATOR(hr.<=>) '[1]' FROM flags", "operator hr.<=>"),
        ("SELECT (home.street).* FROM people AS home", "column (...).*"),
        ("SELECT (x).* FROM (SELECT home FROM people) AS q (x)", "column (...).*"),
        ("SELECT (ROW(1, p.*)).* FROM people p", "column (...).*"),
        ("SELECT (lower(ssn)).* FROM customers", "column (...).*"),
        ("SELECT * FROM jsonb_populate_record(NULL::nowhere, '{}')", "column *"),
        ("SELECT * FROM jsonb_populate_record(NULL::place[], '{}')", "column *"),
        ("SELECT regtype(1, 2)", "function regtype"),
        ("SELECT regtype(DISTINCT ssn) FROM customers", "function regtype"),
        ("SELECT public.regtype('int')", "function public.regtype"),
        ("SELECT id ==> '[1]' FROM flags", "operator ==>"),
        ("SELECT 1 WHERE 1 OPERATOR(public.=) ANY (SELECT 1)", "operator public.="),
        ("SELECT id FROM flags ORDER BY id USING OPERATOR(public.<)", "operator public.<"),
        ("SELECT (peek()).* ", "column (...).*"),
        ("SELECT 1 FROM customers TABLESAMPLE mine (1)", "function mine"),
    ] {
        assert!(unresolved(sql).contains(&expected.to_owned()), "{sql}: {:?}", unresolved(sql));
    }
    assert_eq!(unresolved("SELECT ctid, xmin, customers.tableoid FROM customers"), Vec::<String>::new());
    assert_eq!(unresolved("SELECT id OPERATOR(pg_catalog.+) 1 FROM flags"), Vec::<String>::new());
}

#[test]
fn the_fields_of_a_composite_value_are_known_by_its_type_and_each_is_all_of_it() {
    for (sql, expected) in [
        ("SELECT (home).* FROM people", ["street<-people.home", "town<-people.home"]),
        ("SELECT (p.b).* FROM people AS p (a, b)", ["street<-people.home", "town<-people.home"]),
        ("SELECT (split(ssn)).* FROM customers", ["head<-customers.ssn", "tail<-customers.ssn"]),
        ("SELECT (move_to(ssn)).* FROM customers", ["street<-customers.ssn", "town<-customers.ssn"]),
        (
            "SELECT (ROW(ssn, city)).* FROM customers",
            ["f1<-customers.city,customers.ssn", "f2<-customers.city,customers.ssn"],
        ),
        (
            "SELECT * FROM people, jsonb_populate_record(NULL::place, home::jsonb) q OFFSET 0",
            ["id<-people.id", "home<-people.home"],
        ),
    ] {
        assert_eq!(outputs(sql).get(..2), Some(&expected.map(str::to_owned)[..]), "{sql}");
    }
    let populated = outputs("SELECT q.* FROM people, jsonb_populate_record(NULL::place, home::jsonb) q");
    assert_eq!(populated, ["street<-people.home", "town<-people.home"]);
}

#[test]
fn an_operator_of_the_databases_own_is_a_call_of_its_function() {
    for sql in [
        "SELECT id FROM customers ORDER BY ssn <=> '[1]'",
        "SELECT id FROM customers ORDER BY ssn OPERATOR(public.<=>) '[1]'",
    ] {
        let facts = clear(sql);
        let called: Vec<_> = facts.functions.iter().map(|it| (it.key.as_str(), it.builtin)).collect();
        assert_eq!(called, [("public.distance", false)], "{sql}");
    }
    let called = clear("SELECT id OPERATOR(hr.%%) 1 FROM flags").functions;
    assert_eq!(called.iter().map(|it| it.key.as_str()).collect::<Vec<_>>(), ["hr.hidden"]);
}

#[test]
fn a_types_name_in_front_of_one_value_is_a_cast() {
    assert_eq!(
        outputs("SELECT tsquery(ssn), pg_catalog.regtype(city) FROM customers"),
        ["tsquery<-customers.ssn", "regtype<-customers.city",]
    );
    assert_eq!(clear("SELECT regtype('int4')").functions, []);
}

#[test]
fn pg_catalog_comes_first_on_the_path() {
    assert_eq!(tables(&clear("SELECT relname FROM pg_class")), ["read pg_catalog.pg_class"]);
    assert!(table(&clear("SELECT 1 FROM pg_class"), "pg_catalog.pg_class", Access::Read).system);
    assert_eq!(unresolved("SELECT secret FROM pg_class"), ["column secret"]);
}

#[test]
fn partitions_are_touched_with_their_parent_unless_only_says_otherwise() {
    let facts = clear("SELECT body FROM events WHERE id = 1");
    assert_eq!(tables(&facts), ["read public.events", "read public.events_2026"]);
    let child = table(&facts, "public.events_2026", Access::Read);
    assert_eq!((child.columns_read.len(), child.via_view.as_str()), (2, "public.events"));
    assert_eq!(tables(&clear("SELECT body FROM ONLY events")), ["read public.events"]);
    assert_eq!(tables(&clear("SELECT body FROM events_2026")), ["read public.events_2026"]);
    assert_eq!(
        tables(&clear("DELETE FROM events WHERE id = 1")),
        ["delete public.events", "delete public.events_2026"]
    );
}

#[test]
fn limits_are_exact_or_unknown() {
    for (sql, expected) in [
        ("SELECT 1 LIMIT 5", (true, 5)),
        ("SELECT 1 LIMIT ALL", (false, -1)),
        ("SELECT 1 LIMIT $1", (true, -1)),
        ("SELECT 1 LIMIT 2+3", (true, -1)),
        ("SELECT 1 OFFSET 3", (false, -1)),
        ("SELECT id FROM flags ORDER BY id FETCH FIRST 3 ROWS WITH TIES", (true, -1)),
        ("SELECT 1 FETCH FIRST ROW ONLY", (true, 1)),
        ("(SELECT 1 LIMIT 2) UNION ALL SELECT 2", (false, -1)),
        ("SELECT 1 LIMIT 9999999999", (true, 9_999_999_999)),
    ] {
        let limit = clear(sql).limit;
        assert_eq!((limit.present, limit.rows), expected, "{sql}");
    }
}

#[test]
fn locks_and_new_tables_are_no_plain_reads() {
    assert!(clear("SELECT 1 FROM flags FOR UPDATE").locks_rows);
    assert!(clear("SELECT 1 FROM (SELECT 1 FROM flags FOR SHARE) s").locks_rows);
    let into = clear("SELECT ssn INTO leak FROM customers");
    assert_eq!((into.kind.as_str(), into.class), ("select_into", Class::Ddl));
    assert_eq!(tables(&into), ["read public.customers", "define public.leak"]);
    assert_eq!(into.destinations, [Destination::Table]);
    let temporary = clear("SELECT 1 INTO TEMP leak");
    assert_eq!(tables(&temporary), ["define pg_temp.leak"]);
    for hidden in [
        "SELECT 1 INTO TEMP orders",
        "CREATE TEMP TABLE orders (id int)",
        "CREATE TABLE pg_temp.orders AS SELECT 1",
        "CREATE TEMP VIEW orders AS SELECT 1",
    ] {
        let facts = facts(hidden);
        let found: Vec<&str> = facts.unresolved.iter().map(|thing| thing.what.as_str()).collect();
        assert_eq!(found, ["temporary relation"], "{hidden}");
    }
}

#[test]
fn syntax_that_the_server_reads_otherwise_is_not_understood() {
    for (sql, needs) in [
        ("SELECT json_scalar(1)", 17),
        ("SELECT json_serialize('1')", 17),
        ("SELECT JSON('1')", 17),
        ("SELECT json_value('{}', '$')", 17),
        ("SELECT * FROM JSON_TABLE('[]', '$[*]' COLUMNS (a int PATH '$')) j", 17),
        ("SELECT json_object('a': 1)", 16),
        ("SELECT json_array(1, 2)", 16),
        ("SELECT '1' IS JSON", 16),
        ("UPDATE flags SET active = '1' WHERE id = '1' RETURNING WITH (OLD AS o) o.id", 18),
        (
            "MERGE INTO flags USING orders ON flags.id = orders.id WHEN MATCHED THEN DELETE RETURNING merge_action()",
            17,
        ),
    ] {
        let before = facts_on((needs - 1) * 10_000, sql);
        let why = format!("needs PostgreSQL {needs}");
        assert!(before.unresolved.iter().any(|entry| entry.why == why), "{sql}: {:?}", before.unresolved);
        assert_eq!(facts_on(needs * 10_000, sql).unresolved, [], "{sql}");
    }
}

#[test]
fn xml_is_walked() {
    let sql = "SELECT xmlelement(name a, xmlattributes(ssn AS b), city), xmlforest(name) FROM customers";
    assert_eq!(outputs(sql), ["xmlelement<-customers.city,customers.ssn", "xmlforest<-customers.name"]);
    let table = "SELECT x.* FROM customers, XMLTABLE('/a' PASSING ssn COLUMNS p text, o FOR ORDINALITY) x";
    assert_eq!(outputs(table), ["p<-customers.ssn", "o<-customers.ssn"]);
}
