//! What the demo sets up: a cluster with the shop, a folder with everything that a gateway needs, the gateway.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tempfile::TempDir;

use crate::cli::agent::file::rotated;
use crate::config::{self, Secret};
use crate::identity::token::Credentials;
use crate::serve::{Addresses, Gateway};

use super::cluster::Cluster;
use super::rulebook::{AGENTS, Files, POLICIES};
use super::shop;

/// Where the doors shall listen. `None` takes the usual port if it is free, any other if not.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Ports {
    pub(super) wire: Option<u16>,
    pub(super) mcp: Option<u16>,
    pub(super) console: Option<u16>,
}

/// Everything that runs. Dropped, it is gone, but for sessions that were not given time to end.
#[derive(Debug)]
pub(super) struct Stage {
    gateway: Gateway,
    cluster: Cluster,
    folder: TempDir,
    tokens: BTreeMap<String, Secret>,
}

impl Stage {
    /// Sets it up. `policies` replaces the rulebook that ships.
    pub(super) async fn set(ports: Ports, policies: Option<&Path>) -> anyhow::Result<Self> {
        let cluster = Cluster::start().await?;
        let loaded = shop::load(&cluster).await?;
        let folder = tempfile::Builder::new()
            .prefix("portcullis-demo-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir()
            .context("no temporary folder can be made")?;
        let root = folder.path();
        match policies {
            None => put_all(&root.join("policies"), POLICIES)?,
            Some(own) => copy(own, &root.join("policies"))?,
        }
        let tokens = put_agents(root)?;
        put(&root.join("secrets/service"), &loaded.service_password)?;
        put(&root.join("secrets/full"), &loaded.full_password)?;
        let config = root.join("portcullis.toml");
        put(&config, &configuration(ports, cluster.port()))?;
        let gateway = Gateway::start(config::load(&config)?).await?;
        Ok(Self { gateway, cluster, folder, tokens })
    }

    /// Where the doors listen.
    pub(super) fn addresses(&self) -> Addresses {
        self.gateway.addresses()
    }

    /// The cluster behind the gateway, to look at what is really there.
    pub(super) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The secret of identity `name`: password at the wire door, token at the others.
    pub(super) fn token(&self, name: &str) -> anyhow::Result<&Secret> {
        self.tokens.get(name).with_context(|| format!("the demo has no identity `{name}`"))
    }

    /// The secrets of all identities.
    pub(super) fn tokens(&self) -> impl Iterator<Item = (&str, &Secret)> {
        self.tokens.iter().map(|(name, token)| (name.as_str(), token))
    }

    /// Where everything is.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The file with the secret of identity `name`.
    pub(super) fn token_file(&self, name: &str) -> PathBuf {
        self.folder.path().join("tokens").join(name)
    }

    /// The configuration that the gateway runs by.
    pub(super) fn config(&self) -> PathBuf {
        self.folder.path().join("portcullis.toml")
    }

    /// Closes the doors and leaves the rest, for looking at what the gateway has left behind.
    pub(super) async fn close(self) -> Remains {
        self.gateway.stop().await;
        Remains { cluster: self.cluster, folder: self.folder }
    }

    /// Stops and removes everything.
    pub(super) async fn strike(self) -> anyhow::Result<()> {
        self.close().await.remove().await
    }
}

/// What is there after the gateway has stopped.
#[derive(Debug)]
pub(super) struct Remains {
    cluster: Cluster,
    folder: TempDir,
}

impl Remains {
    /// The ledger's folder.
    pub(super) fn ledger(&self) -> PathBuf {
        self.folder.path().join("state/ledger")
    }

    /// Stops PostgreSQL and removes everything.
    pub(super) async fn remove(self) -> anyhow::Result<()> {
        self.cluster.stop().await?;
        self.folder.close().context("the demo's folder can't be removed")
    }
}

fn configuration(ports: Ports, upstream: u16) -> String {
    let (wire, mcp, console) =
        (listen(ports.wire, 6432), listen(ports.mcp, 8432), listen(ports.console, 8433));
    let (name, service, full) = (shop::NAME, shop::SERVICE_USER, shop::FULL_USER);
    format!(
        r#"# Written by `portcullis demo`; gone when it ends.
[wire]
listen = "{wire}"

[mcp]
listen = "{mcp}"

[console]
listen = "{console}"

[[database]]
name = "{name}"
url = "postgres://{service}@127.0.0.1:{upstream}/{name}"
password_file = "secrets/service"

[[database.role]]
name = "full"
user = "{full}"
password_file = "secrets/full"
"#
    )
}

/// The address for a door: as wished, else the usual one if it is free, else any.
fn listen(wished: Option<u16>, usual: u16) -> SocketAddr {
    let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let port = wished.unwrap_or_else(|| if TcpListener::bind(local(usual)).is_ok() { usual } else { 0 });
    local(port)
}

/// Gives every identity that ships a secret of its own.
fn put_agents(root: &Path) -> anyhow::Result<BTreeMap<String, Secret>> {
    let mut tokens = BTreeMap::new();
    for (path, text) in AGENTS {
        let credentials = Credentials::generate();
        put(&root.join("agents").join(path), &rotated(text, &credentials)?)?;
        let name = path.trim_end_matches(".toml");
        put(&root.join("tokens").join(name), credentials.secret.reveal())?;
        tokens.insert(name.to_owned(), Secret::new(credentials.secret.reveal().to_owned()));
    }
    Ok(tokens)
}

fn put_all(folder: &Path, files: Files) -> anyhow::Result<()> {
    files.iter().try_for_each(|(path, text)| put(&folder.join(path), text))
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    for source in config::sources::rulebook(from)? {
        put(&to.join(source.path), &source.text)?;
    }
    Ok(())
}

fn put(path: &Path, text: &str) -> anyhow::Result<()> {
    let failed = || format!("`{}` can't be written", path.display());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(failed)?;
    }
    fs::write(path, text).with_context(failed)
}
