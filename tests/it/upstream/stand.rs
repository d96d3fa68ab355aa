//! A gate that lets almost everything through, before a real database: proofs to send.

use std::sync::Arc;

use portcullis::approval::Desk;
use portcullis::audit::{Ledger, Memory};
use portcullis::cli::demo::cluster::Cluster;
use portcullis::clock::{Clock, SystemClock};
use portcullis::gate::{
    Authorized, Connect, Context, Door, Gate, Parts, Rules, Run, RunMode, Silent, Workers,
};
use portcullis::identity::Identity;
use portcullis::identity::directory::{AgentSource, Directory};
use portcullis::identity::token::Token;
use portcullis::policy::Snapshot;
use portcullis::policy::snapshot::Source;
use portcullis::sql::Statement;
use portcullis::store::Store;
use portcullis::upstream::{
    ConnectError, DatabaseSettings, Kind, Link, RoleSettings, RunError, RunResult, Upstream, execute, write,
};
use tokio::task::JoinHandle;

use crate::support::Database;

/// `ana`, whose statements time out after 20 s, may do everything but see `public.people.ssn`.
pub(super) struct Stand {
    pub(super) database: Database,
    pub(super) ledger: Memory,
    upstream: Arc<Upstream>,
    pub(super) gate: Arc<Gate>,
    pub(super) ana: Identity,
}

impl Stand {
    pub(super) async fn with(sql: &str) -> Self {
        Self::altered(sql, |_| {}).await
    }

    /// With other settings than those that work.
    pub(super) async fn altered(sql: &str, alter: impl FnOnce(&mut DatabaseSettings)) -> Self {
        Self::on(crate::support::cluster().await, sql, alter).await
    }

    /// As [`Stand::altered`], on another cluster.
    pub(super) async fn on(
        cluster: &'static Cluster,
        sql: &str,
        alter: impl FnOnce(&mut DatabaseSettings),
    ) -> Self {
        let database = Database::on(cluster, sql).await;
        let mut settings = DatabaseSettings {
            search_path: vec!["public".into(), "odd\"one".into()],
            accepted: [(String::new(), [Kind::Superuser].into())].into(),
            ..DatabaseSettings::new(
                "shop".into(),
                "127.0.0.1".into(),
                database.cluster.port(),
                database.name.clone(),
                RoleSettings {
                    name: String::new(),
                    user: database.cluster.superuser().into(),
                    password: database.cluster.password().into(),
                },
            )
        };
        alter(&mut settings);
        let token = Token::generate();
        let ana = AgentSource {
            path: "ana.toml".into(),
            text: format!(
                "name = \"ana\"\nkind = \"human\"\n[auth]\ntoken_sha256 = \"{}\"\n[limits]\nstatement_timeout_ms = 20000\n",
                token.digest()
            ),
        };
        let directory = Directory::build(&[ana]).unwrap();
        let policy = Snapshot::build(&rulebook(), &directory.to_data()).unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let ledger = Memory::default();
        let upstream = Arc::new(Upstream::new(vec![settings]));
        let gate = Gate::new(Parts {
            catalogs: Arc::clone(&upstream) as _,
            rules: Rules { policy, directory: Arc::new(directory) },
            desk: Desk::new(Store::in_memory().unwrap(), Arc::clone(&clock)).unwrap(),
            ledger: Ledger::inline(ledger.clone()),
            clock,
            workers: Workers::start(1, 64).unwrap(),
            console_url: String::new(),
        })
        .unwrap();
        let ana = gate.authenticate(token.reveal(), Door::Mcp, "").unwrap();
        Self { database, ledger, upstream, gate: Arc::new(gate), ana }
    }

    pub(super) async fn open(&self) -> Result<Link, ConnectError> {
        self.open_with(vec![("timezone".into(), "Asia/Tokyo".into())]).await
    }

