//! Identities by their files: what is taken, and how each mistake is said.

use portcullis::identity::agent::Columns;
use portcullis::identity::directory::{AgentError, AgentSource, Directory};
use portcullis::identity::token::Credentials;
use portcullis::identity::{Kind, Proof};

const ANA: &str = "name = \"ana\"\nkind = \"human\"\n";

fn build(files: &[(&str, &str)]) -> Result<Directory, AgentError> {
    let sources: Vec<_> =
        files.iter().map(|(path, text)| AgentSource { path: (*path).into(), text: (*text).into() }).collect();
    Directory::build(&sources)
}

/// The error for `bot.toml` with `text`, beside a sound `ana.toml`.
fn mistake(text: &str) -> String {
    build(&[("ana.toml", ANA), ("bot.toml", text)]).unwrap_err().to_string()
}

fn bot(rest: &str) -> String {
    format!("name = \"bot\"\nkind = \"agent\"\nowner = \"ana\"\n{rest}")
}

#[test]
fn a_file_says_who_somebody_is_and_what_they_may_touch() {
    let text = bot(
        "groups = [\"b\", \"a\", \"b\"]\n[scope.shop]\nread = [\"public.*\", \"hr.people(name, id)\"]\n\
        write = [\"public.orders(status)\", \"public.orders(note)\"]\n[limits]\nrows = 500\n[approval]\ngroups = [\"approvers\"]",
    );
    let directory = build(&[("ana.toml", ANA), ("bot.toml", &text)]).unwrap();
    let agent = directory.agent("bot").unwrap();
    assert_eq!(
        (agent.kind(), agent.owner(), agent.groups()),
        (Kind::Agent, Some("ana"), &["a".into(), "b".into()][..])
    );
    assert_eq!(agent.limits().rows, Some(500));
    let scope = &agent.scope()["shop"];
    assert_eq!(scope.read["public.*"], Columns::All);
    assert_eq!(scope.write["public.orders"], Columns::Only(["note".into(), "status".into()].into()));
    assert!(!agent.has_scram() && !agent.has_token(), "a file without [auth] can't log in");
}

#[test]
fn policy_sees_every_field_and_no_auth_material() {
    let made = Credentials::generate();
    let text = bot(&format!(
        "[scope.shop]\nread = [\"public.orders(id, note)\"]\n[auth]\nscram = \"{}\"\ntoken_sha256 = \"{}\"",
        made.scram, made.token_sha256
    ));
    let data = build(&[("ana.toml", ANA), ("bot.toml", &text)]).unwrap().to_data();
    assert_eq!(
        data["bot"],
        serde_json::json!({
            "kind": "agent", "owner": "ana", "parent": "", "groups": [], "claims": {}, "description": "", "disabled": false,
            "scope": {"shop": {"read": {"public.orders": ["id", "note"]}, "write": {}}},
            "limits": {"rows": 0, "bytes": 0, "statement_timeout_ms": 0},
            "approval": {"groups": []},
        })
    );
    assert_eq!(data["ana"]["owner"], "");
}

#[test]
fn one_secret_opens_both_doors_and_nothing_else_does() {
    let made = Credentials::generate();
    let text = bot(&format!("[auth]\ntoken_sha256 = \"{}\"", made.token_sha256));
    let directory = build(&[("ana.toml", ANA), ("bot.toml", &text)]).unwrap();
    let identity = directory.authenticate_token(made.secret.reveal()).unwrap();
    assert_eq!((identity.name(), identity.proof(), identity.owner()), ("bot", Proof::Token, Some("ana")));
    for wrong in ["", "pcl_", &made.token_sha256.to_string(), &made.secret.reveal()[4..]] {
        assert_eq!(directory.authenticate_token(wrong), None, "{wrong}");
    }
    let disabled = text.replace("[auth]", "disabled = true\n[auth]");
    let directory = build(&[("ana.toml", ANA), ("bot.toml", &disabled)]).unwrap();
    assert_eq!(directory.authenticate_token(made.secret.reveal()), None);
}

