-- Names
SELECT * FROM customers WHERE id <= 3
TABLE customers LIMIT 2
SELECT "customers"."ssn" FROM "public"."customers" LIMIT 1
SELECT shop.public.customers.ssn FROM shop.public.customers LIMIT 1
SELECT id FROM customers LIMIT (SELECT ascii(ssn) FROM customers WHERE id=1)
SELECT id FROM customers OFFSET (SELECT length(email) FROM customers WHERE id=1) LIMIT 1
SELECT current_setting(email) FROM customers WHERE id=1
SELECT encode(convert_to(ssn,'UTF8'),'base64'), decode(ssn,'escape') FROM customers WHERE id=1
SELECT COALESCE(ssn,'x'), NULLIF(ssn,'***-**-****'), GREATEST(ssn,'0'), LEAST(email,'zzzz') FROM customers LIMIT 1
SELECT CASE ssn WHEN '***-**-****' THEN 'masked' ELSE ssn END FROM customers LIMIT 1
SELECT * FROM customers TABLESAMPLE SYSTEM (100) LIMIT 1
SELECT * FROM ONLY public.customers LIMIT 1
SELECT * FROM public.customers * LIMIT 1
SELECT email FROM customer_overview WHERE id = 1
SELECT o FROM customer_overview o LIMIT 1
SELECT o.email(o) FROM customer_overview o LIMIT 1
SELECT * FROM customer_overview TABLESAMPLE SYSTEM(1)
SELECT ssn FROM customers FOR UPDATE
SELECT id FROM products FOR SHARE
SELECT id FROM tickets WHERE id=1 FOR NO KEY UPDATE OF tickets SKIP LOCKED
SELECT 1; SELECT ssn FROM customers LIMIT 1
SELECT /* ; */ ssn -- x
SELECT ssn FROM customers WHERE id = 1 /* nested /* */ */
SELECT E'\'; DELETE FROM tickets; --' FROM customers LIMIT 1
SELECT ssn COLLATE "C" FROM customers LIMIT 1
SELECT ssn AT TIME ZONE 'UTC' FROM customers LIMIT 1
SELECT ctid, * FROM customers LIMIT 1
SELECT ssn FROM customers WHERE ctid='(0,1)'
SELECT ssn <> '' AND ssn ~ '^1' FROM customers LIMIT 1
SELECT ssn OPERATOR(public.||) 'x' FROM customers LIMIT 1
SELECT ALL ssn FROM customers LIMIT 1
SELECT customers FROM customers LIMIT 1
SELECT public.customers FROM public.customers LIMIT 1
SELECT public.customers.* FROM public.customers LIMIT 1
SELECT customers.customers FROM customers LIMIT 1
SELECT o.customers FROM orders o, customers LIMIT 1
SELECT ssn FROM orders, customers LIMIT 1
SELECT (orders).ssn FROM orders, customers orders2 LIMIT 1
SELECT s.ssn FROM (SELECT * FROM customers) AS s(id, name, ssn) LIMIT 1
SELECT has_column_privilege('customers','ssn','select')
SELECT bit_length(ssn), char_length(email), strpos(email,'@'), ascii(ssn) FROM customers LIMIT 1
SELECT "C"."ssn" FROM customers "C" LIMIT 1
SELECT U&"d!0061t!0061" UESCAPE '!' FROM (SELECT ssn AS data FROM customers LIMIT 1) x
SELECT ssn AS "ssn; --", email AS "'" FROM customers LIMIT 1
SELECT sum(length(email)) FROM customers
SELECT 1/(CASE WHEN email LIKE 'p%' THEN 0 ELSE 1 END) FROM customers WHERE id=1
SELECT 1/(length(ssn)-11) FROM customers WHERE id=1
SELECT overlay(ssn placing 'x' from 1), position('-' in ssn), trim(both '*' from ssn), ssn LIKE '%' ESCAPE '\' FROM customers LIMIT 1
SELECT tableoid, ssn FROM customers LIMIT 1
SELECT oid FROM customers
SELECT * FROM customers_email_key
SELECT * FROM customers_pkey
SELECT current_setting('data_directory')
SELECT * FROM tickets FOR UPDATE; SELECT 1
SELECT ssn || '' FROM customers WHERE id <= 3
SELECT U&"ss\006E" FROM customers WHERE id <= 3
SELECT reverse(ssn), md5(email) FROM customers WHERE id <= 3
SELECT string_agg(ssn, ',') FROM customers WHERE id <= 3
SELECT * FROM (TABLE customers) t LIMIT 3
SELECT * FROM ONLY customers LIMIT 3
SELECT * FROM customer_overview LIMIT 3
SELECT (SELECT ssn FROM customers WHERE id = 1)
SELECT 1 END; SELECT ssn FROM customers WHERE id <= 3

