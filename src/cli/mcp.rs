//! `portcullis mcp`: what an MCP client starts.

use clap::Args;

use crate::mcp::relay;

use super::exit::Exit;
use super::token::TokenArguments;

/// Connects an MCP client on standard input and output to a running gateway
///
/// It only relays: it reads no configuration, no state and no database password, and can do what the token can
/// do. Put it into the MCP client's configuration.
#[derive(Debug, Args)]
#[command(after_help = "Example, in .mcp.json:
  { \"mcpServers\": { \"shop\": {
      \"command\": \"portcullis\",
      \"args\": [\"mcp\", \"--url\", \"http://127.0.0.1:8432/mcp\", \"--token-file\", \"/path/to/token\"] } } }")]
pub(super) struct Mcp {
    /// The gateway's MCP endpoint
    #[arg(long, env = "PORTCULLIS_MCP_URL", default_value = "http://127.0.0.1:8432/mcp")]
    url: String,

    #[command(flatten)]
    token: TokenArguments,
}

impl Mcp {
    pub(super) async fn run(self) -> anyhow::Result<Exit> {
        let token = self.token.token()?;
        relay::run(&self.url, token.expose()).await?;
        Ok(Exit::Ok)
    }
}
