//! Builds every room once, and owns start and shutdown.

pub mod archive;
mod rules;
mod secret;
mod systems;
mod vet;
mod watch;

use std::fs::{self, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::ConnectInfo;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::approval::{Desk, DeskError};
use crate::audit::{self, Ledger, OpenError};
use crate::clock::{Clock, SystemClock};
use crate::config::sources::SourcesError;
use crate::config::{McpSettings, Settings};
use crate::control::oidc::Issuers;
use crate::control::{Bundles, HttpError, MissingBundle};
use crate::gate::{Catalogs, Gate, Parts, Rules, Workers};
use crate::identity::directory::AgentError;
use crate::mask::Key;
use crate::policy::RulebookError;
use crate::policy::bundle::BundleError;
use crate::store::{Store, StoreError};
use crate::upstream::{DatabaseSettings, Upstream};
use crate::{console, mcp, tcp, wire};
use rules::Keeper;
pub use rules::{check_rules, load_rules};
use systems::{ShadowKeeper, Systems};
pub use vet::DangerousRoles;
use watch::{Certified, Hangups};

/// A gateway that runs.
#[derive(Debug)]
pub struct Gateway {
    addresses: Addresses,
    gate: Arc<Gate>,
    bundles: Arc<Bundles>,
    shutdown: CancellationToken,
    tasks: JoinSet<()>,
    calls: TaskTracker,
}

/// Why a gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The state folder can't be used.
    #[error("the state folder `{}` can't be used", path.display())]
    State {
        /// Which.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// The store can't be opened.
    #[error("the store in the state folder can't be opened")]
    Store(#[source] StoreError),
    /// The ledger can't be opened.
    #[error("the ledger in the state folder can't be opened")]
    Ledger(#[source] OpenError),
    /// The approval desk can't start.
    #[error("the approval desk can't start")]
    Desk(#[source] DeskError),
    /// Policies or identities can't be read or used.
    #[error(transparent)]
    Rules(#[from] RulesError),
    /// A listener's address can't be had.
    #[error(
        "the {door} door can't listen on {address}: is another program there? Choose another port in [{door}] listen"
    )]
    Listen {
        /// Which door.
        door: &'static str,
        /// Where.
        address: SocketAddr,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// An upstream role may do what no rule holds back, and the configuration does not accept that.
    #[error(transparent)]
    Dangerous(DangerousRoles),
    /// The operating system gives no threads.
    #[error("the threads of the gateway can't be started")]
    Threads(#[source] io::Error),
}

/// Why policies or identities can't be put in force.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// The files can't be read.
    #[error(transparent)]
    Sources(#[from] SourcesError),
    /// A policy is wrong.
    #[error("the rulebook can't be used: {0}")]
    Rulebook(#[from] RulebookError),
    /// A row filter is wrong.
    #[error("the row filters of database `{database}` can't be used: {why}")]
    RowFilters {
        /// The database's name in the configuration.
        database: String,
        /// What is wrong.
        why: String,
    },
    /// An identity relies on an issuer that the configuration does not have.
    #[error(
        "{file}.toml: `oidc` names the issuer `{issuer}`, and the configuration has no [[mcp.issuer]] of that name"
    )]
    NoIssuer {
        /// The identity's name.
        file: String,
        /// The issuer's.
        issuer: String,
    },
    /// An identity is wrong.
    #[error("the identities can't be used: {0}")]
    Agents(#[from] AgentError),
    /// Bundles don't go together, or with the rulebook's folder.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// A bundle is not there.
    #[error(transparent)]
    Missing(#[from] MissingBundle),
    /// A server's address, or its authorities, can't be used.
    #[error(transparent)]
    Server(#[from] HttpError),
    /// The rulebook does not hold its own tests.
    #[error("the rulebook fails its own tests: {0}")]
    Tests(String),
    /// Rules don't end.
    #[error("the rulebook can't be used: {0}")]
    Endless(String),
}

impl Gateway {
    /// Starts everything. The doors are open when this returns.
    ///
    /// # Errors
    /// When anything is missing or wrong: a gateway starts whole or not at all. Only a database that does not
    /// answer is no reason: its statements are denied until it does, and its roles are examined then.
    pub async fn start(settings: Settings) -> Result<Self, ServeError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let (keeper, rules) = Keeper::start(&settings, Arc::clone(&clock)).await?;
        for database in &settings.databases {
            if let Some(weakness) = database.weakness() {
                tracing::warn!(
                    database = database.name,
                    host = database.host,
                    "database.weak_transport: {weakness}"
                );
            }
        }
        let doors = Doors {
            wire: listen("wire", settings.wire).await?,
            mcp: listen("mcp", settings.mcp).await?,
            console: listen("console", settings.console).await?,
        };
        let addresses = doors.addresses();
        let upstream = Arc::new(Upstream::new(databases(&settings)?));
        vet::vet(&upstream).await.map_err(ServeError::Dangerous)?;
        let shutdown = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let systems = Systems::new(&settings, &clock, &mut tasks, &shutdown).map_err(RulesError::from)?;
        let gate = build_gate(&settings, rules, &upstream, addresses.console).await?;
        let gate = Arc::new(systems.plug(gate));
        let mcp = mcp_door(&settings, &shutdown)?;
        let calls = mcp.tasks.clone();
        doors.open(&settings, mcp, &gate, &upstream, &shutdown, &mut tasks)?;
        for database in upstream.names() {
            tasks.spawn(watch::catalog(Arc::clone(&upstream), database, shutdown.clone()));
        }
        tasks.spawn(watch::ledger(Arc::clone(&gate), shutdown.clone()));
        tasks.spawn(watch::desk(Arc::clone(&gate), shutdown.clone()));
        tasks.spawn(watch::budgets(Arc::clone(&gate), shutdown.clone()));
        for certified in Certified::all(&settings) {
            let hangups = Hangups::new();
            tasks.spawn(watch::certificates(Arc::clone(&gate), certified, hangups, shutdown.clone()));
        }
        let bundles = Arc::clone(keeper.bundles());
        bundles.spawn(&mut tasks, &shutdown);
        let beside = match systems.start(&gate, &bundles, &mut tasks, &shutdown) {
            Some(shadow) => ShadowKeeper::start(&settings, shadow, &mut tasks, &shutdown, clock),
            None => Ok(None),
        };
        let beside = beside.map_err(RulesError::from)?;
        let (watching, hangups) = (Arc::clone(&gate), Hangups::new());
        tasks.spawn(watch::rules(watching, keeper, beside, &settings, hangups, shutdown.clone()));
        tracing::info!(wire = %addresses.wire, mcp = %addresses.mcp, console = %addresses.console, "gateway.started");
        Ok(Self { addresses, gate, bundles, shutdown, tasks, calls })
    }

    /// Where the doors listen.
    #[must_use]
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// The bundles that the rules are made of.
    #[must_use]
    pub fn bundles(&self) -> &Arc<Bundles> {
        &self.bundles
    }

    /// The gate behind the doors.
    #[must_use]
    pub fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    /// Closes the doors, ends every session, and returns when they are gone, and what agents' calls had begun has ended, or
    /// the grace period is over.
    pub async fn stop(mut self) {
        self.shutdown.cancel();
        self.calls.close();
        let drained = async {
            while self.tasks.join_next().await.is_some() {}
            self.calls.wait().await;
        };
        if tokio::time::timeout(GRACE, drained).await.is_err() {
            tracing::warn!("gateway.stopped_with_sessions_open");
            self.tasks.shutdown().await;
        }
        if let Err(error) = self.gate.settle_budgets() {
            tracing::error!(%error, "gateway.stopped_with_budgets_unkept");
        }
        if let Err(error) = self.gate.close_ledger().await {
            tracing::error!(%error, "gateway.stopped_with_outcomes_unkept");
        }
    }
}

/// The databases, each with its key of masks.
fn databases(settings: &Settings) -> Result<Vec<DatabaseSettings>, ServeError> {
    let state = &settings.state_path;
    let failed = |source| ServeError::State { path: state.clone(), source };
    make_private(state).map_err(failed)?;
    let secret = secret::read_or_make(&state.join("mask.key")).map_err(failed)?;
    let keyed = |database: &DatabaseSettings| DatabaseSettings {
        mask_key: Some(Key::of(&secret, &database.name)),
        ..database.clone()
    };
    Ok(settings.databases.iter().map(keyed).collect())
}

/// Builds the gate and everything behind it, and records that it started.
async fn build_gate(
    settings: &Settings,
    rules: Rules,
    upstream: &Arc<Upstream>,
    console: SocketAddr,
) -> Result<Gate, ServeError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let state = &settings.state_path;
    let store = Store::open(&state.join("store.db")).map_err(ServeError::Store)?;
    let desk = Desk::new(store, Arc::clone(&clock)).map_err(ServeError::Desk)?;
    let ledger = audit::Settings::new(state.join("ledger"), settings.durability);
    let ledger = Ledger::open(&ledger, clock.now()).map_err(ServeError::Ledger)?;
    let swept = desk.sweep_orphans().map_err(ServeError::Desk)?;
    let workers = Workers::start(ANALYSERS, WAITING_ANALYSES).map_err(ServeError::Threads)?;
    let catalogs: Arc<dyn Catalogs> = Arc::<Upstream>::clone(upstream);
    let console_url = match settings.console.port() {
        0 => format!("http://{console}"),
        _ => settings.console_url.clone(),
    };
    let gate = Gate::new(Parts { catalogs, rules, desk, ledger, clock, workers, console_url });
    let gate = gate.map_err(ServeError::Store)?;
    gate.started(env!("CARGO_PKG_VERSION"), swept).await.map_err(|error| ServeError::Ledger(error.into()))?;
    Ok(gate)
}

/// The listeners of the three doors, bound but not yet open.
struct Doors {
    wire: TcpListener,
    mcp: TcpListener,
    console: TcpListener,
}

/// Where the doors listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// The wire door.
    pub wire: SocketAddr,
    /// The MCP door; its endpoint is `/mcp`.
    pub mcp: SocketAddr,
    /// The console.
    pub console: SocketAddr,
}

impl Doors {
    fn addresses(&self) -> Addresses {
        let local = |listener: &TcpListener| listener.local_addr().unwrap_or_else(|_| unspecified());
        Addresses { wire: local(&self.wire), mcp: local(&self.mcp), console: local(&self.console) }
    }

    fn open(
        self,
        settings: &Settings,
        mcp: mcp::Settings,
        gate: &Arc<Gate>,
        upstream: &Arc<Upstream>,
        shutdown: &CancellationToken,
        tasks: &mut JoinSet<()>,
    ) -> Result<(), ServeError> {
        let console_settings = console::Settings::new(
            settings.state_path.join("ledger"),
            self.addresses().console,
            &settings.console_url,
            Arc::new(SystemClock),
        );
        let wire = wire::Wire::new(Arc::clone(gate), Arc::clone(upstream), settings.wire_door.clone())
            .map_err(ServeError::Threads)?;
        tasks.spawn(wire.serve(self.wire, shutdown.clone()));
        let router = mcp::router(Arc::clone(gate), Arc::clone(upstream), mcp);
        tasks.spawn(serve_http("mcp", self.mcp, router, shutdown.clone()));
        let router = console::router(Arc::clone(gate), console_settings);
        tasks.spawn(serve_http("console", self.console, router, shutdown.clone()));
        Ok(())
    }
}

/// How the MCP door behaves.
fn mcp_door(settings: &Settings, shutdown: &CancellationToken) -> Result<mcp::Settings, RulesError> {
    let McpSettings { allowed_hosts, public_url, issuers, requests_per_minute } = &settings.mcp_door;
    let usual = mcp::Settings::default();
    let authorization = match issuers.as_slice() {
        [] => None,
        issuers => Some(mcp::Authorization {
            resource: public_url.clone(),
            issuers: Arc::new(Issuers::new(issuers.to_vec(), Arc::new(SystemClock))?),
        }),
    };
    Ok(mcp::Settings {
        hosts: allowed_hosts.clone(),
        authorization,
        requests_per_minute: requests_per_minute.unwrap_or(usual.requests_per_minute),
        shutdown: shutdown.clone(),
        ..usual
    })
}

async fn serve_http(
    door: &'static str,
    listener: TcpListener,
    router: axum::Router,
    shutdown: CancellationToken,
) {
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIME);
    let open = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(MOST_HTTP));
    loop {
        let accepted = tokio::select! {
            accepted = next_of(&listener, &places) => accepted,
            () = shutdown.cancelled() => break,
        };
        let (socket, address, place) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::error!(door, %error, "door.accept_failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // An answer that is a stream of events is written in several small pieces: held back for an acknowledgement, each
        // of them costs a client 40 ms.
        if let Err(error) = tcp::prepare(&SockRef::from(&socket)) {
            tracing::debug!(door, %error, "door.socket_not_prepared");
        }
        let service = TowerToHyperService::new(router.clone().layer(Extension(ConnectInfo(address))));
        let connection = server.serve_connection(TokioIo::new(socket), service).into_owned();
        let connection = open.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(door, %error, "door.connection_failed");
            }
            drop(place);
        });
    }
    drop(listener);
    open.shutdown().await;
}

/// The next connection, once there is a place for it.
async fn next_of(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.map_err(io::Error::other)?;
    let (socket, address) = listener.accept().await?;
    Ok((socket, address, place))
}

async fn listen(door: &'static str, address: SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address).await.map_err(|source| ServeError::Listen { door, address, source })
}

fn make_private(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    fs::set_permissions(folder, Permissions::from_mode(0o700))
}

fn unspecified() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// Most connections of one HTTP door: more wait until one has ended, and the doors together leave files for the rest.
const MOST_HTTP: usize = 768;

/// How long a client of an HTTP door may take to send what comes before a body, and wait between two requests.
const HEADER_TIME: Duration = Duration::from_secs(30);

/// How long a door rests that could take nobody.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long sessions may take to end at shutdown.
const GRACE: Duration = Duration::from_secs(10);

/// Threads that analyse statements.
const ANALYSERS: usize = 4;

/// Statements that may wait for one of them before the gate says that it is too busy.
const WAITING_ANALYSES: usize = 1024;
