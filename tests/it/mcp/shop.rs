//! A door to a database of its own, with many items, for tests of pages and links.

use std::time::Duration;

use portcullis::mcp;
use portcullis::upstream::{DatabaseSettings, RoleSettings};

use super::stand::{Client, Era, Stand};
use crate::support::Database;

const SCHEMA: &str = "
    CREATE TABLE items (id int PRIMARY KEY, name text, price numeric(10, 2));
    INSERT INTO items SELECT n, 'item ' || n, n FROM generate_series(1, 250) n;
    CREATE TABLE hidden (secret text);
";

const SCOPE: &str = "
[scope.shop]
read = [\"public.items\"]
write = [\"public.items\"]
[approval]
groups = [\"approvers\"]
";

/// Agents who may read `public.items` of database `shop`, which has 250 of them.
pub(super) struct Shop {
    pub(super) stand: Stand,
    pub(super) database: Database,
}

impl Shop {
    pub(super) async fn open() -> Self {
        Self::with(&[], |_| {}).await
    }

    /// With `more` rules, after `change` was made to the door's settings.
    pub(super) async fn with(more: &[(&str, &str)], change: impl FnOnce(&mut mcp::Settings)) -> Self {
        Self::on(more, change, |_| {}).await
    }

    /// The same, after `alter` was applied to the database's settings.
    pub(super) async fn on(
        more: &[(&str, &str)],
        change: impl FnOnce(&mut mcp::Settings),
        alter: impl FnOnce(&mut DatabaseSettings),
    ) -> Self {
        let database = Database::with(SCHEMA).await;
        let user = format!("svc_{}", database.name);
        database
            .execute(&format!(
                "CREATE ROLE {user} LOGIN PASSWORD 'pw'; GRANT SELECT, UPDATE ON items TO {user};"
            ))
            .await;
        let mut settings = DatabaseSettings::new(
            "shop".to_owned(),
            "127.0.0.1".to_owned(),
            database.cluster.port(),
            database.name.clone(),
            RoleSettings { name: String::new(), user, password: "pw".to_owned() },
        );
        alter(&mut settings);
        Self { stand: Stand::start_with(vec![settings], SCOPE, more, change).await, database }
    }

    /// An agent without a session.
    pub(super) async fn client(&self, who: &str) -> Client {
        self.stand.client(who, Era::Stateless).await
    }

    /// Puts other rules in force, for other agents than `without`.
    pub(super) fn replace(&self, more: &[(&str, &str)], without: &[&str]) {
        self.stand.replace(SCOPE, more, without);
    }

    /// How many sessions of agents have a transaction open.
    pub(super) async fn in_transaction(&self) -> usize {
        self.processes("xact_start IS NOT NULL").await.len()
    }

    /// The server's processes for agents' sessions of which `condition` holds.
    pub(super) async fn processes(&self, condition: &str) -> Vec<i32> {
        let sql = format!(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() \
             AND application_name LIKE 'portcullis:%:%' AND {condition} ORDER BY pid"
        );
        let rows = self.database.connect().await.query(&sql, &[]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// Waits until all agents' sessions are at rest, made as new; their processes.
    pub(super) async fn resting(&self) -> Vec<i32> {
        until("all links rest", async || {
            self.processes("NOT (state = 'idle' AND query = 'DISCARD ALL')").await.is_empty()
        })
        .await;
        self.processes("true").await
    }

    /// Ends the agents' sessions of which `condition` holds, and waits until they have gone.
    pub(super) async fn terminate(&self, condition: &str) {
        for process in self.processes(condition).await {
            let admin = self.database.connect().await;
            admin.execute("SELECT pg_terminate_backend($1)", &[&process]).await.unwrap();
            until("it has gone", async || self.processes(&format!("pid = {process}")).await.is_empty()).await;
        }
    }
}

/// Waits until `holds` does.
pub(super) async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let waited = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(20), waited).await.is_ok(), "never: {what}");
}
