//! A throw-away PostgreSQL cluster: found, initialised, started, stopped and removed.
//!
//! It listens on a loopback port and on a socket in a 0700 folder, and asks everybody for a password. It is fast
//! because it promises nothing: a crash of the machine loses it. Running as root, it drops to an unprivileged user
//! by itself, since PostgreSQL refuses root. Should our process be killed, a watchdog (a shell that waits on a pipe
//! from us) ends the server and removes the folder.
//!
//! ```no_run
//! # async fn example() -> Result<(), portcullis::cli::demo::cluster::ClusterError> {
//! use portcullis::cli::demo::cluster::Cluster;
//!
//! let cluster = Cluster::start().await?;
//! cluster.execute_sql("postgres", "CREATE DATABASE shop").await?;
//! cluster.stop().await?;
//! # Ok(())
//! # }
//! ```

mod installation;

use std::fmt;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::{sleep, timeout};

pub use installation::{Installation, Version};

/// A running server with a folder of its own. Dropped, it is stopped and removed.
pub struct Cluster {
    server: Server,
    port: u16,
    password: String,
    version: Version,
    folder: TempDir,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cluster(PostgreSQL {} on port {})", self.version, self.port)
    }
}

/// Why there is no cluster, or why it can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// Nothing is installed.
    #[error(
        "no PostgreSQL server was found on PATH or in the usual folders: install the package `postgresql` (Debian, \
         Ubuntu), `postgresql-server` (Fedora, RHEL, SUSE) or `postgresql@18` (Homebrew)"
    )]
    NoServer,
    /// We are root and know nobody else.
    #[error(
        "PostgreSQL refuses to run as root, and there is no user `postgres` or `nobody` to drop to: start this as \
         an ordinary user"
    )]
    NoAccount,
    /// The operating system said no.
    #[error("can't {doing}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// The data folder could not be made.
    #[error("`initdb` failed: {output}")]
    Initdb {
        /// The end of what it printed.
        output: String,
    },
    /// The server ended while it started.
    #[error("PostgreSQL ended while it started: {log}")]
    Exited {
        /// The end of its log.
        log: String,
    },
    /// The server never accepted a connection.
    #[error("PostgreSQL accepted no connection within {} s: {log}", START_DEADLINE.as_secs())]
    Silent {
        /// The end of its log.
        log: String,
    },
    /// A connection or a statement failed.
    #[error("database `{database}` of the throw-away cluster refused: {message}")]
    Sql {
        /// The database.
        database: String,
        /// What the server said, in words.
        message: String,
        /// The whole of it.
        #[source]
        source: tokio_postgres::Error,
    },
}

impl ClusterError {
    fn io(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, source }
    }
}

impl Cluster {
    /// Makes and starts a fresh cluster with the newest PostgreSQL of this machine.
    ///
    /// # Errors
    /// See [`ClusterError`].
    pub async fn start() -> Result<Self, ClusterError> {
        Self::start_with(&[]).await
    }

    /// As [`Cluster::start`], with `settings` (`name=value`) over those that every cluster here has.
    ///
    /// # Errors
    /// See [`ClusterError`].
    pub async fn start_with(settings: &[&str]) -> Result<Self, ClusterError> {
        Self::start_on(off_thread(Installation::find).await?, settings).await
    }

    /// As [`Cluster::start_with`], with an installation of the caller's choice.
    ///
    /// # Errors
    /// See [`ClusterError`].
    pub async fn start_on(installation: Installation, settings: &[&str]) -> Result<Self, ClusterError> {
        let password = random_password();
        let (installation, folder) = off_thread({
            let password = password.clone();
            move || {
                let folder = temporary_folder()?;
                initialise(&installation, folder.path(), &password)?;
                Ok((installation, folder))
            }
        })
        .await?;
        Self::launch(&installation, folder, password, settings).await
    }

    /// Starts a copy of a cluster that [`Cluster::save`] has left in `template`: faster than a fresh one.
    ///
    /// # Errors
    /// See [`ClusterError`].
    pub async fn restore(template: &Path) -> Result<Self, ClusterError> {
        let template = template.to_owned();
        let (installation, folder, password) = off_thread(move || {
            let installation = Installation::find()?;
            let folder = temporary_folder()?;
            let owner = installation::unprivileged_owner()?;
            copy_folder(&template.join(DATA), &folder.path().join(DATA), owner)
                .map_err(ClusterError::io("copy a cluster"))?;
            let password = fs::read_to_string(template.join(PASSWORD))
                .map_err(ClusterError::io("read the password of a saved cluster"))?;
            Ok((installation, folder, password))
        })
        .await?;
        Self::launch(&installation, folder, password, &[]).await
    }

