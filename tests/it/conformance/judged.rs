//! A gateway that judges, by the rulebook that PostgreSQL's own suite is run by: it allows everything and masks one
//! table. What it answers must be right at every moment, whatever has been defined meanwhile and by whom.

use portcullis::cli::demo::cluster::Cluster;
use portcullis::config;
use portcullis::serve::Gateway;
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};

use super::{NAME, THROUGH, trusting_cluster, written};

/// A gateway before a database with one masked table.
struct Judged {
    gateway: Gateway,
    cluster: Cluster,
    _home: tempfile::TempDir,
}

impl Judged {
    async fn start() -> Self {
        let cluster = trusting_cluster().await;
        cluster.execute_sql("postgres", &format!("CREATE DATABASE {THROUGH}")).await.unwrap();
        let masked = "CREATE SCHEMA private CREATE TABLE patient (id int, diagnosis text);
            INSERT INTO private.patient VALUES (1, 'secret')";
        cluster.execute_sql(THROUGH, masked).await.unwrap();
        let home = tempfile::tempdir().unwrap();
        let settings =
            config::load(&written(home.path(), "tests/conformance/judged", cluster.port())).unwrap();
        let gateway = Gateway::start(settings).await.unwrap();
        Self { gateway, cluster, _home: home }
    }

