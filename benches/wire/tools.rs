//! The MCP door under load: one keep-alive connection an agent, by either era of the protocol, and nothing of a client
//! beyond what HTTP needs.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::load::{Slice, cpu_since_us, cpu_time};
use crate::plan;
use crate::report::Figure;
use crate::stand::{ACCOUNTS, Endpoint, Way};
use crate::statistics::Quartiles;

/// An era of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Era {
    /// Every request by itself.
    Stateless,
    /// `initialize`, then a session.
    Session,
}

/// One agent.
struct Agent {
    socket: TcpStream,
    era: Era,
    token: String,
    session: String,
    seed: u32,
}

/// `calls` calls of `query` by each of `clients` agents of one identity.
pub(crate) async fn query(endpoint: &Endpoint, era: Era, clients: u32, calls: u32) -> anyhow::Result<Slice> {
    let mut agents = Vec::new();
    for seed in 0..clients {
        agents.push(Agent::open(endpoint.mcp_port, &endpoint.password, era, seed).await?);
    }
    let before = cpu_time(endpoint.process)?;
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for agent in agents {
        tasks.spawn(agent.call_often(calls));
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    let seconds = start.elapsed().as_secs_f64();
    let cpu_us = cpu_since_us(endpoint.process, before.as_ref())?;
    let all = f64::from(clients * calls);
    let latency_us = seconds * 1e6 / f64::from(calls);
    Ok(Slice { rate: all / seconds, latency_us, cpu_us: cpu_us / all })
}

/// [`AGENTS`] agents of as many identities as there are, all at once for a while.
pub(crate) async fn crowd(endpoint: &Endpoint) -> anyhow::Result<Vec<Figure>> {
    let process = endpoint.process.context("there is no process on this way")?;
    let tokens = &endpoint.crowd;
    ensure!(!tokens.is_empty(), "this way has no crowd");
    process.forget_peak()?;
    let before = process.resident_kb()?;
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for (seed, token) in (0..AGENTS).zip(tokens.iter().cycle()) {
        let (port, token) = (endpoint.mcp_port, token.clone());
        tasks.spawn(async move {
            let mut agent = Agent::open(port, &token, Era::Stateless, seed).await?;
            let mut latencies = Vec::new();
            while start.elapsed() < A_WHILE {
                let begun = Instant::now();
                agent.call().await?;
                latencies.push(begun.elapsed().as_secs_f64() * 1e3);
            }
            anyhow::Ok(latencies)
        });
    }
    let (mut latencies, mut failed) = (Vec::new(), Vec::new());
    while let Some(done) = tasks.join_next().await {
        match done? {
            Ok(own) => latencies.extend(own),
            Err(error) => failed.push(format!("{error:#}")),
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    let grown = f64::from(u32::try_from(process.peak_kb()?.saturating_sub(before))?) / 1e3;
    if let Some(first) = failed.first() {
        bail!("{} of {AGENTS} agents failed, one with: {first}", failed.len());
    }
    let calls = f64::from(u32::try_from(latencies.len())?);
    latencies.sort_by(f64::total_cmp);
    let at = |part: usize| latencies.get(latencies.len() * part / 100).copied().unwrap_or_default();
    let figure = |what, value, goal, unit| Figure { what, way: endpoint.way, value: Ok(value), goal, unit };
    Ok(vec![
        figure(
            "calls of 200 agents of 20 identities, none of which failed",
            calls / seconds,
            None,
            "calls/s",
        ),
        figure("median of their latencies", at(50), None, "ms"),
        figure("99th percentile of them", at(99), None, "ms"),
        figure("growth of memory meanwhile", grown, Some(plan::CROWD_MB), "MB"),
    ])
}

/// Opens [`SESSIONS`] sessions, which then wait; the resident memory for each, in kB.
pub(crate) async fn idle(endpoint: &Endpoint) -> anyhow::Result<f64> {
    let process = endpoint.process.context("there is no process on this way")?;
    let mut open = Vec::new();
    let mut before = 0;
    for (seed, token) in (0..SESSIONS + WARM_UP).zip(endpoint.crowd.iter().cycle()) {
        if seed == WARM_UP {
            before = process.resident_kb()?;
        }
        let mut agent = Agent::open(endpoint.mcp_port, token, Era::Session, seed).await?;
        agent.call().await?;
        open.push(agent.session);
    }
    let after = process.resident_kb()?;
    Ok((f64::from(u32::try_from(after)?) - f64::from(u32::try_from(before)?)) / f64::from(SESSIONS))
}

/// Medians of what a call takes beyond the same statement by the wire door, round by round.
pub(crate) fn beyond(tools: &[Slice], wire: &[Slice]) -> Result<f64, String> {
    let beyond = tools.iter().zip(wire).map(|(tool, wire)| tool.latency_us - wire.latency_us);
    Quartiles::of(beyond).map(|beyond| beyond.median / 1e3).ok_or_else(|| "no round was whole".to_owned())
}

/// What is compared for a figure, by the era.
pub(crate) fn figure(era: Era, value: Result<f64, String>) -> Figure {
    let what = match era {
        Era::Stateless => "latency of a call of `query` beyond the wire door's, c=1, stateless",
        Era::Session => "the same in a session",
    };
    Figure { what, way: Way::Unmasked, value, goal: Some(plan::TOOL_MS), unit: "ms" }
}

impl Agent {
    #[expect(clippy::disallowed_methods, reason = "a client dials in")]
    async fn open(port: u16, token: &str, era: Era, seed: u32) -> anyhow::Result<Self> {
        let socket = TcpStream::connect(("127.0.0.1", port)).await?;
        socket.set_nodelay(true)?;
        let (token, session) = (token.to_owned(), String::new());
        let mut agent = Self { socket, era, token, session, seed };
        if era == Era::Session {
            let params = json!({
                "protocolVersion": SESSION_VERSION,
                "capabilities": {},
                "clientInfo": {"name": "bench", "version": "1"},
            });
            let hello = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params});
            let (head, _) = agent.post(&hello, "").await?;
            agent.session = header(&head, "mcp-session-id").context("no session was opened")?.to_owned();
            agent.post(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}), "").await?;
        }
        Ok(agent)
    }

    async fn call_often(mut self, calls: u32) -> anyhow::Result<()> {
        for _ in 0..calls {
            self.call().await?;
        }
        Ok(())
    }

    /// Calls `query` for the balance of some account.
    async fn call(&mut self) -> anyhow::Result<()> {
        self.seed = self.seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let account = self.seed % ACCOUNTS + 1;
        let mut params = json!({"name": "query", "arguments": {"sql": SQL, "params": [account]}});
        if self.era == Era::Stateless {
            let meta = json!({
                "io.modelcontextprotocol/protocolVersion": STATELESS_VERSION,
                "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
                "io.modelcontextprotocol/clientCapabilities": {},
            });
            params.as_object_mut().context("an object")?.insert("_meta".to_owned(), meta);
        }
        let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
        let (_, body) = self.post(&call, "mcp-method: tools/call\r\nmcp-name: query\r\n").await?;
        ensure!(body.contains(r#""status":"ok""#), "a call failed: {body}");
        Ok(())
    }

    /// Sends a message and reads the whole answer: its head and its body.
    async fn post(&mut self, message: &Value, more: &str) -> anyhow::Result<(String, String)> {
        let body = message.to_string();
        let version = match self.era {
            Era::Stateless => STATELESS_VERSION,
            Era::Session => SESSION_VERSION,
        };
        let session = match self.session.as_str() {
            "" => String::new(),
            id => format!("mcp-session-id: {id}\r\n"),
        };
        let request = format!(
            "POST /mcp HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
             accept: application/json, text/event-stream\r\nmcp-protocol-version: {version}\r\n{session}{more}\
             content-length: {}\r\n\r\n{body}",
            self.token,
            body.len(),
        );
        self.socket.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        loop {
            let read = self.socket.read_buf(&mut answer).await?;
            ensure!(read > 0, "the gateway hung up");
            if let Some(whole) = whole(&answer)? {
                return Ok(whole);
            }
        }
    }
}

/// Head and body of an answer, once all of it is there.
fn whole(answer: &[u8]) -> anyhow::Result<Option<(String, String)>> {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return Ok(None) };
    let is_whole = match header(head, "content-length") {
        Some(length) => body.len() >= length.parse()?,
        None => header(head, "transfer-encoding").is_none() || body.ends_with("0\r\n\r\n"),
    };
    ensure!(head.starts_with("HTTP/1.1 2"), "{head}\n{body}");
    Ok(is_whole.then(|| (head.to_owned(), body.to_owned())))
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

const SQL: &str = "SELECT abalance FROM pgbench_accounts WHERE aid = $1";
const STATELESS_VERSION: &str = "2026-07-28";
const SESSION_VERSION: &str = "2025-06-18";
const AGENTS: u32 = 200;
const A_WHILE: Duration = Duration::from_secs(5);
const SESSIONS: u32 = 500;
/// Sessions that are opened before anything is counted.
const WARM_UP: u32 = 20;
