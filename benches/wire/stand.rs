//! Everything that runs during a bench: PostgreSQL with pgbench's tables, the relay, and a gateway for each way of
//! setting it up; each a process of its own, on loopback ports that were free.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use portcullis::cli::demo::cluster::{Cluster, Installation};
use portcullis::config::sources;
use portcullis::identity::token::Credentials;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::sleep;
use tokio_postgres::{Client, Config, NoTls};

use crate::process::Process;

/// A way to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Way {
    /// Straight to it.
    Direct,
    /// Through the bare relay.
    Relay,
    /// Through a gateway whose rulebook masks nothing.
    Unmasked,
    /// Through a gateway that masks a column which the workloads read.
    Masked,
    /// As `Unmasked`, with decisions on disk before they count.
    Fsync,
}

/// Where a way begins, and which process is on it.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) way: Way,
    pub(crate) port: u16,
    pub(crate) user: &'static str,
    pub(crate) password: String,
    /// Of the MCP door; 0 where there is none.
    pub(crate) mcp_port: u16,
    /// The tokens of further identities.
    pub(crate) crowd: Vec<String>,
    /// Not for [`Way::Direct`].
    pub(crate) process: Option<Process>,
}

/// All that runs. Dropped, it is stopped and removed.
#[derive(Debug)]
pub(crate) struct Stand {
    /// One for each way, in the order of [`Way`].
    pub(crate) endpoints: Vec<Endpoint>,
    /// Of the server.
    pub(crate) version: String,
    /// The program `pgbench`.
    pub(crate) pgbench: PathBuf,
    /// A folder on the disk that ledgers are on.
    pub(crate) folder: TempDir,
    _children: Vec<Running>,
    _cluster: Cluster,
}

impl Way {
    /// As it stands in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Relay => "relay",
            Self::Unmasked => "portcullis",
            Self::Masked => "portcullis, masking",
            Self::Fsync => "portcullis, fsync",
        }
    }
}

impl Endpoint {
    /// A session, with the task that drives it.
    pub(crate) async fn connect(&self) -> anyhow::Result<Client> {
        let mut config = Config::new();
        config.host("127.0.0.1").port(self.port).user(self.user).password(&self.password).dbname(DATABASE);
        let connected = config.connect(NoTls).await;
        let (client, connection) = connected.with_context(|| format!("no session by {}", self.way.name()))?;
        // How a session ends is told by the statement that it ends under.
        tokio::spawn(connection);
        Ok(client)
    }
}

impl Stand {
    /// Starts it all. Takes some ten seconds.
    pub(crate) async fn set() -> anyhow::Result<Self> {
        let installation = Installation::find()?;
        let pgbench = installation.program("pgbench");
        ensure!(
            pgbench.is_file(),
            "`{}` is not there: install PostgreSQL's contrib programs",
            pgbench.display()
        );
        let cluster = Cluster::start_with(&["max_connections=600", "shared_buffers=256MB"]).await?;
        cluster.execute_sql("postgres", &format!("CREATE DATABASE {DATABASE}")).await?;
        fill(&pgbench, &cluster)?;
        cluster.execute_sql(DATABASE, ROLE).await?;
        cluster.trust_everyone().await?;

        // Below the target folder, which is on a disk; a folder for temporary files may be in memory.
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let mut children = vec![relay(cluster.port())?];
        let mut endpoints = Vec::new();
        for way in [Way::Direct, Way::Relay, Way::Unmasked, Way::Masked, Way::Fsync] {
            let at = |port, process| Endpoint {
                way,
                port,
                user: SERVICE,
                password: SERVICE_PASSWORD.to_owned(),
                mcp_port: 0,
                crowd: Vec::new(),
                process,
            };
            endpoints.push(match way {
                Way::Direct => at(cluster.port(), None),
                Way::Relay => {
                    let relay = children.first().context("there is no relay")?;
                    at(relay.port, Some(relay.process()))
                }
                Way::Unmasked | Way::Masked | Way::Fsync => {
                    let home = folder.path().join(format!("{way:?}"));
                    let (gateway, endpoint) = gateway(&home, way, cluster.port())?;
                    children.push(gateway);
                    endpoint
                }
            });
        }
        for endpoint in &endpoints {
            until_it_answers(endpoint, folder.path()).await?;
        }
        let version = cluster.version().to_string();
        Ok(Self { endpoints, version, pgbench, folder, _children: children, _cluster: cluster })
    }

    /// The endpoint of `way`.
    pub(crate) fn endpoint(&self, way: Way) -> anyhow::Result<&Endpoint> {
        self.endpoints.iter().find(|endpoint| endpoint.way == way).context("every way has an endpoint")
    }
}

/// A child that ends with us.
#[derive(Debug)]
struct Running {
    child: Child,
    port: u16,
}

