//! `portcullis demo`: a throw-away PostgreSQL with sample data, and the gateway before it.

pub mod cluster;
mod rulebook;
pub mod shop;
mod stage;
mod tour;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::serve::Addresses;

use super::agent::connect::connection;
use super::client::Client;
use super::exit::Exit;
use super::output::Output;
use super::stop::Stop;

use stage::{Ports, Stage};

/// Starts a throw-away PostgreSQL with sample data and the gateway before it
///
/// Finds PostgreSQL's server binaries, makes a cluster in a temporary folder, fills it with a sample shop, writes
/// configuration, policies and identities, starts the gateway and prints what to copy into psql, an MCP client and
/// a browser. Ctrl-C stops and removes everything. It listens on loopback addresses only.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  portcullis demo
  portcullis demo --tour                           a scripted walk as real clients; exit code 3 if any answer
                                                   is not what it must be
  portcullis demo --tour --policies my-policies    the same walk by your own rulebook")]
pub(super) struct Demo {
    /// Walks through everything as real clients, prints the transcript, and ends
    #[arg(long)]
    tour: bool,

    /// Says what to connect with in one line of JSON, for programs
    #[arg(long, conflicts_with = "tour")]
    json: bool,

    /// The MCP client to print a block for
    #[arg(long, value_enum, default_value_t = Client::ClaudeCode, conflicts_with_all = ["tour", "json"])]
    client: Client,

    /// The rulebook, in place of the one that ships
    #[arg(long, value_name = "DIR")]
    policies: Option<PathBuf>,

    /// Port of the wire door [default: 6432, or any if that is taken]
    #[arg(long, value_name = "PORT")]
    wire_port: Option<u16>,

    /// Port of the MCP door [default: 8432, or any if that is taken]
    #[arg(long, value_name = "PORT")]
    mcp_port: Option<u16>,

    /// Port of the console [default: 8433, or any if that is taken]
    #[arg(long, value_name = "PORT")]
    console_port: Option<u16>,
}

impl Demo {
    pub(super) async fn run(self, output: &mut Output) -> anyhow::Result<Exit> {
        let mut stop = Stop::listen()?;
        output.remark("starting a throw-away PostgreSQL with the sample database `shop` ...")?;
        // Whatever was set up so far is removed when its future is dropped.
        let stage = tokio::select! {
            stage = Stage::set(self.ports(), self.policies.as_deref()) => stage?,
            () = stop.wait() => return Ok(Exit::Ok),
        };
        if self.tour {
            return tokio::select! {
                went_well = tour::walk(stage, output) => Ok(if went_well? { Exit::Ok } else { Exit::Refused }),
                () = stop.wait() => Ok(Exit::Failed),
            };
        }
        if self.json {
            output.json(&Ready::of(&stage))?;
        } else {
            invite(&stage, self.client, output)?;
        }
        stop.wait().await;
        output.remark("stopping and removing everything ...")?;
        stage.strike().await?;
        Ok(Exit::Ok)
    }

    /// The tour has no use for the usual ports, and may run beside another one.
    fn ports(&self) -> Ports {
        let any = self.tour.then_some(0);
        Ports { wire: self.wire_port.or(any), mcp: self.mcp_port.or(any), console: self.console_port.or(any) }
    }
}

/// What programs connect with.
#[derive(Debug, Serialize)]
struct Ready {
    wire: SocketAddr,
    mcp: SocketAddr,
    console: SocketAddr,
    /// The secret of each identity.
    secrets: BTreeMap<String, String>,
    /// Where everything is.
    folder: PathBuf,
}

impl Ready {
    fn of(stage: &Stage) -> Self {
        let Addresses { wire, mcp, console } = stage.addresses();
        let secrets = stage.tokens().map(|(name, token)| (name.to_owned(), token.expose().to_owned()));
        Self { wire, mcp, console, secrets: secrets.collect(), folder: stage.folder().to_owned() }
    }
}

/// Prints what to copy.
fn invite(stage: &Stage, client: Client, output: &mut Output) -> anyhow::Result<()> {
    let addresses = stage.addresses();
    let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("portcullis"));
    let (url, token_file) = (format!("http://{}/mcp", addresses.mcp), stage.token_file("support-bot"));
    let block = connection(url.clone(), Some(&token_file))?.block(client)?;
    output.line(format_args!(
        "
PostgreSQL {version} with the database `shop` is governed. Three ways in:

1. psql, as ana, an analyst who sees customers masked:

   PGPASSWORD={ana} psql \"host={host} port={wire} dbname=shop user=ana\"

   SELECT name, email, ssn FROM customers LIMIT 3;
   UPDATE tickets SET status = 'closed' WHERE id = 1;   -- waits for a person: see 3
   DELETE FROM tickets;                                 -- denied

2. An MCP client, as the agent support-bot. {place}:

{block}

   The same for Claude Desktop, Codex, Cursor or Visual Studio Code:
   {program} agent connect --url {url} --token-file {token_file} --client codex

3. The console, where people decide on what waits: http://{console}

   Log in with the token of priya, who may approve:  {priya}
   or in a terminal:
   {program} approvals --url http://{console} --token-file {priya_file} watch

Everything is in {folder} until Ctrl-C.",
        version = stage.cluster().version(),
        ana = stage.token("ana")?.expose(),
        priya = stage.token("priya")?.expose(),
        priya_file = stage.token_file("priya").display(),
        host = addresses.wire.ip(),
        wire = addresses.wire.port(),
        console = addresses.console,
        program = program.display(),
        place = block.place,
        block = block.text,
        token_file = token_file.display(),
        folder = stage.config().parent().map(|folder| folder.display().to_string()).unwrap_or_default(),
    ))?;
    Ok(())
}
