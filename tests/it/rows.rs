//! Row filters on a real server: what they hold, what holds them, and that nothing gets past.

mod attacks;
mod changes;
mod fence;
mod program;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use portcullis::cli::demo::shop;
use portcullis::config::Settings;
use portcullis::upstream::Upstream;
use serde_json::{Value, json};
use tokio_postgres::{Client, NoTls};

use crate::support::gateway::{Stand, UPSTREAM_PASSWORD};

/// A gateway before tables of two tenants; every identity but dora has the rows of acme.
pub(crate) struct Tenants {
    pub(crate) stand: Stand,
}

impl Tenants {
    /// With the filters in force, and a rulebook that allows every statement.
    pub(crate) async fn open() -> Self {
        let tenants = Self::start(&filters("rls"), everything).await;
        tenants.apply().await;
        tenants
    }

    /// With `filters`, before anybody has put them in force.
    pub(crate) async fn start(filters: &Value, change: impl FnOnce(&Path)) -> Self {
        let stand = Stand::start_with(|home, _: &mut Settings| {
            write(home, "row_filters", filters);
            write(home, "row_values", &values(&["acme"]));
            change(&home.join("policies"));
        })
        .await;
        stand.cluster.execute_sql(shop::NAME, SCHEMA).await.unwrap();
        Self { stand }
    }

    /// Runs the script of `portcullis rls plan`, as it stands.
    pub(crate) async fn apply(&self) -> String {
        let upstream = Upstream::new(self.stand.settings.databases.clone());
        let rules = portcullis::serve::load_rules(&self.stand.settings).unwrap();
        let plan =
            upstream.plan_rows(shop::NAME, &rules.policy.row_filters(shop::NAME).unwrap()).await.unwrap();
        let script = plan.script();
        self.sql(&script).await;
        script
    }

    /// What `portcullis rls verify` finds: kinds of findings by filter and relation.
    pub(crate) async fn verify(&self) -> Vec<String> {
        let upstream = Upstream::new(self.stand.settings.databases.clone());
        let rules = portcullis::serve::load_rules(&self.stand.settings).unwrap();
        let found =
            upstream.verify_rows(shop::NAME, &rules.policy.row_filters(shop::NAME).unwrap()).await.unwrap();
        found
            .iter()
            .map(|finding| format!("{} {} {}", finding.filter, finding.lack.name(), finding.relation))
            .collect()
    }

    /// Runs `sql` as the owner of everything.
    pub(crate) async fn sql(&self, sql: &str) {
        self.stand
            .cluster
            .execute_sql(shop::NAME, sql)
            .await
            .unwrap_or_else(|error| panic!("{error:?}\n{sql}"));
    }

    /// Puts another `row_values.json` in force, and waits until it is.
    pub(crate) async fn give(&self, data: &str, to: &Value) {
        let before = self.revision();
        write(self.stand.home.path(), data, to);
        crate::faults::until("other rules", async || self.revision() != before).await;
    }

    fn revision(&self) -> String {
        let entries = self.stand.ledger();
        let replaced = entries.iter().rev().find_map(|entry| match &entry.record.event {
            portcullis::audit::Event::Gateway { what } if what.starts_with("rules replaced") => {
                Some(what.clone())
            }
            _ => None,
        });
        replaced.unwrap_or_default()
    }

    /// A session past the gateway, by the role that it would have, with the settings that it would have.
    pub(crate) async fn direct(&self, options: &str) -> Client {
        let (client, connection) = tokio_postgres::Config::new()
            .host("127.0.0.1")
            .port(self.stand.cluster.port())
            .user(shop::SERVICE_USER)
            .password(UPSTREAM_PASSWORD)
            .dbname(shop::NAME)
            .options(options)
            .connect(NoTls)
            .await
            .unwrap();
        tokio::spawn(connection);
        client
    }
}

/// The definitions of all tests.
pub(crate) fn filters(by: &str) -> Value {
    let filter =
        |relation: &str, using: &str| json!({"relation": relation, "using": using, "by": by, "lifted": true});
    json!({shop::NAME: {
        "tenant": filter("public.notes", "tenant = ANY ($values)"),
        // Costlier than most of what a statement could ask beside it.
        "memo": filter("public.memos", "lower(replace(initcap(tenant), '-', '_')) = ANY ($values)"),
        "event": filter("public.events", "tenant = ANY ($values)"),
        "log": filter("public.logs", "tenant = ANY ($values)"),
    }})
}

/// Everybody has `tenants`, and dora everything.
pub(crate) fn values(tenants: &[&str]) -> Value {
    let everybody =
        json!({"groups": {"analysts": tenants, "support": tenants}, "identities": {"dora": "all"}});
    let filters: BTreeMap<&str, Value> =
        ["tenant", "memo", "event", "log"].into_iter().map(|name| (name, everybody.clone())).collect();
    json!({shop::NAME: filters})
}

