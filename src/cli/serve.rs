//! `portcullis serve`: the gateway, until it is told to stop.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, ValueEnum};

use crate::config;
use crate::serve::Gateway;
use crate::telemetry;

use super::exit::Exit;
use super::stop::Stop;

/// Runs the gateway until SIGINT or SIGTERM
///
/// It starts whole or not at all: whatever is wrong with configuration, policies or identities is said with file
/// and line. Changed policies and identities are put in force without a restart; broken ones are refused and the
/// last good ones stay. Logs go to standard error.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  portcullis serve --config /etc/portcullis/portcullis.toml --log json")]
pub(super) struct Serve {
    /// The configuration
    #[arg(short, long, value_name = "FILE", default_value = "portcullis.toml")]
    config: PathBuf,

    /// How log lines look
    #[arg(long, value_enum, default_value_t = Log::Text)]
    log: Log,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Log {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

impl Serve {
    pub(super) fn log_format(&self) -> telemetry::Format {
        match self.log {
            Log::Text => telemetry::Format::Text,
            Log::Json => telemetry::Format::Json,
        }
    }

    pub(super) async fn run(self) -> anyhow::Result<Exit> {
        let mut stop = Stop::listen()?;
        let settings = config::load(&self.config)?;
        let gateway = Gateway::start(settings).await.context("the gateway does not start")?;
        stop.wait().await;
        gateway.stop().await;
        Ok(Exit::Ok)
    }
}
