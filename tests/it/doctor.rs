//! What the doctor finds about upstream roles on a real PostgreSQL, and that its script ends it.

use std::collections::{BTreeMap, BTreeSet};

use portcullis::gate::Withheld;
use portcullis::upstream::{DatabaseSettings, Examination, Kind, RoleSettings, Upstream};

use crate::support::Database;

mod serve;

/// A database with a role `name` that may log in and connect, and nothing else that was granted to it.
struct Patient {
    database: Database,
    name: &'static str,
}

impl Patient {
    async fn new(name: &'static str, sql: &str) -> Self {
        let database = Database::with(&format!("CREATE ROLE {name} LOGIN PASSWORD 'pw'; {sql}")).await;
        Self { database, name }
    }

    fn settings(&self) -> DatabaseSettings {
        DatabaseSettings::new(
            "shop".into(),
            "127.0.0.1".into(),
            self.database.cluster.port(),
            self.database.name.clone(),
            RoleSettings { name: String::new(), user: self.name.into(), password: "pw".into() },
        )
    }

    async fn examine(&self, withheld: &[Withheld]) -> Examination {
        let upstream = Upstream::new(vec![self.settings()]);
        let mut seen = upstream.examine("shop", |_| withheld.to_vec()).await;
        assert_eq!(seen.len(), 1);
        seen.remove(0).unwrap()
    }

    /// Runs what the doctor prints, as the superuser, and again, and returns what is left.
    async fn treat(&self, seen: &Examination, withheld: &[Withheld]) -> Examination {
        let script = seen.script();
        for _ in 0..2 {
            let client = self.database.connect().await;
            client.batch_execute(&script).await.unwrap_or_else(|error| panic!("{error:?}\n{script}"));
        }
        self.examine(withheld).await
    }

    /// `kind` is found, through something that says `through`, and is not there any more after the script.
    async fn has(&self, kind: Kind, through: &str) {
        let seen = self.examine(&[]).await;
        let found = found(&seen, kind);
        assert!(found.iter().any(|line| line.contains(through)), "{kind}: {through} in {found:?}");
        let left = self.treat(&seen, &[]).await;
        assert_eq!(names(&left), BTreeSet::new(), "{}", left.script());
    }
}

fn found(seen: &Examination, kind: Kind) -> &[String] {
    let mut all = seen.findings.iter().filter(|finding| finding.kind == kind);
    let finding = all.next().unwrap_or_else(|| panic!("no {kind} in {:?}", names(seen)));
    &finding.through
}

fn names(seen: &Examination) -> BTreeSet<&'static str> {
    seen.findings.iter().map(|finding| finding.kind.name()).collect()
}

#[tokio::test]
async fn a_role_that_was_granted_nothing_is_not_dangerous_and_only_has_what_everybody_has() {
    let patient = Patient::new("d_plain", "CREATE TABLE t (id int); GRANT SELECT ON t TO d_plain").await;
    let seen = patient.examine(&[]).await;
    assert_eq!(names(&seen), BTreeSet::from(["large_objects", "sql_from_text", "temp"]));
    assert_eq!(seen.dangers().count(), 0);
    let left = patient.treat(&seen, &[]).await;
    assert_eq!(names(&left), BTreeSet::new());
    assert!(left.script().contains("Nothing is to be done"), "{}", left.script());
}

#[tokio::test]
async fn attributes_are_found_and_taken() {
    for (name, attribute, kind) in [
        ("d_super", "SUPERUSER", Kind::Superuser),
        ("d_replication", "REPLICATION", Kind::Replication),
        ("d_bypass", "BYPASSRLS", Kind::BypassRls),
        ("d_createrole", "CREATEROLE", Kind::CreateRole),
        ("d_createdb", "CREATEDB", Kind::CreateDb),
    ] {
        let patient = Patient::new(name, &format!("ALTER ROLE {name} {attribute}")).await;
        patient.has(kind, &format!("attribute of role \"{name}\"")).await;
    }
}

#[tokio::test]
async fn memberships_of_postgresqls_own_roles_are_found_also_through_others_and_not_inherited() {
    let all = Kind::ALL.iter().filter(|kind| kind.name().starts_with("pg_"));
    let mut tried = 0;
    let patient = Patient::new("d_member", "CREATE ROLE d_team NOLOGIN; ALTER ROLE d_member NOINHERIT").await;
    for kind in all {
        let client = patient.database.connect().await;
        let there = client.query("SELECT FROM pg_roles WHERE rolname = $1", &[&kind.name()]).await.unwrap();
        if there.is_empty() {
            continue;
        }
        tried += 1;
        patient.database.execute(&format!("GRANT {kind} TO d_member")).await;
        patient.has(*kind, &format!("member of role \"{kind}\"")).await;
        patient.database.execute(&format!("GRANT {kind} TO d_team; GRANT d_team TO d_member")).await;
        patient.has(*kind, &format!("member of role \"{kind}\" through \"d_team\"")).await;
        patient.database.execute(&format!("REVOKE {kind} FROM d_team")).await;
    }
    assert!(tried >= 10, "{tried}");
}

