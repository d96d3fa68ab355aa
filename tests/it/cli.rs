//! The program as it is used: arguments in, words and an exit code out.

mod bundle;
mod discover;
mod hangup;

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::support::Database;

/// What a run left.
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

/// A folder with a configuration, and the program in it.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    /// A configuration like a newcomer's: shipped policies, one person, a database at `url`.
    fn new(url: &str, password: &str) -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap() };
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        place.write("password", password);
        place.write(
            "portcullis.toml",
            &format!(
                r#"
                [wire]
                listen = "127.0.0.1:0"
                [mcp]
                listen = "127.0.0.1:0"
                [console]
                listen = "127.0.0.1:0"
                [policy]
                path = "{}"
                [[database]]
                name = "shop"
                url = "{url}"
                password_file = "password"
                "#,
                root.join("policies").display()
            ),
        );
        fs::create_dir(place.folder.path().join("agents")).unwrap();
        place.agent("ana", "kind = \"human\"\ngroups = [\"dba\"]\n");
        place
    }

    /// One whose database is not there.
    fn without_database() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self::new(&format!("postgres://svc@127.0.0.1:{port}/shop"), "none")
    }

    fn agent(&self, name: &str, text: &str) {
        self.write(&format!("agents/{name}.toml"), &format!("name = \"{name}\"\n{text}"));
    }

    fn write(&self, path: &str, text: &str) {
        fs::write(self.folder.path().join(path), text).unwrap();
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.folder.path().join(path)).unwrap()
    }

    fn replace(&self, path: &str, from: &str, to: &str) {
        let text = self.read(path);
        assert!(text.contains(from), "{path} has no `{from}`:\n{text}");
        self.write(path, &text.replacen(from, to, 1));
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
        command.args(arguments).current_dir(&self.folder);
        for name in ["PORTCULLIS_TOKEN", "PORTCULLIS_URL", "PORTCULLIS_MCP_URL", "PORTCULLIS_LOG"] {
            command.env_remove(name);
        }
        command
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        let output = self.command(arguments).output().unwrap();
        Ran {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Runs the gateway until it says that it has started, stops it as a service manager would, and gives its
    /// exit code.
    fn serve_once(&self) -> Option<i32> {
        let mut child = self.command(&["serve"]).stderr(Stdio::piped()).spawn().unwrap();
        wait_for(&mut child, "gateway.started");
        let killed = Command::new("kill").arg(child.id().to_string()).status().unwrap();
        assert!(killed.success());
        child.wait().unwrap().code()
    }
}

fn wait_for(child: &mut Child, word: &str) {
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let seen = lines.by_ref().map(Result::unwrap).any(|line| line.contains(word));
    assert!(seen, "it ended without saying `{word}`");
    std::thread::spawn(move || lines.for_each(drop));
}

#[test]
fn help_teaches_and_wrong_arguments_are_2() {
    let place = Place::without_database();
    let help = place.run(&["--help"]);
    assert_eq!(help.code, Some(0));
    for word in ["Examples:", "Exit codes:", "serve", "demo", "approvals", "eval"] {
        assert!(help.out.contains(word), "{}", help.out);
    }
    for command in [
        "serve",
        "demo",
        "mcp",
        "check",
        "agent",
        "approvals",
        "audit",
        "eval",
        "doctor",
        "discover",
        "completions",
        "man",
    ] {
        let help = place.run(&[command, "--help"]);
        assert_eq!(help.code, Some(0), "{command}");
        assert!(help.out.lines().count() > 5, "{command}: {}", help.out);
    }
    for wrong in [
        &["srve"][..],
        &["serve", "--listen", "x"],
        &["approvals", "approve", "12"],
        &["eval", "SELECT 1"],
        &[],
    ] {
        let ran = place.run(wrong);
        assert_eq!(ran.code, Some(2), "{wrong:?}: {}", ran.err);
        assert!(ran.out.is_empty() && !ran.err.is_empty(), "{wrong:?}");
    }
    assert!(place.run(&["srve"]).err.contains("serve"));
    for shell in ["bash", "zsh", "fish"] {
        assert!(place.run(&["completions", shell]).out.contains("portcullis"), "{shell}");
    }
    assert!(place.run(&["man", "agent", "add"]).out.contains(".TH"));
    assert_eq!(place.run(&["man", "nothing"]).code, Some(1));
}

#[test]
fn check_says_what_is_wrong_with_file_and_line() {
    let place = Place::without_database();
    let good = place.run(&["check"]);
    assert_eq!((good.code, good.err.as_str()), (Some(0), ""), "{}", good.out);
    assert!(good.out.contains("ana") && good.out.contains("shop as svc"), "{}", good.out);
    let json: Value = serde_json::from_str(&place.run(&["check", "--json"]).out).unwrap();
    assert_eq!(json["ok"], true);

    place.agent("bot", "kind = \"agent\"\nownr = \"ana\"\n");
    let bad = place.run(&["check"]);
    assert_eq!(bad.code, Some(3));
    assert!(bad.err.contains("bot.toml:3") && bad.err.contains("ownr"), "{}", bad.err);
    let json: Value = serde_json::from_str(&place.run(&["check", "--json"]).out).unwrap();
    assert_eq!(json["ok"], false);
    place.agent("bot", "kind = \"agent\"\nowner = \"ana\"\n");

    fs::create_dir(place.folder.path().join("rules")).unwrap();
    place.write("rules/a.rego", "package portcullis.statement\n\nallow if {\n");
    let policies = format!("{}/policies", env!("CARGO_MANIFEST_DIR"));
    place.replace("portcullis.toml", &policies, "rules");
    let bad = place.run(&["check"]);
    assert_eq!(bad.code, Some(3));
    assert!(bad.err.contains("a.rego:"), "{}", bad.err);

    place.replace("portcullis.toml", "[wire]", "[wires]");
    let bad = place.run(&["check"]);
    assert_eq!(bad.code, Some(3));
    assert!(
        bad.err.contains("portcullis.toml:2:") && bad.err.contains("did you mean `wire`?"),
        "{}",
        bad.err
    );
    assert_eq!(place.run(&["check", "--config", "nowhere.toml"]).code, Some(3));
}

#[test]
fn an_agent_is_added_and_renewed_and_its_secret_is_shown_once() {
    let place = Place::without_database();
    let added = place.run(&[
        "agent",
        "add",
        "bot",
        "--owner",
        "ana",
        "--read",
        "shop:public.*",
        "--group",
        "support",
    ]);
    assert_eq!(added.code, Some(0), "{}", added.err);
    let secret = added.out.trim();
    assert!(secret.starts_with("pcl_") && !added.err.contains(secret));
    assert!(added.err.contains("claude mcp add --transport http portcullis"), "{}", added.err);
    assert!(!place.read("agents/bot.toml").contains(secret));
    assert_eq!(place.run(&["check"]).code, Some(0));

    let before = place.read("agents/bot.toml");
    let again = place.run(&["agent", "add", "bot", "--owner", "ana"]);
    assert_eq!(again.code, Some(1));
    assert!(again.err.contains("exists already") && again.out.is_empty(), "{}", again.err);
    for wrong in [
        &["agent", "add", "rogue"][..],
        &["agent", "add", "rogue", "--owner", "nobody"],
        &["agent", "add", "rogue", "--owner", "bot"],
        &["agent", "add", "../rogue", "--kind", "human"],
        &["agent", "add", "rogue", "--owner", "ana", "--read", "public.orders"],
        &["agent", "rotate", "rogue"],
        &["agent", "rotate", "../password"],
    ] {
        let ran = place.run(wrong);
        assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""), "{wrong:?}: {}", ran.err);
    }
    assert_eq!(fs::read_dir(place.folder.path().join("agents")).unwrap().count(), 2);
    assert_eq!(place.read("agents/bot.toml"), before);

    let renewed = place.run(&["agent", "rotate", "bot", "--json"]);
    let json: Value = serde_json::from_str(&renewed.out).unwrap();
    assert_ne!(json["secret"].as_str().unwrap(), secret);
    assert_ne!(place.read("agents/bot.toml"), before);
    let listed = place.run(&["agent", "list"]);
    assert!(listed.out.contains("bot") && listed.out.contains("password, token"), "{}", listed.out);
    assert!(!place.run(&["agent", "list", "--json"]).out.contains("SCRAM"), "auth material in a list");
}