-- Casts, rows, JSON, XML and functions over the value
SELECT U&"customers"."ssn" FROM U&"c\0075stomers" LIMIT 1
SELECT c.* FROM customers AS c(a,b,c,d,e,f) LIMIT 1
SELECT e FROM customers AS c(a,b,d,f,e,g) LIMIT 1
SELECT (c.*)::text FROM customers c LIMIT 1
SELECT (SELECT x FROM (SELECT c.*) x) FROM customers c LIMIT 1
SELECT to_json(ROW(c.*)) FROM customers c LIMIT 1
SELECT json_object_agg(id, c) FROM customers c WHERE id < 3
SELECT json_build_object('a', c) FROM customers c WHERE id < 3
SELECT jsonb_path_query(to_jsonb(c), '$.*') FROM customers c WHERE id < 2
SELECT hstore(c) FROM customers c LIMIT 1
SELECT email(c), customers.ssn(c) FROM customers c LIMIT 1
SELECT c.email.x FROM customers c LIMIT 1
SELECT (c).card_number FROM (SELECT c FROM customers c LIMIT 1) x
SELECT (x.c).* FROM (SELECT c FROM customers c LIMIT 1) x
SELECT (array_agg(c))[1].email FROM customers c
SELECT unnest(array_agg(c)) FROM customers c WHERE id < 3
SELECT (unnest(array_agg(c))).ssn FROM customers c WHERE id < 3
SELECT format('%s', c), format('%1$s', c.ssn), concat_ws(',', c), quote_literal(c.ssn) FROM customers c LIMIT 1
SELECT row(c.*)::customers FROM customers c LIMIT 1
SELECT (jsonb_populate_record(c, '{}')).ssn FROM customers c LIMIT 1
SELECT (jsonb_populate_record(NULL::customers, to_jsonb(c))).ssn FROM customers c LIMIT 1
SELECT x.* FROM customers c, LATERAL (SELECT c.ssn, c.email) x LIMIT 1
SELECT ssn::int FROM customers WHERE id=1
SELECT ssn::date FROM customers WHERE id=1
SELECT CAST(email AS numeric) FROM customers WHERE id=1
SELECT ('{' || email || '}')::int[] FROM customers WHERE id=1
SELECT email::xml FROM customers WHERE id=1
SELECT ('<a>' || email)::xml FROM customers WHERE id=1
SELECT email::regclass FROM customers WHERE id=1
SELECT email::regproc FROM customers WHERE id=1
SELECT email::json FROM customers WHERE id=1
SELECT to_timestamp(email, 'YYYY') FROM customers WHERE id=1
SELECT regexp_replace(ssn, '(.)', '\1x', 'g'), regexp_matches(email, '(.*)@'), string_to_array(phone,'-'), translate(ssn,'0123456789','abcdefghij') FROM customers WHERE id=1
SELECT c = (SELECT d FROM customers d WHERE d.id=1) FROM customers c LIMIT 2
SELECT c < ROW(1,'x','y') FROM customers c LIMIT 1
SELECT c *= c, c *< c FROM customers c LIMIT 1
SELECT ssn FROM customers TABLESAMPLE BERNOULLI ((SELECT length(ssn)::real FROM customers WHERE id=1)) LIMIT 1
SELECT xmlelement(name a, xmlattributes(ssn AS s), email), xmlforest(ssn, email), xmlpi(name php, ssn), xmlconcat(xmlelement(name b, c.ssn)) FROM customers c LIMIT 1
SELECT xmlserialize(content xmlelement(name a, ssn) AS text) FROM customers LIMIT 1
SELECT x.* FROM customers c, XMLTABLE('/a' PASSING xmlelement(name a, c.ssn) COLUMNS v text PATH '.') x WHERE c.id=1
SELECT to_tsvector(ssn), ts_headline(email, to_tsquery('a')), similarity(ssn,'1') FROM customers LIMIT 1
SELECT json_agg(json_build_array(ssn, email)) FROM customers WHERE id<3
SELECT string_agg(c::text, '|') FROM customers c WHERE id < 3
SELECT (SELECT string_agg(x, ',') FROM unnest(ARRAY[c.ssn, c.email]) x) FROM customers c LIMIT 1
SELECT row_to_json(s) FROM (SELECT ssn AS a, email FROM customers LIMIT 1) s
SELECT xml_is_well_formed('x'), xmlexists('/a' PASSING email::xml) FROM customers LIMIT 1
SELECT col_description('customers'::regclass, 5)
SELECT json_object(array_agg(id::text), array_agg(ssn)) FROM customers WHERE id<3
SELECT jsonb_set('{}', '{a}', to_jsonb(ssn)) FROM customers LIMIT 1
SELECT array_to_json(array_agg(c)) FROM customers c WHERE id<3
SELECT array_to_string(array_agg(c::text), ',') FROM customers c WHERE id<3
SELECT json_populate_recordset(NULL::customers, json_agg(c)) FROM customers c WHERE id<3
SELECT * FROM json_populate_recordset(NULL::customers, (SELECT json_agg(c) FROM customers c WHERE id<3))
SELECT r.* FROM customers c, jsonb_populate_record(c, to_jsonb(c)) r WHERE c.id<3
SELECT x FROM customers c, unnest(ARRAY[c]) x WHERE c.id<3
SELECT x.ssn FROM customers c, unnest(ARRAY[c]) x WHERE c.id<3
SELECT (SELECT (d).ssn FROM (SELECT c) AS d(d)) FROM customers c LIMIT 1
SELECT (r).f3 FROM (SELECT ROW(c.*) r FROM customers c LIMIT 1) x
SELECT * FROM customers "c""x" WHERE "c""x".id=1
SELECT sum(ssn::text::bytea::text::int) FROM customers
SELECT xmlparse(document email) FROM customers LIMIT 1
SELECT XMLTABLE.* FROM customers, XMLTABLE('//x' PASSING ('<x>'||ssn||'</x>')::xml COLUMNS a text PATH '.') LIMIT 1
SELECT xpath('/x/text()', ('<x>'||email||'</x>')::xml) FROM customers LIMIT 1
SELECT xmlagg(xmlelement(name s, c.ssn)) FROM customers c WHERE id<3
SELECT json_path FROM jsonb_path_query((SELECT to_jsonb(c) FROM customers c LIMIT 1), '$.ssn') json_path
SELECT (string_to_array(c::text, ','))[5] FROM customers c LIMIT 1
SELECT CAST(c AS text), CAST(ROW(c.ssn) AS text) FROM customers c LIMIT 1
SELECT text(c), bpchar(ssn), "char"(ssn), name(ssn), varchar(ssn) FROM customers c LIMIT 1
SELECT c.text FROM customers c LIMIT 1
SELECT c.to_jsonb FROM customers c LIMIT 1
SELECT c.row_to_json, c.to_json FROM customers c LIMIT 1
SELECT (c).to_jsonb FROM customers c LIMIT 1
SELECT (c.*).ssn FROM customers c LIMIT 1
SELECT c.concat FROM customers c LIMIT 1
SELECT c.customers FROM customers c LIMIT 1
SELECT (c.customers).ssn FROM customers c LIMIT 1
SELECT array(SELECT c FROM customers c LIMIT 1)
SELECT (ARRAY(SELECT c FROM customers c LIMIT 1))[1].ssn
SELECT array_agg(ROW(c.ssn, c.*)) FROM customers c WHERE id<2
SELECT multirange(NULL::int4range), ssn FROM customers LIMIT 1
SELECT GREATEST(c, c) FROM customers c LIMIT 1
SELECT COALESCE(c, c) FROM customers c LIMIT 1
SELECT (CASE WHEN true THEN c END).ssn FROM customers c LIMIT 1
SELECT (COALESCE(c, NULL)).ssn FROM customers c LIMIT 1
SELECT c.tableoid::regclass, c.ctid FROM customers c LIMIT 1
SELECT c FROM customers c WHERE id <= 3
SELECT c::text FROM customers c WHERE id <= 3
SELECT row_to_json(c) FROM customers c WHERE id <= 3
SELECT to_jsonb(c) FROM customers c WHERE id <= 3
SELECT (c).ssn FROM customers c WHERE id <= 3
SELECT ssn(c) FROM customers c WHERE id <= 3
SELECT array_agg(c) FROM customers c WHERE id <= 3
SELECT ssn::int FROM customers WHERE id <= 3
SELECT xmlforest(ssn) FROM customers WHERE id <= 3

