use std::path::Path;
use std::time::Duration;

use crate::audit::Durability;

use super::*;

const SHOP: &str = r#"
[[database]]
name = "shop"
url = "postgres://portcullis_svc@127.0.0.1:5432/shop"
password_command = "echo geheim"
"#;

/// The error for `text`, as a user reads it.
fn refused(text: &str) -> String {
    let error = parse(Path::new("portcullis.toml"), text).expect_err(text);
    let mut said = error.to_string();
    assert!(!said.contains("geheim"), "a secret in an error: {said}");
    assert!(!format!("{error:?}").contains("geheim"), "a secret in an error: {error:?}");
    if let Some(source) = std::error::Error::source(&error) {
        said = format!("{said}: {source}");
    }
    said
}

/// `SHOP` after `text`.
fn with(text: &str) -> String {
    format!("{text}{SHOP}")
}

#[test]
fn the_shortest_configuration_has_the_documented_defaults() {
    let settings = parse(Path::new("/etc/portcullis/portcullis.toml"), SHOP).unwrap();
    assert_eq!(settings.wire, "127.0.0.1:6432".parse().unwrap());
    assert_eq!(settings.mcp, "127.0.0.1:8432".parse().unwrap());
    assert_eq!(settings.console, "127.0.0.1:8433".parse().unwrap());
    assert_eq!(settings.console_url, "http://127.0.0.1:8433");
    assert_eq!(settings.policy_path, Path::new("/etc/portcullis/policies"));
    assert_eq!(settings.agents_path, Path::new("/etc/portcullis/agents"));
    assert_eq!(settings.state_path, Path::new("/etc/portcullis/state"));
    assert_eq!(settings.durability, Durability::Fsync);
    assert_eq!(settings.databases.len(), 1);
    let shop = &settings.databases[0];
    assert_eq!((shop.host.as_str(), shop.port, shop.database.as_str()), ("127.0.0.1", 5432, "shop"));
    assert_eq!(shop.search_path, ["public"]);
    assert_eq!((shop.service.user.as_str(), shop.service.password.as_str()), ("portcullis_svc", "geheim"));
}

#[test]
fn everything_that_may_be_written_is_read() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ro"), "secret of a file\n").unwrap();
    let text = r#"
[wire]
listen = "[::1]:1"
[mcp]
listen = "127.0.0.1:2"
allowed_hosts = ["gate.example.com"]
[console]
listen = "127.0.0.1:3"
url = "https://gate.example.com/"
[policy]
path = "/rules"
[agents]
path = "who"
[state]
path = "var"
[ledger]
durability = "os"
[[database]]
name = "shop"
url = "postgresql://svc@%2Frun%2Fpg:5433/shop"
search_path = ["app", "public"]
password_command = "printf one"
[[database.role]]
name = "reader"
user = "ro"
password_file = "ro"
[[database]]
name = "far"
url = "postgres://svc@db.example.com/far"
tls = { mode = "disable" }
max_connections = 40
connect_timeout_s = 3
password_command = "printf two"
"#;
    let settings = parse(&folder.path().join("p.toml"), text).unwrap();
    assert_eq!(settings.wire, "[::1]:1".parse().unwrap());
    assert_eq!(settings.mcp_door.allowed_hosts, ["gate.example.com"]);
    assert_eq!(settings.console_url, "https://gate.example.com");
    assert_eq!(settings.policy_path, Path::new("/rules"));
    assert_eq!(settings.state_path, folder.path().join("var"));
    assert_eq!(settings.durability, Durability::Os);
    let shop = &settings.databases[0];
    assert_eq!((shop.host.as_str(), shop.port), ("/run/pg", 5433));
    assert_eq!(shop.search_path, ["app", "public"]);
    assert_eq!(shop.roles[0].password, "secret of a file");
    let far = &settings.databases[1];
    assert_eq!((far.host.as_str(), far.max_connections), ("db.example.com", Some(40)));
    assert_eq!(far.connect_timeout, Duration::from_secs(3));
    assert!(far.tls.is_none());
}

