//! Loads, one slice at a time: how much work was done, how fast, and what it cost the process on the way.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use futures_util::TryStreamExt as _;
use tokio::process::Command;
use tokio::time::Instant;
use tokio_postgres::Client;

use crate::process::Process;
use crate::stand::{DATABASE, Endpoint, Stand};
use crate::tools::{self, Era};

/// What a workload does in one slice.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Load {
    /// pgbench's select-only script: `transactions` for each of `clients`.
    Select { mode: &'static str, clients: u32, transactions: u32 },
    /// The same with a connection for each transaction.
    Churn { clients: u32, transactions: u32 },
    /// The same statement by MCP: `calls` calls of `query` for each of `clients`.
    Tool { era: Era, clients: u32, calls: u32 },
    /// `COPY ... TO STDOUT` of all accounts; units are MB.
    Copy,
    /// A SELECT of all columns of `rows` accounts by the extended protocol; units are rows.
    Rows { rows: u32 },
}

/// What came of one slice.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slice {
    /// Units (transactions, MB, rows) a second.
    pub(crate) rate: f64,
    /// Mean latency of a transaction; 0 for streams.
    pub(crate) latency_us: f64,
    /// CPU time of the process on the way, for each unit; 0 if there is none.
    pub(crate) cpu_us: f64,
}

impl Load {
    /// What its rates count.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Select { .. } | Self::Churn { .. } => "tx",
            Self::Tool { .. } => "calls",
            Self::Copy => "MB",
            Self::Rows { .. } => "row",
        }
    }

    /// Runs one slice through `endpoint`.
    pub(crate) async fn run(self, stand: &Stand, endpoint: &Endpoint) -> anyhow::Result<Slice> {
        match self {
            Self::Select { mode, clients, transactions } => {
                let options = ["--protocol", mode];
                pgbench(&stand.pgbench, endpoint, clients, transactions, &options).await
            }
            Self::Churn { clients, transactions } => {
                pgbench(&stand.pgbench, endpoint, clients, transactions, &["--connect"]).await
            }
            Self::Tool { era, clients, calls } => tools::query(endpoint, era, clients, calls).await,
            Self::Copy => stream(endpoint, async |session| copy_out(session).await).await,
            Self::Rows { rows } => stream(endpoint, async |session| select(session, rows).await).await,
        }
    }
}

/// Runs pgbench once and reads what it prints. Its connections are part of the CPU time, but not of the rate, except
/// with `--connect`.
async fn pgbench(
    program: &Path,
    endpoint: &Endpoint,
    clients: u32,
    transactions: u32,
    options: &[&str],
) -> anyhow::Result<Slice> {
    let before = cpu_time(endpoint.process)?;
    let output = Command::new(program)
        .args(["--select-only", "--no-vacuum", "--host=127.0.0.1", "--username", endpoint.user])
        .args(["--port", &endpoint.port.to_string(), "--client", &clients.to_string()])
        .args(["--jobs", &clients.min(2).to_string(), "--transactions", &transactions.to_string()])
        .args(options)
        .arg(DATABASE)
        .env("PGPASSWORD", &endpoint.password)
        .output()
        .await?;
    let cpu_us = cpu_since_us(endpoint.process, before.as_ref())?;
    let printed = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    let last = complaint.lines().rfind(|line| !line.contains("Run was aborted")).unwrap_or_default();
    ensure!(output.status.success(), "{last}");
    let number = |label: &str| {
        let line = printed.lines().find_map(|line| line.strip_prefix(label));
        let word = line.and_then(|rest| rest.split([' ', '/']).next());
        word.and_then(|word| word.parse::<f64>().ok())
            .with_context(|| format!("pgbench printed no `{label}`"))
    };
    ensure!(number("number of failed transactions: ")? == 0.0, "some transactions failed");
    Ok(Slice {
        rate: number("tps = ")?,
        latency_us: number("latency average = ")? * 1e3,
        cpu_us: cpu_us / number("number of transactions actually processed: ")?,
    })
}

/// Runs `work`, which gives its units, in a session that was opened before anything is counted.
async fn stream(
    endpoint: &Endpoint,
    work: impl AsyncFnOnce(&Client) -> anyhow::Result<f64>,
) -> anyhow::Result<Slice> {
    let session = endpoint.connect().await?;
    let before = cpu_time(endpoint.process)?;
    let start = Instant::now();
    let units = work(&session).await?;
    let seconds = start.elapsed().as_secs_f64();
    let cpu_us = cpu_since_us(endpoint.process, before.as_ref())?;
    Ok(Slice { rate: units / seconds, latency_us: 0.0, cpu_us: cpu_us / units })
}