-- Oracles: predicates, order, groups, windows, joins
SELECT * FROM jsonb_to_recordset((SELECT jsonb_agg(c) FROM customers c WHERE id<3)) AS x(id int, ssn text)
SELECT x.* FROM customers c CROSS JOIN LATERAL json_each_text(row_to_json(c)) x WHERE c.id=1
SELECT * FROM customers c NATURAL JOIN customers d LIMIT 1
SELECT * FROM customers c JOIN customers d USING (ssn) LIMIT 1
SELECT * FROM customers c JOIN customers d USING (id) WHERE c.id=1
SELECT k.ssn FROM customers c JOIN customers d USING (id, ssn) AS k LIMIT 1
SELECT j.* FROM (customers c JOIN orders o ON o.customer_id=c.id) j(a,b,c,d,e,f) LIMIT 1
SELECT * FROM (customers c JOIN orders o ON o.customer_id=c.id) AS j LIMIT 1
SELECT id FROM customers WHERE ssn LIKE '1%' LIMIT 5
SELECT id FROM customers ORDER BY ssn LIMIT 5
SELECT id FROM customers ORDER BY 5, id LIMIT 5
SELECT id, rank() OVER (ORDER BY ssn) FROM customers ORDER BY id LIMIT 5
SELECT id, ntile(100) OVER w FROM customers WINDOW w AS (ORDER BY card_number) LIMIT 5
SELECT DISTINCT ON (ssn) id FROM customers
SELECT count(DISTINCT ssn), min(email), max(phone) FROM customers
SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY ssn), mode() WITHIN GROUP (ORDER BY email) FROM customers
SELECT substr(ssn,1,1), count(*) FROM customers GROUP BY 1
SELECT ssn, email, count(*) FROM customers GROUP BY GROUPING SETS ((ssn),(email),())
SELECT ssn, count(*) FROM customers GROUP BY CUBE(ssn, phone) LIMIT 5
SELECT grouping(ssn) FROM customers GROUP BY ROLLUP(ssn)
SELECT count(*) FILTER (WHERE ssn < '5') FROM customers
SELECT count(*) FROM customers GROUP BY country HAVING max(ssn) > '3'
SELECT id FROM customers WHERE (id, ssn) IN (SELECT id, ssn FROM customers WHERE ssn > '3') ORDER BY 1 LIMIT 3
SELECT id FROM customers WHERE ssn = ANY (ARRAY(SELECT ssn FROM customers)) LIMIT 3
SELECT o.id FROM orders o WHERE EXISTS (SELECT 1 FROM customers c WHERE c.id=o.customer_id AND c.ssn > '5') LIMIT 3
SELECT c IS DISTINCT FROM NULL, c IS NULL, c IS NOT NULL FROM customers c LIMIT 1
SELECT * FROM customer_overview WHERE email > 'm' LIMIT 1
SELECT array_position(ARRAY(SELECT ssn FROM customers ORDER BY id), ssn) FROM customers LIMIT 1
SELECT lag(ssn) OVER (), first_value(email) OVER (), nth_value(c, 1) OVER () FROM customers c LIMIT 1
SELECT c.ssn FROM orders c JOIN customers c2 ON true LIMIT 1
SELECT * FROM customers c ORDER BY c LIMIT 2
SELECT c.id FROM customers c GROUP BY c.id HAVING c.email > 'a' LIMIT 2
SELECT c.id FROM customers c ORDER BY c.email USING < , id LIMIT 2
SELECT id FROM customers c ORDER BY (c).ssn, id LIMIT 2
SELECT rank('m') WITHIN GROUP (ORDER BY email) FROM customers
SELECT id FROM customers WHERE row(ssn, email) > row('5','m') LIMIT 1
SELECT id FROM customers WHERE ssn IS DISTINCT FROM '***-**-****'
SELECT id FROM customers WHERE ssn SIMILAR TO '[0-4]%'
SELECT id FROM customers WHERE ssn BETWEEN SYMMETRIC '1' AND '5'
SELECT o.id FROM orders o JOIN customers c ON c.id=o.customer_id AND c.card_number LIKE '4%' LIMIT 2
SELECT id, exists(SELECT FROM customers d WHERE d.ssn < c.ssn) FROM customers c LIMIT 2
SELECT count(*) FROM customers a, customers b WHERE a.ssn = b.ssn AND a.id<3 AND b.id<3
SELECT id FROM customers WHERE ssn ^@ '5'
SELECT id FROM customers WHERE starts_with(email,'p')
SELECT * FROM customers WHERE (SELECT ssn) = 'x'
SELECT * FROM (SELECT ssn, row_number() OVER (ORDER BY card_number, id) r, id FROM customers) x ORDER BY r LIMIT 3
SELECT * FROM customers c, LATERAL (SELECT count(*) FROM customers d WHERE d.ssn < c.ssn) x LIMIT 2
SELECT a.* FROM customers a FULL JOIN customers b ON a.ssn=b.ssn AND a.id=b.id LIMIT 1
SELECT max(c::text) FROM customers c
SELECT max(c) FROM customers c
SELECT (max(row(id, c.*))) FROM customers c
SELECT c.id, c.ssn FROM customers c WHERE c.id = ANY ('{1,2}') AND c.ssn = c.ssn
SELECT d.ssn FROM customers c JOIN customers d ON d.id = c.id WHERE c.id = 1
SELECT x.ssn FROM customers c LEFT JOIN LATERAL (SELECT c.ssn) x ON true LIMIT 1
SELECT ssn FROM customers WHERE id = (SELECT min(customer_id) FROM orders)
SELECT customers.ssn, orders.* FROM orders LEFT JOIN customers ON customers.id = orders.customer_id LIMIT 1
SELECT c FROM orders o LEFT JOIN customers c ON c.id = o.customer_id AND false LIMIT 1
SELECT to_jsonb(c) FROM orders o LEFT JOIN customers c ON c.id=o.customer_id LIMIT 1
SELECT c.ssn IS NULL FROM orders o LEFT JOIN customers c ON c.id=o.customer_id AND c.ssn > '5' LIMIT 3
SELECT count(*) FROM orders o LEFT JOIN customers c ON c.id=o.customer_id AND c.ssn > '5' WHERE c.id IS NULL
SELECT name FROM customers GROUP BY name, ssn ORDER BY ssn LIMIT 1
SELECT DISTINCT email, ssn FROM customers ORDER BY 2
SELECT x.max FROM (SELECT max(ssn) FROM customers) x
SELECT c.ssn FROM (customers c CROSS JOIN products p) LIMIT 1
SELECT ssn FROM (customers CROSS JOIN (SELECT 1 one) q) LIMIT 1
SELECT customers.ssn FROM (orders JOIN customers ON customers.id=orders.customer_id) LIMIT 1
SELECT * FROM customers NATURAL LEFT JOIN (SELECT 1 AS id) x LIMIT 1
SELECT email FROM customers NATURAL JOIN customer_overview LIMIT 1
SELECT * FROM customers JOIN customer_overview USING (email) LIMIT 1
SELECT * FROM customers c JOIN customer_overview o USING (id, name) LIMIT 1
SELECT COUNT(*) FROM customers c JOIN (SELECT 'a@example.com' AS email) x USING (email)
SELECT count(*) FROM customers c JOIN (SELECT 'petra' AS email) x ON c.email > x.email
SELECT id FROM customers WHERE email = $1
SELECT ssn FROM customers c WINDOW w AS (PARTITION BY ssn ORDER BY email) LIMIT 1
SELECT sum(1) OVER (ORDER BY ssn RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) FROM customers LIMIT 1
SELECT id FROM customers c WHERE (c.ssn, c.email) OVERLAPS (c.ssn, c.email)
SELECT max(ssn) FROM customers

