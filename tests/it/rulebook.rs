//! The rulebook that ships: its own tests, and who may do what as one table.

use std::fs;
use std::path::{Path, PathBuf};

use portcullis::catalog::{RelationKey, RelationKind, Volatility};
use portcullis::identity::directory::{AgentSource, Directory};
use portcullis::mask::Strategy;
use portcullis::policy::input::{ApprovalEvidence, Batch, BindInput, IdentityInput, Time};
use portcullis::policy::{
    ApprovalInput, Decision, Effect, SessionInput, Snapshot, Source, StatementInput, testing,
};
use portcullis::sql::Facts;
use portcullis::sql::facts::{
    Access, Class, Condition, Destination, FunctionFact, Inner, LimitFact, SettingFact, TableFact,
};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn files(root: &Path, folder: &Path, into: &mut Vec<(String, String)>) {
    let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            files(root, &path, into);
        } else {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            into.push((name, fs::read_to_string(&path).unwrap()));
        }
    }
}

fn shipped_rulebook() -> Vec<Source> {
    let root = folder("policies");
    let mut found = Vec::new();
    files(&root, &root, &mut found);
    found.into_iter().map(|(path, text)| Source { path, text }).collect()
}

fn shipped_agents() -> Directory {
    let root = folder("agents");
    let mut found = Vec::new();
    files(&root, &root, &mut found);
    let sources: Vec<_> = found.into_iter().map(|(path, text)| AgentSource { path, text }).collect();
    Directory::build(&sources).unwrap()
}

fn shipped() -> Snapshot {
    Snapshot::build(&shipped_rulebook(), &shipped_agents().to_data()).unwrap()
}

#[test]
fn the_shipped_rulebook_loads() {
    let snapshot = shipped();
    assert_eq!(snapshot.revision().len(), 16);
    assert_eq!(snapshot.revision(), shipped().revision());
}