async fn copy_out(session: &Client) -> anyhow::Result<f64> {
    let mut data = pin!(session.copy_out(COPY).await?);
    let mut bytes = 0_usize;
    while let Some(chunk) = data.try_next().await? {
        bytes += chunk.len();
    }
    Ok(f64::from(u32::try_from(bytes)?) / 1e6)
}

async fn select(session: &Client, wanted: u32) -> anyhow::Result<f64> {
    let sql = format!("SELECT aid, bid, abalance, filler FROM pgbench_accounts LIMIT {wanted}");
    let no_values: [&str; 0] = [];
    let mut rows = pin!(session.query_raw(&sql, no_values).await?);
    let mut seen = 0_u32;
    while rows.try_next().await?.is_some() {
        seen += 1;
    }
    ensure!(seen == wanted, "{seen} rows came of {wanted}");
    Ok(f64::from(seen))
}

/// Opens [`IDLE`] sessions, each of which runs one statement and then waits; the resident memory for each, in kB.
pub(crate) async fn idle(endpoint: &Endpoint) -> anyhow::Result<f64> {
    let process = endpoint.process.context("there is no process on this way")?;
    // So that what every process loads and allocates once is there before.
    drop(sessions(endpoint, 16).await?);
    let before = process.resident_kb()?;
    let open = sessions(endpoint, IDLE).await?;
    let after = process.resident_kb()?;
    drop(open);
    Ok((f64::from(u32::try_from(after)?) - f64::from(u32::try_from(before)?)) / f64::from(IDLE))
}

async fn sessions(endpoint: &Endpoint, count: u32) -> anyhow::Result<Vec<Client>> {
    let mut open = Vec::new();
    for _ in 0..count {
        let session = endpoint.connect().await?;
        session.simple_query("SELECT abalance FROM pgbench_accounts WHERE aid = 1").await?;
        open.push(session);
    }
    Ok(open)
}

/// Reads one row of 256 MB; how far resident memory rose meanwhile, in kB.
pub(crate) async fn large_row(endpoint: &Endpoint) -> anyhow::Result<f64> {
    let process = endpoint.process.context("there is no process on this way")?;
    let session = endpoint.connect().await?;
    session.query_one("SELECT repeat('x', 1000000)", &[]).await?;
    process.forget_peak()?;
    let before = process.resident_kb()?;
    let row = session.query_one("SELECT repeat('x', 256 * 1024 * 1024)", &[]).await?;
    let peak = process.peak_kb()?;
    let text: &str = row.try_get(0)?;
    ensure!(text.len() == 256 * 1024 * 1024, "{} bytes came", text.len());
    Ok(f64::from(u32::try_from(peak.saturating_sub(before))?))
}

/// Microseconds that it takes to have some bytes on the disk of `folder`: what `fsync` costs at least.
pub(crate) fn fdatasync_us(folder: &Path) -> anyhow::Result<f64> {
    let mut file = File::create(folder.join("fdatasync"))?;
    let mut spent = Duration::ZERO;
    for _ in 0..SYNCS {
        file.write_all(&[b'x'; 512])?;
        let start = Instant::now();
        file.sync_data()?;
        spent += start.elapsed();
    }
    Ok(spent.as_secs_f64() * 1e6 / f64::from(SYNCS))
}

pub(crate) fn cpu_time(process: Option<Process>) -> anyhow::Result<Option<crate::process::CpuTime>> {
    process.map(Process::cpu_time).transpose()
}

pub(crate) fn cpu_since_us(
    process: Option<Process>,
    before: Option<&crate::process::CpuTime>,
) -> anyhow::Result<f64> {
    match (cpu_time(process)?, before) {
        (Some(now), Some(before)) => Ok(now.since_us(before)),
        (None, None) => Ok(0.0),
        (Some(_), None) | (None, Some(_)) => bail!("a process came or went"),
    }
}

const COPY: &str = "COPY pgbench_accounts TO STDOUT";
const IDLE: u32 = 500;
const SYNCS: u32 = 50;
