COPY (UPDATE orders SET status='new' WHERE id=1 RETURNING *) TO STDOUT
COPY customers FROM STDIN
COPY tickets FROM PROGRAM 'id'
EXPLAIN (ANALYZE 1) UPDATE orders SET status='new' WHERE id=1
EXPLAIN ANALYZE WITH x AS (DELETE FROM tickets WHERE id=1 RETURNING *) SELECT * FROM x
EXPLAIN (ANALYZE off, ANALYZE) DELETE FROM tickets WHERE id=1
UPDATE pg_settings SET setting='0' WHERE name='statement_timeout'
INSERT INTO tickets (customer_id, subject, body, status, priority, opened_at) SELECT id, ssn, email, 'open', 1, now() FROM customers LIMIT 1
INSERT INTO tickets (customer_id, subject, body, status, priority, opened_at) SELECT 1, c::text, 'x', 'open', 1, now() FROM customers c LIMIT 1
INSERT INTO tickets (customer_id, subject, body, status, priority, opened_at) VALUES (1, (SELECT email FROM customers WHERE id=1), '', 'open', 1, now())
INSERT INTO customers (id, email) VALUES (1, 'a') ON CONFLICT (email) DO NOTHING
INSERT INTO customers (id, email) VALUES (1, 'a') ON CONFLICT (email) DO UPDATE SET name = customers.ssn RETURNING *
UPDATE tickets SET body = (SELECT ssn FROM customers WHERE id=1) WHERE id=1
UPDATE tickets SET body = c.ssn FROM customers c WHERE c.id = tickets.customer_id AND tickets.id=1
UPDATE tickets t SET body = 'x' FROM customers c WHERE c.ssn > '5' AND c.id=t.customer_id
UPDATE customers SET name = ssn WHERE id=1 RETURNING name
UPDATE customers SET name='x' WHERE ssn='1'
UPDATE orders SET status='new' WHERE id=1
DELETE FROM orders WHERE id=1
DELETE FROM tickets
DELETE FROM tickets WHERE true
DELETE FROM tickets WHERE id = id
DELETE FROM tickets WHERE id IS NOT NULL
DELETE FROM tickets USING customers c WHERE c.ssn > '5'
WITH x AS (DELETE FROM tickets RETURNING *) SELECT count(*) FROM x WHERE id = 1
WITH x AS (UPDATE orders SET status='new' WHERE id=1 RETURNING 1) SELECT 1
MERGE INTO tickets t USING customers c ON t.customer_id = c.id AND c.ssn > '5' WHEN MATCHED THEN DELETE
MERGE INTO customers c USING (SELECT 1 AS id) s ON c.id=s.id WHEN MATCHED THEN UPDATE SET name = c.ssn
TRUNCATE tickets
SELECT 1; DELETE FROM tickets WHERE id=1; SELECT 2
EXPLAIN ANALYZE UPDATE tickets SET status='open' WHERE id=1
EXPLAIN (ANALYZE true) INSERT INTO tickets (subject) VALUES ('x')
EXPLAIN (ANALYZE "on") DELETE FROM tickets WHERE id=1
EXPLAIN (ANALYZE 'ON') DELETE FROM tickets WHERE id=1
EXPLAIN ANALYZE VERBOSE DELETE FROM tickets WHERE id=1
EXPLAIN DELETE FROM tickets
COPY (DELETE FROM tickets WHERE id=1 RETURNING *) TO STDOUT
COPY orders FROM '/etc/passwd'
INSERT INTO tickets (customer_id, subject, body, status, priority, opened_at) VALUES (1, 's', 'b', 'open', 9, now())
INSERT INTO tickets SELECT * FROM tickets WHERE false
INSERT INTO tickets (customer_id, subject, body, status, priority, opened_at) SELECT id, name, city, 'open', 1, now() FROM customers WHERE id=1
INSERT INTO tickets DEFAULT VALUES RETURNING (SELECT ssn FROM customers WHERE id=1)
UPDATE tickets SET subject='x' WHERE id=1 RETURNING (SELECT c FROM customers c WHERE c.id = customer_id)
UPDATE tickets SET subject='x' WHERE id=1 RETURNING *, (SELECT email FROM customers c WHERE c.id = customer_id)
UPDATE tickets SET subject='x' FROM customers c WHERE c.id=customer_id AND tickets.id=1 RETURNING c.ssn
UPDATE tickets SET subject='x' FROM customers c WHERE c.id=customer_id AND tickets.id=1 RETURNING c
UPDATE tickets SET subject='x' FROM customers c WHERE c.id=customer_id AND tickets.id=1 RETURNING *
UPDATE tickets SET subject='x' FROM customer_overview c WHERE c.id=customer_id AND c.email > 'm'
UPDATE tickets SET (subject, body) = (SELECT name, email FROM customers WHERE id=1) WHERE id=1
UPDATE ONLY tickets SET subject='x' WHERE id=1 OR true
UPDATE tickets SET id = id WHERE 1=1 AND id=1
UPDATE tickets SET subject='x' WHERE CURRENT OF c
WITH c AS (SELECT * FROM customers) UPDATE tickets SET subject = c.ssn FROM c WHERE c.id=customer_id AND tickets.id=1
WITH c(a,b,d) AS (SELECT * FROM customers) UPDATE tickets SET subject = c.d FROM c WHERE c.a=customer_id AND tickets.id=1
WITH d AS (DELETE FROM tickets WHERE id=1 RETURNING *) INSERT INTO tickets SELECT * FROM d
WITH d AS (INSERT INTO customers (id) VALUES (0) RETURNING *) SELECT * FROM d
SELECT * FROM (DELETE FROM tickets RETURNING *) x
SELECT (WITH d AS (DELETE FROM tickets WHERE id=1 RETURNING 1) SELECT * FROM d)
DELETE FROM customer_overview WHERE id=1
UPDATE customer_overview SET email='x' WHERE id=1
BEGIN; SAVEPOINT a; DELETE FROM tickets WHERE id=1; ROLLBACK TO a; COMMIT
BEGIN READ WRITE; UPDATE tickets SET subject='x' WHERE id=1; COMMIT
BEGIN; DECLARE c CURSOR FOR UPDATE tickets SET subject='x' WHERE id=1 RETURNING *; ROLLBACK
BEGIN; DECLARE c CURSOR FOR WITH d AS (DELETE FROM tickets WHERE id=1 RETURNING *) TABLE d; ROLLBACK
UPDATE tickets SET subject='x' FROM hr.payroll p WHERE tickets.id=1
DELETE FROM tickets USING hr.payroll WHERE tickets.id=1
COPY tickets (subject) FROM STDIN
