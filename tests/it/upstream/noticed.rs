//! Definitions that are changed past the gateway.

use std::sync::Arc;
use std::time::Duration;

use portcullis::catalog::Snapshot;
use portcullis::gate::Catalogs as _;
use portcullis::upstream::Upstream;
use tokio::task::JoinHandle;
use tokio::time::{interval, timeout};

use super::catalog::upstream;
use crate::support::Database;

/// A database whose catalog is watched and used, while no statement comes by.
struct Watched {
    database: Database,
    upstream: Arc<Upstream>,
    watching: JoinHandle<()>,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

impl Watched {
    async fn with(sql: &str) -> Self {
        let database = Database::with(sql).await;
        let upstream = Arc::new(upstream(&database));
        let watching = tokio::spawn({
            let upstream = Arc::clone(&upstream);
            async move { upstream.watch("shop").await }
        });
        let watched = Self { database, upstream, watching };
        watched.until("it is loaded", |_| true).await;
        watched.hears().await;
        watched
    }

    async fn until(&self, what: &str, holds: impl Fn(&Snapshot) -> bool) {
        let mut ticks = interval(Duration::from_millis(20));
        let held = timeout(Duration::from_secs(60), async {
            loop {
                if self.upstream.current("shop").is_some_and(|snapshot| holds(&snapshot)) {
                    break;
                }
                ticks.tick().await;
            }
        });
        assert!(held.await.is_ok(), "{what} was not noticed");
    }

    async fn shows(&self, table: &str) {
        self.until(table, |snapshot| snapshot.resolve_relation(None, table).is_some()).await;
    }

    /// Waits until the kept connection is there, and idle.
    async fn hears(&self) {
        let client = self.database.connect().await;
        let mut ticks = interval(Duration::from_millis(20));
        while client.query(KEPT, &[]).await.unwrap().is_empty() {
            ticks.tick().await;
        }
    }
}

#[tokio::test]
async fn a_change_is_noticed_without_any_statement() {
    let watched = Watched::with("").await;
    watched.database.execute("CREATE TABLE one (x int)").await;
    watched.shows("one").await;
    watched.database.execute("ALTER TABLE one RENAME x TO y").await;
    let renamed = |snapshot: &Snapshot| {
        snapshot.resolve_relation(None, "one").is_some_and(|table| table.column("y").is_some())
    };
    watched.until("another name of a column", renamed).await;
}

/// Nothing is counted in this session: without being told, each change would show at the next look, fifteen seconds later.
#[tokio::test]
async fn an_event_trigger_tells_of_a_change() {
    let watched = Watched::with(
        "CREATE FUNCTION tell() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN NOTIFY portcullis_catalog; END';
         CREATE EVENT TRIGGER tell ON ddl_command_end EXECUTE FUNCTION tell()",
    )
    .await;
    let owner = watched.database.connect().await;
    owner.batch_execute("SET track_counts = off").await.unwrap();
    let three = async {
        for table in ["one", "two", "three"] {
            owner.batch_execute(&format!("CREATE TABLE {table} (x int)")).await.unwrap();
            watched.shows(table).await;
        }
    };
    assert!(timeout(Duration::from_secs(28), three).await.is_ok(), "it was not told");
}

#[tokio::test]
async fn a_lost_connection_is_replaced() {
    let watched = Watched::with("").await;
    for table in ["one", "two"] {
        let ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                      WHERE datname = current_database() AND application_name = 'portcullis/catalog'";
        watched.database.execute(ended).await;
        watched.database.execute(&format!("CREATE TABLE {table} (x int)")).await;
        watched.shows(table).await;
        watched.hears().await;
    }
}

/// A load of what is known already ends early: so every kind of change must show in what it looks at.
#[tokio::test]
async fn what_is_known_is_not_read_again_and_every_change_is() {
    let database = Database::with(
        "CREATE ROLE known_svc; CREATE ROLE known_group; CREATE ROLE r;
         CREATE TABLE t (id int, s text); CREATE TABLE parent (id int, s text); CREATE TABLE other (id int);
         CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    )
    .await;
    let upstream = upstream(&database);
    let mut before = upstream.refresh("shop").await.unwrap();
    let other = database.connect().await;
    for sql in [
        "SELECT 1",
        "INSERT INTO t VALUES (1, 'a')",
        "CREATE TEMP TABLE mine (x int)",
        "CREATE TEMP VIEW also_mine AS SELECT * FROM mine",
        "CREATE INDEX ON other (id); DROP INDEX other_id_idx",
    ] {
        other.batch_execute(sql).await.unwrap();
        let now = upstream.refresh("shop").await.unwrap();
        // What an index leaves on its table is another version of the table's row.
        assert!(Arc::ptr_eq(&now, &before) || now.version() == before.version(), "{sql}");
        assert!(sql.contains("INDEX") || Arc::ptr_eq(&now, &before), "{sql} was read again");
        before = now;
    }
    for sql in CHANGES {
        database.execute(sql).await;
        let now = upstream.refresh("shop").await.unwrap();
        assert_ne!(now.version(), before.version(), "{sql}");
        before = now;
    }
}

const CHANGES: [&str; 25] = [
    "ALTER TABLE t ADD c int",
    "ALTER TABLE t RENAME c TO d",
    "ALTER TABLE t ALTER d TYPE bigint",
    "ALTER TABLE t DROP COLUMN d",
    "ALTER TABLE t ALTER s SET NOT NULL",
    "ALTER TABLE t RENAME TO u",
    "ALTER TABLE u ADD PRIMARY KEY (id)",
    "ALTER TABLE u INHERIT parent",
    "ALTER TABLE u NO INHERIT parent",
    "CREATE VIEW v AS SELECT id FROM u",
    "CREATE OR REPLACE VIEW v AS SELECT id + 1 AS id FROM u",
    "CREATE TRIGGER tr BEFORE INSERT ON u FOR EACH ROW EXECUTE FUNCTION f()",
    "CREATE RULE r AS ON INSERT TO u DO INSTEAD NOTHING",
    "COMMENT ON COLUMN u.s IS 'secret'",
    "COMMENT ON TABLE u IS 'people'",
    "ALTER TABLE u ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY p ON u USING (id > 0)",
    "ALTER POLICY p ON u USING (id > 1)",
    "COMMENT ON POLICY p ON u IS 'ours'",
    "ALTER TABLE u OWNER TO known_svc",
    "CREATE FUNCTION g() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "ALTER FUNCTION g() SECURITY DEFINER",
    "DROP FUNCTION g()",
    "GRANT known_group TO r",
    "CREATE SCHEMA apart; ALTER TABLE u SET SCHEMA apart",
];

const KEPT: &str = "SELECT FROM pg_stat_activity WHERE datname = current_database()
                       AND application_name = 'portcullis/catalog' AND state = 'idle' AND query ~ 'pg_stat_get_tuples'";
