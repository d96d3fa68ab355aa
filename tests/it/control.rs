//! What comes from other systems: bundles from files and servers, good and bad, and what is in force meanwhile.

mod bundles;
mod pipeline;
mod server;
mod systems;

use std::fs;
use std::path::PathBuf;

use portcullis::audit::Event;
use portcullis::config;
use portcullis::gate::{Connect, Door, Silent};
use portcullis::identity::token::Credentials;
use portcullis::policy::Source;
use portcullis::policy::bundle::{Plan, build};
use portcullis::serve::{Gateway, ServeError};

/// A folder with a configuration, a rulebook that lets everybody in, and `ana`.
struct Place {
    home: tempfile::TempDir,
    secret: String,
}

/// A gateway in front of no database at all: what is asked of it are sessions.
struct Running {
    gateway: Gateway,
    home: PathBuf,
    secret: String,
}

impl Place {
    /// `more` is added to the configuration.
    fn new(more: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let credentials = Credentials::generate();
        let secret = credentials.secret.reveal().to_owned();
        let place = Self { home, secret };
        place.write(
            "portcullis.toml",
            &format!(
                "{more}\n[wire]\nlisten = \"127.0.0.1:0\"\n[mcp]\nlisten = \"127.0.0.1:0\"\n[console]\nlisten = \"127.0.0.1:0\"\n\
                 [[database]]\nname = \"shop\"\nurl = \"postgres://svc@127.0.0.1:1/shop\"\npassword_command = \"echo x\"\n"
            ),
        );
        place.write("policies/session.rego", "package portcullis.session\n\nallow := true\n");
        place.write("policies/statement.rego", "package portcullis.statement\n\nallow := true\n");
        place.write("policies/approval.rego", "package portcullis.approval\n\neligible := true\n");
        let (scram, token) = (credentials.scram, credentials.token_sha256);
        place.write(
            "agents/ana.toml",
            &format!(
                "name = \"ana\"\nkind = \"human\"\n[auth]\nscram = \"{scram}\"\ntoken_sha256 = \"{token}\"\n"
            ),
        );
        place
    }

    fn write(&self, path: &str, text: &str) {
        write(&self.home.path().join(path), text.as_bytes());
    }

    async fn try_start(&self) -> Result<Running, ServeError> {
        let settings = config::load(&self.home.path().join("portcullis.toml")).unwrap();
        let gateway = Gateway::start(settings).await?;
        Ok(Running { gateway, home: self.home.path().to_owned(), secret: self.secret.clone() })
    }

    async fn start(&self) -> Running {
        self.try_start().await.unwrap()
    }

    /// Why it does not start.
    async fn refusal(&self) -> String {
        self.try_start().await.err().expect("it starts").to_string()
    }
}

impl Running {
    /// The rules that deny `ana` a session; none where she gets one.
    async fn denied(&self) -> Vec<String> {
        let gate = self.gateway.gate();
        let Some(who) = gate.authenticate(&self.secret, Door::Wire, "") else {
            return vec!["nobody".to_owned()];
        };
        let connect = Connect {
            door: Door::Wire,
            database: "shop".to_owned(),
            client: String::new(),
            application: String::new(),
            // Whoever asks for a setting that is denied is told by which rule.
            settings: vec![("work_mem".to_owned(), "1MB".to_owned())],
            tls: false,
        };
        match gate.admit(&who, connect, &Silent).await {
            Ok(_) => Vec::new(),
            Err(denial) => {
                let mut rules: Vec<String> = denial.reasons.into_iter().map(|reason| reason.rule).collect();
                rules.sort();
                rules
            }
        }
    }

    /// What the ledger says of the gateway itself.
    fn announced(&self) -> Vec<String> {
        let entries = portcullis::audit::tail(&self.home.join("state/ledger"), 10_000, |_| true).unwrap();
        let said = entries.into_iter().filter_map(|entry| match entry.record.event {
            Event::Gateway { what } => Some(what),
            _ => None,
        });
        said.collect()
    }

    /// How often the ledger says so.
    fn times_announced(&self, part: &str) -> usize {
        self.announced().iter().filter(|said| said.contains(part)).count()
    }

    fn error_of(&self, bundle: &str) -> Option<String> {
        let status = self.gateway.bundles().status();
        status.into_iter().find(|status| status.name == bundle).unwrap().last_error
    }

    /// Waits until the newest of a bundle is refused for such a reason.
    async fn refuses(&self, bundle: &str, part: &str) {
        let mut error = None;
        for _ in 0..500 {
            error = self.error_of(bundle);
            if error.as_ref().is_some_and(|error| error.contains(part)) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        panic!("`{bundle}` is not refused by `{part}`, but by {error:?}");
    }

    async fn stop(self) {
        self.gateway.stop().await;
    }
}

/// A bundle with one rule that denies sessions by `rule`.
fn denying(rule: &str) -> Vec<u8> {
    build(&[add_on(rule)], &Plan::named(rule)).unwrap()
}

fn add_on(rule: &str) -> Source {
    let text = format!(
        "package portcullis.session.central\n\ndeny contains {{\"rule\": \"{rule}\", \"message\": \"no\", \"hint\": \"\"}} if count(input.settings) > 0\n"
    );
    Source::file("central.rego", text)
}

fn write(path: &std::path::Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}
