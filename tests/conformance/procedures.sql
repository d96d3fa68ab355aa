-- Code on the server: notices, exceptions, triggers, several results.
CREATE FUNCTION double(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2';
SELECT double(21), double(NULL);
DO $$ BEGIN RAISE NOTICE 'notice %', 1; RAISE WARNING 'warning' USING HINT = 'a hint', DETAIL = 'a detail'; RAISE INFO 'info'; RAISE DEBUG 'unseen'; END $$;
SET client_min_messages = debug1;
DO $$ BEGIN RAISE DEBUG 'seen'; END $$;
SET client_min_messages = error;
DO $$ BEGIN RAISE WARNING 'unseen'; END $$;
RESET client_min_messages;
CREATE FUNCTION fails(text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'failed: %', $1 USING ERRCODE = 'P0042', HINT = 'call another', COLUMN = 'c', TABLE = 't', SCHEMA = 's', CONSTRAINT = 'k', DATATYPE = 'd';
END $$;
SELECT fails('once');
\set VERBOSITY verbose
\set SHOW_CONTEXT always
SELECT fails('with everything');
\set VERBOSITY default
\set SHOW_CONTEXT errors
DO $$ BEGIN PERFORM fails('caught'); EXCEPTION WHEN SQLSTATE 'P0042' THEN RAISE NOTICE 'caught % %', SQLSTATE, SQLERRM; END $$;
CREATE TABLE log (n int GENERATED ALWAYS AS IDENTITY, what text);
CREATE PROCEDURE steps(INOUT n int) LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO log (what) VALUES ('kept'); COMMIT;
    INSERT INTO log (what) VALUES ('lost'); ROLLBACK;
    n := n + 1;
END $$;
CALL steps(1);
BEGIN; CALL steps(1); ROLLBACK;
SELECT * FROM log;
CREATE FUNCTION many() RETURNS TABLE (a int, b text) LANGUAGE plpgsql AS $$ BEGIN RETURN QUERY SELECT g, 'r' || g FROM generate_series(1, 3) g; END $$;
SELECT * FROM many();
SELECT many();
CREATE FUNCTION cursors(refcursor) RETURNS refcursor LANGUAGE plpgsql AS $$ BEGIN OPEN $1 FOR SELECT * FROM many(); RETURN $1; END $$;
BEGIN; SELECT cursors('mine'); FETCH ALL IN mine; COMMIT;
CREATE FUNCTION touched() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE '% % %', TG_OP, TG_WHEN, coalesce(NEW.what, OLD.what); RETURN coalesce(NEW, OLD); END $$;
CREATE TRIGGER touched BEFORE INSERT OR UPDATE OR DELETE ON log FOR EACH ROW EXECUTE FUNCTION touched();
INSERT INTO log (what) VALUES ('a'), ('b') RETURNING n > 0, what;
UPDATE log SET what = 'c' WHERE what = 'a';
DELETE FROM log WHERE what = 'b';
WITH moved AS (DELETE FROM log RETURNING *) SELECT count(*) FROM moved;
CREATE FUNCTION polymorphic(anyelement, VARIADIC anyarray) RETURNS anyarray LANGUAGE sql AS 'SELECT array_prepend($1, $2)';
SELECT polymorphic(1, 2, 3), polymorphic('x'::text, 'y'), polymorphic(1, 'y'::text);
DO LANGUAGE nothing 'x';
CREATE FUNCTION broken() RETURNS int LANGUAGE sql AS 'SELECT nothing';
DROP FUNCTION double(int), nowhere();
SELECT pg_notify('unheard', 'of');