impl Running {
    fn process(&self) -> Process {
        Process(self.child.id())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself, which is as good.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Makes pgbench's tables: a million accounts.
fn fill(pgbench: &Path, cluster: &Cluster) -> anyhow::Result<()> {
    let made = Command::new(pgbench)
        .args(["--initialize", "--quiet", "--scale=10", "--host=127.0.0.1"])
        .args(["--username", cluster.superuser(), "--port", &cluster.port().to_string(), DATABASE])
        .env("PGPASSWORD", cluster.password())
        .output()?;
    ensure!(
        made.status.success(),
        "pgbench can't fill the database: {}",
        String::from_utf8_lossy(&made.stderr)
    );
    Ok(())
}

fn relay(upstream: u16) -> anyhow::Result<Running> {
    let own = std::env::current_exe()?;
    let upstream = SocketAddr::from((Ipv4Addr::LOCALHOST, upstream));
    let child = Command::new(own)
        .arg("relay")
        .arg(upstream.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut running = Running { child, port: 0 };
    let output = running.child.stdout.take().context("the relay has no output")?;
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line)?;
    running.port = line.trim().parse().context("the relay did not start")?;
    Ok(running)
}

/// Starts a gateway with everything that it needs in `home`.
fn gateway(home: &Path, way: Way, upstream: u16) -> anyhow::Result<(Running, Endpoint)> {
    let policies = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    for source in sources::rulebook(&policies)? {
        let text = match source.path.as_str() {
            "data/labels.json" => labels(way).to_string(),
            "data/rulebook.json" => ceilings(&source.text)?.to_string(),
            path if path.ends_with("_test.rego") => continue,
            _ => source.text,
        };
        put(&home.join("policies").join(source.path), &text)?;
    }
    let enrol = |name: &str| -> anyhow::Result<String> {
        let credentials = Credentials::generate();
        put(&home.join(format!("agents/{name}.toml")), &identity(name, &credentials))?;
        Ok(credentials.secret.reveal().to_owned())
    };
    let password = enrol(SERVICE)?;
    let crowd = (0..CROWD).map(|number| enrol(&format!("crowd_{number}"))).collect::<Result<_, _>>()?;
    put(&home.join("password"), SERVICE_PASSWORD)?;
    let (port, mcp_port) = (free_port()?, free_port()?);
    put(&home.join("portcullis.toml"), &configuration(way, port, mcp_port, upstream)?)?;
    let child = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .arg("serve")
        .arg("--config")
        .arg(home.join("portcullis.toml"))
        .env("PORTCULLIS_LOG", "warn")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(home.join("log"))?)
        .spawn()?;
    let gateway = Running { child, port };
    let process = Some(gateway.process());
    Ok((gateway, Endpoint { way, port, user: SERVICE, password, mcp_port, crowd, process }))
}

fn configuration(way: Way, port: u16, mcp: u16, upstream: u16) -> anyhow::Result<String> {
    let durability = match way {
        Way::Fsync => "fsync",
        Way::Direct | Way::Relay | Way::Unmasked | Way::Masked => "os",
    };
    let console = free_port()?;
    Ok(format!(
        r#"wire.listen = "127.0.0.1:{port}"
wire.auth = "trust"
mcp.listen = "127.0.0.1:{mcp}"
console.listen = "127.0.0.1:{console}"
ledger.durability = "{durability}"

[[database]]
name = "{DATABASE}"
url = "postgres://{SERVICE}@127.0.0.1:{upstream}/{DATABASE}"
password_file = "password"
"#
    ))
}

fn identity(name: &str, credentials: &Credentials) -> String {
    let Credentials { token_sha256, scram, .. } = credentials;
    format!(
        r#"name = "{name}"
kind = "service"
auth.scram = "{scram}"
auth.token_sha256 = "{token_sha256}"
scope.{DATABASE}.read = ["public.*"]
"#
    )
}

/// What is masked: a number that the gateway replaces by 0. As all of pgbench's balances are 0 to begin with, every
/// way carries the same bytes.
fn labels(way: Way) -> Value {
    match way {
        Way::Masked => json!({ DATABASE: { "public.pgbench_accounts": { "abalance": "salary" } } }),
        Way::Direct | Way::Relay | Way::Unmasked | Way::Fsync => json!({ DATABASE: {} }),
    }
}

/// The rulebook's numbers, with a ceiling of rows that the streams don't reach.
fn ceilings(text: &str) -> anyhow::Result<Value> {
    let mut numbers: Value = serde_json::from_str(text)?;
    *numbers.pointer_mut("/rows/service").context("the rulebook has no ceiling for services")? =
        json!(100_000_000);
    Ok(numbers)
}

async fn until_it_answers(endpoint: &Endpoint, home: &Path) -> anyhow::Result<()> {
    for _ in 0..START_POLLS {
        if let Ok(session) = endpoint.connect().await {
            session.simple_query("SELECT 1").await?;
            return Ok(());
        }
        sleep(POLL).await;
    }
    let log = fs::read_to_string(home.join(format!("{:?}/log", endpoint.way))).unwrap_or_default();
    endpoint.connect().await.map(drop).with_context(|| log)
}

fn put(path: &Path, text: &str) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, text).with_context(|| format!("`{}` can't be written", path.display()))
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// The database, and its name in configurations.
pub(crate) const DATABASE: &str = "bench";
/// The upstream role, and the identity's name at the gateways: pgbench is called the same way everywhere.
const SERVICE: &str = "bench_svc";
const SERVICE_PASSWORD: &str = "of-a-throw-away-cluster";
const ROLE: &str = "CREATE ROLE bench_svc LOGIN PASSWORD 'of-a-throw-away-cluster';
GRANT SELECT ON ALL TABLES IN SCHEMA public TO bench_svc;";
/// Further identities of each gateway.
const CROWD: u32 = 20;
/// How many accounts there are.
pub(crate) const ACCOUNTS: u32 = 1_000_000;
const START_POLLS: u32 = 100;
const POLL: Duration = Duration::from_millis(50);