#[test]
fn the_example_shows_the_defaults() {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/portcullis.toml"));
    let example = std::fs::read_to_string(path).unwrap();
    let example = example
        .replace("password_env = \"SHOP_PASSWORD\"", "password_command = \"echo geheim\"")
        .replace("password_file = \"secrets/shop_full\"", "password_command = \"echo geheim\"");
    let (example, plain) = (parse(path, &example).unwrap(), parse(path, SHOP).unwrap());
    assert_eq!((example.wire, example.mcp, example.console), (plain.wire, plain.mcp, plain.console));
    assert_eq!(example.console_url, plain.console_url);
    assert_eq!(example.mcp_door.allowed_hosts, plain.mcp_door.allowed_hosts);
    assert_eq!(
        (example.policy_path, example.agents_path, example.state_path),
        (plain.policy_path, plain.agents_path, plain.state_path)
    );
    assert_eq!(example.durability, plain.durability);
    assert_eq!(example.databases[0].search_path, plain.databases[0].search_path);
}

#[test]
fn a_wrong_key_is_named_with_its_line_and_what_is_allowed() {
    insta::assert_snapshot!(refused(&with("[wire]\nlissten = \"127.0.0.1:1\"\n")), @"portcullis.toml:2:1: unknown key `lissten`; did you mean `listen`? allowed here: listen, auth, tls, max_connections, max_connections_per_identity, max_connections_per_database, handshake_timeout_s, idle_timeout_s, session_timeout_s, max_message_bytes, max_statement_bytes, max_portals, max_statements");
    insta::assert_snapshot!(refused(&with("[wires]\nlisten = \"127.0.0.1:1\"\n")), @"portcullis.toml:1:2: unknown key `wires`; did you mean `wire`? allowed here: wire, mcp, console, policy, agents, state, ledger, decision_log, alert, database");
    insta::assert_snapshot!(refused(&SHOP.replace("password_command", "passwort_command")), @"portcullis.toml:5:1: unknown key `passwort_command`; did you mean `password_command`? allowed here: name, url, search_path, tls, upstream_user, max_connections, connect_timeout_s, password_env, password_file, password_command, accept, role");
    insta::assert_snapshot!(refused(&format!("{SHOP}[[database.role]]\nname = \"a\"\nuser = \"a\"\ncolour = 1\n")), @"portcullis.toml:9:1: unknown key `colour`; allowed here: name, user, accept, password_env, password_file, password_command");
    insta::assert_snapshot!(refused("[[database]]\nname = \"shop\"\n"), @"portcullis.toml:1:1: key `url` is missing; add `url = ...`");
    insta::assert_snapshot!(refused(&with("[ledger]\ndurability = \"fsnyc\"\n")), @r#"portcullis.toml:2:14: unknown value "fsnyc"; allowed here: "fsync", "os""#);
    insta::assert_snapshot!(refused(&with("[wire]\nlisten = 6432\n")), @"portcullis.toml:2:10: invalid type: integer `6432`; expected a string");
    insta::assert_snapshot!(refused(&with("[wire\n")), @"portcullis.toml:1:6: unclosed table; expected `]`");
    insta::assert_snapshot!(refused(""), @"portcullis.toml:1:1: there is no [[database]]; add a [[database]] with name, url, and password_env, password_file or password_command");
}

#[test]
fn no_door_opens_to_other_machines() {
    insta::assert_snapshot!(refused(&with("[wire]\nlisten = \"0.0.0.0:6432\"\n")), @"portcullis.toml:2:10: the wire door would listen on `0.0.0.0:6432`, which other machines can reach, without TLS; add tls.cert and tls.key, or use a loopback address such as 127.0.0.1 and an SSH tunnel");
    for door in ["wire", "mcp", "console"] {
        for address in ["0.0.0.0:1", "192.168.1.2:1", "[::]:1", "[2001:db8::1]:1", "[::ffff:10.0.0.1]:1"] {
            let said = refused(&with(&format!("[{door}]\nlisten = \"{address}\"\n")));
            assert!(said.contains("without TLS") && said.contains(door), "{said}");
        }
        for address in ["localhost:1", "127.0.0.1", "6432", "127.0.0.1:99999", ""] {
            let said = refused(&with(&format!("[{door}]\nlisten = \"{address}\"\n")));
            assert!(said.contains("no address to listen on"), "{said}");
        }
    }
    insta::assert_snapshot!(refused(&with("[wire]\nlisten = \"127.0.0.1:8432\"\n")), @"portcullis.toml:1:1: the mcp door would listen on `127.0.0.1:8432`, and so would the wire door; give each door its own port");
}

#[test]
fn an_upstream_address_is_refused_with_what_would_work() {
    let url = |url: &str| refused(&SHOP.replace("postgres://portcullis_svc@127.0.0.1:5432/shop", url));
    insta::assert_snapshot!(url("postgres://svc:geheim@127.0.0.1/shop"), @"portcullis.toml:4:7: the url holds a password; take it out (and change it), and point at it by password_env, password_file or password_command");
    for hidden in [
        "postgres://svc:ge@heim@127.0.0.1/shop",
        "postgres://svc@127.0.0.1/shop?password=geheim",
        "postgres://svc@127.0.0.1/shop?sslpassword=geheim",
        "postgres://:geheim@127.0.0.1/shop",
    ] {
        assert!(url(hidden).contains("holds a password"), "{}", url(hidden));
    }
    insta::assert_snapshot!(url("postgres://svc@127.0.0.1/shop?sslmode=require"), @r#"portcullis.toml:4:7: `sslmode=require` stands in the url; take it out and write `tls = { mode = "require" }`"#);
    insta::assert_snapshot!(url("postgres://svc@127.0.0.1/shop?sslmode=prefer"), @r#"portcullis.toml:4:7: `sslmode=prefer` stands in the url; take it out and write `tls = { mode = "verify-full" }`"#);
    insta::assert_snapshot!(url("postgres://svc@127.0.0.1/shop?options=-csearch_path%3Dx"), @"portcullis.toml:4:7: unknown url parameter `options`; a url has no parameters here");
    insta::assert_snapshot!(url("mysql://svc@127.0.0.1/shop"), @"portcullis.toml:4:7: the url is not one of PostgreSQL's; write `postgres://user@host:port/database`, or `postgres://user@%2Fsocket%2Ffolder/database`");
    insta::assert_snapshot!(url("postgres://127.0.0.1/shop"), @"portcullis.toml:4:7: the url names no user; write `postgres://user@host:port/database`, or `postgres://user@%2Fsocket%2Ffolder/database`");
    insta::assert_snapshot!(url("postgres://svc@127.0.0.1"), @"portcullis.toml:4:7: the url names no database; write `postgres://user@host:port/database`, or `postgres://user@%2Fsocket%2Ffolder/database`");
    insta::assert_snapshot!(url("postgres://svc@127.0.0.1:0/shop"), @"portcullis.toml:4:7: the url's port is no port; a port is 1 to 65535");
    insta::assert_snapshot!(url("postgres://svc@127.0.0.1/%zz"), @"portcullis.toml:4:7: the url has a broken `%` sequence; `%` stands before two hexadecimal digits of UTF-8");
}

#[test]
fn a_password_comes_from_exactly_one_place_that_is_there() {
    let password = |keys: &str| refused(&SHOP.replace("password_command = \"echo geheim\"", keys));
    insta::assert_snapshot!(password(""), @"portcullis.toml:2:1: there is no password for user `portcullis_svc`; give exactly one of password_env, password_file and password_command");
    insta::assert_snapshot!(password("password_env = \"A\"\npassword_file = \"b\""), @"portcullis.toml:2:1: there is more than one password for user `portcullis_svc`; give exactly one of password_env, password_file and password_command");
    insta::assert_snapshot!(password("password_env = \"PORTCULLIS_TEST_NOT_SET\""), @"portcullis.toml:5:16: environment variable `PORTCULLIS_TEST_NOT_SET` is not set, or empty; the gateway needs this password to start");
    insta::assert_snapshot!(password("password_file = \"/nonexistent/file\""), @"portcullis.toml:5:17: secret file `/nonexistent/file` can't be read (No such file or directory (os error 2)); the gateway needs this password to start");
    insta::assert_snapshot!(password("password_command = \"exit 3 # geheim\""), @"portcullis.toml:5:20: the secret command ended with exit status: 3; the gateway needs this password to start");
    insta::assert_snapshot!(password("password_command = \"true\""), @"portcullis.toml:5:20: the secret command holds an empty secret; the gateway needs this password to start");
    assert!(password("password = \"geheim\"").contains("unknown key `password`"));
}

#[test]
fn names_are_plain_and_unique() {
    insta::assert_snapshot!(refused(&format!("{SHOP}{SHOP}")), @"portcullis.toml:8:8: there are two databases named `shop`; give each its own name");
    insta::assert_snapshot!(refused(&SHOP.replace("\"shop\"", "\"shop floor\"")), @"portcullis.toml:3:8: `shop floor` is no name for a database; use 1 to 63 letters, digits, `_` and `-`");
    insta::assert_snapshot!(refused(&format!("{SHOP}search_path = [\"pg_temp\"]")), @r#"portcullis.toml:6:16: `pg_temp` can't be in a pinned search_path; list your own schemas, as in ["public"]; pg_catalog comes first by itself"#);
    insta::assert_snapshot!(refused(&with("[mcp]\nallowed_hosts = [\"*\"]\n")), @r#"portcullis.toml:2:18: `*` is no host; write host or host:port, as in "portcullis.example.com"; `*` is not possible"#);
    insta::assert_snapshot!(refused(&with("[console]\nurl = \"gate.example.com\"\n")), @r#"portcullis.toml:2:7: `gate.example.com` is no web address; write how people reach the console, as in "https://portcullis.example.com""#);
}

#[test]
fn a_missing_file_is_named() {
    let error = load(Path::new("/nonexistent/portcullis.toml")).unwrap_err();
    assert_eq!(error.to_string(), "configuration `/nonexistent/portcullis.toml` can't be read");
}

#[test]
fn secrets_do_not_print() {
    let settings = parse(Path::new("p.toml"), SHOP).unwrap();
    assert!(!format!("{settings:?}").contains("geheim"));
    assert_eq!(format!("{:?}", Secret::new("geheim".into())), "Secret(..)");
}

#[test]
fn folders_are_read_strictly() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str| std::fs::write(folder.path().join(name), name).unwrap();
    assert!(sources::rulebook(folder.path()).unwrap_err().to_string().contains("holds no policy"));
    std::fs::create_dir(folder.path().join("data")).unwrap();
    for name in ["statement.rego", "a.rego", "data/labels.json", "README.md", ".statement.rego.swp"] {
        write(name);
    }
    let read = sources::rulebook(folder.path()).unwrap();
    let paths: Vec<&str> = read.iter().map(|source| source.path.as_str()).collect();
    assert_eq!(paths, ["a.rego", "data/labels.json", "statement.rego"]);

    write("deny.rego.disabled");
    assert!(sources::rulebook(folder.path()).unwrap_err().to_string().contains("has no business here"));
    std::fs::remove_file(folder.path().join("deny.rego.disabled")).unwrap();
    std::os::unix::fs::symlink(folder.path(), folder.path().join("data/loop")).unwrap();
    assert!(sources::rulebook(folder.path()).unwrap_err().to_string().contains("has no business here"));
    assert!(sources::agents(folder.path()).is_err());
    assert!(sources::agents(&folder.path().join("none")).unwrap_err().to_string().contains("can't be read"));
}

#[test]
fn findings_are_accepted_by_name_and_for_one_role() {
    let role = "[[database.role]]\nname = \"full\"\nuser = \"full\"\npassword_command = \"echo x\"\naccept = [\"owner\"]\n";
    let settings = parse(Path::new("p.toml"), &format!("{SHOP}accept = [\"bypassrls\"]\n{role}")).unwrap();
    let accepted = &settings.databases[0].accepted;
    let names = |role: &str| accepted[role].iter().map(|kind| kind.name()).collect::<Vec<_>>();
    assert_eq!((names(""), names("full")), (vec!["bypassrls"], vec!["owner"]));

    let misspelt = refused(&format!("{SHOP}accept = [\"superuser\", \"creatrole\"]\n"));
    assert!(misspelt.starts_with("portcullis.toml:6:24: `creatrole` is no finding"), "{misspelt}");
    assert!(
        misspelt.contains("did you mean `createrole`?") && misspelt.contains("replication"),
        "{misspelt}"
    );
    let warning = refused(&format!("{SHOP}accept = [\"temp\"]\n"));
    assert!(warning.contains("only a warning"), "{warning}");
}
