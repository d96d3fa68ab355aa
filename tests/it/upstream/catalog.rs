//! Catalog snapshots of a real PostgreSQL.

use std::collections::HashSet;
use std::sync::Arc;

use portcullis::catalog::{Column, Relation, RelationKey, RelationKind, Snapshot, Volatility};
use portcullis::gate::Catalogs as _;
use portcullis::upstream::{DatabaseSettings, RoleSettings, Upstream};

use crate::support::Database;

fn settings(database: &Database, user: &str, password: &str) -> DatabaseSettings {
    DatabaseSettings {
        roles: vec![RoleSettings { name: "reader".into(), user: "r".into(), password: "r".into() }],
        ..DatabaseSettings::new(
            "shop".into(),
            "127.0.0.1".into(),
            database.cluster.port(),
            database.name.clone(),
            RoleSettings { name: String::new(), user: user.into(), password: password.into() },
        )
    }
}

pub(super) fn upstream(database: &Database) -> Upstream {
    Upstream::new(vec![settings(database, database.cluster.superuser(), database.cluster.password())])
}

async fn snapshot(sql: &str) -> Arc<Snapshot> {
    let database = Database::with(sql).await;
    upstream(&database).refresh("shop").await.unwrap()
}

fn relation<'a>(snapshot: &'a Snapshot, schema: &str, name: &str) -> &'a Relation {
    snapshot.relation(&RelationKey::new(schema, name)).unwrap()
}

fn keys(relation: &Relation) -> Vec<&str> {
    relation.parents.iter().map(RelationKey::as_str).collect()
}