#[test]
fn a_secret_in_clear_is_refused_with_what_to_do_instead() {
    for key in ["password", "token", "secret"] {
        let said = mistake(&bot(&format!("[auth]\n{key} = \"hunter2\"")));
        assert!(said.starts_with(&format!("bot.toml:5: `{key}` would be a secret in clear")), "{said}");
        assert!(said.contains("portcullis agent rotate"), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
    let said = mistake(&bot("[auth]\nscram = \"hunter2\""));
    assert!(said.starts_with("bot.toml:5: `scram` must have PostgreSQL's form"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
    let said = mistake(&bot("[auth]\ntoken_sha256 = \"hunter2\""));
    assert!(said.starts_with("bot.toml:5: `token_sha256` must be a SHA-256 digest"), "{said}");
}

#[test]
fn every_mistake_names_its_line_and_what_is_allowed() {
    for (text, beginning, allowed) in [
        ("name = ", "bot.toml:1:", ""),
        ("kind = \"human\"", "bot.toml:1: missing field `name`", ""),
        (
            "name = \"bot\"\nkind = \"robot\"",
            "bot.toml:2: unknown variant `robot`",
            "`agent`, `human`, `service`",
        ),
        (
            "name = \"bob\"\nkind = \"human\"",
            "bot.toml:1: the name `bob` must be the file's name",
            "`bob.toml`",
        ),
        ("name = \"Bot\"\nkind = \"human\"", "bot.toml:1: `Bot` can't be a name", "a-z"),
        ("name = \"bot\"\nkind = \"agent\"", "bot.toml:1: an agent needs an `owner`", "human"),
        ("name = \"bot\"\nkind = \"human\"\nowner = \"bot\"", "bot.toml:3: an identity can't own itself", ""),
        (
            "name = \"bot\"\nkind = \"human\"\nowner = \"eve\"",
            "bot.toml:3: the owner `eve` has no file",
            "`eve.toml`",
        ),
        (&bot("colour = 1"), "bot.toml:4: unknown field `colour`", "`approval`"),
        (&bot("groups = [\"No Group\"]"), "bot.toml:4: `No Group` can't be a group", "a-z"),
        (&bot("[scope.shop]\nreed = []"), "bot.toml:5: unknown field `reed`", "`read`"),
        (&bot("[scope.shop]\nread = [\"orders\"]"), "bot.toml:5: `orders` names no schema", "\"schema.*\""),
        (
            &bot("[scope.shop]\nread = [\"*.*\"]"),
            "bot.toml:5: `*.*` is not a schema and a table",
            "schema.table",
        ),
        (&bot("[scope.shop]\nread = [\"a.b.c\"]"), "bot.toml:5: `a.b.c` is not a schema and a table", ""),
        (
            &bot("[scope.shop]\nread = [\"a.*(x)\"]"),
            "bot.toml:5: `a.*(x)` lists columns of a whole schema",
            "",
        ),
        (&bot("[scope.shop]\nread = [\"a.b(x\"]"), "bot.toml:5: `a.b(x` lacks its closing parenthesis", ""),
        (&bot("[scope.shop]\nread = [\"a.b(x,)\"]"), "bot.toml:5: `a.b(x,)` has an empty", ""),
        (&bot("[limits]\nrows = 0"), "bot.toml:5: ", "nonzero"),
    ] {
        let said = mistake(text);
        assert!(said.starts_with(beginning) && said.contains(allowed), "{text}\n{said}");
    }
}

#[test]
fn only_a_person_can_own() {
    let files = [
        ("ana.toml", ANA),
        ("bot.toml", &bot("")),
        ("sub.toml", "name = \"sub\"\nkind = \"agent\"\nowner = \"bot\""),
    ];
    let said = build(&files).unwrap_err().to_string();
    assert!(said.starts_with("sub.toml:3: the owner `bot` is not human"), "{said}");
}

#[test]
fn two_files_of_one_name_or_one_token_are_refused() {
    let said = build(&[("a/ana.toml", ANA), ("b/ana.toml", ANA)]).unwrap_err().to_string();
    assert!(said.starts_with("b/ana.toml:1: there is another file for `ana`"), "{said}");
    let auth = format!("[auth]\ntoken_sha256 = \"{}\"", Credentials::generate().token_sha256);
    let said =
        build(&[("ana.toml", &format!("{ANA}{auth}")), ("bot.toml", &bot(&auth))]).unwrap_err().to_string();
    assert!(said.contains("`token_sha256` is that of `bot` too"), "{said}");
}