-- CTEs, VALUES and set operations
SELECT ssn FROM customers FETCH FIRST 1 ROW WITH TIES
SELECT ssn FROM customers ORDER BY id FETCH FIRST 1 ROW WITH TIES
WITH RECURSIVE r AS (SELECT id, ssn FROM customers WHERE id=1 UNION ALL SELECT c.id, c.ssn FROM customers c JOIN r ON c.id=r.id+1 WHERE c.id<4) SELECT * FROM r
WITH RECURSIVE r(n, s) AS (SELECT 1, (SELECT ssn FROM customers WHERE id=1) UNION SELECT n+1, s FROM r WHERE n<3) SEARCH DEPTH FIRST BY n SET o SELECT * FROM r
WITH RECURSIVE r(n, s) AS (SELECT 1, (SELECT ssn FROM customers WHERE id=1) UNION SELECT n+1, s FROM r WHERE n<3) CYCLE n SET is_c TO (SELECT ssn FROM customers WHERE id=1) DEFAULT 'x' USING p SELECT * FROM r
WITH customers AS (SELECT * FROM public.customers) SELECT * FROM customers LIMIT 1
WITH customers AS (SELECT * FROM customers) SELECT ssn FROM customers LIMIT 1
WITH RECURSIVE customers AS (SELECT 1 AS id) SELECT * FROM public.customers LIMIT 1
WITH x AS NOT MATERIALIZED (TABLE customers) TABLE x LIMIT 1
SELECT * FROM (WITH customers AS (SELECT 1) SELECT 1) z, customers LIMIT 1
VALUES ((SELECT ssn FROM customers WHERE id=1), (SELECT c::text FROM customers c WHERE id=1))
SELECT * FROM (VALUES ((SELECT c FROM customers c WHERE id=1))) v(r)
SELECT (v.r).ssn FROM (VALUES ((SELECT c FROM customers c WHERE id=1))) v(r)
SELECT ssn FROM customers INTERSECT SELECT ssn FROM customers
SELECT ssn FROM customers EXCEPT ALL SELECT '***-**-****' LIMIT 2
WITH orders AS (SELECT 1 AS id, 1 AS customer_id, 'x' AS status, 1 AS total) SELECT * FROM customer_overview LIMIT 1
SELECT id FROM customers WHERE (email) IN (VALUES ('x'),('hidden@masked.invalid')) LIMIT 1
SELECT s.* FROM customers c CROSS JOIN LATERAL (VALUES (c.ssn, c.email, c)) s(a,b,d) LIMIT 1
SELECT * FROM (TABLE customers UNION ALL TABLE customers) x LIMIT 1
SELECT * FROM ((SELECT * FROM customers) EXCEPT (SELECT * FROM customers WHERE id>3)) x
(SELECT ssn FROM customers ORDER BY id LIMIT 1) UNION ALL (WITH customers AS (SELECT 'a' ssn) SELECT ssn FROM customers)
WITH a AS (SELECT * FROM customers), b AS (SELECT a FROM a) SELECT (a).ssn FROM b LIMIT 1
WITH a AS (SELECT c FROM customers c) SELECT to_jsonb(a.c) FROM a LIMIT 1
WITH x(ssn) AS (SELECT email FROM customers), customers AS (SELECT * FROM x) SELECT * FROM customers LIMIT 1
WITH x AS (SELECT * FROM customers WHERE id <= 3) SELECT * FROM x
SELECT ssn FROM customers UNION SELECT ssn FROM customers LIMIT 3