/// A rulebook that lets everything run and masks nothing.
pub(crate) fn everything(policies: &Path) {
    fs::remove_dir_all(policies.join("statement")).unwrap();
    fs::write(policies.join("statement.rego"), "package portcullis.statement\n\nallow := true\n").unwrap();
}

fn write(home: &Path, data: &str, value: &Value) {
    fs::write(home.join(format!("policies/data/{data}.json")), format!("{value:#}")).unwrap();
}

/// The first column of all rows, as text.
pub(crate) async fn column(client: &Client, sql: &str) -> Vec<String> {
    let rows = client.simple_query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let text = |message: tokio_postgres::SimpleQueryMessage| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or("NULL").to_owned()),
        _ => None,
    };
    rows.into_iter().filter_map(text).collect()
}

/// The rule by which `sql` is denied, and why.
pub(crate) async fn denied(client: &Client, sql: &str) -> String {
    let error = client.simple_query(sql).await.expect_err(sql);
    let error = error.as_db_error().unwrap_or_else(|| panic!("{sql}: {error:?}"));
    assert_eq!(error.code().code(), "42501", "{sql}: {error:?}");
    let texts = [Some(error.message()), error.detail(), error.hint()];
    texts.into_iter().flatten().collect::<Vec<_>>().join(" | ")
}

const SCHEMA: &str = "
CREATE TABLE owners (id int PRIMARY KEY);
INSERT INTO owners VALUES (1);
CREATE TABLE notes (id int PRIMARY KEY, tenant text NOT NULL, body text NOT NULL, n int NOT NULL, code text UNIQUE,
                    owner int REFERENCES owners);
INSERT INTO notes SELECT g, CASE WHEN g < 5 THEN 'acme' ELSE 'globex' END,
    CASE WHEN g < 5 THEN g::text ELSE 'globex-secret-' || g END, g - 5, CASE WHEN g < 5 THEN 'ac-' ELSE 'gx-' END || g
    FROM generate_series(1, 1000) g;
CREATE INDEX ON notes (tenant);
CREATE TABLE above_memos (id int, tenant text, body text);
CREATE TABLE memos (id int PRIMARY KEY, tenant text NOT NULL, body text NOT NULL);
INSERT INTO memos SELECT id, tenant, body FROM notes WHERE id < 9;
CREATE TABLE events (id int, tenant text, body text) PARTITION BY LIST (tenant);
CREATE TABLE events_acme PARTITION OF events FOR VALUES IN ('acme');
CREATE TABLE events_globex PARTITION OF events FOR VALUES IN ('globex');
INSERT INTO events SELECT id, tenant, body FROM notes WHERE id < 9;
CREATE TABLE logs (id int, tenant text, body text);
CREATE TABLE logs_old () INHERITS (logs);
INSERT INTO logs SELECT id, tenant, body FROM notes WHERE id IN (1, 5);
INSERT INTO logs_old SELECT id, tenant, body FROM notes WHERE id IN (2, 6);
CREATE VIEW notes_view AS SELECT * FROM notes;
CREATE VIEW notes_view_2 AS SELECT v.id, upper(v.body) AS body, m.body AS memo FROM notes_view v LEFT JOIN memos m USING (id);
CREATE VIEW notes_invoker WITH (security_invoker = true) AS SELECT * FROM notes;
CREATE VIEW events_view AS SELECT tenant, max(body) AS body FROM events GROUP BY tenant;
CREATE MATERIALIZED VIEW notes_stored AS SELECT * FROM notes;
CREATE FUNCTION leak(text) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS
    $$ BEGIN RAISE NOTICE 'saw %', $1; RAISE WARNING 'saw %', $1; RETURN true; END $$;
CREATE FUNCTION lifts() RETURNS text LANGUAGE plpgsql AS
    $$ BEGIN PERFORM set_config('portcullis.lift_tenant', 'on', false); RETURN 'lifted'; END $$;
CREATE FUNCTION unlifts() RETURNS text LANGUAGE plpgsql AS
    $$ BEGIN PERFORM set_config('portcullis.lift_tenant', 'off', false); RETURN 'as before'; END $$;
CREATE TABLE ruled (id int);
INSERT INTO ruled VALUES (7);
CREATE RULE steals AS ON INSERT TO ruled DO ALSO UPDATE notes SET tenant = 'acme' WHERE id = new.id;
CREATE RULE removes AS ON DELETE TO ruled DO ALSO DELETE FROM notes WHERE id = old.id;
GRANT ALL ON ALL TABLES IN SCHEMA public TO portcullis_svc, portcullis_full;
GRANT CREATE ON SCHEMA public TO portcullis_svc;
GRANT TEMP ON DATABASE shop TO portcullis_svc;
ANALYZE;
";
