-- Settings that change what text means, and everything that is not a query.
SHOW client_encoding;
SET client_encoding = LATIN1;
SELECT 'caf' || chr(233) = convert_from('\x636166e9', 'LATIN1'), chr(8364);
SET client_encoding = UTF8;
SELECT chr(8364);
\encoding SQL_ASCII
\encoding UTF8
SET client_encoding = nothing;
SET standard_conforming_strings = off;
SELECT 'a\tb', 'quote\'s', '\\';
SET escape_string_warning = off;
SELECT 'a\tb';
RESET standard_conforming_strings;
SELECT 'a\tb', E'a\tb', $$dollar '' $$, $tag$ $$ $tag$;
SET quote_all_identifiers = on;
SELECT pg_get_viewdef('pg_tables'::regclass) LIKE '%"%';
RESET ALL;
SET application_name = 'conformance';
SHOW application_name;
SELECT name, setting FROM pg_settings WHERE name IN ('application_name', 'DateStyle') ORDER BY name;
SET nothing.of_ours = 'custom';
SHOW nothing.of_ours;
SELECT current_setting('nothing.of_ours'), set_config('nothing.of_ours', 'other', false), current_setting('nowhere.at_all', true);
SET nonsense = 1;
SET TIME ZONE 'America/New_York';
SELECT timestamptz '2024-07-01 12:00 UTC';
SET TIME ZONE DEFAULT;
SET work_mem = 'a lot';
ALTER SYSTEM SET work_mem = '1MB';
ALTER SYSTEM RESET work_mem;
LISTEN conformance;
NOTIFY conformance, 'heard by ourselves';
BEGIN;
NOTIFY conformance, 'only after commit';
SELECT 'before';
COMMIT;
UNLISTEN *;
NOTIFY conformance, 'unheard';
SELECT pg_listening_channels();
;
;;
-- only a comment
/* and /* a nested */ one */ SELECT 'after comments' /* inside */ AS x; -- behind
SELECT 1 AS "quoted ""name", 2 AS "Straße", 3 AS "%s\n";
SELEC 1;
SELECT 1 +;
SELECT 'never closed
over lines';
SELECT * FROM nowhere;
SELECT nothing FROM pg_class;
SELECT nothing(1);
SELECT current_date = now()::date AS today, pg_backend_pid() > 0 AS has_pid, inet_server_port() IS NOT NULL AS by_tcp;
SELECT pg_sleep(0), version() LIKE 'PostgreSQL%', pg_typeof(txid_current());
SELECT pg_cancel_backend(pg_backend_pid());
\set VERBOSITY terse
SELECT 1 / 0;
\set VERBOSITY default
\errverbose
\echo :ROW_COUNT :SQLSTATE :ERROR :SERVER_VERSION_NAME
SELECT 1 UNION ALL SELECT 2;
\echo :ROW_COUNT :SQLSTATE :ERROR
EXPLAIN (COSTS off, ANALYZE, TIMING off, SUMMARY off) SELECT count(*) FROM generate_series(1, 3);
SELECT lo_create(424242);
\lo_list
BEGIN;
SELECT lowrite(lo_open(424242, 131072 | 262144), 'large');
SELECT loread(lo_open(424242, 262144), 10);
COMMIT;
\lo_unlink 424242
SELECT pg_advisory_lock(1), pg_try_advisory_lock(1), pg_advisory_unlock(2);
DISCARD PLANS;
DISCARD TEMP;
CREATE TEMP TABLE short_lived (x int) ON COMMIT DELETE ROWS;
INSERT INTO short_lived VALUES (1) RETURNING x;
SELECT count(*) FROM short_lived;
DISCARD ALL;
SELECT count(*) FROM short_lived;
SET statement_timeout = '50ms';
SELECT pg_sleep(10);
SHOW statement_timeout;
RESET statement_timeout;
SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY;
CREATE TABLE refused (x int);
SELECT pg_terminate_backend(pg_backend_pid());