-- COPY
COPY customers TO STDOUT
COPY customers(id, email, ssn) TO STDOUT (FORMAT csv, HEADER)
COPY public.customers TO STDOUT WITH BINARY
COPY (SELECT * FROM customers WHERE id<3) TO STDOUT
COPY (TABLE customers) TO STDOUT (FORMAT text, DELIMITER '|')
COPY customer_overview TO STDOUT
COPY customers TO PROGRAM 'cat'
COPY customers TO '/tmp/x'
COPY (SELECT 1) TO PROGRAM 'id'
COPY (SELECT ssn FROM customers) TO STDOUT (FORMAT csv, FORCE_QUOTE *)
COPY customers TO STDOUT (FORMAT csv, FORCE_QUOTE (ssn))
COPY customers (ssn, id) TO STDOUT
COPY customers (nope) TO STDOUT
COPY customers TO STDOUT (ENCODING 'SJIS')
COPY customers WHERE id=1 TO STDOUT
SELECT 1; COPY customers TO STDOUT; SELECT 2
COPY (SELECT ssn FROM customers WHERE id <= 3) TO STDOUT

-- Cursors
BEGIN; DECLARE c CURSOR FOR SELECT * FROM customers ORDER BY id; FETCH 2 FROM c; MOVE 1 FROM c; FETCH RELATIVE 1 FROM c; COMMIT
DECLARE c CURSOR WITH HOLD FOR SELECT ssn, c FROM customers c ORDER BY id; FETCH 1 FROM c; CLOSE c
BEGIN; DECLARE c BINARY CURSOR FOR SELECT ssn FROM customers ORDER BY id; FETCH 1 FROM c; COMMIT
START TRANSACTION; DECLARE "" CURSOR FOR SELECT ssn FROM customers; ROLLBACK
BEGIN; DECLARE c SCROLL CURSOR FOR SELECT ssn FROM customers ORDER BY id; FETCH LAST FROM c; FETCH ABSOLUTE 3 FROM c; FETCH BACKWARD 1 FROM c; ROLLBACK