#[tokio::test]
async fn a_role_that_can_turn_into_a_powerful_one_is_found_however_far_it_is() {
    let sql = "CREATE ROLE d_root SUPERUSER; CREATE ROLE d_a; CREATE ROLE \"d \"\"b\" NOINHERIT;
               GRANT d_root TO d_a; GRANT d_a TO \"d \"\"b\"; GRANT \"d \"\"b\" TO d_far";
    let patient = Patient::new("d_far", sql).await;
    patient.has(Kind::PowerfulRole, "\"d_root\" through \"d \"\"b\" (superuser)").await;
}

#[tokio::test]
async fn what_it_owns_itself_or_through_a_group_is_found() {
    let sql = "CREATE SCHEMA app; CREATE TABLE app.\"Odd ' T\" (id int);
               ALTER TABLE app.\"Odd ' T\" OWNER TO d_owner;
               ALTER DEFAULT PRIVILEGES FOR ROLE d_owner GRANT SELECT ON TABLES TO PUBLIC";
    let patient = Patient::new("d_owner", sql).await;
    patient.has(Kind::Owner, "table app.\"Odd ' T\"").await;
    let sql = "CREATE ROLE d_owners; CREATE VIEW v AS SELECT 1; ALTER VIEW v OWNER TO d_owners;
               GRANT d_owners TO d_owner";
    patient.database.execute(sql).await;
    patient.has(Kind::Owner, "view public.v, owned by \"d_owners\"").await;
    let sql =
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'; ALTER FUNCTION f() OWNER TO d_owner";
    patient.database.execute(sql).await;
    patient.has(Kind::Owner, "function public.f()").await;
    let database = &patient.database.name;
    patient.database.execute(&format!("ALTER DATABASE {database} OWNER TO d_owner")).await;
    patient.has(Kind::Owner, &format!("database {database}")).await;
}

#[tokio::test]
async fn creating_is_found_whoever_has_granted_it() {
    let patient = Patient::new("d_creator", "CREATE SCHEMA \"My Schema\"; CREATE ROLE d_grantor").await;
    let database = &patient.database.name;
    for (sql, kind, through) in [
        ("GRANT CREATE ON SCHEMA public TO PUBLIC", Kind::CreateInSchema, "SCHEMA public, granted to PUBLIC"),
        (
            "GRANT CREATE ON SCHEMA \"My Schema\" TO d_creator WITH GRANT OPTION",
            Kind::CreateInSchema,
            "SCHEMA \"My Schema\", granted to \"d_creator\"",
        ),
        (
            "GRANT CREATE ON SCHEMA public TO d_grantor WITH GRANT OPTION; SET ROLE d_grantor;
             GRANT CREATE ON SCHEMA public TO d_creator",
            Kind::CreateInSchema,
            "SCHEMA public, granted to \"d_creator\"",
        ),
        (&format!("GRANT CREATE ON DATABASE {database} TO d_creator"), Kind::CreateInDatabase, database),
        (&format!("GRANT TEMP ON DATABASE {database} TO PUBLIC"), Kind::Temporary, database),
    ] {
        patient.database.execute(sql).await;
        patient.has(kind, through).await;
    }
}

#[tokio::test]
async fn functions_that_reach_further_than_sql_are_found() {
    let sql = "CREATE EXTENSION dblink; CREATE EXTENSION adminpack; CREATE EXTENSION tablefunc;
               CREATE LANGUAGE wild HANDLER plpgsql_call_handler; CREATE ROLE d_callers; GRANT d_callers TO d_caller";
    let patient = Patient::new("d_caller", sql).await;
    let definer = "CREATE FUNCTION \"Give\"(int) RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'";
    patient.has(Kind::OtherConnections, "ROUTINE public.dblink(text), granted to PUBLIC").await;
    for (sql, kind, through) in [
        (
            "GRANT EXECUTE ON FUNCTION pg_read_file(text) TO d_callers",
            Kind::ServerFunctions,
            "pg_read_file(text)",
        ),
        (
            "GRANT EXECUTE ON FUNCTION lo_export(oid, text) TO PUBLIC",
            Kind::ServerFunctions,
            "lo_export(oid,text)",
        ),
        (
            "GRANT EXECUTE ON FUNCTION pg_file_write(text, text, bool) TO d_caller",
            Kind::ServerFunctions,
            "pg_file_write",
        ),
        (
            "GRANT EXECUTE ON FUNCTION dblink_connect_u(text) TO d_caller",
            Kind::OtherConnections,
            "_connect_u",
        ),
        ("GRANT EXECUTE ON FUNCTION query_to_xml TO d_callers", Kind::SqlFromText, "query_to_xml"),
        ("GRANT EXECUTE ON FUNCTION lo_put TO d_caller", Kind::LargeObjects, "lo_put(oid,bigint,bytea)"),
        ("GRANT EXECUTE ON FUNCTION crosstab(text) TO d_caller", Kind::SqlFromText, "crosstab(text)"),
        (definer, Kind::SecurityDefiner, "public.\"Give\"(integer)"),
        (
            "CREATE PROCEDURE p() LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN END'",
            Kind::SecurityDefiner,
            "public.p()",
        ),
        (
            "CREATE FUNCTION w() RETURNS int LANGUAGE wild AS 'BEGIN RETURN 1; END'",
            Kind::UntrustedLanguage,
            "public.w()",
        ),
    ] {
        patient.database.execute(sql).await;
        patient.has(kind, through).await;
    }
}

