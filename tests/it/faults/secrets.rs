//! No password and no token shows up anywhere: not in logs at their loudest, not in errors, not in the ledger.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::thread::JoinHandle;

use portcullis::cli::demo::shop;
use portcullis::identity::token::Token;
use serde_json::json;

use crate::support::gateway::Stand;
use crate::wire_real::{Raw, startup};
use crate::wire_sim::rig::query;

use super::call_at;

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_shows_in_logs_errors_or_the_ledger() {
    let stand = Stand::start().await;
    let password = stand.settings.databases[0].service.password.clone();
    let wrong = Token::generate().reveal().to_owned();
    let program = Program::start(&stand);
    let told = provoke(&stand, &program, &wrong).await;
    let logs = program.end();
    assert!(logs.contains("TRACE") && logs.contains("DEBUG"), "these are no loud logs:\n{logs}");
    let debug = format!("{:?} {:?}", stand.settings, stand.gateway);
    let mut ledger = String::new();
    for entry in fs::read_dir(stand.home.path().join("noisy/ledger")).unwrap() {
        ledger += &fs::read_to_string(entry.unwrap().path()).unwrap();
    }
    assert!(ledger.contains("DROP TABLE orders"), "this is no ledger of it");
    let mut secrets = vec![("the upstream password", password), ("a wrong token", wrong)];
    secrets.extend(["ana", "support-bot", "priya"].map(|name| (name, stand.secrets[name].clone())));
    for (what, secret) in &secrets {
        for (place, text) in [("errors", &told), ("logs", &logs), ("Debug", &debug), ("the ledger", &ledger)]
        {
            let line = text.lines().find(|line| line.contains(secret.as_str()));
            assert_eq!(line, None, "{what} shows in {place}");
        }
    }
}

/// Everything that might make the program say too much; returns what it said.
async fn provoke(stand: &Stand, program: &Program, wrong: &str) -> String {
    let mut told = String::new();
    for user in ["ana", "nobody"] {
        let error = log_in(program, user, wrong).await;
        told += &format!("{error:?}");
    }
    let mut ana = Raw::to(program.wire).await;
    let hello = startup(&[("user", "ana"), ("database", shop::NAME)]);
    ana.log_in("ana", &stand.secrets["ana"], &hello).await;
    for statement in ["SELECT ssn FROM customers LIMIT 3", "SELECT nothing", "DROP TABLE orders", "\u{1}"] {
        ana.ask(&query(statement)).await;
    }
    let bot = &stand.secrets["support-bot"];
    let read = json!({"sql": "SELECT id FROM products LIMIT 1"});
    told += &call_at(program.mcp, bot, "query", read.clone()).await.to_string();
    let write = json!({"sql": "DROP TABLE orders", "reason": "x"});
    told += &call_at(program.mcp, bot, "execute", write).await.to_string();
    let http = reqwest::Client::new();
    for url in [format!("http://{}/mcp", program.mcp), format!("http://{}/api/v1/approvals", program.console)]
    {
        for token in [wrong, &stand.secrets["priya"]] {
            let answer = http.post(&url).header("authorization", format!("Bearer {token}")).body("{").send();
            told += &answer.await.unwrap().text().await.unwrap();
        }
    }
    let page =
        http.post(format!("http://{}/login", program.console)).body(format!("token={wrong}")).send().await;
    told += &page.unwrap().text().await.unwrap();
    // From now on the database refuses the gateway's own credential.
    let alter = format!("ALTER ROLE {} PASSWORD 'another'", shop::SERVICE_USER);
    stand.cluster.execute_sql("postgres", &alter).await.unwrap();
    told += &format!("{:?}", log_in(program, "ana", &stand.secrets["ana"]).await);
    told += &call_at(program.mcp, bot, "query", read).await.to_string();
    told
}

/// The error of a login that fails.
async fn log_in(program: &Program, user: &str, password: &str) -> tokio_postgres::Error {
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(program.wire.port()).user(user).password(password).dbname(shop::NAME);
    config.connect(tokio_postgres::NoTls).await.err().unwrap()
}

/// The program itself, with its logs at their loudest.
struct Program {
    child: Child,
    logs: JoinHandle<String>,
    wire: SocketAddr,
    mcp: SocketAddr,
    console: SocketAddr,
}

impl Program {
    fn start(stand: &Stand) -> Self {
        let home = stand.home.path();
        let database = &stand.settings.databases[0];
        fs::write(home.join("password"), &database.service.password).unwrap();
        let config = format!(
            r#"
            [wire]
            listen = "127.0.0.1:0"
            [mcp]
            listen = "127.0.0.1:0"
            [console]
            listen = "127.0.0.1:0"
            [policy]
            path = "policies"
            [agents]
            path = "agents"
            [state]
            path = "noisy"
            [[database]]
            name = "{name}"
            url = "postgres://{user}@127.0.0.1:{port}/{name}"
            password_file = "password"
            [[database.role]]
            name = "full"
            user = "{full}"
            password_env = "FULL_PASSWORD"
            "#,
            name = shop::NAME,
            user = shop::SERVICE_USER,
            full = shop::FULL_USER,
            port = database.port,
        );
        fs::write(home.join("portcullis.toml"), config).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_portcullis"))
            .args(["serve"])
            .current_dir(home)
            .env("PORTCULLIS_LOG", "trace")
            .env("FULL_PASSWORD", &database.service.password)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let (started, before) = read_to(&mut lines, "gateway.started");
        let address = |door: &str| {
            let (_, rest) = started.split_once(&format!("{door}=")).unwrap();
            rest.split_whitespace().next().unwrap().parse().unwrap()
        };
        let (wire, mcp, console) = (address("wire"), address("mcp"), address("console"));
        let logs = std::thread::spawn(move || {
            let mut text = before;
            std::io::Read::read_to_string(&mut lines, &mut text).unwrap();
            text
        });
        Self { child, logs, wire, mcp, console }
    }

    /// Stops it as a service manager would; returns all that it logged.
    fn end(mut self) -> String {
        let killed = Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        assert!(killed.success() && self.child.wait().unwrap().success());
        self.logs.join().unwrap()
    }
}

/// The first line with `word` in it, and all lines up to it.
fn read_to(lines: &mut BufReader<ChildStderr>, word: &str) -> (String, String) {
    let mut all = String::new();
    loop {
        let mut line = String::new();
        assert_ne!(lines.read_line(&mut line).unwrap(), 0, "it ended without saying `{word}`:\n{all}");
        all += &line;
        if line.contains(word) {
            return (line, all);
        }
    }
}
