//! A small database with a secret in every column type and every kind of relation.

use portcullis::catalog::{Column, Function, Relation, RelationKey, RelationKind, Snapshot, Volatility};
use tokio_postgres::Client;

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
UPDATE events SET secret = 'x';
UPDATE people SET secret = 'x';
CREATE OR REPLACE VIEW clear_view AS SELECT id, 'x'::text AS title FROM products;
"#;

/// The catalog as the gateway would load it.
pub(super) async fn load(client: &Client) -> Snapshot {
    client.batch_execute("BEGIN; SET LOCAL search_path = ''").await.unwrap();
    let mut relations = Vec::new();
    let classes = "SELECT c.oid, n.nspname::text, c.relname::text, c.relkind::text, \
         CASE WHEN c.relkind IN ('v','m') THEN pg_get_viewdef(c.oid) END, \
         ARRAY(SELECT p.inhparent::regclass::text FROM pg_inherits p WHERE p.inhrelid = c.oid), \
         ARRAY(SELECT a.attname::text FROM pg_index i, unnest(i.indkey::int2[]) k JOIN pg_attribute a ON a.attnum = k \
               WHERE a.attrelid = c.oid AND i.indrelid = c.oid AND i.indisprimary) \
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r','p','v','m')";
    for row in client.query(classes, &[]).await.unwrap() {
        let kind: String = row.get(3);
        let parents: Vec<String> = row.get(5);
        relations.push(Relation {
            oid: row.get(0),
            schema: row.get(1),
            name: row.get(2),
            kind: match kind.as_str() {
                "p" => RelationKind::PartitionedTable,
                "v" => RelationKind::View,
                "m" => RelationKind::MaterializedView,
                _ => RelationKind::Table,
            },
            columns: Vec::new(),
            primary_key: row.get(6),
            parents: parents
                .iter()
                .filter_map(|parent| parent.split_once('.'))
                .map(|(schema, name)| RelationKey::new(schema, name))
                .collect(),
            definition: row.get(4),
            row_estimate: -1,
            has_triggers: false,
            has_rules: false,
            row_security: false,
            comment: None,
        });
    }
    let attributes = "SELECT a.attrelid, a.attname::text, a.attnum, a.atttypid, format_type(a.atttypid, a.atttypmod), \
         t.typtype::text, t.typcategory::text, CASE WHEN a.attcollation <> t.typcollation THEN \
         (SELECT format('%I.%I', n.nspname, l.collname) FROM pg_collation l JOIN pg_namespace n ON n.oid = l.collnamespace \
          WHERE l.oid = a.attcollation) END, a.attnotnull, a.attgenerated <> '', COALESCE(NULLIF(t.typbasetype, 0), t.oid) \
         FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid WHERE a.attnum > 0 AND NOT a.attisdropped \
         ORDER BY a.attrelid, a.attnum";
    for row in client.query(attributes, &[]).await.unwrap() {
        let relation: u32 = row.get(0);
        let Some(relation) = relations.iter_mut().find(|each| each.oid == relation) else { continue };
        let (kind, category): (String, String) = (row.get(5), row.get(6));
        relation.columns.push(Column {
            name: row.get(1),
            number: row.get(2),
            type_oid: row.get(3),
            type_name: row.get(4),
            base_type_oid: row.get(10),
            base_type_kind: kind.chars().next().unwrap(),
            base_type_category: category.chars().next().unwrap(),
            collation: row.get(7),
            not_null: row.get(8),
            generated: row.get(9),
            comment: None,
        });
    }
    let procedures = "SELECT p.oid, n.nspname::text, p.proname::text, p.prokind::text FROM pg_proc p \
         JOIN pg_namespace n ON n.oid = p.pronamespace";
    let functions = client.query(procedures, &[]).await.unwrap();
    let functions = functions.iter().map(|row| Function {
        oid: row.get(0),
        schema: row.get(1),
        name: row.get(2),
        volatility: Volatility::Stable,
        security_definer: false,
        language: "sql".into(),
        returns_set: false,
        kind: row.get::<_, String>(3).chars().next().unwrap(),
    });
    let functions = functions.collect();
    client.batch_execute("COMMIT").await.unwrap();
    Snapshot::new(1, 150_000, vec!["app".into()], relations, functions)
}