-- Plans
EXPLAIN SELECT * FROM customers WHERE ssn='1'
EXPLAIN (ANALYZE, TIMING off, SUMMARY off) SELECT * FROM customers
EXPLAIN (ANALYZE, TIMING off, SUMMARY off, VERBOSE) SELECT ssn, count(*) FROM customers WHERE email > 'm' GROUP BY ssn ORDER BY 1
EXPLAIN SELECT * FROM customers WHERE email = 'a' OR ssn LIKE '5%' ORDER BY card_number
EXPLAIN (VERBOSE) SELECT DISTINCT phone FROM customers c JOIN customers d USING (id)
EXPLAIN (VERBOSE) SELECT c FROM customers c
EXPLAIN (ANALYZE, TIMING off, SUMMARY off, VERBOSE, FORMAT json) SELECT ssn FROM customers WHERE id=1
EXPLAIN SELECT * FROM customer_overview WHERE email > 'a'
EXPLAIN ANALYZE CREATE TABLE zz AS SELECT 1
EXPLAIN ANALYZE EXECUTE foo
EXPLAIN ANALYZE DECLARE c CURSOR FOR SELECT ssn FROM customers
EXPLAIN (SETTINGS) SELECT 1
EXPLAIN (GENERIC_PLAN) SELECT ssn FROM customers
EXPLAIN (COSTS off) SELECT 1 FROM pg_stats
EXPLAIN SELECT * FROM orders WHERE customer_id IN (SELECT id FROM customers WHERE ssn>'5')
EXPLAIN (ANALYZE on) SELECT nextval('orders_id_seq')
EXPLAIN SELECT * FROM customers WHERE ssn = '1'

-- A function of the database, by every notation
SELECT * FROM ROWS FROM (customer_by_email('x'), generate_series(1,2)) z
SELECT customer_by_email('x')
SELECT (customer_by_email(name)).ssn FROM customers LIMIT 1
SELECT customers.customer_by_email FROM customers
SELECT name.customer_by_email FROM (SELECT name FROM customers LIMIT 1) name
SELECT (name).customer_by_email FROM customers LIMIT 1
SELECT public.customer_by_email(address => 'x')
SELECT * FROM "public".customer_by_email('x') WITH ORDINALITY
SELECT proname, prosrc FROM pg_proc WHERE proname='customer_by_email'
COPY (SELECT customer_by_email('x')) TO STDOUT
BEGIN; DECLARE c CURSOR FOR SELECT customer_by_email('x'); COMMIT
SELECT pg_get_functiondef('customer_by_email'::regproc)
SELECT 1 WHERE customer_by_email('x') IS NULL
SELECT * FROM orders WHERE customer_by_email(status) IS NOT NULL
SELECT * FROM orders ORDER BY customer_by_email(status)
SELECT count(customer_by_email('x'))
SELECT array_agg(x) FROM customer_by_email('petra.garcia1@example.com') x
SELECT "customer_by_email"('x'), U&"customer\005Fby_email"('x')
SELECT shop.public.customer_by_email('x')
SELECT * FROM LATERAL customer_by_email('x') AS c
SELECT t.customer_by_email FROM (SELECT 'x'::text) AS t(address)
SELECT t.customer_by_email FROM tickets t LIMIT 1
SELECT subject.customer_by_email FROM tickets subject
VALUES (customer_by_email('x'))
SELECT 1 LIMIT (SELECT 1 FROM customer_by_email('x'))
SELECT 'customer_by_email'::regproc, 'customer_by_email(text)'::regprocedure
SELECT * FROM customer_by_email('a@b.c')