    /// Stops the cluster cleanly and leaves a copy in `template`, which must not exist, for [`Cluster::restore`].
    ///
    /// # Errors
    /// See [`ClusterError`].
    pub async fn save(mut self, template: &Path) -> Result<(), ClusterError> {
        self.server.stop().await?;
        let template = template.to_owned();
        off_thread(move || {
            new_folder(&template).map_err(ClusterError::io("make a folder for a saved cluster"))?;
            write_secret(&template.join(PASSWORD), &self.password)
                .map_err(ClusterError::io("write the password of a saved cluster"))?;
            copy_folder(&self.folder.path().join(DATA), &template.join(DATA), None)
                .map_err(ClusterError::io("save a cluster"))
        })
        .await
    }

    /// The port on 127.0.0.1; the socket's name has it too.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder with the socket, which only its owner and root may enter.
    #[must_use]
    pub fn socket_dir(&self) -> PathBuf {
        self.folder.path().join(SOCKETS)
    }

    /// The name of the superuser.
    #[must_use]
    pub fn superuser(&self) -> &'static str {
        SUPERUSER
    }

    /// The superuser's password, random for every fresh cluster.
    #[must_use]
    pub fn password(&self) -> &str {
        &self.password
    }

    /// The server's version.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// A superuser's connection to `database`. It lives until the client is dropped.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn connect(&self, database: &str) -> Result<tokio_postgres::Client, ClusterError> {
        connect(&self.socket_dir(), self.port, &self.password, database).await.map_err(sql_error(database))
    }

    /// Runs `sql`, any number of statements, as the superuser.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn execute_sql(&self, database: &str, sql: &str) -> Result<(), ClusterError> {
        self.connect(database).await?.batch_execute(sql).await.map_err(sql_error(database))
    }

    /// From now on believes every name on its loopback port, without a password: for suites and measurements.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn trust_everyone(&self) -> Result<(), ClusterError> {
        self.execute_sql("postgres", TRUST).await
    }

    /// Stops the server and removes its folder.
    ///
    /// # Errors
    /// When the folder can't be removed.
    pub async fn stop(mut self) -> Result<(), ClusterError> {
        self.server.stop().await?;
        off_thread(move || self.folder.close().map_err(ClusterError::io("remove the temporary folder"))).await
    }

    async fn launch(
        installation: &Installation,
        folder: TempDir,
        password: String,
        settings: &[&str],
    ) -> Result<Self, ClusterError> {
        let mut attempts = PORT_ATTEMPTS;
        loop {
            let port = free_port().map_err(ClusterError::io("find a free port on 127.0.0.1"))?;
            attempts -= 1;
            match Self::launch_on(installation, folder.path(), port, &password, settings).await {
                Ok(server) => {
                    return Ok(Self { server, port, password, version: installation.version(), folder });
                }
                // Somebody else took the port between our look and the server's bind.
                Err(ClusterError::Exited { log }) if attempts > 0 && log.contains(PORT_TAKEN) => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn launch_on(
        installation: &Installation,
        folder: &Path,
        port: u16,
        password: &str,
        settings: &[&str],
    ) -> Result<Server, ClusterError> {
        let mut server = Server::spawn(installation, folder, port, settings)?;
        let ready = async {
            // Our own socket folder: whoever answers there is the server that we started.
            while connect(&folder.join(SOCKETS), port, password, "template1").await.is_err() {
                if server.has_ended() {
                    return Err(ClusterError::Exited { log: log_tail(folder) });
                }
                sleep(POLL).await;
            }
            Ok(())
        };
        timeout(START_DEADLINE, ready)
            .await
            .unwrap_or_else(|_| Err(ClusterError::Silent { log: log_tail(folder) }))?;
        Ok(server)
    }
}

/// The server's process and its watchdog.
#[derive(Debug)]
struct Server {
    postgres: Child,
    watchdog: Child,
}

impl Server {
    fn spawn(
        installation: &Installation,
        folder: &Path,
        port: u16,
        settings: &[&str],
    ) -> Result<Self, ClusterError> {
        let log = File::create(folder.join(LOG)).map_err(ClusterError::io("make the server's log"))?;
        let errors = log.try_clone().map_err(ClusterError::io("open the server's log"))?;
        let mut command = installation.command("postgres", folder)?;
        command.arg("-D").arg(folder.join(DATA)).arg("-k").arg(folder.join(SOCKETS));
        command.arg("-p").arg(port.to_string());
        for setting in SETTINGS.iter().chain(settings) {
            command.args(["-c", setting]);
        }
        let mut postgres = command
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .map_err(ClusterError::io("start `postgres`"))?;
        match watchdog(postgres.id(), folder) {
            Ok(watchdog) => Ok(Self { postgres, watchdog }),
            Err(error) => {
                signal(postgres.id(), "QUIT");
                postgres.wait().map_err(ClusterError::io("wait for `postgres`"))?;
                Err(error)
            }
        }
    }

    fn has_ended(&mut self) -> bool {
        !matches!(self.postgres.try_wait(), Ok(None))
    }

    /// Disconnects everybody and shuts down cleanly; by force if that takes too long.
    async fn stop(&mut self) -> Result<(), ClusterError> {
        signal(self.postgres.id(), "INT");
        let ended = timeout(STOP_DEADLINE, async {
            while !self.has_ended() {
                sleep(POLL).await;
            }
        });
        if ended.await.is_err() {
            self.postgres.kill().map_err(ClusterError::io("kill `postgres`"))?;
            self.postgres.wait().map_err(ClusterError::io("wait for `postgres`"))?;
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The watchdog goes first: it must not outlive the process that it would signal.
        let dismissed = self.watchdog.kill().and_then(|()| self.watchdog.wait());
        if let Err(error) = dismissed {
            tracing::warn!(%error, "the watchdog of a throw-away cluster could not be dismissed");
        }
        if self.has_ended() {
            return;
        }
        // Immediate shutdown: the folder is removed next, so nothing is worth writing. Unlike SIGKILL it leaves no
        // child and no shared memory behind.
        signal(self.postgres.id(), "QUIT");
        if let Err(error) = self.postgres.wait() {
            tracing::warn!(%error, "a throw-away cluster could not be stopped");
        }
    }
}

/// Waits on a pipe from us. When we end in whatever way, the pipe closes; then it ends the server and removes the
/// folder.
fn watchdog(server: u32, folder: &Path) -> Result<Child, ClusterError> {
    Command::new("sh")
        .args(["-c", WATCH, "sh", &server.to_string()])
        .arg(folder)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(ClusterError::io("start the server's watchdog"))
}

/// `process` is a child that was not waited for yet, so its id can't belong to anybody else.
fn signal(process: u32, name: &str) {
    let sent =
        Command::new("sh").args(["-c", "kill -s \"$1\" \"$2\"", "sh", name, &process.to_string()]).status();
    if let Err(error) = sent {
        tracing::warn!(%error, "a throw-away cluster could not be signalled");
    }
}

fn initialise(installation: &Installation, folder: &Path, password: &str) -> Result<(), ClusterError> {
    let secret = folder.join(PASSWORD);
    write_secret(&secret, password).map_err(ClusterError::io("write the password file"))?;
    if let Some((uid, gid)) = installation::unprivileged_owner()? {
        chown(&secret, Some(uid), Some(gid)).map_err(ClusterError::io("hand over the password file"))?;
    }
    let mut pwfile = std::ffi::OsString::from("--pwfile=");
    pwfile.push(&secret);
    let output = installation
        .command("initdb", folder)?
        .args(["--no-sync", "--no-locale", "--encoding=UTF8", "--auth=scram-sha-256", "--wal-segsize=1"])
        .args(["--username", SUPERUSER, "--pgdata", DATA])
        .arg(pwfile)
        .stdin(Stdio::null())
        .output()
        .map_err(ClusterError::io("run `initdb`"))?;
    fs::remove_file(secret).map_err(ClusterError::io("remove the password file"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(ClusterError::Initdb { output: tail(&String::from_utf8_lossy(&output.stderr)) })
}

/// A 0700 folder with a 0700 folder for sockets in it, both owned by whom the server runs as.
fn temporary_folder() -> Result<TempDir, ClusterError> {
    let folder = tempfile::Builder::new()
        .prefix("portcullis-")
        .permissions(fs::Permissions::from_mode(0o700))
        .tempdir()
        .map_err(ClusterError::io("make a temporary folder"))?;
    let sockets = folder.path().join(SOCKETS);
    new_folder(&sockets).map_err(ClusterError::io("make a folder for sockets"))?;
    if let Some((uid, gid)) = installation::unprivileged_owner()? {
        for path in [folder.path(), &sockets] {
            chown(path, Some(uid), Some(gid)).map_err(ClusterError::io("hand over the temporary folder"))?;
        }
    }
    Ok(folder)
}

fn copy_folder(from: &Path, to: &Path, owner: Option<(u32, u32)>) -> io::Result<()> {
    new_folder(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target, owner)?;
        } else {
            fs::copy(entry.path(), &target)?;
            hand_over(&target, owner)?;
        }
    }
    hand_over(to, owner)
}

fn hand_over(path: &Path, owner: Option<(u32, u32)>) -> io::Result<()> {
    match owner {
        Some((uid, gid)) => chown(path, Some(uid), Some(gid)),
        None => Ok(()),
    }
}

fn new_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)
}

fn write_secret(path: &Path, secret: &str) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    io::Write::write_all(&mut file, secret.as_bytes())
}

