-- Transactions, savepoints, cursors, and what follows an error in them.
CREATE TABLE account (id int PRIMARY KEY, balance numeric NOT NULL CHECK (balance >= 0));
INSERT INTO account VALUES (1, 100), (2, 50);
BEGIN;
UPDATE account SET balance = balance - 200 WHERE id = 1;
SELECT * FROM account;
COMMIT;
SELECT * FROM account ORDER BY id;
BEGIN ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE;
SHOW transaction_isolation;
INSERT INTO account VALUES (3, 1);
ROLLBACK;
START TRANSACTION;
SAVEPOINT a;
INSERT INTO account VALUES (3, 10);
SAVEPOINT b;
INSERT INTO account VALUES (3, 11);
ROLLBACK TO b;
RELEASE a;
ROLLBACK TO a;
SELECT 'still failed';
ROLLBACK;
BEGIN;
INSERT INTO account VALUES (4, 10);
COMMIT AND CHAIN;
INSERT INTO account VALUES (5, 10);
ROLLBACK AND CHAIN;
SELECT count(*) FROM account;
END;
COMMIT;
ROLLBACK;
SAVEPOINT outside;
BEGIN; BEGIN; COMMIT;
-- One message with several statements is one transaction.
INSERT INTO account VALUES (6, 1)\; INSERT INTO account VALUES (6, 2)\; SELECT 'not reached';
SELECT count(*) FROM account WHERE id = 6;
INSERT INTO account VALUES (7, 1)\; COMMIT\; SELECT 1 / 0;
SELECT count(*) FROM account WHERE id = 7;
BEGIN\; INSERT INTO account VALUES (8, 1)\; SELECT balance FROM account WHERE id = 8;
ROLLBACK;
SELECT 1\; SELECT 2, 3\; SELECT 4 WHERE false\; \;
-- Cursors.
BEGIN;
DECLARE plain CURSOR FOR SELECT g, g * g AS square FROM generate_series(1, 10) g;
FETCH 2 FROM plain;
FETCH NEXT FROM plain;
MOVE 3 IN plain;
FETCH ALL FROM plain;
FETCH PRIOR FROM plain;
ROLLBACK;
BEGIN;
DECLARE back SCROLL CURSOR WITH HOLD FOR SELECT id FROM account ORDER BY id;
FETCH LAST FROM back;
FETCH BACKWARD 2 FROM back;
FETCH ABSOLUTE 1 FROM back;
FETCH RELATIVE 0 FROM back;
COMMIT;
FETCH FORWARD ALL FROM back;
SELECT name, is_holdable, is_scrollable FROM pg_cursors;
CLOSE back;
FETCH back;
BEGIN;
DECLARE change CURSOR FOR SELECT * FROM account WHERE id = 2 FOR UPDATE;
FETCH change;
UPDATE account SET balance = 51 WHERE CURRENT OF change RETURNING *;
COMMIT;
-- Constraints at the end.
CREATE TABLE parent (id int PRIMARY KEY);
CREATE TABLE child (parent int REFERENCES parent DEFERRABLE INITIALLY IMMEDIATE);
BEGIN;
SET CONSTRAINTS ALL DEFERRED;
INSERT INTO child VALUES (1);
COMMIT;
BEGIN;
SET LOCAL statement_timeout = '17s';
SHOW statement_timeout;
ROLLBACK;
SHOW statement_timeout;
\set ON_ERROR_ROLLBACK on
BEGIN;
SELECT 1 / 0;
SELECT 'goes on';
COMMIT;
\set ON_ERROR_ROLLBACK off
\set AUTOCOMMIT off
INSERT INTO parent VALUES (1);
ROLLBACK;
SELECT count(*) FROM parent;
COMMIT;
\set AUTOCOMMIT on
\set FETCH_COUNT 3
SELECT g FROM generate_series(1, 8) g;
SELECT 1 / (5 - g) FROM generate_series(1, 8) g;
\unset FETCH_COUNT
LOCK TABLE account;
BEGIN;
LOCK TABLE account IN SHARE MODE NOWAIT;
PREPARE TRANSACTION 'two_phase';
ROLLBACK;
ROLLBACK PREPARED 'two_phase';
