//! `portcullis check`: would the gateway start?

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::config::{self, Settings};
use crate::serve;

use super::exit::Exit;
use super::output::Output;

/// Checks configuration, policies and identities without starting anything
///
/// Says the first thing that is wrong, with file and line. Needs the same environment as `serve`, since it looks
/// for the database passwords too. It does not connect to any database.
#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 all is in order, 3 something is wrong")]
pub(super) struct Check {
    /// The configuration
    #[arg(short, long, value_name = "FILE", default_value = "portcullis.toml")]
    config: PathBuf,

    /// Answers in JSON
    #[arg(long)]
    json: bool,
}

impl Check {
    pub(super) fn run(self, output: &mut Output) -> anyhow::Result<Exit> {
        match self.look() {
            Ok(found) if self.json => {
                let databases: Vec<&str> =
                    found.settings.databases.iter().map(|database| database.name.as_str()).collect();
                output.json(&json!({
                    "ok": true, "revision": found.revision, "identities": found.identities, "databases": databases,
                }))?;
                Ok(Exit::Ok)
            }
            Ok(found) => {
                output.line(format_args!("{} is in order", self.config.display()))?;
                found.tell(output)?;
                Ok(Exit::Ok)
            }
            Err(error) if self.json => {
                output.json(&json!({ "ok": false, "error": format!("{error:#}") }))?;
                Ok(Exit::Refused)
            }
            Err(error) => {
                output.complain(&error);
                Ok(Exit::Refused)
            }
        }
    }

    fn look(&self) -> anyhow::Result<Found> {
        let settings = config::load(&self.config)?;
        let rules = serve::check_rules(&settings)?;
        let identities = rules.directory.agents().map(|agent| agent.name().to_owned()).collect();
        Ok(Found { revision: rules.policy.revision().to_owned(), identities, settings })
    }
}

/// What a gateway with this configuration would be.
struct Found {
    settings: Settings,
    identities: Vec<String>,
    revision: String,
}

impl Found {
    fn tell(&self, output: &mut Output) -> std::io::Result<()> {
        let settings = &self.settings;
        output.line(format_args!("  wire        {}", settings.wire))?;
        output.line(format_args!("  mcp         http://{}/mcp", settings.mcp))?;
        output.line(format_args!("  console     {}", settings.console_url))?;
        output.line(format_args!(
            "  rulebook    {} (revision {})",
            settings.policy_path.display(),
            self.revision
        ))?;
        output.line(format_args!("  identities  {}", self.identities.join(", ")))?;
        for database in &settings.databases {
            let roles: String =
                database.roles.iter().map(|role| format!(", {} as {}", role.name, role.user)).collect();
            output
                .line(format_args!("  database    {} as {}{roles}", database.name, database.service.user))?;
        }
        Ok(())
    }
}