#[test]
fn the_rulebooks_own_tests_pass() {
    let results = testing::run(&shipped_rulebook()).unwrap();
    assert!(results.len() > 20, "the tests are found: {}", results.len());
    let failed: Vec<_> = results.iter().filter(|test| !test.passed).collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

/// Every identity x every statement, as a table that people read. Where a change is meant, copy the new file.
#[test]
fn who_may_do_what() {
    let table = matrix();
    let golden = folder("tests/it/rulebook_matrix.out");
    if fs::read_to_string(&golden).unwrap_or_default() != table {
        let new = Path::new(env!("CARGO_TARGET_TMPDIR")).join("rulebook_matrix.out");
        fs::write(&new, &table).unwrap();
        panic!("the table has changed; if that is meant: cp {} {}\n{table}", new.display(), golden.display());
    }
}

/// Masks hold for everybody but those whose group sees clear, and a label without a mask is NULL.
#[test]
fn masks_follow_labels_and_groups() {
    let customers = RelationKey::new("public", "customers");
    let masks = |name: &str| decide(&shipped(), name, &select(&["name"]), &[]).masks;
    let ana = masks("ana");
    let hidden = &ana.of(&customers).unwrap()["email"];
    assert_eq!(hidden, &Strategy::Redact { value: "hidden@masked.invalid".into() });
    assert_eq!(ana.of(&RelationKey::new("hr", "payroll")).unwrap().len(), 2);
    assert_eq!(masks("support-bot"), ana);
    assert!(masks("dora").is_empty());

    let mut sources = shipped_rulebook();
    let file = sources.iter_mut().find(|source| source.path == "data/masks.json").unwrap();
    file.text = "{}".into();
    let snapshot = Snapshot::build(&sources, &shipped_agents().to_data()).unwrap();
    let unmasked_label = decide(&snapshot, "ana", &select(&["name"]), &[]).masks;
    assert_eq!(unmasked_label.of(&customers).unwrap()["ssn"], Strategy::Null);
}

#[test]
fn ceilings_are_the_smaller_of_rulebook_and_file() {
    let rows = |name: &str| decide(&shipped(), name, &select(&["name"]), &[]).limits.rows;
    assert_eq!(rows("support-bot"), Some(500), "its file");
    assert_eq!(rows("ana"), Some(100_000), "the rulebook");
}

#[test]
fn an_approved_write_runs_and_an_approved_drop_does_not() {
    let by_priya = ApprovalEvidence { id: "1".into(), by: "priya".into(), groups: vec!["approvers".into()] };
    let by_dora = ApprovalEvidence { id: "1".into(), by: "dora".into(), groups: vec!["dba".into()] };
    let update = write("update", "orders", &["status"], true);
    let escalated = decide(&shipped(), "support-bot", &update, &[]);
    assert!(
        matches!(escalated.effect, Effect::Escalate(ref ask) if ask.groups == ["approvers"] && ask.ttl_s == 900)
    );
    assert_eq!(
        decide(&shipped(), "support-bot", &update, std::slice::from_ref(&by_priya)).effect,
        Effect::Allow
    );
    assert!(matches!(decide(&shipped(), "support-bot", &update, &[by_dora]).effect, Effect::Escalate(_)));
    let drop = statement("drop_table", Class::Ddl);
    assert_eq!(decide(&shipped(), "support-bot", &drop, &[by_priya]).effect, Effect::Deny);
}

#[test]
fn an_owner_approves_only_by_the_switch() {
    let approval = |sources: &[Source], approver: &str, vote: &str| {
        let directory = shipped_agents();
        let snapshot = Snapshot::build(sources, &directory.to_data()).unwrap();
        snapshot.approval(&ApprovalInput {
            approver: identity(&directory, approver),
            requester: identity(&directory, "support-bot"),
            groups: &["approvers".into()],
            database: "shop",
            vote,
            time: TIME,
        })
    };
    let mut sources = shipped_rulebook();
    assert!(approval(&sources, "priya", "approve").eligible);
    assert!(!approval(&sources, "dora", "approve").eligible, "in no group");
    let own = approval(&sources, "ana", "approve");
    assert_eq!(own.reasons[0].rule, "owner_approves");
    assert!(approval(&sources, "ana", "deny").eligible, "an owner may always say no");
    let file = sources.iter_mut().find(|source| source.path == "data/rulebook.json").unwrap();
    file.text = file.text.replace("\"owner_may_approve\": false", "\"owner_may_approve\": true");
    assert!(approval(&sources, "ana", "approve").eligible);
}

#[test]
fn the_session_picks_the_upstream_role() {
    let directory = directory();
    let snapshot = Snapshot::build(&shipped_rulebook(), &directory.to_data()).unwrap();
    let session = |name: &str, database: &str, roles: &[String]| {
        let who = identity(&directory, name);
        snapshot.session(&SessionInput { identity: who, database, door: "wire", roles, time: TIME })
    };
    let full = ["full".to_owned()];
    assert_eq!(session("dora", "shop", &full).role.as_deref(), Some("full"));
    assert_eq!(session("dora", "shop", &[]).role, None);
    assert_eq!(session("ana", "shop", &full).role, None);
    assert!(session("ana", "shop", &full).allow);
    assert_eq!(session("ana", "bank", &full).reasons[0].rule, "no_scope");
}

/// The shipped identities, and two that show what a file leaves out.
fn directory() -> Directory {
    let root = folder("agents");
    let mut found = Vec::new();
    files(&root, &root, &mut found);
    found.push((
        "etl.toml".into(),
        "name = \"etl\"\nkind = \"service\"\n[scope.shop]\nread = [\"public.*\"]\n\
        write = [\"public.*\"]\n"
            .into(),
    ));
    found.push(("idle.toml".into(), "name = \"idle\"\nkind = \"human\"\n".into()));
    let sources: Vec<_> = found.into_iter().map(|(path, text)| AgentSource { path, text }).collect();
    Directory::build(&sources).unwrap()
}

const TIME: Time = Time { unix: 0, hour: 0, weekday: 4 };

fn identity<'a>(directory: &'a Directory, name: &str) -> IdentityInput<'a> {
    let agent = directory.agent(name).unwrap();
    let owner = agent.owner().unwrap_or_default();
    IdentityInput { name: agent.name(), kind: agent.kind(), owner, groups: agent.groups() }
}

fn decide(snapshot: &Snapshot, name: &str, statement: &Facts, approvals: &[ApprovalEvidence]) -> Decision {
    snapshot.decide(&StatementInput {
        identity: identity(&directory(), name),
        database: "shop",
        door: "wire",
        via: "query",
        tool: "",
        statement,
        batch: Batch { index: 0, size: 1 },
        approvals,
        bind: BindInput { known: false, values: &[] },
        time: TIME,
    })
}

