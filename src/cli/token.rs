//! The caller's own token, for commands that speak to a running gateway.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;

use crate::config::Secret;

/// Where the token is. Never the token itself: arguments show in process lists.
#[derive(Debug, Args)]
pub(super) struct TokenArguments {
    /// Environment variable that holds your token
    #[arg(long, value_name = "NAME", default_value = "PORTCULLIS_TOKEN", conflicts_with = "token_file")]
    token_env: String,

    /// File that holds your token
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl TokenArguments {
    pub(super) fn token(&self) -> anyhow::Result<Secret> {
        let secret = match &self.token_file {
            Some(file) => Secret::from_file(file),
            None => Secret::from_env(&self.token_env),
        };
        secret.context(
            "there is no token; set PORTCULLIS_TOKEN or give --token-file (a new one: `portcullis agent rotate NAME`)",
        )
    }
}
