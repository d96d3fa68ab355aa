-- Statements by name, portals, and their descriptions.
CREATE TABLE thing (id int, label text);
PREPARE put (int, text) AS INSERT INTO thing VALUES ($1, $2) RETURNING *;
EXECUTE put(1, 'one');
EXECUTE put(2, 'it''s');
EXECUTE put('x', 'y');
EXECUTE put(1);
PREPARE get AS SELECT * FROM thing WHERE id = $1;
EXECUTE get(2);
EXECUTE get(NULL);
PREPARE get AS SELECT 1;
SELECT name, statement, parameter_types, from_sql FROM pg_prepared_statements ORDER BY name;
EXPLAIN (COSTS off) EXECUTE get(1);
CREATE TABLE copied AS EXECUTE get(1);
SELECT * FROM copied;
ALTER TABLE thing ADD COLUMN more int;
EXECUTE get(1);
DEALLOCATE get;
EXECUTE get(1);
DEALLOCATE get;
BEGIN;
PREPARE inside AS SELECT 'survives';
ROLLBACK;
EXECUTE inside;
PREPARE broken AS SELECT FROM WHERE;
PREPARE utility AS SHOW server_version_num;
DEALLOCATE ALL;
EXECUTE put(3, 'three');
DISCARD ALL;
SELECT 'SELECT ' || g || ' AS made' FROM generate_series(1, 2) g \gexec
SELECT 7 AS seven, 'x' AS letter \gset
SELECT :seven, :'letter', :"letter" FROM (SELECT 1 AS x) s;
SELECT 1 AS a, 2 AS b UNION SELECT 3, 4 ORDER BY 1 \crosstabview
SELECT id, label FROM thing WHERE false \gdesc
SELECT $1;
SELECT nothing FROM nowhere \gdesc