#[tokio::test]
async fn a_table_is_loaded_with_everything_that_was_declared() {
    let snapshot = snapshot(
        r#"CREATE SCHEMA "App";
           CREATE TABLE "App"."Order Line" (
               dropped int, line_no smallint, order_id int NOT NULL, note varchar(20) COLLATE "C",
               total numeric(10,2) GENERATED ALWAYS AS (order_id * 1.5) STORED,
               PRIMARY KEY (order_id, line_no) INCLUDE (note));
           ALTER TABLE "App"."Order Line" DROP COLUMN dropped;
           ALTER TABLE "App"."Order Line" ENABLE ROW LEVEL SECURITY;
           COMMENT ON TABLE "App"."Order Line" IS 'What was ordered';
           COMMENT ON COLUMN "App"."Order Line".note IS 'Free text';
           INSERT INTO "App"."Order Line" SELECT g, g FROM generate_series(1, 7) g;
           ANALYZE;"#,
    )
    .await;
    let table = relation(&snapshot, "App", "Order Line");
    assert_eq!(table.kind, RelationKind::Table);
    assert_eq!(table.primary_key, ["order_id", "line_no"]);
    assert_eq!(table.row_estimate, 7);
    assert_eq!(table.comment.as_deref(), Some("What was ordered"));
    assert!(table.row_security.enabled && !table.has_triggers && !table.has_rules);
    assert_eq!(table.definition, None);
    let names: Vec<_> = table.columns.iter().map(|column| (column.number, column.name.as_str())).collect();
    assert_eq!(names, [(2, "line_no"), (3, "order_id"), (4, "note"), (5, "total")]);
    let note = Column {
        name: "note".into(),
        number: 4,
        type_oid: 1043,
        type_name: "character varying(20)".into(),
        base_type_oid: 1043,
        base_type_kind: 'b',
        base_type_category: 'S',
        collation: Some(r#"pg_catalog."C""#.into()),
        not_null: false,
        generated: false,
        comment: Some("Free text".into()),
        security_labels: Vec::new(),
    };
    assert_eq!(table.column("note"), Some(&note));
    let total = table.column("total").unwrap();
    assert!(total.generated && total.collation.is_none());
    assert_eq!(&*total.type_name, "numeric(10,2)");
    assert!(table.column("line_no").unwrap().not_null);
}

#[tokio::test]
async fn types_print_qualified_and_domains_are_seen_through() {
    let snapshot = snapshot(
        "CREATE SCHEMA app;
         CREATE TYPE app.mood AS ENUM ('glad', 'sad');
         CREATE DOMAIN app.email AS text CHECK (VALUE ~ '@');
         CREATE DOMAIN public.work_email AS app.email;
         CREATE TYPE public.pair AS (a int, b app.mood);
         CREATE TABLE t (m app.mood, e work_email, ms app.mood[], p pair, r int4range, es app.email[]);",
    )
    .await;
    let table = relation(&snapshot, "public", "t");
    let column = |name| {
        let column: &Column = table.column(name).unwrap();
        (&*column.type_name, column.base_type_kind, column.base_type_category)
    };
    assert_eq!(column("m"), ("app.mood", 'e', 'E'));
    assert_eq!(column("e"), ("public.work_email", 'b', 'S'));
    assert_eq!(column("ms"), ("app.mood[]", 'b', 'A'));
    assert_eq!(column("p"), ("public.pair", 'c', 'C'));
    assert_eq!(column("r"), ("int4range", 'r', 'R'));
    assert_eq!(column("es"), ("app.email[]", 'b', 'A'));
    assert_eq!(table.column("e").unwrap().base_type_oid, 25);
    assert_ne!(table.column("e").unwrap().type_oid, 25);
    let pair = relation(&snapshot, "public", "pair");
    assert_eq!((pair.kind, pair.columns.len()), (RelationKind::Other, 2));
}

#[tokio::test]
async fn views_bring_their_definition_with_every_name_qualified() {
    let snapshot = snapshot(
        "CREATE TABLE t (id int, s text);
         CREATE VIEW v AS SELECT id, lower(s) AS s FROM t;
         CREATE MATERIALIZED VIEW mv AS SELECT count(*) AS n FROM v;
         CREATE RULE r AS ON INSERT TO v DO INSTEAD NOTHING;
         CREATE FUNCTION noop() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
         CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION noop();
         CREATE TABLE parent (id int PRIMARY KEY);
         CREATE TABLE child (id int REFERENCES parent);",
    )
    .await;
    let view = relation(&snapshot, "public", "v");
    assert_eq!(view.kind, RelationKind::View);
    let definition = view.definition.as_deref().unwrap();
    assert!(definition.starts_with(" SELECT") && definition.ends_with("FROM public.t;"), "{definition}");
    assert!(view.has_rules && !view.has_triggers);
    let materialized = relation(&snapshot, "public", "mv");
    assert_eq!(materialized.kind, RelationKind::MaterializedView);
    assert!(materialized.definition.as_deref().unwrap().contains("FROM public.v"));
    assert!(!materialized.has_rules);
    assert!(relation(&snapshot, "public", "t").has_triggers);
    assert!(!relation(&snapshot, "public", "child").has_triggers, "foreign keys are no user triggers");
}

#[tokio::test]
async fn partitions_and_heirs_name_their_parents() {
    let snapshot = snapshot(
        "CREATE SCHEMA old;
         CREATE TABLE p (id int) PARTITION BY RANGE (id);
         CREATE TABLE old.p1 PARTITION OF p FOR VALUES FROM (0) TO (10);
         CREATE TABLE a (x int);
         CREATE TABLE b (y int);
         CREATE TABLE c () INHERITS (b, a);
         CREATE SEQUENCE s;
         CREATE FOREIGN DATA WRAPPER nowhere;
         CREATE SERVER elsewhere FOREIGN DATA WRAPPER nowhere;
         CREATE FOREIGN TABLE f (x text) SERVER elsewhere;",
    )
    .await;
    assert_eq!(relation(&snapshot, "public", "p").kind, RelationKind::PartitionedTable);
    assert_eq!(keys(relation(&snapshot, "old", "p1")), ["public.p"]);
    assert_eq!(keys(relation(&snapshot, "public", "c")), ["public.b", "public.a"]);
    assert_eq!(relation(&snapshot, "public", "s").kind, RelationKind::Sequence);
    assert_eq!(relation(&snapshot, "public", "f").kind, RelationKind::ForeignTable);
}

#[tokio::test]
async fn functions_tell_what_they_may_do() {
    let snapshot = snapshot(
        "CREATE FUNCTION f(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1';
         CREATE FUNCTION f(text) RETURNS SETOF int LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN END';
         CREATE PROCEDURE p() LANGUAGE sql AS 'SELECT 1';
         CREATE AGGREGATE total(int) (SFUNC = int4pl, STYPE = int);",
    )
    .await;
    let mut overloads = snapshot.resolve_functions(None, "f");
    overloads.sort_by_key(|function| function.oid);
    let told: Vec<_> = overloads
        .iter()
        .map(|f| (f.volatility, f.security_definer, f.language.as_str(), f.returns_set, f.kind))
        .collect();
    assert_eq!(
        told,
        [
            (Volatility::Immutable, false, "sql", false, 'f'),
            (Volatility::Volatile, true, "plpgsql", true, 'f')
        ]
    );
    assert_eq!(snapshot.resolve_functions(None, "p")[0].kind, 'p');
    assert_eq!(snapshot.resolve_functions(None, "total")[0].kind, 'a');
    assert_eq!(snapshot.resolve_functions(None, "now")[0].volatility, Volatility::Stable);
    assert_eq!(snapshot.user_functions().count(), 4);
}

#[tokio::test]
async fn the_servers_own_relations_are_there_and_hidden_ones_are_not() {
    let database = Database::with("CREATE TABLE t (long text)").await;
    let other = database.connect().await;
    other.batch_execute("CREATE TEMP TABLE mine (x int)").await.unwrap();
    let snapshot = upstream(&database).refresh("shop").await.unwrap();
    assert!(snapshot.resolve_relation(None, "pg_class").unwrap().is_system());
    let system_view = relation(&snapshot, "information_schema", "columns");
    assert_eq!((system_view.kind, &system_view.definition), (RelationKind::View, &None));
    assert_eq!(snapshot.server_version_num() / 10_000, database.cluster.version().major);
    let hidden = |relation: &&Arc<Relation>| {
        relation.schema.starts_with("pg_toast") || relation.schema.starts_with("pg_temp")
    };
    assert_eq!(snapshot.relations().filter(hidden).count(), 0);
}

#[tokio::test]
async fn the_version_grows_with_every_change_of_a_definition_and_with_nothing_else() {
    let database = Database::with("CREATE TABLE t (id int)").await;
    let upstream = upstream(&database);
    assert!(upstream.current("shop").is_none());
    let mut versions = vec![upstream.refresh("shop").await.unwrap().version()];
    for sql in [
        "INSERT INTO t VALUES (1); ANALYZE t",
        "COMMENT ON COLUMN t.id IS 'x'",
        "CREATE VIEW v AS SELECT 1 AS one",
        "CREATE OR REPLACE VIEW v AS SELECT 2 AS one",
        "SELECT 1",
        "ALTER TABLE t ENABLE ROW LEVEL SECURITY",
    ] {
        database.execute(sql).await;
        versions.push(upstream.refresh("shop").await.unwrap().version());
    }
    assert_eq!(versions, [1, 1, 2, 3, 4, 4, 5]);
    let current = upstream.current("shop").unwrap();
    assert_eq!(current.version(), 5);
    assert_eq!(relation(&current, "public", "t").row_estimate, 1, "estimates are fresh all the same");
}

#[tokio::test]
async fn a_refresh_sees_what_was_committed_before_it_and_a_flood_shares_one_load() {
    let database = Database::with("").await;
    let upstream = Arc::new(upstream(&database));
    upstream.refresh("shop").await.unwrap();
    database.execute("CREATE TABLE just_made (id int)").await;
    let mut flood = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let upstream = Arc::clone(&upstream);
        flood.spawn(async move { upstream.refresh("shop").await.unwrap() });
    }
    let snapshots = flood.join_all().await;
    assert!(snapshots.iter().all(|found| found.resolve_relation(None, "just_made").is_some()));
    let distinct: HashSet<_> = snapshots.iter().map(Arc::as_ptr).collect();
    assert!(
        distinct.len() <= 2,
        "those who ask while a load is under way share the next: {}",
        distinct.len()
    );
}

