//! What keeps filters in force, or says that they are not.

use portcullis::audit::Event;
use serde_json::json;
use tokio_postgres::NoTls;

use super::{Tenants, column, denied, everything, filters, values};
use crate::support::gateway::Stand;

const COUNT: &str = "SELECT count(*) FROM notes";

#[tokio::test(flavor = "multi_thread")]
async fn nothing_touches_a_filtered_table_before_its_policies_are_there() {
    let tenants = Tenants::start(&filters("rls"), everything).await;
    let client = tenants.stand.wire("ana").await;
    for sql in [
        COUNT,
        "SELECT * FROM notes_view_2",
        "SELECT id FROM events_globex",
        "UPDATE notes SET body = ''",
        "COPY memos TO STDOUT",
        "PREPARE p AS SELECT * FROM notes",
        "DECLARE c CURSOR WITH HOLD FOR SELECT * FROM notes",
    ] {
        let why = denied(&client, sql).await;
        assert!(why.contains("is not in force") && why.contains("portcullis rls apply"), "{sql}: {why}");
        assert!(why.contains("row_filter"), "{sql}: {why}");
    }
    column(&client, "SELECT count(*) FROM products").await;
    // Nothing is held back from her, so nothing has to be in force.
    assert_eq!(column(&tenants.stand.wire("dora").await, COUNT).await, ["1000"]);
    tenants.apply().await;
    assert_eq!(tenants.verify().await, Vec::<String>::new());
    assert_eq!(column(&tenants.stand.wire("ana").await, COUNT).await, ["4"]);
    assert_eq!(column(&tenants.stand.wire("dora").await, COUNT).await, ["1000"]);
    let again = tenants.apply().await;
    assert!(again.contains("Nothing is to be done"), "{again}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_may_be_run_twice_and_leaves_what_was_there() {
    let tenants = Tenants::start(&filters("rls"), everything).await;
    let owns = "CREATE ROLE plain LOGIN; GRANT USAGE ON SCHEMA public TO plain; GRANT SELECT ON notes, events_globex, logs TO plain;
                ALTER TABLE memos ENABLE ROW LEVEL SECURITY; CREATE POLICY theirs ON memos USING (id <> 2)";
    tenants.sql(owns).await;
    let script = tenants.apply().await;
    tenants.sql(&script).await;
    assert_eq!(tenants.verify().await, Vec::<String>::new());
    let client = tenants.stand.wire("ana").await;
    assert_eq!(column(&client, "SELECT id FROM memos ORDER BY id").await, ["1", "3", "4"]);
    let admin = tenants.stand.cluster.connect("shop").await.unwrap();
    admin.batch_execute("SET ROLE plain").await.unwrap();
    assert_eq!(column(&admin, COUNT).await, ["1000"], "others see what they saw");
    assert_eq!(column(&admin, "SELECT count(*) FROM events_globex").await, ["4"]);
    admin.batch_execute("RESET ROLE").await.unwrap();
    // Without filters all is as it was.
    tenants.give("row_values", &json!({})).await;
    tenants.give("row_filters", &json!({})).await;
    tenants.apply().await;
    let left = "SELECT polname FROM pg_policy UNION ALL SELECT relname FROM pg_class WHERE relrowsecurity";
    assert_eq!(column(&admin, left).await, ["theirs", "memos"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_changed_behind_the_gateway_is_found_and_denied() {
    let tenants = Tenants::open().await;
    for (change, finding, undo) in [
        ("ALTER TABLE notes DISABLE ROW LEVEL SECURITY", "tenant row_security_off public.notes", ""),
        ("DROP POLICY portcullis_tenant ON notes", "tenant no_policy public.notes", ""),
        ("ALTER POLICY portcullis_tenant ON notes USING (true)", "tenant policy_altered public.notes", ""),
        (
            "ALTER POLICY portcullis_tenant ON notes WITH CHECK (true)",
            "tenant policy_altered public.notes",
            "",
        ),
        ("ALTER POLICY portcullis_tenant ON notes TO postgres", "tenant policy_for_others public.notes", ""),
        (
            "DROP POLICY portcullis_tenant ON notes; CREATE POLICY portcullis_tenant ON notes
             USING (tenant = ANY ((SELECT current_setting('portcullis.rows_tenant')::text[])::text[]))",
            "tenant policy_altered public.notes",
            "",
        ),
        (
            "ALTER TABLE notes RENAME tenant TO was; ALTER TABLE notes ADD tenant text DEFAULT 'acme'",
            "tenant policy_altered public.notes",
            "ALTER TABLE notes DROP tenant CASCADE; ALTER TABLE notes RENAME was TO tenant",
        ),
        (
            "ALTER TABLE notes OWNER TO portcullis_svc",
            "tenant user_owns public.notes",
            "ALTER TABLE notes OWNER TO postgres; GRANT ALL ON notes TO portcullis_svc",
        ),
        (
            "ALTER ROLE portcullis_svc BYPASSRLS",
            "tenant user_unbound public.notes",
            "ALTER ROLE portcullis_svc NOBYPASSRLS",
        ),
        (
            "CREATE ROLE strong SUPERUSER; GRANT strong TO portcullis_svc",
            "tenant user_unbound public.notes",
            "DROP ROLE strong",
        ),
        (
            "DROP POLICY portcullis_open ON notes",
            "tenant no_permissive_policy public.notes",
            "CREATE POLICY portcullis_open ON notes USING (true)",
        ),
    ] {
        let before = tenants.stand.wire("ana").await;
        assert_eq!(column(&before, COUNT).await, ["4"], "{change}");
        tenants.sql(change).await;
        // At once, though nobody has told the gateway.
        let seen = before.simple_query("SELECT body FROM notes").await;
        assert!(seen.is_err() || !format!("{seen:?}").contains("secret"), "{change}: {seen:?}");
        drop(before.batch_execute("DELETE FROM notes WHERE id > 4").await);
        let admin = tenants.stand.cluster.connect("shop").await.unwrap();
        assert_eq!(column(&admin, COUNT).await, ["1000"], "{change}");
        let found = tenants.verify().await;
        assert!(found.iter().any(|found| found == finding), "{change}: {found:?}");
        // Once it has looked again, it says why.
        looked(&tenants).await;
        let why = denied(&tenants.stand.wire("ana").await, COUNT).await;
        assert!(why.contains("not in force"), "{change}: {why}");
        if !undo.is_empty() {
            tenants.sql(undo).await;
        }
        tenants.apply().await;
        assert_eq!(tenants.verify().await, Vec::<String>::new(), "{change}");
        looked(&tenants).await;
        assert_eq!(column(&tenants.stand.wire("ana").await, COUNT).await, ["4"], "{change}");
    }
}

/// Names something that the catalog does not know, so that it is loaded.
async fn looked(tenants: &Tenants) {
    let client = tenants.stand.wire("dora").await;
    client.simple_query("SELECT FROM nothing_of_that_name").await.unwrap_err();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_partition_or_child_is_closed_until_it_has_its_policy() {
    let tenants = Tenants::open().await;
    tenants
        .sql(
            "CREATE TABLE events_new PARTITION OF events FOR VALUES IN ('initech');
             CREATE TABLE logs_new () INHERITS (logs); GRANT ALL ON events_new, logs_new TO portcullis_svc;
             CREATE TABLE mixed () INHERITS (above_memos, memos); GRANT ALL ON mixed TO portcullis_svc;
             CREATE FOREIGN DATA WRAPPER far; CREATE SERVER there FOREIGN DATA WRAPPER far;
             CREATE FOREIGN TABLE events_far PARTITION OF events FOR VALUES IN ('far') SERVER there;",
        )
        .await;
    let found = tenants.verify().await;
    for finding in [
        "event row_security_off public.events_new",
        "event not_a_table public.events_far",
        "log row_security_off public.logs_new",
        "memo row_security_off public.mixed",
        "memo parent_shows_rows public.above_memos",
    ] {
        assert!(found.iter().any(|found| found == finding), "{finding}: {found:?}");
    }
    let ana = tenants.stand.wire("ana").await;
    for sql in
        ["SELECT * FROM events_new", "SELECT * FROM logs_new", "TABLE mixed", "SELECT * FROM events_far"]
    {
        denied(&ana, sql).await;
    }
    let why = denied(&ana, "SELECT * FROM above_memos").await;
    assert!(why.contains("shows rows of `public.mixed`"), "{why}");
    // Read by its parent, a partition or child is held by its parent's policy.
    for sql in [
        "SELECT count(*) FROM logs",
        "SELECT count(*) FROM memos WHERE id < 3",
        "SELECT count(*) FROM (SELECT FROM logs) l",
    ] {
        assert_eq!(column(&ana, sql).await, ["2"], "{sql}");
    }
    ana.batch_execute("PREPARE p AS SELECT count(*) FROM logs; PREPARE q AS SELECT * FROM logs_old")
        .await
        .unwrap();
    assert_eq!(column(&ana, "EXECUTE p").await, ["2"]);
    tenants.sql("DROP POLICY portcullis_log ON logs_old").await;
    looked(&tenants).await;
    for sql in [
        "EXECUTE q",
        "SELECT * FROM logs, logs_old",
        "SELECT * FROM ONLY logs_old",
        "WITH x AS (TABLE logs_old) TABLE x",
    ] {
        denied(&ana, sql).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_values_in_the_rulebook_end_what_a_session_may_do_there() {
    let tenants = Tenants::open().await;
    let ana = tenants.stand.wire("ana").await;
    let held = ana.prepare("SELECT id FROM notes").await.unwrap();
    ana.batch_execute("BEGIN; DECLARE c CURSOR FOR SELECT id FROM notes").await.unwrap();
    tenants.give("row_values", &values(&["globex"])).await;
    for sql in [COUNT, "FETCH c", "SELECT * FROM notes_view"] {
        let error = ana.simple_query(sql).await.expect_err(sql);
        assert_eq!(error.code().unwrap().code(), "42501", "{sql}");
    }
    ana.batch_execute("ROLLBACK").await.unwrap();
    assert!(ana.query(&held, &[]).await.is_err());
    let why = denied(&ana, COUNT).await;
    assert!(why.contains("has changed since you connected") && why.contains("connect again"), "{why}");
    column(&ana, "SELECT count(*) FROM products").await;
    let again = tenants.stand.wire("ana").await;
    assert_eq!(column(&again, "SELECT DISTINCT tenant FROM notes").await, ["globex"]);
    // Nothing said is nothing shown.
    tenants.give("row_values", &json!({})).await;
    let nobody = tenants.stand.wire("ana").await;
    assert_eq!(column(&nobody, COUNT).await, ["0"]);
    denied(&tenants.stand.wire("dora").await, "SELECT 1 FROM memos; SET ROLE portcullis_svc").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_see_the_same_rows_and_are_told_which() {
    let tenants = Tenants::open().await;
    let agent = tenants.stand.mcp("support-bot").await;
    let answer = agent.call("query", json!({"sql": "SELECT DISTINCT tenant FROM notes_view"})).await;
    assert_eq!(answer["rows"], json!([["acme"]]), "{answer}");
    let checked = agent.call("check_sql", json!({"sql": COUNT})).await;
    assert_eq!(checked["row_filters"], json!([r#"public.notes by tenant: {"acme"}"#]), "{checked}");
    let answer = agent.call("query", json!({"sql": "EXPLAIN SELECT * FROM notes"})).await;
    assert!(answer.to_string().contains("counts rows that are not yours"), "{answer}");
    tenants.stand.gateway.gate().close_ledger().await.unwrap();
    let named = tenants.stand.ledger().into_iter().any(|entry| match entry.record.event {
        Event::Decided(record) => {
            record.decision == "allow" && record.row_filters.iter().any(|said| said.contains("acme"))
        }
        _ => false,
    });
    assert!(named, "the ledger says whose rows they were");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filtered_table_answers_as_if_the_condition_were_written_out() {
    let tenants = Tenants::open().await;
    let ana = tenants.stand.wire("ana").await;
    let admin = tenants.stand.cluster.connect("shop").await.unwrap();
    admin.batch_execute("SET search_path = mine, public; CREATE SCHEMA mine").await.unwrap();
    for table in ["notes", "memos", "events", "logs"] {
        let sql = format!("CREATE VIEW mine.{table} AS SELECT * FROM public.{table} WHERE tenant = 'acme'");
        admin.batch_execute(&sql).await.unwrap();
    }
    for sql in [
        "SELECT * FROM notes ORDER BY id",
        "SELECT tenant, count(*), sum(n), max(code) FROM notes GROUP BY tenant",
        "SELECT n.id, m.body FROM notes n LEFT JOIN memos m USING (id) ORDER BY 1",
        "SELECT id, rank() OVER (ORDER BY n DESC) FROM notes ORDER BY 1",
        "SELECT * FROM events WHERE id BETWEEN 2 AND 6 ORDER BY id",
        "SELECT * FROM logs ORDER BY id",
        "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY n) FROM notes WHERE code LIKE '%-%'",
        "WITH RECURSIVE r AS (SELECT id FROM notes WHERE id = 1 UNION SELECT n.id FROM notes n JOIN r ON n.id = r.id + 1) TABLE r",
        "SELECT json_agg(n ORDER BY id) FROM notes n",
        "SELECT exists(SELECT FROM notes WHERE tenant = 'globex'), (SELECT count(*) FROM memos)",
    ] {
        let (own, expected) = (ana.simple_query(sql).await.unwrap(), admin.simple_query(sql).await.unwrap());
        assert_eq!(format!("{own:?}"), format!("{expected:?}"), "{sql}");
    }
    ana.batch_execute("INSERT INTO notes VALUES (2000, 'acme', 'new', 1, 'ac-x')").await.unwrap();
    ana.batch_execute("UPDATE notes_invoker SET body = 'changed' WHERE id = 2000").await.unwrap_err();
    ana.batch_execute("UPDATE notes SET body = 'changed' WHERE id = 2000").await.unwrap();
    assert_eq!(column(&admin, "SELECT body FROM public.notes WHERE id = 2000").await, ["changed"]);
    ana.batch_execute("DELETE FROM notes WHERE id = 2000").await.unwrap();
    assert_eq!(column(&ana, COUNT).await, ["4"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_up_by_key_stays_one() {
    let mut definitions = filters("rls");
    definitions["shop"]["tenant"]["lifted"] = json!(false);
    let tenants = Tenants::start(&definitions, |policies| {
        everything(policies);
        let mut values = values(&["acme"]);
        values["shop"]["tenant"]["identities"] = json!({});
        std::fs::write(policies.join("data/row_values.json"), values.to_string()).unwrap();
    })
    .await;
    tenants.apply().await;
    let client = tenants.direct("-c portcullis.rows_tenant={acme}").await;
    let plan = column(&client, "EXPLAIN (COSTS OFF) SELECT body FROM notes WHERE id = 3").await.join("\n");
    assert!(plan.contains("Index Scan using notes_pkey on notes"), "{plan}");
    client.batch_execute("SET enable_seqscan = off").await.unwrap();
    let plan = column(&client, "EXPLAIN (COSTS OFF) SELECT count(*) FROM notes").await.join("\n");
    assert!(plan.contains("notes_tenant_idx"), "{plan}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shipped_rules_hold_beside_filters() {
    let tenants = Tenants::start(&filters("rls"), |_| {}).await;
    tenants.apply().await;
    let ana = tenants.stand.wire("ana").await;
    let rows =
        column(&ana, "SELECT n.tenant FROM notes n JOIN customers c ON c.id = n.id AND c.email IS NOT NULL")
            .await;
    assert_eq!(rows, ["acme", "acme", "acme", "acme"], "masks and filters in one statement");
    denied(&ana, "SELECT leak(body) FROM notes").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_runs_what_nobody_understands_is_not_for_whom_rows_are_filtered() {
    let tenants = Tenants::start(&filters("rls"), |policies| {
        everything(policies);
        let session = policies.join("session.rego");
        let text = std::fs::read_to_string(&session).unwrap() + "\nunjudged := true\n";
        std::fs::write(session, text).unwrap();
    })
    .await;
    tenants.apply().await;
    let refused = tenants.stand.wire_config("ana").connect(NoTls).await.err();
    assert!(refused.is_some_and(|error| format!("{error:?}").contains("rows are filtered for you")));
    let dora = tenants.stand.wire("dora").await;
    assert_eq!(column(&dora, COUNT).await, ["1000"]);
    tenants.give("row_values", &values_without_dora()).await;
    let why = denied(&dora, COUNT).await;
    assert!(why.contains("rows are filtered for you"), "{why}");
}

fn values_without_dora() -> serde_json::Value {
    let mut values = values(&["acme"]);
    for filter in ["tenant", "memo", "event", "log"] {
        values["shop"][filter]["identities"] = json!({});
    }
    values
}

#[tokio::test(flavor = "multi_thread")]
async fn more_values_than_a_session_can_be_opened_with_open_none() {
    let tenants = Tenants::open().await;
    let many: Vec<String> = (0..2000).map(|n| format!("tenant-{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    tenants.give("row_values", &values(&many)).await;
    let refused = tenants.stand.wire_config("ana").connect(NoTls).await.err();
    assert!(refused.is_some_and(|error| format!("{error:?}").contains("values of your row filters take")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_definition_does_not_come_into_force() {
    for using in ["tenant = 'acme'", "tenant <> ALL ($values)", "leak(tenant) = ANY ($values)"] {
        let home = Stand::start().await;
        let filters = json!({"shop": {"tenant": {"relation": "public.orders", "using": using}}});
        let path = home.home.path().join("policies/data/row_filters.json");
        std::fs::write(path, filters.to_string()).unwrap();
        let error = portcullis::serve::load_rules(&home.settings).unwrap_err().to_string();
        assert!(
            error.contains("row filters of database `shop`") && error.contains("`using` of `tenant`"),
            "{error}"
        );
    }
}