#[test]
fn a_secret_goes_into_its_file_alone_and_the_client_is_told_where_that_is() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::without_database();
    let add = ["agent", "add", "bot", "--owner", "ana", "--token-file", "bot.token", "--client", "codex"];
    let added = place.run(&add);
    assert_eq!((added.code, added.out.as_str()), (Some(0), ""), "{}", added.err);
    let secret = place.read("bot.token");
    assert!(secret.starts_with("pcl_") && !added.err.contains(secret.trim()), "{}", added.err);
    let file = place.folder.path().join("bot.token");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let block = &added.err[added.err.find("[mcp_servers.portcullis]").expect("a block for Codex")..];
    let block: toml::Table = toml::from_str(block).unwrap();
    let server = &block["mcp_servers"]["portcullis"];
    assert_eq!(server["command"].as_str(), Some(env!("CARGO_BIN_EXE_portcullis")));
    assert_eq!(server["args"].as_array().unwrap().last().unwrap().as_str(), file.to_str());

    let rotated = place.run(&["agent", "rotate", "bot", "--token-file", "bot.token"]);
    assert_eq!((rotated.code, rotated.out.as_str()), (Some(0), ""), "{}", rotated.err);
    assert_ne!(place.read("bot.token"), secret);
    let desktop = place.run(&["agent", "add", "other", "--owner", "ana", "--client", "claude-desktop"]);
    assert_eq!(desktop.code, Some(1));
    assert!(desktop.err.contains("--token-file") && desktop.out.is_empty(), "{}", desktop.err);
    assert!(!place.folder.path().join("agents/other.toml").exists());

    let connect = place.run(&[
        "agent",
        "connect",
        "--client",
        "claude-code-project",
        "--url",
        "http://127.0.0.1:9/mcp",
    ]);
    let block: Value = serde_json::from_str(&connect.out).unwrap();
    assert_eq!(block["mcpServers"]["portcullis"]["url"], "http://127.0.0.1:9/mcp");
}

