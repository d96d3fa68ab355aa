//! A server that asks nobody for a password, and the gateway of `examples/allow-all.toml` before it.

use std::fs;
use std::path::Path;

use portcullis::cli::demo::cluster::Cluster;
use portcullis::config;
use portcullis::serve::Gateway;
use tokio_postgres::SimpleQueryMessage;

use crate::support;

/// The database's name, at the gateway and at the server.
pub(super) const DATABASE: &str = "open";

/// Both ways to one server.
#[derive(Debug)]
pub(super) struct AllowAll {
    gateway: Gateway,
    cluster: Cluster,
    _home: tempfile::TempDir,
}

impl AllowAll {
    /// Starts both, on a database in which the superuser has run `sql`.
    pub(super) async fn start(sql: &str) -> Self {
        Self::before(support::shop_cluster().await, sql).await
    }

    /// As [`AllowAll::start`], before a server of the caller's.
    pub(super) async fn before(cluster: Cluster, sql: &str) -> Self {
        for (database, sql) in [
            ("postgres", "CREATE DATABASE open TEMPLATE template0"),
            (DATABASE, sql),
            ("postgres", TRUST),
            ("postgres", "SELECT pg_reload_conf()"),
        ] {
            cluster.execute_sql(database, sql).await.unwrap();
        }
        let home = tempfile::tempdir().unwrap();
        let settings = config::load(&configured(&cluster, home.path())).unwrap();
        let gateway = Gateway::start(settings).await.unwrap();
        Self { gateway, cluster, _home: home }
    }

    /// Runs `sql` on the server itself, as the superuser, and returns the first value of its last row.
    pub(super) async fn ask(&self, sql: &str) -> String {
        let rows = self.cluster.connect(DATABASE).await.unwrap().simple_query(sql).await.unwrap();
        let rows = rows.into_iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or_default().to_owned()),
            _ => None,
        });
        rows.last().unwrap_or_default()
    }

    /// The port of the server itself.
    pub(super) fn server(&self) -> u16 {
        self.cluster.port()
    }

    /// The port of the gateway's wire door.
    pub(super) fn gateway(&self) -> u16 {
        self.gateway.addresses().wire.port()
    }
}

/// The example as it ships, but for the addresses.
fn configured(cluster: &Cluster, home: &Path) -> std::path::PathBuf {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    fs::create_dir(home.join("agents")).unwrap();
    let text = fs::read_to_string(examples.join("allow-all.toml")).unwrap();
    let (policies, url) =
        (examples.join("policies/allow-all"), format!("127.0.0.1:{}/{DATABASE}", cluster.port()));
    let text = text
        .replace("127.0.0.1:6432", "127.0.0.1:0")
        .replace("\"policies/allow-all\"", &format!("{policies:?}"))
        .replace("\"../agents\"", "\"agents\"")
        .replace("\"../state\"", "\"state\"")
        .replace("127.0.0.1:5432/postgres", &url)
        .replace("name = \"postgres\"", &format!("name = \"{DATABASE}\""))
        .replace("password_env = \"PGPASSWORD\"", "password_command = \"echo unused\"");
    let doors = "\n[mcp]\nlisten = \"127.0.0.1:0\"\n\n[console]\nlisten = \"127.0.0.1:0\"\n";
    let path = home.join("portcullis.toml");
    fs::write(&path, text.replace("\n[policy]", &format!("{doors}\n[policy]"))).unwrap();
    path
}

/// Lets everybody on this machine in, without a password.
const TRUST: &str = "DO $$ BEGIN
    EXECUTE format('COPY (SELECT $line$local all all trust$line$ UNION ALL SELECT $line$host all all 127.0.0.1/32 trust$line$
                         UNION ALL SELECT $line$host replication all 127.0.0.1/32 trust$line$) TO %L',
                   current_setting('hba_file'));
  END $$";
