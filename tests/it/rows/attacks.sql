-- Sent by somebody whose rows are those of acme, to a rulebook that allows everything: what holds is the gate and the
-- policies alone. None may show a row of globex, change one, or make one.
SELECT * FROM notes
SELECT * FROM ONLY notes
TABLE notes
SELECT tenant, count(*), max(body), min(code) FROM notes GROUP BY tenant
SELECT id FROM notes WHERE id = 5 OR body::int > 0
SELECT id FROM notes WHERE body::int > 0
SELECT id FROM notes WHERE 1 / n > 0
SELECT id FROM notes WHERE leak(body)
SELECT id FROM notes ORDER BY leak(body)
SELECT id FROM notes WHERE id = 5 AND leak(body)
SELECT id FROM memos WHERE leak(body)
SELECT id FROM memos WHERE body::int = 1
SELECT id FROM memos WHERE id = 5 OR 1 / (length(body) - 15) = 1
SELECT * FROM memos WHERE id IN (SELECT id FROM memos WHERE leak(body))
SELECT * FROM notes n JOIN memos m ON leak(n.body) AND leak(m.body)
SELECT (SELECT string_agg(body, ',') FROM notes), (SELECT max(body) FROM memos)
SELECT json_agg(notes) FROM notes
SELECT notes FROM notes
SELECT row_to_json(n) FROM notes n
SELECT query_to_xml('SELECT * FROM notes', false, false, '')
SELECT table_to_xml('notes', false, false, '')
SELECT * FROM notes FOR UPDATE
SELECT * FROM notes TABLESAMPLE SYSTEM (100)
SELECT * FROM generate_series(1, 9) g, LATERAL (SELECT * FROM notes WHERE notes.id = g) n
WITH RECURSIVE r AS (SELECT id, body FROM notes UNION SELECT n.id, n.body FROM notes n JOIN r ON n.id = r.id + 1) TABLE r
SELECT body FROM notes UNION ALL SELECT body FROM memos
SELECT * FROM notes_view
SELECT * FROM notes_view_2
SELECT * FROM notes_view WHERE leak(body)
SELECT * FROM notes_invoker
SELECT * FROM notes_stored
SELECT count(*) FROM notes_stored
SELECT v FROM notes_view v
SELECT * FROM events
SELECT * FROM events_globex
SELECT * FROM ONLY events_globex
SELECT * FROM events_view
SELECT * FROM logs
SELECT * FROM logs_old
SELECT * FROM above_memos
COPY notes TO STDOUT
COPY memos TO STDOUT
COPY events_globex TO STDOUT
COPY logs_old TO STDOUT
COPY (SELECT * FROM notes) TO STDOUT
COPY (SELECT * FROM notes_view) TO STDOUT
COPY notes (id, tenant, body, n, code) FROM STDIN
EXPLAIN SELECT * FROM notes WHERE body LIKE 'globex%'
EXPLAIN ANALYZE SELECT * FROM notes
EXPLAIN SELECT * FROM notes_view
EXPLAIN (FORMAT JSON) UPDATE notes SET body = ''
BEGIN; DECLARE c CURSOR FOR SELECT * FROM notes; FETCH ALL FROM c; COMMIT
BEGIN; DECLARE d SCROLL CURSOR WITH HOLD FOR SELECT * FROM notes_view; COMMIT; FETCH ALL FROM d; CLOSE d
PREPARE one AS SELECT * FROM notes; EXECUTE one; DEALLOCATE one
PREPARE two (text) AS SELECT * FROM notes WHERE tenant = $1; EXECUTE two ('globex'); DEALLOCATE two
EXPLAIN EXECUTE one
SET portcullis.rows_tenant = '{globex}'
SET LOCAL portcullis.rows_tenant = '{globex}'
SET "PORTCULLIS.ROWS_TENANT" = '{globex}'
SET SESSION "portcullis.rows_tenant" TO '{globex}'
BEGIN; SET LOCAL portcullis.lift_tenant = on; SELECT * FROM notes; COMMIT
SET portcullis.lift_tenant = 'on'
SELECT set_config('portcullis.rows_tenant', '{globex}', false), body FROM notes
SELECT set_config('portcullis.' || 'lift_tenant', 'on', false)
SELECT set_config(x, 'on', false) FROM (VALUES ('portcullis.lift_tenant')) v (x)
SELECT ('portcullis.lift_tenant').set_config('on', false)
SELECT current_setting('portcullis.rows_tenant')
SHOW portcullis.rows_tenant
RESET portcullis.rows_tenant
RESET ALL
DISCARD ALL
UPDATE pg_settings SET setting = '{globex}' WHERE name = 'portcullis.rows_tenant'
UPDATE pg_settings SET setting = 'off' WHERE name = 'row_security'
SET row_security = off
SET LOCAL row_security TO 0
SELECT set_config('row_security', 'off', false)
SET ROLE portcullis_full
SET ROLE postgres
SET LOCAL ROLE portcullis_full
SET SESSION AUTHORIZATION portcullis_full
SELECT set_config('role', 'portcullis_full', false)
BEGIN; SET LOCAL search_path = pg_temp; SELECT * FROM notes; COMMIT
SELECT query_to_xml('SELECT set_config(''portcullis.lift_tenant'', ''on'', false)', false, false, '')
SELECT * FROM ts_stat('SELECT to_tsvector(set_config(''portcullis.rows_tenant'', ''{globex}'', false))')
SELECT ts_rewrite('a'::tsquery, 'SELECT ''a''::tsquery, set_config(''portcullis.lift_tenant'', ''on'', false)::tsquery')
INSERT INTO ruled VALUES (5)
DELETE FROM ruled RETURNING *
ALTER ROLE portcullis_svc SET portcullis.rows_tenant = '{globex}'
ALTER DATABASE shop SET portcullis.lift_tenant = 'on'
ALTER FUNCTION leak(text) SET portcullis.rows_tenant TO '{globex}'
CREATE FUNCTION evil() RETURNS SETOF notes LANGUAGE sql SET portcullis.rows_tenant = '{globex}' AS 'SELECT * FROM notes'
CREATE FUNCTION pg_temp.evil() RETURNS text LANGUAGE sql AS $$ SELECT set_config('portcullis.rows_tenant', '{globex}', false) $$
SELECT pg_temp.evil()
DO $$ BEGIN PERFORM set_config('portcullis.rows_tenant', '{globex}', false); END $$
DO 'BEGIN EXECUTE ''SET ROLE portcullis_full''; END'
ALTER TABLE notes DISABLE ROW LEVEL SECURITY
ALTER TABLE notes NO FORCE ROW LEVEL SECURITY
ALTER TABLE events_globex NO INHERIT events
DROP POLICY portcullis_tenant ON notes
ALTER POLICY portcullis_tenant ON notes USING (true)
CREATE POLICY more ON notes USING (true)
CREATE VIEW mine AS SELECT * FROM notes
CREATE TEMP VIEW mine AS SELECT * FROM notes
CREATE TEMP TABLE mine AS SELECT * FROM notes_view
CREATE TEMP TABLE notes (id int)
CREATE RULE r AS ON SELECT TO notes DO INSTEAD SELECT * FROM memos
CREATE TRIGGER t BEFORE UPDATE ON notes FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()
CREATE INDEX ON notes ((body::int))
CREATE STATISTICS st ON tenant, code FROM notes
UPDATE notes SET body = body || '!' RETURNING *
UPDATE notes SET body = 'seen' WHERE tenant = 'globex' RETURNING *
UPDATE notes SET tenant = 'acme' WHERE tenant <> 'acme' RETURNING *
UPDATE notes SET tenant = 'globex' WHERE id = 1
UPDATE notes n SET body = m.body FROM memos m WHERE m.id = 5 RETURNING n.*, m.*
UPDATE notes SET n = 1 WHERE leak(body)
UPDATE notes_view SET tenant = 'acme' RETURNING *
UPDATE notes_invoker SET tenant = 'acme' RETURNING *
UPDATE events SET tenant = 'globex'
UPDATE events_globex SET body = 'x' RETURNING *
DELETE FROM notes WHERE tenant <> 'acme' RETURNING *
DELETE FROM notes_view WHERE tenant <> 'acme' RETURNING *
DELETE FROM events_globex RETURNING *
DELETE FROM logs WHERE tenant <> 'acme' RETURNING *
INSERT INTO notes VALUES (5, 'acme', 'x', 1, 'z')
INSERT INTO notes VALUES (99, 'globex', 'x', 1, 'z')
INSERT INTO notes VALUES (98, 'acme', 'x', 1, 'gx-5')
INSERT INTO notes VALUES (5, 'acme', 'x', 1, 'z') ON CONFLICT (id) DO UPDATE SET tenant = 'acme', body = notes.body RETURNING *
INSERT INTO notes VALUES (5, 'acme', 'x', 1, 'z') ON CONFLICT DO NOTHING RETURNING *
INSERT INTO notes_view VALUES (99, 'globex', 'x', 1, 'z')
INSERT INTO events VALUES (99, 'globex', 'x')
INSERT INTO events_globex VALUES (99, 'globex', 'x')
INSERT INTO logs_old VALUES (99, 'globex', 'x')
WITH gone AS (DELETE FROM notes WHERE id > 4 RETURNING *) SELECT * FROM gone
WITH made AS (INSERT INTO notes VALUES (97, 'globex', 'x', 1, 'y') RETURNING *) SELECT * FROM made
MERGE INTO notes t USING (VALUES (5)) v (id) ON t.id = v.id WHEN MATCHED THEN UPDATE SET tenant = 'acme'
MERGE INTO notes t USING (VALUES (5)) v (id) ON t.id = v.id WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (v.id, 'globex', 'x', 1, 'y')
MERGE INTO memos t USING notes_view v ON t.id = v.id WHEN MATCHED THEN UPDATE SET body = v.body
TRUNCATE notes
TRUNCATE ONLY events_globex
TRUNCATE owners CASCADE
TRUNCATE memos, notes RESTART IDENTITY
SELECT * FROM pg_stats WHERE tablename = 'notes' AND false