#[test]
fn a_relay_that_cannot_work_says_what_to_do_and_ends() {
    let place = Place::without_database();
    place.write("token", "pcl_anything\n");
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let nobody = format!("http://127.0.0.1:{port}/mcp");
    for (arguments, hint) in [
        (&["--url", nobody.as_str(), "--token-file", "token"][..], "portcullis serve"),
        (&["--url", "https://example.com/mcp", "--token-file", "token"], "on this machine"),
        (&["--url", "http://10.0.0.1/mcp", "--token-file", "token"], "127.0.0.1"),
        (&["--url", nobody.as_str()], "portcullis agent rotate"),
        (&["--url", nobody.as_str(), "--token-file", "nowhere"], "portcullis agent rotate"),
    ] {
        let ran = place.run(&[&["mcp"], arguments].concat());
        assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""), "{arguments:?}: {}", ran.err);
        assert!(ran.err.contains(hint) && !ran.err.contains("pcl_anything"), "{arguments:?}: {}", ran.err);
    }
}

#[test]
fn the_gateway_starts_without_its_database_stops_when_told_and_leaves_a_chain_that_holds() {
    let place = Place::without_database();
    assert_eq!(place.serve_once(), Some(0));
    assert_eq!(place.serve_once(), Some(0));
    let tail = place.run(&["audit", "tail", "--json"]);
    let first: Value = serde_json::from_str(tail.out.lines().next().unwrap()).unwrap();
    assert_eq!(first["record"]["event"]["kind"], "started", "{}", tail.out);
    let verified = place.run(&["audit", "verify"]);
    assert_eq!(verified.code, Some(0), "{}", verified.err);
    assert!(verified.err.contains("does not prove"), "{}", verified.err);
    let head = verified.out.lines().find_map(|line| line.strip_prefix("head ")).unwrap().to_owned();
    assert_eq!(place.run(&["audit", "verify", "--head", &head]).code, Some(0));
    assert_eq!(place.run(&["audit", "verify", "--head", &"0".repeat(64)]).code, Some(3));

    let ledger = place.folder.path().join("state/ledger");
    let mut segments = fs::read_dir(&ledger).unwrap().map(|entry| entry.unwrap().path());
    let segment =
        segments.find(|path| fs::read_to_string(path).is_ok_and(|text| text.contains("started"))).unwrap();
    let text = fs::read_to_string(&segment).unwrap();
    fs::write(&segment, text.replacen(env!("CARGO_PKG_VERSION"), "6.6.6", 1)).unwrap();
    let broken = place.run(&["audit", "verify"]);
    assert_eq!(broken.code, Some(3));
    assert!(broken.err.contains(&segment.file_name().unwrap().to_string_lossy()[..]), "{}", broken.err);
    let json: Value = serde_json::from_str(&place.run(&["audit", "verify", "--json"]).out).unwrap();
    assert_eq!(json["ok"], false);
}

