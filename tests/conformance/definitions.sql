-- Definitions, rights, and how psql describes them.
CREATE TABLE IF NOT EXISTS book (id bigserial PRIMARY KEY, title text NOT NULL UNIQUE, pages int CHECK (pages > 0), printed date DEFAULT '2020-01-01', fat bool GENERATED ALWAYS AS (pages > 500) STORED);
CREATE TABLE IF NOT EXISTS book (x int);
COMMENT ON TABLE book IS 'What there is to read';
COMMENT ON COLUMN book.title IS 'Said aloud';
CREATE INDEX book_pages ON book (pages DESC) WHERE pages IS NOT NULL;
CREATE VIEW long_book AS SELECT id, title FROM book WHERE fat WITH CHECK OPTION;
CREATE MATERIALIZED VIEW counted AS SELECT count(*) AS n FROM book WITH NO DATA;
SELECT * FROM counted;
REFRESH MATERIALIZED VIEW counted;
SELECT * FROM counted;
INSERT INTO book (title, pages) VALUES ('Thin', 10), ('Fat', 900) ON CONFLICT (title) DO NOTHING RETURNING id, fat;
INSERT INTO book (title, pages) VALUES ('Thin', 20) ON CONFLICT (title) DO UPDATE SET pages = excluded.pages + book.pages RETURNING pages;
INSERT INTO book (title) VALUES (NULL);
INSERT INTO book (title, fat) VALUES ('x', true);
INSERT INTO book (title, pages) VALUES ('Fat', 1);
MERGE INTO book USING (VALUES ('Thin', 1), ('New', 2)) AS v (title, pages) ON book.title = v.title WHEN MATCHED THEN UPDATE SET pages = v.pages WHEN NOT MATCHED THEN INSERT (title, pages) VALUES (v.title, v.pages);
TABLE long_book;
\d book
\d+ long_book
\di
\dv
\ds
ALTER TABLE book RENAME COLUMN pages TO sheets;
ALTER TABLE book ADD COLUMN author text, ALTER COLUMN printed DROP DEFAULT, DROP CONSTRAINT book_title_key;
ALTER TABLE book ALTER COLUMN title TYPE int;
\d book
CREATE TABLE measure (at date NOT NULL, value int) PARTITION BY RANGE (at);
CREATE TABLE measure_2023 PARTITION OF measure FOR VALUES FROM ('2023-01-01') TO ('2024-01-01');
CREATE TABLE measure_rest PARTITION OF measure DEFAULT;
INSERT INTO measure SELECT date '2023-12-30' + g, g FROM generate_series(0, 3) g;
SELECT tableoid::regclass, count(*) FROM measure GROUP BY 1 ORDER BY 1;
EXPLAIN (COSTS off) SELECT * FROM measure WHERE at < '2023-06-01';
CREATE RULE quiet AS ON DELETE TO measure_rest DO INSTEAD NOTHING;
DELETE FROM measure_rest;
CREATE SCHEMA other CREATE TABLE inner_one (x int);
SET search_path = other;
\dt
RESET search_path;
CREATE ROLE conformance_reader LOGIN;
CREATE ROLE conformance_owner;
GRANT SELECT (id, title) ON book TO conformance_reader;
ALTER TABLE book ENABLE ROW LEVEL SECURITY;
CREATE POLICY thin_only ON book FOR SELECT TO conformance_reader USING (title = 'Thin');
\dp book
SET ROLE conformance_reader;
SELECT session_user = current_user;
SELECT title FROM book;
SELECT * FROM book;
DROP TABLE book;
RESET ROLE;
SET SESSION AUTHORIZATION conformance_reader;
SELECT current_user;
RESET SESSION AUTHORIZATION;
\c - conformance_reader
SELECT current_user, session_user;
SELECT title FROM book;
CREATE TABLE public.mine (x int);
\c - postgres
ALTER ROLE conformance_reader SET work_mem = '3MB';
\c - conformance_reader
SHOW work_mem;
\c - postgres
GRANT conformance_owner TO conformance_reader WITH ADMIN OPTION;
\du conformance_*
REASSIGN OWNED BY conformance_reader TO postgres;
DROP OWNED BY conformance_reader, conformance_owner;
DROP ROLE conformance_reader, conformance_owner;
TRUNCATE book RESTART IDENTITY CASCADE;
CREATE EXTENSION nothing;
VACUUM book;
ANALYZE book;
BEGIN; VACUUM book; ROLLBACK;
VACUUM book\; SELECT 1;
REINDEX TABLE book;
CLUSTER book USING book_pages;
DROP TABLE book;
DROP SCHEMA other;
DROP TABLE book CASCADE;
SELECT * FROM long_book;
\c - conformance_nobody