async fn connect(
    sockets: &Path,
    port: u16,
    password: &str,
    database: &str,
) -> Result<tokio_postgres::Client, tokio_postgres::Error> {
    let mut config = tokio_postgres::Config::new();
    config.host_path(sockets).port(port).user(SUPERUSER).password(password).dbname(database);
    let (client, connection) =
        config.application_name("portcullis/demo").connect(tokio_postgres::NoTls).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to a throw-away cluster ended");
        }
    });
    Ok(client)
}

fn sql_error(database: &str) -> impl FnOnce(tokio_postgres::Error) -> ClusterError {
    let database = database.to_owned();
    move |source| {
        let message =
            source.as_db_error().map_or_else(|| source.to_string(), |error| error.message().to_owned());
        ClusterError::Sql { database, message, source }
    }
}

/// Runs what blocks where blocking is allowed.
async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ClusterError> + Send + 'static,
) -> Result<T, ClusterError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(ClusterError::Io { doing: "finish", source: io::Error::other(error) }))
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn random_password() -> String {
    format!("{:032x}", rand::random::<u128>())
}

fn log_tail(folder: &Path) -> String {
    fs::read(folder.join(LOG)).map(|log| tail(&String::from_utf8_lossy(&log))).unwrap_or_default()
}

/// The last lines, in one.
fn tail(text: &str) -> String {
    let mut lines: Vec<&str> =
        text.lines().rev().map(str::trim).filter(|line| !line.is_empty()).take(6).collect();
    lines.reverse();
    lines.join("; ")
}