#[test]
fn a_gateway_that_can_not_start_whole_says_why_and_does_not_start() {
    let place = Place::without_database();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    place.replace(
        "portcullis.toml",
        "[mcp]\n                listen = \"127.0.0.1:0\"",
        &format!("[mcp]\nlisten = \"{listen}\""),
    );
    let ran = place.run(&["serve"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains(&listen) && ran.err.contains("mcp"), "{}", ran.err);

    place.replace("portcullis.toml", &listen, "0.0.0.0:8432");
    let ran = place.run(&["serve"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("without TLS"), "{}", ran.err);
}

#[test]
fn commands_that_need_a_gateway_say_that_there_is_none() {
    let place = Place::without_database();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    place.write("token", "pcl_token-of-nobody\n");
    let url = format!("http://127.0.0.1:{port}");
    for arguments in [
        vec!["approvals", "--url", &url, "--token-file", "token", "list"],
        vec!["mcp", "--url", &url, "--token-file", "token"],
    ] {
        let ran = place.run(&arguments);
        assert_eq!(ran.code, Some(1), "{arguments:?}");
        assert!(ran.err.contains("no gateway answers"), "{}", ran.err);
        assert!(!ran.err.contains("pcl_token"), "{}", ran.err);
    }
    for arguments in [&["approvals", "list"][..], &["mcp"]] {
        let ran = place.run(arguments);
        assert_eq!(ran.code, Some(1), "{arguments:?}");
        assert!(ran.err.contains("PORTCULLIS_TOKEN"), "{}", ran.err);
    }
    let far = place.run(&["approvals", "--url", "http://gate.example.com", "--token-file", "token", "list"]);
    assert!(far.code == Some(1) && far.err.contains("in clear"), "{}", far.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn eval_says_what_would_happen_and_runs_nothing() {
    let database = Database::with(
        "CREATE TABLE customers (id int PRIMARY KEY, email text, ssn text);
         CREATE TABLE orders (id int PRIMARY KEY, status text);
         INSERT INTO orders VALUES (1, 'new')",
    )
    .await;
    let cluster = database.cluster;
    let url = format!("postgres://{}@127.0.0.1:{}/{}", cluster.superuser(), cluster.port(), database.name);
    let place = Place::new(&url, cluster.password());
    place.agent(
        "bot",
        "kind = \"agent\"\nowner = \"ana\"\n[scope.shop]\nread = [\"public.*\"]\nwrite = [\"public.orders(status)\"]\n\
         [approval]\ngroups = [\"dba\"]\n",
    );
    place.agent("dora", "kind = \"human\"\ngroups = [\"dba\"]\n");
    let eval = |sql: &str| place.run(&["eval", "--as", "bot", "--database", "shop", sql]);
    let read = eval("SELECT id, ssn FROM customers");
    assert_eq!(read.code, Some(0), "{}{}", read.out, read.err);
    assert!(read.out.starts_with("allow\n") && read.out.contains("public.customers.ssn"), "{}", read.out);
    for line in
        ["column     id from public.customers.id", "column     ssn from public.customers.ssn (masked)"]
    {
        assert!(read.out.lines().any(|said| said == line), "{line} in {}", read.out);
    }
    let write = eval("UPDATE orders SET status = 'paid' WHERE id = 1");
    assert_eq!(write.code, Some(4), "{}{}", write.out, write.err);
    assert!(write.out.starts_with("escalate\n") && write.out.contains("dba"), "{}", write.out);
    for (sql, rule) in
        [("DROP TABLE orders", "ddl"), ("DELETE FROM orders", "no_where"), ("SELEC 1", "syntax")]
    {
        let denied = eval(sql);
        assert_eq!(denied.code, Some(3), "{sql}: {}{}", denied.out, denied.err);
        assert!(denied.out.starts_with("deny\n") && denied.out.contains(rule), "{sql}: {}", denied.out);
    }
    let json = place.run(&["eval", "--json", "--as", "bot", "--database", "shop", "DROP TABLE orders"]);
    let json: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(json["facts"][0]["kind"], "drop_table");

    let client = database.connect().await;
    let status: String = client.query_one("SELECT status FROM orders", &[]).await.unwrap().get(0);
    assert_eq!(status, "new");
    assert!(!place.folder.path().join("state").exists(), "eval left something behind");
    let nobody = place.run(&["eval", "--as", "nobody", "--database", "shop", "SELECT 1"]);
    assert!(nobody.code == Some(1) && nobody.err.contains("no identity `nobody`"), "{}", nobody.err);
    let nowhere = place.run(&["eval", "--as", "bot", "--database", "attic", "SELECT 1"]);
    assert!(
        nowhere.code == Some(1) && nowhere.err.contains("no [[database]] named `attic`"),
        "{}",
        nowhere.err
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_explains_prints_a_script_and_is_content_once_it_ran() {
    let database = Database::with(
        "CREATE TABLE customers (id int, name text, ssn text);
         CREATE ROLE cli_doctor LOGIN PASSWORD 'pw' CREATEDB; GRANT SELECT ON customers TO cli_doctor",
    )
    .await;
    let url = format!("postgres://cli_doctor@127.0.0.1:{}/{}", database.cluster.port(), database.name);
    let place = Place::new(&url, "pw");
    place.agent("ana", "kind = \"human\"\n[scope.shop]\nread = [\"public.*\"]\n");
    let ill = place.run(&["doctor"]);
    assert_eq!(ill.code, Some(3), "{}{}", ill.out, ill.err);
    for part in [
        "database `shop`, its own credential, user \"cli_doctor\"",
        "createdb (dangerous): It can make databases",
        "temp (warning): ",
        "ssn of public.customers, granted to \"cli_doctor\"",
        "GRANT SELECT (id, name, ctid, tableoid) ON public.customers TO \"cli_doctor\";",
        "ALTER ROLE \"cli_doctor\" NOCREATEDB;",
    ] {
        assert!(ill.out.contains(part), "`{part}` in:\n{}", ill.out);
    }
    let json: Value =
        serde_json::from_str(&place.run(&["doctor", "--json", "--database", "shop"]).out).unwrap();
    assert_eq!((&json[0]["ok"], &json[0]["findings"][0]["finding"]), (&false.into(), &"createdb".into()));
    let refused = place.run(&["serve"]);
    assert_eq!(refused.code, Some(1), "{}", refused.err);
    assert!(refused.err.contains("createdb: It can make databases"), "{}", refused.err);

    place.replace("portcullis.toml", "[[database]]", "[[database]]\naccept = [\"createdb\"]");
    let accepted = place.run(&["doctor"]);
    assert_eq!(accepted.code, Some(0), "{}", accepted.out);
    assert!(accepted.out.contains("createdb (dangerous, accepted)"), "{}", accepted.out);
    assert!(!accepted.out.contains("NOCREATEDB"), "{}", accepted.out);
    assert_eq!(place.serve_once(), Some(0));
    place.replace("portcullis.toml", "accept = [\"createdb\"]", "");

    let script = place.run(&["doctor", "--script"]);
    assert_eq!(script.code, Some(3));
    place.write("safe.sql", &script.out);
    let file = place.folder.path().join("safe.sql");
    let psql = Command::new("psql")
        .args(["-X", "-h", "127.0.0.1", "-p", &database.cluster.port().to_string()])
        .args(["-U", database.cluster.superuser(), "-v", "ON_ERROR_STOP=1", "-f"])
        .arg(&file)
        .arg(&database.name)
        .env("PGPASSWORD", database.cluster.password())
        .output()
        .unwrap();
    assert!(psql.status.success(), "{}", String::from_utf8_lossy(&psql.stderr));
    let well = place.run(&["doctor"]);
    assert_eq!(well.code, Some(0), "{}", well.out);
    assert!(well.out.contains("may do nothing that it should not"), "{}", well.out);

    let away = Place::without_database().run(&["doctor"]);
    assert_eq!(away.code, Some(1), "{}{}", away.out, away.err);
    let nowhere = place.run(&["doctor", "--database", "attic"]);
    assert!(nowhere.code == Some(1) && nowhere.err.contains("`attic`"), "{}", nowhere.err);
}