fn matrix() -> String {
    let names = ["support-bot", "ana", "priya", "dora", "etl", "idle"];
    let snapshot = Snapshot::build(&shipped_rulebook(), &directory().to_data()).unwrap();
    let mut table =
        String::from("✔ runs   ✘ is denied   ? waits for approval, each with the rules that say so\n\n");
    let mut line = |label: &str, cells: Vec<String>| {
        let cells: Vec<String> = cells.into_iter().map(|cell| format!("{cell:<26}")).collect();
        table.push_str(format!("{label:<52}{}", cells.join("")).trim_end());
        table.push('\n');
    };
    line("", names.iter().map(|name| (*name).to_owned()).collect());
    for (label, statement) in statements() {
        let cell = |name: &&str| {
            let decision = decide(&snapshot, name, &statement, &[]);
            let mut rules: Vec<&str> = decision.reasons.iter().map(|reason| reason.rule.as_str()).collect();
            rules.dedup();
            let mark = match decision.effect {
                Effect::Allow => "✔",
                Effect::Deny => "✘",
                Effect::Escalate(_) => "?",
            };
            format!("{mark} {}", rules.join(" "))
        };
        line(label, names.iter().map(cell).collect());
    }
    table
}

fn statement(kind: &str, class: Class) -> Facts {
    Facts {
        kind: kind.into(),
        class,
        inner: Vec::new(),
        tables: Vec::new(),
        functions: Vec::new(),
        outputs: Vec::new(),
        condition: Condition::default(),
        limit: LimitFact { present: false, rows: -1 },
        settings: Vec::new(),
        destinations: Vec::new(),
        explain_analyze: false,
        locks_rows: false,
        unresolved: Vec::new(),
    }
}

fn table(key: &str, access: Access, read: &[&str], written: &[&str]) -> TableFact {
    let (schema, name) = key.split_once('.').unwrap();
    let texts = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    TableFact {
        key: RelationKey::new(schema, name),
        schema: schema.into(),
        name: name.into(),
        kind: RelationKind::Table,
        access,
        system: matches!(schema, "pg_catalog" | "information_schema"),
        via_view: String::new(),
        columns_read: texts(read),
        columns_filtered: Vec::new(),
        columns_written: texts(written),
        row_estimate: -1,
        has_triggers: false,
        has_rules: false,
    }
}

fn reading(tables: Vec<TableFact>) -> Facts {
    Facts { tables, destinations: vec![Destination::Client], ..statement("select", Class::Read) }
}

fn select(columns: &[&str]) -> Facts {
    reading(vec![table("public.customers", Access::Read, columns, &[])])
}

fn select_from(key: &str) -> Facts {
    reading(vec![table(key, Access::Read, &["id"], &[])])
}

fn write(kind: &str, name: &str, columns: &[&str], bounded: bool) -> Facts {
    let access = match kind {
        "insert" => Access::Insert,
        "delete" => Access::Delete,
        _ => Access::Update,
    };
    let read: &[&str] = if kind == "insert" { &[] } else { &["id"] };
    let columns_of = |condition: bool| if condition { vec!["id".to_owned()] } else { Vec::new() };
    Facts {
        tables: vec![table(&format!("public.{name}"), access, read, columns)],
        condition: Condition { present: bounded, tautology: false, columns: columns_of(bounded) },
        destinations: vec![Destination::Table],
        ..statement(kind, Class::Write)
    }
}

fn function(key: &str, builtin: bool, volatility: Volatility) -> Facts {
    let fact = FunctionFact {
        key: key.into(),
        builtin,
        volatility,
        security_definer: false,
        languages: vec![if builtin { "internal".into() } else { "sql".into() }],
    };
    Facts { functions: vec![fact], ..statement("select", Class::Read) }
}

fn setting(name: &str, action: &str, values: &[&str]) -> Facts {
    let kind = if action == "show" { "show" } else { "set" };
    let class = if action == "show" { Class::Transaction } else { Class::Session };
    let values = values.iter().map(|value| (*value).to_owned()).collect();
    Facts {
        settings: vec![SettingFact { name: name.into(), action: action.into(), values }],
        ..statement(kind, class)
    }
}

