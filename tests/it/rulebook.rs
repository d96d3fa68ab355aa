//! The rulebook that ships: its own tests, and who may do what as one table.

mod psql;
mod schema;
mod statements;

use std::fs;
use std::path::{Path, PathBuf};

use portcullis::catalog::RelationKey;
use portcullis::identity::directory::{AgentSource, Directory};
use portcullis::mask::Strategy;
use portcullis::policy::input::{ApprovalEvidence, IdentityInput, SessionFacts, Time};
use portcullis::policy::{
    ApprovalInput, Decision, Effect, SessionInput, Snapshot, Source, StatementInput, testing,
};
use portcullis::sql::Facts;
use portcullis::sql::facts::Class;

use statements::{sections, select, statement, write};

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

pub(crate) fn shipped_rulebook() -> Vec<Source> {
    let root = folder("policies");
    let mut found = Vec::new();
    files(&root, &root, &mut found);
    found.into_iter().map(|(path, text)| Source::file(path, text)).collect()
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

/// What ships keeps secrets from agents, in any value.
#[test]
fn what_looks_like_a_secret_is_overwritten_for_agents() {
    let sources = shipped_rulebook();
    let listed = sources.iter().find(|source| source.path == "data/detectors.json").unwrap();
    let listed: serde_json::Value = serde_json::from_str(&listed.text).unwrap();
    let names: Vec<_> = listed["agent"].as_array().unwrap().iter().map(|entry| &entry["detector"]).collect();
    assert_eq!(names, ["card", "iban", "ssn", "jwt", "api_key", "private_key"]);
}

/// Whoever fills in their own labels and filters keeps a rulebook whose tests pass: a gateway refuses any other.
#[test]
fn the_rulebooks_own_tests_hold_whatever_labels_there_are() {
    let own = ["labels", "label_rules", "masks", "channels", "detectors", "row_filters", "row_values"];
    let mut sources = shipped_rulebook();
    for name in own {
        let file = sources.iter_mut().find(|source| source.path == format!("data/{name}.json")).unwrap();
        "{}".clone_into(&mut file.text);
    }
    let results = testing::run(&sources).unwrap();
    let failed: Vec<_> = results.iter().filter(|test| !test.passed).map(|test| &test.name).collect();
    assert!(failed.is_empty() && results.len() > 20, "{failed:#?}");
}

/// A line that no test comes to is a rule that nobody has seen at work.
#[test]
fn the_rulebooks_own_tests_come_to_every_line() {
    let suite = testing::Suite::load(&shipped_rulebook()).unwrap();
    let mut coverage = suite.uncovered();
    suite.tests().iter().for_each(|test| coverage.add(&suite.run(test).coverage));
    let missed: Vec<_> = coverage.files().filter(|(_, lines)| !lines.not_covered.is_empty()).collect();
    assert!(missed.is_empty(), "{missed:#?}");
    assert!(coverage.files().map(|(_, lines)| lines.covered.len()).sum::<usize>() > 200);
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
    let hidden = &ana.named(&customers).unwrap()["email"];
    assert_eq!(hidden, &Strategy::Redact { value: "hidden@masked.invalid".into() });
    assert_eq!(ana.named(&RelationKey::new("hr", "payroll")).unwrap().len(), 2);
    assert_eq!(masks("support-bot"), ana);
    assert!(masks("dora").is_empty());

    let mut sources = shipped_rulebook();
    let file = sources.iter_mut().find(|source| source.path == "data/masks.json").unwrap();
    file.text = "{}".into();
    let snapshot = Snapshot::build(&sources, &shipped_agents().to_data()).unwrap();
    let unmasked_label = decide(&snapshot, "ana", &select(&["name"]), &[]).masks;
    assert_eq!(unmasked_label.named(&customers).unwrap()["ssn"], Strategy::Null);
}

#[test]
fn ceilings_are_the_smaller_of_rulebook_and_file() {
    let rows = |name: &str| decide(&shipped(), name, &select(&["name"]), &[]).limits.rows;
    assert_eq!(rows("support-bot"), Some(500), "its file");
    assert_eq!(rows("ana"), Some(100_000), "the rulebook");
}

#[test]
fn an_approved_write_runs_and_an_approved_drop_does_not() {
    let by_priya = ApprovalEvidence::new("1", "priya", &["approvers".into()]);
    let by_dora = ApprovalEvidence::new("1", "dora", &["dba".into()]);
    let update = write("update", "orders", &["status"], true);
    let escalated = decide(&shipped(), "support-bot", &update, &[]);
    assert!(
        matches!(escalated.effect, Effect::Escalate(ref ask) if ask.groups() == ["approvers"] && ask.ttl_s() == 900)
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
            open_seats: &[],
            votes: &[],
            database: "shop",
            vote,
            time: time(),
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
        snapshot.session(&SessionInput {
            identity: who,
            database,
            door: "wire",
            roles,
            settings: Vec::new(),
            session: SessionFacts::default(),
            time: time(),
        })
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

fn time() -> Time {
    Time::at(jiff::Timestamp::UNIX_EPOCH, &[])
}

fn identity<'a>(directory: &'a Directory, name: &str) -> IdentityInput<'a> {
    let agent = directory.agent(name).unwrap();
    let owner = agent.owner().unwrap_or_default();
    IdentityInput { owner, groups: agent.groups(), ..IdentityInput::named(agent.name(), agent.kind()) }
}

fn decide(snapshot: &Snapshot, name: &str, statement: &Facts, approvals: &[ApprovalEvidence]) -> Decision {
    let directory = directory();
    let plain = StatementInput::plain(identity(&directory, name), "shop", "wire", statement, time());
    snapshot.decide(&StatementInput { approvals, ..plain })
}

fn matrix() -> String {
    let names = ["support-bot", "ana", "priya", "dora", "etl", "idle"];
    let snapshot = Snapshot::build(&shipped_rulebook(), &directory().to_data()).unwrap();
    let mut lines = vec![[""].into_iter().chain(names).map(str::to_owned).collect::<Vec<_>>()];
    for (title, statements) in sections() {
        lines.push(vec![String::new()]);
        lines.push(vec![title.to_owned()]);
        for (label, statement) in statements {
            let cells = names.map(|name| cell(&snapshot, name, &statement));
            lines.push(std::iter::once(format!("  {label}")).chain(cells).collect());
        }
    }
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column).map(|cell| cell.chars().count()));
        cells.max().unwrap_or_default() + 2
    };
    let mut table =
        String::from("✔ runs   ✘ is denied   ? waits for approval; with the rules that say so\n\n");
    for line in &lines {
        let cells =
            line.iter().enumerate().map(|(column, cell)| format!("{cell:<width$}", width = width(column)));
        table.push_str(cells.collect::<String>().trim_end());
        table.push('\n');
    }
    table
}

fn cell(snapshot: &Snapshot, name: &str, statement: &Facts) -> String {
    let decision = decide(snapshot, name, statement, &[]);
    let mut rules: Vec<&str> = decision.reasons.iter().map(|reason| reason.rule.as_str()).collect();
    rules.dedup();
    let mark = match decision.effect {
        Effect::Allow => "✔",
        Effect::Deny => "✘",
        Effect::Escalate(_) => "?",
    };
    format!("{mark} {}", rules.join(" "))
}