#[tokio::test]
async fn a_catalog_that_cant_be_read_says_why_and_keeps_the_last_good_one() {
    let database = Database::with("CREATE ROLE svc LOGIN PASSWORD 'right'").await;
    let wrong = Upstream::new(vec![settings(&database, "svc", "wrong")]);
    assert_eq!(
        wrong.refresh("shop").await.unwrap_err().to_string(),
        "the catalog of `shop` can't be read: password authentication failed for user \"svc\" (28P01)"
    );
    assert_eq!(
        wrong.refresh("nowhere").await.unwrap_err().to_string(),
        "the catalog of `nowhere` can't be read: there is no such database in the configuration"
    );
    let right = Upstream::new(vec![settings(&database, "svc", "right")]);
    let good = right.refresh("shop").await.unwrap();
    database.execute("ALTER ROLE svc PASSWORD 'changed'").await;
    assert!(right.refresh("shop").await.is_err());
    assert!(Arc::ptr_eq(&right.current("shop").unwrap(), &good));
    assert_eq!(right.roles("shop").unwrap(), ["reader"]);
    assert_eq!(right.roles("nowhere"), None);
}

#[tokio::test]
async fn a_lock_takes_away_the_views_above_it_and_nothing_else_for_as_long_as_it_is_held() {
    let database = Database::with(
        "CREATE TABLE a (x int); CREATE TABLE b (x int);
         CREATE VIEW above_a AS SELECT x FROM a; CREATE VIEW above_both AS SELECT a.x FROM b, a;
         CREATE MATERIALIZED VIEW kept_of_a AS SELECT x FROM a; CREATE VIEW within AS SELECT (SELECT max(x) FROM a) AS x;
         CREATE VIEW above_b AS SELECT x FROM b; CREATE VIEW above_a_view AS SELECT x FROM above_a",
    )
    .await;
    let upstream = upstream(&database);
    let owner = database.connect().await;
    owner.batch_execute("BEGIN; ALTER TABLE a ADD y int").await.unwrap();
    let locked = upstream.refresh("shop").await.unwrap();
    let definition = |of: &Snapshot, name| relation(of, "public", name).definition.clone().unwrap();
    for name in ["above_a", "above_both", "kept_of_a", "within"] {
        assert_eq!(definition(&locked, name), "", "{name}");
    }
    assert!(definition(&locked, "above_b").contains("FROM public.b"));
    assert!(definition(&locked, "above_a_view").contains("FROM public.above_a"));
    assert_eq!(relation(&locked, "public", "a").columns.len(), 1);
    owner.batch_execute("COMMIT").await.unwrap();
    let free = upstream.refresh("shop").await.unwrap();
    for name in ["above_a", "above_both", "kept_of_a", "within"] {
        assert!(definition(&free, name).contains("public.a"), "{name}");
    }
}

#[tokio::test]
async fn a_dead_port_is_named() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let database = Database::with("").await;
    let dead = DatabaseSettings { port, ..settings(&database, "svc", "x") };
    let error = Upstream::new(vec![dead]).refresh("shop").await.unwrap_err();
    assert!(error.why.contains("refused"), "{error}");
}