fn wrapping(kind: &str, class: Class, inside: Facts) -> Facts {
    let inner = vec![Inner { kind: inside.kind.clone(), class: inside.class }];
    Facts { kind: kind.into(), class: class.max(inside.class), inner, ..inside }
}

fn through_view() -> Facts {
    let view = TableFact { kind: RelationKind::View, ..table("public.contacts", Access::Read, &["id"], &[]) };
    let base =
        TableFact { via_view: "public.contacts".into(), ..table("hr.payroll", Access::Read, &["iban"], &[]) };
    reading(vec![base, view])
}

fn statements() -> Vec<(&'static str, Facts)> {
    let tautology = |mut facts: Facts| {
        facts.condition.tautology = true;
        facts
    };
    let to = |destination: Destination, facts: Facts| Facts { destinations: vec![destination], ..facts };
    let analyze = |facts: Facts| Facts { explain_analyze: true, ..facts };
    let update = || write("update", "orders", &["status"], true);
    let ruled = |mut facts: Facts| {
        facts.tables[0].has_rules = true;
        facts
    };
    vec![
        ("-- reading", statement("empty", Class::Transaction)),
        ("select name from customers", select(&["name"])),
        ("select * from payroll", select_from("hr.payroll")),
        ("select id from audit (outside all scopes)", select_from("ops.audit")),
        ("select from a view over payroll", through_view()),
        ("select ... for update of orders", Facts { locks_rows: true, ..select_from("public.orders") }),
        ("copy orders to stdout", wrapping("copy", Class::Read, select_from("public.orders"))),
        (
            "declare c cursor for select from orders",
            wrapping("declare_cursor", Class::Read, select_from("public.orders")),
        ),
        ("fetch 10 from c", to(Destination::Client, statement("fetch", Class::Read))),
        ("explain select from orders", wrapping("explain", Class::Read, select_from("public.orders"))),
        (
            "explain analyze select from orders",
            analyze(wrapping("explain", Class::Read, select_from("public.orders"))),
        ),
        ("-- PostgreSQL's catalogs, as psql and drivers read them", statement("empty", Class::Transaction)),
        ("select from pg_class", select_from("pg_catalog.pg_class")),
        ("select from information_schema.columns", select_from("information_schema.columns")),
        ("select from pg_settings", select_from("pg_catalog.pg_settings")),
        ("select from pg_authid", select_from("pg_catalog.pg_authid")),
        ("select from pg_stats", select_from("pg_catalog.pg_stats")),
        ("select from pg_stat_activity", select_from("pg_catalog.pg_stat_activity")),
        (
            "select pg_table_is_visible(oid)",
            function("pg_catalog.pg_table_is_visible", true, Volatility::Stable),
        ),
        ("select pg_table_size(oid)", function("pg_catalog.pg_table_size", true, Volatility::Volatile)),
        ("-- functions", statement("empty", Class::Transaction)),
        ("select now()", function("pg_catalog.now", true, Volatility::Stable)),
        ("select random()", function("pg_catalog.random", true, Volatility::Volatile)),
        ("select pg_sleep(1)", function("pg_catalog.pg_sleep", true, Volatility::Volatile)),
        (
            "select pg_read_file('/etc/passwd')",
            function("pg_catalog.pg_read_file", true, Volatility::Volatile),
        ),
        ("select table_to_xml('customers')", function("pg_catalog.table_to_xml", true, Volatility::Stable)),
        ("select pg_advisory_lock(1)", function("pg_catalog.pg_advisory_lock", true, Volatility::Volatile)),
        ("select customer_email(1)", function("public.customer_email", false, Volatility::Stable)),
        ("select dblink('...')", function("public.dblink", false, Volatility::Volatile)),
        ("-- writing rows", statement("empty", Class::Transaction)),
        ("update orders set status where id", update()),
        ("update orders set note where id", write("update", "orders", &["note"], true)),
        ("update orders set status", write("update", "orders", &["status"], false)),
        ("update orders set status where true", tautology(update())),
        ("update customers set name where id", write("update", "customers", &["name"], true)),
        ("insert into tickets", write("insert", "tickets", &["subject"], false)),
        ("insert into a table with rewrite rules", ruled(write("insert", "tickets", &["subject"], false))),
        ("delete from orders where id", write("delete", "orders", &[], true)),
        ("delete from tickets where id", write("delete", "tickets", &[], true)),
        ("delete from tickets", write("delete", "tickets", &[], false)),
        (
            "with d as (delete from tickets) select",
            wrapping("select", Class::Read, write("delete", "tickets", &[], false)),
        ),
        ("merge into tickets", write("merge", "tickets", &["subject"], true)),
        (
            "copy tickets from stdin",
            Facts { kind: "copy".into(), ..write("insert", "tickets", &["subject"], false) },
        ),
        ("explain update orders set status where id", wrapping("explain", Class::Read, update())),
        (
            "explain analyze update orders set status where id",
            analyze(wrapping("explain", Class::Read, update())),
        ),
        (
            "update pg_class",
            Facts {
                tables: vec![table("pg_catalog.pg_class", Access::Update, &["oid"], &["relname"])],
                ..update()
            },
        ),
        ("truncate tickets", Facts { kind: "truncate".into(), ..write("delete", "tickets", &[], false) }),
        ("-- definitions", statement("empty", Class::Transaction)),
        ("create table", statement("create_table", Class::Ddl)),
        (
            "drop table orders",
            Facts {
                tables: vec![table("public.orders", Access::Define, &[], &[])],
                ..statement("drop_table", Class::Ddl)
            },
        ),
        (
            "alter table pg_class",
            Facts {
                tables: vec![table("pg_catalog.pg_class", Access::Define, &[], &[])],
                ..statement("alter_table", Class::Ddl)
            },
        ),
        ("select ... into t", Facts { kind: "select_into".into(), class: Class::Ddl, ..select(&["name"]) }),
        ("create function", statement("create_function", Class::Ddl)),
        ("create extension dblink", statement("create_extension", Class::Ddl)),
        ("grant", statement("grant", Class::Ddl)),
        ("alter system", statement("alter_system", Class::Ddl)),
        ("vacuum", statement("vacuum", Class::Utility)),
        ("-- out of the database", statement("empty", Class::Transaction)),
        (
            "copy orders to '/tmp/f'",
            to(Destination::ServerFile, wrapping("copy", Class::Read, select_from("public.orders"))),
        ),
        (
            "copy orders to program",
            to(Destination::ServerProgram, wrapping("copy", Class::Read, select_from("public.orders"))),
        ),
        ("do", statement("do", Class::Utility)),
        ("call p()", statement("call", Class::Utility)),
        ("prepare p as select", wrapping("prepare", Class::Session, select_from("public.orders"))),
        ("execute p", statement("execute", Class::Utility)),
        ("lock orders", statement("lock", Class::Utility)),
        ("listen c", to(Destination::Channel, statement("listen", Class::Session))),
        ("notify c", to(Destination::Channel, statement("notify", Class::Session))),
        ("prepare transaction", statement("prepare_transaction", Class::Utility)),
        ("commit prepared", statement("commit_prepared", Class::Utility)),
        ("a statement nobody thought of", statement("unknown", Class::Unknown)),
        ("-- the session", statement("empty", Class::Transaction)),
        ("begin", statement("begin", Class::Transaction)),
        ("rollback", statement("rollback", Class::Transaction)),
        ("show search_path", setting("search_path", "show", &[])),
        ("set application_name", setting("application_name", "set", &["x"])),
        ("set statement_timeout = 0", setting("statement_timeout", "set", &["0"])),
        ("reset statement_timeout", setting("statement_timeout", "reset", &[])),
        ("set client_encoding = 'UTF8'", setting("client_encoding", "set", &["UTF8"])),
        ("set client_encoding = 'SJIS'", setting("client_encoding", "set", &["SJIS"])),
        ("set standard_conforming_strings = off", setting("standard_conforming_strings", "set", &["off"])),
        ("reset standard_conforming_strings", setting("standard_conforming_strings", "reset", &[])),
        ("set search_path = evil", setting("search_path", "set", &["evil"])),
        ("set role postgres", setting("role", "set", &["postgres"])),
        ("reset session authorization", setting("session_authorization", "reset", &[])),
        ("set row_security = off", setting("row_security", "set", &["off"])),
        ("reset all", setting("all", "reset", &[])),
        ("discard all", statement("discard_all", Class::Session)),
    ]
}
