-- COPY in both directions, in its formats, and broken off.
CREATE TABLE item (id int PRIMARY KEY, name text DEFAULT 'unnamed', price numeric(8, 2));
COPY item FROM STDIN;
1	first	1.50
2	\N	\N
3	tab\there	0
\.
COPY item (id) FROM STDIN;
4
\.
COPY item FROM STDIN (FORMAT csv, HEADER);
id,name,price
5,"quoted, ""twice""",9.99
6,,
\.
COPY item FROM STDIN (FORMAT csv, DELIMITER ';', NULL 'nil', QUOTE '''');
7;'semi;colon';nil
\.
COPY item FROM STDIN;
8	good	1
8	again	2
\.
COPY item FROM STDIN;
9	too	many	columns
\.
COPY item FROM STDIN;
x	no number	1
\.
COPY item FROM STDIN WHERE id > 10;
10	left out	1
11	taken	1
\.
COPY nowhere FROM STDIN;
COPY item TO STDOUT;
COPY item (name, id) TO STDOUT (FORMAT csv, HEADER, FORCE_QUOTE (name));
COPY (SELECT id, name FROM item WHERE price IS NULL ORDER BY id) TO STDOUT (DELIMITER '|', NULL 'none');
COPY (INSERT INTO item VALUES (12) RETURNING *) TO STDOUT;
COPY (SELECT 1 / (3 - g) FROM generate_series(1, 5) g) TO STDOUT;
COPY (SELECT 1) TO STDOUT (FORMAT nothing);
\copy item (id, name) FROM STDIN
13	by psql
\.
\copy (SELECT * FROM item ORDER BY id DESC LIMIT 2) TO STDOUT CSV
BEGIN;
COPY item (id) FROM STDIN;
14
\.
ROLLBACK;
COPY (SELECT 'before') TO STDOUT\; SELECT 'between'\; COPY (SELECT 'after') TO STDOUT;
SELECT count(*) FROM item;
COPY item TO '/nowhere/at/all';
CREATE FUNCTION noisy() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'row %', NEW.id; RETURN NEW; END $$;
CREATE TRIGGER noisy BEFORE INSERT ON item FOR EACH ROW EXECUTE FUNCTION noisy();
COPY item (id) FROM STDIN;
20
21
\.
-- A server that takes its data more slowly than the client sends it, up to the very end.
CREATE TABLE slowly (line text);
CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.002); RETURN NEW; END $$;
CREATE TRIGGER slowly BEFORE INSERT ON slowly FOR EACH ROW EXECUTE FUNCTION slowly();
\copy slowly FROM PROGRAM 'yes x | tr -d "\n" | head -c 32000000 | fold -w 64000'
SELECT count(*), min(length(line)), max(length(line)) FROM slowly;
-- psql sends the rest of the file, whatever it is.
COPY item FROM STDIN (FORMAT binary);
nonsense