-- A schema out of scope
SELECT set_config('search_path','hr',false)
SELECT * FROM hr.payroll
SELECT count(*) FROM hr.payroll
SELECT FROM hr.payroll
SELECT 1 WHERE EXISTS (TABLE hr.payroll)
SELECT iban FROM HR.Payroll
SELECT NULL::hr.payroll
SELECT salary FROM orders, LATERAL (SELECT salary FROM hr.payroll LIMIT 1) x LIMIT 1
SELECT has_table_privilege('hr.payroll','select')
SET search_path = hr
SET LOCAL search_path = hr
ALTER ROLE portcullis_svc SET search_path = hr
ALTER DATABASE shop SET search_path = hr
ALTER USER CURRENT_USER SET search_path = hr
SELECT hr.payroll.salary FROM hr.payroll
SELECT to_regclass('hr.payroll'), 'hr.payroll'::regclass::oid
SELECT NULL::hr.payroll, (NULL::hr.payroll).salary
SELECT json_populate_record(NULL::hr.payroll, '{}')
SELECT * FROM information_schema.columns WHERE table_name='payroll'
COPY hr.payroll TO STDOUT
COPY (SELECT iban FROM hr.payroll) TO STDOUT
EXPLAIN SELECT * FROM hr.payroll WHERE salary > 50000
WITH p AS (TABLE hr.payroll) SELECT 1
SELECT (SELECT count(*) FROM hr.payroll WHERE salary > 1)
DECLARE c CURSOR WITH HOLD FOR TABLE hr.payroll
SELECT * FROM hr.payroll TABLESAMPLE SYSTEM(100)
SELECT * FROM ONLY hr.payroll
LOCK hr.payroll

-- PostgreSQL's own catalogs and functions
SELECT pg_column_size(c), octet_length(c::text), hash_record(c), md5(c::text), hashtext(ssn), pg_column_size(email) FROM customers c WHERE id=1
SELECT pg_get_viewdef('customer_overview'::regclass)
SELECT * FROM pg_stats WHERE tablename='customers'
SELECT * FROM pg_catalog.pg_statistic
SELECT s.* FROM pg_class c, LATERAL (SELECT * FROM pg_statistic s WHERE s.starelid=c.oid) s
SELECT * FROM pg_stats_ext
SELECT * FROM pg_statistic_ext_data
SELECT query FROM pg_stat_activity
SELECT * FROM pg_locks
SELECT * FROM pg_authid
SELECT rolpassword FROM pg_authid
SELECT * FROM pg_shadow
SELECT * FROM pg_largeobject
SELECT lo_get(1)
SELECT loread(lo_open(1, 262144), 100)
SELECT lo_from_bytea(0, 'x')
SELECT lo_creat(-1)
SELECT query_to_xml('SELECT ssn FROM customers', true, true, '')
SELECT table_to_xml('customers', true, true, '')
SELECT pg_catalog.schema_to_xml('public', true, true, '')
SELECT "query_to_xml"('SELECT 1', true, true, '')
SELECT xpath('//text()', query_to_xml('select 1',true,true,''))
SELECT cursor_to_xml('c', 1, true, true, '')
SELECT database_to_xml(true,true,'')
SELECT ts_stat('SELECT to_tsvector(ssn) FROM customers')
SELECT ts_rewrite('a'::tsquery, 'SELECT ssn::tsquery, ssn::tsquery FROM customers')
SELECT dblink('dbname=shop', 'SELECT 1')
SELECT set_config('statement_timeout','0',false)
SELECT pg_read_file('/etc/passwd')
SELECT pg_ls_dir('/')
SELECT nextval('orders_id_seq')
SELECT setval('orders_id_seq', 1)
SELECT pg_advisory_lock(1)
SELECT pg_notify('a','b')
SELECT pg_export_snapshot()
SELECT pg_logical_emit_message(true,'a','b')
SELECT currtid2('customers','(0,1)')
SELECT * FROM pg_toast.pg_toast_1255 LIMIT 1
SELECT ssn OPERATOR(pg_catalog.||) 'x' FROM customers LIMIT 1
SELECT pg_typeof(c), pg_typeof(c.ssn) FROM customers c LIMIT 1
SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef LIMIT 1
SELECT relname, relacl FROM pg_class WHERE relname='customers'
SELECT * FROM pg_roles
SELECT usename, passwd FROM pg_user
SELECT subconninfo FROM pg_subscription
SELECT s FROM pg_subscription s
SELECT to_jsonb(s) FROM pg_subscription s
SELECT a FROM pg_authid a
SELECT * FROM pg_hba_file_rules
SELECT pg_hba_file_rules()
SELECT pg_show_all_file_settings()
SELECT * FROM pg_show_all_file_settings()
SELECT pg_mcv_list_items(stxdmcv) FROM pg_statistic_ext_data
SELECT amname FROM pg_am
SELECT pg_backup_start('x')
SELECT pg_create_logical_replication_slot('a','b')
SELECT brin_summarize_new_values('customers_pkey')
SELECT gin_clean_pending_list('customers_pkey')
SELECT binary_upgrade_set_next_pg_type_oid(1)
SELECT array_in('{1}', 23, -1)
SELECT record_in('(1)', 'customers'::regtype, -1)
SELECT textin('x')
SELECT plpgsql_call_handler()
SELECT inet_server_addr(), inet_client_addr(), current_user, session_user, current_role
SELECT count(*) FROM pg_description
SELECT * FROM information_schema.column_privileges LIMIT 1
SELECT * FROM information_schema.user_mapping_options
SELECT * FROM pg_user_mappings
SELECT get_raw_page('customers', 0)
SELECT * FROM pg_stat_statements
SELECT * FROM pg_buffercache
SELECT * FROM pgrowlocks('customers')
SELECT * FROM crosstab('SELECT ssn FROM customers')
WITH RECURSIVE pg_class AS (SELECT * FROM customers), x AS (SELECT * FROM pg_class) SELECT ssn FROM x LIMIT 1
SELECT table_to_xmlschema('customers', true, true, '')
SELECT cursor_to_xmlschema('x', true, true, '')
SELECT pg_get_expr('x', 1)
SELECT extract(epoch FROM created_at), ssn::char(3), ssn::varchar(4), ssn::name, ssn::"char", (ssn)::pg_catalog.text FROM customers LIMIT 1
SELECT * FROM pg_catalog.pg_attribute a, customers c WHERE c.id=1 LIMIT 1
SELECT pg_get_serial_sequence('orders','id'), pg_sequence_last_value('orders_id_seq'::regclass)
SELECT * FROM orders_id_seq
SELECT last_value FROM pg_sequences
TABLE pg_toast
SELECT reltoastrelid::regclass FROM pg_class WHERE relname='customers'
SELECT * FROM pg_publication_tables
SELECT * FROM pg_policies
SELECT * FROM pg_rules LIMIT 1
SELECT * FROM pg_matviews
SELECT * FROM pg_foreign_server
SELECT srvoptions FROM pg_foreign_server
SELECT * FROM pg_db_role_setting
SELECT rolconfig FROM pg_roles
SELECT * FROM pg_settings LIMIT 1
SELECT sourcefile FROM pg_settings WHERE name='data_directory'
SELECT most_common_vals::text FROM pg_stats WHERE tablename = 'customers'

