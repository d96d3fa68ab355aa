//! `portcullis agent connect`: what to paste into an MCP client, now or again.

use std::path::{Path, PathBuf, absolute};

use anyhow::Context as _;
use clap::Args;

use crate::cli::client::{Block, Client, Connection, TokenPlace};
use crate::cli::exit::Exit;
use crate::cli::output::Output;
use crate::config;

/// Prints what to paste into an MCP client
///
/// Without --token-file the client takes the token from its environment, as PORTCULLIS_TOKEN. With it the client starts
/// `portcullis mcp`, which reads the file: nothing has to be set, and the token is in no configuration.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  portcullis agent connect
  portcullis agent connect --client codex >> ~/.codex/config.toml
  portcullis agent connect --client claude-desktop --token-file ~/.config/portcullis/support-bot.token")]
pub(in crate::cli) struct Connect {
    /// The client
    #[arg(long, value_enum, default_value_t = Client::ClaudeCode)]
    client: Client,

    /// File that holds the agent's token
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// The gateway's MCP endpoint [default: as the configuration says]
    #[arg(long, env = "PORTCULLIS_MCP_URL", value_name = "URL")]
    url: Option<String>,

    /// The gateway's configuration, which says where its MCP endpoint is
    #[arg(short, long, value_name = "FILE", default_value = "portcullis.toml")]
    config: PathBuf,
}

impl Connect {
    pub(super) fn run(self, output: &mut Output) -> anyhow::Result<Exit> {
        let url = match self.url {
            Some(url) => url,
            None => endpoint(Some(&self.config))?,
        };
        let Block { place, text } = connection(url, self.token_file.as_deref())?.block(self.client)?;
        output.remark(format_args!("# {place}:"))?;
        output.line(text)?;
        Ok(Exit::Ok)
    }
}

/// Tells, after a secret was made, how to use it: the block for `client`, or for Claude Code and where there are more.
pub(super) fn advise(
    output: &mut Output,
    url: String,
    token_file: Option<&Path>,
    client: Option<Client>,
) -> anyhow::Result<()> {
    let block = connection(url, token_file)?.block(client.unwrap_or(Client::ClaudeCode))?;
    output.remark(format_args!("\n# {}:\n{}", block.place, block.text))?;
    if client.is_none() {
        output.remark(
            "\n# Claude Desktop, Codex, Cursor, Visual Studio Code: `portcullis agent connect --client NAME`",
        )?;
    }
    Ok(())
}

/// The endpoint that a configuration names; the usual one where there is none to read.
pub(super) fn endpoint(config: Option<&Path>) -> anyhow::Result<String> {
    match config {
        Some(path) if path.exists() => Ok(config::mcp_endpoint(path)?),
        _ => Ok(USUAL.to_owned()),
    }
}

/// How a client with `token_file` reaches `url`.
pub(in crate::cli) fn connection(url: String, token_file: Option<&Path>) -> anyhow::Result<Connection> {
    let token = match token_file {
        Some(file) => TokenPlace::File {
            program: std::env::current_exe().context("this program can't be found")?,
            file: absolute(file).with_context(|| format!("`{}` names no file", file.display()))?,
        },
        None => TokenPlace::Environment,
    };
    Ok(Connection { url, token })
}

const USUAL: &str = "http://127.0.0.1:8432/mcp";
