//! A small database with a secret in every column type and every kind of relation.

use std::sync::Arc;

use portcullis::catalog::Snapshot;
use portcullis::gate::Catalogs as _;
use portcullis::upstream::{DatabaseSettings, RoleSettings, Upstream};

use crate::support::Database;

/// The database with its secrets.
pub(super) const SCHEMA: &str = r#"
CREATE SCHEMA app; CREATE SCHEMA hr; CREATE SCHEMA other;
SET search_path = app;
CREATE TYPE mood AS ENUM ('fine', 'CANARYmood');
CREATE DOMAIN short AS text CHECK (length(VALUE) > 3);
CREATE TYPE address AS (street text, number int);
CREATE TABLE customers (
  id int PRIMARY KEY, name text NOT NULL, email varchar(12), ssn text, pin int, balance numeric(10,2), birth date,
  tags text[], notes jsonb, card char(19), mood mood, code text COLLATE "C", phone text, region text,
  nick short, home address,
  shout text GENERATED ALWAYS AS (upper(ssn)) STORED);
INSERT INTO customers SELECT i, 'name' || i, 'CANARY' || i, 'CANARY-' || i, 7700 + i, 8800.25 + i,
  date '1971-03-01' + i, ARRAY['CANARYtag' || i], jsonb_build_object('k', 'CANARY' || i), '4000-CANARY-00-100' || i,
  CASE WHEN i % 2 = 0 THEN 'CANARYmood'::mood ELSE 'fine' END, 'CANARYcode' || i, 'CANARYphone' || i,
  CASE WHEN i < 3 THEN 'north' ELSE 'south' END, 'CANARYnick', ROW('CANARYstreet', 9900)::address FROM generate_series(1, 5) i;
INSERT INTO customers (id, name, card, region) VALUES (6, 'name6', NULL, 'south'), (7, 'name7', 'Y1ND', 'south');
CREATE TABLE orders (id int PRIMARY KEY, customer_id int, amount int, ssn text);
INSERT INTO orders SELECT i, 1 + i % 4, i * 10, 'clear' FROM generate_series(1, 8) i;
CREATE TABLE products (id int PRIMARY KEY, label text);
INSERT INTO products VALUES (1, 'one'), (2, 'two');
CREATE TABLE hr.payroll (who text, iban text, salary int);
INSERT INTO hr.payroll SELECT 'who' || i, 'CANARYiban' || i, 9900 + i FROM generate_series(1, 3) i;
CREATE TABLE events (id int, secret text, kind text) PARTITION BY RANGE (id);
CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM (0) TO (10);
CREATE TABLE events_2 PARTITION OF events FOR VALUES FROM (10) TO (20);
INSERT INTO events SELECT i, 'CANARYevent' || i, 'k' || i % 2 FROM generate_series(8, 12) i;
CREATE TABLE people (id int, secret text);
CREATE TABLE staff (wage int) INHERITS (people);
INSERT INTO people VALUES (1, 'CANARYperson'); INSERT INTO staff VALUES (2, 'CANARYstaff', 5);
CREATE TABLE "Odd ""T" ("Id" int PRIMARY KEY, "s""sn" text, "select" text, end_ text);
INSERT INTO "Odd ""T" VALUES (1, 'CANARYodd', 'x', 'y');
CREATE TABLE other.customers (id int, note text);
INSERT INTO other.customers VALUES (1, 'note');
CREATE VIEW tax AS SELECT id, name AS who, ssn AS tax_id FROM customers WHERE id < 4;
CREATE VIEW tax_of_tax AS SELECT t.tax_id AS number, t.id FROM tax t;
CREATE VIEW row_view AS SELECT c.id AS n, c AS whole FROM customers c;
CREATE VIEW north(key, label) AS WITH x AS (SELECT * FROM customers WHERE region = 'north') SELECT id, ssn FROM x;
CREATE VIEW clear_view AS SELECT id, label AS title FROM products;
CREATE VIEW plain_view AS SELECT id, label FROM products;
CREATE VIEW both_view AS SELECT id, name AS who, ssn AS tax_id FROM customers;
CREATE MATERIALIZED VIEW kept AS SELECT id, ssn FROM customers;
CREATE MATERIALIZED VIEW stored AS SELECT id, ssn FROM customers;
CREATE FUNCTION reveal(customers) RETURNS text LANGUAGE sql AS 'SELECT $1.ssn';
CREATE FUNCTION twice(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2';
"#;

/// What the masks show, written over the secrets.
pub(super) const MASKED: &str = r#"
SET search_path = app;
UPDATE customers SET ssn = 'it''s hidden', email = 'hidden@examp', pin = 0, balance = 0, birth = '2000-01-01',
  tags = '{}', notes = 'null', mood = NULL, code = 'zz', phone = NULL, nick = NULL, home = NULL,
  card = CASE WHEN length(card::text) > 4 THEN repeat('*', length(card::text) - 4) || right(card::text, 4) ELSE '****' END;
ALTER TABLE customers ALTER COLUMN shout DROP EXPRESSION;
UPDATE customers SET shout = NULL;
REFRESH MATERIALIZED VIEW kept;
CREATE OR REPLACE VIEW both_view AS SELECT id, 'x'::text AS who, ssn AS tax_id FROM customers;
UPDATE hr.payroll SET iban = 'x', salary = 0;
UPDATE "Odd ""T" SET "s""sn" = 'q''"\';
UPDATE events SET secret = 'x';
UPDATE people SET secret = 'x';
CREATE OR REPLACE VIEW clear_view AS SELECT id, 'x'::text AS title FROM products;
"#;

/// A role that may read every column but the masked ones (a partial mask reads its column), and becomes it.
pub(super) const READER: &str = r#"
DO $$ BEGIN CREATE ROLE masks_reader; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;
GRANT USAGE ON SCHEMA app, hr, other TO masks_reader;
GRANT SELECT (id, name, card, region, ctid, tableoid, xmin) ON app.customers TO masks_reader;
GRANT SELECT (who, tableoid) ON hr.payroll TO masks_reader;
GRANT SELECT (id, kind, tableoid) ON app.events, app.events_1, app.events_2 TO masks_reader;
GRANT SELECT (id, tableoid) ON app.people, app.kept TO masks_reader;
GRANT SELECT (id, wage, tableoid) ON app.staff TO masks_reader;
GRANT SELECT ("Id", "select", end_) ON app."Odd ""T" TO masks_reader;
GRANT SELECT (id) ON app.clear_view TO masks_reader;
GRANT SELECT ON app.orders, app.products, other.customers TO masks_reader;
SET ROLE masks_reader;
"#;

/// The catalog as the gateway loads it.
pub(super) async fn load(database: &Database) -> Arc<Snapshot> {
    let settings = DatabaseSettings {
        search_path: vec!["app".into()],
        ..DatabaseSettings::new(
            "shop".into(),
            "127.0.0.1".into(),
            database.cluster.port(),
            database.name.clone(),
            RoleSettings {
                name: String::new(),
                user: database.cluster.superuser().into(),
                password: database.cluster.password().into(),
            },
        )
    };
    Upstream::new(vec![settings]).refresh("shop").await.unwrap()
}