    /// Opens a link whose client brings `settings`.
    pub(super) async fn open_with(&self, settings: Vec<(String, String)>) -> Result<Link, ConnectError> {
        let connect = Connect {
            door: Door::Mcp,
            database: "shop".into(),
            client: String::new(),
            application: "te\u{e9}st".into(),
            settings,
            tls: false,
        };
        let proof = self.gate.admit(&self.ana, connect, &Silent).await.unwrap();
        self.upstream.connect(proof, &self.ana).await
    }

    pub(super) async fn admit(&self, context: &Arc<Context>, sql: &str, mode: RunMode) -> Authorized<Run> {
        let run = Run {
            context: Arc::clone(context),
            sql: Statement::new(sql.as_bytes(), Statement::AGENT_CAP).unwrap(),
            parameters: vec![Vec::new()],
            tool: "query".into(),
            purpose: String::new(),
            key: String::new(),
            mode,
        };
        self.gate.admit(&self.ana, run, &Silent).await.unwrap()
    }

    /// Runs `sql` on a link of its own.
    pub(super) async fn run(&self, sql: &str, mode: RunMode) -> Result<RunResult, RunError> {
        let mut link = self.open().await.unwrap();
        let context = Arc::clone(link.context());
        let proof = self.admit(&context, sql, mode).await;
        carry_out(&mut link, proof, &self.gate, &self.ana).await
    }

    /// Runs what `proof` allows in a task of its own.
    pub(super) fn start(
        &self,
        mut link: Link,
        proof: Authorized<Run>,
    ) -> JoinHandle<Result<RunResult, RunError>> {
        let (gate, who) = (Arc::clone(&self.gate), self.ana.clone());
        tokio::spawn(async move { carry_out(&mut link, proof, &gate, &who).await })
    }

    /// Reads at most 100 rows.
    pub(super) async fn read(&self, sql: &str) -> Result<RunResult, RunError> {
        self.run(sql, RunMode::Read { max_rows: 100 }).await
    }

    /// Changes at most `max_affected` rows.
    pub(super) async fn write(&self, sql: &str, max_affected: u64) -> Result<RunResult, RunError> {
        self.run(sql, RunMode::Write { max_affected: Some(max_affected) }).await
    }

    /// A number that the superuser reads.
    pub(super) async fn number(&self, sql: &str) -> i64 {
        self.database.connect().await.query_one(sql, &[]).await.unwrap().get(0)
    }

    /// `outcome:sqlstate:rows` of every settled statement, oldest first.
    pub(super) fn settled(&self) -> Vec<String> {
        let text = self.ledger.text();
        let events = text.lines().map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            line.pointer("/record/event").expect("every line holds an event").clone()
        });
        let settled = events.filter(|event| event["kind"] == "settled");
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        settled
            .map(|event| {
                format!("{}:{}:{}", text(&event["outcome"]), text(&event["sqlstate"]), event["rows"])
            })
            .collect()
    }
}

fn rulebook() -> Vec<Source> {
    let source = |name: &str, text: &str| {
        Source::file(format!("{name}.rego"), format!("package portcullis.{name}\n\n{text}\n"))
    };
    vec![
        source("session", "allow := true"),
        source("approval", "eligible := true"),
        source(
            "statement",
            "allow := true\n\nmask contains {\"relation\": \"public.people\", \"column\": \"ssn\", \"type\": \"redact\", \
             \"value\": \"***\"}\n\nlimit contains {\"rows\": 1000}",
        ),
    ]
}

/// Reads, or writes one statement.
async fn carry_out(
    link: &mut Link,
    proof: Authorized<Run>,
    gate: &Gate,
    who: &Identity,
) -> Result<RunResult, RunError> {
    match proof.act().mode {
        RunMode::Read { .. } => execute(link, proof, gate, who).await,
        RunMode::Write { .. } => {
            let written = write(link, proof, gate, who, None).await?;
            Ok(written.results.into_iter().next().unwrap())
        }
    }
}
