-- Values of many types, in and out, and the errors of bad ones.
SELECT 1 AS one, 'text' AS text, NULL AS nothing, '' AS empty, E'tab\tnewline\n' AS escaped, U&'\0441\043B\043E\043D' AS elephant;
SELECT true, 'no'::bool, 1::bool, 'maybe'::bool;
SELECT 32767::int2, (-2147483648)::int4, 9223372036854775807::int8, 32768::int2;
SELECT 0.1::float4, 1e308 * 10, 'NaN'::float8, '-Infinity'::float8, 1/0;
SELECT 12345678901234567890.123456789::numeric(40, 9), round(2.5), round(-2.5), 'NaN'::numeric, 1.0 / 3;
SELECT '\xdeadbeef'::bytea, 'a\000b'::bytea, encode('\x00ff', 'base64'), length(E'\\x00'::bytea);
SET bytea_output = escape;
SELECT '\xdeadbeef00'::bytea;
RESET bytea_output;
SELECT date '2024-02-29' + 366, timestamp '2024-03-31 01:59:59.999999', timestamptz '2024-03-31 01:30 Europe/Berlin', interval '1 year -3 days 04:05';
SET DateStyle = 'SQL, DMY';
SELECT date '31/12/1999', timestamp '31/12/1999 23:59', date '12/31/1999';
SET IntervalStyle = iso_8601;
SELECT interval '1 year 2 months -3 days 04:05:06.789';
RESET DateStyle;
RESET IntervalStyle;
SELECT date 'infinity', timestamp '-infinity', date '2023-02-29';
SELECT ARRAY[[1, 2], [3, NULL]], '{"a b", NULL, "NULL", "q\"uote"}'::text[], (ARRAY[1, 2, 3])[2:], '[0:1]={5,6}'::int[], '{1,{2}}'::int[];
SELECT row(1, 'a', NULL), row('x"y', 'comma, inside'), row();
SELECT '{"a": [1, 2.50, {"b": null}], "a": 2}'::json, '{"a": [1, 2.50, {"b": null}], "a": 2}'::jsonb, '{"a": [1'::jsonb;
SELECT jsonb_path_query('{"a": [1, 2, 3]}', '$.a[*] ? (@ > 1)'), '{"a": 1}'::jsonb @> '{}', jsonb_pretty('{"k": [true]}');
SELECT int4range(1, 10, '[]'), '(,5)'::int8range, daterange('2024-01-01', NULL), int4multirange(int4range(1, 2), int4range(5, 6)), '[5,1]'::int4range;
SELECT '192.168.0.1/24'::inet, '10.0.0.0/8'::cidr, '08:00:2b:01:02:03'::macaddr, '10.0.0.1/8'::cidr;
SELECT 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid, B'10110', '11'::bit(4), '(1,2)'::point, '<(0,0),1>'::circle;
SELECT to_tsvector('simple', 'the quick brown fox') @@ to_tsquery('simple', 'fox & !dog'), 'a:1A b:2'::tsvector;
SELECT 'pg_class'::regclass, 'now'::regproc, 'int4'::regtype, 'nowhere'::regclass;
SELECT '<a b="1">x</a>'::text::xml IS DOCUMENT, money '12.50' * 2, name 'n', "char" 'c', oid '4294967295', xid '7';
SELECT octet_length('žluťoučký'), upper('straße'), 'a' < 'B' COLLATE "C", repeat('-', 300);
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TYPE pair AS (a int, b text);
SELECT 'ok'::mood < 'happy', enum_range(NULL::mood), 5::positive, row(1, 'x')::pair, (row(1, 'x')::pair).b;
SELECT 'angry'::mood;
SELECT (-5)::positive;
\gdesc
SELECT 1::int2 AS a, now() AS b, NULL AS c, ARRAY['x'::varchar(3)] AS d, row(1)::record AS e \gdesc
\pset null '(null)'
\x
SELECT generate_series AS n, repeat('x', generate_series) AS x, NULL AS nothing FROM generate_series(1, 3);
\x
SELECT count(*), sum(g), min(g), max(repeat('y', g)) FROM generate_series(1, 1000) g;
\set VERBOSITY verbose
SELECT 'x'::int;
\set VERBOSITY sqlstate
SELECT 'x'::int;