-- Settings, sessions and definitions
SELECT * INTO zz FROM customers
SELECT ssn INTO TEMP zz FROM customers
CREATE TEMP TABLE zz AS SELECT * FROM customers
CREATE TEMP TABLE zz (LIKE customers)
CREATE VIEW zz AS SELECT * FROM customers
CREATE TEMP VIEW zz AS SELECT * FROM customers
CREATE FUNCTION pg_temp.f() RETURNS text LANGUAGE sql AS 'SELECT ssn FROM customers LIMIT 1'
CREATE RULE r AS ON SELECT TO tickets DO INSTEAD SELECT 1
CREATE TABLE customers_kid () INHERITS (customers)
CREATE CAST (text AS integer) WITH INOUT
CREATE OPERATOR + (leftarg=text, rightarg=text, function=concat)
DO $$ BEGIN PERFORM 1; END $$
CALL foo()
PREPARE p AS SELECT ssn FROM customers
EXECUTE p
LISTEN a
NOTIFY a
LOCK TABLE tickets
GRANT SELECT ON customers TO PUBLIC
SET ROLE portcullis_full
SET SESSION AUTHORIZATION portcullis_full
RESET ROLE
RESET SESSION AUTHORIZATION
SET row_security = off
SET session_replication_role = replica
SET standard_conforming_strings = off
SET backslash_quote = on
SET client_encoding = 'SJIS'
SET NAMES 'latin1'
RESET ALL
RESET search_path
SET search_path FROM CURRENT
SET debug_print_plan = on
SET client_min_messages = debug5
SET log_statement = 'none'
SET enable_seqscan = off
SET TIME ZONE 'UTC'
SET XML OPTION DOCUMENT
SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE
BEGIN; SET LOCAL statement_timeout = 0; COMMIT
DISCARD ALL
DISCARD TEMP
DISCARD SEQUENCES
DISCARD PLANS
DEALLOCATE ALL
CHECKPOINT
VACUUM customers
ANALYZE customers
CLUSTER customers
REINDEX TABLE customers
COMMENT ON TABLE customers IS 'x'
SECURITY LABEL ON TABLE customers IS 'x'
IMPORT FOREIGN SCHEMA x FROM SERVER y INTO z
LOAD 'x'
CREATE EXTENSION dblink
ALTER SYSTEM SET x=1
PREPARE TRANSACTION 'x'
ROLLBACK
SHOW data_directory
SHOW hba_file
SHOW password_encryption
SHOW "search_path"
BEGIN; SET TRANSACTION READ ONLY; SELECT ssn FROM customers LIMIT 1; ROLLBACK
SET TRANSACTION SNAPSHOT '1'
COMMIT AND CHAIN
SET LOCAL ROLE portcullis_full
SET SESSION ROLE portcullis_full
SET "role" = portcullis_full
SET U&"r\006Fle" = portcullis_full
SET pg_catalog.role = x
SET statement_timeout TO DEFAULT
SET lock_timeout = 0
SET application_name = 'pcl'; SET extra_float_digits = 3
ALTER TABLE tickets ENABLE ROW LEVEL SECURITY
CREATE TEMP TABLE t AS SELECT ssn FROM customers