    async fn session(&self) -> Client {
        let mut config = Config::new();
        config.host("127.0.0.1").port(self.gateway.addresses().wire.port()).user("postgres").dbname(NAME);
        let (client, connection) = config.connect(NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    async fn stop(self) {
        self.gateway.stop().await;
        self.cluster.stop().await.unwrap();
    }
}

/// The rows as text, `1|a`, or the SQLSTATE.
async fn rows(client: &Client, sql: &str) -> Result<Vec<String>, String> {
    let messages = client.simple_query(sql).await.map_err(|error| error.code().unwrap().code().to_owned())?;
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => {
            let cells: Vec<&str> = (0..row.len()).map(|index| row.get(index).unwrap_or("NULL")).collect();
            Some(cells.join("|"))
        }
        _ => None,
    });
    Ok(rows.collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_session_has_redefined_is_judged_as_it_is_now() {
    let judged = Judged::start().await;
    let (one, other) = (judged.session().await, judged.session().await);
    rows(&one, "CREATE TABLE t (a int)").await.unwrap();
    rows(&one, "INSERT INTO t VALUES (1)").await.unwrap();
    for (change, expected) in [
        ("ALTER TABLE t ADD b int DEFAULT 2", "1|2"),
        ("ALTER TABLE t DROP a", "2"),
        ("BEGIN; ALTER TABLE t ADD c int DEFAULT 3; COMMIT", "2|3"),
        ("DO $$ BEGIN ALTER TABLE t DROP b; END $$", "3"),
        ("DROP TABLE t; CREATE TABLE t AS SELECT 7 AS a, 8 AS b, 9 AS c", "7|8|9"),
    ] {
        rows(&one, change).await.unwrap();
        for session in [&one, &other] {
            assert_eq!(rows(session, "SELECT * FROM t").await.unwrap(), [expected], "{change}");
        }
    }
    rows(&one, "BEGIN").await.unwrap();
    rows(&one, "ALTER TABLE t DROP c").await.unwrap();
    rows(&one, "COMMIT").await.unwrap();
    assert_eq!(rows(&other, "SELECT * FROM t").await.unwrap(), ["7|8"]);
    judged.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_past_the_gateway_is_met_once() {
    let judged = Judged::start().await;
    let client = judged.session().await;
    rows(&client, "CREATE TABLE t AS SELECT 1 AS a").await.unwrap();
    assert_eq!(rows(&client, "SELECT * FROM t").await.unwrap(), ["1"]);
    judged.cluster.execute_sql(THROUGH, "ALTER TABLE t ADD b int").await.unwrap();
    // Nothing of a result is shown that is not the one that was judged.
    assert_eq!(rows(&client, "SELECT * FROM t").await.unwrap_err(), "40001");
    assert_eq!(rows(&client, "SELECT * FROM t").await.unwrap(), ["1|NULL"]);
    // The same by the extended protocol.
    judged.cluster.execute_sql(THROUGH, "ALTER TABLE t ADD c int").await.unwrap();
    let failed = client.query("SELECT * FROM t", &[]).await.unwrap_err();
    assert_eq!(failed.code().unwrap().code(), "40001");
    assert_eq!(client.query("SELECT * FROM t", &[]).await.unwrap()[0].len(), 3);
    judged.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_can_not_be_made_to_mean_what_was_not_judged() {
    let judged = Judged::start().await;
    let client = judged.session().await;
    // By the search path that the gateway has pinned, `patient` is this one.
    rows(&client, "CREATE TABLE public.patient AS SELECT 2 AS id, 'harmless' AS diagnosis").await.unwrap();
    let read = "SELECT diagnosis || '!' FROM patient";
    for lift in [
        "SET search_path = private",
        "SET LOCAL search_path = private, public",
        "SET SCHEMA 'private'",
        "BEGIN; SET search_path TO private; COMMIT",
        "SELECT set_config('search_path', 'private', false)",
        "SELECT set_config('search' || '_path', 'private', false)",
        "SELECT set_config(is_local => false, new_value => 'private', setting_name => 'search_path')",
        "SET standard_conforming_strings = off",
        "SET client_encoding = 'SJIS'",
    ] {
        assert_eq!(rows(&client, lift).await.unwrap_err(), "42501", "{lift}");
        assert_eq!(rows(&client, read).await.unwrap(), ["harmless!"], "{lift}");
    }
    let prepared = client.prepare("SET search_path = private").await.unwrap_err();
    assert_eq!(prepared.code().unwrap().code(), "42501");
    for harmless in
        ["RESET search_path", "SET search_path TO DEFAULT", "RESET ALL", "SET client_encoding = 'utf8'"]
    {
        rows(&client, harmless).await.unwrap();
        assert_eq!(rows(&client, read).await.unwrap(), ["harmless!"], "{harmless}");
    }
    assert_eq!(rows(&client, "SELECT diagnosis FROM private.patient").await.unwrap(), ["withheld"]);
    judged.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_is_not_governed_for_a_name_inside_it() {
    let judged = Judged::start().await;
    let client = judged.session().await;
    let recursive = "CREATE OR REPLACE RECURSIVE VIEW nums (n) AS
        VALUES (1) UNION ALL SELECT n + 1 FROM nums WHERE n < 3";
    for _ in 0..2 {
        rows(&client, recursive).await.unwrap();
        assert_eq!(rows(&client, "SELECT * FROM nums").await.unwrap(), ["1", "2", "3"]);
    }
    // The other way round: what it reads by its full name counts, whatever else is called so.
    let hidden =
        "CREATE VIEW seen AS WITH patient AS (SELECT 1) SELECT p.diagnosis FROM private.patient p, patient";
    assert_eq!(rows(&client, hidden).await.unwrap_err(), "42501");
    judged.cluster.execute_sql(THROUGH, hidden).await.unwrap();
    assert_eq!(rows(&client, "SELECT * FROM seen").await.unwrap(), ["withheld"]);
    judged.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_that_give_several_columns_give_all_of_them() {
    let judged = Judged::start().await;
    let client = judged.session().await;
    rows(&client, "CREATE TYPE pair AS (a int, b text)").await.unwrap();
    rows(&client, "CREATE TABLE holds (words tsvector, pairs pair[])").await.unwrap();
    rows(&client, "INSERT INTO holds VALUES ('x:1', '{\"(1,y)\"}')").await.unwrap();
    for (sql, expected) in [
        ("SELECT * FROM unnest('a:1'::tsvector)", "a|{1}|{D}"),
        ("SELECT * FROM unnest(to_tsvector('simple', 'a'))", "a|{1}|{D}"),
        ("SELECT u.* FROM holds, unnest(words) u", "x|{1}|{D}"),
        ("SELECT u.* FROM holds, unnest(holds.pairs) u", "1|y"),
        ("SELECT * FROM unnest(ARRAY[(2, 'z')::pair])", "2|z"),
        ("SELECT * FROM unnest('{\"(3,w)\"}'::public.pair[], '{4}'::int[])", "3|w|4"),
        ("SELECT * FROM unnest('{5}'::int[]) n", "5"),
    ] {
        assert_eq!(rows(&client, sql).await.unwrap(), [expected], "{sql}");
    }
    judged.stop().await;
}