const SUPERUSER: &str = "postgres";
const DATA: &str = "data";
const SOCKETS: &str = "s";
const PASSWORD: &str = "password";
const LOG: &str = "server.log";
const PORT_TAKEN: &str = "Address already in use";
const PORT_ATTEMPTS: u32 = 5;
const POLL: Duration = Duration::from_millis(15);
const START_DEADLINE: Duration = Duration::from_secs(30);
const STOP_DEADLINE: Duration = Duration::from_secs(10);

const SETTINGS: [&str; 14] = [
    "listen_addresses=127.0.0.1",
    "unix_socket_permissions=0700",
    "password_encryption=scram-sha-256",
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "wal_level=minimal",
    "max_wal_senders=0",
    "max_wal_size=1GB",
    "shared_buffers=64MB",
    "max_connections=100",
    "logging_collector=off",
    "log_destination=stderr",
    "timezone=UTC",
];

const TRUST: &str = "DO $$ BEGIN
    EXECUTE format('COPY (SELECT ''host all all 127.0.0.1/32 trust'' UNION ALL SELECT ''local all all scram-sha-256'') TO %L',
        current_setting('hba_file'));
END $$;
SELECT pg_reload_conf();";

const WATCH: &str = r#"read -r _
kill -s QUIT "$1"
tries=0
while kill -0 "$1" && [ "$tries" -lt 50 ]; do sleep 0.1; tries=$((tries + 1)); done
rm -rf -- "$2""#;