#[tokio::test]
async fn a_trigger_function_can_not_be_called_and_is_no_finding() {
    let sql = "CREATE FUNCTION touched() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN RETURN NEW; END'";
    let patient = Patient::new("d_toucher", sql).await;
    assert_eq!(patient.examine(&[]).await.dangers().count(), 0);
}

#[tokio::test]
async fn another_server_is_found_once_there_is_a_way_to_use_it() {
    let sql = "CREATE FOREIGN DATA WRAPPER far; CREATE SERVER \"Far Away\" FOREIGN DATA WRAPPER far;
               CREATE USER MAPPING FOR PUBLIC SERVER \"Far Away\"";
    let patient = Patient::new("d_abroad", sql).await;
    assert_eq!(patient.examine(&[]).await.dangers().count(), 0);
    patient.database.execute("GRANT USAGE ON FOREIGN SERVER \"Far Away\" TO d_abroad").await;
    patient.has(Kind::ForeignServer, "FOREIGN SERVER \"Far Away\"").await;
}

#[tokio::test]
async fn masked_columns_are_taken_and_the_others_stay() {
    let sql =
        "CREATE TABLE \"My t\" (id int, \"S\"\"sn\" text, note text); GRANT SELECT ON \"My t\" TO d_reader;
               CREATE TABLE c (id int, ssn text); GRANT SELECT (id, ssn) ON c TO d_reader, PUBLIC";
    let patient = Patient::new("d_reader", sql).await;
    let withheld = |relation: &str, column: &str| Withheld {
        schema: "public".into(),
        relation: relation.into(),
        columns: BTreeSet::from([column.to_owned(), "gone".to_owned()]),
    };
    let withheld = [withheld("My t", "S\"sn"), withheld("c", "ssn"), withheld("gone", "gone")];
    let seen = patient.examine(&withheld).await;
    let through = found(&seen, Kind::MaskedColumns);
    assert!(through.iter().any(|line| line.contains("\"S\"\"sn\" of public.\"My t\"")), "{through:?}");
    assert!(through.iter().any(|line| line.contains("ssn of public.c, granted to PUBLIC")), "{through:?}");
    assert_eq!(names(&patient.treat(&seen, &withheld).await), BTreeSet::new());
    let settings = patient.settings();
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(settings.port).user(patient.name).password("pw").dbname(&settings.database);
    let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client.simple_query("SELECT id, note, ctid, tableoid FROM \"My t\"").await.unwrap();
    client.simple_query("SELECT id FROM c").await.unwrap();
    client.simple_query("SELECT ssn FROM c").await.unwrap_err();
    client.simple_query("SELECT * FROM \"My t\"").await.unwrap_err();
}

#[tokio::test]
async fn a_superuser_hides_nothing_else_and_one_script_ends_it_all() {
    let sql = "ALTER ROLE d_all SUPERUSER CREATEDB; CREATE SCHEMA s AUTHORIZATION d_all;
               GRANT pg_monitor TO d_all; GRANT CREATE ON SCHEMA public TO d_all";
    let patient = Patient::new("d_all", sql).await;
    let seen = patient.examine(&[]).await;
    for name in ["superuser", "createdb", "owner", "pg_monitor", "create_in_schema"] {
        assert!(names(&seen).contains(name), "{name} in {:?}", names(&seen));
    }
    assert_eq!(names(&patient.treat(&seen, &[]).await), BTreeSet::new());
}

#[tokio::test]
async fn a_script_does_nothing_in_another_database_and_leaves_what_is_accepted() {
    let patient = Patient::new("d_elsewhere", "ALTER ROLE d_elsewhere CREATEDB CREATEROLE").await;
    let script = patient.examine(&[]).await.script();
    let error = patient.database.cluster.execute_sql("postgres", &script).await.unwrap_err();
    assert!(format!("{error}").contains("another database"), "{error}");
    assert!(names(&patient.examine(&[]).await).contains("createdb"));

    let accepted = BTreeMap::from([(String::new(), BTreeSet::from([Kind::CreateDb]))]);
    let upstream = Upstream::new(vec![DatabaseSettings { accepted, ..patient.settings() }]);
    let seen = upstream.examine("shop", |_| Vec::new()).await.remove(0).unwrap();
    assert_eq!(seen.dangers().map(|finding| finding.kind).collect::<Vec<_>>(), [Kind::CreateRole]);
    assert!(
        !seen.script().contains("NOCREATEDB") && seen.script().contains("NOCREATEROLE"),
        "{}",
        seen.script()
    );
}
